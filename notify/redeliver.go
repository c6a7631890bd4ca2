package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"understudy.example/understudy/depot"
)

// maxChosen is how many events one call may have delivered again.
const maxChosen = 500

// typeTest is the type of what Service.Test sends. It is no event.
const typeTest = "webhook.test"

// TestResult is what came of a test.
type TestResult struct {
	Delivery string        // X-Delivery
	Status   int           // of HTTP; 0: there was no answer
	Err      error         // why not
	Took     time.Duration // by the machine's clock
}

// Delivered says whether the receiver took it.
func (r TestResult) Delivered() bool { return r.Err == nil && r.Status/100 == 2 }

// Test sends a signed webhook.test at once, also to a webhook that is
// disabled. It is not tried again and changes nothing. depot.ErrNotFound.
func (s *Service) Test(ctx context.Context, id string) (TestResult, error) {
	h, err := s.store.Webhook(ctx, id)
	if err != nil {
		return TestResult{}, err
	}
	name, err := s.randomText(17)
	if err != nil {
		return TestResult{}, err
	}
	d := s.dispatcher
	body, err := json.Marshal(struct {
		ID        string  `json:"id"`
		Type      string  `json:"type"`
		CreatedAt string  `json:"created_at"`
		Data      *string `json:"data"`
	}{"test_" + name, typeTest, d.Clock.Now().UTC().Format(time.RFC3339), nil})
	if err != nil {
		return TestResult{}, fmt.Errorf("make test: %w", err)
	}
	result := TestResult{Delivery: h.ID + ".test_" + name + ".1"}
	began := time.Now()
	result.Status, result.Err = d.send(ctx, h, result.Delivery, body)
	result.Took = time.Since(began)
	return result, nil
}

// Deliveries lists a page of what waits for another attempt, or of what was
// given up. depot.ErrNotFound, depot.ErrCursor.
func (s *Service) Deliveries(ctx context.Context, q depot.NotificationQuery) (depot.Page[depot.Notification], error) {
	if _, err := s.store.Webhook(ctx, q.WebhookID); err != nil {
		return depot.Page[depot.Notification]{}, err
	}
	return s.store.Notifications(ctx, q)
}

// Redeliver has events delivered once more, now, and returns how many: those
// chosen, which may have been delivered before, or without any all that were
// given up. *FieldError, depot.ErrNotFound (the webhook).
func (s *Service) Redeliver(ctx context.Context, id string, events []uint64) (int, error) {
	through, err := s.store.NotifiedThrough(ctx, id)
	if err != nil {
		return 0, err
	}
	defer s.dispatcher.Wake(id)
	if len(events) == 0 {
		return s.redeliverDead(ctx, id)
	}
	if len(events) > maxChosen {
		return 0, &FieldError{"events", fmt.Errorf("are more than %d", maxChosen)}
	}
	progress := depot.Progress{WebhookID: id}
	events = slices.Compact(slices.Sorted(slices.Values(events)))
	for _, sequence := range events {
		_, err := eventOf(ctx, s.store, sequence)
		switch {
		case errors.Is(err, depot.ErrNotFound):
			return 0, &FieldError{"events", fmt.Errorf("has %s, which does not exist", EventID(sequence))}
		case err != nil:
			return 0, err
		case sequence > through:
			return 0, &FieldError{"events", fmt.Errorf("has %s, whose turn has yet to come", EventID(sequence))}
		}
		progress.Store = append(progress.Store, s.anew(id, sequence))
	}
	return len(events), s.store.SaveProgress(ctx, progress)
}

// redeliverDead takes what was given up page by page: each leaves the list of
// the dead, so that the first page is always the next.
func (s *Service) redeliverDead(ctx context.Context, id string) (int, error) {
	total := 0
	for range 2 * maxDead / maxChosen {
		page, err := s.store.Notifications(ctx, depot.NotificationQuery{WebhookID: id, Dead: true, Limit: maxChosen})
		if err != nil || len(page.Items) == 0 {
			return total, err
		}
		progress := depot.Progress{WebhookID: id}
		for _, n := range page.Items {
			progress.Store = append(progress.Store, s.anew(id, n.Event))
		}
		if err := s.store.SaveProgress(ctx, progress); err != nil {
			return total, err
		}
		total += len(page.Items)
	}
	return total, nil
}

// anew is a notification that was not attempted yet.
func (s *Service) anew(id string, event uint64) depot.Notification {
	return depot.Notification{WebhookID: id, Event: event, NextAt: s.dispatcher.Wall.Now().Truncate(time.Microsecond)}
}
