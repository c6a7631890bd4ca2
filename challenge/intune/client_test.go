package intune_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
)

// TestOneRequest follows a request through validation and both notifications,
// with either kind of credential, and reads what Microsoft got.
func TestOneRequest(t *testing.T) {
	w := newWorld(t)
	issued, key := certificate(t, time.Date(2026, 11, 22, 1, 42, 9, 0, time.UTC))
	own, _ := certificate(t, w.clock.Now().Add(-time.Minute))
	w.application(t, fake.Application{Secrets: []fake.ClientSecret{{Value: secret}}, Certificates: append([]*x509.Certificate{}, own)})
	for name, change := range map[string]func(*intune.Options){
		"secret":      func(*intune.Options) {},
		"certificate": func(o *intune.Options) { o.Secret, o.Certificates, o.Key = "", []*x509.Certificate{own}, key },
	} {
		t.Run(name, func(t *testing.T) {
			w.ForgetCalls()
			c, s := w.client(t, change), w.good(t)
			if err := c.Validate(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if err := c.NotifySuccess(t.Context(), s, intune.Issued{Certificate: issued, Issuer: "CN=Issuer,DC=lab"}); err != nil {
				t.Fatal(err)
			}
			if err := c.NotifyFailure(t.Context(), s, strings.Repeat("ü", 300)); err != nil {
				t.Fatal(err)
			}
			n := notification(t, w.CallsTo(fake.ServiceSuccess)[0])
			for field, want := range map[string]any{
				"transactionId": "T-1", "certificateSerialNumber": "ABCDE", "certificateExpirationDateUtc": "2026-11-22T02:42:09.000Z",
				"issuingCertificateAuthority": "CN=Issuer,DC=lab", "callerInfo": "Understudy test", "caConfiguration": nil,
			} {
				if n[field] != want {
					t.Errorf("%s is %v, want %v", field, n[field], want)
				}
			}
			if err := c.NotifyFailure(t.Context(), s, "x"+strings.Repeat("😀", 300)); err != nil {
				t.Fatal(err)
			}
			if err := c.NotifyFailure(t.Context(), s, ""); err != nil {
				t.Fatal(err)
			}
			for i, want := range []string{strings.Repeat("ü", 255), "x" + strings.Repeat("😀", 127), "unknown error"} {
				if text := notification(t, w.CallsTo(fake.ServiceFailure)[i])["errorDescription"].(string); text != want {
					t.Errorf("errorDescription is %q, want %q", text, want)
				}
			}
			for _, call := range w.Calls() {
				if len(call.Strange) > 0 || call.Status != http.StatusOK {
					t.Errorf("%s: status %d, strange: %v", call.Service, call.Status, call.Strange)
				}
			}
			if w.calls(fake.ServiceInstance)+w.calls(fake.ServiceUnknown) > 0 {
				t.Error("the client asked what it should not")
			}
		})
	}
}

// TestClockSkew: the clocks of the application and of Entra may differ a
// little, and not much. (MSAL dates its assertions by the machine's clock, a
// second after the cloud's here at any time.)
func TestClockSkew(t *testing.T) {
	w := newWorld(t)
	own, key := certificate(t, w.clock.Now().Add(-30*time.Minute))
	w.application(t, fake.Application{Certificates: []*x509.Certificate{own}})
	began := w.clock.Now()
	for off, good := range map[time.Duration]bool{-10 * time.Second: true, -4 * time.Minute: true, -10 * time.Minute: false, 4 * time.Minute: true} {
		w.clock.Set(began.Add(off))
		c := w.client(t, func(o *intune.Options) { o.Secret, o.Certificates, o.Key = "", []*x509.Certificate{own}, key })
		if err := c.Validate(t.Context(), w.good(t)); (err == nil) != good {
			t.Errorf("Entra's clock off by %v: %v", off, err)
		}
	}
}

func notification(t *testing.T, call fake.Call) map[string]any {
	t.Helper()
	var body struct{ Notification map[string]any }
	if err := json.Unmarshal([]byte(call.Body), &body); err != nil {
		t.Fatal(err)
	}
	return body.Notification
}

// TestColdStart has 32 requests at once make one discovery and one token
// request for each of the two resources.
func TestColdStart(t *testing.T) {
	w := newWorld(t)
	c, s := w.client(t), w.good(t)
	for _, service := range []fake.Service{fake.ServiceOpenID, fake.ServiceToken, fake.ServiceGraph} {
		w.fail(t, fake.Fault{Service: service, DelaySeconds: 0.05}) // so that they do meet
	}
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			if err := c.Validate(t.Context(), s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for service, want := range map[fake.Service]int{fake.ServiceOpenID: 1, fake.ServiceToken: 2, fake.ServiceGraph: 1, fake.ServiceValidate: 32} {
		if n := w.calls(service); n != want {
			t.Errorf("%d calls to %s, want %d", n, service, want)
		}
	}
}

// TestFailures has every service fail in every way. Nothing is taken for a
// yes, and nothing is sent again that may have been done.
func TestFailures(t *testing.T) {
	body := func(text string) *string { return &text }
	cases := map[string]struct {
		fault  fake.Fault
		result string // of the exchange that failed
		words  string // in the error
		calls  int    // to the service that failed
	}{
		"token 401":         {fake.Fault{Service: fake.ServiceToken, Status: 401, AADSTS: 7000215, Code: "invalid_client"}, "status", "AADSTS7000215", 1},
		"token 403":         {fake.Fault{Service: fake.ServiceToken, Status: 403}, "status", "403", 1},
		"token 404":         {fake.Fault{Service: fake.ServiceToken, Status: 404}, "status", "404", 1},
		"token 429":         {fake.Fault{Service: fake.ServiceToken, Status: 429, RetryAfterSeconds: 30}, "status", "429", 1},
		"token 503":         {fake.Fault{Service: fake.ServiceToken, Status: 503, AADSTS: 90033, Code: "temporarily_unavailable"}, "status", "AADSTS90033", 1},
		"token HTML":        {fake.Fault{Service: fake.ServiceToken, Body: body("<html>maintenance</html>")}, "unreadable", "not the JSON", 1},
		"token garbled":     {fake.Fault{Service: fake.ServiceToken, Body: body(`{"token_type":"Bearer","expires_in":3599,"access_token":"` + secret)}, "unreadable", "not the JSON", 1},
		"token endless":     {fake.Fault{Service: fake.ServiceToken, Body: body(`{"token_type":"Bearer","expires_in":3599,"access_token":"` + strings.Repeat("x", 2<<20) + `"}`)}, "unreadable", "more than", 1},
		"openid endless":    {fake.Fault{Service: fake.ServiceOpenID, Body: body(strings.Repeat(" ", 2<<20))}, "unreadable", "more than", 1},
		"token {}":          {fake.Fault{Service: fake.ServiceToken, Body: body("{}")}, "unreadable", "not the JSON", 1},
		"token cut":         {fake.Fault{Service: fake.ServiceToken, Cut: true}, "unreachable", "", 1},
		"token slow":        {fake.Fault{Service: fake.ServiceToken, DelaySeconds: 20}, "timeout", "deadline", 1},
		"openid 500":        {fake.Fault{Service: fake.ServiceOpenID, Status: 500}, "status", "500", 1},
		"graph 401":         {fake.Fault{Service: fake.ServiceGraph, Status: 401}, "status", "401", 2}, // once more with another token
		"graph 403":         {fake.Fault{Service: fake.ServiceGraph, Status: 403}, "status", "403", 1},
		"graph 404":         {fake.Fault{Service: fake.ServiceGraph, Status: 404}, "status", "404", 1},
		"graph 429":         {fake.Fault{Service: fake.ServiceGraph, Status: 429, RetryAfterSeconds: 30}, "status", "429", 1},
		"graph 500":         {fake.Fault{Service: fake.ServiceGraph, Status: 500}, "status", "500", 1},
		"graph HTML":        {fake.Fault{Service: fake.ServiceGraph, Body: body("<html></html>")}, "unreadable", "<html>", 1},
		"graph {}":          {fake.Fault{Service: fake.ServiceGraph, Body: body("{}")}, "ok", "does not list it", 1},
		"graph slow":        {fake.Fault{Service: fake.ServiceGraph, DelaySeconds: 20}, "timeout", "deadline", 1},
		"graph redirect":    {fake.Fault{Service: fake.ServiceGraph, Status: 302, Location: "https://elsewhere.example/"}, "status", "302", 1},
		"validate 401":      {fake.Fault{Service: fake.ServiceValidate, Status: 401}, "status", "401", 2}, // once more with another token
		"validate 403":      {fake.Fault{Service: fake.ServiceValidate, Status: 403}, "status", "403", 1},
		"validate 404":      {fake.Fault{Service: fake.ServiceValidate, Status: 404}, "status", "404", 2}, // once more where it is now
		"validate 429":      {fake.Fault{Service: fake.ServiceValidate, Status: 429, RetryAfterSeconds: 30}, "status", "429", 1},
		"validate 500":      {fake.Fault{Service: fake.ServiceValidate, Status: 500}, "status", "500", 1},
		"validate 503":      {fake.Fault{Service: fake.ServiceValidate, Status: 503}, "status", "503", 1},
		"validate 503 wait": {fake.Fault{Service: fake.ServiceValidate, Status: 503, RetryAfterSeconds: 30}, "status", "503", 1},
		"validate 429 ages": {fake.Fault{Service: fake.ServiceValidate, Status: 429, RetryAfterSeconds: 1_000_000}, "status", "429", 1},
		"validate HTML":     {fake.Fault{Service: fake.ServiceValidate, Body: body("<html>maintenance</html>")}, "unreadable", "<html>", 1},
		"validate {}":       {fake.Fault{Service: fake.ServiceValidate, Body: body("{}")}, "refused", "without a code", 1},
		"validate null":     {fake.Fault{Service: fake.ServiceValidate, Body: body(`{"code":null}`)}, "refused", "without a code", 1},
		"validate empty":    {fake.Fault{Service: fake.ServiceValidate, Body: body("")}, "unreadable", "", 1},
		"validate other":    {fake.Fault{Service: fake.ServiceValidate, Code: "SomethingNew", Description: "a new code"}, "refused", "SomethingNew: a new code", 1},
		"validate case":     {fake.Fault{Service: fake.ServiceValidate, Code: "success"}, "refused", "success", 1},
		"validate cut":      {fake.Fault{Service: fake.ServiceValidate, Cut: true}, "unreachable", "", 1},
		"validate long 500": {fake.Fault{Service: fake.ServiceValidate, Status: 500, Body: body(strings.Repeat("x", 2<<20))}, "status", "500", 1},
		"validate slow":     {fake.Fault{Service: fake.ServiceValidate, DelaySeconds: 20}, "timeout", "deadline", 1},
		"validate endless":  {fake.Fault{Service: fake.ServiceValidate, Body: body(`{"code":"` + strings.Repeat("x", 2<<20) + `"}`)}, "unreadable", "more than", 1},
		"validate redirect": {fake.Fault{Service: fake.ServiceValidate, Status: 307, Location: "https://elsewhere.example/"}, "status", "307", 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, s := w.client(t, func(o *intune.Options) { o.Deadline = time.Minute }), w.good(t)
			if strings.HasSuffix(name, "slow") {
				c = w.client(t, func(o *intune.Options) { o.Deadline = 50 * time.Millisecond })
				if tc.fault.Service == fake.ServiceValidate || tc.fault.Service == fake.ServiceGraph {
					c = w.client(t, func(o *intune.Options) { o.Deadline = 400 * time.Millisecond })
				}
			}
			w.fail(t, tc.fault)
			err := c.Validate(t.Context(), s)
			if err == nil {
				t.Fatal("taken for a yes")
			}
			if !strings.Contains(err.Error(), tc.words) {
				t.Errorf("error %q does not say %q", err, tc.words)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the secret: %v", err)
			}
			if n := w.calls(tc.fault.Service); n > tc.calls || n < tc.calls && !strings.HasSuffix(name, "slow") {
				t.Errorf("%d calls to %s, want %d", n, tc.fault.Service, tc.calls)
			}
			if n := w.calls(fake.ServiceValidate); tc.fault.Service != fake.ServiceValidate && n != 0 {
				t.Errorf("Intune was asked %d times all the same", n)
			}
			if !w.saw(tc.result) {
				t.Errorf("exchanges %+v, none with result %s", w.exchanges, tc.result)
			}
			w.Heal()
			if tc.fault.RetryAfterSeconds > 0 {
				n := len(w.Calls())
				var wait *intune.WaitError
				if err := c.Validate(t.Context(), s); !errors.As(err, &wait) || len(w.Calls()) != n {
					t.Errorf("during the pause that Microsoft asked for: %v, %d calls more", err, len(w.Calls())-n)
				} else if left := time.Until(wait.Until); left > time.Hour {
					t.Errorf("%s are believed", left)
				}
				return
			}
			if strings.HasSuffix(name, "slow") { // whoever waits for the slow answer still shares it
				c = w.client(t)
			}
			if err := c.Validate(t.Context(), s); err != nil {
				t.Errorf("once all is well again: %v", err)
			}
		})
	}
}

func (w *world) saw(result string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.exchanges {
		if e.Result == result {
			return true
		}
	}
	return false
}

// TestMoved: a tenant changes its shard, and the client follows without a
// failure that a device sees.
func TestMoved(t *testing.T) {
	for name, fault := range map[string]*fake.Fault{
		"404 at the old address": nil,
		"500 at the old address": {Service: fake.ServiceValidate, Status: 500, Times: 1},
		"410 at the old address": {Service: fake.ServiceValidate, Status: 410, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.client(t)
			if err := c.Validate(t.Context(), w.good(t)); err != nil {
				t.Fatal(err)
			}
			w.Move()
			if fault != nil {
				w.fail(t, *fault)
			}
			if err := c.Validate(t.Context(), w.good(t)); err != nil {
				t.Errorf("after the move: %v", err)
			}
			if n := w.calls(fake.ServiceGraph); n != 2 {
				t.Errorf("%d discoveries, want 2", n)
			}
		})
	}
}

