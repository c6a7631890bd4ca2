package scep

import (
	"crypto"
	"encoding/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/internal/cms"
)

// unsupported returns the refusal of an algorithm. text is for the client.
func unsupported(text, format string, args ...any) error {
	return refusal.WithText(refusal.UnsupportedAlgorithm, text, format, args...)
}

// Object identifiers of key transport (RFC 8017) and of a content type whose
// ciphers are not spoken (RFC 5083).
var (
	oidOAEP              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}
	oidMGF1              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidPSpecified        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 9}
	oidAuthEnvelopedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 23}
)

// rsaSignature says whether oid is RSA PKCS #1 v1.5 with one of the digests of
// cms.DigestOf, and with which; 0 for rsaEncryption, which names none.
func rsaSignature(oid asn1.ObjectIdentifier) (crypto.Hash, bool) {
	pkcs1 := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1}
	if len(oid) != len(pkcs1)+1 || !oid[:len(pkcs1)].Equal(pkcs1) {
		return 0, false
	}
	switch oid[len(pkcs1)] {
	case 1:
		return 0, true
	case 5:
		return crypto.SHA1, true
	case 11:
		return crypto.SHA256, true
	case 12:
		return crypto.SHA384, true
	case 13:
		return crypto.SHA512, true
	default:
		return 0, false
	}
}

// algorithmName names an algorithm in words of our own: what a client sends is
// not repeated to anybody.
func algorithmName(oid asn1.ObjectIdentifier) string {
	if c, ok := cms.CipherOf(oid); ok {
		return c.String()
	}
	switch oid.String() {
	case "1.2.840.113549.2.2":
		return "MD2"
	case "1.2.840.113549.2.5":
		return "MD5"
	case "1.3.14.3.2.26":
		return "SHA-1"
	case "2.16.840.1.101.3.4.2.4":
		return "SHA-224"
	case "1.2.840.113549.3.2":
		return "RC2-CBC"
	case "2.16.840.1.101.3.4.1.22":
		return "AES-192-CBC"
	case "2.16.840.1.101.3.4.1.6", "2.16.840.1.101.3.4.1.26", "2.16.840.1.101.3.4.1.46":
		return "AES-GCM"
	case "1.2.840.113549.1.1.4":
		return "MD5 with RSA"
	case "1.2.840.113549.1.1.14":
		return "SHA-224 with RSA"
	case "1.2.840.113549.1.1.10":
		return "RSASSA-PSS"
	case "1.2.840.10045.4.1", "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4":
		return "ECDSA"
	case "1.3.101.112":
		return "Ed25519"
	case "1.2.840.113549.1.1.7":
		return "RSAES-OAEP"
	default:
		return "unknown"
	}
}
