package redistribution

import (
	"time"

	"understudy.example/understudy/depot"
)

// State is what a certificate is to somebody who pushes profiles. It is never
// stored: it follows from the standing, the policy and the time.
type State string

// The states. An item is in exactly one of them; they are looked at in the
// order revoked, superseded, expired, stalled, acknowledged, due, valid.
const (
	Valid        State = "valid"        // the window has not opened
	Due          State = "due"          // it is open, and nobody acknowledged
	Acknowledged State = "acknowledged" // somebody pushes the profile
	Stalled      State = "stalled"      // and nothing came of it
	Superseded   State = "superseded"   // the device has a newer one
	Expired      State = "expired"      // the window closed without a newer one
	Revoked      State = "revoked"      // or on hold, or void
)

// States returns all states, in the order in which a certificate usually goes
// through them.
func States() []State {
	return []State{Valid, Due, Acknowledged, Stalled, Superseded, Expired, Revoked}
}

// StateAt returns the state of an item at a time: the latest, of what is
// stored, that counts is the caller's to choose (see Service). It is empty for
// an item that is not its device's yet (depot.StandingNone).
func StateAt(item depot.WindowItem, p Policy, at time.Time) State {
	switch item.Standing {
	case depot.StandingRevoked:
		return Revoked
	case depot.StandingSuperseded:
		return Superseded
	case depot.StandingNone:
		return ""
	}
	opens, closes := p.Window(item.Identity.NotBefore, item.Identity.NotAfter)
	if !at.Before(closes) {
		return Expired
	}
	if ack, ok := item.InForce(); ok && item.Standing == depot.StandingAcknowledged {
		if !ack.StallsAt.IsZero() && !at.Before(ack.StallsAt) {
			return Stalled
		}
		return Acknowledged
	}
	if !at.Before(opens) {
		return Due
	}
	return Valid
}
