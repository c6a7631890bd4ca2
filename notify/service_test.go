package notify_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
)

func TestAdd(t *testing.T) {
	w := newWorld(t)
	added, secret, err := w.service.Add(t.Context(), notify.Wish{URL: "http://127.0.0.1/", Types: []string{"redistribution.due"}, ConfigurationID: "rac1"}, "anna")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(added.ID, "wh_") || len(added.ID) != 20 || added.Revision != 1 || added.Generation != 1 || added.CreatedBy != "anna" ||
		!added.CreatedAt.Equal(began) || added.Through != 1 || secret != key(t).Secret(added.ID, 1) {
		t.Errorf("added %+v", added)
	}
	for name, c := range map[string]struct {
		wish  notify.Wish
		field string
	}{
		"target":        {notify.Wish{URL: "http://127.0.0.2/"}, "url"},
		"scheme":        {notify.Wish{URL: "file:///etc/passwd"}, "url"},
		"no URL":        {notify.Wish{}, "url"},
		"type":          {notify.Wish{URL: "http://127.0.0.1/", Types: []string{"certificate.issued", "certificate.*"}}, "types"},
		"type of test":  {notify.Wish{URL: "http://127.0.0.1/", Types: []string{"webhook.test"}}, "types"},
		"type twice":    {notify.Wish{URL: "http://127.0.0.1/", Types: []string{"certificate.issued", "certificate.issued"}}, "types"},
		"configuration": {notify.Wish{URL: "http://127.0.0.1/", ConfigurationID: "xyz"}, "configuration"},
	} {
		var wrong *notify.FieldError
		if _, _, err := w.service.Add(t.Context(), c.wish, "anna"); !errors.As(err, &wrong) || wrong.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.service.Change(t.Context(), added.ID, notify.Changes{URL: &c.wish.URL, Types: &c.wish.Types, ConfigurationID: &c.wish.ConfigurationID}); !errors.As(err, &wrong) || wrong.Field != c.field {
			t.Errorf("change, %s: %v", name, err)
		}
	}
	if s := w.show(added.ID); s.Revision != 1 || s.URL != "http://127.0.0.1/" {
		t.Errorf("changed to %+v", s)
	}
}

func TestUnknownWebhook(t *testing.T) {
	w := newWorld(t)
	for name, call := range map[string]func() error{
		"Show":      func() error { _, err := w.service.Show(t.Context(), "wh_x"); return err },
		"Change":    func() error { _, err := w.service.Change(t.Context(), "wh_x", notify.Changes{}); return err },
		"Rotate":    func() error { _, _, err := w.service.Rotate(t.Context(), "wh_x"); return err },
		"Enable":    func() error { _, err := w.service.Enable(t.Context(), "wh_x"); return err },
		"Remove":    func() error { return w.service.Remove(t.Context(), "wh_x") },
		"Test":      func() error { _, err := w.service.Test(t.Context(), "wh_x"); return err },
		"Redeliver": func() error { _, err := w.service.Redeliver(t.Context(), "wh_x", nil); return err },
		"Deliveries": func() error {
			_, err := w.service.Deliveries(t.Context(), depot.NotificationQuery{WebhookID: "wh_x"})
			return err
		},
	} {
		if err := call(); !errors.Is(err, depot.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTest(t *testing.T) {
	w := newWorld(t)
	r := receive(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n > 1 {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	id, secret := w.add(r.URL)
	got, err := w.service.Test(t.Context(), id)
	if err != nil || !got.Delivered() || got.Status != 200 {
		t.Fatalf("%+v, %v", got, err)
	}
	a := r.next(t)
	var body map[string]any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body["type"] != "webhook.test" || body["created_at"] != "2026-05-04T12:00:00Z" || body["data"] != nil {
		t.Errorf("body %s: %v", a.body, err)
	}
	if err := notify.Verify(secret, a.header.Get("X-Signature"), []byte(a.body), w.wall.Now(), time.Second); err != nil {
		t.Error(err)
	}
	if a.header.Get("X-Delivery") != got.Delivery || !strings.Contains(got.Delivery, body["id"].(string)) {
		t.Errorf("delivery %q, %v", got.Delivery, a.header)
	}
	if got, err := w.service.Test(t.Context(), id); err != nil || got.Delivered() || got.Status != http.StatusTeapot {
		t.Errorf("%+v, %v", got, err)
	}
	if s := w.show(id); s.Waiting != 0 || s.Dead != 0 {
		t.Errorf("a test left %+v", s)
	}
}

func TestRedeliver(t *testing.T) {
	w := newWorld(t)
	broken := make(chan struct{})
	r := receive(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		select {
		case <-broken:
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	ids := w.issued(3)
	w.run()
	for i := range 6 {
		r.events(t, 3)
		for range 3 {
			w.result(map[bool]notify.Result{true: notify.ResultDead, false: notify.ResultFailed}[i == 5])
		}
		if i < 5 {
			w.eventually("saved", func() bool { return w.show(id).Waiting == 3 })
			w.wall.Advance(10 * time.Minute)
		}
	}
	w.eventually("dead", func() bool { return w.show(id).Dead == 3 })
	close(broken)
	if n, err := w.service.Redeliver(t.Context(), id, []uint64{3}); n != 1 || err != nil {
		t.Fatalf("Redeliver = %d, %v", n, err)
	}
	if got := r.next(t).event(); got != ids[1] {
		t.Errorf("arrived: %s", got)
	}
	w.result(notify.ResultDelivered)
	if n, err := w.service.Redeliver(t.Context(), id, nil); n != 2 || err != nil {
		t.Fatalf("Redeliver = %d, %v", n, err)
	}
	once(t, r.events(t, 2), []string{ids[0], ids[2]})
	w.result(notify.ResultDelivered)
	w.result(notify.ResultDelivered)
	// Also what was delivered before; what is named twice, once.
	if n, err := w.service.Redeliver(t.Context(), id, []uint64{2, 2}); n != 1 || err != nil {
		t.Fatalf("Redeliver = %d, %v", n, err)
	}
	if got := r.next(t).event(); got != ids[0] {
		t.Errorf("arrived: %s", got)
	}
	w.result(notify.ResultDelivered)
	for name, events := range map[string][]uint64{"none such": {99}, "zero": {0}, "too many": make([]uint64, 501)} {
		var wrong *notify.FieldError
		if _, err := w.service.Redeliver(t.Context(), id, events); !errors.As(err, &wrong) || wrong.Field != "events" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, err := w.service.Redeliver(t.Context(), id, nil); n != 0 || err != nil {
		t.Errorf("Redeliver = %d, %v", n, err)
	}
	w.stop()
	r.none(t)
	if s := w.show(id); s.Waiting != 0 || s.Dead != 0 {
		t.Errorf("stands at %+v", s)
	}
	w.issued(1)
	var wrong *notify.FieldError
	if _, err := w.service.Redeliver(t.Context(), id, []uint64{5}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "yet to come") {
		t.Errorf("an event to come: %v", err)
	}
}
