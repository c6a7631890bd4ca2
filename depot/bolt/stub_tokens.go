package bolt

import (
	"context"
	"time"

	"understudy.example/understudy/depot"
)

func (*Depot) AddToken(_ context.Context, _ depot.Token) (err error) {
	err = errNotBuilt
	return
}

func (*Depot) RemoveToken(_ context.Context, _ string, _ string, _ time.Time) (r0 depot.Token, err error) {
	err = errNotBuilt
	return
}

func (*Depot) Tokens(_ context.Context) (r0 []depot.Token, err error) {
	err = errNotBuilt
	return
}

func (*Depot) TokenBySHA256(_ context.Context, _ [32]byte) (r0 depot.Token, err error) {
	err = errNotBuilt
	return
}
