package ca_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

// issueAt has a request certified at a time.
func issueAt(t testing.TB, a *ca.Authority, p *ca.Policy, csr *x509.CertificateRequest, now time.Time) (*x509.Certificate, error) {
	t.Helper()
	permit, err := p.Check(csr, now)
	must(t, err)
	return a.Issue(permit)
}

// TestSerialsOfCertificates: 200 certificates; 10⁵ serials are drawn in
// serial_internal_test.go, where no RSA key is at work.
func TestSerialsOfCertificates(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	csr := request(t, commonName(t, "C02XK1ZZJG5H"))
	seen := map[string]bool{}
	var last []byte
	for i := range 200 {
		c, err := issueAt(t, a, deviceAccess(), csr, today.Add(time.Duration(i)*time.Millisecond))
		must(t, err)
		octets := c.SerialNumber.Bytes()
		if c.SerialNumber.Sign() <= 0 || len(octets) != 16 || bytes.Compare(octets, last) <= 0 {
			t.Fatalf("certificate serial %x after %x", octets, last)
		}
		last = octets
		seen[ca.FormatSerial(c.SerialNumber)] = true
	}
	if len(seen) != 200 {
		t.Errorf("%d different certificate serials, want 200", len(seen))
	}
}

func TestSerialNeedsRandomness(t *testing.T) {
	dir := fixture(t, "chain-p256")
	a, err := ca.Open(dir, ca.Options{Clock: clock.NewManual(today), Random: bytes.NewReader(make([]byte, 9))})
	must(t, err)
	if c, err := issueAt(t, a, deviceAccess(), request(t, commonName(t, "x")), today); err == nil {
		t.Errorf("issued %x from 9 random octets", c.SerialNumber)
	}
}

func TestFormatAndParseSerial(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"419b76daa800c01e6668314ed9be8150", "419b76daa800c01e6668314ed9be8150"},
		{"419B76DAA800C01E6668314ED9BE8150", "419b76daa800c01e6668314ed9be8150"},
		{"41:9B:76:DA:A8:00:C0:1E:66:68:31:4E:D9:BE:81:50", "419b76daa800c01e6668314ed9be8150"},
		{"000000419b", "419b"},
		{"00:0A:bC", "0abc"},
		{"abc", "0abc"},
		{"0", "00"},
		{strings.Repeat("0", 60) + strings.Repeat("f", 40), strings.Repeat("f", 40)},
	} {
		n, err := ca.ParseSerial(tt.in)
		if err != nil {
			t.Errorf("ParseSerial(%q): %v", tt.in, err)
			continue
		}
		if got := ca.FormatSerial(n); got != tt.want {
			t.Errorf("ParseSerial(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
	for _, in := range []string{"", ":", "xyz", "0x12", "-1", "12 34", "1" + strings.Repeat("0", 40), "é"} {
		if n, err := ca.ParseSerial(in); err == nil {
			t.Errorf("ParseSerial(%q) = %s, want an error", in, n)
		}
	}
	if got := ca.FormatSerial(big.NewInt(0x0f)); got != "0f" {
		t.Errorf("FormatSerial(15) = %s", got)
	}
}

// A time that has no place in a certificate serial is an error, not another
// length.
func TestSerialOfAnyTime(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	permit, err := deviceAccess().Check(request(t, commonName(t, "x")), time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC))
	must(t, err)
	if _, err := a.Issue(permit); err == nil || errors.Is(err, ca.ErrIssuerEndsFirst) {
		t.Errorf("issued in 1969: %v", err)
	}
}
