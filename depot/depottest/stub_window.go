package depottest

import (
	"context"
	"errors"
	"time"

	"understudy.example/understudy/depot"
)

var errNotBuilt = errors.New("not built yet")

func (*Memory) WindowItem(_ context.Context, _ string) (r0 depot.WindowItem, err error) {
	err = errNotBuilt
	return
}

func (*Memory) WindowItems(_ context.Context, _ depot.WindowQuery) (r0 depot.Page[depot.WindowItem], err error) {
	err = errNotBuilt
	return
}

func (*Memory) WindowCounts(_ context.Context, _ []depot.WindowRange) (r0 []int, err error) {
	err = errNotBuilt
	return
}

func (*Memory) WindowLifetimes(_ context.Context, _ string) (r0 []time.Duration, err error) {
	err = errNotBuilt
	return
}

func (*Memory) WindowItemsPast(_ context.Context, _ depot.WindowPastQuery) (r0 depot.Page[depot.WindowItem], err error) {
	err = errNotBuilt
	return
}

func (*Memory) LatestChange(_ context.Context) (r0 time.Time, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Standings(_ context.Context, _ []string) (r0 []depot.Standing, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Acknowledge(_ context.Context, _ depot.Acknowledgement) (r0 depot.WindowItem, r1 bool, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Unacknowledge(_ context.Context, _ string, _ string, _ time.Time) (r0 depot.WindowItem, r1 bool, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Settle(_ context.Context, _ depot.Settlement) (r0 int, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Rechecks(_ context.Context, _ int) (r0 []depot.Recheck, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Watermark(_ context.Context, _ depot.WatermarkKey) (r0 time.Time, err error) {
	err = errNotBuilt
	return
}

func (*Memory) StallsUntil(_ context.Context, _ string, _ time.Time, _ time.Time, _ int) (r0 []string, err error) {
	err = errNotBuilt
	return
}
