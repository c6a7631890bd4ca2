package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// known is what a database that is only looked at says about its ledger.
type known struct {
	db     *bbolt.DB // nil when it cannot be read
	store  string
	head   head
	synced int64 // bytes of the ledger that were on the disk for certain
	err    error // why it cannot be read
}

// look reads a store's database without changing it. While it is looked at,
// nobody else can open the store; somebody who has it open is an *InUseError.
// A database that is missing or damaged is no error but known.err.
func look(dir string) (*known, error) {
	path := filepath.Join(dir, databaseFile)
	k := &known{}
	err := guarded(path, func() (err error) {
		// bbolt would take an empty file for a new database.
		if info, err := os.Stat(path); err != nil {
			return err
		} else if info.Size() == 0 {
			return errors.New("it is empty")
		}
		k.db, err = bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second, NoStatistics: true})
		if err != nil {
			return err
		}
		return k.db.View(k.read)
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, &InUseError{dir, holder(dir)}
	case errors.Is(err, fs.ErrNotExist):
		k.err = fmt.Errorf("database %s is missing", path)
	case err != nil:
		k.err = fmt.Errorf("database %s cannot be read: %w", path, err)
	}
	return k, nil
}

// InUse returns an *InUseError when somebody has the store in a directory
// open.
func InUse(dir string) error {
	k, err := look(dir)
	if err == nil {
		k.close()
	}
	return err
}

func (k *known) read(tx *bbolt.Tx) (err error) {
	meta := tx.Bucket([]byte(bucketMeta))
	pending := tx.Bucket([]byte(bucketPending))
	if meta == nil || pending == nil {
		return errors.New("it is not that of a store")
	}
	k.store = string(meta.Get([]byte(metaStore)))
	if k.head, err = readHead(tx); err != nil {
		return err
	}
	k.synced = k.head.end
	return pending.ForEach(func(_, v []byte) error {
		k.synced -= int64(len(v))
		return nil
	})
}

// close lets others open the store. A database that made bbolt panic stays
// locked until the process ends.
func (k *known) close() {
	if k.db != nil && k.err == nil {
		k.db.Close()
	}
}

// guarded runs fn. A panic over pages that make no sense becomes an error.
func guarded(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = &damageError{path, cause}
		}
	}()
	return fn()
}

// contextReader ends reading when a context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
