package revocation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

const (
	// publishEvery is how often Run looks whether a CRL is due, besides after
	// every move of the clock.
	publishEvery = time.Minute
	// buildLimit is how long the making of a CRL may take.
	buildLimit = time.Minute
	// retryAfter is how long a failure to make a CRL is the answer to those
	// who ask, so that many who ask do not make it worse.
	retryAfter = time.Second
	// pageSize is how many revocations are read at a time.
	pageSize = 500
)

// ErrIssuerEnded says that an issuer's certificate has expired. Nobody would
// believe another CRL of it.
var ErrIssuerEnded = errors.New("the issuer has ended")

// A CRL is a full certificate revocation list of one issuer (RFC 5280 §5).
type CRL struct {
	DER        []byte // not to be changed
	Number     uint64
	ThisUpdate time.Time
	NextUpdate time.Time
}

// A Publisher makes the CRL of every generation of the authority, and keeps
// the last one of each until it is due: when something was revoked, when half
// of its validity is over, or when the clock went back behind it. It is safe
// for concurrent use.
//
// Numbers come from the depot and are at least the Unix time, so that they
// rise even over the loss of the store. They also say when an entry may leave:
// RFC 5280 §3.3 wants a revoked certificate on one CRL from after its expiry,
// so it is left out when the CRL before was made at least one validity after
// its notAfter. Nothing about that has to be remembered beside the number. A
// certificate that is revoked when it has long expired is on none.
type Publisher struct {
	authority Authority
	depot     Depot
	clock     clock.Clock
	log       *slog.Logger
	validity  time.Duration

	mu      sync.Mutex
	issuers map[[32]byte]*publication
}

// NewPublisher returns a publisher of what a depot keeps, signed by an
// authority.
func NewPublisher(a Authority, d Depot, o Options) *Publisher {
	o = o.withDefaults()
	return &Publisher{
		authority: a, depot: d, clock: o.Clock, log: o.Log, validity: o.CRLValidity,
		issuers: map[[32]byte]*publication{},
	}
}

// A publication is what one issuer publishes. The publisher's mutex guards it.
type publication struct {
	changes uint64 // how often something changed
	current CRL    // DER is nil when there is none
	knows   uint64 // the changes that current has in it
	making  *making
	failed  *making   // the last one, if it failed
	retry   time.Time // not before, of the machine's monotonic clock
}

// making is a CRL being made. Its results are there when done is closed.
type making struct {
	done  chan struct{}
	knows uint64
	crl   CRL
	err   error
}

