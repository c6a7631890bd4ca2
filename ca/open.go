package ca

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Open opens the authority in dir. It changes nothing. A missing or empty dir
// is ErrNoAuthority; everything else that is not in order is one sentence that
// says what to do: permissions that let others in, symbolic links, keys and
// certificates that do not belong together, certificates that are not valid
// now, another organisation or shape than o asks for. An RA that has expired
// is no hindrance: RotateRA replaces it.
func Open(dir string, o Options) (*Authority, error) {
	a, err := open(filepath.Clean(dir), o.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	return a, nil
}

func open(dir string, o Options) (*Authority, error) {
	if empty, err := isEmpty(dir); err != nil {
		return nil, err
	} else if empty {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoAuthority)
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	s, err := readState(dir)
	if err != nil {
		return nil, err
	}
	if err := s.matches(dir, o); err != nil {
		return nil, err
	}
	names, err := newSubjects(s.Shape, s.Org, s.OrgID)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, clock: o.Clock, random: o.Random, shape: s.Shape}
	if err := a.load(s, names); err != nil {
		return nil, err
	}
	if err := a.checkIssuerKey(o.IssuerKey); err != nil {
		return nil, err
	}
	a.leaf, err = newLeafForm(a.issuer, a.issuerKey)
	return a, err
}

// checkDir refuses a directory that others may look into: they could exchange
// or read what it holds.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %04o): run chmod 700 on it", dir, mode)
	}
	return nil
}

// readState reads authority.json.
func readState(dir string) (state, error) {
	path := filepath.Join(dir, stateFile)
	data, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, fmt.Errorf("%s is missing, but %s is not empty: restore it from a backup, or use another directory", path, dir)
	}
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, fmt.Errorf("%s cannot be read (%w): restore it from a backup", path, err)
	}
	switch {
	case s.Format > stateFormat:
		return state{}, fmt.Errorf("%s has the format %d, this version knows %d: use a newer version", path, s.Format, stateFormat)
	case s.Format != stateFormat, s.Shape != ShapeChain && s.Shape != ShapeSingle, (s.Shape == ShapeChain) != (s.RA != ""):
		return state{}, fmt.Errorf("%s is not what an authority writes: restore it from a backup", path)
	}
	return s, nil
}

// matches refuses an authority that is not the one asked for. What it is was
// decided when it was created.
func (s state) matches(dir string, o Options) error {
	for _, m := range []struct{ what, stored, asked string }{
		{"shape", string(s.Shape), string(o.Shape)},
		{"organisation", s.Org, o.Org},
		{"organisation id", s.OrgID, o.OrgID},
	} {
		if m.asked != "" && m.asked != m.stored {
			return fmt.Errorf("the authority in %s has the %s %q, not %q: ask for %q, or use another directory", dir, m.what, m.stored, m.asked, m.stored)
		}
	}
	return nil
}

// load reads and checks the certificates and keys. The root's key signs
// nothing from here on, so in ShapeChain it is checked and forgotten.
func (a *Authority) load(s state, names subjects) error {
	now := a.clock.Now()
	root, rootKey, err := readPair(a.dir, rootFile)
	if err != nil {
		return err
	}
	if err := checkCA(a.path(rootFile), root, root, names.root, now); err != nil {
		return err
	}
	a.root, a.issuer, a.issuerKey = root, root, rootKey
	if s.Shape == ShapeSingle {
		own, err := recipient(root, rootKey)
		if err != nil {
			return fmt.Errorf("%s: %w", a.path(rootFile), err)
		}
		a.ra.Store(&raState{current: own})
		return nil
	}

	if a.issuer, a.issuerKey, err = readPair(a.dir, issuerFile); err != nil {
		return err
	}
	if err := checkCA(a.path(issuerFile), a.issuer, root, names.issuer, now); err != nil {
		return err
	}
	return a.loadRAs(s, now)
}

// path returns where a certificate lies.
func (a *Authority) path(name string) string {
	return filepath.Join(a.dir, name+certificateSuffix)
}

// checkCA refuses a certificate that is not a CA's, signed by parent, with the
// name that the authority's organisation gives it, and valid now.
func checkCA(path string, certificate, parent *x509.Certificate, subject []byte, now time.Time) error {
	switch {
	case !bytes.Equal(certificate.RawSubject, subject):
		return fmt.Errorf("%s does not have the name that %s says: restore both from the same backup", path, stateFile)
	case certificate.CheckSignatureFrom(parent) != nil, !bytes.Equal(certificate.RawIssuer, parent.RawSubject):
		return fmt.Errorf("%s is not signed by this authority's root: restore both from the same backup", path)
	case now.Before(certificate.NotBefore):
		return fmt.Errorf("%s is not valid before %s and it is %s: set the clock right", path, certificate.NotBefore.Format(time.RFC3339), now.Format(time.RFC3339))
	case now.After(certificate.NotAfter):
		return fmt.Errorf("%s expired on %s: create a new authority in another directory", path, certificate.NotAfter.Format(time.RFC3339))
	}
	return nil
}

// checkIssuerKey refuses an issuer's key that is not the one asked for.
func (a *Authority) checkIssuerKey(asked string) error {
	stored := KeyP256
	if _, ok := a.issuer.PublicKey.(*rsa.PublicKey); ok {
		stored = KeyRSA2048
	}
	if asked != "" && asked != stored {
		return fmt.Errorf("the authority in %s has the issuer key %q, not %q: ask for %q, or use another directory", a.dir, stored, asked, stored)
	}
	return nil
}

// recipient returns a certificate and its key as a recipient of envelopes.
func recipient(certificate *x509.Certificate, key crypto.Signer) (Recipient, error) {
	opener, ok := key.(Key)
	if _, isRSA := certificate.PublicKey.(*rsa.PublicKey); !ok || !isRSA {
		return Recipient{}, errors.New("its key cannot open envelopes: only RSA can")
	}
	return Recipient{Certificate: certificate, Key: opener}, nil
}
