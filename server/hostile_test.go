package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/ca"
)

// hostileTexts are what nobody means, and what is at the end of a range.
var hostileTexts = []string{
	"0", "-1", "9223372036854775807", "-9223372036854775808", "18446744073709551615", "99999999999999999999", "1e9", "NaN", "+5", "1.5",
	"null", "\x00", "\r\nX-Injected: 1", "%zz", "../../etc/passwd", "'; DROP TABLE tokens; --", "*", ",", strings.Repeat("a", 5000), "\xff\xfe", "\u202e",
	"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:01Z", "0000-01-01T00:00:00+23:59", "1600-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
	"2262-04-12T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "2026-13-31T12:00:00Z", "-1s", "1000000h",
	"ev_0", "ev_ffffffffffffffff", "rd_00", "rd_" + strings.Repeat("f", 40), "rac00000000000000000", "due,,due",
	"AAAAAAAA", strings.Repeat("A", 36), "eyJhIjoxfQ", "_-8",
}

// hostileJSON are values of the wrong kinds.
var hostileJSON = []string{
	`null`, `0`, `-1`, `9223372036854775808`, `1e400`, `1.5`, `true`, `""`, `[]`, `{}`, `[null]`, `[{}]`, `[[]]`, `"\u0000"`, `"\ud800"`, `"\n"`,
}

// answersWell demands that a call is answered, or refused by a problem document
// that is not about us.
func (h *house) answersWell(method, target, body string) {
	h.t.Helper()
	a := h.api(method, target, body)
	what := fmt.Sprintf("%s %.150s %.150s", method, target, body)
	var problem struct{ Status int }
	switch {
	case a.status >= http.StatusInternalServerError:
		h.t.Errorf("%s: %d %s", what, a.status, a.body)
	case a.status < http.StatusBadRequest:
	case a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(a.body), &problem) != nil || problem.Status != a.status:
		h.t.Errorf("%s: %d %v %s", what, a.status, a.header, a.body)
	}
	for _, never := range []string{`": "-0`, `": "10000-`} { // years that RFC 3339 has not
		if strings.Contains(a.body, never) {
			h.t.Errorf("%s: %s", what, a.body)
		}
	}
}

// hostileHouse has something at every path, and the paths' names for it.
func hostileHouse(t *testing.T) (*house, *description, *strings.Replacer) {
	t.Helper()
	h := open(t, ownAuthority(ca.ShapeChain), new(laboratory).inHouse)
	certificate := serialOf(h.enrol("C02XL0GTJGH5"))
	h.object("PATCH", "/api/v1/configurations/default", `{"window":{"kind":"days_before","value":3650,"strict":true}}`, 200)
	webhook := h.object("POST", "/api/v1/webhooks", `{"url":"http://127.0.0.1:9/"}`, 201)["id"].(string)
	h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic"}`, 201)
	return h, readDescription(t, h), strings.NewReplacer("{configuration}", "default", "{item}", "rd_"+certificate, "{certificate}", certificate,
		"{device}", "serial:C02XL0GTJGH5", "{webhook}", webhook, "{issuer}", "current", "{", "", "}", "")
}

// Whatever stands in a parameter of a list or a part of a path, it is no error
// of ours.
func TestHostileParameters(t *testing.T) {
	h, d, names := hostileHouse(t)
	for path, item := range asMap(d.tree["paths"]) {
		for _, parameter := range asList(asMap(asMap(item)["get"])["parameters"]) {
			name := asMap(d.resolve(parameter))["name"].(string)
			for _, text := range hostileTexts {
				h.answersWell("GET", names.Replace(path)+"?"+name+"="+url.QueryEscape(text), "")
				if name == "as_of" || name == "cursor" {
					h.answersWell("GET", names.Replace(path)+"?"+name+"="+url.QueryEscape(text)+"&state=valid,expired,due&days=3650&strict=true", "")
				}
			}
		}
		if before, rest, found := strings.Cut(path, "{"); found {
			_, after, _ := strings.Cut(rest, "}")
			for _, text := range hostileTexts {
				h.answersWell("GET", before+url.PathEscape(text)+names.Replace(after), "")
			}
		}
	}
}

