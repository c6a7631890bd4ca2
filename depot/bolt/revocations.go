package bolt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// identity loads one that a step may change.
func (b *batch) identity(certificateSerial string) (stored[depot.Identity], error) {
	serial, ok := serialBytes(certificateSerial)
	if !ok || certificateSerial != strings.ToLower(certificateSerial) {
		return stored[depot.Identity]{}, depot.ErrNotFound
	}
	return loadIdentity(b.tx, serial)
}

// change stores an identity as the step in hand leaves it.
func (b *batch) change(before stored[depot.Identity], after depot.Identity) error {
	n := b.number()
	serial, _ := serialBytes(after.CertificateSerial)
	for _, e := range stateEntries(before.record, serial) {
		if err := b.remove(e.bucket, e.key); err != nil {
			return err
		}
	}
	entries := append(stateEntries(after, serial),
		entry{bucketIdentities, serial, encode(withSteps(identityFields(&after), &before.sequence, &n))})
	for _, e := range entries {
		if err := b.put(e.bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return b.stand(before.record, after, serial, before.sequence)
}

// stateEntries are the index entries that an identity has for what it is now.
// Most have none.
func stateEntries(i depot.Identity, serial []byte) (entries []entry) {
	if !i.RevokedAt.IsZero() {
		line := depot.RevokedCertificate{Reason: depot.RevocationReason(i.RevocationReason), RevokedAt: i.RevokedAt, NotAfter: i.NotAfter}
		entries = append(entries, entry{byIssuer, append(bytes.Clone(i.IssuerSHA256[:]), serial...), encode(revokedFields(&line))})
	}
	if i.Unused() {
		entries = append(entries, entry{byUnused, notAfterKey(i.RevokeUnusedAt, serial), []byte{}})
	}
	return entries
}

// Revoke marks a certificate.
func (d *Depot) Revoke(ctx context.Context, r depot.Revocation) (depot.Identity, error) {
	if err := r.Validate(); err != nil {
		return depot.Identity{}, err
	}
	var after depot.Identity // written by the writer, read when it has answered
	err := d.submit(ctx, func(b *batch) error {
		before, err := b.identity(r.CertificateSerial)
		if err != nil {
			return err
		}
		id, err := before.record.Revoke(r)
		if err != nil {
			return err
		}
		after = id
		event, n := r.Event(id), b.number()
		if err := b.keepChange(before, id, event); err != nil {
			return err
		}
		return b.record(objectPayload(n, string(event.Type), r.At, "revocation", revocationFields(&r)))
	})
	if err != nil {
		return depot.Identity{}, fmt.Errorf("revoke certificate %q: %w", r.CertificateSerial, err)
	}
	asRead(&after)
	return after, nil
}

// keepChange stores a changed identity and what happened to it, without the
// ledger record.
func (b *batch) keepChange(before stored[depot.Identity], after depot.Identity, e depot.Event) error {
	if err := b.change(before, after); err != nil {
		return err
	}
	if e.Type != depot.EventCertificateUsed { // which windows do not show
		b.changedAt(e.At)
	}
	return b.event(e)
}

// MarkUsed notes the first use.
func (d *Depot) MarkUsed(ctx context.Context, certificateSerial string, at time.Time) error {
	if at.IsZero() {
		return fmt.Errorf("%w: use without its time", depot.ErrInvalid)
	}
	err := d.submit(ctx, func(b *batch) error {
		before, err := b.identity(certificateSerial)
		if err != nil || !before.record.UsedAt.IsZero() {
			return err
		}
		n, u := b.number(), use{certificateSerial, at}
		if err := b.keepUse(before, u); err != nil {
			return err
		}
		return b.record(objectPayload(n, string(depot.EventCertificateUsed), at, "use", useFields(&u)))
	})
	if err != nil {
		return fmt.Errorf("note use of certificate %q: %w", certificateSerial, err)
	}
	return nil
}

// keepUse stores the first use, without the ledger record.
func (b *batch) keepUse(before stored[depot.Identity], u use) error {
	after := before.record
	after.UsedAt = u.at
	return b.keepChange(before, after, after.UsedEvent())
}

// Revoked lists a page. It waits for what the ledger lacks, because a
// certificate that was let go is seen only by its absence.
func (d *Depot) Revoked(ctx context.Context, q depot.RevokedQuery) (depot.Page[depot.RevokedCertificate], error) {
	var page depot.Page[depot.RevokedCertificate]
	after, err := d.readCursor(cursorRevoked, q.Cursor)
	if err != nil {
		return page, err
	}
	prefix, limit := q.IssuerSHA256[:], depot.PageLimit(q.Limit)
	if after != nil && !bytes.HasPrefix(after, prefix) {
		return page, fmt.Errorf("read %q: %w", q.Cursor, depot.ErrCursor)
	}
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		c, looked := tx.Bucket([]byte(byIssuer)).Cursor(), 0
		first, last := prefix, []byte(nil)
		if after != nil {
			first = after
		}
		k, v := c.Seek(first)
		if after != nil && bytes.Equal(k, after) {
			k, v = c.Next()
		}
		for ; bytes.HasPrefix(k, prefix); k, v = c.Next() {
			if looked++; looked%256 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			line := depot.RevokedCertificate{CertificateSerial: hex.EncodeToString(k[len(prefix):])}
			if err := decode(v, revokedFields(&line)); err != nil {
				return fmt.Errorf("revoked certificate %x: %w", k, err)
			}
			if line.NotAfter.Before(q.NotAfterFrom) {
				continue
			}
			if len(page.Items) == limit {
				page.NextCursor = d.cursor(cursorRevoked, last)
				return nil
			}
			page.Items, last = append(page.Items, line), bytes.Clone(k)
		}
		return ctx.Err()
	})
	if err != nil {
		return depot.Page[depot.RevokedCertificate]{}, fmt.Errorf("list revoked certificates: %w", err)
	}
	return page, nil
}

