package bolt

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// The files of a store.
const (
	databaseFile = "store.db"
	ledgerFile   = "ledger"
	pidFile      = "store.pid" // process that holds the store, for the message to others
)

// Open opens the store in a directory, and makes both if there are none. What
// a death left half done is finished; everything else that is not as it was
// left is refused with one sentence that says what, where and the way out.
//
// It looks through the whole database and the whole ledger when the store was
// not closed in order (the pid file is still there) or they are at most 8 MiB
// each, some two thousand certificates. A bigger store that was closed in
// order opens at once, since reading gigabytes at every start would serve
// nobody; Check looks through its records when asked.
func Open(dir string, o Options) (*Depot, error) {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.quickCheck == 0 {
		o.quickCheck = quickCheck
	}
	if o.maxLook == 0 {
		o.maxLook = depot.MaxLook
	}
	if o.portions == 0 {
		o.portions = upgradePortion
	}
	d := &Depot{dir: dir, log: o.Log, clock: o.Clock, maxLook: o.maxLook, steps: make(chan *step, maxBatch), stopped: make(chan struct{})}
	if err := d.open(o); err != nil {
		d.abandon()
		return nil, err
	}
	go d.run()
	return d, nil
}

// open does the work of Open. Damage that makes bbolt panic becomes an error.
func (d *Depot) open(o Options) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	path := filepath.Join(d.dir, databaseFile)
	pid := int64(-1) // size of the pid file, which Close removes
	defer func() {
		if cause := recover(); cause != nil {
			d.stuck = true
			err = &damageError{path, cause}
		}
		if err != nil && d.db != nil && pid < 0 { // leave no trace of a failure
			os.Remove(filepath.Join(d.dir, pidFile))
		}
	}()
	if err := d.prepareDir(o.MustExist); err != nil {
		return err
	}
	if pid, err = d.fileSize(pidFile); err != nil {
		return err
	}
	if err := d.checkDatabase(path, pid < 0, o.quickCheck); err != nil {
		return err
	}
	options := &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoStatistics: true}
	if d.db, err = d.openDatabase(path, options); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, pidFile), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return fmt.Errorf("write pid file: %w", err)
	}
	if err := d.initialise(o); err != nil {
		return err
	}
	steps := append(upgrades(o.portions), o.moreUpgrades...)
	if o.wrapUpgrade != nil {
		for n := range steps {
			steps[n] = o.wrapUpgrade(steps[n])
		}
	}
	state, err := d.readState(path, 1+uint64(len(steps)))
	if err != nil {
		return err
	}
	if err := d.upgrade(state.format, steps); err != nil {
		return err
	}
	if err := d.checkBuckets(path); err != nil {
		return err
	}
	err = d.joinLedger(state, pid < 0, o)
	if damaged := (*LedgerError)(nil); errors.As(err, &damaged) {
		return fmt.Errorf("%w; restore the ledger from a backup", err)
	}
	return err
}

// abandon closes what a failed Open had opened.
func (d *Depot) abandon() {
	if d.ledger != nil {
		d.ledger.file.Close()
	}
	if d.db == nil {
		return
	}
	if !d.stuck {
		d.db.Close()
	}
}

// prepareDir makes the directory, and refuses one whose files others can read
// or whose database is gone.
func (d *Depot) prepareDir(mustExist bool) error {
	if err := makeDir(d.dir); err != nil {
		return fmt.Errorf("make store directory: %w", err)
	}
	if info, err := os.Stat(d.dir); err != nil {
		return fmt.Errorf("open store: %w", err)
	} else if !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("store directory %s can be used by others (mode %#o); run: chmod 700 %[1]s", d.dir, info.Mode().Perm())
	}
	database, err := d.fileSize(databaseFile)
	if err != nil {
		return err
	}
	ledger, err := d.fileSize(ledgerFile)
	if err != nil {
		return err
	}
	if database <= 0 && ledger > 0 {
		return fmt.Errorf("database %s is missing or empty, but its ledger holds records; restore a backup, or make it anew with `understudy rebuild`",
			filepath.Join(d.dir, databaseFile))
	}
	if database <= 0 && mustExist {
		return fmt.Errorf("database %s is missing or empty, but there is an authority that issued from it; restore a backup, or remove the authority to begin anew",
			filepath.Join(d.dir, databaseFile))
	}
	if ledger <= 0 && !mustExist {
		return emptyUnborn(filepath.Join(d.dir, databaseFile), database)
	}
	return nil
}

