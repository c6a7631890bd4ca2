package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Lifetimes of the authority's own certificates. They begin an hour early, for
// devices whose clocks are late.
const (
	caYears    = 20
	raYears    = 2
	caBackdate = time.Hour
)

// caTemplate returns what the certificates of an authority have in common: a
// name, a life of so many years, a serial, and a key identifier.
func caTemplate(subject []byte, years int, key crypto.PublicKey, now time.Time, random io.Reader) (*x509.Certificate, error) {
	serial, err := newSerial(now, random)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	keyID, err := subjectKeyID(spki)
	if err != nil {
		return nil, err
	}
	notBefore := now.UTC().Truncate(time.Second).Add(-caBackdate)
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		RawSubject:   subject,
		SubjectKeyId: keyID,
		NotBefore:    notBefore,
		NotAfter:     notBefore.AddDate(years, 0, 0),

		BasicConstraintsValid: true,
	}, nil
}

// sign has parent sign a template. A template that signs itself is its own
// parent.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// signRoot makes a self-signed CA. In ShapeSingle it is its own RA and issues
// nothing but device certificates.
func signRoot(shape Shape, subject []byte, key crypto.Signer, now time.Time, random io.Reader) (*x509.Certificate, error) {
	t, err := caTemplate(subject, caYears, key.Public(), now, random)
	if err != nil {
		return nil, err
	}
	t.IsCA = true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if shape == ShapeSingle {
		t.MaxPathLenZero = true
		t.KeyUsage |= x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment // RFC 8894 §2.1.2
	}
	return sign(t, t, key.Public(), key)
}

// signIssuer makes the intermediate. It has no keyEncipherment: Apple's client
// would take it for the RA.
func signIssuer(subject []byte, public crypto.PublicKey, root *x509.Certificate, rootKey crypto.Signer, now time.Time, random io.Reader) (*x509.Certificate, error) {
	t, err := caTemplate(subject, caYears, public, now, random)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.MaxPathLenZero = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	if t.NotAfter.After(root.NotAfter) {
		t.NotAfter = root.NotAfter
	}
	return sign(t, root, public, rootKey)
}

// signRA makes an RA certificate: a leaf with both usages, which is how
// Apple's client finds it. It ends with its issuer at the latest.
func signRA(subject []byte, public crypto.PublicKey, issuer *x509.Certificate, issuerKey crypto.Signer, now time.Time, random io.Reader) (*x509.Certificate, error) {
	t, err := caTemplate(subject, raYears, public, now, random)
	if err != nil {
		return nil, err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	if t.NotAfter.After(issuer.NotAfter) {
		t.NotAfter = issuer.NotAfter
	}
	if !t.NotAfter.After(t.NotBefore) {
		return nil, fmt.Errorf("the issuer ended on %s", issuer.NotAfter.Format(time.DateOnly))
	}
	return sign(t, issuer, public, issuerKey)
}

// signResponder makes the certificate of an OCSP responder: it may answer for
// its issuer and do nothing else (RFC 6960 §4.2.2.2).
func signResponder(subject []byte, public crypto.PublicKey, g *generation, now time.Time, random io.Reader) (*x509.Certificate, error) {
	t, err := caTemplate(subject, 1, public, now, random)
	if err != nil {
		return nil, err
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	t.ExtraExtensions = []pkix.Extension{noCheck()}
	t.NotAfter = now.UTC().Truncate(time.Second).Add(responderLife)
	if t.NotAfter.After(g.issuer.NotAfter) {
		t.NotAfter = g.issuer.NotAfter
	}
	return sign(t, g.issuer, public, g.key)
}

// subjectKeyID returns the key identifier of a SubjectPublicKeyInfo: the first
// 160 bits of the SHA-256 of its BIT STRING (RFC 7093 §2, method 1).
func subjectKeyID(spki []byte) ([]byte, error) {
	outer := cryptobyte.String(spki)
	var inner, algorithm cryptobyte.String
	var key asn1.BitString
	if !outer.ReadASN1(&inner, cryptobyte_asn1.SEQUENCE) ||
		!inner.ReadASN1(&algorithm, cryptobyte_asn1.SEQUENCE) ||
		!inner.ReadASN1BitString(&key) {
		return nil, fmt.Errorf("read public key: not a SubjectPublicKeyInfo")
	}
	sum := sha256.Sum256(key.Bytes)
	return sum[:20], nil
}
