package depottest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"understudy.example/understudy/depot"
)

// spend marks the challenge of an issuance.
func (m *Memory) spend(i depot.Issuance) {
	m.spent[i.Challenge.ID] = true
	for n := range m.challenges {
		if c := &m.challenges[n]; c.ID == i.Challenge.ID {
			c.SpentAt, c.CertificateSerial = i.Identity.IssuedAt, i.Identity.CertificateSerial
		}
	}
}

// AddChallenge stores a challenge.
func (m *Memory) AddChallenge(ctx context.Context, c depot.Challenge, most int) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	of, ok := m.configurations[c.ConfigurationID]
	if !ok || !of.RemovedAt.IsZero() {
		return fmt.Errorf("challenge of configuration %q: %w", c.ConfigurationID, depot.ErrNotFound)
	}
	outstanding, taken := 0, m.spent[c.ID]
	for _, o := range m.challenges {
		taken = taken || o.ID == c.ID || o.SHA256 == c.SHA256
		if o.ConfigurationID == c.ConfigurationID && o.Outstanding(c.CreatedAt) {
			outstanding++
		}
	}
	switch {
	case taken:
		return fmt.Errorf("challenge %s: %w", c.ID, depot.ErrExists)
	case outstanding >= most:
		return fmt.Errorf("challenge of configuration %q: %w", c.ConfigurationID, depot.ErrTooMany)
	}
	m.sequence++
	c.Sequence = m.sequence
	c = storedChallenge(c)
	m.challenges = append(m.challenges, c)
	m.happened(c.Event(of))
	return nil
}

// storedChallenge is the challenge as it comes back.
func storedChallenge(c depot.Challenge) depot.Challenge {
	for _, t := range []*time.Time{&c.CreatedAt, &c.ExpiresAt, &c.SpentAt, &c.WithdrawnAt} {
		*t = utc(*t)
	}
	return c
}

// Challenge finds by id.
func (m *Memory) Challenge(ctx context.Context, id string) (depot.Challenge, error) {
	return m.challenge(ctx, func(c depot.Challenge) bool { return c.ID == id })
}

// ChallengeBySHA256 finds by the hash of the text.
func (m *Memory) ChallengeBySHA256(ctx context.Context, sha256 [32]byte) (depot.Challenge, error) {
	return m.challenge(ctx, func(c depot.Challenge) bool { return c.SHA256 == sha256 })
}

func (m *Memory) challenge(ctx context.Context, wanted func(depot.Challenge) bool) (depot.Challenge, error) {
	if err := m.lock(ctx); err != nil {
		return depot.Challenge{}, err
	}
	defer m.mu.Unlock()
	if n := slices.IndexFunc(m.challenges, wanted); n >= 0 {
		return m.challenges[n], nil
	}
	return depot.Challenge{}, fmt.Errorf("find challenge: %w", depot.ErrNotFound)
}

// Challenges lists a page.
func (m *Memory) Challenges(ctx context.Context, q depot.ChallengeQuery) (depot.Page[depot.Challenge], error) {
	if err := m.lock(ctx); err != nil {
		return depot.Page[depot.Challenge]{}, err
	}
	defer m.mu.Unlock()
	var all []depot.Challenge
	for _, c := range slices.Backward(m.challenges) {
		if q.Selects(c) {
			all = append(all, c)
		}
	}
	at := func(c depot.Challenge) position { return position{List: "challenges", Sequence: c.Sequence} }
	return page(all, q.Cursor, q.Limit, at, func(a, b position) int { return cmp.Compare(b.Sequence, a.Sequence) })
}

// WithdrawChallenge makes a challenge worthless.
func (m *Memory) WithdrawChallenge(ctx context.Context, id, by string, at time.Time) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	n := slices.IndexFunc(m.challenges, func(c depot.Challenge) bool { return c.ID == id })
	if at.IsZero() {
		return fmt.Errorf("%w: withdrawal without its time", depot.ErrInvalid)
	}
	if n < 0 {
		return fmt.Errorf("withdraw challenge %q: %w", id, depot.ErrNotFound)
	}
	c, err := m.challenges[n].Withdraw(by, at)
	if err != nil {
		return fmt.Errorf("withdraw challenge %q: %w", id, err)
	}
	m.sequence++
	m.challenges[n], m.spent[id] = storedChallenge(c), true
	m.happened(c.Event(m.configurations[c.ConfigurationID]))
	return nil
}

// ForgetChallenges removes what expired.
func (m *Memory) ForgetChallenges(ctx context.Context, expiredBefore time.Time, limit int) (int, error) {
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	var expired []depot.Challenge
	for _, c := range m.challenges {
		if c.SpentAt.IsZero() && c.ExpiresAt.Before(expiredBefore) {
			expired = append(expired, c)
		}
	}
	slices.SortStableFunc(expired, func(a, b depot.Challenge) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	expired = expired[:min(len(expired), max(limit, 0))]
	for _, gone := range expired {
		m.challenges = slices.DeleteFunc(m.challenges, func(c depot.Challenge) bool { return c.ID == gone.ID })
	}
	return len(expired), nil
}

// Undelivered lists what is held back.
func (m *Memory) Undelivered(ctx context.Context) ([]depot.Undelivered, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []depot.Undelivered
	for _, i := range m.issued {
		if i.Identity.HeldBack {
			all = append(all, depot.Undelivered{Identity: i.Identity.Clone(), CSR: bytes.Clone(i.CSR)})
		}
	}
	return all, nil
}

// Deliver lets the device have a certificate.
func (m *Memory) Deliver(ctx context.Context, certificateSerial string, at time.Time) (depot.Identity, error) {
	return m.endDelivery(ctx, certificateSerial, false, at)
}

// Void notes that the device never got it.
func (m *Memory) Void(ctx context.Context, certificateSerial, why string, at time.Time) (depot.Identity, error) {
	return m.endDelivery(ctx, certificateSerial, true, at)
}

func (m *Memory) endDelivery(ctx context.Context, certificateSerial string, void bool, at time.Time) (depot.Identity, error) {
	if at.IsZero() {
		return depot.Identity{}, fmt.Errorf("%w: end of a delivery without its time", depot.ErrInvalid)
	}
	return m.change(ctx, certificateSerial, func(id *depot.Identity) error {
		after, event, err := id.EndDelivery(void, at)
		if err != nil {
			return err
		}
		for n := range m.issued {
			if old := &m.issued[n].Identity; void && old.SupersededBy == certificateSerial {
				*old = old.Restored()
			}
		}
		*id = after
		m.sequence++
		m.happened(event)
		m.changed(at)
		return nil
	})
}
