package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"understudy.example/understudy/depot"
)

// adminName is the name of the token that lies in the server's own files. It
// has every scope, is not in the depot and cannot be removed.
const adminName = "admin"

// scope is what a token is good for. Each includes those before it.
type scope string

// The scopes, and what a route says that needs no token. The zero scope is
// none of them: a route that says nothing is open to nobody.
const (
	scopeNone  scope = "none"
	scopeRead  scope = "read"
	scopeAck   scope = "ack"
	scopeAdmin scope = "admin"
)

// scopes are those that a token can have, each including the ones before.
func scopes() []scope { return []scope{scopeRead, scopeAck, scopeAdmin} }

// grants says whether a token with these scopes may do what needs one. A word
// that is not a scope grants nothing.
func grants(have []string, need scope) bool {
	all := scopes()
	place := slices.Index(all, need)
	return place >= 0 && slices.ContainsFunc(all[place:], func(s scope) bool { return slices.Contains(have, string(s)) })
}

const (
	// maxKnownTokens bounds how many tokens are remembered.
	maxKnownTokens = 1024
	// guessesPerMinute is how many wrong tokens an address may send before it
	// has to wait, and maxGuessers how many addresses are remembered for it.
	guessesPerMinute = 100
	maxGuessers      = 10_000
)

// tokens says who comes with a bearer token. What it found in the depot it
// remembers until the token is removed.
type tokens struct {
	admin [sha256.Size]byte
	depot depot.Tokens

	mu       sync.Mutex // of the three below
	known    *lru.Cache[[sha256.Size]byte, depot.Token]
	removals uint64
	removal  chan struct{} // closed by the next one

	guessers *lru.Cache[netip.Prefix, *rate.Limiter]
}

// newTokens knows the admin token and those of the depot.
func newTokens(admin string, d depot.Tokens) (*tokens, error) {
	known, err := lru.New[[sha256.Size]byte, depot.Token](maxKnownTokens)
	if err != nil {
		return nil, fmt.Errorf("make token cache: %w", err)
	}
	guessers, err := lru.New[netip.Prefix, *rate.Limiter](maxGuessers)
	if err != nil {
		return nil, fmt.Errorf("make token limiter: %w", err)
	}
	return &tokens{
		admin: sha256.Sum256([]byte(admin)), depot: d,
		known: known, removal: make(chan struct{}), guessers: guessers,
	}, nil
}

// find returns the token with this hash, if it is good now. It compares hashes
// only, and in constant time, so that neither length nor prefix of a token
// shows in how long it takes. ErrNotFound.
func (t *tokens) find(ctx context.Context, sum [sha256.Size]byte, now time.Time) (depot.Token, error) {
	if subtle.ConstantTimeCompare(sum[:], t.admin[:]) == 1 {
		return depot.Token{Name: adminName, Scopes: []string{string(scopeAdmin)}, SHA256: sum}, nil
	}
	found, err := t.lookUp(ctx, sum)
	switch {
	case err != nil:
		return depot.Token{}, err
	case subtle.ConstantTimeCompare(sum[:], found.SHA256[:]) != 1:
		return depot.Token{}, depot.ErrNotFound
	case !found.ExpiresAt.IsZero() && !now.Before(found.ExpiresAt):
		return depot.Token{}, errExpiredToken
	}
	return found, nil
}

// errExpiredToken is for a token that was good once. It is not a guess.
var errExpiredToken = errors.New("token is expired")

// lookUp returns what is remembered, or asks the depot. What the depot says is
// worth nothing when a token was removed meanwhile.
func (t *tokens) lookUp(ctx context.Context, sum [sha256.Size]byte) (depot.Token, error) {
	for {
		t.mu.Lock()
		found, known := t.known.Get(sum)
		removals := t.removals
		t.mu.Unlock()
		if known {
			return found, nil
		}
		found, err := t.depot.TokenBySHA256(ctx, sum)
		if err != nil {
			return depot.Token{}, err
		}
		t.mu.Lock()
		undisturbed := t.removals == removals
		if undisturbed {
			t.known.Add(sum, found)
		}
		t.mu.Unlock()
		if undisturbed {
			return found, nil
		}
	}
}

