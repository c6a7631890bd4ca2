package cms

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" // old clients have nothing better than 3DES (RFC 8894 §2.9), or DES
	"encoding/asn1"
	"fmt"
)

// Object identifiers of CMS (RFC 5652) and of the algorithms of RFC 8894 §2.9.
var (
	OIDData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	OIDSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	OIDEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 3}

	OIDContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	OIDMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	OIDSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}

	OIDRSAEncryption = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}

	oidSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}

	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSAWithSHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidECDSAWithSHA512 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}

	oidDESCBC    = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 7}
	oidTripleDES = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
	oidAES128CBC = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES256CBC = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

// A Cipher is a content encryption algorithm that may be spoken.
type Cipher int

// The ciphers that are spoken here: those of RFC 8894 §2.9, and single DES,
// which is read for the sake of clients that know nothing else and never
// written. RC2, AES-192 and authenticated ciphers are not spoken.
const (
	AES128CBC Cipher = iota + 1
	AES256CBC
	TripleDESCBC
	DESCBC
)

// CipherOf returns the cipher of an object identifier, or false.
func CipherOf(oid asn1.ObjectIdentifier) (Cipher, bool) {
	for _, c := range []Cipher{AES128CBC, AES256CBC, TripleDESCBC, DESCBC} {
		if c.OID().Equal(oid) {
			return c, true
		}
	}
	return 0, false
}

// OID returns the cipher's object identifier.
func (c Cipher) OID() asn1.ObjectIdentifier {
	switch c {
	case AES256CBC:
		return oidAES256CBC
	case TripleDESCBC:
		return oidTripleDES
	case DESCBC:
		return oidDESCBC
	default:
		return oidAES128CBC
	}
}

// KeyLen returns the length of the content key in bytes.
func (c Cipher) KeyLen() int {
	switch c {
	case AES256CBC:
		return 32
	case TripleDESCBC:
		return 24
	case DESCBC:
		return 8
	default:
		return 16
	}
}

// BlockLen returns the block length, which is also the IV's, in bytes.
func (c Cipher) BlockLen() int {
	if c == TripleDESCBC || c == DESCBC {
		return des.BlockSize
	}
	return aes.BlockSize
}

// String returns the name used in logs and records, such as "AES-128-CBC".
func (c Cipher) String() string {
	switch c {
	case AES128CBC:
		return "AES-128-CBC"
	case AES256CBC:
		return "AES-256-CBC"
	case TripleDESCBC:
		return "DES-EDE3-CBC"
	case DESCBC:
		return "DES-CBC"
	default:
		return ""
	}
}

// Block returns the block cipher for a key of KeyLen bytes.
func (c Cipher) Block(key []byte) (cipher.Block, error) {
	if len(key) != c.KeyLen() {
		return nil, fmt.Errorf("%s key has %d bytes, not %d", c, len(key), c.KeyLen())
	}
	switch c {
	case TripleDESCBC:
		return des.NewTripleDESCipher(key)
	case DESCBC:
		return des.NewCipher(key)
	}
	return aes.NewCipher(key)
}

// DigestOf returns the digest of an object identifier, or false. MD5 and
// SHA-224 are not spoken.
func DigestOf(oid asn1.ObjectIdentifier) (crypto.Hash, bool) {
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if DigestOID(h).Equal(oid) {
			return h, true
		}
	}
	return 0, false
}

// DigestOID returns the object identifier of one of the digests of DigestOf.
func DigestOID(h crypto.Hash) asn1.ObjectIdentifier {
	switch h {
	case crypto.SHA1:
		return oidSHA1
	case crypto.SHA384:
		return oidSHA384
	case crypto.SHA512:
		return oidSHA512
	default:
		return oidSHA256
	}
}

// ecdsaOID returns the signature algorithm of ECDSA with a digest (RFC 5754
// §3.3), or false. The authority may sign with it; messages never are.
func ecdsaOID(h crypto.Hash) (asn1.ObjectIdentifier, bool) {
	switch h {
	case crypto.SHA256:
		return oidECDSAWithSHA256, true
	case crypto.SHA384:
		return oidECDSAWithSHA384, true
	case crypto.SHA512:
		return oidECDSAWithSHA512, true
	}
	return nil, false
}
