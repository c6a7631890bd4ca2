package redistribution

import (
	"context"
	"time"

	"understudy.example/understudy/depot"
)

// Purposes of watermarks. A purpose is the mark of what it is for, so that the
// depot can tell what has it (depot.Recheck).
const (
	purposeDue     = markDue // and the policy
	purposeMissed  = markMissed
	purposeStalled = "stalled"

	// purposeSince, with the policy behind it, is for the revision of the
	// configuration for which the policy's lines were read: so many seconds
	// after 1970, because a watermark holds nothing else.
	purposeSince = "since:"
)

// A line is an order of items, of one configuration, in which time goes on: by
// notAfter, or by when acknowledgements stall. What lies between the line's
// watermark and its target at the time of a sweep may have something to
// announce. What comes to stand below the watermark, even while the line is
// read, is noted by the depot.
type line struct {
	key    depot.WatermarkKey
	from   time.Time // there is nothing to look for before it
	target time.Time // whole seconds
	again  bool      // read it again from there, wherever the watermark is
	read   reader
}

// A reader calls add for what lies in (after, until], and in between passed
// with a time up to which it has done so.
type reader func(ctx context.Context, after, until time.Time, add func(depot.WindowItem) error, passed func(time.Time) error) error

// follow announces what a line has since it was last read.
func (s *Sweeper) follow(ctx context.Context, l line, now time.Time) error {
	done, err := s.depot.Watermark(ctx, l.key)
	if err != nil {
		return err
	}
	b := batch{sweeper: s, now: now}
	if done.After(l.target) {
		// The clock went back. What comes to stand there from now on is not to
		// be noted and forgotten, but to be found when its time comes.
		if err := b.move(ctx, l.key, l.target); err != nil {
			return err
		}
		done = l.target
	}
	if l.again || done.Before(l.from) {
		done = l.from
	}
	if !done.Before(l.target) {
		return nil
	}
	something := false
	err = l.read(ctx, done, l.target,
		func(item depot.WindowItem) error { something = true; return b.add(ctx, item) },
		func(at time.Time) error { return b.move(ctx, l.key, at) })
	if err != nil || !something {
		return err // the watermark can as well stay
	}
	return b.move(ctx, l.key, l.target)
}

// sweep announces what time made of the items of one configuration.
func (s *Sweeper) sweep(ctx context.Context, c depot.Configuration, now time.Time) error {
	p, err := s.policies.of(ctx, c.ID)
	if err != nil {
		return err
	}
	since := depot.WatermarkKey{ConfigurationID: c.ID, Purpose: purposeSince + p.String()}
	revision := time.Unix(int64(c.Revision), 0).UTC()
	read, err := s.depot.Watermark(ctx, since)
	if err != nil {
		return err
	}
	// While another policy was in force, what came to stand below this one's
	// watermarks was noted, and looked at by the other.
	changed := !read.Equal(revision)
	lines, err := s.lines(ctx, c.ID, p, now, changed)
	if err != nil {
		return err
	}
	for _, l := range lines {
		if err := s.follow(ctx, l, now); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	b := batch{sweeper: s, now: now}
	return b.move(ctx, since, revision)
}

// lines returns those of one configuration; again: those that belong to the
// policy are read again.
func (s *Sweeper) lines(ctx context.Context, id string, p Policy, now time.Time, again bool) (all []line, err error) {
	lifetimes, err := s.depot.WindowLifetimes(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, lifetime := range lifetimes {
		all = append(all, line{
			key:    depot.WatermarkKey{ConfigurationID: id, Purpose: purposeDue + p.String(), Lifetime: lifetime},
			from:   seconds(now), // what ended before is missed, and the line of that announces both
			target: seconds(now.Add(p.Lead(lifetime))), again: again,
			read: s.readRanges(depot.WindowRange{ConfigurationID: id, Standing: depot.StandingCurrent, Lifetime: lifetime}),
		})
	}
	return append(all, line{
		key: depot.WatermarkKey{ConfigurationID: id, Purpose: purposeStalled}, target: seconds(now), read: s.readStalls(id),
	}, line{
		key: depot.WatermarkKey{ConfigurationID: id, Purpose: purposeMissed}, target: seconds(now), read: s.readRanges(
			depot.WindowRange{ConfigurationID: id, Standing: depot.StandingCurrent},
			depot.WindowRange{ConfigurationID: id, Standing: depot.StandingAcknowledged}),
	}), nil
}
