package depottest

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"
	"understudy.example/understudy/depot"
)

// begun is about when the certificates of this run are issued, in whole
// seconds.
func (m *machine) begun() time.Time {
	return Epoch.Truncate(time.Second).Add(time.Duration(m.run) * 1000 * time.Minute)
}

// drain settles what earlier runs left to be looked at.
func (m *machine) drain() {
	for {
		all, err := m.d.Rechecks(m.ctx, 500)
		m.wantError("Rechecks", err, nil)
		if len(all) == 0 || err != nil {
			return
		}
		_, err = m.d.Settle(m.ctx, depot.Settlement{Rechecked: all})
		m.wantError("Settle", err, nil)
	}
}

// sameItem compares a certificate as redistribution sees it.
func (m *machine) sameItem(t *rapid.T, certificateSerial string) {
	got, err := m.d.WindowItem(m.ctx, certificateSerial)
	expected, modelErr := m.model.WindowItem(m.ctx, certificateSerial)
	m.sameError(t, "WindowItem", err, modelErr)
	m.same(t, "WindowItem", got, expected)
}

func (m *machine) acknowledge(t *rapid.T) {
	a := depot.Acknowledgement{CertificateSerial: m.drawSerial(t), By: "somebody", RequestedBy: "an MDM", RequestedAt: Epoch.Local(),
		At:             m.begun().Add(time.Duration(small(t, "at", 20)) * time.Minute),
		CommandID:      rapid.SampledFrom([]string{"", "", "command 1", "command 2"}).Draw(t, "command"),
		IdempotencyKey: rapid.SampledFrom([]string{"", "", "key 1", "key 2"}).Draw(t, "key")}
	if small(t, "stalls", 3) > 0 {
		a.StallsAt = m.hour(small(t, "stalls at", 5) - 2)
	}
	got, made, err := m.d.Acknowledge(m.ctx, a)
	expected, modelMade, modelErr := m.model.Acknowledge(m.ctx, a)
	if m.sameError(t, "Acknowledge", err, modelErr) {
		m.same(t, "Acknowledge", got, expected)
		m.same(t, "Acknowledge made", made, modelMade)
	}
	m.sameItem(t, a.CertificateSerial)
}

// hour returns one of few times around those at which certificates expire.
func (m *machine) hour(n int) time.Time {
	return Epoch.Truncate(time.Second).Add(time.Duration(n) * time.Hour)
}

func (m *machine) unacknowledge(t *rapid.T) {
	which, at := m.drawSerial(t), m.begun().Add(time.Duration(small(t, "at", 20))*time.Minute)
	got, made, err := m.d.Unacknowledge(m.ctx, which, "another", at)
	expected, modelMade, modelErr := m.model.Unacknowledge(m.ctx, which, "another", at)
	if m.sameError(t, "Unacknowledge", err, modelErr) {
		m.same(t, "Unacknowledge", got, expected)
		m.same(t, "Unacknowledge made", made, modelMade)
	}
	m.sameItem(t, which)
}

func (m *machine) settle(t *rapid.T) {
	var s depot.Settlement
	marks := []string{"due:x", "missed", "stalled:1", "superseded:0a"}
	types := []depot.EventType{depot.EventRedistributionDue, depot.EventRedistributionMissed, depot.EventRedistributionStalled, depot.EventCertificateSuperseded}
	for range small(t, "announcements", 4) {
		n := small(t, "mark", len(marks))
		s.Announcements = append(s.Announcements, depot.Announcement{CertificateSerial: m.drawSerial(t), Type: types[n], Mark: marks[n],
			At: m.begun().Add(time.Duration(small(t, "at", 20)) * time.Minute).Local(), SupersededBy: "0a"})
	}
	for range small(t, "watermarks", 3) {
		key := m.watermark(t)
		s.Watermarks = append(s.Watermarks, depot.Watermark{WatermarkKey: key, At: m.hour(small(t, "line", 5) - 1)})
	}
	ours, err := m.d.Rechecks(m.ctx, 500)
	theirs, modelErr := m.model.Rechecks(m.ctx, 500)
	m.sameError(t, "Rechecks", err, modelErr)
	m.same(t, "Rechecks", recheckedSerials(ours), recheckedSerials(theirs))
	other := s
	other.Rechecked = slices.Clone(theirs[:small(t, "rechecked", len(theirs)+1)])
	s.Rechecked = slices.Clone(ours[:len(other.Rechecked)])
	got, err := m.d.Settle(m.ctx, s)
	expected, modelErr := m.model.Settle(m.ctx, other)
	m.sameError(t, "Settle", err, modelErr)
	m.same(t, "Settle", got, expected)
	for _, a := range s.Announcements {
		m.sameItem(t, a.CertificateSerial)
	}
	key := m.watermark(t)
	line, err := m.d.Watermark(m.ctx, key)
	modelLine, modelErr := m.model.Watermark(m.ctx, key)
	m.sameError(t, "Watermark", err, modelErr)
	m.same(t, "Watermark", line, modelLine)
}

