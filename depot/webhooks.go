package depot

import (
	"context"
	"slices"
	"time"
)

// Webhook is somebody who is told of events.
type Webhook struct {
	ID              string // wh_…
	Revision        uint64 // 1 at first, one more with each change
	URL             string
	Types           []string // of events; empty: all
	ConfigurationID string   // only events of this one; empty: all
	// Generation is that of the signing secret, which the server derives and
	// does not store; it rises when the secret is changed.
	Generation  int
	CreatedAt   time.Time
	CreatedBy   string
	ChangedAt   time.Time
	ChangedBy   string    // who changed, disabled or removed it last
	DisabledAt  time.Time // zero: it works
	DisabledWhy string
	RemovedAt   time.Time // zero while it lives
}

// A Notification is an event on its way to a webhook that did not get it at
// the first attempt.
type Notification struct {
	WebhookID  string
	Event      uint64 // Sequence
	Attempts   int
	NextAt     time.Time // of the machine's clock, when it is tried again; zero when Dead
	LastAt     time.Time // of the machine's clock
	LastStatus int       // of HTTP; 0: there was no answer
	LastError  string
	Dead       bool // given up
}

// NotificationQuery selects the notifications of a webhook, by event.
type NotificationQuery struct {
	WebhookID string
	Dead      bool // those that were given up; else those that wait
	Limit     int
	Cursor    string
}

// Progress is what a webhook's dispatcher did: events up to Through were
// delivered or are among the notifications.
type Progress struct {
	WebhookID string
	Through   uint64         // Sequence; lower than what is stored: as stored
	Store     []Notification // added or replaced, by Event
	Forget    []uint64       // by Event; what is not there is passed over
}

// Clone returns a copy that shares no memory with w.
func (w Webhook) Clone() Webhook {
	w.Types = slices.Clone(w.Types)
	return w
}

// Validate returns ErrInvalid, saying why, for a webhook that cannot be added.
func (w Webhook) Validate() error {
	switch {
	case w.Revision != 1:
		return invalid("revision %d of a new webhook", w.Revision)
	case !w.RemovedAt.IsZero():
		return invalid("webhook %s is removed before it is stored", w.ID)
	}
	return w.validate()
}

func (w Webhook) validate() error {
	switch {
	case !validID(w.ID):
		return invalid("webhook id %q", w.ID)
	case w.URL == "" || len(w.URL) > maxKey:
		return invalid("webhook %s with a URL of %d bytes", w.ID, len(w.URL))
	case w.CreatedAt.IsZero():
		return invalid("webhook %s without its time", w.ID)
	}
	return nil
}

// ValidateChange returns ErrInvalid when cause cannot be why the webhook is
// replaced by w.
func (w Webhook) ValidateChange(cause EventType) error {
	switch cause {
	case EventWebhookChanged, EventWebhookDisabled, EventWebhookRemoved:
	default:
		return invalid("%q as the cause of a change", cause)
	}
	switch {
	case w.Event(cause).At.IsZero():
		return invalid("%s without the time of it", cause)
	case (cause == EventWebhookRemoved) != !w.RemovedAt.IsZero():
		return invalid("%s of webhook %s, which is removed", cause, w.ID)
	}
	return w.validate()
}

// Event returns the event that a change of w for this cause is. Its sequence
// is the depot's to give.
func (w Webhook) Event(cause EventType) Event {
	e := Event{Type: cause, By: w.ChangedBy, SubjectID: w.ID}
	switch cause {
	case EventWebhookAdded:
		e.At, e.By = w.CreatedAt, w.CreatedBy
	case EventWebhookDisabled:
		e.At, e.Reason = w.DisabledAt, w.DisabledWhy
	case EventWebhookRemoved:
		e.At = w.RemovedAt
	default:
		e.At = w.ChangedAt
	}
	return e
}

// Validate returns ErrInvalid, saying why, for progress that contradicts
// itself.
func (p Progress) Validate() error {
	stored := map[uint64]bool{}
	for _, n := range p.Store {
		if n.WebhookID != p.WebhookID || n.Event == 0 || stored[n.Event] {
			return invalid("notification of event %d for webhook %q among those of webhook %q", n.Event, n.WebhookID, p.WebhookID)
		}
		stored[n.Event] = true
	}
	for _, event := range p.Forget {
		if stored[event] {
			return invalid("notification of event %d for webhook %q is to be stored and forgotten", event, p.WebhookID)
		}
	}
	return nil
}

// Webhooks is the part of a Depot that keeps webhooks and what they still have
// to get.
//
// Webhooks are in the ledger. Notifications are in the database only: a store
// that is made anew from its ledger has none. Through is in the ledger now and
// then, and never beyond an event that waits: what a webhook still has to get
// comes to it again after that (at least once), and nothing but what was given
// up before is missed.
type Webhooks interface {
	// AddWebhook stores one; it gets events that come after this step. Its
	// revision is 1. ErrExists: the id was ever used. ErrInvalid: no id, URL or
	// time, or it is removed already.
	AddWebhook(ctx context.Context, w Webhook) error
	// SetWebhook replaces the one with the same id; the revision must be one
	// more than the stored one (ErrTransactionConflict). RemovedAt removes it
	// together with its notifications, and is set with EventWebhookRemoved and
	// only then. cause is EventWebhookChanged, EventWebhookDisabled or
	// EventWebhookRemoved, and the event has the time ChangedAt, DisabledAt or
	// RemovedAt. ErrNotFound, ErrInvalid.
	SetWebhook(ctx context.Context, w Webhook, cause EventType) error
	// Webhook finds one that lives. ErrNotFound.
	Webhook(ctx context.Context, id string) (Webhook, error)
	// Webhooks returns those that live, ordered by the bytes of their ids.
	Webhooks(ctx context.Context) ([]Webhook, error)

	// NotifiedThrough returns the highest Progress.Through of the webhook, at
	// first the Sequence of the step that added it. ErrNotFound.
	NotifiedThrough(ctx context.Context, webhookID string) (uint64, error)
	// SaveProgress stores it. What is in Store and Forget is durable when it
	// returns, and Through with it. Progress without them costs no write of
	// its own: Through is on the disk with the next step, at the latest with
	// Close, so that a death takes it back to what was there and events come
	// again. In the ledger Through is noted when it has risen by
	// ProgressInterval since, but not beyond the first event that waits.
	// ErrNotFound; ErrInvalid: it contradicts itself, or names an event that
	// did not happen yet.
	SaveProgress(ctx context.Context, p Progress) error
	// Notifications lists a page, ordered by event; none for a webhook that is
	// not there. ErrCursor.
	Notifications(ctx context.Context, q NotificationQuery) (Page[Notification], error)
	// NotificationCounts returns how many of the webhook wait and how many
	// were given up. ErrNotFound.
	NotificationCounts(ctx context.Context, webhookID string) (waiting, dead int, err error)
}

// ProgressInterval is by how much the Through of a webhook rises before the
// ledger is told again: about how many events come twice to a webhook after a
// store was made anew from its ledger.
const ProgressInterval = 256
