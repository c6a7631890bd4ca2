package notify

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

const (
	// parallel is how many deliveries to one webhook are under way at once.
	parallel = 4
	// batch is how many new events, and how many that are tried again, a
	// worker takes before it saves where it is. As many come twice when the
	// process is killed.
	batch = 16
	// maxWaiting is how many notifications of one webhook may wait for another
	// attempt. Then its place in the log stands still until some got through
	// or were given up.
	maxWaiting = 500
	// maxDead is how many may have been given up before the webhook is
	// disabled: its receiver is gone, and nobody looks.
	maxDead = 10_000
	// skipped is how many events that a webhook does not want are passed
	// before its place is saved for their sake.
	skipped = 1000
	// saveTime bounds the last save of a worker that was told to stop.
	saveTime = 5 * time.Second
)

// retries are the waits before another attempt. After the last one a
// notification is given up.
func retries() []time.Duration {
	return []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}
}

// tooFar is further ahead than any attempt is put off: a time beyond it was
// written when the machine's clock was wrong.
const tooFar = time.Hour

// A worker takes events to one webhook, as it was when the worker began.
type worker struct {
	dispatcher *Dispatcher
	webhook    depot.Webhook
	stop       context.CancelFunc
	poked      chan struct{}
	done       chan struct{}

	cursor uint64 // the last event that was looked at
	saved  uint64 // the same, as the store has it
}

// serves says whether the worker is for the webhook as it is now.
func (w *worker) serves(h depot.Webhook) bool {
	return h.ID == w.webhook.ID && h.Revision == w.webhook.Revision && h.DisabledAt.IsZero()
}

// run works until its context ends, or the webhook was removed or disabled.
func (w *worker) run(ctx context.Context) {
	d := w.dispatcher
	begun := false
	for ctx.Err() == nil {
		var err error
		if !begun {
			w.cursor, err = d.store.NotifiedThrough(ctx, w.webhook.ID)
			w.saved, begun = w.cursor, err == nil
		}
		if err == nil {
			err = w.round(ctx)
		}
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, errDisabled) || errors.Is(err, depot.ErrNotFound):
			return // follow sees it too
		default:
			d.Log.Error("webhook is held up", "webhook", w.webhook.ID, "error", err)
			_ = clock.WaitUntil(ctx, d.Wall, d.Wall.Now().Add(hiccup))
		}
	}
}

// errDisabled: the worker disabled its webhook.
var errDisabled = errors.New("webhook was disabled")

// A delivery is an event on its way.
type delivery struct {
	notification depot.Notification
	event        depot.Event
	again        bool // it waited
	status       int
	err          error
	cut          bool // it did not end: the worker was told to stop, or the store failed
}

// round tries what is due and what is new, and saves what came of it. When
// there is neither, it waits.
func (w *worker) round(ctx context.Context) error {
	waiting, err := w.waiting(ctx)
	if err != nil {
		return err
	}
	due, wait := w.due(waiting, w.dispatcher.Wall.Now())
	deliveries, err := w.retried(ctx, due)
	if err != nil {
		return err
	}
	room := maxWaiting - len(waiting)
	var through uint64
	if room > 0 {
		events, last, err := readEvents(ctx, w.dispatcher.store, depot.EventQuery{
			After: w.cursor, Types: w.types(), ConfigurationID: w.webhook.ConfigurationID, Limit: min(batch, room),
		})
		if err != nil {
			return err
		}
		for _, e := range events {
			deliveries = append(deliveries, &delivery{event: e, notification: depot.Notification{WebhookID: w.webhook.ID, Event: e.Sequence}})
		}
		through = last
	}
	through = max(through, w.cursor)
	if len(deliveries) == 0 && through < w.saved+skipped {
		moved := through > w.cursor
		w.cursor = through
		if moved {
			return nil
		}
		return w.rest(ctx, wait, room > 0)
	}
	w.deliver(ctx, deliveries)
	return w.save(ctx, deliveries, through)
}

// types are those that the webhook asks for.
func (w *worker) types() []depot.EventType {
	types := make([]depot.EventType, len(w.webhook.Types))
	for i, t := range w.webhook.Types {
		types[i] = depot.EventType(t)
	}
	return types
}

// waiting returns what waits for another attempt, of which there is little.
func (w *worker) waiting(ctx context.Context) ([]depot.Notification, error) {
	page, err := w.dispatcher.store.Notifications(ctx, depot.NotificationQuery{WebhookID: w.webhook.ID, Limit: maxWaiting})
	return page.Items, err
}

