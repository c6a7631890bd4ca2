package server_test

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/depot"
)

func TestToken(t *testing.T) {
	h := open(t)
	for _, path := range []string{"/api/v1/configurations", "/api/v1/certificates", "/api/v1/nothing", "/api/v1", "/api/v1/../v1/devices"} {
		for _, value := range []string{
			"", "Bearer", "Bearer ", "Bearer wrong", "Bearer " + token + " ", "Bearer " + token[:len(token)-1], "Basic " + token, token,
			"Bearer " + secretKey,
		} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = "127.0.0.1:8081"
			if value != "" {
				r.Header.Set("Authorization", value)
			}
			a := do(h.Admin(), r)
			if a.status != http.StatusUnauthorized || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s with %q: %d", path, value, a.status)
			}
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/openapi.yaml", "/version"} {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost"
		if a := do(h.Admin(), r); a.status != http.StatusOK || a.body == "" {
			t.Errorf("%s without token: %d", path, a.status)
		}
	}
	if err := openError(t, func(h *house) { h.config.AdminToken = "" }); err == nil {
		t.Error("a server without a token is accepted")
	}
}

// A page that points its own name at the listener gets nothing (DNS
// rebinding), and neither does a page of another origin.
func TestBrowsersAreKeptOut(t *testing.T) {
	h := open(t, func(h *house) { h.config.AdminHosts = []string{"admin.lab.example"} })
	request := func(method, path, host string, header ...string) int {
		r := httptest.NewRequest(method, path, strings.NewReader("{}"))
		r.Host = host
		r.Header.Set("Authorization", "Bearer "+token)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return do(h.Admin(), r).status
	}
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:8081": 200, "[::1]:8081": 200, "[::1]": 200, "192.0.2.9": 200, "localhost": 200, "LOCALHOST:1": 200,
		"admin.lab.example": 200, "Admin.Lab.Example:8081": 200, "": 200,
		"evil.example": 403, "evil.example:8081": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "localhost.": 403,
	} {
		for _, path := range []string{"/livez", "/metrics", "/api/v1/configurations"} {
			if got := request("GET", path, host); got != want {
				t.Errorf("%s at %q: %d, want %d", path, host, got, want)
			}
		}
	}
	const reset = "/api/v1/configurations/default/reset-secret"
	if got := request("POST", reset, "localhost", "Sec-Fetch-Site", "cross-site"); got != 403 {
		t.Errorf("cross-site: %d", got)
	}
	if got := request("POST", reset, "localhost", "Origin", "https://evil.example"); got != 403 {
		t.Errorf("foreign origin: %d", got)
	}
	if got := request("POST", reset, "localhost", "Content-Type", "text/plain"); got != 415 {
		t.Errorf("a form's content type: %d", got)
	}
	r := httptest.NewRequest("OPTIONS", "/api/v1/configurations", nil)
	r.Host = "localhost"
	r.Header.Set("Origin", "https://evil.example")
	a := do(h.Admin(), r)
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("answers with %s", name)
		}
	}
}

// No answer of the admin listener is kept by anybody on the way, or taken for
// something else by a browser; some hold secrets.
func TestAdminHeaders(t *testing.T) {
	h := open(t, inMemory)
	for _, a := range []reply{
		h.api("GET", "/api/v1/certificates", ""), h.api("POST", "/api/v1/tokens", `{"name":"reader","scopes":["read"]}`), h.api("GET", "/metrics", ""),
		h.api("GET", "/nothing", ""), h.api("PUT", "/version", ""), h.as("wrong", "GET", "/api/v1/tokens", ""),
	} {
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%d %.60s: %s is %q", a.status, a.body, name, got)
			}
		}
	}
}

