package server_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/scep/client"
)

// patience is how long a test waits for what must come, on a busy machine.
const patience = 30 * time.Second

// TestTransportAttacks are A44, A47 and A48: sizes, queries and paths.
func TestTransportAttacks(t *testing.T) {
	w := newWorld(t, worldOptions{shape: ca.ShapeChain})
	series := len(w.series(t))
	t.Run("A44 sizes", func(t *testing.T) { sizeAttacks(t, w) })
	t.Run("A47 queries", func(t *testing.T) { queryAttacks(t, w) })
	t.Run("A48 operations and paths", func(t *testing.T) { pathAttacks(t, w) })
	// New outcomes make new series, hostile names and paths must not.
	if now := w.series(t); len(now) > series+60 {
		t.Errorf("%d series of metrics became %d: %q", series, len(now), now)
	}
	w.enrolled(t, "default", w.request(t))
	w.noPanic(t)
	w.wholeLines(t)
}

// series returns the names and labels of all metrics.
func (w *world) series(t *testing.T) []string {
	t.Helper()
	response, err := w.http.Get(w.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			all = append(all, line[:strings.LastIndexByte(line, ' ')])
		}
	}
	return all
}

// raw sends bytes over a connection of their own and returns the status of
// the answer, 0 when the server closes the connection without one.
func (w *world) raw(t *testing.T, request string) int {
	t.Helper()
	c := w.dial(t)
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, request) // a server that has had enough does not read on
	return statusFrom(t, c)
}

func (w *world) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func statusFrom(t *testing.T, c net.Conn) int {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the server neither answered nor closed the connection in %v", patience)
	}
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func sizeAttacks(t *testing.T, w *world) {
	const head = "POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"129 KiB announced":     {head + "Content-Length: 132096\r\n\r\n", http.StatusRequestEntityTooLarge},
		"100 MB announced":      {head + "Content-Length: 100000000\r\n\r\n", http.StatusRequestEntityTooLarge},
		"negative length":       {head + "Content-Length: -1\r\n\r\n", http.StatusBadRequest},
		"two lengths":           {head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", http.StatusBadRequest},
		"length not a number":   {head + "Content-Length: 1e3\r\n\r\n", http.StatusBadRequest},
		"chunk without a size":  {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", http.StatusBadRequest},
		"headers of 100 kB":     {head + "X-Long: " + strings.Repeat("x", 100_000) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"no HTTP":               {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", http.StatusBadRequest},
		"compressed":            {head + "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", http.StatusUnsupportedMediaType},
		"HTTP/1.0 without Host": {"GET /scep/default?operation=GetCACaps HTTP/1.0\r\n\r\n", http.StatusOK},
	} {
		lost := c.want == http.StatusRequestHeaderFieldsTooLarge // may be, see queryAttacks
		if got := w.raw(t, c.request); got != c.want && !(lost && got == 0) {
			t.Errorf("%s: HTTP %d, want %d", name, got, c.want)
		}
	}
}

func queryAttacks(t *testing.T, w *world) {
	const path = "/scep/default?operation=PKIOperation&message="
	r := w.request(t)
	b64 := base64.StdEncoding.EncodeToString(encode(t, r))
	for _, c := range []struct {
		name, query string
		want        int
	}{
		{"message of 64 KiB", path + strings.Repeat("A", 64<<10), http.StatusBadRequest},
		{"message over 64 KiB", path + strings.Repeat("A", 64<<10+1), http.StatusRequestURITooLong},
		{"no base64", path + "!!!!", http.StatusBadRequest},
		{"escaped twice", path + strings.ReplaceAll(url.QueryEscape(b64), "%", "%25"), http.StatusBadRequest},
		{"message twice", path + url.QueryEscape(b64) + "&message=" + url.QueryEscape(b64), http.StatusBadRequest},
		{"operation twice", "/scep/default?operation=GetCACaps&operation=PKIOperation", http.StatusBadRequest},
	} {
		if a := w.exchange(t, http.MethodGet, c.query, "", nil); a.status != c.want {
			t.Errorf("%s: HTTP %d, want %d", c.name, a.status, c.want)
		}
	}
	// Its answer may be lost, since the client is still sending.
	if got := w.raw(t, "GET "+path+strings.Repeat("A", 1<<20)+" HTTP/1.1\r\nHost: x\r\n\r\n"); got != http.StatusRequestHeaderFieldsTooLarge && got != 0 {
		t.Errorf("message of 1 MB: HTTP %d", got)
	}
	// The same message in the forms of real clients still enrols, once.
	for _, form := range []string{url.QueryEscape(b64), strings.ReplaceAll(b64, "=", "%3D"), strings.ReplaceAll(b64, "+", "%2B")} {
		if reply := w.read(t, r, w.exchange(t, http.MethodGet, path+form, "", nil)); reply.Status != client.Success {
			t.Errorf("status %s", reply.Status)
		}
	}
}

func pathAttacks(t *testing.T, w *world) {
	for target, want := range map[string]int{
		"/scep/default":                                http.StatusBadRequest,
		"/scep/default?operation=":                     http.StatusBadRequest,
		"/scep/default?operation=pkioperation":         http.StatusBadRequest,
		"/scep/default?operation=GetCACaps%00":         http.StatusBadRequest,
		"/scep/default?Operation=GetCACaps":            http.StatusBadRequest,
		"/scep/default/../default?operation=GetCACaps": http.StatusNotFound,
		"//scep/default?operation=GetCACaps":           http.StatusNotFound,
		"/scep//default?operation=GetCACaps":           http.StatusNotFound,
		"/scep/%2e%2e/scep?operation=GetCACaps":        http.StatusNotFound,
		"/scep/default%2f?operation=GetCACaps":         http.StatusNotFound,
		"/scep/%64efault?operation=GetCACaps":          http.StatusNotFound,
		"/scep/nobody?operation=GetCACaps":             http.StatusNotFound,
		"/scep/challenge?operation=GetCACaps":          http.StatusNotFound,
		"/scep/default/_lab":                           http.StatusNotFound,
		"/api/v1/configurations":                       http.StatusNotFound,
		"/metrics":                                     http.StatusNotFound,
		"/" + strings.Repeat("a", 10_000):              http.StatusNotFound,
	} {
		if got := w.raw(t, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); got != want && !(want == http.StatusNotFound && got == http.StatusBadRequest) {
			t.Errorf("%.60s: HTTP %d, want %d", target, got, want)
		}
	}
	for n := range 200 {
		request := fmt.Sprintf("GET /scep/name-%d?operation=Op%d HTTP/1.1\r\nHost: h%d\r\nUser-Agent: agent-%d\r\nConnection: close\r\n\r\n", n, n, n, n)
		if got := w.raw(t, request); got != http.StatusNotFound {
			t.Fatalf("HTTP %d", got)
		}
	}
}

// TestSlowClients is A45, and the slow part of A44: whoever sends nothing, or
// a byte now and then, is cut off within ten seconds and a little, while
// others are served.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{shape: ca.ShapeChain})
	const each = 25
	starts := map[string]string{
		"silent":        "",
		"half a header": "POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nX-",
		"half a body":   "POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n0",
		"half a chunk":  "POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n0",
	}
	begin := time.Now()
	var slow sync.WaitGroup
	for name, start := range starts {
		for range each {
			c := w.dial(t)
			if _, err := io.WriteString(c, start); err != nil {
				t.Fatal(err)
			}
			slow.Go(func() {
				defer func() { _ = c.Close() }()
				status := trickle(t, c)
				if status != 0 && status != http.StatusRequestTimeout && status != http.StatusBadRequest {
					t.Errorf("%s: HTTP %d", name, status)
				}
			})
		}
	}
	for range 5 {
		w.enrolled(t, "default", w.request(t))
	}
	slow.Wait()
	if took := time.Since(begin); took > patience {
		t.Errorf("the last slow client was cut off after %v", took)
	}
	w.enrolled(t, "default", w.request(t))
	w.noPanic(t)
}

// trickle sends one byte a second until the server has had enough, and
// returns the status of its answer.
func trickle(t *testing.T, c net.Conn) int {
	done := make(chan int, 1)
	go func() { done <- statusFrom(t, c) }()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case status := <-done:
			return status
		case <-second.C:
			_, _ = c.Write([]byte("0")) // a closed connection is the end that statusFrom sees
		}
	}
}

