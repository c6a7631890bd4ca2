package bolt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// joinLedger opens the ledger, finishes what a death between database and
// ledger left, and refuses everything else in which the two differ.
func (d *Depot) joinLedger(s state, closedInOrder bool, o Options) error {
	path := filepath.Join(d.dir, ledgerFile)
	size, err := d.fileSize(ledgerFile)
	if err != nil {
		return err
	}
	synced := s.head.end - int64(len(s.pending)) // all before was in the ledger, for certain
	if size < 0 && synced > 0 {
		return fmt.Errorf("ledger %s is missing, but the database holds %d records of it; restore a backup", path, s.head.number)
	}
	if size <= 0 { // a ledger must not outlive a power cut that takes the new database's name
		if err := syncDir(d.dir); err != nil {
			return err
		}
	}
	f, err := openLedger(path)
	if err != nil {
		return err
	}
	d.ledger = &ledger{path: path, file: f, end: synced}
	if o.wrapLedger != nil {
		d.ledger.file = o.wrapLedger(f)
	}
	if err := d.sameStore(path, max(size, 0)); err != nil {
		return err
	}
	if err := d.catchUp(s, max(size, 0)); err != nil {
		return err
	}
	if err := d.checkLedger(s, closedInOrder, o.quickCheck); err != nil {
		return err
	}
	d.synced.Store(s.head.number)
	if err := d.view(func(tx *bbolt.Tx) error { d.bell.ring(lastEvent(tx)); return nil }); err != nil {
		return err
	}
	return syncDir(d.dir)
}

// sameStore refuses the ledger of another store.
func (d *Depot) sameStore(path string, size int64) error {
	if size == 0 {
		return nil
	}
	line, err := d.ledger.lineAt(0)
	if errors.Is(err, errTorn) && d.ledger.end == 0 {
		return nil // a new store whose maker died; catchUp writes it again
	}
	var after head
	if err == nil {
		after, err = follow(line, head{})
	}
	store := ""
	if err == nil {
		store, err = storeOf(line, after)
	}
	if err != nil {
		return &LedgerError{Path: path, Number: 1, Err: err}
	}
	if store != d.store {
		return fmt.Errorf("ledger %s belongs to store %s and the database to store %s: files of two stores were mixed; put the right ledger back",
			path, store, d.store)
	}
	return nil
}

// catchUp compares the end of the ledger with the records that the database
// kept because they were not known to be synced. Missing and torn ones are
// written again: they were either never acknowledged or are here byte by byte.
func (d *Depot) catchUp(s state, size int64) error {
	l := d.ledger
	if size < l.end {
		return fmt.Errorf("ledger %s ends at byte %d, but records up to byte %d were in it: it was cut; restore a backup", l.path, size, l.end)
	}
	have, err := l.bytesBetween(l.end, min(size, s.head.end))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(s.pending, have) {
		if err := d.explainDifference(have, s); err != nil {
			return err
		}
	}
	if size > s.head.end {
		if err := d.explainExcess(s, size); err != nil {
			return err
		}
	}
	if size == s.head.end && bytes.Equal(have, s.pending) {
		l.end = s.head.end
		return nil
	}
	if size > 0 || s.head.number > 1 { // a new store begins with one record that the ledger lacks
		d.log.Warn("ledger is completed from the database", "path", l.path, "from_byte", l.end, "records", s.head.number+1-s.first)
	}
	if err := l.file.Truncate(l.end); err != nil {
		return fmt.Errorf("cut torn record from ledger %s: %w", l.path, err)
	}
	return l.append(s.pending)
}

// explainDifference returns nil when the ledger holds nonsense where the
// database knows the right bytes, as after a power cut, and refuses when it
// holds good records that are others.
func (d *Depot) explainDifference(have []byte, s state) error {
	ours, theirs := bufio.NewReader(bytes.NewReader(s.pending)), bufio.NewReader(bytes.NewReader(have))
	for offset, n := d.ledger.end, s.first; ; n++ {
		mine, err := readLine(ours)
		if err != nil {
			return nil
		}
		line, err := readLine(theirs)
		if err != nil {
			return nil
		}
		if !bytes.Equal(mine, line) {
			return fmt.Errorf("record %d at byte %d of ledger %s is another one than the database has: one of the two was replaced or edited; restore a backup",
				n, offset, d.ledger.path)
		}
		offset += int64(len(line))
	}
}

// explainExcess decides about what lies behind the last record that the
// database knows: the beginning of a record was never acknowledged and may go;
// whole records say that the database lost something.
func (d *Depot) explainExcess(s state, size int64) error {
	_, err := d.ledger.lineAt(s.head.end)
	switch {
	case errors.Is(err, errTorn) || errors.Is(err, io.EOF):
		d.log.Warn("torn record is cut from the ledger", "path", d.ledger.path, "at_byte", s.head.end, "bytes", size-s.head.end)
		return nil
	case err != nil:
		return &LedgerError{Path: d.ledger.path, Offset: s.head.end, Number: s.head.number + 1, Err: err}
	}
	return fmt.Errorf("database %s ends at record %d, but its ledger goes on: the database was restored from an older copy or lost its last commits; make it anew with `understudy rebuild`",
		d.db.Path(), s.head.number)
}
