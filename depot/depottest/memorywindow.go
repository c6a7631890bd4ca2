package depottest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// windows is what a Memory keeps for redistribution.
type windows struct {
	histories  map[string]depot.WindowItem // of which only what was acknowledged and announced is used
	rechecks   []depot.Recheck
	number     uint64 // of the last recheck
	watermarks map[depot.WatermarkKey]time.Time
	latest     time.Time
}

// changed notes when something changed that windows show.
func (m *Memory) changed(t time.Time) {
	if t = utc(t); t.After(m.windows.latest) {
		m.windows.latest = t
	}
}

// item is an identity as redistribution sees it; of one that is held back the
// standing is none.
func (m *Memory) item(i depot.Identity) depot.WindowItem {
	item := m.windows.histories[i.CertificateSerial]
	item.Identity = i.Clone()
	item.Identity.DER = nil
	item.Acknowledgements, item.Announced = slices.Clone(item.Acknowledgements), slices.Clone(item.Announced)
	item.SupersededBy, item.SupersededAt = m.successor(i, func(later depot.Identity) bool { return later.Stands() })
	_, acknowledged := item.InForce()
	item.Standing = i.Standing(item.SupersededBy != "", acknowledged)
	return item
}

// successor is the first identity of the same device that came later and
// counts.
func (m *Memory) successor(of depot.Identity, counts func(depot.Identity) bool) (certificateSerial string, at time.Time) {
	later := false
	for _, i := range m.issued {
		if later && i.Identity.ConfigurationID == of.ConfigurationID && i.Identity.Device.Key == of.Device.Key && counts(i.Identity) {
			return i.Identity.CertificateSerial, i.Identity.IssuedAt
		}
		later = later || i.Identity.CertificateSerial == of.CertificateSerial
	}
	return "", time.Time{}
}

// watch returns a function that notes what of a device has got another
// standing since, or became current where the announcer has looked already.
func (m *Memory) watch(configurationID, deviceKey string) func() {
	before := m.standings(configurationID, deviceKey)
	return func() {
		after := m.standings(configurationID, deviceKey)
		for _, i := range m.issued {
			was, is := before[i.Identity.CertificateSerial], after[i.Identity.CertificateSerial]
			first := was == depot.StandingNone && is == depot.StandingCurrent
			if was != is && (!first || m.behind(i.Identity)) {
				m.recheck(i.Identity.CertificateSerial)
			}
		}
	}
}

func (m *Memory) standings(configurationID, deviceKey string) map[string]depot.Standing {
	all := map[string]depot.Standing{}
	superseded := false
	for _, i := range slices.Backward(m.issued) {
		if id := i.Identity; id.ConfigurationID == configurationID && id.Device.Key == deviceKey {
			_, acknowledged := m.windows.histories[id.CertificateSerial].InForce()
			all[id.CertificateSerial] = id.Standing(superseded, acknowledged)
			superseded = superseded || id.Stands()
		}
	}
	return all
}

func (m *Memory) behind(i depot.Identity) bool {
	for key, at := range m.windows.watermarks {
		if key.ConfigurationID == i.ConfigurationID && key.Purpose != "stalled" && i.NotAfter.Unix() <= at.Unix() &&
			(key.Lifetime == 0 || key.Lifetime == i.Lifetime()) {
			return true
		}
	}
	return false
}

func (m *Memory) recheck(certificateSerial string) {
	m.windows.number++
	m.windows.rechecks = slices.DeleteFunc(m.windows.rechecks, func(r depot.Recheck) bool { return r.CertificateSerial == certificateSerial })
	m.windows.rechecks = append(m.windows.rechecks, depot.Recheck{CertificateSerial: certificateSerial, Number: m.windows.number})
}

// WindowItem finds one.
func (m *Memory) WindowItem(ctx context.Context, certificateSerial string) (depot.WindowItem, error) {
	if err := m.lock(ctx); err != nil {
		return depot.WindowItem{}, err
	}
	defer m.mu.Unlock()
	i, err := m.findItem(certificateSerial)
	return i, err
}