// TestRetryAfterDate: the pause may be given as its end, and only that of a
// service that is overloaded counts.
func TestRetryAfterDate(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		until  time.Duration // from now
		waits  bool
	}{
		"to come": {503, time.Minute, true}, "past": {503, -time.Minute, false}, "of another status": {403, time.Minute, false},
	} {
		w := newWorld(t)
		client := w.troubled(t, func(out http.ResponseWriter) {
			out.Header().Set("Retry-After", time.Now().Add(c.until).UTC().Format(http.TimeFormat))
			out.WriteHeader(c.status)
		})
		if err := client.Validate(t.Context(), w.good(t)); err == nil {
			t.Errorf("%s: taken for a yes", name)
		}
		var wait *intune.WaitError
		if err := client.Validate(t.Context(), w.good(t)); errors.As(err, &wait) != c.waits {
			t.Errorf("%s: %v, want it to wait: %v", name, err, c.waits)
		}
	}
}

// troubled returns the client of a cloud in which something else answers when
// Intune is asked about a request. It speaks HTTP/1.
func (w *world) troubled(t *testing.T, validate func(http.ResponseWriter)) *intune.Client {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/validateRequest") {
			validate(out)
			return
		}
		w.ServeHTTP(out, r)
	}))
	t.Cleanup(server.Close)
	w.SetBase(server.URL)
	return w.client(t, func(o *intune.Options) {
		o.Cloud.Authority, o.Cloud.GraphURL, o.RootCAs = w.Authority(), w.GraphURL(), x509.NewCertPool()
		o.RootCAs.AddCert(server.Certificate())
	})
}

