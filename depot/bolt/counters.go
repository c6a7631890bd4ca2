package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// How many of a series lie at or before a time must cost the same however many
// there are, and counting one more must be cheap, because every enrolment
// does. So a series is a tree over seconds, of which only the nodes that are
// not zero are stored:
//
//	series | level (1) | slot (6) → how many, uvarint
//
// A slot of level 0 is one second, of level n 128ⁿ seconds. A sum up to a
// second takes the whole slots before it on each level: at most 127 of each.
//
// The writer adds up what changes in memory and writes it when the batch ends:
// an enrolment that moves one certificate out of a series and one into it
// changes the upper levels by nothing, and those of one batch share them.
const (
	counterBits   = 7
	counterLevels = 6                                  // 2^42 seconds, half of them before 1970
	counterAll    = 1 << (counterBits * counterLevels) // behind every second
)

// counterSecond is the place of a time in a series. Whoever stores a year of
// six digits shares the last place with its like.
func counterSecond(t time.Time) uint64 {
	const half = counterAll / 2
	return uint64(min(max(t.Unix(), -half), half-1) + half)
}

func counterKey(series []byte, level int, slot uint64) []byte {
	key := make([]byte, 0, len(series)+1+8)
	key = append(append(key, series...), byte(level))
	slotBytes := binary.BigEndian.AppendUint64(nil, slot)
	return append(key, slotBytes[2:]...)
}

// count notes that there are more of a series at a time, or fewer.
func (b *batch) count(series []byte, t time.Time, more int64) {
	if b.counts == nil {
		b.counts = make(map[string]int64)
	}
	second := counterSecond(t)
	for level := range counterLevels {
		b.counts[string(counterKey(series, level, second>>(counterBits*level)))] += more
	}
}

// settleCounts writes what changed since the batch began, and the latest
// change. Nothing in a batch reads it.
func (b *batch) settleCounts() error {
	for _, key := range slices.Sorted(maps.Keys(b.counts)) {
		more := b.counts[key]
		if more == 0 {
			continue
		}
		before, err := counted(b.get(bucketCounters, []byte(key)))
		if err != nil {
			return fmt.Errorf("counter %x: %w", key, err)
		}
		switch after := before + more; {
		case after < 0:
			return fmt.Errorf("counter %x: %d and %d more: the store is inconsistent", key, before, more)
		case after == 0:
			err = b.remove(bucketCounters, []byte(key))
		default:
			err = b.put(bucketCounters, []byte(key), binary.AppendUvarint(nil, uint64(after)))
		}
		if err != nil {
			return err
		}
	}
	clear(b.counts)
	return b.settleLatest()
}

// counted reads a counter; one that is not there is zero.
func counted(value []byte) (int64, error) {
	if value == nil {
		return 0, nil
	}
	n, size := binary.Uvarint(value)
	if size <= 0 || size != len(value) || n == 0 {
		return 0, errCut
	}
	return int64(n), nil
}

// countUntil returns how many of a series lie at or before a time, all of them
// for the zero time.
func countUntil(tx *bbolt.Tx, series []byte, until time.Time) (sum int, err error) {
	end := uint64(counterAll)
	if !until.IsZero() {
		end = counterSecond(until) + 1
	}
	c := tx.Bucket([]byte(bucketCounters)).Cursor()
	for level := range counterLevels {
		behind := end >> (counterBits * level) // the first slot that is not whole, or not before the end
		first := behind &^ (1<<counterBits - 1)
		if level == counterLevels-1 {
			first = 0
		}
		if first == behind {
			continue
		}
		last := counterKey(series, level, behind)
		for k, v := c.Seek(counterKey(series, level, first)); k != nil && bytes.Compare(k, last) < 0; k, v = c.Next() {
			n, err := counted(v)
			if err != nil {
				return 0, fmt.Errorf("counter %x: %w", k, err)
			}
			sum += int(n)
		}
	}
	return sum, nil
}

// countBetween returns how many of a series lie in (after, until]; a zero
// bound is none.
func countBetween(tx *bbolt.Tx, series []byte, after, until time.Time) (int, error) {
	sum, err := countUntil(tx, series, until)
	if err != nil || after.IsZero() {
		return sum, err
	}
	before, err := countUntil(tx, series, after)
	return max(sum-before, 0), err
}
