package redistribution

import (
	"context"
	"errors"
	"time"

	"understudy.example/understudy/depot"
)

// Purposes of watermarks: what the depot compares with when something comes to
// stand below one (depot.Recheck).
const (
	purposeDue     = "due:" // and the policy
	purposeMissed  = "missed"
	purposeStalled = "stalled"

	// purposeDone is before the purpose of the second watermark of a line.
	purposeDone = "done:"
	// purposeSince, with the policy behind it, is for the revision of the
	// configuration for which the policy's lines were read: so many seconds
	// after 1970, because a watermark holds nothing else.
	purposeSince = "since:"
)

// A line is an order of items, of one configuration, in which time goes on: by
// notAfter, or by when acknowledgements stall. What lies behind the line's
// target at the time of a sweep, and not behind that of the last one, may have
// something to announce.
//
// A line has two watermarks. The first is put at the target before the line is
// read, so that the depot notes what comes to stand below it from then on; the
// second follows when all that was read is announced. A crash between the two
// makes the next sweep read from the second one again, and nothing falls
// between reading and noting.
type line struct {
	noted, done depot.WatermarkKey
	from        time.Time // there is nothing to look for before it
	target      time.Time
	again       bool // read it again from there, wherever the watermarks are
	read        reader
}

// A reader calls add for what lies in (after, until], so many at a time, and
// in between passed with a time up to which it has done so.
type reader func(ctx context.Context, after, until time.Time, limit int, add func(depot.WindowItem) error, passed func(time.Time) error) error

func newLine(key depot.WatermarkKey, target time.Time, read reader) line {
	done := key
	done.Purpose = purposeDone + key.Purpose
	return line{noted: key, done: done, target: seconds(target), read: read}
}

// follow announces what a line has since it was last read.
func (s *Sweeper) follow(ctx context.Context, l line, now time.Time) error {
	b := batch{sweeper: s, now: now}
	noted, done, err := b.pullBack(ctx, l)
	if err != nil {
		return err
	}
	if l.again || done.Before(l.from) {
		done = l.from
	}
	if !done.Before(l.target) {
		return nil
	}
	something, err := l.something(ctx, done)
	if err != nil || !something {
		return err
	}
	if !noted.Equal(l.target) {
		b.settlement.Watermarks = []depot.Watermark{{WatermarkKey: l.noted, At: l.target}}
		if err := b.settle(ctx); err != nil {
			return err
		}
	}
	return l.announce(ctx, &b, done)
}

// pullBack returns where the line's watermarks are, and first pulls back to the
// target those that are beyond it, because the clock went back: what comes to
// stand there now is not to be noted, but to be found when its time comes.
func (b *batch) pullBack(ctx context.Context, l line) (noted, done time.Time, err error) {
	for key, at := range map[depot.WatermarkKey]*time.Time{l.noted: &noted, l.done: &done} {
		if *at, err = b.sweeper.depot.Watermark(ctx, key); err != nil {
			return noted, done, err
		}
		if at.After(l.target) {
			*at = l.target
			b.settlement.Watermarks = append(b.settlement.Watermarks, depot.Watermark{WatermarkKey: key, At: l.target})
		}
	}
	return noted, done, b.settle(ctx)
}

// something says whether there is anything to read.
func (l line) something(ctx context.Context, after time.Time) (bool, error) {
	enough := errors.New("enough")
	err := l.read(ctx, after, l.target, 1,
		func(depot.WindowItem) error { return enough },
		func(time.Time) error { return nil })
	if errors.Is(err, enough) {
		return true, nil
	}
	return false, err
}

// announce settles what lies behind a line, and the line itself.
func (l line) announce(ctx context.Context, b *batch, after time.Time) error {
	passed := func(at time.Time) error {
		b.settlement.Watermarks = []depot.Watermark{{WatermarkKey: l.done, At: at}}
		return b.settle(ctx)
	}
	add := func(item depot.WindowItem) error { return b.add(ctx, item) }
	if err := l.read(ctx, after, l.target, pageSize, add, passed); err != nil {
		return err
	}
	return passed(l.target)
}

// sweep announces what time made of the items of one configuration.
func (s *Sweeper) sweep(ctx context.Context, c depot.Configuration, now time.Time) error {
	p, err := s.policies.of(ctx, c.ID)
	if err != nil {
		return err
	}
	since := depot.Watermark{
		WatermarkKey: depot.WatermarkKey{ConfigurationID: c.ID, Purpose: purposeSince + p.String()}, At: time.Unix(int64(c.Revision), 0).UTC(),
	}
	read, err := s.depot.Watermark(ctx, since.WatermarkKey)
	if err != nil {
		return err
	}
	// While another policy was in force, what came to stand below this one's
	// watermarks was noted, and looked at by the other.
	changed := !read.Equal(since.At)
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
	b := batch{sweeper: s, settlement: depot.Settlement{Watermarks: []depot.Watermark{since}}}
	return b.settle(ctx)
}

// lines returns those of one configuration; again: those that belong to the
// policy are read again.
func (s *Sweeper) lines(ctx context.Context, id string, p Policy, now time.Time, again bool) (all []line, err error) {
	lifetimes, err := s.depot.WindowLifetimes(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, lifetime := range lifetimes {
		l := newLine(depot.WatermarkKey{ConfigurationID: id, Purpose: purposeDue + p.String(), Lifetime: lifetime},
			now.Add(p.Lead(lifetime)), s.readRanges(depot.WindowRange{ConfigurationID: id, Standing: depot.StandingCurrent, Lifetime: lifetime}))
		// What ended before is missed, and the line of that announces both.
		l.from, l.again = seconds(now), again
		all = append(all, l)
	}
	stalled := newLine(depot.WatermarkKey{ConfigurationID: id, Purpose: purposeStalled}, now, s.readStalls(id))
	missed := newLine(depot.WatermarkKey{ConfigurationID: id, Purpose: purposeMissed}, now, s.readRanges(
		depot.WindowRange{ConfigurationID: id, Standing: depot.StandingCurrent},
		depot.WindowRange{ConfigurationID: id, Standing: depot.StandingAcknowledged}))
	return append(all, stalled, missed), nil
}
