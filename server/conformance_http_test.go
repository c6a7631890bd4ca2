package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/scep/client"
)

// transportCases are about how a message travels and about hostile ones.
var transportCases = []conformanceCase{
	{12, "POST with any content type", "", func(t *testing.T, w *world) {
		for _, contentType := range []string{messageType, "application/octet-stream", "text/plain", ""} {
			r := w.request(t)
			a := w.exchange(t, http.MethodPost, "/scep/default?operation=PKIOperation", contentType, bytes.NewReader(encode(t, r)))
			if reply := w.read(t, r, a); reply.Status != client.Success {
				t.Errorf("%q: status %s", contentType, reply.Status)
			}
		}
	}},
	{13, "POST without operation", "", func(t *testing.T, w *world) {
		r := w.request(t)
		a := w.exchange(t, http.MethodPost, "/scep/default", messageType, bytes.NewReader(encode(t, r)))
		if reply := w.read(t, r, a); reply.Status != client.Success {
			t.Errorf("status %s", reply.Status)
		}
	}},
	{14, "GET with percent-escapes", "", gets(func(b64 string) string { return url.QueryEscape(b64) })},
	{15, "GET with raw + and /, as macOS", "", gets(func(b64 string) string { return strings.ReplaceAll(b64, "=", "%3D") })},
	{15, "GET with everything raw", "", gets(func(b64 string) string { return b64 })},
	{16, "GET with + as %20", "", gets(func(b64 string) string { return strings.ReplaceAll(b64, "+", "%20") })},
	{17, "GET in the URL-safe alphabet", "", gets(func(b64 string) string { return strings.NewReplacer("+", "-", "/", "_").Replace(b64) })},
	{17, "GET without padding", "", gets(func(b64 string) string { return url.QueryEscape(strings.TrimRight(b64, "=")) })},
	{17, "GET with a newline at the end", "", gets(func(b64 string) string { return url.QueryEscape(b64) + "%0A" })},
	{17, "GET in lines of 64 columns", "", gets(func(b64 string) string {
		var out strings.Builder
		for len(b64) > 64 {
			out.WriteString(url.QueryEscape(b64[:64]) + "%0D%0A")
			b64 = b64[64:]
		}
		return out.String() + url.QueryEscape(b64)
	})},
	{17, "GET with lower-case escapes", "", gets(func(b64 string) string {
		return strings.NewReplacer("+", "%2b", "/", "%2f", "=", "%3d").Replace(b64)
	})},
	{18, "empty and garbage", "", func(t *testing.T, w *world) {
		for name, body := range map[string]string{"empty": "", "garbage": "garbage", "HTML": "<html></html>", "zeros": strings.Repeat("\x00", 100)} {
			if a := w.post(t, "default", []byte(body)); a.status != http.StatusBadRequest || len(a.body) == 0 {
				t.Errorf("POST of %s: HTTP %d, %q", name, a.status, a.body)
			}
		}
		for _, query := range []string{"", "&message=", "&message=%20", "&message=AAAA", "&message=$$$", "&message=%zz"} {
			a := w.exchange(t, http.MethodGet, "/scep/default?operation=PKIOperation"+query, "", nil)
			if a.status != http.StatusBadRequest || len(a.body) == 0 {
				t.Errorf("GET %q: HTTP %d, %q", query, a.status, a.body)
			}
		}
	}},
	{19, "body over the limit, in constant memory", "", func(t *testing.T, w *world) {
		const limit, far = 128 << 10, 16 << 20
		for name, body := range map[string]io.Reader{
			"one byte over, announced": bytes.NewReader(make([]byte, limit+1)),
			"far over, not announced":  io.LimitReader(endless{}, far),
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := w.exchange(t, http.MethodPost, "/scep/default?operation=PKIOperation", messageType, body)
			runtime.ReadMemStats(&after)
			if a.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: HTTP %d", name, a.status)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > far/8 {
				t.Errorf("%s: %d bytes were allocated", name, grown)
			}
		}
		if a := w.post(t, "default", make([]byte, limit)); a.status != http.StatusBadRequest {
			t.Errorf("at the limit: HTTP %d, want 400", a.status)
		}
	}},
	{20, "other methods", "", func(t *testing.T, w *world) {
		for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW"} {
			if a := w.exchange(t, method, "/scep/default?operation=GetCACaps", "", nil); a.status != http.StatusMethodNotAllowed {
				t.Errorf("%s: HTTP %d", method, a.status)
			}
		}
	}},
	{67, "children that run past their parent", "", func(t *testing.T, w *world) {
		// A child is one byte longer than its parent has room for; the
		// nearest definite length is two levels up the second time.
		const want = "ends after the one around it"
		cheap(t, w, []byte{0x30, 0x06, 0x30, 0x05, 0x02, 0x03, 0x00, 0x00, 0x00}, want)
		cheap(t, w, []byte{0x30, 0x08, 0x30, 0x80, 0x30, 0x05, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00}, want)
	}},
	{68, "one level deeper than allowed", "", func(t *testing.T, w *world) {
		const deepest = 24
		for _, opening := range []string{"\x30\x80", "\x24\x80", "\xa0\x80"} {
			cheap(t, w, []byte(strings.Repeat(opening, deepest+1)+strings.Repeat("\x00\x00", deepest+1)), "nested too deeply")
		}
	}},
	{70, "1000 bad messages at once", ca.ShapeChain, manyBadMessages},
	{71, "a panic whose value panics when printed", ca.ShapeChain, evilPanic},
}

