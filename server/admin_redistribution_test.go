package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// again enrols a device that has a certificate, in a transaction of its own.
func (h *house) again(deviceSerial string) string {
	h.t.Helper()
	request := h.messageIn(deviceSerial, secretKey, fmt.Sprintf("TX-%s-%d", deviceSerial, h.clock.Now().Unix()))
	return serialOf(h.success(request, h.post(string(request.Raw))))
}

// window lists items as "serial:state", with the counts.
func (h *house) window(query string) (items []string, counts map[string]any) {
	h.t.Helper()
	page := h.object("GET", "/api/v1/redistribution?"+query, "", 200)
	for _, item := range page["items"].([]any) {
		i := item.(map[string]any)
		items = append(items, strings.TrimPrefix(i["id"].(string), "rd_")+":"+i["state"].(string))
	}
	counts, _ = page["counts"].(map[string]any)
	return items, counts
}

// The loop of an MDM: nothing, due, acknowledged, stalled, acknowledged again,
// superseded; what is there now and what a look ahead says agree.
func TestWindowLoop(t *testing.T) {
	h := open(t)
	begin := h.clock.Now()
	certificate := h.enrol("C02XL0GTJGH5")
	first, ends := serialOf(certificate), certificate.NotAfter
	expect := func(state string) {
		t.Helper()
		items, counts := h.window("state=valid,due,acknowledged,stalled,superseded,expired,revoked&limit=1")
		if !slices.Equal(items, []string{first + ":" + state}) || counts[state] != 1.0 || len(counts) != 7 {
			t.Errorf("%v after %v: %v, %v; want %s", h.clock.Now(), h.clock.Now().Sub(begin), items, counts, state)
		}
	}
	for ahead, state := range map[time.Duration]string{0: "valid", 334 * day: "valid", 336 * day: "due", 366 * day: "expired"} {
		items, _ := h.window("state=valid,due,expired&as_of=" + begin.Add(ahead).Format(time.RFC3339))
		if !slices.Equal(items, []string{first + ":" + state}) {
			t.Errorf("as of %v: %v, want %s", ahead, items, state)
		}
	}
	expect("valid")
	if items, _ := h.window(""); len(items) != 0 {
		t.Errorf("due at once: %v", items)
	}
	path := "/api/v1/redistribution/rd_" + first
	if a := h.api("POST", path+"/ack", ""); a.status != 409 || !strings.Contains(a.body, "problem:not-due") {
		t.Errorf("acknowledged before its time: %d %s", a.status, a.body)
	}

	h.clock.Set(ends.Add(-30*day - time.Second))
	expect("valid")
	h.clock.Set(ends.Add(-30 * day))
	expect("due")
	if items, _ := h.window(""); len(items) != 1 {
		t.Errorf("in the window: %v", items)
	}
	item := h.object("POST", path+"/ack", `{"command_id":"cmd-1","requested_by":"jamf","requested_at":"2026-05-04T12:00:00.9Z"}`, 200)
	ack, _ := item["last_ack"].(map[string]any)
	if item["state"] != "acknowledged" || item["attempts"] != 1.0 || ack["by"] != "admin" || ack["command_id"] != "cmd-1" || ack["requested_by"] != "jamf" ||
		ack["requested_at"] != "2026-05-04T12:00:00Z" || ack["stalls_at"] != h.clock.Now().Add(day).UTC().Format(time.RFC3339) {
		t.Errorf("acknowledged: %v", item)
	}
	expect("acknowledged")
	h.clock.Advance(day)
	expect("stalled")
	if items, _ := h.window(""); len(items) != 1 {
		t.Errorf("stalled: %v", items)
	}
	h.object("POST", path+"/ack", `{"command_id":"cmd-2"}`, 200)
	expect("acknowledged")
	if item := h.object("DELETE", path+"/ack", "", 200); item["state"] != "due" || item["last_ack"] != nil || item["attempts"] != 2.0 {
		t.Errorf("taken back: %v", item)
	}
	h.object("DELETE", path+"/ack", "", 200) // nothing to take back
	h.clock.Advance(time.Hour)
	second := h.again("C02XL0GTJGH5")
	shown := h.object("GET", path, "", 200)
	if shown["state"] != "superseded" || shown["superseded_by"] != second {
		t.Errorf("superseded: %v", shown)
	}
	if items, _ := h.window("state=superseded,valid"); !slices.Equal(items, []string{first + ":superseded", second + ":valid"}) {
		t.Errorf("both: %v", items)
	}
	for _, method := range []string{"POST", "DELETE"} {
		if a := h.api(method, path+"/ack", ""); a.status != 409 || !strings.Contains(a.body, "problem:superseded") {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
	var steps []string
	for _, step := range shown["history"].([]any) {
		steps = append(steps, step.(map[string]any)["type"].(string))
	}
	if want := []string{
		"certificate.issued", "redistribution.acknowledged", "redistribution.due", "redistribution.stalled", "redistribution.acknowledged", "redistribution.unacknowledged",
		"certificate.superseded", "redistribution.fulfilled",
	}; len(steps) != len(want) || !slices.Equal(slices.Sorted(slices.Values(steps)), slices.Sorted(slices.Values(want))) {
		t.Errorf("history %v", steps)
	}
	h.clock.Set(ends)
	expected := h.object("GET", "/api/v1/certificates/"+first, "", 200)
	if expected["state"] != "superseded" {
		t.Errorf("the certificate is %v", expected["state"])
	}
}

// Who asks what is due by a policy of its own acknowledges by it: with the query
// of the list, one by one and many at once.
func TestAcknowledgeByTheListsPolicy(t *testing.T) {
	h := open(t, inMemory)
	begin := h.clock.Now()
	one, two := "rd_"+serialOf(h.enrol("C02XL0GTJGH5")), "rd_"+serialOf(h.enrol("C02XL0GTJGH6"))
	h.clock.Set(begin.Add(310 * day)) // 55 days before the end: by the configuration's 30 it is early
	if items, _ := h.window("days=60"); len(items) != 2 {
		t.Fatalf("due by 60 days: %v", items)
	}
	many := fmt.Sprintf(`{"ids":[%q,%q]}`, one, two)
	for query, want := range map[string]int{
		"": 409, "?days=30": 409, "?percent=10": 409, "?percent=20&days=60": 400, "?strict=true": 400, "?days=4000": 400, "?percent=100": 400, "?as_of=" + text(h.clock.Now()): 400,
	} {
		if a := h.api("POST", "/api/v1/redistribution/"+one+"/ack"+query, ""); a.status != want {
			t.Errorf("%s: %d %s, want %d", query, a.status, a.body, want)
		}
		a := h.api("POST", "/api/v1/redistribution:ack"+query, many)
		if want == 409 && strings.Count(a.body, `"status": "not_due"`) != 2 || want == 400 && a.status != 400 {
			t.Errorf("many%s: %d %s", query, a.status, a.body)
		}
	}
	item := h.object("POST", "/api/v1/configurations/default/redistribution/"+one+"/ack?days=60", "", 200)
	if window := item["window"].(map[string]any); item["state"] != "acknowledged" || window["opens_at"] != text(begin.Add(-5*time.Minute+305*day)) {
		t.Errorf("%v", item)
	}
	if a := h.api("POST", "/api/v1/redistribution:ack?percent=20", many); a.status != 200 || strings.Count(a.body, `"status": "acknowledged"`) != 2 {
		t.Errorf("many: %d %s", a.status, a.body)
	}
	for _, query := range []string{"", "days=60&"} {
		if items, counts := h.window(query + "state=acknowledged"); len(items) != 2 || counts["acknowledged"] != 2.0 {
			t.Errorf("%s: %v, %v", query, items, counts)
		}
	}
}

// The same key, or the same command, is the same acknowledgement.
func TestAcknowledgeIsIdempotent(t *testing.T) {
	h := open(t, inMemory)
	serial := serialOf(h.enrol("C02XL0GTJGH5"))
	h.clock.Advance(340 * day)
	attempts := func(key, body string) any {
		t.Helper()
		r := h.request(token, "POST", "/api/v1/redistribution/rd_"+serial+"/ack", body)
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		a := do(h.Admin(), r)
		if a.status != 200 {
			t.Fatalf("%s %s: %d %s", key, body, a.status, a.body)
		}
		return h.object("GET", "/api/v1/redistribution/rd_"+serial, "", 200)["attempts"]
	}
	for i, step := range []struct {
		key, body string
		want      float64
	}{
		{"one", `{"command_id":"a"}`, 1}, {"one", `{"command_id":"b"}`, 1}, {"", ``, 1}, {"", `{"command_id":"a"}`, 1},
		{"two", `{"command_id":"c"}`, 2}, {"one", ``, 2}, {"", `{"command_id":"d"}`, 3},
	} {
		if got := attempts(step.key, step.body); got != step.want {
			t.Errorf("step %d: %v attempts, want %v", i, got, step.want)
		}
	}
	r := h.request(token, "POST", "/api/v1/redistribution/rd_"+serial+"/ack", "")
	r.Header.Set("Idempotency-Key", strings.Repeat("x", 201))
	if a := do(h.Admin(), r); a.status != 400 {
		t.Errorf("a long key: %d", a.status)
	}
}

func TestAcknowledgeMany(t *testing.T) {
	h := open(t, inMemory)
	h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
	due := serialOf(h.enrol("C02XL0GTJGH5"))
	gone := serialOf(h.enrol("C02XL0GTJGH6"))
	renewed := serialOf(h.enrol("C02XL0GTJGH7"))
	h.clock.Advance(340 * day)
	fresh := h.again("C02XL0GTJGH7")
	h.object("POST", "/api/v1/certificates/"+gone+"/revoke", `{}`, 200)
	ids := fmt.Sprintf(`["rd_%s","rd_%s","rd_%s","rd_%s","rd_00ff","nonsense","rd_%s"]`, due, gone, renewed, fresh, strings.ToUpper(due))
	statuses := func(path string) (got []string) {
		t.Helper()
		for _, r := range h.object("POST", path, `{"ids":`+ids+`,"command_id":"cmd"}`, 200)["results"].([]any) {
			one := r.(map[string]any)
			got = append(got, one["status"].(string))
			if item, _ := one["item"].(map[string]any); (item == nil) != (one["status"] == "not_found") {
				t.Errorf("%v", one)
			}
		}
		return got
	}
	if got, want := statuses("/api/v1/configurations/other/redistribution:ack"), slices.Repeat([]string{"not_found"}, 7); !slices.Equal(got, want) {
		t.Errorf("another configuration: %v", got)
	}
	if items, _ := h.window("state=acknowledged"); len(items) != 0 {
		t.Errorf("acknowledged by another configuration: %v", items)
	}
	want := []string{"acknowledged", "revoked", "superseded", "not_due", "not_found", "not_found", "acknowledged"}
	for _, path := range []string{"/api/v1/redistribution:ack", "/api/v1/configurations/default/redistribution:ack"} {
		if got := statuses(path); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if got := h.object("GET", "/api/v1/redistribution/rd_"+due, "", 200)["attempts"]; got != 1.0 {
		t.Errorf("%v attempts", got)
	}
	for _, body := range []string{``, `{}`, `{"ids":[]}`, `{"ids":"rd_00"}`, `{"ids":[1]}`, `{"ids":["x"],"id":"x"}`, `{"ids":["x"` + strings.Repeat(`,"x"`, 500) + `]}`} {
		if a := h.api("POST", "/api/v1/redistribution:ack", body); a.status != 422 {
			t.Errorf("%.40s: %d", body, a.status)
		}
	}
}

func TestWindowProblems(t *testing.T) {
	h := open(t, inMemory)
	h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
	id := "rd_" + serialOf(h.enrol("C02XL0GTJGH5"))
	for _, test := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "?state=later", 400, "state"},
		{"GET", "?state=due,", 400, "state"},
		{"GET", "?days=-1", 400, "days"},
		{"GET", "?days=3651", 400, "days"},
		{"GET", "?days=x", 400, "days"},
		{"GET", "?percent=0", 400, "percent"},
		{"GET", "?percent=100", 400, "percent"},
		{"GET", "?days=3&percent=3", 400, "percent"},
		{"GET", "?strict=true", 400, "strict"},
		{"GET", "?days=3&strict=yes", 400, "strict"},
		{"GET", "?percent=3&strict=true", 400, "strict"},
		{"GET", "?as_of=tomorrow", 400, "as_of"},
		{"GET", "?limit=0", 400, "limit"},
		{"GET", "?limit=501", 400, "limit"},
		{"GET", "?cursor=made-up", 400, "cursor"},
		{"GET", "?states=due", 400, "states"},
		{"GET", "?configuration=nobody", 404, "configuration"},
		{"GET", "/" + id + "?wait=11m", 400, "wait"},
		{"GET", "/" + id + "?wait=-1s", 400, "wait"},
		{"GET", "/" + id + "?wait=30", 400, "wait"},
		{"GET", "/" + id + "?wait=1s&as_of=2030-01-01T00:00:00Z", 400, "wait"},
		{"GET", "/" + id + "?as_of=1999-01-01T00:00:00Z", 404, "item"},
		{"GET", "/rd_00ff", 404, "item"},
		{"GET", "/" + strings.TrimPrefix(id, "rd_"), 404, "item"},
		{"GET", "/rd_", 404, "item"},
		{"POST", "/rd_00ff/ack", 404, "item"},
		{"DELETE", "/rd_00ff/ack", 404, "item"},
		{"PUT", "/" + id, 405, "method"},
	} {
		for _, prefix := range []string{"/api/v1/redistribution", "/api/v1/configurations/default/redistribution"} {
			if strings.HasPrefix(prefix, "/api/v1/c") && test.path == "?configuration=nobody" {
				test.status, test.want = 400, "unknown parameter"
			}
			if a := h.api(test.method, prefix+test.path, ""); a.status != test.status || !strings.Contains(a.body, test.want) {
				t.Errorf("%s %s%s: %d %s", test.method, prefix, test.path, a.status, a.body)
			}
		}
	}
	for _, path := range []string{"/" + id, "/" + id + "/ack"} {
		method := map[bool]string{true: "POST", false: "GET"}[strings.HasSuffix(path, "ack")]
		if a := h.api(method, "/api/v1/configurations/other/redistribution"+path, ""); a.status != 404 {
			t.Errorf("%s %s of another configuration: %d", method, path, a.status)
		}
		if a := h.api(method, "/api/v1/configurations/nobody/redistribution"+path, ""); a.status != 404 {
			t.Errorf("%s %s of none: %d", method, path, a.status)
		}
	}
	for _, body := range []string{`{"command":"x"}`, `{"command_id":7}`, `{"command_id":"` + strings.Repeat("x", 201) + `"}`, `{"requested_at":"now"}`} {
		if a := h.api("POST", "/api/v1/redistribution/"+id+"/ack", body); a.status != 422 {
			t.Errorf("%.40s: %d", body, a.status)
		}
	}
	h.clock.Advance(366 * day)
	if a := h.api("POST", "/api/v1/redistribution/"+id+"/ack", ""); a.status != 409 || !strings.Contains(a.body, "problem:expired") {
		t.Errorf("after its end: %d %s", a.status, a.body)
	}
	h.object("POST", "/api/v1/certificates/"+strings.TrimPrefix(id, "rd_")+"/revoke", `{}`, 200)
	if a := h.api("POST", "/api/v1/redistribution/"+id+"/ack", ""); a.status != 409 || !strings.Contains(a.body, "problem:revoked") {
		t.Errorf("revoked: %d %s", a.status, a.body)
	}
	bare := open(t, inMemory, func(h *house) { h.bare = true })
	for _, path := range []string{"/redistribution", "/redistribution/rd_00", "/inventory", "/webhooks"} {
		if a := bare.api("GET", "/api/v1"+path, ""); a.status != 404 || !strings.Contains(a.body, "this server") {
			t.Errorf("%s of a server without: %d %s", path, a.status, a.body)
		}
	}
}

// Policies in the query stand over those of configurations, and are told.
func TestWindowPolicies(t *testing.T) {
	h := open(t, inMemory)
	h.enrol("C02XL0GTJGH5")
	h.clock.Advance(300 * day)
	for query, want := range map[string]string{
		"":                    "0 map[kind:days_before strict:false value:30]",
		"days=30":             "0 map[kind:days_before strict:false value:30]",
		"days=65":             "1 map[kind:days_before strict:false value:65]",
		"days=64":             "0 map[kind:days_before strict:false value:64]",
		"days=0":              "0 map[kind:days_before strict:false value:0]",
		"days=400":            "1 map[kind:days_before strict:false value:400]",
		"days=65&strict=true": "1 map[kind:days_before strict:true value:65]",
		"percent=20":          "1 map[kind:percent_remaining strict:false value:20]",
		"percent=17":          "0 map[kind:percent_remaining strict:false value:17]",
	} {
		page := h.object("GET", "/api/v1/redistribution?"+query, "", 200)
		if got := fmt.Sprint(len(page["items"].([]any)), page["policy"]); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	h.object("POST", "/api/v1/configurations", `{"name":"other","window":{"kind":"percent_remaining","value":20}}`, 201)
	if page := h.object("GET", "/api/v1/redistribution", "", 200); page["policy"] != nil {
		t.Errorf("two policies are told as %v", page["policy"])
	}
	if page := h.object("GET", "/api/v1/redistribution?configuration=other", "", 200); fmt.Sprint(page["policy"]) != "map[kind:percent_remaining strict:false value:20]" {
		t.Errorf("the other's: %v", page["policy"])
	}
}

// The entity tag is of what is listed, not of the time.
func TestWindowTag(t *testing.T) {
	h := open(t, inMemory)
	first := serialOf(h.enrol("C02XL0GTJGH5"))
	h.enrol("C02XL0GTJGH6")
	h.clock.Advance(340 * day)
	get := func(query, tag string) reply {
		r := h.request(token, "GET", "/api/v1/redistribution?"+query, "")
		r.Header.Set("If-None-Match", tag)
		return do(h.Admin(), r)
	}
	tag := get("", "").header.Get("ETag")
	if !strings.HasPrefix(tag, `W/"`) {
		t.Fatalf("ETag %q", tag)
	}
	h.clock.Advance(time.Hour)
	for _, given := range []string{tag, strings.TrimPrefix(tag, "W/"), `"x", ` + tag, "*"} {
		if a := get("", given); a.status != 304 || a.body != "" || a.header.Get("ETag") != tag || a.header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%s an hour later: %d %q %v", given, a.status, a.body, a.header)
		}
	}
	page := get("limit=1", "")
	h.clock.Advance(time.Hour) // and with it the next cursor
	if a := get("limit=1", page.header.Get("ETag")); a.status != 304 {
		t.Errorf("a page that is not the last: %d", a.status)
	}
	for what, query := range map[string]string{"another filter": "state=valid", "a page": "limit=1", "another policy": "days=26"} {
		if a := get(query, tag); a.status != 200 {
			t.Errorf("%s: %d", what, a.status)
		}
	}
	h.object("POST", "/api/v1/redistribution/rd_"+first+"/ack", "", 200)
	if a := get("", tag); a.status != 200 || a.header.Get("ETag") == tag {
		t.Errorf("after something happened: %d", a.status)
	}
	h.clock.Advance(day)
	if a := get("", tag); a.status != 200 {
		t.Errorf("after it stalled: %d", a.status)
	}
}

// A cursor leads on through its own list, though something is added meanwhile,
// and through no other.
func TestWindowPages(t *testing.T) {
	for name, change := range map[string]func(*house){"memory": inMemory, "bolt": func(*house) {}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, change)
			h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
			var all []string
			for i := range 5 {
				all = append(all, serialOf(h.enrol(fmt.Sprintf("C02XL0GTJG%02d", i))))
				h.clock.Advance(time.Minute)
			}
			h.clock.Advance(340 * day)
			var got []string
			cursor := ""
			for page := 0; ; page++ {
				answer := h.object("GET", "/api/v1/redistribution?limit=2&cursor="+cursor, "", 200)
				for _, item := range answer["items"].([]any) {
					got = append(got, item.(map[string]any)["certificate"].(map[string]any)["serial"].(string))
				}
				if (answer["counts"] == nil) != (page > 0) {
					t.Errorf("page %d has counts %v", page, answer["counts"])
				}
				if page == 0 {
					h.again("C02XL0GTJG04") // the last one is not due any more, and one is that was not
				}
				next, _ := answer["next_cursor"].(string)
				if next == "" {
					break
				}
				cursor = next
				for _, other := range []string{"state=valid", "configuration=other", "device=x", "profile=x", "days=3", "as_of=2030-01-01T00:00:00Z"} {
					if a := h.api("GET", "/api/v1/redistribution?"+other+"&cursor="+cursor, ""); a.status != 400 || !strings.Contains(a.body, "cursor") {
						t.Errorf("%s with it: %d %s", other, a.status, a.body)
					}
				}
				for _, wrong := range []string{cursor + "A", cursor[1:], cursor[:len(cursor)-4], strings.ToUpper(cursor)} {
					if a := h.api("GET", "/api/v1/redistribution?limit=2&cursor="+wrong, ""); a.status != http.StatusBadRequest {
						t.Errorf("%s: %d", wrong, a.status)
					}
				}
			}
			if !slices.Equal(got, all[:4]) {
				t.Errorf("got %v, want %v", got, all[:4])
			}
		})
	}
}