// TestSwitchedProtocol: nothing is read from a connection that is another
// protocol's from now on; no deadline would end it.
func TestSwitchedProtocol(t *testing.T) {
	w := newWorld(t)
	left := make(chan error, 1)
	c := w.troubled(t, func(out http.ResponseWriter) {
		conn, _, err := out.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: forever\r\n\r\n")
		_, err = io.Copy(io.Discard, conn)
		left <- err
	})
	if err := c.Validate(t.Context(), w.good(t)); err == nil || !strings.Contains(err.Error(), "another protocol") {
		t.Errorf("got %v", err)
	}
	if err := <-left; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection was held until the server ended it")
	}
}

// TestNobodyThere: the service does not listen any more where it was, and is
// found where it is now.
func TestNobodyThere(t *testing.T) {
	w := newWorld(t)
	old := `{"value":[{"providerName":"ScepRequestValidationFEService","uri":"https://127.0.0.1:1/old"}]}`
	w.fail(t, fake.Fault{Service: fake.ServiceGraph, Body: &old, Times: 1})
	c := w.client(t, func(o *intune.Options) { o.Cloud.IntuneHosts = []string{"127.0.0.1:1"} })
	if err := c.Validate(t.Context(), w.good(t)); err != nil {
		t.Error(err)
	}
	if n := w.calls(fake.ServiceGraph); n != 2 {
		t.Errorf("%d discoveries, want 2", n)
	}
}

