package redistribution_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

// everyState is a store with a certificate in each state, at begin + 340 days.
func everyState(t *testing.T) (w *world, want map[redistribution.State][]string) {
	w = newWorld(t)
	revoked := w.issue("R", year)
	w.revoke(revoked, depot.ReasonKeyCompromise)
	expired := w.issue("X", 100*day)
	due := w.issue("D", year)
	stalled, acknowledged, superseded := w.issue("T", year), w.issue("K", year), w.issue("S", year)
	w.clock.Advance(338 * day)
	w.acknowledge(stalled)
	w.clock.Advance(2 * day)
	w.acknowledge(acknowledged)
	valid := w.issue("S", year)
	return w, map[redistribution.State][]string{
		redistribution.Valid: {valid}, redistribution.Due: {due}, redistribution.Acknowledged: {acknowledged}, redistribution.Stalled: {stalled},
		redistribution.Superseded: {superseded}, redistribution.Expired: {expired}, redistribution.Revoked: {revoked},
	}
}

// TestListByState: each state alone and each two of them together, by index.
func TestListByState(t *testing.T) {
	w, want := everyState(t)
	for _, a := range redistribution.States() {
		for _, b := range redistribution.States() {
			expect := slices.Clone(want[a])
			if a != b {
				expect = append(expect, want[b]...)
			}
			got := w.list(redistribution.Query{States: []redistribution.State{a, b}})
			slices.Sort(expect)
			if slices.Sort(got); !slices.Equal(got, expect) {
				t.Errorf("%s and %s: %v, want %v", a, b, got, expect)
			}
		}
	}
	if got := w.list(redistribution.Query{}); !slices.Equal(got, []string{"1003", "1004"}) {
		t.Errorf("by default: %v", got)
	}
	if _, err := w.service.List(t.Context(), redistribution.Query{States: []redistribution.State{"late"}}); !errors.Is(err, depot.ErrInvalid) {
		t.Errorf("a state that is none: %v", err)
	}
	page, err := w.service.List(t.Context(), redistribution.Query{Counts: true, Limit: 1})
	w.must(err)
	if n := ones(); !maps.Equal(page.Counts, n) {
		t.Errorf("counts %v, want %v", page.Counts, n)
	}
}

func ones() map[redistribution.State]int {
	n := map[redistribution.State]int{}
	for _, state := range redistribution.States() {
		n[state] = 1
	}
	return n
}

// TestAsOf: the past is without what came later, the future with the present.
func TestAsOf(t *testing.T) {
	w, want := everyState(t)
	for state, serials := range want {
		item, err := w.service.Show(t.Context(), serials[0], w.clock.Now())
		if err != nil || item.State != state {
			t.Errorf("%s as of now: %s, %v", serials[0], item.State, err)
		}
	}
	count := func(at time.Time, want map[redistribution.State]int) {
		t.Helper()
		got, err := w.service.Counts(t.Context(), nil, nil, at)
		w.must(err)
		maps.DeleteFunc(got, func(_ redistribution.State, n int) bool { return n == 0 })
		if !maps.Equal(got, want) {
			t.Errorf("as of %v: %v, want %v", at, got, want)
		}
		for _, state := range redistribution.States() {
			if n := len(w.list(redistribution.Query{AsOf: at, States: []redistribution.State{state}})); n != want[state] {
				t.Errorf("as of %v: %d listed as %s, want %d", at, n, state, want[state])
			}
		}
	}
	count(begin.Add(-day), nil)
	count(begin.Add(80*day), map[redistribution.State]int{redistribution.Revoked: 1, redistribution.Due: 1, redistribution.Valid: 4})
	count(begin.Add(335*day-time.Second), map[redistribution.State]int{redistribution.Revoked: 1, redistribution.Expired: 1, redistribution.Valid: 4})
	count(begin.Add(335*day), map[redistribution.State]int{redistribution.Revoked: 1, redistribution.Expired: 1, redistribution.Due: 4})
	count(begin.Add(338*day), map[redistribution.State]int{redistribution.Revoked: 1, redistribution.Expired: 1, redistribution.Due: 3, redistribution.Acknowledged: 1})
	count(begin.Add(340*day), ones())
	count(begin.Add(341*day), map[redistribution.State]int{
		redistribution.Revoked: 1, redistribution.Expired: 1, redistribution.Due: 1, redistribution.Stalled: 2, redistribution.Superseded: 1, redistribution.Valid: 1,
	})
	count(begin.Add(10*year), map[redistribution.State]int{redistribution.Revoked: 1, redistribution.Superseded: 1, redistribution.Expired: 5})
	if item, err := w.service.Show(t.Context(), "1002", begin.Add(10*year)); err != nil || item.SecondsLeft != 0 {
		t.Errorf("%d seconds are left of what has expired, %v", item.SecondsLeft, err)
	}
	if _, err := w.service.Show(t.Context(), "1007", begin.Add(day)); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("show what was not issued: %v", err)
	}
	item, err := w.service.Show(t.Context(), "1006", begin.Add(339*day))
	if err != nil || item.State != redistribution.Due || item.SecondsLeft != 26*86400 || item.SupersededBy != "" {
		t.Errorf("show what was superseded since: %+v, %v", item, err)
	}
}

