// Package cms writes the three CMS structures of SCEP in DER, byte for byte as
// clients need them: SignedData, EnvelopedData and certs-only bundles.
//
// It exists because no library writes them so that all clients understand: the
// digest and the cipher must be the peer's own, the signature algorithm must be
// rsaEncryption, and a bundle must keep its order. It must not know what a SCEP
// message means; package scep and scep/client put the attributes in.
package cms

import (
	"bytes"
	"crypto"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// An Attribute is a signed attribute with exactly one value.
type Attribute struct {
	Type  asn1.ObjectIdentifier
	Value []byte // DER
}

// SignedData is what Sign signs.
type SignedData struct {
	// Content becomes the eContent, as an OCTET STRING that is present even
	// when it is empty: certmonger and OpenSSL take an absent one for damage.
	Content []byte
	Digest  crypto.Hash
	// Attributes besides contentType and messageDigest, which Sign adds.
	Attributes []Attribute
	// Certificates go into the message in this order.
	Certificates []*x509.Certificate
	// Signer names the key; it should be among Certificates.
	Signer *x509.Certificate
	Key    crypto.Signer // RSA, for PKCS #1 v1.5, or ECDSA
}

// Sign returns a ContentInfo with a SignedData of one SignerInfo (RFC 5652
// §5). The signature algorithm of an RSA key is rsaEncryption: strongSwan up to
// 5.9.10 accepts nothing else. That of an ECDSA key names the digest (RFC 5753
// §2.1.1).
func Sign(random io.Reader, s SignedData) ([]byte, error) {
	algorithm, err := signatureAlgorithm(s)
	if err != nil {
		return nil, err
	}
	attributes, err := signedAttributes(s)
	if err != nil {
		return nil, err
	}
	h := s.Digest.New()
	h.Write(set(attributes))
	signature, err := s.Key.Sign(random, h.Sum(nil), s.Digest)
	if err != nil {
		return nil, fmt.Errorf("sign CMS: %w", err)
	}
	size := len(s.Content) + len(attributes) + len(signature) + sizeOf(s.Certificates)
	return contentInfo(OIDSignedData, size, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { addAlgorithm(b, DigestOID(s.Digest)) })
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(OIDData)
			b.AddASN1(explicit0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(s.Content) })
		})
		b.AddASN1(explicit0, func(b *cryptobyte.Builder) {
			for _, c := range s.Certificates {
				b.AddBytes(c.Raw)
			}
		})
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			addSignerInfo(b, s, algorithm, attributes, signature)
		})
	})
}

// signatureAlgorithm returns the AlgorithmIdentifier of the signature, in DER.
func signatureAlgorithm(s SignedData) ([]byte, error) {
	var b cryptobyte.Builder
	switch key := s.Key.Public().(type) {
	case *rsa.PublicKey:
		addAlgorithm(&b, OIDRSAEncryption)
	case *ecdsa.PublicKey:
		oid, ok := ecdsaOID(s.Digest)
		if !ok {
			return nil, fmt.Errorf("sign CMS: ECDSA with %v is not spoken here", s.Digest)
		}
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
	default:
		return nil, fmt.Errorf("sign CMS: key is %T, neither RSA nor ECDSA", key)
	}
	return b.Bytes()
}

func addSignerInfo(b *cryptobyte.Builder, s SignedData, algorithm, attributes, signature []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		addIssuerAndSerialNumber(b, s.Signer)
		addAlgorithm(b, DigestOID(s.Digest))
		b.AddASN1(explicit0, func(b *cryptobyte.Builder) { b.AddBytes(attributes) })
		b.AddBytes(algorithm)
		b.AddASN1OctetString(signature)
	})
}

// signedAttributes returns the attributes sorted as DER sorts a SET OF, without
// the SET's own header: it is 0x31 under the signature and [0] on the wire.
func signedAttributes(s SignedData) ([]byte, error) {
	h := s.Digest.New()
	h.Write(s.Content)
	var contentType, digest cryptobyte.Builder
	contentType.AddASN1ObjectIdentifier(OIDData)
	digest.AddASN1OctetString(h.Sum(nil))
	all := append([]Attribute{
		{Type: OIDContentType, Value: contentType.BytesOrPanic()},
		{Type: OIDMessageDigest, Value: digest.BytesOrPanic()},
	}, s.Attributes...)
	encoded := make([][]byte, 0, len(all))
	for _, a := range all {
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(a.Type)
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(a.Value) })
		})
		der, err := b.Bytes()
		if err != nil {
			return nil, fmt.Errorf("encode attribute %v: %w", a.Type, err)
		}
		encoded = append(encoded, der)
	}
	slices.SortFunc(encoded, bytes.Compare)
	return bytes.Join(encoded, nil), nil
}