func recheckedSerials(all []depot.Recheck) (serials []string) {
	for _, r := range all {
		serials = append(serials, r.CertificateSerial)
	}
	return serials
}

func (m *machine) watermark(t *rapid.T) depot.WatermarkKey {
	return depot.WatermarkKey{ConfigurationID: m.name("rac", small(t, "configuration", 2)),
		Purpose:  rapid.SampledFrom([]string{"due:x", "missed", "stalled"}).Draw(t, "purpose"),
		Lifetime: time.Duration(small(t, "lifetime", 3)) * lifetime}
}

// lifetime is the shortest of the certificates of the model.
const lifetime = 100 * time.Hour

// ranges draws ranges that do not overlap.
func (m *machine) ranges(t *rapid.T) (all []depot.WindowRange) {
	bound := func(what string) time.Time {
		if small(t, what+" is set", 2) == 0 {
			return time.Time{}
		}
		return m.hour(small(t, what, 5)).Add(time.Duration(small(t, what+" fraction", 2)) * 987654 * time.Microsecond)
	}
	for n := range 2 {
		r := depot.WindowRange{ConfigurationID: m.name("rac", n)}
		for _, r.Standing = range []depot.Standing{depot.StandingRevoked, depot.StandingSuperseded, depot.StandingCurrent} {
			if small(t, "range", 2) == 1 {
				r.After, r.Until = bound("after"), bound("until")
				all = append(all, r)
			}
		}
		if len(all) > 0 && all[len(all)-1].Standing == depot.StandingCurrent && small(t, "lifetimes", 2) == 1 {
			all[len(all)-1].Lifetime = time.Duration(1+small(t, "lifetime", 2)) * lifetime
		}
		r.Standing, r.After, r.Until = depot.StandingAcknowledged, time.Time{}, time.Time{}
		switch small(t, "acknowledged", 4) {
		case 0:
			all = append(all, r)
		case 1:
			r.At = m.hour(small(t, "stalled at", 6) - 2)
			r.After = r.At
			for _, r.Stall = range []depot.Stall{depot.StallWaiting, depot.StallPassed} {
				all = append(all, r)
			}
		case 2:
			r.At = m.hour(small(t, "stalled at", 6) - 2)
			r.After, r.Stall = r.At, depot.StallPassed
			all = append(all, r)
		}
	}
	return all
}

// listWindows compares pages, counts and what else is told of some ranges.
func (m *machine) listWindows(t *rapid.T) {
	q := depot.WindowQuery{Ranges: m.ranges(t), Limit: 1 + small(t, "limit", 4)}
	if small(t, "of a device", 4) == 0 {
		q.DeviceKey = fmt.Sprint("device ", small(t, "device", 3))
	}
	got, err := m.d.WindowCounts(m.ctx, q.Ranges)
	expected, modelErr := m.model.WindowCounts(m.ctx, q.Ranges)
	m.sameError(t, "WindowCounts", err, modelErr)
	m.same(t, fmt.Sprintf("WindowCounts(%+v)", q.Ranges), got, expected)
	listed := 0
	m.samePages(t, fmt.Sprintf("WindowItems(%+v)", q), func(d depot.Depot, cursor string) (depot.Page[depot.WindowItem], error) {
		q.Cursor = cursor
		page, err := d.WindowItems(m.ctx, q)
		listed += len(page.Items)
		return page, err
	})
	if sum := 2 * sumOf(got); q.DeviceKey == "" && sum != listed {
		t.Fatalf("counts say %d, both lists have %d: %+v", sum, listed, q.Ranges)
	}
	m.sameRest(t)
}

