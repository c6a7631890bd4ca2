package server_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/depot"
)

// found lists the certificate serials and states that a list has.
func (h *house) found(query string) []string {
	h.t.Helper()
	var found []string
	for _, item := range h.object("GET", "/api/v1/certificates?"+query, "", 200)["items"].([]any) {
		i := item.(map[string]any)
		found = append(found, i["device"].(map[string]any)["device_serial"].(string)+":"+i["state"].(string))
	}
	return found
}

// A search and the other filters narrow each other; a certificate has to fit
// all of them.
func TestSearch(t *testing.T) {
	for name, change := range map[string]func(*house){"memory": inMemory, "bolt": func(*house) {}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, change)
			h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
			first := serialOf(h.enrol("C02XL0GTJGH5"))
			h.enrol("C02XL0GTJGH6")
			h.clock.Advance(time.Hour)
			h.again("C02XL0GTJGH5")
			for query, want := range map[string][]string{
				"q=":                                           {"C02XL0GTJGH5:valid", "C02XL0GTJGH6:valid", "C02XL0GTJGH5:superseded"},
				"q=device-serial:C02XL0GTJGH5":                 {"C02XL0GTJGH5:valid", "C02XL0GTJGH5:superseded"},
				"q=device-serial:C02*+state:superseded":        {"C02XL0GTJGH5:superseded"},
				"q=serial:" + first:                            {"C02XL0GTJGH5:superseded"},
				"q=serial:" + first + "+state:valid":           nil,
				"q=serial:" + first + "&configuration=default": {"C02XL0GTJGH5:superseded"},
				"q=serial:" + first + "&configuration=other":   nil,
				"q=serial:" + first + "&configuration=default&device=serial:C02XL0GTJGH6": nil,
				"q=serial:00ff": nil,
				"q=configuration:default&configuration=other":                                   nil,
				"q=configuration:other":                                                         nil,
				"q=device-serial:C02XL0GTJGH6&configuration=default&device=serial:C02XL0GTJGH5": nil,
				"q=expires%3C30d": nil,
				"q=state:valid&not_after_to=" + h.clock.Now().Format(time.RFC3339): nil,
				"q=configuration:default&device=serial:C02XL0GTJGH6":               {"C02XL0GTJGH6:valid"},
			} {
				if got := h.found(query); !slices.Equal(got, want) {
					t.Errorf("%s: %v, want %v", query, got, want)
				}
			}
			for _, query := range []string{"q=state:", "q=colour:red", "q=configuration:nobody", "q=serial:xyz", "as_of=never", "order=size", "qq=x"} {
				if a := h.api("GET", "/api/v1/certificates?"+query, ""); a.status != 400 {
					t.Errorf("%s: %d %s", query, a.status, a.body)
				}
			}
		})
	}
}

// As of a time, what came later did not happen, and states are of that time.
func TestCertificatesAsOf(t *testing.T) {
	for name, change := range map[string]func(*house){"memory": inMemory, "bolt": func(*house) {}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, change)
			begin := h.clock.Now()
			at := func(after time.Duration) string { return "as_of=" + begin.Add(after).UTC().Format(time.RFC3339) }
			h.enrol("C02XL0GTJGH5")
			h.clock.Advance(time.Hour)
			second := h.again("C02XL0GTJGH5")
			h.clock.Advance(time.Hour)
			h.object("POST", "/api/v1/certificates/"+second+"/revoke", `{}`, 200)
			for query, want := range map[string][]string{
				"":                            {"C02XL0GTJGH5:revoked", "C02XL0GTJGH5:valid"},
				at(-time.Hour):                nil,
				at(time.Minute):               {"C02XL0GTJGH5:valid"},
				at(time.Hour + time.Minute):   {"C02XL0GTJGH5:valid", "C02XL0GTJGH5:superseded"},
				at(2*time.Hour + time.Minute): {"C02XL0GTJGH5:revoked", "C02XL0GTJGH5:valid"},
				at(400 * day):                 {"C02XL0GTJGH5:revoked", "C02XL0GTJGH5:expired"},
				at(time.Hour+time.Minute) + "&q=state:valid": {"C02XL0GTJGH5:valid"},
			} {
				if got := h.found(query); !slices.Equal(got, want) {
					t.Errorf("%q: %v, want %v", query, got, want)
				}
			}
			shown := h.object("GET", "/api/v1/devices/serial:C02XL0GTJGH5?"+at(time.Hour+time.Minute), "", 200)
			var states []string
			for _, c := range shown["certificates"].([]any) {
				states = append(states, c.(map[string]any)["state"].(string))
			}
			if !slices.Equal(states, []string{"valid", "superseded"}) {
				t.Errorf("the device then: %v", states)
			}
		})
	}
}

