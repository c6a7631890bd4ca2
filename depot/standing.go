package depot

import (
	"slices"
	"time"
)

// maxMark is the longest mark of an announcement, bytes.
const maxMark = 200

// MaxAnnouncements is how many announcements one Settlement can hold.
const MaxAnnouncements = 256

// Stands says whether the identity takes the place of those that were
// committed before it for its device: it is neither revoked nor held back.
func (i Identity) Stands() bool { return !i.HeldBack && !i.isRevoked() }

func (i Identity) isRevoked() bool { return i.Void || !i.RevokedAt.IsZero() }

// Standing returns the standing of an identity of which these two things are
// known. It is for depots.
func (i Identity) Standing(superseded, acknowledged bool) Standing {
	switch {
	case i.HeldBack:
		return StandingNone
	case i.isRevoked():
		return StandingRevoked
	case superseded:
		return StandingSuperseded
	case acknowledged:
		return StandingAcknowledged
	}
	return StandingCurrent
}

// Lifetime is from notBefore to notAfter.
func (i Identity) Lifetime() time.Duration { return i.NotAfter.Sub(i.NotBefore) }

// StoodAt returns the identity as it was at a time, as far as it tells: what
// came later is undone. False: it was not its device's yet. One that is void
// was never its device's, and is there only as revoked.
func (i Identity) StoodAt(t time.Time) (Identity, bool) {
	if i.HeldBack || i.IssuedAt.After(t) || i.Void && i.RevokedAt.After(t) {
		return i, false
	}
	if i.RevokedAt.After(t) {
		i.RevokedAt, i.RevocationReason, i.RevokedBy = time.Time{}, "", ""
	}
	if i.SupersededAt.After(t) {
		i = i.Restored()
	}
	if i.UsedAt.After(t) {
		i.UsedAt = time.Time{}
	}
	return i, true
}

// Acknowledge returns the item with one acknowledgement more. It is for
// depots, which have looked at Repeats.
func (i WindowItem) Acknowledge(a Acknowledgement) WindowItem {
	have := append(slices.Clone(i.Acknowledgements), a)
	i.Acknowledgements = have[max(0, len(have)-MaxAcknowledgements):]
	i.Attempts++
	return i
}

// Unacknowledge returns the item with the acknowledgement in force undone, of
// which there is one. It is for depots.
func (i WindowItem) Unacknowledge(by string, at time.Time) WindowItem {
	i.Acknowledgements = slices.Clone(i.Acknowledgements)
	last := &i.Acknowledgements[len(i.Acknowledgements)-1]
	last.UndoneAt, last.UndoneBy = at, by
	return i
}

// Announce returns the item with one mark more; false: it has that already.
// It is for depots.
func (i WindowItem) Announce(mark string) (WindowItem, bool) {
	n, there := slices.BinarySearch(i.Announced, mark)
	if !there {
		i.Announced = slices.Insert(slices.Clone(i.Announced), n, mark)
	}
	return i, !there
}

// AcknowledgementsAsOf returns what was acknowledged at a time, and how often.
// Those that are not kept any more are taken for earlier.
func (i WindowItem) AcknowledgementsAsOf(t time.Time) (kept []Acknowledgement, attempts int) {
	for _, a := range i.Acknowledgements {
		if a.At.After(t) {
			continue
		}
		if a.UndoneAt.After(t) {
			a.UndoneAt, a.UndoneBy = time.Time{}, ""
		}
		kept = append(kept, a)
	}
	return kept, i.Attempts - len(i.Acknowledgements) + len(kept)
}

// Refusal is why an acknowledgement of the item can neither be made nor
// undone: ErrNotFound, ErrRevoked, ErrSuperseded; nil if it can.
func (i WindowItem) Refusal() error {
	switch i.Standing {
	case StandingNone:
		return ErrNotFound
	case StandingRevoked:
		return ErrRevoked
	case StandingSuperseded:
		return ErrSuperseded
	}
	return nil
}

// Validate returns ErrInvalid, saying why, for an acknowledgement that no depot
// may store. What it has of StallsAt depends on the identity, see
// ValidateFor.
func (a Acknowledgement) Validate() error {
	switch {
	case a.At.IsZero():
		return invalid("acknowledgement without its time")
	case a.At.Nanosecond() != 0 || a.StallsAt.Nanosecond() != 0:
		return invalid("acknowledgement at %v that stalls at %v: fractions of a second", a.At, a.StallsAt)
	}
	return nil
}

// ValidateFor returns ErrInvalid for an acknowledgement that stalls when the
// identity has expired, or later: then it does not stall.
func (a Acknowledgement) ValidateFor(i Identity) error {
	if !a.StallsAt.IsZero() && a.StallsAt.Unix() >= i.NotAfter.Unix() {
		return invalid("acknowledgement of certificate %s stalls at %v, not before it expires", i.CertificateSerial, a.StallsAt)
	}
	return nil
}

