package depottest

import (
	"context"
	"time"

	"understudy.example/understudy/depot"
)

func (*Memory) SetLabClock(_ context.Context, _ depot.LabClock, _ time.Time) (err error) {
	err = errNotBuilt
	return
}

func (*Memory) LabClock(_ context.Context) (r0 depot.LabClock, err error) {
	err = errNotBuilt
	return
}

func (*Memory) RecordRejections(_ context.Context, _ depot.Rejections) (err error) {
	err = errNotBuilt
	return
}

func (*Memory) RecordSeeding(_ context.Context, _ depot.Seeding) (err error) {
	err = errNotBuilt
	return
}

func (*Memory) Seedings(_ context.Context) (r0 []depot.Seeding, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Await(_ context.Context, _ uint64) (err error) {
	err = errNotBuilt
	return
}

func (*Memory) LastEvent(_ context.Context) (r0 uint64, err error) {
	err = errNotBuilt
	return
}
