package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
)

func yield() { runtime.Gosched() }

func TestDelivery(t *testing.T) {
	w := newWorld(t)
	r := receive(t, nil)
	id, secret := w.add(r.URL + "/hook")
	w.run()
	ids := w.issued(1)
	a := r.next(t)
	w.result(notify.ResultDelivered)
	if a.body != ids[0] || a.path != "/hook" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("arrived: %+v", a)
	}
	if got, want := a.header.Get("X-Delivery"), id+"."+ids[0]+".1"; got != want {
		t.Errorf("X-Delivery is %q, want %q", got, want)
	}
	// Signed in the machine's time, not the lab's.
	if err := notify.Verify(secret, a.header.Get("X-Signature"), []byte(a.body), w.wall.Now(), time.Second); err != nil {
		t.Error(err)
	}
	w.stop()
	if s := w.show(id); s.Waiting != 0 || s.Dead != 0 || s.Through != 2 {
		t.Errorf("stands at %+v", s)
	}
	r.none(t)
}

// A webhook gets what comes after it was added, of its types and
// configuration, in the order in which it happened when nothing fails.
func TestSelection(t *testing.T) {
	w := newWorld(t)
	before := receive(t, nil)
	w.issued(3)
	w.run()
	added, _, err := w.service.Add(t.Context(), notify.Wish{URL: before.URL, Types: []string{"certificate.revoked", "redistribution.due"}, ConfigurationID: "rac1"}, "anna")
	if err != nil {
		t.Fatal(err)
	}
	w.issued(5)
	other := w.store.happen(depot.Event{Type: depot.EventCertificateRevoked, ConfigurationID: "rac2"})
	want := []string{
		notify.EventID(w.store.happen(depot.Event{Type: depot.EventCertificateRevoked, ConfigurationID: "rac1"})),
		notify.EventID(w.store.happen(depot.Event{Type: depot.EventRedistributionDue, ConfigurationID: "rac1"})),
	}
	once(t, before.events(t, 2), want)
	w.result(notify.ResultDelivered)
	w.result(notify.ResultDelivered)
	w.stop()
	before.none(t)
	if s := w.show(added.ID); s.Through <= other {
		t.Errorf("stands at %d, before %d", s.Through, other)
	}
}

// Every attempt but the last is followed by another after the next wait, and
// not a moment sooner.
func TestRetriesUntilDead(t *testing.T) {
	w := newWorld(t)
	r := receive(t, status(http.StatusBadGateway))
	id, _ := w.add(r.URL)
	w.run()
	ids := w.issued(1)
	for i, wait := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute} {
		if got, want := r.next(t).header.Get("X-Delivery"), fmt.Sprintf("%s.%s.%d", id, ids[0], i+1); got != want {
			t.Errorf("X-Delivery is %s, want %s", got, want)
		}
		w.result(notify.ResultFailed)
		page, err := w.service.Deliveries(t.Context(), depot.NotificationQuery{WebhookID: id})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("waiting: %+v, %v", page, err)
		}
		n := page.Items[0]
		if n.Attempts != i+1 || n.LastStatus != 502 || !n.NextAt.Equal(w.wall.Now().Add(wait)) || !n.LastAt.Equal(w.wall.Now()) || n.LastError != "" {
			t.Errorf("after attempt %d: %+v", i+1, n)
		}
		w.wall.Advance(wait - time.Millisecond)
		w.issued(1) // makes the worker look
		w.eventually("the other event", func() bool { return w.show(id).Waiting+w.show(id).Dead == 2 })
		if got := r.next(t).event(); got == ids[0] {
			t.Fatal("tried again before its time")
		}
		w.result(notify.ResultFailed)
		w.store.set(func() { // only the first one is looked at here
			for e := range w.store.notifications[id] {
				if notify.EventID(e) != ids[0] {
					delete(w.store.notifications[id], e)
				}
			}
		})
		w.wall.Advance(time.Millisecond)
	}
	r.next(t)
	w.result(notify.ResultDead)
	s := w.show(id)
	if s.Waiting != 0 || s.Dead != 1 || !s.DisabledAt.IsZero() {
		t.Errorf("stands at %+v", s)
	}
	dead, err := w.service.Deliveries(t.Context(), depot.NotificationQuery{WebhookID: id, Dead: true})
	if err != nil || len(dead.Items) != 1 || dead.Items[0].Attempts != 6 || !dead.Items[0].NextAt.IsZero() || dead.Items[0].LastStatus != 502 {
		t.Errorf("dead: %+v, %v", dead, err)
	}
	w.wall.Advance(time.Hour)
	w.stop()
	r.none(t)
}

