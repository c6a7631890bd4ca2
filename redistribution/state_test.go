package redistribution_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

// The certificate of testdata/states.tsv.
var (
	notBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	opening   = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
)

// TestGoldenStates holds the states to a table that was written by hand.
func TestGoldenStates(t *testing.T) {
	p := policy(t, "days_before:30")
	for _, row := range golden(t, "testdata/states.tsv", 5) {
		item := depot.WindowItem{
			Identity: depot.Identity{NotBefore: notBefore, NotAfter: notAfter}, Standing: depot.Standing(row[1]),
		}
		if row[2] != "-" || item.Standing == depot.StandingAcknowledged {
			a := depot.Acknowledgement{At: notBefore}
			if row[2] != "-" {
				a.StallsAt = at(t, row[2])
			}
			item.Acknowledgements, item.Attempts = []depot.Acknowledgement{a}, 1
		}
		if got := redistribution.StateAt(item, p, at(t, row[3])); got != redistribution.State(row[4]) {
			t.Errorf("%s: %s, want %s", row[0], got, row[4])
		}
	}
}

// TestStateOfNobodys: what is held back is in no state.
func TestStateOfNobodys(t *testing.T) {
	item := depot.WindowItem{Identity: depot.Identity{NotBefore: notBefore, NotAfter: notAfter}}
	if got := redistribution.StateAt(item, policy(t, "days_before:30"), opening); got != "" {
		t.Errorf("state %q", got)
	}
}

// TestOneState: every item is in one of the states, and an earlier one of the
// path is not come back to by the passing of time alone.
func TestOneState(t *testing.T) {
	path := []redistribution.State{
		redistribution.Valid, redistribution.Due, redistribution.Acknowledged, redistribution.Stalled, redistribution.Expired,
	}
	rapid.Check(t, func(t *rapid.T) {
		item, p := someItem.Draw(t, "item"), somePolicy.Draw(t, "policy")
		last := 0
		for now := item.Identity.NotBefore; now.Before(item.Identity.NotAfter.Add(10 * day)); now = now.Add(10*time.Hour + time.Second) {
			s := redistribution.StateAt(item, p, now)
			if !slices.Contains(redistribution.States(), s) {
				t.Fatalf("state %q", s)
			}
			if s == redistribution.Revoked || s == redistribution.Superseded {
				return
			}
			n := slices.Index(path, s)
			if n < last {
				t.Fatalf("%s after %s", s, path[last])
			}
			last = n
		}
	})
}
