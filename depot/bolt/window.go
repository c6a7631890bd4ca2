package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// WindowItem finds one.
func (d *Depot) WindowItem(ctx context.Context, certificateSerial string) (i depot.WindowItem, err error) {
	serial, ok := canonical(certificateSerial)
	if !ok {
		return i, fmt.Errorf("find certificate %q: %w", certificateSerial, depot.ErrNotFound)
	}
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) (err error) {
		i, err = windowItem(tx, serial)
		return err
	})
	if err != nil {
		return depot.WindowItem{}, fmt.Errorf("find certificate %s: %w", certificateSerial, err)
	}
	return i, nil
}

// WindowItems lists a page. It waits for what the ledger lacks, because a
// certificate that got another standing is seen only by its absence.
func (d *Depot) WindowItems(ctx context.Context, q depot.WindowQuery) (depot.Page[depot.WindowItem], error) {
	var none depot.Page[depot.WindowItem]
	if err := q.Validate(); err != nil {
		return none, err
	}
	after, err := d.readCursor(cursorWindow, q.Cursor)
	if err != nil {
		return none, err
	}
	w := &windowSelection{ctx: ctx, query: q, limit: depot.PageLimit(q.Limit), most: d.maxLook}
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		w.tx = tx
		if q.DeviceKey != "" {
			return w.ofDevice(after)
		}
		return merge(rangeStreams(tx, q.Ranges, after), w.take)
	})
	if err != nil {
		return none, fmt.Errorf("list certificates by window: %w", err)
	}
	return w.page(d, cursorWindow), nil
}

// A windowSelection is one list of items in the making.
type windowSelection struct {
	ctx    context.Context
	tx     *bbolt.Tx
	query  depot.WindowQuery
	limit  int
	most   int // identities that may be looked at
	looked int
	items  []depot.WindowItem
	last   []byte // position of the last one that was looked at and is not behind the page
	more   bool   // the list goes on behind last
}

// take looks at the next one in order and says whether to go on.
func (w *windowSelection) take(position []byte) (bool, error) {
	return w.keep(position, func() (depot.WindowItem, bool, error) {
		i, err := windowItem(w.tx, position[secondSize:])
		if err != nil {
			return i, false, fmt.Errorf("certificate %x: %w", position[secondSize:], dangling(err))
		}
		return i, namesDevice(i.Identity, w.query.DeviceKey, w.query.ProfileUUID), nil
	})
}

// keep adds what find returns to the page unless that is full.
func (w *windowSelection) keep(position []byte, find func() (i depot.WindowItem, wanted bool, err error)) (bool, error) {
	if w.looked++; w.looked%256 == 0 && w.ctx.Err() != nil {
		return false, w.ctx.Err()
	}
	if w.looked > w.most {
		w.more = true
		return false, nil
	}
	i, wanted, err := find()
	if err != nil {
		return false, err
	}
	if wanted && len(w.items) == w.limit {
		w.more = true
		return false, nil
	}
	w.last = position
	if wanted {
		w.items = append(w.items, i)
	}
	return true, nil
}

func (w *windowSelection) page(d *Depot, kind byte) depot.Page[depot.WindowItem] {
	p := depot.Page[depot.WindowItem]{Items: w.items}
	if w.more {
		p.NextCursor = d.cursor(kind, w.last)
	}
	return p
}

func namesDevice(i depot.Identity, key, profileUUID string) bool {
	return (key == "" || key == i.Device.Key) && (profileUUID == "" || strings.EqualFold(profileUUID, i.Device.ProfileUUID))
}

// ofDevice lists the items of one device of each configuration. It looks at
// all of them.
func (w *windowSelection) ofDevice(after []byte) error {
	var positions [][]byte
	var seen []string
	for _, r := range w.query.Ranges {
		if slices.Contains(seen, r.ConfigurationID) || len(w.query.DeviceKey) > maxPart {
			continue
		}
		seen = append(seen, r.ConfigurationID)
		prefix := pair(r.ConfigurationID, w.query.DeviceKey)
		c := w.tx.Bucket([]byte(byDevice)).Cursor()
		for k, serial := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, serial = c.Next() {
			i, err := windowItem(w.tx, serial)
			if errors.Is(err, depot.ErrNotFound) { // held back
				continue
			}
			if err != nil {
				return err
			}
			position := append(secondKey(i.Identity.NotAfter), serial...)
			if bytes.Compare(position, after) > 0 && slices.ContainsFunc(w.query.Ranges, func(r depot.WindowRange) bool { return r.Selects(i) }) {
				positions = append(positions, position)
			}
		}
	}
	slices.SortFunc(positions, bytes.Compare)
	for _, position := range positions {
		if more, err := w.take(position); err != nil || !more {
			return err
		}
	}
	return nil
}

// WindowCounts counts ranges.
func (d *Depot) WindowCounts(ctx context.Context, ranges []depot.WindowRange) ([]int, error) {
	if err := (depot.WindowQuery{Ranges: ranges}).Validate(); err != nil {
		return nil, err
	}
	var counts []int
	err := d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		for _, r := range ranges {
			n, err := countRange(tx, r)
			if err != nil {
				return err
			}
			counts = append(counts, n)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("count certificates by window: %w", err)
	}
	return counts, nil
}

