package selftls_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/cmd/understudy/internal/selftls"
)

func TestCertificate(t *testing.T) {
	t.Parallel()
	d, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	pair, err := selftls.Certificate(d, []string{"scep.lab.example", "127.0.0.1"}, now)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(d.TLSRoot())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for host, good := range map[string]bool{"scep.lab.example": true, "127.0.0.1": true, "other.example": false} {
		_, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if (err == nil) != good {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("the root vouches for a client")
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life > 398*24*time.Hour {
		t.Errorf("valid for %v, which Apple refuses", life)
	}

	// The root stays, the server's certificate is new.
	again, err := selftls.Certificate(d, []string{"localhost"}, now.AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if kept, _ := os.ReadFile(d.TLSRoot()); !bytes.Equal(kept, root) {
		t.Error("the root was replaced")
	}
	if bytes.Equal(again.Certificate[0], pair.Certificate[0]) {
		t.Error("the certificate is the old one")
	}
	if err := os.Chmod(d.TLSRootKey(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := selftls.Certificate(d, []string{"localhost"}, now); err == nil || !strings.Contains(err.Error(), "open to others") {
		t.Errorf("a key that others can read: %v", err)
	}
}
