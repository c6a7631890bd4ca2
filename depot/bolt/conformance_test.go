package bolt_test

import (
	"path/filepath"
	"testing"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

func TestConformance(t *testing.T) {
	depottest.Run(t, func(t *testing.T) (depot.Depot, func() depot.Depot) {
		dir := filepath.Join(t.TempDir(), "store")
		d := open(t, dir)
		return d, func() depot.Depot {
			if err := d.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			d = open(t, dir)
			return d
		}
	})
}

// open opens a store that must open.
func open(t testing.TB, dir string) *bolt.Depot {
	t.Helper()
	d, err := bolt.Open(dir, options())
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func options() bolt.Options { return bolt.Options{Clock: clock.NewManual(depottest.Epoch)} }
