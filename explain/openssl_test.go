package explain_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/explain"
)

// value returns the value of the first field with a name, or "".
func value(fields []*explain.Field, name string) string {
	for _, f := range fields {
		if f.Name == name && f.Value != "" {
			return f.Value
		}
		if v := value(f.Fields, name); v != "" {
			return v
		}
	}
	return ""
}

// OpenSSL, which shares no code with us, sees the same.
func TestOpenSSLAgrees(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("openssl is not installed; CI has it")
	}
	const certificateOpts = "-certopt ca_default,no_validity,no_extensions,no_header,no_version,no_sigdump"
	tests := []struct {
		name, command string
		fields        []string // whose values OpenSSL prints too
	}{
		{"leaf.pem", "openssl x509 -noout -serial -fingerprint -sha256 -dates -dateopt iso_8601 -subject -issuer -text " + certificateOpts,
			[]string{"serialNumber", "SHA-256 of it", "notBefore", "notAfter", "subject", "issuer", "signatureAlgorithm"}},
		{"windows.pem", "openssl x509 -noout -serial -fingerprint -sha256 -subject -text", []string{"serialNumber", "SHA-256 of it", "subject", "signatureAlgorithm"}},
		{"csr.pem", "openssl req -noout -subject -text -verify", []string{"subject", "signatureAlgorithm", "dNSName", "rfc822Name"}},
		{"crl.pem", "openssl crl -noout -text -issuer -crlnumber", []string{"userCertificate", "reasonCode", "issuer", "signatureAlgorithm"}},
		{"ocsp-response.der", "openssl ocsp -noverify -resp_text -respin", []string{"issuerNameHash", "issuerKeyHash", "serialNumber", "revocationReason", "signatureAlgorithm"}},
		{"ocsp-request.der", "openssl ocsp -req_text -reqin", []string{"issuerNameHash", "issuerKeyHash", "serialNumber"}},
		{"reply-success.der", "openssl cms -cmsout -print -noout -inform DER", []string{"senderNonce", "recipientNonce", "messageDigest", "transactionID", "signatureAlgorithm"}},
		{"request-strongswan.der", "openssl cms -cmsout -print -noout -inform DER", []string{"senderNonce", "messageDigest", "transactionID"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join("testdata", tt.name)
			args := strings.Fields(tt.command)[1:]
			if !strings.HasSuffix(tt.command, "in") {
				args = append(args, "-in")
			}
			out, err := exec.Command("openssl", append(args, file)...).CombinedOutput()
			if err != nil {
				t.Fatalf("openssl: %v\n%s", err, out)
			}
			theirs := plain(string(out))
			d := explain.Explain(sample(t, tt.name), explain.Options{Now: now})
			for _, field := range tt.fields {
				ours := value(d.Items[0].Fields, field)
				if field == "SHA-256 of it" {
					ours = d.Items[0].SHA256
				}
				if ours == "" || !strings.Contains(theirs, plain(ours)) {
					t.Errorf("%s is %q; OpenSSL does not print it:\n%s", field, ours, out)
				}
			}
		})
	}
}

// plain drops what only the layout of the two programs makes different.
func plain(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines { // a dump of octets: offset, octets, text
		if offset, rest, found := strings.Cut(strings.TrimSpace(l), " - "); found && len(offset) == 4 {
			octets, _, _ := strings.Cut(rest, "   ")
			lines[i] = octets
		}
	}
	return strings.NewReplacer(":", "", " ", "", "-", "", "t", "", "z", "").Replace(strings.ToLower(strings.Join(lines, "")))
}
