//go:build unix

package devicelist_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"understudy.example/understudy/devicelist"
)

// A pipe is no file: whoever opened it would wait for somebody to write.
func TestReadPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := devicelist.Read(path); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("read a pipe: %v", err)
	}
}
