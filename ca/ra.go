package ca

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// retiredLife is how long an RA that was replaced still opens envelopes: a
// client may have asked for the RA just before, and may retry.
const retiredLife = 24 * time.Hour

// retired is an RA that was replaced.
type retired struct {
	Recipient
	at time.Time
}

// opens says whether a replaced RA still opens envelopes.
func (r retired) opens(now time.Time) bool { return now.Before(r.at.Add(retiredLife)) }

// recipients returns whose envelopes are opened at a time.
func (f *inForce) recipients(now time.Time) []Recipient {
	all := []Recipient{f.ra}
	for _, r := range f.retired {
		if r.opens(now) {
			all = append(all, r.Recipient)
		}
	}
	return all
}

// loadRAs reads the RA and those replaced less than a day ago, by whatever
// generation they were signed. In ShapeSingle the generations are the RAs.
func (a *Authority) loadRAs(f *inForce, s state, now time.Time) (err error) {
	if a.shape == ShapeSingle {
		if f.ra, err = a.ownRA(f.current); err != nil {
			return err
		}
		for _, g := range f.former {
			own, err := a.ownRA(g)
			if err != nil {
				return err
			}
			f.retired = append(f.retired, retired{own, g.until})
		}
		return nil
	}
	if f.ra, err = a.loadRA(s.RA, f.current); err != nil {
		return err
	}
	for _, r := range s.Retired {
		old := retired{at: r.RetiredAt}
		if !old.opens(now) {
			continue
		}
		if old.Recipient, err = a.loadRA(r.RA, f.all()...); err != nil {
			return err
		}
		f.retired = append(f.retired, old)
	}
	return nil
}

