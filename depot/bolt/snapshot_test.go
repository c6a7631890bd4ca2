package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// snapshot writes the store as of now to a new directory.
func snapshot(t testing.TB, d *bolt.Depot) (dir string, records uint64) {
	t.Helper()
	s, err := d.Snapshot(t.Context())
	must(t, err)
	dir = filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(dir, 0o700))
	for name, content := range map[string]func() (io.Reader, int64){"store.db": s.Database, "ledger": s.Ledger} {
		r, size := content()
		b, err := io.ReadAll(r)
		must(t, err)
		if int64(len(b)) != size {
			t.Errorf("%s has %d bytes and says %d", name, len(b), size)
		}
		write(t, b, dir, name)
	}
	must(t, s.Close())
	return dir, s.Records
}

// R15: a snapshot of a store that is being written is the state of one moment:
// everything acknowledged before is in it, database and ledger end with the
// same record, and it opens.
func TestSnapshotIsOneMoment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	for n := range 20 { // so that copying takes longer than committing
		i := depottest.Issuance(200_000 + n)
		i.Identity.DER = make([]byte, 400<<10)
		_, err := d.Commit(t.Context(), i)
		must(t, err)
	}
	var acknowledged atomic.Int64
	stop, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := d.Commit(context.Background(), depottest.Issuance(n)); err != nil {
				t.Error(err)
				return
			}
			acknowledged.Store(int64(n) + 1)
		}
	}()
	for round := range 5 {
		before := int(acknowledged.Load())
		copied, records := snapshot(t, d)
		report, err := bolt.VerifyStore(t.Context(), copied)
		if err != nil || !report.Holds() || report.Records != records {
			t.Fatalf("round %d: %+v, %v", round, report, err)
		}
		c := open(t, copied)
		holds(t, c, 0, before)
		commit(t, c, 100_000, 100_001)
		must(t, c.Close())
	}
	close(stop)
	<-written
	if acknowledged.Load() < 10 {
		t.Errorf("only %d commits while snapshots were made", acknowledged.Load())
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("left behind: %v", entries)
	}
}

// A snapshot waits for the ledger, and what the ledger cannot take yet is not
// in a snapshot.
func TestSnapshotOfFailingLedger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var broken atomic.Bool
	d, err := bolt.Open(dir, bolt.FailingLedger(options(), func(operation string) error {
		if broken.Load() && operation == "sync" {
			return errors.New("disk full")
		}
		return nil
	}))
	must(t, err)
	t.Cleanup(func() { d.Close() })
	commit(t, d, 0, 2)
	broken.Store(true)
	if _, err := d.Commit(t.Context(), depottest.Issuance(2)); err == nil {
		t.Fatal("a commit was acknowledged")
	}
	if _, err := d.Snapshot(t.Context()); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("Snapshot: %v", err)
	}
	broken.Store(false)
	copied, records := snapshot(t, d)
	if records != 4 {
		t.Errorf("%d records", records)
	}
	holds(t, open(t, copied), 0, 3)
}

func TestSnapshotStops(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Snapshot(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("left behind: %v", entries)
	}
}

// A backup that is brought up to the ledger of the store that went on equals
// that store.
func TestCatchUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	commit(t, d, 0, 3)
	copied, _ := snapshot(t, d)
	configurations(t, d)
	spent := depottest.Issuance(3)
	spent.Challenge.ID = "ch_3"
	_, err := d.Commit(t.Context(), spent)
	must(t, err)
	commit(t, d, 4, 9)
	must(t, d.Close())

	ledger := filepath.Join(dir, "ledger")
	torn := filepath.Join(t.TempDir(), "ledger") // its last record was never acknowledged
	write(t, append(read(t, ledger), "00000010 half a record"...), torn)
	for _, newer := range []string{torn, ledger} {
		added, err := bolt.CatchUp(t.Context(), copied, newer)
		must(t, err)
		if want := map[string]uint64{torn: 19, ledger: 0}[newer]; added != want {
			t.Errorf("added %d records, want %d", added, want)
		}
		sameDump(t, dump(t, copied), dump(t, dir))
		if !bytes.Equal(read(t, copied, "ledger"), read(t, ledger)) {
			t.Error("the ledgers differ")
		}
	}
	told(t, copied)
}

func TestCatchUpRefuses(t *testing.T) {
	dir := closed(t, 3)
	older, other, branch := closed(t, 1), closed(t, 5), image(t, dir)
	d := open(t, branch) // the same store, in another world
	commit(t, d, 7, 9)
	must(t, d.Close())
	d = open(t, dir)
	commit(t, d, 3, 5)
	must(t, d.Close())
	write(t, bytes.Join(bytes.SplitAfter(read(t, dir, "ledger"), []byte("\n"))[:3], nil), older, "ledger")
	for ledger, want := range map[string]string{older: "is older than the backup", other: "belongs to store", branch: "does not go on where the backup ends"} {
		copied := image(t, dir)
		if _, err := bolt.CatchUp(t.Context(), copied, filepath.Join(ledger, "ledger")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
