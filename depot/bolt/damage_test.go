package bolt_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// lines splits a ledger into its records.
func lines(ledger []byte) [][]byte {
	all := bytes.SplitAfter(ledger, []byte("\n"))
	return all[:len(all)-1]
}

func join(records [][]byte) []byte { return bytes.Join(records, nil) }

func TestDamage(t *testing.T) {
	half := func(b []byte) []byte { return b[:len(b)/2] }
	nothing := func([]byte) []byte { return nil }
	for _, test := range []struct {
		name   string
		store  func(testing.TB, int) string // closed or died
		damage func(t *testing.T, dir string)
		says   []string // nothing: it opens and holds everything
	}{
		{"database cut in half", closed, func(t *testing.T, dir string) { edit(t, half, dir, "store.db") },
			[]string{"store.db", "rebuild"}},
		{"database cut in half after a death", died, func(t *testing.T, dir string) { edit(t, half, dir, "store.db") },
			[]string{"store.db", "rebuild"}},
		{"database cut by a byte", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return b[:len(b)-1] }, dir, "store.db")
		}, nil}, // bbolt's files have room to spare at the end
		{"database emptied", closed, func(t *testing.T, dir string) { edit(t, nothing, dir, "store.db") },
			[]string{"store.db", "empty", "rebuild"}},
		{"database removed", closed, func(t *testing.T, dir string) { remove(t, dir, "store.db") },
			[]string{"store.db", "missing", "rebuild"}},
		{"database is something else", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return bytes.Repeat([]byte("text "), len(b)/5) }, dir, "store.db")
		}, []string{"store.db", "rebuild"}},
		{"database with nothing in it", closed, func(t *testing.T, dir string) {
			remove(t, dir, "store.db")
			inDatabase(t, dir, func(*bbolt.Tx) error { return nil })
		}, []string{"store.db", "empty", "rebuild"}},
		{"both metas zeroed", closed, func(t *testing.T, dir string) { zeroMeta(t, dir, 0, 1) },
			[]string{"store.db", "rebuild"}},
		{"newest meta zeroed after a death", died, func(t *testing.T, dir string) { zeroMeta(t, dir, newestMeta(t, dir)) },
			[]string{"ends at record 5", "goes on", "rebuild"}},
		{"newest meta zeroed", closed, func(t *testing.T, dir string) { zeroMeta(t, dir, newestMeta(t, dir)) },
			nil}, // only the note of the end is gone
		{"bucket removed", closed, func(t *testing.T, dir string) {
			inDatabase(t, dir, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("by_device")) })
		}, []string{"store.db", "by_device", "rebuild"}},
		{"newer format", closed, func(t *testing.T, dir string) {
			inDatabase(t, dir, func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("meta")).Put([]byte("format"), binary.BigEndian.AppendUint64(nil, bolt.Format+1))
			})
		}, []string{fmt.Sprintf("format %d", bolt.Format+1), fmt.Sprintf("only %d", bolt.Format), "version of Understudy that wrote it"}},

		{"ledger removed", closed, func(t *testing.T, dir string) { remove(t, dir, "ledger") },
			[]string{"ledger", "is missing", "6 records", "backup"}},
		{"ledger removed after a death", died, func(t *testing.T, dir string) { remove(t, dir, "ledger") },
			[]string{"ledger", "is missing"}},
		{"ledger emptied", closed, func(t *testing.T, dir string) { edit(t, nothing, dir, "ledger") },
			[]string{"ledger", "was cut"}},
		{"last record cut off", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return join(lines(b)[:5]) }, dir, "ledger")
		}, []string{"ledger", "was cut"}},
		{"last record torn", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return b[:len(b)-7] }, dir, "ledger")
		}, []string{"ledger", "was cut"}},
		{"last two records cut off after a death", died, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return join(lines(b)[:4]) }, dir, "ledger")
		}, []string{"ledger", "was cut"}},
		{"last record cut off after a death", died, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return join(lines(b)[:5]) }, dir, "ledger")
		}, nil},
		{"last record torn after a death", died, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return b[:len(b)-7] }, dir, "ledger")
		}, nil},
		{"last record zeroed after a death", died, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte {
				last := len(b) - len(lines(b)[5])
				return append(b[:last:last], make([]byte, len(b)-last)...)
			}, dir, "ledger")
		}, nil},
		{"zeros after the last record", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return append(b, make([]byte, 3<<20)...) }, dir, "ledger")
		}, nil},
		{"zeros after the last record after a death", died, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return append(b, make([]byte, 83)...) }, dir, "ledger")
		}, nil},
		{"zeros and something else after the last record", died, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return append(append(b, make([]byte, 3<<20)...), 'x') }, dir, "ledger")
		}, []string{"ledger", "damaged at byte", "record 7", "zeros"}},
		{"zeros instead of the last record", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte {
				last := len(b) - len(lines(b)[5])
				return append(b[:last:last], make([]byte, len(b)-last)...)
			}, dir, "ledger")
		}, []string{"ledger", "zeros"}},
		{"zeros instead of a record in the middle", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { l := lines(b); clear(l[3]); return join(l) }, dir, "ledger")
		}, []string{"ledger", "damaged at byte", "record 4", "zeros"}},
		{"record in the middle edited", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return bytes.Replace(b, []byte("device 2"), []byte("device 7"), 1) }, dir, "ledger")
		}, []string{"ledger", "damaged at byte", "record 4"}},
		{"record in the middle removed", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return join(slices.Delete(lines(b), 2, 3)) }, dir, "ledger")
		}, []string{"ledger", "was cut"}},
		{"record replaced by a copy of another", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { l := lines(b); l[2] = l[3]; return join(l) }, dir, "ledger")
		}, []string{"ledger", "damaged at byte", "record 3"}},
		{"records swapped", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { l := lines(b); l[2], l[3] = l[3], l[2]; return join(l) }, dir, "ledger")
		}, []string{"ledger", "damaged at byte", "record 3"}},
		{"record in the middle edited after a death", died, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return bytes.Replace(b, []byte("device 2"), []byte("device 7"), 1) }, dir, "ledger")
		}, []string{"ledger", "damaged at byte", "record 4"}},
		{"first record damaged", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { b[100] ^= 1; return b }, dir, "ledger")
		}, []string{"ledger", "damaged at byte 0 (record 1)"}},
		{"ledger of another store", closed, func(t *testing.T, dir string) {
			write(t, read(t, closed(t, 5), "ledger"), dir, "ledger")
		}, []string{"ledger", "belongs to store", "mixed"}},
		{"database of another store", died, func(t *testing.T, dir string) {
			write(t, read(t, died(t, 5), "store.db"), dir, "store.db")
		}, []string{"ledger", "belongs to store", "mixed"}},
		{"last record replaced by another good one after a death", died, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { l := lines(b); l[5] = l[4]; return join(l) }, dir, "ledger")
		}, []string{"ledger", "another one than the database has"}},
		{"older database", closed, func(t *testing.T, dir string) {
			older := read(t, dir, "store.db")
			d := open(t, dir)
			commit(t, d, 5, 6)
			d.Close()
			write(t, older, dir, "store.db")
		}, []string{"store.db", "ends at record 6", "goes on", "rebuild"}},
		{"beginning of a record behind the last", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return append(b, lines(b)[1][:200]...) }, dir, "ledger")
		}, nil},
		{"nonsense behind the last record", closed, func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return append(b, strings.Repeat("nonsense ", 50)...) }, dir, "ledger")
		}, []string{"ledger", "damaged at byte"}},

		{"directory readable by others", closed, func(t *testing.T, dir string) { chmod(t, 0o750, dir) },
			[]string{"can be used by others", "chmod 700"}},
		{"database readable by others", closed, func(t *testing.T, dir string) { chmod(t, 0o640, dir, "store.db") },
			[]string{"store.db", "can be read by others", "chmod 600"}},
		{"ledger readable by others", closed, func(t *testing.T, dir string) { chmod(t, 0o604, dir, "ledger") },
			[]string{"ledger", "can be read by others", "chmod 600"}},
		{"ledger is a link", closed, func(t *testing.T, dir string) {
			to := filepath.Join(t.TempDir(), "elsewhere")
			if err := os.Rename(filepath.Join(dir, "ledger"), to); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, filepath.Join(dir, "ledger")); err != nil {
				t.Fatal(err)
			}
		}, []string{"ledger", "not a regular file"}},
		{"nothing", died, func(*testing.T, string) {}, nil},
		{"nothing, closed", closed, func(*testing.T, string) {}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := test.store(t, 5)
			test.damage(t, dir)
			if test.says != nil {
				before := map[string][]byte{}
				for _, name := range []string{"store.db", "ledger"} {
					before[name], _ = os.ReadFile(filepath.Join(dir, name))
				}
				refuses(t, dir, test.says...)
				after, _ := os.ReadFile(filepath.Join(dir, "ledger"))
				if !bytes.Equal(before["ledger"], after) {
					t.Error("the ledger was changed by an Open that refused")
				}
				return
			}
			d := open(t, dir)
			holds(t, d, 0, 5)
			commit(t, d, 5, 6)
			d.Close()
			holds(t, open(t, dir), 0, 6)
		})
	}
}

