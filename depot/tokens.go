package depot

import (
	"context"
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

// Tokens is the part of a Depot that keeps tokens.
type Tokens interface {
	// AddToken stores one, in the ledger too. ErrExists: the id, the hash, or
	// the name of one that lives, is taken. ErrInvalid: no id, name, hash or
	// time.
	AddToken(ctx context.Context, t Token) error
	// RemoveToken ends one. ErrNotFound: there is none that lives.
	RemoveToken(ctx context.Context, id, by string, at time.Time) (Token, error)
	// Tokens returns those that live, expired ones too, ordered by name.
	Tokens(ctx context.Context) ([]Token, error)
	// TokenBySHA256 finds one that lives. ErrNotFound.
	TokenBySHA256(ctx context.Context, sha256 [32]byte) (Token, error)
}
