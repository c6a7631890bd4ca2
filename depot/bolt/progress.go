package bolt

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// progress is how far webhooks got that got no further than to be told: it is
// written with the next commit, whatever that is for, and costs none itself.
// The zero value is ready for use.
type progress struct {
	mu     sync.Mutex
	raised map[string]uint64 // webhook id → Progress.Through that is not written yet
}

func (p *progress) raise(webhookID string, through uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.raised == nil {
		p.raised = map[string]uint64{}
	}
	p.raised[webhookID] = max(p.raised[webhookID], through)
}

// reached is how far a webhook got.
type reached struct {
	through       uint64
	noted         uint64 // the last through that the ledger has; the record's sequence is that of the ledger record
	waiting, dead int    // notifications
}

func reachedFields(r *reached) []field {
	return []field{
		{1, "through", &r.through},
		{2, "noted", &r.noted},
		{3, "waiting", &r.waiting},
		{4, "dead", &r.dead},
	}
}

// rideAlong adds to a batch what webhooks have reached, and returns what
// arrived takes back when the batch is committed.
func (d *Depot) rideAlong(b *batch) (map[string]uint64, error) {
	d.progress.mu.Lock()
	rides := maps.Clone(d.progress.raised)
	d.progress.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(rides)) {
		s, err := load(b.tx, bucketProgress, []byte(id), reachedFields)
		if err != nil || rides[id] <= s.record.through {
			continue // the webhook was removed meanwhile, or overtaken; a record that cannot be read is for Check
		}
		if err := b.reach(id, s, rides[id], d.clock.Now()); err != nil {
			return nil, err
		}
	}
	return rides, nil
}

// arrived forgets what was committed, unless it was raised again since.
func (d *Depot) arrived(rode map[string]uint64) {
	if len(rode) == 0 {
		return
	}
	d.progress.mu.Lock()
	defer d.progress.mu.Unlock()
	for id, through := range rode {
		if d.progress.raised[id] == through {
			delete(d.progress.raised, id)
		}
	}
}

// reach stores how far a webhook got and, when that is far enough from what the
// ledger says, tells the ledger. What still waits the ledger must not take for
// delivered: it knows no notifications.
func (b *batch) reach(webhookID string, s stored[reached], through uint64, now time.Time) error {
	r := s.record
	r.through = max(r.through, through)
	safe := r.through
	if first, ok := firstWaiting(b.tx, webhookID); ok {
		safe = min(safe, first-1)
	}
	note := safe >= r.noted+depot.ProgressInterval
	if note {
		r.noted, s.sequence = safe, b.number()
	}
	if err := b.put(bucketProgress, []byte(webhookID), encode(withSequence(reachedFields(&r), &s.sequence))); err != nil || !note {
		return err
	}
	p := noted{webhookID, safe}
	return b.record(objectPayload(b.number(), EntryProgress, now, "progress", notedFields(&p)))
}

// noted is what the ledger says of how far a webhook got.
type noted struct {
	webhookID string
	through   uint64
}

func notedFields(p *noted) []field {
	return []field{
		{1, "webhook_id", &p.webhookID},
		{2, "through", &p.through},
	}
}

func (e Entry) progress() (p noted, err error) {
	err = decodeJSON(e.payload.Progress, notedFields(&p))
	return p, e.wrap(err)
}

// replayProgress stores how far a webhook got.
func (b *batch) replayProgress(e Entry) error {
	p, err := e.progress()
	if err != nil {
		return err
	}
	s, err := load(b.tx, bucketProgress, []byte(p.webhookID), reachedFields)
	if err != nil {
		return err
	}
	if p.through <= s.record.noted || p.through > lastEvent(b.tx) {
		return fmt.Errorf("webhook %s got to event %d after %d", p.webhookID, p.through, s.record.noted)
	}
	n, r := b.number(), s.record
	r.noted, r.through = p.through, max(p.through, r.through)
	return b.put(bucketProgress, []byte(p.webhookID), encode(withSequence(reachedFields(&r), &n)))
}

