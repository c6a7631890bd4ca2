package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

const (
	// resumeFor is how long after its issue a certificate that was held back
	// may still be delivered: as long as Intune's challenges live.
	resumeFor = time.Hour
	// resumeEvery is how often those are looked at that nobody waits for.
	resumeEvery = time.Minute
)

// deliveries are the certificates that this process holds back now, so that a
// second request for one waits for what becomes of it.
type deliveries struct {
	mu     sync.Mutex
	ending map[string]chan struct{} // by certificate serial; closed at the end
}

// begin enters a certificate. It says false when it is there already; then the
// channel is closed when that one has ended.
func (d *deliveries) begin(certificateSerial string) (ended <-chan struct{}, begun bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, there := d.ending[certificateSerial]; there {
		return c, false
	}
	if d.ending == nil {
		d.ending = map[string]chan struct{}{}
	}
	d.ending[certificateSerial] = make(chan struct{})
	return nil, true
}

func (d *deliveries) end(certificateSerial string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.ending[certificateSerial])
	delete(d.ending, certificateSerial)
}

// turns let the requests of one transaction go one after the other: the second
// one finds what became of the first.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // closed when it is given back
}

// take waits for the turn of key, and returns what gives it back.
func (t *turns) take(ctx context.Context, key string) (done func(), err error) {
	for {
		t.mu.Lock()
		before, taken := t.taken[key]
		if !taken {
			break
		}
		t.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer t.mu.Unlock()
	if t.taken == nil {
		t.taken = map[string]chan struct{}{}
	}
	mine := make(chan struct{})
	t.taken[key] = mine
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.taken, key)
		close(mine)
	}, nil
}

// turn waits until no other request of the transaction is under way, where
// that matters: whoever must be told of certificates would be asked about one
// request twice, and be told that it failed while it succeeds.
func (f *flow) turn(ctx context.Context) (done func(), err error) {
	if _, holdsBack := f.request.Configuration.Validator.(challenge.Resumer); !holdsBack {
		return func() {}, nil
	}
	done, err = f.service.turns.take(ctx, f.request.Configuration.Record.ID+"/"+f.message.TransactionID)
	if err != nil {
		return nil, refusal.New(refusal.Busy, "another request of the transaction is under way")
	}
	return done, nil
}

// release ends the grant of a certificate that is stored. One that was held
// back is delivered or void afterwards: when whoever must be told of it first
// did not agree, or when nobody knows, its device never gets it.
func (f *flow) release(ctx context.Context, grant challenge.Grant, identity depot.Identity, certificate *x509.Certificate) (depot.Identity, error) {
	// A client that hangs up does not undo a certificate: it will ask again.
	err := grant.Issued(context.WithoutCancel(ctx), certificate)
	switch {
	case !grant.HoldsBack():
		if err != nil {
			err = fmt.Errorf("end grant: %w", err)
		}
		return identity, err
	case err != nil:
		return f.service.void(ctx, identity, err)
	}
	return f.service.delivered(ctx, identity)
}

// delivered says that a device may have its certificate.
func (s *Service) delivered(ctx context.Context, identity depot.Identity) (depot.Identity, error) {
	after, err := s.depot.Deliver(context.WithoutCancel(ctx), identity.CertificateSerial, s.clock.Now())
	if err != nil {
		// It stays held back, and is looked at again.
		return identity, fmt.Errorf("deliver certificate %s: %w", identity.CertificateSerial, err)
	}
	return after, nil
}

// void ends a certificate that its device will not get, and returns why.
func (s *Service) void(ctx context.Context, identity depot.Identity, cause error) (depot.Identity, error) {
	after, err := s.depot.Void(context.WithoutCancel(ctx), identity.CertificateSerial, cause.Error(), s.clock.Now())
	if err != nil {
		return identity, errors.Join(cause, fmt.Errorf("void certificate %s: %w", identity.CertificateSerial, err))
	}
	s.revoked(after.IssuerSHA256)
	return after, cause
}

