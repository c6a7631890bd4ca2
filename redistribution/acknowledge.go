package redistribution

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"understudy.example/understudy/depot"
)

// An Acknowledging is what somebody says who pushes a profile.
type Acknowledging struct {
	By             string // name of the token
	CommandID      string // the MDM's own id of the push
	RequestedBy    string
	RequestedAt    time.Time
	IdempotencyKey string
	// Policy says when the window opened, instead of the configuration's own:
	// whoever listed what is due by it pushes that. How long the acknowledgement
	// counts is the configuration's to say.
	Policy *Policy
}

// Acknowledge stores that somebody pushes the profile of an item. Saying it
// again changes nothing and made is false, see depot.WindowItem.Repeats.
// ErrPolicy, ErrNotDue, ErrExpired, depot.ErrNotFound, depot.ErrRevoked,
// depot.ErrSuperseded; where there is an item that cannot be acknowledged now, it
// is returned as it is.
func (s *Service) Acknowledge(ctx context.Context, certificateSerial string, by Acknowledging) (item Item, made bool, err error) {
	if err := validOverride(by.Policy); err != nil {
		return Item{}, false, err
	}
	now := s.clock.Now()
	stored, err := s.depot.WindowItem(ctx, certificateSerial)
	if err != nil {
		return Item{}, false, fmt.Errorf("acknowledge %s: %w", certificateSerial, err)
	}
	p, err := s.policies.of(ctx, stored.Identity.ConfigurationID)
	if err != nil {
		return Item{}, false, err
	}
	p = p.openingBy(by.Policy)
	item = newItem(stored, p, now)
	if err := refusal(item, by.IdempotencyKey); err != nil {
		return item, false, fmt.Errorf("acknowledge %s: %w", certificateSerial, err)
	}
	stored, made, err = s.depot.Acknowledge(ctx, acknowledgement(item, by, now))
	if err != nil {
		return item, false, fmt.Errorf("acknowledge %s: %w", certificateSerial, err)
	}
	return newItem(stored, p, now), made, nil
}

// refusal says why an item cannot be acknowledged, nil if it can be, as far as
// the time has to say. What was acknowledged with the same key was answered.
func refusal(item Item, key string) error {
	answered := key != "" && slices.ContainsFunc(item.Acknowledgements, func(a depot.Acknowledgement) bool { return a.IdempotencyKey == key })
	switch {
	case item.State == Revoked:
		return depot.ErrRevoked
	case item.State == Superseded:
		return depot.ErrSuperseded
	case answered:
	case item.State == Valid:
		return fmt.Errorf("%w: it opens at %s", ErrNotDue, item.Opens.Format(time.RFC3339))
	case item.State == Expired:
		return fmt.Errorf("%w: at %s; push the profile all the same", ErrExpired, item.Closes.Format(time.RFC3339))
	}
	return nil
}

// acknowledgement is one that is made now.
func acknowledgement(item Item, by Acknowledging, now time.Time) depot.Acknowledgement {
	a := depot.Acknowledgement{
		CertificateSerial: item.Identity.CertificateSerial, At: seconds(now),
		By: by.By, CommandID: by.CommandID, RequestedBy: by.RequestedBy, RequestedAt: by.RequestedAt, IdempotencyKey: by.IdempotencyKey,
	}
	if stalls := a.At.Add(item.Policy.AckTimeout); stalls.Before(item.Closes) {
		a.StallsAt = stalls
	}
	return a
}

// A Result is what became of one of many.
type Result struct {
	CertificateSerial string
	Item              Item // as it is; zero when there is none
	Err               error
}

// atOnce is how many of many acknowledgements are stored at a time: a store
// makes those durable together that come together.
const atOnce = 32

// AcknowledgeMany acknowledges each of them as Acknowledge would, and answers
// for each in their order.
func (s *Service) AcknowledgeMany(ctx context.Context, certificateSerials []string, by Acknowledging) []Result {
	results := make([]Result, len(certificateSerials))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, serial := range certificateSerials {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			item, _, err := s.Acknowledge(ctx, serial, by)
			results[i] = Result{serial, item, err}
		})
	}
	wg.Wait()
	return results
}

// Undo takes back the acknowledgement in force, because the push failed.
// Without one it changes nothing and made is false. depot.ErrNotFound,
// depot.ErrRevoked, depot.ErrSuperseded.
func (s *Service) Undo(ctx context.Context, certificateSerial, by string) (item Item, made bool, err error) {
	now := s.clock.Now()
	stored, made, err := s.depot.Unacknowledge(ctx, certificateSerial, by, seconds(now))
	if err != nil {
		return Item{}, false, fmt.Errorf("take back the acknowledgement of %s: %w", certificateSerial, err)
	}
	p, err := s.policies.of(ctx, stored.Identity.ConfigurationID)
	return newItem(stored, p, now), made, err
}
