package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// makeDir makes a directory, and those above it that are missing, and returns
// when their names are durable: a store whose directory is gone after a power
// cut would have lost everything.
func makeDir(dir string) error {
	above := filepath.Dir(dir)
	if _, err := os.Stat(dir); err == nil {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 0 {
			return err
		}
		return syncDir(above) // whoever made it may have died before this
	}
	if above != dir {
		if _, err := os.Stat(above); errors.Is(err, fs.ErrNotExist) {
			if err := makeDir(above); err != nil {
				return err
			}
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(above)
}

// syncDir makes the names of new files durable. Windows has no such thing.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync store directory: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync store directory: %w", err)
	}
	return nil
}
