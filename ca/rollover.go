package ca

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxFormer is how many generations an authority may have had. All their files
// are kept, and a backup takes a limited number of files.
const maxFormer = 50

// A RolloverState says how far a rollover is.
type RolloverState string

// The states. An activated rollover is over: RolloverNone.
const (
	RolloverNone     RolloverState = "none"
	RolloverPrepared RolloverState = "prepared"
)

// A Rollover is what the change to the next generation has come to.
type Rollover struct {
	State       RolloverState
	Next        Certificates // of the prepared generation; nil when there is none
	PreparedAt  time.Time    // zero when there is none
	ActivatedAt time.Time    // when the last rollover happened; zero if there was none
}

// prepared is the generation that will issue after the next rollover.
type prepared struct {
	*generation
	ra Recipient
	at time.Time
}

// Rollover says how far a rollover is.
func (a *Authority) Rollover() Rollover { return a.inForce.Load().rollover() }

func (f *inForce) rollover() Rollover {
	r := Rollover{State: RolloverNone}
	if len(f.former) > 0 {
		r.ActivatedAt = f.current.since
	}
	if n := f.next; n != nil {
		r.State, r.PreparedAt = RolloverPrepared, n.at
		r.Next = Certificates{Root: n.root, Issuer: n.issuer, RA: n.ra.Certificate}
	}
	return r
}

// NextChain returns what Chain will return after the rollover that is prepared
// (RFC 8894 §4.7.1), or nil.
func (a *Authority) NextChain(noRoot bool) []*x509.Certificate {
	n := a.inForce.Load().next
	if n == nil {
		return nil
	}
	return n.chain(n.ra.Certificate, noRoot)
}

// NextCASigner returns who signs the answer to GetNextCACert: the issuer in
// force (RFC 8894 §4.7.1), or the RA, which is all that some clients know. The
// key is for that answer and nothing else.
func (a *Authority) NextCASigner(ra bool) (*x509.Certificate, crypto.Signer) {
	f := a.inForce.Load()
	if ra {
		return f.ra.Certificate, f.ra.Key
	}
	return f.current.issuer, f.current.key
}

// PrepareRollover makes the next generation: in ShapeChain an issuer and an RA
// under the same root, in ShapeSingle another self-signed CA. It issues nothing
// until ActivateRollover; a restart does not lose it. ErrRolloverPrepared when
// there is one.
func (a *Authority) PrepareRollover() (Rollover, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	f := a.inForce.Load()
	if f.next != nil {
		return f.rollover(), fmt.Errorf("prepare rollover: %w", ErrRolloverPrepared)
	}
	next, err := a.prepare(f)
	if err != nil {
		return f.rollover(), fmt.Errorf("prepare rollover: %w", err)
	}
	changed := *f
	changed.next = next
	if err := a.put(&changed); err != nil {
		return f.rollover(), fmt.Errorf("prepare rollover: %w", err)
	}
	return changed.rollover(), nil
}

// prepare makes the files of the next generation durable. After an error, or a
// crash, they may stay: an issuer's key is removed only by CancelRollover,
// which knows that it never issued.
func (a *Authority) prepare(f *inForce) (*prepared, error) {
	if len(f.former) == maxFormer {
		return nil, fmt.Errorf("there were %d rollovers, and no more have a place: create a new authority in another directory", maxFormer)
	}
	now := a.clock.Now().UTC()
	if a.shape == ShapeSingle {
		return a.prepareSingle(now)
	}
	root, rootKey, err := readPair(a.dir, rootFile)
	if err != nil {
		return nil, err
	}
	if !root.Equal(f.current.root) {
		return nil, fmt.Errorf("%s was exchanged: restore it from a backup", a.path(rootFile))
	}
	issuerKey, raKey, err := a.newPairOfKeys(f.current.issuer)
	if err != nil {
		return nil, err
	}
	issuer, err := signIssuer(a.names.issuer, issuerKey.Public(), root, rootKey, now, a.random)
	if err != nil {
		return nil, err
	}
	ra, err := signRA(a.names.ra, raKey.Public(), issuer, issuerKey, now, a.random)
	if err != nil {
		return nil, err
	}
	file := issuerFile + "-" + FormatSerial(issuer.SerialNumber)
	if err := writePair(a.disk, a.dir, file, issuer, issuerKey); err != nil {
		return nil, err
	}
	if err := writePair(a.disk, a.dir, raPrefix+FormatSerial(ra.SerialNumber), ra, raKey); err != nil {
		return nil, err
	}
	opener, err := recipient(ra, raKey)
	if err != nil {
		return nil, err
	}
	g, err := newGeneration(file, root, issuer, issuerKey, a.distribution)
	if err != nil {
		return nil, err
	}
	return &prepared{generation: g, ra: opener, at: now}, a.disk.sync(a.dir)
}

