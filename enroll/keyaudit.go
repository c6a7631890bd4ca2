package enroll

import (
	"context"
	"crypto/x509"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/depot"
)

// maxUnaudited bounds the certificates that wait for their key to be audited,
// about 1.5 KiB each.
const maxUnaudited = 4096

// quiet is how long no enrolment must have ended before keys are audited.
const quiet = 250 * time.Millisecond

// KeyAuditor looks at the keys of new certificates with the checks that cost
// more than a whole enrolment (primality, perfect square, Fermat), and reports
// the bad ones in the log. It works only while no enrolment is in flight, so
// that it never makes a client wait.
type KeyAuditor struct {
	log   *slog.Logger
	busy  atomic.Int64 // enrolments in flight
	woken chan struct{}

	mu      sync.Mutex
	waiting []depot.Identity
	skipped int
}

// NewKeyAuditor returns an auditor that does nothing until Run.
func NewKeyAuditor(log *slog.Logger) *KeyAuditor {
	return &KeyAuditor{log: log, woken: make(chan struct{}, 1)}
}

// Run audits until ctx is done.
func (a *KeyAuditor) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.woken:
			a.settle(ctx)
			a.drain(ctx)
		}
	}
}

// settle waits until no enrolment has ended for the time of quiet: the next one
// of a busy client would find the core taken by an audit, which costs as much
// as the enrolment. When many wait already, every gap is good enough.
func (a *KeyAuditor) settle(ctx context.Context) {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for !a.crowded() {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-a.woken:
			timer.Reset(quiet)
		}
	}
}

func (a *KeyAuditor) crowded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting) >= maxUnaudited/4
}

// drain audits what waits, until an enrolment arrives.
func (a *KeyAuditor) drain(ctx context.Context) {
	for a.busy.Load() == 0 && ctx.Err() == nil {
		identity, skipped := a.next()
		if skipped > 0 {
			a.log.Warn("key audit skipped", "certificates", skipped,
				"detail", "certificates came faster than their keys could be audited; the newest were left out")
		}
		if identity == nil {
			return
		}
		a.audit(*identity)
	}
}

func (a *KeyAuditor) next() (identity *depot.Identity, skipped int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	skipped, a.skipped = a.skipped, 0
	if len(a.waiting) == 0 {
		return nil, skipped
	}
	identity = &a.waiting[0]
	a.waiting = a.waiting[1:]
	return identity, skipped
}

func (a *KeyAuditor) audit(identity depot.Identity) {
	certificate, err := x509.ParseCertificate(identity.DER)
	if err == nil {
		err = ca.CheckKeySlow(certificate.PublicKey)
	}
	if err != nil {
		a.log.Warn("finding", "kind", "weak_key", "certificate_serial", identity.CertificateSerial,
			"device_key", identity.Device.Key, "configuration", identity.ConfigurationName, "detail", err.Error())
	}
}

// begin and end frame an enrolment; the last end lets the auditor work.
func (a *KeyAuditor) begin() { a.busy.Add(1) }

func (a *KeyAuditor) end() {
	if a.busy.Add(-1) > 0 {
		return
	}
	select {
	case a.woken <- struct{}{}:
	default:
	}
}

// enqueue remembers a new certificate until no enrolment is in flight.
func (a *KeyAuditor) enqueue(identity depot.Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) >= maxUnaudited {
		a.skipped++
		return
	}
	a.waiting = append(a.waiting, identity)
}
