package depottest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"understudy.example/understudy/depot"
)

// Memory is a depot that forgets: the model that the suite compares others
// with, and a store for tests that need none. It finds everything by looking
// at everything, and is therefore short enough to be believed. Make it with
// NewMemory.
type Memory struct {
	mu             sync.Mutex
	closed         bool
	sequence       uint64
	issued         []depot.Issuance // as stored, in order
	devices        map[[2]string]depot.Device
	events         []depot.Event
	configurations map[string]depot.Configuration
	spent          map[string]bool // or withdrawn
	requests       []depot.Request // in order
	numbers        map[[32]byte]uint64
	lists          map[string]depot.DeviceList
	challenges     []depot.Challenge // in order
	tokens         []depot.Token
	hooks          map[string]*hook // by id, removed ones too
	clock          depot.LabClock
	seedings       []depot.Seeding
	woken          chan struct{} // closed at the next event, and at Close
	windows        windows
}

var _ depot.Depot = (*Memory)(nil)

// NewMemory returns an empty depot.
func NewMemory() *Memory {
	return &Memory{
		devices:        map[[2]string]depot.Device{},
		configurations: map[string]depot.Configuration{},
		spent:          map[string]bool{},
		numbers:        map[[32]byte]uint64{},
		lists:          map[string]depot.DeviceList{},
		hooks:          map[string]*hook{},
		woken:          make(chan struct{}),
		windows:        windows{histories: map[string]depot.WindowItem{}, watermarks: map[depot.WatermarkKey]time.Time{}},
	}
}

// lock begins a step. Like a real store it does not answer when it is closed.
func (m *Memory) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return fmt.Errorf("%w: it is closed", depot.ErrUnavailable)
	}
	return nil
}

// Commit stores an issuance.
func (m *Memory) Commit(ctx context.Context, i depot.Issuance) (depot.Identity, error) {
	if err := i.Validate(); err != nil {
		return depot.Identity{}, err
	}
	if err := m.lock(ctx); err != nil {
		return depot.Identity{}, err
	}
	defer m.mu.Unlock()
	if err := m.refuse(i); err != nil {
		return depot.Identity{}, fmt.Errorf("commit: %w", err)
	}
	i.Identity = i.Identity.AtIssue()
	i.Identity.RequestID, i.Identity.ApprovedBy, i.Identity.HeldBack = "", "", i.HoldBack
	return m.issue(i), nil
}

// issue stores an issuance that nothing speaks against.
func (m *Memory) issue(i depot.Issuance) depot.Identity {
	defer m.watch(i.Identity.ConfigurationID, i.Identity.Device.Key)()
	m.changed(i.Identity.IssuedAt)
	m.sequence++
	key := [2]string{i.Identity.ConfigurationID, i.Identity.Device.Key}
	device, known := m.devices[key]
	if !known {
		device = depot.Device{ConfigurationID: key[0], FirstSeen: utc(i.Identity.IssuedAt)}
	}
	i.Transaction.Sequence = m.sequence
	i.Transaction.At = utc(i.Transaction.At)
	i.Identity = stored(i.Identity)
	i.Identity.PreviousSerial = device.LatestSerial
	device.Names, device.LastSeen, device.LatestSerial = i.Identity.Device, i.Identity.IssuedAt, i.Identity.CertificateSerial
	device.Certificates++
	m.devices[key] = device
	if old := m.find(i.Supersedes); old != nil {
		old.SupersededAt, old.SupersededBy = i.Identity.IssuedAt, i.Identity.CertificateSerial
	}
	i.CSR = bytes.Clone(i.CSR)
	m.issued = append(m.issued, i)
	if i.Challenge.ID != "" {
		m.spend(i)
	}
	m.happened(i.Event())
	return i.Identity.Clone()
}

// find returns the stored identity, nil if there is none.
func (m *Memory) find(certificateSerial string) *depot.Identity {
	for n := range m.issued {
		if id := &m.issued[n].Identity; id.CertificateSerial == certificateSerial {
			return id
		}
	}
	return nil
}

// lastSequence is that of the last transaction of an id, 0 if there is none.
func (m *Memory) lastSequence(configurationID, transactionID string) (last uint64) {
	for _, i := range m.issued {
		if i.Transaction.ConfigurationID == configurationID && i.Transaction.ID == transactionID {
			last = i.Transaction.Sequence
		}
	}
	return last
}

func (m *Memory) refuse(i depot.Issuance) error {
	taken := false
	for _, o := range m.issued {
		if o.Transaction.MessageSHA256 == i.Transaction.MessageSHA256 {
			return depot.ErrTransactionConflict
		}
		taken = taken || o.Identity.CertificateSerial == i.Identity.CertificateSerial || o.Identity.SHA256 == i.Identity.SHA256
	}
	if m.lastSequence(i.Transaction.ConfigurationID, i.Transaction.ID) != i.After {
		return depot.ErrTransactionConflict
	}
	if i.Supersedes != "" {
		switch old := m.find(i.Supersedes); {
		case old == nil:
			return depot.ErrNotFound
		case old.SupersededBy != "":
			return depot.ErrTransactionConflict
		case !old.RevokedAt.IsZero():
			return depot.ErrRevoked
		}
	}
	switch {
	case m.spent[i.Challenge.ID]:
		return depot.ErrChallengeSpent
	case taken:
		return depot.ErrExists
	}
	return nil
}

func (m *Memory) happened(e depot.Event) {
	e.Sequence, e.At = m.sequence, utc(e.At)
	e.FrozenAt = utc(e.FrozenAt)
	m.events = append(m.events, e)
	m.wake()
}

