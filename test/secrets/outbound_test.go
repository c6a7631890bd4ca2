package secrets

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"understudy.example/understudy/test/internal/program"
)

// outbound makes tokens and webhooks and uses them, well and badly. It returns
// what is secret about them, and what receivers and refused callers were told.
func outbound(t *testing.T, server *program.Server) ([]needle, []haystack) {
	t.Helper()
	told := make(chan haystack, 1000)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told <- haystack{"a delivery", fmt.Appendf(nil, "%s\n%v\n%s", r.URL, r.Header, body)}
	}))
	t.Cleanup(receiver.Close)

	var reader struct{ ID, Token string }
	ask(t, server, http.MethodPost, "/api/v1/tokens", `{"name":"reader","scopes":["read"]}`, http.StatusCreated, &reader)
	hay := []haystack{
		with(t, server, reader.Token, http.MethodGet, "/api/v1/certificates"),
		with(t, server, reader.Token, http.MethodPost, "/api/v1/tokens"), // its scope is not enough
	}

	var first, second struct{ ID, Secret string }
	ask(t, server, http.MethodPost, "/api/v1/webhooks", fmt.Sprintf(`{"url":%q}`, receiver.URL), http.StatusCreated, &first)
	ask(t, server, http.MethodPost, "/api/v1/webhooks/"+first.ID+"/test", "", http.StatusOK, nil)
	ask(t, server, http.MethodPost, "/api/v1/webhooks/"+first.ID+"/rotate-secret", "", http.StatusOK, &second)
	ask(t, server, http.MethodPost, "/api/v1/webhooks/"+first.ID+"/test", "", http.StatusOK, nil)
	changed(t, server)
	if first.Secret == second.Secret {
		t.Error("rotating a secret changes nothing")
	}

	// What comes after its removal is refused, as a wrong one is.
	ask(t, server, http.MethodDelete, "/api/v1/tokens/"+reader.ID, "", http.StatusNoContent, nil)
	hay = append(hay, with(t, server, reader.Token, http.MethodGet, "/api/v1/certificates"))
	for range 3 { // two tests and an event at least
		select {
		case h := <-told:
			hay = append(hay, h)
		case <-time.After(time.Minute):
			t.Fatal("the receiver was not told")
		}
	}
	return []needle{
		{"the text of a token", []byte(reader.Token)},
		{"the secret of a webhook", []byte(first.Secret)},
		{"the secret after it", []byte(second.Secret)},
	}, hay
}

// changed makes an event that a webhook is told of.
func changed(t *testing.T, server *program.Server) {
	t.Helper()
	ask(t, server, http.MethodPatch, "/api/v1/configurations/default", `{"approval":"manual-new"}`, http.StatusOK, nil)
}

// ask uses the admin API, which must answer so.
func ask(t *testing.T, server *program.Server, method, path, body string, want int, into any) {
	t.Helper()
	status, answer := server.Admin(t, method, path, body)
	if status != want {
		t.Fatalf("%s %s: status %d: %s", method, path, status, answer)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// with uses the admin API with a token, whatever comes of it.
func with(t *testing.T, server *program.Server, token, method, path string) haystack {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, server.AdminURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return fetch(t, request)
}
