package server_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/lab"
)

// a laboratory is a clock that can be moved, and what it is kept in.
type laboratory struct {
	time    *clock.Lab
	stored  depot.LabClock
	storing error
	settled int
	unclear error // what settling comes to
}

// inHouse makes a house a lab.
func (l *laboratory) inHouse(h *house) {
	l.time = clock.NewLab(h.clock)
	h.config.Clock = l.time
	h.config.LabClock = lab.NewClock(lab.ClockOptions{
		Lab: l.time, Depot: l, Log: slog.New(slog.NewJSONHandler(h.log, nil)),
		Settle: func(context.Context) error { l.settled++; return l.unclear },
	})
}

func (l *laboratory) SetLabClock(_ context.Context, c depot.LabClock, _ time.Time) error {
	if l.storing == nil {
		l.stored = c
	}
	return l.storing
}

func (l *laboratory) LabClock(context.Context) (depot.LabClock, error) { return l.stored, l.storing }

func text(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// A lab's clock over HTTP, move by move. The machine's clock stands still.
func TestLabClock(t *testing.T) {
	l := &laboratory{}
	h := open(t, l.inHouse)
	machine := h.clock.Now()
	const day = 24 * time.Hour
	for n, call := range []struct {
		method, path, body string
		ahead              time.Duration
		frozen             bool
	}{
		{"GET", "", "", 0, false},
		{"POST", "/advance", `{"by_seconds":86400}`, day, false},
		{"POST", "/advance", `{"by":"24h"}`, 2 * day, false},
		{"POST", "/advance", `{"by":"-72h","by_seconds":null}`, -day, false},
		{"PUT", "", `{"offset_seconds":3600}`, time.Hour, false},
		{"PUT", "", `{"at":"` + text(machine.Add(400*day)) + `"}`, 400 * day, false},
		{"POST", "/freeze", ``, 400 * day, true},
		{"POST", "/freeze", `{}`, 400 * day, true},
		{"POST", "/advance", `{"by_seconds":-86400}`, 399 * day, true},
		{"PUT", "", `{"at":"` + text(machine.Add(10*day)) + `","frozen":null}`, 10 * day, true},
		{"POST", "/unfreeze", ``, 10 * day, false},
		{"PUT", "", `{"frozen":true}`, 10 * day, true},
		{"PUT", "", `{"offset_seconds":-86400,"frozen":false}`, -day, false},
		{"PUT", "", `{"at":"` + text(machine.Add(day)) + `","frozen":true}`, day, true},
		{"GET", "", "", day, true},
		{"POST", "/reset", ``, 0, false},
	} {
		got := h.object(call.method, "/lab/clock"+call.path, call.body, http.StatusOK)
		if got["now"] != text(machine.Add(call.ahead)) || got["offset_seconds"] != call.ahead.Seconds() || got["frozen"] != call.frozen {
			t.Errorf("%s %s %s: %v, want %v ahead, frozen %t", call.method, call.path, call.body, got, call.ahead, call.frozen)
		}
		if n > 0 && (got["changed_by"] != "admin" || got["changed_at"] != text(machine)) {
			t.Errorf("%s %s: changed by %v at %v", call.method, call.path, got["changed_by"], got["changed_at"])
		}
		if l.time.Offset() != call.ahead || l.stored.Moved() != l.time.Setting().Moved() {
			t.Errorf("%s %s: the clock is %v ahead, %+v is stored", call.method, call.path, l.time.Offset(), l.stored)
		}
	}
	if l.settled == 0 {
		t.Error("answered without doing what was due")
	}
}

// What is wrong moves nothing and says what it is.
func TestLabClockRefused(t *testing.T) {
	l := &laboratory{}
	h := open(t, l.inHouse)
	for _, call := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "", ``, 422, "is missing"},
		{"PUT", "", `{"at":null}`, 422, "is missing"},
		{"PUT", "", `{"at":"tomorrow"}`, 422, "must be a time"},
		{"PUT", "", `{"at":"2201-01-01T00:00:00Z"}`, 422, "from 1990-01-01T00:00:00Z to 2200-01-01T00:00:00Z"},
		{"PUT", "", `{"at":"1989-12-31T23:59:59Z"}`, 422, "out of range"},
		{"PUT", "", `{"at":"2030-01-01T00:00:00Z","offset_seconds":1}`, 422, "contradicts"},
		{"PUT", "", `{"offset_seconds":"1"}`, 422, "whole number"},
		{"PUT", "", `{"offset_seconds":1.5}`, 422, "whole number"},
		{"PUT", "", `{"offset_seconds":9223372036854775807}`, 422, "whole number"},
		{"PUT", "", `{"offset_seconds":9000000000}`, 422, "out of range"},
		{"PUT", "", `{"offset_seconds":-9000000000}`, 422, "out of range"},
		{"PUT", "", `{"frozen":"yes"}`, 422, "true or false"},
		{"PUT", "", `{"frozen":true,"speed":2}`, 422, "not a known field"},
		{"POST", "/advance", ``, 422, "is missing"},
		{"POST", "/advance", `{"by":"1d2"}`, 422, "must be a duration"},
		{"POST", "/advance", `{"by":"1h","by_seconds":0}`, 422, "contradicts"},
		{"POST", "/advance", `{"by_seconds":9000000000}`, 422, "out of range"},
		{"POST", "/advance", `{"seconds":1}`, 422, "not a known field"},
		{"POST", "/freeze", `{"at":"2030-01-01T00:00:00Z"}`, 422, "not a known field"},
		{"POST", "/reset", `[]`, 400, "JSON object"},
		{"DELETE", "", ``, 405, "method"},
		{"GET", "/advance", ``, 405, "method"},
	} {
		a := h.api(call.method, "/lab/clock"+call.path, call.body)
		if a.status != call.status || !strings.Contains(a.body, call.says) {
			t.Errorf("%s %s %s: %d %s, want %d %q", call.method, call.path, call.body, a.status, a.body, call.status, call.says)
		}
		if l.time.Setting().Moved() || l.stored.Moved() {
			t.Fatalf("%s %s %s moved the clock", call.method, call.path, call.body)
		}
	}
	l.storing = depot.ErrUnavailable
	if a := h.api("POST", "/lab/clock/advance", `{"by_seconds":1}`); a.status != 503 || l.time.Setting().Moved() {
		t.Errorf("not stored: %d %s", a.status, a.body)
	}
	if a := h.api("GET", "/lab/clock", ""); a.status != 503 {
		t.Errorf("not read: %d %s", a.status, a.body)
	}
	l.storing, l.unclear = nil, errors.New("secret cause")
	a := h.api("POST", "/lab/clock/advance", `{"by_seconds":1}`)
	if a.status != 500 || !strings.Contains(a.body, "urn:understudy:problem:unsettled") || strings.Contains(a.body, "secret cause") || a.header.Get("X-Lab-Time") == "" {
		t.Errorf("unsettled: %d %s %v", a.status, a.body, a.header)
	}
}

