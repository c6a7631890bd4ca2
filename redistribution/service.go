package redistribution

import (
	"context"
	"errors"
	"fmt"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// Policies returns the policy of a configuration that is not removed.
type Policies func(configurationID string) (Policy, bool)

// A Service answers what is to be pushed and keeps who pushes it. All methods
// are safe for concurrent use.
type Service struct {
	depot    depot.Depot
	clock    clock.Clock
	policies policyBook
}

// New returns a Service. What policies does not know, or all when it is nil,
// is looked up in the depot.
func New(d depot.Depot, c clock.Clock, policies Policies) *Service {
	return &Service{depot: d, clock: c, policies: policyBook{d, policies}}
}

// policyBook finds policies, those of removed configurations too.
type policyBook struct {
	depot depot.Depot
	known Policies
}

func (b policyBook) of(ctx context.Context, configurationID string) (Policy, error) {
	if b.known != nil {
		if p, ok := b.known(configurationID); ok {
			return p, nil
		}
	}
	c, err := b.depot.Configuration(ctx, configurationID)
	if err != nil {
		return Policy{}, fmt.Errorf("find window policy: %w", err)
	}
	return PolicyOf(c.Policy), nil
}

// An Item is an identity as somebody sees it who pushes profiles, at a time.
type Item struct {
	depot.WindowItem
	State         State
	Opens, Closes time.Time
	SecondsLeft   int64 // until Closes; 0 when it closed
	Policy        Policy
	At            time.Time
}

// newItem is an item as it is seen at a time.
func newItem(item depot.WindowItem, p Policy, at time.Time) Item {
	opens, closes := p.Window(item.Identity.NotBefore, item.Identity.NotAfter)
	return Item{
		WindowItem: item, State: StateAt(item, p, at), Opens: opens, Closes: closes,
		SecondsLeft: max(0, int64(closes.Sub(at)/time.Second)), Policy: p, At: at,
	}
}

// Show returns one item: as it is now or, with asOf, as it was or will be.
// depot.ErrNotFound, also for what is held back or was issued later.
func (s *Service) Show(ctx context.Context, certificateSerial string, asOf time.Time) (Item, error) {
	when, err := s.moment(ctx, asOf)
	if err != nil {
		return Item{}, err
	}
	var item depot.WindowItem
	if when.Past {
		item, err = s.depot.WindowItemPast(ctx, certificateSerial, when.At)
	} else {
		item, err = s.depot.WindowItem(ctx, certificateSerial)
	}
	if err != nil {
		return Item{}, fmt.Errorf("show redistribution of %s: %w", certificateSerial, err)
	}
	p, err := s.policies.of(ctx, item.Identity.ConfigurationID)
	return newItem(item, p, when.At), err
}

// A moment is the time of an answer. In the past, what was stored later does
// not count; else everything that is stored does.
type moment struct {
	At   time.Time
	Past bool
}

// moment decides what asOf means; zero is now. When nothing happened since, the
// past is the present, and an index can answer.
func (s *Service) moment(ctx context.Context, asOf time.Time) (moment, error) {
	if asOf.IsZero() {
		return moment{At: s.clock.Now()}, nil
	}
	latest, err := s.depot.LatestChange(ctx)
	if err != nil {
		return moment{}, fmt.Errorf("find the latest change: %w", err)
	}
	return moment{At: asOf.UTC(), Past: asOf.Before(latest)}, nil
}

// Errors of acknowledging, beside depot.ErrRevoked and depot.ErrSuperseded.
var (
	// ErrNotDue: the window has not opened. Nothing was changed.
	ErrNotDue = errors.New("window has not opened")
	// ErrExpired: the window closed. Nothing was changed; push the profile
	// without acknowledging, and the enrolment supersedes the certificate.
	ErrExpired = errors.New("window has closed")
)
