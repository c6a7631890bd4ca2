// Package bolt keeps a depot in one directory on one machine: a bbolt file
// (store.db) and, beside it, the ledger (ledger), an append-only text file of
// the facts that must survive the loss of the database.
//
// One goroutine writes. It commits whatever was asked for while it synced the
// commit before (group commit without a timer), so a lone caller waits for
// nothing and a crowd shares its fsyncs. A step is in the database first, then
// in the ledger, then acknowledged; the database keeps a copy of the ledger
// records that are not known to be on the disk, so that a death in between is
// made good when the store is opened, and reading never shows what the ledger
// lacks.
//
// The package must not know SCEP, HTTP or policy. It imports only packages
// depot and clock of ours.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// Options are what Open needs besides the directory. The zero value of each
// means what is said with it.
type Options struct {
	Clock  clock.Clock  // dates the ledger records that nobody gives a time for; clock.System
	Log    *slog.Logger // of repairs and failing disks; discarded
	Random io.Reader    // the identity of a new store; crypto/rand.Reader

	// MustExist refuses a directory without a store instead of making one.
	// It is for callers that know that there was one, because they found the
	// authority whose certificates it holds.
	MustExist bool

	// For tests: a failing disk, the size from which a store is big, how much
	// a page looks at, upgrades that no version has, how much one transaction of
	// an upgrade does, and a death around one.
	wrapLedger   func(file) file
	quickCheck   int64
	maxLook      int
	moreUpgrades []upgrade
	portions     portions
	wrapUpgrade  func(upgrade) upgrade
}

// Depot is a depot.Depot in a directory. It is made by Open.
type Depot struct {
	dir    string
	store  string // identity
	log    *slog.Logger
	clock  clock.Clock // dates the ledger's records of CRL numbers
	db     *bbolt.DB
	ledger *ledger

	maxLook int // depot.MaxLook

	mu      sync.RWMutex // guards closed and sending on steps
	closed  bool
	steps   chan *step
	stopped chan struct{} // closed when the writer has ended

	bell     bell
	progress progress

	synced  atomic.Uint64 // number of the last record known to be in the ledger
	failing atomic.Bool   // the last write did not succeed
	damage  atomic.Pointer[damageError]
	behind  bool   // the ledger may lack records; only the writer uses it
	fresh   *batch // the last commit went well and the ledger lacks just this; only the writer uses it
	tidy    bool   // the store was closed in order; set when the writer ends
	stuck   bool   // bbolt panicked in a rollback; only the writer uses it
}

var _ depot.Depot = (*Depot)(nil)

var errClosed = fmt.Errorf("%w: it is closed", depot.ErrUnavailable)

// damageError is what is left of a panic: bbolt panics, and the machine
// faults, over pages that make no sense.
type damageError struct {
	path  string
	cause any
}

func (e *damageError) Error() string {
	return fmt.Sprintf("store %s is damaged (%v); restore a backup, or make it anew from its ledger with `understudy rebuild`", e.path, e.cause)
}

// view runs fn in a read transaction. Damage becomes an error.
func (d *Depot) view(fn func(tx *bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := d.db.Begin(false)
	if err != nil {
		return fmt.Errorf("%w: %w", depot.ErrUnavailable, err)
	}
	defer tx.Rollback()
	defer func() {
		if cause := recover(); cause != nil {
			err = d.damaged(cause)
		}
	}()
	return fn(tx)
}

// damaged notes that the store is damaged, after which nothing is written any
// more: what is still good is better left alone.
func (d *Depot) damaged(cause any) error {
	e := &damageError{d.db.Path(), cause}
	if d.damage.CompareAndSwap(nil, e) {
		d.log.Error("store is damaged", "path", e.path, "cause", fmt.Sprint(cause))
	}
	return e
}

// settled returns when the ledger has the record with this number, which is
// at once except after a ledger that could not be written.
func (d *Depot) settled(ctx context.Context, sequence uint64) error {
	if sequence <= d.synced.Load() {
		return nil
	}
	return d.submit(ctx, func(*batch) error { return nil })
}

// Ready asks for a write when the last one failed, and believes otherwise
// that the next will succeed.
func (d *Depot) Ready(ctx context.Context) error {
	d.mu.RLock()
	closed := d.closed
	d.mu.RUnlock()
	if closed {
		return errClosed
	}
	if e := d.damage.Load(); e != nil {
		return e
	}
	if !d.failing.Load() {
		return nil
	}
	// A full disk still has the free pages of the database; so ask for more
	// room than they are likely to give, and give it back.
	room := make([]byte, 64<<10)
	err := d.submit(ctx, func(b *batch) error { return b.put(bucketMeta, []byte(metaProbe), room) })
	if err != nil {
		return err
	}
	return d.submit(ctx, func(b *batch) error { return b.remove(bucketMeta, []byte(metaProbe)) })
}

// Close ends the writer after the steps in flight, removes the pid file if all
// is well, whose absence says that the store was closed in order, and closes the
// files. While the pid file goes the database is still locked: it must not be that
// of another process, which may wait for the lock.
func (d *Depot) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		<-d.stopped
		return nil
	}
	d.closed = true
	close(d.steps)
	d.mu.Unlock()
	<-d.stopped

	err := d.ledger.file.Close()
	if d.tidy {
		err = errors.Join(err, os.Remove(filepath.Join(d.dir, pidFile)))
	}
	if !d.stuck {
		err = errors.Join(err, d.db.Close())
	}
	if err != nil {
		return fmt.Errorf("close store %s: %w", d.dir, err)
	}
	return nil
}