// AcknowledgedEvent returns the event that the acknowledgement of i is. Its
// sequence is the depot's to give.
func (i Identity) AcknowledgedEvent(a Acknowledgement) Event {
	e := i.event(EventRedistributionAcknowledged, a.At)
	e.By, e.CommandID = a.By, a.CommandID
	return e
}

// UndoneEvent returns the event that it is when somebody undoes the
// acknowledgement of i. Its sequence is the depot's to give.
func (i Identity) UndoneEvent(by string, at time.Time) Event {
	e := i.event(EventRedistributionUndone, at)
	e.By = by
	return e
}

// AnnouncedEvent returns the event that an announcement about i is. Its
// sequence is the depot's to give.
func (i Identity) AnnouncedEvent(a Announcement) Event {
	e := i.event(a.Type, a.At)
	e.SupersededBy = a.SupersededBy
	return e
}

// Validate returns ErrInvalid, saying why, for an announcement that no depot
// may store.
func (a Announcement) Validate() error {
	switch a.Type {
	case EventRedistributionDue, EventRedistributionStalled, EventRedistributionMissed, EventRedistributionFulfilled, EventCertificateSuperseded:
	default:
		return invalid("announcement of type %q", a.Type)
	}
	switch {
	case a.At.IsZero():
		return invalid("announcement without its time")
	case a.Mark == "" || len(a.Mark) > maxMark:
		return invalid("announcement with a mark of %d bytes", len(a.Mark))
	}
	return nil
}

// Validate returns ErrInvalid for a key that no depot can find again.
func (k WatermarkKey) Validate() error {
	if !validID(k.ConfigurationID) || k.Purpose == "" || len(k.Purpose) > maxKey {
		return invalid("watermark of configuration %q for %q", k.ConfigurationID, k.Purpose)
	}
	return nil
}

// Validate returns ErrInvalid, saying why, for a settlement that no depot may
// make.
func (s Settlement) Validate() error {
	if len(s.Announcements) > MaxAnnouncements {
		return invalid("%d announcements in one settlement", len(s.Announcements))
	}
	for _, a := range s.Announcements {
		if err := a.Validate(); err != nil {
			return err
		}
	}
	for _, w := range s.Watermarks {
		if err := w.WatermarkKey.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Validate returns ErrInvalid, saying why, for a range that no index can
// answer.
func (r WindowRange) Validate() error {
	switch r.Standing {
	case StandingRevoked, StandingSuperseded, StandingAcknowledged, StandingCurrent:
	default:
		return invalid("range of standing %q", r.Standing)
	}
	switch {
	case !validID(r.ConfigurationID):
		return invalid("range of configuration %q", r.ConfigurationID)
	case r.Lifetime != 0 && r.Standing != StandingCurrent:
		return invalid("range of standing %s with a lifetime", r.Standing)
	case r.Stall == StallAny && r.At.IsZero():
		return nil
	case r.Standing != StandingAcknowledged || r.Stall != StallPassed && r.Stall != StallWaiting:
		return invalid("range of standing %s with stall %q at %v", r.Standing, r.Stall, r.At)
	case r.At.IsZero() || !r.After.Equal(r.At) || !r.Until.IsZero():
		return invalid("range with stall %q at %v from %v to %v", r.Stall, r.At, r.After, r.Until)
	}
	return nil
}

// Selects says whether the range asks for this item. Times are compared in
// whole seconds.
func (r WindowRange) Selects(i WindowItem) bool {
	notAfter := i.Identity.NotAfter.Unix()
	switch {
	case i.Identity.ConfigurationID != r.ConfigurationID, i.Standing != r.Standing,
		r.Lifetime != 0 && i.Identity.Lifetime() != r.Lifetime,
		!r.After.IsZero() && notAfter <= r.After.Unix(),
		!r.Until.IsZero() && notAfter > r.Until.Unix():
		return false
	case r.Stall == StallAny:
		return true
	}
	a, _ := i.InForce()
	return r.StallSelects(a.StallsAt)
}

// StallSelects says whether the range asks for an acknowledgement that stalls
// then; zero: never.
func (r WindowRange) StallSelects(stallsAt time.Time) bool {
	if r.Stall == StallAny {
		return true
	}
	passed := !stallsAt.IsZero() && stallsAt.Unix() <= r.At.Unix()
	return passed == (r.Stall == StallPassed)
}

// Validate returns ErrInvalid for a query with a range that no index can
// answer.
func (q WindowQuery) Validate() error {
	for _, r := range q.Ranges {
		if err := r.Validate(); err != nil {
			return err
		}
	}
	return nil
}
