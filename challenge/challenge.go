// Package challenge judges challenge passwords: is this request one that the
// configuration's owner wanted?
//
// Each of Okta's modes is one Validator: the static secret key here, one-time
// challenges and Microsoft Intune beside it. The package must not know SCEP
// messages, HTTP or how certificates are made; it gets a CSR and a challenge
// and gives a Grant or a refusal.
package challenge

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"understudy.example/understudy/depot"
)

// Secret is a challenge password. It prints as [secret] with every verb, in
// logs and in JSON; Reveal is the only way to the text.
type Secret struct {
	// A pointer, because fmt looks into unexported fields of other structs
	// without asking for methods: it prints an address there, not the text.
	text *string
}

// NewSecret wraps the text of a challenge.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the text itself, for comparing or for handing to the party
// that must judge it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty says that there is no challenge.
func (s Secret) Empty() bool { return s.Reveal() == "" }

const hidden = "[secret]"

// Format writes "[secret]", for every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String returns "[secret]".
func (Secret) String() string { return hidden }

// MarshalText returns "[secret]", for JSON and other encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue returns "[secret]", for log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// Attempt is one use of a challenge.
type Attempt struct {
	ConfigurationID string
	TransactionID   string
	CSR             *x509.CertificateRequest
	Challenge       Secret
	Now             time.Time
}

// A Validator judges attempts for one configuration. It is safe for
// concurrent use.
type Validator interface {
	// Validate returns a Grant for a good challenge, a *refusal.Error for a
	// bad one, and any other error when no decision could be reached. It
	// changes nothing: a challenge is spent by the depot, in the step that
	// stores the certificate.
	Validate(ctx context.Context, a Attempt) (Grant, error)
}

// ErrPending is the cause that a Grant's Failed gets when an operator has to
// decide first. What the Grant spends is kept with the request and spent when
// it is approved.
var ErrPending = errors.New("waits for approval")

// A Grant is a challenge found good. It is ended by exactly one call of Issued
// or Failed.
type Grant interface {
	// Spends names what the depot must spend when it stores the certificate;
	// the zero value: nothing.
	Spends() depot.ChallengeRef
	// HoldsBack says whether the certificate must be stored, and must not be
	// handed out, before Issued has returned nil.
	HoldsBack() bool
	// Issued says that the certificate is about to be handed out.
	Issued(ctx context.Context, cert *x509.Certificate) error
	// Failed says that nothing will be handed out, and why.
	Failed(ctx context.Context, cause error) error
}

// ErrInDoubt is in the error of a grant's Issued when nobody knows whether
// those who had to be told agree: asking again may help.
var ErrInDoubt = errors.New("it is not known whether the certificate may be handed out")

// A Step is one thing that must work before challenges can be judged, and how
// it went.
type Step struct {
	Name   string // "token for Graph" …
	OK     bool
	Detail string // what was found; when it failed, what to do
}

// A Checker is a Validator that needs somebody else, and can try whether it
// would be answered. It asks about no request.
type Checker interface {
	// Check returns the steps that were tried, in their order.
	Check(ctx context.Context) []Step
}

// A Resumer is a Validator that can end the grant of a request whose
// certificate was held back when its process died.
type Resumer interface {
	// Resume returns a grant that is as the one was that Validate gave for the
	// request with this transactionID and CSR (DER, challenge included).
	Resume(transactionID string, csr []byte) Grant
}