// TestDirectory is what Graph may list, and what is made of it.
func TestDirectory(t *testing.T) {
	w := newWorld(t)
	usual := w.Endpoints()
	uri := usual[2].URI
	cases := map[string]struct {
		list  []fake.Endpoint
		words string // of the error; empty: it works
	}{
		"alone":          {[]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: uri}}, ""},
		"slash":          {[]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: uri + "/"}}, ""},
		"case":           {[]fake.Endpoint{{ProviderName: strings.ToUpper(fake.ProviderValidation), URI: uri}}, ""},
		"alias":          {[]fake.Endpoint{{ServiceName: fake.ProviderValidation, URI: uri}}, ""},
		"first of two":   {[]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: uri}, {ProviderName: fake.ProviderValidation, URI: uri + "/nowhere"}}, ""},
		"empty":          {[]fake.Endpoint{}, "does not list it"},
		"without":        {usual[:2], "does not list it"},
		"foreign host":   {[]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: "https://elsewhere.example/x"}}, "none of those configured"},
		"cloud metadata": {[]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: "https://169.254.169.254/x"}}, "none of those configured"},
		"others are odd": {append([]fake.Endpoint{{ProviderName: "Other", URI: "http://other.example/"}, {ProviderName: "Third"}, {ProviderName: fake.ProviderConnector, URI: "?"}}, usual...), ""},
		"http":           {[]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: "http" + strings.TrimPrefix(uri, "https")}}, "no https URL"},
		"not an address": {[]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: "file:///etc/passwd"}}, "no https URL"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w.SetEndpoints(tc.list)
			c := w.client(t)
			err := c.Validate(t.Context(), w.good(t))
			if (err == nil) != (tc.words == "") || err != nil && !strings.Contains(err.Error(), tc.words) {
				t.Errorf("got %v, want %q", err, tc.words)
			}
			w.SetEndpoints(nil)
			if err := c.Validate(t.Context(), w.good(t)); err != nil {
				t.Errorf("when Graph says better: %v", err)
			}
		})
	}
}

