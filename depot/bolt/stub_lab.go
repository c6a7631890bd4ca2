package bolt

import (
	"context"
	"time"

	"understudy.example/understudy/depot"
)

func (*Depot) SetLabClock(_ context.Context, _ depot.LabClock, _ time.Time) (err error) {
	err = errNotBuilt
	return
}

func (*Depot) LabClock(_ context.Context) (r0 depot.LabClock, err error) {
	err = errNotBuilt
	return
}

func (*Depot) RecordRejections(_ context.Context, _ depot.Rejections) (err error) {
	err = errNotBuilt
	return
}

func (*Depot) RecordSeeding(_ context.Context, _ depot.Seeding) (err error) {
	err = errNotBuilt
	return
}

func (*Depot) Seedings(_ context.Context) (r0 []depot.Seeding, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Await(_ context.Context, _ uint64) (err error) {
	err = errNotBuilt
	return
}

func (*Depot) LastEvent(_ context.Context) (r0 uint64, err error) {
	err = errNotBuilt
	return
}
