package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"understudy.example/understudy/depot"
)

// deliveredBy is who disables webhooks whose receiver is gone.
const deliveredBy = "policy: deliveries"

// maxError is how much of an error is stored with a notification, in bytes.
const maxError = 300

// send posts a body to a webhook, signed. The error says why there was no
// answer.
func (d *Dispatcher) send(ctx context.Context, h depot.Webhook, delivery string, body []byte) (int, error) {
	header := http.Header{
		"Content-Type":  {"application/json"},
		"User-Agent":    {"understudy-webhook"},
		HeaderSignature: {Sign(d.Key.Secret(h.ID, h.Generation), body, d.Wall.Now())},
		HeaderDelivery:  {delivery},
	}
	return d.Client.post(ctx, h.URL, header, body)
}

// save stores what came of deliveries, of which the new ones were all up to an
// event. A webhook whose receiver is gone is then disabled.
func (w *worker) save(ctx context.Context, deliveries []*delivery, through uint64) error {
	d := w.dispatcher
	progress := depot.Progress{WebhookID: w.webhook.ID, Through: through}
	var results []Result
	gone, died := false, false
	var cut error
	for _, v := range deliveries {
		n, result := w.outcome(v)
		if v.cut {
			cut = fmt.Errorf("deliveries were cut off and will be tried again: %w", v.err)
		}
		switch {
		case v.cut && v.again: // as it was
		case result == ResultDelivered && v.again:
			progress.Forget = append(progress.Forget, n.Event)
		case result != ResultDelivered:
			progress.Store = append(progress.Store, n)
		}
		gone, died = gone || result == ResultGone, died || result == ResultDead
		if result != "" {
			results = append(results, result)
		}
	}
	// Whoever stops the worker should not make it deliver twice.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	if err := d.store.SaveProgress(ctx, progress); err != nil {
		return fmt.Errorf("save progress: %w", err)
	}
	w.cursor, w.saved = through, through
	for _, r := range results {
		d.Observe(r)
	}
	switch {
	case gone:
		return w.disable(ctx, "the receiver answered 410 Gone")
	case died:
		return w.disableIfDead(ctx)
	}
	return cut
}

// outcome returns what is to be stored of a delivery, unless it was delivered.
// It is no result when the delivery was cut off.
func (w *worker) outcome(v *delivery) (depot.Notification, Result) {
	d, n := w.dispatcher, v.notification
	now := d.Wall.Now()
	if v.cut {
		n.NextAt = now
		return n, ""
	}
	n.Attempts++
	n.LastAt, n.LastStatus, n.LastError = now, v.status, ""
	if v.err != nil {
		n.LastError = printable(v.err.Error(), maxError)
	}
	waits := retries()
	switch {
	case v.err == nil && v.status/100 == 2:
		return n, ResultDelivered
	case v.err == nil && v.status == http.StatusGone:
		// When the webhook is enabled again, it is to get this one.
		n.Attempts, n.NextAt = 0, now
		return n, ResultGone
	case n.Attempts > len(waits):
		n.Dead, n.NextAt = true, time.Time{}
		return n, ResultDead
	}
	n.NextAt = now.Add(d.Jitter(waits[n.Attempts-1]))
	return n, ResultFailed
}

// disableIfDead disables a webhook of which too much was given up.
func (w *worker) disableIfDead(ctx context.Context) error {
	_, dead, err := w.dispatcher.store.NotificationCounts(ctx, w.webhook.ID)
	if err != nil || dead < maxDead {
		return err
	}
	return w.disable(ctx, fmt.Sprintf("%d deliveries were given up", dead))
}

// disable ends deliveries to the webhook until somebody enables it again. Its
// place in the log stays where it is.
func (w *worker) disable(ctx context.Context, why string) error {
	d := w.dispatcher
	h := w.webhook
	h.Revision++
	h.DisabledAt, h.DisabledWhy = d.Clock.Now(), why
	h.ChangedAt, h.ChangedBy = h.DisabledAt, deliveredBy
	err := d.store.SetWebhook(ctx, h, depot.EventWebhookDisabled)
	if errors.Is(err, depot.ErrTransactionConflict) {
		return nil // somebody changed it: perhaps it is another receiver now
	}
	if err != nil {
		return fmt.Errorf("disable webhook: %w", err)
	}
	d.Log.Warn("webhook disabled", "webhook", h.ID, "why", why)
	return errDisabled
}