// forget is called when a token was removed. Nobody is let in with it any
// more, and whoever waits with one looks again whether it is still good.
func (t *tokens) forget(sum [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known.Remove(sum)
	t.removals++
	close(t.removal)
	t.removal = make(chan struct{})
}

// removed returns a channel that the next removal closes.
func (t *tokens) removed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.removal
}

// mayGuess says whether an address may still try tokens, and if not, how long
// it has to wait. Right tokens are refused too while it has to: a limit that
// lets them through tells a guesser that it was right.
func (t *tokens) mayGuess(from netip.Addr) (bool, time.Duration) {
	b, seen := t.guessers.Get(clientKey(from))
	if !seen {
		return true, 0
	}
	left := b.Tokens()
	if left >= 1 {
		return true, 0
	}
	return false, time.Duration(math.Ceil((1-left)*60/guessesPerMinute)) * time.Second
}

// guessed counts a wrong token of an address.
func (t *tokens) guessed(from netip.Addr) {
	bucket(t.guessers, clientKey(from), guessesPerMinute).Allow()
}

// callerKey is where a request's context has its token.
type callerKey struct{}

// callerOf returns the token that a request came with; the zero one when none
// was needed.
func callerOf(ctx context.Context) depot.Token {
	t, _ := ctx.Value(callerKey{}).(depot.Token)
	return t
}

// by is who does what a request asks for: the name of its token.
func by(ctx context.Context) string { return callerOf(ctx).Name }

// authenticate returns the context of a request that came with a good token,
// and otherwise why it did not.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request) (context.Context, error) {
	from, _ := s.proxies.client(r)
	if may, wait := s.tokens.mayGuess(from); !may {
		w.Header().Set("Retry-After", retrySeconds(wait))
		return nil, newProblem(http.StatusTooManyRequests, "too-many-requests", "too many wrong tokens came from this address; wait before the next")
	}
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="understudy"`)
		return nil, newProblem(http.StatusUnauthorized, "unauthorized", "a valid bearer token is needed")
	}
	found, err := s.tokens.find(r.Context(), sha256.Sum256([]byte(text)), s.clock.Now())
	switch {
	case errors.Is(err, depot.ErrNotFound):
		s.tokens.guessed(from)
		return nil, badToken(w)
	case errors.Is(err, errExpiredToken):
		return nil, badToken(w)
	case err != nil:
		return nil, err
	}
	return context.WithValue(r.Context(), callerKey{}, found), nil
}

// badToken is the problem of a token that is not good, or not any more: which
// of the two is nobody's business (RFC 6750 section 3.1).
func badToken(w http.ResponseWriter) error {
	w.Header().Set("WWW-Authenticate", `Bearer realm="understudy", error="invalid_token"`)
	return newProblem(http.StatusUnauthorized, "unauthorized", "a valid bearer token is needed")
}

// permit says no to a token without the scope that a route needs.
func permit(w http.ResponseWriter, r *http.Request, need scope) error {
	if need == scopeNone || grants(callerOf(r.Context()).Scopes, need) {
		return nil
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="understudy", error="insufficient_scope", scope=%q`, need))
	return newProblem(http.StatusForbidden, "insufficient-scope", fmt.Sprintf("the token lacks the scope %s, which this needs", need))
}

// stillGood says whether the token of a request that waited is good yet.
func (s *Server) stillGood(w http.ResponseWriter, r *http.Request) error {
	_, err := s.tokens.find(r.Context(), callerOf(r.Context()).SHA256, s.clock.Now())
	if errors.Is(err, depot.ErrNotFound) || errors.Is(err, errExpiredToken) {
		return badToken(w)
	}
	return err
}
