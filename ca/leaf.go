package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of a device certificate (RFC 5280 §4.2.1 and §4.1.1.2).
var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidExtendedKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidClientAuth       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}

	// oidMarker is what Okta Device Access finds its certificates by. It is
	// not critical: no verifier knows it.
	oidMarker = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 51150, 13, 1}

	oidSHA256WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// The bits of a BIT STRING of key usage, first octet.
const (
	usageDigitalSignature = 0x80
	usageKeyAgreement     = 0x08
)

// leafForm is everything in a device certificate that does not depend on the
// request, encoded once. x509.CreateCertificate would encode it each time, and
// its template invites to copy more from a request than a Permit holds.
type leafForm struct {
	algorithm  x509.SignatureAlgorithm
	identifier []byte // AlgorithmIdentifier
	issuer     []byte // Name

	constraints, signing, agreement, clientAuth, authorityKeyID, marker []byte // Extensions

	distribution []byte // CRL distribution point and authority information access, or nothing
}

func newLeafForm(issuer *x509.Certificate, key crypto.Signer, d Distribution) (leafForm, error) {
	f := leafForm{issuer: issuer.RawSubject}
	var b cryptobyte.Builder
	switch key.Public().(type) {
	case *rsa.PublicKey:
		f.algorithm = x509.SHA256WithRSA
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidSHA256WithRSA)
			b.AddASN1NULL() // RFC 4055 §5
		})
	default:
		f.algorithm = x509.ECDSAWithSHA256
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidECDSAWithSHA256) // no parameters: RFC 5758 §3.2
		})
	}
	var err error
	if f.identifier, err = b.Bytes(); err != nil {
		return leafForm{}, fmt.Errorf("encode signature algorithm: %w", err)
	}
	if f.distribution, err = d.extensions(issuer.SubjectKeyId); err != nil {
		return leafForm{}, fmt.Errorf("encode distribution: %w", err)
	}
	for _, e := range []struct {
		to       *[]byte
		oid      asn1.ObjectIdentifier
		critical bool
		value    func(*cryptobyte.Builder)
	}{
		{&f.constraints, oidBasicConstraints, true, emptySequence},
		{&f.signing, oidKeyUsage, true, keyUsage(usageDigitalSignature)},
		{&f.agreement, oidKeyUsage, true, keyUsage(usageDigitalSignature | usageKeyAgreement)},
		{&f.clientAuth, oidExtendedKeyUsage, false, clientAuthOnly},
		{&f.authorityKeyID, oidAuthorityKeyID, false, authorityKeyID(issuer.SubjectKeyId)},
		{&f.marker, oidMarker, false, func(b *cryptobyte.Builder) { b.AddASN1Int64(1) }},
	} {
		if *e.to, err = extension(e.oid, e.critical, e.value); err != nil {
			return leafForm{}, fmt.Errorf("encode extension %s: %w", e.oid, err)
		}
	}
	return f, nil
}

// extension encodes an Extension.
func extension(oid asn1.ObjectIdentifier, critical bool, value func(*cryptobyte.Builder)) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true) // FALSE is the default, which DER leaves out
		}
		b.AddASN1(cryptobyte_asn1.OCTET_STRING, value)
	})
	return b.Bytes()
}

// emptySequence is BasicConstraints with cA left at its default, FALSE.
func emptySequence(b *cryptobyte.Builder) {
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(*cryptobyte.Builder) {})
}

// keyUsage is a BIT STRING of named bits, without trailing zeros.
func keyUsage(bits byte) func(*cryptobyte.Builder) {
	unused := byte(0)
	for bits>>unused&1 == 0 {
		unused++
	}
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyte_asn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes([]byte{unused, bits}) })
	}
}

func clientAuthOnly(b *cryptobyte.Builder) {
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidClientAuth) })
}

func authorityKeyID(id []byte) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyte_asn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(id) })
		})
	}
}

// Issue signs a device certificate from what the permit holds. Its serial and
// its dates count from the time that Policy.Check was given, in UTC and whole
// seconds; a request that had to wait is checked again. Errors are internal
// ones; ErrIssuerEndsFirst is among them.
func (a *Authority) Issue(permit *Permit) (*x509.Certificate, error) {
	certificate, err := a.inForce.Load().current.issue(permit, a.random)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	return certificate, nil
}

func (g *generation) issue(permit *Permit, random io.Reader) (*x509.Certificate, error) {
	if permit == nil || permit.publicKey == nil {
		return nil, errors.New("no permit")
	}
	if err := g.checkDates(permit); err != nil {
		return nil, err
	}
	serial, err := newSerial(permit.at, random)
	if err != nil {
		return nil, err
	}
	toSign, err := g.leaf.encode(permit, serial)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	digest := sha256.Sum256(toSign)
	signature, err := g.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return g.assemble(toSign, signature)
}

// checkDates refuses a certificate that its issuer could not vouch for.
func (g *generation) checkDates(p *Permit) error {
	switch {
	case !p.notAfter.After(p.notBefore):
		return fmt.Errorf("a validity that ends on %s does not end after it begins", p.notAfter.Format(time.RFC3339))
	case p.at.Before(g.issuer.NotBefore):
		return fmt.Errorf("the issuer is not valid before %s and it is %s", g.issuer.NotBefore.Format(time.RFC3339), p.at.Format(time.RFC3339))
	case p.notAfter.After(g.issuer.NotAfter):
		return fmt.Errorf("%w: %s, not %s", ErrIssuerEndsFirst, g.issuer.NotAfter.Format(time.RFC3339), p.notAfter.Format(time.RFC3339))
	}
	return nil
}

// encode returns the TBSCertificate (RFC 5280 §4.1).
func (f *leafForm) encode(p *Permit, serial []byte) ([]byte, error) {
	usage := f.signing
	if p.keyAgreement {
		usage = f.agreement
	}
	keyID, err := subjectKeyID(p.publicKey)
	if err != nil {
		return nil, err
	}
	subjectKeyID, err := extension(oidSubjectKeyID, false, func(b *cryptobyte.Builder) { b.AddASN1OctetString(keyID) })
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 1024))
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cryptobyte_asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // v3
		b.AddASN1(cryptobyte_asn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(serial) })
		b.AddBytes(f.identifier)
		b.AddBytes(f.issuer)
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, p.notBefore)
			addTime(b, p.notAfter)
		})
		b.AddBytes(p.subject)
		b.AddBytes(p.publicKey)
		b.AddASN1(cryptobyte_asn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, e := range [][]byte{f.constraints, usage, f.clientAuth, subjectKeyID, f.authorityKeyID, f.distribution} {
					b.AddBytes(e)
				}
				if p.marker {
					b.AddBytes(f.marker)
				}
			})
		})
	})
	return b.Bytes()
}

// addTime encodes a Time: UTCTime through 2049, then GeneralizedTime
// (RFC 5280 §4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// assemble puts the certificate together and checks it as a stranger would:
// it parses, and the issuer's certificate verifies it. That costs 3 % of an
// RSA signature, and no faulty key provider's work leaves the house.
func (g *generation) assemble(toSign, signature []byte) (*x509.Certificate, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(toSign)+512))
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(toSign)
		b.AddBytes(g.leaf.identifier)
		b.AddASN1BitString(signature)
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read what was signed: %w", err)
	}
	if err := g.issuer.CheckSignature(g.leaf.algorithm, certificate.RawTBSCertificate, certificate.Signature); err != nil {
		return nil, fmt.Errorf("verify what was signed: %w", err)
	}
	return certificate, nil
}