// settled waits until it is known whether a certificate may be delivered, and
// returns it as it then is. One that a dead process left behind is taken up.
func (s *Service) settled(ctx context.Context, identity depot.Identity) (depot.Identity, error) {
	if !identity.HeldBack {
		return identity, nil
	}
	serial := identity.CertificateSerial
	ended, begun := s.deliveries.begin(serial)
	if begun {
		err := s.resumeOne(ctx, serial)
		s.deliveries.end(serial)
		if err != nil {
			return identity, refusal.New(refusal.Busy, "certificate %s is held back: %v", serial, err)
		}
	} else {
		select {
		case <-ended:
		case <-ctx.Done():
			return identity, refusal.New(refusal.Busy, "certificate %s is held back while another request for it is under way", serial)
		}
	}
	after, err := s.depot.Identity(ctx, serial)
	if err != nil {
		return identity, fmt.Errorf("find certificate %s: %w", serial, err)
	}
	if after.HeldBack {
		return after, refusal.New(refusal.Busy, "certificate %s is still held back", serial)
	}
	return after, nil
}

// resumeOne takes up one certificate that is held back.
func (s *Service) resumeOne(ctx context.Context, certificateSerial string) error {
	all, err := s.depot.Undelivered(ctx)
	if err != nil {
		return err
	}
	for _, u := range all {
		if u.Identity.CertificateSerial == certificateSerial {
			return s.resume(ctx, u)
		}
	}
	return nil // somebody ended it meanwhile
}

// resume does what a dead process left undone: it tells whoever must be told
// of the certificate, once more if it was told before. An error means that
// nobody knows yet.
func (s *Service) resume(ctx context.Context, u depot.Undelivered) error {
	grant, err := s.grantAgain(u)
	if err != nil {
		return s.give(s.void(ctx, u.Identity, err))
	}
	certificate, err := x509.ParseCertificate(u.Identity.DER)
	if err != nil {
		return fmt.Errorf("read stored certificate %s: %w", u.Identity.CertificateSerial, err)
	}
	switch err := grant.Issued(ctx, certificate); {
	case err == nil:
		return s.give(s.delivered(ctx, u.Identity))
	case errors.Is(err, challenge.ErrInDoubt):
		return err
	default:
		return s.give(s.void(ctx, u.Identity, err))
	}
}

// give returns an error only when the store could not say what became of a
// certificate: that it is void is an end too.
func (*Service) give(after depot.Identity, err error) error {
	if after.Void || !after.HeldBack {
		return nil
	}
	return err
}

// grantAgain makes the grant of a certificate that is held back anew. The
// error says why nobody can be told of it any more.
func (s *Service) grantAgain(u depot.Undelivered) (challenge.Grant, error) {
	id := u.Identity
	live, ok := s.configurations(id.ConfigurationID)
	if !ok {
		return nil, fmt.Errorf("never delivered: configuration %q is gone", id.ConfigurationName)
	}
	resumer, ok := live.Validator.(challenge.Resumer)
	switch {
	case !ok:
		return nil, fmt.Errorf("never delivered: configuration %q does not hold certificates back any more", id.ConfigurationName)
	case len(u.CSR) == 0:
		return nil, errors.New("never delivered: the request was lost with the database")
	case s.clock.Now().Sub(id.IssuedAt) > resumeFor:
		return nil, fmt.Errorf("never delivered: nobody could be told of it for %v", resumeFor)
	}
	return resumer.Resume(id.TransactionID, u.CSR), nil
}

// ResumeDeliveries takes up every certificate that a dead process left held
// back. The error says which ones are still in doubt.
func (s *Service) ResumeDeliveries(ctx context.Context) error {
	all, err := s.depot.Undelivered(ctx)
	if err != nil {
		return fmt.Errorf("find certificates that are held back: %w", err)
	}
	var doubts []error
	for _, u := range all {
		serial := u.Identity.CertificateSerial
		if _, begun := s.deliveries.begin(serial); !begun {
			continue // a request is at it
		}
		if err := s.resumeOne(ctx, serial); err != nil { // as it is now, not as it was
			doubts = append(doubts, fmt.Errorf("certificate %s: %w", serial, err))
		}
		s.deliveries.end(serial)
	}
	return errors.Join(doubts...)
}

// RunDeliveries takes up what is held back, now, every minute and whenever the
// clock was moved, until ctx ends.
func (s *Service) RunDeliveries(ctx context.Context, log *slog.Logger) {
	clock.Every(ctx, s.clock, resumeEvery, func(ctx context.Context) {
		if err := s.ResumeDeliveries(ctx); err != nil && ctx.Err() == nil {
			log.Error("certificates are held back, and it is not known whether they may be delivered", "error", err)
		}
	})
}
