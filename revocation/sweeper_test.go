package revocation_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// unusedAt is an identity that is revoked at a time unless it was used.
func unusedAt(at time.Time) func(*depot.Identity) {
	return func(i *depot.Identity) { i.RevokeUnusedAt = at }
}

func TestSweep(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	due := today.Add(90 * 24 * time.Hour)
	forever, unused, used, later := w.issue(), w.issue(unusedAt(due)), w.issue(unusedAt(due)), w.issue(unusedAt(due.Add(time.Second)))
	revoked, held := w.issue(unusedAt(due)), w.issue(unusedAt(due))
	must(t, w.depot.MarkUsed(t.Context(), serial(used), today.Add(time.Hour)))
	w.revoke(revoked, depot.ReasonKeyCompromise)
	w.revoke(held, depot.ReasonCertificateHold)
	w.crl(w.authority.Issuer())
	sweep := func(want int) {
		t.Helper()
		if n, err := w.sweeper.Sweep(t.Context()); err != nil || n != want {
			t.Errorf("swept %d, want %d: %v", n, want, err)
		}
	}
	c.Set(due.Add(-time.Microsecond))
	sweep(0)
	c.Set(due)
	sweep(1)
	sweep(0)
	got, err := w.depot.Identity(t.Context(), serial(unused))
	must(t, err)
	if got.RevocationReason != "cessationOfOperation" || got.RevokedBy != "policy: unused" || !got.RevokedAt.Equal(due) {
		t.Errorf("revoked for %q by %q at %v", got.RevocationReason, got.RevokedBy, got.RevokedAt)
	}
	if _, list := w.crl(w.authority.Issuer()); !lists(list, unused) || lists(list, used) || lists(list, later) || lists(list, forever) {
		t.Error("the CRL does not have exactly what was swept")
	}
	c.Advance(time.Second)
	sweep(1)
}

// More than a batch is swept in one call; what is used in the meantime stays.
func TestSweepBatches(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	for range 253 {
		w.issue(unusedAt(today.Add(time.Hour)))
	}
	last := w.issue(unusedAt(today.Add(2 * time.Hour)))
	c.Advance(3 * time.Hour)
	w.depot.set(func(f *faulty) {
		f.between = func() { must(t, w.depot.MarkUsed(context.Background(), serial(last), c.Now())) }
	})
	if n, err := w.sweeper.Sweep(t.Context()); err != nil || n != 253 {
		t.Errorf("swept %d: %v", n, err)
	}
	if got, err := w.depot.Identity(t.Context(), serial(last)); err != nil || !got.RevokedAt.IsZero() {
		t.Errorf("what was used meanwhile is revoked: %v", err)
	}
}

// What is used between the reading of the batch and its turn stays, and a depot
// that fails stops the sweep.
func TestSweepMeanwhile(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	late := w.issue(unusedAt(today))
	w.depot.set(func(f *faulty) {
		f.between = func() { must(t, w.depot.MarkUsed(context.Background(), serial(late), c.Now())) }
	})
	if n, err := w.sweeper.Sweep(t.Context()); err != nil || n != 0 {
		t.Errorf("swept %d: %v", n, err)
	}
	w.depot.set(func(f *faulty) { f.between, f.fails = nil, errBroken })
	w.issue(unusedAt(today))
	if n, err := w.sweeper.Sweep(t.Context()); !errors.Is(err, errBroken) || n != 0 {
		t.Errorf("swept %d: %v", n, err)
	}
}

func TestSweeperRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewManual(today)
		w := newWorld(t, "chain-p256", c)
		unused := w.issue(unusedAt(today.Add(time.Hour)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.sweeper.Run(ctx); close(done) }()
		revoked := func() bool {
			time.Sleep(time.Minute)
			synctest.Wait()
			got, err := w.depot.Depot.Identity(t.Context(), serial(unused))
			must(t, err)
			return !got.RevokedAt.IsZero()
		}
		if revoked() {
			t.Error("revoked before its time")
		}
		w.depot.set(func(f *faulty) { f.fails = errBroken })
		c.Advance(time.Hour)
		if revoked() || w.log.lines("level=ERROR", "not all revoked") == 0 {
			t.Error("revoked by a broken depot, or nothing is logged")
		}
		w.depot.set(func(f *faulty) { f.fails = nil })
		if !revoked() || w.log.lines("revoked certificates that were not used", "count=1") != 1 {
			t.Error("not revoked when its time came")
		}
		next := w.issue(unusedAt(today.Add(48 * time.Hour)))
		c.Advance(47 * time.Hour)
		synctest.Wait()
		if got, err := w.depot.Depot.Identity(t.Context(), serial(next)); err != nil || got.RevokedAt.IsZero() {
			t.Errorf("not revoked as soon as the clock was moved: %v", err)
		}
		cancel()
		<-done
	})
}
