package load_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/load"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/client"
)

// kinds sums failures by kind and detail.
func kinds(p *load.Report) map[string]int {
	sums := map[string]int{}
	for _, f := range p.Failures {
		sums[strings.TrimSpace(string(f.Kind)+" "+f.Detail)] += f.Count
	}
	return sums
}

func TestHonestServer(t *testing.T) {
	t.Parallel()
	_, url := serveMiniature(t)
	for name, c := range map[string]struct {
		spec    load.Spec
		options load.Options
	}{
		"closed":           {load.Spec{Count: 12, Keys: 2}, load.Options{Concurrency: 3, WarmUp: 2, VerifyEvery: 1}},
		"open":             {load.Spec{Count: 10}, load.Options{Concurrency: 4, Rate: 200, VerifyEvery: 1}},
		"GET":              {load.Spec{Count: 5}, load.Options{Method: client.GET, VerifyEvery: 1}},
		"3DES and SHA-1":   {load.Spec{Count: 5, Cipher: client.TripleDESCBC, Digest: crypto.SHA1}, load.Options{VerifyEvery: 1}},
		"AES-256, SHA-384": {load.Spec{Count: 5, Cipher: client.AES256CBC, Digest: crypto.SHA384}, load.Options{VerifyEvery: 2}},
		"SHA-512, names":   {load.Spec{Count: 5, Digest: crypto.SHA512, Name: "Mac {n} of {serial}"}, load.Options{VerifyEvery: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, requests := build(t, url, c.spec)
			report := run(t, target, requests, c.options)
			want := c.spec.Count - c.options.WarmUp
			if report.OK != want || report.Requests != want || report.Failed != 0 {
				t.Errorf("%d of %d are ok, %d failed: %v, want %d", report.OK, report.Requests, report.Failed, report.Failures, want)
			}
			if verified := (c.spec.Count + c.options.VerifyEvery - 1) / c.options.VerifyEvery; report.Verified != verified {
				t.Errorf("%d replies verified, want %d", report.Verified, verified)
			}
			l := report.Latency
			if l.MinUS <= 0 || l.MinUS > l.P50US || l.P50US > l.P95US || l.P95US > l.P99US || l.P99US > l.MaxUS {
				t.Errorf("percentiles are %+v", l)
			}
			total := 0
			for _, b := range report.Histogram {
				total += b.Count
			}
			if total != report.OK {
				t.Errorf("the histogram holds %d of %d", total, report.OK)
			}
		})
	}
}

// TestEveryFailureIsCounted sends to a server that does each thing wrong once
// and once answers well.
func TestEveryFailureIsCounted(t *testing.T) {
	t.Parallel()
	_, url := serveMiniature(t,
		func(*miniature) fault { return nil },
		status(500), status(503),
		text("text/html", "hello"), text("application/x-pki-message", "hello"),
		text("application/x-pki-message", strings.Repeat("hello ", 64<<10/6+1)),
		hangUp, failure, pending,
	)
	target, requests := build(t, url, load.Spec{Count: 9})
	report := run(t, target, requests, load.Options{Concurrency: 1, VerifyEvery: 1})
	want := map[string]int{
		"http 500": 1, "http 503": 1, "unreadable content type": 1, "unreadable no pkiStatus": 1, "unreadable too long": 1,
		"network": 1, "failure badRequest": 1, "pending": 1,
	}
	got := kinds(report)
	for kind, n := range want {
		if got[kind] != n {
			t.Errorf("%s was counted %d times, want %d", kind, got[kind], n)
		}
	}
	if len(got) != len(want) || report.OK != 1 || report.Failed != 8 || report.Verified != 1 {
		t.Errorf("%d ok, %d failed, %d verified: %v", report.OK, report.Failed, report.Verified, got)
	}
}

