package server_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/server"
)

func withBackup(f func(ctx context.Context, w io.Writer, keys bool) error) func(*house) {
	return func(h *house) { h.config.Upkeep.Backup = f }
}

// local asks for a backup from the server's own machine.
func local(h *house, method, query string) reply {
	r := httptest.NewRequest(method, "http://localhost/api/v1/backup"+query, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	r.RemoteAddr = "127.0.0.1:4711"
	return do(h.Admin(), r)
}

// Keys do not travel: the admin token is not worth as much elsewhere.
func TestBackupKeysStayHere(t *testing.T) {
	h := open(t, withBackup(func(_ context.Context, w io.Writer, keys bool) error {
		if keys {
			t.Error("keys were given")
		}
		_, err := io.WriteString(w, "certificates")
		return err
	}))
	for peer, want := range map[string]int{"192.0.2.1:4711": 403, "[2001:db8::1]:4711": 403, "[::ffff:192.0.2.1]:4711": 403, "@": 403} {
		for _, query := range []string{"", "?keys=true"} {
			r := httptest.NewRequest("GET", "http://localhost/api/v1/backup"+query, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
			r.RemoteAddr = peer
			if a := do(h.Admin(), r); a.status != want {
				t.Errorf("%s %q: %d, want %d", peer, query, a.status, want)
			}
		}
	}
	// A proxy on this machine does not make its clients be on it.
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "Via"} {
		r := httptest.NewRequest("GET", "http://localhost/api/v1/backup", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set(header, "192.0.2.1")
		r.RemoteAddr = "127.0.0.1:4711"
		if a := do(h.Admin(), r); a.status != http.StatusForbidden {
			t.Errorf("with %s: %d", header, a.status)
		}
	}
	if a := h.api("GET", "/api/v1/backup?keys=false", ""); a.status != http.StatusOK || a.body != "certificates" {
		t.Errorf("without keys: %d %q", a.status, a.body)
	}
}

func TestBackupDownload(t *testing.T) {
	h := open(t, withBackup(func(_ context.Context, w io.Writer, keys bool) error {
		text := "without keys"
		if keys {
			text = "with keys"
		}
		_, err := io.WriteString(w, text)
		return err
	}))
	for query, want := range map[string]string{"": "with keys", "?keys=true": "with keys", "?keys=false": "without keys"} {
		a := local(h, "GET", query)
		if a.status != http.StatusOK || a.body != want || a.header.Get("Content-Type") != "application/x-tar" {
			t.Errorf("%q: %d %q %v", query, a.status, a.body, a.header)
		}
	}
	if a := h.api("GET", "/api/v1/backup?keys=no", ""); a.status != http.StatusBadRequest {
		t.Errorf("keys=no: %d", a.status)
	}
	if a := do(h.Admin(), httptest.NewRequest("GET", "http://localhost/api/v1/backup", nil)); a.status != http.StatusUnauthorized || strings.Contains(a.body, "keys") {
		t.Errorf("without a token: %d %q", a.status, a.body)
	}
	if a := local(h, "HEAD", ""); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
	if a := local(open(t), "GET", ""); a.status != http.StatusNotFound {
		t.Errorf("where nothing can be backed up: %d", a.status)
	}
}

// A backup that fails before its first byte is a problem document; one that
// fails later breaks the connection, so that no client takes it for whole.
func TestBackupFails(t *testing.T) {
	h := open(t, withBackup(func(context.Context, io.Writer, bool) error { return errors.New("disk on fire") }))
	if a := local(h, "GET", ""); a.status != http.StatusInternalServerError || strings.Contains(a.body, "fire") {
		t.Errorf("%d %q", a.status, a.body)
	}

	h = open(t, withBackup(func(_ context.Context, w io.Writer, _ bool) error {
		_, _ = io.WriteString(w, strings.Repeat("half a backup ", 10_000))
		return errors.New("disk on fire")
	}))
	listener := httptest.NewServer(h.Admin())
	defer listener.Close()
	request, err := http.NewRequestWithContext(t.Context(), "GET", listener.URL+"/api/v1/backup", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("half a backup came to an orderly end")
	}
}

// One backup at a time: each takes as much room again as the store.
func TestBackupOnce(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	h := open(t, withBackup(func(context.Context, io.Writer, bool) error {
		begun <- struct{}{}
		<-finish
		return nil
	}))
	ended := make(chan int)
	go func() { ended <- local(h, "GET", "").status }()
	<-begun
	if a := local(h, "GET", ""); a.status != http.StatusConflict {
		t.Errorf("a second one: %d", a.status)
	}
	close(finish)
	if status := <-ended; status != http.StatusOK {
		t.Errorf("the first one: %d", status)
	}
	go func() { ended <- local(h, "GET", "").status }()
	<-begun
	if status := <-ended; status != http.StatusOK {
		t.Errorf("the next one: %d", status)
	}
}

func TestAuditVerify(t *testing.T) {
	h := open(t)
	h.enrol("C02XL0GTJGH5")
	report := h.object("GET", "/api/v1/audit/verify", "", http.StatusOK)
	if report["holds"] != true || report["records"] != float64(3) || report["break"] != nil {
		t.Errorf("%v", report)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h = open(t, func(h *house) {
		h.config.Upkeep.VerifyLedger = func(context.Context) (depot.LedgerReport, error) {
			return depot.LedgerReport{Records: 41, Break: &depot.LedgerBreak{Record: 42, Offset: 4711, LastGoodAt: at, Detail: "edited"}}, nil
		}
	})
	d := readDescription(t, h)
	report = h.object("GET", "/api/v1/audit/verify", "", http.StatusOK)
	d.holds("report", d.at(d.tree, "components", "schemas", "LedgerReport"), report)
	broken, _ := report["break"].(map[string]any)
	if report["holds"] != false || broken["record"] != float64(42) || broken["byte_offset"] != float64(4711) || broken["last_good_at"] != "2026-01-02T03:04:05Z" {
		t.Errorf("%v", report)
	}
	h = open(t, func(h *house) {
		h.config.Upkeep = server.Upkeep{VerifyLedger: func(context.Context) (depot.LedgerReport, error) {
			return depot.LedgerReport{}, depot.ErrUnavailable
		}}
	})
	if a := h.api("GET", "/api/v1/audit/verify", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("a failing disk: %d", a.status)
	}
}
