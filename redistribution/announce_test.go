package redistribution_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

// december is a time in the month of the window.
func december(d int) time.Time { return time.Date(2026, 12, d, 0, 0, 0, 0, time.UTC) }

// The parts of which items of the tables are made.
func current() depot.WindowItem {
	return depot.WindowItem{
		Identity: depot.Identity{CertificateSerial: "01", NotBefore: notBefore, NotAfter: notAfter, IssuedAt: notBefore.Add(5 * time.Minute)},
		Standing: depot.StandingCurrent,
	}
}

func acknowledged(item depot.WindowItem, times ...time.Time) depot.WindowItem {
	for _, t := range times {
		item.Acknowledgements = append(item.Acknowledgements, depot.Acknowledgement{At: t, StallsAt: t.Add(day)})
		item.Attempts++
	}
	item.Standing = depot.StandingAcknowledged
	return item
}

func undone(item depot.WindowItem, at time.Time) depot.WindowItem {
	item.Acknowledgements[len(item.Acknowledgements)-1].UndoneAt = at
	item.Standing = depot.StandingCurrent
	return item
}

func superseded(item depot.WindowItem, at time.Time, by string) depot.WindowItem {
	item.Standing, item.SupersededAt, item.SupersededBy = depot.StandingSuperseded, at, by
	return item
}

func revoked(item depot.WindowItem, at time.Time) depot.WindowItem {
	item.Standing, item.Identity.RevokedAt, item.Identity.RevocationReason = depot.StandingRevoked, at, "admin"
	return item
}

func void(item depot.WindowItem) depot.WindowItem {
	item.Standing, item.Identity.Void = depot.StandingRevoked, true
	return item
}

func announced(item depot.WindowItem, marks ...string) depot.WindowItem {
	item.Announced = append(item.Announced, marks...)
	slices.Sort(item.Announced)
	return item
}

