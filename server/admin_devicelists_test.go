package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const devicesPath = "/api/v1/configurations/default/devices"

// typed calls the admin listener with a body of a content type, from the
// server's own machine or from elsewhere.
func (h *house) typed(method, target, contentType, body, peer string) reply {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = "localhost:8081", peer
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", contentType)
	return do(h.Admin(), r)
}

func TestDeviceList(t *testing.T) {
	h := open(t, inMemory)
	if a := h.api("GET", devicesPath, ""); a.status != 404 || !strings.Contains(a.body, "every device may enrol") {
		t.Errorf("without a list: %d %s", a.status, a.body)
	}
	if a := h.api("DELETE", devicesPath, ""); a.status != 404 {
		t.Errorf("removal without a list: %d %s", a.status, a.body)
	}
	put := h.object("PUT", devicesPath, `{"items":[{"device_serial":"A1","udid":null},{"upn":"jane@lab.example"}]}`, 200)
	got := h.object("GET", devicesPath, "", 200)
	if fmt.Sprint(put) != fmt.Sprint(got) {
		t.Errorf("put %v, got %v", put, got)
	}
	want := "[map[device_serial:A1 udid:<nil> upn:<nil>] map[device_serial:<nil> udid:<nil> upn:jane@lab.example]]"
	if fmt.Sprint(got["items"]) != want || got["changed_by"] != "admin" || got["file"] != nil || got["next_cursor"] != nil {
		t.Errorf("got %v", got)
	}
	a := h.typed("PUT", devicesPath, "text/csv; charset=utf-8", "Serial Number\nB2\n", "203.0.113.7:999")
	if a.status != 200 || !strings.Contains(a.body, `"B2"`) || strings.Contains(a.body, "A1") {
		t.Errorf("CSV: %d %s", a.status, a.body)
	}
	if items, _ := h.object("PUT", devicesPath, `{"items":[]}`, 200)["items"].([]any); len(items) != 0 {
		t.Errorf("empty list: %v", items)
	}
	if a := h.api("DELETE", devicesPath, ""); a.status != 204 {
		t.Errorf("removal: %d %s", a.status, a.body)
	}
	if a := h.api("GET", devicesPath, ""); a.status != 404 {
		t.Errorf("after removal: %d", a.status)
	}
}

func TestDeviceListProblems(t *testing.T) {
	h := open(t, inMemory)
	for _, test := range []struct {
		contentType, body string
		status            int
		want              string
	}{
		{"application/json", ``, 422, "items"},
		{"application/json", `{"items":{}}`, 422, "items"},
		{"application/json", `{"items":null}`, 422, "items"},
		{"application/json", `{"items":[],"more":1}`, 422, "more"},
		{"application/json", `{"items":[{}]}`, 422, "items[0]"},
		{"application/json", `{"items":[{"device_serial":"A1"},{"serial":"A1"}]}`, 422, "items[1]"},
		{"application/json", `{"items":[{"device_serial":7}]}`, 422, "items[0]"},
		{"application/json", `{"items":[{"device_serial":"A\u00001"}]}`, 422, "items[0]"},
		{"application/json", `[]`, 400, "object"},
		{"text/csv", "", 422, "names no device"},
		{"text/csv", "A1,B2\n", 422, "line 1"},
		{"text/csv", strings.Repeat("A1\n", 1<<20), 413, "larger than 1 MiB"},
		{"application/xml", "<a/>", 415, "application/json"},
	} {
		a := h.typed("PUT", devicesPath, test.contentType, test.body, "127.0.0.1:999")
		if a.status != test.status || !strings.Contains(a.body, test.want) || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %.50q: %d %s", test.contentType, test.body, a.status, a.body)
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if a := h.api(method, "/api/v1/configurations/nobody/devices", `{"items":[]}`); a.status != 404 || !strings.Contains(a.body, "no such configuration") {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
	if a := h.api("GET", devicesPath, ""); a.status != 404 {
		t.Errorf("a list was stored: %s", a.body)
	}
}

// A list in a file is read when the file is named, belongs to the file, and
// goes with it.
func TestDevicesFile(t *testing.T) {
	h := open(t, inMemory)
	path := filepath.Join(t.TempDir(), "devices")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const here, elsewhere = "127.0.0.1:999", "203.0.113.7:999"
	patch := func(path, peer string) reply {
		return h.typed("PATCH", "/api/v1/configurations/default", "application/json", fmt.Sprintf(`{"devices_file":%q}`, path), peer)
	}
	for _, test := range []struct {
		path, peer string
		status     int
		want       string
	}{
		{path, here, 422, "no such file"},
		{path, elsewhere, 403, "files-stay-here"},
		{"devices", here, 422, "absolute"},
		{filepath.Dir(path), here, 422, "is not a file"},
	} {
		if a := patch(test.path, test.peer); a.status != test.status || !strings.Contains(a.body, test.want) {
			t.Errorf("%s from %s: %d %s", test.path, test.peer, a.status, a.body)
		}
	}
	write("A1,B2\n")
	if a := patch(path, here); a.status != 422 || !strings.Contains(a.body, "line 1") {
		t.Errorf("no list: %d %s", a.status, a.body)
	}
	if got := h.object("GET", "/api/v1/configurations/default", "", 200); got["revision"] != 1.0 {
		t.Errorf("something changed: %v", got)
	}

	write("A1\n")
	if a := patch(path, here); a.status != 200 || !strings.Contains(a.body, path) {
		t.Errorf("%d %s", a.status, a.body)
	}
	got := h.object("GET", devicesPath, "", 200)
	if fmt.Sprint(got["items"]) != "[map[device_serial:A1 udid:<nil> upn:<nil>]]" || got["file"] != path || got["changed_by"] != "file: "+path {
		t.Errorf("list %v", got)
	}
	for _, method := range []string{"PUT", "DELETE"} {
		if a := h.api(method, devicesPath, `{"items":[]}`); a.status != 409 || !strings.Contains(a.body, "devices-from-file") {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
	if a := patch("", elsewhere); a.status != 200 {
		t.Errorf("no file: %d %s", a.status, a.body)
	}
	if a := h.api("GET", devicesPath, ""); a.status != 404 {
		t.Errorf("the list of a file that is not named any more: %d %s", a.status, a.body)
	}

	a := h.typed("POST", "/api/v1/configurations", "application/json", fmt.Sprintf(`{"name":"second","devices_file":%q}`, path), here)
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if got := h.object("GET", "/api/v1/configurations/second/devices", "", 200); got["file"] != path {
		t.Errorf("list %v", got)
	}
}