// And so in a field of a body.
func TestHostileFields(t *testing.T) {
	h, d, names := hostileHouse(t)
	bodies := 0
	for path, item := range asMap(d.tree["paths"]) {
		for method, operation := range asMap(item) {
			body := asMap(asMap(asMap(asMap(operation)["requestBody"])["content"])["application/json"])
			if body == nil {
				continue
			}
			bodies++
			all, _ := d.properties(asMap(d.resolve(body["schema"])))
			values := slices.Clone(hostileJSON)
			for _, text := range hostileTexts {
				quoted, err := json.Marshal(text)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, string(quoted))
			}
			for n, name := range slices.Sorted(maps.Keys(all)) {
				for i, value := range values {
					h.answersWell(strings.ToUpper(method), names.Replace(path), fmt.Sprintf(`{%q:%s}`, name, value))
					if name != "command_id" { // for an acknowledgement that is not said again
						h.answersWell(strings.ToUpper(method), names.Replace(path), fmt.Sprintf(`{%q:%s,"command_id":"%d-%d"}`, name, value, n, i))
					}
				}
			}
		}
	}
	if bodies < 15 {
		t.Errorf("only %d bodies", bodies)
	}
}

// A time that is none, or that could not be written as it was read, is said to
// be wrong; it is not taken for the present.
func TestTimesOutOfRange(t *testing.T) {
	h := open(t, inMemory)
	certificate := serialOf(h.enrol("C02XL0GTJGH5"))
	for _, text := range []string{"0001-01-01T00:00:00Z", "0000-12-31T23:59:59Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2026-01-31", "now"} {
		for _, target := range []string{"/api/v1/certificates?as_of=", "/api/v1/redistribution?as_of=", "/api/v1/certificates?not_after_to="} {
			if a := h.api("GET", target+url.QueryEscape(text), ""); a.status != 400 || !strings.Contains(a.body, "must be a time like") {
				t.Errorf("%s%s: %d %s", target, text, a.status, a.body)
			}
		}
		if a := h.api("POST", "/api/v1/certificates/"+certificate+"/used", fmt.Sprintf(`{"at":%q}`, text)); a.status != 422 || !strings.Contains(a.body, "must be a time like") {
			t.Errorf("used at %s: %d %s", text, a.status, a.body)
		}
	}
	for _, text := range []string{"0001-01-01T00:00:01Z", "9999-12-31T23:59:59Z"} {
		if a := h.api("GET", "/api/v1/redistribution?as_of="+text, ""); a.status != 200 || !strings.Contains(a.body, `"as_of": "`+text) {
			t.Errorf("as of %s: %d %s", text, a.status, a.body)
		}
	}
}

// A field with two values has none, however deep it is.
func TestFieldsGivenTwice(t *testing.T) {
	h := open(t, inMemory)
	for _, test := range []struct{ method, path, body string }{
		{"POST", "/api/v1/tokens", `{"name":"a","scopes":["read"],"name":"b"}`},
		{"PATCH", "/api/v1/configurations/default", `{"window":{"kind":"days_before","value":1,"value":2}}`},
		{"PUT", devicesPath, `{"items":[{"udid":"a"},{"udid":"b","udid":"c"}]}`},
		{"PUT", devicesPath, `{"items":[[{"x":{"udid":1},"y":[{"udid":"b","\u0075did":"c"}]}]]}`},
	} {
		if a := h.api(test.method, test.path, test.body); a.status != 400 || !strings.Contains(a.body, `"detail": "given twice"`) {
			t.Errorf("%s: %d %s", test.body, a.status, a.body)
		}
	}
	if a := h.api("PUT", devicesPath, `{"items":[{"udid":"a"},{"udid":"b"}]}`); a.status != 200 {
		t.Errorf("two of them: %d %s", a.status, a.body)
	}
}

// What is wrong with a wish for a challenge is said whole, and always alike.
func TestChallengeWishes(t *testing.T) {
	h := open(t, inMemory)
	for body, want := range map[string]string{
		`{}`: "configuration", `{"configuration":null}`: "configuration", `{"configuration":""}`: "configuration",
		`{"upn":1,"udid":2,"ttl_seconds":"x"}`:                         "ttl_seconds udid upn",
		`{"upn":"` + strings.Repeat("x", 257) + `","device_serial":7}`: "device_serial upn",
	} {
		a := h.api("POST", "/api/v1/challenges", body)
		var problem struct{ Errors []struct{ Field string } }
		if err := json.Unmarshal([]byte(a.body), &problem); err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, e := range problem.Errors {
			fields = append(fields, e.Field)
		}
		if a.status != 422 || strings.Join(fields, " ") != want {
			t.Errorf("%s: %d %v, want %s", body, a.status, fields, want)
		}
	}
}

