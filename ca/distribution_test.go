package ca_test

import (
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

// urls are where the certificates of a lab say that they can be checked.
var urls = ca.Distribution{
	CRL:    func(ski string) string { return "http://ca.example.test:8080/crl/" + ski + ".crl" },
	OCSP:   func(string) string { return "http://ca.example.test:8080/ocsp" },
	Issuer: func(ski string) string { return "http://ca.example.test:8080/ca/" + ski + ".cer" },
}

// The URLs are in the certificate, one of each kind, as another project reads
// them, and name the generation that issued it.
func TestDistribution(t *testing.T) {
	for _, name := range shapes {
		t.Run(name, func(t *testing.T) {
			a, err := ca.Open(fixture(t, name), ca.Options{Clock: clock.NewManual(today), Distribution: urls})
			must(t, err)
			for range 2 {
				c := device(t, a, today)
				ski := hex.EncodeToString(a.Issuer().SubjectKeyId)
				if want := []string{urls.CRL(ski)}; !slices.Equal(c.CRLDistributionPoints, want) {
					t.Errorf("CRL %q, want %q", c.CRLDistributionPoints, want)
				}
				if want := []string{urls.OCSP(ski)}; !slices.Equal(c.OCSPServer, want) {
					t.Errorf("OCSP %q, want %q", c.OCSPServer, want)
				}
				if want := []string{urls.Issuer(ski)}; !slices.Equal(c.IssuingCertificateURL, want) {
					t.Errorf("issuer %q, want %q", c.IssuingCertificateURL, want)
				}
				out, err := openssl(t, "x509", "-in", certificateFile(t, c), "-noout", "-text")
				must(t, err)
				for _, want := range []string{"URI:" + urls.CRL(ski), "OCSP - URI:" + urls.OCSP(ski), "CA Issuers - URI:" + urls.Issuer(ski)} {
					if !strings.Contains(out, want) {
						t.Errorf("openssl does not see %q in\n%s", want, out)
					}
				}
				prepare(t, a)
				activate(t, a)
			}
		})
	}
}

// Each part may be left out.
func TestDistributionInPart(t *testing.T) {
	none := func(string) string { return "" }
	dir := fixture(t, "chain-p256")
	for _, tt := range []struct {
		d                 ca.Distribution
		crl, ocsp, issuer int
	}{
		{ca.Distribution{}, 0, 0, 0},
		{ca.Distribution{CRL: none, OCSP: none, Issuer: none}, 0, 0, 0},
		{ca.Distribution{CRL: urls.CRL}, 1, 0, 0},
		{ca.Distribution{OCSP: urls.OCSP, CRL: none}, 0, 1, 0},
		{ca.Distribution{Issuer: urls.Issuer}, 0, 0, 1},
	} {
		a, err := ca.Open(dir, ca.Options{Clock: clock.NewManual(today), Distribution: tt.d})
		must(t, err)
		c := device(t, a, today)
		if len(c.CRLDistributionPoints) != tt.crl || len(c.OCSPServer) != tt.ocsp || len(c.IssuingCertificateURL) != tt.issuer {
			t.Errorf("CRL %q, OCSP %q, issuer %q", c.CRLDistributionPoints, c.OCSPServer, c.IssuingCertificateURL)
		}
		want := 6 + tt.crl
		if tt.ocsp+tt.issuer > 0 {
			want++
		}
		if len(c.Extensions) != want {
			t.Errorf("%d extensions, want %d", len(c.Extensions), want)
		}
	}
}

// What relying parties could not use never gets into a certificate.
func TestDistributionRefuses(t *testing.T) {
	dir := fixture(t, "chain-p256")
	for _, url := range []string{
		"ca.example.test/crl", "/crl", "http:///crl", "ftp://ca.example.test/crl", "ldap://ca.example.test/cn=x", "http://ca.example.test/ü",
		"http://ca.example.test/a b", "http://ca.example.test/\x7f", "http://ca.example.test/" + strings.Repeat("x", 1024), "http://[::1/crl", "javascript:alert(1)",
	} {
		of := func(string) string { return url }
		for _, d := range []ca.Distribution{{CRL: of}, {OCSP: of}, {Issuer: of}} {
			_, err := ca.Open(dir, ca.Options{Clock: clock.NewManual(today), Distribution: d})
			wantError(t, err, "cannot be in a certificate")
		}
	}
	parent := t.TempDir()
	_, err := ca.Create(filepath.Join(parent, "a"), ca.Options{IssuerKey: ca.KeyP256, Distribution: ca.Distribution{CRL: func(string) string { return "x" }}})
	wantError(t, err, "cannot be in a certificate")
	wantNames(t, parent)
}
