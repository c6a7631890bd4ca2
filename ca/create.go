package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

const rsaBits = 2048

// Create makes an authority in dir, which must be missing or empty, and opens
// it. The directory is written beside its place and renamed into it, so that
// dir holds a whole authority or none; what an interrupted Create left is
// removed by the next one. Directory and files are durable, 0700 and 0600
// when Create returns.
func Create(dir string, o Options) (*Authority, error) {
	o = o.withDefaults()
	a, err := create(filepath.Clean(dir), o)
	if err != nil {
		return nil, fmt.Errorf("create authority: %w", err)
	}
	return a, nil
}

func create(dir string, o Options) (*Authority, error) {
	o, err := o.forCreation()
	if err != nil {
		return nil, err
	}
	if empty, err := isEmpty(dir); err != nil {
		return nil, err
	} else if !empty {
		return nil, fmt.Errorf("%s is not empty: open what is there, or use another directory", dir)
	}

	half := dir + ".new"
	if err := os.RemoveAll(half); err != nil {
		return nil, err
	}
	if err := os.Mkdir(half, 0o700); err != nil {
		return nil, err
	}
	if err := fill(half, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(half))
	}
	if err := moveInto(half, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(half))
	}
	if err := (osDisk{}).sync(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	return open(dir, o)
}

// moveInto renames a directory to a place that is missing or empty.
func moveInto(half, dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(half, dir)
}

// forCreation fills in what a new authority needs, and refuses what cannot be.
func (o Options) forCreation() (Options, error) {
	if o.Org == "" {
		o.Org = "lab"
	}
	if o.Shape == "" {
		o.Shape = ShapeChain
	}
	if o.IssuerKey == "" {
		o.IssuerKey = KeyRSA2048
	}
	if o.OrgID == "" {
		id, err := newOrgID(o.Random)
		if err != nil {
			return o, err
		}
		o.OrgID = id
	}
	if o.Shape != ShapeChain && o.Shape != ShapeSingle {
		return o, fmt.Errorf("there is no shape %q: use %s or %s", o.Shape, ShapeChain, ShapeSingle)
	}
	if o.IssuerKey != KeyRSA2048 && o.IssuerKey != KeyP256 {
		return o, fmt.Errorf("there is no issuer key %q: use %s or %s", o.IssuerKey, KeyRSA2048, KeyP256)
	}
	if o.Shape == ShapeSingle && o.IssuerKey != KeyRSA2048 {
		return o, fmt.Errorf("a single CA opens envelopes with its own key, which %s cannot: use %s, or the shape %s", o.IssuerKey, KeyRSA2048, ShapeChain)
	}
	if err := checkOrg(o.Org, o.OrgID); err != nil {
		return o, err
	}
	_, err := o.Distribution.extensions(make([]byte, 20)) // as long as an issuer's
	return o, err
}

// isEmpty says whether nothing would be lost if dir were replaced.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return len(entries) == 0, err
}

// fill makes keys and certificates and writes them to an empty directory.
func fill(dir string, o Options) error {
	if err := os.Chmod(dir, 0o700); err != nil { // whatever the umask is
		return err
	}
	names, err := newSubjects(o.Shape, o.Org, o.OrgID)
	if err != nil {
		return err
	}
	keys, err := newKeys(o)
	if err != nil {
		return err
	}
	now := o.Clock.Now()
	s := state{Format: stateFormat, Shape: o.Shape, Org: o.Org, OrgID: o.OrgID}

	root, err := signRoot(o.Shape, names.root, keys.root, now, o.Random)
	if err != nil {
		return err
	}
	if err := writePair(osDisk{}, dir, rootFile, root, keys.root); err != nil {
		return err
	}
	if o.Shape == ShapeChain {
		issuer, err := signIssuer(names.issuer, keys.issuer.Public(), root, keys.root, now, o.Random)
		if err != nil {
			return err
		}
		if err := writePair(osDisk{}, dir, issuerFile, issuer, keys.issuer); err != nil {
			return err
		}
		ra, err := signRA(names.ra, keys.ra.Public(), issuer, keys.issuer, now, o.Random)
		if err != nil {
			return err
		}
		s.RA = FormatSerial(ra.SerialNumber)
		if err := writePair(osDisk{}, dir, raPrefix+s.RA, ra, keys.ra); err != nil {
			return err
		}
	}
	data, err := encodeState(s)
	if err != nil {
		return err
	}
	if err := (osDisk{}).create(filepath.Join(dir, stateFile), data); err != nil {
		return err
	}
	return osDisk{}.sync(dir)
}

// authorityKeys are the keys of a new authority; issuer and ra are nil in
// ShapeSingle.
type authorityKeys struct{ root, issuer, ra crypto.Signer }

// newKeys makes the keys at the same time: each RSA key is a search of
// uncertain length, and nearly all that the first start waits for.
func newKeys(o Options) (authorityKeys, error) {
	var k authorityKeys
	if o.Shape == ShapeSingle {
		key, err := rsa.GenerateKey(rand.Reader, rsaBits)
		return authorityKeys{root: key}, err
	}
	wanted := []struct {
		to   *crypto.Signer
		make func() (crypto.Signer, error)
	}{{&k.root, newRSAKey}, {&k.issuer, newRSAKey}, {&k.ra, newRSAKey}}
	if o.IssuerKey == KeyP256 {
		wanted[1].make = newP256Key
	}
	errs := make([]error, len(wanted))
	var group sync.WaitGroup
	for i, w := range wanted {
		group.Go(func() { *w.to, errs[i] = w.make() })
	}
	group.Wait()
	return k, errors.Join(errs...)
}

func newRSAKey() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }

func newP256Key() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