func remove(t testing.TB, path ...string) {
	t.Helper()
	if err := os.Remove(filepath.Join(path...)); err != nil {
		t.Fatal(err)
	}
}

func chmod(t testing.TB, mode os.FileMode, path ...string) {
	t.Helper()
	if err := os.Chmod(filepath.Join(path...), mode); err != nil {
		t.Fatal(err)
	}
}

func pageSize() int { return os.Getpagesize() }

func zeroMeta(t testing.TB, dir string, pages ...int) {
	t.Helper()
	edit(t, func(b []byte) []byte {
		for _, p := range pages {
			clear(b[p*pageSize() : (p+1)*pageSize()])
		}
		return b
	}, dir, "store.db")
}

// newestMeta returns the page, 0 or 1, of the meta with the higher transaction
// id: page header 16 bytes, then magic, version, page size and flags of 4
// bytes, root bucket 16, freelist 8, high-water mark 8, id 8.
func newestMeta(t testing.TB, dir string) int {
	t.Helper()
	b := read(t, dir, "store.db")
	const id = 16 + 4*4 + 16 + 8 + 8
	if binary.NativeEndian.Uint64(b[pageSize()+id:]) > binary.NativeEndian.Uint64(b[id:]) {
		return 1
	}
	return 0
}

// A full disk or a death can leave the beginning of a database, before
// anything was in it. It is begun anew, unless there was a store for certain.
func TestUnborn(t *testing.T) {
	for _, size := range []int{1, 512, pageSize(), 2 * pageSize(), 4 * pageSize()} {
		for _, fill := range []byte{0, 0xff} {
			dir := filepath.Join(t.TempDir(), "store")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, bytes.Repeat([]byte{fill}, size), dir, "store.db")
			must := options()
			must.MustExist = true
			if d, err := bolt.Open(dir, must); err == nil {
				d.Close()
				t.Errorf("%d bytes passed for the store that must exist", size)
			}
			d := open(t, dir)
			commit(t, d, 0, 1)
			d.Close()
			holds(t, open(t, dir), 0, 1)
		}
	}
	if whole := len(read(t, closed(t, 0), "store.db")); whole <= 4*pageSize() {
		t.Errorf("a store that holds nothing has a database of %d bytes, like one that was never made", whole)
	}
}

