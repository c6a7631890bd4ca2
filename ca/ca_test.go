package ca_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/refusal"
)

var update = flag.Bool("update", false, "write the golden certificates anew")

// born is when the authorities in testdata were made.
var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// today is a moment within their first year, with a fraction of a second.
var today = time.Date(2026, 3, 1, 12, 0, 0, 987654321, time.UTC)

// fixture copies an authority of testdata to where it may be changed, with the
// modes that a checkout does not keep.
func fixture(t testing.TB, name string) string {
	t.Helper()
	return copied(t, filepath.Join("testdata", name))
}

// copied copies the files of an authority.
func copied(t testing.TB, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	must(t, os.Mkdir(dir, 0o700))
	entries, err := os.ReadDir(from)
	must(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, e.Name()), data, 0o600))
	}
	return dir
}

// opened opens a copy of an authority of testdata at a time.
func opened(t testing.TB, name string, now time.Time) (*ca.Authority, *clock.Manual) {
	t.Helper()
	c := clock.NewManual(now)
	a, err := ca.Open(fixture(t, name), ca.Options{Clock: c})
	must(t, err)
	return a, c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testKey reads a private key of testdata.
func testKey(t testing.TB, name string) crypto.Signer {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".key.pem"))
	must(t, err)
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	return key.(crypto.Signer)
}

// request returns a genuine request of the device key in testdata for a
// subject in DER, with extensions.
func request(t testing.TB, subject []byte, extensions ...pkix.Extension) *x509.CertificateRequest {
	t.Helper()
	template := &x509.CertificateRequest{RawSubject: subject, ExtraExtensions: extensions}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, testKey(t, "device-rsa"))
	must(t, err)
	csr, err := x509.ParseCertificateRequest(der)
	must(t, err)
	return csr
}

// commonName returns a Name with a CN of UTF8String.
func commonName(t testing.TB, text string) []byte {
	t.Helper()
	return name(t, value{asn1.TagUTF8String, text})
}

// value is a CN by its tag and its octets.
type value struct {
	tag    int
	octets string
}

// name returns a Name with one relative name for each value.
func name(t testing.TB, values ...value) []byte {
	t.Helper()
	var relative [][]byte
	for _, v := range values {
		relative = append(relative, set(t, v))
	}
	return der(t, 0x30, relative...)
}

// set returns a relative name of several CNs.
func set(t testing.TB, values ...value) []byte {
	t.Helper()
	var attributes [][]byte
	for _, v := range values {
		oid := der(t, 0x06, []byte{0x55, 4, 3})
		attributes = append(attributes, der(t, 0x30, oid, der(t, byte(v.tag), []byte(v.octets))))
	}
	return der(t, 0x31, attributes...)
}

// der returns an element with a tag and the parts of its content.
func der(t testing.TB, tag byte, parts ...[]byte) []byte {
	t.Helper()
	content := bytes.Join(parts, nil)
	out, err := asn1.Marshal(asn1.RawValue{
		Class: int(tag >> 6), Tag: int(tag & 0x1f), IsCompound: tag&0x20 != 0, Bytes: content,
	})
	must(t, err)
	return out
}

// wantRefusal fails unless err is a refusal for a reason, with a detail that
// holds text.
func wantRefusal(t *testing.T, err error, reason refusal.Reason, text string) {
	t.Helper()
	r, ok := refusal.Of(err)
	if !ok {
		t.Fatalf("got %v, want the refusal %s", err, reason)
	}
	if r.Reason != reason || !strings.Contains(r.Detail, text) {
		t.Errorf("refused with %q, want %s with %q", r, reason, text)
	}
	if r.Text == "" {
		t.Errorf("the client is told nothing about %q", r)
	}
}

// zeros is a random source whose octets are all zero.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

var _ io.Reader = zeros{}

// deviceAccess is the policy of an ordinary configuration.
func deviceAccess() *ca.Policy { return &ca.Policy{Purpose: ca.PurposeDeviceAccess} }