// prepareSingle does the same for a CA that does everything itself.
func (a *Authority) prepareSingle(now time.Time) (*prepared, error) {
	key, err := a.rsaKey()
	if err != nil {
		return nil, err
	}
	root, err := signRoot(ShapeSingle, a.names.root, key, now, a.random)
	if err != nil {
		return nil, err
	}
	file := rootFile + "-" + FormatSerial(root.SerialNumber)
	if err := writePair(a.disk, a.dir, file, root, key); err != nil {
		return nil, err
	}
	own, err := recipient(root, key)
	if err != nil {
		return nil, err
	}
	g, err := newGeneration(file, root, root, key, a.distribution)
	if err != nil {
		return nil, err
	}
	return &prepared{generation: g, ra: own, at: now}, a.disk.sync(a.dir)
}

// newPairOfKeys makes the keys of an issuer, of the kind that it has now, and
// of an RA, at the same time.
func (a *Authority) newPairOfKeys(issuer *x509.Certificate) (issuerKey, raKey crypto.Signer, err error) {
	newIssuerKey := a.rsaKey
	if keyKind(issuer) == KeyP256 {
		newIssuerKey = newP256Key
	}
	var issuerErr, raErr error
	var group sync.WaitGroup
	group.Go(func() { issuerKey, issuerErr = newIssuerKey() })
	group.Go(func() { raKey, raErr = a.rsaKey() })
	group.Wait()
	return issuerKey, raKey, errors.Join(issuerErr, raErr)
}

// ActivateRollover puts the prepared generation in force, for requests and on
// the disk, in one step; a crash leaves the old one in force or the new one.
// The old generation stays: its envelopes are opened for a day, and it signs
// its CRLs and OCSP responders as long as it is valid. ErrNoRollover when none
// is prepared.
//
// Whoever keeps a ledger records Rollover().Next before the call, because no
// certificate may come before its issuer there, and InForce() after it.
func (a *Authority) ActivateRollover() (Rollover, error) {
	a.changing.Lock()
	defer a.changing.Unlock()
	f := a.inForce.Load()
	next, err := a.activated(f, a.clock.Now().UTC())
	if err != nil {
		return f.rollover(), fmt.Errorf("activate rollover: %w", err)
	}
	if err := a.put(next); err != nil {
		return f.rollover(), fmt.Errorf("activate rollover: %w", err)
	}
	return next.rollover(), nil
}

// activated returns what is in force after a rollover.
func (a *Authority) activated(f *inForce, now time.Time) (*inForce, error) {
	n := f.next
	if n == nil {
		return nil, ErrNoRollover
	}
	if now.Before(n.issuer.NotBefore) || now.After(n.issuer.NotAfter) {
		return nil, fmt.Errorf("the next issuer is valid from %s to %s and it is %s: cancel the rollover and prepare another",
			n.issuer.NotBefore.Format(time.RFC3339), n.issuer.NotAfter.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	current, old := *n.generation, *f.current
	current.since, old.until = now, now
	next := &inForce{
		current: &current,
		former:  append([]*generation{&old}, f.former...),
		ra:      n.ra,
		retired: append([]retired{{f.ra, now}}, f.retired...),
	}
	if a.shape == ShapeSingle || !due(n.ra.Certificate, n.issuer, now) {
		return next, nil
	}
	// It was prepared long ago. Clients that were told its RA have a day too.
	ra, err := a.newRA(&current, now)
	if err != nil {
		return nil, err
	}
	next.ra, next.retired = ra, append([]retired{{n.ra, now}}, next.retired...)
	return next, nil
}

// CancelRollover forgets the prepared generation and removes its files, keys
// first. ErrNoRollover when none is prepared.
func (a *Authority) CancelRollover() error {
	a.changing.Lock()
	defer a.changing.Unlock()
	f := a.inForce.Load()
	if f.next == nil {
		return fmt.Errorf("cancel rollover: %w", ErrNoRollover)
	}
	changed := *f
	changed.next = nil
	if err := a.put(&changed); err != nil {
		return fmt.Errorf("cancel rollover: %w", err)
	}
	files := []string{f.next.file}
	if a.shape == ShapeChain {
		files = append(files, raPrefix+FormatSerial(f.next.ra.Certificate.SerialNumber))
	}
	var errs []error
	for _, file := range files {
		errs = append(errs, removePair(a.disk, a.dir, file))
	}
	if err := errors.Join(append(errs, a.disk.sync(a.dir))...); err != nil {
		return fmt.Errorf("cancel rollover: remove the keys that are not needed: %w", err)
	}
	return nil
}
