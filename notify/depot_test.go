package notify_test

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/notify"
)

// The same with a store on a disk: what is delivered, what waits and what was
// refused outlives the process.
func TestOnADisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	authority, wall := clock.NewManual(began), clock.NewManual(began)
	var broken atomic.Bool
	broken.Store(true)
	r := receive(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(500)
		}
	})
	results := make(chan notify.Result, 100)
	// live runs a process until do returns.
	live := func(do func(d *bolt.Depot, s *notify.Service, rejections *notify.Rejections)) {
		t.Helper()
		log := slog.New(slog.DiscardHandler)
		d, err := bolt.Open(dir, bolt.Options{Clock: authority, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		dispatcher := notify.New(d, notify.Options{
			Client: notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{}), Key: key(t), Log: log, Clock: authority, Wall: wall,
			Render:  func(_ context.Context, e depot.Event) ([]byte, error) { return []byte(e.Type), nil },
			Observe: func(r notify.Result) { results <- r },
		})
		rejections := notify.NewRejections(d, notify.RejectionsOptions{Clock: authority, Wall: wall, Log: log})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{}, 2)
		for _, run := range []func(context.Context){dispatcher.Run, rejections.Run} {
			go func() {
				run(ctx)
				ended <- struct{}{}
			}()
		}
		do(d, notify.NewService(dispatcher, notify.ServiceOptions{}), rejections)
		cancel()
		take(t, ended, "end")
		take(t, ended, "end")
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var id string
	live(func(d *bolt.Depot, s *notify.Service, rejections *notify.Rejections) {
		if err := d.AddConfiguration(t.Context(), depot.Configuration{ID: "rac1", Revision: 1, Name: "default", Mode: depot.ModeStatic, CreatedAt: began, ChangedAt: began}); err != nil {
			t.Fatal(err)
		}
		added, _, err := s.Add(t.Context(), notify.Wish{URL: r.URL, Types: []string{string(depot.EventChallengeRejected)}}, "anna")
		if err != nil {
			t.Fatal(err)
		}
		id = added.ID
		rejections.Note("rac1", "default", "challenge_wrong", "192.0.2.1")
		if got := take(t, results, "result"); got != notify.ResultFailed {
			t.Errorf("result is %s", got)
		}
		r.next(t)
		rejections.Note("rac1", "default", "challenge_wrong", "192.0.2.1") // at the end
	})
	broken.Store(false)
	live(func(d *bolt.Depot, s *notify.Service, _ *notify.Rejections) {
		if got := r.next(t); got.body != string(depot.EventChallengeRejected) { // what was noted at the end
			t.Errorf("arrived: %+v", got)
		}
		take(t, results, "result")
		wall.Advance(2 * time.Second)
		r.next(t)
		take(t, results, "result")
	})
	live(func(d *bolt.Depot, s *notify.Service, _ *notify.Rejections) {
		status, err := s.Show(t.Context(), id)
		if err != nil || status.Waiting != 0 || status.Dead != 0 {
			t.Errorf("stands at %+v, %v", status, err)
		}
		page, err := d.Events(t.Context(), depot.EventQuery{Types: []depot.EventType{depot.EventChallengeRejected}})
		if err != nil || len(page.Items) != 2 || page.Items[0].Count != 1 || page.Items[1].Source != "192.0.2.1" {
			t.Errorf("events %+v, %v", page.Items, err)
		}
		if err := s.By("berta").Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("List: %+v, %v", list, err)
		}
		if problems, err := d.Check(t.Context()); err != nil || len(problems) != 0 {
			t.Errorf("Check: %v, %v", problems, err)
		}
	})
	r.none(t)
}
