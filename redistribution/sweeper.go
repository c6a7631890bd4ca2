package redistribution

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// Times of the machine's clock, between sweeps.
const (
	longestNap = time.Minute // a sweep comes at the latest after it
	breath     = 50 * time.Millisecond
	retryAfter = time.Second // after a sweep that failed
)

// A Sweeper makes events of what time does to items, and of what steps do to
// other items than their own: redistribution.due, .stalled, .missed and
// .fulfilled, and certificate.superseded. What it made is in the depot only, so
// that another Sweeper goes on where one ended.
type Sweeper struct {
	depot    depot.Depot
	clock    clock.Clock
	policies policyBook
	log      *slog.Logger
	turn     chan struct{} // holds one while a sweep is under way
	failing  bool          // of Run: the last sweep failed
}

// NewSweeper returns a Sweeper. What policies does not know, or all when it is
// nil, is looked up in the depot.
func NewSweeper(d depot.Depot, c clock.Clock, policies Policies, log *slog.Logger) *Sweeper {
	return &Sweeper{depot: d, clock: c, policies: policyBook{d, policies}, log: log, turn: make(chan struct{}, 1)}
}

// Run sweeps until the context ends: at once, and then whenever there is
// something to do. A store that fails is tried again for ever.
func (s *Sweeper) Run(ctx context.Context) {
	for ctx.Err() == nil {
		moved := s.clock.Moved()
		nap := retryAfter
		last, err := s.depot.LastEvent(ctx)
		if err == nil {
			err = s.Sweep(ctx)
		}
		if err == nil {
			nap, err = s.nap(ctx)
		}
		s.report(ctx, err)
		if err != nil {
			nap, last = retryAfter, ^uint64(0) // events do not make it better
		}
		// What comes in a burst is swept together.
		if sleep(ctx, breath) == nil && await(ctx, s.depot, last, moved, nap) != nil {
			sleep(ctx, retryAfter)
		}
	}
}

// report logs when sweeps begin to fail, and when they work again.
func (s *Sweeper) report(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil && !s.failing:
		s.failing = true
		s.log.Error("redistribution events cannot be made; it is tried again until it works", "error", err)
	case err == nil && s.failing:
		s.failing = false
		s.log.Info("redistribution events are made again")
	}
}

// sleep passes some of the machine's time.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// await returns nil when there is a new event, the clock was moved, or so much
// of the machine's time has passed; else the context's error or the store's.
func await(ctx context.Context, d depot.Lab, after uint64, moved <-chan struct{}, longest time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	go func() {
		select {
		case <-moved:
			cancel()
		case <-waiting.Done():
		}
	}()
	err := d.Await(waiting, after)
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ctx.Err()
	}
	return err
}

// nap is how long nothing will happen by the passing of time alone.
func (s *Sweeper) nap(ctx context.Context) (time.Duration, error) {
	next, err := s.Next(ctx)
	if err != nil || next.IsZero() {
		return longestNap, err
	}
	return min(max(next.Sub(s.clock.Now()), breath), longestNap), nil
}

// Sweep announces everything that is to be announced at the clock's time, and
// returns when it is durable. Sweeps of one Sweeper take turns.
func (s *Sweeper) Sweep(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	now := s.clock.Now()
	configurations, err := s.depot.Configurations(ctx)
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, c := range configurations {
		if err := s.sweep(ctx, c, now); err != nil {
			return fmt.Errorf("sweep configuration %q: %w", c.Name, err)
		}
	}
	if err := s.recheck(ctx, now); err != nil {
		return fmt.Errorf("sweep what changed: %w", err)
	}
	return nil
}

// recheck announces what is missing of identities that steps changed.
func (s *Sweeper) recheck(ctx context.Context, now time.Time) error {
	for {
		list, err := s.depot.Rechecks(ctx, pageSize)
		if err != nil || len(list) == 0 {
			return err
		}
		b := batch{sweeper: s, now: now}
		for _, r := range list {
			if err := b.look(ctx, r.CertificateSerial); err != nil {
				return err
			}
			b.settlement.Rechecked = append(b.settlement.Rechecked, r)
		}
		if err := b.settle(ctx); err != nil {
			return err
		}
	}
}
