package redistribution_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

// TestAcknowledgeRefusals: only what is due, or was acknowledged, can be.
func TestAcknowledgeRefusals(t *testing.T) {
	w, want := everyState(t)
	for state, refusal := range map[redistribution.State]error{
		redistribution.Valid:      redistribution.ErrNotDue,
		redistribution.Expired:    redistribution.ErrExpired,
		redistribution.Superseded: depot.ErrSuperseded,
		redistribution.Revoked:    depot.ErrRevoked,
	} {
		item, made, err := w.service.Acknowledge(t.Context(), want[state][0], redistribution.Acknowledging{By: "jamf"})
		if !errors.Is(err, refusal) || made || item.State != state {
			t.Errorf("%s: %s, %t, %v; want %v", state, item.State, made, err, refusal)
		}
	}
	if _, _, err := w.service.Acknowledge(t.Context(), "9999", redistribution.Acknowledging{}); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if _, _, err := w.service.Undo(t.Context(), "9999", "jamf"); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("undo one that is not there: %v", err)
	}
	if _, _, err := w.service.Undo(t.Context(), want[redistribution.Superseded][0], "jamf"); !errors.Is(err, depot.ErrSuperseded) {
		t.Errorf("undo one that is superseded: %v", err)
	}
}

// TestAcknowledgeByAnotherPolicy: what was listed as due by a policy is due by it
// when it is acknowledged. The rest is as always: it stalls when the
// configuration says, and it is told of.
func TestAcknowledgeByAnotherPolicy(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	sixty, twenty := policy(t, "days_before:60"), policy(t, "percent_remaining:20")
	for days, want := range map[*redistribution.Policy]time.Duration{&sixty: 305 * day, &twenty: 292 * day} {
		w.clock.Set(begin.Add(want - time.Second))
		if item, _, err := w.service.Acknowledge(t.Context(), "1001", redistribution.Acknowledging{Policy: days}); !errors.Is(err, redistribution.ErrNotDue) || !item.Opens.Equal(begin.Add(want)) {
			t.Errorf("%v, a second before: opens at %v, %v", days, item.Opens, err)
		}
	}
	w.clock.Set(begin.Add(305 * day))
	sixty.AckTimeout = time.Second // is not its to say
	item, made, err := w.service.Acknowledge(t.Context(), "1001", redistribution.Acknowledging{Policy: &sixty})
	if ack, _ := item.InForce(); err != nil || !made || item.State != redistribution.Acknowledged || !ack.StallsAt.Equal(begin.Add(306*day)) {
		t.Errorf("%s, made %t, stalls at %v, %v", item.State, made, ack.StallsAt, err)
	}
	page, err := w.service.List(t.Context(), redistribution.Query{States: []redistribution.State{redistribution.Acknowledged}, Counts: true})
	if err != nil || len(page.Items) != 1 || page.Counts[redistribution.Acknowledged] != 1 || page.Counts[redistribution.Valid] != 0 {
		t.Errorf("by the configuration's own policy: %d items, counts %v, %v", len(page.Items), page.Counts, err)
	}
	w.clock.Advance(day)
	w.announced("stalled 1001")
	if _, made, err := w.service.Undo(t.Context(), "1001", "jamf"); err != nil || !made {
		t.Errorf("undo: %t, %v", made, err)
	}
	if item, err := w.service.Show(t.Context(), "1001", time.Time{}); err != nil || item.State != redistribution.Valid {
		t.Errorf("taken back: %s, %v", item.State, err)
	}
	w.clock.Set(begin.Add(335 * day))
	w.announced("due 1001")
	if _, _, err := w.service.Acknowledge(t.Context(), "1001", redistribution.Acknowledging{Policy: &redistribution.Policy{}}); !errors.Is(err, redistribution.ErrPolicy) {
		t.Errorf("a policy that cannot be: %v", err)
	}
}

