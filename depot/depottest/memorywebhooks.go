package depottest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// A hook is a webhook and what it got.
type hook struct {
	depot.Webhook
	through       uint64
	notifications map[uint64]depot.Notification // by event
}

// AddWebhook stores a webhook.
func (m *Memory) AddWebhook(ctx context.Context, w depot.Webhook) error {
	if err := w.Validate(); err != nil {
		return err
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if m.hooks[w.ID] != nil {
		return fmt.Errorf("add webhook %s: %w", w.ID, depot.ErrExists)
	}
	m.sequence++
	m.hooks[w.ID] = &hook{storedWebhook(w), m.sequence, map[uint64]depot.Notification{}}
	m.happened(w.Event(depot.EventWebhookAdded))
	return nil
}

// storedWebhook is the webhook as it comes back.
func storedWebhook(w depot.Webhook) depot.Webhook {
	w = w.Clone()
	for _, at := range []*time.Time{&w.CreatedAt, &w.ChangedAt, &w.DisabledAt, &w.RemovedAt} {
		*at = utc(*at)
	}
	if len(w.Types) == 0 {
		w.Types = nil
	}
	return w
}

// SetWebhook replaces a webhook.
func (m *Memory) SetWebhook(ctx context.Context, w depot.Webhook, cause depot.EventType) error {
	if err := w.ValidateChange(cause); err != nil {
		return err
	}
	h, err := m.hook(ctx, w.ID)
	if err != nil {
		return err
	}
	defer m.mu.Unlock()
	if w.Revision != h.Revision+1 {
		return fmt.Errorf("set webhook %s: %w", w.ID, depot.ErrTransactionConflict)
	}
	m.sequence++
	h.Webhook = storedWebhook(w)
	m.happened(w.Event(cause))
	return nil
}

// hook finds one that lives, and locks.
func (m *Memory) hook(ctx context.Context, id string) (*hook, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	if h := m.hooks[id]; h != nil && h.RemovedAt.IsZero() {
		return h, nil
	}
	m.mu.Unlock()
	return nil, fmt.Errorf("find webhook %q: %w", id, depot.ErrNotFound)
}

// Webhook finds one that lives.
func (m *Memory) Webhook(ctx context.Context, id string) (depot.Webhook, error) {
	h, err := m.hook(ctx, id)
	if err != nil {
		return depot.Webhook{}, err
	}
	defer m.mu.Unlock()
	return h.Clone(), nil
}

// Webhooks returns those that live.
func (m *Memory) Webhooks(ctx context.Context) ([]depot.Webhook, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []depot.Webhook
	for _, h := range m.hooks {
		if h.RemovedAt.IsZero() {
			all = append(all, h.Clone())
		}
	}
	slices.SortFunc(all, func(a, b depot.Webhook) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// NotifiedThrough returns how far a webhook got.
func (m *Memory) NotifiedThrough(ctx context.Context, webhookID string) (uint64, error) {
	h, err := m.hook(ctx, webhookID)
	if err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	return h.through, nil
}

// SaveProgress stores how far a webhook got and what it still has to get.
func (m *Memory) SaveProgress(ctx context.Context, p depot.Progress) error {
	if err := p.Validate(); err != nil {
		return err
	}
	h, err := m.hook(ctx, p.WebhookID)
	if err != nil {
		return err
	}
	defer m.mu.Unlock()
	latest := p.Through
	for _, n := range p.Store {
		latest = max(latest, n.Event)
	}
	if latest > m.lastEvent() {
		return fmt.Errorf("%w: event %d did not happen yet", depot.ErrInvalid, latest)
	}
	h.through = max(h.through, p.Through)
	for _, event := range p.Forget {
		delete(h.notifications, event)
	}
	for _, n := range p.Store {
		n.NextAt, n.LastAt = utc(n.NextAt), utc(n.LastAt)
		h.notifications[n.Event] = n
	}
	return nil
}

// Notifications lists a page.
func (m *Memory) Notifications(ctx context.Context, q depot.NotificationQuery) (depot.Page[depot.Notification], error) {
	if err := m.lock(ctx); err != nil {
		return depot.Page[depot.Notification]{}, err
	}
	defer m.mu.Unlock()
	var all []depot.Notification
	if h := m.hooks[q.WebhookID]; h != nil && h.RemovedAt.IsZero() {
		all = slices.Collect(maps.Values(h.notifications))
	}
	all = slices.DeleteFunc(all, func(n depot.Notification) bool { return n.Dead != q.Dead })
	at := func(n depot.Notification) position {
		return position{List: fmt.Sprintf("notifications %t %s", q.Dead, q.WebhookID), Sequence: n.Event}
	}
	compare := func(a, b position) int { return cmp.Compare(a.Sequence, b.Sequence) }
	slices.SortFunc(all, func(a, b depot.Notification) int { return compare(at(a), at(b)) })
	return page(all, q.Cursor, q.Limit, at, compare)
}

// NotificationCounts returns how many there are of a webhook.
func (m *Memory) NotificationCounts(ctx context.Context, webhookID string) (waiting, dead int, err error) {
	h, err := m.hook(ctx, webhookID)
	if err != nil {
		return 0, 0, err
	}
	defer m.mu.Unlock()
	for _, n := range h.notifications {
		if n.Dead {
			dead++
		} else {
			waiting++
		}
	}
	return waiting, dead, nil
}
