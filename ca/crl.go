package ca

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// A RevokedEntry is one line of a CRL.
type RevokedEntry struct {
	Serial *big.Int  // certificate serial
	At     time.Time // when it was revoked
	Reason int       // CRLReason (RFC 5280 §5.3.1); 0, unspecified, is left out of the CRL
}

// Codes of CRLReason that a full CRL cannot have.
const (
	reasonUnused        = 7
	reasonRemoveFromCRL = 8 // only in a delta CRL
	reasonLast          = 10
)

// SignCRL returns a full CRL in DER (RFC 5280 §5: version 2, authority key
// identifier, CRL number), signed by the issuer of any generation. The caller
// sees to it that numbers rise for each issuer. Times count in UTC and whole
// seconds. Errors are internal ones, among them ErrNotOurs.
func (a *Authority) SignCRL(issuer *x509.Certificate, number *big.Int, thisUpdate, nextUpdate time.Time, revoked []RevokedEntry) ([]byte, error) {
	der, err := a.signCRL(issuer, number, thisUpdate, nextUpdate, revoked)
	if err != nil {
		return nil, fmt.Errorf("sign CRL: %w", err)
	}
	return der, nil
}

func (a *Authority) signCRL(issuer *x509.Certificate, number *big.Int, thisUpdate, nextUpdate time.Time, revoked []RevokedEntry) ([]byte, error) {
	g, err := a.inForce.Load().generation(issuer)
	if err != nil {
		return nil, err
	}
	thisUpdate, nextUpdate = thisUpdate.UTC().Truncate(time.Second), nextUpdate.UTC().Truncate(time.Second)
	switch {
	case thisUpdate.After(g.issuer.NotAfter):
		return nil, fmt.Errorf("the issuer ended on %s: nobody would believe it", g.issuer.NotAfter.Format(time.RFC3339))
	case !nextUpdate.After(thisUpdate):
		return nil, fmt.Errorf("the next one would be due on %s, not after this one", nextUpdate.Format(time.RFC3339))
	case number == nil || number.Sign() < 0:
		return nil, errors.New("a CRL number is not negative")
	}
	entries := make([]x509.RevocationListEntry, len(revoked))
	for i, r := range revoked {
		if err := r.check(); err != nil {
			return nil, err
		}
		entries[i] = x509.RevocationListEntry{SerialNumber: r.Serial, RevocationTime: r.At.UTC().Truncate(time.Second), ReasonCode: r.Reason}
	}
	return x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		SignatureAlgorithm:        g.leaf.algorithm,
		Number:                    number,
		ThisUpdate:                thisUpdate,
		NextUpdate:                nextUpdate,
		RevokedCertificateEntries: entries,
	}, g.issuer, g.key)
}

// check refuses what a full CRL cannot say.
func (r RevokedEntry) check() error {
	switch {
	case r.Serial == nil || r.Serial.Sign() <= 0:
		return errors.New("an entry has no certificate serial")
	case r.At.IsZero():
		return fmt.Errorf("certificate %s has no time of revocation", FormatSerial(r.Serial))
	case r.Reason < 0, r.Reason == reasonUnused, r.Reason == reasonRemoveFromCRL, r.Reason > reasonLast:
		return fmt.Errorf("certificate %s has the reason %d, which a full CRL cannot give", FormatSerial(r.Serial), r.Reason)
	}
	return nil
}
