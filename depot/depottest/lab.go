package depottest

import (
	"context"
	"errors"
	"sync"
	"time"

	"understudy.example/understudy/depot"
)

func labClock(n int) (c depot.LabClock) {
	Fill(&c, 70_000+n)
	return c
}

func seeding(n int) (s depot.Seeding) {
	Fill(&s, 71_000+n)
	return s
}

func rejections(n int) (r depot.Rejections) {
	Fill(&r, 72_000+n)
	return r
}

func (s *suite) labClockIs(want depot.LabClock) {
	s.Helper()
	want.FrozenAt, want.ChangedAt = utc(want.FrozenAt), utc(want.ChangedAt)
	got, err := s.d.LabClock(s.ctx)
	s.wantError("LabClock", err, nil)
	s.equal("LabClock", got, want)
}

func (s *suite) labClock() {
	s.labClockIs(depot.LabClock{})
	first, then := labClock(1), depot.LabClock{ChangedAt: Epoch}
	for n, c := range []depot.LabClock{first, then} {
		now := Epoch.Add(time.Duration(n+1) * 1000 * time.Hour).Local()
		s.wantError("SetLabClock", s.d.SetLabClock(s.ctx, c, now), nil)
		for range 2 {
			s.labClockIs(c)
			s.equal("event", s.lastEvents(1), []depot.Event{{Type: depot.EventClockMoved, At: utc(now), By: c.By, Offset: c.Offset, FrozenAt: utc(c.FrozenAt)}})
			s.d = s.reopen()
		}
	}
	s.wantError("without now", s.d.SetLabClock(s.ctx, first, time.Time{}), depot.ErrInvalid)
	first.ChangedAt = time.Time{}
	s.wantError("without its time", s.d.SetLabClock(s.ctx, first, Epoch), depot.ErrInvalid)
	s.labClockIs(then)
	s.equal("moved", []bool{then.Moved(), first.Moved(), depot.LabClock{Offset: -1}.Moved(), depot.LabClock{FrozenAt: Epoch}.Moved()},
		[]bool{false, true, true, true})
}

func (s *suite) rejections() {
	r := rejections(1)
	s.wantError("RecordRejections", s.d.RecordRejections(s.ctx, r), nil)
	for name, spoil := range map[string]func(*depot.Rejections){
		"no configuration": func(r *depot.Rejections) { r.ConfigurationID = "" },
		"none":             func(r *depot.Rejections) { r.Count = 0 },
		"less than none":   func(r *depot.Rejections) { r.Count = -1 },
		"no time":          func(r *depot.Rejections) { r.At = time.Time{} },
	} {
		spoilt := r
		spoil(&spoilt)
		s.wantError(name, s.d.RecordRejections(s.ctx, spoilt), depot.ErrInvalid)
	}
	for range 2 {
		s.equal("events", len(s.happened(0)), 1)
		s.equal("event", s.lastEvents(1), []depot.Event{{Type: depot.EventChallengeRejected, At: utc(r.At), ConfigurationID: r.ConfigurationID,
			ConfigurationName: r.ConfigurationName, Reason: r.Reason, Count: r.Count, Source: r.SourceAddress}})
		s.d = s.reopen()
	}
}

func (s *suite) seedings() {
	var want []depot.Seeding
	for n := range 3 {
		one := seeding(3 - n) // the order is that of the steps
		s.wantError("RecordSeeding", s.d.RecordSeeding(s.ctx, one), nil)
		s.equal("event", s.lastEvents(1), []depot.Event{{Type: depot.EventSeeded, At: utc(one.At), ConfigurationID: one.ConfigurationID, Count: one.Count}})
		one.At = utc(one.At)
		want = append(want, one)
	}
	for name, spoil := range map[string]func(*depot.Seeding){
		"no configuration": func(s *depot.Seeding) { s.ConfigurationID = "" },
		"none":             func(s *depot.Seeding) { s.Count = 0 },
		"no time":          func(s *depot.Seeding) { s.At = time.Time{} },
	} {
		spoilt := seeding(1)
		spoil(&spoilt)
		s.wantError(name, s.d.RecordSeeding(s.ctx, spoilt), depot.ErrInvalid)
	}
	for range 2 {
		got, err := s.d.Seedings(s.ctx)
		s.wantError("Seedings", err, nil)
		s.equal("Seedings", got, want)
		s.equal("events", len(s.happened(0)), 3)
		s.d = s.reopen()
	}
}

func (s *suite) lastEvent() uint64 {
	s.Helper()
	last, err := s.d.LastEvent(s.ctx)
	s.wantError("LastEvent", err, nil)
	return last
}

func (s *suite) await() {
	s.equal("LastEvent of nothing", s.lastEvent(), uint64(0))
	ended, cancel := context.WithCancel(s.ctx)
	woken := make(chan error)
	for range 3 {
		go func() { woken <- s.d.Await(s.ctx, 0) }()
	}
	go func() { woken <- s.d.Await(ended, 1<<40) }()
	s.commit(Issuance(1))
	for range 3 {
		s.wantError("Await", <-woken, nil)
	}
	cancel()
	s.wantError("Await", <-woken, context.Canceled)
	s.wantError("Await of an ended context", s.d.Await(ended, 0), context.Canceled)
	_, err := s.d.TakeCRLNumber(s.ctx, issuer, 0) // is a step and no event
	s.wantError("TakeCRLNumber", err, nil)
	for range 2 {
		events := s.happened(0)
		s.equal("LastEvent", s.lastEvent(), events[len(events)-1].Sequence)
		s.wantError("Await", s.d.Await(s.ctx, s.lastEvent()-1), nil)
		s.d = s.reopen()
	}
	last := s.lastEvent()
	go func() { woken <- s.d.Await(s.ctx, last) }()
	go func() { woken <- s.d.Await(s.ctx, last) }()
	s.wantError("Close", s.d.Close(), nil)
	for range 2 {
		s.wantError("Await", <-woken, depot.ErrUnavailable)
	}
	s.wantError("Await of what is closed", s.d.Await(s.ctx, 0), depot.ErrUnavailable)
	_, err = s.d.LastEvent(s.ctx)
	s.wantError("LastEvent of what is closed", err, depot.ErrUnavailable)
}

// awaitRace: who waits for the next event and then reads misses none, however
// fast they come.
func (s *suite) awaitRace() {
	const steps = 4 * racers
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			seen, after := 0, uint64(0)
			for seen < steps {
				if err := s.d.Await(s.ctx, after); err != nil {
					s.Errorf("Await: %v", err)
					return
				}
				page, err := s.d.Events(s.ctx, depot.EventQuery{After: after})
				if err != nil || len(page.Items) == 0 {
					s.Errorf("Await returned and there are %d events after %d: %v", len(page.Items), after, err)
					return
				}
				seen, after = seen+len(page.Items), page.Items[len(page.Items)-1].Sequence
			}
		})
	}
	for w := range 4 {
		wait.Go(func() {
			for n := w; n < steps; n += 4 {
				if _, err := s.d.Commit(s.ctx, Issuance(n)); err != nil && !errors.Is(err, context.Canceled) {
					s.Errorf("Commit: %v", err)
				}
			}
		})
	}
	wait.Wait()
}
