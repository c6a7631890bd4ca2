package operator_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/operator"
	"understudy.example/understudy/conformance"
)

var (
	waits       = conformance.Waiting{TransactionID: "a+b/c=", Subject: "CN=it's \"$HOME\""}
	certificate = &x509.Certificate{Raw: []byte{1}, SerialNumber: big.NewInt(0x0a0b), Subject: pkix.Name{CommonName: "C02"}}
)

// TestCommands runs real commands and looks at what they were told.
func TestCommands(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	write := `printf '%s|' "$1" "$2" "$SCEP_TRANSACTION_ID" "$SCEP_CERTIFICATE_SERIAL" "$SCEP_SUBJECT" "$SCEP_CERTIFICATE_SHA256" "$SCEP_URL" >` + out
	var o conformance.Operator
	operator.Commands{
		NewChallenge: "printf 'one two \\r\\n'", Approve: write, Deny: write, Revoke: write, PrepareNextCA: write, URL: "http://here/scep",
	}.Fill(&o)
	if o.ExpiredChallenge != nil || o.CancelNextCA != nil || o.Issued != nil {
		t.Error("there are functions without a command")
	}
	challenge, err := o.NewChallenge(t.Context())
	if err != nil || string(challenge) != "one two " {
		t.Errorf("challenge %q, %v", string(challenge), err)
	}
	const sha256 = "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"
	for want, act := range map[string]func(context.Context) error{
		`a+b/c=|CN=it's "$HOME"|a+b/c=||CN=it's "$HOME"||http://here/scep|`: func(ctx context.Context) error { return o.Approve(ctx, waits) },
		`0a0b|CN=C02||0a0b|CN=C02|` + sha256 + `|http://here/scep|`:         func(ctx context.Context) error { return o.Revoke(ctx, certificate) },
		`||||||http://here/scep|`: func(ctx context.Context) error { return o.PrepareNextCA(ctx) },
	} {
		if err := act(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(out); err != nil || string(got) != want {
			t.Errorf("told %s, want %s; %v", got, want, err)
		}
	}
}

func TestCommandsThatFail(t *testing.T) {
	t.Parallel()
	var o conformance.Operator
	var stderr bytes.Buffer
	operator.Commands{NewChallenge: "true", Approve: "echo why >&2; exit 3", Stderr: &stderr}.Fill(&o)
	if _, err := o.NewChallenge(t.Context()); err == nil {
		t.Error("no challenge is no error")
	}
	if err := o.Approve(t.Context(), waits); err == nil || !strings.Contains(err.Error(), "exit status 3") || stderr.String() != "why\n" {
		t.Errorf("error %v, said %q", err, stderr.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Approve(ctx, waits); err == nil {
		t.Error("a command ran after the end")
	}
}

// adminAPI remembers what was asked of it.
type adminAPI struct{ posts []string }

func (a *adminAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch {
	case r.Method == http.MethodPost:
		var body map[string]string
		_ = json.NewDecoder(r.Body).Decode(&body)
		a.posts = append(a.posts, r.URL.Path+" "+body["reason"])
		answer = struct{}{}
	case r.URL.Path == "/api/v1/requests" && r.URL.Query().Get("cursor") == "":
		answer = map[string]any{"items": []any{map[string]string{"id": "rq_1", "transaction_id": "other"}}, "next_cursor": "two"}
	case r.URL.Path == "/api/v1/requests":
		answer = map[string]any{"items": []any{map[string]string{"id": "rq_2", "transaction_id": waits.TransactionID}}, "next_cursor": nil}
	case r.URL.Path == "/api/v1/configurations":
		answer = map[string]any{"items": []any{map[string]string{"id": "rac1"}, map[string]string{"id": "rac2"}}, "next_cursor": nil}
	case r.URL.Path == "/api/v1/certificates" && r.URL.Query().Get("configuration") == "rac2" && r.URL.Query().Get("transaction") == "a+b":
		answer = map[string]any{"items": []any{struct{}{}, struct{}{}}, "next_cursor": nil}
	default:
		answer = map[string]any{"items": []any{}, "next_cursor": nil}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	there := &adminAPI{}
	server := httptest.NewServer(there)
	defer server.Close()
	c, err := api.New(server.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	var o conformance.Operator
	operator.Admin{Client: c}.Fill(&o)
	if o.NewChallenge != nil || o.ExpiredChallenge != nil {
		t.Error("the admin API gives out no challenges")
	}
	ctx := t.Context()
	for _, act := range []func() error{
		func() error { return o.Approve(ctx, waits) }, func() error { return o.Deny(ctx, waits) },
		func() error { return o.Revoke(ctx, certificate) }, func() error { return o.PrepareNextCA(ctx) }, func() error { return o.CancelNextCA(ctx) },
	} {
		if err := act(); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"/api/v1/requests/rq_2/approve ", "/api/v1/requests/rq_2/deny ", "/api/v1/certificates/0a0b/revoke superseded",
		"/api/v1/authority/rollover/prepare ", "/api/v1/authority/rollover/cancel ",
	}
	if fmt.Sprint(there.posts) != fmt.Sprint(want) {
		t.Errorf("asked for %q", there.posts)
	}
	if err := o.Approve(ctx, conformance.Waiting{TransactionID: "nowhere"}); err == nil {
		t.Error("a request that does not wait is approved")
	}
	if n, err := o.Issued(ctx, "a+b"); n != 2 || err != nil {
		t.Errorf("%d certificates, %v", n, err)
	}
}