// TestHosts is where Intune may be; whether it is there does not matter.
func TestHosts(t *testing.T) {
	w := newWorld(t)
	for uri, allowed := range map[string]bool{
		"https://127.0.0.2:9/":           true,
		"https://127.0.0.2/":             false,
		"https://127.0.0.3/":             true,
		"https://127.0.0.3:443/":         true,
		"https://127.0.0.3:444/":         false,
		"https://fef.Shard.example/":     true,
		"https://fef.shard.example:443/": true,
		"https://fef.shard.example:444/": false,
		"https://shard.example/":         false,
		"https://evilshard.example/":     false,
		"https://fef.shard.example.org/": false,
	} {
		w.SetEndpoints([]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: uri}})
		c := w.client(t, func(o *intune.Options) {
			o.Cloud.IntuneHosts, o.Deadline = []string{"127.0.0.2:9", "127.0.0.3", ".shard.example"}, 10*time.Second
		})
		var forbidden *intune.ForbiddenHostError
		if err := c.Validate(t.Context(), w.good(t)); err == nil || errors.As(err, &forbidden) == allowed {
			t.Errorf("%s: %v, want it allowed: %v", uri, err, allowed)
		}
	}
}

// TestFreshToken: Entra's token is taken back, and one call brings another.
func TestFreshToken(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	w.fail(t, fake.Fault{Service: fake.ServiceValidate, Status: 401, Times: 1})
	if err := c.Validate(t.Context(), w.good(t)); err != nil {
		t.Errorf("after one 401: %v", err)
	}
	calls := w.CallsTo(fake.ServiceValidate)
	if len(calls) != 2 {
		t.Fatalf("%d calls, want 2", len(calls))
	}
	if w.calls(fake.ServiceToken) != 3 {
		t.Errorf("%d token requests, want 3: for Graph, for Intune, for Intune again", w.calls(fake.ServiceToken))
	}
}

