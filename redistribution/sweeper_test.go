package redistribution_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

// TestUsualPath is a device that does as it should, with restarts in between.
func TestUsualPath(t *testing.T) { onEachStore(t, usualPath) }

func usualPath(w *world) {
	first := w.issue("A", year)
	w.announced("")
	w.state(first, redistribution.Valid)
	w.clock.Set(begin.Add(335*day - time.Second))
	w.announced("")
	w.state(first, redistribution.Valid)
	w.clock.Advance(time.Second)
	w.state(first, redistribution.Due)
	w.announced("due 1001")
	w.restart()
	w.announced("")
	w.acknowledge(first)
	w.state(first, redistribution.Acknowledged)
	w.clock.Advance(day)
	w.state(first, redistribution.Stalled)
	w.announced("stalled 1001")
	w.restart()
	w.announced("")
	w.acknowledge(first)
	w.clock.Advance(time.Hour)
	second := w.issue("A", year)
	w.announced("superseded 1001, fulfilled 1001")
	w.state(first, redistribution.Superseded)
	w.state(second, redistribution.Valid)
	w.clock.Advance(100 * day)
	w.restart()
	w.announced("")
	w.state(first, redistribution.Superseded)
}

// TestOneJump: a clock that jumps over a whole window leaves nothing out.
func TestOneJump(t *testing.T) { onEachStore(t, oneJump) }

func oneJump(w *world) {
	w.issue("A", year)
	w.issue("B", 10*time.Minute)
	w.sweep()
	w.clock.Advance(2 * year)
	w.announced("due 1002, missed 1002, due 1001, missed 1001")
	w.announced("")
}

// TestFirstSweepIsLate: what ended before anybody looked is told as well.
func TestFirstSweepIsLate(t *testing.T) { onEachStore(t, firstSweepIsLate) }

func firstSweepIsLate(w *world) {
	w.issue("A", 40*day)
	w.clock.Advance(20 * day)
	w.acknowledge(w.issue("B", day, func(i *depot.Issuance) { i.Identity.NotBefore = i.Identity.NotBefore.Add(-day) }))
	w.issue("A", 40*day)
	w.clock.Advance(2 * day)
	w.announced("due 1002, missed 1002, due 1001, superseded 1001, fulfilled 1001")
}

// TestLastSecond: what ends in a second is due until then.
func TestLastSecond(t *testing.T) {
	w := newWorld(t)
	w.issue("A", 40*day)
	w.clock.Set(begin.Add(40*day - time.Second))
	w.announced("due 1001")
	w.clock.Advance(time.Second)
	w.announced("missed 1001")
}

// TestThereAndBack: however the clock goes, everything is announced once, and
// what is issued while it is back is not forgotten.
func TestThereAndBack(t *testing.T) { onEachStore(t, thereAndBack) }

func thereAndBack(w *world) {
	w.issue("A", year)
	w.sweep()
	w.clock.Advance(350 * day)
	w.announced("due 1001")
	w.clock.Set(begin.Add(day))
	w.announced("")
	w.state("1001", redistribution.Valid)
	w.issue("B", year-day) // ends when the first does, below the watermark
	w.announced("")
	w.clock.Set(begin.Add(340 * day))
	w.announced("due 1002")
	w.clock.Set(begin)
	w.issue("C", year)
	w.clock.Set(begin.Add(year)) // without a sweep in between
	w.announced("due 1003, missed 1001, missed 1002, missed 1003")
	w.clock.Set(begin)
	w.announced("")
	w.clock.Set(begin.Add(2 * year))
	w.announced("")
}

// TestStallsThereAndBack is the same for acknowledgements.
func TestStallsThereAndBack(t *testing.T) { onEachStore(t, stallsThereAndBack) }

func stallsThereAndBack(w *world) {
	w.issue("A", year)
	w.issue("B", year)
	w.clock.Advance(340 * day)
	w.announced("due 1001, due 1002")
	w.acknowledge("1001")
	w.clock.Advance(2 * day)
	w.announced("stalled 1001")
	w.clock.Advance(-day - time.Hour)
	w.state("1001", redistribution.Acknowledged)
	w.announced("")
	w.acknowledge("1002")
	w.clock.Advance(day - time.Second)
	w.announced("")
	w.clock.Advance(time.Second)
	w.announced("stalled 1002")
}

// TestPolicyChange: a certificate is due once for each policy, and what is over
// is not due again.
func TestPolicyChange(t *testing.T) { onEachStore(t, policyChange) }