// loadRA reads one RA. It may have expired; one of the generations must have
// signed it.
func (a *Authority) loadRA(serial string, by ...*generation) (Recipient, error) {
	if _, err := ParseSerial(serial); err != nil { // it is about to be a file name
		return Recipient{}, fmt.Errorf("%s names no RA: %w", filepath.Join(a.dir, stateFile), err)
	}
	certificate, key, err := readPair(a.dir, raPrefix+serial)
	if err != nil {
		return Recipient{}, err
	}
	path := a.path(raPrefix + serial)
	signed := func(g *generation) bool { return certificate.CheckSignatureFrom(g.issuer) == nil }
	if !slices.ContainsFunc(by, signed) || FormatSerial(certificate.SerialNumber) != serial {
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
//
// It also takes back what a failed change left in authority.json.
func (a *Authority) RotateRA() (bool, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	rotated, err := a.lookAfterRA(a.clock.Now())
	if err != nil {
		return rotated, fmt.Errorf("rotate RA: %w", err)
	}
	return rotated, nil
}

func (a *Authority) lookAfterRA(now time.Time) (rotated bool, err error) {
	if a.shape == ShapeSingle {
		return false, a.agree(a.inForce.Load())
	}
	if rotated, err = a.rotateIfDue(now); err != nil {
		return rotated, err
	}
	return rotated, a.removeOldRAs(now)
}

// due says whether a certificate has a third of its life left or less, and a
// new one would live longer. One from the future is due as well: a lab's clock
// went back.
func due(certificate, issuer *x509.Certificate, now time.Time) bool {
	if now.Before(certificate.NotBefore) {
		return true
	}
	third := certificate.NotAfter.Sub(certificate.NotBefore) / 3
	return !now.Before(certificate.NotAfter.Add(-third)) && certificate.NotAfter.Before(issuer.NotAfter)
}

// rotateIfDue makes the new RA durable before authority.json names it, and
// names it before anybody is told to encrypt to it.
func (a *Authority) rotateIfDue(now time.Time) (bool, error) {
	f := a.inForce.Load()
	if issuer := f.current.issuer; now.Before(issuer.NotBefore) || !now.Before(issuer.NotAfter) || !due(f.ra.Certificate, issuer, now) {
		return false, nil
	}
	ra, rest, ok := f.earlierRA(now)
	if !ok {
		var err error
		if ra, err = a.newRA(f.current, now); err != nil {
			return false, err
		}
	}
	changed := *f
	changed.ra, changed.retired = ra, append([]retired{{f.ra, now}}, rest...)
	if err := a.put(&changed); err != nil {
		return false, err
	}
	return true, nil
}

// earlierRA returns an RA that was replaced and is the right one again, because
// a lab's clock went back, and the others. So a lab can move its clock to and
// fro without gathering RAs.
func (f *inForce) earlierRA(now time.Time) (ra Recipient, rest []retired, ok bool) {
	for i, r := range f.retired {
		c := r.Certificate
		if !due(c, f.current.issuer, now) && c.CheckSignatureFrom(f.current.issuer) == nil {
			return r.Recipient, slices.Delete(slices.Clone(f.retired), i, i+1), true
		}
	}
	return Recipient{}, f.retired, false
}

// newRA makes an RA and its files, which are durable when it returns.
func (a *Authority) newRA(g *generation, now time.Time) (Recipient, error) {
	key, err := a.rsaKey()
	if err != nil {
		return Recipient{}, err
	}
	certificate, err := signRA(a.names.ra, key.Public(), g.issuer, g.key, now, a.random)
	if err != nil {
		return Recipient{}, err
	}
	ra, err := recipient(certificate, key)
	if err != nil {
		return Recipient{}, err
	}
	if err := writePair(a.disk, a.dir, raPrefix+FormatSerial(certificate.SerialNumber), certificate, key); err != nil {
		return Recipient{}, err
	}
	return ra, a.disk.sync(a.dir)
}

// put has authority.json name what is to be in force, and then has requests
// see it. The files that it names are durable already.
func (a *Authority) put(f *inForce) error {
	data, err := encodeState(a.state(f))
	if err != nil {
		return err
	}
	if err := replaceFile(a.disk, filepath.Join(a.dir, stateFile), data); err != nil {
		return err
	}
	a.inForce.Store(f)
	return nil
}

// state is what authority.json says of what is in force.
func (a *Authority) state(f *inForce) state {
	s := state{Format: stateFormat, Shape: a.shape, Org: a.org, OrgID: a.orgID}
	if a.shape == ShapeChain {
		s.RA = FormatSerial(f.ra.Certificate.SerialNumber)
		for _, old := range f.retired {
			s.Retired = append(s.Retired, retiredRA{RA: FormatSerial(old.Certificate.SerialNumber), RetiredAt: old.at})
		}
	}
	if len(f.former) > 0 {
		s.Issuer = &issuerState{File: f.current.file, Since: f.current.since}
	}
	for _, g := range f.former {
		s.Former = append(s.Former, issuerState{File: g.file, Since: g.since, Until: g.until})
	}
	if n := f.next; n != nil {
		s.Next = &preparedState{File: n.file, PreparedAt: n.at}
		if a.shape == ShapeChain {
			s.Next.RA = FormatSerial(n.ra.Certificate.SerialNumber)
		}
	}
	return s
}

// removeOldRAs forgets the RAs whose time is over and removes the files of
// every RA that authority.json does not name: theirs, and what a crash left.
// The name goes before the files: authority.json never names a missing one.
func (a *Authority) removeOldRAs(now time.Time) error {
	changed := *a.inForce.Load()
	keep := []string{FormatSerial(changed.ra.Certificate.SerialNumber)}
	if changed.next != nil {
		keep = append(keep, FormatSerial(changed.next.ra.Certificate.SerialNumber))
	}
	var kept []retired
	for _, old := range changed.retired {
		if old.opens(now) {
			kept = append(kept, old)
			keep = append(keep, FormatSerial(old.Certificate.SerialNumber))
		}
	}
	changed.retired = kept
	if err := a.agree(&changed); err != nil {
		return err
	}
	a.inForce.Store(&changed)
	return a.removeRAsExcept(keep)
}

// agree puts what is to be in force, unless authority.json says the same. It
// may say something else after a change that failed when it was written already
// (the directory could not be synced): then it names what this process does not
// know, and files that are about to be removed.
func (a *Authority) agree(f *inForce) error {
	s, err := readState(a.dir)
	if err != nil {
		return err
	}
	s.Format = stateFormat // an older one is no reason to write
	stored, err := encodeState(s)
	if err != nil {
		return err
	}
	wanted, err := encodeState(a.state(f))
	if err != nil || bytes.Equal(stored, wanted) {
		return err
	}
	return a.put(f)
}

// removeRAsExcept removes the files of all RAs but some.
func (a *Authority) removeRAsExcept(keep []string) error {
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		serial, isRA := strings.CutPrefix(e.Name(), raPrefix)
		serial, _, _ = strings.Cut(serial, ".")
		if isRA && !slices.Contains(keep, serial) {
			errs = append(errs, a.disk.remove(filepath.Join(a.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
