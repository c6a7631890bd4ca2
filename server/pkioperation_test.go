package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/client"
)

func TestPostWithAnyContentType(t *testing.T) {
	h := open(t)
	for i, contentType := range []string{"application/x-pki-message", "application/octet-stream", "text/plain", ""} {
		for j, query := range []string{"?operation=PKIOperation", "", "?operation=", "?message=ignored"} {
			request := h.message(fmt.Sprintf("SERIAL%d%d", i, j), secretKey)
			r := httptest.NewRequest(http.MethodPost, "/scep"+query, bytes.NewReader(request.Raw))
			r.Header.Set("Content-Type", contentType)
			a := do(h.Public(), r)
			if got := a.header.Get("Content-Type"); got != "application/x-pki-message" {
				t.Errorf("reply to %q is %q", contentType, got)
			}
			h.success(request, a)
		}
	}
}

// Every way in which clients and proxies write base64 into a URL.
func TestGet(t *testing.T) {
	h := open(t)
	lines := func(s string) string {
		var b strings.Builder
		for chunk := range slices.Chunk([]byte(s), 64) {
			b.WriteString(string(chunk) + "%0A")
		}
		return b.String()
	}
	for name, encode := range map[string]func(std string) string{
		"escaped":            url.QueryEscape,
		"raw plus and slash": func(s string) string { return strings.ReplaceAll(s, "=", "%3D") },
		"plus as %20":        func(s string) string { return strings.ReplaceAll(s, "+", "%20") },
		"lower-case escapes": func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "+", "%2b"), "/", "%2f") },
		"URL-safe":           func(s string) string { return strings.NewReplacer("+", "-", "/", "_").Replace(s) },
		"unpadded":           func(s string) string { return strings.TrimRight(s, "=") },
		"line end":           func(s string) string { return s + "%0A" },
		"lines":              lines,
	} {
		t.Run(name, func(t *testing.T) {
			request := h.message("GET"+strings.ToUpper(strings.Map(letters, name)), secretKey)
			text := encode(base64.StdEncoding.EncodeToString(request.Raw))
			h.success(request, h.get("/scep?operation=PKIOperation&message="+text))
		})
	}
}

func letters(r rune) rune {
	if r >= 'a' && r <= 'z' {
		return r
	}
	return -1
}

func TestMessagesThatAreNone(t *testing.T) {
	valid := strings.Repeat("A", 64<<10)
	for _, test := range []struct {
		name   string
		r      *http.Request
		header [2]string
		status int
		detail string // in the log
	}{
		{"empty", post(strings.NewReader("")), [2]string{}, 400, "empty body"},
		{"garbage", post(strings.NewReader("garbage")), [2]string{}, 400, ""},
		{"just too large", post(nothings(scep.MaxMessage + 1)), [2]string{}, 413, "body of more than 131072 bytes"},
		{"largest", post(nothings(scep.MaxMessage)), [2]string{}, 400, ""},
		{"declared too large", declared(100_000_000), [2]string{}, 413, "body of 100000000 bytes"},
		{"cut off", post(io.MultiReader(strings.NewReader("x"), failing{})), [2]string{}, 400, "body ended early"},
		{"encoded", post(strings.NewReader("x")), [2]string{"Content-Encoding", "gzip"}, 415, "content encoding"},
		{"GET encoded", get("AAAA"), [2]string{"Content-Encoding", "gzip"}, 415, "content encoding"},
		{"GET empty", get(""), [2]string{}, 400, "message parameter is empty"},
		{"GET not base64", get("%25"), [2]string{}, 400, "message parameter: illegal base64 data at input byte 0"},
		{"GET escaped twice", get("%252B"), [2]string{}, 400, "message parameter: illegal base64 data at input byte 0"},
		{"GET longest", get(valid), [2]string{}, 400, ""},
		{"GET too long", get(valid + "A"), [2]string{}, 414, "message parameter of 65537 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := open(t)
			if test.header[0] != "" {
				test.r.Header.Set(test.header[0], test.header[1])
			}
			a := do(h.Public(), test.r)
			if a.status != test.status || a.body == "" {
				t.Errorf("%d %q, want %d", a.status, a.body, test.status)
			}
			line := h.transaction()
			if line["outcome"] != "refused" || line["reason"] != "bad_message" || line["detail"] == "" {
				t.Errorf("logged %v", line)
			}
			if test.detail != "" && line["detail"] != test.detail {
				t.Errorf("detail %q, want %q", line["detail"], test.detail)
			}
		})
	}
}

