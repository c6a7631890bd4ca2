package reliability

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"path/filepath"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

// TestR4_Serials issues certificates while the clock stands still, which is
// when they could most easily collide.
func TestR4_Serials(t *testing.T) {
	now := clock.NewManual(time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC))
	authority, err := ca.Create(filepath.Join(t.TempDir(), "authority"), ca.Options{Clock: now, IssuerKey: ca.KeyP256})
	if err != nil {
		t.Fatal(err)
	}
	policy := &ca.Policy{Purpose: ca.PurposeDeviceAccess}
	key := makeKeys(t)[0]
	csr := &x509.CertificateRequest{PublicKey: key.Public(), Subject: pkix.Name{CommonName: "C02SERIAL"}}
	der, err := x509.CreateCertificateRequest(nil, csr, key)
	if err != nil {
		t.Fatal(err)
	}
	if csr, err = x509.ParseCertificateRequest(der); err != nil {
		t.Fatal(err)
	}
	permit, err := policy.Check(csr, now.Now())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	ones := make([]int, 128) // how often each bit was set
	n := pick(5_000, 1_000_000)
	for range n {
		c, err := authority.Issue(permit)
		if err != nil {
			t.Fatal(err)
		}
		octets := c.SerialNumber.Bytes()
		if c.SerialNumber.Sign() <= 0 || len(octets) > 20 || seen[string(octets)] {
			t.Fatalf("certificate serial %x: not positive, longer than 20 octets, or a duplicate", octets)
		}
		seen[string(octets)] = true
		for bit := range ones {
			ones[bit] += int(octets[bit/8]>>(bit%8)) & 1
		}
	}
	random := 0
	for _, set := range ones {
		if set > n*2/5 && set < n*3/5 {
			random++
		}
	}
	if random < 64 {
		t.Errorf("%d bits of a certificate serial are random, want at least 64", random)
	}
	t.Logf("%d certificate serials, %d random bits in each", n, random)
}
