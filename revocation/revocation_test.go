package revocation_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/depottest"
	"understudy.example/understudy/revocation"
)

// today is a moment within the first year of the authorities that package ca
// tests with, with a fraction of a second.
var today = time.Date(2026, 3, 1, 12, 0, 0, 987654321, time.UTC)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// A world is an authority, a depot, and what is said of them.
type world struct {
	testing.TB
	clock     clock.Clock
	authority *ca.Authority
	depot     *faulty
	publisher *revocation.Publisher
	responder *revocation.Responder
	service   *revocation.Service
	sweeper   *revocation.Sweeper
	log       *log

	csr    *x509.CertificateRequest
	issued int
}

// newWorld opens a copy of one of the authorities that package ca tests with,
// beside an empty depot in memory.
func newWorld(tb testing.TB, authority string, c clock.Clock) *world {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "authority")
	must(tb, os.Mkdir(dir, 0o700))
	files, err := filepath.Glob(filepath.Join("..", "ca", "testdata", authority, "*"))
	must(tb, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(tb, err)
		must(tb, os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o600))
	}
	a, err := ca.Open(dir, ca.Options{Clock: c})
	must(tb, err)
	return worldOf(tb, a, depottest.NewMemory(), c)
}

// worldOf puts a world together.
func worldOf(tb testing.TB, a *ca.Authority, d depot.Depot, c clock.Clock) *world {
	tb.Helper()
	w := &world{TB: tb, clock: c, authority: a, depot: &faulty{Depot: d}, log: &log{}}
	data, err := os.ReadFile(filepath.Join("..", "ca", "testdata", "device-rsa.key.pem"))
	must(tb, err)
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(tb, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "C02XK1ZZJG5H"}}, key.(crypto.Signer))
	must(tb, err)
	w.csr, err = x509.ParseCertificateRequest(der)
	must(tb, err)
	w.open(revocation.Options{})
	return w
}

// open makes everything that says something, as a start of the server does.
func (w *world) open(o revocation.Options) {
	o.Clock, o.Log = w.clock, slog.New(slog.NewTextHandler(w.log, nil))
	w.publisher = revocation.NewPublisher(w.authority, w.depot, o)
	w.responder = revocation.NewResponder(w.authority, w.depot, o)
	w.service = revocation.NewService(w.depot, w.publisher, o)
	w.sweeper = revocation.NewSweeper(w.depot, w.service, o)
}

// issue signs a certificate and stores it, changed before that if need be.
func (w *world) issue(change ...func(*depot.Identity)) *x509.Certificate {
	w.Helper()
	permit, err := (&ca.Policy{Purpose: ca.PurposeDeviceAccess}).Check(w.csr, w.clock.Now())
	must(w, err)
	c, err := w.authority.Issue(permit)
	must(w, err)
	w.store(c, change...)
	return c
}

// store stores a certificate as the enrolment does.
func (w *world) store(c *x509.Certificate, change ...func(*depot.Identity)) {
	w.Helper()
	w.issued++
	i := depottest.Issuance(w.issued)
	i.Supersedes = ""
	id := &i.Identity
	id.CertificateSerial, id.DER, id.SHA256 = serial(c), c.Raw, sha256.Sum256(c.Raw)
	id.NotBefore, id.NotAfter, id.IssuedAt = c.NotBefore, c.NotAfter, w.clock.Now()
	id.IssuerSHA256 = w.issuer()
	id.Void = false
	for _, f := range change {
		f(id)
	}
	i.Transaction.CertificateSerial = id.CertificateSerial
	_, err := w.depot.Commit(context.Background(), i)
	must(w, err)
}

// issuer names the issuer in force.
func (w *world) issuer() [32]byte { return sha256.Sum256(w.authority.Issuer().Raw) }

func serial(c *x509.Certificate) string { return ca.FormatSerial(c.SerialNumber) }

// revoke revokes a certificate that must be revocable.
func (w *world) revoke(c *x509.Certificate, reason depot.RevocationReason) {
	w.Helper()
	_, err := w.service.Revoke(context.Background(), depot.Revocation{CertificateSerial: serial(c), Reason: reason, By: "test"})
	must(w, err)
}

// rollover puts the next generation in force.
func (w *world) rollover() {
	w.Helper()
	_, err := w.authority.PrepareRollover()
	must(w, err)
	_, err = w.authority.ActivateRollover()
	must(w, err)
}

