//go:build clients

package ocsp_test

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/ocsp"
)

// opensslTime is how openssl prints a time.
const opensslTime = "Jan _2 15:04:05 2006 GMT"

// openssl runs the openssl command in a directory and returns what it prints.
func openssl(t *testing.T, dir string, arguments ...string) string {
	t.Helper()
	command := exec.Command("openssl", arguments...)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
}

// TestOpenSSL has openssl make requests in its ways, and read what we answer.
func TestOpenSSL(t *testing.T) {
	for _, algorithm := range []string{"RSA", "ECDSA"} {
		issuer := newIssuer(t, "issuer", newKey(t, algorithm))
		responder := newResponder(t, issuer, newKey(t, algorithm))
		dir := t.TempDir()
		write(t, dir, "issuer.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.certificate.Raw}))
		for _, digest := range []string{"-sha1", "-sha256", "-sha384", "-sha512"} {
			t.Run(algorithm+" "+digest, func(t *testing.T) {
				three := []string{digest, "-serial", "10", digest, "-serial", "11", digest, "-serial", "12"}
				openssl(t, dir, append([]string{"ocsp", "-issuer", "issuer.pem", "-reqout", "request"}, three...)...)
				der, err := os.ReadFile(filepath.Join(dir, "request"))
				must(t, err)
				question, err := ocsp.ParseRequest(der)
				must(t, err)
				if len(question.CertIDs) != 3 || len(question.Nonce) != 16 {
					t.Fatalf("%d certIDs and a nonce of %d", len(question.CertIDs), len(question.Nonce))
				}
				at := time.Now().UTC() // openssl judges the times by the machine's clock
				r := mixed(t, issuer, responder, at)
				for i, id := range question.CertIDs {
					if !id.IssuedBy(issuer.certificate) {
						t.Errorf("certID %d is not recognised", i)
					}
					r.Responses[i].ID = id
				}
				r.Nonce = question.Nonce
				answer, err := r.Sign(responder.key)
				must(t, err)
				write(t, dir, "answer", answer)
				// Once with the nonce that it asked with, once for what it makes of
				// each certificate.
				check := []string{"ocsp", "-issuer", "issuer.pem", "-respin", "answer", "-CAfile", "issuer.pem"}
				said := openssl(t, dir, append(check, "-reqin", "request", "-resp_text")...)
				said += openssl(t, dir, append(check, slices.Concat([]string{"-no_nonce"}, three)...)...)
				for _, want := range []string{
					"Response verify OK", "10: good\n", "\n11: revoked\n", "\n12: unknown\n", "Revocation Reason: certificateHold (0x6)",
					"Revocation Time: " + at.Add(-time.Minute).Format(opensslTime), "Produced At: " + at.Format(opensslTime), "OCSP Response Status: successful (0x0)",
				} {
					if !strings.Contains(said, want) {
						t.Errorf("openssl does not say %q:\n%s", want, said)
					}
				}
				if strings.Contains(said, "Nonce Verify error") || strings.Contains(said, "WARNING") || strings.Contains(said, "no nonce in response") {
					t.Errorf("openssl does not find its nonce, or warns:\n%s", said)
				}
			})
		}
	}
}

// openssl signs a request when it is told to; we answer it as any other.
func TestOpenSSLSigned(t *testing.T) {
	dir := t.TempDir()
	openssl(t, dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "signer.pem", "-subj", "/CN=somebody")
	openssl(t, dir, "ocsp", "-issuer", "signer.pem", "-serial", "0x1234", "-signer", "signer.pem", "-signkey", "key.pem", "-reqout", "request")
	der, err := os.ReadFile(filepath.Join(dir, "request"))
	must(t, err)
	question, err := ocsp.ParseRequest(der)
	must(t, err)
	if len(question.CertIDs) != 1 || question.CertIDs[0].Serial.Int64() != 0x1234 {
		t.Errorf("got %+v", question)
	}
}
