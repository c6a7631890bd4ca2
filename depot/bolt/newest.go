package bolt

import (
	"bytes"
	"context"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// latestFirst is a list of records that are kept under their numbers.
type latestFirst[T any] struct {
	cursor  byte // kind
	bucket  string
	load    func(tx *bbolt.Tx, n uint64) (stored[T], error)
	selects func(T) bool
}

// newest lists a page of it, the latest first.
func newest[T any](ctx context.Context, d *Depot, list latestFirst[T], cursor string, limit int) (depot.Page[T], error) {
	var page depot.Page[T]
	from, err := d.readCursor(list.cursor, cursor)
	if err != nil {
		return page, err
	}
	limit, latest := depot.PageLimit(limit), uint64(0)
	var last, looked []byte // of those on the page; of all
	err = d.view(func(tx *bbolt.Tx) error {
		c, count := tx.Bucket([]byte(list.bucket)).Cursor(), 0
		k, _ := c.Last()
		if from != nil {
			if k, _ = before(c, from); bytes.Equal(k, from) {
				k, _ = c.Prev()
			}
		}
		for ; k != nil; k, _ = c.Prev() {
			if count++; count > d.maxLook {
				page.NextCursor = d.cursor(list.cursor, looked)
				return nil
			}
			if count%256 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			looked = append(looked[:0], k...)
			s, err := list.load(tx, numberOf(k))
			if err != nil {
				return err
			}
			if latest = max(latest, s.latest()); !list.selects(s.record) {
				continue
			}
			if len(page.Items) == limit {
				page.NextCursor = d.cursor(list.cursor, last)
				return nil
			}
			page.Items, last = append(page.Items, s.record), bytes.Clone(k)
		}
		return ctx.Err()
	})
	if err == nil {
		err = d.settled(ctx, latest)
	}
	if err != nil {
		return depot.Page[T]{}, err
	}
	return page, nil
}