func TestMustExist(t *testing.T) {
	o := options()
	o.MustExist = true
	dir := filepath.Join(t.TempDir(), "store")
	if _, err := bolt.Open(dir, o); err == nil || !strings.Contains(err.Error(), "authority") {
		t.Errorf("Open of nothing: error %v", err)
	}
	dir = closed(t, 1)
	d, err := bolt.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	d := open(t, dir)
	commit(t, d, 0, 1)
	for name, want := range map[string]os.FileMode{".": 0o700 | os.ModeDir, "store.db": 0o600, "ledger": 0o600, "store.pid": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
}

// A big store that was closed in order is not looked through when it is
// opened: only the end of its ledger is. What it says is true all the same, and
// Check finds what is wrong.
func TestBig(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string)
		says   string // nothing: it opens
		finds  string
	}{
		{"nothing", func(*testing.T, string) {}, "", ""},
		{"ledger edited in the middle", func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return bytes.Replace(b, []byte("device 2"), []byte("device 7"), 1) }, dir, "ledger")
		}, "", "damaged at byte"},
		{"ledger edited at the end", func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { b[len(b)-10] ^= 1; return b }, dir, "ledger")
		}, "damaged at byte", ""},
		{"certificate flipped", func(t *testing.T, dir string) {
			der := depottest.Issuance(2).Identity.DER
			edit(t, func(b []byte) []byte { return bytes.ReplaceAll(b, der, bytes.ToUpper(der)) }, dir, "store.db")
		}, "", "checksum"},
		{"index entry removed", func(t *testing.T, dir string) {
			inDatabase(t, dir, func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte("by_not_after"))
				k, _ := b.Cursor().First()
				return b.Delete(k)
			})
		}, "", "no entry in index by_not_after"},
		{"certificate removed", func(t *testing.T, dir string) {
			inDatabase(t, dir, func(tx *bbolt.Tx) error {
				k, _ := tx.Bucket([]byte("identities")).Cursor().First()
				return tx.Bucket([]byte("identities")).Delete(k)
			})
		}, "", "index"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := closed(t, 5)
			test.damage(t, dir)
			d, err := bolt.Open(dir, bolt.Big(options()))
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("Open: error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			findings, err := d.Check(t.Context())
			if all := strings.Join(findings, "\n"); err != nil || !strings.Contains(all, test.finds) || test.finds == "" && all != "" {
				t.Errorf("Check: %v, %s", err, all)
			}
		})
	}
}

