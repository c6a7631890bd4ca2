package depot

import (
	"context"
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
	Forget    []uint64       // by Event
}

// Webhooks is the part of a Depot that keeps webhooks and what they still have
// to get. Webhooks are in the ledger, and so is Through; notifications are in
// the database only.
type Webhooks interface {
	// AddWebhook stores one; it gets events that come after this step.
	// ErrExists, ErrInvalid.
	AddWebhook(ctx context.Context, w Webhook) error
	// SetWebhook replaces the one with the same id; the revision must be one
	// more than the stored one (ErrTransactionConflict). RemovedAt removes it
	// together with its notifications. cause is EventWebhookChanged,
	// EventWebhookDisabled or EventWebhookRemoved. ErrNotFound.
	SetWebhook(ctx context.Context, w Webhook, cause EventType) error
	// Webhook finds one that lives. ErrNotFound.
	Webhook(ctx context.Context, id string) (Webhook, error)
	// Webhooks returns those that live, ordered by id.
	Webhooks(ctx context.Context) ([]Webhook, error)

	// NotifiedThrough returns the last Progress.Through of the webhook, at
	// first the Sequence of the step that added it. ErrNotFound.
	NotifiedThrough(ctx context.Context, webhookID string) (uint64, error)
	// SaveProgress stores it. ErrNotFound.
	SaveProgress(ctx context.Context, p Progress) error
	// Notifications lists a page, ordered by event. ErrCursor.
	Notifications(ctx context.Context, q NotificationQuery) (Page[Notification], error)
	// NotificationCounts returns how many of the webhook wait and how many
	// were given up.
	NotificationCounts(ctx context.Context, webhookID string) (waiting, dead int, err error)
}
