package depottest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// AddRequest stores a pending request.
func (m *Memory) AddRequest(ctx context.Context, r depot.Request, after uint64, afterRequest string) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	t := r.Transaction
	lastRequest, taken := "", false
	for _, o := range m.requests {
		if o.Transaction.MessageSHA256 == t.MessageSHA256 {
			return fmt.Errorf("add request: %w", depot.ErrTransactionConflict)
		}
		if o.Transaction.ConfigurationID == t.ConfigurationID && o.Transaction.ID == t.ID {
			lastRequest = o.ID
		}
		taken = taken || o.ID == r.ID
	}
	for _, i := range m.issued {
		if i.Transaction.MessageSHA256 == t.MessageSHA256 {
			return fmt.Errorf("add request: %w", depot.ErrTransactionConflict)
		}
	}
	switch {
	case lastRequest != afterRequest || m.lastSequence(t.ConfigurationID, t.ID) != after:
		return fmt.Errorf("add request: %w", depot.ErrTransactionConflict)
	case taken:
		return fmt.Errorf("add request %s: %w", r.ID, depot.ErrExists)
	}
	m.sequence++
	r.Sequence = m.sequence
	r.Transaction.Sequence = 0 // there is none yet
	r = storedRequest(r)
	m.requests = append(m.requests, r)
	m.happened(r.Event())
	return nil
}

// storedRequest is the request as it comes back.
func storedRequest(r depot.Request) depot.Request {
	r = r.Clone()
	r.Draft = stored(r.Draft)
	for _, t := range []*time.Time{&r.Transaction.At, &r.ExpiresAt, &r.DecidedAt} {
		*t = utc(*t)
	}
	return r
}

// Request finds by id.
func (m *Memory) Request(ctx context.Context, id string) (depot.Request, error) {
	return m.lastRequest(ctx, func(r depot.Request) bool { return r.ID == id })
}

// RequestOfTransaction returns the last one of that id.
func (m *Memory) RequestOfTransaction(ctx context.Context, configurationID, transactionID string) (depot.Request, error) {
	return m.lastRequest(ctx, func(r depot.Request) bool {
		return r.Transaction.ConfigurationID == configurationID && r.Transaction.ID == transactionID
	})
}

func (m *Memory) lastRequest(ctx context.Context, wanted func(depot.Request) bool) (depot.Request, error) {
	if err := m.lock(ctx); err != nil {
		return depot.Request{}, err
	}
	defer m.mu.Unlock()
	for _, r := range slices.Backward(m.requests) {
		if wanted(r) {
			return r.Clone(), nil
		}
	}
	return depot.Request{}, fmt.Errorf("find request: %w", depot.ErrNotFound)
}

// Requests lists a page.
func (m *Memory) Requests(ctx context.Context, q depot.RequestQuery) (depot.Page[depot.Request], error) {
	if err := q.Validate(); err != nil {
		return depot.Page[depot.Request]{}, err
	}
	if err := m.lock(ctx); err != nil {
		return depot.Page[depot.Request]{}, err
	}
	defer m.mu.Unlock()
	var all []depot.Request
	for _, r := range slices.Backward(m.requests) {
		if q.Selects(r) {
			all = append(all, r.Clone())
		}
	}
	at := func(r depot.Request) position { return position{List: "requests", Sequence: r.Sequence} }
	return page(all, q.Cursor, q.Limit, at, func(a, b position) int { return cmp.Compare(b.Sequence, a.Sequence) })
}

// Decide ends a pending request.
func (m *Memory) Decide(ctx context.Context, d depot.Decision) (depot.Request, error) {
	if err := d.Validate(); err != nil {
		return depot.Request{}, err
	}
	if err := m.lock(ctx); err != nil {
		return depot.Request{}, err
	}
	defer m.mu.Unlock()
	n := slices.IndexFunc(m.requests, func(r depot.Request) bool { return r.ID == d.RequestID })
	if n < 0 {
		return depot.Request{}, fmt.Errorf("decide request %s: %w", d.RequestID, depot.ErrNotFound)
	}
	r, issuance, err := m.requests[n].Decide(d)
	if err == nil && issuance != nil {
		if m.lastSequence(r.Transaction.ConfigurationID, r.Transaction.ID) > r.Sequence {
			err = depot.ErrTransactionConflict
		} else {
			err = m.refuse(*issuance)
		}
	}
	if err != nil {
		return depot.Request{}, fmt.Errorf("decide request %s: %w", d.RequestID, err)
	}
	if issuance != nil {
		m.issue(*issuance)
	}
	m.sequence++
	m.requests[n] = storedRequest(r)
	m.happened(r.Event())
	return m.requests[n].Clone(), nil
}

// change changes one identity.
func (m *Memory) change(ctx context.Context, certificateSerial string, do func(*depot.Identity) error) (depot.Identity, error) {
	if err := m.lock(ctx); err != nil {
		return depot.Identity{}, err
	}
	defer m.mu.Unlock()
	id := m.find(certificateSerial)
	if id == nil {
		return depot.Identity{}, fmt.Errorf("certificate %q: %w", certificateSerial, depot.ErrNotFound)
	}
	defer m.watch(id.ConfigurationID, id.Device.Key)()
	if err := do(id); err != nil {
		return depot.Identity{}, fmt.Errorf("certificate %q: %w", certificateSerial, err)
	}
	*id = stored(*id)
	return id.Clone(), nil
}

