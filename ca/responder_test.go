package ca_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"understudy.example/understudy/ca"
)

func TestOCSPResponder(t *testing.T) {
	for _, fixtureName := range []string{"chain", "chain-p256", "single"} {
		t.Run(fixtureName, func(t *testing.T) {
			a, _ := opened(t, fixtureName, today)
			r, err := a.OCSPResponder(a.Issuer())
			must(t, err)
			checkResponder(t, a, r)
			again, err := a.OCSPResponder(a.Issuer())
			must(t, err)
			if !again.Certificate.Equal(r.Certificate) {
				t.Error("every call makes another one")
			}
			device, err := issueAt(t, a, deviceAccess(), request(t, commonName(t, "x")), today)
			must(t, err)
			checkOCSP(t, a, r, device)
		})
	}
}

// checkResponder looks at the certificate field by field (RFC 6960 §4.2.2.2).
func checkResponder(t *testing.T, a *ca.Authority, r ca.Responder) {
	t.Helper()
	c := r.Certificate
	must(t, c.CheckSignatureFrom(a.Issuer()))
	public, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok || public.N.BitLen() != 2048 || !public.Equal(r.Key.Public()) {
		t.Errorf("key %T, not that of the certificate or not RSA-2048", r.Key)
	}
	if c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}) || len(c.UnknownExtKeyUsage) > 0 {
		t.Errorf("CA %t, usage %b, extended %v", c.IsCA, c.KeyUsage, c.ExtKeyUsage)
	}
	if !bytes.Equal(c.AuthorityKeyId, a.Issuer().SubjectKeyId) || c.Subject.CommonName != "Understudy Lab OCSP Responder" {
		t.Errorf("%s, signed by key %x", c.Subject, c.AuthorityKeyId)
	}
	second := today.Truncate(time.Second)
	if !c.NotBefore.Equal(second.Add(-time.Hour)) || !c.NotAfter.Equal(second.AddDate(0, 0, 30)) {
		t.Errorf("from %s to %s", c.NotBefore, c.NotAfter)
	}
	noCheck := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "1.3.6.1.5.5.7.48.1.5" })
	if noCheck < 0 || c.Extensions[noCheck].Critical || !bytes.Equal(c.Extensions[noCheck].Value, []byte{5, 0}) {
		t.Errorf("extensions %v", c.Extensions)
	}
	if issuer, ok := a.IssuerOf(c); !ok || !issuer.Equal(a.Issuer()) {
		t.Error("the authority does not know it as its own")
	}
}

// checkOCSP has two others read a response of the responder.
func checkOCSP(t *testing.T, a *ca.Authority, r ca.Responder, device *x509.Certificate) {
	t.Helper()
	der, err := ocsp.CreateResponse(a.Issuer(), r.Certificate, ocsp.Response{
		Status: ocsp.Good, SerialNumber: device.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		Certificate: r.Certificate,
	}, r.Key)
	must(t, err)
	if response, err := ocsp.ParseResponseForCert(der, device, a.Issuer()); err != nil || response.Status != ocsp.Good {
		t.Errorf("x/crypto: %v", err)
	}
	// The certificates are those of a day in the past or the future.
	out, err := openssl(t, "ocsp", "-respin", derFile(t, der), "-issuer", certificateFile(t, a.Issuer()), "-cert", certificateFile(t, device),
		"-CAfile", certificateFile(t, a.Root(), a.Issuer()), "-attime", unix(today), "-no_nonce")
	if err != nil || !strings.Contains(out, "Response verify OK") || !strings.Contains(out, ": good") {
		t.Errorf("openssl ocsp: %v\n%s", err, out)
	}
}

// A responder is replaced when a third of its life is left, and at once when
// the clock went back; it does not outlive its issuer.
func TestOCSPResponderReplacesItself(t *testing.T) {
	a, c := opened(t, "chain-p256", today)
	at := func(now time.Time) *x509.Certificate {
		t.Helper()
		c.Set(now)
		r, err := a.OCSPResponder(a.Issuer())
		must(t, err)
		if now.Before(r.Certificate.NotBefore) || now.After(r.Certificate.NotAfter) {
			t.Errorf("at %s: valid from %s to %s", now, r.Certificate.NotBefore, r.Certificate.NotAfter)
		}
		return r.Certificate
	}
	first := at(today)
	dueAt := first.NotAfter.Add(-first.NotAfter.Sub(first.NotBefore) / 3)
	if !at(dueAt.Add(-time.Second)).Equal(first) {
		t.Error("replaced before it is due")
	}
	second := at(dueAt)
	if second.Equal(first) {
		t.Error("not replaced when a third of its life is left")
	}
	if back := at(today.AddDate(0, 0, -10)); back.Equal(second) || back.Equal(first) {
		t.Error("not replaced when the clock went back")
	}
	last := at(a.Issuer().NotAfter.Add(-time.Hour))
	if !last.NotAfter.Equal(a.Issuer().NotAfter) || !at(a.Issuer().NotAfter).Equal(last) {
		t.Errorf("ends on %s, or is replaced for nothing", last.NotAfter)
	}
	c.Set(a.Issuer().NotAfter.Add(time.Second))
	if r, err := a.OCSPResponder(a.Issuer()); err == nil {
		t.Errorf("the issuer has ended: %s", r.Certificate.NotAfter)
	}
}

func TestOCSPResponderOfAnother(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	other, _ := opened(t, "chain", today)
	if _, err := a.OCSPResponder(other.Issuer()); !errors.Is(err, ca.ErrNotOurs) {
		t.Errorf("got %v", err)
	}
}

// Many who ask at once are given one responder.
func TestOCSPResponderAtOnce(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	var serials [8]*big.Int
	var group sync.WaitGroup
	for i := range serials {
		group.Go(func() {
			r, err := a.OCSPResponder(a.Issuer())
			if err != nil {
				t.Error(err)
				return
			}
			serials[i] = r.Certificate.SerialNumber
		})
	}
	group.Wait()
	for _, s := range serials {
		if s == nil || s.Cmp(serials[0]) != 0 {
			t.Errorf("certificate serials %v", serials)
		}
	}
}
