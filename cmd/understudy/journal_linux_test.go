package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestToJournal: a secret key must not go where systemd keeps it.
func TestToJournal(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("no inode")
	}
	stream := fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
	for _, test := range []struct {
		name    string
		journal string
		want    bool
	}{
		{"this stream", stream, true},
		{"another stream", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino+1), false},
		{"no journal", "", false},
	} {
		a := &app{stdout: file, journal: test.journal}
		if got := a.toJournal(); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