func TestProblems(t *testing.T) {
	h := open(t)
	h.object("POST", "/api/v1/configurations", `{"name":"second"}`, 201)
	large := `{"name":"` + strings.Repeat("x", 1<<20) + `"}`
	for _, test := range []struct {
		method, path, body string
		status             int
		kind               string
		field              string // of the first error
	}{
		{"GET", "/nothing", "", 404, "not-found", ""},
		{"GET", "/", "", 404, "not-found", ""},
		{"GET", "/api/v1/configurations/", "", 404, "not-found", ""},
		{"GET", "/api/v1//configurations", "", 404, "not-found", ""},
		{"GET", "//evil.example/..", "", 404, "not-found", ""},
		{"GET", "/lab/clock", "", 404, "not-found", ""},
		{"PUT", "/api/v1/configurations", "", 405, "method-not-allowed", ""},
		{"DELETE", "/livez", "", 405, "method-not-allowed", ""},
		{"GET", "/api/v1/configurations/nobody", "", 404, "not-found", ""},
		{"PATCH", "/api/v1/configurations/nobody", "{}", 404, "not-found", ""},
		{"DELETE", "/api/v1/configurations/nobody", "", 404, "not-found", ""},
		{"POST", "/api/v1/configurations/nobody/reset-secret", "{}", 404, "not-found", ""},
		{"POST", "/api/v1/configurations/nobody/check", "", 404, "not-found", ""},
		{"POST", "/api/v1/configurations", "", 422, "invalid-settings", "name"},
		{"POST", "/api/v1/configurations", "[]", 400, "invalid-json", ""},
		{"POST", "/api/v1/configurations", "nonsense", 400, "invalid-json", ""},
		{"POST", "/api/v1/configurations", `{"name":`, 400, "invalid-json", ""},
		{"POST", "/api/v1/configurations", `{"name":"x"} {}`, 400, "invalid-json", ""},
		{"POST", "/api/v1/configurations", `{"name":"x","name":"y"}`, 400, "invalid-json", "name"},
		{"POST", "/api/v1/configurations", large, 413, "too-large", ""},
		{"POST", "/api/v1/configurations", `{"name":"x","surname":"y"}`, 422, "invalid-settings", "surname"},
		{"POST", "/api/v1/configurations", `{"name":"x","Mode":"static"}`, 422, "invalid-settings", "Mode"},
		{"POST", "/api/v1/configurations", `{"name":"x","strict":1}`, 422, "invalid-settings", "strict"},
		{"POST", "/api/v1/configurations", `{"name":"X y"}`, 422, "invalid-settings", "name"},
		{"POST", "/api/v1/configurations", `{"name":"challenge"}`, 422, "invalid-settings", "name"},
		{"POST", "/api/v1/configurations", `{"name":"x","secret_key":"short"}`, 422, "invalid-settings", "secret_key"},
		{"POST", "/api/v1/configurations", `{"name":"x","secret_key":null}`, 422, "invalid-settings", "secret_key"},
		{"POST", "/api/v1/configurations", `{"name":"x","secret_key":7}`, 422, "invalid-settings", "secret_key"},
		{"POST", "/api/v1/configurations", `{"name":"default"}`, 409, "name-in-use", ""},
		{"PATCH", "/api/v1/configurations/second", `{"name":"default"}`, 409, "name-in-use", ""},
		{"PATCH", "/api/v1/configurations/second", `{"secret_key":"0123456789abcdef"}`, 422, "invalid-settings", "secret_key"},
		{"PATCH", "/api/v1/configurations/second", `{"validity_seconds":-1}`, 422, "invalid-settings", "validity_seconds"},
		{"POST", "/api/v1/configurations/second/reset-secret", `{"secret":"x"}`, 422, "invalid-settings", "secret"},
		{"GET", "/api/v1/configurations?limit=1", "", 400, "invalid-parameter", "limit"},
		{"GET", "/api/v1/certificates?devise=x", "", 400, "invalid-parameter", "devise"},
		{"GET", "/api/v1/certificates?limit=0", "", 400, "invalid-parameter", "limit"},
		{"GET", "/api/v1/certificates?limit=501", "", 400, "invalid-parameter", "limit"},
		{"GET", "/api/v1/certificates?limit=1&limit=2", "", 400, "invalid-parameter", "limit"},
		{"GET", "/api/v1/certificates?cursor=made-up", "", 400, "invalid-parameter", "cursor"},
		{"GET", "/api/v1/certificates?device=x", "", 400, "invalid-parameter", "device"},
		{"GET", "/api/v1/certificates?transaction=x", "", 400, "invalid-parameter", "transaction"},
		{"GET", "/api/v1/certificates?public_key=x", "", 400, "invalid-parameter", "public_key"},
		{"GET", "/api/v1/certificates?not_after_from=tomorrow", "", 400, "invalid-parameter", "not_after_from"},
		{"GET", "/api/v1/certificates?order=random", "", 400, "invalid-parameter", "order"},
		{"GET", "/api/v1/certificates?configuration=nobody", "", 404, "not-found", ""},
		{"GET", "/api/v1/certificates?limit=%zz", "", 400, "invalid-parameter", ""},
		{"GET", "/api/v1/certificates/00", "", 404, "not-found", ""},
		{"GET", "/api/v1/certificates/nonsense", "", 404, "not-found", ""},
		{"GET", "/api/v1/certificates/ab.pem", "", 404, "not-found", ""},
		{"GET", "/api/v1/certificates/" + strings.Repeat("ab", 32), "", 404, "not-found", ""},
		{"GET", "/api/v1/certificates/" + strings.Repeat("ab", 21), "", 404, "not-found", ""},
		{"GET", "/api/v1/devices?cursor=made-up", "", 400, "invalid-parameter", "cursor"},
		{"GET", "/api/v1/devices/serial:NOBODY", "", 404, "not-found", ""},
		{"GET", "/api/v1/events?after=7", "", 400, "invalid-parameter", "after"},
		{"GET", "/api/v1/events?after=ev_x", "", 400, "invalid-parameter", "after"},
	} {
		a := h.api(test.method, test.path, test.body)
		name := fmt.Sprintf("%s %.60s %.60s", test.method, test.path, test.body)
		if a.status != test.status || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s %s, want %d", name, a.status, a.header.Get("Content-Type"), a.body, test.status)
			continue
		}
		var p struct {
			Type, Title, Detail string
			Status              int
			Errors              []struct{ Field, Detail string }
		}
		if err := json.Unmarshal([]byte(a.body), &p); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Type != "urn:understudy:problem:"+test.kind || p.Status != test.status || p.Title == "" || p.Detail == "" {
			t.Errorf("%s: %s, want %s", name, a.body, test.kind)
		}
		if test.field != "" && (len(p.Errors) == 0 || p.Errors[0].Field != test.field || p.Errors[0].Detail == "") {
			t.Errorf("%s: errors %v, want one of %s", name, p.Errors, test.field)
		}
		if test.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", name)
		}
	}
}

