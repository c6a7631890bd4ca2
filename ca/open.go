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
	"strings"
	"time"
)

// Open opens the authority in dir. It changes nothing. A missing or empty dir
// is ErrNoAuthority; everything else that is not in order is one sentence that
// says what to do: permissions that let others in, symbolic links, keys and
// certificates that do not belong together, certificates that are not valid
// now (but see Options.AnyTime), another organisation or shape than o asks for. An RA that has expired
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
	a := &Authority{
		dir: dir, clock: o.Clock, random: o.Random, distribution: o.Distribution, anyTime: o.AnyTime,
		disk: osDisk{}, rsaKey: newRSAKey,
		shape: s.Shape, org: s.Org, orgID: s.OrgID, names: names,
	}
	if err := a.load(s); err != nil {
		return nil, err
	}
	return a, a.checkIssuerKey(o.IssuerKey)
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
	case s.Format < 1, s.Shape != ShapeChain && s.Shape != ShapeSingle, (s.Shape == ShapeChain) != (s.RA != ""),
		s.Next != nil && (s.Shape == ShapeChain) != (s.Next.RA != ""), len(s.Former) > 0 && s.Issuer == nil:
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

// load reads and checks the certificates and keys. In ShapeChain the root's key
// is checked and forgotten: only PrepareRollover needs it.
func (a *Authority) load(s state) error {
	now := a.clock.Now()
	root, _, err := readPair(a.dir, rootFile)
	if err != nil {
		return err
	}
	if a.shape == ShapeChain {
		if err := a.checkCA(rootFile, root, root, a.names.root); err != nil {
			return err
		}
		if err := a.validNow(rootFile, root, now); err != nil {
			return err
		}
	}
	f := &inForce{}
	current := issuerState{File: firstFile(a.shape)}
	if s.Issuer != nil {
		current = *s.Issuer
	}
	if f.current, err = a.loadGeneration(current, root); err != nil {
		return err
	}
	if err := a.validNow(f.current.file, f.current.issuer, now); err != nil {
		return err
	}
	for _, former := range s.Former {
		g, err := a.loadGeneration(former, root)
		if err != nil {
			return err
		}
		f.former = append(f.former, g)
	}
	if err := a.loadRAs(f, s, now); err != nil {
		return err
	}
	if s.Next != nil {
		if f.next, err = a.loadPrepared(*s.Next, root); err != nil {
			return err
		}
	}
	a.inForce.Store(f)
	return nil
}

// firstFile is the name of the files of the first generation.
func firstFile(shape Shape) string {
	if shape == ShapeSingle {
		return rootFile
	}
	return issuerFile
}

// loadGeneration reads one issuer. It may have expired; it must be ours.
func (a *Authority) loadGeneration(s issuerState, root *x509.Certificate) (*generation, error) {
	if first := firstFile(a.shape); s.File != first { // it is about to be a file name
		serial, ok := strings.CutPrefix(s.File, first+"-")
		if _, err := ParseSerial(serial); !ok || err != nil {
			return nil, fmt.Errorf("%s names no issuer: %q: restore it from a backup", filepath.Join(a.dir, stateFile), s.File)
		}
	}
	issuer, key, err := readPair(a.dir, s.File)
	if err != nil {
		return nil, err
	}
	name := a.names.issuer
	if a.shape == ShapeSingle {
		root, name = issuer, a.names.root
	}
	if err := a.checkCA(s.File, issuer, root, name); err != nil {
		return nil, err
	}
	g, err := newGeneration(s.File, root, issuer, key, a.distribution)
	if err != nil {
		return nil, err
	}
	if g.since, g.until = s.Since, s.Until; g.since.IsZero() {
		g.since = issuer.NotBefore.Add(caBackdate)
	}
	return g, nil
}

// loadPrepared reads the generation of a prepared rollover.
func (a *Authority) loadPrepared(s preparedState, root *x509.Certificate) (*prepared, error) {
	g, err := a.loadGeneration(issuerState{File: s.File}, root)
	if err != nil {
		return nil, err
	}
	g.since = time.Time{}
	p := &prepared{generation: g, at: s.PreparedAt}
	if a.shape == ShapeSingle {
		p.ra, err = a.ownRA(g)
	} else {
		p.ra, err = a.loadRA(s.RA, g)
	}
	return p, err
}

// ownRA returns the CA of ShapeSingle as its own RA.
func (a *Authority) ownRA(g *generation) (Recipient, error) {
	own, err := recipient(g.issuer, g.key)
	if err != nil {
		return Recipient{}, fmt.Errorf("%s: %w", a.path(g.file), err)
	}
	return own, nil
}

// path returns where a certificate lies.
func (a *Authority) path(name string) string {
	return filepath.Join(a.dir, name+certificateSuffix)
}

// checkCA refuses a certificate that is not a CA's, signed by parent, with the
// name that the authority's organisation gives it.
func (a *Authority) checkCA(file string, certificate, parent *x509.Certificate, subject []byte) error {
	switch {
	case !bytes.Equal(certificate.RawSubject, subject):
		return fmt.Errorf("%s does not have the name that %s says: restore both from the same backup", a.path(file), stateFile)
	case certificate.CheckSignatureFrom(parent) != nil, !bytes.Equal(certificate.RawIssuer, parent.RawSubject):
		return fmt.Errorf("%s is not signed by this authority's root: restore both from the same backup", a.path(file))
	}
	return nil
}

// validNow refuses a certificate that nobody would accept now.
func (a *Authority) validNow(file string, certificate *x509.Certificate, now time.Time) error {
	path := a.path(file)
	switch {
	case a.anyTime:
		return nil
	case now.Before(certificate.NotBefore):
		return fmt.Errorf("%s is not valid before %s and it is %s: set the clock right", path, certificate.NotBefore.Format(time.RFC3339), now.Format(time.RFC3339))
	case now.After(certificate.NotAfter):
		return fmt.Errorf("%s expired on %s: create a new authority in another directory", path, certificate.NotAfter.Format(time.RFC3339))
	}
	return nil
}

// checkIssuerKey refuses an issuer's key that is not the one asked for.
func (a *Authority) checkIssuerKey(asked string) error {
	if stored := keyKind(a.Issuer()); asked != "" && asked != stored {
		return fmt.Errorf("the authority in %s has the issuer key %q, not %q: ask for %q, or use another directory", a.dir, stored, asked, stored)
	}
	return nil
}

// keyKind says which of the issuer keys a certificate has.
func keyKind(certificate *x509.Certificate) string {
	if _, ok := certificate.PublicKey.(*rsa.PublicKey); ok {
		return KeyRSA2048
	}
	return KeyP256
}

// recipient returns a certificate and its key as a recipient of envelopes.
func recipient(certificate *x509.Certificate, key crypto.Signer) (Recipient, error) {
	opener, ok := key.(Key)
	if _, isRSA := certificate.PublicKey.(*rsa.PublicKey); !ok || !isRSA {
		return Recipient{}, errors.New("its key cannot open envelopes: only RSA can")
	}
	return Recipient{Certificate: certificate, Key: opener}, nil
}