func utc(t time.Time) time.Time { return t.Round(0).UTC() }

// stored is the identity as it comes back.
func stored(i depot.Identity) depot.Identity {
	i = i.Clone()
	for _, t := range []*time.Time{&i.NotBefore, &i.NotAfter, &i.IssuedAt, &i.RevokedAt, &i.SupersededAt, &i.UsedAt, &i.RevokeUnusedAt} {
		*t = utc(*t)
	}
	if len(i.RequestedSANs) == 0 {
		i.RequestedSANs = nil
	}
	if len(i.Warnings) == 0 {
		i.Warnings = nil
	}
	return i
}

// last returns the last issuance that is wanted.
func (m *Memory) last(ctx context.Context, wanted func(depot.Issuance) bool) (depot.Issuance, error) {
	if err := m.lock(ctx); err != nil {
		return depot.Issuance{}, err
	}
	defer m.mu.Unlock()
	for _, i := range slices.Backward(m.issued) {
		if wanted(i) {
			i.Identity = i.Identity.Clone()
			return i, nil
		}
	}
	return depot.Issuance{}, fmt.Errorf("find: %w", depot.ErrNotFound)
}

// Transaction returns the last one of that id.
func (m *Memory) Transaction(ctx context.Context, configurationID, transactionID string) (depot.Transaction, error) {
	i, err := m.last(ctx, func(i depot.Issuance) bool {
		return i.Transaction.ConfigurationID == configurationID && i.Transaction.ID == transactionID
	})
	return i.Transaction, err
}

// TransactionOfMessage returns the transaction that a pkiMessage began.
func (m *Memory) TransactionOfMessage(ctx context.Context, sha256 [32]byte) (depot.Transaction, error) {
	i, err := m.last(ctx, func(i depot.Issuance) bool { return i.Transaction.MessageSHA256 == sha256 })
	return i.Transaction, err
}

// Identity finds by certificate serial.
func (m *Memory) Identity(ctx context.Context, certificateSerial string) (depot.Identity, error) {
	i, err := m.last(ctx, func(i depot.Issuance) bool { return i.Identity.CertificateSerial == certificateSerial })
	return i.Identity, err
}

// IdentityBySHA256 finds by the SHA-256 of the certificate.
func (m *Memory) IdentityBySHA256(ctx context.Context, sha256 [32]byte) (depot.Identity, error) {
	i, err := m.last(ctx, func(i depot.Issuance) bool { return i.Identity.SHA256 == sha256 })
	return i.Identity, err
}

// AddConfiguration stores a new configuration.
func (m *Memory) AddConfiguration(ctx context.Context, c depot.Configuration) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Revision != 1 {
		return fmt.Errorf("%w: revision %d", depot.ErrInvalid, c.Revision)
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if _, used := m.configurations[c.ID]; used || m.nameTaken(c) {
		return fmt.Errorf("add configuration: %w", depot.ErrExists)
	}
	m.configure(c, depot.EventConfigurationAdded)
	return nil
}

// SetConfiguration replaces a configuration.
func (m *Memory) SetConfiguration(ctx context.Context, c depot.Configuration, cause depot.EventType) error {
	if err := c.ValidateChange(cause); err != nil {
		return err
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	before, ok := m.configurations[c.ID]
	switch {
	case !ok || !before.RemovedAt.IsZero():
		return fmt.Errorf("set configuration: %w", depot.ErrNotFound)
	case c.Revision != before.Revision+1:
		return fmt.Errorf("set configuration: %w", depot.ErrTransactionConflict)
	case m.nameTaken(c):
		return fmt.Errorf("set configuration: %w", depot.ErrExists)
	}
	m.configure(c, cause)
	return nil
}

func (m *Memory) nameTaken(c depot.Configuration) bool {
	for _, other := range m.configurations {
		if other.Name == c.Name && other.ID != c.ID && other.RemovedAt.IsZero() {
			return true
		}
	}
	return false
}

func (m *Memory) configure(c depot.Configuration, cause depot.EventType) {
	m.sequence++
	c = c.Clone()
	for _, t := range []*time.Time{&c.CreatedAt, &c.ChangedAt, &c.SecretResetAt, &c.RemovedAt} {
		*t = utc(*t)
	}
	m.configurations[c.ID] = c
	m.happened(c.Event(cause))
}

// Configuration finds by id.
func (m *Memory) Configuration(ctx context.Context, id string) (depot.Configuration, error) {
	if err := m.lock(ctx); err != nil {
		return depot.Configuration{}, err
	}
	defer m.mu.Unlock()
	c, ok := m.configurations[id]
	if !ok {
		return c, fmt.Errorf("find configuration %q: %w", id, depot.ErrNotFound)
	}
	return c.Clone(), nil
}

// Configurations returns those that are not removed.
func (m *Memory) Configurations(ctx context.Context) ([]depot.Configuration, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []depot.Configuration
	for _, c := range m.configurations {
		if c.RemovedAt.IsZero() {
			all = append(all, c.Clone())
		}
	}
	slices.SortFunc(all, func(a, b depot.Configuration) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// RecordAuthority does nothing: there is no ledger.
func (m *Memory) RecordAuthority(ctx context.Context, a depot.AuthorityGeneration) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	m.mu.Unlock()
	return nil
}

// Check finds nothing: there is no index that could be wrong.
func (m *Memory) Check(ctx context.Context) ([]string, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	m.mu.Unlock()
	return nil, nil
}

// Ready says whether it is open.
func (m *Memory) Ready(ctx context.Context) error {
	return m.RecordAuthority(ctx, depot.AuthorityGeneration{})
}

// Close ends its use.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.wake()
	return nil
}
