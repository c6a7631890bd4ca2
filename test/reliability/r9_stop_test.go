package reliability

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"understudy.example/understudy/test/internal/program"
)

// TestR9_Stop stops a server under 100 clients that try again until they have
// a certificate, and starts it again: none is lost, none is doubled, and all
// are served.
func TestR9_Stop(t *testing.T) {
	const clients = 100
	arguments := []string{"--rate-limit", "0", "--max-in-flight", "2"}
	server := understudy.Start(t, program.Options{Arguments: arguments})
	f := newFleet(t, server, server.SecretKey)
	requests := f.requests(t, "stop", clients)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var mu sync.Mutex
	var received []receipt
	var served, restarted atomic.Int64
	again := make(chan struct{}) // closed when there is a server again
	var group sync.WaitGroup
	for _, r := range requests {
		group.Go(func() {
			for ctx.Err() == nil {
				mine := *f.scep
				if restarted.Load() > 0 {
					mu.Lock()
					mine.URL = server.SCEPURL
					mu.Unlock()
				}
				got, err := (&fleet{scep: &mine}).send(ctx, r)
				if err == nil {
					served.Add(1)
					mu.Lock()
					received = append(received, got)
					mu.Unlock()
					return
				}
				<-again // whatever went wrong: the server is stopping
			}
		})
	}
	for served.Load() < clients/10 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Stop() }()
	red := false
	for status := 1; status != 0; {
		if status = ready(server); status == 503 {
			red = true
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	if !red {
		t.Error("readyz was never red while requests were in flight")
	}
	before := served.Load()
	next := understudy.Start(t, program.Options{Data: server.Data, Arguments: arguments})
	mu.Lock()
	server = next
	mu.Unlock()
	restarted.Store(1)
	close(again)
	group.Wait()
	if len(received) != clients {
		t.Errorf("%d of %d clients have a certificate", len(received), clients)
	}
	lookFor(t, server, received)
	checkWhole(t, server, received)
	t.Logf("%d clients were served before the stop, %d after", before, clients-before)
}

// TestR9_SecondSignal does not wait for anybody.
func TestR9_SecondSignal(t *testing.T) {
	server := understudy.Start(t, program.Options{})
	where, err := url.Parse(server.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := net.Dial("tcp", where.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	header := "POST " + where.Path + "?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nbegin"
	if _, err := slow.Write([]byte(header)); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, server, server.SecretKey) // by now the slow one is being served
	_ = f
	process := server.PID()
	if err := syscall.Kill(process, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ready(server) != 503; {
		if time.Now().After(deadline) {
			t.Fatal("readyz does not turn")
		}
	}
	began := time.Now()
	err = server.Stop()                                   // the second signal
	if took := time.Since(began); took > 15*time.Second { // the first one would wait for 20
		t.Errorf("a second signal took %v", took)
	}
	if err == nil {
		t.Error("a stop that cut a request off ended with exit code 0")
	}
	if log := server.Log(); strings.Contains(log, "panic") {
		t.Error(log)
	}
}
