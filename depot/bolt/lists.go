package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// The kinds of lists, as their cursors name them.
const (
	cursorIssued   byte = 'i'
	cursorNotAfter byte = 'n'
	cursorDevice   byte = 'd'
	cursorRequests byte = 'r'
	cursorRevoked  byte = 'v'

	cursorChallenges    byte = 'c'
	cursorNotifications byte = 'o'

	cursorWindow byte = 'w'
	cursorPast   byte = 'p'
)

// cursor makes a position into text that the depot knows again: kind,
// position, and 8 bytes of a hash over these and the store's identity. It is
// no secret; it keeps typing errors and cursors of other lists out.
func (d *Depot) cursor(kind byte, position []byte) string {
	b := append([]byte{kind}, position...)
	return base64.RawURLEncoding.EncodeToString(append(b, d.cursorSum(b)...))
}

func (d *Depot) cursorSum(b []byte) []byte {
	sum := sha256.Sum256(append([]byte(d.store), b...))
	return sum[:8]
}

// readCursor returns the position, nil for the start of a list.
func (d *Depot) readCursor(kind byte, cursor string) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 10 || b[0] != kind {
		return nil, fmt.Errorf("read %q: %w", cursor, depot.ErrCursor)
	}
	body, sum := b[:len(b)-8], b[len(b)-8:]
	if !bytes.Equal(sum, d.cursorSum(body)) {
		return nil, fmt.Errorf("read %q: %w", cursor, depot.ErrCursor)
	}
	return body[1:], nil
}

// Devices lists a page.
func (d *Depot) Devices(ctx context.Context, q depot.DeviceQuery) (depot.Page[depot.Device], error) {
	var page depot.Page[depot.Device]
	after, err := d.readCursor(cursorDevice, q.Cursor)
	if err != nil {
		return page, err
	}
	var prefix, last []byte
	if q.ConfigurationID != "" {
		prefix = deviceKey(q.ConfigurationID, "")
	}
	limit, latest := depot.PageLimit(q.Limit), uint64(0)
	err = d.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketDevices)).Cursor()
		from := prefix
		if bytes.Compare(after, from) > 0 {
			from = after
		}
		k, v := c.Seek(from)
		if after != nil && bytes.Equal(k, after) {
			k, v = c.Next()
		}
		for ; k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			if len(page.Items) == limit {
				page.NextCursor = d.cursor(cursorDevice, last)
				return nil
			}
			var s stored[depot.Device]
			if err := decode(v, withSequence(deviceFields(&s.record), &s.sequence)); err != nil {
				return fmt.Errorf("device %q: %w", k, err)
			}
			page.Items, latest, last = append(page.Items, s.record), max(latest, s.sequence), bytes.Clone(k)
		}
		return ctx.Err()
	})
	if err == nil {
		err = d.settled(ctx, latest)
	}
	if err != nil {
		return depot.Page[depot.Device]{}, fmt.Errorf("list devices: %w", err)
	}
	return page, nil
}

// Events lists a page. What the ledger lacks did not happen yet.
func (d *Depot) Events(ctx context.Context, q depot.EventQuery) (depot.Page[depot.Event], error) {
	var page depot.Page[depot.Event]
	limit, synced := depot.PageLimit(q.Limit), d.synced.Load()
	err := d.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketEvents)).Cursor()
		k, v := c.Seek(number(q.After))
		if k != nil && numberOf(k) == q.After {
			k, v = c.Next()
		}
		last := q.After
		for looked := 0; k != nil && numberOf(k) <= synced; k, v = c.Next() {
			if looked++; looked > d.maxLook {
				page.NextCursor = strconv.FormatUint(last, 10)
				return nil
			}
			var s stored[depot.Event]
			if err := decode(v, withSequence(eventFields(&s.record), &s.sequence)); err != nil {
				return fmt.Errorf("event %d: %w", numberOf(k), err)
			}
			s.record.Sequence, last = s.sequence, s.sequence
			if !q.Selects(s.record) {
				continue
			}
			if len(page.Items) == limit {
				page.NextCursor = strconv.FormatUint(page.Items[limit-1].Sequence, 10)
				return nil
			}
			page.Items = append(page.Items, s.record)
		}
		return ctx.Err()
	})
	if err != nil {
		return depot.Page[depot.Event]{}, fmt.Errorf("list events: %w", err)
	}
	return page, nil
}
