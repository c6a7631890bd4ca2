package reliability

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/server"
)

// A house is a server in this process, with a clock that a test moves.
type house struct {
	clock     *clock.Manual
	authority *ca.Authority
	depot     *bolt.Depot
	url       string
	key       *rsa.PrivateKey
}

const (
	secretKey   = "kJ3vQ9xZ1mN7pR5tW2yB8cD4fG6hL0sA"
	validity    = 365 * 24 * time.Hour
	backdate    = 5 * time.Minute
	year        = 365 * 24 * time.Hour
	retryPeriod = 10 * time.Minute
)

var opening = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

func newHouse(t *testing.T, perMinute int) *house {
	t.Helper()
	h := &house{clock: clock.NewManual(opening), key: makeKeys(t)[0]}
	dir := t.TempDir()
	var err error
	if h.authority, err = ca.Open(anAuthority(t, dir), ca.Options{Clock: h.clock}); err != nil {
		t.Fatal(err)
	}
	if h.depot, err = bolt.Open(filepath.Join(dir, "store"), bolt.Options{Clock: h.clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.depot.Close() })
	set, err := configuration.Load(t.Context(), h.depot, h.clock, nil)
	if err != nil {
		t.Fatal(err)
	}
	settings, secret := configuration.Defaults(), challenge.NewSecret(secretKey)
	settings.Name = configuration.DefaultName
	if _, _, err := set.Add(t.Context(), settings, &secret); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s, err := server.New(server.Config{
		Enroll: enroll.New(h.depot, h.authority, h.clock, enroll.NewKeyAuditor(log)), Configurations: set, Depot: h.depot,
		Authority: h.authority, Clock: h.clock, Log: log, AdminToken: "token of the test", RateLimitPerMinute: perMinute,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(s.Public())
	t.Cleanup(listener.Close)
	h.url = listener.URL + "/scep"
	return h
}

// made are the files of an authority that was made at opening. Its keys take
// longer than the tests do.
var made = sync.OnceValue(func() map[string][]byte {
	dir, err := os.MkdirTemp("", "understudy-reliability-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if _, err := ca.Create(filepath.Join(dir, "authority"), ca.Options{Clock: clock.NewManual(opening)}); err != nil {
		panic(err)
	}
	files := map[string][]byte{}
	entries, err := os.ReadDir(filepath.Join(dir, "authority"))
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, "authority", e.Name())); err != nil {
			panic(err)
		}
	}
	return files
})

// anAuthority writes them to a directory and returns where.
func anAuthority(t *testing.T, dir string) string {
	t.Helper()
	dir = filepath.Join(dir, "authority")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range made() {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// enrol enrols a device whose clock is right.
func (h *house) enrol(t *testing.T, transaction string) (*x509.Certificate, error) {
	t.Helper()
	c := &client.Client{URL: h.url, Clock: h.clock}
	result, err := c.Enrol(t.Context(), client.Enrolment{
		Key: h.key, Challenge: secretKey, Subject: pkix.Name{CommonName: "C02CLOCK01"}, TransactionID: transaction,
	})
	if err != nil {
		return nil, err
	}
	if result.Status != client.Success {
		return nil, fmt.Errorf("status %s %s", result.Status, result.FailInfoText)
	}
	return result.Certificate, nil
}

// TestR10_Jumps moves the authority's clock. A certificate begins five minutes
// before the clock and lasts a year, and is issued and ends within its issuer's
// life or not at all; when the clock is right again, all goes on.
func TestR10_Jumps(t *testing.T) {
	for _, tt := range []struct {
		name string
		jump time.Duration
		good bool
	}{
		{"an hour on", time.Hour, true},
		{"an hour back", -time.Hour, true}, // to where the authority's life begins
		{"before the issuer's life", -time.Hour - time.Second, false},
		{"a leap second back", -time.Second, true},
		{"ten years on", 10 * year, true},
		{"ten years back", -10 * year, false},
		{"beyond the issuer's life", 30 * year, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 0)
			first, err := h.enrol(t, "before")
			if err != nil {
				t.Fatal(err)
			}
			h.clock.Advance(tt.jump)
			_, rotate := h.authority.RotateRA() // as serve does every hour
			c, err := h.enrol(t, "after")
			if tt.good != (err == nil) || tt.good && rotate != nil {
				t.Errorf("enrolment after the jump: %v; RA: %v", err, rotate)
			}
			if err == nil {
				h.sane(t, c)
			}
			if page, err := h.depot.Check(context.Background()); err != nil || len(page) > 0 {
				t.Errorf("check: %q, %v", page, err)
			}
			h.clock.Set(opening.Add(time.Minute))
			if _, err := h.authority.RotateRA(); err != nil {
				t.Fatal(err)
			}
			again, err := h.enrol(t, "later")
			if err != nil {
				t.Fatalf("with the clock right again: %v", err)
			}
			h.sane(t, again)
			if again.SerialNumber.Cmp(first.SerialNumber) == 0 {
				t.Error("certificate serial used twice")
			}
		})
	}
}