func post(body io.Reader) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/scep?operation=PKIOperation", io.NopCloser(body))
}

func get(message string) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/scep?operation=PKIOperation&message="+message, nil)
}

// declared is a request whose body must not be touched.
func declared(length int64) *http.Request {
	r := post(failing{})
	r.ContentLength = length
	return r
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestTransactionLine(t *testing.T) {
	h := open(t)
	request := h.message("C02XL0GTJGH5", secretKey)
	r := post(bytes.NewReader(request.Raw))
	r.RemoteAddr = "198.51.100.7:4711"
	r.Header.Set("User-Agent", "agent\x1b[31m \"quoted\" "+strings.Repeat("x", 1000))
	certificate := h.success(request, do(h.Public(), r))
	line := h.transaction()
	fields := slices.Sorted(maps.Keys(line))
	want := []string{"certificate_serial", "configuration", "detail", "device_key", "duration_ms", "level", "message_type", "msg",
		"outcome", "reason", "remote", "time", "transaction_id", "user_agent"}
	if !slices.Equal(fields, want) {
		t.Errorf("fields %v, want %v", fields, want)
	}
	for field, want := range map[string]any{
		"level": "INFO", "configuration": h.live.Record.ID, "transaction_id": "TX-C02XL0GTJGH5", "message_type": "19",
		"outcome": "issued", "reason": "", "detail": "", "device_key": "serial:C02XL0GTJGH5",
		"certificate_serial": fmt.Sprintf("%x", certificate.SerialNumber.Bytes()), "remote": "198.51.100.7",
	} {
		if line[field] != want {
			t.Errorf("%s is %v, want %v", field, line[field], want)
		}
	}
	agent, _ := line["user_agent"].(string)
	if !strings.HasPrefix(agent, "agent\x1b[31m \"quoted\" xxx") || len(agent) != 256 {
		t.Errorf("user_agent has %d bytes: %.40q", len(agent), agent)
	}
	if took, _ := line["duration_ms"].(float64); took <= 0 {
		t.Errorf("duration_ms is %v", line["duration_ms"])
	}
	identity, err := h.depot.Identity(t.Context(), line["certificate_serial"].(string))
	if err != nil || identity.SourceAddress != "198.51.100.7" || identity.SourcePeer != "198.51.100.7" || identity.TLS || identity.UserAgent != agent {
		t.Errorf("stored from %q %q %q (%v)", identity.SourceAddress, identity.SourcePeer, identity.UserAgent, err)
	}
}

// Each outcome has its own status, level and word.
func TestOutcomes(t *testing.T) {
	unavailable := fmt.Errorf("commit: %w: no space left on device", depot.ErrUnavailable)
	for _, test := range []struct {
		name    string
		secret  string
		commit  error
		panics  any
		repeat  bool
		status  int
		retry   bool
		outcome string
		reason  string
		level   string
		detail  string
	}{
		{name: "issued", secret: secretKey, status: 200, outcome: "issued", level: "INFO"},
		{name: "repeated", secret: secretKey, repeat: true, status: 200, outcome: "repeated", level: "INFO"},
		{name: "wrong secret", secret: "wrongwrongwrongwrong", status: 200, outcome: "refused", reason: "challenge_wrong", level: "INFO"},
		{name: "store unavailable", secret: secretKey, commit: unavailable, status: 503, retry: true, outcome: "failed", level: "ERROR",
			detail: "no space left on device"},
		{name: "internal", secret: secretKey, commit: errors.New("secret plumbing"), status: 500, outcome: "failed", level: "ERROR",
			detail: "secret plumbing"},
		{name: "panic", secret: secretKey, panics: evil{}, status: 500, outcome: "failed", level: "ERROR", detail: "panic of type server_test.evil"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := open(t, func(h *house) {
				if test.commit == nil && test.panics == nil {
					return
				}
				commitWith(func(context.Context, depot.Issuance) (depot.Identity, error) {
					if test.panics != nil {
						panic(test.panics)
					}
					return depot.Identity{}, test.commit
				})(h)
			})
			request := h.message("C02XL0GTJGH5", test.secret)
			a := h.post(string(request.Raw))
			if test.repeat {
				a = h.post(string(request.Raw))
			}
			if a.status != test.status || a.body == "" || (a.header.Get("Retry-After") != "") != test.retry {
				t.Errorf("%d %v %q", a.status, a.header, a.body)
			}
			if strings.Contains(a.body, "plumbing") || strings.Contains(a.body, "space") {
				t.Errorf("the client learns %q", a.body)
			}
			lines := h.log.lines(t, "transaction")
			line := lines[len(lines)-1]
			detail, _ := line["detail"].(string)
			if line["outcome"] != test.outcome || line["reason"] != test.reason || line["level"] != test.level || !strings.Contains(detail, test.detail) {
				t.Errorf("logged %v", line)
			}
			series := fmt.Sprintf(`understudy_transactions_total{configuration=%q,outcome=%q,reason=%q}`, h.live.Record.ID, test.outcome, test.reason)
			if got := h.metric(series); got != "1" {
				t.Errorf("%s is %q", series, got)
			}
			want := "0"
			if test.panics != nil {
				want = "1"
			}
			if got := h.metric("understudy_panics_total"); got != want {
				t.Errorf("understudy_panics_total is %s, want %s", got, want)
			}
			for _, gauge := range []string{"understudy_requests_in_flight", "understudy_queue_length"} {
				if got := h.metric(gauge); got != "0" {
					t.Errorf("%s is %s after the end", gauge, got)
				}
			}
		})
	}
}

