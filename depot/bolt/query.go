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
	s := &selection{ctx: ctx, query: q, after: after, synced: d.synced.Load(), limit: depot.PageLimit(q.Limit), most: d.maxLook}
	err = d.view(s.read)
	if err == nil {
		err = d.settled(ctx, s.changed)
	}
	if err != nil {
		return page, fmt.Errorf("list certificates: %w", err)
	}
	for _, f := range s.found {
		page.Items = append(page.Items, f.identity)
	}
	if s.next != nil {
		page.NextCursor = d.cursor(kind, s.next)
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
	most   int // identities that may be looked at
	looked int
	last   []byte  // position of the last one that was looked at
	found  []place // in order
	next   []byte  // position that the next page begins behind; nil: there is none
	// changed is the last step that changed one of those that were looked at:
	// what was there before is shown, and selected, as it is now.
	changed uint64
}

// A place is an identity, without its DER, and where it stands in the list.
type place struct {
	position []byte
	identity depot.Identity
}

// read finds what is on the page and then reads its DER.
func (s *selection) read(tx *bbolt.Tx) error {
	s.tx = tx
	if s.query.WithStanding { // which steps about other identities change
		end, err := readHead(tx)
		if err != nil {
			return err
		}
		s.changed = end.number
	}
	if err := s.walk(); err != nil {
		return err
	}
	for n := range s.found {
		id := &s.found[n].identity
		serial, _ := serialBytes(id.CertificateSerial)
		if err := loadCertificate(tx, serial, id); err != nil {
			return err
		}
	}
	return nil
}

// walk chooses between an index that selects but lacks the order that is asked
// for, and one that has the order and selects nothing: a part of the first
// that is too long for one page is left aside. Both ways give the same list
// and the same positions, so that the choice may change between two pages.
func (s *selection) walk() error {
	index, prefix := s.index()
	names := index == byName && s.query.NamePrefix
	sorts := index != bucketTransactions && (names || s.query.Order == depot.ByNotAfter)
	if sorts && s.tooLong(index, prefix) {
		index, prefix, sorts, names = bucketTransactions, nil, false, false
	}
	switch {
	case s.query.Order != depot.ByNotAfter && names:
		return s.newestOfNames(prefix)
	case s.query.Order != depot.ByNotAfter:
		return s.newestFirst(index, prefix)
	case sorts:
		return s.sortByNotAfter(index, prefix)
	}
	return s.byNotAfter()
}

// index returns the bucket to walk, numbered keys behind a prefix, or behind
// what begins with it when it is that of a beginning of names.
func (s *selection) index() (bucket string, prefix []byte) {
	switch q := s.query; {
	case q.TransactionID != "":
		return byTransaction, pair(q.ConfigurationID, q.TransactionID)
	case q.DeviceKey != "":
		return byDevice, pair(q.ConfigurationID, q.DeviceKey)
	case q.PublicKeySHA256 != [32]byte{}:
		return byPublicKey, q.PublicKeySHA256[:]
	case q.NameKind != "" && q.NamePrefix:
		return byName, nameStart(q.NameKind, q.Name)
	case q.NameKind != "":
		return byName, nameKey(q.NameKind, q.Name)
	}
	return bucketTransactions, nil
}

// tooLong says whether a part of an index has more entries than one page may
// look at.
func (s *selection) tooLong(index string, prefix []byte) bool {
	c, count := s.tx.Bucket([]byte(index)).Cursor(), 0
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && count <= s.most; k, _ = c.Next() {
		count++
	}
	return count > s.most
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
	for ; k != nil && bytes.HasPrefix(k, prefix); k, v = c.Prev() {
		serial, err := s.serialOf(index, v)
		if err != nil {
			return err
		}
		if more, err := s.take(k[len(prefix):], serial); err != nil || !more {
			return err
		}
	}
	return nil
}

// newestOfNames sorts the entries of all names with one beginning by their
// numbers, and only then looks at identities.
func (s *selection) newestOfNames(start []byte) error {
	var entries []entry
	c := s.tx.Bucket([]byte(byName)).Cursor()
	for k, serial := c.Seek(start); bytes.HasPrefix(k, start); k, serial = c.Next() {
		n := k[max(0, len(k)-8):]
		if s.after == nil || bytes.Compare(n, s.after) < 0 {
			entries = append(entries, entry{byName, n, serial})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(b.key, a.key) })
	for _, e := range entries {
		if more, err := s.take(e.key, e.value); err != nil || !more {
			return err
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
	for ; k != nil && (end == nil || bytes.Compare(k, end) < 0); k, _ = c.Next() {
		if more, err := s.take(k, k[notAfterPrefix:]); err != nil || !more {
			return err
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
	if len(s.found) > s.limit {
		s.found, s.next = s.found[:s.limit], s.found[s.limit-1].position
	}
	return nil
}

// sort keeps the first ones and the one that says that there are more.
func (s *selection) sort() {
	slices.SortFunc(s.found, func(a, b place) int { return bytes.Compare(a.position, b.position) })
	s.found = s.found[:min(len(s.found), s.limit+1)]
}

// take looks at what comes next in the order, and says whether to go on.
func (s *selection) take(position, serial []byte) (more bool, err error) {
	if s.looked == s.most {
		s.next = s.last
		return false, nil
	}
	s.last = append(s.last[:0], position...)
	id, ok, err := s.look(serial)
	if err != nil || !ok {
		return err == nil, err
	}
	if len(s.found) == s.limit {
		s.next = s.found[s.limit-1].position
		return false, nil
	}
	s.found = append(s.found, place{bytes.Clone(position), id})
	return true, nil
}

// look reads an identity, without its DER, and says whether the query asks for
// it.
func (s *selection) look(serial []byte) (depot.Identity, bool, error) {
	if s.looked++; s.looked%256 == 0 {
		if err := s.ctx.Err(); err != nil {
			return depot.Identity{}, false, err
		}
	}
	found, err := load(s.tx, bucketIdentities, serial, identityFields)
	if err != nil {
		return depot.Identity{}, false, fmt.Errorf("certificate %x: %w", serial, dangling(err))
	}
	if found.sequence > s.synced {
		return depot.Identity{}, false, nil
	}
	s.changed = max(s.changed, found.changed)
	id, ok := s.query.Show(found.record)
	if !ok || s.query.Match == nil {
		return id, ok, nil
	}
	standing := depot.StandingNone
	if s.query.WithStanding {
		if standing, err = s.standing(found.record, serial); err != nil {
			return id, false, err
		}
	}
	return id, s.query.Match(id, standing), nil
}

// standing returns how an identity stands, or stood as of the query's time.
func (s *selection) standing(i depot.Identity, serial []byte) (depot.Standing, error) {
	if !s.query.AsOf.IsZero() {
		was, _, err := wasItem(s.tx, serial, s.query.AsOf)
		return was.Standing, err
	}
	now, err := stanceOf(s.tx, i, serial)
	return now.standing, err
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