func policyChange(w *world) {
	w.issue("gone", 40*day)
	w.issue("A", year)
	w.issue("B", 2*year)
	w.clock.Advance(300 * day)
	w.announced("due 1001, missed 1001")
	w.configure("rac1", depot.ConfigurationPolicy{WindowKind: "days_before", WindowValue: 90})
	w.state("1002", redistribution.Due)
	w.announced("due 1002")
	w.acknowledge("1002")
	w.configure("rac1", depot.ConfigurationPolicy{WindowKind: "percent_remaining", WindowValue: 60})
	w.state("1002", redistribution.Acknowledged)
	w.state("1003", redistribution.Due)
	w.announced("due 1003")
	w.configure("rac1", depot.ConfigurationPolicy{WindowKind: "days_before", WindowValue: 90})
	w.announced("")
	w.state("1003", redistribution.Valid)
}

// TestPolicyThereAndBack: what came while another policy was in force is due
// when the first one is again.
func TestPolicyThereAndBack(t *testing.T) { onEachStore(t, policyThereAndBack) }

func policyThereAndBack(w *world) {
	w.issue("A", 100*day)
	w.clock.Advance(80 * day)
	w.announced("due 1001")
	w.configure("rac1", depot.ConfigurationPolicy{WindowKind: "days_before", WindowValue: 1})
	w.announced("")
	w.clock.Advance(-70 * day)
	w.sweep()
	w.issue("B", 80*day, func(i *depot.Issuance) { i.Identity.NotBefore = i.Identity.NotAfter.Add(-100 * day) })
	w.clock.Advance(70 * day)
	w.announced("")
	w.configure("rac1", depot.ConfigurationPolicy{})
	w.announced("due 1002")
}

// TestSuccessorRevoked: the older certificate is the device's again.
func TestSuccessorRevoked(t *testing.T) { onEachStore(t, successorRevoked) }

func successorRevoked(w *world) {
	w.issue("A", year)
	w.clock.Advance(336 * day)
	w.issue("A", year)
	w.announced("due 1001, superseded 1001, fulfilled 1001")
	w.state("1001", redistribution.Superseded)
	w.revoke("1002", depot.ReasonKeyCompromise)
	w.state("1001", redistribution.Due)
	w.announced("")
	w.acknowledge("1001")
	w.clock.Advance(day)
	w.announced("stalled 1001")
	w.issue("A", year)
	w.announced("superseded 1001, fulfilled 1001")
	w.state("1002", redistribution.Revoked)
	w.clock.Advance(year)
	w.announced("due 1003, missed 1003")
}

// TestHold: an item on hold is revoked, and comes back.
func TestHold(t *testing.T) { onEachStore(t, hold) }

func hold(w *world) {
	w.issue("A", year)
	w.sweep()
	w.revoke("1001", depot.ReasonCertificateHold)
	w.clock.Advance(340 * day)
	w.state("1001", redistribution.Revoked)
	w.announced("")
	w.revoke("1001", depot.ReasonRemoveFromCRL)
	w.state("1001", redistribution.Due)
	w.announced("due 1001")
}

// TestUndone: what was taken back is due again, without being announced again,
// and an acknowledgement of another policy's is made up for.
func TestUndone(t *testing.T) { onEachStore(t, takenBack) }

func takenBack(w *world) {
	t := w.t
	w.configure("rac1", depot.ConfigurationPolicy{WindowKind: "days_before", WindowValue: 90, AckTimeout: 100 * day})
	w.issue("A", year)
	w.clock.Advance(300 * day)
	w.announced("due 1001")
	w.acknowledge("1001")
	w.configure("rac1", depot.ConfigurationPolicy{WindowKind: "days_before", WindowValue: 30, AckTimeout: 100 * day})
	w.clock.Advance(40 * day)
	w.announced("")
	w.state("1001", redistribution.Acknowledged)
	item, made, err := w.service.Undo(t.Context(), "1001", "jamf")
	if err != nil || !made || item.State != redistribution.Due {
		t.Errorf("undo: %s, %t, %v", item.State, made, err)
	}
	w.announced("due 1001")
	if _, made, err := w.service.Undo(t.Context(), "1001", "jamf"); err != nil || made {
		t.Errorf("undo again: %t, %v", made, err)
	}
	w.acknowledge("1001")
	w.announced("")
}

// TestHeldBack: a successor that its device may not have yet supersedes
// nothing; one that is delivered does, and one that never is does not.
func TestHeldBack(t *testing.T) { onEachStore(t, lateDelivery) }

