package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/depot"
)

// eventsOf lists types of events.
func (h *house) eventsOf(query string) (types []string, page map[string]any) {
	h.t.Helper()
	page = h.object("GET", "/api/v1/events?"+query, "", 200)
	for _, item := range page["items"].([]any) {
		types = append(types, item.(map[string]any)["type"].(string))
	}
	return types, page
}

func TestEventFilters(t *testing.T) {
	h := open(t, inMemory)
	h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
	serial := serialOf(h.enrol("C02XL0GTJGH5"))
	h.object("POST", "/api/v1/certificates/"+serial+"/revoke", `{"reason":"keyCompromise"}`, 200)
	all, page := h.eventsOf("")
	if want := []string{"configuration.added", "configuration.added", "certificate.issued", "certificate.revoked"}; !slices.Equal(all, want) {
		t.Fatalf("all: %v", all)
	}
	last := page["items"].([]any)[3].(map[string]any)
	if last["by"] != "admin" || last["reason"] != "keyCompromise" || last["created_at"] != last["at"] || last["okta_event_type"] != "pki.cert.lifecycle.revoke" ||
		last["data"] != nil || last["count"] != nil || last["offset_seconds"] != nil || page["through"] != last["id"] || page["next_cursor"] != nil {
		t.Errorf("%v", page)
	}
	for query, want := range map[string][]string{
		"types=certificate.revoked":                               {"certificate.revoked"},
		"types=certificate.revoked,certificate.issued":            {"certificate.issued", "certificate.revoked"},
		"configuration=other":                                     {"configuration.added"},
		"configuration=other&types=certificate.issued":            nil,
		"types=token.added":                                       nil,
		"after=" + last["id"].(string):                            nil,
		"after=now":                                               nil,
		"after=ev_0000000000000000&limit=1":                       {"configuration.added"},
		"types=certificate.issued&after=" + last["id"].(string):   nil,
		"types=configuration.added&configuration=default&limit=1": {"configuration.added"},
	} {
		types, page := h.eventsOf(query)
		if !slices.Equal(types, want) {
			t.Errorf("%s: %v, want %v", query, types, want)
		}
		if page["next_cursor"] == nil && page["through"] != last["id"] {
			t.Errorf("%s: through %v", query, page["through"])
		}
	}
	var whole []string
	for after := ""; ; {
		types, page := h.eventsOf("limit=1&after=" + after)
		whole = append(whole, types...)
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		if page["through"] != next {
			t.Errorf("through %v, next %v", page["through"], next)
		}
		after = next
	}
	if !slices.Equal(whole, all) {
		t.Errorf("one by one: %v", whole)
	}
	var newest uint64
	if _, err := fmt.Sscanf(last["id"].(string), "ev_%x", &newest); err != nil {
		t.Fatal(err)
	}
	for query, status := range map[string]int{
		fmt.Sprintf("after=ev_%016x", newest+1): 400,
		"after=ev_ffffffffffffffff":             400, "after=7": 400, "after=ev_": 400, "after=ev_x": 400, "types=certificate": 400, "types=,": 400, "expand=item": 400, "wait=1h": 400,
		"limit=0": 400, "cursor=x": 400, "configuration=nobody": 404,
	} {
		if a := h.api("GET", "/api/v1/events?"+query, ""); a.status != status {
			t.Errorf("%s: %d, want %d", query, a.status, status)
		}
	}
}

