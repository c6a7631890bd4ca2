package ca_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/ca"
)

// crlOf signs a CRL of an issuer that lists some certificate serials.
func crlOf(t *testing.T, a *ca.Authority, issuer *x509.Certificate, now time.Time, serials ...*big.Int) []byte {
	t.Helper()
	var entries []ca.RevokedEntry
	for _, s := range serials {
		entries = append(entries, ca.RevokedEntry{Serial: s, At: now.Add(-time.Minute), Reason: 1})
	}
	der, err := a.SignCRL(issuer, big.NewInt(now.Unix()), now, now.Add(time.Hour), entries)
	must(t, err)
	return der
}

func TestSignCRL(t *testing.T) {
	for _, fixtureName := range []string{"chain", "chain-p256", "single"} {
		t.Run(fixtureName, func(t *testing.T) {
			a, _ := opened(t, fixtureName, today)
			next := today.Add(24 * time.Hour)
			var revoked []ca.RevokedEntry
			for _, reason := range []int{0, 1, 2, 3, 4, 5, 6, 9, 10} {
				revoked = append(revoked, ca.RevokedEntry{Serial: big.NewInt(int64(1000 + reason)), At: today.Add(-time.Hour), Reason: reason})
			}
			der, err := a.SignCRL(a.Issuer(), big.NewInt(1<<40), today.In(time.FixedZone("", 3600)), next, revoked)
			must(t, err)
			crl, err := x509.ParseRevocationList(der)
			must(t, err)
			must(t, crl.CheckSignatureFrom(a.Issuer()))
			checkCRL(t, a, crl, revoked)
			if !crl.ThisUpdate.Equal(today.Truncate(time.Second)) || !crl.NextUpdate.Equal(next.Truncate(time.Second)) {
				t.Errorf("from %s to %s", crl.ThisUpdate, crl.NextUpdate)
			}

			out, err := openssl(t, "crl", "-in", pemFile(t, "X509 CRL", der), "-verify", "-CAfile", certificateFile(t, a.Issuer()), "-noout", "-text")
			if err != nil || !strings.Contains(out, "verify OK") {
				t.Errorf("openssl crl: %v\n%s", err, out)
			}
			for _, want := range []string{"Version 2", "X509v3 CRL Number", "X509v3 Authority Key Identifier", "Key Compromise", "Certificate Hold", "AA Compromise", "1099511627776"} {
				if !strings.Contains(out, want) {
					t.Errorf("openssl does not see %q in\n%s", want, out)
				}
			}
		})
	}
}

// checkCRL looks at the lists, where nothing may be over.
func checkCRL(t *testing.T, a *ca.Authority, crl *x509.RevocationList, revoked []ca.RevokedEntry) {
	t.Helper()
	if !bytes.Equal(crl.AuthorityKeyId, a.Issuer().SubjectKeyId) || !bytes.Equal(crl.RawIssuer, a.Issuer().RawSubject) || crl.Number.Cmp(big.NewInt(1<<40)) != 0 {
		t.Errorf("key identifier %x, number %s", crl.AuthorityKeyId, crl.Number)
	}
	var extensions []string
	for _, e := range crl.Extensions {
		extensions = append(extensions, e.Id.String())
	}
	if !slices.Equal(extensions, []string{"2.5.29.35", "2.5.29.20"}) {
		t.Errorf("extensions %q", extensions)
	}
	if len(crl.RevokedCertificateEntries) != len(revoked) {
		t.Fatalf("%d entries", len(crl.RevokedCertificateEntries))
	}
	for i, e := range crl.RevokedCertificateEntries {
		want := revoked[i]
		if e.SerialNumber.Cmp(want.Serial) != 0 || e.ReasonCode != want.Reason || !e.RevocationTime.Equal(want.At.Truncate(time.Second)) {
			t.Errorf("entry %d: %s, reason %d, at %s", i, e.SerialNumber, e.ReasonCode, e.RevocationTime)
		}
		if has := len(e.Extensions) > 0; has != (want.Reason != 0) { // RFC 5280 §5.3.1: absent rather than unspecified
			t.Errorf("entry %d: reason %d, extensions %v", i, want.Reason, e.Extensions)
		}
	}
}

func TestEmptyCRL(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	crl, err := x509.ParseRevocationList(crlOf(t, a, a.Issuer(), today))
	must(t, err)
	if len(crl.RevokedCertificateEntries) != 0 || bytes.Contains(crl.RawTBSRevocationList, []byte("\x30\x00\xa0")) {
		t.Errorf("%x", crl.RawTBSRevocationList) // RFC 5280 §5.1.2.6: absent rather than empty
	}
}

func TestSignCRLRefuses(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	other, _ := opened(t, "chain", today)
	one, later := big.NewInt(1), today.Add(time.Hour)
	entry := func(e ca.RevokedEntry) []ca.RevokedEntry { return []ca.RevokedEntry{e} }
	for name, sign := range map[string]func() ([]byte, error){
		"foreign issuer":  func() ([]byte, error) { return a.SignCRL(other.Issuer(), one, today, later, nil) },
		"the root":        func() ([]byte, error) { return a.SignCRL(a.Root(), one, today, later, nil) },
		"no issuer":       func() ([]byte, error) { return a.SignCRL(nil, one, today, later, nil) },
		"no number":       func() ([]byte, error) { return a.SignCRL(a.Issuer(), nil, today, later, nil) },
		"negative number": func() ([]byte, error) { return a.SignCRL(a.Issuer(), big.NewInt(-1), today, later, nil) },
		"no time":         func() ([]byte, error) { return a.SignCRL(a.Issuer(), one, today, today, nil) },
		"ended issuer": func() ([]byte, error) {
			end := a.Issuer().NotAfter.Add(time.Second)
			return a.SignCRL(a.Issuer(), one, end, end.Add(time.Hour), nil)
		},
		"no serial": func() ([]byte, error) {
			return a.SignCRL(a.Issuer(), one, today, later, entry(ca.RevokedEntry{At: today}))
		},
		"no date": func() ([]byte, error) {
			return a.SignCRL(a.Issuer(), one, today, later, entry(ca.RevokedEntry{Serial: one}))
		},
		"removeFromCRL": func() ([]byte, error) {
			return a.SignCRL(a.Issuer(), one, today, later, entry(ca.RevokedEntry{Serial: one, At: today, Reason: 8}))
		},
		"no reason": func() ([]byte, error) {
			return a.SignCRL(a.Issuer(), one, today, later, entry(ca.RevokedEntry{Serial: one, At: today, Reason: 7}))
		},
	} {
		der, err := sign()
		if err == nil || der != nil {
			t.Errorf("%s: %v, %d octets", name, err, len(der))
		}
		if foreign := name == "foreign issuer" || name == "the root" || name == "no issuer"; errors.Is(err, ca.ErrNotOurs) != foreign {
			t.Errorf("%s: %v", name, err)
		}
	}
}