// evil is a panic value that must not be printed.
type evil struct{}

func (evil) Error() string  { panic("printed") }
func (evil) String() string { panic("printed") }

// After a panic and after a failure there are as many slots as before.
func TestSlotsComeBack(t *testing.T) {
	calls := 0
	var real depot.Depot
	h := open(t, func(h *house) {
		h.config.MaxInFlight = 1
		h.wrap = func(d depot.Depot) depot.Depot {
			real = d
			return &faultyDepot{Depot: d, commit: func(ctx context.Context, i depot.Issuance) (depot.Identity, error) {
				if calls++; calls < 4 {
					panic("again")
				}
				return real.Commit(ctx, i)
			}}
		}
	})
	for i := range 3 {
		if a := h.post(string(h.message(fmt.Sprintf("SERIAL%d", i), secretKey).Raw)); a.status != 500 {
			t.Fatalf("status %d", a.status)
		}
	}
	h.enrol("SERIAL4")
	if n := len(h.log.lines(t, "panic")); n != 3 {
		t.Errorf("%d panics logged, want 3", n)
	}
}

// A client that hangs up does not stop what it began.
func TestClientHangsUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var seen error
	h := open(t, func(h *house) {
		h.wrap = func(d depot.Depot) depot.Depot {
			return &faultyDepot{Depot: d, lookUp: func(c context.Context) {
				cancel()
				seen = c.Err()
			}}
		}
	})
	request := h.message("C02XL0GTJGH5", secretKey)
	do(h.Public(), post(bytes.NewReader(request.Raw)).WithContext(ctx))
	if seen != nil || h.transaction()["outcome"] != "issued" {
		t.Errorf("the flow saw %v", seen)
	}
}

// A secret that was reset is refused at once, the new one accepted, and what is
// in flight is not disturbed.
func TestResetInFlight(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	first := true
	h := open(t, func(h *house) {
		h.wrap = func(d depot.Depot) depot.Depot {
			return &faultyDepot{Depot: d, commit: func(c context.Context, i depot.Issuance) (depot.Identity, error) {
				if first {
					first = false
					close(inside)
					<-goOn
				}
				return d.Commit(c, i)
			}}
		}
	})
	request := h.message("SERIAL1", secretKey)
	done := make(chan reply)
	go func() { done <- h.post(string(request.Raw)) }()
	<-inside
	secret, _ := h.object("POST", "/api/v1/configurations/default/reset-secret", "{}", 200)["secret_key"].(string)
	close(goOn)
	h.success(request, <-done)

	old := h.message("SERIAL2", secretKey)
	reply, err := old.ReadReply([]byte(h.post(string(old.Raw)).body), h.clock.Now())
	if err != nil || reply.Status != client.Failure {
		t.Errorf("old secret: %v %v", reply, err)
	}
	fresh := h.message("SERIAL3", secret)
	h.success(fresh, h.post(string(fresh.Raw)))
}

