package client

import (
	"crypto"
	"encoding/asn1"
	"fmt"

	"understudy.example/understudy/scep/internal/cms"
)

// A Cipher encrypts the content of a message. The names are those of
// OpenSSL, as records and logs have them.
type Cipher string

// The ciphers of RFC 8894 §2.9.
const (
	AES128CBC    Cipher = "AES-128-CBC"
	AES256CBC    Cipher = "AES-256-CBC"
	TripleDESCBC Cipher = "DES-EDE3-CBC"
)

func (c Cipher) cms() (cms.Cipher, error) {
	for _, known := range []cms.Cipher{cms.AES128CBC, cms.AES256CBC, cms.TripleDESCBC} {
		if known.String() == string(c) {
			return known, nil
		}
	}
	return 0, fmt.Errorf("cipher %q is not one of %s, %s and %s", string(c), AES128CBC, AES256CBC, TripleDESCBC)
}

// cipherName names the cipher of a reply, also one that must not be used.
func cipherName(oid asn1.ObjectIdentifier) Cipher {
	if c, ok := cms.CipherOf(oid); ok {
		return Cipher(c.String())
	}
	return Cipher(oid.String())
}

func checkDigest(h crypto.Hash) error {
	switch h {
	case crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512:
		return nil
	}
	return fmt.Errorf("digest %s is not one of SHA-1, SHA-256, SHA-384 and SHA-512", h)
}