// crl returns the CRL of an issuer as another reader has it.
func (w *world) crl(issuer *x509.Certificate) (revocation.CRL, *x509.RevocationList) {
	w.Helper()
	c, err := w.publisher.CRL(context.Background(), issuer)
	must(w, err)
	list, err := x509.ParseRevocationList(c.DER)
	must(w, err)
	if err := list.CheckSignatureFrom(issuer); err != nil {
		w.Errorf("signature of the CRL: %v", err)
	}
	if list.Number.Uint64() != c.Number || !list.ThisUpdate.Equal(c.ThisUpdate) || !list.NextUpdate.Equal(c.NextUpdate) {
		w.Errorf("CRL %v of %v until %v is said to be %d of %v until %v", list.Number, list.ThisUpdate, list.NextUpdate, c.Number, c.ThisUpdate, c.NextUpdate)
	}
	return c, list
}

// lists says whether a CRL has a certificate on it.
func lists(list *x509.RevocationList, c *x509.Certificate) bool {
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

// faulty is a depot that fails when it is told to.
type faulty struct {
	depot.Depot
	mu       sync.Mutex
	fails    error
	answered error         // Revoke does its work and then says that it failed
	waits    chan struct{} // Revoked waits until it is closed
	reads    int           // how often a CRL was read
	began    chan struct{} // receives when Revoked waits
	between  func()        // is called before Identity is read
}

func (f *faulty) set(change func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faulty) Revoked(ctx context.Context, q depot.RevokedQuery) (depot.Page[depot.RevokedCertificate], error) {
	f.mu.Lock()
	if q.Cursor == "" {
		f.reads++
	}
	fails, waits, began := f.fails, f.waits, f.began
	f.mu.Unlock()
	if fails != nil {
		return depot.Page[depot.RevokedCertificate]{}, fails
	}
	page, err := f.Depot.Revoked(ctx, q)
	if waits != nil {
		began <- struct{}{}
		<-waits
	}
	return page, err
}

func (f *faulty) Identity(ctx context.Context, certificateSerial string) (depot.Identity, error) {
	f.mu.Lock()
	fails, between := f.fails, f.between
	f.mu.Unlock()
	if between != nil {
		between()
	}
	if fails != nil {
		return depot.Identity{}, fails
	}
	return f.Depot.Identity(ctx, certificateSerial)
}

func (f *faulty) Revoke(ctx context.Context, r depot.Revocation) (depot.Identity, error) {
	f.mu.Lock()
	fails, answered := f.fails, f.answered
	f.mu.Unlock()
	if fails != nil {
		return depot.Identity{}, fails
	}
	identity, err := f.Depot.Revoke(ctx, r)
	if answered != nil {
		return depot.Identity{}, answered
	}
	return identity, err
}

// log keeps what is logged.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines returns how many lines have all of the texts.
func (l *log) lines(texts ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.text.String()) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			n++
		}
	}
	return n
}

var errBroken = errors.New("broken for the test")

// What the depot refuses leaves the CRL alone; what may have happened does not.
func TestServiceRevoke(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	good, other := w.issue(), w.issue()
	first, _ := w.crl(w.authority.Issuer())

	identity, err := w.service.Revoke(t.Context(), depot.Revocation{CertificateSerial: serial(good), Reason: depot.ReasonKeyCompromise, By: "admin", Note: "lost"})
	must(t, err)
	if identity.RevocationReason != "keyCompromise" || !identity.RevokedAt.Equal(today.Truncate(time.Nanosecond)) || identity.RevokedBy != "admin" {
		t.Errorf("stored as %+v", identity)
	}
	second, list := w.crl(w.authority.Issuer())
	if second.Number <= first.Number || !lists(list, good) {
		t.Errorf("CRL %d after CRL %d does not list what was revoked between them", second.Number, first.Number)
	}
	for want, r := range map[error]depot.Revocation{
		depot.ErrRevoked:  {CertificateSerial: serial(good), Reason: depot.ReasonSuperseded},
		depot.ErrNotFound: {CertificateSerial: "1234", Reason: depot.ReasonSuperseded},
		depot.ErrInvalid:  {CertificateSerial: serial(other), Reason: depot.ReasonRemoveFromCRL},
	} {
		if _, err := w.service.Revoke(t.Context(), r); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if again, _ := w.crl(w.authority.Issuer()); again.Number != second.Number {
		t.Error("another CRL, although nothing was revoked")
	}

	w.depot.set(func(f *faulty) { f.answered = depot.ErrUnavailable })
	if _, err := w.service.Revoke(t.Context(), depot.Revocation{CertificateSerial: serial(other), Reason: depot.ReasonSuperseded}); !errors.Is(err, depot.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, list := w.crl(w.authority.Issuer()); !lists(list, other) {
		t.Error("a revocation that may have happened is not looked for")
	}
}
