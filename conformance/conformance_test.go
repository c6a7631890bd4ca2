package conformance_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/conformance"
	"understudy.example/understudy/scep/client"
)

// TestCases holds the list to what reports refer to.
func TestCases(t *testing.T) {
	t.Parallel()
	const last = 71
	all := conformance.Cases()
	if len(all) != last {
		t.Errorf("there are %d cases, want %d", len(all), last)
	}
	titles := map[string]bool{}
	for i, c := range all {
		if c.Number != i+1 {
			t.Errorf("case %d stands in place %d", c.Number, i+1)
		}
		if c.Group == "" || c.Title == "" || titles[c.Title] || len(c.Title) > 90 || strings.HasSuffix(c.Title, ".") {
			t.Errorf("case %d: group %q, title %q", c.Number, c.Group, c.Title)
		}
		titles[c.Title] = true
	}
}

// certificate is one that may sign and decrypt, so that requests can be made.
var certificate = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Bad CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		IsCA:     true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return der
})

// badServers answer the three operations, each wrong in its own way.
var badServers = map[string]http.HandlerFunc{
	"404 for everything": http.NotFound,
	"500 for everything": func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "oops\x1b[2J", http.StatusInternalServerError)
	},
	"empty 200": func(http.ResponseWriter, *http.Request) {},
	"HTML": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html><h1>It works!</h1></html>")
	},
	"a good beginning, then garbage": afterGetCACert(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pki-message")
		_, _ = w.Write([]byte{0x30, 0x80, 0x06, 0x09, 0x2a, 0x86})
	}),
	"then echo": afterGetCACert(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-pki-message")
		_, _ = io.Copy(w, r.Body)
	}),
	"then reset": afterGetCACert(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
	"then half an answer": afterGetCACert(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}),
	"then no end": afterGetCACert(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pki-message")
		for range 3 * client.MaxReply >> 10 {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}),
}

func afterGetCACert(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("operation") {
		case "GetCACert":
			w.Header().Set("Content-Type", "application/x-x509-ca-cert")
			_, _ = w.Write(certificate())
		case "GetCACaps":
			_, _ = io.WriteString(w, "POSTPKIOperation\nSHA-256\nAES\nRenewal\nSCEPStandard\n")
		default:
			next(w, r)
		}
	}
}

// TestBadServers runs the list against servers that break it in every way: the
// run comes to its end, with a verdict for every case, and never finds good
// what such servers cannot do.
func TestBadServers(t *testing.T) {
	t.Parallel()
	for name, handler := range badServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := run(t, handler, conformance.Options{})
			if report.Summary.Fail == 0 {
				t.Error("nothing failed")
			}
			mustNotPass := []int{3, 4, 9, 12, 14, 15, 16, 17, 21, 22, 23, 24, 28, 29, 30, 31, 32, 33, 36, 44, 45, 47, 48, 49, 50, 52, 57, 58, 63, 65, 66, 69}
			for _, n := range mustNotPass {
				if c := report.Cases[n-1]; c.Verdict == conformance.Pass {
					t.Errorf("case %d passes: %+v", n, c.Checks)
				}
			}
			if report.Cases[20].Verdict == conformance.NotApplicable && report.Cases[4].Verdict != conformance.Fail {
				t.Error("neither case 5 nor 21 says what is wrong")
			}
			var text strings.Builder
			if err := report.WriteText(&text, true); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsRune(text.String(), '\x1b') {
				t.Error("the table holds an escape character of the server")
			}
		})
	}
}

// run runs the list against a handler; nothing waits for long.
func run(t *testing.T, handler http.Handler, o conformance.Options) *conformance.Report {
	t.Helper()
	certificate() // before a timeout runs
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	o.URL, o.HTTPClient, o.Challenge = server.URL+"/scep", server.Client(), "a challenge of these tests"
	o.Wait = func(context.Context, time.Duration) error { return nil }
	report, err := conformance.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Only) == 0 && len(report.Cases) != len(conformance.Cases()) {
		t.Fatalf("there are verdicts about %d cases", len(report.Cases))
	}
	for i, c := range report.Cases {
		if len(o.Only) == 0 && c.Number != i+1 {
			t.Errorf("case %d stands in place %d", c.Number, i+1)
		}
		if (c.Verdict == conformance.NotApplicable) != (c.Reason != nil) {
			t.Errorf("case %d is %s with reason %v", c.Number, c.Verdict, c.Reason)
		}
	}
	return report
}