// Flipped pages and bits: the store refuses, or everything that it says is
// true, or Check names the damage. It never crashes.
func TestFlipped(t *testing.T) {
	dir := closed(t, 30)
	db, ledger := read(t, dir, "store.db"), read(t, dir, "ledger")
	try := func(name string, flip func(b []byte)) {
		t.Helper()
		to := filepath.Join(t.TempDir(), "store")
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(db)
		flip(b)
		write(t, b, to, "store.db")
		write(t, ledger, to, "ledger")
		d, err := bolt.Open(to, options())
		if err != nil {
			return
		}
		defer d.Close()
		var wrong []string
		for n := range 30 {
			if err := holdsOne(t, d, n); err != nil {
				wrong = append(wrong, err.Error())
			}
		}
		findings, err := d.Check(context.Background())
		if len(wrong) > 0 && len(findings) == 0 && err == nil {
			t.Errorf("%s: %d certificates are wrong, and Check found nothing; the first: %s", name, len(wrong), wrong[0])
		}
		if _, err := d.Commit(context.Background(), depottest.Issuance(99)); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q has more than one line", name, err)
		}
	}
	for page := 0; page < len(db)/pageSize(); page++ {
		try(fmt.Sprintf("page %d", page), func(b []byte) {
			for i := page * pageSize(); i < (page+1)*pageSize(); i++ {
				b[i] ^= 0xff
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		bit := random.IntN(len(db) * 8)
		try(fmt.Sprintf("bit %d", bit), func(b []byte) { b[bit/8] ^= 1 << (bit % 8) })
	}
	// Headers of pages steer bbolt; hit these more often.
	for range 60 {
		at := random.IntN(len(db)/pageSize())*pageSize() + 8 + random.IntN(40)
		try(fmt.Sprintf("byte %d", at), func(b []byte) { b[at] ^= byte(1 + random.IntN(255)) })
	}
}

// A store that is cut while it is open must not end the process either.
func TestCutWhileOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	commit(t, d, 0, 50)
	if err := os.Truncate(filepath.Join(dir, "store.db"), int64(4*pageSize())); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Identity(t.Context(), "0a000000"); err == nil || !strings.Contains(err.Error(), "rebuild") {
		t.Errorf("Identity: error %v", err)
	}
	if _, err := d.Commit(t.Context(), depottest.Issuance(50)); err == nil || !strings.Contains(err.Error(), "rebuild") {
		t.Errorf("Commit: error %v", err)
	}
	if err := d.Ready(t.Context()); err == nil {
		t.Error("Ready of a damaged store")
	}
	d.Close()
}
