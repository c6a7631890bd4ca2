package bolt

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// maxNumber is behind every number: steps are counted from 1.
const maxNumber = "\xff\xff\xff\xff\xff\xff\xff\xff"

// Identities lists a page.
func (d *Depot) Identities(ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error) {
	var page depot.Page[depot.Identity]
	if err := q.Validate(); err != nil {
		return page, err
	}
	kind := cursorIssued
	if q.Order == depot.ByNotAfter {
		kind = cursorNotAfter
	}
	after, err := d.readCursor(kind, q.Cursor)
	if err != nil {
		return page, err
	}
	s := &selection{ctx: ctx, query: q, after: after, synced: d.synced.Load(), limit: depot.PageLimit(q.Limit)}
	err = d.view(s.read)
	if err == nil {
		err = d.settled(ctx, s.changed)
	}
	if err != nil {
		return page, fmt.Errorf("list certificates: %w", err)
	}
	for i, f := range s.found {
		if i == s.limit {
			page.NextCursor = d.cursor(kind, s.found[i-1].position)
			break
		}
		page.Items = append(page.Items, f.identity)
	}
	return page, nil
}

// A selection is one query being answered.
type selection struct {
	ctx    context.Context
	tx     *bbolt.Tx
	query  depot.IdentityQuery
	after  []byte // position of the last item of the page before; nil at the start
	synced uint64 // what the ledger lacks is not there yet
	limit  int
	looked int
	found  []place // at most one more than limit, in order
	// changed is the last step that changed one of those that were looked at:
	// what was there before is shown as it is now.
	changed uint64
}

// A place is an identity and where it stands in the list.
type place struct {
	position []byte
	identity depot.Identity
}

func (s *selection) read(tx *bbolt.Tx) error {
	s.tx = tx
	index, prefix := s.index()
	switch {
	case s.query.Order != depot.ByNotAfter:
		return s.newestFirst(index, prefix)
	case index == bucketTransactions:
		return s.byNotAfter()
	default:
		return s.sortByNotAfter(index, prefix)
	}
}

// index returns the bucket to walk, numbered keys behind a prefix.
func (s *selection) index() (bucket string, prefix []byte) {
	switch q := s.query; {
	case q.TransactionID != "":
		return byTransaction, pair(q.ConfigurationID, q.TransactionID)
	case q.DeviceKey != "":
		return byDevice, pair(q.ConfigurationID, q.DeviceKey)
	case q.PublicKeySHA256 != [32]byte{}:
		return byPublicKey, q.PublicKeySHA256[:]
	}
	return bucketTransactions, nil
}

// newestFirst walks an index backwards.
func (s *selection) newestFirst(index string, prefix []byte) error {
	c := s.tx.Bucket([]byte(index)).Cursor()
	from := append(bytes.Clone(prefix), maxNumber...)
	if s.after != nil {
		from = append(bytes.Clone(prefix), s.after...)
	}
	k, v := before(c, from)
	if bytes.Equal(k, from) {
		k, v = c.Prev()
	}
	for ; k != nil && bytes.HasPrefix(k, prefix) && len(s.found) <= s.limit; k, v = c.Prev() {
		serial, err := s.serialOf(index, v)
		if err != nil {
			return err
		}
		id, ok, err := s.look(serial)
		if err != nil {
			return err
		}
		if ok {
			s.found = append(s.found, place{bytes.Clone(k[len(prefix):]), id})
		}
	}
	return nil
}

// serialOf returns the certificate serial that an entry leads to.
func (s *selection) serialOf(index string, value []byte) ([]byte, error) {
	if index != bucketTransactions {
		return value, nil
	}
	var t depot.Transaction
	var n uint64
	if err := decode(value, withSequence(transactionFields(&t), &n)); err != nil {
		return nil, fmt.Errorf("transaction: %w", err)
	}
	serial, _ := serialBytes(t.CertificateSerial)
	return serial, nil
}

// byNotAfter walks the index of notAfter forwards.
func (s *selection) byNotAfter() error {
	c := s.tx.Bucket([]byte(byNotAfter)).Cursor()
	from := s.after
	if !s.query.NotAfterFrom.IsZero() {
		if first := notAfterKey(s.query.NotAfterFrom, nil); bytes.Compare(first, from) > 0 {
			from = first
		}
	}
	k, _ := c.Seek(from)
	if s.after != nil && bytes.Equal(k, s.after) {
		k, _ = c.Next()
	}
	var end []byte
	if !s.query.NotAfterTo.IsZero() {
		end = notAfterKey(s.query.NotAfterTo, nil)
	}
	for ; k != nil && len(s.found) <= s.limit; k, _ = c.Next() {
		if end != nil && bytes.Compare(k, end) >= 0 {
			return nil
		}
		id, ok, err := s.look(k[notAfterPrefix:])
		if err != nil {
			return err
		}
		if ok {
			s.found = append(s.found, place{bytes.Clone(k), id})
		}
	}
	return nil
}

// sortByNotAfter walks all of a selective index and keeps the first ones by
// notAfter. However long the index is, it holds four pages at most.
func (s *selection) sortByNotAfter(index string, prefix []byte) error {
	c := s.tx.Bucket([]byte(index)).Cursor()
	for k, serial := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, serial = c.Next() {
		id, ok, err := s.look(serial)
		if err != nil {
			return err
		}
		position := notAfterKey(id.NotAfter, serial)
		if !ok || bytes.Compare(position, s.after) <= 0 {
			continue
		}
		if s.found = append(s.found, place{position, id}); len(s.found) > 4*s.limit {
			s.sort()
		}
	}
	s.sort()
	return nil
}

// sort keeps the first ones and the one that says that there are more.
func (s *selection) sort() {
	slices.SortFunc(s.found, func(a, b place) int { return bytes.Compare(a.position, b.position) })
	s.found = s.found[:min(len(s.found), s.limit+1)]
}

// look reads an identity and says whether the query asks for it.
func (s *selection) look(serial []byte) (depot.Identity, bool, error) {
	if s.looked++; s.looked%256 == 0 {
		if err := s.ctx.Err(); err != nil {
			return depot.Identity{}, false, err
		}
	}
	found, err := loadIdentity(s.tx, serial)
	if err != nil {
		return depot.Identity{}, false, fmt.Errorf("certificate %x: %w", serial, dangling(err))
	}
	if found.sequence > s.synced || !s.query.Selects(found.record) {
		return depot.Identity{}, false, nil
	}
	s.changed = max(s.changed, found.changed)
	return found.record, true, nil
}

// before moves the cursor to the last key that is not above key.
func before(c *bbolt.Cursor, key []byte) (k, v []byte) {
	k, v = c.Seek(key)
	switch {
	case k == nil:
		return c.Last()
	case !bytes.Equal(k, key):
		return c.Prev()
	}
	return k, v
}

// lastNumber returns the highest number behind the prefix, 0 if there is none.
func lastNumber(tx *bbolt.Tx, index string, prefix []byte) uint64 {
	k, _ := before(tx.Bucket([]byte(index)).Cursor(), append(bytes.Clone(prefix), maxNumber...))
	if !bytes.HasPrefix(k, prefix) {
		return 0
	}
	return numberOf(k)
}
