//go:build clients

package revocation_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	reader "golang.org/x/crypto/ocsp"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/ocsp"
)

// An observer looks at a world from outside, with openssl, over HTTP.
type observer struct {
	*world
	dir string
	url string // of the OCSP responder
}

// observe serves a world. What is served changes with it: after a restart the
// same server answers from what was opened again.
func observe(t *testing.T, w *world) *observer {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, r *http.Request) {
		var request []byte
		var err error
		if r.Method == http.MethodGet {
			request, err = ocsp.FromPath(strings.TrimPrefix(r.URL.EscapedPath(), "/ocsp/"))
		} else {
			request, err = io.ReadAll(http.MaxBytesReader(response, r.Body, ocsp.MaxRequest))
		}
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		response.Header().Set("Content-Type", "application/ocsp-response")
		_, _ = response.Write(w.responder.Respond(r.Context(), request).DER)
	}))
	t.Cleanup(server.Close)
	o := &observer{world: w, dir: t.TempDir(), url: server.URL + "/ocsp/"}
	o.write("root.pem", "CERTIFICATE", w.authority.Root().Raw)
	return o
}

// write writes a file of PEM blocks and returns its name.
func (o *observer) write(name, kind string, ders ...[]byte) string {
	o.Helper()
	var text bytes.Buffer
	for _, der := range ders {
		must(o, pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}))
	}
	must(o, os.WriteFile(filepath.Join(o.dir, name), text.Bytes(), 0o600))
	return name
}

// openssl runs the openssl command and returns what it prints.
func (o *observer) openssl(arguments ...string) (string, error) {
	o.Helper()
	command := exec.Command("openssl", arguments...)
	command.Dir = o.dir
	out, err := command.CombinedOutput()
	return string(out), err
}

// agrees compares what openssl makes of a certificate, by OCSP and by CRL, with
// what the depot knows. state is good, revoked or unknown; reason is as openssl
// writes it in an OCSP answer.
func (o *observer) agrees(what string, issuer, c *x509.Certificate, state, reason string) {
	o.Helper()
	known, err := o.depot.Identity(o.Context(), serial(c))
	if (err == nil) != (state != "unknown") || !known.RevokedAt.IsZero() != (state == "revoked") {
		o.Errorf("%s: the depot says %v, revoked at %v", what, err, known.RevokedAt)
	}
	issuerFile, file := o.write("issuer.pem", "CERTIFICATE", issuer.Raw), o.write("certificate.pem", "CERTIFICATE", c.Raw)
	trust := []string{"-CAfile", "root.pem", "-untrusted", issuerFile}
	if issuer.Equal(o.authority.Root()) || bytes.Equal(issuer.RawIssuer, issuer.RawSubject) {
		trust = []string{"-CAfile", issuerFile}
	}
	o.agreesOCSP(what, issuerFile, file, c, state, reason)
	o.agreesCRL(what, trust, issuer, c, state)
}

// agreesOCSP asks by OCSP, in every hash function that can name an issuer, and
// by GET.
func (o *observer) agreesOCSP(what, issuerFile, file string, c *x509.Certificate, state, reason string) {
	o.Helper()
	bundle := []string{"-CAfile", "root.pem", "-verify_other", issuerFile}
	if o.authority.Shape() == ca.ShapeSingle {
		bundle = []string{"-CAfile", issuerFile}
	}
	for _, digest := range []string{"-sha1", "-sha256", "-sha384", "-sha512"} {
		said, err := o.openssl(append([]string{"ocsp", digest, "-issuer", issuerFile, "-cert", file, "-url", o.url}, bundle...)...)
		if err != nil || !strings.Contains(said, "Response verify OK\n") || !strings.Contains(said, file+": "+state+"\n") ||
			strings.Contains(said, "WARNING") || (reason != "" && !strings.Contains(said, "Reason: "+reason+"\n")) {
			o.Errorf("%s: openssl ocsp %s: %v\n%s", what, digest, err, said)
		}
	}
	block, err := os.ReadFile(filepath.Join(o.dir, issuerFile))
	must(o, err)
	der, _ := pem.Decode(block)
	issuer, err := x509.ParseCertificate(der.Bytes)
	must(o, err)
	got, err := http.Get(o.url + url.QueryEscape(base64.StdEncoding.EncodeToString(ask(o, issuer, crypto.SHA1, nil, c))))
	must(o, err)
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	must(o, err)
	if answer, err := reader.ParseResponseForCert(body, c, issuer); err != nil || ocsp.CertStatus(answer.Status).String() != state {
		o.Errorf("%s: by GET: %v, %v", what, answer, err)
	}
}