// TestMissing is what is announced in which story, in which order.
func TestMissing(t *testing.T) {
	issued := current().Identity.IssuedAt
	for _, c := range []struct {
		name string
		item depot.WindowItem
		now  time.Time
		want string // "mark@day of December", in order
	}{
		{"before the window", current(), opening.Add(-time.Nanosecond), ""},
		{"it opens", current(), opening, "due:days_before:30@1"},
		{"announced", announced(current(), "due:days_before:30"), december(20), ""},
		{"of another policy", announced(current(), "due:days_before:60"), december(20), "due:days_before:30@1"},
		{"of another policy, and acknowledged", announced(acknowledged(current(), december(5)), "due:days_before:60"), december(5), ""},
		{"of another policy, and expired", announced(current(), "due:days_before:60"), notAfter, "missed@31"},
		{"of another policy, and superseded", announced(superseded(current(), december(3), "02"), "due:days_before:60"), december(4), "superseded:02@3 fulfilled:02@3"},
		{"missed, then another policy", announced(current(), "missed"), notAfter, ""},
		{"it closes, and nobody looked before", current(), notAfter, "due:days_before:30@1 missed@31"},
		{"a second before", announced(current(), "due:days_before:30"), notAfter.Add(-time.Second), ""},
		{"revoked before the window", revoked(current(), opening.Add(-day)), notAfter, ""},
		{"revoked when it opens", revoked(current(), opening), notAfter, ""},
		{"revoked in the window", revoked(current(), december(9)), notAfter, "due:days_before:30@1"},
		{"revoked when it closes", revoked(current(), notAfter), notAfter.Add(day), "due:days_before:30@1"},
		{"revoked after the window", revoked(current(), notAfter.Add(day)), notAfter.Add(2 * day), "due:days_before:30@1 missed@31"},
		{"never delivered", void(superseded(current(), december(9), "02")), notAfter, ""},
		{"held back", depot.WindowItem{Identity: current().Identity}, notAfter, ""},

		{"acknowledged", acknowledged(current(), december(5)), december(5), "due:days_before:30@1"},
		{"it stalls", acknowledged(current(), december(5)), december(6), "due:days_before:30@1 stalled:1@6"},
		{"a second before it stalls", announced(acknowledged(current(), december(5)), "due:days_before:30"), december(6).Add(-time.Second), ""},
		{"acknowledged by an earlier policy", acknowledged(current(), opening.Add(-5*day)), opening, "stalled:1@-3"},
		{"and undone in the window", undone(acknowledged(current(), opening.Add(-time.Hour)), december(1).Add(time.Hour)), december(2), "due:days_before:30@1"},
		{"and undone in the window, then superseded", superseded(undone(acknowledged(current(), opening.Add(-time.Hour)), december(1).Add(time.Hour)), december(3), "02"), december(4), "superseded:02@3 fulfilled:02@3"},
		{"acknowledged again in time", acknowledged(current(), december(5), december(5).Add(time.Hour)), december(9), "due:days_before:30@1 stalled:2@6"},
		{"acknowledged again when it stalled", acknowledged(current(), december(5), december(6)), december(9), "due:days_before:30@1 stalled:1@6 stalled:2@7"},
		{"undone in time", undone(acknowledged(current(), december(5)), december(6).Add(-time.Second)), december(9), "due:days_before:30@1"},
		{"undone when it stalled", undone(acknowledged(current(), december(5)), december(6)), december(9), "due:days_before:30@1"},
		{"undone after it stalled", undone(acknowledged(current(), december(5)), december(7)), december(9), "due:days_before:30@1 stalled:1@6"},
		{"undone, acknowledged again", acknowledged(undone(acknowledged(current(), december(5)), december(5)), december(8)), december(9), "due:days_before:30@1 stalled:2@9"},
		{"revoked before it stalls", revoked(acknowledged(current(), december(5)), december(6).Add(-time.Second)), december(9), "due:days_before:30@1"},
		{"stalls, revoked", revoked(acknowledged(current(), december(5)), december(7)), december(9), "due:days_before:30@1 stalled:1@6"},
		{"acknowledged and closed", acknowledged(current(), december(5)), notAfter, "due:days_before:30@1 stalled:1@6 missed@31"},

		{"fulfilled", superseded(acknowledged(current(), december(5)), december(5).Add(time.Hour), "02"), december(9), "due:days_before:30@1 superseded:02@5 fulfilled:02@5"},
		{"fulfilled late", superseded(acknowledged(current(), december(5)), december(8), "02"), december(9), "due:days_before:30@1 stalled:1@6 superseded:02@8 fulfilled:02@8"},
		{"fulfilled when it would stall", superseded(acknowledged(current(), december(5)), december(6), "02"), december(9), "due:days_before:30@1 superseded:02@6 fulfilled:02@6"},
		{"without an acknowledgement", superseded(current(), december(8), "02"), december(9), "due:days_before:30@1 superseded:02@8 fulfilled:02@8"},
		{"when the window opens", superseded(current(), opening, "02"), december(9), "superseded:02@1 fulfilled:02@1"},
		{"before the window", superseded(current(), opening.Add(-day), "02"), december(9), "superseded:02@0"},
		{"before the window, acknowledged", superseded(acknowledged(current(), opening.Add(-2*day)), opening.Add(-day).Add(-time.Second), "02"), december(9), "superseded:02@0 fulfilled:02@0"},
		{"before the window, undone", superseded(undone(acknowledged(current(), opening.Add(-2*day)), opening.Add(-2*day)), opening.Add(-day), "02"), december(9), "superseded:02@0"},
		{"when it closes", superseded(current(), notAfter, "02"), notAfter.Add(day), "due:days_before:30@1 superseded:02@31"},
		{"after it closed", superseded(current(), notAfter.Add(time.Second), "02"), notAfter.Add(day), "due:days_before:30@1 missed@31 superseded:02@31"},
		{"after it closed, acknowledged", superseded(acknowledged(current(), december(30)), notAfter.Add(time.Second), "02"), notAfter.Add(day), "due:days_before:30@1 missed@31 superseded:02@31 fulfilled:02@31"},
		{"another successor", announced(superseded(current(), december(9), "03"), "due:days_before:30", "fulfilled:02", "superseded:02"), december(9), "superseded:03@9 fulfilled:03@9"},
		{"revoked, then enrolled again", revoked(superseded(current(), december(9), "02"), december(8)), december(9), "due:days_before:30@1"},
		{"revoked when enrolled again", revoked(superseded(current(), december(9), "02"), december(9)), december(9), "due:days_before:30@1"},
		{"enrolled again, then revoked", revoked(superseded(current(), december(8), "02"), december(9)), december(9), "due:days_before:30@1 superseded:02@8 fulfilled:02@8"},
		{"superseded by one of the future, after the clock went back", superseded(current(), december(20), "02"), december(9), "due:days_before:30@1 superseded:02@20 fulfilled:02@20"},
	} {
		var got []string
		for _, a := range redistribution.Missing(c.item, policy(t, "days_before:30"), c.now) {
			got = append(got, fmt.Sprintf("%s@%d", a.Mark, int(a.At.Sub(december(1))/day)+1))
			checkAnnouncement(t, c.name, a)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
	// A window that is open from the beginning opens when there is a certificate.
	all := redistribution.Missing(current(), policy(t, "days_before:365:strict"), notBefore.Add(time.Hour))
	if len(all) != 1 || !all[0].At.Equal(issued) {
		t.Errorf("a certificate that is all window is due at %v, not when it was issued (%v)", all, issued)
	}
	// An empty one does not open, and closes all the same.
	all = redistribution.Missing(current(), policy(t, "days_before:0"), notAfter)
	if len(all) != 1 || all[0].Type != depot.EventRedistributionMissed {
		t.Errorf("a certificate without a window: %v", all)
	}
}

// checkAnnouncement compares type and successor with the mark.
func checkAnnouncement(t *testing.T, name string, a depot.Announcement) {
	t.Helper()
	kind, rest, _ := strings.Cut(a.Mark, ":")
	want := map[string]depot.EventType{
		"due": depot.EventRedistributionDue, "stalled": depot.EventRedistributionStalled, "missed": depot.EventRedistributionMissed,
		"superseded": depot.EventCertificateSuperseded, "fulfilled": depot.EventRedistributionFulfilled,
	}[kind]
	successor := ""
	if kind == "superseded" || kind == "fulfilled" {
		successor = rest
	}
	if a.Type != want || a.SupersededBy != successor || a.CertificateSerial != "01" {
		t.Errorf("%s: announcement %+v", name, a)
	}
}

// someItem is an item whose story makes sense: acknowledged some times, and
// perhaps superseded or revoked afterwards.
var someItem = rapid.Custom(func(t *rapid.T) depot.WindowItem {
	item := current()
	now := notBefore.Add(time.Hour)
	later := func(what string) time.Time {
		now = now.Add(time.Duration(rapid.IntRange(1, 100*86400).Draw(t, what)) * time.Second)
		return now
	}
	for range rapid.IntRange(0, 3).Draw(t, "acknowledgements") {
		item = acknowledged(item, later("acknowledged"))
		if rapid.Bool().Draw(t, "undone") {
			item = undone(item, later("undone"))
		}
	}
	if rapid.Bool().Draw(t, "superseded") {
		item = superseded(item, later("superseded"), "02")
	}
	if rapid.Bool().Draw(t, "revoked") {
		item = revoked(item, later("revoked"))
	}
	return item
})

// TestMissingProperties: nothing is announced twice, and looking often, looking
// once and late, and going back and looking again come to the same.
func TestMissingProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		item, p := someItem.Draw(t, "item"), somePolicy.Draw(t, "policy")
		end := notAfter.Add(400 * day)
		late := marks(redistribution.Missing(item, p, end))
		often := item
		for range rapid.IntRange(1, 8).Draw(t, "looks") {
			now := notBefore.Add(time.Duration(rapid.IntRange(0, 500*24).Draw(t, "hours")) * time.Hour)
			list := redistribution.Missing(often, p, now)
			if !slices.IsSortedFunc(list, func(a, b depot.Announcement) int { return a.At.Compare(b.At) }) {
				t.Fatalf("not in order: %v", list)
			}
			often = announced(often, marks(list)...)
			if again := redistribution.Missing(often, p, now); len(again) > 0 {
				t.Fatalf("announced, and missing still: %v", again)
			}
		}
		often = announced(often, marks(redistribution.Missing(often, p, end))...)
		slices.Sort(late)
		if !slices.Equal(often.Announced, late) {
			t.Fatalf("looking often: %v; once and late: %v", often.Announced, late)
		}
		if len(slices.Compact(slices.Clone(late))) != len(late) {
			t.Fatalf("twice: %v", late)
		}
	})
}

