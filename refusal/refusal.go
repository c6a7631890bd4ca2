// Package refusal holds the closed set of reasons for which a request is
// turned down.
//
// A refusal is an answer: the request was understood and the answer is no. It
// is logged at info level, counted by its Reason and told to the client as a
// SCEP FAILURE. Every other error is an internal one: it is logged at error
// level and the client learns only that it happened. This package must not
// know SCEP, HTTP or the store.
package refusal

import (
	"errors"
	"fmt"
)

// A Reason is the metric label, the log value and the word in the API.
type Reason string

// The closed set of reasons.
const (
	BadMessage           Reason = "bad_message"           // not a SCEP message, or not a whole or genuine one
	UnsupportedAlgorithm Reason = "unsupported_algorithm" // cipher, digest, key transport or key type that is not allowed
	UnsupportedOperation Reason = "unsupported_operation" // message type or operation that is not offered here
	NotDecryptable       Reason = "not_decryptable"       // everything in and behind decryption, alike
	Replayed             Reason = "replayed"              // the identical message was answered before and its retry period is over
	TransactionConflict  Reason = "transaction_conflict"  // the transactionID belongs to another public key
	ChallengeMissing     Reason = "challenge_missing"
	ChallengeWrong       Reason = "challenge_wrong"
	ChallengeUsed        Reason = "challenge_used"
	ChallengeExpired     Reason = "challenge_expired"
	ChallengeForeign     Reason = "challenge_foreign" // made for another configuration or another device
	ChallengeRefused     Reason = "challenge_refused" // Microsoft Intune said no
	KeyRejected          Reason = "key_rejected"
	SubjectRejected      Reason = "subject_rejected"
	DeviceNotListed      Reason = "device_not_listed"
	RenewalNotOffered    Reason = "renewal_not_offered"
	SignerNotTrusted     Reason = "signer_not_trusted" // the signer's key is neither the CSR's nor one of ours
	Denied               Reason = "denied"             // an operator said no
	ApprovalExpired      Reason = "approval_expired"
	NotFound             Reason = "not_found" // no such transaction or certificate here
	RateLimited          Reason = "rate_limited"
	Busy                 Reason = "busy"
)

// Reasons returns the whole set, in a fixed order, for metrics and
// documentation.
func Reasons() []Reason {
	return []Reason{
		BadMessage, UnsupportedAlgorithm, UnsupportedOperation, NotDecryptable,
		Replayed, TransactionConflict,
		ChallengeMissing, ChallengeWrong, ChallengeUsed, ChallengeExpired, ChallengeForeign, ChallengeRefused,
		KeyRejected, SubjectRejected, DeviceNotListed, RenewalNotOffered, SignerNotTrusted,
		Denied, ApprovalExpired, NotFound, RateLimited, Busy,
	}
}

// Error is a refusal.
type Error struct {
	Reason Reason
	// Detail is for the operator: the log line and the journal. It names the
	// exact cause and holds no secret. The client never sees it.
	Detail string
	// Text is for the client, who sees it as failInfoText. Empty means that
	// the client learns nothing beyond the failInfo.
	Text string
}

// Error returns the reason and the operator's detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}

// New returns a refusal whose detail is for the operator only.
func New(r Reason, format string, args ...any) error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// WithText returns a refusal that also tells the client why, in the words of
// text. Use it only for causes that give an attacker nothing to measure.
func WithText(r Reason, text, format string, args ...any) error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...), Text: text}
}

// Of returns the refusal in err's chain. If there is none, err is an internal
// error and Of returns false.
func Of(err error) (*Error, bool) {
	var e *Error
	if errors.As(err, &e) {
		return e, true
	}
	return nil, false
}