// Every problem of the settings is told at once.
func TestAllProblemsAtOnce(t *testing.T) {
	h := open(t)
	body := h.api("POST", "/api/v1/configurations", `{"name":"!","sha1":"x","chain":"y","key_sizes":[1],"secret_key":"short"}`).body
	for _, field := range []string{"name", "sha1", "chain", "key_sizes", "secret_key"} {
		if !strings.Contains(body, `"field": "`+field+`"`) {
			t.Errorf("%s is not told", field)
		}
	}
}

func TestConfigurations(t *testing.T) {
	h := open(t)
	added := h.object("POST", "/api/v1/configurations", `{"name":"second","purpose":"management-attestation","key_sizes":[3072,2048]}`, 201)
	id, _ := added["id"].(string)
	secret, _ := added["secret_key"].(string)
	if len(secret) != 32 || added["scep_url"] != baseURL+"/pki/"+h.authority.ID()+"/scep/"+id || added["scep_alias_url"] != baseURL+"/scep/second" {
		t.Errorf("added %v", added)
	}
	if a := h.get("/scep/second?operation=GetCACaps"); a.status != 200 {
		t.Errorf("its URL answers %d", a.status)
	}
	shown := h.object("GET", "/api/v1/configurations/second", "", 200)
	if _, told := shown["secret_key"]; told || shown["revision"] != 1.0 || shown["secret_reset_at"] != nil {
		t.Errorf("shown %v", shown)
	}
	if byID := h.object("GET", "/api/v1/configurations/"+id, "", 200); byID["name"] != "second" {
		t.Errorf("by id %v", byID)
	}
	h.clock.Advance(time.Hour)
	changed := h.object("PATCH", "/api/v1/configurations/second", `{"name":"third","retry_period_seconds":0}`, 200)
	policy, _ := changed["policy"].(map[string]any)
	if changed["id"] != id || changed["name"] != "third" || changed["revision"] != 2.0 || changed["purpose"] != "management-attestation" ||
		policy["retry_period_seconds"] != 0.0 || fmt.Sprint(policy["key_sizes"]) != "[2048 3072]" {
		t.Errorf("changed %v", changed)
	}
	if changed["changed_at"] != h.clock.Now().Format(time.RFC3339) || changed["created_at"] == changed["changed_at"] {
		t.Errorf("changed at %v", changed["changed_at"])
	}
	warnings := h.object("POST", "/api/v1/configurations/third/check", "", 200)
	if text := fmt.Sprint(warnings["items"]); !strings.Contains(text, "retry_period_seconds") || !strings.Contains(text, "sha1") {
		t.Errorf("warnings %v", warnings)
	}
	reset := h.object("POST", "/api/v1/configurations/third/reset-secret", `{"secret_key":"ANewSecretKey0123456789"}`, 200)
	if reset["secret_key"] != "ANewSecretKey0123456789" || reset["id"] != id || reset["name"] != "third" {
		t.Errorf("reset %v", reset)
	}
	list := h.object("GET", "/api/v1/configurations", "", 200)
	items, _ := list["items"].([]any)
	if len(items) != 2 || list["next_cursor"] != nil {
		t.Errorf("list %v", list)
	}
	if a := h.api("DELETE", "/api/v1/configurations/third", ""); a.status != 204 {
		t.Errorf("delete: %d", a.status)
	}
	h.object("POST", "/api/v1/configurations", `{"name":"third"}`, 201)
}

