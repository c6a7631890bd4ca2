package bolt_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// commit stores issuances number from … to-1.
func commit(t testing.TB, d *bolt.Depot, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, err := d.Commit(t.Context(), depottest.Issuance(n)); err != nil {
			t.Fatalf("Commit(%d): %v", n, err)
		}
	}
}

// image copies the store as a death would leave it: what is on the disk, and
// no goodbye. Nothing may be written meanwhile.
func image(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"store.db", "ledger", "store.pid"} {
		if err := os.Chmod(filepath.Join(to, name), 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return to
}

// died returns the image of a store with n certificates that was not closed.
func died(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	commit(t, d, 0, n)
	return image(t, dir)
}

// closed returns a store with n certificates that was closed in order.
func closed(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	commit(t, d, 0, n)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// holds asserts that the certificates from … to-1 are there, field for field,
// and that the store is sound.
func holds(t testing.TB, d *bolt.Depot, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := holdsOne(t, d, n); err != nil {
			t.Error(err)
		}
	}
	findings, err := d.Check(t.Context())
	if err != nil {
		t.Errorf("Check: %v", err)
	}
	for _, f := range findings {
		t.Errorf("Check found: %s", f)
	}
}

func holdsOne(t testing.TB, d *bolt.Depot, n int) error {
	want := depottest.Issuance(n).Identity
	got, err := d.Identity(t.Context(), want.CertificateSerial)
	if err != nil {
		return err
	}
	want.PreviousSerial = got.PreviousSerial
	if diff := cmp.Diff(want, got); diff != "" {
		return errors.New(diff)
	}
	tx, err := d.TransactionOfMessage(t.Context(), depottest.Issuance(n).Transaction.MessageSHA256)
	if err == nil && tx.CertificateSerial != want.CertificateSerial {
		err = errors.New("message leads to certificate " + tx.CertificateSerial)
	}
	return err
}

// refuses asserts that the store does not open and that the reason is one
// line with all the words.
func refuses(t *testing.T, dir string, words ...string) {
	t.Helper()
	d, err := bolt.Open(dir, options())
	if err == nil {
		d.Close()
		t.Fatal("Open did not refuse")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q has more than one line", err)
	}
}

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, b []byte, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit changes a file as a whole.
func edit(t testing.TB, change func(b []byte) []byte, path ...string) {
	t.Helper()
	write(t, change(read(t, path...)), path...)
}

// inDatabase changes the database behind the depot's back.
func inDatabase(t testing.TB, dir string, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "store.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

var _ depot.Depot = (*bolt.Depot)(nil)
