//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package bolt

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// unbornPages is how long bbolt makes a new database before its first commit,
// which makes it longer.
const unbornPages = 4

// emptyUnborn empties a database that never had a commit, which a full disk or
// a death while it was made left in a form that cannot be opened. The caller
// knows that there is no ledger. It keeps its hands off when another process
// has the database, which may just be making it.
func emptyUnborn(path string, size int64) error {
	if size <= 0 || size > int64(unbornPages*os.Getpagesize()) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil
	}
	info, err := f.Stat()
	if err == nil && info.Size() <= int64(unbornPages*os.Getpagesize()) {
		err = errors.Join(f.Truncate(0), f.Sync())
	}
	if err != nil {
		return fmt.Errorf("begin database %s anew: %w", path, err)
	}
	return nil
}
