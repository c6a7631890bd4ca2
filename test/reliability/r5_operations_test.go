//go:build reliability

package reliability

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"understudy.example/understudy/test/internal/powercut"
)

// TestR1_PowerCutAtTheBeginning cuts the power after each single operation
// while a store is made and gets its first certificates.
func TestR1_PowerCutAtTheBeginning(t *testing.T) {
	for range pick(2, 20) {
		m := powercut.Start(t, powercut.Options{
			Command: func(dir string) []string { return []string{os.Args[0], dir} },
			Env:     []string{childVariable + "=write"},
		})
		acks := readAcks(m)
		for n := range 60 {
			sure, seed := acks.list(), rand.Uint64()
			mode := []powercut.Mode{powercut.Prefix, powercut.Sectors}[n%2]
			dir, err := m.Image(mode, seed, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := holdsAll(filepath.Join(dir, "store"), sure); err != nil {
				t.Errorf("power cut after operation %d, mode %s, seed %d, %d acknowledged: %v", n, mode, seed, len(sure), err)
			}
			os.RemoveAll(dir)
		}
		m.Stop()
	}
}

// TestR5_EveryOperation kills a writer, from the making of the store on, after
// each single operation on its files: before the commit, within it, between it
// and the ledger, between the ledger and the acknowledgement.
func TestR5_EveryOperation(t *testing.T) {
	m := powercut.Start(t, powercut.Options{
		Command: func(dir string) []string { return []string{os.Args[0], dir} },
		Env:     []string{childVariable + "=write"},
	})
	acks := readAcks(m)
	operations := pick(150, 2000)
	for n := range operations {
		sure := acks.list()
		dir, err := m.Image(powercut.All, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := holdsAll(filepath.Join(dir, "store"), sure); err != nil {
			t.Errorf("killed after operation %d, with %d acknowledged: %v", n, len(sure), err)
		}
		os.RemoveAll(dir)
	}
	if len(acks.list()) == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d operations, %d certificates acknowledged", operations, len(acks.list()))
}
