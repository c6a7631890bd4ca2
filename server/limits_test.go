package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/depot"
)

// from sends what is not a message from an address, and returns the status.
func (h *house) from(address, path string) reply {
	r := post(strings.NewReader("garbage"))
	r.URL.Path = path
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(address), 4711).String()
	return do(h.Public(), r)
}

func limited(perMinute int) func(*house) {
	return func(h *house) { h.config.RateLimitPerMinute = perMinute }
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, limited(3))
		expect := func(address string, want int) {
			t.Helper()
			a := h.from(address, "/scep")
			if a.status != want {
				t.Errorf("%s: %d, want %d", address, a.status, want)
			}
			if got := a.header.Get("Retry-After"); want == 429 && got != "20" {
				t.Errorf("%s: Retry-After %q, want 20", address, got)
			}
		}
		for range 3 {
			expect("192.0.2.1", 400)
		}
		expect("192.0.2.1", 429)
		expect("192.0.2.2", 400)
		for i := range 3 {
			expect(fmt.Sprintf("2001:db8:1:2:%x::1", i), 400)
		}
		expect("2001:db8:1:2:ffff::1", 429) // the same /64
		expect("2001:db8:1:3::1", 400)
		if got := h.get("/scep?operation=GetCACaps").status; got != http.StatusOK {
			t.Errorf("a cached answer is limited: %d", got)
		}
		time.Sleep(20 * time.Second)
		expect("192.0.2.1", 400)
		expect("192.0.2.1", 429)
		if got := h.metric(fmt.Sprintf(`understudy_transactions_total{configuration=%q,outcome="refused",reason="rate_limited"}`, h.live.Record.ID)); got != "3" {
			t.Errorf("%s counted as rate limited, want 3", got)
		}
	})
}

// The authority's clock may be moved by a lab; the limiter does not follow it.
func TestRateLimitIsNotTheLabsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, limited(1))
		h.from("192.0.2.1", "/scep")
		h.clock.Advance(24 * time.Hour)
		if got := h.from("192.0.2.1", "/scep").status; got != 429 {
			t.Errorf("%d after the clock was moved", got)
		}
		h.clock.Advance(-1000 * time.Hour)
		time.Sleep(time.Minute)
		if got := h.from("192.0.2.1", "/scep").status; got != 400 {
			t.Errorf("%d after a minute", got)
		}
	})
}

// A guesser with many addresses uses up one configuration, not the others.
func TestRateLimitOfConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, limited(1))
		h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
		for range 5 { // a client over its limit takes nothing from the configuration
			h.from("198.51.100.1", "/scep")
		}
		for i := range 99 {
			if got := h.from(fmt.Sprintf("192.0.2.%d", i), "/scep").status; got != 400 {
				t.Fatalf("client %d: %d", i, got)
			}
		}
		if got := h.from("203.0.113.1", "/scep").status; got != 429 {
			t.Errorf("beyond the configuration's limit: %d", got)
		}
		if got := h.from("203.0.113.2", "/scep/other").status; got != 400 {
			t.Errorf("another configuration: %d", got)
		}
	})
}

// Buckets of clients that were not seen for long are given up for new ones.
func TestRateLimitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the time stands still
		h := open(t, limited(500))
		for range 500 {
			h.from("2001:db8::1", "/scep")
		}
		if got := h.from("2001:db8::1", "/scep").status; got != 429 {
			t.Fatalf("%d before the flood", got)
		}
		for i := range 40_000 {
			h.from(fmt.Sprintf("2001:db9:%x:%x::1", i>>8, i&0xff), "/scep")
		}
		if got := h.from("2001:db8::1", "/scep").status; got != 400 {
			t.Errorf("%d: 40 000 clients later the bucket is still there", got)
		}
	})
}

func TestRateLimitOutOfRange(t *testing.T) {
	for _, n := range []int{-1, 1 << 30} {
		if err := openError(t, func(h *house) { h.config.RateLimitPerMinute = n }); err == nil {
			t.Errorf("a limit of %d is accepted", n)
		}
	}
}

// blocked is a house with one slot, which the first enrolment holds until the
// returned function is called.
func blocked(t *testing.T) (h *house, first chan reply, release func()) {
	t.Helper()
	inside, goOn := make(chan struct{}), make(chan struct{})
	h = open(t, func(h *house) {
		h.config.MaxInFlight = 1
		h.wrap = func(d depot.Depot) depot.Depot {
			return &faultyDepot{Depot: d, commit: func(ctx context.Context, i depot.Issuance) (depot.Identity, error) {
				if i.Transaction.ID == "TX-FIRST" {
					close(inside)
					<-goOn
				}
				return d.Commit(ctx, i)
			}}
		}
	})
	request := h.message("FIRST", secretKey)
	first = make(chan reply, 1)
	go func() { first <- h.post(string(request.Raw)) }()
	<-inside
	return h, first, func() { close(goOn) }
}

func TestQueueHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, first, release := blocked(t)
		begin := time.Now()
		a := h.post("garbage")
		if waited := time.Since(begin); a.status != 503 || a.header.Get("Retry-After") != "5" || waited != 5*time.Second {
			t.Errorf("%d, Retry-After %q after %v", a.status, a.header.Get("Retry-After"), waited)
		}
		line := h.transaction()
		if line["outcome"] != "refused" || line["reason"] != "busy" {
			t.Errorf("logged %v", line)
		}
		release()
		if a := <-first; a.status != 200 {
			t.Errorf("the first one got %d", a.status)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, first, release := blocked(t)
		answers := make(chan reply, 1024)
		for range 1024 {
			go func() { answers <- h.post("garbage") }()
		}
		synctest.Wait()
		if got := h.metric("understudy_queue_length"); got != "1024" {
			t.Errorf("understudy_queue_length is %s", got)
		}
		if got := h.metric("understudy_requests_in_flight"); got != "1025" {
			t.Errorf("understudy_requests_in_flight is %s", got)
		}
		begin := time.Now()
		if a := h.post("garbage"); a.status != 503 || time.Since(begin) != 0 {
			t.Errorf("%d after %v, want 503 at once", a.status, time.Since(begin))
		}
		if a := h.get("/scep?operation=GetCACert"); a.status != 200 {
			t.Errorf("GetCACert waits as well: %d", a.status)
		}
		release()
		if a := <-first; a.status != 200 {
			t.Errorf("the first one got %d", a.status)
		}
		for range 1024 {
			if a := <-answers; a.status != 400 {
				t.Fatalf("%d for one that waited", a.status)
			}
		}
	})
}

// Who came first is served first.
func TestQueueKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, first, release := blocked(t)
		done := make(chan reply)
		for i := range 5 {
			request := h.message(fmt.Sprintf("WAITER%d", i), secretKey)
			go func() { done <- h.post(string(request.Raw)) }()
			synctest.Wait()
		}
		release()
		<-first
		for range 5 {
			<-done
		}
		for i, line := range h.log.lines(t, "transaction") {
			if want := fmt.Sprintf("TX-WAITER%d", i-1); i > 0 && line["transaction_id"] != want {
				t.Errorf("place %d: %v, want %s", i, line["transaction_id"], want)
			}
		}
	})
}

// A client that hangs up leaves the queue.
func TestQueueForgetsWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, first, release := blocked(t)
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan reply)
		go func() { gone <- do(h.Public(), post(strings.NewReader("garbage")).WithContext(ctx)) }()
		synctest.Wait()
		begin := time.Now()
		leave()
		<-gone
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("left after %v", waited)
		}
		if got := h.metric("understudy_queue_length"); got != "0" {
			t.Errorf("understudy_queue_length is %s", got)
		}
		release()
		<-first
	})
}

// Half bodies of many slow clients must not fill the memory.
func TestLargeBodiesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		goOn := make(chan struct{})
		answers := make(chan reply, 256)
		for range 256 {
			go func() { answers <- do(h.Public(), post(&stalling{left: 20_000, goOn: goOn})) }()
		}
		synctest.Wait()
		if a := do(h.Public(), post(nothings(20_000))); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("one large body too many: %d", a.status)
		}
		if a := do(h.Public(), post(nothings(10_000))); a.status != 400 {
			t.Errorf("an ordinary body: %d", a.status)
		}
		close(goOn)
		for range 256 {
			if a := <-answers; a.status != 400 {
				t.Fatalf("a slow one got %d", a.status)
			}
		}
		if a := do(h.Public(), post(nothings(20_000))); a.status != 400 {
			t.Errorf("afterwards: %d", a.status)
		}
	})
}

// stalling gives some bytes and then nothing for long.
type stalling struct {
	left int
	goOn chan struct{}
}

func (s *stalling) Read(p []byte) (int, error) {
	if s.left == 0 {
		<-s.goOn
		return 0, http.ErrBodyReadAfterClose
	}
	n := min(len(p), s.left)
	s.left -= n
	return n, nil
}