// countRange counts one range. An acknowledgement stalls before its
// certificate expires, so that of those that stalled until a time the ones
// that did not expire until then are what is left without the others that ever
// stall.
func countRange(tx *bbolt.Tx, r depot.WindowRange) (sum int, err error) {
	for _, series := range rangeSeries(tx, r) {
		n, err := countBetween(tx, series, r.After, r.Until)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	if r.Stall == depot.StallAny {
		return sum, nil
	}
	stalled, err := countUntil(tx, standingSeries(r.ConfigurationID, seriesStalls, 0), r.At)
	if err != nil {
		return 0, err
	}
	expired, err := countUntil(tx, standingSeries(r.ConfigurationID, seriesStalling, 0), r.At)
	if r.Stall == depot.StallPassed {
		return stalled - expired, err
	}
	return sum - (stalled - expired), err
}

// rangeSeries are the series of a range: one, unless it is of any lifetime.
func rangeSeries(tx *bbolt.Tx, r depot.WindowRange) (all [][]byte) {
	if r.Standing != depot.StandingCurrent || r.Lifetime != 0 {
		return [][]byte{standingSeries(r.ConfigurationID, seriesOf(r.Standing), r.Lifetime)}
	}
	for _, lifetime := range lifetimes(tx, r.ConfigurationID) {
		all = append(all, standingSeries(r.ConfigurationID, seriesCurrent, lifetime))
	}
	return all
}

// WindowLifetimes returns the lifetimes of current ones.
func (d *Depot) WindowLifetimes(ctx context.Context, configurationID string) (all []time.Duration, err error) {
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		all = lifetimes(tx, configurationID)
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list lifetimes of configuration %q: %w", configurationID, err)
	}
	return all, nil
}

// lifetimes skips from each to the next.
func lifetimes(tx *bbolt.Tx, configurationID string) (all []time.Duration) {
	prefix := append(deviceKey(configurationID, ""), seriesCurrent)
	c := tx.Bucket([]byte(byStanding)).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(k) >= len(prefix)+lifetimeSize; {
		series := bytes.Clone(k[:len(prefix)+lifetimeSize])
		all = append(all, time.Duration(numberOf(series)^1<<63))
		k, _ = c.Seek(behind(series))
	}
	return all
}

// behind is a key behind all those of by_standing that begin like this: no
// second begins with this byte.
func behind(prefix []byte) []byte { return append(bytes.Clone(prefix), 0xff) }

// LatestChange returns when something changed last.
func (d *Depot) LatestChange(ctx context.Context) (latest time.Time, err error) {
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucketMeta)).Get([]byte(metaLatest))
		if len(b) == notAfterPrefix {
			latest = notAfterOf(b)
		}
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("find the latest change: %w", err)
	}
	return latest, nil
}

// Places returns the places of certificates.
func (d *Depot) Places(ctx context.Context, certificateSerials []string, asOf time.Time) ([]depot.Place, error) {
	var all []depot.Place
	err := d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		for _, certificateSerial := range certificateSerials {
			p, err := placeOf(tx, certificateSerial, asOf)
			if err != nil {
				return err
			}
			all = append(all, p)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("find places: %w", err)
	}
	return all, nil
}

func placeOf(tx *bbolt.Tx, certificateSerial string, asOf time.Time) (depot.Place, error) {
	serial, ok := canonical(certificateSerial)
	if !ok || tx.Bucket([]byte(bucketIdentities)).Get(serial) == nil {
		return depot.Place{}, nil
	}
	if !asOf.IsZero() {
		i, _, err := wasItem(tx, serial, asOf)
		return i.Place(), err
	}
	i, err := windowItem(tx, serial)
	if errors.Is(err, depot.ErrNotFound) { // held back
		return depot.Place{}, nil
	}
	return i.Place(), err
}

// WindowItemsPast lists a page of items as they were.
func (d *Depot) WindowItemsPast(ctx context.Context, q depot.WindowPastQuery) (depot.Page[depot.WindowItem], error) {
	var none depot.Page[depot.WindowItem]
	after, err := d.readCursor(cursorPast, q.Cursor)
	if err != nil {
		return none, err
	}
	w := &windowSelection{ctx: ctx, limit: depot.PageLimit(q.Limit), most: d.maxLook}
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		return merge(pastStreams(tx, q, after), func(position []byte) (bool, error) {
			return w.keep(position, func() (depot.WindowItem, bool, error) {
				i, was, err := wasItem(tx, position[secondSize:], q.AsOf)
				was = was && namesDevice(i.Identity, q.DeviceKey, q.ProfileUUID)
				return i, was && (q.Match == nil || q.Match(i)), err
			})
		})
	})
	if err != nil {
		return none, fmt.Errorf("list certificates by window as of %v: %w", q.AsOf, err)
	}
	return w.page(d, cursorPast), nil
}

// WindowItemPast finds one as it was.
func (d *Depot) WindowItemPast(ctx context.Context, certificateSerial string, asOf time.Time) (i depot.WindowItem, err error) {
	err = d.viewSettled(ctx, func(tx *bbolt.Tx) (err error) {
		was := false
		if serial, ok := canonical(certificateSerial); ok && tx.Bucket([]byte(bucketIdentities)).Get(serial) != nil {
			i, was, err = wasItem(tx, serial, asOf)
		}
		if err == nil && !was {
			err = depot.ErrNotFound
		}
		return err
	})
	if err != nil {
		return depot.WindowItem{}, fmt.Errorf("find certificate %s as of %v: %w", certificateSerial, asOf, err)
	}
	return i, nil
}

func notAfterOf(key []byte) time.Time {
	return time.Unix(secondOf(key).Unix(), int64(numberOf(append(make([]byte, 4), key[8:notAfterPrefix]...)))).UTC()
}
