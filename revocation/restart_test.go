package revocation_test

import (
	"crypto/x509"
	"path/filepath"
	"testing"
	"time"

	reader "golang.org/x/crypto/ocsp"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
)

// Nothing goes back when a server is started again, whatever its clock says by
// then: what was revoked is revoked, what was let go is good, and the number of
// a CRL is higher than that of any that was given out.
func TestRestart(t *testing.T) {
	c := clock.NewManual(today)
	authority := newWorld(t, "chain-p256", c).authority
	dir := filepath.Join(t.TempDir(), "store")
	open := func() *world {
		t.Helper()
		store, err := bolt.Open(dir, bolt.Options{Clock: c})
		must(t, err)
		return worldOf(t, authority, store, c)
	}
	w := open()
	good, revoked, held, released := w.issue(), w.issue(), w.issue(), w.issue()
	w.revoke(revoked, depot.ReasonKeyCompromise)
	w.revoke(held, depot.ReasonCertificateHold)
	w.revoke(released, depot.ReasonCertificateHold)
	w.revoke(released, depot.ReasonRemoveFromCRL)
	last, _ := w.crl(authority.Issuer())

	for _, step := range []struct {
		what    string
		advance time.Duration
	}{
		{"at once", 0},
		{"a second later", time.Second},
		{"after two days", 48 * time.Hour},
		{"when the clock went back", -72 * time.Hour},
	} {
		must(t, w.depot.Close())
		c.Advance(step.advance)
		w = open()
		crl, list := w.crl(authority.Issuer())
		if crl.Number <= last.Number {
			t.Errorf("%s: CRL %d after CRL %d", step.what, crl.Number, last.Number)
		}
		if step.advance >= 0 && crl.ThisUpdate.Before(last.ThisUpdate) {
			t.Errorf("%s: CRL of %v after one of %v", step.what, crl.ThisUpdate, last.ThisUpdate)
		}
		last = crl
		for _, want := range []struct {
			c      *x509.Certificate
			status int
		}{{good, reader.Good}, {revoked, reader.Revoked}, {held, reader.Revoked}, {released, reader.Good}} {
			if got := w.status(authority.Issuer(), want.c); got.Status != want.status {
				t.Errorf("%s: OCSP says %d of %s, want %d", step.what, got.Status, serial(want.c), want.status)
			}
			if lists(list, want.c) != (want.status == reader.Revoked) {
				t.Errorf("%s: on the CRL: %t", step.what, lists(list, want.c))
			}
		}
	}
	must(t, w.depot.Close())
}
