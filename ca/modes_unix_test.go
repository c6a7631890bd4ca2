//go:build unix

package ca_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

// TestModes (A60): whatever the umask is, and whatever the modes of the empty
// directory were, an authority is 0700 and its files 0600; after a rotation
// and a rollover too. The umask belongs to the process, so this test runs alone.
func TestModes(t *testing.T) {
	for _, umask := range []int{0o000, 0o022, 0o777} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "authority")
		must(t, os.Mkdir(dir, 0o777))
		must(t, os.Chmod(dir, 0o777))

		c := clock.NewManual(today)
		old := syscall.Umask(umask)
		a, err := ca.Create(dir, ca.Options{IssuerKey: ca.KeyP256, Clock: c})
		if err == nil {
			c.Set(today.AddDate(1, 6, 0))
			_, err = a.RotateRA()
		}
		if err == nil {
			_, err = a.PrepareRollover()
		}
		if err == nil {
			_, err = a.ActivateRollover()
		}
		syscall.Umask(old)
		must(t, err)

		files := 0
		must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			must(t, err)
			info, err := e.Info()
			must(t, err)
			want := fs.FileMode(0o600)
			if e.IsDir() {
				want = 0o700
			} else {
				files++
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("umask %03o: %s has the mode %04o, want %04o", umask, path, got, want)
			}
			return nil
		}))
		if files != 13 { // root, two issuers and three RAs, each with its key, and authority.json
			t.Errorf("%d files", files)
		}
	}
}