// TestAcknowledgeAgain: the same is said once, another command anew.
func TestAcknowledgeAgain(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	w.clock.Advance(340*day + 300*time.Millisecond)
	say := func(by redistribution.Acknowledging, want bool) redistribution.Item {
		t.Helper()
		item, made, err := w.service.Acknowledge(t.Context(), "1001", by)
		if err != nil || made != want || item.State != redistribution.Acknowledged {
			t.Errorf("%+v: %s, made %t, %v; want %t", by, item.State, made, err, want)
		}
		return item
	}
	asked := begin.Add(339 * day)
	item := say(redistribution.Acknowledging{By: "jamf", CommandID: "c1", RequestedBy: "joe", RequestedAt: asked, IdempotencyKey: "k1"}, true)
	ack, _ := item.InForce()
	want := depot.Acknowledgement{
		CertificateSerial: "1001", At: begin.Add(340 * day), StallsAt: begin.Add(341 * day),
		By: "jamf", CommandID: "c1", RequestedBy: "joe", RequestedAt: asked, IdempotencyKey: "k1",
	}
	if ack != want {
		t.Errorf("stored %+v, want %+v", ack, want)
	}
	say(redistribution.Acknowledging{By: "jamf"}, false)
	say(redistribution.Acknowledging{By: "jamf", CommandID: "c1"}, false)
	say(redistribution.Acknowledging{By: "jamf", CommandID: "c2", IdempotencyKey: "k1"}, false)
	if item := say(redistribution.Acknowledging{By: "jamf", CommandID: "c2", IdempotencyKey: "k2"}, true); item.Attempts != 2 {
		t.Errorf("%d attempts", item.Attempts)
	}
	// What was answered once is answered so when it has expired.
	w.clock.Advance(year)
	if _, made, err := w.service.Acknowledge(t.Context(), "1001", redistribution.Acknowledging{CommandID: "c1", IdempotencyKey: "k1"}); err != nil || made {
		t.Errorf("repeated after the end: %t, %v", made, err)
	}
	if _, _, err := w.service.Acknowledge(t.Context(), "1001", redistribution.Acknowledging{IdempotencyKey: "k3"}); !errors.Is(err, redistribution.ErrExpired) {
		t.Errorf("new after the end: %v", err)
	}
}

// TestStallsOnlyBeforeTheEnd: an acknowledgement that would stall at or after
// the end does not.
func TestStallsOnlyBeforeTheEnd(t *testing.T) {
	for left, want := range map[time.Duration]bool{day + time.Second: true, day: false, time.Second: false} {
		w := newWorld(t)
		w.issue("A", year)
		w.clock.Advance(year - left)
		ack, _ := w.acknowledge("1001").InForce()
		if got := !ack.StallsAt.IsZero(); got != want {
			t.Errorf("%v before the end: stalls %t, want %t", left, got, want)
		}
	}
}

// TestConcurrentAcknowledgers: of sixteen, one is the first.
func TestConcurrentAcknowledgers(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	w.clock.Advance(340 * day)
	var made atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			item, first, err := w.service.Acknowledge(t.Context(), "1001", redistribution.Acknowledging{By: fmt.Sprint(i)})
			if err != nil || item.State != redistribution.Acknowledged || item.Attempts != 1 {
				t.Errorf("%s after %d attempts, %v", item.State, item.Attempts, err)
			}
			if first {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("%d were the first", made.Load())
	}
	w.clock.Advance(day)
	w.announced("due 1001, stalled 1001")
}

// TestAcknowledgeMany answers for each.
func TestAcknowledgeMany(t *testing.T) {
	w, want := everyState(t)
	serials := []string{"9999", want[redistribution.Due][0], want[redistribution.Valid][0], want[redistribution.Due][0], want[redistribution.Stalled][0]}
	results := w.service.AcknowledgeMany(t.Context(), serials, redistribution.Acknowledging{By: "jamf", CommandID: "c"})
	for i, refusal := range []error{depot.ErrNotFound, nil, redistribution.ErrNotDue, nil, nil} {
		r := results[i]
		if r.CertificateSerial != serials[i] || !errors.Is(r.Err, refusal) || refusal == nil && r.Item.State != redistribution.Acknowledged {
			t.Errorf("%s: %s %s, %v; want %v", serials[i], r.CertificateSerial, r.Item.State, r.Err, refusal)
		}
	}
	if item, err := w.service.Show(t.Context(), want[redistribution.Due][0], time.Time{}); err != nil || item.Attempts != 1 {
		t.Errorf("named twice, acknowledged %d times, %v", item.Attempts, err)
	}
}