// TestFalseSuccess has a server claim SUCCESS for what is none. Only the
// complete check can tell.
func TestFalseSuccess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault func(m *miniature, e *scep.Enrolment) *x509.Certificate
		want  string
	}{
		"another key": {func(m *miniature, e *scep.Enrolment) *x509.Certificate {
			return m.certificate(e.CSR.Subject, otherKey().Public(), caKey(), m.ca, m.serial.Add(1))
		}, "does not carry the requested key"},
		"another subject": {func(m *miniature, e *scep.Enrolment) *x509.Certificate {
			return m.certificate(pkix.Name{CommonName: "somebody else"}, e.CSR.PublicKey, caKey(), m.ca, m.serial.Add(1))
		}, `the subject is "CN=somebody else"`},
		"another CA": {func(m *miniature, e *scep.Enrolment) *x509.Certificate {
			other := m.certificate(pkix.Name{CommonName: "Other CA"}, otherKey().Public(), otherKey(), nil, 1)
			return m.certificate(e.CSR.Subject, e.CSR.PublicKey, otherKey(), other, m.serial.Add(1))
		}, "does not chain"},
		"the same serial": {func(m *miniature, e *scep.Enrolment) *x509.Certificate {
			return m.certificate(e.CSR.Subject, e.CSR.PublicKey, caKey(), m.ca, 77)
		}, "is that of message 0 too"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := serveMiniature(t, issuing(c.fault))
			target, requests := build(t, url, load.Spec{Count: 2})
			report := run(t, target, requests, load.Options{Concurrency: 1, VerifyEvery: 1})
			if got := kinds(report)["wrong"]; got == 0 || !strings.Contains(report.Failures[0].Example, c.want) {
				t.Errorf("failures are %v, want %q", report.Failures, c.want)
			}
			if report.OK+report.Failed != 2 {
				t.Errorf("%d ok and %d failed of 2", report.OK, report.Failed)
			}
		})
	}
}

