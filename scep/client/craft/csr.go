package craft

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidChallengePassword = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7}
	oidExtensionRequest  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	oidSHA256WithRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidECDSAWithSHA256   = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
)

// CSR is the innermost layer, a PKCS #10 request.
type CSR struct {
	Key     crypto.Signer // RSA or ECDSA
	Subject []byte        // DER
	// Public is a SubjectPublicKeyInfo in DER instead of Key's own.
	Public     []byte
	Version    int64
	Challenges [][]byte    // DER of each challengePassword, in an attribute of its own
	Attributes []Attribute // more of them
	Extensions []pkix.Extension
	Signature  func([]byte) []byte // changes the signature
}

// Encode signs and returns the request.
func (c CSR) Encode() ([]byte, error) {
	public := c.Public
	if public == nil {
		var err error
		if public, err = x509.MarshalPKIXPublicKey(c.Key.Public()); err != nil {
			return nil, fmt.Errorf("craft CSR: %w", err)
		}
	}
	all := slices.Clone(c.Attributes)
	for _, challenge := range c.Challenges {
		all = append(all, Attribute{oidChallengePassword, [][]byte{challenge}})
	}
	if len(c.Extensions) > 0 {
		extensions, err := asn1.Marshal(c.Extensions)
		if err != nil {
			return nil, fmt.Errorf("craft CSR: %w", err)
		}
		all = append(all, Attribute{oidExtensionRequest, [][]byte{extensions}})
	}
	var info cryptobyte.Builder
	info.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(c.Version)
		b.AddBytes(c.Subject)
		b.AddBytes(public)
		b.AddASN1(context0, func(b *cryptobyte.Builder) {
			for _, a := range all {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(a.Type)
					b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(a.Values...)) })
				})
			}
		})
	})
	return c.sign(&info)
}

func (c *CSR) sign(info *cryptobyte.Builder) ([]byte, error) {
	der, err := info.Bytes()
	if err != nil {
		return nil, fmt.Errorf("craft CSR: %w", err)
	}
	signature, err := c.Key.Sign(rand.Reader, sum(crypto.SHA256, der), crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("craft CSR: %w", err)
	}
	signature = hook(c.Signature, signature)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(der)
		if isRSA(c.Key) {
			addAlgorithm(b, oidSHA256WithRSA)
		} else {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidECDSAWithSHA256) })
		}
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

func isRSA(key crypto.Signer) bool {
	_, ok := key.Public().(*rsa.PublicKey)
	return ok
}