// TestHistory is what happened, announced or not.
func TestHistory(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	w.clock.Advance(336 * day)
	w.sweep()
	w.acknowledge("1001")
	w.clock.Advance(time.Hour)
	_, _, err := w.service.Undo(t.Context(), "1001", "joe")
	w.must(err)
	w.clock.Advance(time.Hour)
	w.acknowledge("1001")
	w.clock.Advance(2 * day)
	before := w.history(time.Time{})
	w.sweep()
	if after := w.history(time.Time{}); after != before {
		t.Errorf("announcing made another story:\n%s\n%s", before, after)
	}
	w.issue("A", year)
	w.clock.Advance(time.Hour)
	w.revoke("1001", depot.ReasonSuperseded)
	w.sweep()
	const early = "certificate.issued 0h, redistribution.due 8040h, redistribution.acknowledged 8064h jamf, redistribution.unacknowledged 8065h joe, " +
		"redistribution.acknowledged 8066h jamf, redistribution.stalled 8090h"
	if got := w.history(begin.Add(338 * day)); got != early {
		t.Errorf("as of then: %s", got)
	}
	const want = early + ", certificate.superseded 8114h →1002, redistribution.fulfilled 8114h →1002, certificate.revoked 8115h admin superseded"
	if got := w.history(time.Time{}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestHistoryOfAllWindow: what is due from its beginning is due when there is a
// certificate.
func TestHistoryOfAllWindow(t *testing.T) {
	w := newWorld(t)
	w.configure("rac1", depot.ConfigurationPolicy{WindowKind: "days_before", WindowValue: 365, WindowStrict: true})
	w.issue("A", 10*day, func(i *depot.Issuance) { i.Identity.NotBefore = i.Identity.NotBefore.Add(-time.Hour) })
	w.announced("due 1001")
	if got, want := w.history(time.Time{}), "certificate.issued 0h, redistribution.due 0h"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestHistoryOfManyAttempts tells of those that are kept, each in its time.
func TestHistoryOfManyAttempts(t *testing.T) {
	w := newWorld(t)
	w.configure("rac1", depot.ConfigurationPolicy{AckTimeout: time.Hour})
	w.issue("A", year)
	w.clock.Advance(340 * day)
	for n := range depot.MaxAcknowledgements + 2 {
		w.acknowledge("1001")
		if n == depot.MaxAcknowledgements/2 { // which does not stall
			_, _, err := w.service.Undo(t.Context(), "1001", "joe")
			w.must(err)
		}
		w.clock.Advance(time.Hour)
		w.sweep()
	}
	got := w.history(time.Time{})
	for what, want := range map[string]int{
		"redistribution.acknowledged": depot.MaxAcknowledgements, "redistribution.stalled": depot.MaxAcknowledgements - 1,
	} {
		if n := strings.Count(got, what); n != want {
			t.Errorf("%d times %s, want %d: %s", n, what, want, got)
		}
	}
	if undone := fmt.Sprintf("redistribution.stalled %dh", 340*24+depot.MaxAcknowledgements/2+1); strings.Contains(got, undone) {
		t.Errorf("what was undone stalled: %s", got)
	}
	if last := fmt.Sprintf("redistribution.stalled %dh", 340*24+depot.MaxAcknowledgements+2); !strings.HasSuffix(got, last) {
		t.Errorf("the last is not %s: %s", last, got)
	}
}

// history is the story of the first certificate.
func (w *world) history(asOf time.Time) string {
	w.t.Helper()
	item, err := w.service.Show(w.t.Context(), "1001", asOf)
	w.must(err)
	var steps []string
	for _, s := range redistribution.History(item) {
		text := fmt.Sprintf("%s %dh", s.Type, s.At.Sub(begin)/time.Hour)
		for _, more := range []string{s.By, s.Reason} {
			if more != "" {
				text += " " + more
			}
		}
		if s.SupersededBy != "" {
			text += " →" + s.SupersededBy
		}
		steps = append(steps, text)
	}
	return strings.Join(steps, ", ")
}
