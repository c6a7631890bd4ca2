package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"path/filepath"
	"testing"

	"understudy.example/understudy/clock"
)

// TestTogether exchanges two generations as fast as it can, which no rollover
// does, so that a method which looks twice is caught at it.
func TestTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	copyDir(t, "testdata/chain-p256", dir)
	a := openAt(t, dir, clock.NewManual(cutAt), newPool(t))
	before := a.inForce.Load()
	prepareBefore(t, a)
	if err := activateIt(a); err != nil {
		t.Fatal(err)
	}
	after := a.inForce.Load()

	signed := func(c, issuer *x509.Certificate) bool { return bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50_000 {
			if chain := a.Chain(false); !signed(chain[0], chain[1]) {
				t.Error("the chain is of two generations")
				return
			}
			if f := a.InForce(); !signed(f.RA, f.Issuer) {
				t.Error("what is in force is of two generations")
				return
			}
			if ra, key := a.RA(); !fits(ra, key) {
				t.Error("certificate and key of two RAs")
				return
			}
			if c, key := a.NextCASigner(false); !fits(c, key) {
				t.Error("certificate and key of two issuers")
				return
			}
			if g := a.Generations(); !g[0].Current || len(g) > 1 && g[1].Current {
				t.Error("another generation issues than the first")
				return
			}
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			a.inForce.Store(before)
			a.inForce.Store(after)
		}
	}
}

// fits says whether a key is a certificate's.
func fits(c *x509.Certificate, key crypto.Signer) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}
