package lab

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/depot"
)

// keyBits is the size of a device's key.
const keyBits = 2048

// certificate makes the i-th certificate; public is its SubjectPublicKeyInfo.
// It is encoded here because x509.CreateCertificate verifies what it signed,
// which costs more than all the rest.
func (s *seeder) certificate(i int, subject []byte, random *rand.ChaCha8) (der, public []byte, err error) {
	modulus := make([]byte, keyBits/8)
	_, _ = random.Read(modulus) // never fails
	modulus[0] |= 0xc0
	modulus[len(modulus)-1] |= 1
	if public, err = x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}); err != nil {
		return nil, nil, fmt.Errorf("encode public key: %w", err)
	}
	serial, err := hex.DecodeString(s.serial(i))
	if err != nil {
		return nil, nil, err
	}
	notBefore := s.notBefore(i)
	toSign, err := sequence(func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // v3
		b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(serial) })
		b.AddBytes(ecdsaWithSHA256())
		b.AddBytes(s.issuer.certificate.RawSubject)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, notBefore)
			addTime(b, notBefore.Add(s.lifetime))
		})
		b.AddBytes(subject)
		b.AddBytes(public)
		b.AddASN1(cbasn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { s.addExtensions(b, public) })
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("encode certificate: %w", err)
	}
	digest := sha256.Sum256(toSign)
	// Without a source of random numbers ECDSA signs as RFC 6979 has it: the
	// same certificate each time.
	signature, err := s.issuer.key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, nil, fmt.Errorf("sign certificate: %w", err)
	}
	der, err = sequence(func(b *cryptobyte.Builder) {
		b.AddBytes(toSign)
		b.AddBytes(ecdsaWithSHA256())
		b.AddASN1BitString(signature)
	})
	return der, public, err
}

// addExtensions writes what a device certificate of the authority has.
func (s *seeder) addExtensions(b *cryptobyte.Builder, public []byte) {
	id := sha256.Sum256(public)
	critical, plain := true, false
	addExtension(b, []int{2, 5, 29, 19}, critical, []byte{0x30, 0})                                                       // basic constraints: no CA
	addExtension(b, []int{2, 5, 29, 15}, critical, []byte{3, 2, 7, 0x80})                                                 // key usage: digital signature
	addExtension(b, []int{2, 5, 29, 37}, plain, []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2})                        // extended key usage: client authentication
	addExtension(b, []int{2, 5, 29, 14}, plain, append([]byte{4, 20}, id[:20]...))                                        // subject key identifier
	addExtension(b, []int{2, 5, 29, 35}, plain, append([]byte{0x30, 22, 0x80, 20}, s.issuer.certificate.SubjectKeyId...)) // authority key identifier
	if s.configuration.Purpose == depot.PurposeDeviceAccess {
		// What Okta Device Access finds its certificates by: INTEGER 1.
		addExtension(b, []int{1, 3, 6, 1, 4, 1, 51150, 13, 1}, plain, []byte{2, 1, 1})
	}
}

// addExtension writes one extension with its value's DER.
func addExtension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, critical bool, value []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(value)
	})
}

// ecdsaWithSHA256 is the AlgorithmIdentifier (RFC 5758 §3.2).
func ecdsaWithSHA256() []byte {
	return []byte{0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}
}

// addTime writes a Time: UTCTime through 2049 (RFC 5280 §4.1.2.5).
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
		return
	}
	b.AddASN1GeneralizedTime(t)
}

// sequence encodes a SEQUENCE.
func sequence(content cryptobyte.BuilderContinuation) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 1024))
	b.AddASN1(cbasn1.SEQUENCE, content)
	return b.Bytes()
}