// A pause is how long there is nothing to try again.
type pause struct {
	from, until time.Time // zero when nothing waits
}

// due returns what is to be tried now, longest due first, and the pause until
// the next one is.
func (w *worker) due(waiting []depot.Notification, now time.Time) (due []depot.Notification, p pause) {
	p.from = now
	for _, n := range waiting {
		switch {
		case !n.NextAt.After(now), n.NextAt.After(now.Add(tooFar)):
			due = append(due, n)
		case p.until.IsZero() || n.NextAt.Before(p.until):
			p.until = n.NextAt
		}
	}
	slices.SortStableFunc(due, func(a, b depot.Notification) int {
		return cmp.Or(a.NextAt.Compare(b.NextAt), cmp.Compare(a.Event, b.Event))
	})
	return due[:min(len(due), batch)], p
}

// retried finds the events of notifications.
func (w *worker) retried(ctx context.Context, due []depot.Notification) ([]*delivery, error) {
	var deliveries []*delivery
	for _, n := range due {
		e, err := eventOf(ctx, w.dispatcher.store, n.Event)
		if err != nil && !errors.Is(err, depot.ErrNotFound) {
			return nil, err
		}
		deliveries = append(deliveries, &delivery{event: e, notification: n, again: true})
	}
	return deliveries, nil
}

// rest waits until there may be something to do: a new event if there is room
// for one, the next attempt, or somebody who knows.
func (w *worker) rest(ctx context.Context, p pause, room bool) error {
	d := w.dispatcher
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var waits sync.WaitGroup
	var failure error
	if room {
		waits.Go(func() {
			defer cancel()
			if err := d.store.Await(ctx, w.cursor); ctx.Err() == nil {
				failure = err
			}
		})
	}
	if !p.until.IsZero() {
		waits.Go(func() {
			defer cancel()
			// A clock that is put back meanwhile, or was since the pause began, makes
			// this no longer.
			ctx, stop := context.WithTimeout(ctx, p.until.Sub(p.from)+time.Second)
			defer stop()
			_ = clock.WaitUntil(ctx, d.Wall, p.until)
		})
	}
	select {
	case <-ctx.Done():
	case <-w.poked:
	}
	cancel()
	waits.Wait()
	return failure
}

// deliver tries them, a few at once.
func (w *worker) deliver(ctx context.Context, deliveries []*delivery) {
	var all sync.WaitGroup
	turns := make(chan struct{}, parallel)
	for _, v := range deliveries {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			w.attempt(ctx, v)
		})
	}
	all.Wait()
}

// attempt tries one.
func (w *worker) attempt(ctx context.Context, v *delivery) {
	d := w.dispatcher
	if v.err = ctx.Err(); v.err != nil {
		v.cut = true
		return
	}
	if v.event.Sequence == 0 {
		v.err = errors.New("the event is not there any more")
		return
	}
	body, err := d.Render(ctx, v.event)
	if err == nil {
		id := w.webhook.ID + "." + EventID(v.event.Sequence) + "." + strconv.Itoa(v.notification.Attempts+1)
		v.status, err = d.send(ctx, w.webhook, id, body)
	}
	v.err = err
	delivered := err == nil && v.status/100 == 2
	v.cut = !delivered && (ctx.Err() != nil || errors.Is(err, depot.ErrUnavailable))
}

// readEvents returns events that a query asks for, and the last event that was
// looked at for them.
func readEvents(ctx context.Context, s Store, q depot.EventQuery) (events []depot.Event, through uint64, err error) {
	// What is there now is looked at by what comes now.
	last, err := s.LastEvent(ctx)
	if err != nil {
		return nil, 0, err
	}
	page, err := s.Events(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	if page.NextCursor != "" {
		through, err = strconv.ParseUint(page.NextCursor, 10, 64)
		return page.Items, through, err
	}
	through = max(q.After, last)
	if n := len(page.Items); n > 0 {
		through = max(through, page.Items[n-1].Sequence)
	}
	return page.Items, through, nil
}

// eventOf finds one event.
func eventOf(ctx context.Context, s Store, sequence uint64) (depot.Event, error) {
	if sequence == 0 {
		return depot.Event{}, depot.ErrNotFound
	}
	page, err := s.Events(ctx, depot.EventQuery{After: sequence - 1, Limit: 1})
	if err != nil {
		return depot.Event{}, err
	}
	if len(page.Items) == 0 || page.Items[0].Sequence != sequence {
		return depot.Event{}, depot.ErrNotFound
	}
	return page.Items[0], nil
}
