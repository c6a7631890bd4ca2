package ocsp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // a name for a key, not a signature
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSHA256WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// CertStatus is what is known of one certificate (RFC 6960 §4.2.1). Its
// numbers are those of the choice on the wire.
type CertStatus uint8

// The statuses of a certificate.
const (
	Good    CertStatus = 0
	Revoked CertStatus = 1
	Unknown CertStatus = 2 // the responder does not know it
)

// String returns the name of a status as RFC 6960 writes it.
func (s CertStatus) String() string {
	switch s {
	case Good:
		return "good"
	case Revoked:
		return "revoked"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("certificate status %d", uint8(s))
}

// A SingleResponse answers for one certificate. Times are written in UTC and
// whole seconds, rounded down.
type SingleResponse struct {
	ID     CertID // of the request
	Status CertStatus
	// RevokedAt and Reason are written for Revoked only. Reason is a CRLReason
	// (RFC 5280 §5.3.1); 0, unspecified, is left out as in a CRL.
	RevokedAt time.Time
	Reason    int

	ThisUpdate time.Time
	NextUpdate time.Time // zero: left out, newer knowledge is always there
}

// A Response is what a responder says. Certificate is the responder's own,
// which is sent along: clients need it to verify the signature when the issuer
// delegated it (RFC 6960 §4.2.2.2).
type Response struct {
	Certificate *x509.Certificate
	ProducedAt  time.Time
	Responses   []SingleResponse // in the order of the request
	Nonce       []byte           // of the request; nil: none
}

// Sign returns the answer in DER, a successful OCSPResponse that holds a
// BasicOCSPResponse, signed with the responder's key: RSA (PKCS #1 v1.5) or
// ECDSA, with SHA-256.
func (r *Response) Sign(key crypto.Signer) ([]byte, error) {
	der, err := r.sign(key)
	if err != nil {
		return nil, fmt.Errorf("sign OCSP response: %w", err)
	}
	return der, nil
}

func (r *Response) sign(key crypto.Signer) ([]byte, error) {
	own, ok := r.Certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !own.Equal(key.Public()) {
		return nil, errors.New("the key is not the one in the responder's certificate")
	}
	algorithm, err := signatureAlgorithm(key.Public())
	if err != nil {
		return nil, err
	}
	data, err := r.data()
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(data)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) { // BasicOCSPResponse
		b.AddBytes(data)
		b.AddASN1(cryptobyte_asn1.SEQUENCE, algorithm)
		b.AddASN1BitString(signature)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(r.Certificate.Raw) })
		})
	})
	basic, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return successful(basic)
}

// successful wraps a BasicOCSPResponse.
func successful(basic []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(int64(Successful))
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidBasic)
				b.AddASN1OctetString(basic)
			})
		})
	})
	return b.Bytes()
}

// signatureAlgorithm returns the content of the AlgorithmIdentifier that goes
// with a key.
func signatureAlgorithm(public crypto.PublicKey) (func(*cryptobyte.Builder), error) {
	switch public.(type) {
	case *rsa.PublicKey:
		return func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidSHA256WithRSA)
			b.AddASN1NULL() // RFC 4055 §5
		}, nil
	case *ecdsa.PublicKey:
		return func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidECDSAWithSHA256) }, nil // no parameters: RFC 5758 §3.2
	}
	return nil, fmt.Errorf("a key of type %T: use RSA or ECDSA", public)
}

// data returns the ResponseData, which is what the signature is for.
func (r *Response) data() ([]byte, error) {
	if len(r.Responses) == 0 {
		return nil, errors.New("answers for no certificate")
	}
	bits, ok := publicKeyBits(r.Certificate.RawSubjectPublicKeyInfo)
	if !ok {
		return nil, errors.New("the responder's certificate has no public key")
	}
	responder := sha1.Sum(bits) //nolint:gosec // RFC 6960 §4.2.1 says SHA-1
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString(responder[:]) }) // byKey
		b.AddASN1GeneralizedTime(r.ProducedAt.UTC())
		b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, s := range r.Responses {
				b.AddASN1(cryptobyte_asn1.SEQUENCE, s.add)
			}
		})
		if r.Nonce != nil {
			b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
				b.AddASN1(cryptobyte_asn1.SEQUENCE, r.addNonce)
			})
		}
	})
	return b.Bytes()
}

// addNonce adds the nonce as the one extension.
func (r *Response) addNonce(b *cryptobyte.Builder) {
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidNonce)
		b.AddASN1(cryptobyte_asn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.Nonce) })
	})
}

// add adds the content of the SingleResponse.
func (s SingleResponse) add(b *cryptobyte.Builder) {
	if len(s.ID.raw) == 0 {
		b.SetError(errors.New("answers for a CertID of no request"))
		return
	}
	b.AddBytes(s.ID.raw)
	switch s.Status {
	case Good, Unknown:
		b.AddASN1(cryptobyte_asn1.Tag(s.Status).ContextSpecific(), func(*cryptobyte.Builder) {})
	case Revoked:
		b.AddASN1(explicit(uint8(Revoked)), s.addRevokedInfo)
	default:
		b.SetError(fmt.Errorf("answers with %v", s.Status))
	}
	b.AddASN1GeneralizedTime(s.ThisUpdate.UTC())
	if !s.NextUpdate.IsZero() {
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(s.NextUpdate.UTC()) })
	}
}

// addRevokedInfo adds the content of the RevokedInfo.
func (s SingleResponse) addRevokedInfo(b *cryptobyte.Builder) {
	b.AddASN1GeneralizedTime(s.RevokedAt.UTC())
	if s.Reason != 0 {
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(s.Reason)) })
	}
}
