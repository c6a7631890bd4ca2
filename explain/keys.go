package explain

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxPrivateKey is the longest private key that is read, in bytes: one of RSA
// with maxKeyBits has less than 5 KiB. The time to check whether its numbers
// fit together grows with the cube of their length.
const maxPrivateKey = 8 << 10

// ParseKey reads a private key in DER: PKCS #8, PKCS #1 or SEC 1.
func ParseKey(der []byte) (crypto.PrivateKey, error) {
	if len(der) > maxPrivateKey {
		return nil, fmt.Errorf("it has %d bytes, and a private key at most %d", len(der), maxPrivateKey)
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, errors.New("it is no private key in PKCS #8, PKCS #1 or SEC 1, or an encrypted one: decrypt it with openssl pkey")
	}
	return key, nil
}

// ReadKeys reads the private keys of a file, in PEM or one in DER.
func ReadKeys(file []byte) ([]crypto.PrivateKey, error) {
	var keys []crypto.PrivateKey
	found := false
	for rest := file; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		found = true
		if block.Type == "CERTIFICATE" || block.Type == "EC PARAMETERS" {
			continue
		}
		key, err := ParseKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", printable(block.Type), err)
		}
		keys = append(keys, key)
	}
	if !found {
		key, err := ParseKey(file)
		if err != nil {
			return nil, err
		}
		return []crypto.PrivateKey{key}, nil
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no private key in it")
	}
	return keys, nil
}

// ReadCertificates reads the certificates of a file: PEM, one in DER, or a
// bundle as servers answer to GetCACert. Those that crypto/x509 cannot read are
// left out; the error is that there is none.
func ReadCertificates(file []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, o := range detect(file).objects {
		left := maxElements
		n, _, _ := parse(o.data, &left)
		if n == nil {
			continue
		}
		nodes := []*node{n}
		if shape(n) == SignedData {
			nodes = bundled(n)
		}
		for _, one := range nodes {
			if c, err := x509.ParseCertificate(one.der()); err == nil {
				all = append(all, c)
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in it, in PEM, DER or a certs-only bundle")
	}
	return all, nil
}

// bundled returns the certificates in a SignedData.
func bundled(n *node) []*node {
	var all []*node
	data := n.kid(1).kid(0)
	for i := range data.childCount() { // version, digests, content, certificates
		if field := data.kid(i); field.is(context0 | constructed) {
			for j := range field.kids {
				all = append(all, &field.kids[j])
			}
		}
	}
	return all
}

func (n *node) childCount() int {
	if n == nil {
		return 0
	}
	return len(n.kids)
}