// Changed says that certificates of issuers, named by the SHA-256 of their
// certificates, were revoked or let go; without any, that those of all issuers
// may have been. CRLs from before are not given out any more.
func (p *Publisher) Changed(issuers ...[32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, issuer := range issuers {
		p.publication(issuer).changes++
	}
	if len(issuers) == 0 {
		for _, s := range p.issuers {
			s.changes++
		}
	}
}

// publication returns that of an issuer. The mutex is held.
func (p *Publisher) publication(issuer [32]byte) *publication {
	s := p.issuers[issuer]
	if s == nil {
		s = &publication{}
		p.issuers[issuer] = s
	}
	return s
}

// CRL returns the CRL of an issuer of whatever generation. It has in it
// everything that was revoked before the call, unless making it failed: then
// the last one is given out from its thisUpdate until its nextUpdate, and the
// error at any other time. ca.ErrNotOurs, ErrIssuerEnded.
func (p *Publisher) CRL(ctx context.Context, issuer *x509.Certificate) (CRL, error) {
	if !p.ours(issuer) {
		return CRL{}, fmt.Errorf("publish CRL: %w", ca.ErrNotOurs)
	}
	name := sha256.Sum256(issuer.Raw)
	p.mu.Lock()
	s := p.publication(name)
	wanted := s.changes
	for {
		now := p.clock.Now()
		if !now.Before(issuer.NotAfter) { // looked at each time round: the clock may have been moved
			defer p.mu.Unlock()
			return CRL{}, fmt.Errorf("publish CRL: %w on %s", ErrIssuerEnded, issuer.NotAfter.Format(time.RFC3339))
		}
		if s.fresh(now, p.validity) {
			defer p.mu.Unlock()
			return s.current, nil
		}
		if s.failed != nil && time.Now().Before(s.retry) {
			defer p.mu.Unlock()
			return s.last(now, s.failed.err)
		}
		if s.making == nil {
			s.making = &making{done: make(chan struct{}), knows: s.changes}
			go p.make(context.WithoutCancel(ctx), issuer, s, s.making)
		}
		m := s.making
		p.mu.Unlock()
		select {
		case <-m.done:
		case <-ctx.Done():
			return CRL{}, fmt.Errorf("publish CRL: %w", context.Cause(ctx))
		}
		p.mu.Lock()
		if m.err != nil {
			defer p.mu.Unlock()
			return s.last(p.clock.Now(), m.err)
		}
		if m.knows >= wanted && m.crl.inForce(p.clock.Now()) {
			defer p.mu.Unlock()
			return m.crl, nil
		}
		// It was begun before a change that the caller knows of, or before the
		// clock was moved.
	}
}

// ours says whether a certificate is the issuer of a generation.
func (p *Publisher) ours(issuer *x509.Certificate) bool {
	for _, g := range p.authority.Generations() {
		if issuer != nil && g.Issuer.Equal(issuer) {
			return true
		}
	}
	return false
}

// fresh says whether the last CRL can be given out without looking further.
func (s *publication) fresh(now time.Time, validity time.Duration) bool {
	c := s.current
	return s.knows == s.changes && c.inForce(now) && now.Before(c.ThisUpdate.Add(validity/2))
}

// inForce says whether there is a CRL that may be given out at a time: one
// from the future was made before the clock went back.
func (c CRL) inForce(now time.Time) bool {
	return c.DER != nil && !now.Before(c.ThisUpdate) && now.Before(c.NextUpdate)
}

// last returns the last CRL while it is valid, and after that why there is no
// other.
func (s *publication) last(now time.Time, cause error) (CRL, error) {
	if !s.current.inForce(now) {
		return CRL{}, fmt.Errorf("publish CRL: %w", cause)
	}
	return s.current, nil
}

// make makes a CRL for everybody who waits for it.
func (p *Publisher) make(ctx context.Context, issuer *x509.Certificate, s *publication, m *making) {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	m.crl, m.err = p.build(ctx, issuer)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(m.done)
	s.making = nil
	if m.err != nil {
		s.failed, s.retry = m, time.Now().Add(retryAfter)
		p.log.Error("CRL not renewed", "issuer", hex.EncodeToString(issuer.SubjectKeyId), "error", m.err,
			"last_number", s.current.Number, "last_valid_until", s.current.NextUpdate)
		return
	}
	s.failed, s.current, s.knows = nil, m.crl, m.knows
	p.log.Info("CRL published", "issuer", hex.EncodeToString(issuer.SubjectKeyId), "number", m.crl.Number, "next_update", m.crl.NextUpdate)
}

// build makes the next CRL of an issuer.
func (p *Publisher) build(ctx context.Context, issuer *x509.Certificate) (CRL, error) {
	name := sha256.Sum256(issuer.Raw)
	c := CRL{ThisUpdate: p.clock.Now().UTC().Truncate(time.Second)}
	if c.NextUpdate = c.ThisUpdate.Add(p.validity); c.NextUpdate.After(issuer.NotAfter) {
		c.NextUpdate = issuer.NotAfter
	}
	last, err := p.depot.LastCRLNumber(ctx, name)
	if err != nil {
		return CRL{}, fmt.Errorf("read the last CRL number: %w", err)
	}
	revoked, err := p.revoked(ctx, depot.RevokedQuery{IssuerSHA256: name, NotAfterFrom: keptFrom(last, c.ThisUpdate, p.validity), Limit: pageSize})
	if err != nil {
		return CRL{}, fmt.Errorf("read what is revoked: %w", err)
	}
	if c.Number, err = p.depot.TakeCRLNumber(ctx, name, uint64(max(c.ThisUpdate.Unix(), 1))); err != nil {
		return CRL{}, fmt.Errorf("take a CRL number: %w", err)
	}
	c.DER, err = p.authority.SignCRL(issuer, new(big.Int).SetUint64(c.Number), c.ThisUpdate, c.NextUpdate, revoked)
	return c, err
}

// keptFrom returns the notAfter from which certificates are on a CRL, when
// last is the number of the one before: a validity before that one was made.
// Its number is the Unix time of that, or somewhat more when several were made
// within a second. A number from the future was given out before a clock went
// back, and counts as now.
func keptFrom(last uint64, now time.Time, validity time.Duration) time.Time {
	if last == 0 {
		return time.Time{}
	}
	return time.Unix(int64(min(last, uint64(max(now.Unix(), 0)))), 0).Add(-validity).UTC()
}

// revoked reads all pages.
func (p *Publisher) revoked(ctx context.Context, q depot.RevokedQuery) ([]ca.RevokedEntry, error) {
	var all []ca.RevokedEntry
	for {
		page, err := p.depot.Revoked(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Items {
			serial, err := ca.ParseSerial(r.CertificateSerial)
			if err != nil {
				return nil, err
			}
			code, known := r.Reason.Code()
			if !known {
				return nil, fmt.Errorf("certificate %s is revoked for the reason %q, which is none: run understudy audit verify", r.CertificateSerial, r.Reason)
			}
			all = append(all, ca.RevokedEntry{Serial: serial, At: r.RevokedAt, Reason: code})
		}
		if page.NextCursor == "" {
			return all, nil
		}
		q.Cursor = page.NextCursor
	}
}

// Run keeps the CRLs of all generations from running out until the context
// ends, also when nobody asks for them: so a fault is logged while the last
// ones are still valid.
func (p *Publisher) Run(ctx context.Context) {
	clock.Every(ctx, p.clock, publishEvery, func(ctx context.Context) {
		p.Publish(ctx)
	})
}

// Publish sees to it that there is a CRL of every generation that is in force
// at this time.
func (p *Publisher) Publish(ctx context.Context) {
	for _, g := range p.authority.Generations() {
		_, _ = p.CRL(ctx, g.Issuer) // make logs what fails
	}
}
