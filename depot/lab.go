package depot

import (
	"context"
	"time"
)

// LabClock is how a lab moved the time.
type LabClock struct {
	Offset   time.Duration // ahead of the machine's clock
	FrozenAt time.Time     // where it stands; zero: it runs
	// ChangedAt and By: the machine's time of the change, and who made it.
	ChangedAt time.Time
	By        string
}

// Moved says whether the time differs from the machine's.
func (c LabClock) Moved() bool { return c.Offset != 0 || !c.FrozenAt.IsZero() }

// Rejections is how many challenges of one configuration were refused for one
// reason within a while.
type Rejections struct {
	ConfigurationID   string
	ConfigurationName string
	Reason            string // refusal.Reason
	Count             int
	At                time.Time // of the last one
	SourceAddress     string    // of the last one
}

// Seeding is a lot of made-up identities that were stored for a trial.
type Seeding struct {
	At              time.Time
	ConfigurationID string
	IssuerSHA256    [32]byte // of the throw-away issuer's certificate
	Count           int
}

// Validate returns ErrInvalid for a clock that was set at no time.
func (c LabClock) Validate(now time.Time) error {
	if c.ChangedAt.IsZero() || now.IsZero() {
		return invalid("lab clock without the time of its change")
	}
	return nil
}

// Event returns the event that setting the clock is, given what it then says.
// Its sequence is the depot's to give.
func (c LabClock) Event(now time.Time) Event {
	return Event{Type: EventClockMoved, At: now, By: c.By, Offset: c.Offset, FrozenAt: c.FrozenAt}
}

// Validate returns ErrInvalid, saying why, for rejections that tell nothing.
func (r Rejections) Validate() error {
	switch {
	case !validID(r.ConfigurationID):
		return invalid("configuration id %q", r.ConfigurationID)
	case r.Count <= 0 || r.At.IsZero():
		return invalid("%d rejections at %v", r.Count, r.At)
	}
	return nil
}

// Event returns the event that the rejections are. Its sequence is the depot's
// to give.
func (r Rejections) Event() Event {
	return Event{Type: EventChallengeRejected, At: r.At, ConfigurationID: r.ConfigurationID, ConfigurationName: r.ConfigurationName,
		Reason: r.Reason, Count: r.Count, Source: r.SourceAddress}
}

// Validate returns ErrInvalid, saying why, for a seeding that tells nothing.
func (s Seeding) Validate() error {
	switch {
	case !validID(s.ConfigurationID):
		return invalid("configuration id %q", s.ConfigurationID)
	case s.Count <= 0 || s.At.IsZero():
		return invalid("seeding of %d identities at %v", s.Count, s.At)
	}
	return nil
}

// Event returns the event that the seeding is. Its sequence is the depot's to
// give.
func (s Seeding) Event() Event {
	return Event{Type: EventSeeded, At: s.At, ConfigurationID: s.ConfigurationID, Count: s.Count}
}

// Lab is the part of a Depot that keeps what happened beside enrolment and
// that the ledger must tell.
type Lab interface {
	// SetLabClock stores it, in the ledger too, with EventClockMoved. The
	// event is dated with the new time, as the clock then says it. ErrInvalid:
	// without now or ChangedAt.
	SetLabClock(ctx context.Context, c LabClock, now time.Time) error
	// LabClock returns the last one, zero at first.
	LabClock(ctx context.Context) (LabClock, error)
	// RecordRejections makes an EventChallengeRejected of them, in the ledger
	// too. ErrInvalid: no configuration, count or time.
	RecordRejections(ctx context.Context, r Rejections) error
	// RecordSeeding puts it on record, with EventSeeded, in the ledger too.
	// ErrInvalid: no configuration, count or time.
	RecordSeeding(ctx context.Context, s Seeding) error
	// Seedings returns them all, oldest first.
	Seedings(ctx context.Context) ([]Seeding, error)

	// Await returns nil when an event with a Sequence above after can be
	// read, and the context's error when that ends first. ErrUnavailable: the
	// depot is closed, or was while it waited.
	Await(ctx context.Context, after uint64) error
	// LastEvent returns the Sequence of the last event that can be read; 0:
	// none. It costs nothing.
	LastEvent(ctx context.Context) (uint64, error)
}
