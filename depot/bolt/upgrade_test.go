package bolt_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
)

// update makes the golden store of the current format anew:
//
//	go test ./depot/bolt -run TestGoldenStores -update
//
// It is run once for each format, before the first version that writes it is
// released, and never again.
var update = flag.Bool("update", false, "make the golden store of the current format anew")

const stores = "testdata/stores"

// R16: the stores of every released format open with the current code, and
// every record is what it was; so does what is rebuilt from their ledgers.
func TestGoldenStores(t *testing.T) {
	if *update {
		makeGolden(t)
	}
	if bolt.Released() != bolt.Format-1 {
		t.Errorf("%d upgrades lead to format %d", bolt.Released(), bolt.Format)
	}
	golden, err := os.ReadDir(stores)
	must(t, err)
	if len(golden) != bolt.Format {
		t.Fatalf("%d golden stores of %d formats", len(golden), bolt.Format)
	}
	for _, g := range golden {
		t.Run(g.Name(), func(t *testing.T) {
			var want story
			must(t, json.Unmarshal(read(t, stores, g.Name(), "records.json"), &want))
			if len(want.Identities) == 0 || len(want.Live) == 0 {
				t.Fatal("nothing to compare with")
			}
			dir := image(t, filepath.Join(stores, g.Name()))
			must(t, os.Remove(filepath.Join(dir, "records.json")))
			got := told(t, dir)
			if want.Windows == nil {
				got.Windows = nil // TestUpgradeStandings looks at them
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("opened (-want +got):\n%s", diff)
			}
			must(t, os.Remove(filepath.Join(dir, "store.db")))
			_, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
			must(t, err)
			got = told(t, dir)
			if g.Name() < "format-3" {
				forget(got.Events)
				got.Windows = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("rebuilt (-want +got):\n%s", diff)
			}
		})
	}
}

// forget takes from events what those of formats before 3 did not say: who
// revoked, and why. Their ledgers do, so that a rebuild knows it.
func forget(events []depot.Event) {
	for i := range events {
		events[i].By, events[i].Reason = "", ""
	}
}

func makeGolden(t *testing.T) {
	dir := lived(t, 4)
	to := filepath.Join(stores, fmt.Sprintf("format-%d", bolt.Format))
	must(t, os.RemoveAll(to))
	must(t, os.MkdirAll(to, 0o755))
	for _, name := range []string{"store.db", "ledger"} {
		write(t, read(t, dir, name), to, name)
	}
	records, err := json.MarshalIndent(told(t, dir), "", " ")
	must(t, err)
	write(t, append(records, '\n'), to, "records.json")
}

// addBucket is an upgrade in three portions.
func addBucket(name string, fail func(portion string) error) func(*bbolt.Tx, []byte) ([]byte, error) {
	return func(tx *bbolt.Tx, after []byte) ([]byte, error) {
		b, err := tx.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			return nil, err
		}
		portion := string(after) + "."
		if err := b.Put([]byte(portion), nil); err != nil {
			return nil, err
		}
		if fail != nil {
			if err := fail(portion); err != nil {
				return nil, err
			}
		}
		if portion == "..." {
			return nil, nil
		}
		return []byte(portion), nil
	}
}

// formatted names the copy of a file that was kept of the current format, or
// of one that comes after it.
func formatted(file string, after int) string {
	return fmt.Sprintf("%s.format-%d", file, bolt.Format+after)
}

func keysIn(t *testing.T, dir, bucket string) (keys string, format byte) {
	t.Helper()
	inDatabase(t, dir, func(tx *bbolt.Tx) error {
		format = tx.Bucket([]byte("meta")).Get([]byte("format"))[7]
		if b := tx.Bucket([]byte(bucket)); b != nil {
			return b.ForEach(func(k, _ []byte) error { keys += string(k) + " "; return nil })
		}
		return nil
	})
	return keys, format
}

// R16: an older store is upgraded by itself, step by step, after a copy was
// kept of it, and an older program refuses it then.
func TestUpgrade(t *testing.T) {
	dir := closed(t, 3)
	before := files(t, dir)
	o := bolt.WithUpgrades(options(), addBucket("second", nil), addBucket("third", nil))
	for range 2 { // the second time there is nothing to do
		d, err := bolt.Open(dir, o)
		must(t, err)
		holds(t, d, 0, 3)
		must(t, d.Close())
	}
	for _, bucket := range []string{"second", "third"} {
		if keys, format := keysIn(t, dir, bucket); keys != ". .. ... " || format != bolt.Format+2 {
			t.Errorf("%s holds %q, format %d", bucket, keys, format)
		}
	}
	refuses(t, dir, fmt.Sprintf("has format %d and this program knows only %d", bolt.Format+2, bolt.Format))

	old := filepath.Join(t.TempDir(), "store")
	must(t, os.Mkdir(old, 0o700))
	write(t, read(t, dir, formatted("store.db", 0)), old, "store.db")
	write(t, read(t, dir, formatted("ledger", 0)), old, "ledger")
	if got := read(t, old, "store.db"); len(got) != len(before["store.db"]) {
		t.Errorf("the copy has %d bytes", len(got))
	}
	holds(t, open(t, old), 0, 3)
	if _, format := keysIn(t, dir, "second"); format != bolt.Format+2 {
		t.Errorf("format %d", format)
	}
	if !bytes.Contains(read(t, dir, formatted("store.db", 1)), []byte("second")) {
		t.Error("no copy of the format between")
	}
}

