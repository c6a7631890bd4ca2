package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/depot"
)

// as calls the admin listener with another token.
func (h *house) as(token, method, target, body string) reply {
	return do(h.Admin(), h.request(token, method, target, body))
}

func (h *house) request(token, method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:8081"
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// newToken makes a token and returns its text.
func (h *house) newToken(name string, scopes ...string) string {
	h.t.Helper()
	made := h.object("POST", "/api/v1/tokens", fmt.Sprintf(`{"name":%q,"scopes":["%s"]}`, name, strings.Join(scopes, `","`)), 201)
	return made["token"].(string)
}

// Every route needs what it should, whatever it then makes of an empty
// request. A route that does not say what it needs is open to nobody.
func TestScopesOfEveryRoute(t *testing.T) {
	h := open(t, inMemory, ownAuthority(ca.ShapeChain)) // one of the routes prepares a rollover
	tokens := map[string]string{"read": h.newToken("reader", "read"), "ack": h.newToken("pusher", "ack"), "admin": token}
	allowed := map[string][]string{"read": {"read", "ack", "admin"}, "ack": {"ack", "admin"}, "admin": {"admin"}}
	for route, needs := range h.AdminScopes() {
		method, path, _ := strings.Cut(route, " ")
		inAPI := strings.HasPrefix(path, "/api/v1/") || strings.HasPrefix(path, "/lab/")
		if inAPI != (needs != "none") || inAPI && allowed[needs] == nil {
			t.Errorf("%s needs %q", route, needs)
		}
		if !inAPI || method == "GET" && strings.HasSuffix(path, "/backup") {
			continue
		}
		if method != "GET" && needs == "read" {
			t.Errorf("%s needs nothing but %q", route, needs)
		}
		target := strings.NewReplacer("{", "", "}", "").Replace(path) // nothing is called that
		for _, scope := range []string{"read", "ack", "admin"} {
			a := h.as(tokens[scope], method, target, "")
			if may := slices.Contains(allowed[needs], scope); may == (a.status == 403) {
				t.Errorf("%s with %s, needs %s: %d %s", route, scope, needs, a.status, a.body)
			} else if !may && (!strings.Contains(a.body, "problem:insufficient-scope") || !strings.Contains(a.body, "scope "+needs) ||
				!strings.Contains(a.header.Get("WWW-Authenticate"), fmt.Sprintf("scope=%q", needs))) {
				t.Errorf("%s with %s: %s %v", route, scope, a.body, a.header)
			}
		}
		if a := do(h.Admin(), httptest.NewRequest(method, "http://localhost"+target, nil)); a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s without a token: %d", route, a.status)
		}
	}
	if got := h.AdminScopes()["GET /api/v1/backup"]; got != "admin" {
		t.Errorf("a backup, which has keys, needs %q", got)
	}
}

func TestTokens(t *testing.T) {
	h := open(t, inMemory)
	made := h.object("POST", "/api/v1/tokens", `{"name":"jamf","scopes":["ack","read"],"ttl_seconds":3600}`, 201)
	text, _ := made["token"].(string)
	if !strings.HasPrefix(text, "understudy_") || len(text) < 30 || made["created_by"] != "admin" || fmt.Sprint(made["scopes"]) != "[read ack]" ||
		made["expires_at"] != h.clock.Now().Add(time.Hour).UTC().Format(time.RFC3339) {
		t.Fatalf("made %v", made)
	}
	if a := h.as(text, "GET", "/api/v1/certificates", ""); a.status != 200 {
		t.Errorf("with it: %d", a.status)
	}
	listed := h.api("GET", "/api/v1/tokens", "")
	if !strings.Contains(listed.body, made["id"].(string)) || strings.Contains(listed.body, text) {
		t.Errorf("list %s", listed.body)
	}
	if strings.Contains(h.log.String(), text) {
		t.Error("the log has it")
	}
	stored, err := h.depot.Tokens(t.Context())
	if err != nil || len(stored) != 1 || strings.Contains(fmt.Sprint(stored), text) {
		t.Errorf("stored %v, %v", stored, err)
	}

	other := h.newToken("other", "admin")
	for _, wanted := range []string{"jamf", made["id"].(string), "nobody"} {
		want := map[string]int{"jamf": 204}[wanted]
		if want == 0 {
			want = 404
		}
		if a := h.as(other, "DELETE", "/api/v1/tokens/"+wanted, ""); a.status != want {
			t.Errorf("remove %s: %d, want %d", wanted, a.status, want)
		}
	}
	if a := h.as(text, "GET", "/api/v1/certificates", ""); a.status != 401 {
		t.Errorf("after it was removed: %d", a.status)
	}
	if a := h.api("DELETE", "/api/v1/tokens/admin", ""); a.status != 409 {
		t.Errorf("remove admin: %d", a.status)
	}
	again := h.newToken("jamf", "read") // the name is free
	if a := h.as(again, "GET", "/api/v1/certificates", ""); a.status != 200 || again == text {
		t.Errorf("another of that name: %d", a.status)
	}
}