// What an event is about comes with it when somebody asks, and to webhooks.
func TestEventData(t *testing.T) {
	h := open(t, inMemory)
	d := readDescription(t, h)
	serial := serialOf(h.enrol("C02XL0GTJGH5"))
	h.clock.Advance(340 * day)
	h.object("POST", "/api/v1/redistribution/rd_"+serial+"/ack", `{"command_id":"cmd-7"}`, 200)
	seen := make(map[string]bool)
	_, page := h.eventsOf("expand=data")
	for _, item := range page["items"].([]any) {
		e := item.(map[string]any)
		kind, _, _ := strings.Cut(e["type"].(string), ".")
		schema := map[string]string{"certificate": "Certificate", "redistribution": "WindowItem"}[kind]
		if (schema == "") != (e["data"] == nil) {
			t.Errorf("%s: data %v", e["type"], e["data"])
		}
		if schema == "" {
			continue
		}
		seen[schema] = true
		d.holds(schema, d.at(d.tree, "components", "schemas", schema), e["data"])
		if kind == "redistribution" && (e["command_id"] != "cmd-7" || e["by"] != "admin" || e["data"].(map[string]any)["id"] != "rd_"+serial) {
			t.Errorf("%v", e)
		}
	}
	if len(seen) != 2 {
		t.Errorf("only %v", seen)
	}
	stored, err := h.depot.Events(t.Context(), depot.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range stored.Items {
		body, err := h.RenderEvent(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		var rendered any
		if err := json.Unmarshal(body, &rendered); err != nil || fmt.Sprint(rendered) != fmt.Sprint(page["items"].([]any)[i]) {
			t.Errorf("for webhooks %s, in the list %v", body, page["items"].([]any)[i])
		}
	}
}

// later runs a request that waits, and returns where its answer comes.
func (h *house) later(r *http.Request) chan reply {
	answer := make(chan reply, 1)
	go func() { answer <- do(h.Admin(), r) }()
	return answer
}

func TestEventWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory)
		_, page := h.eventsOf("")
		after := page["through"].(string)
		begin := time.Now()
		types, page := h.eventsOf("wait=30s&after=" + after)
		if len(types) != 0 || time.Since(begin) != 30*time.Second || page["through"] != after {
			t.Errorf("nothing happened: %v after %v", page, time.Since(begin))
		}
		if h.eventsOf("wait=30s"); time.Since(begin) != 30*time.Second {
			t.Errorf("there is something, and it waited: %v", time.Since(begin))
		}
		answer := h.later(h.request(token, "GET", "/api/v1/events?wait=10m&types=token.added&after="+after, ""))
		time.Sleep(time.Minute)
		h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201) // not what is waited for
		synctest.Wait()
		select {
		case a := <-answer:
			t.Fatalf("another event: %d %s", a.status, a.body)
		default:
		}
		begin = time.Now()
		h.newToken("jane", "read")
		if a := <-answer; a.status != 200 || !strings.Contains(a.body, "token.added") || strings.Contains(a.body, "configuration.added") || time.Since(begin) != 0 {
			t.Errorf("%d %s after %v", a.status, a.body, time.Since(begin))
		}
	})
}

// Who waits for a device hears when it has enrolled, when that cannot happen
// any more, and when the time is over.
func TestItemWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory)
		certificate := h.enrol("C02XL0GTJGH5")
		h.clock.Advance(340 * day)
		path := "/api/v1/redistribution/rd_" + serialOf(certificate)
		state := func(a reply) any {
			t.Helper()
			var item map[string]any
			if err := json.Unmarshal([]byte(a.body), &item); err != nil || a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			return item["state"]
		}
		begin := time.Now()
		if a := h.api("GET", path+"?wait=90s", ""); state(a) != "due" || time.Since(begin) != 90*time.Second {
			t.Errorf("nothing happened: %v after %v", state(a), time.Since(begin))
		}
		waiting := h.later(h.request(token, "GET", path+"?wait=10m", ""))
		synctest.Wait()
		h.object("POST", path+"/ack", "", 200)
		h.clock.Advance(2 * day)
		synctest.Wait()
		begin = time.Now()
		second := h.again("C02XL0GTJGH5")
		if a := <-waiting; state(a) != "superseded" || time.Since(begin) != 0 {
			t.Errorf("enrolled: %v after %v", state(a), time.Since(begin))
		}
		if a := h.api("GET", path+"?wait=10m", ""); state(a) != "superseded" || time.Since(begin) != 0 {
			t.Errorf("it was before: %v after %v", state(a), time.Since(begin))
		}
		path = "/api/v1/redistribution/rd_" + second
		waiting = h.later(h.request(token, "GET", path+"?wait=10m", ""))
		synctest.Wait()
		h.clock.Advance(400 * day)
		if a := <-waiting; state(a) != "expired" || time.Since(begin) != 0 {
			t.Errorf("the clock was moved: %v after %v", state(a), time.Since(begin))
		}
		waiting = h.later(h.request(token, "GET", path+"?wait=10m", ""))
		h.object("POST", "/api/v1/certificates/"+second+"/revoke", "{}", 200)
		if a := <-waiting; state(a) == "due" {
			t.Errorf("revoked: %v", state(a))
		}
	})
}