// Attempts are put off by a little more or less than the wait, so that many do
// not come at once.
func TestJitter(t *testing.T) {
	waited := func(w *world) time.Duration {
		id, _ := w.add(receive(t, status(http.StatusBadGateway)).URL)
		w.run()
		w.issued(1)
		w.result(notify.ResultFailed)
		w.eventually("saved", func() bool { return w.show(id).Waiting == 1 })
		page, err := w.service.Deliveries(t.Context(), depot.NotificationQuery{WebhookID: id})
		if err != nil || len(page.Items) != 1 {
			t.Fatalf("waiting: %+v, %v", page, err)
		}
		return page.Items[0].NextAt.Sub(w.wall.Now())
	}
	if d := waited(newWorld(t, func(o *notify.Options) { o.Jitter = func(d time.Duration) time.Duration { return d + 7*time.Second } })); d != 8*time.Second {
		t.Errorf("waits %s, want 8s", d)
	}
	different := map[time.Duration]bool{}
	for range 8 {
		d := waited(newWorld(t, func(o *notify.Options) { o.Jitter = nil }))
		if different[d] = true; d < 800*time.Millisecond || d > 1200*time.Millisecond {
			t.Errorf("waits %s, want about a second", d)
		}
	}
	if len(different) == 1 {
		t.Error("all wait for the same time")
	}
}

// The machine's clock goes back, because it was wrong before: what waits does
// not wait until that time comes again.
func TestClockGoesBack(t *testing.T) {
	w := newWorld(t)
	r := receive(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	id, _ := w.add(r.URL)
	w.run()
	w.issued(1)
	r.next(t)
	w.result(notify.ResultFailed)
	w.eventually("saved", func() bool { return w.show(id).Waiting == 1 })
	w.wall.Advance(-24 * time.Hour)
	r.next(t)
	w.result(notify.ResultDelivered)
	w.stop()
	if s := w.show(id); s.Waiting != 0 {
		t.Errorf("stands at %+v", s)
	}
}

// Fails twice, then works: each event arrives, once as delivered.
func TestFailsTwiceFirst(t *testing.T) {
	w := newWorld(t)
	r := receive(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= 2 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	id, _ := w.add(r.URL)
	w.run()
	w.issued(1)
	for _, wait := range []time.Duration{time.Second, 5 * time.Second} {
		r.next(t)
		w.result(notify.ResultFailed)
		w.wall.Advance(wait)
	}
	if a := r.next(t); a.status != http.StatusOK || !strings.HasSuffix(a.header.Get("X-Delivery"), ".3") {
		t.Errorf("arrived: %+v", a)
	}
	w.result(notify.ResultDelivered)
	w.stop()
	if s := w.show(id); s.Waiting != 0 || s.Dead != 0 {
		t.Errorf("stands at %+v", s)
	}
}

func TestStatuses(t *testing.T) {
	for code, want := range map[int]notify.Result{
		200: notify.ResultDelivered, 201: notify.ResultDelivered, 204: notify.ResultDelivered, 299: notify.ResultDelivered,
		301: notify.ResultFailed, 302: notify.ResultFailed, 304: notify.ResultFailed, 307: notify.ResultFailed, 308: notify.ResultFailed,
		400: notify.ResultFailed, 404: notify.ResultFailed, 429: notify.ResultFailed, 500: notify.ResultFailed, 410: notify.ResultGone,
	} {
		w := newWorld(t)
		w.add(receive(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(code)
		}).URL)
		w.run()
		w.issued(1)
		if got := take(t, w.results, "result"); got != want {
			t.Errorf("%d: %s, want %s", code, got, want)
		}
		w.stop()
	}
}

// 410 disables; what was not delivered is when somebody enables it again.
func TestGone(t *testing.T) {
	w := newWorld(t)
	r := receive(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusGone)
		}
	})
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	w.run()
	ids := w.issued(1)
	r.next(t)
	w.result(notify.ResultGone)
	w.eventually("disabled", func() bool { return !w.show(id).DisabledAt.IsZero() })
	s := w.show(id)
	if !strings.Contains(s.DisabledWhy, "410") || !s.DisabledAt.Equal(w.clock.Now()) || s.Revision != 2 || s.ChangedBy != "policy: deliveries" {
		t.Errorf("disabled: %+v", s.Webhook)
	}
	if page, err := w.service.Deliveries(t.Context(), depot.NotificationQuery{WebhookID: id}); err != nil || len(page.Items) != 1 || page.Items[0].Attempts != 0 {
		t.Errorf("waiting: %+v, %v; want one that has all its attempts before it", page.Items, err)
	}
	ids = append(ids, w.issued(3)...)
	w.wall.Advance(time.Hour)
	again, err := w.service.Enable(t.Context(), id)
	if err != nil || !again.DisabledAt.IsZero() || again.DisabledWhy != "" {
		t.Fatalf("enabled: %+v, %v", again, err)
	}
	once(t, r.events(t, 4), ids)
	for range 4 {
		w.result(notify.ResultDelivered)
	}
	w.stop()
	r.none(t)
	unchanged, err := w.service.Enable(t.Context(), id)
	if err != nil || unchanged.Revision != again.Revision {
		t.Errorf("enabling what is enabled: %+v, %v", unchanged, err)
	}
}

