package revocation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

const (
	// sweepEvery is how often Run looks for certificates that nobody used,
	// besides after every move of the clock.
	sweepEvery = time.Minute
	// sweepBatch is how many are read at a time.
	sweepBatch = 100
	// byUnused is who revokes them.
	byUnused = "policy: unused"
)

// A Sweeper revokes certificates that nobody used in the time that their
// configuration gave them (depot.Identity.RevokeUnusedAt). It is safe for
// concurrent use.
type Sweeper struct {
	depot   Depot
	service *Service
	clock   clock.Clock
	log     *slog.Logger
}

// NewSweeper returns a sweeper that revokes through a service.
func NewSweeper(d Depot, s *Service, o Options) *Sweeper {
	o = o.withDefaults()
	return &Sweeper{depot: d, service: s, clock: o.Clock, log: o.Log}
}

// Sweep revokes what is due now, with the reason cessationOfOperation, and
// returns how many that were. It stops at the first error: what was revoked
// stays so, and the next call goes on.
func (s *Sweeper) Sweep(ctx context.Context) (int, error) {
	swept := 0
	for {
		now := s.clock.Now()
		batch, err := s.depot.UnusedSince(ctx, now, sweepBatch)
		if err != nil {
			return swept, fmt.Errorf("sweep: find certificates that were not used: %w", err)
		}
		before := swept
		for _, unused := range batch {
			revoked, err := s.revoke(ctx, unused, now)
			if err != nil {
				return swept, fmt.Errorf("sweep: %w", err)
			}
			if revoked {
				swept++
			}
		}
		if swept == before { // nothing, or others were quicker with all of them
			return swept, nil
		}
	}
}

// revoke revokes one certificate, unless it was used or revoked since the
// batch was read.
func (s *Sweeper) revoke(ctx context.Context, unused depot.Identity, now time.Time) (bool, error) {
	fresh, err := s.depot.Identity(ctx, unused.CertificateSerial)
	if err != nil {
		return false, err
	}
	if !fresh.Unused() {
		return false, nil
	}
	_, err = s.service.Revoke(ctx, depot.Revocation{
		CertificateSerial: unused.CertificateSerial, Reason: depot.ReasonCessationOfOperation, At: now, By: byUnused,
		Note: "not used until " + unused.RevokeUnusedAt.UTC().Format(time.RFC3339),
	})
	if errors.Is(err, depot.ErrRevoked) {
		return false, nil
	}
	return err == nil, err
}

// Run sweeps from time to time until the context ends.
func (s *Sweeper) Run(ctx context.Context) {
	clock.Every(ctx, s.clock, sweepEvery, func(ctx context.Context) {
		swept, err := s.Sweep(ctx)
		if swept > 0 {
			s.log.Info("revoked certificates that were not used", "count", swept)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Error("certificates that were not used are not all revoked", "error", err)
		}
	})
}