// TestHangingServer bounds every request.
func TestHangingServer(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	handler := afterGetCACert(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	defer close(stop)
	// The timeout bounds honest answers too, on whatever machine: it is long,
	// and few requests wait for it.
	report := run(t, handler, conformance.Options{Timeout: 5 * time.Second, Only: []int{12, 21}})
	if c := report.Cases[0]; c.Verdict != conformance.NotApplicable {
		t.Errorf("case 12 is %s: %+v", c.Verdict, c.Checks)
	}
	if c := report.Cases[1]; c.Verdict != conformance.Fail || !strings.HasPrefix(c.Checks[0].Seen, "no answer in") {
		t.Errorf("case 21 is %s: %+v", c.Verdict, c.Checks)
	}
}

// TestServerThatGoesDown stops at the case that brought it down, and says so.
func TestServerThatGoesDown(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	inner := afterGetCACert(func(w http.ResponseWriter, _ *http.Request) {
		down.Store(true)
		panic(http.ErrAbortHandler)
	})
	report := run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		inner(w, r)
	}), conformance.Options{Only: []int{1, 18, 19, 20}})
	if c := report.Cases[1]; c.Verdict != conformance.Fail || c.Checks[len(c.Checks)-1].Name != "afterwards" {
		t.Errorf("case 18 is %s: %+v", c.Verdict, c.Checks)
	}
	for _, c := range report.Cases[2:] {
		if c.Reason == nil || *c.Reason != "the server is down since case 18" {
			t.Errorf("case %d is %s", c.Number, c.Verdict)
		}
	}
}

// TestServerThatComesBack goes on with the next case.
func TestServerThatComesBack(t *testing.T) {
	t.Parallel()
	var lost atomic.Int32
	inner := afterGetCACert(http.NotFound)
	report := run(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			lost.Store(5)
		}
		if lost.Add(-1) >= 0 {
			panic(http.ErrAbortHandler)
		}
		inner(w, r)
	}), conformance.Options{Only: []int{20, 68}, Restart: 10 * time.Second})
	for _, c := range report.Cases {
		for _, k := range c.Checks {
			if strings.Contains(k.Seen, "down") {
				t.Errorf("case %d: %s", c.Number, k.Seen)
			}
		}
	}
	if lost.Load() >= 0 {
		t.Error("nobody looked whether the server came back")
	}
}

func TestRequired(t *testing.T) {
	t.Parallel()
	report := run(t, badServers["404 for everything"], conformance.Options{Only: []int{10, 26}, Require: []int{26}})
	if c := report.Cases[0]; c.Verdict != conformance.NotApplicable {
		t.Errorf("case 10 is %s", c.Verdict)
	}
	if c := report.Cases[1]; c.Verdict != conformance.Fail || !strings.Contains(c.Checks[0].Seen, "--new-challenge") {
		t.Errorf("case 26 is %s: %+v", c.Verdict, c.Checks)
	}
}

func TestNoReport(t *testing.T) {
	t.Parallel()
	const here = "http://127.0.0.1:1" // that of a server which closed may be somebody else's by now
	_, err := conformance.Run(t.Context(), conformance.Options{URL: here})
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := conformance.Run(t.Context(), conformance.Options{URL: here, Only: []int{72}}); err == nil {
		t.Error("there is no case 72")
	}
	if _, err := conformance.Run(t.Context(), conformance.Options{URL: "ftp://here"}); err == nil {
		t.Error("a URL that is none of SCEP")
	}
	good := httptest.NewServer(afterGetCACert(http.NotFound))
	defer good.Close()
	if _, err := conformance.Run(t.Context(), conformance.Options{URL: good.URL, CAFingerprint: strings.Repeat("00", 32)}); err == nil {
		t.Error("another CA than the one with the fingerprint")
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := conformance.Options{URL: good.URL, Each: func(conformance.Result) { cancel() }}
	if _, err := conformance.Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run: %v", err)
	}
}