// compareProgress holds what the ledger says of progress against the record,
// which goes with the webhook.
func compareProgress(tx *bbolt.Tx, e Entry) error {
	p, err := e.progress()
	if err != nil {
		return errDiffers
	}
	w, err := load(tx, bucketWebhooks, []byte(p.webhookID), webhookFields)
	if err == nil && !w.record.RemovedAt.IsZero() {
		return nil
	}
	s, missing := load(tx, bucketProgress, []byte(p.webhookID), reachedFields)
	if err != nil || missing != nil || s.sequence < e.Number || s.record.noted < p.through ||
		s.sequence == e.Number && s.record.noted != p.through {
		return errDiffers
	}
	return nil
}

// NotifiedThrough returns how far a webhook got.
func (d *Depot) NotifiedThrough(ctx context.Context, webhookID string) (uint64, error) {
	d.progress.mu.Lock() // before looking into the database, where it may be in the next moment
	raised := d.progress.raised[webhookID]
	d.progress.mu.Unlock()
	s, err := d.reached(ctx, webhookID)
	if err != nil {
		return 0, err
	}
	return max(s.record.through, raised), nil
}

func (d *Depot) reached(ctx context.Context, webhookID string) (stored[reached], error) {
	var s stored[reached]
	find := func(tx *bbolt.Tx) (err error) {
		s, err = load(tx, bucketProgress, []byte(webhookID), reachedFields)
		return errors.Join(err, ctx.Err())
	}
	err := d.view(find)
	if errors.Is(err, depot.ErrNotFound) { // the ledger may not be told yet that it is gone
		err = cmp.Or(d.viewSettled(ctx, func(*bbolt.Tx) error { return nil }), err)
	}
	if err == nil {
		err = d.settled(ctx, s.sequence)
	}
	if err != nil {
		return s, fmt.Errorf("progress of webhook %q: %w", webhookID, err)
	}
	return s, nil
}

// SaveProgress stores how far a webhook got and what it still has to get.
func (d *Depot) SaveProgress(ctx context.Context, p depot.Progress) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if len(p.Store) == 0 && len(p.Forget) == 0 {
		return d.raise(ctx, p)
	}
	p.Store, p.Forget = slices.Clone(p.Store), slices.Clone(p.Forget)
	err := d.submit(ctx, func(b *batch) error {
		s, err := load(b.tx, bucketProgress, []byte(p.WebhookID), reachedFields)
		if err == nil {
			err = happened(p, lastEvent(b.tx))
		}
		if err != nil {
			return err
		}
		if err := b.keepNotifications(p, &s.record); err != nil {
			return err
		}
		return b.reach(p.WebhookID, s, p.Through, d.clock.Now())
	})
	if err != nil {
		return fmt.Errorf("save progress of webhook %q: %w", p.WebhookID, err)
	}
	return nil
}

// raise notes how far a webhook got, without writing.
func (d *Depot) raise(ctx context.Context, p depot.Progress) error {
	if err := happened(p, d.bell.last.Load()); err != nil {
		return err
	}
	if _, err := d.reached(ctx, p.WebhookID); err != nil {
		return err
	}
	d.progress.raise(p.WebhookID, p.Through)
	return nil
}

// happened refuses progress that is ahead of the events.
func happened(p depot.Progress, last uint64) error {
	most := p.Through
	for _, n := range p.Store {
		most = max(most, n.Event)
	}
	if most > last {
		return fmt.Errorf("%w: event %d did not happen yet", depot.ErrInvalid, most)
	}
	return nil
}

// The part of a key that tells notifications that wait from those that were
// given up.
const (
	waits   = 'w'
	givenUp = 'x'
)

func notificationsOf(webhookID string, dead bool) []byte {
	if dead {
		return append(deviceKey(webhookID, ""), givenUp)
	}
	return append(deviceKey(webhookID, ""), waits)
}

func notificationKey(webhookID string, dead bool, event uint64) []byte {
	return append(notificationsOf(webhookID, dead), number(event)...)
}

func notificationFields(n *depot.Notification) []field {
	return []field{
		{1, "webhook_id", &n.WebhookID},
		{2, "event", &n.Event},
		{3, "attempts", &n.Attempts},
		{4, "next_at", &n.NextAt},
		{5, "last_at", &n.LastAt},
		{6, "last_status", &n.LastStatus},
		{7, "last_error", &n.LastError},
		{8, "dead", &n.Dead},
	}
}

