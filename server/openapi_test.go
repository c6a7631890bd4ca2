package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/notify"
)

// description is openapi.yaml as the server hands it out.
type description struct {
	t    *testing.T
	tree map[string]any
}

func readDescription(t *testing.T, h *house) *description {
	t.Helper()
	d := &description{t: t}
	a := h.api("GET", "/openapi.yaml", "")
	if got := a.header.Get("Content-Type"); got != "application/yaml" {
		t.Errorf("openapi.yaml is %q", got)
	}
	if err := yaml.Unmarshal([]byte(a.body), &d.tree); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows keys, and references.
func (d *description) at(from any, keys ...string) any {
	d.t.Helper()
	node := d.resolve(from)
	for _, key := range keys {
		m, _ := node.(map[string]any)
		next, found := m[key]
		if !found {
			d.t.Fatalf("no %s in %v", key, slices.Sorted(maps.Keys(m)))
		}
		node = d.resolve(next)
	}
	return node
}

func (d *description) resolve(node any) any {
	d.t.Helper()
	if m, ok := node.(map[string]any); ok {
		if ref, ok := m["$ref"].(string); ok {
			return d.at(d.tree, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
		}
	}
	return node
}

// properties returns a schema's properties and the required ones; those of
// allOf together.
func (d *description) properties(schema map[string]any) (all map[string]any, required []string) {
	all = make(map[string]any)
	for name, p := range asMap(schema["properties"]) {
		all[name] = p
	}
	for _, name := range asList(schema["required"]) {
		required = append(required, name.(string))
	}
	for _, part := range asList(schema["allOf"]) {
		more, needed := d.properties(asMap(d.resolve(part)))
		for name, p := range more {
			all[name] = p
		}
		required = append(required, needed...)
	}
	return all, required
}

func asMap(v any) map[string]any { m, _ := v.(map[string]any); return m }
func asList(v any) []any         { l, _ := v.([]any); return l }

// holds compares a value with its schema: every field described, every
// required one there, every type right.
func (d *description) holds(where string, schema, value any) {
	d.t.Helper()
	s := asMap(d.resolve(schema))
	if choices := asList(s["oneOf"]); choices != nil {
		for _, choice := range choices {
			if isNull := asMap(d.resolve(choice))["type"] == "null"; isNull == (value == nil) {
				d.holds(where, choice, value)
				return
			}
		}
	}
	if object, ok := value.(map[string]any); ok {
		all, required := d.properties(s)
		for name, field := range object {
			property, described := all[name]
			if !described {
				d.t.Errorf("%s.%s is not described", where, name)
				continue
			}
			d.holds(where+"."+name, property, field)
		}
		for _, name := range required {
			if _, there := object[name]; !there {
				d.t.Errorf("%s.%s is missing", where, name)
			}
		}
		for name := range all {
			if _, there := object[name]; !there && name != "errors" {
				d.t.Errorf("%s.%s is described and absent", where, name)
			}
		}
		return
	}
	kind := map[bool]string{true: "null"}[value == nil]
	switch v := value.(type) {
	case []any:
		kind = "array"
		for i, item := range v {
			d.holds(fmt.Sprintf("%s[%d]", where, i), s["items"], item)
		}
	case string:
		kind = "string"
		if words := asList(s["enum"]); words != nil && !slices.Contains(words, any(v)) {
			d.t.Errorf("%s is %q, which is not described", where, v)
		}
		if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(v) {
			d.t.Errorf("%s is %q, described as %s", where, v, pattern)
		}
		if _, err := time.Parse("2006-01-02T15:04:05Z", v); s["format"] == "date-time" && err != nil {
			d.t.Errorf("%s is %q, described as a time", where, v)
		}
	case bool:
		kind = "boolean"
	case float64:
		kind = "integer"
	}
	if kinds := asList(s["type"]); s["type"] != kind && !slices.Contains(kinds, any(kind)) {
		d.t.Errorf("%s is %s, described as %v", where, kind, s["type"])
	}
}

// Every route is described, and everything described is a route.
func TestDescriptionOfRoutes(t *testing.T) {
	h := open(t)
	d := readDescription(t, h)
	var described []string
	for path, item := range asMap(d.tree["paths"]) {
		for method := range asMap(item) {
			if method == "parameters" {
				continue
			}
			// The forms of a certificate or a CRL are one route.
			path = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(path, ".pem"), ".cer"), ".crl")
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(described)
	described = slices.Compact(described)
	routes := h.AdminRoutes()
	slices.Sort(routes)
	if !slices.Equal(described, routes) {
		t.Errorf("described:\n%s\nserved:\n%s", strings.Join(described, "\n"), strings.Join(routes, "\n"))
	}
}

// Every operation says which scope its token needs.
func TestDescriptionOfScopes(t *testing.T) {
	h := open(t)
	d := readDescription(t, h)
	for route, needs := range h.AdminScopes() {
		method, path, _ := strings.Cut(route, " ")
		operation := asMap(d.at(d.tree, "paths", path, strings.ToLower(method)))
		described, _ := operation["x-scope"].(string)
		if none, open := operation["security"].([]any); open && len(none) == 0 {
			described += "none"
		}
		if described != needs {
			t.Errorf("%s needs %s, described is %q", route, needs, described)
		}
	}
}

// A call is one of the API, and the path under which it is described, if that
// is another.
type call struct {
	method, path, described, body string
	status                        int
}

// Every answer is made of the fields that are described, and no others.
func TestDescriptionOfAnswers(t *testing.T) {
	h := open(t, ownAuthority(ca.ShapeChain), new(laboratory).inHouse)
	d := readDescription(t, h)
	certificate := serialOf(h.enrol("C02XL0GTJGH5"))
	due := "/redistribution/rd_" + serialOf(h.enrol("C02XL0GTJGH8"))
	h.object("PATCH", "/api/v1/configurations/default", `{"window":{"kind":"days_before","value":3650,"strict":true}}`, 200)
	webhook := "/api/v1/webhooks/" + h.object("POST", "/api/v1/webhooks", `{"url":"http://127.0.0.1:9/"}`, 201)["id"].(string)
	const ofWebhook = "/api/v1/webhooks/{webhook}"
	approved, denied := h.waiting("C02XL0GTJGH6"), h.waiting("C02XL0GTJGH7")
	h.object("POST", "/api/v1/configurations", `{"name":"one-time","mode":"dynamic"}`, 201)
	oneTime := h.object("POST", "/api/v1/challenges", `{"configuration":"one-time"}`, 201)["id"].(string)
	seen := make(map[string]bool)
	calls := []call{
		{"POST", "/api/v1/configurations", "", `{"name":"second"}`, 201},
		{"PATCH", "/api/v1/configurations/second", "/api/v1/configurations/{configuration}", `{"sha1":"refuse"}`, 200},
		{"POST", "/api/v1/configurations/second/reset-secret", "/api/v1/configurations/{configuration}/reset-secret", `{}`, 200},
		{"POST", "/api/v1/configurations/default/check", "/api/v1/configurations/{configuration}/check", ``, 200},
		{"PUT", "/api/v1/configurations/second/devices", "/api/v1/configurations/{configuration}/devices", `{"items":[{"device_serial":"A1"}]}`, 200},
		{"GET", "/api/v1/configurations/second/devices", "/api/v1/configurations/{configuration}/devices", ``, 200},
		{"GET", "/api/v1/configurations", "", "", 200},
		{"GET", "/api/v1/configurations/second", "/api/v1/configurations/{configuration}", "", 200},
		{"GET", "/api/v1/certificates", "", "", 200},
		{"GET", "/api/v1/certificates/" + certificate, "/api/v1/certificates/{certificate}", "", 200},
		{"POST", "/api/v1/certificates/" + certificate + "/used", "/api/v1/certificates/{certificate}/used", `{}`, 200},
		{"POST", "/api/v1/certificates/" + certificate + "/revoke", "/api/v1/certificates/{certificate}/revoke", `{"reason":"superseded"}`, 200},
		{"GET", "/api/v1/crls/current", "/api/v1/crls/{issuer}", ``, 200},
		{"POST", "/api/v1/configurations", "", `{"name":"third","mode":"dynamic"}`, 201},
		{"POST", "/api/v1/configurations/one-time/reset-secret", "/api/v1/configurations/{configuration}/reset-secret", `{}`, 200},
		{"POST", "/api/v1/challenges", "", `{"configuration":"one-time"}`, 201},
		{"GET", "/api/v1/challenges", "", "", 200},
		{"GET", "/api/v1/challenges/" + oneTime, "/api/v1/challenges/{challenge}", "", 200},
		{"GET", "/api/v1/requests", "", "", 200},
		{"GET", "/api/v1/requests/" + approved, "/api/v1/requests/{request}", "", 200},
		{"POST", "/api/v1/requests/" + approved + "/approve", "/api/v1/requests/{request}/approve", `{"note":"yes"}`, 200},
		{"POST", "/api/v1/requests/" + denied + "/deny", "/api/v1/requests/{request}/deny", ``, 200},
		{"GET", "/api/v1/devices", "", "", 200},
		{"GET", "/api/v1/devices/serial:C02XL0GTJGH5", "/api/v1/devices/{device}", "", 200},
		{"GET", "/api/v1/authority", "", "", 200},
		{"POST", "/api/v1/authority/rollover/prepare", "", "", 200},
		{"POST", "/api/v1/authority/rollover/cancel", "", "", 200},
		{"POST", "/api/v1/authority/rollover/prepare", "", "", 200},
		{"POST", "/api/v1/authority/rollover/activate", "", "", 200},
		{"GET", "/api/v1/authority/rollover", "", "", 200},
		{"GET", "/api/v1/events", "", "", 200},
		{"GET", "/api/v1/inventory", "", "", 200},
		{"GET", "/api/v1/webhooks", "", "", 200},
		{"POST", "/api/v1/webhooks", "", `{"url":"http://127.0.0.1:9/","types":["certificate.issued"],"configuration":"default"}`, 201},
		{"GET", webhook, ofWebhook, "", 200},
		{"PATCH", webhook, ofWebhook, `{"configuration":"default"}`, 200},
		{"POST", webhook + "/rotate-secret", ofWebhook + "/rotate-secret", "", 200},
		{"POST", webhook + "/enable", ofWebhook + "/enable", "", 200},
		{"POST", webhook + "/test", ofWebhook + "/test", "", 200},
		{"GET", webhook + "/deliveries", ofWebhook + "/deliveries", "", 200},
		{"POST", webhook + "/redeliver", ofWebhook + "/redeliver", "", 200},
		{"GET", "/api/v1/tokens", "", "", 200},
		{"POST", "/api/v1/tokens", "", `{"name":"reader","scopes":["read"]}`, 201},
		{"GET", "/api/v1/audit/verify", "", "", 200},
		{"GET", "/lab/clock", "", "", 200},
		{"PUT", "/lab/clock", "", `{"offset_seconds":60}`, 200},
		{"POST", "/lab/clock/advance", "", `{"by_seconds":60}`, 200},
		{"POST", "/lab/clock/freeze", "", "", 200},
		{"POST", "/lab/clock/unfreeze", "", "", 200},
		{"POST", "/lab/clock/reset", "", "", 200},
		{"GET", "/version", "", "", 200},
		{"GET", "/livez", "", "", 200},
		{"GET", "/readyz", "", "", 200},
	}
	for path, described := range map[string]string{"/api/v1": "/api/v1", "/api/v1/configurations/default": "/api/v1/configurations/{configuration}"} {
		calls = append(calls,
			call{"GET", path + "/redistribution", described + "/redistribution", "", 200},
			call{"GET", path + due, described + "/redistribution/{item}", "", 200},
			call{"POST", path + due + "/ack", described + "/redistribution/{item}/ack", `{"command_id":"cmd"}`, 200},
			call{"POST", path + "/redistribution:ack", described + "/redistribution:ack", fmt.Sprintf(`{"ids":[%q,"rd_00"]}`, strings.TrimPrefix(due, "/redistribution/")), 200},
			call{"GET", path + "/redistribution?state=acknowledged,revoked", described + "/redistribution", "", 200},
			call{"DELETE", path + due + "/ack", described + "/redistribution/{item}/ack", "", 200})
	}
	for _, call := range calls {
		if call.described == "" {
			call.described = call.path
		}
		seen[call.method+" "+call.described] = true
		value := h.object(call.method, call.path, call.body, call.status)
		operation := d.at(d.tree, "paths", call.described, strings.ToLower(call.method))
		schema := d.at(operation, "responses", fmt.Sprint(call.status), "content", "application/json", "schema")
		d.holds(call.method+" "+call.described, schema, value)
	}
	for _, route := range h.AdminRoutes() {
		if !seen[route] && !slices.Contains([]string{
			"DELETE /api/v1/configurations/{configuration}", "DELETE /api/v1/configurations/{configuration}/devices", "DELETE /api/v1/challenges/{challenge}", "GET /metrics",
			"DELETE /api/v1/webhooks/{webhook}", "DELETE /api/v1/tokens/{token}", "GET /api/v1/certificates/export", "GET /openapi.yaml", "GET /api/v1/backup",
		}, route) {
			t.Errorf("%s: its answer is not compared", route)
		}
	}
	var problem any
	if err := json.Unmarshal([]byte(h.api("POST", "/api/v1/configurations", `{"name":"!"}`).body), &problem); err != nil {
		t.Fatal(err)
	}
	d.holds("problem", d.at(d.tree, "components", "schemas", "Problem"), problem)
}

// Every parameter that is described is known, and every setting.
func TestDescriptionOfRequests(t *testing.T) {
	h := open(t)
	d := readDescription(t, h)
	for path, item := range asMap(d.tree["paths"]) {
		for _, parameter := range asList(asMap(asMap(item)["get"])["parameters"]) {
			p := asMap(d.resolve(parameter))
			target := strings.ReplaceAll(path, "{device}", "nobody") + "?" + p["name"].(string) + "="
			if a := h.api("GET", target, ""); strings.Contains(a.body, "unknown parameter") {
				t.Errorf("%s is described and unknown", target)
			}
		}
	}
	everywhere := make(map[string]bool)
	for _, item := range asMap(d.tree["paths"]) {
		for _, parameter := range asList(asMap(asMap(item)["get"])["parameters"]) {
			everywhere[asMap(d.resolve(parameter))["name"].(string)] = true
		}
	}
	for path, item := range asMap(d.tree["paths"]) {
		described := make(map[string]bool)
		for _, parameter := range asList(asMap(asMap(item)["get"])["parameters"]) {
			described[asMap(d.resolve(parameter))["name"].(string)] = true
		}
		if a := h.api("GET", path+"?nonsense=", ""); !strings.Contains(a.body, "unknown parameter") {
			continue // it is no list, and looks at none
		}
		for name := range everywhere {
			if a := h.api("GET", path+"?"+name+"=", ""); described[name] == strings.Contains(a.body, "unknown parameter") {
				t.Errorf("GET %s: parameter %s is described: %v, and the answer is %s", path, name, described[name], a.body)
			}
		}
	}
	settings, _ := d.properties(asMap(d.at(d.tree, "components", "schemas", "Settings")))
	for name := range settings {
		a := h.api("POST", "/api/v1/configurations", fmt.Sprintf(`{"name":"!",%q:null}`, name))
		if strings.Contains(a.body, "not a known") {
			t.Errorf("%s is described and unknown", name)
		}
	}
	created := h.object("POST", "/api/v1/configurations", `{"name":"third"}`, http.StatusCreated)
	for name, value := range asMap(created["policy"]) {
		property := asMap(settings[name])
		described, err := json.Marshal(property["default"])
		if err != nil {
			t.Fatal(err)
		}
		if actual, err := json.Marshal(value); err != nil || string(actual) != string(described) {
			t.Errorf("%s is %s by default, described as %s", name, actual, described)
		}
	}
}

// A parameter that does not exist is an error on every path of the API, and so
// is a field of a body where there is none: nobody is told something else than
// what was asked for.
func TestUnknownIsRefused(t *testing.T) {
	h := open(t, ownAuthority(ca.ShapeChain), new(laboratory).inHouse)
	d := readDescription(t, h)
	for route, needs := range h.AdminScopes() {
		if needs == "none" {
			continue
		}
		method, path, _ := strings.Cut(route, " ")
		target := strings.NewReplacer("{configuration}", "default", "{", "", "}", "").Replace(path)
		if a := h.api(method, target+"?nonsense=1", ""); a.status != 400 || !strings.Contains(a.body, "unknown parameter") {
			t.Errorf("%s with a parameter: %d %s", route, a.status, a.body)
		}
		if method != "POST" || asMap(d.at(d.tree, "paths", path, "post"))["requestBody"] != nil {
			continue
		}
		if a := h.api(method, target, `{"nonsense":1}`); a.status != 422 || !strings.Contains(a.body, "not a known field") {
			t.Errorf("%s with a field: %d %s", route, a.status, a.body)
		}
	}
}

// The words of closed sets are described whole.
func TestDescriptionOfWords(t *testing.T) {
	d := readDescription(t, open(t))
	words := asList(d.at(d.tree, "components", "schemas", "Event", "properties", "type", "enum"))
	if len(words) != len(notify.Types()) {
		t.Errorf("%d types of events are described, there are %d", len(words), len(notify.Types()))
	}
	for _, e := range notify.Types() {
		if !slices.Contains(words, any(string(e))) {
			t.Errorf("event %s is not described", e)
		}
	}
}
