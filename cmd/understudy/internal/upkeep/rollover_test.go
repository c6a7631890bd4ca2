package upkeep_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/backup"
	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/cmd/understudy/internal/upkeep"
	"understudy.example/understudy/depot/depottest"
)

// openCA opens a data directory's authority.
func openCA(t *testing.T, dir datadir.Dir) *ca.Authority {
	t.Helper()
	a, err := ca.Open(dir.Authority(), ca.Options{Clock: clock.NewManual(noon)})
	must(t, err)
	return a
}

// commit has an authority issue a certificate, and stores it.
func (l lab) commit(t *testing.T, a *ca.Authority, n int, key *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "device"}}, key)
	must(t, err)
	csr, err := x509.ParseCertificateRequest(der)
	must(t, err)
	permit, err := (&ca.Policy{Purpose: ca.PurposeDeviceAccess}).Check(csr, noon)
	must(t, err)
	c, err := a.Issue(permit)
	must(t, err)
	issuer, _ := a.IssuerOf(c)
	i := depottest.Issuance(n)
	i.Identity.DER, i.Identity.SHA256 = c.Raw, sha256.Sum256(c.Raw)
	i.Identity.CertificateSerial = hex.EncodeToString(c.SerialNumber.Bytes())
	i.Transaction.CertificateSerial = i.Identity.CertificateSerial
	i.Identity.IssuerSHA256 = sha256.Sum256(issuer.Raw)
	_, err = l.store.Commit(t.Context(), i)
	must(t, err)
	return c
}

// A backup has every generation and the prepared one, with their keys; what is
// restored from it, and rebuilt after that, goes on where it was.
func TestGenerationsAreBackedUp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	for _, name := range []string{"chain-p256", "single"} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, name)
			a := openCA(t, l.dir)
			certificates := []*x509.Certificate{l.commit(t, a, 1, key)}
			for n := range 2 {
				_, err := a.PrepareRollover()
				must(t, err)
				l.record(t, a.Rollover().Next)
				_, err = a.ActivateRollover()
				must(t, err)
				certificates = append(certificates, l.commit(t, a, n+2, key))
			}
			_, err := a.PrepareRollover()
			must(t, err)

			path := filepath.Join(t.TempDir(), "data")
			_, err = upkeep.Restore(t.Context(), bytes.NewReader(l.backup(t)), path, "")
			must(t, err)
			dir := datadir.Dir(path)
			must(t, os.Remove(filepath.Join(dir.Store(), "store.db")))
			made, err := upkeep.Rebuild(t.Context(), dir, dir.Store(), false, nil)
			if err != nil || made.Certificates != 3 {
				t.Errorf("rebuilt %d certificates, %v", made.Certificates, err)
			}
			restored := openCA(t, dir)
			if !restored.Rollover().Next.RA.Equal(a.Rollover().Next.RA) || !restored.InForce().RA.Equal(a.InForce().RA) || len(restored.Recipients()) != 3 {
				t.Errorf("%d recipients", len(restored.Recipients()))
			}
			for n, c := range certificates {
				issuer, ok := restored.IssuerOf(c)
				if !ok || !issuer.Equal(a.Generations()[2-n].Issuer) {
					t.Fatalf("certificate %d: its issuer is not known", n)
				}
				_, err := restored.SignCRL(issuer, c.SerialNumber, noon, noon.AddDate(0, 0, 1), nil)
				must(t, err)
			}
			_, err = restored.ActivateRollover()
			must(t, err)
		})
	}
}

// A backup that lacks a generation's key is no good one.
func TestRestoreWithoutAGeneration(t *testing.T) {
	l := newLab(t, "chain-p256")
	a := openCA(t, l.dir)
	_, err := a.PrepareRollover()
	must(t, err)
	l.record(t, a.Rollover().Next)
	_, err = a.ActivateRollover()
	must(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	b := forged(t, l, func(dir string) {
		keys, err := filepath.Glob(filepath.Join(dir, "authority", "issuer-*.key.pem"))
		if err != nil || len(keys) != 1 {
			t.Fatal(keys, err)
		}
		must(t, os.WriteFile(keys[0], pemOf(t, other), 0o600))
	})
	_, err = upkeep.Restore(t.Context(), bytes.NewReader(b), filepath.Join(t.TempDir(), "data"), "")
	var invalid *backup.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("got %v", err)
	}
}

// Whenever a backup is made, also in the middle of a rollover, it is whole or
// it says that it is to be tried again.
func TestBackupDuringRollovers(t *testing.T) {
	l := newLab(t, "chain-p256")
	a := openCA(t, l.dir)
	done := make(chan error, 1)
	go func() {
		var errs []error
		for range 4 {
			_, prepare := a.PrepareRollover()
			cancel := a.CancelRollover()
			_, again := a.PrepareRollover()
			_, activate := a.ActivateRollover()
			errs = append(errs, prepare, cancel, again, activate)
		}
		done <- errors.Join(errs...)
	}()
	for made := 0; ; made++ {
		var b bytes.Buffer
		err := upkeep.Backup(t.Context(), &b, l.dir, l.store, upkeep.Content{Keys: true, Version: "test", Now: noon})
		if err == nil {
			_, err = upkeep.Restore(t.Context(), &b, filepath.Join(t.TempDir(), "data"), "")
		}
		if err != nil && !strings.Contains(err.Error(), "try again") {
			t.Fatalf("backup %d: %v", made, err)
		}
		select {
		case err := <-done:
			must(t, err)
			if made == 0 {
				t.Error("none was made meanwhile")
			}
			return
		default:
		}
	}
}

// pemOf returns a private key as a file of an authority.
func pemOf(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
