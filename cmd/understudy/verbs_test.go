package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// An adminStub answers as the admin API would, and remembers what it was
// asked: the verbs' side of the conversation alone.
type adminStub struct {
	answers map[string][]answer // by method and path; the last one stays

	mu    sync.Mutex
	asked []string // method, path with query, body
	keys  []string // of calls that have one
}

type answer struct {
	status int
	body   string
}

func (s *adminStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body)))
	s.keys = append(s.keys, r.Header.Values("Idempotency-Key")...)
	key := r.Method + " " + r.URL.EscapedPath()
	answers := s.answers[key]
	if len(answers) == 0 {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"detail":"there is nothing at this path"}`)
		return
	}
	if len(answers) > 1 {
		s.answers[key] = answers[1:]
	}
	if answers[0].status >= 400 {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	w.WriteHeader(answers[0].status)
	_, _ = io.WriteString(w, answers[0].body)
}

// verb runs a line of the command line against a stub.
func (s *adminStub) verb(t *testing.T, line ...string) (stdout, stderr string, code int) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, err bytes.Buffer
	environ := []string{"UNDERSTUDY_SERVER=" + server.URL, "UNDERSTUDY_TOKEN_FILE=" + token}
	code = Run(line, strings.NewReader(""), &out, &err, environ)
	return out.String(), err.String(), code
}

const (
	windowsPath = "/api/v1/redistribution"
	windowItem  = `{"id":"rd_0a","configuration":{"id":"rac1","name":"default"},"certificate":{"certificate_serial":"0a","subject":"CN=C02","not_before":"2026-01-01T00:00:00Z","not_after":"2027-01-01T00:00:00Z"},
		"device":{"key":"serial:C02","profile_uuid":null},"window":{"opens_at":"2026-12-02T00:00:00Z","closes_at":"2027-01-01T00:00:00Z"},"state":%q,"attempts":1,
		"last_ack":{"at":"2026-12-03T00:00:00Z","by":"jamf","command_id":"7F","requested_at":null,"stalls_at":"2026-12-04T00:00:00Z"},"superseded_by":null,"history":[{"at":"2026-12-02T00:00:00Z","type":"redistribution.due"}]}`
	windowPage = `{"as_of":"2026-12-02T00:00:00Z","policy":null,"counts":{"valid":3,"due":1},"next_cursor":%s,"items":[%s]}`
)

func itemIn(state string) string { return fmt.Sprintf(windowItem, state) }

func pageOf(cursor string, items ...string) string {
	return fmt.Sprintf(windowPage, cursor, strings.Join(items, ","))
}

// TestVerbsAsk holds what each verb asks of the server against the API, and
// what it prints against the answer.
func TestVerbsAsk(t *testing.T) {
	t.Parallel()
	const webhook, token = `{"id":"wh_1","url":"http://h/","types":["redistribution.due"],"waiting":2,"dead":1}`, `{"id":"tk_1","name":"jamf","scopes":["ack"]}`
	for _, test := range []struct {
		line   string
		at     string // method and path that the stub knows
		answer answer
		asked  string // the last question
		stdout []string
		code   int
	}{
		{"window list", "GET " + windowsPath, answer{200, pageOf("null", itemIn("due"))}, "GET " + windowsPath + "?limit=100",
			[]string{"rd_0a  due", "2026-12-02T00:00:00Z", "serial:C02", "default"}, 0},
		{"window list --state due,stalled --days 30 --strict --as-of 2026-12-02T00:00:00Z --configuration a --device serial:C02 --profile 6F --limit 7 --cursor x",
			"GET /api/v1/configurations/a/redistribution", answer{200, pageOf("null")},
			"GET /api/v1/configurations/a/redistribution?as_of=2026-12-02T00%3A00%3A00Z&cursor=x&days=30&device=serial%3AC02&limit=7&profile=6F&state=due%2Cstalled&strict=true", nil, 0},
		{"window list --percent 20", "GET " + windowsPath, answer{200, pageOf("null")}, "GET " + windowsPath + "?limit=100&percent=20", nil, 0},
		{"window list --percent 20 --days 30", "", answer{}, "", nil, exitUsage},
		{"window list --percent 20 --strict", "", answer{}, "", nil, exitUsage},
		{"window list --state overdue", "", answer{}, "", nil, exitUsage},
		{"window show rd_0a", "GET " + windowsPath + "/rd_0a", answer{200, itemIn("acknowledged")}, "GET " + windowsPath + "/rd_0a",
			[]string{"state            acknowledged", "command          7F", "stalls at        2026-12-04T00:00:00Z", "redistribution.due"}, 0},
		{"window show 0:0A --as-of 2026-12-02T00:00:00Z", "GET " + windowsPath + "/rd_0a", answer{200, itemIn("due")},
			"GET " + windowsPath + "/rd_0a?as_of=2026-12-02T00%3A00%3A00Z", nil, 0},
		{"window show serial:C02", "", answer{}, "", nil, exitUsage},
		{"window show", "", answer{}, "", nil, exitUsage},
		{"window show rd_0a --device serial:C02", "", answer{}, "", nil, exitUsage},
		{"window show rd_0b", "GET " + windowsPath + "/rd_0a", answer{200, ""}, "GET " + windowsPath + "/rd_0b", nil, exitNotFound},
		{"window ack rd_0a --command-id 7F --requested-by jamf --requested-at 2026-12-02T00:00:00Z", "POST " + windowsPath + "/rd_0a/ack", answer{200, itemIn("acknowledged")},
			`POST ` + windowsPath + `/rd_0a/ack {"command_id":"7F","requested_at":"2026-12-02T00:00:00Z","requested_by":"jamf"}`, []string{"acknowledged by  jamf"}, 0},
		{"window ack rd_0a", "POST " + windowsPath + "/rd_0a/ack", answer{409, `{"detail":"not due"}`}, "POST " + windowsPath + "/rd_0a/ack {}", nil, exitRefused},
		{"window ack rd_0a 0b", "POST " + windowsPath + ":ack", answer{200, `{"results":[{"id":"rd_0a","status":"acknowledged"},{"id":"rd_0b","status":"acknowledged"}]}`},
			`POST ` + windowsPath + `:ack {"ids":["rd_0a","rd_0b"]}`, []string{"rd_0a  acknowledged", "rd_0b  acknowledged"}, 0},
		{"window ack rd_0a 0b", "POST " + windowsPath + ":ack", answer{200, `{"results":[{"id":"rd_0a","status":"acknowledged"},{"id":"rd_0b","status":"not_due"}]}`},
			`POST ` + windowsPath + `:ack {"ids":["rd_0a","rd_0b"]}`, []string{"rd_0b  not_due"}, exitRefused},
		{"window ack rd_0a rd_0b --device serial:C02", "", answer{}, "", nil, exitUsage},
		{"window counts --configuration a", "GET /api/v1/configurations/a/redistribution", answer{200, pageOf("null", itemIn("due"))},
			"GET /api/v1/configurations/a/redistribution?limit=1", []string{"valid         3", "due           1", "revoked       0"}, 0},
		{"window counts -o json", "GET " + windowsPath, answer{200, pageOf("null", itemIn("due"))}, "GET " + windowsPath + "?limit=1",
			[]string{`"valid": 3`, `"as_of": "2026-12-02T00:00:00Z"`, `"policy": null`}, 0},
		{"cert list --search state:due --as-of 2026-12-02T00:00:00Z", "GET /api/v1/certificates", answer{200, `{"items":[],"next_cursor":null}`},
			"GET /api/v1/certificates?as_of=2026-12-02T00%3A00%3A00Z&limit=100&q=state%3Adue", nil, 0},
		{"cert export --format csv --search state:due", "GET /api/v1/certificates/export", answer{200, "a,b\n"},
			"GET /api/v1/certificates/export?format=csv&q=state%3Adue", []string{"a,b\n"}, 0},
		{"cert export --out -", "GET /api/v1/certificates/export", answer{200, "PEM"}, "GET /api/v1/certificates/export?format=pem", []string{"PEM"}, 0},
		{"cert export --format der", "", answer{}, "", nil, exitUsage},
		{"cert export 0a --format csv", "", answer{}, "", nil, exitUsage},
		{"cert export 0a --search x", "", answer{}, "", nil, exitUsage},
		{"inventory", "GET /api/v1/inventory", answer{200, `{"items":[{"configuration":{"name":"default"},"certificates":{"valid":4,"due":2}}],"totals":{"valid":7},"next_cursor":null}`},
			"GET /api/v1/inventory", []string{"default        4      2    0", "total          7      0    0"}, 0},
		{"inventory --configuration a --as-of 2026-12-02T00:00:00Z", "GET /api/v1/inventory", answer{200, `{"items":[]}`},
			"GET /api/v1/inventory?as_of=2026-12-02T00%3A00%3A00Z&configuration=a", nil, 0},
		{"events --after ev_01 --types certificate.issued,certificate.revoked --configuration a --limit 5", "GET /api/v1/events",
			answer{200, `{"items":[{"id":"ev_02","type":"certificate.revoked","at":"2026-12-02T00:00:00Z","configuration":{"id":"rac1","name":"a"},"device_key":"serial:C02","certificate_serial":"0a","reason":"admin"}],"next_cursor":null}`},
			"GET /api/v1/events?after=ev_01&configuration=a&limit=5&types=certificate.issued%2Ccertificate.revoked",
			[]string{"ev_02  2026-12-02T00:00:00Z  certificate.revoked  a", "serial:C02", "certificate 0a, reason admin"}, 0},
		{"device show serial:C02 --limit 1 --as-of 2026-12-02T00:00:00Z --cursor x", "GET /api/v1/devices/serial:C02", answer{200, `{"key":"serial:C02","certificates":[{"certificate_serial":"0a"}],"next_cursor":"y"}`},
			"GET /api/v1/devices/serial:C02?as_of=2026-12-02T00%3A00%3A00Z&cursor=x&limit=1", []string{"serial:C02", "0a"}, 0},
		{"webhook add http://h/ --types redistribution.due --configuration a", "POST /api/v1/webhooks", answer{201, `{"id":"wh_1","url":"http://h/","secret":"sesame","types":[]}`},
			`POST /api/v1/webhooks {"configuration":"a","types":["redistribution.due"],"url":"http://h/"}`, []string{"secret         sesame", "events         all", "configuration  all"}, 0},
		{"webhook list", "GET /api/v1/webhooks", answer{200, `{"items":[` + webhook + `],"next_cursor":null}`}, "GET /api/v1/webhooks", []string{"wh_1  http://h/  redistribution.due  2        1"}, 0},
		{"webhook show wh_1", "GET /api/v1/webhooks/wh_1", answer{200, webhook}, "GET /api/v1/webhooks/wh_1", []string{"waiting        2", "given up       1"}, 0},
		{"webhook rm wh_1", "DELETE /api/v1/webhooks/wh_1", answer{204, ""}, "DELETE /api/v1/webhooks/wh_1", nil, 0},
		{"webhook enable wh_1", "POST /api/v1/webhooks/wh_1/enable", answer{200, webhook}, "POST /api/v1/webhooks/wh_1/enable {}", []string{"http://h/"}, 0},
		{"webhook rotate-secret wh_1", "POST /api/v1/webhooks/wh_1/rotate-secret", answer{200, `{"id":"wh_1","secret":"sesame"}`}, "POST /api/v1/webhooks/wh_1/rotate-secret {}", []string{"sesame"}, 0},
		{"webhook test wh_1", "POST /api/v1/webhooks/wh_1/test", answer{200, `{"delivered":true,"status":204}`}, "POST /api/v1/webhooks/wh_1/test {}", nil, 0},
		{"webhook test wh_1 -o json", "POST /api/v1/webhooks/wh_1/test", answer{200, `{"delivered":false,"status":500,"error":null}`}, "POST /api/v1/webhooks/wh_1/test {}", []string{`"status": 500`}, exitFailed},
		{"webhook deliveries wh_1 --state dead", "GET /api/v1/webhooks/wh_1/deliveries", answer{200, `{"items":[{"event":"ev_02","state":"dead","attempts":6,"last_status":500,"last_error":"no"}],"next_cursor":null}`},
			"GET /api/v1/webhooks/wh_1/deliveries?limit=100&state=dead", []string{"ev_02  dead   6", "500"}, 0},
		{"webhook redeliver wh_1 ev_02 ev_03", "POST /api/v1/webhooks/wh_1/redeliver", answer{200, `{"count":2}`}, `POST /api/v1/webhooks/wh_1/redeliver {"events":["ev_02","ev_03"]}`, nil, 0},
		{"webhook redeliver wh_1", "POST /api/v1/webhooks/wh_1/redeliver", answer{200, `{"count":2}`}, `POST /api/v1/webhooks/wh_1/redeliver {}`, nil, 0},
		{"token add jamf --scope read,ack --ttl 30d", "POST /api/v1/tokens", answer{201, `{"id":"tk_1","name":"jamf","scopes":["ack"],"token":"sesame","expires_at":"2026-12-02T00:00:00Z"}`},
			`POST /api/v1/tokens {"name":"jamf","scopes":["read","ack"],"ttl_seconds":2592000}`, []string{"token       sesame", "expires at  2026-12-02T00:00:00Z"}, 0},
		{"token add jamf", "", answer{}, "", nil, exitUsage},
		{"token list", "GET /api/v1/tokens", answer{200, `{"items":[` + token + `],"next_cursor":null}`}, "GET /api/v1/tokens", []string{"jamf  tk_1  ack"}, 0},
		{"token rm jamf", "DELETE /api/v1/tokens/jamf", answer{204, ""}, "DELETE /api/v1/tokens/jamf", nil, 0},
		{"token rm nobody", "", answer{}, "DELETE /api/v1/tokens/nobody", nil, exitNotFound},
	} {
		t.Run(test.line, func(t *testing.T) {
			t.Parallel()
			stub := &adminStub{answers: map[string][]answer{test.at: {test.answer}}}
			stdout, stderr, code := stub.verb(t, strings.Fields(test.line)...)
			if code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, stderr)
			}
			asked := ""
			if n := len(stub.asked); n > 0 {
				asked = stub.asked[n-1]
			}
			if asked != test.asked {
				t.Errorf("asked %s\nwant  %s", asked, test.asked)
			}
			for _, want := range test.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("nothing of %q in\n%s", want, stdout)
				}
			}
		})
	}
}

// TestWindowListAll joins pages and keeps what the first one said.
func TestWindowListAll(t *testing.T) {
	t.Parallel()
	stub := &adminStub{answers: map[string][]answer{"GET " + windowsPath: {{200, pageOf(`"two"`, `{"id":"rd_01"}`)}, {200, pageOf("null", `{"id":"rd_02"}`)}}}}
	stdout, _, code := stub.verb(t, "window", "list", "--all", "-o", "json")
	for _, want := range []string{`"rd_01"`, `"rd_02"`, `"as_of": "2026-12-02T00:00:00Z"`, `"valid": 3`, `"policy": null`, `"next_cursor": null`} {
		if !strings.Contains(stdout, want) || code != 0 {
			t.Errorf("exit code %d, nothing of %s in\n%s", code, want, stdout)
		}
	}
	if len(stub.asked) != 2 || !strings.Contains(stub.asked[1], "cursor=two") {
		t.Errorf("asked %q", stub.asked)
	}
}

// TestListGoesOn over pages that are short, or empty, until it has as many as
// were asked for, and says where more are.
func TestListGoesOn(t *testing.T) {
	pages := func() *adminStub {
		return &adminStub{answers: map[string][]answer{"GET /api/v1/certificates": {
			{200, `{"items":[],"next_cursor":"two"}`},
			{200, `{"items":[{"certificate_serial":"0a"}],"next_cursor":"three"}`},
			{200, `{"items":[{"certificate_serial":"0b"}],"next_cursor":"four"}`},
			{200, `{"items":[{"certificate_serial":"0c"}],"next_cursor":null}`},
		}}}
	}
	for limit, want := range map[string]struct {
		asked, stderr string
		items         int
	}{
		"2": {"limit=2 cursor=two&limit=2 cursor=three&limit=1", "--cursor four", 2},
		"9": {"limit=9 cursor=two&limit=9 cursor=three&limit=8 cursor=four&limit=7", "", 3},
	} {
		stub := pages()
		stdout, stderr, code := stub.verb(t, "cert", "list", "--limit", limit)
		var asked []string
		for _, line := range stub.asked {
			asked = append(asked, strings.TrimPrefix(line, "GET /api/v1/certificates?"))
		}
		if got := strings.Join(asked, " "); code != 0 || got != want.asked || !strings.Contains(stderr, want.stderr) || strings.Count(stdout, "\n") != want.items+1 {
			t.Errorf("--limit %s: code %d, asked %s\n%s%s", limit, code, got, stdout, stderr)
		}
		stdout, _, code = pages().verb(t, "cert", "list", "--limit", limit, "-o", "json")
		if code != 0 || strings.Count(stdout, "certificate_serial") != want.items || strings.Contains(stdout, `"next_cursor": "four"`) != (want.stderr != "") {
			t.Errorf("--limit %s in JSON: code %d\n%s", limit, code, stdout)
		}
	}
}

// TestWindowByDevice finds the item of a device, and says what it lacks.
func TestWindowByDevice(t *testing.T) {
	t.Parallel()
	const find = "GET " + windowsPath + "?device=serial%3AC02&limit=2&state=valid%2Cdue%2Cacknowledged%2Cstalled%2Cexpired"
	for _, test := range []struct {
		items []string
		code  int
		said  string
	}{
		{[]string{itemIn("due")}, 0, ""},
		{nil, exitNotFound, "serial:C02 holds no certificate"},
		{[]string{`{"id":"rd_01","configuration":{"name":"a"}}`, `{"id":"rd_02","configuration":{"name":"b"}}`}, exitUsage, "configurations a and b"},
	} {
		stub := &adminStub{answers: map[string][]answer{
			"GET " + windowsPath:                   {{200, pageOf("null", test.items...)}},
			"POST " + windowsPath + "/rd_0a/ack":   {{200, itemIn("acknowledged")}},
			"DELETE " + windowsPath + "/rd_0a/ack": {{204, ""}},
			"GET " + windowsPath + "/rd_0a":        {{200, itemIn("due")}},
		}}
		for _, verb := range []string{"ack", "unack", "show"} {
			stub.asked = nil
			_, stderr, code := stub.verb(t, "window", verb, "--device", "serial:C02")
			if code != test.code || !strings.Contains(stderr, test.said) || stub.asked[0] != find {
				t.Errorf("window %s: exit code %d, want %d; asked %q, said %s", verb, code, test.code, stub.asked, stderr)
			}
		}
	}
}

// TestNoDevices also removes a list that came by the API, under the name that
// the configuration has by then.
func TestNoDevices(t *testing.T) {
	t.Parallel()
	stub := &adminStub{answers: map[string][]answer{
		"PATCH /api/v1/configurations/lab":          {{200, "{}"}},
		"DELETE /api/v1/configurations/lab/devices": {{204, ""}},
		"DELETE /api/v1/configurations/new/devices": {{404, "{}"}},
	}}
	for renamed, line := range map[string][]string{"lab": nil, "new": {"--rename", "new"}} {
		stub.asked = nil
		_, stderr, code := stub.verb(t, append([]string{"config", "set", "lab", "--no-devices", "-o", "json"}, line...)...)
		if want := "DELETE /api/v1/configurations/" + renamed + "/devices"; code != 0 || len(stub.asked) != 2 || stub.asked[1] != want {
			t.Errorf("exit code %d, asked %q, want %s: %s", code, stub.asked, want, stderr)
		}
	}
}

// TestWindowSerial takes a certificate serial in any form.
func TestWindowSerial(t *testing.T) {
	t.Parallel()
	for _, serial := range []string{"0a", "0A", "a", "00:0A", "000a"} {
		stub := &adminStub{answers: map[string][]answer{"GET " + windowsPath + "/rd_0a": {{200, itemIn("due")}}}}
		if _, stderr, code := stub.verb(t, "window", "show", serial); code != 0 {
			t.Errorf("%s: exit code %d, asked %q: %s", serial, code, stub.asked, stderr)
		}
	}
}

// TestWindowWait asks until the item is superseded, cannot be any more, or the
// time is over.
func TestWindowWait(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		states  []string
		timeout string
		code    int
		said    string
		asked   int
	}{
		{[]string{"due", "acknowledged", "superseded"}, "10m", exitOK, "", 3},
		{[]string{"superseded"}, "0s", exitOK, "", 1},
		{[]string{"due"}, "0s", exitPending, "serial:C02 has not enrolled again within 0s", 1},
		{[]string{"due", "expired"}, "10m", exitFailed, "its certificate is expired", 2},
		{[]string{"revoked"}, "10m", exitFailed, "its certificate is revoked", 1},
	} {
		stub := &adminStub{answers: map[string][]answer{}}
		for _, state := range test.states {
			at := "GET " + windowsPath + "/rd_0a"
			stub.answers[at] = append(stub.answers[at], answer{200, itemIn(state)})
		}
		stdout, stderr, code := stub.verb(t, "window", "wait", "rd_0a", "--timeout", test.timeout)
		if code != test.code || !strings.Contains(stderr, test.said) || len(stub.asked) != test.asked {
			t.Errorf("%v: exit code %d, want %d; asked %q, said %s", test.states, code, test.code, stub.asked, stderr)
		}
		if !strings.Contains(stdout, "state            "+test.states[len(test.states)-1]) {
			t.Errorf("%v: printed\n%s", test.states, stdout)
		}
		want := "?wait=20s"
		if test.timeout == "0s" {
			want = "?wait=0s"
		}
		if !strings.HasSuffix(stub.asked[0], want) {
			t.Errorf("%v: asked %q, want %s", test.states, stub.asked[0], want)
		}
	}
}

// TestWindowAckMany acknowledges more than one call takes.
func TestWindowAckMany(t *testing.T) {
	t.Parallel()
	stub := &adminStub{answers: map[string][]answer{"POST " + windowsPath + ":ack": {{200, `{"results":[{"id":"rd_0a","status":"acknowledged","item":{"later":1}}]}`}}}}
	line := []string{"window", "ack", "-o", "json"}
	for i := range 501 {
		line = append(line, fmt.Sprintf("rd_%04x", i))
	}
	stdout, stderr, code := stub.verb(t, line...)
	if code != 0 || len(stub.asked) != 2 || strings.Count(stdout, `"later": 1`) != 2 {
		t.Errorf("exit code %d, %d calls, printed\n%s\n%s", code, len(stub.asked), stdout, stderr)
	}
	if strings.Count(stub.asked[0], "rd_") != 500 || strings.Count(stub.asked[1], "rd_") != 1 {
		t.Errorf("%d and %d ids", strings.Count(stub.asked[0], "rd_"), strings.Count(stub.asked[1], "rd_"))
	}
}

// TestWindowAckKey sends the key with every call that acknowledges, and only
// what can stand in a header.
func TestWindowAckKey(t *testing.T) {
	t.Parallel()
	for _, ids := range [][]string{{"rd_0a"}, {"rd_0a", "rd_0b"}} {
		stub := &adminStub{answers: map[string][]answer{
			"POST " + windowsPath + "/rd_0a/ack": {{200, itemIn("acknowledged")}},
			"POST " + windowsPath + ":ack":       {{200, `{"results":[]}`}},
		}}
		line := append([]string{"window", "ack"}, ids...)
		if _, stderr, code := stub.verb(t, append(line, "--idempotency-key", "push 1")...); code != 0 || fmt.Sprint(stub.keys) != "[push 1]" {
			t.Errorf("%v: exit code %d, keys %q: %s", ids, code, stub.keys, stderr)
		}
		if _, _, code := stub.verb(t, line...); code != 0 || len(stub.keys) != 1 {
			t.Errorf("%v without a key: exit code %d, keys %q", ids, code, stub.keys)
		}
		for _, bad := range []string{"a\nb", "ä"} {
			if _, stderr, code := stub.verb(t, append(line, "--idempotency-key", bad)...); code != exitUsage || !strings.Contains(stderr, "printable ASCII") {
				t.Errorf("key %q: exit code %d: %s", bad, code, stderr)
			}
		}
	}
}

// TestEventsFollow prints what comes, and goes on after what the server looked
// at. A server that is gone ends it.
func TestEventsFollow(t *testing.T) {
	t.Parallel()
	stub := &adminStub{answers: map[string][]answer{"GET /api/v1/events": {
		{200, `{"items":[{"id":"ev_01","type":"certificate.issued","later":1}],"next_cursor":null,"through":"ev_04"}`},
		{200, `{"items":[],"next_cursor":null,"through":"ev_09"}`},
		{500, `{"detail":"broken"}`},
	}}}
	stdout, _, code := stub.verb(t, "events", "--follow", "-o", "json", "--types", "certificate.issued")
	if code != exitFailed || stdout != `{"id":"ev_01","type":"certificate.issued","later":1}`+"\n" {
		t.Errorf("exit code %d, printed\n%s", code, stdout)
	}
	want := []string{
		"GET /api/v1/events?after=now&limit=100&types=certificate.issued&wait=20s",
		"GET /api/v1/events?after=ev_04&limit=100&types=certificate.issued&wait=20s",
		"GET /api/v1/events?after=ev_09&limit=100&types=certificate.issued&wait=20s",
	}
	if fmt.Sprint(stub.asked) != fmt.Sprint(want) {
		t.Errorf("asked %q", stub.asked)
	}
}

// TestTokenInFile keeps a token out of the output, and makes none when the file
// is there already.
func TestTokenInFile(t *testing.T) {
	t.Parallel()
	stub := &adminStub{answers: map[string][]answer{"POST /api/v1/tokens": {{201, `{"id":"tk_1","name":"jamf","scopes":["ack"],"token":"sesame"}`}, {409, `{"detail":"taken"}`}}}}
	dir := t.TempDir()
	file := filepath.Join(dir, "jamf.token")
	stdout, stderr, code := stub.verb(t, "token", "add", "jamf", "--scope", "ack", "--out", file, "-o", "json")
	text, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if code != 0 || err != nil || string(text) != "sesame\n" || info.Mode().Perm() != 0o600 || strings.Contains(stdout+stderr, "sesame") || !strings.Contains(stdout, "tk_1") {
		t.Errorf("exit code %d, %v; file %q of mode %v, printed %s%s", code, err, text, info.Mode(), stdout, stderr)
	}
	if _, _, code := stub.verb(t, "token", "add", "jamf", "--scope", "ack", "--out", file); code != exitRefused || len(stub.asked) != 1 {
		t.Errorf("over a file that is there: exit code %d, asked %q", code, stub.asked)
	}
	other := filepath.Join(dir, "other")
	if _, _, code := stub.verb(t, "token", "add", "jamf", "--scope", "ack", "--out", other); code != exitRefused {
		t.Errorf("a name that is taken: exit code %d", code)
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("a file without a token is left behind")
	}
}

// TestExportIsWhole leaves no file behind when the server breaks off.
func TestExportIsWhole(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		if r.URL.Query().Get("format") == "csv" {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]int{"csv": exitFailed, "jsonl": exitOK} {
		code := Run([]string{"cert", "export", "--format", format, "--out", filepath.Join(dir, format), "--server", server.URL, "--token-file", token},
			strings.NewReader(""), io.Discard, io.Discard, nil)
		if code != want {
			t.Errorf("%s: exit code %d, want %d", format, code, want)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "jsonl" {
		t.Errorf("left behind: %v, %v", files, err)
	}
}
