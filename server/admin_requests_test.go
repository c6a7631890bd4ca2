package server_test

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/scep/client"
)

// manual makes the default configuration wait for an operator.
func (h *house) manual() {
	h.t.Helper()
	h.object("PATCH", "/api/v1/configurations/default", `{"approval":"manual"}`, 200)
}

// reply reads the CertRep in an answer.
func (h *house) reply(request *client.Request, a reply) *client.Reply {
	h.t.Helper()
	if a.status != 200 {
		h.t.Fatalf("status %d: %s", a.status, a.body)
	}
	got, err := request.ReadReply([]byte(a.body), h.clock.Now())
	if err != nil {
		h.t.Fatal(err)
	}
	return got
}

// waiting sends a request of a device that has to wait, and returns its id.
func (h *house) waiting(deviceSerial string) string {
	h.t.Helper()
	h.manual()
	request := h.message(deviceSerial, secretKey)
	if got := h.reply(request, h.post(string(request.Raw))); got.Status != client.Pending {
		h.t.Fatalf("status %v %v %q, want PENDING", got.Status, got.FailInfo, got.FailInfoText)
	}
	page, err := h.depot.Requests(h.t.Context(), depot.RequestQuery{Limit: 1})
	if err != nil || len(page.Items) != 1 {
		h.t.Fatalf("requests %v, %v", page, err)
	}
	return page.Items[0].ID
}