// superseded_by is the successor that the state speaks of, whatever made it one,
// and nothing when that is revoked; at any time, in lists and in tables.
func TestSuperseded(t *testing.T) {
	for name, change := range map[string]func(*house){"memory": inMemory, "bolt": func(*house) {}} {
		t.Run(name, func(t *testing.T) {
			h := open(t, change)
			begin := h.clock.Now()
			first := serialOf(h.enrol("C02XL0GTJGH5"))
			h.clock.Advance(time.Hour)
			second := h.again("C02XL0GTJGH5")
			h.clock.Advance(time.Hour)
			third := h.again("C02XL0GTJGH5")
			expect := func(after time.Duration, want, state string) {
				t.Helper()
				asOf := begin.Add(after).UTC().Format(time.RFC3339)
				item := h.object("GET", "/api/v1/certificates?q=serial:"+first+"&as_of="+asOf, "", 200)["items"].([]any)[0].(map[string]any)
				if got, _ := item["superseded_by"].(string); got != want || item["state"] != state || (item["superseded_at"] != nil) != (want != "") {
					t.Errorf("as of %s: %v since %v, %v; want %q, %s", asOf, item["superseded_by"], item["superseded_at"], item["state"], want, state)
				}
				table := h.api("GET", "/api/v1/certificates/export?q=serial:"+first+"&as_of="+asOf, "")
				lines, err := csv.NewReader(strings.NewReader(table.body)).ReadAll()
				if err != nil || len(lines) != 2 || lines[1][slices.Index(lines[0], "superseded_by")] != want {
					t.Errorf("as of %s: table %s, %v; want %q", asOf, table.body, err, want)
				}
			}
			expect(time.Minute, "", "valid")
			expect(2*time.Hour, second, "superseded")
			h.clock.Advance(time.Hour)
			h.object("POST", "/api/v1/certificates/"+second+"/revoke", `{}`, 200)
			expect(2*time.Hour, second, "superseded")
			expect(3*time.Hour, third, "superseded")
			if shown := h.object("GET", "/api/v1/certificates/"+first, "", 200); shown["superseded_by"] != third {
				t.Errorf("shown: %v", shown["superseded_by"])
			}
			h.object("POST", "/api/v1/certificates/"+third+"/revoke", `{}`, 200)
			expect(3*time.Hour, "", "valid")
		})
	}
}

func TestDevicePages(t *testing.T) {
	h := open(t, inMemory)
	var all, got []string
	all = append(all, serialOf(h.enrol("C02XL0GTJGH5")))
	for range 4 {
		h.clock.Advance(time.Minute)
		all = append(all, h.again("C02XL0GTJGH5"))
	}
	slices.Reverse(all)
	for cursor := ""; ; {
		page := h.object("GET", "/api/v1/devices/serial:C02XL0GTJGH5?limit=2&cursor="+cursor, "", 200)
		for _, c := range page["certificates"].([]any) {
			got = append(got, c.(map[string]any)["certificate_serial"].(string))
		}
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		cursor = next
	}
	if !slices.Equal(got, all) {
		t.Errorf("%v, want %v", got, all)
	}
	for _, query := range []string{"limit=0", "limit=501", "cursor=x", "order=issued"} {
		if a := h.api("GET", "/api/v1/devices/serial:C02XL0GTJGH5?"+query, ""); a.status != 400 {
			t.Errorf("%s: %d", query, a.status)
		}
	}
}

