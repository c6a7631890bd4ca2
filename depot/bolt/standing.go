package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// The kinds of series, see standingSeries. The first four are standings.
const (
	seriesAcknowledged = 'a'
	seriesCurrent      = 'c'
	seriesRevoked      = 'r'
	seriesSuperseded   = 's'
	seriesStalling     = 'n' // acknowledged ones that stall some day, by notAfter
	seriesStalls       = 't' // the same by StallsAt
)

func seriesOf(s depot.Standing) byte {
	switch s {
	case depot.StandingAcknowledged:
		return seriesAcknowledged
	case depot.StandingCurrent:
		return seriesCurrent
	case depot.StandingRevoked:
		return seriesRevoked
	}
	return seriesSuperseded
}

// standingSeries names what is counted together. That of a standing is also
// how the keys of its entries in by_standing begin.
func standingSeries(configurationID string, kind byte, lifetime time.Duration) []byte {
	return append(append(deviceKey(configurationID, ""), kind), lifetimeKey(lifetime)...)
}

// lifetimeKey sorts by length.
func lifetimeKey(lifetime time.Duration) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(lifetime)^1<<63)
}

const lifetimeSize = 8 // bytes of a lifetimeKey

// secondKey sorts by time, before 1970 too, and cuts fractions off.
func secondKey(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.Unix())^1<<63)
}

const secondSize = 8 // bytes of a secondKey

func secondOf(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)^1<<63), 0).UTC()
}

// A stance is the standing of an identity and, of an acknowledged one, when that
// counts no more; zero: never.
type stance struct {
	standing depot.Standing
	stallsAt time.Time
}

// isLast says whether nothing that counts was committed after it.
func (p stance) isLast() bool {
	return p.standing == depot.StandingCurrent || p.standing == depot.StandingAcknowledged
}

func (p stance) series(i depot.Identity) []byte {
	lifetime := time.Duration(0)
	if p.standing == depot.StandingCurrent {
		lifetime = i.Lifetime()
	}
	return standingSeries(i.ConfigurationID, seriesOf(p.standing), lifetime)
}

// entries are the keys that an identity has for its stance. That of an
// acknowledged one says when it stalls, so that nothing else has to be read to
// tell.
func (p stance) entries(i depot.Identity, serial []byte) []entry {
	if p.standing == depot.StandingNone {
		return nil
	}
	value := []byte{}
	if !p.stallsAt.IsZero() {
		value = secondKey(p.stallsAt)
	}
	entries := []entry{{byStanding, append(append(p.series(i), secondKey(i.NotAfter)...), serial...), value}}
	if !p.stallsAt.IsZero() {
		entries = append(entries, entry{byStall, stallKey(i.ConfigurationID, p.stallsAt, serial), []byte{}})
	}
	return entries
}

func stallKey(configurationID string, stallsAt time.Time, serial []byte) []byte {
	return append(append(deviceKey(configurationID, ""), secondKey(stallsAt)...), serial...)
}

// countStance notes one more of a stance, or one fewer.
func (b *batch) countStance(i depot.Identity, p stance, more int64) {
	if p.standing == depot.StandingNone {
		return
	}
	b.count(p.series(i), i.NotAfter, more)
	if !p.stallsAt.IsZero() {
		b.count(standingSeries(i.ConfigurationID, seriesStalling, 0), i.NotAfter, more)
		b.count(standingSeries(i.ConfigurationID, seriesStalls, 0), p.stallsAt, more)
	}
}

// stand brings the standings of a device up to date after one of its
// identities was stored or changed by the step in hand; n is the step that
// issued it. It is the only place where a standing changes, acknowledging
// aside: of all others of the device only the one that was the last before, or
// is now, can be concerned.
func (b *batch) stand(before, after depot.Identity, serial []byte, n uint64) error {
	was, is := before.Standing(false, false), after.Standing(false, false)
	if was == is {
		return nil
	}
	from, to := stance{standing: was}, stance{standing: is}
	var err error
	if before.Stands() {
		from, err = stanceOf(b.tx, before, serial)
	} else if after.Stands() {
		to, err = stanceFor(b.tx, after, serial, n)
	}
	if err != nil {
		return err
	}
	if from.isLast() || to.isLast() {
		if err := b.standBefore(after, n, to.isLast()); err != nil {
			return err
		}
	}
	return b.move(after, serial, from, to)
}

// standBefore moves the one that was the last before step n, if there is one:
// it is superseded now, or the last again.
func (b *batch) standBefore(of depot.Identity, n uint64, superseded bool) error {
	other, serial, err := neighbour(b.tx, of, n, (*bbolt.Cursor).Prev, depot.Identity.Stands)
	if err != nil || serial == nil {
		return err
	}
	from, to := stance{standing: depot.StandingSuperseded}, stance{standing: depot.StandingSuperseded}
	if superseded {
		from, err = stanceOf(b.tx, other, serial)
	} else {
		to, err = ownStance(b.tx, serial)
	}
	if err != nil {
		return err
	}
	return b.move(other, serial, from, to)
}