// fileSize returns the size of one of the store's files in bytes, -1 if there
// is none.
func (d *Depot) fileSize(name string) (int64, error) {
	path := filepath.Join(d.dir, name)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return -1, nil
	case err != nil:
		return 0, fmt.Errorf("open store: %w", err)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s is not a regular file; put the store's own file there", path)
	case info.Mode().Perm()&0o077 != 0:
		return 0, fmt.Errorf("%s can be read by others (mode %#o); run: chmod 600 %[1]s", path, info.Mode().Perm())
	}
	return info.Size(), nil
}

// openDatabase opens the database and says who has it when that is why it
// cannot.
func (d *Depot) openDatabase(path string, options *bbolt.Options) (*bbolt.DB, error) {
	options.Timeout = time.Second
	db, err := bbolt.Open(path, 0o600, options)
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, &InUseError{d.dir, holder(d.dir)}
	case err != nil:
		return nil, fmt.Errorf("database %s cannot be opened (%w); restore a backup, or make it anew from its ledger with `understudy rebuild`", path, err)
	}
	return db, nil
}

// InUseError: another process has the store open.
type InUseError struct {
	Dir    string
	Holder string // "process 123", or "another process"
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("store %s is in use by %s; stop that one first", e.Dir, e.Holder)
}

// holder names the process that has a store open.
func holder(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, pidFile))
	pid, err2 := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || err2 != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}

// initialise makes the buckets and the first ledger record of a new store. In
// one that is there it writes nothing.
func (d *Depot) initialise(o Options) error {
	begun := false
	err := d.db.View(func(tx *bbolt.Tx) error {
		begun = tx.Bucket([]byte(bucketMeta)) != nil
		return nil
	})
	if err != nil || begun {
		return err
	}
	return d.db.Update(func(tx *bbolt.Tx) error {
		if size, err := d.fileSize(ledgerFile); err != nil {
			return err
		} else if size > 0 {
			return fmt.Errorf("database %s is empty, but its ledger holds records; make it anew with `understudy rebuild`", d.db.Path())
		}
		for _, name := range buckets() {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return fmt.Errorf("make store: %w", err)
			}
		}
		id := make([]byte, 16)
		if _, err := io.ReadFull(o.Random, id); err != nil {
			return fmt.Errorf("make identity of store: %w", err)
		}
		store := hex.EncodeToString(id)
		b := &batch{tx: tx}
		payload := payloadStart(b.number(), EntryStore, o.Clock.Now())
		payload = fmt.Appendf(payload, `,"store":%q,"format":%d}`, store, format)
		return errors.Join(
			b.put(bucketMeta, []byte(metaFormat), number(format)),
			b.put(bucketMeta, []byte(metaStore), []byte(store)),
			b.record(payload),
			b.close(0),
		)
	})
}

// A state is what the database says about itself when it is opened.
type state struct {
	format  uint64
	head    head
	first   uint64 // number of the first pending record; head.number+1 if there is none
	pending []byte // the records that may not be in the ledger
}

// readState refuses a store that is newer than this program.
func (d *Depot) readState(path string, newest uint64) (s state, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		if s.format = numberOf(meta.Get([]byte(metaFormat))); s.format > newest || s.format == 0 {
			return fmt.Errorf("store %s has format %d and this program knows only %d; use the version of Understudy that wrote it", d.dir, s.format, newest)
		}
		if tx.Bucket([]byte(bucketPending)) == nil {
			return &damageError{path, "bucket " + bucketPending + " is missing"}
		}
		d.store = string(meta.Get([]byte(metaStore)))
		if s.head, err = readHead(tx); err != nil {
			return &damageError{path, err}
		}
		s.first = s.head.number + 1
		return tx.Bucket([]byte(bucketPending)).ForEach(func(k, v []byte) error {
			s.first = min(s.first, numberOf(k))
			s.pending = append(s.pending, v...)
			return nil
		})
	})
	return s, err
}

// checkBuckets refuses a store of the newest format that lacks one.
func (d *Depot) checkBuckets(path string) error {
	return d.db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if tx.Bucket([]byte(name)) == nil {
				return &damageError{path, "bucket " + name + " is missing"}
			}
		}
		return nil
	})
}
