package ca

import (
	"path/filepath"
	"testing"
	"time"
)

// A key provider that signs wrongly, here with another key, is noticed before
// the certificate leaves.
func TestFaultySignatureDoesNotLeave(t *testing.T) {
	a, err := Create(filepath.Join(t.TempDir(), "authority"), Options{IssuerKey: KeyP256})
	if err != nil {
		t.Fatal(err)
	}
	ra := a.Chain(false)[0]
	now := time.Now()
	permit := &Permit{at: now, notBefore: now, notAfter: now.Add(time.Hour), subject: ra.RawSubject, publicKey: ra.RawSubjectPublicKeyInfo}
	if _, err := a.Issue(permit); err != nil {
		t.Fatal(err)
	}
	g := *a.inForce.Load().current
	if g.key, err = newP256Key(); err != nil {
		t.Fatal(err)
	}
	a.inForce.Store(&inForce{current: &g})
	if c, err := a.Issue(permit); err == nil {
		t.Errorf("issued %s with a signature that does not verify", c.SerialNumber)
	}
}