// Without --lab there is no clock, and with it there is none without a token.
func TestLabClockIsKept(t *testing.T) {
	calls := []struct{ method, path string }{
		{"GET", ""}, {"PUT", ""}, {"POST", "/advance"}, {"POST", "/freeze"}, {"POST", "/unfreeze"}, {"POST", "/reset"},
	}
	ordinary := open(t)
	l := &laboratory{}
	h := open(t, l.inHouse)
	if err := l.time.Advance(time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, call := range calls {
		if a := ordinary.api(call.method, "/lab/clock"+call.path, `{"by_seconds":1}`); a.status != http.StatusNotFound || !strings.Contains(a.body, "--lab") {
			t.Errorf("%s %s without a lab: %d %s", call.method, call.path, a.status, a.body)
		}
		for _, server := range []*house{ordinary, h} {
			r := httptest.NewRequest(call.method, "/lab/clock"+call.path, strings.NewReader(`{"by_seconds":1}`))
			r.Host = "localhost"
			if a := do(server.Admin(), r); a.status != http.StatusUnauthorized {
				t.Errorf("%s %s without a token: %d %s", call.method, call.path, a.status, a.body)
			}
		}
		if a := h.get("/lab/clock" + call.path); a.status != http.StatusNotFound {
			t.Errorf("%s on the public listener: %d", call.path, a.status)
		}
	}
	if l.time.Offset() != time.Hour {
		t.Errorf("the clock was moved: %v", l.time.Offset())
	}
}

// Every answer of both listeners tells the time while it is not the machine's,
// and only then.
func TestLabTimeIsTold(t *testing.T) {
	l := &laboratory{}
	h := open(t, l.inHouse)
	const header = "X-Lab-Time"
	tell := func(want string) {
		t.Helper()
		foreign := httptest.NewRequest("GET", "/livez", nil)
		foreign.Host = "evil.example"
		for what, a := range map[string]reply{
			"SCEP": h.get("/scep?operation=GetCACaps"), "CA": h.get("/ca.cer"), "404": h.get("/nothing"), "bad message": h.post("x"),
			"API": h.api("GET", "/api/v1/certificates", ""), "404 of the API": h.api("GET", "/api/v1/certificates/00", ""),
			"health": h.api("GET", "/livez", ""), "metrics": h.api("GET", "/metrics", ""), "foreign": do(h.Admin(), foreign),
			"clock": h.api("GET", "/lab/clock", ""),
		} {
			if got := a.header.Values(header); want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0] != want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
	}
	tell("")
	a := h.api("POST", "/lab/clock/advance", `{"by":"8760h"}`)
	ahead := text(h.clock.Now().Add(8760 * time.Hour))
	if got := a.header.Values(header); len(got) != 1 || got[0] != ahead {
		t.Errorf("the move itself: %q, want %q", got, ahead)
	}
	tell(ahead)
	if err := l.time.Set(h.clock.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	tell(text(h.clock.Now().Add(-time.Hour)))
	if a := h.api("POST", "/lab/clock/reset", ""); a.header.Get(header) != "" {
		t.Errorf("the reset: %q", a.header.Get(header))
	}
	tell("")
}
