package bolt

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// AddWebhook stores a webhook.
func (d *Depot) AddWebhook(ctx context.Context, w depot.Webhook) error {
	if err := w.Validate(); err != nil {
		return err
	}
	w = w.Clone()
	err := d.submit(ctx, func(b *batch) error {
		if b.get(bucketWebhooks, []byte(w.ID)) != nil {
			return depot.ErrExists
		}
		return b.setWebhook(w, depot.EventWebhookAdded)
	})
	if err != nil {
		return fmt.Errorf("add webhook %s: %w", w.ID, err)
	}
	return nil
}

// SetWebhook replaces a webhook.
func (d *Depot) SetWebhook(ctx context.Context, w depot.Webhook, cause depot.EventType) error {
	if err := w.ValidateChange(cause); err != nil {
		return err
	}
	w = w.Clone()
	err := d.submit(ctx, func(b *batch) error {
		if err := b.lookAtWebhook(w); err != nil {
			return err
		}
		return b.setWebhook(w, cause)
	})
	if err != nil {
		return fmt.Errorf("set webhook %s: %w", w.ID, err)
	}
	return nil
}

// lookAtWebhook decides whether a webhook can be replaced. It changes nothing.
func (b *batch) lookAtWebhook(w depot.Webhook) error {
	before, err := load(b.tx, bucketWebhooks, []byte(w.ID), webhookFields)
	switch {
	case err != nil:
		return err
	case !before.record.RemovedAt.IsZero():
		return depot.ErrNotFound
	case w.Revision != before.record.Revision+1:
		return depot.ErrTransactionConflict
	}
	return nil
}

// setWebhook stores a webhook as it is from now on, and the ledger record.
func (b *batch) setWebhook(w depot.Webhook, cause depot.EventType) error {
	n, event := b.number(), w.Event(cause)
	if err := b.keepWebhook(w, cause); err != nil {
		return err
	}
	return b.record(objectPayload(n, string(cause), event.At, "webhook", webhookFields(&w)))
}

// keepWebhook stores a webhook, its event and where it begins or that it has
// nothing to get any more, without the ledger record.
func (b *batch) keepWebhook(w depot.Webhook, cause depot.EventType) error {
	n := b.number()
	if err := b.put(bucketWebhooks, []byte(w.ID), encode(withSequence(webhookFields(&w), &n))); err != nil {
		return err
	}
	switch cause {
	case depot.EventWebhookAdded:
		begins := reached{through: n, noted: n}
		if err := b.put(bucketProgress, []byte(w.ID), encode(withSequence(reachedFields(&begins), &n))); err != nil {
			return err
		}
	case depot.EventWebhookRemoved:
		if err := b.forgetNotifications(w.ID); err != nil {
			return err
		}
	}
	return b.event(w.Event(cause))
}

// Webhook finds one that lives.
func (d *Depot) Webhook(ctx context.Context, id string) (depot.Webhook, error) {
	var found stored[depot.Webhook]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		found, err = load(tx, bucketWebhooks, []byte(id), webhookFields)
		return err
	})
	if err == nil {
		err = d.settled(ctx, found.sequence)
	}
	if err == nil && !found.record.RemovedAt.IsZero() {
		err = depot.ErrNotFound
	}
	if err != nil {
		return depot.Webhook{}, fmt.Errorf("find webhook %q: %w", id, err)
	}
	return found.record, nil
}

