package reliability

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// stored makes a data directory with a few certificates in it.
func stored(t *testing.T) string {
	t.Helper()
	server := understudy.Start(t, program.Options{})
	f := newFleet(t, server, server.SecretKey)
	for _, r := range f.requests(t, "stored", 3) {
		if _, err := f.send(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	return server.Data
}

// TestR7_Damage damages a data directory and starts a server on it: one
// sentence that names the file and the way out, and nothing is changed.
func TestR7_Damage(t *testing.T) {
	whole, other := stored(t), stored(t)
	edit := func(name string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			path := filepath.Join(data, name)
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	nothing := func([]byte) []byte { return nil }
	half := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	noise := func(b []byte) []byte {
		for i := range b[:len(b)/2] {
			b[i] ^= 0xff
		}
		return b
	}
	swap := func(name string) func([]byte) []byte {
		return func([]byte) []byte {
			b, err := os.ReadFile(filepath.Join(other, name))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	gone := func(name string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			if err := os.RemoveAll(filepath.Join(data, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	const database, ledger = "store/store.db", "store/ledger"
	for _, tt := range []struct {
		name   string
		damage func(t *testing.T, data string)
		says   []string
	}{
		{"database emptied", edit(database, nothing), []string{"store.db", "backup", "rebuild"}},
		{"database cut in half", edit(database, half), []string{"store.db", "backup", "rebuild"}},
		{"database overwritten", edit(database, noise), []string{"store.db", "backup", "rebuild"}},
		{"database removed", gone(database), []string{"store.db", "backup", "rebuild"}},
		{"database of another store", edit(database, swap(database)), []string{"belongs to store", "put the right"}},
		{"ledger emptied", edit(ledger, nothing), []string{"ledger", "cut", "backup"}},
		{"ledger cut in half", edit(ledger, half), []string{"ledger", "cut", "backup"}},
		{"ledger flipped", edit(ledger, flip), []string{"ledger", "damaged at byte", "backup"}},
		{"ledger removed", gone(ledger), []string{"ledger", "missing", "backup"}},
		{"ledger of another store", edit(ledger, swap(ledger)), []string{"belongs to store", "put the right"}},
		{"store removed", gone("store"), []string{"store.db", "missing", "backup"}},
		{"authority removed", gone("authority"), []string{"authority", "put the authority's directory back"}},
		{"authority of another store", func(t *testing.T, data string) {
			gone("authority")(t, data)
			if err := os.Rename(filepath.Join(copyDir(t, other), "authority"), filepath.Join(data, "authority")); err != nil {
				t.Fatal(err)
			}
		}, []string{"authority", "mixed", "put the right"}},
		{"admin token emptied", edit("admin.token", nothing), []string{"admin.token", "remove it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := copyDir(t, whole)
			tt.damage(t, data)
			before := contents(t, filepath.Join(data, "store"))
			refusesToServe(t, data, tt.says...)
			for name, b := range contents(t, filepath.Join(data, "store")) {
				if name == "ledger" && !bytes.Equal(b, before[name]) {
					t.Errorf("%s was changed by a start that was refused", name)
				}
			}
		})
	}
}

// refusesToServe starts a server that must end with one sentence.
func refusesToServe(t *testing.T, data string, says ...string) {
	t.Helper()
	r := understudy.Run(t, nil, "serve", "--data", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if r.Code != 1 && r.Code != 2 {
		t.Errorf("exit code %d", r.Code)
	}
	last := ""
	for line := range strings.Lines(r.Stderr) {
		last = line
	}
	for _, word := range says {
		if !strings.Contains(last, word) {
			t.Errorf("%q does not say %q", last, word)
		}
	}
	if strings.Contains(r.Stderr, "goroutine ") || strings.Contains(r.Stderr, "panic:") {
		t.Errorf("a panic shows: %s", r.Stderr)
	}
	if lines := strings.Count(strings.TrimSpace(r.Stderr), "\n") + 1; lines > 3 {
		t.Errorf("%d lines: %s", lines, r.Stderr)
	}
	if r.Stdout != "" {
		t.Errorf("on standard output: %q", r.Stdout)
	}
}

func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = b
	}
	return files
}

// TestR8_SecondProcess cannot use the store, and says who can.
func TestR8_SecondProcess(t *testing.T) {
	server := understudy.Start(t, program.Options{})
	refusesToServe(t, server.Data, "in use", fmt.Sprintf("process %d", server.PID()))
	f := newFleet(t, server, server.SecretKey)
	if _, err := f.send(t.Context(), f.requests(t, "still", 1)[0]); err != nil {
		t.Errorf("the first process, afterwards: %v", err)
	}
	if status := ready(server); status != 200 {
		t.Errorf("readyz of the first process: %d", status)
	}
}
