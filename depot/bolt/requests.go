package bolt

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// AddRequest stores a pending request.
func (d *Depot) AddRequest(ctx context.Context, r depot.Request, after uint64, afterRequest string) error {
	if err := r.Validate(); err != nil {
		return err
	}
	r = r.Clone()
	r.Sequence, r.Transaction.Sequence = 0, 0
	err := d.submit(ctx, func(b *batch) error {
		if err := b.lookAtRequest(r, after, afterRequest); err != nil {
			return err
		}
		n := b.number()
		if err := b.keepRequest(r); err != nil {
			return err
		}
		return b.record(objectPayload(n, string(depot.EventRequestPending), r.Transaction.At, "request", requestFields(&r)))
	})
	if err != nil {
		return fmt.Errorf("add request %s: %w", r.ID, err)
	}
	return nil
}

// lookAtRequest decides whether a request can be stored. It changes nothing.
func (b *batch) lookAtRequest(r depot.Request, after uint64, afterRequest string) error {
	t := r.Transaction
	key := pair(t.ConfigurationID, t.ID)
	last := ""
	if n := lastNumber(b.tx, byRequestTransaction, key); n != 0 {
		last = string(b.get(byRequestTransaction, append(bytes.Clone(key), number(n)...)))
	}
	switch {
	case lastNumber(b.tx, byTransaction, key) != after, last != afterRequest,
		b.get(byMessage, t.MessageSHA256[:]) != nil, b.get(byRequestMessage, t.MessageSHA256[:]) != nil:
		return depot.ErrTransactionConflict
	case b.get(byRequestID, []byte(r.ID)) != nil:
		return depot.ErrExists
	}
	return nil
}

// keepRequest stores a new request, without the ledger record.
func (b *batch) keepRequest(r depot.Request) error {
	n := b.number()
	for _, e := range append(requestEntries(r, n), entry{bucketRequests, number(n), encode(withSequence(requestFields(&r), &n))}) {
		if err := b.put(e.bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return b.event(r.Event())
}

// requestEntries are the keys under which the request of step n can be found.
func requestEntries(r depot.Request, n uint64) []entry {
	return []entry{
		{byRequestID, []byte(r.ID), number(n)},
		{byRequestTransaction, append(pair(r.Transaction.ConfigurationID, r.Transaction.ID), number(n)...), []byte(r.ID)},
		{byRequestMessage, r.Transaction.MessageSHA256[:], number(n)},
	}
}

// loadRequest reads the request with this number; none has the number 0.
func loadRequest(tx *bbolt.Tx, n uint64) (stored[depot.Request], error) {
	s, err := load(tx, bucketRequests, number(n), requestFields)
	s.record.Sequence = s.sequence
	return s, err
}

// requestWithID reads the request with this id.
func requestWithID(tx *bbolt.Tx, id string) (stored[depot.Request], error) {
	index := tx.Bucket([]byte(byRequestID))
	if index == nil { // a store of format 1 that is only looked at
		return stored[depot.Request]{}, depot.ErrNotFound
	}
	n := index.Get([]byte(id))
	if n == nil {
		return stored[depot.Request]{}, depot.ErrNotFound
	}
	s, err := loadRequest(tx, numberOf(n))
	return s, dangling(err)
}

// Request finds by id.
func (d *Depot) Request(ctx context.Context, id string) (depot.Request, error) {
	return d.request(ctx, func(tx *bbolt.Tx) (stored[depot.Request], error) { return requestWithID(tx, id) })
}

// RequestOfTransaction returns the last one of that id.
func (d *Depot) RequestOfTransaction(ctx context.Context, configurationID, transactionID string) (depot.Request, error) {
	if len(configurationID) > maxPart || len(transactionID) > maxPart {
		return depot.Request{}, fmt.Errorf("find request: %w", depot.ErrNotFound)
	}
	return d.request(ctx, func(tx *bbolt.Tx) (s stored[depot.Request], err error) {
		n := lastNumber(tx, byRequestTransaction, pair(configurationID, transactionID))
		if n == 0 {
			return s, depot.ErrNotFound
		}
		s, err = loadRequest(tx, n)
		return s, dangling(err)
	})
}

func (d *Depot) request(ctx context.Context, find func(*bbolt.Tx) (stored[depot.Request], error)) (depot.Request, error) {
	var found stored[depot.Request]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		found, err = find(tx)
		return err
	})
	if err == nil {
		err = d.settled(ctx, found.latest())
	}
	if err != nil {
		return depot.Request{}, fmt.Errorf("find request: %w", err)
	}
	return found.record, nil
}

