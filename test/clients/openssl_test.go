//go:build clients

package clients

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// openssl runs the openssl command, which is trusted more than we are.
func openssl(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := command(t, t.TempDir(), nil, "openssl", arguments...)
	if err != nil {
		t.Fatalf("openssl %s: %v", strings.Join(arguments, " "), err)
	}
	return out
}

// checkCertificate holds a certificate to the profile of a Device Access
// certificate: its chain, its subject in the order asked for, its usages, its
// marker, its lifetime, and nothing else.
func checkCertificate(t *testing.T, it target, path string, subject []string) {
	t.Helper()
	checkChain(t, it, path)
	checkSubject(t, path, subject)

	extensions := []string{"X509v3 Authority Key Identifier", "X509v3 Basic Constraints: critical", "X509v3 Extended Key Usage",
		"X509v3 Key Usage: critical", "X509v3 Subject Key Identifier", "1.3.6.1.4.1.51150.13.1"}
	if got := extensionNames(t, path); !slices.Equal(got, extensions) {
		t.Errorf("extensions of the certificate: %q, want %q", got, extensions)
	}
	usages := openssl(t, "x509", "-in", path, "-noout", "-ext", "basicConstraints,keyUsage,extendedKeyUsage")
	for _, want := range []string{"Basic Constraints: critical\n    CA:FALSE\n", "Key Usage: critical\n    Digital Signature\n", "Extended Key Usage: \n    TLS Web Client Authentication\n"} {
		if !strings.Contains(usages, want) {
			t.Errorf("usages of the certificate:\n%s\nwant %q", usages, want)
		}
	}
	marker := regexp.MustCompile(`OBJECT\s+:1\.3\.6\.1\.4\.1\.51150\.13\.1\n.*OCTET STRING\s+\[HEX DUMP\]:020101\n`)
	if parsed := openssl(t, "asn1parse", "-in", path); !marker.MatchString(parsed) {
		t.Errorf("the certificate has no marker of INTEGER 1, not critical:\n%s", parsed)
	}
	checkLifetime(t, path)
}

// checkChain verifies a certificate up to the root, as a TLS server would that
// asks a device for it.
func checkChain(t *testing.T, it target, path string) {
	t.Helper()
	openssl(t, "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", it.root, "-untrusted", it.between, path)
}

// checkSubject compares the subject with TYPE=VALUE parts in their order.
func checkSubject(t *testing.T, path string, want []string) {
	t.Helper()
	out := openssl(t, "x509", "-in", path, "-noout", "-subject", "-nameopt", "sep_multiline,sname,utf8")
	var got []string
	for line := range strings.Lines(strings.TrimPrefix(out, "subject=")) {
		if line = strings.TrimSpace(line); line != "" {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("subject of the certificate: %q, want %q", got, want)
	}
}

// extensionNames lists the extensions as openssl names them, sorted, with the
// word that says whether they are critical.
func extensionNames(t *testing.T, path string) []string {
	t.Helper()
	text := openssl(t, "x509", "-in", path, "-noout", "-text")
	_, text, _ = strings.Cut(text, "X509v3 extensions:\n")
	names := []string{}
	for line := range strings.Lines(text) {
		// Extensions are indented by 12, what they hold by more.
		if strings.HasPrefix(line, strings.Repeat(" ", 12)) && !strings.HasPrefix(line, strings.Repeat(" ", 13)) {
			names = append(names, strings.TrimSuffix(strings.TrimSpace(line), ":"))
		}
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(strings.TrimSuffix(name, ": "))
	}
	slices.SortFunc(names, func(a, b string) int {
		return strings.Compare(strings.TrimPrefix(a, "X509v3"), strings.TrimPrefix(b, "X509v3"))
	})
	return names
}

func checkLifetime(t *testing.T, path string) {
	t.Helper()
	var times [2]time.Time
	for i, option := range []string{"-startdate", "-enddate"} {
		_, text, _ := strings.Cut(strings.TrimSpace(openssl(t, "x509", "-in", path, "-noout", option)), "=")
		parsed, err := time.Parse("Jan _2 15:04:05 2006 MST", text)
		if err != nil {
			t.Fatalf("read the date that openssl printed: %v", err)
		}
		times[i] = parsed
	}
	if got := times[1].Sub(times[0]); got != 365*24*time.Hour {
		t.Errorf("lifetime of the certificate: %v, want 365 days", got)
	}
	// It begins five minutes before the enrolment, which was just now.
	if age := time.Since(times[0]); age < 4*time.Minute || age > 10*time.Minute {
		t.Errorf("the certificate is valid since %v, want about five minutes", age)
	}
}

// certificateSerial returns the certificate serial in lower-case hex.
func certificateSerial(t *testing.T, path string) string {
	t.Helper()
	_, hex, _ := strings.Cut(strings.TrimSpace(openssl(t, "x509", "-in", path, "-noout", "-serial")), "=")
	return strings.ToLower(hex)
}
