package inspect

import (
	"time"

	"understudy.example/understudy/depot"
)

// The states of a certificate in lists. They are derived, never stored; when
// several hold, the first of this order is told. What valid ones are in their
// redistribution window is the business of package redistribution.
const (
	StateHeldBack   = "held_back"  // signed, and its device may not have it yet
	StateVoid       = "void"       // signed, never delivered
	StateRevoked    = "revoked"    // or on hold
	StateSuperseded = "superseded" // its device has a later one
	StateExpired    = "expired"
	StateValid      = "valid"
)

// NeverDelivered is the revocation reason of a void certificate that nobody
// revoked.
const NeverDelivered = "never_delivered"

// State returns the state at a time of an identity with this standing.
func State(i depot.Identity, standing depot.Standing, now time.Time) string {
	switch {
	case i.HeldBack:
		return StateHeldBack
	case i.Void:
		return StateVoid
	case !i.RevokedAt.IsZero():
		return StateRevoked
	case standing == depot.StandingSuperseded:
		return StateSuperseded
	case !now.Before(i.NotAfter):
		return StateExpired
	}
	return StateValid
}

// Reason returns why an identity is revoked, empty if it is not.
func Reason(i depot.Identity) string {
	if i.Void && i.RevocationReason == "" {
		return NeverDelivered
	}
	return i.RevocationReason
}

// readState reads one of the states.
func readState(t *term) error {
	state, err := t.word(StateValid, StateSuperseded, StateExpired, StateRevoked, StateVoid, StateHeldBack, string(depot.StandingAcknowledged))
	if err != nil {
		return err
	}
	if state == string(depot.StandingAcknowledged) {
		t.fits = func(f *facts) bool { return f.standing == depot.StandingAcknowledged }
		return nil
	}
	t.fits = func(f *facts) bool { return State(*f.identity, f.standing, f.now) == state }
	return nil
}
