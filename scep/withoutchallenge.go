package scep

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// WithoutChallenge returns a PKCS #10 request (RFC 2986) in DER without its
// challengePassword attributes (RFC 2985 §5.4.1), for keeping: nobody needs to
// read a challenge twice. Everything else stays byte for byte, so the
// signature of the result does not hold; check it before. The error says that
// der is no such request.
func WithoutChallenge(der []byte) ([]byte, error) {
	input := cryptobyte.String(der)
	var request, info, attributes, rest cryptobyte.String
	var hasAttributes bool
	if !input.ReadASN1(&request, cbasn1.SEQUENCE) || !input.Empty() || !request.ReadASN1(&info, cbasn1.SEQUENCE) {
		return nil, errors.New("remove challenge: not a certificate request")
	}
	rest = request // algorithm and signature
	head := info
	if !info.SkipASN1(cbasn1.INTEGER) || !info.SkipASN1(cbasn1.SEQUENCE) || !info.SkipASN1(cbasn1.SEQUENCE) {
		return nil, errors.New("remove challenge: certificate request is malformed")
	}
	head = head[:len(head)-len(info)] // version, subject, key
	if !info.ReadOptionalASN1(&attributes, &hasAttributes, context0) || !info.Empty() {
		return nil, errors.New("remove challenge: attributes of the certificate request are malformed")
	}
	kept, err := otherAttributes(attributes)
	if err != nil {
		return nil, fmt.Errorf("remove challenge: %w", err)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(der)))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(head)
			if hasAttributes {
				b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddBytes(kept) })
			}
		})
		b.AddBytes(rest)
	})
	return b.Bytes()
}

// otherAttributes returns the attributes that are no challengePassword.
func otherAttributes(attributes cryptobyte.String) ([]byte, error) {
	var kept []byte
	for !attributes.Empty() {
		var element, content cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !attributes.ReadASN1Element(&element, cbasn1.SEQUENCE) {
			return nil, errors.New("an attribute is malformed")
		}
		whole := element
		if !element.ReadASN1(&content, cbasn1.SEQUENCE) || !content.ReadASN1ObjectIdentifier(&oid) {
			return nil, errors.New("an attribute is malformed")
		}
		if !oid.Equal(oidChallengePassword) {
			kept = append(kept, whole...)
		}
	}
	return kept, nil
}