// TestStaleToken: the tokens of many calls are taken back at once, and all of
// them share one new token for each resource.
func TestStaleToken(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	if err := c.Validate(t.Context(), w.good(t)); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Hour) // MSAL goes by the machine's clock
	s := w.good(t)
	w.together(t, 32, func() error { return c.Validate(t.Context(), s) })
	if n := w.calls(fake.ServiceToken); n != 3 {
		t.Errorf("%d token requests, want 3", n)
	}
}

// TestStaleTokenTwice: whoever learns late that the old token is not taken does
// not throw the new one away.
func TestStaleTokenTwice(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	if err := c.Validate(t.Context(), w.good(t)); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Hour)
	s := w.good(t)
	w.fail(t, fake.Fault{Service: fake.ServiceValidate, DelaySeconds: 0.5, Times: 1})
	late := make(chan error, 1)
	go func() { late <- c.Validate(t.Context(), s) }()
	w.underWay()
	if err := errors.Join(c.Validate(t.Context(), s), <-late); err != nil {
		t.Error(err)
	}
	if n := w.calls(fake.ServiceToken); n != 3 {
		t.Errorf("%d token requests, want 3", n)
	}
}

// TestStaleTokenForGraph is the same when the service is looked for.
func TestStaleTokenForGraph(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	if err := c.Validate(t.Context(), w.good(t)); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Hour)
	w.Move()
	s := w.good(t)
	w.together(t, 32, func() error { return c.Validate(t.Context(), s) })
	if n := w.calls(fake.ServiceToken); n != 4 {
		t.Errorf("%d token requests, want 4", n)
	}
}