func sumOf(all []int) (sum int) {
	for _, n := range all {
		sum += n
	}
	return sum
}

// sameRest compares lifetimes, places, the latest change and what stalls.
func (m *machine) sameRest(t *rapid.T) {
	id := m.name("rac", small(t, "configuration", 2))
	lifetimes, err := m.d.WindowLifetimes(m.ctx, id)
	modelLifetimes, modelErr := m.model.WindowLifetimes(m.ctx, id)
	m.sameError(t, "WindowLifetimes", err, modelErr)
	m.same(t, "WindowLifetimes", lifetimes, modelLifetimes)

	serials := []string{m.drawSerial(t), m.drawSerial(t), "nonsense", m.drawSerial(t)}
	for _, asOf := range []time.Time{{}, m.hour(small(t, "as of", 6) - 3)} {
		places, err := m.d.Places(m.ctx, serials, asOf)
		modelPlaces, modelErr := m.model.Places(m.ctx, serials, asOf)
		m.sameError(t, "Places", err, modelErr)
		m.same(t, fmt.Sprintf("Places as of %v", asOf), places, modelPlaces)
	}

	latest, err := m.d.LatestChange(m.ctx)
	modelLatest, modelErr := m.model.LatestChange(m.ctx)
	m.sameError(t, "LatestChange", err, modelErr)
	if !modelLatest.Before(m.begun()) { // what came before was of earlier runs
		m.same(t, "LatestChange", latest, modelLatest)
	}

	after, until, limit := m.hour(small(t, "after", 5)-3), m.hour(small(t, "until", 5)), 1+small(t, "limit", 4)
	stalls, err := m.d.StallsUntil(m.ctx, id, after, until, limit)
	modelStalls, modelErr := m.model.StallsUntil(m.ctx, id, after, until, limit)
	m.sameError(t, "StallsUntil", err, modelErr)
	m.same(t, "StallsUntil", stalls, modelStalls)
}

// samePages follows the pages of both to the end.
func (m *machine) samePages(t *rapid.T, what string, list func(d depot.Depot, cursor string) (depot.Page[depot.WindowItem], error)) {
	ours, theirs := "", ""
	for range maxPages {
		got, err := list(m.d, ours)
		expected, modelErr := list(m.model, theirs)
		m.sameError(t, what, err, modelErr)
		m.same(t, what, got.Items, expected.Items)
		m.same(t, what+": there is another page", got.NextCursor != "", expected.NextCursor != "")
		if ours, theirs = got.NextCursor, expected.NextCursor; ours == "" {
			return
		}
	}
	t.Fatalf("%s does not end", what)
}

// listPast compares what was at one of several times.
func (m *machine) listPast(t *rapid.T) {
	q := depot.WindowPastQuery{ConfigurationIDs: []string{m.name("rac", 0), m.name("rac", 1)}[:1+small(t, "configurations", 2)],
		AsOf: m.begun().Add(time.Duration(small(t, "as of", 20)) * time.Minute), Limit: 1 + small(t, "limit", 4)}
	switch small(t, "revocations", 3) {
	case 1: // which are at other times than issues
		q.AsOf = m.hour(small(t, "hour", 4))
	case 2:
		q.NotAfterFrom = m.hour(small(t, "not after from", 4))
	}
	if small(t, "match", 3) == 0 {
		q.Match = func(i depot.WindowItem) bool { return i.Standing != depot.StandingCurrent }
	}
	m.samePages(t, fmt.Sprintf("WindowItemsPast(%+v)", q), func(d depot.Depot, cursor string) (depot.Page[depot.WindowItem], error) {
		q.Cursor = cursor
		return d.WindowItemsPast(m.ctx, q)
	})
	certificateSerial := m.drawSerial(t)
	got, err := m.d.WindowItemPast(m.ctx, certificateSerial, q.AsOf)
	expected, modelErr := m.model.WindowItemPast(m.ctx, certificateSerial, q.AsOf)
	m.sameError(t, "WindowItemPast", err, modelErr)
	m.same(t, fmt.Sprintf("WindowItemPast(%s) as of %v", certificateSerial, q.AsOf), got, expected)
}
