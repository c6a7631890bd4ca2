//go:build reliability

package reliability

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// inNamespace runs a test again in a mount namespace of its own, and says
// whether this is that second run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const variable = "UNDERSTUDY_RELIABILITY_NAMESPACE"
	if os.Getenv(variable) != "" {
		return true
	}
	c := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), variable+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("in a mount namespace (it needs root): %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "_test.go:") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return false
}

func tmpfs(t *testing.T, dir, size string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, "mode=0700,size="+size); err != nil {
		t.Fatalf("mount tmpfs: %v", err)
	}
	if flags&syscall.MS_REMOUNT == 0 {
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	}
}

// TestR6_DiskFull lets devices enrol until the disk is full, at different
// places of what is written.
func TestR6_DiskFull(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	for _, filler := range []int{0, 300_000, 500_000, 612_345, 700_001} {
		t.Run(fmt.Sprint(filler), func(t *testing.T) { fillUp(t, filler) })
	}
}

func fillUp(t *testing.T, filler int) {
	dir := t.TempDir()
	tmpfs(t, dir, "1m", 0)
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, filler), 0o600); err != nil {
		t.Fatal(err)
	}
	options := program.Options{Data: filepath.Join(t.TempDir(), "data"), Arguments: []string{"--store", "bolt:" + filepath.Join(dir, "store"), "--rate-limit", "0"}}
	server := understudy.Start(t, options)
	f := newFleet(t, server, server.SecretKey)
	var received []receipt
	var refused error
	full := 0
	for round := 0; refused == nil && round < 100; round++ {
		var mu sync.Mutex
		var group sync.WaitGroup
		for _, r := range f.requests(t, fmt.Sprint("fill-", round), 20) {
			group.Go(func() {
				got, err := f.send(t.Context(), r)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					received = append(received, got)
				} else if refused = err; !unavailable(err) {
					t.Errorf("on a full disk: %v; want 503 with Retry-After", err)
				} else {
					full++
				}
			})
		}
		group.Wait()
	}
	if refused == nil {
		t.Fatal("the disk did not fill")
	}
	late := f.requests(t, "late", 5)
	for _, r := range late {
		if got, err := f.send(t.Context(), r); err == nil {
			received = append(received, got) // there was room between two pages
		} else if !unavailable(err) {
			t.Errorf("on a full disk: %v", err)
		}
	}
	if status := ready(server); status != 503 {
		t.Errorf("readyz on a full disk: %d", status)
	}
	lookFor(t, server, received) // reading goes on
	tmpfs(t, dir, "8m", syscall.MS_REMOUNT)
	for _, r := range late {
		got, err := f.send(t.Context(), r)
		if err != nil {
			t.Errorf("with room again, without a restart: %v", err)
			continue
		}
		received = append(received, got)
	}
	if status := ready(server); status != 200 {
		t.Errorf("readyz with room again: %d", status)
	}
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
	options.Data = server.Data
	server = understudy.Start(t, options)
	lookFor(t, server, received)
	checkWhole(t, server, received)
	t.Logf("%d certificates before and after, %d times 503", len(received), full)
}

// TestR6_FullAtStart has no room for anything: the start is refused in one
// sentence, and succeeds with room.
func TestR6_FullAtStart(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := t.TempDir()
	tmpfs(t, dir, "1m", 0)
	for _, left := range []int{0, 8 << 10, 40 << 10, 72 << 10, 100 << 10, 140 << 10} {
		data := filepath.Join(dir, fmt.Sprint("data", left))
		filler, err := os.Create(filepath.Join(dir, "filler"))
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, 4<<10)
		for err == nil {
			_, err = filler.Write(block)
		}
		size, _ := filler.Seek(0, 2)
		if err := filler.Truncate(max(0, size-int64(left))); err != nil {
			t.Fatal(err)
		}
		filler.Close()
		server, err := understudy.TryStart(t, program.Options{Data: data})
		if err == nil {
			server.Kill()
		} else if log := server.Log(); strings.Contains(log, "panic") || !strings.Contains(log, "no space left") {
			t.Errorf("with %d bytes left: %s", left, log)
		}
		if err := os.Remove(filler.Name()); err != nil {
			t.Fatal(err)
		}
		server, err = understudy.TryStart(t, program.Options{Data: data})
		if err != nil {
			t.Errorf("with room again, after %d bytes: %v", left, err)
			continue
		}
		server.Kill()
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
	}
}