// TestMovedTogether: many calls learn at once that the service has moved, and
// all of them share one discovery.
func TestMovedTogether(t *testing.T) {
	w := newWorld(t)
	c, s := w.client(t), w.good(t)
	if err := c.Validate(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.Move()
	w.together(t, 32, func() error { return c.Validate(t.Context(), s) })
	if n := w.calls(fake.ServiceGraph); n != 2 {
		t.Errorf("%d discoveries, want 2", n)
	}
}

// together does something many times at once.
func (w *world) together(t *testing.T, n int, do func() error) {
	t.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if err := do(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestHangingUp: a device that hangs up while Intune is asked does not have the
// service looked for again, nor does an answer that nobody can read.
func TestHangingUp(t *testing.T) {
	w := newWorld(t)
	c, s := w.client(t), w.good(t)
	if err := c.Validate(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.fail(t, fake.Fault{Service: fake.ServiceValidate, DelaySeconds: 60, Times: 1})
	ctx, cancel := context.WithCancel(t.Context())
	hungUp := make(chan error, 1)
	go func() { hungUp <- c.Validate(ctx, s) }()
	w.underWay()
	cancel()
	if err := <-hungUp; !errors.Is(err, context.Canceled) {
		t.Errorf("who hung up: %v", err)
	}
	html := "<html>maintenance</html>"
	w.fail(t, fake.Fault{Service: fake.ServiceValidate, Body: &html, Times: 1})
	if err := c.Validate(t.Context(), s); err == nil {
		t.Error("HTML was taken for a yes")
	}
	if err := c.Validate(t.Context(), s); err != nil {
		t.Error(err)
	}
	if n := w.calls(fake.ServiceGraph); n != 1 {
		t.Errorf("%d discoveries, want 1", n)
	}
}

// TestEnvironment: nothing in the environment leads MSAL to another host.
func TestEnvironment(t *testing.T) {
	w := newWorld(t)
	t.Setenv("MSAL_FORCE_REGION", "westeurope")
	if err := w.client(t, func(o *intune.Options) { o.Tenant = strings.ToUpper(domain) }).Validate(t.Context(), w.good(t)); err != nil {
		t.Error(err)
	}
	if n := w.calls(fake.ServiceInstance); n != 0 {
		t.Errorf("MSAL asked for clouds %d times", n)
	}
}

// TestGivingUp: a device that hangs up does not take the others down, and its
// own call ends at once. What it began for all of them goes on.
func TestGivingUp(t *testing.T) {
	for name, fault := range map[string]fake.Fault{
		"token for Graph":  {Service: fake.ServiceToken},
		"token for Intune": {Service: fake.ServiceToken, Skip: 1},
		"discovery":        {Service: fake.ServiceGraph},
	} {
		w := newWorld(t)
		c, s := w.client(t), w.good(t)
		fault.DelaySeconds, fault.Times = 0.3, 1
		w.fail(t, fault)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- c.Validate(ctx, s) }()
		w.underWay()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: who gave up: %v", name, err)
		}
		if err := c.Validate(t.Context(), s); err != nil {
			t.Errorf("%s: who came then: %v", name, err)
		}
		if tokens, discoveries := w.calls(fake.ServiceToken), w.calls(fake.ServiceGraph); tokens != 2 || discoveries != 1 {
			t.Errorf("%s: %d token requests and %d discoveries, want 2 and 1", name, tokens, discoveries)
		}
	}
}

// underWay returns when every fault has its calls.
func (w *world) underWay() {
	for len(w.Faults()) > 0 {
		runtime.Gosched()
	}
}

// TestOptions are the mistakes that are found before anything is sent.
func TestOptions(t *testing.T) {
	w := newWorld(t)
	own, key := certificate(t, time.Now())
	for words, change := range map[string]func(*intune.Options){
		"the tenant must be given": func(o *intune.Options) { o.Tenant = "" },
		"by its id or its domain":  func(o *intune.Options) { o.Tenant = "a/b" },
		"client id":                func(o *intune.Options) { o.ClientID = "" },
		"needs a client secret":    func(o *intune.Options) { o.Secret = "" },
		"not both":                 func(o *intune.Options) { o.Certificates, o.Key = []*x509.Certificate{own}, key },
		"needs its key":            func(o *intune.Options) { o.Secret, o.Certificates = "", []*x509.Certificate{own} },
		"caller info":              func(o *intune.Options) { o.CallerInfo = "" },
		"authority":                func(o *intune.Options) { o.Cloud.Authority = "http://127.0.0.1/" },
		"Graph URL":                func(o *intune.Options) { o.Cloud.GraphURL = "graph" },
		"Intune resource":          func(o *intune.Options) { o.Cloud.IntuneResource = "" },
	} {
		o := w.options
		change(&o)
		if _, err := intune.New(o); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
	if n := len(w.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
}
