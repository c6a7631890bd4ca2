package upkeep

import (
	"context"
	"log/slog"

	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/depot/bolt"
)

// Rebuild makes the database in a store directory anew from its ledger, with
// every certificate held against the authority. acceptLoss is
// bolt.RebuildOptions.AcceptLoss.
func Rebuild(ctx context.Context, dir datadir.Dir, store string, acceptLoss bool, log *slog.Logger) (bolt.Rebuilt, error) {
	known := generations{}
	return bolt.Rebuild(ctx, store, bolt.RebuildOptions{
		Log:         log,
		AcceptLoss:  acceptLoss,
		Certificate: known.check,
		Authority:   known.add,
		Last:        func() error { return known.holds(dir) },
	})
}
