package notify_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
)

// refusals are Rejections that run on a store.
type refusals struct {
	t           testing.TB
	store       *store
	clock, wall *clock.Manual
	*notify.Rejections
	stop func()
}

func newRefusals(t testing.TB) *refusals {
	r := &refusals{t: t, store: newStore(), clock: clock.NewManual(began), wall: clock.NewManual(began.AddDate(1, 0, 0))}
	r.Rejections = notify.NewRejections(r.store, notify.RejectionsOptions{Clock: r.clock, Wall: r.wall, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		take(t, done, "end")
	})
	t.Cleanup(r.stop)
	return r
}

func (r *refusals) next() depot.Rejections {
	r.t.Helper()
	return take(r.t, r.store.recorded, "record")
}

func (r *refusals) count() (sums, all int) {
	r.store.set(func() {
		for _, s := range r.store.rejections {
			sums, all = sums+1, all+s.Count
		}
	})
	return sums, all
}

func TestRejections(t *testing.T) {
	r := newRefusals(t)
	r.Note("rac1", "default", "challenge_wrong", "192.0.2.1")
	want := depot.Rejections{ConfigurationID: "rac1", ConfigurationName: "default", Reason: "challenge_wrong", Count: 1, At: began, SourceAddress: "192.0.2.1"}
	if got := r.next(); got != want {
		t.Errorf("recorded %+v, want %+v", got, want)
	}
	for i := range 99 {
		r.clock.Advance(time.Second)
		r.Note("rac1", "default", "challenge_wrong", fmt.Sprintf("192.0.2.%d", i))
	}
	r.Note("rac1", "default", "challenge_used", "192.0.2.7") // of another reason, so at once
	if got := r.next(); got.Reason != "challenge_used" || got.Count != 1 {
		t.Errorf("recorded %+v", got)
	}
	r.Note("rac2", "other", "challenge_used", "192.0.2.7") // of another configuration
	if got := r.next(); got.ConfigurationID != "rac2" {
		t.Errorf("recorded %+v", got)
	}
	r.wall.Advance(time.Minute - time.Millisecond)
	r.Note("rac3", "third", "challenge_used", "192.0.2.7")
	if got := r.next(); got.ConfigurationID != "rac3" {
		t.Errorf("recorded %+v before the minute was over", got)
	}
	r.wall.Advance(time.Millisecond)
	want.Count, want.At, want.SourceAddress = 99, began.Add(99*time.Second), "192.0.2.98"
	if got := r.next(); got != want {
		t.Errorf("recorded %+v, want %+v", got, want)
	}
	r.stop()
	if sums, all := r.count(); sums != 5 || all != 103 {
		t.Errorf("%d sums of %d refusals", sums, all)
	}
}

// After a quiet minute the next one is the first again.
func TestRejectionsAfterQuiet(t *testing.T) {
	r := newRefusals(t)
	for range 3 {
		r.Note("rac1", "default", "challenge_wrong", "")
		if got := r.next(); got.Count != 1 {
			t.Errorf("recorded %+v", got)
		}
		r.wall.Advance(time.Minute)
		settle(r)
		r.wall.Advance(time.Minute)
		settle(r)
	}
}

// settle has everything recorded that is due: a refusal of another
// configuration is when Run has looked at the time.
func settle(r *refusals) {
	r.t.Helper()
	for i := 0; ; i++ {
		r.Note(fmt.Sprintf("settle%d-%d", r.wall.Now().Unix(), i), "", "x", "")
		if r.next().Count == 1 {
			return
		}
	}
}

// A flood costs a few steps a minute, and nothing is left out.
func TestRejectionsInAFlood(t *testing.T) {
	r := newRefusals(t)
	const each = 2000
	var all sync.WaitGroup
	for c := range 8 {
		all.Go(func() {
			for range each {
				r.Note(fmt.Sprintf("rac%d", c), "name", "challenge_wrong", "192.0.2.1")
			}
		})
	}
	all.Wait()
	r.stop()
	sums, n := r.count()
	if n != 8*each || sums > 8+6 {
		t.Errorf("%d refusals in %d records, want %d in at most 14", n, sums, 8*each)
	}
}

// However many configurations there are, few are told of at once; the others
// wait for the end of the minute.
func TestFewAtOnce(t *testing.T) {
	r := newRefusals(t)
	for round := range 2 {
		for i := range 20 {
			r.Note(fmt.Sprintf("rac%d", i), "", "challenge_wrong", "")
		}
		for range 6 * (1 - round) {
			r.next()
		}
	}
	r.stop()
	if sums, all := r.count(); all != 40 || sums != 6*2+14 {
		t.Errorf("%d refusals in %d records, want 40 in 26", all, sums)
	}
}

// However many configurations there are, memory is bounded.
func TestRejectionsAreBounded(t *testing.T) {
	r := newRefusals(t)
	for i := range 5000 {
		r.Note(fmt.Sprintf("rac%d", i), "", "challenge_wrong", "")
	}
	r.stop()
	if sums, _ := r.count(); sums > 256 {
		t.Errorf("%d sums", sums)
	}
}

// What the store could not take is added to what comes.
func TestRejectionsStoreFails(t *testing.T) {
	r := newRefusals(t)
	r.store.set(func() { r.store.fail = depot.ErrUnavailable })
	r.Note("rac1", "default", "challenge_wrong", "a")
	r.Note("rac1", "default", "challenge_wrong", "b")
	r.wall.Advance(time.Minute)
	r.Note("rac1", "default", "challenge_wrong", "c")
	r.store.set(func() { r.store.fail = nil })
	r.stop()
	if sums, all := r.count(); all != 3 || sums == 0 {
		t.Errorf("%d refusals in %d records, want 3", all, sums)
	}
	r.store.set(func() {
		if last := r.store.rejections[len(r.store.rejections)-1]; last.SourceAddress != "c" {
			t.Errorf("last one is from %q", last.SourceAddress)
		}
	})
	broken := newRefusals(t)
	broken.store.set(func() { broken.store.fail = depot.ErrInvalid })
	broken.Note("", "", "challenge_wrong", "")
	broken.stop()
	if sums, _ := broken.count(); sums != 0 {
		t.Errorf("%d sums", sums)
	}
}
