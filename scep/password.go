package scep

import (
	"fmt"
	"log/slog"
)

const hidden = "[secret]"

// A Password is the challengePassword of a CSR. It prints as [secret] with
// every verb, in logs and in JSON; Reveal is the only way to the text.
type Password struct {
	// A pointer, because fmt looks into the unexported fields of other structs
	// without asking for methods: it prints an address there, not the text.
	text *string
}

// NewPassword wraps the text of a challenge password.
func NewPassword(text string) Password { return Password{text: &text} }

// Reveal returns the text itself.
func (p Password) Reveal() string {
	if p.text == nil {
		return ""
	}
	return *p.text
}

// Empty says that the CSR has no challengePassword or an empty one.
func (p Password) Empty() bool { return p.Reveal() == "" }

// String returns "[secret]".
func (Password) String() string { return hidden }

// Format writes "[secret]" for every verb, also for those that would look
// into the struct, such as %x.
func (Password) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(hidden)) }

// MarshalText returns "[secret]", for JSON and other encoders.
func (Password) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue returns "[secret]", for log/slog.
func (Password) LogValue() slog.Value { return slog.StringValue(hidden) }