func TestTokenProblems(t *testing.T) {
	h := open(t, inMemory)
	h.newToken("taken", "read")
	for _, test := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"scopes":["read"]}`, 422, "name"},
		{`{"name":"a b","scopes":["read"]}`, 422, "name"},
		{`{"name":"` + strings.Repeat("x", 64) + `","scopes":["read"]}`, 422, "name"},
		{`{"name":"tk_x","scopes":["read"]}`, 422, "name"},
		{`{"name":7,"scopes":["read"]}`, 422, "name"},
		{`{"name":"a\nb","scopes":["read"]}`, 422, "name"},
		{`{"name":"admin","scopes":["read"]}`, 409, "name-in-use"},
		{`{"name":"Admin","scopes":["read"]}`, 409, "name-in-use"},
		{`{"name":"taken","scopes":["read"]}`, 409, "name-in-use"},
		{`{"name":"x"}`, 422, "scopes"},
		{`{"name":"x","scopes":[]}`, 422, "scopes"},
		{`{"name":"x","scopes":null}`, 422, "scopes"},
		{`{"name":"x","scopes":"read"}`, 422, "scopes"},
		{`{"name":"x","scopes":["read","write"]}`, 422, "scopes"},
		{`{"name":"x","scopes":["none"]}`, 422, "scopes"},
		{`{"name":"x","scopes":["read"],"ttl_seconds":0}`, 422, "ttl_seconds"},
		{`{"name":"x","scopes":["read"],"ttl_seconds":-1}`, 422, "ttl_seconds"},
		{`{"name":"x","scopes":["read"],"ttl_seconds":1.5}`, 422, "ttl_seconds"},
		{`{"name":"x","scopes":["read"],"ttl_seconds":315360001}`, 422, "ttl_seconds"},
		{`{"name":"x","scopes":["read"],"token":"mine"}`, 422, "token"},
		{`[]`, 400, "invalid-json"},
	} {
		if a := h.api("POST", "/api/v1/tokens", test.body); a.status != test.status || !strings.Contains(a.body, test.want) {
			t.Errorf("%s: %d %s", test.body, a.status, a.body)
		}
	}
	if a := h.api("GET", "/api/v1/tokens?limit=1", ""); a.status != 400 {
		t.Errorf("limit: %d", a.status)
	}
}

// A token ends with its time, by the server's clock, though it was remembered.
func TestTokenExpires(t *testing.T) {
	h := open(t, inMemory)
	text := h.object("POST", "/api/v1/tokens", `{"name":"short","scopes":["read"],"ttl_seconds":60}`, 201)["token"].(string)
	for _, step := range []struct {
		by   time.Duration
		want int
	}{{0, 200}, {59 * time.Second, 200}, {time.Second, 401}, {time.Hour, 401}, {-time.Hour - time.Second, 200}} {
		h.clock.Advance(step.by)
		if a := h.as(text, "GET", "/api/v1/certificates", ""); a.status != step.want {
			t.Errorf("%v on: %d, want %d", step.by, a.status, step.want)
		}
	}
}

// A token that is removed while the depot is asked for it is not remembered.
func TestTokenRemovedMeanwhile(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	var pause bool
	h := open(t, inMemory, func(h *house) {
		h.wrap = func(d depot.Depot) depot.Depot {
			return &slowTokens{Depot: d, found: func() {
				if pause {
					pause = false
					close(inside)
					<-goOn
				}
			}}
		}
	})
	text := h.newToken("short-lived", "read")
	pause = true
	status := make(chan int)
	go func() { status <- h.as(text, "GET", "/api/v1/certificates", "").status }()
	<-inside
	if a := h.api("DELETE", "/api/v1/tokens/short-lived", ""); a.status != 204 {
		t.Fatalf("remove: %d", a.status)
	}
	close(goOn)
	if got := <-status; got != 401 {
		t.Errorf("the one in flight got %d", got)
	}
	if a := h.as(text, "GET", "/api/v1/certificates", ""); a.status != 401 {
		t.Errorf("afterwards: %d", a.status)
	}
}

// slowTokens tells when it has found a token and not returned it yet.
type slowTokens struct {
	depot.Depot
	found func()
}

func (d *slowTokens) TokenBySHA256(ctx context.Context, sum [32]byte) (depot.Token, error) {
	t, err := d.Depot.TokenBySHA256(ctx, sum)
	d.found()
	return t, err
}

// What was done with a token is recorded under its name.
func TestTokenIsNamed(t *testing.T) {
	h := open(t, inMemory)
	operator := h.newToken("jane@lab", "admin")
	certificate := serialOf(h.enrol("C02XL0GTJGH5"))
	if a := h.as(operator, "POST", "/api/v1/certificates/"+certificate+"/revoke", `{}`); a.status != 200 || !strings.Contains(a.body, `"revoked_by": "jane@lab"`) {
		t.Errorf("revoke: %d %s", a.status, a.body)
	}
	request := h.waiting("C02XL0GTJGH6")
	if a := h.as(operator, "POST", "/api/v1/requests/"+request+"/approve", `{}`); a.status != 200 || !strings.Contains(a.body, `"decided_by": "jane@lab"`) {
		t.Errorf("approve: %d %s", a.status, a.body)
	}
	h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic"}`, 201)
	if a := h.as(operator, "POST", "/api/v1/challenges", `{"configuration":"one-time"}`); a.status != 201 {
		t.Errorf("challenge: %d", a.status)
	}
	if a := h.api("GET", "/api/v1/challenges", ""); !strings.Contains(a.body, `"created_by": "jane@lab"`) {
		t.Errorf("challenges %s", a.body)
	}
	if a := h.as(operator, "PUT", devicesPath, `{"items":[]}`); a.status != 200 || !strings.Contains(a.body, `"changed_by": "jane@lab"`) {
		t.Errorf("list: %d %s", a.status, a.body)
	}
}

