//go:build clients

package clients

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestOddities sends what real clients send and a pedant would refuse. Each
// yields a certificate.
func TestOddities(t *testing.T) {
	t.Parallel()
	it := newTarget(t, "chain")
	for name, switches := range map[string]string{
		"GET, plus signs raw":            "--method GET --base64 raw-plus",
		"GET, nothing escaped":           "--method GET --base64 raw",
		"GET, URL-safe alphabet":         "--method GET --base64 urlsafe",
		"GET, URL-safe, no padding":      "--method GET --base64 urlsafe-nopad",
		"GET, no padding":                "--method GET --base64 nopad",
		"GET, trailing newline":          "--method GET --base64 newline",
		"GET, lines of 64 columns":       "--method GET --base64 lines",
		"GET, spaces for plus signs":     "--method GET --base64 spaces",
		"GET, lower-case escapes":        "--method GET --base64 lower",
		"POST without operation":         "--operation=",
		"octet-stream":                   "--content-type application/octet-stream",
		"text/plain":                     "--content-type text/plain",
		"pkiclient.exe":                  "--suffix /pkiclient.exe --ca-id default",
		"trailing slash":                 "--suffix /",
		"AES-256, SHA-512":               "--cipher aes256 --digest sha512",
		"3DES, SHA-1":                    "--cipher 3des --digest sha1",
		"AES-128, SHA-384":               "--cipher aes128 --digest sha384",
		"3DES, SHA-256":                  "--cipher 3des --digest sha256",
		"OAEP, SHA-1":                    "--oaep sha1",
		"OAEP, SHA-256":                  "--oaep sha256",
		"indefinite lengths inside":      "--indefinite",
		"indefinite lengths outside":     "--ber",
		"indefinite lengths everywhere":  "--indefinite --ber --digest sha512 --cipher aes256",
		"challenge as PrintableString":   "--challenge-type printable",
		"challenge as BMPString":         "--challenge-type bmp",
		"challenge as T61String":         "--challenge-type teletex",
		"CSR by openssl":                 "--csr openssl",
		"sha256WithRSAEncryption":        "--digest-signature-oid",
		"nonce of 8 bytes":               "--nonce-bytes 8",
		"nonce of 64 bytes":              "--nonce-bytes 64",
		"transactionID as UTF8String":    "--transaction-type utf8",
		"transactionID of base64":        "--transaction-id ab+/cd==",
		"clock two days behind":          "--clock-offset -172800",
		"no signingTime":                 "--no-signing-time",
		"signer named like the CSR":      "--signer-subject /CN=C02XL0GTJODD",
		"asks for a name, gets none":     "--san evil.example --san other.example",
		"the same message sent twice":    "--twice",
		"the same message twice, by GET": "--twice --method GET",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := handmade(t, it, dir, []string{"CN=C02XL0GTJODD"}, strings.Fields(switches)...)
			if a.Status != "SUCCESS" || len(a.Complaints) > 0 {
				t.Fatalf("%+v", a)
			}
			checkChain(t, it, filepath.Join(dir, "cert.pem"))
		})
	}
}

// TestDroppedExtensions asks for names that a Device Access certificate does
// not have, and gets the same certificate as everybody.
func TestDroppedExtensions(t *testing.T) {
	t.Parallel()
	it, dir := newTarget(t, "chain"), t.TempDir()
	a := handmade(t, it, dir, []string{"DC=example", "OU=fleet-6F1C3A52-9D4E-4B7A-8C21-000000000001", "CN=C02XL0GTJSAN"},
		"--san", "one.example", "--san", "two.example")
	if a.Status != "SUCCESS" || len(a.Complaints) > 0 {
		t.Fatalf("%+v", a)
	}
	checkCertificate(t, it, filepath.Join(dir, "cert.pem"), []string{"DC=example", "OU=fleet-6F1C3A52-9D4E-4B7A-8C21-000000000001", "CN=C02XL0GTJSAN"})
}