func TestInventory(t *testing.T) {
	h := open(t, inMemory)
	h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
	first := serialOf(h.enrol("C02XL0GTJGH5"))
	h.enrol("C02XL0GTJGH6")
	h.object("POST", "/api/v1/certificates/"+first+"/revoke", `{}`, 200)
	stock := func(query string) string {
		t.Helper()
		answer := h.object("GET", "/api/v1/inventory"+query, "", 200)
		var got []string
		for _, item := range answer["items"].([]any) {
			i := item.(map[string]any)
			got = append(got, fmt.Sprint(i["configuration"].(map[string]any)["name"], i["certificates"]))
		}
		slices.Sort(got)
		return fmt.Sprint(answer["totals"], got)
	}
	none := "map[acknowledged:0 due:0 expired:0 revoked:0 stalled:0 superseded:0 valid:0]"
	now := "map[acknowledged:0 due:0 expired:0 revoked:1 stalled:0 superseded:0 valid:1]"
	later := "map[acknowledged:0 due:0 expired:1 revoked:1 stalled:0 superseded:0 valid:0]"
	if got, want := stock(""), now+" [default"+now+" other"+none+"]"; got != want {
		t.Errorf("now %s, want %s", got, want)
	}
	at := h.clock.Now().Add(366 * day).Format(time.RFC3339)
	if got, want := stock("?as_of="+at+"&configuration=default"), later+" [default"+later+"]"; got != want {
		t.Errorf("later %s, want %s", got, want)
	}
}
