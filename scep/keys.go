package scep

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"slices"

	"understudy.example/understudy/refusal"
)

// exponent is the only public exponent that is allowed.
const exponent = 65537

// checkKeys applies the key policy to every public key of a message, by type,
// bit length and exponent alone: nothing is computed with a key before it has
// passed. The signer must have an RSA key of an allowed size. The other
// certificates, such as a chain, are never computed with; they may have RSA
// keys of 2048 to 4096 bits or EC keys.
func checkKeys(signer *x509.Certificate, certificates []*x509.Certificate, sizes []int) error {
	if err := checkKey("signer", signer.PublicKey, sizes); err != nil {
		return err
	}
	for _, c := range certificates {
		if c == signer {
			continue
		}
		switch key := c.PublicKey.(type) {
		case *ecdsa.PublicKey:
		case *rsa.PublicKey:
			if bits := key.N.BitLen(); bits < 2048 || bits > 4096 {
				return refusal.New(refusal.KeyRejected, "a certificate in the message has an RSA key of %d bits", bits)
			}
			if key.E != exponent {
				return refusal.New(refusal.KeyRejected, "a certificate in the message has the RSA exponent %d", key.E)
			}
		default:
			return unsupported("", "a certificate in the message has a key of type %T", key)
		}
	}
	return nil
}

// checkKey applies the key policy to the key of a signer or a CSR.
func checkKey(whose string, public any, sizes []int) error {
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return unsupported("only RSA keys are supported", "%s key is %T, not RSA", whose, public)
	}
	if bits := key.N.BitLen(); !slices.Contains(sizes, bits) {
		return refusal.WithText(refusal.KeyRejected, "RSA key size is not allowed", "%s key has %d bits", whose, bits)
	}
	if key.E != exponent {
		return refusal.WithText(refusal.KeyRejected, "RSA public exponent is not allowed", "%s key has the exponent %d", whose, key.E)
	}
	return nil
}
