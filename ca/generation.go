package ca

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // an identifier in URLs, not a signature
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"
)

// A Generation is one issuer of the authority, from the rollover that made it
// issue to the one that ended that. Afterwards it signs its CRLs and OCSP
// responders as long as its certificate is valid.
type Generation struct {
	Issuer  *x509.Certificate // in ShapeSingle the self-signed CA
	Current bool              // it issues
	Since   time.Time         // when it began to issue
	Until   time.Time         // when it stopped; zero while it issues
}

// generation is a Generation with what it works with. It is never changed.
type generation struct {
	file         string            // name of its files, without suffixes
	root, issuer *x509.Certificate // the same in ShapeSingle
	key          crypto.Signer     // the issuer's
	leaf         leafForm
	since, until time.Time
	responder    *responderSlot
}

// newGeneration makes a generation that is ready to issue.
func newGeneration(file string, root, issuer *x509.Certificate, key crypto.Signer, d Distribution) (*generation, error) {
	leaf, err := newLeafForm(issuer, key, d)
	if err != nil {
		return nil, err
	}
	return &generation{file: file, root: root, issuer: issuer, key: key, leaf: leaf, responder: &responderSlot{}}, nil
}

// all returns the generations, the current one first, then the latest first.
func (f *inForce) all() []*generation {
	return slices.Concat([]*generation{f.current}, f.former)
}

// generation returns the generation of an issuer.
func (f *inForce) generation(issuer *x509.Certificate) (*generation, error) {
	for _, g := range f.all() {
		if issuer != nil && g.issuer.Equal(issuer) {
			return g, nil
		}
	}
	return nil, ErrNotOurs
}

// Generations returns the issuer in force and those before it, the latest
// first. One that is prepared is not among them.
func (a *Authority) Generations() []Generation {
	f := a.inForce.Load()
	var all []Generation
	for _, g := range f.all() {
		all = append(all, Generation{Issuer: g.issuer, Current: g == f.current, Since: g.since, Until: g.until})
	}
	return all
}

// IssuerOf returns the issuer, of whatever generation, that signed a device
// certificate, an RA or an OCSP responder. It verifies the signature, and
// nothing else: neither dates nor revocation.
func (a *Authority) IssuerOf(certificate *x509.Certificate) (*x509.Certificate, bool) {
	for _, g := range a.inForce.Load().all() {
		// All generations have the same name, so the key decides.
		if bytes.Equal(certificate.AuthorityKeyId, g.issuer.SubjectKeyId) &&
			bytes.Equal(certificate.RawIssuer, g.issuer.RawSubject) &&
			certificate.CheckSignatureFrom(g.issuer) == nil {
			return g.issuer, true
		}
	}
	return nil, false
}

// ID names the authority in URLs: 40 hex digits, the SHA-1 of the root's
// SubjectPublicKeyInfo in DER. It stays the same while issuers and RAs are
// replaced; in ShapeSingle a rollover makes another root, and another ID.
func (a *Authority) ID() string { return idOf(a.Root()) }

// IDs returns every name by which URLs may call the authority: ID, and in
// ShapeSingle those of the CAs before, the latest first. Profiles on devices
// keep the old ones.
func (a *Authority) IDs() []string {
	var ids []string
	for _, g := range a.inForce.Load().all() {
		if id := idOf(g.root); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func idOf(root *x509.Certificate) string {
	sum := sha1.Sum(root.RawSubjectPublicKeyInfo) //nolint:gosec // an identifier
	return hex.EncodeToString(sum[:])
}
