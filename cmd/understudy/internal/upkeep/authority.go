package upkeep

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
)

// generations are the issuing certificates that a ledger knows, by SHA-256.
type generations map[[32]byte]*x509.Certificate

// recorded reads the generations from the ledger of a store directory.
func recorded(store string) (generations, error) {
	known := generations{}
	_, err := bolt.ReadLedger(filepath.Join(store, "ledger"), func(e bolt.Entry) error {
		if e.Type != bolt.EntryAuthority {
			return nil
		}
		a, err := e.Authority()
		if err != nil {
			return err
		}
		return known.add(a)
	})
	if err != nil {
		return nil, fmt.Errorf("compare the authority with the ledger: %w", err)
	}
	return known, nil
}

// Belongs refuses a data directory whose authority never issued from a store,
// as the store's ledger has it. One that was restored from before a rollover
// did.
func Belongs(dir datadir.Dir, store string) error {
	known, err := recorded(store)
	if err != nil {
		return err
	}
	return known.holds(dir)
}

// add takes a generation in, when its issuer is signed by its root.
func (g generations) add(a depot.AuthorityGeneration) error {
	root, err := x509.ParseCertificate(a.Root)
	if err != nil {
		return fmt.Errorf("root of the authority: %w", err)
	}
	issuer, err := x509.ParseCertificate(a.Issuer)
	if err != nil {
		return fmt.Errorf("issuer of the authority: %w", err)
	}
	if err := issuer.CheckSignatureFrom(root); err != nil {
		return fmt.Errorf("the authority's issuer is not signed by its root: %w", err)
	}
	g[sha256.Sum256(a.Issuer)] = issuer
	return nil
}

// check refuses an identity whose certificate is not one that a generation
// issued, or not the one that the record describes.
func (g generations) check(i depot.Identity) error {
	if sha256.Sum256(i.DER) != i.SHA256 {
		return errors.New("the record's fingerprint is not the certificate's")
	}
	certificate, err := x509.ParseCertificate(i.DER)
	if err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if serial := hex.EncodeToString(certificate.SerialNumber.Bytes()); serial != i.CertificateSerial {
		return fmt.Errorf("it has the certificate serial %s", serial)
	}
	issuer, known := g[i.IssuerSHA256]
	if !known {
		return errors.New("the ledger does not know the authority that issued it")
	}
	if err := certificate.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("it is not signed by the authority: %w", err)
	}
	return nil
}

// holds refuses a data directory whose authority is none that the ledger
// knows. Its first generation says so: the files of that are always there,
// whatever rollovers came after it. A directory without an authority is not for
// us to judge.
func (g generations) holds(dir datadir.Dir) error {
	for _, name := range []string{"issuer.pem", "root.pem"} { // a single authority has no issuer
		text, err := os.ReadFile(filepath.Join(dir.Authority(), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read authority: %w", err)
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return fmt.Errorf("%s holds no certificate", filepath.Join(dir.Authority(), name))
		}
		for _, issuer := range g {
			if bytes.Equal(issuer.Raw, block.Bytes) {
				return nil
			}
		}
		return fmt.Errorf("the authority in %s is not the one that issued from this store: put the right one there", dir.Authority())
	}
	return nil
}
