package ca

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// responderLife is how long an OCSP responder's certificate is valid. Nobody
// can revoke it (id-pkix-ocsp-nocheck), so it is short.
const responderLife = 30 * 24 * time.Hour

// oidNoCheck is id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1). Its value is NULL.
var oidNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}

// A Responder signs OCSP responses for one issuer (RFC 6960 §4.2.2.2). Its key
// is RSA whatever the issuer's is, so that every client can read it.
type Responder struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// responderSlot holds a generation's responder. Its key is never on a disk:
// a start makes another one when it is first asked for.
type responderSlot struct {
	making sync.Mutex
	made   atomic.Pointer[Responder]
}

// OCSPResponder returns who answers for an issuer of whatever generation. The
// first call makes the key, which takes a tenth of a second or so; when a third
// of the certificate's life is left, a call makes the next one while others go
// on with the old. Errors are internal ones: ErrNotOurs, an issuer that has
// ended.
func (a *Authority) OCSPResponder(issuer *x509.Certificate) (Responder, error) {
	g, err := a.inForce.Load().generation(issuer)
	if err != nil {
		return Responder{}, fmt.Errorf("make OCSP responder: %w", err)
	}
	now := a.clock.Now()
	made := g.responder.made.Load()
	if made.lasts(g, now) {
		return *made, nil
	}
	if made.valid(now) {
		if !g.responder.making.TryLock() {
			return *made, nil // somebody is at it
		}
	} else {
		g.responder.making.Lock()
	}
	defer g.responder.making.Unlock()
	if made = g.responder.made.Load(); made.lasts(g, now) {
		return *made, nil
	}
	next, err := a.newResponder(g, now)
	switch {
	case err == nil:
		g.responder.made.Store(next)
		return *next, nil
	case made.valid(now):
		return *made, nil // the next call tries again
	}
	return Responder{}, fmt.Errorf("make OCSP responder: %w", err)
}

// valid says whether a response signed now would be believed.
func (r *Responder) valid(now time.Time) bool {
	return r != nil && !now.Before(r.Certificate.NotBefore) && !now.After(r.Certificate.NotAfter)
}

// lasts says whether a responder need not be replaced.
func (r *Responder) lasts(g *generation, now time.Time) bool {
	return r.valid(now) && !due(r.Certificate, g.issuer, now)
}

func (a *Authority) newResponder(g *generation, now time.Time) (*Responder, error) {
	if now.Before(g.issuer.NotBefore) || now.After(g.issuer.NotAfter) {
		return nil, fmt.Errorf("the issuer is valid from %s to %s and it is %s",
			g.issuer.NotBefore.Format(time.RFC3339), g.issuer.NotAfter.Format(time.RFC3339), now.Format(time.RFC3339))
	}
	key, err := a.rsaKey()
	if err != nil {
		return nil, err
	}
	certificate, err := signResponder(a.names.responder, key.Public(), g, now, a.random)
	if err != nil {
		return nil, err
	}
	return &Responder{Certificate: certificate, Key: key}, nil
}

// noCheck is the extension id-pkix-ocsp-nocheck.
func noCheck() pkix.Extension {
	return pkix.Extension{Id: oidNoCheck, Value: asn1.NullBytes}
}
