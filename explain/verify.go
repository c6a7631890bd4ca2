package explain

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	_ "crypto/md5" //nolint:gosec // old devices sign with it, and that is to be seen
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // likewise
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
)

// maxKeyBits bounds the RSA keys that signatures are checked with.
const maxKeyBits = 8192

// digests are the digests by their object identifiers.
var digests = map[string]crypto.Hash{
	"1.2.840.113549.2.5":     crypto.MD5,
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.4": crypto.SHA224,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// signatures are the digests that signature algorithms name.
var signatures = map[string]crypto.Hash{
	"1.2.840.113549.1.1.4": crypto.MD5, "1.2.840.113549.1.1.5": crypto.SHA1, "1.2.840.113549.1.1.14": crypto.SHA224,
	"1.2.840.113549.1.1.11": crypto.SHA256, "1.2.840.113549.1.1.12": crypto.SHA384, "1.2.840.113549.1.1.13": crypto.SHA512,
	"1.2.840.10045.4.1": crypto.SHA1, "1.2.840.10045.4.3.2": crypto.SHA256,
	"1.2.840.10045.4.3.3": crypto.SHA384, "1.2.840.10045.4.3.4": crypto.SHA512,
}

var (
	errWrongSignature = errors.New("it does not hold")
	errUnchecked      = errors.New("it cannot be checked here")
)

// verify checks a signature. algorithm is an AlgorithmIdentifier; digest is
// what it does not name itself, with rsaEncryption. The error is or wraps
// errWrongSignature or errUnchecked.
func verify(public any, algorithm *node, digest crypto.Hash, message, signature []byte) error {
	oid := oidOf(algorithm.kid(0))
	if h, named := signatures[oid]; named {
		digest = h
	}
	if oid == oidPSS {
		digest = pssDigest(algorithm.kid(1))
	}
	if _, isEd := public.(ed25519.PublicKey); !isEd && !digest.Available() {
		return fmt.Errorf("%w: the digest is not known", errUnchecked)
	}
	sum := func() []byte {
		h := digest.New()
		h.Write(message)
		return h.Sum(nil)
	}
	holds := false
	switch key := public.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() > maxKeyBits {
			return fmt.Errorf("%w: the key has %d bits", errUnchecked, key.N.BitLen())
		}
		var err error
		if oid == oidPSS {
			err = rsa.VerifyPSS(key, digest, sum(), signature, nil)
		} else {
			err = rsa.VerifyPKCS1v15(key, digest, sum(), signature)
		}
		if err != nil && !errors.Is(err, rsa.ErrVerification) {
			return fmt.Errorf("%w: %w", errUnchecked, err)
		}
		holds = err == nil
	case *ecdsa.PublicKey:
		holds = ecdsa.VerifyASN1(key, sum(), signature)
	case ed25519.PublicKey:
		holds = ed25519.Verify(key, message, signature)
	default:
		return fmt.Errorf("%w: the key is of no known type", errUnchecked)
	}
	if !holds {
		return errWrongSignature
	}
	return nil
}

// pssDigest reads the hash out of RSASSA-PSS-params (RFC 8017 §A.2.3).
func pssDigest(params *node) crypto.Hash {
	if first := params.kid(0); first.is(context0 | constructed) {
		return digests[oidOf(first.kid(0).kid(0))]
	}
	return crypto.SHA1
}

// signature adds a field that says whether a signature holds.
func (x *explainer) signature(f *Field, what string, err error) *Field {
	switch {
	case err == nil:
		return f.note("holds")
	case errors.Is(err, errWrongSignature):
		x.find(Wrong, "everybody", "a signature must hold", what, "the signature does not hold: the bytes were changed, or another key made it")
		return f.note("DOES NOT HOLD")
	default:
		return f.note("%v", err)
	}
}

// issued looks among the certificates that are known for one that signed
// something in the name of issuer. With none, ok is false.
func (x *explainer) issued(issuer []byte, algorithm *node, message, signature []byte) (by *cert, ok bool, err error) {
	tries := 0
	for _, c := range x.known {
		if !bytes.Equal(c.subject, issuer) || c.public == nil {
			continue
		}
		if tries++; tries > maxTries {
			break
		}
		by, ok = c, true
		if err = verify(c.public, algorithm, 0, message, signature); err == nil {
			return by, true, nil
		}
	}
	return by, ok, err
}

// bits returns the octets of a BIT STRING that holds whole ones.
func bits(n *node) []byte {
	if b := n.octets(); len(b) > 1 && b[0] == 0 {
		return b[1:]
	}
	return nil
}
