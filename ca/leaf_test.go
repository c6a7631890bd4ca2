package ca_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

// TestGoldenLeaf holds device certificates byte for byte: fixed keys, a clock
// that stands still, a random source of zeros.
func TestGoldenLeaf(t *testing.T) {
	for name, tt := range map[string]struct {
		policy       ca.Policy
		distribution ca.Distribution
	}{
		"device-access":          {policy: ca.Policy{Purpose: ca.PurposeDeviceAccess}},
		"management-attestation": {policy: ca.Policy{Purpose: ca.PurposeManagementAttestation}},
		"agreement":              {policy: ca.Policy{Purpose: ca.PurposeDeviceAccess, KeyAgreement: true}},
		"distribution":           {ca.Policy{Purpose: ca.PurposeDeviceAccess}, urls},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := ca.Open(fixture(t, "chain"), ca.Options{Clock: clock.NewManual(today), Random: zeros{}, Distribution: tt.distribution})
			must(t, err)
			c, err := issueAt(t, a, &tt.policy, request(t, commonName(t, "C02XK1ZZJG5H ODA")), today)
			must(t, err)
			path := filepath.Join("testdata", name+".golden")
			got := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
			if *update {
				must(t, os.WriteFile(path, got, 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("certificate differs from %s; got\n%s", path, got)
			}
		})
	}
}

// TestLeafProfile goes through a certificate field by field.
func TestLeafProfile(t *testing.T) {
	for _, fixtureName := range []string{"chain", "chain-p256", "single"} {
		for _, purpose := range []string{ca.PurposeDeviceAccess, ca.PurposeManagementAttestation} {
			for _, agreement := range []bool{false, true} {
				a, _ := opened(t, fixtureName, today)
				csr := request(t, commonName(t, "C02XK1ZZJG5H"))
				p := &ca.Policy{Purpose: purpose, KeyAgreement: agreement}
				c, err := issueAt(t, a, p, csr, today)
				must(t, err)
				t.Run(fixtureName+" "+purpose, func(t *testing.T) { checkLeaf(t, a, csr, c, p) })
			}
		}
	}
}

func checkLeaf(t *testing.T, a *ca.Authority, csr *x509.CertificateRequest, c *x509.Certificate, p *ca.Policy) {
	algorithm := x509.SHA256WithRSA
	if _, ok := a.Issuer().PublicKey.(*rsa.PublicKey); !ok {
		algorithm = x509.ECDSAWithSHA256
	}
	if c.Version != 3 || c.SignatureAlgorithm != algorithm {
		t.Errorf("version %d, signed with %s", c.Version, c.SignatureAlgorithm)
	}
	if !bytes.Equal(c.RawSubject, csr.RawSubject) || !bytes.Equal(c.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo) {
		t.Error("subject or public key is not the request's")
	}
	if !bytes.Equal(c.RawIssuer, a.Issuer().RawSubject) || !bytes.Equal(c.AuthorityKeyId, a.Issuer().SubjectKeyId) {
		t.Error("issuer or authority key identifier is not the issuer's")
	}
	if want := time.Date(2026, 3, 1, 11, 55, 0, 0, time.UTC); !c.NotBefore.Equal(want) {
		t.Errorf("notBefore %s, want %s", c.NotBefore, want)
	}
	if want := time.Date(2027, 3, 1, 11, 55, 0, 0, time.UTC); !c.NotAfter.Equal(want) {
		t.Errorf("notAfter %s, want %s", c.NotAfter, want)
	}
	usage := x509.KeyUsageDigitalSignature
	if p.KeyAgreement {
		usage |= x509.KeyUsageKeyAgreement
	}
	if c.KeyUsage != usage || len(c.UnknownExtKeyUsage) != 0 || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("key usage %b, extended %v %v", c.KeyUsage, c.ExtKeyUsage, c.UnknownExtKeyUsage)
	}
	if !c.BasicConstraintsValid || c.IsCA {
		t.Error("not CA:FALSE")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(a.Root())
	between.AddCert(a.Issuer())
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: today, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	checkLeafExtensions(t, csr, c, p)
}