// agreesCRL looks at the CRL, which cannot say that a certificate is unknown.
func (o *observer) agreesCRL(what string, trust []string, issuer, c *x509.Certificate, state string) {
	o.Helper()
	crl, _ := o.crl(issuer)
	crlFile := o.write("crl.pem", "X509 CRL", crl.DER)
	said, err := o.openssl(append([]string{"verify", "-crl_check", "-x509_strict", "-CRLfile", crlFile}, append(trust, "certificate.pem")...)...)
	if state == "revoked" {
		if err == nil || !strings.Contains(said, "certificate revoked") {
			o.Errorf("%s: openssl verify: %v\n%s", what, err, said)
		}
	} else if err != nil || !strings.HasSuffix(said, "certificate.pem: OK\n") {
		o.Errorf("%s: openssl verify: %v\n%s", what, err, said)
	}
	said, err = o.openssl("crl", "-in", crlFile, "-noout", "-text", "-CAfile", "issuer.pem")
	number := fmt.Sprintf("X509v3 CRL Number: \n                %d\n", crl.Number)
	if err != nil || !strings.Contains(said, "verify OK") || !strings.Contains(said, number) || !strings.Contains(said, "Version 2") {
		o.Errorf("%s: openssl crl: %v\n%s", what, err, said)
	}
	if listed := strings.Contains(said, "Serial Number: "+strings.ToUpper(hex.EncodeToString(c.SerialNumber.Bytes()))); listed != (state == "revoked") {
		o.Errorf("%s: openssl crl lists it: %t\n%s", what, listed, said)
	}
}

// openssl and the depot agree about every certificate, in the state that it is
// in and as that changes, before and after a rollover, before and after a
// restart of everything.
func TestOpenSSLAgrees(t *testing.T) {
	for _, options := range []ca.Options{{IssuerKey: ca.KeyRSA2048}, {IssuerKey: ca.KeyP256}, {Shape: ca.ShapeSingle}} {
		t.Run(fmt.Sprintf("%s %s", options.Shape, options.IssuerKey), func(t *testing.T) {
			dir := t.TempDir()
			authority, err := ca.Create(filepath.Join(dir, "authority"), options)
			must(t, err)
			store, err := bolt.Open(filepath.Join(dir, "store"), bolt.Options{})
			must(t, err)
			w := worldOf(t, authority, store, clock.System{})
			o := observe(t, w)
			t.Cleanup(func() { _ = w.depot.Close() })

			old := authority.Issuer()
			var all []states
			for generation := range 2 {
				if generation == 1 {
					w.rollover()
				}
				s := states{issuer: authority.Issuer(), good: w.issue(), revoked: w.issue(), held: w.issue(), released: w.issue(), unknown: w.unknown()}
				all = append(all, s)
				o.agrees("before it is revoked", s.issuer, s.revoked, "good", "")
				w.revoke(s.revoked, depot.ReasonKeyCompromise)
				w.revoke(s.held, depot.ReasonCertificateHold)
				w.revoke(s.released, depot.ReasonCertificateHold)
				o.agrees("before it is released", s.issuer, s.released, "revoked", "certificateHold")
				w.revoke(s.released, depot.ReasonRemoveFromCRL)
				for _, s := range all {
					s.agree(o)
				}
			}
			must(t, w.depot.Close())
			authority, err = ca.Open(filepath.Join(dir, "authority"), ca.Options{})
			must(t, err)
			store, err = bolt.Open(filepath.Join(dir, "store"), bolt.Options{})
			must(t, err)
			*w = *worldOf(t, authority, store, clock.System{})
			for _, s := range all {
				s.agree(o)
			}
			if old.Equal(authority.Issuer()) {
				t.Error("the rollover is gone")
			}
		})
	}
}

// states are certificates of one issuer, one in each state.
type states struct {
	issuer, good, revoked, held, released, unknown *x509.Certificate
}

func (s states) agree(o *observer) {
	o.Helper()
	o.agrees("good", s.issuer, s.good, "good", "")
	o.agrees("revoked", s.issuer, s.revoked, "revoked", "keyCompromise")
	o.agrees("on hold", s.issuer, s.held, "revoked", "certificateHold")
	o.agrees("released", s.issuer, s.released, "good", "")
	o.agrees("unknown", s.issuer, s.unknown, "unknown", "")
}

// unknown signs a certificate that the depot never hears of.
func (w *world) unknown() *x509.Certificate {
	w.Helper()
	permit, err := (&ca.Policy{Purpose: ca.PurposeDeviceAccess}).Check(w.csr, w.clock.Now())
	must(w, err)
	c, err := w.authority.Issue(permit)
	must(w, err)
	return c
}
