package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/scep"
)

// undecidedServer answers PENDING to every request and counts them.
func undecidedServer(t *testing.T, asked *atomic.Int32) *httptest.Server {
	t.Helper()
	authority, err := ca.Create(filepath.Join(t.TempDir(), "authority"), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := scep.Bundle(authority.Chain(false))
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := authority.RA()
	ra := scep.Recipient{Certificate: certificate, Key: key}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("operation") {
		case "GetCACert":
			w.Header().Set("Content-Type", "application/x-x509-ca-ra-cert")
			_, _ = w.Write(bundle)
		case "GetCACaps":
			_, _ = io.WriteString(w, "POSTPKIOperation\nSHA-256\nAES\n")
		default:
			asked.Add(1)
			body, _ := io.ReadAll(r.Body)
			message, err := scep.Decode(body, scep.Options{KeySizes: []int{2048}, Now: time.Now()})
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			reply, err := ra.Pending(message, time.Now())
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/x-pki-message")
			_, _ = w.Write(reply)
		}
	}))
}

func TestMacEnrollPolls(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := undecidedServer(t, &asked)
	defer server.Close()
	dir := filepath.Join(t.TempDir(), "mac")
	args := []string{"mac", "enroll", "--url", server.URL, "--subject", "CN=C02XL0GTJGH5", "--out", dir, "--poll-interval", "1ms", "--poll-timeout", "3ms"}

	var stdout, stderr bytes.Buffer
	if code := Run(args, strings.NewReader(""), &stdout, &stderr, nil); code != exitPending {
		t.Fatalf("exit code %d, want %d\n%s", code, exitPending, &stderr)
	}
	var line map[string]string
	if err := json.Unmarshal(stdout.Bytes(), &line); err != nil || line["status"] != "pending" || line["dir"] != dir || line["transaction_id"] == "" {
		t.Errorf("printed %s (%v)", &stdout, err)
	}
	if got := asked.Load(); got != 4 { // the request and three polls
		t.Errorf("asked %d times, want 4", got)
	}
	key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatalf("the key that may get a certificate is gone: %v", err)
	}

	// The same key goes on asking for the same transaction.
	var again bytes.Buffer
	args = append(args, "--key-file", filepath.Join(dir, "key.pem"), "--poll-timeout", "0s")
	if code := Run(args, strings.NewReader(""), &again, io.Discard, nil); code != exitPending {
		t.Fatalf("exit code %d, want %d", code, exitPending)
	}
	if again.String() != stdout.String() {
		t.Errorf("then printed %s, before %s", &again, &stdout)
	}
	if got := asked.Load(); got != 5 {
		t.Errorf("asked %d times, want 5: a timeout of 0 does not wait", got)
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "key.pem")); !bytes.Equal(now, key) {
		t.Error("the key was replaced")
	}
}

// TestMacEnrollKeepsTheKey: the key is there as long as a certificate may have
// been issued to it, and not longer.
func TestMacEnrollKeepsTheKey(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	working := undecidedServer(t, &asked)
	t.Cleanup(working.Close)
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter)
		code   int
		kept   bool
	}{
		"no answer":      {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, exitUnreachable, true},
		"internal error": {func(w http.ResponseWriter) { w.WriteHeader(500) }, exitFailed, true},
		"no reply":       {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") }, exitFailed, true},
		"busy":           {func(w http.ResponseWriter) { w.WriteHeader(503) }, exitFailed, false},
		"refused":        {func(w http.ResponseWriter) { w.WriteHeader(400) }, exitRefused, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("operation") == "PKIOperation" {
					test.answer(w)
					return
				}
				working.Config.Handler.ServeHTTP(w, r)
			}))
			defer server.Close()
			dir := t.TempDir()
			var stderr bytes.Buffer
			code := Run([]string{"mac", "enroll", "--url", server.URL, "--subject", "CN=x", "--out", dir}, strings.NewReader(""), io.Discard, &stderr, nil)
			_, err := os.Stat(filepath.Join(dir, "key.pem"))
			if kept := err == nil; code != test.code || kept != test.kept || kept != strings.Contains(stderr.String(), "--key-file") {
				t.Errorf("exit code %d, want %d; key kept: %v, want %v\n%s", code, test.code, kept, test.kept, &stderr)
			}
		})
	}
}

func TestMacEnrollExitCodes(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int{400: exitRefused, 404: exitNotFound, 429: exitFailed, 500: exitFailed, 503: exitFailed} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
			defer server.Close()
			dir := t.TempDir()
			var stderr bytes.Buffer
			code := Run([]string{"mac", "enroll", "--url", server.URL, "--subject", "CN=x", "--out", dir}, strings.NewReader(""), io.Discard, &stderr, nil)
			if code != want {
				t.Errorf("exit code %d, want %d\n%s", code, want, &stderr)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
