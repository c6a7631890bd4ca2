package bolt

import (
	"errors"

	"go.etcd.io/bbolt"
)

// FailingLedger lets fail decide, before each write, sync and truncation of
// the ledger, whether that operation fails. A write that fails has written
// half of what it was given.
func FailingLedger(o Options, fail func(operation string) error) Options {
	o.wrapLedger = func(f file) file { return &failingFile{f, fail} }
	return o
}

// Big makes every store a big one, which is not looked through when it was
// closed in order.
func Big(o Options) Options {
	o.quickCheck = 1
	return o
}

// Looking lets a page look at no more than that many records.
func Looking(o Options, most int) Options {
	o.maxLook = most
	return o
}

type failingFile struct {
	file
	fail func(operation string) error
}

func (f *failingFile) WriteAt(b []byte, offset int64) (int, error) {
	if err := f.fail("write"); err != nil {
		n, _ := f.file.WriteAt(b[:len(b)/2], offset)
		return n, err
	}
	return f.file.WriteAt(b, offset)
}

func (f *failingFile) Sync() error {
	if err := f.fail("sync"); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *failingFile) Truncate(size int64) error {
	if err := f.fail("truncate"); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

// WithUpgrades adds steps to newer formats, which no released version has. A
// step is called in one transaction after another until it returns nil.
func WithUpgrades(o Options, steps ...func(tx *bbolt.Tx, after []byte) (next []byte, err error)) Options {
	for _, step := range steps {
		o.moreUpgrades = append(o.moreUpgrades, step)
	}
	return o
}

// Portions lets one transaction of an upgrade look at no more than that many
// records, and asks dies before and after the work of each whether the process
// ends there: before it, what came before is on the disk, and after it, this is
// not.
func Portions(o Options, most int, dies func() error) Options {
	o.portions = portions(most)
	o.wrapUpgrade = func(step upgrade) upgrade {
		return func(tx *bbolt.Tx, after []byte) ([]byte, error) {
			if err := dies(); err != nil {
				return nil, err
			}
			next, err := step(tx, after)
			return next, errors.Join(err, dies())
		}
	}
	return o
}

// Format is the newest released format.
const Format = format

// Released is how many upgrades there are between released formats.
func Released() int { return len(upgrades(upgradePortion)) }

// UnsyncedLedger lets the ledger lie in the page cache, and Unsync the
// database: what is left is the price of everything but durability.
func UnsyncedLedger(o Options) Options {
	o.wrapLedger = func(f file) file { return unsyncedFile{f} }
	return o
}

// Unsync is for a store that nothing was committed to yet.
func Unsync(d *Depot) { d.db.NoSync = true }

type unsyncedFile struct{ file }

func (unsyncedFile) Sync() error { return nil }