// viewSettled runs fn in a read transaction and waits until the ledger has all
// that fn could see.
func (d *Depot) viewSettled(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	var end head
	err := d.view(func(tx *bbolt.Tx) (err error) {
		if end, err = readHead(tx); err != nil {
			return err
		}
		return fn(tx)
	})
	if err != nil {
		return err
	}
	return d.settled(ctx, end.number)
}

// UnusedSince returns those whose time to be used is over.
func (d *Depot) UnusedSince(ctx context.Context, at time.Time, limit int) ([]depot.Identity, error) {
	var all []depot.Identity
	end := notAfterKey(at, nil)
	err := d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(byUnused)).Cursor()
		for k, _ := c.First(); k != nil && len(all) < depot.PageLimit(limit); k, _ = c.Next() {
			deadline := k[:min(len(k), notAfterPrefix)]
			if bytes.Compare(deadline, end) > 0 {
				break
			}
			found, err := loadIdentity(tx, k[len(deadline):])
			if err != nil {
				return fmt.Errorf("certificate of %x: %w", k, dangling(err))
			}
			all = append(all, found.record)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list unused certificates: %w", err)
	}
	return all, nil
}

// TakeCRLNumber returns the next one.
func (d *Depot) TakeCRLNumber(ctx context.Context, issuerSHA256 [32]byte, atLeast uint64) (uint64, error) {
	var next crlNumber // written by the writer, read when it has answered
	err := d.submit(ctx, func(b *batch) error {
		last, err := loadCRLNumber(b.tx, issuerSHA256)
		switch {
		case err != nil:
			return err
		case last.record.number == math.MaxUint64:
			return fmt.Errorf("%w: no CRL number is left", depot.ErrInvalid)
		}
		c, n := crlNumber{issuerSHA256, max(last.record.number+1, atLeast)}, b.number()
		next = c
		if err := b.keepCRLNumber(c); err != nil {
			return err
		}
		return b.record(objectPayload(n, EntryCRLNumber, d.clock.Now(), "crl", crlNumberFields(&c)))
	})
	if err != nil {
		return 0, fmt.Errorf("take CRL number of issuer %x: %w", issuerSHA256, err)
	}
	return next.number, nil
}

// loadCRLNumber reads the last one; the zero number is no error.
func loadCRLNumber(tx *bbolt.Tx, issuerSHA256 [32]byte) (stored[crlNumber], error) {
	s, err := load(tx, bucketCRLNumbers, issuerSHA256[:], crlNumberFields)
	if errors.Is(err, depot.ErrNotFound) {
		return s, nil
	}
	return s, err
}

// keepCRLNumber stores a number, without the ledger record.
func (b *batch) keepCRLNumber(c crlNumber) error {
	n := b.number()
	return b.put(bucketCRLNumbers, c.issuerSHA256[:], encode(withSequence(crlNumberFields(&c), &n)))
}

// LastCRLNumber returns the last one.
func (d *Depot) LastCRLNumber(ctx context.Context, issuerSHA256 [32]byte) (uint64, error) {
	var last stored[crlNumber]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		last, err = loadCRLNumber(tx, issuerSHA256)
		return err
	})
	if err == nil {
		err = d.settled(ctx, last.sequence)
	}
	if err != nil {
		return 0, fmt.Errorf("find CRL number of issuer %x: %w", issuerSHA256, err)
	}
	return last.record.number, nil
}
