package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// retiredLife is how long an RA that was replaced still opens envelopes: a
// client may have asked for the RA just before, and may retry.
const retiredLife = 24 * time.Hour

// raState is the RA and those that it replaced. It is never changed, only
// exchanged for another one.
type raState struct {
	current Recipient
	retired []retired // latest first
}

type retired struct {
	Recipient
	at time.Time
}

// opens says whether a replaced RA still opens envelopes.
func (r retired) opens(now time.Time) bool { return now.Before(r.at.Add(retiredLife)) }

// recipients returns whose envelopes are opened at a time.
func (s *raState) recipients(now time.Time) []Recipient {
	all := []Recipient{s.current}
	for _, r := range s.retired {
		if r.opens(now) {
			all = append(all, r.Recipient)
		}
	}
	return all
}

// loadRAs reads the RA and those replaced less than a day ago.
func (a *Authority) loadRAs(s state, now time.Time) error {
	current, err := a.loadRA(s.RA)
	if err != nil {
		return err
	}
	next := &raState{current: current}
	for _, r := range s.Retired {
		old := retired{at: r.RetiredAt}
		if !old.opens(now) {
			continue
		}
		if old.Recipient, err = a.loadRA(r.RA); err != nil {
			return err
		}
		next.retired = append(next.retired, old)
	}
	a.ra.Store(next)
	return nil
}

// loadRA reads one RA. It may have expired; it must be ours.
func (a *Authority) loadRA(serial string) (Recipient, error) {
	if _, err := ParseSerial(serial); err != nil { // it is about to be a file name
		return Recipient{}, fmt.Errorf("%s names no RA: %w", filepath.Join(a.dir, stateFile), err)
	}
	certificate, key, err := readPair(a.dir, raPrefix+serial)
	if err != nil {
		return Recipient{}, err
	}
	path := a.path(raPrefix + serial)
	if certificate.CheckSignatureFrom(a.issuer) != nil || FormatSerial(certificate.SerialNumber) != serial {
		return Recipient{}, fmt.Errorf("%s is not the RA certificate that this authority's issuer signed: restore both from the same backup", path)
	}
	ra, err := recipient(certificate, key)
	if err != nil {
		return Recipient{}, fmt.Errorf("%s: %w", path, err)
	}
	return ra, nil
}

// RotateRA replaces the RA when a third of its life or less is left, and says
// whether it did. The old one opens envelopes for another day; after that its
// key is deleted, by the first call that finds it so. Serve calls it at start
// and from time to time. A crash at any point leaves the old RA in force or
// the new one. In ShapeSingle there is nothing to replace.
func (a *Authority) RotateRA() (bool, error) {
	if a.shape == ShapeSingle {
		return false, nil
	}
	a.rotating.Lock()
	defer a.rotating.Unlock()
	rotated, err := a.rotateIfDue(a.clock.Now())
	if err == nil {
		err = a.removeOldRAs(a.clock.Now())
	}
	if err != nil {
		return rotated, fmt.Errorf("rotate RA: %w", err)
	}
	return rotated, nil
}

// due says whether an RA has a third of its life left or less, and a new one
// would live longer. An RA from the future is due as well: a lab's clock went
// back.
func (a *Authority) due(ra *x509.Certificate, now time.Time) bool {
	if now.Before(ra.NotBefore) {
		return true
	}
	third := ra.NotAfter.Sub(ra.NotBefore) / 3
	return !now.Before(ra.NotAfter.Add(-third)) && ra.NotAfter.Before(a.issuer.NotAfter)
}

// rotateIfDue makes the new RA durable before authority.json names it, and
// names it before anybody is told to encrypt to it.
func (a *Authority) rotateIfDue(now time.Time) (bool, error) {
	old := a.ra.Load()
	if !a.due(old.current.Certificate, now) {
		return false, nil
	}
	c := old.current.Certificate
	key, err := newRSAKey()
	if err != nil {
		return false, err
	}
	certificate, err := signRA(c.RawSubject, key.Public(), a.issuer, a.issuerKey, now, a.random)
	if err != nil {
		return false, err
	}
	current, err := recipient(certificate, key)
	if err != nil {
		return false, err
	}
	if err := writePair(a.dir, raPrefix+FormatSerial(certificate.SerialNumber), certificate, key); err != nil {
		return false, err
	}
	if err := syncDir(a.dir); err != nil {
		return false, err
	}
	next := &raState{current: current, retired: append([]retired{{old.current, now}}, old.retired...)}
	if err := a.writeRAs(next); err != nil {
		return false, err
	}
	a.ra.Store(next)
	return true, nil
}

// writeRAs has authority.json name the RAs of a state.
func (a *Authority) writeRAs(r *raState) error {
	s, err := readState(a.dir)
	if err != nil {
		return err
	}
	s.RA = FormatSerial(r.current.Certificate.SerialNumber)
	s.Retired = nil
	for _, old := range r.retired {
		s.Retired = append(s.Retired, retiredRA{RA: FormatSerial(old.Certificate.SerialNumber), RetiredAt: old.at})
	}
	data, err := encodeState(s)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(a.dir, stateFile), data)
}

// removeOldRAs forgets the RAs whose time is over and removes the files of
// every RA that authority.json does not name: theirs, and what a crash left.
// The name goes before the files: authority.json never names a missing one.
func (a *Authority) removeOldRAs(now time.Time) error {
	r := a.ra.Load()
	kept := &raState{current: r.current}
	keep := []string{FormatSerial(r.current.Certificate.SerialNumber)}
	for _, old := range r.retired {
		if old.opens(now) {
			kept.retired = append(kept.retired, old)
			keep = append(keep, FormatSerial(old.Certificate.SerialNumber))
		}
	}
	s, err := readState(a.dir)
	if err != nil {
		return err
	}
	if len(kept.retired) != len(s.Retired) {
		if err := a.writeRAs(kept); err != nil {
			return err
		}
	}
	a.ra.Store(kept)
	return removeRAsExcept(a.dir, keep)
}

// removeRAsExcept removes the files of all RAs but some.
func removeRAsExcept(dir string, keep []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		serial, isRA := strings.CutPrefix(e.Name(), raPrefix)
		serial, _, _ = strings.Cut(serial, ".")
		if !isRA || slices.Contains(keep, serial) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
