package enroll_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
)

// Every certificate that is issued under a moved clock says so, however little
// it was moved, and is dated by it; also one that an operator approves.
func TestIssuedUnderMovedClock(t *testing.T) {
	const day = 24 * time.Hour
	for _, approval := range []string{configuration.ApprovalAuto, configuration.ApprovalManual} {
		h := furnishMemory(t)
		lab := clock.NewLab(h.clock)
		live := h.configure(t, "third", func(s *configuration.Settings) { s.Approval = approval })
		service := enroll.New(h.depot, h.authority, lab, h.auditor, enroll.WithConfigurations(h.set.ByID))
		for _, step := range []struct {
			what   string
			move   func() error
			offset time.Duration
		}{
			{"not moved", func() error { return nil }, 0},
			{"ahead", func() error { return lab.Advance(400 * day) }, 400 * day},
			{"frozen for some time", func() error { lab.Freeze(); h.clock.Advance(day); return nil }, 399 * day},
			{"behind", func() error { lab.Reset(); return lab.Advance(-day / 2) }, -day / 2},
			{"a little ahead", func() error { lab.Reset(); return lab.Advance(1) }, time.Second},
			{"just frozen", func() error { lab.Reset(); lab.Freeze(); h.clock.Advance(1); return nil }, -time.Second},
			{"reset", func() error { lab.Reset(); return nil }, 0},
		} {
			must(step.move())
			a := service.Answer(t.Context(), enroll.Request{Configuration: live, Message: encoded(t, h.request(t))})
			if approval == configuration.ApprovalManual {
				approved, err := service.Approve(t.Context(), a.RequestID, operator, "")
				must(err)
				a.CertificateSerial = approved.Transaction.CertificateSerial
			}
			i, err := h.depot.Identity(t.Context(), a.CertificateSerial)
			if err != nil {
				t.Fatalf("%s, %s: %+v, %v", approval, step.what, a, err)
			}
			if i.ClockOffset != step.offset || !i.IssuedAt.Equal(lab.Now()) || i.NotBefore.After(lab.Now()) || lab.Now().Sub(i.NotBefore) > time.Hour {
				t.Errorf("%s, %s, at %v: offset %v, want %v; issued at %v, valid from %v", approval, step.what, lab.Now(), i.ClockOffset, step.offset, i.IssuedAt, i.NotBefore)
			}
		}
	}
}

// What may be delivered for an hour may not when the clock is moved over it,
// and that is found at once.
func TestDeliveriesWhenClockMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := furnishMemory(t)
		k := &keeper{told: func(context.Context) error { return errDoubt }}
		h.holdBack(k)
		serial := h.dies(t, encoded(t, h.request(t)))
		h.service = h.overKept(h.depot)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go h.service.RunDeliveries(ctx, slog.New(slog.DiscardHandler))
		synctest.Wait()
		h.end(t, serial, true, false)
		told := k.notified.Load()
		h.clock.Advance(59 * time.Minute)
		synctest.Wait()
		h.end(t, serial, true, false)
		if k.notified.Load() != told+1 {
			t.Errorf("told %d times, want once more than %d", k.notified.Load(), told)
		}
		h.clock.Advance(2 * time.Minute)
		synctest.Wait()
		h.end(t, serial, false, true)
	})
}

// A request that waits for an operator is over when the clock is moved over
// its time, and waits again when it is moved back.
func TestApprovalWhenClockMoves(t *testing.T) {
	h := furnishMemory(t)
	live := h.configure(t, "third", func(s *configuration.Settings) { s.Approval = configuration.ApprovalManual })
	a := h.service.Answer(t.Context(), enroll.Request{Configuration: live, Message: encoded(t, h.request(t))})
	pending := func() int {
		page, err := h.depot.Requests(t.Context(), depot.RequestQuery{State: depot.RequestPending, Now: h.clock.Now()})
		must(err)
		return len(page.Items)
	}
	h.clock.Advance(400 * 24 * time.Hour)
	if _, err := h.service.Approve(t.Context(), a.RequestID, operator, ""); err == nil || pending() != 0 {
		t.Errorf("approved long after its time: %v; %d wait", err, pending())
	}
	h.clock.Advance(-400 * 24 * time.Hour)
	if pending() != 1 {
		t.Errorf("%d wait, want 1", pending())
	}
	if _, err := h.service.Approve(t.Context(), a.RequestID, operator, ""); err != nil {
		t.Errorf("approved in its time: %v", err)
	}
}
