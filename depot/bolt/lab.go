package bolt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// SetLabClock stores how a lab moved the time.
func (d *Depot) SetLabClock(ctx context.Context, c depot.LabClock, now time.Time) error {
	if err := c.Validate(now); err != nil {
		return err
	}
	err := d.submit(ctx, func(b *batch) error {
		n := b.number()
		if err := b.keepLabClock(c, now); err != nil {
			return err
		}
		return b.record(objectPayload(n, string(depot.EventClockMoved), now, "clock", labClockFields(&c)))
	})
	if err != nil {
		return fmt.Errorf("set lab clock: %w", err)
	}
	return nil
}

// keepLabClock stores it and its event, without the ledger record.
func (b *batch) keepLabClock(c depot.LabClock, now time.Time) error {
	n := b.number()
	if err := b.put(bucketMeta, []byte(metaLabClock), encode(withSequence(labClockFields(&c), &n))); err != nil {
		return err
	}
	return b.event(c.Event(now))
}

// LabClock returns the last one.
func (d *Depot) LabClock(ctx context.Context) (depot.LabClock, error) {
	var found stored[depot.LabClock]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		found, err = load(tx, bucketMeta, []byte(metaLabClock), labClockFields)
		if errors.Is(err, depot.ErrNotFound) {
			return nil
		}
		return err
	})
	if err == nil {
		err = d.settled(ctx, found.sequence)
	}
	if err != nil {
		return depot.LabClock{}, fmt.Errorf("read lab clock: %w", err)
	}
	return found.record, nil
}

// RecordRejections makes an event of them.
func (d *Depot) RecordRejections(ctx context.Context, r depot.Rejections) error {
	if err := r.Validate(); err != nil {
		return err
	}
	err := d.submit(ctx, func(b *batch) error {
		n, event := b.number(), r.Event()
		if err := b.event(event); err != nil {
			return err
		}
		return b.record(objectPayload(n, string(event.Type), event.At, "rejections", rejectionsFields(&r)))
	})
	if err != nil {
		return fmt.Errorf("record rejections of configuration %s: %w", r.ConfigurationID, err)
	}
	return nil
}

// RecordSeeding puts a seeding on record.
func (d *Depot) RecordSeeding(ctx context.Context, s depot.Seeding) error {
	if err := s.Validate(); err != nil {
		return err
	}
	err := d.submit(ctx, func(b *batch) error {
		n := b.number()
		if err := b.keepSeeding(s); err != nil {
			return err
		}
		return b.record(objectPayload(n, string(depot.EventSeeded), s.At, "seeding", seedingFields(&s)))
	})
	if err != nil {
		return fmt.Errorf("record seeding of configuration %s: %w", s.ConfigurationID, err)
	}
	return nil
}

// keepSeeding stores it and its event, without the ledger record.
func (b *batch) keepSeeding(s depot.Seeding) error {
	n := b.number()
	if err := b.put(bucketSeedings, number(n), encode(withSequence(seedingFields(&s), &n))); err != nil {
		return err
	}
	return b.event(s.Event())
}

