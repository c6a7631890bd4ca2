package load_test

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"understudy.example/understudy/ca"
	chal "understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/load"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/server"
)

// serveUnderstudy is the real server, on a port of its own.
func serveUnderstudy(t *testing.T, secret string) (url string) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	dir := t.TempDir()
	authority, err := ca.Create(filepath.Join(dir, "ca"), ca.Options{Shape: ca.ShapeChain})
	if err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(filepath.Join(dir, "store"), bolt.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	time := clock.System{}
	set, err := configuration.Load(t.Context(), store, time, nil)
	if err != nil {
		t.Fatal(err)
	}
	settings := configuration.Defaults()
	settings.Name = configuration.DefaultName
	key := chal.NewSecret(secret)
	if _, _, err := set.Add(t.Context(), settings, &key); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{
		Enroll:         enroll.New(store, authority, time, enroll.NewKeyAuditor(log)),
		Configurations: set, Depot: store, Authority: authority, Clock: time, Log: log,
		BaseURL: "http://127.0.0.1", AdminToken: "0123456789abcdef0123456789",
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(s.Public())
	t.Cleanup(listener.Close)
	return listener.URL + "/scep"
}

// TestUnderstudy puts the real server under a little load: every certificate
// is new, and every reply keeps every rule.
func TestUnderstudy(t *testing.T) {
	t.Parallel()
	url := serveUnderstudy(t, "0123456789abcdefABCDEF")
	target, err := load.NewTarget(url, load.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := target.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"0123456789abcdefABCDEF", "wrong"} {
		requests, err := load.Build(t.Context(), certificates, load.Spec{Count: 20, Keys: 2, Challenge: client.Password(secret)})
		if err != nil {
			t.Fatal(err)
		}
		report := run(t, target, requests, load.Options{Concurrency: 4, VerifyEvery: 1, WarmUp: 2})
		if secret == "wrong" {
			if got := kinds(report); got["failure badRequest"] != 20 || report.OK != 0 {
				t.Errorf("with a wrong challenge: %d ok, %v", report.OK, report.Failures)
			}
			continue
		}
		if report.OK != 18 || report.Verified != 20 || report.Failed != 0 || len(report.Deviations) != 0 {
			t.Errorf("%d ok, %d verified, failures %v, deviations %v", report.OK, report.Verified, report.Failures, report.Deviations)
		}
	}
}