func (m *Memory) findItem(certificateSerial string) (depot.WindowItem, error) {
	i := m.find(certificateSerial)
	if i == nil || i.HeldBack {
		return depot.WindowItem{}, fmt.Errorf("find certificate %q: %w", certificateSerial, depot.ErrNotFound)
	}
	return m.item(*i), nil
}

// WindowItems lists a page.
func (m *Memory) WindowItems(ctx context.Context, q depot.WindowQuery) (depot.Page[depot.WindowItem], error) {
	var none depot.Page[depot.WindowItem]
	if err := q.Validate(); err != nil {
		return none, err
	}
	if err := m.lock(ctx); err != nil {
		return none, err
	}
	defer m.mu.Unlock()
	var all []depot.WindowItem
	for _, i := range m.issued {
		item := m.item(i.Identity)
		if names(item, q.DeviceKey, q.ProfileUUID) && slices.ContainsFunc(q.Ranges, func(r depot.WindowRange) bool { return r.Selects(item) }) {
			all = append(all, item)
		}
	}
	return windowPage("windows", all, q.Cursor, q.Limit)
}

func names(i depot.WindowItem, key, profileUUID string) bool {
	return (key == "" || key == i.Identity.Device.Key) && (profileUUID == "" || strings.EqualFold(profileUUID, i.Identity.Device.ProfileUUID))
}

// windowPage sorts items and cuts a page.
func windowPage(list string, all []depot.WindowItem, cursor string, limit int) (depot.Page[depot.WindowItem], error) {
	at := func(i depot.WindowItem) position {
		return position{List: list, NotAfter: time.Unix(i.Identity.NotAfter.Unix(), 0).UTC(), Key: [2]string{i.Identity.CertificateSerial}}
	}
	compare := func(a, b position) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Key[0], b.Key[0]))
	}
	slices.SortFunc(all, func(a, b depot.WindowItem) int { return compare(at(a), at(b)) })
	return page(all, cursor, limit, at, compare)
}

