package intune_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
	"understudy.example/understudy/depot"
)

// settingsOf are a configuration's for the world's cloud, with files in dir.
func (w *world) settingsOf(t *testing.T, dir string) depot.IntuneSettings {
	t.Helper()
	write(t, filepath.Join(dir, "secret"), secret+"\n")
	write(t, filepath.Join(dir, "ca.pem"), string(w.rootPEM))
	return depot.IntuneSettings{
		Tenant: domain, ClientID: clientID, SecretFile: filepath.Join(dir, "secret"), CAFile: filepath.Join(dir, "ca.pem"),
		Authority: w.Authority(), GraphURL: w.GraphURL(),
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// TestClients: a credential has one client, however many configurations have
// it, and another one when anything about it is different.
func TestClients(t *testing.T) {
	w := newWorld(t)
	s := w.settingsOf(t, t.TempDir())
	clients := &intune.Clients{CallerInfo: "test", IssuerName: func(*x509.Certificate) string { return "CN=CA" }}
	client := func(s depot.IntuneSettings) *intune.Client {
		t.Helper()
		v, err := clients.Validator(s)
		if err != nil {
			t.Fatal(err)
		}
		return v.(*intune.Validator).Client
	}
	first := client(s)
	if err := first.Validate(t.Context(), w.good(t)); err != nil {
		t.Error(err)
	}
	if client(s) != first {
		t.Error("the same credential has two clients")
	}
	other := s
	other.Tenant = tenantID
	if client(other) == first {
		t.Error("two tenants share a client")
	}
	write(t, s.SecretFile, "another secret")
	rotated := client(s)
	if rotated == first || first.Validate(t.Context(), w.good(t)) != nil {
		t.Error("another secret has the same client, or changed it")
	}
	if err := rotated.Validate(t.Context(), w.good(t)); err == nil || !strings.Contains(err.Error(), "AADSTS7000215") {
		t.Errorf("with a wrong secret: %v", err)
	}
}

// TestClientsWithCertificate reads a certificate and its key in either form.
func TestClientsWithCertificate(t *testing.T) {
	w := newWorld(t)
	own, key := certificate(t, w.clock.Now().Add(-time.Minute))
	w.application(t, fake.Application{Certificates: []*x509.Certificate{own}})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	clients := &intune.Clients{CallerInfo: "test"}
	for _, inOrder := range [][]string{
		{inPEM("CERTIFICATE", own.Raw), inPEM("PRIVATE KEY", pkcs8)},
		{inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), inPEM("CERTIFICATE", own.Raw)},
	} {
		dir := t.TempDir()
		s := w.settingsOf(t, dir)
		s.SecretFile, s.CertificateFile = "", filepath.Join(dir, "both.pem")
		write(t, s.CertificateFile, strings.Join(inOrder, ""))
		v, err := clients.Validator(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.(*intune.Validator).Client.Validate(t.Context(), w.good(t)); err != nil {
			t.Error(err)
		}
	}
}

// TestClientsFiles are the mistakes in files, which are told with the setting
// and the path, and without what is in the file.
func TestClientsFiles(t *testing.T) {
	w := newWorld(t)
	own, _ := certificate(t, w.clock.Now())
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalPKCS8PrivateKey(elliptical)
	if err != nil {
		t.Fatal(err)
	}
	chain, foreign := inPEM("CERTIFICATE", own.Raw), inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys()[1]))
	clients := &intune.Clients{CallerInfo: "test"}
	for _, c := range []struct{ setting, content, words string }{
		{"client_secret_file", " \n", "it is empty"},
		{"client_secret_file", strings.Repeat("x", 1<<20+1), "more than 1048576 bytes"},
		{"client_certificate_file", chain, "no RSA key"},
		{"client_certificate_file", foreign, "no certificate"},
		{"client_certificate_file", chain + foreign, "not that of its first certificate"},
		{"client_certificate_file", chain + inPEM("PRIVATE KEY", ec), "not RSA"},
		{"client_certificate_file", chain + inPEM("PRIVATE KEY", []byte("x")), "not PKCS #8"},
		{"client_certificate_file", inPEM("CERTIFICATE", []byte("x")), "read certificate"},
		{"ca_file", foreign, "no certificate in PEM"},
	} {
		dir := t.TempDir()
		s := w.settingsOf(t, dir)
		path := filepath.Join(dir, "file")
		switch c.setting {
		case "client_secret_file":
			s.SecretFile = path
		case "client_certificate_file":
			s.SecretFile, s.CertificateFile = "", path
		default:
			s.CAFile = path
		}
		if _, err := clients.Validator(s); err == nil || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path+": no such file") {
			t.Errorf("%s that is not there: %v", c.setting, err)
		}
		write(t, path, c.content)
		var wrong *intune.FileError
		_, err := clients.Validator(s)
		if !errors.As(err, &wrong) || wrong.Setting != c.setting || wrong.Path != path || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %q", c.setting, err, c.words)
		}
		if bytes.Contains([]byte(err.Error()), []byte("PRIVATE")) {
			t.Errorf("the error shows the file: %v", err)
		}
	}
}
