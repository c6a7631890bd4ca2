package notify_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
)

// store is a depot as far as this package needs one. It keeps what a depot
// keeps, so that another dispatcher can go on with it, and fails when told.
type store struct {
	mu            sync.Mutex
	more          chan struct{} // closed at the next event
	events        []depot.Event
	webhooks      map[string]depot.Webhook
	through       map[string]uint64
	notifications map[string]map[uint64]depot.Notification
	saves         int
	rejections    []depot.Rejections
	recorded      chan depot.Rejections
	fail          error        // of everything that writes
	onSave        func() error // before progress is stored
}

func newStore() *store {
	return &store{
		more: make(chan struct{}), webhooks: map[string]depot.Webhook{}, through: map[string]uint64{},
		notifications: map[string]map[uint64]depot.Notification{}, recorded: make(chan depot.Rejections, 10_000),
	}
}

var (
	_ notify.Store    = (*store)(nil)
	_ notify.Recorder = (*store)(nil)
)

// happen makes an event.
func (s *store) happen(e depot.Event) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.event(e)
}

func (s *store) event(e depot.Event) uint64 {
	e.Sequence = uint64(len(s.events) + 1)
	e.At = began
	s.events = append(s.events, e)
	close(s.more)
	s.more = make(chan struct{})
	return e.Sequence
}

func (s *store) Events(_ context.Context, q depot.EventQuery) (depot.Page[depot.Event], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var page depot.Page[depot.Event]
	looked := 0
	for _, e := range s.events[min(q.After, uint64(len(s.events))):] {
		if len(page.Items) == depot.PageLimit(q.Limit) || looked == 100 {
			page.NextCursor = strconv.FormatUint(e.Sequence-1, 10)
			return page, nil
		}
		looked++
		if (len(q.Types) == 0 || slices.Contains(q.Types, e.Type)) && (q.ConfigurationID == "" || q.ConfigurationID == e.ConfigurationID) {
			page.Items = append(page.Items, e)
		}
	}
	return page, nil
}

func (s *store) Await(ctx context.Context, after uint64) error {
	for {
		s.mu.Lock()
		last, more := uint64(len(s.events)), s.more
		s.mu.Unlock()
		if last > after {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}

func (s *store) LastEvent(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.events)), nil
}

func (s *store) AddWebhook(_ context.Context, w depot.Webhook) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.webhooks[w.ID] = w
	s.notifications[w.ID] = map[uint64]depot.Notification{}
	s.through[w.ID] = s.event(depot.Event{Type: depot.EventWebhookAdded, SubjectID: w.ID})
	return nil
}

func (s *store) SetWebhook(_ context.Context, w depot.Webhook, cause depot.EventType) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.webhooks[w.ID]
	switch {
	case s.fail != nil:
		return s.fail
	case !ok:
		return depot.ErrNotFound
	case w.Revision != old.Revision+1:
		return depot.ErrTransactionConflict
	}
	s.webhooks[w.ID] = w
	if cause == depot.EventWebhookRemoved {
		delete(s.webhooks, w.ID)
		delete(s.notifications, w.ID)
	}
	s.event(depot.Event{Type: cause, SubjectID: w.ID})
	return nil
}

func (s *store) Webhook(_ context.Context, id string) (depot.Webhook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.webhooks[id]
	if !ok {
		return w, depot.ErrNotFound
	}
	return w, nil
}

func (s *store) Webhooks(context.Context) ([]depot.Webhook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.webhooks), func(a, b depot.Webhook) int { return cmp.Compare(a.ID, b.ID) }), nil
}

func (s *store) NotifiedThrough(_ context.Context, id string) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.webhooks[id]; !ok {
		return 0, depot.ErrNotFound
	}
	return s.through[id], nil
}

func (s *store) SaveProgress(ctx context.Context, p depot.Progress) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onSave != nil {
		if err := s.onSave(); err != nil {
			return err
		}
	}
	if s.fail != nil {
		return s.fail
	}
	if _, ok := s.webhooks[p.WebhookID]; !ok {
		return depot.ErrNotFound
	}
	s.saves++
	s.through[p.WebhookID] = max(s.through[p.WebhookID], p.Through)
	for _, n := range p.Store {
		s.notifications[p.WebhookID][n.Event] = n
	}
	for _, e := range p.Forget {
		delete(s.notifications[p.WebhookID], e)
	}
	return nil
}

func (s *store) Notifications(_ context.Context, q depot.NotificationQuery) (depot.Page[depot.Notification], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var page depot.Page[depot.Notification]
	for _, event := range slices.Sorted(maps.Keys(s.notifications[q.WebhookID])) {
		n := s.notifications[q.WebhookID][event]
		if n.Dead == q.Dead && len(page.Items) < depot.PageLimit(q.Limit) {
			page.Items = append(page.Items, n)
		}
	}
	return page, nil
}

func (s *store) NotificationCounts(_ context.Context, id string) (waiting, dead int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.webhooks[id]; !ok {
		return 0, 0, depot.ErrNotFound
	}
	for _, n := range s.notifications[id] {
		if n.Dead {
			dead++
		} else {
			waiting++
		}
	}
	return waiting, dead, nil
}

func (s *store) RecordRejections(_ context.Context, r depot.Rejections) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.rejections = append(s.rejections, r)
	s.recorded <- r
	return nil
}

// set changes the store under its lock.
func (s *store) set(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}
