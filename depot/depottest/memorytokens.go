package depottest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// AddToken stores a token.
func (m *Memory) AddToken(ctx context.Context, t depot.Token) error {
	if err := t.Validate(); err != nil {
		return err
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	for _, o := range m.tokens {
		if o.ID == t.ID || o.SHA256 == t.SHA256 || o.Name == t.Name && o.RemovedAt.IsZero() {
			return fmt.Errorf("add token %s: %w", t.ID, depot.ErrExists)
		}
	}
	m.sequence++
	m.tokens = append(m.tokens, storedToken(t))
	m.happened(t.Event())
	return nil
}

// storedToken is the token as it comes back.
func storedToken(t depot.Token) depot.Token {
	t = t.Clone()
	for _, at := range []*time.Time{&t.CreatedAt, &t.ExpiresAt, &t.RemovedAt} {
		*at = utc(*at)
	}
	if len(t.Scopes) == 0 {
		t.Scopes = nil
	}
	return t
}

// RemoveToken ends a token.
func (m *Memory) RemoveToken(ctx context.Context, id, by string, at time.Time) (depot.Token, error) {
	if err := m.lock(ctx); err != nil {
		return depot.Token{}, err
	}
	defer m.mu.Unlock()
	n := slices.IndexFunc(m.tokens, func(t depot.Token) bool { return t.ID == id })
	if at.IsZero() {
		return depot.Token{}, fmt.Errorf("%w: removal of token %q without its time", depot.ErrInvalid, id)
	}
	if n < 0 {
		return depot.Token{}, fmt.Errorf("remove token %q: %w", id, depot.ErrNotFound)
	}
	t, err := m.tokens[n].Remove(by, at)
	if err != nil {
		return depot.Token{}, fmt.Errorf("remove token %q: %w", id, err)
	}
	m.sequence++
	m.tokens[n] = storedToken(t)
	m.happened(t.Event())
	return m.tokens[n].Clone(), nil
}

// Tokens returns those that live.
func (m *Memory) Tokens(ctx context.Context) ([]depot.Token, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var all []depot.Token
	for _, t := range m.tokens {
		if t.RemovedAt.IsZero() {
			all = append(all, t.Clone())
		}
	}
	slices.SortFunc(all, func(a, b depot.Token) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// TokenBySHA256 finds one that lives.
func (m *Memory) TokenBySHA256(ctx context.Context, sha256 [32]byte) (depot.Token, error) {
	if err := m.lock(ctx); err != nil {
		return depot.Token{}, err
	}
	defer m.mu.Unlock()
	for _, t := range m.tokens {
		if t.SHA256 == sha256 && t.RemovedAt.IsZero() {
			return t.Clone(), nil
		}
	}
	return depot.Token{}, fmt.Errorf("find token: %w", depot.ErrNotFound)
}