// Webhooks returns those that live. It waits for what the ledger lacks, because
// one that was removed is seen only by its absence.
func (d *Depot) Webhooks(ctx context.Context) ([]depot.Webhook, error) {
	var all []depot.Webhook
	err := d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		return eachRecord(tx, bucketWebhooks, webhookFields, func(w stored[depot.Webhook]) error {
			if w.record.RemovedAt.IsZero() {
				all = append(all, w.record)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	return all, nil
}

func webhookFields(w *depot.Webhook) []field {
	return []field{
		{1, "id", &w.ID},
		{2, "revision", &w.Revision},
		{3, "url", &w.URL},
		{4, "types", &w.Types},
		{5, "configuration_id", &w.ConfigurationID},
		{6, "generation", &w.Generation},
		{7, "created_at", &w.CreatedAt},
		{8, "created_by", &w.CreatedBy},
		{9, "changed_at", &w.ChangedAt},
		{10, "changed_by", &w.ChangedBy},
		{11, "disabled_at", &w.DisabledAt},
		{12, "disabled_why", &w.DisabledWhy},
		{13, "removed_at", &w.RemovedAt},
	}
}

func (e Entry) webhook() (w depot.Webhook, err error) {
	err = decodeJSON(e.payload.Webhook, webhookFields(&w))
	return w, e.wrap(err)
}

// replayWebhook stores what a record says of a webhook.
func (b *batch) replayWebhook(e Entry) error {
	w, err := e.webhook()
	if err != nil {
		return err
	}
	cause := depot.EventType(e.Type)
	if cause == depot.EventWebhookAdded {
		if err := w.Validate(); err != nil {
			return err
		}
		if b.get(bucketWebhooks, []byte(w.ID)) != nil {
			return depot.ErrExists
		}
		return b.keepWebhook(w, cause)
	}
	if err := w.ValidateChange(cause); err != nil {
		return err
	}
	if err := b.lookAtWebhook(w); err != nil {
		return err
	}
	return b.keepWebhook(w, cause)
}

// compareWebhook holds what the ledger says of a webhook against the event and
// the record, which has forgotten what it was before its last change.
func compareWebhook(tx *bbolt.Tx, e Entry) error {
	w, err := e.webhook()
	if err != nil {
		return errDiffers
	}
	s, err := load(tx, bucketWebhooks, []byte(w.ID), webhookFields)
	if err != nil || s.sequence < e.Number || s.sequence == e.Number && !sameFields(webhookFields(&s.record), webhookFields(&w)) {
		return errDiffers
	}
	want := w.Event(depot.EventType(e.Type))
	have, err := load(tx, bucketEvents, number(e.Number), eventFields)
	if err != nil || !sameFields(eventFields(&have.record), eventFields(&want)) {
		return errDiffers
	}
	return nil
}

// webhooks looks at whether each has its event and, while it lives, says how
// far it got.
func (c *checker) webhooks() error {
	err := c.each(bucketWebhooks, func(id, _ []byte) error {
		w, err := load(c.tx, bucketWebhooks, id, webhookFields)
		if err != nil || w.record.ID != string(id) {
			return c.found("webhook %q: it cannot be read or is another: %v", id, err)
		}
		if lives := c.tx.Bucket([]byte(bucketProgress)).Get(id) != nil; lives != w.record.RemovedAt.IsZero() {
			return c.found("webhook %q: it lives and does not say how far it got, or the other way round", id)
		}
		if e, err := load(c.tx, bucketEvents, number(w.sequence), eventFields); err != nil || e.record.SubjectID != string(id) {
			return c.found("webhook %q: no event tells of it", id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(bucketProgress, func(id, _ []byte) error {
		s, err := load(c.tx, bucketProgress, id, reachedFields)
		if err != nil || s.record.noted > s.record.through || s.record.through > lastEvent(c.tx) {
			return c.found("progress of webhook %q: it cannot be read or is not possible: %v", id, err)
		}
		waiting, dead := countNotifications(c.tx, string(id))
		if waiting != s.record.waiting || dead != s.record.dead {
			return c.found("progress of webhook %q: it counts %d notifications that wait and %d that were given up, there are %d and %d",
				id, s.record.waiting, s.record.dead, waiting, dead)
		}
		if c.tx.Bucket([]byte(bucketWebhooks)).Get(id) == nil {
			return c.found("progress of webhook %q: there is no such webhook", id)
		}
		return nil
	})
}

// notifications looks at whether each belongs to a webhook.
func (c *checker) notifications() error {
	return c.each(bucketNotifications, func(key, _ []byte) error {
		s, err := load(c.tx, bucketNotifications, key, notificationFields)
		n := s.record
		if err != nil || !bytes.Equal(notificationKey(n.WebhookID, n.Dead, n.Event), key) {
			return c.found("notification %q: it cannot be read or belongs elsewhere: %v", key, err)
		}
		if c.tx.Bucket([]byte(bucketProgress)).Get([]byte(n.WebhookID)) == nil {
			return c.found("notification of event %d: webhook %q is not there", n.Event, n.WebhookID)
		}
		if c.tx.Bucket([]byte(bucketNotifications)).Get(notificationKey(n.WebhookID, !n.Dead, n.Event)) != nil {
			return c.found("notification of event %d for webhook %q: it waits and was given up", n.Event, n.WebhookID)
		}
		return nil
	})
}