func TestRequests(t *testing.T) {
	h := open(t, inMemory)
	first, second, third := h.waiting("C02XL0GTJGH5"), h.waiting("C02XL0GTJGH6"), h.waiting("C02XL0GTJGH7")
	ids := func(query string) []string {
		t.Helper()
		var found []string
		for _, item := range h.object("GET", "/api/v1/requests?"+query, "", 200)["items"].([]any) {
			found = append(found, item.(map[string]any)["id"].(string))
		}
		return found
	}
	if got := ids(""); !slices.Equal(got, []string{third, second, first}) {
		t.Errorf("list %v", got)
	}
	shown := h.object("GET", "/api/v1/requests/"+first, "", 200)
	device, _ := shown["device"].(map[string]any)
	if shown["state"] != "pending" || shown["subject"] != "CN=C02XL0GTJGH5" || device["device_serial"] != "C02XL0GTJGH5" ||
		shown["certificate_serial"] != nil || shown["decided_by"] != nil || shown["message_type"] != "19" || shown["transaction_id"] != "TX-C02XL0GTJGH5" {
		t.Errorf("request %v", shown)
	}
	if text := fmt.Sprint(shown); strings.Contains(text, secretKey) {
		t.Errorf("the request tells the challenge: %s", text)
	}

	approved := h.object("POST", "/api/v1/requests/"+first+"/approve", `{"note":"called Jane"}`, 200)
	if approved["state"] != "approved" || approved["decided_by"] != "admin" || approved["note"] != "called Jane" || approved["certificate_serial"] == nil {
		t.Errorf("approved: %v", approved)
	}
	issued := h.object("GET", "/api/v1/certificates/"+approved["certificate_serial"].(string), "", 200)
	if issued["request_id"] != first || issued["approved_by"] != "admin" {
		t.Errorf("certificate: %v", issued)
	}
	if denied := h.object("POST", "/api/v1/requests/"+second+"/deny", "", 200); denied["state"] != "denied" || denied["certificate_serial"] != nil {
		t.Errorf("denied: %v", denied)
	}
	for _, path := range []string{first + "/approve", first + "/deny", second + "/approve", second + "/deny"} {
		if a := h.api("POST", "/api/v1/requests/"+path, ""); a.status != 409 || !strings.Contains(a.body, "problem:decided") {
			t.Errorf("%s again: %d %s", path, a.status, a.body)
		}
	}
	for query, want := range map[string][]string{
		"state=pending": {third}, "state=approved": {first}, "state=denied": {second}, "state=expired": nil,
		"state=pending&configuration=default": {third},
	} {
		if got := ids(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	h.clock.Advance(7 * 24 * time.Hour)
	if a := h.api("POST", "/api/v1/requests/"+third+"/approve", ""); a.status != 409 {
		t.Errorf("approved too late: %d", a.status)
	}
	if got := ids("state=expired"); !slices.Equal(got, []string{third}) {
		t.Errorf("expired: %v", got)
	}
	if got := h.object("GET", "/api/v1/requests/"+third, "", 200)["state"]; got != "expired" {
		t.Errorf("state %v after its time", got)
	}
	if got := len(h.object("GET", "/api/v1/certificates", "", 200)["items"].([]any)); got != 1 {
		t.Errorf("%d certificates", got)
	}
	if got := h.metric("understudy_certificates_issued_total"); got != "1" {
		t.Errorf("%s certificates counted", got)
	}
}

// A client that waits gets its certificate when it asks the same again.
func TestPendingOverHTTP(t *testing.T) {
	h := open(t, inMemory)
	h.manual()
	request := h.message("C02XL0GTJGH5", secretKey)
	for range 2 {
		if got := h.reply(request, h.post(string(request.Raw))); got.Status != client.Pending {
			t.Fatalf("status %v %v %q", got.Status, got.FailInfo, got.FailInfoText)
		}
	}
	items := h.object("GET", "/api/v1/requests?state=pending", "", 200)["items"].([]any)
	if len(items) != 1 {
		t.Fatalf("%d requests of one transaction", len(items))
	}
	id := items[0].(map[string]any)["id"].(string)
	approved := h.object("POST", "/api/v1/requests/"+id+"/approve", "", 200)
	if c := h.success(request, h.post(string(request.Raw))); serialOf(c) != approved["certificate_serial"] {
		t.Errorf("got %s, approved %v", serialOf(c), approved["certificate_serial"])
	}
	if got := h.metric(fmt.Sprintf(`understudy_transactions_total{configuration=%q,outcome="pending",reason=""}`, h.live.Record.ID)); got != "2" {
		t.Errorf("metric %q", got)
	}
}

// A challenge that was spent or withdrawn while its request waited is worth
// nothing, and the operator is told so.
func TestChallengeGoneWhileWaiting(t *testing.T) {
	h := open(t, inMemory)
	made := h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic","approval":"manual"}`, 201)
	post := func(device, challenge string) (id string) {
		t.Helper()
		r := h.message(device, challenge)
		if got := h.reply(r, do(h.Public(), httptest.NewRequest("POST", "/scep/one-time?operation=PKIOperation", bytes.NewReader(r.Raw)))); got.Status != client.Pending {
			t.Fatalf("status %v %v, want PENDING", got.Status, got.FailInfo)
		}
		page, err := h.depot.Requests(t.Context(), depot.RequestQuery{ConfigurationID: made["id"].(string), Limit: 1})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("requests %v, %v", page, err)
		}
		return page.Items[0].ID
	}
	spent := h.object("POST", "/api/v1/challenges", `{"configuration":"one-time"}`, 201)
	withdrawn := h.object("POST", "/api/v1/challenges", `{"configuration":"one-time"}`, 201)
	first, second := post("C02XL0GTJGH5", spent["challenge"].(string)), post("C02XL0GTJGH6", spent["challenge"].(string))
	third := post("C02XL0GTJGH7", withdrawn["challenge"].(string))
	h.object("POST", "/api/v1/requests/"+first+"/approve", "", 200)
	h.api("DELETE", "/api/v1/challenges/"+withdrawn["id"].(string), "")
	for _, id := range []string{second, third} {
		if a := h.api("POST", "/api/v1/requests/"+id+"/approve", ""); a.status != 409 || !strings.Contains(a.body, "problem:challenge-used") {
			t.Errorf("approved without a challenge: %d %s", a.status, a.body)
		}
		h.object("POST", "/api/v1/requests/"+id+"/deny", "", 200)
	}
}

func TestRequestProblems(t *testing.T) {
	h := open(t, inMemory)
	id := h.waiting("C02XL0GTJGH5")
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "?state=waiting", "", 400, "state"},
		{"GET", "?configuration=nobody", "", 404, "configuration"},
		{"GET", "?cursor=made-up", "", 400, "cursor"},
		{"GET", "/rq_nobody", "", 404, "no such request"},
		{"POST", "/rq_nobody/approve", "", 404, "no such request"},
		{"POST", "/rq_nobody/deny", "", 404, "no such request"},
		{"POST", "/" + id + "/approve", `{"why":"x"}`, 422, "why"},
		{"POST", "/" + id + "/approve", `{"note":7}`, 422, "note"},
		{"POST", "/" + id + "/deny", `{"note":"` + strings.Repeat("x", 1025) + `"}`, 422, "1024"},
		{"PUT", "/" + id, "", 405, "method"},
	} {
		if a := h.api(test.method, "/api/v1/requests"+test.path, test.body); a.status != test.status || !strings.Contains(a.body, test.want) {
			t.Errorf("%s %s: %d %s", test.method, test.path, a.status, a.body)
		}
	}
	// Policy is asked again, and its no is told.
	h.object("PUT", devicesPath, `{"items":[{"device_serial":"SOMEBODYELSE"}]}`, 200)
	a := h.api("POST", "/api/v1/requests/"+id+"/approve", "")
	if a.status != 409 || !strings.Contains(a.body, "device_not_listed") {
		t.Errorf("not listed: %d %s", a.status, a.body)
	}
	if got := h.object("GET", "/api/v1/requests/"+id, "", 200)["state"]; got != "pending" {
		t.Errorf("state %v", got)
	}
	h.object("PUT", devicesPath, `{"items":[{"device_serial":"c02xl0gtjgh5"}]}`, 200)
	h.object("POST", "/api/v1/requests/"+id+"/approve", "", 200)
}