// Envelope encrypts content to one recipient with RSA PKCS #1 v1.5 key
// transport (RFC 5652 §6) and returns the ContentInfo. The random source makes
// the content key, the IV and the key transport's padding.
func Envelope(random io.Reader, content []byte, c Cipher, recipient *x509.Certificate) ([]byte, error) {
	if c == DESCBC {
		return nil, errors.New("encrypt CMS: DES is only read, never written (RFC 8894 §2.9)")
	}
	public, ok := recipient.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("encrypt CMS: recipient key is %T, not RSA", recipient.PublicKey)
	}
	secret := make([]byte, c.KeyLen()+c.BlockLen())
	if _, err := io.ReadFull(random, secret); err != nil {
		return nil, fmt.Errorf("encrypt CMS: %w", err)
	}
	key, iv := secret[:c.KeyLen()], secret[c.KeyLen():]
	//lint:ignore SA1019 RFC 8894 §3.1 knows no other key transport that every client reads
	encryptedKey, err := rsa.EncryptPKCS1v15(random, public, key)
	if err != nil {
		return nil, fmt.Errorf("encrypt CMS content key: %w", err)
	}
	ciphertext, err := encryptCBC(c, key, iv, content)
	if err != nil {
		return nil, err
	}
	return contentInfo(OIDEnvelopedData, len(ciphertext)+len(encryptedKey), func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(0)
				addIssuerAndSerialNumber(b, recipient)
				addAlgorithm(b, OIDRSAEncryption)
				b.AddASN1OctetString(encryptedKey)
			})
		})
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(OIDData)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(c.OID())
				b.AddASN1OctetString(iv)
			})
			b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(ciphertext) })
		})
	})
}

func encryptCBC(c Cipher, key, iv, content []byte) ([]byte, error) {
	block, err := c.Block(key)
	if err != nil {
		return nil, fmt.Errorf("encrypt CMS: %w", err)
	}
	padding := c.BlockLen() - len(content)%c.BlockLen()
	padded := append(slices.Clone(content), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	return padded, nil
}

// Bundle returns a certs-only SignedData (RFC 8894 §3.4) that keeps the order
// of certs: DER would sort a SET OF, and clients read the order as meaning.
// crls are DER and may be nil.
func Bundle(certs []*x509.Certificate, crls [][]byte) ([]byte, error) {
	if len(certs) == 0 && len(crls) == 0 {
		return nil, errors.New("encode bundle: nothing to put in")
	}
	size := sizeOf(certs)
	for _, crl := range crls {
		size += len(crl)
	}
	return contentInfo(OIDSignedData, size, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SET, func(*cryptobyte.Builder) {})
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(OIDData) })
		if len(certs) > 0 {
			b.AddASN1(explicit0, func(b *cryptobyte.Builder) {
				for _, c := range certs {
					b.AddBytes(c.Raw)
				}
			})
		}
		if len(crls) > 0 {
			b.AddASN1(cbasn1.Tag(1).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				for _, crl := range crls {
					b.AddBytes(crl)
				}
			})
		}
		b.AddASN1(cbasn1.SET, func(*cryptobyte.Builder) {})
	})
}

const explicit0 = cbasn1.Tag(0x80 | 0x20) // [0], constructed

func sizeOf(certificates []*x509.Certificate) int {
	size := 0
	for _, c := range certificates {
		size += len(c.Raw)
	}
	return size
}

// set puts the SET header around already encoded members.
func set(members []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(members) })
	return b.BytesOrPanic()
}

// contentInfo writes a ContentInfo of about size bytes, all that it holds
// counted: the builder copies everything each time that its buffer grows.
func contentInfo(contentType asn1.ObjectIdentifier, size int, content cryptobyte.BuilderContinuation) ([]byte, error) {
	const frame = 512 // headers, identifiers, a signature or an encrypted key
	b := cryptobyte.NewBuilder(make([]byte, 0, size+frame))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(contentType)
		b.AddASN1(explicit0, func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, content) })
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode CMS: %w", err)
	}
	return der, nil
}

func addAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1NULL()
	})
}

// addIssuerAndSerialNumber copies the issuer's name as it is in the
// certificate: a re-encoded name is another name to a client that compares
// bytes.
func addIssuerAndSerialNumber(b *cryptobyte.Builder, c *x509.Certificate) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(c.RawIssuer)
		b.AddASN1BigInt(c.SerialNumber)
	})
}
