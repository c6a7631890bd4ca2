// Package revocation says to the world what the depot knows of certificates
// that are not to be trusted any longer: by CRLs, by OCSP, and by revoking
// those that were never used.
//
// It must not know HTTP, SCEP, or why an operator revokes: it takes revocations
// to the depot and answers from there.
//
// Two answers can differ for a moment. OCSP answers from the depot at every
// request; a CRL is made when somebody asks for one after a change, or on
// schedule, and readers keep either for as long as it allows.
package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// Authority is who signs: ca.Authority.
type Authority interface {
	// Generations returns the issuer in force and those before it.
	Generations() []ca.Generation
	// SignCRL signs a full CRL of any generation.
	SignCRL(issuer *x509.Certificate, number *big.Int, thisUpdate, nextUpdate time.Time, revoked []ca.RevokedEntry) ([]byte, error)
	// OCSPResponder returns who signs OCSP answers for an issuer.
	OCSPResponder(issuer *x509.Certificate) (ca.Responder, error)
}

// Depot is the part of depot.Depot that is needed here.
type Depot interface {
	depot.Revocations
	// Identity finds by certificate serial. ErrNotFound.
	Identity(ctx context.Context, certificateSerial string) (depot.Identity, error)
}

// Options are what the types of this package are made with. Zero fields mean
// the defaults.
type Options struct {
	Clock clock.Clock  // nil: the machine's own
	Log   *slog.Logger // nil: none
	// CRLValidity is the time from a CRL to its nextUpdate; the next one is
	// made when half of it is over. 0: 24 hours.
	CRLValidity time.Duration
	// OCSPValidity is the time from an OCSP answer to its nextUpdate. 0: one
	// hour.
	OCSPValidity time.Duration
	// MaxAge is how long a cache may keep an OCSP answer, and never more than
	// until its nextUpdate. 0: five minutes.
	MaxAge time.Duration
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.CRLValidity == 0 {
		o.CRLValidity = 24 * time.Hour
	}
	if o.OCSPValidity == 0 {
		o.OCSPValidity = time.Hour
	}
	if o.MaxAge == 0 {
		o.MaxAge = 5 * time.Minute
	}
	return o
}

// A Service takes revocations to the depot and sees to it that no CRL from
// before is given out afterwards. It is safe for concurrent use.
type Service struct {
	depot     Depot
	publisher *Publisher
	clock     clock.Clock
	log       *slog.Logger
}

// NewService returns the service that revokes in a depot, for the CRLs of a
// publisher.
func NewService(d Depot, p *Publisher, o Options) *Service {
	o = o.withDefaults()
	return &Service{depot: d, publisher: p, clock: o.Clock, log: o.Log}
}

// Revoke revokes a certificate, puts it on hold or lets it go from there, as
// depot.Revocations.Revoke says, and returns it as stored. A zero At means now.
// When it returns, OCSP answers so and the next CRL that anybody is given was
// made afterwards. The errors are those of the depot.
func (s *Service) Revoke(ctx context.Context, r depot.Revocation) (depot.Identity, error) {
	if r.At.IsZero() {
		r.At = s.clock.Now()
	}
	identity, err := s.depot.Revoke(ctx, r)
	switch {
	case err == nil:
		s.publisher.Changed(identity.IssuerSHA256)
		s.log.Info("revocation", "certificate_serial", r.CertificateSerial, "reason", string(r.Reason), "by", r.By)
		return identity, nil
	case !errors.Is(err, depot.ErrNotFound) && !errors.Is(err, depot.ErrRevoked) && !errors.Is(err, depot.ErrInvalid):
		s.publisher.Changed() // it may have happened
	}
	return depot.Identity{}, fmt.Errorf("revoke: %w", err)
}
