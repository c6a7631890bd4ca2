package ca_test

import (
	"crypto/x509"
	"slices"
	"testing"

	zcrypto "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

// TestLint has another project's eyes look at every kind of certificate, by
// the standards that are not about the public web.
func TestLint(t *testing.T) {
	registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{
		IncludeSources: lint.SourceList{lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.Community},
	})
	must(t, err)
	for _, fixtureName := range []string{"chain", "chain-p256", "single"} {
		a, err := ca.Open(fixture(t, fixtureName), ca.Options{Clock: clock.NewManual(today), Distribution: urls})
		must(t, err)
		responder, err := a.OCSPResponder(a.Issuer())
		must(t, err)
		next := prepare(t, a).Next
		certificates := map[string]*x509.Certificate{"root": a.Root(), "responder": responder.Certificate, "next issuer": next.Issuer, "next ra": next.RA}
		if fixtureName != "single" {
			certificates["issuer"] = a.Issuer()
			certificates["ra"], _ = a.RA()
		}
		for name, p := range map[string]*ca.Policy{
			"device-access":          {Purpose: ca.PurposeDeviceAccess},
			"management-attestation": {Purpose: ca.PurposeManagementAttestation},
			"agreement":              {Purpose: ca.PurposeDeviceAccess, KeyAgreement: true},
		} {
			certificates[name], err = issueAt(t, a, p, request(t, commonName(t, "C02XK1ZZJG5H ODA")), today)
			must(t, err)
		}
		for name, c := range certificates {
			t.Run(fixtureName+" "+name, func(t *testing.T) {
				if got, want := findings(t, c, registry), accepted[fixtureName+" "+name]; !slices.Equal(got, want) {
					t.Errorf("findings %q, want %q", got, want)
				}
			})
		}
	}
}

// accepted are the findings that are meant to be.
var accepted = map[string][]string{
	// RFC 3279 §2.3.1 gives an RSA key no keyAgreement. The option is for labs
	// that compare with the one certificate of Okta's on which it was seen.
	"chain agreement":      {"e_rsa_allowed_ku_ee: error"},
	"chain-p256 agreement": {"e_rsa_allowed_ku_ee: error"},
	"single agreement":     {"e_rsa_allowed_ku_ee: error"},
	// A CA that is its own RA is encrypted to: RFC 8894 §2.1.2.
	"single root":        {"e_rsa_allowed_ku_no_encipherment_ca: error"},
	"single next issuer": {"e_rsa_allowed_ku_no_encipherment_ca: error"},
	"single next ra":     {"e_rsa_allowed_ku_no_encipherment_ca: error"},
}

// findings returns the lints that do not pass, sorted.
func findings(t *testing.T, c *x509.Certificate, registry lint.Registry) []string {
	parsed, err := zcrypto.ParseCertificate(c.Raw)
	must(t, err)
	var found []string
	ran := 0
	for name, result := range zlint.LintCertificateEx(parsed, registry).Results {
		if result.Status >= lint.Pass {
			ran++
		}
		if result.Status > lint.Pass {
			found = append(found, name+": "+result.Status.String())
		}
	}
	if ran < 30 {
		t.Errorf("only %d lints looked", ran)
	}
	slices.Sort(found)
	return found
}
