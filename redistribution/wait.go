package redistribution

import (
	"context"
	"errors"
	"time"

	"understudy.example/understudy/depot"
)

// leastWait keeps a clock that stands still just before a time from being
// asked again and again.
const leastWait = 50 * time.Millisecond

// Wait returns an item as soon as its device enrolled again (Superseded), or
// cannot be waited for any more (Revoked, Expired), and as it is when so much
// of the machine's time has passed. depot.ErrNotFound; the context's error.
func (s *Service) Wait(ctx context.Context, certificateSerial string, longest time.Duration) (Item, error) {
	limit := time.Now().Add(longest)
	for {
		moved := s.clock.Moved()
		last, err := s.depot.LastEvent(ctx)
		if err != nil {
			return Item{}, err
		}
		item, err := s.Show(ctx, certificateSerial, time.Time{})
		left := time.Until(limit)
		if err != nil || over(item.State) || left <= 0 {
			return item, err
		}
		if closes := max(item.Closes.Sub(s.clock.Now()), leastWait); closes < left {
			left = closes
		}
		if err := await(ctx, s.depot, last, moved, left); err != nil {
			return Item{}, err
		}
	}
}

// over says whether a state stays, but for revoking a successor or lifting a
// hold.
func over(s State) bool { return s == Superseded || s == Revoked || s == Expired }

// await returns nil when there is a new event, the clock was moved, or so much
// of the machine's time has passed; else the context's error or the store's.
func await(ctx context.Context, d depot.Lab, after uint64, moved <-chan struct{}, longest time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	go func() {
		select {
		case <-moved:
			cancel()
		case <-waiting.Done():
		}
	}()
	err := d.Await(waiting, after)
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ctx.Err()
	}
	return err
}
