package server

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

const (
	// tokenPrefix begins the ids of tokens, tokenMark their texts, so that a
	// scanner of repositories can be taught what they look like.
	tokenPrefix = "tk_"
	tokenMark   = "understudy_"
	// maxTokenLife is ten years, as of certificates.
	maxTokenLife = 10 * 365 * 24 * time.Hour
)

// tokenName is what a token may be called: something that fits a log line.
var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$`)

// tokenJSON is a token in the API, without its text.
type tokenJSON struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes"`
	CreatedAt string   `json:"created_at"`
	CreatedBy string   `json:"created_by"`
	ExpiresAt *string  `json:"expires_at"`
}

// newTokenJSON is the answer to making one: the only place that tells its
// text, once.
type newTokenJSON struct {
	tokenJSON
	Token string `json:"token"`
}

// listTokens is GET /tokens. There are few of them: they are one page.
func (s *Server) listTokens(w http.ResponseWriter, r *http.Request) error {
	if _, err := readParameters(r); err != nil {
		return err
	}
	found, err := s.depot.Tokens(r.Context())
	if err != nil {
		return err
	}
	items := make([]tokenJSON, 0, len(found))
	for _, t := range found {
		items = append(items, tokenToJSON(t))
	}
	return writeJSON(w, http.StatusOK, newList(items, ""))
}

// addToken is POST /tokens.
func (s *Server) addToken(w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	t, err := s.tokenWish(fields)
	if err != nil {
		return err
	}
	text := tokenMark + rand.Text()
	t.ID, t.SHA256, t.CreatedBy = newID(tokenPrefix), sha256.Sum256([]byte(text)), by(r.Context())
	if err := s.depot.AddToken(r.Context(), t); err != nil {
		return err
	}
	s.log.Info("token added", "token", t.ID, "name", t.Name, "scopes", t.Scopes, "by", t.CreatedBy)
	w.Header().Set("Location", apiPrefix+"/tokens/"+t.ID)
	return writeJSON(w, http.StatusCreated, newTokenJSON{tokenToJSON(t), text})
}

// tokenWish reads what token is wanted.
func (s *Server) tokenWish(fields map[string]json.RawMessage) (t depot.Token, err error) {
	t.CreatedAt = s.clock.Now()
	if t.Name, err = textField(fields, "name", maxNote); err != nil {
		return t, err
	}
	if !tokenName.MatchString(t.Name) || strings.HasPrefix(t.Name, tokenPrefix) {
		return t, invalidRequest(fieldError{"name", "must be 1 to 63 of A-Z, a-z, 0-9, dot, dash, underscore and @, begin with one of the first three, and not with " + tokenPrefix})
	}
	if strings.EqualFold(t.Name, adminName) {
		return t, newProblem(http.StatusConflict, "name-in-use", "admin is the token in the server's own files")
	}
	if t.Scopes, err = scopesField(fields); err != nil {
		return t, err
	}
	life, err := lifeField(fields, "ttl_seconds", maxTokenLife)
	if err != nil {
		return t, err
	}
	if life > 0 {
		t.ExpiresAt = t.CreatedAt.Add(life)
	}
	return t, noOthers(fields, invalidRequest)
}

// scopesField takes the scopes out of a body, each once and in their order.
func scopesField(fields map[string]json.RawMessage) ([]string, error) {
	var given []string
	raw := fields["scopes"]
	delete(fields, "scopes")
	wrong := invalidRequest(fieldError{"scopes", "must be a list with one or more of read, ack and admin"})
	if len(raw) == 0 || json.Unmarshal(raw, &given) != nil || len(given) == 0 {
		return nil, wrong
	}
	var ordered []string
	for _, known := range scopes() {
		if slices.Contains(given, string(known)) {
			ordered = append(ordered, string(known))
		}
	}
	for _, word := range given {
		if !slices.Contains(ordered, word) {
			return nil, wrong
		}
	}
	return ordered, nil
}

// lifeField takes an optional number of whole seconds out of a body, from 1
// to longest; 0 when it is absent.
func lifeField(fields map[string]json.RawMessage, name string, longest time.Duration) (time.Duration, error) {
	raw, given := fields[name]
	delete(fields, name)
	if !given || string(raw) == "null" {
		return 0, nil
	}
	var seconds int64
	if json.Unmarshal(raw, &seconds) != nil || seconds < 1 || seconds > int64(longest/time.Second) {
		return 0, invalidRequest(fieldError{name, fmt.Sprintf("must be a whole number from 1 to %d", int64(longest/time.Second))})
	}
	return time.Duration(seconds) * time.Second, nil
}

// removeToken is DELETE /tokens/{token}, by id or name. When it answers,
// nobody is let in with the token.
func (s *Server) removeToken(w http.ResponseWriter, r *http.Request) error {
	wanted := r.PathValue("token")
	if wanted == adminName {
		return newProblem(http.StatusConflict, "own-token", "the token admin lies in the server's own files and cannot be removed")
	}
	found, err := s.depot.Tokens(r.Context())
	if err != nil {
		return err
	}
	place := slices.IndexFunc(found, func(t depot.Token) bool { return wanted == t.ID || wanted == t.Name })
	if place < 0 {
		return notFound("there is no such token")
	}
	removed, err := s.depot.RemoveToken(r.Context(), found[place].ID, by(r.Context()), s.clock.Now())
	s.tokens.forget(found[place].SHA256) // also when it is not known whether it was removed
	if errors.Is(err, depot.ErrNotFound) {
		return notFound("there is no such token")
	}
	if err != nil {
		return err
	}
	s.log.Info("token removed", "token", removed.ID, "name", removed.Name, "by", by(r.Context()))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// newID returns the prefix and 17 of [a-z2-7], which are 85 random bits.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()[:17]) }

// tokenToJSON renders one.
func tokenToJSON(t depot.Token) tokenJSON {
	return tokenJSON{
		ID: t.ID, Name: t.Name, Scopes: orEmpty(t.Scopes), CreatedAt: timeText(t.CreatedAt), CreatedBy: t.CreatedBy,
		ExpiresAt: timeOrNull(t.ExpiresAt),
	}
}
