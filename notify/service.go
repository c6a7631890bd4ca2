package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// FieldError says what is wrong with a field of what somebody wants, named as
// in JSON.
type FieldError struct {
	Field string
	Err   error
}

// Error returns field and cause.
func (e *FieldError) Error() string { return e.Field + " " + e.Err.Error() }

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// Wish is what a webhook is to be.
type Wish struct {
	URL             string
	Types           []string // empty: all
	ConfigurationID string   // empty: all
}

// Changes are what is to be different about a webhook; nil: as it is.
type Changes struct {
	URL             *string
	Types           *[]string
	ConfigurationID *string
}

// Status is a webhook and where it stands.
type Status struct {
	depot.Webhook
	Through       uint64 // the last event that was delivered, or waits, or was given up
	Waiting, Dead int
}

// ServiceOptions are what a Service can do without.
type ServiceOptions struct {
	// Configuration says whether there is a configuration with this id; nil:
	// every id is taken for one.
	Configuration func(id string) bool
	// Random is where ids come from; nil: crypto/rand.
	Random io.Reader
}

// A Service is what the API does with webhooks. It is safe for concurrent use.
type Service struct {
	dispatcher *Dispatcher
	store      Store
	options    ServiceOptions
	by         string
}

// NewService returns a service for the webhooks of a dispatcher.
func NewService(d *Dispatcher, o ServiceOptions) *Service {
	if o.Configuration == nil {
		o.Configuration = func(string) bool { return true }
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return &Service{dispatcher: d, store: d.store, options: o}
}

// By returns the same service for somebody: changes that are made through it
// are recorded as theirs.
func (s *Service) By(name string) *Service {
	theirs := *s
	theirs.by = name
	return &theirs
}

// Add makes a webhook, which gets the events that come after, and returns its
// signing secret. *FieldError.
func (s *Service) Add(ctx context.Context, wish Wish, by string) (added Status, secret string, err error) {
	if err := s.check(wish); err != nil {
		return Status{}, "", err
	}
	id, err := s.randomText(17)
	if err != nil {
		return Status{}, "", err
	}
	now := s.dispatcher.Clock.Now().Truncate(time.Microsecond)
	h := depot.Webhook{
		ID: "wh_" + id, Revision: 1, URL: wish.URL, Types: slices.Clone(wish.Types), ConfigurationID: wish.ConfigurationID,
		Generation: 1, CreatedAt: now, CreatedBy: by, ChangedAt: now,
	}
	if err := s.store.AddWebhook(ctx, h); err != nil {
		return Status{}, "", fmt.Errorf("add webhook: %w", err)
	}
	added, err = s.Show(ctx, h.ID)
	return added, s.dispatcher.Key.Secret(h.ID, h.Generation), err
}

// Counts returns how many notifications of all webhooks wait and how many were
// given up.
func (s *Service) Counts(ctx context.Context) (waiting, dead int, err error) {
	return s.dispatcher.Counts(ctx)
}

// check says what is wrong with a wish.
func (s *Service) check(wish Wish) error {
	if err := s.dispatcher.Client.targets.Check(wish.URL); err != nil {
		return &FieldError{"url", err}
	}
	for i, t := range wish.Types {
		switch {
		case !slices.Contains(Types(), depot.EventType(t)):
			return &FieldError{"types", fmt.Errorf("has %q, which is no type of event", printable(t, 64))}
		case slices.Contains(wish.Types[:i], t):
			return &FieldError{"types", fmt.Errorf("has %q twice", t)}
		}
	}
	if wish.ConfigurationID != "" && !s.options.Configuration(wish.ConfigurationID) {
		return &FieldError{"configuration", errors.New("does not exist")}
	}
	return nil
}

// List returns all webhooks, ordered by id.
func (s *Service) List(ctx context.Context) ([]Status, error) {
	webhooks, err := s.store.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	var list []Status
	for _, h := range webhooks {
		status, err := s.status(ctx, h)
		if errors.Is(err, depot.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, status)
	}
	return list, nil
}

// Show returns one. depot.ErrNotFound.
func (s *Service) Show(ctx context.Context, id string) (Status, error) {
	h, err := s.store.Webhook(ctx, id)
	if err != nil {
		return Status{}, err
	}
	return s.status(ctx, h)
}

func (s *Service) status(ctx context.Context, h depot.Webhook) (Status, error) {
	through, err := s.store.NotifiedThrough(ctx, h.ID)
	if err != nil {
		return Status{}, err
	}
	waiting, dead, err := s.store.NotificationCounts(ctx, h.ID)
	return Status{h, through, waiting, dead}, err
}

// change replaces a webhook by what do makes of it. What comes of it is picked
// up by the dispatcher at once.
func (s *Service) change(ctx context.Context, id string, cause depot.EventType, do func(*depot.Webhook) error) (depot.Webhook, error) {
	h, err := s.store.Webhook(ctx, id)
	if err != nil {
		return h, err
	}
	h.Revision++
	h.ChangedAt, h.ChangedBy = s.dispatcher.Clock.Now().Truncate(time.Microsecond), s.by
	if err := do(&h); err != nil {
		return h, err
	}
	if err := s.store.SetWebhook(ctx, h, cause); err != nil {
		return h, fmt.Errorf("change webhook: %w", err)
	}
	return h, nil
}

// Change changes what a webhook is told and where. *FieldError,
// depot.ErrNotFound, depot.ErrTransactionConflict.
func (s *Service) Change(ctx context.Context, id string, c Changes) (Status, error) {
	_, err := s.change(ctx, id, depot.EventWebhookChanged, func(h *depot.Webhook) error {
		if c.URL != nil {
			h.URL = *c.URL
		}
		if c.Types != nil {
			h.Types = slices.Clone(*c.Types)
		}
		if c.ConfigurationID != nil {
			h.ConfigurationID = *c.ConfigurationID
		}
		return s.check(Wish{h.URL, h.Types, h.ConfigurationID})
	})
	if err != nil {
		return Status{}, err
	}
	return s.Show(ctx, id)
}

// Rotate gives a webhook another signing secret, which it returns. The old one
// signs nothing from then on. depot.ErrNotFound, depot.ErrTransactionConflict.
func (s *Service) Rotate(ctx context.Context, id string) (rotated Status, secret string, err error) {
	h, err := s.change(ctx, id, depot.EventWebhookChanged, func(h *depot.Webhook) error {
		h.Generation++
		return nil
	})
	if err != nil {
		return Status{}, "", err
	}
	rotated, err = s.Show(ctx, id)
	return rotated, s.dispatcher.Key.Secret(h.ID, h.Generation), err
}

// Enable has a disabled webhook get its events again, from where it stood. One
// that is not disabled stays as it is. depot.ErrNotFound,
// depot.ErrTransactionConflict.
func (s *Service) Enable(ctx context.Context, id string) (Status, error) {
	now, err := s.Show(ctx, id)
	if err != nil || now.DisabledAt.IsZero() {
		return now, err
	}
	if _, err := s.change(ctx, id, depot.EventWebhookChanged, func(h *depot.Webhook) error {
		h.DisabledAt, h.DisabledWhy = time.Time{}, ""
		return nil
	}); err != nil {
		return Status{}, err
	}
	return s.Show(ctx, id)
}

// Remove ends a webhook for ever, with what waits for it. depot.ErrNotFound,
// depot.ErrTransactionConflict.
func (s *Service) Remove(ctx context.Context, id string) error {
	_, err := s.change(ctx, id, depot.EventWebhookRemoved, func(h *depot.Webhook) error {
		h.RemovedAt = h.ChangedAt
		return nil
	})
	return err
}

// randomText returns characters of [a-z2-7], five random bits each.
func (s *Service) randomText(length int) (string, error) {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	raw := make([]byte, length)
	if _, err := io.ReadFull(s.options.Random, raw); err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	var text strings.Builder
	for _, b := range raw {
		text.WriteByte(alphabet[b%byte(len(alphabet))])
	}
	return text.String(), nil
}
