//go:build linux

package reliability

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/test/internal/program"
)

const memoryLimit = 256 << 20 // bytes

// TestR20_Memory has devices enrol while strangers do what costs memory: many
// connections that never finish a header, many that never finish a large body
// (A32), and large bodies that are no message (A46).
func TestR20_Memory(t *testing.T) {
	server := understudy.Start(t, program.Options{Arguments: []string{"--rate-limit", "0"}})
	f := newFleet(t, server, server.SecretKey)
	where, err := url.Parse(server.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	quiet := goroutines(t, server)

	var held []net.Conn
	post := "POST " + where.Path + "?operation=PKIOperation HTTP/1.1\r\nHost: x\r\n"
	for i := range 2000 {
		c, err := net.Dial("tcp", where.Host)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		if i%2 == 0 {
			fmt.Fprint(c, post) // never ends
			continue
		}
		fmt.Fprint(c, post+"Content-Length: 131072\r\n\r\n")
		c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		c.Write(make([]byte, 100<<10))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	var enrolled, hostile, failed atomic.Int64
	// A busy machine gets longer, until both sides had a turn.
	busy := time.NewTicker(time.Duration(pick(3, 60)) * time.Second)
	defer busy.Stop()
	group.Go(func() {
		defer cancel()
		for ctx.Err() == nil {
			select {
			case <-busy.C:
			case <-ctx.Done():
			}
			if enrolled.Load() > 0 && hostile.Load() > 0 {
				return
			}
		}
	})
	requests := f.requests(t, "load", 20)
	for i := range 20 {
		group.Go(func() {
			for ctx.Err() == nil {
				if _, err := f.send(ctx, requests[i]); err == nil {
					enrolled.Add(1)
				} else if ctx.Err() == nil && !unavailable(err) {
					failed.Add(1)
				}
			}
		})
		group.Go(func() {
			junk := bytes.Repeat([]byte{0x30, 0x80}, 64<<10) // deeper than deep
			for ctx.Err() == nil {
				r, err := http.Post(server.SCEPURL+"?operation=PKIOperation", "application/x-pki-message", bytes.NewReader(junk))
				if err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					r.Body.Close()
					hostile.Add(1)
				}
			}
		})
	}
	group.Wait()
	peak := peakMemory(t, server.PID())
	for _, c := range held {
		c.Close()
	}
	// Connections that the devices of this test keep for later are no leak.
	f.scep.HTTPClient.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	if peak > memoryLimit {
		t.Errorf("peak memory %d MiB, more than %d", peak>>20, memoryLimit>>20)
	}
	if enrolled.Load() == 0 || hostile.Load() == 0 || failed.Load() > 0 {
		t.Errorf("%d enrolments, %d failed otherwise than by 503, %d hostile requests", enrolled.Load(), failed.Load(), hostile.Load())
	}
	var now int
	const slack = 10 // connections of this test and the runtime's own
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if now = goroutines(t, server); now <= quiet+slack {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines, %d before", now, quiet)
			break
		}
	}
	t.Logf("peak memory %d MiB, %d answers with a certificate, %d hostile requests, goroutines %d before and %d after",
		peak>>20, enrolled.Load(), hostile.Load(), quiet, now)
}

// goroutines asks the server how many it has.
func goroutines(t *testing.T, server *program.Server) int {
	t.Helper()
	_, body := server.Admin(t, http.MethodGet, "/metrics", "")
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			var n int
			fmt.Sscan(value, &n)
			return n
		}
	}
	t.Fatal("there is no metric go_goroutines")
	return 0
}

// peakMemory is the most that a process had in memory, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kib int
			fmt.Sscan(value, &kib)
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