// gets sends a message by GET, written in some way, and repeats that until the
// message had a + and a / in it.
func gets(write func(base64 string) string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		for {
			r := w.request(t)
			b64 := base64.StdEncoding.EncodeToString(encode(t, r))
			a := w.exchange(t, http.MethodGet, "/scep/default?operation=PKIOperation&message="+write(b64), "", nil)
			if reply := w.read(t, r, a); reply.Status != client.Success {
				t.Fatalf("status %s", reply.Status)
			}
			if strings.ContainsRune(b64, '+') && strings.ContainsRune(b64, '/') && strings.HasSuffix(b64, "=") {
				return
			}
		}
	}
}

// cheap demands that a message is refused as no message at all, for the right
// reason, fast and with little memory. The machine may be busy with other
// things: one time of several has to do.
func cheap(t *testing.T, w *world, message []byte, detail string) {
	t.Helper()
	const tries = 10
	for try := 1; ; try++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		a := w.post(t, "default", message)
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		if a.status != http.StatusBadRequest {
			t.Errorf("% x…: HTTP %d", message[:4], a.status)
		}
		if last := w.log.last(); !strings.Contains(last, detail) {
			t.Errorf("% x…: the log does not say %q: %s", message[:4], detail, last)
		}
		grown := after.TotalAlloc - before.TotalAlloc
		if grown <= 1<<20 && took <= time.Second { // the limits of the list, with room
			return
		}
		if try == tries {
			t.Errorf("% x…: took %v and allocated %d bytes", message[:4], took, grown)
			return
		}
	}
}

// manyBadMessages sends messages of which some fail at once and some as late
// as possible, and enrols a good device among them.
func manyBadMessages(t *testing.T, w *world) {
	bad := w.request(t)
	bad.CSR.Signature = flipFirst
	late := encode(t, bad)
	early := late[:len(late)-1]
	messages := [][]byte{late, early, early, early}
	quiet := settled(t)
	jobs := make(chan int)
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for i := range jobs {
				a := w.post(t, "default", messages[i%len(messages)])
				if want := []int{http.StatusOK, http.StatusBadRequest, http.StatusBadRequest, http.StatusBadRequest}[i%len(messages)]; a.status != want && a.status != http.StatusServiceUnavailable {
					t.Errorf("HTTP %d, want %d", a.status, want)
				}
			}
		})
	}
	for i := range 1000 {
		jobs <- i
		if i == 500 {
			w.enrolled(t, "default", w.request(t))
		}
	}
	close(jobs)
	workers.Wait()
	w.http.CloseIdleConnections()
	if now := settled(t); now.goroutines > quiet.goroutines+10 || now.heap > quiet.heap+8<<20 {
		t.Errorf("%d goroutines and %d bytes became %d and %d", quiet.goroutines, quiet.heap, now.goroutines, now.heap)
	}
}

type footprint struct {
	goroutines int
	heap       uint64
}

// settled returns what the process holds once nothing ends any more.
func settled(t *testing.T) footprint {
	t.Helper()
	last := runtime.NumGoroutine()
	for range 100 {
		runtime.GC()
		if now := runtime.NumGoroutine(); now >= last {
			break
		} else {
			last = now
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), m.HeapAlloc}
}

// hostileValue is a panic value that must not be printed.
type hostileValue struct{}

func (hostileValue) Error() string  { panic("printed a hostile value") }
func (hostileValue) String() string { panic("printed a hostile value") }

// panickingDepot panics when it is asked for transactions.
type panickingDepot struct {
	depot.Depot
	armed *bool
}

func (d panickingDepot) Transaction(ctx context.Context, configurationID, id string) (depot.Transaction, error) {
	if *d.armed {
		panic(hostileValue{})
	}
	return d.Depot.Transaction(ctx, configurationID, id)
}

func evilPanic(t *testing.T, _ *world) {
	armed := false
	w := newWorld(t, worldOptions{wrap: func(d depot.Depot) depot.Depot { return panickingDepot{d, &armed} }})
	armed = true
	a := w.post(t, "default", encode(t, w.request(t)))
	if a.status != http.StatusInternalServerError || strings.Contains(string(a.body), "hostile") {
		t.Errorf("HTTP %d, %q", a.status, a.body)
	}
	if log := w.log.String(); !strings.Contains(log, "hostileValue") || strings.Contains(log, "printed") {
		t.Errorf("the log must name the type and nothing else: %s", log)
	}
	armed = false
	w.enrolled(t, "default", w.request(t))
}
