package depottest

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"understudy.example/understudy/depot"
)

// A position is what a cursor of Memory says: the last item of a page.
type position struct {
	List     string
	Sequence uint64
	NotAfter time.Time
	Key      [2]string
}

func (p position) cursor() string {
	b, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func readCursor(list, cursor string) (p position, err error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil || p.List != list || p.cursor() != cursor {
		return p, fmt.Errorf("read %q: %w", cursor, depot.ErrCursor)
	}
	return p, nil
}

// page cuts a sorted list behind the cursor and at the limit.
func page[T any](all []T, cursor string, limit int, at func(T) position, compare func(a, b position) int) (depot.Page[T], error) {
	var p depot.Page[T]
	if cursor != "" {
		after, err := readCursor(at(*new(T)).List, cursor)
		if err != nil {
			return p, err
		}
		all = slices.DeleteFunc(all, func(v T) bool { return compare(at(v), after) <= 0 })
	}
	if limit = depot.PageLimit(limit); len(all) > limit {
		all = all[:limit]
		p.NextCursor = at(all[limit-1]).cursor()
	}
	p.Items = all
	return p, nil
}

// Identities lists a page.
func (m *Memory) Identities(ctx context.Context, q depot.IdentityQuery) (depot.Page[depot.Identity], error) {
	var none depot.Page[depot.Identity]
	if err := q.Validate(); err != nil {
		return none, err
	}
	if err := m.lock(ctx); err != nil {
		return none, err
	}
	defer m.mu.Unlock()
	sequence := map[string]uint64{}
	var all []depot.Identity
	for _, i := range m.issued {
		sequence[i.Identity.CertificateSerial] = i.Transaction.Sequence
		if id, ok := m.show(q, i.Identity); ok {
			all = append(all, id)
		}
	}
	at := func(i depot.Identity) position {
		return position{List: "issued", Sequence: sequence[i.CertificateSerial]}
	}
	compare := func(a, b position) int { return cmp.Compare(b.Sequence, a.Sequence) }
	if q.Order == depot.ByNotAfter {
		at = func(i depot.Identity) position {
			return position{List: "not_after", NotAfter: i.NotAfter, Key: [2]string{i.CertificateSerial}}
		}
		compare = func(a, b position) int {
			return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Key[0], b.Key[0]))
		}
	}
	slices.SortFunc(all, func(a, b depot.Identity) int { return compare(at(a), at(b)) })
	return page(all, q.Cursor, q.Limit, at, compare)
}

// show returns an identity as the query shows it, and whether it asks for it.
func (m *Memory) show(q depot.IdentityQuery, i depot.Identity) (depot.Identity, bool) {
	i, ok := q.Show(i.Clone())
	if !ok || q.Match == nil {
		return i, ok
	}
	asked := i
	asked.DER = nil
	standing := depot.StandingNone
	switch {
	case q.WithStanding && !q.AsOf.IsZero():
		was, _ := m.wasItem(*m.find(i.CertificateSerial), q.AsOf)
		standing = was.Standing
	case q.WithStanding:
		now, _ := m.findItem(i.CertificateSerial)
		standing = now.Standing
	}
	return i, q.Match(asked, standing)
}

// Device finds one.
func (m *Memory) Device(ctx context.Context, configurationID, key string) (depot.Device, error) {
	if err := m.lock(ctx); err != nil {
		return depot.Device{}, err
	}
	defer m.mu.Unlock()
	device, ok := m.devices[[2]string{configurationID, key}]
	if !ok {
		return depot.Device{}, fmt.Errorf("find device %q: %w", key, depot.ErrNotFound)
	}
	return device, nil
}

// Devices lists a page.
func (m *Memory) Devices(ctx context.Context, q depot.DeviceQuery) (depot.Page[depot.Device], error) {
	if err := m.lock(ctx); err != nil {
		return depot.Page[depot.Device]{}, err
	}
	defer m.mu.Unlock()
	var all []depot.Device
	for _, device := range m.devices {
		if q.ConfigurationID == "" || q.ConfigurationID == device.ConfigurationID {
			all = append(all, device)
		}
	}
	at := func(d depot.Device) position {
		return position{List: "devices", Key: [2]string{d.ConfigurationID, d.Names.Key}}
	}
	compare := func(a, b position) int { return slices.Compare(a.Key[:], b.Key[:]) }
	slices.SortFunc(all, func(a, b depot.Device) int { return compare(at(a), at(b)) })
	return page(all, q.Cursor, q.Limit, at, compare)
}

// Events lists a page.
func (m *Memory) Events(ctx context.Context, q depot.EventQuery) (depot.Page[depot.Event], error) {
	var p depot.Page[depot.Event]
	if err := m.lock(ctx); err != nil {
		return p, err
	}
	defer m.mu.Unlock()
	for _, e := range m.events {
		if e.Sequence <= q.After || !q.Selects(e) {
			continue
		}
		if len(p.Items) == depot.PageLimit(q.Limit) {
			p.NextCursor = strconv.FormatUint(p.Items[len(p.Items)-1].Sequence, 10)
			break
		}
		p.Items = append(p.Items, e)
	}
	return p, nil
}