// neighbour returns the nearest identity of the same device before or after
// step n that is wanted; without its serial, there is none. It looks at those
// in between.
func neighbour(tx *bbolt.Tx, of depot.Identity, n uint64, step func(*bbolt.Cursor) (k, v []byte), wanted func(depot.Identity) bool) (depot.Identity, []byte, error) {
	prefix := pair(of.ConfigurationID, of.Device.Key)
	c := tx.Bucket([]byte(byDevice)).Cursor()
	c.Seek(append(bytes.Clone(prefix), number(n)...))
	for k, serial := step(c); len(k) == len(prefix)+8 && bytes.HasPrefix(k, prefix); k, serial = step(c) {
		s, err := load(tx, bucketIdentities, serial, identityFields)
		if err != nil {
			return depot.Identity{}, nil, fmt.Errorf("certificate %x: %w", serial, dangling(err))
		}
		if wanted(s.record) {
			return s.record, bytes.Clone(serial), nil
		}
	}
	return depot.Identity{}, nil, nil
}

// stanceFor works out the stance of an identity that step n issued from what is
// stored of its device.
func stanceFor(tx *bbolt.Tx, i depot.Identity, serial []byte, n uint64) (stance, error) {
	if !i.Stands() {
		return stance{standing: i.Standing(false, false)}, nil
	}
	_, later, err := neighbour(tx, i, n, (*bbolt.Cursor).Next, depot.Identity.Stands)
	if err != nil || later != nil {
		return stance{standing: depot.StandingSuperseded}, err
	}
	return ownStance(tx, serial)
}

// ownStance is the stance of the last of its device.
func ownStance(tx *bbolt.Tx, serial []byte) (stance, error) {
	h, err := loadHistory(tx, serial)
	if err != nil {
		return stance{}, err
	}
	if a, ok := h.record.InForce(); ok {
		return stance{depot.StandingAcknowledged, a.StallsAt}, nil
	}
	return stance{standing: depot.StandingCurrent}, nil
}

// stanceOf reads the stance of an identity from the index.
func stanceOf(tx *bbolt.Tx, i depot.Identity, serial []byte) (stance, error) {
	if !i.Stands() {
		return stance{standing: i.Standing(false, false)}, nil
	}
	index := tx.Bucket([]byte(byStanding))
	for _, s := range []depot.Standing{depot.StandingSuperseded, depot.StandingCurrent, depot.StandingAcknowledged} {
		p := stance{standing: s}
		value := index.Get(p.entries(i, serial)[0].key)
		if value == nil {
			continue
		}
		if len(value) == secondSize {
			p.stallsAt = secondOf(value)
		}
		return p, nil
	}
	return stance{}, fmt.Errorf("certificate %x in index %s: %w", serial, byStanding, errDangling)
}

// move gives an identity another stance, and notes that it has to be looked at.
func (b *batch) move(i depot.Identity, serial []byte, from, to stance) error {
	for _, e := range from.entries(i, serial) {
		if err := b.remove(e.bucket, e.key); err != nil {
			return err
		}
	}
	for _, e := range to.entries(i, serial) {
		if err := b.put(e.bucket, e.key, e.value); err != nil {
			return err
		}
	}
	b.countStance(i, from, -1)
	b.countStance(i, to, 1)
	look := from.standing != depot.StandingNone || to.standing != depot.StandingCurrent
	if !look {
		look = b.isBehind(i)
	}
	if look {
		return b.recheck(serial)
	}
	return nil
}

// upgradeStanding gives an identity of an older format its stance. What became
// of it before is no news, so that it is not noted to be looked at. When a
// delivery ended only its event tells, and a hold that was lifted.
func (b *batch) upgradeStanding(s stored[depot.Identity], serial []byte) error {
	p, err := stanceFor(b.tx, s.record, serial, s.sequence)
	if err != nil {
		return err
	}
	for _, e := range p.entries(s.record, serial) {
		if err := b.put(e.bucket, e.key, e.value); err != nil {
			return err
		}
	}
	b.countStance(s.record, p, 1)
	b.changedAt(s.record.IssuedAt)
	b.changedAt(s.record.RevokedAt)
	if s.changed == 0 {
		return nil
	}
	e, err := load(b.tx, bucketEvents, number(s.changed), eventFields)
	if err != nil && !errors.Is(err, depot.ErrNotFound) {
		return err
	}
	b.changedAt(e.record.At)
	return nil
}

// changedAt notes when something changed that windows show.
func (b *batch) changedAt(t time.Time) {
	if t.After(b.latest) {
		b.latest = t
	}
}

// settleLatest writes the latest change, if one of the batch is.
func (b *batch) settleLatest() error {
	if b.latest.IsZero() {
		return nil
	}
	latest := notAfterKey(b.latest, nil)
	if bytes.Compare(latest, b.get(bucketMeta, []byte(metaLatest))) <= 0 {
		return nil
	}
	return b.put(bucketMeta, []byte(metaLatest), latest)
}