// checkLeafExtensions looks at the list itself, where nothing may be over.
func checkLeafExtensions(t *testing.T, csr *x509.CertificateRequest, c *x509.Certificate, p *ca.Policy) {
	key, err := x509.MarshalPKIXPublicKey(csr.PublicKey)
	must(t, err)
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	_, err = asn1.Unmarshal(key, &info)
	must(t, err)
	if sum := sha256.Sum256(info.Key.Bytes); !bytes.Equal(c.SubjectKeyId, sum[:20]) {
		t.Errorf("subject key identifier %x, want %x", c.SubjectKeyId, sum[:20])
	}
	want := []string{"2.5.29.19 critical", "2.5.29.15 critical", "2.5.29.37", "2.5.29.14", "2.5.29.35"}
	if p.Purpose == ca.PurposeDeviceAccess {
		want = append(want, "1.3.6.1.4.1.51150.13.1")
	}
	var got []string
	for _, e := range c.Extensions {
		id := e.Id.String()
		if e.Critical {
			id += " critical"
		}
		if got = append(got, id); id == "1.3.6.1.4.1.51150.13.1" && !bytes.Equal(e.Value, []byte{2, 1, 1}) {
			t.Errorf("marker %x", e.Value)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("extensions %q, want %q", got, want)
	}
}

func TestValidity(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	csr := request(t, commonName(t, "x"))
	policy := func(validity, backdate time.Duration) *ca.Policy {
		return &ca.Policy{Purpose: ca.PurposeDeviceAccess, Validity: validity, Backdate: backdate}
	}

	c, err := issueAt(t, a, policy(90*time.Minute, time.Hour), csr, today.In(time.FixedZone("", 5*3600)))
	must(t, err)
	if b, e := c.NotBefore, c.NotAfter; !b.Equal(time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)) || e.Sub(b) != 90*time.Minute {
		t.Errorf("valid from %s to %s", b, e)
	}

	left := a.Issuer().NotAfter.Sub(today.Truncate(time.Second)) + ca.DefaultBackdate
	c, err = issueAt(t, a, policy(left, 0), csr, today)
	must(t, err)
	if !c.NotAfter.Equal(a.Issuer().NotAfter) {
		t.Errorf("ends on %s, want the issuer's %s", c.NotAfter, a.Issuer().NotAfter)
	}
	if c, err := issueAt(t, a, policy(left+time.Second, 0), csr, today); !errors.Is(err, ca.ErrIssuerEndsFirst) {
		t.Errorf("a second more: %v, %v", c, err)
	}
	if c, err := issueAt(t, a, deviceAccess(), csr, born.Add(-time.Hour-time.Second)); err == nil {
		t.Errorf("issued before the issuer began: %s", c.NotBefore)
	}
	if c, err := issueAt(t, a, policy(-time.Hour, 0), csr, today); err == nil {
		t.Errorf("ends before it begins: %s", c.NotAfter)
	}
}

// A year from 2050 on is written as GeneralizedTime, which crypto/x509 checks
// when it parses.
func TestValidityBeyond2049(t *testing.T) {
	now := time.Date(2049, 6, 1, 0, 0, 0, 0, time.UTC)
	a, err := ca.Create(filepath.Join(t.TempDir(), "a"), ca.Options{Clock: clock.NewManual(now), IssuerKey: ca.KeyP256})
	must(t, err)
	c, err := issueAt(t, a, deviceAccess(), request(t, commonName(t, "x")), now)
	must(t, err)
	if want := time.Date(2050, 5, 31, 23, 55, 0, 0, time.UTC); !c.NotAfter.Equal(want) {
		t.Errorf("notAfter %s, want %s", c.NotAfter, want)
	}
	if !bytes.Contains(c.RawTBSCertificate, []byte("\x18\x0f20500531235500Z")) {
		t.Error("notAfter is not a GeneralizedTime")
	}
}

func TestIssueNeedsAPermit(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	for _, p := range []*ca.Permit{nil, {}} {
		if c, err := a.Issue(p); err == nil {
			t.Errorf("issued %s without a permit", c.Subject)
		}
	}
}
