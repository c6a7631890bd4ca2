package redistribution

import (
	"context"
	"fmt"
	"time"

	"understudy.example/understudy/depot"
)

// Next returns when the next window opens or closes or the next
// acknowledgement stalls, as things are: the first such time after the clock's.
// Zero: nothing will.
func (s *Sweeper) Next(ctx context.Context) (time.Time, error) {
	now := s.clock.Now()
	configurations, err := s.depot.Configurations(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("find what comes next: %w", err)
	}
	var next time.Time
	for _, c := range configurations {
		for _, find := range []func(context.Context, string, time.Time) (time.Time, error){s.nextOpening, s.nextClosing, s.nextStall} {
			at, err := find(ctx, c.ID, now)
			if err != nil {
				return time.Time{}, fmt.Errorf("find what comes next in configuration %q: %w", c.Name, err)
			}
			next = sooner(next, at)
		}
	}
	return next, nil
}

// sooner returns the earlier of two times, of which zero ones do not count.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (s *Sweeper) nextOpening(ctx context.Context, id string, now time.Time) (next time.Time, err error) {
	p, err := s.policies.of(ctx, id)
	if err != nil {
		return next, err
	}
	lifetimes, err := s.depot.WindowLifetimes(ctx, id)
	if err != nil {
		return next, err
	}
	for _, lifetime := range lifetimes {
		lead := p.Lead(lifetime)
		end, err := s.first(ctx, depot.WindowRange{
			ConfigurationID: id, Standing: depot.StandingCurrent, Lifetime: lifetime, After: now.Add(lead),
		})
		if err != nil {
			return next, err
		}
		if !end.IsZero() {
			next = sooner(next, end.Add(-lead))
		}
	}
	return next, nil
}

func (s *Sweeper) nextClosing(ctx context.Context, id string, now time.Time) (time.Time, error) {
	return s.first(ctx,
		depot.WindowRange{ConfigurationID: id, Standing: depot.StandingCurrent, After: now},
		depot.WindowRange{ConfigurationID: id, Standing: depot.StandingAcknowledged, After: now})
}

// first returns the first notAfter of some ranges, zero when they are empty.
func (s *Sweeper) first(ctx context.Context, ranges ...depot.WindowRange) (time.Time, error) {
	page, err := s.depot.WindowItems(ctx, depot.WindowQuery{Ranges: ranges, Limit: 1})
	if err != nil || len(page.Items) == 0 {
		return time.Time{}, err
	}
	return page.Items[0].Identity.NotAfter, nil
}

func (s *Sweeper) nextStall(ctx context.Context, id string, now time.Time) (time.Time, error) {
	serials, err := s.depot.StallsUntil(ctx, id, now, now.Add(MaxAckTimeout), 1)
	if err != nil || len(serials) == 0 {
		return time.Time{}, err
	}
	item, err := s.depot.WindowItem(ctx, serials[0])
	if err != nil {
		return time.Time{}, err
	}
	ack, _ := item.InForce() // zero when it was undone meanwhile
	return ack.StallsAt, nil
}