func lateDelivery(w *world) {
	t := w.t
	w.issue("A", year)
	w.clock.Advance(340 * day)
	w.announced("due 1001")
	w.issue("A", year, heldBack)
	w.announced("")
	w.state("1001", redistribution.Due)
	if _, err := w.service.Show(t.Context(), "1002", time.Time{}); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("show what is held back: %v", err)
	}
	_, err := w.store.Void(t.Context(), "1002", "refused", w.clock.Now())
	w.must(err)
	w.announced("")
	w.state("1001", redistribution.Due)
	w.state("1002", redistribution.Revoked)
	w.issue("A", year, heldBack)
	_, err = w.store.Deliver(t.Context(), "1003", w.clock.Now())
	w.must(err)
	w.announced("superseded 1001, fulfilled 1001")
	w.state("1001", redistribution.Superseded)
}

// TestRemovedConfiguration: nobody is asked to push what nobody can enrol for.
func TestRemovedConfiguration(t *testing.T) { onEachStore(t, removedConfiguration) }

func removedConfiguration(w *world) {
	t := w.t
	w.issue("A", year)
	w.issue("B", year)
	w.issue("B", year)
	w.issue("C", year)
	c, err := w.store.Configuration(t.Context(), "rac1")
	w.must(err)
	c.Revision, c.RemovedAt = c.Revision+1, w.clock.Now()
	w.must(w.store.SetConfiguration(t.Context(), c, depot.EventConfigurationRemoved))
	w.clock.Advance(340 * day)
	w.revoke("1004", depot.ReasonKeyCompromise) // in its window, of which nobody was told
	w.announced("superseded 1002")
	w.clock.Advance(2 * year)
	w.announced("")
	if got := w.list(redistribution.Query{ConfigurationIDs: []string{"rac1"}, States: redistribution.States()}); len(got) != 4 {
		t.Errorf("listed by its id: %v", got)
	}
	if got := w.list(redistribution.Query{States: redistribution.States()}); len(got) != 0 {
		t.Errorf("listed with the others: %v", got)
	}
}

// TestMany: more than fit in one settlement or page, all at the same second.
func TestMany(t *testing.T) { onEachStore(t, many) }

func many(w *world) {
	t := w.t
	const n = 505 // more than a page
	for i := range n {
		w.issue(fmt.Sprint(i), 100*day)
	}
	count := func(what string) {
		t.Helper()
		w.sweep()
		if got := strings.Count(w.news(), what); got != n {
			t.Errorf("%d %s, want %d", got, what, n)
		}
	}
	w.clock.Advance(80 * day)
	count("due")
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%04x", 0x1000+i+1))
	}
	for _, r := range w.service.AcknowledgeMany(t.Context(), all, redistribution.Acknowledging{By: "jamf"}) {
		w.must(r.Err)
	}
	w.announced("") // nothing is noted any more: the line finds them
	w.clock.Advance(2 * day)
	count("stalled")
	w.clock.Advance(year)
	count("missed")
	w.restart()
	w.announced("")
}

// dying is a store that settles so often and never again.
type dying struct {
	depot.Depot
	left int
}

func (d *dying) Settle(ctx context.Context, s depot.Settlement) (int, error) {
	if d.left--; d.left < 0 {
		return 0, depot.ErrUnavailable
	}
	return d.Depot.Settle(ctx, s)
}

// TestDeathBetweenPages: what ends in one second is more than a page, and the
// server dies while it tells so. Nothing is left out by the next one,
// and nothing told twice.
func TestDeathBetweenPages(t *testing.T) {
	const n = 505
	w := newWorld(t)
	var all []string
	for i := range n {
		all = append(all, w.issue(fmt.Sprint(i), 100*day))
	}
	tell := func(what string) {
		t.Helper()
		died := 0
		for _, left := range []int{2, 1, 0} { // the first one between the pages: each leaves less to be done
			s := redistribution.NewSweeper(&dying{w.store, left}, w.clock, nil, slog.New(slog.DiscardHandler))
			if s.Sweep(t.Context()) != nil {
				died++
			}
		}
		w.sweep()
		if got := strings.Count(w.news(), what); got != n || died == 0 {
			t.Errorf("%d are %s after %d deaths, want %d", got, what, died, n)
		}
	}
	w.clock.Advance(80 * day)
	tell("due")
	for _, r := range w.service.AcknowledgeMany(t.Context(), all, redistribution.Acknowledging{By: "jamf"}) {
		w.must(r.Err)
	}
	w.sweep()
	w.clock.Advance(day)
	tell("stalled")
	w.clock.Advance(20 * day)
	tell("missed")
}