// unwalked is a store that is too big to walk.
type unwalked struct{ depot.Depot }

func (unwalked) WindowItemsPast(context.Context, depot.WindowPastQuery) (depot.Page[depot.WindowItem], error) {
	return depot.Page[depot.WindowItem]{}, errors.New("the store was walked")
}

// TestShowPast: one item of the past is found without a walk, and so is that
// there was none.
func TestShowPast(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	w.clock.Advance(340 * day)
	w.issue("A", year)
	service := redistribution.New(unwalked{w.store}, w.clock, nil)
	if item, err := service.Show(t.Context(), "1001", begin.Add(339*day)); err != nil || item.State != redistribution.Due {
		t.Errorf("%s, %v", item.State, err)
	}
	if _, err := service.Show(t.Context(), "1002", begin.Add(339*day)); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("not issued yet: %v", err)
	}
}

// TestThirtyDays: nothing 31 days before the end, and the device 30 days
// before, in the future and when it has come.
func TestThirtyDays(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	due := func(at time.Time) int {
		return len(w.list(redistribution.Query{States: []redistribution.State{redistribution.Due}, AsOf: at}))
	}
	for days, want := range map[time.Duration]int{31: 0, 30: 1, 1: 1, 0: 0} {
		at := begin.Add(year - days*day)
		if got := due(at); got != want {
			t.Errorf("as of %d days before: %d are due, want %d", days, got, want)
		}
		w.clock.Set(at)
		if got := due(time.Time{}); got != want {
			t.Errorf("%d days before: %d are due, want %d", days, got, want)
		}
	}
}

// TestPages: a list that is read slowly stays one list.
func TestPages(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.issue(fmt.Sprint(i), year+time.Duration(i%4)*time.Hour)
	}
	w.clock.Advance(year - 29*day)
	sixty := &redistribution.Policy{Kind: redistribution.DaysBefore, Value: 29}
	for name, q := range map[string]redistribution.Query{
		"now":              {},
		"with a policy":    {Policy: sixty},
		"as of a time":     {AsOf: w.clock.Now().Add(time.Hour)},
		"in the past":      {AsOf: w.clock.Now().Add(-time.Hour)},
		"several together": {Policy: sixty, AsOf: w.clock.Now().Add(2 * time.Hour)},
	} {
		whole := q
		if q.AsOf.IsZero() {
			whole.AsOf = w.clock.Now()
		}
		want := w.list(whole)
		var got []string
		asOf := time.Time{}
		for {
			q.Limit = 3
			page, err := w.service.List(t.Context(), q)
			w.must(err)
			for _, item := range page.Items {
				got = append(got, item.Identity.CertificateSerial)
			}
			if asOf.IsZero() {
				asOf = page.AsOf
			}
			if !page.AsOf.Equal(asOf) {
				t.Errorf("%s: a page is as of %v, the first one as of %v", name, page.AsOf, asOf)
			}
			if page.NextCursor == "" {
				break
			}
			w.clock.Advance(day)
			q = redistribution.Query{Cursor: page.NextCursor}
		}
		if !slices.Equal(got, want) || len(got) == 0 {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		w.clock.Set(begin.Add(year - 29*day))
	}
}