func (h *house) sane(t *testing.T, c *x509.Certificate) {
	t.Helper()
	from := h.clock.Now().Add(-backdate).Truncate(time.Second)
	if !c.NotBefore.Equal(from) {
		t.Errorf("certificate begins at %v, now is %v", c.NotBefore, h.clock.Now())
	}
	if got := c.NotAfter.Sub(c.NotBefore); got != validity {
		t.Errorf("certificate lasts %v", got)
	}
	if issuer := h.authority.Issuer(); c.NotAfter.After(issuer.NotAfter) || c.NotBefore.Before(issuer.NotBefore.Add(-backdate)) {
		t.Errorf("certificate from %v to %v, its issuer from %v to %v", c.NotBefore, c.NotAfter, issuer.NotBefore, issuer.NotAfter)
	}
}

// TestR10_RateLimit does not care about the authority's clock: a jump fills no
// bucket and empties none.
func TestR10_RateLimit(t *testing.T) {
	for _, jump := range []time.Duration{10 * year, time.Hour, -time.Hour, -10 * year} {
		h := newHouse(t, 3)
		message := func() int {
			response, err := http.Post(h.url+"?operation=PKIOperation", "application/x-pki-message", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			return response.StatusCode
		}
		for range 3 {
			if status := message(); status != http.StatusBadRequest {
				t.Fatalf("within the limit: %d", status)
			}
		}
		if status := message(); status != http.StatusTooManyRequests {
			t.Fatalf("beyond the limit: %d", status)
		}
		h.clock.Advance(jump)
		if status := message(); status != http.StatusTooManyRequests {
			t.Errorf("after a jump of %v: %d", jump, status)
		}
	}
}

// TestR10_RetryPeriod counts by the authority's clock, and a clock that was
// moved back does not make it longer than it is.
func TestR10_RetryPeriod(t *testing.T) {
	h := newHouse(t, 0)
	c := &client.Client{URL: h.url, Clock: h.clock}
	found, err := c.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.BuildRequest(nil, client.Enrolment{Key: h.key, Challenge: secretKey,
		Subject: pkix.Name{CommonName: "C02CLOCK02"}, TransactionID: "retry"}, found, h.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	status := func() client.Status {
		raw, err := c.Send(t.Context(), r.Raw, client.POST)
		var refused *client.HTTPError
		if errors.As(err, &refused) {
			t.Fatal(err)
		}
		reply, err := r.ReadReply(raw, opening)
		if err != nil {
			t.Fatal(err)
		}
		return reply.Status
	}
	for _, step := range []struct {
		at   time.Duration
		want client.Status
	}{
		{0, client.Success}, {time.Second, client.Success}, {retryPeriod - time.Second, client.Success},
		{retryPeriod, client.Failure}, {time.Hour, client.Failure}, {year, client.Failure},
		{time.Minute, client.Success}, // the clock is right again
		{-time.Minute, client.Success}, {-time.Hour, client.Failure},
	} {
		h.clock.Set(opening.Add(step.at))
		if got := status(); got != step.want {
			t.Errorf("the same message at %v: %s, want %s", step.at, got, step.want)
		}
	}
	page, err := h.depot.Events(t.Context(), depot.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	issued := 0
	for _, e := range page.Items {
		if e.CertificateSerial != "" {
			issued++
		}
	}
	if issued != 1 {
		t.Errorf("%d certificates from one message", issued)
	}
}