// A receiver that never answers holds up nobody else.
func TestSlowReceiverHoldsUpNobody(t *testing.T) {
	w := newWorld(t)
	slow := receive(t, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	fast := receive(t, nil)
	w.add(slow.URL, string(depot.EventCertificateIssued))
	w.add(fast.URL, string(depot.EventCertificateIssued))
	w.run()
	ids := w.issued(100)
	once(t, fast.events(t, 100), ids)
	w.stop() // does not wait for the slow one either
}

// At a receiver that is dead, the place in the log stands still when enough
// waits; nothing is lost by it.
func TestDeadReceiverIsBounded(t *testing.T) {
	w := newWorld(t)
	alive := make(chan struct{})
	r := receive(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		select {
		case <-alive:
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	ids := w.issued(700)
	w.run()
	for range 500 {
		r.next(t)
		w.result(notify.ResultFailed)
	}
	w.eventually("standstill", func() bool { return w.show(id).Waiting == 500 })
	if through := w.show(id).Through; through != 501 {
		t.Errorf("stands at %d", through)
	}
	close(alive)
	got := map[string]int{}
	for end := time.Now().Add(patience); len(got) < 700 && time.Now().Before(end); {
		w.wall.Advance(time.Second)
		select {
		case a := <-r.arrivals:
			if a.status == http.StatusOK {
				got[a.event()]++
			}
		case <-time.After(10 * time.Millisecond): // then it is time for more time
		}
	}
	w.eventually("everything is delivered", func() bool { return w.show(id).Waiting == 0 })
	w.stop()
	once(t, got, ids)
	if s := w.show(id); s.Dead != 0 {
		t.Errorf("stands at %+v", s)
	}
}

// The process may end at any moment: another one that begins with what is
// stored delivers everything. What had arrived when the end came before the
// save arrives twice.
func TestNothingIsLostByAnEnd(t *testing.T) {
	w := newWorld(t)
	r := receive(t, nil)
	w.add(r.URL, string(depot.EventCertificateIssued))
	killed := errors.New("killed")
	ids := w.issued(50)
	got := map[string]int{}
	for round := range 8 {
		saves := 0
		w.store.set(func() {
			w.store.onSave = func() error { // the power goes before a save
				if saves++; saves > round%3 && round < 7 {
					return killed
				}
				return nil
			}
		})
		w.open()
		w.run()
		if round < 7 {
			got[r.next(t).event()]++
		} else {
			w.eventually("all delivered", func() bool {
				for len(r.arrivals) > 0 {
					got[r.next(t).event()]++
				}
				return len(got) == 50
			})
		}
		w.stop()
	}
	for _, id := range ids {
		if got[id] == 0 {
			t.Errorf("%s was lost", id)
		}
	}
}

// Whoever stops the server does not make anything arrive twice but what was
// under way. Four are at once, so that the last four of eight begin when the
// first four have ended.
func TestStopSavesWhatArrived(t *testing.T) {
	w := newWorld(t)
	begun := make(chan struct{}, 8)
	r := receive(t, func(n int, _ http.ResponseWriter, r *http.Request) {
		if n > 4 && n <= 8 {
			begun <- struct{}{}
			<-r.Context().Done()
		}
	})
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	ids := w.issued(8)
	w.run()
	got := r.events(t, 4)
	for range 4 {
		take(t, begun, "delivery of the last four")
	}
	w.stop()
	for range 4 {
		w.result(notify.ResultDelivered)
		r.next(t) // what was cut off
	}
	if s := w.show(id); s.Waiting != 4 || s.Through != 9 {
		t.Errorf("stands at %+v", s)
	}
	w.open()
	w.run()
	for range 4 {
		a := r.next(t)
		got[a.event()]++
		if !strings.HasSuffix(a.header.Get("X-Delivery"), ".1") {
			t.Errorf("what was cut off counts as an attempt: %v", a.header)
		}
		w.result(notify.ResultDelivered)
	}
	w.stop()
	once(t, got, ids)
	r.none(t)
	if s := w.show(id); s.Waiting != 0 {
		t.Errorf("stands at %+v", s)
	}
}

// Changes of webhooks take effect at once.
func TestChangesArePickedUp(t *testing.T) {
	w := newWorld(t)
	first, second := receive(t, nil), receive(t, nil)
	w.run()
	id, old := w.add(first.URL, string(depot.EventCertificateIssued))
	w.issued(1)
	first.next(t)
	w.result(notify.ResultDelivered)

	if _, err := w.service.Change(t.Context(), id, notify.Changes{URL: &second.URL}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the new URL", func() bool {
		w.issued(1)
		select {
		case <-first.arrivals: // before the change was seen
			w.result(notify.ResultDelivered)
			return false
		case <-second.arrivals:
			w.result(notify.ResultDelivered)
			return true
		case <-time.After(patience):
			return false
		}
	})
	rotated, secret, err := w.service.By("berta").Rotate(t.Context(), id)
	if err != nil || secret == old || rotated.ChangedBy != "berta" || rotated.CreatedBy != "anna" {
		t.Fatalf("rotated: %v", err)
	}
	w.eventually("the new secret", func() bool {
		w.issued(1)
		a := second.next(t)
		w.result(notify.ResultDelivered)
		return notify.Verify(secret, a.header.Get("X-Signature"), []byte(a.body), w.wall.Now(), 0) == nil
	})
	if err := w.service.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	third, _ := w.add(first.URL, string(depot.EventCertificateIssued))
	w.issued(1)
	first.next(t)
	w.result(notify.ResultDelivered)
	if list, err := w.service.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != third {
		t.Errorf("List: %+v, %v", list, err)
	}
	w.stop()
	first.none(t)
}

// A store that fails for a while delays deliveries and loses none.
func TestStoreFails(t *testing.T) {
	w := newWorld(t)
	r := receive(t, nil)
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	failed := make(chan struct{}, 1)
	w.store.set(func() {
		w.store.onSave = func() error {
			w.store.onSave = nil
			failed <- struct{}{}
			return depot.ErrUnavailable
		}
	})
	w.run()
	ids := w.issued(1)
	r.next(t)
	take(t, failed, "save that fails")
	w.eventually("another delivery", func() bool { w.wall.Advance(time.Second); return len(w.results) == 1 })
	if got := r.next(t).event(); got != ids[0] {
		t.Errorf("arrived: %s", got)
	}
	w.stop()
	if s := w.show(id); s.Through != 2 || s.Waiting != 0 {
		t.Errorf("stands at %+v", s)
	}
}

// What cannot be rendered is tried again and given up like what cannot be
// delivered; a store that cannot be read is no attempt.
func TestRenderFails(t *testing.T) {
	failure := make(chan error, 1)
	w := newWorld(t, func(o *notify.Options) {
		render := o.Render
		o.Render = func(ctx context.Context, e depot.Event) ([]byte, error) {
			select {
			case err := <-failure:
				return nil, err
			default:
				return render(ctx, e)
			}
		}
	})
	r := receive(t, nil)
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	failure <- errors.New("no such identity\x00\n")
	w.run()
	w.issued(1)
	w.result(notify.ResultFailed)
	page, err := w.service.Deliveries(t.Context(), depot.NotificationQuery{WebhookID: id})
	if err != nil || len(page.Items) != 1 || page.Items[0].LastError != "no such identity??" || page.Items[0].Attempts != 1 {
		t.Fatalf("waiting: %+v, %v", page, err)
	}
	failure <- fmt.Errorf("render: %w", depot.ErrUnavailable)
	w.wall.Advance(time.Second)
	w.eventually("unavailable", func() bool { return len(failure) == 0 })
	w.eventually("delivered", func() bool { w.wall.Advance(time.Second); return len(r.arrivals) == 1 })
	if a := r.next(t); !strings.HasSuffix(a.header.Get("X-Delivery"), ".2") {
		t.Errorf("arrived: %+v", a)
	}
	w.result(notify.ResultDelivered)
	w.stop()
}

// Events that a webhook does not want cost it no step each.
func TestUnwantedEventsAreNotSaved(t *testing.T) {
	w := newWorld(t)
	r := receive(t, nil)
	id, _ := w.add(r.URL, string(depot.EventRedistributionDue))
	w.issued(2500)
	w.run()
	// Nor would another process look at all of them again.
	w.eventually("place is saved", func() bool { return w.show(id).Through > 1000 })
	w.store.happen(depot.Event{Type: depot.EventRedistributionDue})
	r.next(t)
	w.result(notify.ResultDelivered)
	w.stop()
	w.store.set(func() {
		if w.store.saves > 4 {
			t.Errorf("saved %d times for 2500 events that it does not want", w.store.saves)
		}
	})
	if s := w.show(id); s.Through != 2502 {
		t.Errorf("stands at %d", s.Through)
	}
}

// A receiver gets four at once, and the place is saved after at most 32: as
// many come twice when the process is killed.
func TestFewUnderWay(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	now, most, unsaved, mostUnsaved := 0, 0, 0, 0
	four := make(chan struct{})
	r := receive(t, func(n int, _ http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		now, unsaved = now+1, unsaved+1
		most, mostUnsaved = max(most, now), max(mostUnsaved, unsaved)
		mu.Unlock()
		if n == 4 {
			for range 1000 { // in which a fifth would come
				yield()
			}
			close(four)
		}
		<-four
		mu.Lock()
		now--
		mu.Unlock()
	})
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	ids := w.issued(200)
	w.store.set(func() {
		for i := range uint64(100) { // the first half waits
			w.store.notifications[id][2+i] = depot.Notification{WebhookID: id, Event: 2 + i, Attempts: 1}
		}
		w.store.through[id] = 101
		w.store.onSave = func() error {
			mu.Lock()
			defer mu.Unlock()
			unsaved = 0
			return nil
		}
	})
	w.run()
	once(t, r.events(t, 200), ids)
	w.stop()
	if most != 4 || mostUnsaved > 32 {
		t.Errorf("%d at once, %d before a save; want 4 and at most 32", most, mostUnsaved)
	}
}

// Of what waits the earliest is next, and what has no event any more is given
// up without bothering the receiver.
func TestWhatWaits(t *testing.T) {
	w := newWorld(t)
	r := receive(t, nil)
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	ids := w.issued(3)
	w.store.set(func() {
		for event, n := range map[uint64]depot.Notification{
			2: {Attempts: 5, NextAt: w.wall.Now().Add(10 * time.Minute)}, 3: {Attempts: 1, NextAt: w.wall.Now().Add(time.Second)},
			4: {Attempts: 2, NextAt: w.wall.Now().Add(time.Minute)}, 999: {Attempts: 5, NextAt: w.wall.Now().Add(2 * time.Minute)},
		} {
			n.WebhookID, n.Event = id, event
			w.store.notifications[id][event] = n
		}
		w.store.through[id] = 4
	})
	w.run()
	for _, step := range []struct {
		wait time.Duration
		id   string
	}{{time.Second, ids[1]}, {time.Minute, ids[2]}, {10 * time.Minute, ids[0]}} {
		if step.id == ids[0] {
			w.wall.Advance(2 * time.Minute)
			w.result(notify.ResultDead)
		}
		w.wall.Advance(step.wait)
		if got := r.next(t).event(); got != step.id {
			t.Errorf("after %s more: %s, want %s", step.wait, got, step.id)
		}
		w.result(notify.ResultDelivered)
	}
	w.stop()
	r.none(t)
	page, err := w.service.Deliveries(t.Context(), depot.NotificationQuery{WebhookID: id, Dead: true})
	if err != nil || len(page.Items) != 1 || page.Items[0].Event != 999 || page.Items[0].LastError != "the event is not there any more" {
		t.Errorf("given up: %+v, %v", page.Items, err)
	}
}

// A receiver that is gone for good does not fill the disk.
func TestTooManyDead(t *testing.T) {
	w := newWorld(t)
	r := receive(t, status(http.StatusTeapot))
	id, _ := w.add(r.URL, string(depot.EventCertificateIssued))
	sequence := w.store.happen(depot.Event{Type: depot.EventCertificateIssued})
	w.store.set(func() {
		for i := range uint64(9999) {
			w.store.notifications[id][1_000_000+i] = depot.Notification{WebhookID: id, Event: 1_000_000 + i, Dead: true}
		}
		w.store.notifications[id][sequence] = depot.Notification{WebhookID: id, Event: sequence, Attempts: 5}
		w.store.through[id] = sequence
	})
	w.run()
	w.result(notify.ResultDead)
	w.eventually("disabled", func() bool { return strings.Contains(w.show(id).DisabledWhy, "10000 deliveries were given up") })
	waiting, dead, err := w.Counts(t.Context())
	if waiting != 0 || dead != 10_000 || err != nil {
		t.Errorf("Counts = %d, %d, %v", waiting, dead, err)
	}
}
