package configuration

import (
	"context"
	"crypto/x509"
	"errors"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// delegateError says why there is nobody to judge the challenges of a
// configuration of mode intune: a file that it names cannot be read, say.
type delegateError struct{ err error }

func (e *delegateError) Error() string { return e.err.Error() }
func (e *delegateError) Unwrap() error { return e.err }

// invalid makes the problem of a setting of a delegate's error, for whoever
// wants to set it. Other errors stay as they are.
func invalid(err error) error {
	var no *delegateError
	if !errors.As(err, &no) {
		return err
	}
	field := "mode"
	if file := new(intune.FileError); errors.As(err, &file) {
		field = file.Setting
	}
	return problems{{Field: field, Detail: "cannot be used: " + no.Error()}}.err()
}

// Unavailable returns why nobody can judge the configuration's challenges since
// the server was started; nil when somebody can.
func (l *Live) Unavailable() error {
	if u, ok := l.Validator.(unavailable); ok {
		return u.cause
	}
	return nil
}

// unavailable stands in for a delegate that could not be made when the server
// started. It refuses everything, and leaves open what a delegate before it
// began.
type unavailable struct{ cause error }

func (u unavailable) refuse() error {
	return errors.Join(challenge.ErrInDoubt,
		refusal.WithText(refusal.ChallengeRefused, "the challenge could not be validated", "nobody can be asked: %v", u.cause))
}

// Validate refuses.
func (u unavailable) Validate(context.Context, challenge.Attempt) (challenge.Grant, error) {
	return nil, u.refuse()
}

// Check says why, and what to do.
func (u unavailable) Check(context.Context) []challenge.Step {
	return []challenge.Step{{Name: "credential", Detail: u.cause.Error() + " → put it right, then have it read again: \"understudy config set\" with the file, or another start of the server"}}
}

// Resume returns a grant that cannot be ended now.
func (u unavailable) Resume(string, []byte) challenge.Grant { return openGrant{u} }

// openGrant is a grant of a request whose certificate is held back and stays
// so.
type openGrant struct{ unavailable }

func (openGrant) Spends() depot.ChallengeRef                        { return depot.ChallengeRef{} }
func (openGrant) HoldsBack() bool                                   { return true }
func (g openGrant) Issued(context.Context, *x509.Certificate) error { return g.refuse() }
func (g openGrant) Failed(context.Context, error) error             { return g.refuse() }
