package bolt

import (
	"bytes"
	"errors"
	"slices"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// standings looks for identities without the entries of their standing, and
// for entries without their identity.
func (c *checker) standings() error {
	err := c.each(bucketIdentities, func(serial, _ []byte) error {
		entries, err := c.standingEntries(serial)
		if err != nil {
			return nil // found above
		}
		for _, e := range entries {
			if v := c.tx.Bucket([]byte(e.bucket)).Get(e.key); v == nil || !bytes.Equal(v, e.value) {
				if err := c.found("certificate %x: no entry in index %s, or another", serial, e.bucket); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for index, tail := range map[string]int{byStanding: 1 + lifetimeSize + secondSize, byStall: secondSize} {
		err := c.each(index, func(k, _ []byte) error {
			serial := k[min(len(k), bytes.IndexByte(k, 0)+1+tail):]
			entries, err := c.standingEntries(serial)
			if err != nil {
				return c.found("index %s, entry %x: certificate %x: %v", index, k, serial, dangling(err))
			}
			if !slices.ContainsFunc(entries, func(e entry) bool { return e.bucket == index && bytes.Equal(e.key, k) }) {
				return c.found("index %s, entry %x: certificate %x does not belong there", index, k, serial)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// standingEntries works out the entries of an identity's standing from what is
// stored of its device.
func (c *checker) standingEntries(serial []byte) ([]entry, error) {
	s, err := load(c.tx, bucketIdentities, serial, identityFields)
	if err != nil {
		return nil, err
	}
	p, err := stanceFor(c.tx, s.record, serial, s.sequence)
	return p.entries(s.record, serial), err
}

// A tally compares the counters of one level with what is counted, in the
// order in which the counters lie.
type tally struct {
	key   []byte // of the counter in hand
	count int64
	keys  int // counters that there should be
}

// counters looks at whether the counters say how many entries there are. The
// entries come in the order of each level's counters, so that nothing but the
// counters in hand has to be kept in memory, however many there are.
func (c *checker) counters() error {
	counters := 0
	standings, stalling, stalls := make([]tally, counterLevels), make([]tally, counterLevels), make([]tally, counterLevels)
	err := c.each(byStanding, func(k, v []byte) error {
		end := bytes.IndexByte(k, 0) + 1 + 1 + lifetimeSize
		if len(k) < end+secondSize {
			return nil // found above
		}
		err := c.tally(standings, k[:end], k[end:])
		if err == nil && k[end-lifetimeSize-1] == seriesAcknowledged && len(v) == secondSize {
			id := string(k[:bytes.IndexByte(k, 0)])
			err = c.tally(stalling, standingSeries(id, seriesStalling, 0), k[end:])
		}
		return err
	})
	if err != nil {
		return err
	}
	err = c.each(byStall, func(k, _ []byte) error {
		end := bytes.IndexByte(k, 0) + 1
		if len(k) < end+secondSize {
			return nil // found above
		}
		return c.tally(stalls, standingSeries(string(k[:end-1]), seriesStalls, 0), k[end:])
	})
	if err != nil {
		return err
	}
	for _, all := range [][]tally{standings, stalling, stalls} {
		for level := range all {
			if err := c.compareCounter(all[level]); err != nil {
				return err
			}
			counters += all[level].keys
		}
	}
	stored := c.tx.Bucket([]byte(bucketCounters)).Stats().KeyN
	if stored != counters {
		return c.found("%d counters of standings, there should be %d", stored, counters)
	}
	return nil
}

// tally counts an entry on each level.
func (c *checker) tally(levels []tally, series, position []byte) error {
	second := counterSecond(secondOf(position))
	for level := range levels {
		t := &levels[level]
		key := counterKey(series, level, second>>(counterBits*level))
		if bytes.Equal(key, t.key) {
			t.count++
			continue
		}
		if err := c.compareCounter(*t); err != nil {
			return err
		}
		t.key, t.count = key, 1
		t.keys++
	}
	return nil
}

func (c *checker) compareCounter(t tally) error {
	if t.key == nil {
		return nil
	}
	n, err := counted(c.tx.Bucket([]byte(bucketCounters)).Get(t.key))
	if err != nil || n != t.count {
		return c.found("counter %x of standings: says %d, there are %d: %v", t.key, n, t.count, err)
	}
	return nil
}

// histories looks for what was acknowledged or announced of nothing.
func (c *checker) histories() error {
	return c.each(bucketHistories, func(serial, _ []byte) error {
		h, err := loadHistory(c.tx, serial)
		if err != nil {
			return c.found("%v", err)
		}
		s, err := load(c.tx, bucketIdentities, serial, identityFields)
		if err != nil || s.record.HeldBack {
			return c.found("redistribution of certificate %x: that is not there or held back: %v", serial, err)
		}
		i := h.record
		if n := len(i.Acknowledgements); n > depot.MaxAcknowledgements || n != min(i.Attempts, depot.MaxAcknowledgements) {
			return c.found("redistribution of certificate %x: %d acknowledgements of %d are kept", serial, n, i.Attempts)
		}
		for _, a := range i.Acknowledgements {
			if a.CertificateSerial != s.record.CertificateSerial || errors.Join(a.Validate(), a.ValidateFor(s.record)) != nil {
				return c.found("redistribution of certificate %x: an acknowledgement of %s at %v that cannot be", serial, a.CertificateSerial, a.At)
			}
		}
		if !slices.IsSorted(i.Announced) || len(slices.Compact(slices.Clone(i.Announced))) != len(i.Announced) {
			return c.found("redistribution of certificate %x: marks %q", serial, i.Announced)
		}
		return nil
	})
}

// rechecks looks at whether the two lists of what has to be looked at agree,
// and at the watermarks.
func (c *checker) rechecks() error {
	err := c.each(bucketRechecks, func(n, serial []byte) error {
		if c.tx.Bucket([]byte(bucketIdentities)).Get(serial) == nil || !bytes.Equal(c.tx.Bucket([]byte(byRecheck)).Get(serial), n) {
			return c.found("recheck %d: certificate %x is not there or noted under another number", numberOf(n), serial)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = c.each(byRecheck, func(serial, n []byte) error {
		if !bytes.Equal(c.tx.Bucket([]byte(bucketRechecks)).Get(n), serial) {
			return c.found("recheck of certificate %x: number %d is not there or another's", serial, numberOf(n))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(bucketWatermarks, func(k, v []byte) error {
		if at, err := watermarkOf(v); err != nil || at.IsZero() || bytes.IndexByte(k, 0) < 1 || len(k) <= bytes.IndexByte(k, 0)+1+lifetimeSize {
			return c.found("watermark %x: it cannot be read: %v", k, err)
		}
		return nil
	})
}

// compareWindow holds what the ledger says of an acknowledgement or an
// announcement against what is stored. Acknowledgements that are not kept any
// more only their number tells of.
func compareWindow(tx *bbolt.Tx, e Entry) error {
	var serial string
	var same func(depot.WindowItem) bool
	switch depot.EventType(e.Type) {
	case depot.EventRedistributionAcknowledged:
		a, err := e.Acknowledgement()
		if err != nil {
			return errDiffers
		}
		serial, same = a.CertificateSerial, func(i depot.WindowItem) bool { return acknowledgedSo(i, a) }
	case depot.EventRedistributionUndone:
		u, err := e.undoing()
		if err != nil {
			return errDiffers
		}
		serial, same = u.certificateSerial, func(i depot.WindowItem) bool { return undoneSo(i, u) }
	default:
		a, err := e.Announcement()
		if err != nil {
			return errDiffers
		}
		serial, same = a.CertificateSerial, func(i depot.WindowItem) bool {
			_, announced := slices.BinarySearch(i.Announced, a.Mark)
			event, err := load(tx, bucketEvents, number(e.Number), eventFields)
			return announced && err == nil && event.record.At.Equal(a.At) && event.record.SupersededBy == a.SupersededBy
		}
	}
	key, _ := canonical(serial)
	h, err := loadHistory(tx, key)
	event, err2 := load(tx, bucketEvents, number(e.Number), eventFields)
	if err != nil || err2 != nil || h.sequence < e.Number || !same(h.record) ||
		string(event.record.Type) != e.Type || event.record.CertificateSerial != serial {
		return errDiffers
	}
	return nil
}

func acknowledgedSo(i depot.WindowItem, a depot.Acknowledgement) bool {
	return i.Attempts > depot.MaxAcknowledgements || slices.ContainsFunc(i.Acknowledgements, func(have depot.Acknowledgement) bool {
		have.UndoneAt, have.UndoneBy = a.UndoneAt, a.UndoneBy
		return sameFields(acknowledgementFields(&have), acknowledgementFields(&a))
	})
}

func undoneSo(i depot.WindowItem, u undoing) bool {
	return i.Attempts > depot.MaxAcknowledgements || slices.ContainsFunc(i.Acknowledgements, func(have depot.Acknowledgement) bool {
		return have.UndoneAt.Equal(u.at) && have.UndoneBy == u.by
	})
}

// latestChange looks at whether nothing was issued after the latest change.
func (c *checker) latestChange() error {
	latest := c.tx.Bucket([]byte(bucketMeta)).Get([]byte(metaLatest))
	return c.each(bucketIdentities, func(serial, _ []byte) error {
		s, err := load(c.tx, bucketIdentities, serial, identityFields)
		if err != nil {
			return nil // found above
		}
		if at := notAfterKey(s.record.IssuedAt, nil); !s.record.IssuedAt.IsZero() && bytes.Compare(at, latest) > 0 {
			return c.found("certificate %x: it was issued after the latest change", serial)
		}
		return nil
	})
}
