package bolt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// hold stores that the certificate of an issuance is held back. The CSR is
// only in the database.
func (b *batch) hold(i depot.Issuance) error {
	n, h := b.number(), heldBack{i.Identity.CertificateSerial, i.Supersedes}
	err := b.put(bucketHeldBack, number(n), encode(heldBackFields(&h)))
	if err == nil && len(i.CSR) > 0 { // there is none when the ledger is replayed
		err = b.put(bucketHeldCSRs, number(n), encode([]field{csrField(&i.CSR)}))
	}
	return err
}

// Undelivered lists what is held back. It waits for what the ledger lacks,
// because what was delivered is seen only by its absence.
func (d *Depot) Undelivered(ctx context.Context) ([]depot.Undelivered, error) {
	var all []depot.Undelivered
	err := d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketHeldBack)).ForEach(func(k, _ []byte) error {
			h, err := load(tx, bucketHeldBack, k, heldBackFields)
			if err != nil {
				return err
			}
			serial, _ := serialBytes(h.record.certificateSerial)
			found, err := loadIdentity(tx, serial)
			if err != nil {
				return fmt.Errorf("certificate %s: %w", h.record.certificateSerial, dangling(err))
			}
			csr, err := loadCSR(tx, k)
			if err != nil {
				return err
			}
			all = append(all, depot.Undelivered{Identity: found.record, CSR: csr})
			return ctx.Err()
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list undelivered certificates: %w", err)
	}
	return all, nil
}

// loadCSR reads the CSR of what is held back; none is no error.
func loadCSR(tx *bbolt.Tx, key []byte) ([]byte, error) {
	s, err := load(tx, bucketHeldCSRs, key, func(csr *[]byte) []field { return []field{csrField(csr)} })
	if errors.Is(err, depot.ErrNotFound) {
		return nil, nil
	}
	return s.record, err
}

// Deliver lets the device have a certificate.
func (d *Depot) Deliver(ctx context.Context, certificateSerial string, at time.Time) (depot.Identity, error) {
	return d.endDelivery(ctx, delivery{certificateSerial: certificateSerial, at: at}, false)
}

// Void notes that the device never got it.
func (d *Depot) Void(ctx context.Context, certificateSerial, why string, at time.Time) (depot.Identity, error) {
	return d.endDelivery(ctx, delivery{certificateSerial: certificateSerial, at: at, note: why}, true)
}

func (d *Depot) endDelivery(ctx context.Context, end delivery, void bool) (depot.Identity, error) {
	if end.at.IsZero() {
		return depot.Identity{}, fmt.Errorf("%w: end of a delivery without its time", depot.ErrInvalid)
	}
	var after depot.Identity // written by the writer, read when it has answered
	err := d.submit(ctx, func(b *batch) error {
		n := b.number()
		id, what, err := b.keepEnd(end, void)
		if err != nil {
			return err
		}
		after = id
		return b.record(objectPayload(n, string(what), end.at, "delivery", deliveryFields(&end)))
	})
	if err != nil {
		return depot.Identity{}, fmt.Errorf("end delivery of certificate %q: %w", end.certificateSerial, err)
	}
	asRead(&after)
	return after, nil
}

// keepEnd stores the end of a delivery, without the ledger record.
func (b *batch) keepEnd(end delivery, void bool) (depot.Identity, depot.EventType, error) {
	before, err := b.identity(end.certificateSerial)
	if err != nil {
		return depot.Identity{}, "", err
	}
	after, event, err := before.record.EndDelivery(void, end.at)
	if err != nil {
		return after, "", err
	}
	key := number(before.sequence)
	held, err := load(b.tx, bucketHeldBack, key, heldBackFields)
	if err != nil {
		return after, "", fmt.Errorf("what is held back with it: %w", dangling(err))
	}
	if old := held.record.supersedes; void && old != "" {
		if err := b.restore(old, after.CertificateSerial); err != nil {
			return after, "", err
		}
	}
	err = errors.Join(b.remove(bucketHeldBack, key), b.remove(bucketHeldCSRs, key))
	if err == nil {
		err = b.keepChange(before, after, event)
	}
	return after, event.Type, err
}

// restore makes a certificate what it was before it was superseded by what is
// void.
func (b *batch) restore(certificateSerial, void string) error {
	old, err := b.identity(certificateSerial)
	if err != nil {
		return dangling(err)
	}
	if old.record.SupersededBy != void {
		return nil
	}
	return b.change(old, old.record.Restored())
}

// A heldBack is what has to be known of a certificate that is held back, its
// CSR aside.
type heldBack struct {
	certificateSerial string
	supersedes        string // the certificate serial, if it renews one
}

func heldBackFields(h *heldBack) []field {
	return []field{
		{1, "certificate_serial", &h.certificateSerial},
		{2, "supersedes", &h.supersedes},
	}
}

func csrField(csr *[]byte) field { return field{1, "csr", csr} }

// A delivery is the end of one, as the ledger has it.
type delivery struct {
	certificateSerial string
	at                time.Time
	note              string
}

func deliveryFields(d *delivery) []field {
	return []field{
		{1, "certificate_serial", &d.certificateSerial},
		{2, "at", &d.at},
		{3, "note", &d.note},
	}
}
