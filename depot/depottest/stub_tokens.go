package depottest

import (
	"context"
	"time"

	"understudy.example/understudy/depot"
)

func (*Memory) AddToken(_ context.Context, _ depot.Token) (err error) {
	err = errNotBuilt
	return
}

func (*Memory) RemoveToken(_ context.Context, _ string, _ string, _ time.Time) (r0 depot.Token, err error) {
	err = errNotBuilt
	return
}

func (*Memory) Tokens(_ context.Context) (r0 []depot.Token, err error) {
	err = errNotBuilt
	return
}

func (*Memory) TokenBySHA256(_ context.Context, _ [32]byte) (r0 depot.Token, err error) {
	err = errNotBuilt
	return
}