// Seedings returns them all.
func (d *Depot) Seedings(ctx context.Context) ([]depot.Seeding, error) {
	var all []depot.Seeding
	err := d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		return eachRecord(tx, bucketSeedings, seedingFields, func(s stored[depot.Seeding]) error {
			all = append(all, s.record)
			return ctx.Err()
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list seedings: %w", err)
	}
	return all, nil
}

// eachRecord reads all records of a bucket, in the order of their keys, until
// look has an error.
func eachRecord[T any](tx *bbolt.Tx, bucket string, fields func(*T) []field, look func(stored[T]) error) error {
	return tx.Bucket([]byte(bucket)).ForEach(func(key, _ []byte) error {
		s, err := load(tx, bucket, key, fields)
		if err != nil {
			return err
		}
		return look(s)
	})
}

func labClockFields(c *depot.LabClock) []field {
	return []field{
		{1, "offset", &c.Offset},
		{2, "frozen_at", &c.FrozenAt},
		{3, "changed_at", &c.ChangedAt},
		{4, "by", &c.By},
	}
}

func rejectionsFields(r *depot.Rejections) []field {
	return []field{
		{1, "configuration_id", &r.ConfigurationID},
		{2, "configuration_name", &r.ConfigurationName},
		{3, "reason", &r.Reason},
		{4, "count", &r.Count},
		{5, "at", &r.At},
		{6, "source_address", &r.SourceAddress},
	}
}

func seedingFields(s *depot.Seeding) []field {
	return []field{
		{1, "at", &s.At},
		{2, "configuration_id", &s.ConfigurationID},
		{3, "issuer_sha256", &s.IssuerSHA256},
		{4, "count", &s.Count},
	}
}

func (e Entry) labClock() (c depot.LabClock, err error) {
	err = decodeJSON(e.payload.Clock, labClockFields(&c))
	return c, e.wrap(err)
}

func (e Entry) rejections() (r depot.Rejections, err error) {
	err = decodeJSON(e.payload.Rejections, rejectionsFields(&r))
	return r, e.wrap(err)
}

func (e Entry) seeding() (s depot.Seeding, err error) {
	err = decodeJSON(e.payload.Seeding, seedingFields(&s))
	return s, e.wrap(err)
}

// replayLab stores what a record says of the lab.
func (b *batch) replayLab(e Entry) error {
	switch depot.EventType(e.Type) {
	case depot.EventClockMoved:
		c, err := e.labClock()
		if err == nil {
			err = c.Validate(e.At)
		}
		if err != nil {
			return err
		}
		return b.keepLabClock(c, e.At)
	case depot.EventSeeded:
		s, err := e.seeding()
		if err == nil {
			err = s.Validate()
		}
		if err != nil {
			return err
		}
		return b.keepSeeding(s)
	}
	r, err := e.rejections()
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return err
	}
	return b.event(r.Event())
}

// compareLab holds what the ledger says of the lab against the event and, of a
// seeding, the record. Of the clock there is only the last record.
func compareLab(tx *bbolt.Tx, e Entry) error {
	var want depot.Event
	var err error
	switch depot.EventType(e.Type) {
	case depot.EventClockMoved:
		var c depot.LabClock
		c, err = e.labClock()
		want = c.Event(e.At)
		s, missing := load(tx, bucketMeta, []byte(metaLabClock), labClockFields)
		if missing != nil || s.sequence < e.Number || s.sequence == e.Number && !sameFields(labClockFields(&s.record), labClockFields(&c)) {
			return errDiffers
		}
	case depot.EventSeeded:
		var said depot.Seeding
		said, err = e.seeding()
		want = said.Event()
		s, missing := load(tx, bucketSeedings, number(e.Number), seedingFields)
		if missing != nil || !sameFields(seedingFields(&s.record), seedingFields(&said)) {
			return errDiffers
		}
	default:
		var r depot.Rejections
		r, err = e.rejections()
		want = r.Event()
	}
	have, missing := load(tx, bucketEvents, number(e.Number), eventFields)
	if err != nil || missing != nil || !sameFields(eventFields(&have.record), eventFields(&want)) {
		return errDiffers
	}
	return nil
}

// lab looks at what it left.
func (c *checker) lab() error {
	if s, err := load(c.tx, bucketMeta, []byte(metaLabClock), labClockFields); err == nil {
		e, err := load(c.tx, bucketEvents, number(s.sequence), eventFields)
		if err != nil || e.record.Type != depot.EventClockMoved {
			return c.found("lab clock: no event tells of it")
		}
	} else if !errors.Is(err, depot.ErrNotFound) {
		return c.found("lab clock: %v", err)
	}
	return c.each(bucketSeedings, func(k, _ []byte) error {
		s, err := load(c.tx, bucketSeedings, k, seedingFields)
		if err != nil || s.sequence != numberOf(k) {
			return c.found("seeding %d: it cannot be read or belongs elsewhere: %v", numberOf(k), err)
		}
		if e, err := load(c.tx, bucketEvents, k, eventFields); err != nil || e.record.Type != depot.EventSeeded {
			return c.found("seeding %d: no event tells of it", numberOf(k))
		}
		return nil
	})
}