func TestTimeoutAndNobodyThere(t *testing.T) {
	t.Parallel()
	hanging := make(chan struct{})
	_, url := serveMiniature(t, func(*miniature) fault {
		return func(http.ResponseWriter, *scep.Message, *scep.Enrolment) bool { <-hanging; return true }
	})
	target, requests := build(t, url, load.Spec{Count: 3})
	report := run(t, target, requests, load.Options{Concurrency: 3, Timeout: 50 * time.Millisecond})
	close(hanging)
	if got := kinds(report); got["timeout"] != 3 || report.OK != 0 {
		t.Errorf("failures are %v", got)
	}

	// The port of a server which closed may be somebody else's by now.
	nobody, err := load.NewTarget("http://127.0.0.1:1", load.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := kinds(run(t, nobody, requests, load.Options{})); got["connect"] != 3 {
		t.Errorf("failures are %v", got)
	}
}

// TestOpenLoopCountsWaiting has one slow answer hold up the only connection:
// who was due meanwhile waited, and the latency must say so. That is the
// difference to the service time.
func TestOpenLoopCountsWaiting(t *testing.T) {
	t.Parallel()
	const slow = 400 * time.Millisecond
	first := true
	_, url := serveMiniature(t, func(*miniature) fault {
		return func(http.ResponseWriter, *scep.Message, *scep.Enrolment) bool {
			if first {
				first = false
				<-time.After(slow)
			}
			return false
		}
	})
	target, requests := build(t, url, load.Spec{Count: 20})
	report := run(t, target, requests, load.Options{Concurrency: 1, Rate: 100})
	// At 100 a second all 20 are due within 200 ms, while the first is being
	// served, so each waits at least the other 200.
	if got := time.Duration(report.Latency.MinUS) * time.Microsecond; got < slow/2 {
		t.Errorf("the shortest latency is %v, and nobody waited less than %v", got, slow/2)
	}
	if report.Service.P50US*2 > report.Latency.P50US {
		t.Errorf("service %v is not far below latency %v", report.Service, report.Latency)
	}
}

func TestStopped(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	_, url := serveMiniature(t, func(*miniature) fault {
		return func(http.ResponseWriter, *scep.Message, *scep.Enrolment) bool { stop(); return false }
	})
	target, requests := build(t, url, load.Spec{Count: 5})
	report, err := load.Run(ctx, target, requests, load.Options{Concurrency: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := kinds(report); got["unsent"] != 4 || report.OK != 1 || report.Failed != 4 {
		t.Errorf("%d ok, failures %v", report.OK, got)
	}
}

func TestServerProcess(t *testing.T) {
	t.Parallel()
	_, url := serveMiniature(t)
	target, requests := build(t, url, load.Spec{Count: 4})
	if runtime.GOOS != "linux" {
		if _, err := load.Run(t.Context(), target, requests, load.Options{PID: os.Getpid()}); err == nil {
			t.Error("a process was measured, and nobody knows how")
		}
		return
	}
	report := run(t, target, requests, load.Options{PID: os.Getpid()})
	s := report.Server
	if s == nil || s.CPUPerRequestUS <= 0 || s.PeakRSS < 1<<20 || s.PeakAnonymous < 1<<20 || s.PeakAnonymous > s.PeakRSS {
		t.Errorf("the server's cost is %+v", s)
	}
	if report.Generator.CPUPerRequestUS <= 0 {
		t.Error("the generator cost nothing")
	}
	if _, err := load.Run(t.Context(), target, requests, load.Options{PID: 1 << 30}); err == nil {
		t.Error("a process that is not there was measured")
	}
}

func TestSavedRequests(t *testing.T) {
	t.Parallel()
	_, url := serveMiniature(t)
	target, requests := build(t, url, load.Spec{Count: 6, Keys: 2, Cipher: client.AES256CBC, Digest: crypto.SHA384})
	path := filepath.Join(t.TempDir(), "messages")
	if err := requests.Save(path); err != nil {
		t.Fatal(err)
	}
	if err := requests.Save(path); err == nil {
		t.Error("saved over a file that was there")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v: %v", info.Mode(), err)
	}
	ca, err := target.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := load.ReadRequests(path, ca, client.Password(challenge))
	if err != nil {
		t.Fatal(err)
	}
	if again.Spec() != requests.Spec() {
		t.Errorf("read %+v, saved %+v", again.Spec(), requests.Spec())
	}
	if err := errors.Join(again.Skip(1), again.Limit(4)); err != nil || again.Len() != 4 {
		t.Errorf("%d messages are left of 6 after 1 and before the last: %v", again.Len(), err)
	}
	if report := run(t, target, again, load.Options{VerifyEvery: 1}); report.OK != 4 || report.Verified != 4 {
		t.Errorf("%d ok, %d verified: %v", report.OK, report.Verified, report.Failures)
	}
	if err := again.Skip(4); err == nil {
		t.Error("skipped everything")
	}
	refusesToRead(t, path, ca)
}

func refusesToRead(t *testing.T, path string, ca *client.CACertificates) {
	t.Helper()
	other, otherURL := serveMiniature(t)
	_ = other
	stranger, err := load.NewTarget(otherURL, load.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := stranger.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut, nonsense := path+"-cut", path+"-nonsense"
	if err := errors.Join(os.WriteFile(cut, whole[:len(whole)-100], 0o600), os.WriteFile(nonsense, []byte("nonsense"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for want, read := range map[string]func() (*load.Requests, error){
		"another certificate": func() (*load.Requests, error) { return load.ReadRequests(path, strangers, "") },
		"another challenge":   func() (*load.Requests, error) { return load.ReadRequests(path, ca, "another") },
		"cut short":           func() (*load.Requests, error) { return load.ReadRequests(cut, ca, "") },
		"no file of messages": func() (*load.Requests, error) { return load.ReadRequests(nonsense, ca, "") },
	} {
		if _, err := read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestOnlyLoopback(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://192.0.2.1/scep", "http://[2001:db8::1]/scep", "http://[::ffff:192.0.2.1]/scep", "http://0.0.0.0:1/scep"} {
		target, err := load.NewTarget(url, load.TargetOptions{})
		if err == nil {
			_, err = target.CACertificates(t.Context())
		}
		if !errors.Is(err, load.ErrRemote) || !strings.Contains(err.Error(), "--allow-remote") {
			t.Errorf("%s: %v", url, err)
		}
		if _, err := load.NewTarget(url, load.TargetOptions{AllowRemote: true}); err != nil {
			t.Errorf("%s: %v, and it was allowed", url, err)
		}
	}
	for _, url := range []string{"http://127.0.0.1:8080/scep", "http://127.1.2.3/scep", "http://[::1]/scep", "http://localhost/scep"} {
		if _, err := load.NewTarget(url, load.TargetOptions{}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{"ftp://127.0.0.1/", "http://127.0.0.1/scep?operation=x", "nonsense"} {
		if _, err := load.NewTarget(url, load.TargetOptions{}); err == nil || errors.Is(err, load.ErrRemote) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	_, url := serveMiniature(t)
	target, requests := build(t, url, load.Spec{Count: 2})
	for name, o := range map[string]load.Options{
		"no message left": {WarmUp: 2}, "concurrency": {Concurrency: -1}, "rate": {Rate: -1},
		"no number": {Rate: math.NaN()}, "at once": {Rate: math.Inf(1)}, "never": {Rate: 1e-300},
		"timeout": {Timeout: -1}, "warm-up": {WarmUp: -1}, "verify": {VerifyEvery: -1},
	} {
		if _, err := load.Run(t.Context(), target, requests, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ca, err := target.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]load.Spec{
		"no message": {}, "one name for all": {Count: 2, Name: "Mac"}, "tiny keys": {Count: 1, KeyBits: 512},
		"cipher": {Count: 1, Keys: 1, Cipher: "ROT13"}, "digest": {Count: 1, Keys: 1, Digest: crypto.MD5},
	} {
		if _, err := load.Build(t.Context(), ca, s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