// firstWaiting returns the first event that waits for a webhook.
func firstWaiting(tx *bbolt.Tx, webhookID string) (event uint64, ok bool) {
	prefix := notificationsOf(webhookID, false)
	k, _ := tx.Bucket([]byte(bucketNotifications)).Cursor().Seek(prefix)
	return numberOf(k), bytes.HasPrefix(k, prefix)
}

// keepNotifications stores and forgets notifications, and counts.
func (b *batch) keepNotifications(p depot.Progress, r *reached) error {
	gone := slices.Clone(p.Forget)
	for _, n := range p.Store {
		gone = append(gone, n.Event)
	}
	for _, event := range gone {
		for dead, count := range map[bool]*int{false: &r.waiting, true: &r.dead} {
			key := notificationKey(p.WebhookID, dead, event)
			if b.get(bucketNotifications, key) == nil {
				continue
			}
			*count--
			if err := b.remove(bucketNotifications, key); err != nil {
				return err
			}
		}
	}
	for _, n := range p.Store {
		if n.Dead {
			r.dead++
		} else {
			r.waiting++
		}
		if err := b.put(bucketNotifications, notificationKey(p.WebhookID, n.Dead, n.Event), encode(notificationFields(&n))); err != nil {
			return err
		}
	}
	return nil
}

// forgetNotifications removes all that a webhook still had to get.
func (b *batch) forgetNotifications(webhookID string) error {
	prefix := deviceKey(webhookID, "")
	var keys [][]byte
	c := b.tx.Bucket([]byte(bucketNotifications)).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.remove(bucketNotifications, k); err != nil {
			return err
		}
	}
	return b.remove(bucketProgress, []byte(webhookID))
}

// countNotifications counts those of a webhook.
func countNotifications(tx *bbolt.Tx, webhookID string) (waiting, dead int) {
	c := tx.Bucket([]byte(bucketNotifications)).Cursor()
	for gaveUp, count := range map[bool]*int{false: &waiting, true: &dead} {
		prefix := notificationsOf(webhookID, gaveUp)
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			*count++
		}
	}
	return waiting, dead
}

// NotificationCounts returns how many there are of a webhook.
func (d *Depot) NotificationCounts(ctx context.Context, webhookID string) (waiting, dead int, err error) {
	s, err := d.reached(ctx, webhookID)
	return s.record.waiting, s.record.dead, err
}

// Notifications lists a page.
func (d *Depot) Notifications(ctx context.Context, q depot.NotificationQuery) (depot.Page[depot.Notification], error) {
	var page depot.Page[depot.Notification]
	prefix, limit := notificationsOf(q.WebhookID, q.Dead), depot.PageLimit(q.Limit)
	from, err := d.readCursor(cursorNotifications, q.Cursor)
	if err == nil && from != nil && !bytes.HasPrefix(from, prefix) {
		err = fmt.Errorf("read %q: %w", q.Cursor, depot.ErrCursor)
	}
	if err != nil {
		return page, err
	}
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte(bucketProgress)).Get([]byte(q.WebhookID)) == nil {
			return ctx.Err()
		}
		c := tx.Bucket([]byte(bucketNotifications)).Cursor()
		k, _ := c.Seek(prefix)
		if from != nil {
			if k, _ = c.Seek(from); bytes.Equal(k, from) {
				k, _ = c.Next()
			}
		}
		for ; bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			if len(page.Items) == limit {
				last := page.Items[limit-1]
				page.NextCursor = d.cursor(cursorNotifications, notificationKey(q.WebhookID, q.Dead, last.Event))
				return nil
			}
			s, err := load(tx, bucketNotifications, k, notificationFields)
			if err != nil {
				return err
			}
			page.Items = append(page.Items, s.record)
		}
		return ctx.Err()
	})
	if err != nil {
		return depot.Page[depot.Notification]{}, fmt.Errorf("list notifications of webhook %q: %w", q.WebhookID, err)
	}
	return page, nil
}