// TestCursors that are not of the list are refused.
func TestCursors(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	w.issue("B", year)
	w.clock.Advance(340*day + 300*time.Millisecond)
	page, err := w.service.List(t.Context(), redistribution.Query{Limit: 1})
	w.must(err)
	next := page.NextCursor
	forged := func(change func(p map[string]any)) string {
		text, err := base64.RawURLEncoding.DecodeString(next)
		w.must(err)
		p := map[string]any{}
		w.must(json.Unmarshal(text, &p))
		change(p)
		// In the order in which a cursor has them, or it is refused for that.
		text = nil
		for _, name := range []string{"At", "Past", "Policy", "Depot"} {
			if value, there := p[name]; there {
				b, err := json.Marshal(value)
				w.must(err)
				text = append(text, fmt.Sprintf(",%q:%s", name, b)...)
			}
		}
		return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "{%s}", text[1:]))
	}
	if forged(func(map[string]any) {}) != next {
		t.Fatal("cursors are made in another way")
	}
	for name, q := range map[string]redistribution.Query{
		"of no place": {Cursor: forged(func(p map[string]any) { p["Depot"] = "" })},
		"a wrong policy": {Cursor: forged(func(p map[string]any) {
			p["Policy"] = json.RawMessage(`{"Kind":"percent_remaining","Value":100,"Strict":false,"AckTimeout":0}`)
		})},
		"garbage":        {Cursor: "garbage"},
		"not base64":     {Cursor: "!"},
		"cut":            {Cursor: next[:len(next)-3]},
		"empty":          {Cursor: "e30"},
		"another time":   {Cursor: next, AsOf: begin},
		"another policy": {Cursor: next, Policy: &redistribution.Policy{Kind: redistribution.DaysBefore, Value: 60}},
	} {
		if _, err := w.service.List(t.Context(), q); !errors.Is(err, depot.ErrCursor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, same := range []time.Time{page.AsOf, page.AsOf.Truncate(time.Second)} { // as people are shown it
		if got, err := w.service.List(t.Context(), redistribution.Query{Cursor: next, AsOf: same}); err != nil || len(got.Items) != 1 || !got.AsOf.Equal(page.AsOf) {
			t.Errorf("the same time: %v, %v", got, err)
		}
	}
}

// TestOverride: a policy for one request, with the configuration's time for
// acknowledgements.
func TestOverride(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	w.issue("B", 100*day)
	sixty := &redistribution.Policy{Kind: redistribution.DaysBefore, Value: 60}
	w.clock.Advance(40 * day)
	if got := w.list(redistribution.Query{}); len(got) != 0 {
		t.Errorf("due by the configuration: %v", got)
	}
	page, err := w.service.List(t.Context(), redistribution.Query{Policy: sixty})
	w.must(err)
	if len(page.Items) != 1 || page.Items[0].State != redistribution.Due || !page.Items[0].Opens.Equal(begin.Add(40*day)) || page.Policy.String() != "days_before:60" {
		t.Errorf("due by the request: %+v", page)
	}
	if page.Items[0].Policy.AckTimeout != day {
		t.Errorf("acknowledgements count for %v", page.Items[0].Policy.AckTimeout)
	}
	counts, err := w.service.Counts(t.Context(), []string{"rac1"}, sixty, time.Time{})
	if err != nil || counts[redistribution.Due] != 1 || counts[redistribution.Valid] != 1 {
		t.Errorf("counts: %v, %v", counts, err)
	}
	for strict, want := range map[bool]int{false: 0, true: 2} {
		all := &redistribution.Policy{Kind: redistribution.DaysBefore, Value: 3650, Strict: strict}
		if counts, err := w.service.Counts(t.Context(), nil, all, begin.Add(time.Second)); err != nil || counts[redistribution.Due] != want {
			t.Errorf("strict %t: %v, %v", strict, counts, err)
		}
	}
	wrong := &redistribution.Policy{Kind: redistribution.PercentRemaining, Value: 100}
	if _, err := w.service.List(t.Context(), redistribution.Query{Policy: wrong}); !errors.Is(err, redistribution.ErrPolicy) {
		t.Errorf("list by a policy that cannot be: %v", err)
	}
	if _, err := w.service.Counts(t.Context(), nil, wrong, time.Time{}); !errors.Is(err, redistribution.ErrPolicy) {
		t.Errorf("count by a policy that cannot be: %v", err)
	}
}

// TestConfigurations: each has its own policy, and one can be asked about.
func TestConfigurations(t *testing.T) {
	w := newWorld(t)
	w.configure("rac2", depot.ConfigurationPolicy{WindowKind: "percent_remaining", WindowValue: 50})
	w.issue("A", year)
	w.issue("A", year, of("rac2"))
	w.clock.Advance(200 * day)
	page, err := w.service.List(t.Context(), redistribution.Query{})
	w.must(err)
	if len(page.Items) != 1 || page.Items[0].Identity.CertificateSerial != "1002" || page.Policy != nil {
		t.Errorf("of all: %+v", page)
	}
	if got := w.list(redistribution.Query{ConfigurationIDs: []string{"rac1"}}); len(got) != 0 {
		t.Errorf("of the first: %v", got)
	}
	page, err = w.service.List(t.Context(), redistribution.Query{ConfigurationIDs: []string{"rac2", "rac2"}, Counts: true})
	w.must(err)
	if len(page.Items) != 1 || page.Counts[redistribution.Due] != 1 || page.Policy == nil || page.Policy.String() != "percent_remaining:50" {
		t.Errorf("of the second: %+v", page)
	}
	w.sweep()
	if got := w.news(); got != "due 1002" {
		t.Errorf("announced %q", got)
	}
	if _, err := w.service.List(t.Context(), redistribution.Query{ConfigurationIDs: []string{"rac3"}}); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("of one that is not there: %v", err)
	}
}

// TestDeviceAndProfile select.
func TestDeviceAndProfile(t *testing.T) {
	w := newWorld(t)
	w.issue("A", year)
	w.issue("B", year)
	w.clock.Advance(340 * day)
	for _, asOf := range []time.Time{{}, begin.Add(339 * day), begin.Add(341 * day)} {
		if got := w.list(redistribution.Query{DeviceKey: "serial:B", AsOf: asOf}); !slices.Equal(got, []string{"1002"}) {
			t.Errorf("by device: %v", got)
		}
		if got := w.list(redistribution.Query{ProfileUUID: "6f96-a", AsOf: asOf}); !slices.Equal(got, []string{"1001"}) {
			t.Errorf("by profile: %v", got)
		}
	}
}