// What a removed configuration leaves is its certificates, not its URL.
func TestRemovedConfiguration(t *testing.T) {
	h := open(t)
	h.enrol("SERIAL1")
	if a := h.api("DELETE", "/api/v1/configurations/default", ""); a.status != http.StatusNoContent || a.body != "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := h.get("/scep?operation=GetCACaps"); a.status != http.StatusNotFound {
		t.Errorf("its URL answers %d", a.status)
	}
	list := h.object("GET", "/api/v1/certificates?configuration="+h.live.Record.ID, "", 200)
	if items, _ := list["items"].([]any); len(items) != 1 {
		t.Errorf("%d certificates listed", len(items))
	}
	if strings.Contains(h.api("GET", "/metrics", "").body, h.live.Record.ID) {
		t.Error("its series remain")
	}
}

func TestNoSecrets(t *testing.T) {
	const foreign = "AnotherSecretOfSomebody99"
	h := open(t)
	h.enrol("SERIAL1")
	wrong := h.message("SERIAL2", foreign)
	replies := h.post(string(wrong.Raw)).body
	created := h.api("POST", "/api/v1/configurations", `{"name":"second","secret_key":"`+secretKey+`"}`)
	if created.status != http.StatusCreated || !strings.Contains(created.body, secretKey) {
		t.Fatalf("%d %s", created.status, created.body)
	}
	bad := h.api("POST", "/api/v1/configurations", `{"name":"third","secret_key":"short!","validity_seconds":1}`).body
	for _, target := range []string{"/api/v1/configurations", "/api/v1/certificates", "/api/v1/devices", "/api/v1/events", "/metrics"} {
		replies += h.api("GET", target, "").body
	}
	for where, text := range map[string]string{"log": h.log.String(), "answers": replies, "error": bad} {
		for _, secret := range []string{secretKey, foreign, token, "short!"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s", where, secret)
			}
		}
	}
}

func TestProxies(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, test := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:1", nil, "192.0.2.1"},
		{"192.0.2.1:1", []string{"203.0.113.9"}, "192.0.2.1"},
		{"[::ffff:192.0.2.1]:1", nil, "192.0.2.1"},
		{"[fe80::1%eth0]:1", nil, "fe80::1"},
		{"10.1.1.1:1", nil, "10.1.1.1"},
		{"10.1.1.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"10.1.1.1:1", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		{"10.1.1.1:1", []string{"1.1.1.1", "203.0.113.9, 10.2.2.2"}, "203.0.113.9"},
		{"10.1.1.1:1", []string{"10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		{"[fd00::1]:1", []string{"2001:db8::7"}, "2001:db8::7"},
		{"10.1.1.1:1", []string{"[2001:db8::7]:443"}, "2001:db8::7"},
		{"10.1.1.1:1", []string{"203.0.113.9:443"}, "203.0.113.9"},
		{"10.1.1.1:1", []string{"nonsense"}, "10.1.1.1"},
		{"10.1.1.1:1", []string{"203.0.113.9, "}, "10.1.1.1"},
		{"10.1.1.1:1", []string{"nonsense, 10.2.2.2"}, "10.2.2.2"},
		{"10.1.1.1:1", []string{"203.0.113.9" + strings.Repeat(",10.2.2.2", 100)}, "10.2.2.2"},
		{"@", []string{"203.0.113.9"}, ""},
	} {
		h := open(t, func(h *house) { h.config.TrustedProxies = trusted })
		r := post(strings.NewReader("x"))
		r.RemoteAddr = test.peer
		r.Header["X-Forwarded-For"] = test.forwarded
		do(h.Public(), r)
		if got := h.transaction()["remote"]; got != test.want {
			t.Errorf("%s with %v: %v, want %s", test.peer, test.forwarded, got, test.want)
		}
	}
}
