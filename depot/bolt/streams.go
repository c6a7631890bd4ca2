package bolt

import (
	"bytes"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// A stream walks one series of by_standing. Several of them give one list in
// the order of notAfter and certificate serial, which is the order of what is
// behind the series in their keys.
type stream struct {
	cursor *bbolt.Cursor
	series []byte
	end    []byte                  // the first position that is not in it any more; nil: none
	wants  func(value []byte) bool // nil: all
	at     []byte                  // the position in hand; nil: at its end
}

// newStream walks a series in [from, end) and behind a position.
func newStream(tx *bbolt.Tx, series, from, end, after []byte, wants func(value []byte) bool) *stream {
	s := &stream{cursor: tx.Bucket([]byte(byStanding)).Cursor(), series: series, end: end, wants: wants}
	if after != nil && bytes.Compare(after, from) >= 0 {
		from = append(bytes.Clone(after), 0) // the least key behind it
	}
	s.settle(s.cursor.Seek(slices.Concat(series, from)))
	return s
}

// settle takes the entry that the cursor is at, or the next one that is
// wanted.
func (s *stream) settle(k, v []byte) {
	for ; bytes.HasPrefix(k, s.series) && len(k) > len(s.series)+secondSize; k, v = s.cursor.Next() {
		position := k[len(s.series):]
		if s.end != nil && bytes.Compare(position, s.end) >= 0 {
			break
		}
		if s.wants == nil || s.wants(v) {
			s.at = position
			return
		}
	}
	s.at = nil
}

// merge gives the positions of all streams in order to take, until that wants
// no more.
func merge(streams []*stream, take func(position []byte) (more bool, err error)) error {
	for {
		var first *stream
		for _, s := range streams {
			if s.at != nil && (first == nil || bytes.Compare(s.at, first.at) < 0) {
				first = s
			}
		}
		if first == nil {
			return nil
		}
		if more, err := take(bytes.Clone(first.at)); err != nil || !more {
			return err
		}
		first.settle(first.cursor.Next())
	}
}

// rangeStreams are the streams of some ranges behind a position.
func rangeStreams(tx *bbolt.Tx, ranges []depot.WindowRange, after []byte) (streams []*stream) {
	for _, r := range ranges {
		for _, series := range rangeSeries(tx, r) {
			streams = append(streams, newStream(tx, series, behindSecond(r.After), behindSecond(r.Until), after, stallFilter(r)))
		}
	}
	return streams
}

// behindSecond is the first position behind those of a second; nil for the zero
// time.
func behindSecond(t time.Time) []byte {
	if t.IsZero() {
		return nil
	}
	return secondKey(t.Add(time.Second))
}

// stallFilter tells from the value of an entry whether a range wants it.
func stallFilter(r depot.WindowRange) func(value []byte) bool {
	if r.Stall == depot.StallAny {
		return nil
	}
	return func(value []byte) bool {
		var stallsAt time.Time
		if len(value) == secondSize {
			stallsAt = secondOf(value)
		}
		return r.StallSelects(stallsAt)
	}
}

// pastStreams are all streams of the configurations of a query about the past.
func pastStreams(tx *bbolt.Tx, q depot.WindowPastQuery, after []byte) (streams []*stream) {
	var from []byte
	if !q.NotAfterFrom.IsZero() {
		from = secondKey(q.NotAfterFrom)
	}
	c := tx.Bucket([]byte(byStanding)).Cursor()
	for k, _ := c.First(); k != nil; {
		end := bytes.IndexByte(k, 0) + 1 + 1 + lifetimeSize
		if end > len(k) {
			return streams
		}
		series := bytes.Clone(k[:end])
		if id := string(series[:bytes.IndexByte(series, 0)]); len(q.ConfigurationIDs) == 0 || slices.Contains(q.ConfigurationIDs, id) {
			streams = append(streams, newStream(tx, series, from, nil, after, nil))
		}
		k, _ = c.Seek(behind(series))
	}
	return streams
}