// TestRefusals sends what must not yield a certificate, and holds the answer
// to the failInfo that RFC 8894 section 3.2.1.4 gives for it. Everything in and
// behind the decryption looks the same.
func TestRefusals(t *testing.T) {
	t.Parallel()
	it := newTarget(t, "chain")
	for name, c := range map[string]struct{ switches, status, failInfo string }{
		"broken proof of possession":   {"--bad-proof", "FAILURE", "1"},
		"tampered content key":         {"--tamper key", "FAILURE", "1"},
		"tampered content":             {"--tamper content", "FAILURE", "1"},
		"random bytes for an envelope": {"--tamper random", "FAILURE", "1"},
		"envelope for somebody else":   {"--recipient " + it.root, "FAILURE", "1"},
		"wrong messageDigest":          {"--wrong-digest", "FAILURE", "1"},
		"two challenges":               {"--second-challenge another", "FAILURE", "2"},
		"MD5":                          {"--digest md5", "FAILURE", "0"},
		"AES-192":                      {"--cipher aes192", "FAILURE", "0"},
		"RSA-1024":                     {"--key-bits 1024", "FAILURE", "2"},
		"RSA-3072":                     {"--key-bits 3072", "FAILURE", "2"},
		"no senderNonce":               {"--nonce-bytes 0", "FAILURE", "2"},
		"RenewalReq":                   {"--message-type 17", "FAILURE", "2"},
		"UpdateReq":                    {"--message-type 18", "FAILURE", "2"},
		"CertRep as a request":         {"--message-type 3", "FAILURE", "2"},
		"unknown message type":         {"--message-type 99", "FAILURE", "2"},
		"no signer certificate":        {"--no-certificate", "HTTP", ""},
		"unknown operation":            {"--operation PKIOperationX", "HTTP", ""},
		"not a SCEP message":           {"--raw " + it.root, "HTTP", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := handmade(t, it, t.TempDir(), []string{"CN=C02XL0GTJREF"}, strings.Fields(c.switches)...)
			if a.Status != c.status || a.FailInfo != c.failInfo {
				t.Errorf("%+v, want %s %s", a, c.status, c.failInfo)
			}
			if a.Status == "HTTP" && a.HTTPStatus != 400 {
				t.Errorf("status %d, want 400", a.HTTPStatus)
			}
			for _, complaint := range a.Complaints {
				t.Errorf("complaint: %s", complaint)
			}
		})
	}
	checkDevices(t, it, map[device]int{})
	checkAlive(t, it)
}

// TestForeignSigner signs with the identity of another device: the signer's
// key is not the CSR's, so the challenge is not even looked at.
func TestForeignSigner(t *testing.T) {
	t.Parallel()
	it, other := newTarget(t, "chain"), t.TempDir()
	if a := handmade(t, it, other, []string{"CN=C02XL0GTJONE"}); a.Status != "SUCCESS" {
		t.Fatalf("the other device: %+v", a)
	}
	a := handmade(t, it, t.TempDir(), []string{"CN=C02XL0GTJTWO"}, "--signer", other)
	if a.Status != "FAILURE" || a.FailInfo != "1" {
		t.Errorf("a request signed by another device: %+v, want FAILURE 1", a)
	}
	// The same device with a new key is welcome: its old identity signs, the
	// challenge decides.
	renewed := t.TempDir()
	a = handmade(t, it, renewed, []string{"CN=C02XL0GTJONE"}, "--signer", other)
	if a.Status != "SUCCESS" || len(a.Complaints) > 0 {
		t.Errorf("a request signed by the device's own identity: %+v", a)
	}
	checkDevices(t, it, map[device]int{{"C02XL0GTJONE", ""}: 2})
}

// TestCapabilities compares GetCACaps with what Okta's authority offers:
// everything but renewal. SHA-384 is there for strongSwan, which looks for the
// wrong word.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes {
		it := newTarget(t, shape)
		a := handmade(t, it, t.TempDir(), []string{"CN=C02XL0GTJCAP"})
		got := strings.TrimSuffix(strings.Join(a.Capabilities, " "), " ")
		if want := "POSTPKIOperation SHA-512 SHA-384 SHA-256 SHA-1 DES3 AES SCEPStandard"; got != want {
			t.Errorf("%s: capabilities %q, want %q", shape, got, want)
		}
	}
}