// Requests lists a page.
func (d *Depot) Requests(ctx context.Context, q depot.RequestQuery) (depot.Page[depot.Request], error) {
	if err := q.Validate(); err != nil {
		return depot.Page[depot.Request]{}, err
	}
	page, err := newest(ctx, d, latestFirst[depot.Request]{cursorRequests, bucketRequests, loadRequest, q.Selects}, q.Cursor, q.Limit)
	if err != nil {
		return page, fmt.Errorf("list requests: %w", err)
	}
	return page, nil
}

// Decide ends a pending request.
func (d *Depot) Decide(ctx context.Context, decision depot.Decision) (depot.Request, error) {
	if err := decision.Validate(); err != nil {
		return depot.Request{}, err
	}
	if decision.Issuance != nil {
		i := *decision.Issuance
		i.Identity, i.CSR = i.Identity.Clone(), bytes.Clone(i.CSR)
		decision.Issuance = &i
	}
	var after depot.Request // written by the writer, read when it has answered
	err := d.submit(ctx, func(b *batch) error {
		verdict, err := b.judge(decision)
		if err != nil {
			return err
		}
		after = verdict.after
		return b.decide(verdict, decision)
	})
	if err != nil {
		return depot.Request{}, fmt.Errorf("decide request %s: %w", decision.RequestID, err)
	}
	normalizeAll(requestFields(&after))
	return after, nil
}

// A verdict is a decision that can be stored.
type verdict struct {
	before   stored[depot.Request]
	after    depot.Request
	issuance *depot.Issuance // nil: denied
	device   depot.Device    // of the issuance, as it is before
}

// judge looks at whether a decision can be stored. It changes nothing.
func (b *batch) judge(d depot.Decision) (v verdict, err error) {
	if v.before, err = requestWithID(b.tx, d.RequestID); err != nil {
		return v, err
	}
	if v.after, v.issuance, err = v.before.record.Decide(d); err != nil || v.issuance == nil {
		return v, err
	}
	t := v.issuance.Transaction
	if lastNumber(b.tx, byTransaction, pair(t.ConfigurationID, t.ID)) > v.before.sequence {
		return v, depot.ErrTransactionConflict
	}
	serial, _ := serialBytes(t.CertificateSerial)
	v.device, err = b.look(*v.issuance, serial)
	return v, err
}

// decide stores a decision and its ledger records. The record of an approval
// is the one of the issuance, which holds both, so that no ledger can end
// between them; the one behind it is only for the event.
func (b *batch) decide(v verdict, d depot.Decision) error {
	if err := b.keepDecision(v); err != nil {
		return err
	}
	if v.issuance != nil {
		serial, _ := serialBytes(v.issuance.Identity.CertificateSerial)
		if err := b.issue(*v.issuance, serial, v.device, &d); err != nil {
			return err
		}
	}
	n, event := b.number(), v.after.Event()
	if err := b.event(event); err != nil {
		return err
	}
	return b.record(objectPayload(n, string(event.Type), d.At, "decision", decisionFields(&d)))
}

// keepDecision stores the request as it is decided, and neither the event nor
// a ledger record.
func (b *batch) keepDecision(v verdict) error {
	n := b.number()
	return b.put(bucketRequests, number(v.before.sequence), encode(withSteps(requestFields(&v.after), &v.before.sequence, &n)))
}
