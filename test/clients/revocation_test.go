//go:build clients

package clients

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// TestRevocationIsSeen revokes certificates and asks openssl, by CRL and by
// OCSP, what they are: before and after a rollover, and after a restart.
func TestRevocationIsSeen(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			it := newTarget(t, shape)
			old := issueThree(t, it, "OLD")
			old.check(t, it)

			if r := it.server.Verb(t, "ca", "rollover", "prepare"); r.Code != 0 {
				t.Fatalf("understudy ca rollover prepare: exit code %d: %s", r.Code, r.Stderr)
			}
			old.check(t, it)
			if r := it.server.Verb(t, "ca", "rollover", "activate"); r.Code != 0 {
				t.Fatalf("understudy ca rollover activate: exit code %d: %s", r.Code, r.Stderr)
			}
			next := it.refetched(t)
			young := issueThree(t, next, "NEW")
			for range 2 { // and once more after a restart
				old.check(t, it)
				young.check(t, next)
				restarted := it.restarted(t)
				it.server, next.server = restarted.server, restarted.server
			}
			old.check(t, it)
			young.check(t, next)
		})
	}
}

// three certificates of one issuer: in each state one.
type three struct{ good, revoked, held string }

// issueThree enrols three devices with openssl and Python, and revokes two.
func issueThree(t *testing.T, it target, mark string) three {
	t.Helper()
	enrol := byHand()
	var certificates [3]string
	for i, suffix := range []string{"A", "B", "C"} {
		path, err := enrol(t, it, t.TempDir(), "C02XLCRL"+mark+suffix)
		if err != nil {
			t.Fatal(err)
		}
		certificates[i] = path
	}
	c := three{certificates[0], certificates[1], certificates[2]}
	revoke(t, it, c.revoked, "keyCompromise")
	revoke(t, it, c.held, "certificateHold")
	return c
}

func revoke(t *testing.T, it target, certificate, reason string) {
	t.Helper()
	if r := it.server.Verb(t, "cert", "revoke", certificateSerial(t, certificate), "--reason", reason); r.Code != 0 {
		t.Fatalf("understudy cert revoke: exit code %d: %s", r.Code, r.Stderr)
	}
}

// check holds openssl's two verdicts and the depot's against each other.
func (c three) check(t *testing.T, it target) {
	t.Helper()
	crl := fetchCRL(t, it)
	for path, want := range map[string]string{c.good: "good", c.revoked: "revoked", c.held: "revoked"} {
		if got := statusByCRL(t, it, crl, path); got != want {
			t.Errorf("openssl verify -crl_check says %s of a certificate that is %s", got, want)
		}
		if got := statusByOCSP(t, it, "-cert", path); got != want {
			t.Errorf("openssl ocsp says %s of a certificate that is %s", got, want)
		}
	}
	checkState(t, it, c.good, "valid")
	checkState(t, it, c.revoked, "revoked")
	checkState(t, it, c.held, "revoked")
	if got := statusByOCSP(t, it, "-serial", "0x0123456789abcdef"); got != "unknown" {
		t.Errorf("openssl ocsp says %s of a certificate that was never issued", got)
	}
}

// fetchCRL gets the issuer's CRL as a relying party does.
func fetchCRL(t *testing.T, it target) string {
	t.Helper()
	_, hex, found := strings.Cut(openssl(t, "x509", "-in", it.issuer, "-noout", "-ext", "subjectKeyIdentifier"), "\n")
	if !found {
		t.Fatal("the issuer has no subject key identifier")
	}
	ski := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(hex), ":", ""))
	path := filepath.Join(t.TempDir(), "issuer.crl")
	write(t, path, it.server.Public(t, "/crl/"+ski+".crl"))
	pem := path + ".pem"
	write(t, pem, []byte(openssl(t, "crl", "-inform", "DER", "-in", path, "-CAfile", it.issuer)))
	return pem
}

// statusByCRL is what `openssl verify -crl_check` makes of a certificate. Only
// the leaf is checked: the root publishes no list.
func statusByCRL(t *testing.T, it target, crl, certificate string) string {
	t.Helper()
	out, err := command(t, t.TempDir(), nil, "openssl", "verify", "-x509_strict", "-crl_check",
		"-CAfile", it.root, "-untrusted", it.issuer, "-CRLfile", crl, certificate)
	switch {
	case err == nil:
		return "good"
	case strings.Contains(err.Error(), "certificate revoked"):
		return "revoked"
	}
	t.Errorf("openssl verify: %v\n%s", err, out)
	return "an error"
}

// statusByOCSP is what `openssl ocsp` makes of it, by POST. openssl checks the
// signature, the nonce and the responder's certificate.
func statusByOCSP(t *testing.T, it target, of ...string) string {
	t.Helper()
	arguments := append([]string{"ocsp", "-issuer", it.issuer}, of...)
	arguments = append(arguments, "-url", it.origin(t)+"/ocsp", "-CAfile", it.root, "-verify_other", it.issuer)
	out, err := command(t, t.TempDir(), nil, "openssl", arguments...)
	if err != nil {
		t.Errorf("openssl ocsp: %v", err)
		return "an error"
	}
	for _, status := range []string{"good", "revoked", "unknown"} {
		if strings.Contains(out, ": "+status) {
			return status
		}
	}
	return out
}

// checkState is what the server itself says of a certificate.
func checkState(t *testing.T, it target, certificate, want string) {
	t.Helper()
	status, body := it.server.Admin(t, "GET", "/api/v1/certificates/"+certificateSerial(t, certificate), "")
	var identity struct {
		State string `json:"state"`
	}
	if err := json.Unmarshal(body, &identity); err != nil || status != 200 {
		t.Fatalf("the certificate in the admin API: status %d, %v: %s", status, err, body)
	}
	if identity.State != want {
		t.Errorf("the server says that the certificate is %s, want %s", identity.State, want)
	}
}

// restarted is the same server after kill -9, on the same public address.
func (it target) restarted(t *testing.T) target {
	t.Helper()
	address := strings.TrimPrefix(it.origin(t), "http://")
	it.server.Kill()
	it.server = understudy.Start(t, program.Options{Data: it.server.Data, Arguments: []string{"--authority", it.shape, "--listen", address}})
	return it
}
