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

// Lab is the part of a Depot that keeps what happened beside enrolment and
// that the ledger must tell.
type Lab interface {
	// SetLabClock stores it, in the ledger too, with EventClockMoved. The
	// event is dated with the new time, as the clock then says it.
	SetLabClock(ctx context.Context, c LabClock, now time.Time) error
	// LabClock returns the last one, zero at first.
	LabClock(ctx context.Context) (LabClock, error)
	// RecordRejections makes an EventChallengeRejected of them, in the ledger
	// too. ErrInvalid: no configuration, count or time.
	RecordRejections(ctx context.Context, r Rejections) error
	// RecordSeeding puts it on record, with EventSeeded, in the ledger too.
	RecordSeeding(ctx context.Context, s Seeding) error
	// Seedings returns them all, oldest first.
	Seedings(ctx context.Context) ([]Seeding, error)

	// Await returns nil when an event with a Sequence above after can be
	// read, and the context's error when that ends first.
	Await(ctx context.Context, after uint64) error
	// LastEvent returns the Sequence of the last event that can be read; 0:
	// none. It costs nothing.
	LastEvent(ctx context.Context) (uint64, error)
}
