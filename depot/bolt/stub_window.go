package bolt

import (
	"context"
	"errors"
	"time"

	"understudy.example/understudy/depot"
)

var errNotBuilt = errors.New("not built yet")

func (*Depot) WindowItem(_ context.Context, _ string) (r0 depot.WindowItem, err error) {
	err = errNotBuilt
	return
}

func (*Depot) WindowItems(_ context.Context, _ depot.WindowQuery) (r0 depot.Page[depot.WindowItem], err error) {
	err = errNotBuilt
	return
}

func (*Depot) WindowCounts(_ context.Context, _ []depot.WindowRange) (r0 []int, err error) {
	err = errNotBuilt
	return
}

func (*Depot) WindowLifetimes(_ context.Context, _ string) (r0 []time.Duration, err error) {
	err = errNotBuilt
	return
}

func (*Depot) WindowItemsPast(_ context.Context, _ depot.WindowPastQuery) (r0 depot.Page[depot.WindowItem], err error) {
	err = errNotBuilt
	return
}

func (*Depot) LatestChange(_ context.Context) (r0 time.Time, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Standings(_ context.Context, _ []string) (r0 []depot.Standing, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Acknowledge(_ context.Context, _ depot.Acknowledgement) (r0 depot.WindowItem, r1 bool, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Unacknowledge(_ context.Context, _ string, _ string, _ time.Time) (r0 depot.WindowItem, r1 bool, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Settle(_ context.Context, _ depot.Settlement) (r0 int, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Rechecks(_ context.Context, _ int) (r0 []depot.Recheck, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Watermark(_ context.Context, _ depot.WatermarkKey) (r0 time.Time, err error) {
	err = errNotBuilt
	return
}

func (*Depot) StallsUntil(_ context.Context, _ string, _ time.Time, _ time.Time, _ int) (r0 []string, err error) {
	err = errNotBuilt
	return
}

func (b *batch) upgradeStanding(stored[depot.Identity], []byte) error { return nil }