// TestCrowd is A46: many idle connections and many enrolments at once. Each
// ends with a certificate or is asked to come again; none is lost.
func TestCrowd(t *testing.T) {
	w := newWorld(t, worldOptions{shape: ca.ShapeChain})
	const idle, enrolments = 300, 100
	for range idle {
		c := w.dial(t)
		defer func() { _ = c.Close() }()
		if _, err := io.WriteString(c, "GET /scep/default?operation=GetCACaps HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got := statusFrom(t, c); got != http.StatusOK {
			t.Fatalf("HTTP %d", got)
		}
	}
	messages := make([][]byte, enrolments)
	for i := range messages {
		messages[i] = encode(t, w.request(t))
	}
	answers := make([]scepAnswer, enrolments)
	var crowd sync.WaitGroup
	for i := range messages {
		crowd.Go(func() { answers[i] = w.post(t, "default", messages[i]) })
	}
	crowd.Wait()
	served := 0
	for _, a := range answers {
		switch {
		case a.status == http.StatusOK:
			served++
		case a.status != http.StatusServiceUnavailable || a.retryAfter == "":
			t.Errorf("HTTP %d, Retry-After %q", a.status, a.retryAfter)
		}
	}
	if served == 0 || w.issued(t) != served {
		t.Errorf("%d clients were served, %d certificates are kept", served, w.issued(t))
	}
	w.noPanic(t)
}

// TestRateLimitFromOutside sees that a client over its limit is told when to come again,
// that this costs nobody else, and that a forged header is no way around it.
func TestRateLimitFromOutside(t *testing.T) {
	const limit = 5
	w := newWorld(t, worldOptions{shape: ca.ShapeChain, limit: limit})
	var statuses []int
	for n := range limit + 3 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.base+"/scep/default", bytes.NewReader([]byte{0x30}))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", n))
		response, err := w.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		statuses = append(statuses, response.StatusCode)
		if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "" {
			t.Error("a 429 does not say when to come again")
		}
	}
	if slices.Index(statuses, http.StatusTooManyRequests) != limit {
		t.Errorf("statuses %v, want %d messages let through", statuses, limit)
	}
	if a := w.exchange(t, http.MethodGet, "/scep/default?operation=GetCACaps", "", nil); a.status != http.StatusOK {
		t.Errorf("GetCACaps is limited too: HTTP %d", a.status)
	}
}