// TestTogether: sweeps that run at once, and while devices enrol, announce
// everything once.
func TestTogether(t *testing.T) {
	w := newWorld(t)
	const n = 100
	for i := range n {
		w.issue(fmt.Sprint(i), 100*day)
	}
	w.clock.Advance(80 * day)
	var wg sync.WaitGroup
	for range 4 {
		other := redistribution.NewSweeper(w.store, w.clock, nil, slog.New(slog.DiscardHandler))
		for range 2 {
			wg.Go(func() {
				for range 5 {
					if err := other.Sweep(t.Context()); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	for i := range n / 2 {
		w.issue(fmt.Sprint(i), 100*day)
	}
	wg.Wait()
	w.sweep()
	news := w.news()
	for what, want := range map[string]int{"due": n, "superseded": n / 2, "fulfilled": n / 2, "missed": 0} {
		if got := strings.Count(news, what); got != want {
			t.Errorf("%d %s, want %d", got, what, want)
		}
	}
}

// TestNext is when there is something to do.
func TestNext(t *testing.T) { onEachStore(t, next) }

func next(w *world) {
	t := w.t
	next := func(want time.Time) {
		t.Helper()
		if got, err := w.sweeper.Next(t.Context()); err != nil || !got.Equal(want) {
			t.Errorf("next is %v (%v), want %v", got, err, want)
		}
	}
	next(time.Time{})
	w.issue("A", year)
	next(begin.Add(335 * day))
	w.issue("B", 100*day)
	next(begin.Add(70 * day))
	w.clock.Set(begin.Add(70*day - time.Millisecond))
	next(begin.Add(70 * day))
	w.clock.Set(begin.Add(70 * day))
	next(begin.Add(100 * day)) // closes
	w.acknowledge("1002")
	next(begin.Add(71 * day)) // stalls
	w.clock.Set(begin.Add(71 * day))
	next(begin.Add(100 * day))
	w.revoke("1002", depot.ReasonKeyCompromise)
	next(begin.Add(335 * day))
	w.clock.Set(begin.Add(year))
	next(time.Time{})
}

// TestRun: new events and moves of the clock wake it.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.sweeper.Run(ctx); close(done) }()
	w.clock.Advance(340 * day)
	w.wait("due 1001")
	w.issue("A", year)
	w.wait("superseded 1001, fulfilled 1001")
	w.clock.Advance(year)
	w.wait("due 1002, missed 1002")
	cancel()
	<-done
}

// wait returns when that was announced.
func (w *world) wait(want string) {
	w.t.Helper()
	got := ""
	for deadline := time.Now().Add(time.Minute); got != want; {
		ctx, cancel := context.WithDeadline(w.t.Context(), deadline)
		err := w.store.Await(ctx, w.seen)
		cancel()
		if err != nil {
			w.t.Fatalf("announced %q, want %q: %v", got, want, err)
		}
		if more := w.news(); got == "" {
			got = more
		} else if more != "" {
			got += ", " + more
		}
	}
}

// failing is a store that does not settle for a while.
type failing struct {
	depot.Depot
	left atomic.Int32
}

func (f *failing) Settle(ctx context.Context, s depot.Settlement) (int, error) {
	if f.left.Add(-1) >= 0 {
		return 0, depot.ErrUnavailable
	}
	return f.Depot.Settle(ctx, s)
}

// TestFailingStore: nothing is lost, and the log says it once.
func TestFailingStore(t *testing.T) {
	w := newWorld(t)
	broken := &failing{Depot: w.store}
	broken.left.Store(2)
	var log lockedText
	sweeper := redistribution.NewSweeper(broken, w.clock, nil, slog.New(slog.NewTextHandler(&log, nil)))
	w.issue("A", year)
	w.clock.Advance(340 * day)
	go sweeper.Run(t.Context())
	w.wait("due 1001")
	w.issue("A", year)
	w.wait("superseded 1001, fulfilled 1001")
	if got := log.String(); strings.Count(got, "level=ERROR") != 1 || strings.Count(got, "level=INFO") != 1 {
		t.Errorf("logged: %s", got)
	}
	if left := broken.left.Load(); left >= 0 {
		t.Errorf("the store did not fail: %d left", left)
	}
}

// TestFailingSweep says so.
func TestFailingSweep(t *testing.T) {
	w := newWorld(t)
	broken := &failing{Depot: w.store}
	broken.left.Store(1)
	sweeper := redistribution.NewSweeper(broken, w.clock, nil, slog.New(slog.DiscardHandler))
	w.issue("A", year)
	w.clock.Advance(340 * day)
	if err := sweeper.Sweep(t.Context()); !errors.Is(err, depot.ErrUnavailable) {
		t.Errorf("sweep: %v", err)
	}
	w.announced("due 1001")
}

type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