// An upgrade that was interrupted in any portion goes on where it was, and the
// copy that was kept is of before it began.
func TestUpgradeResumes(t *testing.T) {
	for _, dies := range []string{".", "..", "..."} {
		t.Run(dies, func(t *testing.T) {
			dir := closed(t, 2)
			var ran []string
			death := errors.New("power cut")
			step := func(fail bool) bolt.Options {
				return bolt.WithUpgrades(options(), addBucket("second", func(portion string) error {
					ran = append(ran, portion)
					if fail && portion == dies {
						return death
					}
					return nil
				}))
			}
			if _, err := bolt.Open(dir, step(true)); !errors.Is(err, death) || !strings.Contains(err.Error(), "start again to go on") {
				t.Fatalf("Open: %v", err)
			}
			if _, format := keysIn(t, dir, "second"); format != bolt.Format {
				t.Errorf("format %d", format)
			}
			ran = nil
			d, err := bolt.Open(dir, step(false))
			must(t, err)
			holds(t, d, 0, 2)
			must(t, d.Close())
			if len(ran) != 4-len(dies) || ran[0] != dies {
				t.Errorf("ran %q again", ran)
			}
			if keys, format := keysIn(t, dir, "second"); keys != ". .. ... " || format != bolt.Format+1 {
				t.Errorf("holds %q, format %d", keys, format)
			}
			if bytes.Contains(read(t, dir, formatted("store.db", 0)), []byte("second")) {
				t.Error("the copy is of later than the beginning")
			}
		})
	}
}

// R16: the golden stores of older formats, stopped at any boundary between two
// portions, within any portion, or at every boundary in turn, come out as they
// do without that, key by key, and the copies that were kept are of before.
func TestUpgradeDies(t *testing.T) {
	death := errors.New("power cut")
	for n := 1; n < bolt.Format; n++ {
		t.Run(fmt.Sprintf("format-%d", n), func(t *testing.T) {
			golden := filepath.Join(stores, fmt.Sprintf("format-%d", n))
			asked := 0
			dir := image(t, golden)
			upgradeTo(t, dir, func() error { asked++; return nil })
			want := dump(t, dir)
			if asked < 20 {
				t.Fatalf("only %d places to die", asked)
			}
			before := dump(t, golden)
			holdsCopy := func(t *testing.T, dir string) {
				kept := filepath.Join(t.TempDir(), "kept")
				must(t, os.Mkdir(kept, 0o700))
				must(t, os.Rename(filepath.Join(dir, fmt.Sprintf("store.db.format-%d", n)), filepath.Join(kept, "store.db")))
				sameDump(t, dump(t, kept), before)
				if !bytes.Equal(read(t, golden, "ledger"), read(t, dir, fmt.Sprintf("ledger.format-%d", n))) {
					t.Error("the copy of the ledger is not what it was")
				}
			}
			for at := range asked {
				dir, calls := image(t, golden), 0
				_, err := bolt.Open(dir, bolt.Portions(options(), 1, func() error {
					if calls++; calls > at {
						return death
					}
					return nil
				}))
				if !errors.Is(err, death) {
					t.Fatalf("death at %d: %v", at, err)
				}
				upgradeTo(t, dir, func() error { return nil })
				sameDump(t, dump(t, dir), want)
				holdsCopy(t, dir)
			}
			dir = image(t, golden)
			for deaths := 0; ; deaths++ {
				calls := 0
				d, err := bolt.Open(dir, bolt.Portions(options(), 1, func() error {
					if calls++; calls > 2 { // one portion at a time
						return death
					}
					return nil
				}))
				if err == nil {
					must(t, d.Close())
					break
				}
				if !errors.Is(err, death) || deaths > asked {
					t.Fatalf("after %d deaths: %v", deaths, err)
				}
			}
			sameDump(t, dump(t, dir), want)
			holdsCopy(t, dir)
		})
	}
}

// upgradeTo opens a store of an older format, one record at a time, and looks
// at whether it is sound.
func upgradeTo(t *testing.T, dir string, dies func() error) {
	t.Helper()
	d, err := bolt.Open(dir, bolt.Portions(options(), 1, dies))
	must(t, err)
	sound(t, d)
	must(t, d.Close())
}

// A store that is not sound is not upgraded.
func TestUpgradeNotOfDamage(t *testing.T) {
	dir := closed(t, 3)
	edit(t, func(b []byte) []byte { return b[:len(b)/2] }, dir, "store.db")
	before := files(t, dir)
	if _, err := bolt.Open(dir, bolt.WithUpgrades(options(), addBucket("second", nil))); err == nil {
		t.Fatal("it was opened")
	}
	if after := files(t, dir); after["store.db"] != before["store.db"] || after[formatted("store.db", 0)] != "" {
		t.Error("it was changed")
	}
}
