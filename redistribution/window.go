// Package redistribution answers which device certificates an MDM must push
// again, and remembers which ones it does: the window before a certificate's
// end, the state that a certificate is in, acknowledgements, and the events
// that time makes.
//
// It must not know HTTP, SCEP or how things are kept. The maths of windows and
// the states are pure functions; Service puts them to a depot's indexes, so
// that a list costs what it returns, and Sweeper turns the passing of time into
// events.
package redistribution

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// Kind is how a policy says when windows open.
type Kind string

// The kinds.
const (
	DaysBefore       Kind = "days_before"       // so many days of 24 hours before the end
	PercentRemaining Kind = "percent_remaining" // when so many percent of the lifetime are left
)

// Limits and defaults of a policy.
const (
	DefaultDays       = 30
	DefaultAckTimeout = 24 * time.Hour

	MaxDays       = 3650
	MinAckTimeout = time.Second
	MaxAckTimeout = 365 * 24 * time.Hour

	day    = 24 * time.Hour
	strict = "strict" // in the text of a policy
)

// A Policy says when the window of a certificate opens and how long an
// acknowledgement counts.
type Policy struct {
	Kind  Kind
	Value int // days, or percent
	// Strict lets the window of a certificate that does not live longer than
	// Value days open at once, instead of at half of its life. Of DaysBefore
	// only.
	Strict bool
	// AckTimeout is how long an acknowledgement counts; after it, the item is
	// stalled.
	AckTimeout time.Duration
}

// ErrPolicy: the policy cannot be.
var ErrPolicy = errors.New("window policy is not valid")

// PolicyOf returns the policy of a configuration. What the record of an older
// version does not say is as by default.
func PolicyOf(c depot.ConfigurationPolicy) Policy {
	p := Policy{Kind: Kind(c.WindowKind), Value: c.WindowValue, Strict: c.WindowStrict, AckTimeout: c.AckTimeout}
	if p.Kind == "" {
		p.Kind, p.Value = DaysBefore, DefaultDays
	}
	if p.AckTimeout == 0 {
		p.AckTimeout = DefaultAckTimeout
	}
	return p
}

// Validate returns ErrPolicy, saying why, for a policy that cannot be.
func (p Policy) Validate() error {
	if err := p.validateWindow(); err != nil {
		return err
	}
	if p.AckTimeout < MinAckTimeout || p.AckTimeout > MaxAckTimeout || p.AckTimeout%time.Second != 0 {
		return fmt.Errorf("%w: an acknowledgement counts for %d to %d whole seconds, not for %v",
			ErrPolicy, MinAckTimeout/time.Second, MaxAckTimeout/time.Second, p.AckTimeout)
	}
	return nil
}

// validateWindow is Validate for a policy that only says when windows open.
func (p Policy) validateWindow() error {
	switch {
	case p.Kind == DaysBefore && (p.Value < 0 || p.Value > MaxDays):
		return fmt.Errorf("%w: days must be 0 to %d, not %d", ErrPolicy, MaxDays, p.Value)
	case p.Kind == PercentRemaining && (p.Value < 1 || p.Value > 99):
		return fmt.Errorf("%w: percent must be 1 to 99, not %d", ErrPolicy, p.Value)
	case p.Kind == PercentRemaining && p.Strict:
		return fmt.Errorf("%w: strict is for days only", ErrPolicy)
	case p.Kind != DaysBefore && p.Kind != PercentRemaining:
		return fmt.Errorf("%w: kind must be %s or %s, not %q", ErrPolicy, DaysBefore, PercentRemaining, p.Kind)
	}
	return nil
}

// String is when windows open, as text that stays the same for ever:
// announcements are marked with it. "days_before:30", "days_before:30:strict",
// "percent_remaining:20".
func (p Policy) String() string {
	text := fmt.Sprintf("%s:%d", p.Kind, p.Value)
	if p.Strict {
		text += ":" + strict
	}
	return text
}

// parsePolicy reads what String wrote; the result has no AckTimeout.
func parsePolicy(text string) (Policy, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 {
		return Policy{}, fmt.Errorf("%w: %q", ErrPolicy, text)
	}
	value, err := strconv.Atoi(parts[1])
	p := Policy{Kind: Kind(parts[0]), Value: value, Strict: len(parts) == 3}
	if err != nil || p.String() != text {
		return Policy{}, fmt.Errorf("%w: %q", ErrPolicy, text)
	}
	return p, p.validateWindow()
}

// Lead is how long before its end the window of a certificate opens that lives
// so long. It is never negative, never more than the lifetime, and in whole
// seconds, as certificates are: an opening within a second is at its beginning.
func (p Policy) Lead(lifetime time.Duration) time.Duration {
	if lifetime <= 0 {
		return 0
	}
	return min(wholeSeconds(p.lead(lifetime)), lifetime)
}

func (p Policy) lead(lifetime time.Duration) time.Duration {
	if p.Kind == PercentRemaining {
		// Divide first: lifetime*99 is more than a Duration holds from about
		// three years on. The remainder of hundredths is below a microsecond.
		return lifetime/100*time.Duration(p.Value) + lifetime%100*time.Duration(p.Value)/100
	}
	lead := time.Duration(p.Value) * day
	switch {
	case lifetime > lead:
		return lead
	case p.Strict:
		return lifetime
	}
	return lifetime - lifetime/2
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) time.Duration {
	if rest := d % time.Second; rest != 0 {
		d += time.Second - rest
	}
	return d
}

// Window returns when the window of a certificate opens and closes: it is
// [opens, closes), and empty when they are the same.
func (p Policy) Window(notBefore, notAfter time.Time) (opens, closes time.Time) {
	return notAfter.Add(-p.Lead(notAfter.Sub(notBefore))), notAfter
}
