// Package ocsp is the Online Certificate Status Protocol on the wire, after
// RFC 6960 and RFC 9654: it reads requests, which anybody may send, and builds
// signed answers.
//
// It must not know who issued what, what is revoked, where that is kept, or
// HTTP. It imports nothing of ours.
package ocsp

import (
	"encoding/asn1"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Limits of a request. Requests of real clients have some 70 to 120 octets for
// one certificate.
const (
	// MaxRequest is the most octets that a request may have.
	MaxRequest = 8 << 10
	// MaxCertIDs is how many certificates one request may ask about.
	MaxCertIDs = 16
	// MaxNonce is the most octets of a nonce. RFC 9654 §2.1 lets responders
	// do without those of more than 32.
	MaxNonce = 32

	maxExtensions = 16 // of a whole request
)

// ErrMalformed says that octets are no request that we answer; the answer to
// them is Failure(MalformedRequest).
var ErrMalformed = errors.New("malformed OCSP request")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// Status is the OCSPResponseStatus of an answer (RFC 6960 §4.2.1).
type Status int

// The statuses. All but Successful come without a signature.
const (
	Successful       Status = 0
	MalformedRequest Status = 1
	InternalError    Status = 2
	TryLater         Status = 3
	SigRequired      Status = 5
	Unauthorized     Status = 6 // the responder cannot speak for that issuer (RFC 5019 §2.2.3)
)

// String returns the name of a status as RFC 6960 writes it.
func (s Status) String() string {
	switch s {
	case Successful:
		return "successful"
	case MalformedRequest:
		return "malformedRequest"
	case InternalError:
		return "internalError"
	case TryLater:
		return "tryLater"
	case SigRequired:
		return "sigRequired"
	case Unauthorized:
		return "unauthorized"
	}
	return fmt.Sprintf("status %d", int(s))
}

// Failure returns the answer, in DER, that says nothing but a status other
// than Successful.
func Failure(s Status) []byte {
	const sequence, enumerated = byte(cryptobyte_asn1.SEQUENCE), byte(cryptobyte_asn1.ENUM)
	return []byte{sequence, 3, enumerated, 1, byte(s)}
}

// Object identifiers (RFC 6960 appendix B.1).
var (
	oidBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
)

// explicit returns the tag of an element that is wrapped in another one.
func explicit(number uint8) cryptobyte_asn1.Tag {
	return cryptobyte_asn1.Tag(number).ContextSpecific().Constructed()
}

// publicKeyBits returns the octets of the BIT STRING in a SubjectPublicKeyInfo,
// which is what key hashes are taken of (RFC 6960 §4.1.1).
func publicKeyBits(spki []byte) ([]byte, bool) {
	outer := cryptobyte.String(spki)
	var inner, algorithm cryptobyte.String
	var key asn1.BitString
	if !outer.ReadASN1(&inner, cryptobyte_asn1.SEQUENCE) ||
		!inner.ReadASN1(&algorithm, cryptobyte_asn1.SEQUENCE) ||
		!inner.ReadASN1BitString(&key) {
		return nil, false
	}
	return key.Bytes, true
}
