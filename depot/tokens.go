package depot

import (
	"context"
	"slices"
	"time"
)

// Token is a bearer token of the admin API. The token itself is not kept.
type Token struct {
	ID        string // tk_…
	Name      string // who uses it; recorded as who did what
	Scopes    []string
	SHA256    [32]byte // of the token
	CreatedAt time.Time
	CreatedBy string
	ExpiresAt time.Time // zero: never
	RemovedAt time.Time // zero while it lives
	RemovedBy string
}

// Clone returns a copy that shares no memory with t.
func (t Token) Clone() Token {
	t.Scopes = slices.Clone(t.Scopes)
	return t
}

// Validate returns ErrInvalid, saying why, for a token that cannot be added.
func (t Token) Validate() error {
	switch {
	case !validID(t.ID):
		return invalid("token id %q", t.ID)
	case t.Name == "" || len(t.Name) > maxKey:
		return invalid("token %s with a name of %d bytes", t.ID, len(t.Name))
	case t.SHA256 == [32]byte{}:
		return invalid("token %s without its hash", t.ID)
	case t.CreatedAt.IsZero() || !t.ExpiresAt.IsZero() && !t.CreatedAt.Before(t.ExpiresAt):
		return invalid("token %s from %v to %v", t.ID, t.CreatedAt, t.ExpiresAt)
	case !t.RemovedAt.IsZero() || t.RemovedBy != "":
		return invalid("token %s is removed before it is stored", t.ID)
	}
	return nil
}

// Remove returns the token as its removal leaves it. It is for depots.
// ErrInvalid, ErrNotFound.
func (t Token) Remove(by string, at time.Time) (Token, error) {
	switch {
	case at.IsZero():
		return t, invalid("removal of token %s without its time", t.ID)
	case !t.RemovedAt.IsZero():
		return t, ErrNotFound
	}
	t.RemovedAt, t.RemovedBy = at, by
	return t, nil
}

// Event returns the event that becoming what it is, is for the token. Its
// sequence is the depot's to give.
func (t Token) Event() Event {
	if !t.RemovedAt.IsZero() {
		return Event{Type: EventTokenRemoved, At: t.RemovedAt, By: t.RemovedBy, SubjectID: t.ID}
	}
	return Event{Type: EventTokenAdded, At: t.CreatedAt, By: t.CreatedBy, SubjectID: t.ID}
}

// Tokens is the part of a Depot that keeps tokens.
type Tokens interface {
	// AddToken stores one, in the ledger too. ErrExists: the id or the hash was
	// ever used, or one that lives has the name. ErrInvalid: no id, name, hash
	// or time, it expires before it begins, or is removed already.
	AddToken(ctx context.Context, t Token) error
	// RemoveToken ends one and returns it as stored. ErrNotFound: there is none
	// that lives. ErrInvalid: no time.
	RemoveToken(ctx context.Context, id, by string, at time.Time) (Token, error)
	// Tokens returns those that live, expired ones too, ordered by the bytes of
	// their names.
	Tokens(ctx context.Context) ([]Token, error)
	// TokenBySHA256 finds one that lives, be it expired. ErrNotFound.
	TokenBySHA256(ctx context.Context, sha256 [32]byte) (Token, error)
}
