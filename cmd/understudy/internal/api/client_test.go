package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

const token = "TokenThatMustNotTravel"

func newClient(t *testing.T, handler http.HandlerFunc) *api.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := api.New(server.URL+"/", token)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestCall(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", r.Header)
		}
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.String() != "/x?a=b" || string(body) != `{"n":1}` {
			t.Errorf("asked %s %s %s", r.Method, r.URL, body)
		}
		_, _ = io.WriteString(w, `{"later":true,"n":2}`)
	})
	var answer json.RawMessage
	err := client.Call(context.Background(), http.MethodPost, "/x", map[string][]string{"a": {"b"}}, map[string]int{"n": 1}, &answer)
	if err != nil || string(answer) != `{"later":true,"n":2}` {
		t.Errorf("got %s, %v; want the answer as it came", answer, err)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, kind, body string
		status           int
		want             string
	}{
		{"fields", "application/problem+json", `{"title":"Invalid","detail":"settings are not valid","errors":[{"field":"name","detail":"is taken"}]}`, 422, "settings are not valid\n  name: is taken"},
		{"title only", "application/problem+json; charset=utf-8", `{"title":"Not Found"}`, 404, "not found"},
		{"empty", "application/problem+json", `{}`, 500, "the server answered 500 Internal Server Error"},
		{"something else", "text/html", `<h1>router</h1>`, 404, "which is not how an understudy server answers"},
		{"broken", "application/problem+json", `{`, 400, "which is not how an understudy server answers"},
		{"token", "application/problem+json", `{"detail":"no"}`, 401, "--token-file"},
		{"scope", "application/problem+json", `{"detail":"the token lacks the scope ack"}`, 403, "the token lacks the scope ack; give another token with --token-file"},
	} {
		client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", test.kind)
			if test.status == http.StatusForbidden {
				w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="ack"`)
			}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		})
		err := client.Call(context.Background(), http.MethodGet, "/x", nil, nil, nil)
		var problem *api.Problem
		if !errors.As(err, &problem) || problem.Status != test.status || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

// TestRedirect: an admin token goes nowhere but to the server that was named.
func TestRedirect(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed, with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	if _, err := client.Bytes(context.Background(), "/x"); err == nil {
		t.Error("want an error")
	}
}

// TestLongAnswer: what never ends is not kept.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	client := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		part := make([]byte, 1<<20)
		for range 65 {
			_, _ = w.Write(part)
		}
	})
	if _, err := client.Bytes(context.Background(), "/x"); err == nil || !strings.Contains(err.Error(), "longer than 67108864 bytes") {
		t.Errorf("65 MiB: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	client, err := api.New(server.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	_, err = client.Bytes(context.Background(), "/x")
	var unreachable *api.Unreachable
	if !errors.As(err, &unreachable) || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "understudy serve") {
		t.Errorf("got %v", err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	data := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var notRunning *api.NotRunning
	if _, err := api.Find(data, "", ""); !errors.As(err, &notRunning) || !strings.Contains(err.Error(), data) {
		t.Errorf("without a server: %v", err)
	}
	write(api.TokenFile, "of-the-directory\n")
	kept := write("kept.token", "kept-elsewhere\n")
	given := write("given.token", "given\n")
	discovery, _ := json.Marshal(api.Discovery{AdminURL: server.URL, AdminTokenFile: kept})
	write(api.DiscoveryFile, string(discovery))
	for _, test := range []struct{ server, tokenFile, want string }{
		{"", "", "kept-elsewhere"},
		{"", given, "given"},
		{server.URL, "", "of-the-directory"},
		{server.URL, given, "given"},
	} {
		client, err := api.Find(data, test.server, test.tokenFile)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if got, err := client.Bytes(context.Background(), "/"); err != nil || string(got) != "Bearer "+test.want {
			t.Errorf("%+v: sent %q, %v", test, got, err)
		}
	}
	write(api.DiscoveryFile, "{")
	if _, err := api.Find(data, "", ""); err == nil || errors.As(err, &notRunning) {
		t.Errorf("with a broken file: %v", err)
	}
}
