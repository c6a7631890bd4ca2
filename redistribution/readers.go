package redistribution

import (
	"context"
	"time"

	"understudy.example/understudy/depot"
)

// readRanges reads items by notAfter.
func (s *Sweeper) readRanges(ranges ...depot.WindowRange) reader {
	return func(ctx context.Context, after, until time.Time, add func(depot.WindowItem) error, passed func(time.Time) error) error {
		var between []depot.WindowRange
		for _, r := range ranges {
			r.After, r.Until = after, until
			between = append(between, r)
		}
		return s.walk(ctx, between, add, func(last depot.WindowItem) error {
			// The next page can begin with the same second.
			if at := last.Identity.NotAfter.Add(-time.Second); at.After(after) {
				return passed(at)
			}
			return nil
		})
	}
}

// walk adds the items of ranges, and calls turned with the last one of each page
// that another one follows.
func (s *Sweeper) walk(ctx context.Context, ranges []depot.WindowRange, add, turned func(depot.WindowItem) error) error {
	q := depot.WindowQuery{Ranges: ranges, Limit: pageSize}
	for {
		page, err := s.depot.WindowItems(ctx, q)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := add(item); err != nil {
				return err
			}
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return nil
		}
		if n := len(page.Items); n > 0 {
			if err := turned(page.Items[n-1]); err != nil {
				return err
			}
		}
	}
}

// readStalls reads items by when their acknowledgements stall.
func (s *Sweeper) readStalls(id string) reader {
	return func(ctx context.Context, after, until time.Time, add func(depot.WindowItem) error, passed func(time.Time) error) error {
		for {
			serials, err := s.depot.StallsUntil(ctx, id, after, until, pageSize)
			if err != nil {
				return err
			}
			last, err := s.stalled(ctx, serials, until, add)
			if err != nil || len(serials) < pageSize {
				return err
			}
			// The next page can begin with the same second.
			if last = last.Add(-time.Second); !last.After(after) {
				return s.allStalled(ctx, id, until, add)
			}
			if err := passed(last); err != nil {
				return err
			}
			after = last
		}
	}
}

// allStalled adds everything that is stalled, also what stalled long ago:
// where more than a page stalled in the same second, there is no way to ask for
// the rest of them. What is expired besides is missed, and the line of that
// announces both.
func (s *Sweeper) allStalled(ctx context.Context, id string, at time.Time, add func(depot.WindowItem) error) error {
	stalled := depot.WindowRange{ConfigurationID: id, Standing: depot.StandingAcknowledged, After: at, Stall: depot.StallPassed, At: at}
	return s.walk(ctx, []depot.WindowRange{stalled}, add, func(depot.WindowItem) error { return nil })
}

// stalled adds items by certificate serial, and returns when the last of them
// stalled.
func (s *Sweeper) stalled(ctx context.Context, serials []string, until time.Time, add func(depot.WindowItem) error) (last time.Time, err error) {
	for _, serial := range serials {
		item, err := s.depot.WindowItem(ctx, serial)
		if err == nil {
			err = add(item)
		}
		if err != nil {
			return last, err
		}
		// Acknowledged again meanwhile, it stalls later than this page ends.
		if ack, ok := item.InForce(); ok && ack.StallsAt.After(last) && !ack.StallsAt.After(until) {
			last = ack.StallsAt
		}
	}
	return last, nil
}
