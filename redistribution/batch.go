package redistribution

import (
	"context"
	"errors"
	"slices"
	"time"

	"understudy.example/understudy/depot"
)

// maxAnnouncements is how many a depot takes at once.
const maxAnnouncements = 256

// A batch collects a piece of a sweep and settles it: announcements before
// what says that they are done.
type batch struct {
	sweeper    *Sweeper
	now        time.Time
	settlement depot.Settlement
}

// look adds what is missing of an identity. One that is held back has nothing.
func (b *batch) look(ctx context.Context, certificateSerial string) error {
	item, err := b.sweeper.depot.WindowItem(ctx, certificateSerial)
	if errors.Is(err, depot.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.add(ctx, item)
}

// add adds what is missing of an item.
func (b *batch) add(ctx context.Context, item depot.WindowItem) error {
	p, live, err := b.policy(ctx, item.Identity.ConfigurationID)
	if err != nil {
		return err
	}
	missing := Missing(item, p, b.now)
	if !live {
		missing = slices.DeleteFunc(missing, ofTime)
	}
	if len(b.settlement.Announcements)+len(missing) > maxAnnouncements {
		if err := b.settle(ctx); err != nil {
			return err
		}
	}
	b.settlement.Announcements = append(b.settlement.Announcements, missing...)
	return nil
}

// policy returns that of a configuration, and whether devices can enrol there.
func (b *batch) policy(ctx context.Context, id string) (p Policy, live bool, err error) {
	c, err := b.sweeper.depot.Configuration(ctx, id)
	if err != nil {
		return p, false, err
	}
	p, err = b.sweeper.policies.of(ctx, id)
	return p, c.RemovedAt.IsZero(), err
}

// ofTime selects what asks for an enrolment, which a configuration that is
// removed cannot serve.
func ofTime(a depot.Announcement) bool {
	switch a.Type {
	case depot.EventRedistributionDue, depot.EventRedistributionStalled, depot.EventRedistributionMissed:
		return true
	}
	return false
}

// move settles what was collected, and puts a watermark there.
func (b *batch) move(ctx context.Context, key depot.WatermarkKey, to time.Time) error {
	b.settlement.Watermarks = []depot.Watermark{{WatermarkKey: key, At: to}}
	return b.settle(ctx)
}

// settle stores what was collected, in the order in which it happened, and
// begins anew.
func (b *batch) settle(ctx context.Context) error {
	s := b.settlement
	slices.SortStableFunc(s.Announcements, func(a, b depot.Announcement) int { return a.At.Compare(b.At) })
	if len(s.Announcements) == 0 && len(s.Rechecked) == 0 && len(s.Watermarks) == 0 {
		return nil
	}
	if _, err := b.sweeper.depot.Settle(ctx, s); err != nil {
		return err
	}
	b.settlement = depot.Settlement{}
	return nil
}
