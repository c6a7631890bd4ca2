package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/notify"
)

func TestWebhookProblems(t *testing.T) {
	h := open(t, inMemory)
	id := h.object("POST", "/api/v1/webhooks", `{"url":"http://127.0.0.1:9/"}`, 201)["id"].(string)
	event := "ev_0000000000000001"
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "", `{}`, 422, "url"},
		{"POST", "", `{"url":"http://192.0.2.1/"}`, 422, "url"},
		{"POST", "", `{"url":"file:///etc/passwd"}`, 422, "url"},
		{"POST", "", `{"url":"http://127.0.0.1/` + strings.Repeat("x", 2048) + `"}`, 422, "url"},
		{"POST", "", `{"url":"http://127.0.0.1/","types":"all"}`, 422, "types"},
		{"POST", "", `{"url":"http://127.0.0.1/","types":["certificate.lost"]}`, 422, "types"},
		{"POST", "", `{"url":"http://127.0.0.1/","configuration":"nobody"}`, 422, "configuration"},
		{"POST", "", `{"url":"http://127.0.0.1/","secret":"mine"}`, 422, "secret"},
		{"PATCH", "/" + id, `{"url":"http://192.0.2.1/"}`, 422, "url"},
		{"PATCH", "/" + id, `{"disabled_at":null}`, 422, "disabled_at"},
		{"PATCH", "/wh_nobody", `{}`, 404, "webhook"},
		{"GET", "/wh_nobody", ``, 404, "webhook"},
		{"DELETE", "/wh_nobody", ``, 404, "webhook"},
		{"POST", "/wh_nobody/rotate-secret", ``, 404, "webhook"},
		{"POST", "/wh_nobody/enable", ``, 404, "webhook"},
		{"POST", "/wh_nobody/test", ``, 404, "webhook"},
		{"GET", "/wh_nobody/deliveries", ``, 404, "webhook"},
		{"POST", "/wh_nobody/redeliver", ``, 404, "webhook"},
		{"POST", "/" + id + "/test", `{"url":"http://127.0.0.1/"}`, 422, "url"},
		{"GET", "/" + id + "/deliveries?state=lost", ``, 400, "state"},
		{"GET", "/" + id + "/deliveries?cursor=x", ``, 400, "cursor"},
		{"GET", "/" + id + "/deliveries?limit=501", ``, 400, "limit"},
		{"POST", "/" + id + "/redeliver", `{"events":[]}`, 422, "events"},
		{"POST", "/" + id + "/redeliver", `{"events":"` + event + `"}`, 422, "events"},
		{"POST", "/" + id + "/redeliver", `{"events":["7"]}`, 422, "events"},
		{"POST", "/" + id + "/redeliver", `{"events":["ev_ffffffffffffffff"]}`, 422, "events"},
		{"POST", "/" + id + "/redeliver", `{"event":"x"}`, 422, "event"},
		{"POST", "/" + id + "/redeliver", `{"events":["` + event + `"]}`, 200, `"count": 1`},
		{"GET", "?limit=1", ``, 400, "limit"},
	} {
		if a := h.api(test.method, "/api/v1/webhooks"+test.path, test.body); a.status != test.status || !strings.Contains(a.body, test.want) {
			t.Errorf("%s %s %.60s: %d %s", test.method, test.path, test.body, a.status, a.body)
		}
	}
}

// A webhook from its first day to its last; its secret is told when it is
// made, and nowhere else.
func TestWebhookLife(t *testing.T) {
	type delivery struct {
		header http.Header
		body   []byte
	}
	got := make(chan delivery, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- delivery{r.Header, body}
	}))
	defer receiver.Close()
	h := open(t, inMemory)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); h.dispatcher.Run(ctx) }()
	defer func() { stop(); <-ran }()

	made := h.object("POST", "/api/v1/webhooks", `{"url":"`+receiver.URL+`/hook","types":["certificate.issued"],"configuration":"default"}`, 201)
	secret, path := made["secret"].(string), "/api/v1/webhooks/"+made["id"].(string)
	if made["created_by"] != "admin" || secret == "" || made["disabled_at"] != nil || made["configuration"].(map[string]any)["name"] != "default" {
		t.Errorf("%v", made)
	}
	verify := func(secret string, d delivery) {
		t.Helper()
		if err := notify.Verify(secret, d.header.Get(notify.HeaderSignature), d.body, clock.System{}.Now(), time.Minute); err != nil {
			t.Error(err)
		}
	}
	serial := serialOf(h.enrol("C02XL0GTJGH5"))
	d := <-got
	verify(secret, d)
	if text := string(d.body); !strings.Contains(text, `"type":"certificate.issued"`) || !strings.Contains(text, `"certificate_serial":"`+serial+`","sha256"`) {
		t.Errorf("without its data: %s", text)
	}
	if a := h.object("POST", path+"/test", "", 200); a["delivered"] != true || a["status"] != 200.0 || a["error"] != nil {
		t.Errorf("test: %v", a)
	}
	if d := <-got; !strings.Contains(string(d.body), "webhook.test") || d.header.Get(notify.HeaderDelivery) == "" {
		t.Errorf("test: %s", d.body)
	}
	rotated := h.object("POST", path+"/rotate-secret", "", 200)["secret"].(string)
	if rotated == secret {
		t.Error("the secret is the same")
	}
	h.object("POST", path+"/test", "", 200)
	verify(rotated, <-got)
	changed := h.object("PATCH", path, `{"types":[],"configuration":null}`, 200)
	if len(changed["types"].([]any)) != 0 || changed["configuration"] != nil || changed["url"] != receiver.URL+"/hook" {
		t.Errorf("changed: %v", changed)
	}
	for _, target := range []string{"/api/v1/webhooks", path, "/api/v1/events"} {
		if a := h.api("GET", target, ""); strings.Contains(a.body, secret) || strings.Contains(a.body, rotated) {
			t.Errorf("%s tells the secret", target)
		}
	}
	if strings.Contains(h.log.String(), secret) || strings.Contains(h.log.String(), rotated) {
		t.Error("the log tells the secret")
	}
	if a := h.api("DELETE", path, ""); a.status != 204 {
		t.Errorf("remove: %d", a.status)
	}
	if a := h.api("GET", path, ""); a.status != 404 {
		t.Errorf("removed: %d", a.status)
	}
}
