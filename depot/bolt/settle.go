package bolt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// purposeStalled is that of the watermark which lies in the order of StallsAt
// and not of notAfter.
const purposeStalled = "stalled"

// Settle ends a piece of the announcer's work.
func (d *Depot) Settle(ctx context.Context, s depot.Settlement) (int, error) {
	if err := s.Validate(); err != nil {
		return 0, err
	}
	s.Announcements, s.Rechecked, s.Watermarks = slices.Clone(s.Announcements), slices.Clone(s.Rechecked), slices.Clone(s.Watermarks)
	events := 0 // written by the writer, read when it has answered
	err := d.submit(ctx, func(b *batch) error {
		for _, a := range s.Announcements {
			if _, _, err := b.windowItem(a.CertificateSerial); err != nil {
				return fmt.Errorf("announce %s of certificate %q: %w", a.Type, a.CertificateSerial, err)
			}
		}
		n, err := b.announceAll(s.Announcements)
		events = n
		if err == nil {
			err = b.dropRechecks(s.Rechecked)
		}
		if err == nil {
			err = b.setWatermarks(s.Watermarks)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("settle announcements: %w", err)
	}
	return events, nil
}

// announceAll makes events of what was not announced before, each a step with
// its own ledger record.
func (b *batch) announceAll(all []depot.Announcement) (events int, err error) {
	for _, a := range all {
		n := b.number()
		normalizeAll(announcementFields(&a))
		made, err := b.announce(a)
		if err != nil || !made {
			if err != nil {
				return events, err
			}
			continue
		}
		if err := b.record(objectPayload(n, string(a.Type), a.At, "announcement", announcementFields(&a))); err != nil {
			return events, err
		}
		events++
	}
	return events, nil
}

// announce stores an announcement that was not made before, without the ledger
// record.
func (b *batch) announce(a depot.Announcement) (made bool, err error) {
	i, serial, err := b.windowItem(a.CertificateSerial)
	if err != nil {
		return false, err
	}
	after, made := i.Announce(a.Mark)
	if !made {
		return false, nil
	}
	return true, errors.Join(b.keepHistory(serial, after), b.event(i.Identity.AnnouncedEvent(a)))
}

// recheck notes that an identity has to be looked at, behind all others.
func (b *batch) recheck(serial []byte) error {
	if before := b.get(byRecheck, serial); before != nil {
		if err := b.remove(bucketRechecks, bytes.Clone(before)); err != nil {
			return err
		}
	}
	n, err := b.tx.Bucket([]byte(bucketRechecks)).NextSequence()
	if err != nil {
		return fmt.Errorf("number a recheck: %w", err)
	}
	return errors.Join(b.put(bucketRechecks, number(n), serial), b.put(byRecheck, serial, number(n)))
}

// dropRechecks forgets those that are done and were not noted again.
func (b *batch) dropRechecks(done []depot.Recheck) error {
	for _, r := range done {
		serial, ok := canonical(r.CertificateSerial)
		if !ok || !bytes.Equal(b.get(byRecheck, serial), number(r.Number)) {
			continue
		}
		if err := errors.Join(b.remove(bucketRechecks, number(r.Number)), b.remove(byRecheck, serial)); err != nil {
			return err
		}
	}
	return nil
}

// Rechecks returns those that have to be looked at.
func (d *Depot) Rechecks(ctx context.Context, limit int) (all []depot.Recheck, err error) {
	limit = depot.PageLimit(limit)
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketRechecks)).Cursor()
		for k, serial := c.First(); k != nil && len(all) < limit; k, serial = c.Next() {
			all = append(all, depot.Recheck{CertificateSerial: hex.EncodeToString(serial), Number: numberOf(k)})
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list rechecks: %w", err)
	}
	return all, nil
}

func watermarkKey(k depot.WatermarkKey) []byte {
	return append(watermarkPrefix(k.ConfigurationID, k.Lifetime), k.Purpose...)
}

