package revocation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/ocsp"
)

// A Responder answers OCSP requests from the depot. It is safe for concurrent
// use.
//
// It speaks for every generation of the authority as long as its issuer is
// valid, and about device certificates only: the authority's own certificates
// (the RA, the responders) are not in the depot and are unknown to it.
type Responder struct {
	authority   Authority
	depot       Depot
	clock       clock.Clock
	log         *slog.Logger
	validity    time.Duration
	cacheAtMost time.Duration
}

// NewResponder returns a responder for what a depot keeps, signed for an
// authority.
func NewResponder(a Authority, d Depot, o Options) *Responder {
	o = o.withDefaults()
	return &Responder{authority: a, depot: d, clock: o.Clock, log: o.Log, validity: o.OCSPValidity, cacheAtMost: o.MaxAge}
}

// An Answer is what a client gets.
type Answer struct {
	DER    []byte      // an OCSPResponse, whatever happened
	Status ocsp.Status // what DER says of the request as a whole
	// MaxAge is how long a cache may keep the answer (RFC 5019 §6.2); 0: not at
	// all, because it holds a nonce, may change at any moment or is none.
	MaxAge time.Duration
	// ThisUpdate and NextUpdate are those of all certificates in it; zero when
	// it speaks of none.
	ThisUpdate, NextUpdate time.Time
}

// Respond answers a request in DER (RFC 6960 §2). What it asks about has to be
// of one issuer, because a responder can be believed for one only:
//
//   - not a request that package ocsp takes: malformedRequest;
//   - the issuer is not ours, or has ended, or there are several: unauthorized;
//   - the depot or the keys fail: tryLater or internalError, logged as an error.
//
// A certificate is good when the depot has it, and unknown when it never issued
// it. It is revoked while it is on hold, and when it is void: it was signed,
// but nobody was to have it.
func (r *Responder) Respond(ctx context.Context, request []byte) Answer {
	question, err := ocsp.ParseRequest(request)
	if err != nil {
		r.log.Debug("OCSP request refused", "error", err)
		return failure(ocsp.MalformedRequest)
	}
	now := r.clock.Now().UTC().Truncate(time.Second)
	issuer := r.issuer(question.CertIDs, now)
	if issuer == nil {
		r.log.Debug("OCSP request for an issuer that is not ours")
		return failure(ocsp.Unauthorized)
	}
	answer, err := r.answer(ctx, question, issuer, now)
	switch {
	case err == nil:
		return answer
	case ctx.Err() != nil:
		r.log.Debug("OCSP request given up", "error", err)
		return failure(ocsp.TryLater)
	case errors.Is(err, depot.ErrUnavailable):
		r.log.Error("OCSP request not answered", "error", err)
		return failure(ocsp.TryLater)
	}
	r.log.Error("OCSP request not answered", "error", err)
	return failure(ocsp.InternalError)
}

func failure(s ocsp.Status) Answer { return Answer{DER: ocsp.Failure(s), Status: s} }

// issuer returns the one issuer of ours that all of a request is about, or nil.
func (r *Responder) issuer(ids []ocsp.CertID, now time.Time) *x509.Certificate {
	for _, g := range r.authority.Generations() {
		if !ids[0].IssuedBy(g.Issuer) {
			continue
		}
		for _, id := range ids[1:] {
			if !id.IssuedBy(g.Issuer) {
				return nil
			}
		}
		if now.After(g.Issuer.NotAfter) {
			return nil
		}
		return g.Issuer
	}
	return nil
}

func (r *Responder) answer(ctx context.Context, question *ocsp.Request, issuer *x509.Certificate, now time.Time) (Answer, error) {
	signer, err := r.authority.OCSPResponder(issuer)
	if err != nil {
		return Answer{}, err
	}
	next := now.Add(r.validity)
	if next.After(signer.Certificate.NotAfter) {
		next = signer.Certificate.NotAfter
	}
	response := ocsp.Response{Certificate: signer.Certificate, ProducedAt: now, Nonce: question.Nonce}
	cacheable := question.Nonce == nil
	for _, id := range question.CertIDs {
		s := ocsp.SingleResponse{ID: id, ThisUpdate: now, NextUpdate: next}
		if err := r.look(ctx, &s, sha256.Sum256(issuer.Raw)); err != nil {
			return Answer{}, err
		}
		cacheable = cacheable && s.Status != ocsp.Unknown // it may be issued in a moment
		response.Responses = append(response.Responses, s)
	}
	der, err := response.Sign(signer.Key)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{DER: der, Status: ocsp.Successful, ThisUpdate: now, NextUpdate: next}
	if cacheable {
		answer.MaxAge = max(0, min(r.cacheAtMost, next.Sub(now)))
	}
	return answer, nil
}

// look fills in what the depot knows of a certificate.
func (r *Responder) look(ctx context.Context, s *ocsp.SingleResponse, issuer [32]byte) error {
	s.Status = ocsp.Unknown
	if s.ID.Serial.Sign() <= 0 {
		return nil
	}
	identity, err := r.depot.Identity(ctx, ca.FormatSerial(s.ID.Serial))
	switch {
	case errors.Is(err, depot.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look for certificate: %w", err)
	case identity.IssuerSHA256 != issuer:
		return nil // another generation's: this issuer has none of this serial
	case !identity.RevokedAt.IsZero():
		code, known := depot.RevocationReason(identity.RevocationReason).Code()
		if !known {
			return fmt.Errorf("certificate %s is revoked for the reason %q, which is none: run understudy audit verify", identity.CertificateSerial, identity.RevocationReason)
		}
		s.Status, s.RevokedAt, s.Reason = ocsp.Revoked, identity.RevokedAt, code
	case identity.Void:
		s.Status, s.RevokedAt = ocsp.Revoked, identity.IssuedAt
	default:
		s.Status = ocsp.Good
	}
	return nil
}