func TestCertificates(t *testing.T) {
	h := open(t)
	// The same device twice: the first is superseded.
	first := h.enrol("C02XL0GTJGH5")
	h.clock.Advance(time.Hour)
	second := h.enrolAgain("C02XL0GTJGH5", "TX-again")
	other := h.enrol("C02XL0GTJGH6")
	state := func(c *x509.Certificate) any {
		return h.object("GET", "/api/v1/certificates/"+serialOf(c), "", 200)["state"]
	}
	if state(first) != "superseded" || state(second) != "valid" {
		t.Errorf("states %v %v", state(first), state(second))
	}
	h.clock.Advance(366 * 24 * time.Hour)
	if state(first) != "superseded" || state(other) != "expired" {
		t.Errorf("a year later: %v %v", state(first), state(other))
	}

	item := h.object("GET", "/api/v1/certificates/"+serialOf(second), "", 200)
	device, _ := item["device"].(map[string]any)
	for name, pair := range map[string][2]any{
		"serial":       {item["certificate_serial"], serialOf(second)},
		"sha256":       {item["sha256"], fmt.Sprintf("%x", sha256.Sum256(second.Raw))},
		"public key":   {item["public_key_sha256"], fmt.Sprintf("%x", sha256.Sum256(second.RawSubjectPublicKeyInfo))},
		"not_after":    {item["not_after"], second.NotAfter.Format(time.RFC3339)},
		"not_before":   {item["not_before"], second.NotBefore.Format(time.RFC3339)},
		"subject":      {item["subject"], "CN=C02XL0GTJGH5"},
		"device":       {device["device_serial"], "C02XL0GTJGH5"},
		"profile":      {device["profile_uuid"], nil},
		"previous":     {item["previous_certificate_serial"], serialOf(first)},
		"revoked":      {item["revoked_at"], nil},
		"transaction":  {item["transaction_id"], "TX-again"},
		"key":          {fmt.Sprint(item["key"]), "map[algorithm:RSA bits:2048]"},
		"wire":         {fmt.Sprint(item["wire"]), "map[cipher:AES-128-CBC digest:SHA-256]"},
		"clock offset": {item["clock_offset_seconds"], 0.0},
		"sans":         {fmt.Sprint(item["requested_sans"]), "[]"},
		"challenge":    {fmt.Sprint(item["challenge"]), "map[id:<nil> mode:static]"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
		}
	}

	colons := strings.ToUpper("00:00" + regroup(serialOf(second)))
	for _, text := range []string{colons, "000" + serialOf(second), item["sha256"].(string), strings.ToUpper(item["sha256"].(string))} {
		if got := h.object("GET", "/api/v1/certificates/"+text, "", 200)["certificate_serial"]; got != serialOf(second) {
			t.Errorf("%s finds %v", text, got)
		}
	}
	if a := h.api("GET", "/api/v1/certificates/"+colons+".cer", ""); a.body != string(second.Raw) || a.header.Get("Content-Type") != "application/pkix-cert" {
		t.Errorf(".cer: %d %v", a.status, a.header)
	}
	a := h.api("GET", "/api/v1/certificates/"+serialOf(second)+".pem", "")
	if block, rest := pem.Decode([]byte(a.body)); block == nil || string(block.Bytes) != string(second.Raw) || len(rest) != 0 {
		t.Errorf(".pem: %d %q", a.status, a.body)
	}
	for _, path := range []string{".pem.cer", ".cer.pem", ".PEM", ""} {
		if a := h.api("GET", "/api/v1/certificates/"+serialOf(second)+path, ""); path != "" && a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// regroup writes hex with colons.
func regroup(hex string) string {
	var b strings.Builder
	for i := 0; i < len(hex); i += 2 {
		b.WriteString(":" + hex[i:i+2])
	}
	return b.String()
}

func serialOf(c *x509.Certificate) string { return fmt.Sprintf("%x", c.SerialNumber.Bytes()) }

func TestCertificateLists(t *testing.T) {
	h := open(t)
	var serials []string
	for i := range 5 {
		serials = append(serials, serialOf(h.enrol(fmt.Sprintf("C02XSERIAL%d", i))))
		h.clock.Advance(time.Minute)
	}
	secret, _ := h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)["secret_key"].(string)
	elsewhere := h.message("C02XSERIAL0", secret)
	h.success(elsewhere, do(h.Public(), httptest.NewRequest("POST", "/scep/other", strings.NewReader(string(elsewhere.Raw)))))

	list := func(query string) (got []string, next any) {
		t.Helper()
		page := h.object("GET", "/api/v1/certificates"+query, "", 200)
		items, _ := page["items"].([]any)
		for _, item := range items {
			got = append(got, item.(map[string]any)["certificate_serial"].(string))
		}
		return got, page["next_cursor"]
	}
	newest := []string{serials[4], serials[3], serials[2], serials[1], serials[0]}
	for query, want := range map[string][]string{
		"?configuration=default":                                                                newest,
		"?configuration=" + h.live.Record.ID:                                                    newest,
		"?configuration=default&order=not_after":                                                serials,
		"?configuration=default&device=serial:C02XSERIAL2":                                      {serials[2]},
		"?configuration=default&transaction=TX-C02XSERIAL3":                                     {serials[3]},
		"?configuration=other&transaction=TX-C02XSERIAL3":                                       nil,
		"?configuration=default&not_after_to=2000-01-01T00:00:00Z":                              nil,
		"?configuration=default&not_after_from=" + h.live.Record.CreatedAt.Format(time.RFC3339): newest,
	} {
		if got, _ := list(query); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	if got, _ := list("?public_key=" + h.object("GET", "/api/v1/certificates/"+serials[0], "", 200)["public_key_sha256"].(string)); len(got) != 6 {
		t.Errorf("by public key: %d", len(got))
	}
	if a := h.api("GET", "/api/v1/certificates?configuration=other&transaction=none", ""); !strings.Contains(a.body, `"items": []`) {
		t.Errorf("an empty list is %s", a.body)
	}
	var all []string
	cursor := ""
	for range 10 {
		got, next := list("?configuration=default&limit=2" + cursor)
		all = append(all, got...)
		if next == nil {
			break
		}
		cursor = "&cursor=" + url.QueryEscape(next.(string))
	}
	if fmt.Sprint(all) != fmt.Sprint(newest) {
		t.Errorf("pages hold %v, want %v", all, newest)
	}
}

func TestDevices(t *testing.T) {
	h := open(t)
	first := h.enrol("C02XSERIAL1")
	h.clock.Advance(time.Hour)
	second := h.enrolAgain("C02XSERIAL1", "TX-again")
	h.enrol("C02XSERIAL2")
	page := h.object("GET", "/api/v1/devices?configuration=default", "", 200)
	items, _ := page["items"].([]any)
	if len(items) != 2 {
		t.Fatalf("devices %v", page)
	}
	device, _ := items[0].(map[string]any)
	if device["key"] != "serial:C02XSERIAL1" || device["certificates"] != 2.0 || device["latest_certificate_serial"] != serialOf(second) ||
		device["first_seen"] == device["last_seen"] || device["udid"] != nil {
		t.Errorf("device %v", device)
	}
	whole := h.object("GET", "/api/v1/devices/serial:C02XSERIAL1", "", 200)
	certificates, _ := whole["certificates"].([]any)
	if len(certificates) != 2 {
		t.Fatalf("device %v", whole)
	}
	for i, c := range []*x509.Certificate{second, first} {
		if got := certificates[i].(map[string]any)["certificate_serial"]; got != serialOf(c) {
			t.Errorf("certificate %d is %v", i, got)
		}
	}

	// A key that two configurations know is not enough.
	secret, _ := h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)["secret_key"].(string)
	request := h.message("C02XSERIAL1", secret)
	h.success(request, do(h.Public(), httptest.NewRequest("POST", "/scep/other", strings.NewReader(string(request.Raw)))))
	if a := h.api("GET", "/api/v1/devices/serial:C02XSERIAL1", ""); a.status != 400 || !strings.Contains(a.body, `"configuration"`) {
		t.Errorf("ambiguous: %d %s", a.status, a.body)
	}
	if got := h.object("GET", "/api/v1/devices/serial:C02XSERIAL1?configuration=other", "", 200); len(got["certificates"].([]any)) != 1 {
		t.Errorf("with configuration: %v", got)
	}
	// Keys made of a subject hold anything.
	odd := h.enrolAgain("a/b?c=d&../e", "TX-odd")
	key, _ := h.object("GET", "/api/v1/certificates/"+serialOf(odd), "", 200)["device"].(map[string]any)["key"].(string)
	if got := h.object("GET", "/api/v1/devices/"+url.PathEscape(key), "", 200); got["key"] != key {
		t.Errorf("%s finds %v", key, got)
	}
}

// enrolAgain enrols in another transaction.
func (h *house) enrolAgain(deviceSerial, transactionID string) *x509.Certificate {
	h.t.Helper()
	request := h.messageIn(deviceSerial, secretKey, transactionID)
	return h.success(request, h.post(string(request.Raw)))
}

func TestAuthority(t *testing.T) {
	h := open(t)
	a := h.object("GET", "/api/v1/authority", "", 200)
	ra, _ := h.authority.RA()
	if a["shape"] != "chain" || a["id"] != h.authority.ID() {
		t.Errorf("authority %v", a)
	}
	for name, c := range map[string]*x509.Certificate{"root": h.authority.Root(), "issuer": h.authority.Issuer(), "ra": ra} {
		got, _ := a[name].(map[string]any)
		if got["sha256"] != fmt.Sprintf("%x", sha256.Sum256(c.Raw)) || got["sha1"] != fmt.Sprintf("%x", sha1.Sum(c.Raw)) ||
			got["not_after"] != c.NotAfter.Format(time.RFC3339) {
			t.Errorf("%s is %v", name, got)
		}
		if block, _ := pem.Decode([]byte(got["pem"].(string))); block == nil || string(block.Bytes) != string(c.Raw) {
			t.Errorf("%s: pem is %v", name, got["pem"])
		}
	}
	if subject := a["issuer"].(map[string]any)["subject"].(string); !strings.Contains(subject, "DC=okta") {
		t.Errorf("issuer is %q", subject)
	}
}

func TestEvents(t *testing.T) {
	h := open(t)
	certificate := h.enrol("C02XSERIAL1")
	h.object("POST", "/api/v1/configurations/default/reset-secret", "{}", 200)
	var types []string
	after := ""
	for range 10 {
		page := h.object("GET", "/api/v1/events?limit=1"+after, "", 200)
		for _, item := range page["items"].([]any) {
			event := item.(map[string]any)
			types = append(types, event["type"].(string))
			configuration, _ := event["configuration"].(map[string]any)
			if configuration["id"] != h.live.Record.ID || configuration["name"] != "default" {
				t.Errorf("event %v", event)
			}
			issued := event["type"] == "certificate.issued"
			if issued && (event["certificate_serial"] != serialOf(certificate) || event["device_key"] != "serial:C02XSERIAL1") ||
				!issued && event["certificate_serial"] != nil {
				t.Errorf("event %v", event)
			}
		}
		if page["next_cursor"] == nil {
			break
		}
		after = "&after=" + page["next_cursor"].(string)
	}
	if got := fmt.Sprint(types); got != "[configuration.added certificate.issued configuration.secret_reset]" {
		t.Errorf("events %v", got)
	}
}

func TestReady(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*house)
		later  time.Duration
		status int
		part   string
	}{
		{"all is well", func(*house) {}, 0, 200, `"status": "ready"`},
		{"store", func(h *house) {
			h.wrap = func(d depot.Depot) depot.Depot {
				return &faultyDepot{Depot: d, ready: func(context.Context) error { return errors.New("disk /secret/path is full") }}
			}
		}, 0, 503, `"store": "unavailable"`},
		{"authority expired", func(*house) {}, 21 * 365 * 24 * time.Hour, 503, `"authority": "expired"`},
		{"RA expired", func(*house) {}, 3 * 365 * 24 * time.Hour, 503, `"authority": "expired"`},
		{"authority not yet valid", func(*house) {}, -365 * 24 * time.Hour, 503, `"authority": "not_yet_valid"`},
	} {
		h := open(t, test.change)
		h.clock.Advance(test.later)
		a := h.api("GET", "/readyz", "")
		if a.status != test.status || !strings.Contains(a.body, test.part) || strings.Contains(a.body, "/secret/path") {
			t.Errorf("%s: %d %s", test.name, a.status, a.body)
		}
		if a := h.api("GET", "/livez", ""); a.status != 200 {
			t.Errorf("%s: /livez %d", test.name, a.status)
		}
	}
	h := open(t)
	if err := h.depot.Close(); err != nil {
		t.Fatal(err)
	}
	if a := h.api("GET", "/readyz", ""); a.status != 503 {
		t.Errorf("with a closed store: %d", a.status)
	}
	if a := h.api("GET", "/api/v1/certificates", ""); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("list with a closed store: %d %s", a.status, a.body)
	}
}

// The admin listener catches panics as well.
func TestAdminPanic(t *testing.T) {
	var once sync.Once // the metrics ask as well
	h := open(t, func(h *house) {
		h.wrap = func(d depot.Depot) depot.Depot {
			return &faultyDepot{Depot: d, ready: func(context.Context) error {
				once.Do(func() { panic(evil{}) })
				return nil
			}}
		}
	})
	a := h.api("GET", "/readyz", "")
	if a.status != 500 || !strings.Contains(a.body, "urn:understudy:problem:internal") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := h.metric("understudy_panics_total"); got != "1" {
		t.Errorf("understudy_panics_total is %s", got)
	}
	if lines := h.log.lines(t, "panic"); len(lines) != 1 || lines[0]["type"] != "server_test.evil" {
		t.Errorf("logged %v", lines)
	}
}
