// Package ca is the certificate authority: its keys and certificates, the
// policy that judges a certificate request, and the making of the certificate.
//
// The only way to a device certificate is Policy.Check, which gives a Permit,
// and Authority.Issue, which signs what the Permit holds and nothing else. The
// package must not know SCEP, HTTP, challenges or the store: whether a request
// was wanted, and what becomes of the certificate, is not its business.
package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"understudy.example/understudy/clock"
)

// A Shape is how many certificates an authority is made of.
type Shape string

// The shapes. It is fixed when the authority is created.
const (
	// ShapeChain is a root, an intermediate that issues, and an RA certificate
	// that opens envelopes and signs replies.
	ShapeChain Shape = "chain"
	// ShapeSingle is one self-signed CA that does everything itself.
	ShapeSingle Shape = "single"
)

// The keys that an issuer may have. The root and the RA are RSA-2048 always:
// SCEP encrypts to the RA, and a larger key costs several times as much at
// every request.
const (
	KeyRSA2048 = "rsa2048"
	KeyP256    = "p256"
)

// Errors that callers tell apart.
var (
	// ErrNoAuthority says that there is nothing at the place: Create may make
	// an authority there.
	ErrNoAuthority = errors.New("no authority there")
	// ErrIssuerEndsFirst says that a certificate would be valid for longer
	// than its issuer. It is not cut to fit (RFC 5280 §4.1.2.5 leaves the
	// choice; a shorter certificate would surprise whoever renews it).
	ErrIssuerEndsFirst = errors.New("the issuer ends before the certificate would")
	// ErrNotOurs says that an issuer is no generation of this authority.
	ErrNotOurs = errors.New("not an issuer of this authority")
	// ErrRolloverPrepared says that the next generation is there already.
	ErrRolloverPrepared = errors.New("a rollover is prepared already: activate it or cancel it")
	// ErrNoRollover says that no next generation is prepared.
	ErrNoRollover = errors.New("no rollover is prepared")
)

// A Key opens envelopes and signs replies. It may live outside the process.
type Key interface {
	crypto.Signer
	crypto.Decrypter
}

// A Recipient is a certificate that SCEP messages may be encrypted to, and the
// key that opens them.
type Recipient struct {
	Certificate *x509.Certificate
	Key         Key
}

// Options are what an authority is made or opened with.
type Options struct {
	// Org is the subdomain of the Okta organisation that is stood in for: the
	// third DC of the issuer's name. Create: "" means "lab". Open: "" means
	// whatever is stored, anything else must be what is stored. The same goes
	// for the next three.
	Org string
	// OrgID is the id of that organisation: the OU of the issuer's name.
	// Create: "" means a random one of Okta's form.
	OrgID string
	// Shape is "" for ShapeChain.
	Shape Shape
	// IssuerKey is KeyRSA2048 or KeyP256; "" for KeyRSA2048. ShapeSingle
	// opens envelopes with the issuer's key, so it must be RSA there.
	IssuerKey string
	// Clock says when certificates begin; nil for the machine's own.
	Clock clock.Clock
	// Random is where certificate serials come from; nil for crypto/rand. Keys
	// always come from crypto/rand.
	Random io.Reader
	// Distribution is where relying parties find what revokes device
	// certificates. Its zero value leaves that out of them.
	Distribution Distribution
	// AnyTime opens an authority also at a time at which its certificates are
	// not valid, when it can do nothing: a lab may have moved the clock there,
	// and has to be able to move it back.
	AnyTime bool
}

// withDefaults fills in what works without being asked for.
func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return o
}

// An Authority signs device certificates. It is safe for concurrent use.
type Authority struct {
	dir          string
	clock        clock.Clock
	random       io.Reader
	distribution Distribution
	anyTime      bool // see Options
	disk         disk
	rsaKey       func() (crypto.Signer, error) // makes one

	shape      Shape
	org, orgID string
	names      subjects

	changing sync.Mutex              // held while what is in force is exchanged
	inForce  atomic.Pointer[inForce] // what requests see
}

// inForce is everything that a rollover or a new RA changes. It is never
// changed, only exchanged for another one, so that whoever loads it once sees
// certificates and keys that belong together.
type inForce struct {
	current *generation
	former  []*generation // latest first
	ra      Recipient     // in ShapeSingle the CA
	retired []retired     // what ra replaced, latest first
	next    *prepared     // nil when no rollover is prepared
}

// chain returns what GetCACert answers of a generation.
func (g *generation) chain(ra *x509.Certificate, noRoot bool) []*x509.Certificate {
	if g.issuer == g.root {
		return []*x509.Certificate{g.issuer}
	}
	chain := []*x509.Certificate{ra, g.issuer}
	if !noRoot {
		chain = append(chain, g.root)
	}
	return chain
}

// Certificates are the certificates that belong to one generation.
type Certificates struct {
	Root, Issuer, RA *x509.Certificate // the same three times in ShapeSingle
}

// Shape returns the authority's shape.
func (a *Authority) Shape() Shape { return a.shape }

// InForce returns the certificates of now, which belong together. Calls of
// Root, Issuer and RA, one after the other, may see a rollover in between.
func (a *Authority) InForce() Certificates {
	f := a.inForce.Load()
	return Certificates{Root: f.current.root, Issuer: f.current.issuer, RA: f.ra.Certificate}
}

// Root returns the certificate that devices and relying parties trust. In
// ShapeSingle a rollover makes another one.
func (a *Authority) Root() *x509.Certificate { return a.inForce.Load().current.root }

// Issuer returns the certificate that signs device certificates; in
// ShapeSingle it is the root. Whose certificate a device has, IssuerOf says: a
// rollover may lie between an Issue and this call.
func (a *Authority) Issuer() *x509.Certificate { return a.inForce.Load().current.issuer }

// RA returns the certificate and key that sign replies and that clients
// encrypt to; in ShapeSingle they are the root's.
func (a *Authority) RA() (*x509.Certificate, Key) {
	ra := a.inForce.Load().ra
	return ra.Certificate, ra.Key
}

// Recipients returns every certificate whose envelopes are opened: the RA
// first, then those that it replaced less than a day ago, latest first.
func (a *Authority) Recipients() []Recipient {
	return a.inForce.Load().recipients(a.clock.Now())
}

// Chain returns what GetCACert answers, in that order: RA, issuer, root
// (RFC 8894 §4.2.1.2; Apple's client takes the first leaf with both key
// usages for the RA). Without the root it ends with the issuer. In ShapeSingle
// it is the one certificate in either case.
func (a *Authority) Chain(noRoot bool) []*x509.Certificate {
	f := a.inForce.Load()
	return f.current.chain(f.ra.Certificate, noRoot)
}

// Dir returns the directory that the authority lives in.
func (a *Authority) Dir() string { return a.dir }
