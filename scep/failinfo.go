package scep

import (
	"errors"

	"github.com/smallstep/scep"

	"understudy.example/understudy/refusal"
)

// A FailInfo is the digit of the failInfo attribute (RFC 8894 §3.2.1.4). It
// has no String method on purpose: it prints as the digit.
type FailInfo string

// The values of failInfo.
const (
	BadAlg          = FailInfo(scep.BadAlg)
	BadMessageCheck = FailInfo(scep.BadMessageCheck)
	BadRequest      = FailInfo(scep.BadRequest)
	BadTime         = FailInfo(scep.BadTime)
	BadCertID       = FailInfo(scep.BadCertID)
)

// FailInfoOf returns the failInfo that a client gets for err: the one of
// WithFailInfo, or the one of the refusal's reason, or badRequest for an error
// that is no refusal.
func FailInfoOf(err error) FailInfo {
	var f *failInfoError
	if errors.As(err, &f) {
		return f.info
	}
	r, ok := refusal.Of(err)
	if !ok {
		return BadRequest
	}
	switch r.Reason {
	case refusal.UnsupportedAlgorithm:
		return BadAlg
	case refusal.BadMessage, refusal.NotDecryptable, refusal.SignerNotTrusted:
		return BadMessageCheck
	case refusal.NotFound:
		return BadCertID
	default:
		return BadRequest
	}
}

// WithFailInfo returns err with another failInfo than its reason's. A nil err
// stays nil.
func WithFailInfo(err error, info FailInfo) error {
	if err == nil {
		return nil
	}
	return &failInfoError{err: err, info: info}
}

type failInfoError struct {
	err  error
	info FailInfo
}

func (e *failInfoError) Error() string { return e.err.Error() }
func (e *failInfoError) Unwrap() error { return e.err }

// textOf returns the failInfoText for err. What concerns decryption and the
// binding of signer and CSR has none: those refusals are all alike.
func textOf(err error) string {
	r, ok := refusal.Of(err)
	if !ok || r.Reason == refusal.NotDecryptable || r.Reason == refusal.SignerNotTrusted {
		return ""
	}
	return r.Text
}
