package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// A Store is what of a depot.Depot this package works with.
type Store interface {
	depot.Webhooks
	Events(ctx context.Context, q depot.EventQuery) (depot.Page[depot.Event], error)
	Await(ctx context.Context, after uint64) error
	LastEvent(ctx context.Context) (uint64, error)
}

// Result is how an attempt to deliver ended.
type Result string

// The closed set of results.
const (
	ResultDelivered Result = "delivered" // the receiver answered 2xx
	ResultFailed    Result = "failed"    // it will be tried again
	ResultDead      Result = "dead"      // it failed for the last time, and was given up
	ResultGone      Result = "gone"      // the receiver answered 410, and its webhook was disabled
)

// Results returns the whole set, for metrics and documentation.
func Results() []Result { return []Result{ResultDelivered, ResultFailed, ResultDead, ResultGone} }

// Options are what a Dispatcher works with. All of it is needed but what says
// that its zero value means something.
type Options struct {
	Client *Client
	Key    Key
	// Render makes the body that is sent for an event: JSON with its id and
	// type. It may be called for one event again and again, and should then
	// say the same.
	Render func(ctx context.Context, e depot.Event) ([]byte, error)
	Log    *slog.Logger
	// Clock is the authority's, by which webhooks are disabled.
	Clock clock.Clock
	// Wall is the machine's clock, by which deliveries are signed and tried
	// again: a receiver does not live in the lab's time.
	Wall clock.Clock
	// Observe is told how each attempt ended. Optional.
	Observe func(Result)
	// Jitter moves a wait before another attempt a little, so that many do not
	// come at once; nil: by up to a fifth, either way.
	Jitter func(time.Duration) time.Duration
}

// A Dispatcher takes the events of a depot to its webhooks. Each webhook has a
// worker and a place in the log of its own, so that a slow or dead receiver
// holds up nobody else and takes no memory.
type Dispatcher struct {
	store Store
	Options

	mu      sync.Mutex
	workers map[string]*worker // by webhook id
}

// New returns a dispatcher, which does nothing until Run.
func New(store Store, o Options) *Dispatcher {
	if o.Observe == nil {
		o.Observe = func(Result) {}
	}
	if o.Jitter == nil {
		o.Jitter = func(d time.Duration) time.Duration { return d - d/5 + rand.N(2*d/5+1) }
	}
	return &Dispatcher{store: store, Options: o, workers: make(map[string]*worker)}
}

// hiccup is how long to wait when the store could not be read or written.
const hiccup = time.Second

// Run delivers until its context ends, and returns when nothing is under way
// any more. It follows changes of the webhooks by their events.
func (d *Dispatcher) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	var seen uint64
	for ctx.Err() == nil {
		last, err := d.follow(ctx, &running)
		if err == nil {
			seen = last
			err = d.untilChange(ctx, seen)
		}
		if err != nil && ctx.Err() == nil {
			d.Log.Error("webhooks cannot be followed", "error", err)
			_ = clock.WaitUntil(ctx, d.Wall, d.Wall.Now().Add(hiccup))
		}
	}
}

// follow makes the workers those of the webhooks as they are now. It returns
// the last event that can have had a part in that.
func (d *Dispatcher) follow(ctx context.Context, running *sync.WaitGroup) (uint64, error) {
	last, err := d.store.LastEvent(ctx)
	if err != nil {
		return 0, err
	}
	webhooks, err := d.store.Webhooks(ctx)
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, w := range d.workers {
		if slices.ContainsFunc(webhooks, w.serves) {
			continue
		}
		w.stop()
		select {
		case <-w.done:
			delete(d.workers, id)
		default: // its successor, if there is one, waits for it
		}
	}
	for _, h := range webhooks {
		old := d.workers[h.ID]
		if !h.DisabledAt.IsZero() || old != nil && old.serves(h) {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		w := &worker{dispatcher: d, webhook: h, stop: stop, poked: make(chan struct{}, 1), done: make(chan struct{})}
		d.workers[h.ID] = w
		running.Go(func() {
			defer close(w.done)
			defer stop()
			if old != nil {
				<-old.done // two would deliver the same
			}
			w.run(ctx)
		})
	}
	return last, nil
}

// untilChange returns nil when a webhook was changed after this event.
func (d *Dispatcher) untilChange(ctx context.Context, seen uint64) error {
	changes := []depot.EventType{depot.EventWebhookAdded, depot.EventWebhookChanged, depot.EventWebhookDisabled, depot.EventWebhookRemoved}
	for {
		if err := d.store.Await(ctx, seen); err != nil {
			return err
		}
		page, through, err := readEvents(ctx, d.store, depot.EventQuery{After: seen, Types: changes, Limit: 1})
		if err != nil {
			return err
		}
		if len(page) > 0 {
			return nil
		}
		seen = through
	}
}

// Wake has the worker of a webhook look at once whether something waits.
func (d *Dispatcher) Wake(webhookID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.workers[webhookID]; w != nil {
		select {
		case w.poked <- struct{}{}:
		default: // it has not looked since the last time
		}
	}
}

// Counts returns how many notifications of all webhooks wait and how many were
// given up.
func (d *Dispatcher) Counts(ctx context.Context) (waiting, dead int, err error) {
	webhooks, err := d.store.Webhooks(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, h := range webhooks {
		w, n, err := d.store.NotificationCounts(ctx, h.ID)
		if errors.Is(err, depot.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return 0, 0, err
		}
		waiting, dead = waiting+w, dead+n
	}
	return waiting, dead, nil
}
