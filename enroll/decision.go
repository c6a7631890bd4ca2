package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// Approve issues the certificate that a pending request asks for, and returns
// the request as it then is. by is who decided, note what they said about it.
//
// Policy and list of devices are asked again, as they are now; a refusal leaves
// the request pending. The certificate and the decision are stored in one step,
// and the client gets the certificate when it asks again. Errors:
// depot.ErrNotFound (the request, or its configuration), depot.ErrDecided, a
// *refusal.Error, and those of the depot.
func (s *Service) Approve(ctx context.Context, requestID, by, note string) (depot.Request, error) {
	s.deciding.Lock() // so that of two only one makes a certificate
	defer s.deciding.Unlock()
	s.auditor.begin()
	defer s.auditor.end()
	var err error
	for range maxRounds {
		var decided depot.Request
		decided, err = s.approve(ctx, requestID, by, note)
		switch {
		case err == nil:
			s.backlog.remove(decided.Transaction.ConfigurationID)
			return decided, nil
		case !overtaken(err):
			return depot.Request{}, fmt.Errorf("approve: %w", err)
		}
	}
	return depot.Request{}, fmt.Errorf("approve: request %s: %w", requestID, err)
}

func (s *Service) approve(ctx context.Context, requestID, by, note string) (depot.Request, error) {
	at := clock.Read(s.clock)
	now := at.Time
	r, err := s.undecided(ctx, requestID, now)
	if err != nil {
		return depot.Request{}, err
	}
	live, ok := s.configurations(r.Transaction.ConfigurationID)
	if !ok {
		return depot.Request{}, fmt.Errorf("configuration %q of request %s: %w", r.Draft.ConfigurationName, r.ID, depot.ErrNotFound)
	}
	permit, err := s.permit(ctx, live, r, now)
	if err != nil {
		return depot.Request{}, err
	}
	last, err := s.depot.Transaction(ctx, r.Transaction.ConfigurationID, r.Transaction.ID)
	if err != nil && !errors.Is(err, depot.ErrNotFound) {
		return depot.Request{}, fmt.Errorf("find transaction: %w", err)
	}
	certificate, err := s.authority.Issue(permit)
	if err != nil {
		return depot.Request{}, fmt.Errorf("issue certificate: %w", err)
	}
	transaction := r.Transaction
	transaction.CertificateSerial, transaction.At = serialOf(certificate), now
	draft := r.Draft
	draft.ConfigurationName, draft.Purpose = live.Record.Name, string(live.Record.Purpose) // they may have changed while it waited
	identity := s.issued(draft, certificate, at, live.Record.Policy)
	decided, err := s.depot.Decide(context.WithoutCancel(ctx), depot.Decision{
		RequestID: r.ID, State: depot.RequestApproved, At: now, By: by, Note: note,
		Issuance: &depot.Issuance{
			Transaction: transaction, Identity: identity,
			Challenge: r.Challenge, Supersedes: r.Supersedes, After: last.Sequence,
		},
	})
	switch {
	case errors.Is(err, depot.ErrChallengeSpent):
		return depot.Request{}, refusal.New(refusal.ChallengeUsed, "challenge %s was spent or withdrawn meanwhile", r.Challenge.ID)
	case err != nil:
		return depot.Request{}, fmt.Errorf("store decision: %w", err)
	}
	s.auditor.enqueue(identity)
	return decided, nil
}

// undecided returns a request that is pending at a time.
func (s *Service) undecided(ctx context.Context, requestID string, now time.Time) (depot.Request, error) {
	r, err := s.depot.Request(ctx, requestID)
	if err != nil {
		return depot.Request{}, fmt.Errorf("find request: %w", err)
	}
	if state := r.StateAt(now); state != depot.RequestPending {
		return depot.Request{}, fmt.Errorf("request %s is %s: %w", r.ID, state, depot.ErrDecided)
	}
	return r, nil
}

// permit asks again what was asked when the request came: only its challenge
// is not looked at a second time.
func (s *Service) permit(ctx context.Context, live *configuration.Live, r depot.Request, now time.Time) (*ca.Permit, error) {
	csr, err := x509.ParseCertificateRequest(r.CSR)
	if err != nil {
		return nil, fmt.Errorf("read CSR of request %s: %w", r.ID, err)
	}
	permit, err := live.Policy.Check(csr, now)
	if err != nil {
		return nil, err
	}
	if err := s.listed(ctx, live.Record, r.Draft.Device); err != nil {
		return nil, err
	}
	if r.Supersedes == "" {
		return permit, nil
	}
	old, err := s.depot.Identity(ctx, r.Supersedes)
	switch {
	case err != nil:
		return nil, fmt.Errorf("find certificate that is renewed: %w", err)
	case !old.RevokedAt.IsZero() || !old.SupersededAt.IsZero():
		return nil, refusal.New(refusal.SignerNotTrusted, "certificate %s, which is to be renewed, was revoked or renewed meanwhile", r.Supersedes)
	}
	return permit, nil
}

// Deny ends a pending request without a certificate, and returns it as it then
// is. Errors: depot.ErrNotFound, depot.ErrDecided, and those of the depot.
func (s *Service) Deny(ctx context.Context, requestID, by, note string) (depot.Request, error) {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	now := s.clock.Now()
	r, err := s.undecided(ctx, requestID, now)
	if err != nil {
		return depot.Request{}, fmt.Errorf("deny: %w", err)
	}
	r, err = s.depot.Decide(context.WithoutCancel(ctx), depot.Decision{
		RequestID: r.ID, State: depot.RequestDenied, At: now, By: by, Note: note,
	})
	if err != nil {
		return depot.Request{}, fmt.Errorf("deny: %w", err)
	}
	s.backlog.remove(r.Transaction.ConfigurationID)
	return r, nil
}