func marks(list []depot.Announcement) (all []string) {
	for _, a := range list {
		all = append(all, a.Mark)
	}
	return all
}

// TestStatesAndEventsAgree: what is due at a time was announced by then, and so
// it is with what stalled and was missed.
func TestStatesAndEventsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		item, p := someItem.Draw(t, "item"), somePolicy.Draw(t, "policy")
		now := notBefore.Add(time.Duration(rapid.IntRange(0, 400*24).Draw(t, "hours")) * time.Hour)
		state, list := redistribution.StateAt(item, p, now), marks(redistribution.Missing(item, p, now))
		want := map[redistribution.State]string{
			redistribution.Due:        "due:" + p.String(),
			redistribution.Stalled:    fmt.Sprintf("stalled:%d", item.Attempts),
			redistribution.Expired:    "missed",
			redistribution.Superseded: "superseded:02",
		}[state]
		if want != "" && !slices.Contains(list, want) {
			t.Fatalf("%s, but only %q was announced", state, list)
		}
		if state == redistribution.Valid && len(list) > 0 && !slices.ContainsFunc(item.Acknowledgements, func(a depot.Acknowledgement) bool {
			return !a.StallsAt.IsZero()
		}) {
			t.Fatalf("valid, but %q was announced", list)
		}
	})
}