// Who waits sees the event of a removal before the removal has been answered;
// that is too early to let its token go on waiting.
func TestWaitEndsWithTokenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory, func(h *house) {
			h.wrap = func(d depot.Depot) depot.Depot { return &slowRemoval{d} }
		})
		reader := h.newToken("reader", "read")
		_, page := h.eventsOf("")
		removed := h.later(h.request(reader, "GET", "/api/v1/events?wait=10m&types=configuration.added&after="+page["through"].(string), ""))
		synctest.Wait()
		begin := time.Now()
		if a := h.api("DELETE", "/api/v1/tokens/reader", ""); a.status != 204 {
			t.Fatal(a.body)
		}
		if a := <-removed; a.status != 401 || time.Since(begin) != 0 {
			t.Errorf("removed: %d after %v", a.status, time.Since(begin))
		}
	})
}

// slowRemoval lets everybody look at what a removal stored before it ends.
type slowRemoval struct{ depot.Depot }

func (d *slowRemoval) RemoveToken(ctx context.Context, id, by string, at time.Time) (depot.Token, error) {
	t, err := d.Depot.RemoveToken(ctx, id, by, at)
	synctest.Wait()
	return t, err
}

// A token that is removed, or expires, while its request waits is good for
// nothing.
func TestWaitEndsWithToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory)
		reader := h.newToken("reader", "read")
		short := h.object("POST", "/api/v1/tokens", `{"name":"short","scopes":["read"],"ttl_seconds":60}`, 201)["token"].(string)
		_, page := h.eventsOf("")
		target := "/api/v1/events?wait=10m&types=configuration.added&after=" + page["through"].(string)
		removed, expired, other := h.later(h.request(reader, "GET", target, "")), h.later(h.request(short, "GET", target, "")), h.later(h.request(token, "GET", target, ""))
		synctest.Wait()
		begin := time.Now()
		if a := h.api("DELETE", "/api/v1/tokens/reader", ""); a.status != 204 {
			t.Fatal(a.body)
		}
		if a := <-removed; a.status != 401 || time.Since(begin) != 0 {
			t.Errorf("removed: %d after %v", a.status, time.Since(begin))
		}
		h.clock.Advance(time.Minute)
		if a := <-expired; a.status != 401 || time.Since(begin) != 0 {
			t.Errorf("expired: %d after %v", a.status, time.Since(begin))
		}
		synctest.Wait()
		h.object("POST", "/api/v1/configurations", `{"name":"other"}`, 201)
		if a := <-other; a.status != 200 || !strings.Contains(a.body, "configuration.added") {
			t.Errorf("another's: %d %s", a.status, a.body)
		}
	})
}

// Only so many wait at once, and who hangs up leaves its place.
func TestWaitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory)
		_, page := h.eventsOf("")
		target := "/api/v1/events?wait=10m&after=" + page["through"].(string)
		ctx, hangUp := context.WithCancel(t.Context())
		var answers []chan reply
		for range 64 {
			answers = append(answers, h.later(h.request(token, "GET", target, "").WithContext(ctx)))
		}
		synctest.Wait()
		begin := time.Now()
		if a := h.api("GET", target, ""); a.status != 503 || a.header.Get("Retry-After") == "" || time.Since(begin) != 0 {
			t.Errorf("one too many: %d after %v", a.status, time.Since(begin))
		}
		if a := h.api("GET", "/api/v1/events", ""); a.status != 200 {
			t.Errorf("who does not wait: %d", a.status)
		}
		hangUp()
		for _, answer := range answers {
			<-answer
		}
		if a := h.api("GET", strings.Replace(target, "10m", "1s", 1), ""); a.status != 200 {
			t.Errorf("afterwards: %d", a.status)
		}
		if strings.Contains(h.log.String(), "admin request") {
			t.Errorf("hanging up is logged as an error: %s", h.log)
		}
	})
}

// A wait outlasts the listener's limits, which are for what is answered at
// once; and it ends when the server stops.
func TestWaitOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, inMemory)
		_, page := h.eventsOf("")
		target := "http://localhost/api/v1/events?wait=5m&after=" + page["through"].(string)
		s := serve(t, h)
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return s.admin.dial() }}
		defer transport.CloseIdleConnections()
		get := func() (int, time.Duration) {
			begin := time.Now()
			r, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+token)
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Errorf("after %v: %v", time.Since(begin), err)
				return 0, 0
			}
			_ = response.Body.Close()
			return response.StatusCode, time.Since(begin)
		}
		if status, took := get(); status != 200 || took != 5*time.Minute {
			t.Errorf("%d after %v", status, took)
		}
		time.AfterFunc(time.Minute, s.stop)
		if status, took := get(); status != 200 || took != time.Minute {
			t.Errorf("a server that stops: %d after %v", status, took)
		}
		if err := <-s.stopped; err != nil {
			t.Error(err)
		}
	})
}
