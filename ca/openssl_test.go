package ca_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// openssl runs a command of OpenSSL, another project's reading of what is
// signed here, and returns what it prints. It must be there in CI.
func openssl(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("openssl is not installed; CI has it")
	}
	out, err := exec.Command("openssl", arguments...).CombinedOutput()
	return string(out), err
}

// pemFile writes PEM blocks to a file of their own and returns its path.
func pemFile(t *testing.T, blockType string, ders ...[]byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*.pem")
	must(t, err)
	for _, der := range ders {
		must(t, pem.Encode(f, &pem.Block{Type: blockType, Bytes: der}))
	}
	must(t, f.Close())
	return f.Name()
}

// certificateFile does so with certificates.
func certificateFile(t *testing.T, certificates ...*x509.Certificate) string {
	t.Helper()
	var ders [][]byte
	for _, c := range certificates {
		ders = append(ders, c.Raw)
	}
	return pemFile(t, "CERTIFICATE", ders...)
}

// derFile writes octets to a file of their own.
func derFile(t *testing.T, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "der")
	must(t, os.WriteFile(path, der, 0o600))
	return path
}

// unix is a time as OpenSSL's -attime takes it.
func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