// WindowCounts counts ranges.
func (m *Memory) WindowCounts(ctx context.Context, ranges []depot.WindowRange) ([]int, error) {
	if err := (depot.WindowQuery{Ranges: ranges}).Validate(); err != nil {
		return nil, err
	}
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var counts []int
	for _, r := range ranges {
		n := 0
		for _, i := range m.issued {
			if r.Selects(m.item(i.Identity)) {
				n++
			}
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// WindowLifetimes returns the lifetimes of current ones.
func (m *Memory) WindowLifetimes(ctx context.Context, configurationID string) ([]time.Duration, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []time.Duration
	for _, i := range m.issued {
		if i.Identity.ConfigurationID == configurationID && m.item(i.Identity).Standing == depot.StandingCurrent {
			all = append(all, i.Identity.Lifetime())
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// WindowItemsPast lists a page of items as they were.
func (m *Memory) WindowItemsPast(ctx context.Context, q depot.WindowPastQuery) (depot.Page[depot.WindowItem], error) {
	if err := m.lock(ctx); err != nil {
		return depot.Page[depot.WindowItem]{}, err
	}
	defer m.mu.Unlock()
	var all []depot.WindowItem
	for _, i := range m.issued {
		item, was := m.wasItem(i.Identity, q.AsOf)
		if was && (len(q.ConfigurationIDs) == 0 || slices.Contains(q.ConfigurationIDs, item.Identity.ConfigurationID)) &&
			(q.NotAfterFrom.IsZero() || item.Identity.NotAfter.Unix() >= q.NotAfterFrom.Unix()) &&
			names(item, q.DeviceKey, q.ProfileUUID) && (q.Match == nil || q.Match(item)) {
			all = append(all, item)
		}
	}
	return windowPage("past windows", all, q.Cursor, q.Limit)
}

// WindowItemPast finds one as it was.
func (m *Memory) WindowItemPast(ctx context.Context, certificateSerial string, asOf time.Time) (depot.WindowItem, error) {
	if err := m.lock(ctx); err != nil {
		return depot.WindowItem{}, err
	}
	defer m.mu.Unlock()
	if i := m.find(certificateSerial); i != nil {
		if item, was := m.wasItem(*i, asOf); was {
			return item, nil
		}
	}
	return depot.WindowItem{}, fmt.Errorf("find certificate %q as of %v: %w", certificateSerial, asOf, depot.ErrNotFound)
}

func (m *Memory) wasItem(i depot.Identity, asOf time.Time) (item depot.WindowItem, was bool) {
	now := m.item(i)
	if item.Identity, was = now.Identity.StoodAt(asOf); !was {
		return item, false
	}
	item.Announced = now.Announced
	item.Acknowledgements, item.Attempts = now.AcknowledgementsAsOf(asOf)
	item.SupersededBy, item.SupersededAt = m.successor(i, func(later depot.Identity) bool {
		stood, was := later.StoodAt(asOf)
		return was && stood.Stands()
	})
	_, acknowledged := item.InForce()
	item.Standing = item.Identity.Standing(item.SupersededBy != "", acknowledged)
	return item, true
}

// LatestChange returns when something changed last.
func (m *Memory) LatestChange(ctx context.Context) (time.Time, error) {
	if err := m.lock(ctx); err != nil {
		return time.Time{}, err
	}
	defer m.mu.Unlock()
	return m.windows.latest, nil
}

// Places returns the places of certificates.
func (m *Memory) Places(ctx context.Context, certificateSerials []string, asOf time.Time) ([]depot.Place, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []depot.Place
	for _, serial := range certificateSerials {
		i, err := m.findItem(serial)
		if err == nil && !asOf.IsZero() {
			i, _ = m.wasItem(*m.find(serial), asOf)
		}
		all = append(all, i.Place())
	}
	return all, nil
}

// Acknowledge stores an acknowledgement.
func (m *Memory) Acknowledge(ctx context.Context, a depot.Acknowledgement) (depot.WindowItem, bool, error) {
	if err := a.Validate(); err != nil {
		return depot.WindowItem{}, false, err
	}
	a.At, a.StallsAt, a.RequestedAt, a.UndoneAt, a.UndoneBy = utc(a.At), utc(a.StallsAt), utc(a.RequestedAt), time.Time{}, ""
	return m.changeItem(ctx, a.CertificateSerial, func(before depot.WindowItem) (depot.WindowItem, depot.Event, error) {
		if err := a.ValidateFor(before.Identity); err != nil || before.Repeats(a) {
			return before, depot.Event{}, err
		}
		return before.Acknowledge(a), before.Identity.AcknowledgedEvent(a), nil
	})
}

// Unacknowledge undoes the acknowledgement in force.
func (m *Memory) Unacknowledge(ctx context.Context, certificateSerial, by string, at time.Time) (depot.WindowItem, bool, error) {
	if at.IsZero() {
		return depot.WindowItem{}, false, fmt.Errorf("%w: end of an acknowledgement without its time", depot.ErrInvalid)
	}
	return m.changeItem(ctx, certificateSerial, func(before depot.WindowItem) (depot.WindowItem, depot.Event, error) {
		if _, ok := before.InForce(); !ok {
			return before, depot.Event{}, nil
		}
		return before.Unacknowledge(by, utc(at)), before.Identity.UndoneEvent(by, at), nil
	})
}

// changeItem lets do change what was acknowledged; without an event it did
// not.
func (m *Memory) changeItem(ctx context.Context, certificateSerial string,
	do func(depot.WindowItem) (depot.WindowItem, depot.Event, error)) (depot.WindowItem, bool, error) {
	if err := m.lock(ctx); err != nil {
		return depot.WindowItem{}, false, err
	}
	defer m.mu.Unlock()
	before, err := m.findItem(certificateSerial)
	if err == nil {
		err = before.Refusal()
	}
	if err != nil {
		return depot.WindowItem{}, false, fmt.Errorf("acknowledgement of certificate %q: %w", certificateSerial, err)
	}
	after, event, err := do(before)
	if err != nil {
		return depot.WindowItem{}, false, err
	}
	if event.Type == "" {
		return before, false, nil
	}
	m.windows.histories[certificateSerial] = after
	m.recheck(certificateSerial)
	m.sequence++
	m.happened(event)
	m.changed(event.At)
	return m.item(before.Identity), true, nil
}

// Settle ends a piece of the announcer's work.
func (m *Memory) Settle(ctx context.Context, s depot.Settlement) (int, error) {
	if err := s.Validate(); err != nil {
		return 0, err
	}
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	for _, a := range s.Announcements {
		if _, err := m.findItem(a.CertificateSerial); err != nil {
			return 0, err
		}
	}
	events := 0
	for _, a := range s.Announcements {
		before, _ := m.findItem(a.CertificateSerial)
		after, made := before.Announce(a.Mark)
		if !made {
			continue
		}
		m.windows.histories[a.CertificateSerial] = after
		m.sequence++
		m.happened(before.Identity.AnnouncedEvent(a))
		events++
	}
	m.windows.rechecks = slices.DeleteFunc(m.windows.rechecks, func(r depot.Recheck) bool { return slices.Contains(s.Rechecked, r) })
	for _, w := range s.Watermarks {
		m.setWatermark(w)
	}
	return events, nil
}

// setWatermark moves one, and notes what is current between the old line and
// the new one and has not its mark: it may have come while the announcer
// looked.
func (m *Memory) setWatermark(w depot.Watermark) {
	r := depot.WindowRange{ConfigurationID: w.ConfigurationID, Standing: depot.StandingCurrent, Lifetime: w.Lifetime,
		After: m.windows.watermarks[w.WatermarkKey], Until: w.At}
	var missed []depot.WindowItem
	for _, i := range m.issued {
		noted := slices.ContainsFunc(m.windows.rechecks, func(r depot.Recheck) bool { return r.CertificateSerial == i.Identity.CertificateSerial })
		if item := m.item(i.Identity); w.Purpose != "stalled" && r.Selects(item) && !slices.Contains(item.Announced, w.Purpose) && !noted {
			missed = append(missed, item)
		}
	}
	delete(m.windows.watermarks, w.WatermarkKey)
	if w.At.IsZero() {
		return
	}
	m.windows.watermarks[w.WatermarkKey] = time.Unix(w.At.Unix(), 0).UTC()
	slices.SortFunc(missed, func(a, b depot.WindowItem) int {
		return cmp.Or(cmp.Compare(a.Identity.NotAfter.Unix(), b.Identity.NotAfter.Unix()), cmp.Compare(a.Identity.CertificateSerial, b.Identity.CertificateSerial))
	})
	for _, i := range missed {
		m.recheck(i.Identity.CertificateSerial)
	}
}

// Rechecks returns those that have to be looked at.
func (m *Memory) Rechecks(ctx context.Context, limit int) ([]depot.Recheck, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return append([]depot.Recheck(nil), m.windows.rechecks[:min(len(m.windows.rechecks), depot.PageLimit(limit))]...), nil
}

// Watermark returns how far the announcer has looked.
func (m *Memory) Watermark(ctx context.Context, key depot.WatermarkKey) (time.Time, error) {
	if err := m.lock(ctx); err != nil {
		return time.Time{}, err
	}
	defer m.mu.Unlock()
	return m.windows.watermarks[key], nil
}

// StallsUntil returns those whose acknowledgement counts no more.
func (m *Memory) StallsUntil(ctx context.Context, configurationID string, after, until time.Time, limit int) ([]string, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	type stall struct {
		at     int64
		serial string
	}
	var all []stall
	for _, i := range m.issued {
		item := m.item(i.Identity)
		a, _ := item.InForce()
		if i.Identity.ConfigurationID == configurationID && item.Standing == depot.StandingAcknowledged && !a.StallsAt.IsZero() &&
			(after.IsZero() || a.StallsAt.Unix() > after.Unix()) && (until.IsZero() || a.StallsAt.Unix() <= until.Unix()) {
			all = append(all, stall{a.StallsAt.Unix(), i.Identity.CertificateSerial})
		}
	}
	slices.SortFunc(all, func(a, b stall) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.serial, b.serial)) })
	var serials []string
	for _, s := range all[:min(len(all), depot.PageLimit(limit))] {
		serials = append(serials, s.serial)
	}
	return serials, nil
}