func watermarkPrefix(configurationID string, lifetime time.Duration) []byte {
	return append(deviceKey(configurationID, ""), lifetimeKey(lifetime)...)
}

// setWatermarks moves watermarks. What became current between the old line and
// the new one while the announcer looked there, it may not have seen: whatever
// there has not the mark that is called like the purpose is noted to be looked
// at. That costs what lies between the lines, which the announcer has looked
// through.
func (b *batch) setWatermarks(all []depot.Watermark) error {
	for _, w := range all {
		key := watermarkKey(w.WatermarkKey)
		before, err := watermarkOf(b.get(bucketWatermarks, key))
		if err != nil {
			return err
		}
		if w.Purpose != purposeStalled {
			if err := b.recheckBetween(w, before); err != nil {
				return err
			}
		}
		if w.At.IsZero() {
			err = b.remove(bucketWatermarks, key)
		} else {
			err = b.put(bucketWatermarks, key, secondKey(w.At))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recheckBetween notes what is current between two lines and was not
// announced.
func (b *batch) recheckBetween(w depot.Watermark, before time.Time) error {
	if w.At.IsZero() {
		return nil
	}
	var missed [][]byte
	r := depot.WindowRange{ConfigurationID: w.ConfigurationID, Standing: depot.StandingCurrent, Lifetime: w.Lifetime, After: before, Until: w.At}
	err := merge(rangeStreams(b.tx, []depot.WindowRange{r}, nil), func(position []byte) (bool, error) {
		serial := position[secondSize:]
		h, err := loadHistory(b.tx, serial)
		if _, announced := slices.BinarySearch(h.record.Announced, w.Purpose); err == nil && !announced && b.get(byRecheck, serial) == nil {
			missed = append(missed, serial)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	for _, serial := range missed {
		if err := b.recheck(serial); err != nil {
			return err
		}
	}
	return nil
}

// watermarkOf reads a watermark; none is the zero time.
func watermarkOf(value []byte) (time.Time, error) {
	switch len(value) {
	case 0:
		return time.Time{}, nil
	case secondSize:
		return secondOf(value), nil
	}
	return time.Time{}, fmt.Errorf("watermark: %w", errCut)
}

// isBehind says whether an identity that became current lies where the
// announcer has looked already.
func (b *batch) isBehind(i depot.Identity) bool {
	for _, lifetime := range slices.Compact([]time.Duration{0, i.Lifetime()}) {
		prefix := watermarkPrefix(i.ConfigurationID, lifetime)
		c := b.tx.Bucket([]byte(bucketWatermarks)).Cursor()
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			if string(k[len(prefix):]) != purposeStalled && bytes.Compare(secondKey(i.NotAfter), v) <= 0 {
				return true
			}
		}
	}
	return false
}

// Watermark returns how far the announcer has looked.
func (d *Depot) Watermark(ctx context.Context, key depot.WatermarkKey) (at time.Time, err error) {
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) (err error) {
		at, err = watermarkOf(tx.Bucket([]byte(bucketWatermarks)).Get(watermarkKey(key)))
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("find watermark of configuration %q for %q: %w", key.ConfigurationID, key.Purpose, err)
	}
	return at, nil
}

// StallsUntil returns those whose acknowledgement counts no more.
func (d *Depot) StallsUntil(ctx context.Context, configurationID string, after, until time.Time, limit int) (all []string, err error) {
	limit = depot.PageLimit(limit)
	prefix, end := deviceKey(configurationID, ""), behindSecond(until)
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(byStall)).Cursor()
		for k, _ := c.Seek(slices.Concat(prefix, behindSecond(after))); bytes.HasPrefix(k, prefix) && len(all) < limit; k, _ = c.Next() {
			position := k[len(prefix):]
			if end != nil && bytes.Compare(position, end) >= 0 || len(position) <= secondSize {
				break
			}
			all = append(all, hex.EncodeToString(position[secondSize:]))
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list stalled certificates of configuration %q: %w", configurationID, err)
	}
	return all, nil
}