// Guessing costs time, by address, and a right token does not show while it
// does.
func TestGuessesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory)
		try := func(address, text string) reply {
			r := h.request(text, "GET", "/api/v1/certificates", "")
			r.RemoteAddr = address + ":4711"
			return do(h.Admin(), r)
		}
		for i := range 100 {
			if a := try("192.0.2.1", fmt.Sprintf("guess-%d", i)); a.status != 401 {
				t.Fatalf("guess %d: %d", i, a.status)
			}
		}
		for _, text := range []string{"guess", token} {
			if a := try("192.0.2.1", text); a.status != 429 || a.header.Get("Retry-After") != "1" || a.header.Get("WWW-Authenticate") != "" {
				t.Errorf("%.5s: %d, Retry-After %q", text, a.status, a.header.Get("Retry-After"))
			}
		}
		if a := try("192.0.2.2", token); a.status != 200 {
			t.Errorf("another address: %d", a.status)
		}
		time.Sleep(time.Second)
		if a := try("192.0.2.1", token); a.status != 200 {
			t.Errorf("a second later: %d", a.status)
		}
		for range 200 { // no token, a removed one's time, a good one: no guesses
			try("192.0.2.3", "")
			try("192.0.2.3", token)
		}
		if a := try("192.0.2.3", token); a.status != 200 {
			t.Errorf("who never guessed: %d", a.status)
		}
	})
}

// Many addresses do not fill the memory: the one that was not seen for longest
// is forgotten.
func TestGuessersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory)
		try := func(address, text string) int {
			r := h.request(text, "GET", "/api/v1/tokens", "")
			r.RemoteAddr = "[" + address + "]:4711"
			return do(h.Admin(), r).status
		}
		for range 100 {
			try("2001:db8::1", "guess")
		}
		if got := try("2001:db8::2", token); got != 429 {
			t.Errorf("the same network: %d", got)
		}
		for i := range 10_000 {
			try(fmt.Sprintf("2001:db9:%x::1", i), "guess")
		}
		if got := try("2001:db8::1", token); got != 200 {
			t.Errorf("10 000 addresses later: %d", got)
		}
	})
}