// Revoke marks a certificate.
func (m *Memory) Revoke(ctx context.Context, r depot.Revocation) (depot.Identity, error) {
	if err := r.Validate(); err != nil {
		return depot.Identity{}, err
	}
	return m.change(ctx, r.CertificateSerial, func(id *depot.Identity) error {
		after, err := id.Revoke(r)
		if err != nil {
			return err
		}
		*id = after
		m.sequence++
		m.happened(r.Event(after))
		m.changed(r.At)
		return nil
	})
}

// MarkUsed notes the first use.
func (m *Memory) MarkUsed(ctx context.Context, certificateSerial string, at time.Time) error {
	if at.IsZero() {
		return fmt.Errorf("%w: use without its time", depot.ErrInvalid)
	}
	_, err := m.change(ctx, certificateSerial, func(id *depot.Identity) error {
		if id.UsedAt.IsZero() {
			id.UsedAt = at
			m.sequence++
			m.happened(id.UsedEvent())
		}
		return nil
	})
	return err
}

// Revoked lists a page.
func (m *Memory) Revoked(ctx context.Context, q depot.RevokedQuery) (depot.Page[depot.RevokedCertificate], error) {
	if err := m.lock(ctx); err != nil {
		return depot.Page[depot.RevokedCertificate]{}, err
	}
	defer m.mu.Unlock()
	var all []depot.RevokedCertificate
	for _, i := range m.issued {
		id := i.Identity
		if id.IssuerSHA256 == q.IssuerSHA256 && !id.RevokedAt.IsZero() && !id.NotAfter.Before(q.NotAfterFrom) {
			all = append(all, depot.RevokedCertificate{CertificateSerial: id.CertificateSerial,
				Reason: depot.RevocationReason(id.RevocationReason), RevokedAt: id.RevokedAt, NotAfter: id.NotAfter})
		}
	}
	at := func(r depot.RevokedCertificate) position {
		return position{List: fmt.Sprintf("revoked %x", q.IssuerSHA256), Key: [2]string{r.CertificateSerial}}
	}
	compare := func(a, b position) int { return strings.Compare(a.Key[0], b.Key[0]) }
	slices.SortFunc(all, func(a, b depot.RevokedCertificate) int { return compare(at(a), at(b)) })
	return page(all, q.Cursor, q.Limit, at, compare)
}

// UnusedSince returns those whose time to be used is over.
func (m *Memory) UnusedSince(ctx context.Context, at time.Time, limit int) ([]depot.Identity, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []depot.Identity
	for _, i := range m.issued {
		if i.Identity.Unused() && !i.Identity.RevokeUnusedAt.After(at) {
			all = append(all, i.Identity.Clone())
		}
	}
	slices.SortFunc(all, func(a, b depot.Identity) int {
		return cmp.Or(a.RevokeUnusedAt.Compare(b.RevokeUnusedAt), strings.Compare(a.CertificateSerial, b.CertificateSerial))
	})
	return all[:min(len(all), depot.PageLimit(limit))], nil
}

// TakeCRLNumber returns the next one.
func (m *Memory) TakeCRLNumber(ctx context.Context, issuerSHA256 [32]byte, atLeast uint64) (uint64, error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	last := m.numbers[issuerSHA256]
	if last == math.MaxUint64 {
		return 0, fmt.Errorf("%w: no CRL number is left", depot.ErrInvalid)
	}
	m.sequence++
	m.numbers[issuerSHA256] = max(last+1, atLeast)
	return m.numbers[issuerSHA256], nil
}

// LastCRLNumber returns the last one.
func (m *Memory) LastCRLNumber(ctx context.Context, issuerSHA256 [32]byte) (uint64, error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	return m.numbers[issuerSHA256], nil
}

// SetDeviceList stores a list.
func (m *Memory) SetDeviceList(ctx context.Context, l depot.DeviceList) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	c, ok := m.configurations[l.ConfigurationID]
	if !ok || !c.RemovedAt.IsZero() {
		return fmt.Errorf("list devices of configuration %q: %w", l.ConfigurationID, depot.ErrNotFound)
	}
	l = l.Clone()
	if l.ChangedAt = utc(l.ChangedAt); len(l.Devices) == 0 {
		l.Devices = nil
	}
	m.lists[c.ID] = l
	m.sequence++
	m.happened(l.Event(c))
	return nil
}

// RemoveDeviceList removes a list.
func (m *Memory) RemoveDeviceList(ctx context.Context, configurationID, by string, at time.Time) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	l, ok := m.lists[configurationID]
	if !ok {
		return fmt.Errorf("device list of configuration %q: %w", configurationID, depot.ErrNotFound)
	}
	delete(m.lists, configurationID)
	m.sequence++
	l.ChangedAt = at
	e := l.Event(m.configurations[configurationID])
	e.Type = depot.EventDevicesUnlisted
	m.happened(e)
	return nil
}

// DeviceList returns the list.
func (m *Memory) DeviceList(ctx context.Context, configurationID string) (depot.DeviceList, error) {
	if err := m.lock(ctx); err != nil {
		return depot.DeviceList{}, err
	}
	defer m.mu.Unlock()
	l, ok := m.lists[configurationID]
	if !ok {
		return l, fmt.Errorf("device list of configuration %q: %w", configurationID, depot.ErrNotFound)
	}
	return l.Clone(), nil
}
