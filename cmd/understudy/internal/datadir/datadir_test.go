package datadir_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/datadir"
)

func permissions(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOpen(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	fresh := filepath.Join(parent, "a", "b")
	d, err := datadir.Open(fresh)
	if err != nil || permissions(t, fresh) != 0o700 {
		t.Fatalf("fresh: %v, %v", err, permissions(t, fresh))
	}
	if err := os.WriteFile(filepath.Join(string(d), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(fresh); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := os.Chmod(fresh, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(fresh); err == nil || !strings.Contains(err.Error(), "chmod 700") || permissions(t, fresh) != 0o750 {
		t.Errorf("open to a group: %v", err)
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Open(file); err == nil {
		t.Error("a file: want an error")
	}
}

func TestAdminToken(t *testing.T) {
	t.Parallel()
	d, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first, err := d.AdminToken()
	if err != nil || len(first) != 64 || permissions(t, d.Token()) != 0o600 {
		t.Fatalf("made %q, %v, %v", first, err, permissions(t, d.Token()))
	}
	if again, err := d.AdminToken(); err != nil || again != first {
		t.Errorf("then %q, %v", again, err)
	}
	if err := os.Chmod(d.Token(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AdminToken(); err == nil || strings.Contains(err.Error(), first) {
		t.Errorf("open to a group: %v", err)
	}
	if err := os.Remove(d.Token()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"\n", strings.Repeat("x", 31) + "\n"} {
		if err := datadir.WritePrivate(d.Token(), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.AdminToken(); err == nil {
			t.Errorf("%d characters: %q, want an error", len(text)-1, got)
		}
	}
}

func TestWebhooksKey(t *testing.T) {
	t.Parallel()
	d, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first, err := d.WebhooksKey()
	if err != nil || len(first) != 32 || permissions(t, d.Webhooks()) != 0o600 {
		t.Fatalf("made %d bytes, %v, %v", len(first), err, permissions(t, d.Webhooks()))
	}
	if again, err := d.WebhooksKey(); err != nil || !bytes.Equal(again, first) {
		t.Errorf("then another one, %v", err)
	}
	if err := os.Chmod(d.Webhooks(), 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WebhooksKey(); err == nil || !strings.Contains(err.Error(), "open to others") {
		t.Errorf("open to others: %v", err)
	}
	for _, text := range []string{"", "00\n", strings.Repeat("0", 62) + "xx\n", strings.Repeat("0", 66)} {
		if err := datadir.WritePrivate(d.Webhooks(), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.WebhooksKey(); err == nil || !strings.Contains(err.Error(), d.Webhooks()) {
			t.Errorf("%q: %v, want an error", text, err)
		}
	}
}

func TestAnnounce(t *testing.T) {
	t.Parallel()
	d, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := api.Discovery{PID: 7, AdminURL: "http://127.0.0.1:1", SCEPURL: "http://127.0.0.1:2/scep/x", Version: "v", StartedAt: "2026-01-01T00:00:00Z"}
	if err := d.Announce(want); err != nil || permissions(t, d.Discovery()) != 0o600 {
		t.Fatalf("%v, %v", err, permissions(t, d.Discovery()))
	}
	if got, err := api.ReadDiscovery(string(d)); err != nil || got != want {
		t.Errorf("read %+v, %v", got, err)
	}
	for range 2 { // removing nothing is fine
		if err := d.Withdraw(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(d.Discovery()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

// TestWriteWhole: a file that cannot be replaced stays as it was, and nothing
// is left beside it.
func TestWriteWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.MkdirAll(filepath.Join(target, "full"), 0o700); err != nil { // a rename over this fails
		t.Fatal(err)
	}
	if err := datadir.WritePrivate(target, []byte("x")); err == nil {
		t.Error("want an error")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