func TestExport(t *testing.T) {
	h := open(t, inMemory)
	first := serialOf(h.enrol("C02XL0GTJGH5"))
	h.enrol("C02XL0GTJGH6")
	h.object("POST", "/api/v1/certificates/"+first+"/revoke", `{}`, 200)
	export := func(query string) reply {
		t.Helper()
		a := h.api("GET", "/api/v1/certificates/export"+query, "")
		if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Disposition"), `attachment; filename="certificates-`) {
			t.Fatalf("%s: %d %v %s", query, a.status, a.header, a.body)
		}
		return a
	}
	for query, want := range map[string]int{"": 3, "?format=csv&q=state:revoked": 2, "?format=csv&configuration=default&q=state:expired": 1,
		"?as_of=2000-01-01T00:00:00Z": 1} {
		lines, err := csv.NewReader(strings.NewReader(export(query).body)).ReadAll()
		if err != nil || len(lines) != want {
			t.Errorf("%s: %d lines, want %d, %v", query, len(lines), want, err)
		}
	}
	listed := h.object("GET", "/api/v1/certificates", "", 200)["items"].([]any)
	for i, line := range strings.Split(strings.TrimSpace(export("?format=jsonl").body), "\n") {
		var item any
		if err := json.Unmarshal([]byte(line), &item); err != nil || fmt.Sprint(item) != fmt.Sprint(listed[i]) {
			t.Errorf("line %s, listed %v", line, listed[i])
		}
	}
	if a := export("?format=pem"); strings.Count(a.body, "BEGIN CERTIFICATE") != 2 || a.header.Get("Content-Type") != "application/pem-certificate-chain" {
		t.Errorf("PEM %s", a.body)
	}
	body := []byte(export("?format=zip").body)
	if z, err := zip.NewReader(bytes.NewReader(body), int64(len(body))); err != nil || len(z.File) < 4 {
		t.Errorf("ZIP %v", err)
	}
	if a := do(h.Admin(), h.request(token, "HEAD", "/api/v1/certificates/export?format=zip", "")); a.status != 200 || a.body != "" || a.header.Get("Content-Type") != "application/zip" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
	for _, query := range []string{"?format=der", "?limit=3", "?cursor=x", "?q=colour:red"} {
		if a := h.api("GET", "/api/v1/certificates/export"+query, ""); a.status != 400 || a.header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %v", query, a.status, a.header)
		}
	}
}

// pagedDepot answers page by page as a test says.
type pagedDepot struct {
	depot.Depot
	page func(ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error)
}

func (d *pagedDepot) Identities(ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error) {
	return d.page(ctx, q)
}

func paged(page func(d depot.Depot, ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error)) func(*house) {
	return func(h *house) {
		inMemory(h)
		h.wrap = func(d depot.Depot) depot.Depot {
			return &pagedDepot{d, func(ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error) {
				return page(d, ctx, q)
			}}
		}
	}
}

// An export that fails before its first byte is a problem document; one that
// fails later breaks the connection. Then there is room for another.
func TestExportFails(t *testing.T) {
	broken := true
	h := open(t, paged(func(d depot.Depot, ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error) {
		if broken && q.Cursor == "many" {
			return depot.Page[depot.Identity]{}, errors.New("disk on fire")
		}
		page, err := d.Identities(ctx, q)
		if len(page.Items) > 0 && broken {
			page.Items, page.NextCursor = slices.Repeat(page.Items, 200), "many"
		}
		return page, err
	}))
	h.enrol("C02XL0GTJGH5")
	if a := h.api("GET", "/api/v1/certificates/export?format=zip&q=state:expired", ""); a.status != 200 {
		t.Errorf("nothing to export: %d", a.status)
	}
	listener := httptest.NewServer(h.Admin())
	defer listener.Close()
	for range 10 {
		r, err := http.NewRequestWithContext(t.Context(), "GET", listener.URL+"/api/v1/certificates/export?format=jsonl", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(response.Body); response.StatusCode != 200 || err == nil {
			t.Errorf("half an export came to an orderly end: %d", response.StatusCode)
		}
		_ = response.Body.Close()
	}
	broken = false
	if a := h.api("GET", "/api/v1/certificates/export", ""); a.status != 200 {
		t.Errorf("afterwards: %d", a.status)
	}

	h = open(t, paged(func(depot.Depot, context.Context, depot.IdentityQuery) (depot.Page[depot.Identity], error) {
		return depot.Page[depot.Identity]{}, depot.ErrUnavailable
	}))
	if a := h.api("GET", "/api/v1/certificates/export", ""); a.status != 503 || a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Content-Disposition") != "" {
		t.Errorf("at once: %d %v", a.status, a.header)
	}
}

// Exports are bounded, and a client that hangs up, or whose token is removed,
// ends its own.
func TestExportEnds(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	var pages int
	h := open(t, paged(func(d depot.Depot, ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error) {
		if q.Limit != 500 { // a list
			return d.Identities(ctx, q)
		}
		begun <- struct{}{}
		select {
		case <-goOn:
		case <-ctx.Done():
			return depot.Page[depot.Identity]{}, ctx.Err()
		}
		pages++
		return depot.Page[depot.Identity]{NextCursor: "next"}, nil // without end
	}))
	ctx, hangUp := context.WithCancel(t.Context())
	var answers []chan reply
	for range 3 {
		answers = append(answers, h.later(h.request(token, "GET", "/api/v1/certificates/export", "").WithContext(ctx)))
		<-begun
	}
	reader := h.newToken("reader", "read")
	last := h.later(h.request(reader, "GET", "/api/v1/certificates/export", ""))
	<-begun
	if a := h.api("GET", "/api/v1/certificates/export", ""); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d", a.status)
	}
	if a := h.api("GET", "/api/v1/certificates", ""); a.status != 200 {
		t.Errorf("a list: %d", a.status)
	}
	hangUp()
	for _, answer := range answers {
		<-answer
	}
	if pages != 0 {
		t.Errorf("%d pages were read for who hung up", pages)
	}
	h.object("GET", "/api/v1/tokens", "", 200)
	if a := h.api("DELETE", "/api/v1/tokens/reader", ""); a.status != 204 {
		t.Fatal(a.body)
	}
	goOn <- struct{}{}
	if a := <-last; a.status != 401 || pages != 1 {
		t.Errorf("the token was removed: %d after %d pages", a.status, pages)
	}
}
