package notify_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// arrival is a delivery as its receiver saw it.
type arrival struct {
	path   string
	header http.Header
	body   string
	status int // that it was answered with
}

// event is the id of the event that arrived.
func (a arrival) event() string { return a.body }

// receiver is a real HTTP server that webhooks are sent to.
type receiver struct {
	*httptest.Server
	arrivals chan arrival

	mu     sync.Mutex
	answer func(n int, w http.ResponseWriter, r *http.Request) // n: from 1
	n      int
}

// receive starts a receiver. A nil answer is 204.
func receive(t testing.TB, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	r := &receiver{arrivals: make(chan arrival, 10_000), answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.n++
	n, answer := r.n, r.answer
	r.mu.Unlock()
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	if answer == nil {
		status.WriteHeader(http.StatusNoContent)
	} else {
		answer(n, status, q)
	}
	r.arrivals <- arrival{q.URL.Path, q.Header, string(body), status.status}
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// next returns what arrives next.
func (r *receiver) next(t testing.TB) arrival {
	t.Helper()
	return take(t, r.arrivals, "delivery")
}

// none fails if something arrived.
func (r *receiver) none(t testing.TB) {
	t.Helper()
	select {
	case a := <-r.arrivals:
		t.Fatalf("arrived: %+v", a)
	default:
	}
}

func take[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("not reached")
	}
}

// status answers with a fixed one.
func status(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// world is a dispatcher with everything around it.
type world struct {
	t       testing.TB
	store   *store
	clock   *clock.Manual // the authority's
	wall    *clock.Manual // the machine's
	results chan notify.Result
	options notify.Options
	*notify.Dispatcher
	service *notify.Service
	stop    func() // and wait
}

func newWorld(t testing.TB, change ...func(*notify.Options)) *world {
	t.Helper()
	w := &world{t: t, store: newStore(), clock: clock.NewManual(began), wall: clock.NewManual(began.AddDate(1, 0, 0)), results: make(chan notify.Result, 10_000)}
	w.options = notify.Options{
		Client: notify.NewClient(targets(t, "127.0.0.1"), notify.ClientOptions{}),
		Key:    key(t),
		Render: func(_ context.Context, e depot.Event) ([]byte, error) { return []byte(notify.EventID(e.Sequence)), nil },
		Log:    slog.New(slog.DiscardHandler), Clock: w.clock, Wall: w.wall,
		Observe: func(r notify.Result) { w.results <- r },
		Jitter:  func(d time.Duration) time.Duration { return d },
	}
	for _, c := range change {
		c(&w.options)
	}
	w.open()
	t.Cleanup(func() { w.stop() })
	return w
}

// open makes a dispatcher on the store, as a new process does.
func (w *world) open() {
	w.Dispatcher = notify.New(w.store, w.options)
	w.service = notify.NewService(w.Dispatcher, notify.ServiceOptions{Configuration: func(id string) bool { return strings.HasPrefix(id, "rac") }})
	w.stop = func() {}
}

// run starts it.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	d := w.Dispatcher
	go func() {
		defer close(done)
		d.Run(ctx)
	}()
	w.stop = sync.OnceFunc(func() {
		w.t.Helper()
		cancel()
		take(w.t, done, "end of the dispatcher")
	})
}

// add adds a webhook and returns its id and secret.
func (w *world) add(url string, types ...string) (id, secret string) {
	w.t.Helper()
	added, secret, err := w.service.Add(w.t.Context(), notify.Wish{URL: url, Types: types}, "anna")
	if err != nil {
		w.t.Fatal(err)
	}
	return added.ID, secret
}

// issued makes n events.
func (w *world) issued(n int) (ids []string) {
	for range n {
		ids = append(ids, notify.EventID(w.store.happen(depot.Event{Type: depot.EventCertificateIssued, ConfigurationID: "rac1"})))
	}
	return ids
}

// result waits for the end of an attempt.
func (w *world) result(want notify.Result) {
	w.t.Helper()
	if got := take(w.t, w.results, "result "+string(want)); got != want {
		w.t.Fatalf("result is %s, want %s", got, want)
	}
}

// show returns a webhook's status.
func (w *world) show(id string) notify.Status {
	w.t.Helper()
	s, err := w.service.Show(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// eventually waits until something holds that another goroutine brings about
// and tells nobody.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	end := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(end) {
			w.t.Fatal("not in time: " + what)
		}
		yield()
	}
}

// events returns how often each event is among what arrives next.
func (r *receiver) events(t testing.TB, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		got[r.next(t).event()]++
	}
	return got
}

// once fails unless each event arrived exactly once.
func once(t testing.TB, got map[string]int, want []string) {
	t.Helper()
	for _, id := range want {
		if got[id] != 1 {
			t.Errorf("%s arrived %d times", id, got[id])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d events arrived, want %d: %v", len(got), len(want), fmt.Sprint(got))
	}
}
