package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// A Snapshot is a store as it was at one moment: the database, and the ledger
// up to the very record that the database ends with. Its owner closes it.
type Snapshot struct {
	Store   string // identity
	Format  uint64
	Records uint64 // of the ledger
	Head    [32]byte

	database, ledger         *os.File
	databaseSize, ledgerSize int64
}

// snapshotPattern names the database's copy while it is made.
const snapshotPattern = "snapshot-*.tmp"

// Snapshot makes one. The database is copied to a file beside it first, at the
// disk's speed: a reader that holds a database transaction for as long as a
// slow client takes to download would in the end hold up writing. The disk
// needs room for that.
func (d *Depot) Snapshot(ctx context.Context) (_ *Snapshot, err error) {
	s := &Snapshot{Store: d.store}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make snapshot: %w", err), s.Close())
		}
	}()
	if s.database, err = os.CreateTemp(d.dir, snapshotPattern); err != nil {
		return nil, err
	}
	// Gone now or, where open files cannot be removed, at Close.
	_ = os.Remove(s.database.Name())
	var end head
	err = d.view(func(tx *bbolt.Tx) (err error) {
		if end, err = readHead(tx); err != nil {
			return err
		}
		s.Format = numberOf(tx.Bucket([]byte(bucketMeta)).Get([]byte(metaFormat)))
		w := &contextWriter{ctx: ctx, w: s.database}
		s.databaseSize, err = tx.WriteTo(w)
		if w.err != nil { // bbolt hands on its text only
			return w.err
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	// What the database knows may be on its way to the ledger still. What is
	// there never changes, so it can be read at leisure.
	if err = d.settled(ctx, end.number); err != nil {
		return nil, err
	}
	s.Records, s.Head, s.ledgerSize = end.number, end.hash, end.end
	s.ledger, err = os.Open(d.ledger.path)
	return s, err
}

// Database returns the database and its size in bytes.
func (s *Snapshot) Database() (io.Reader, int64) {
	return io.NewSectionReader(s.database, 0, s.databaseSize), s.databaseSize
}

// Ledger returns the ledger and its size in bytes.
func (s *Snapshot) Ledger() (io.Reader, int64) {
	return io.NewSectionReader(s.ledger, 0, s.ledgerSize), s.ledgerSize
}

// Close removes what the snapshot needed.
func (s *Snapshot) Close() error {
	var err error
	if s.database != nil {
		err = s.database.Close()
		_ = os.Remove(s.database.Name())
	}
	if s.ledger != nil {
		err = errors.Join(err, s.ledger.Close())
	}
	return err
}

// contextWriter ends writing when a context ends, and remembers its error.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
	err error
}

func (c *contextWriter) Write(b []byte) (n int, err error) {
	if err = c.ctx.Err(); err == nil {
		n, err = c.w.Write(b)
	}
	c.err = err
	return n, err
}