// What is at the end of what is allowed is allowed; one more is not.
func TestEndsOfRanges(t *testing.T) {
	h := open(t, inMemory)
	certificate := serialOf(h.enrol("C02XL0GTJGH5"))
	padded := func(n int) string { return `{"name":"a"}` + strings.Repeat(" ", n-len(`{"name":"a"}`)) }
	for n, want := range map[int]int{1 << 20: http.StatusUnprocessableEntity, 1<<20 + 1: http.StatusRequestEntityTooLarge} {
		if a := h.api("POST", "/api/v1/tokens", padded(n)); a.status != want {
			t.Errorf("a body of %d bytes: %d, want %d", n, a.status, want)
		}
	}
	for query, want := range map[string]int{
		"certificates?limit=500": 200, "certificates?limit=501": 400, "certificates?limit=1": 200, "certificates?limit=0": 400,
		"events?wait=10m": 200, "events?wait=10m0.5s": 400, "events?wait=-1ns": 400, // there are events: nobody waits
		"redistribution?days=3650": 200, "redistribution?days=3651": 400, "redistribution?days=0": 200, "redistribution?days=-1": 400,
		"redistribution?percent=99": 200, "redistribution?percent=100": 400, "redistribution?percent=1": 200, "redistribution?percent=0": 400,
	} {
		if a := h.api("GET", "/api/v1/"+query, ""); a.status != want {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic"}`, 201)
	for seconds, want := range map[int]int{-1: 422, 0: 201, 1: 201, 2592000: 201, 2592001: 422} {
		if a := h.api("POST", "/api/v1/challenges", fmt.Sprintf(`{"configuration":"one-time","ttl_seconds":%d}`, seconds)); a.status != want {
			t.Errorf("a challenge for %d seconds: %d %s", seconds, a.status, a.body)
		}
	}
	used := "/api/v1/certificates/" + certificate + "/used"
	for _, test := range []struct {
		late time.Duration
		want int
	}{{time.Second, http.StatusUnprocessableEntity}, {0, http.StatusOK}} {
		if a := h.api("POST", used, fmt.Sprintf(`{"at":%q}`, text(h.clock.Now().Add(test.late)))); a.status != test.want {
			t.Errorf("used %v from now: %d %s", test.late, a.status, a.body)
		}
	}
	h.clock.Advance(340 * day)
	for n, want := range map[int]int{200: http.StatusOK, 201: http.StatusBadRequest} {
		r := h.request(token, "POST", "/api/v1/redistribution/rd_"+certificate+"/ack", "")
		r.Header.Set("Idempotency-Key", strings.Repeat("k", n))
		if a := do(h.Admin(), r); a.status != want {
			t.Errorf("a key of %d bytes: %d, want %d", n, a.status, want)
		}
	}
}

// A CRL is kept by nobody for longer than it is good.
func TestCRLIsNotKeptBeyondItsEnd(t *testing.T) {
	h := open(t, inMemory)
	issuer := h.authority.Issuer()
	h.clock.Set(issuer.NotAfter.Add(-30 * time.Second))
	if a := h.get(crlPath(issuer)); a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Cache-Control"), "max-age=30,") {
		t.Errorf("30 seconds before the issuer's end: %d, %q", a.status, a.header.Get("Cache-Control"))
	}
}

// Guesses at the password of a challenge page are limited as messages are.
func TestChallengePageIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3
		h := open(t, inMemory, limited(limit))
		h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic"}`, 201)
		ask := func() reply {
			r := httptest.NewRequest(http.MethodGet, "/scep/one-time/challenge", nil)
			r.SetBasicAuth("one-time", "guess")
			return do(h.Public(), r)
		}
		for range limit {
			if a := ask(); a.status != http.StatusUnauthorized {
				t.Errorf("a guess: %d", a.status)
			}
		}
		if a := ask(); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "20" {
			t.Errorf("one too many: %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
		}
	})
}

// An answer to GetNextCACert that was signed later than it is now, because a lab
// moved its clock back, is not given again.
func TestNextCAAfterTheClockWentBack(t *testing.T) {
	h := open(t, inMemory, ownAuthority(ca.ShapeChain))
	h.object("POST", "/api/v1/authority/rollover/prepare", "", 200)
	later := h.get("/scep?operation=GetNextCACert")
	h.clock.Advance(-time.Second)
	if now := h.get("/scep?operation=GetNextCACert"); later.status != http.StatusOK || now.status != http.StatusOK || now.body == later.body {
		t.Errorf("%d and %d, the same: %v", later.status, now.status, now.body == later.body)
	}
}
