package reliability

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// TestR15_Backup makes a backup while devices enrol and restores it: every
// certificate that was received before it began is there, the store is whole,
// and devices go on enrolling.
func TestR15_Backup(t *testing.T) {
	server := understudy.Start(t, program.Options{Arguments: []string{"--rate-limit", "0"}})
	f := newFleet(t, server, server.SecretKey)
	var before []receipt
	for _, r := range f.requests(t, "before", 5) {
		got, err := f.send(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, got)
	}
	var group sync.WaitGroup
	for _, r := range f.requests(t, "meanwhile", 30) {
		group.Go(func() {
			if _, err := f.send(t.Context(), r); err != nil {
				t.Errorf("enrolment during a backup: %v", err)
			}
		})
	}
	file, data := filepath.Join(t.TempDir(), "lab.tar"), filepath.Join(t.TempDir(), "restored")
	r := server.Verb(t, "backup", file)
	group.Wait()
	if r.Code != 0 {
		t.Fatalf("backup: exit code %d: %s", r.Code, r.Stderr)
	}
	if r := understudy.Run(t, nil, "restore", "--data", data, file); r.Code != 0 {
		t.Fatalf("restore: exit code %d: %s", r.Code, r.Stderr)
	}
	restored := understudy.Start(t, program.Options{Data: data})
	lookFor(t, restored, before)
	checkWhole(t, restored, before)
	g := newFleet(t, restored, server.SecretKey)
	if _, err := g.send(t.Context(), g.requests(t, "after", 1)[0]); err != nil {
		t.Errorf("enrolment after the restore: %v", err)
	}
}

// TestR7_Rebuild follows the advice of TestR7_Damage: the database is lost in
// each way, and made anew from the ledger alone.
func TestR7_Rebuild(t *testing.T) {
	server := understudy.Start(t, program.Options{})
	f := newFleet(t, server, server.SecretKey)
	var received []receipt
	for _, r := range f.requests(t, "rebuilt", 5) {
		got, err := f.send(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		received = append(received, got)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	for i, damage := range []func(path string) error{
		os.Remove,
		func(path string) error { return os.Truncate(path, 0) },
		func(path string) error { return os.Truncate(path, 10_000) },
		func(path string) error { return os.WriteFile(path, make([]byte, 100_000), 0o600) },
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			data := copyDir(t, server.Data)
			if err := damage(filepath.Join(data, "store", "store.db")); err != nil {
				t.Fatal(err)
			}
			if r := understudy.Run(t, nil, "rebuild", "--data", data); r.Code != 0 {
				t.Fatalf("rebuild: exit code %d: %s", r.Code, r.Stderr)
			}
			again := understudy.Start(t, program.Options{Data: data})
			lookFor(t, again, received)
			checkWhole(t, again, received)
		})
	}
}
