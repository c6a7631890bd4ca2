// Package inspect is for people who look: it says what they may search for and
// in which forms they take what they found away.
//
// The search syntax is one for the API, the command line and the web pages:
// see docs/search.md. The package makes a depot.IdentityQuery of it and must
// not know HTTP, a database or who asks.
package inspect

import (
	"fmt"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// Limits of a search.
const (
	MaxSearch = 10 << 10 // bytes
	MaxTerms  = 50
)

// maxShown is how much of a term an error shows, in characters.
const maxShown = 60

// A Search is what certificates must have in common with what somebody looks
// for. Its zero value is what every certificate fits.
type Search struct {
	terms []term
}

// A term is one condition. All of them must hold.
type term struct {
	not   bool
	key   string  // "" for a bare word
	op    byte    // ':', '<' or '>'; 0 for a bare word
	value pattern // canonical
	when  moment  // of keys that compare times
	// earlier says that a time before when fits, and not one after it.
	earlier bool
	fits    fitsFunc // without regard to not
}

// fitsFunc says whether an identity fits a term.
type fitsFunc func(f *facts) bool

// facts is an identity that is being looked at.
type facts struct {
	now      time.Time
	identity *depot.Identity
	standing depot.Standing
	// configurations are the ids of the names in the search.
	configurations map[string]string
}

// A SyntaxError is a search that cannot be understood.
type SyntaxError struct {
	Character int    // where the term begins, counted from 1
	Term      string // as written
	Problem   string // what is wrong, and what would be right
}

func (e *SyntaxError) Error() string {
	if e.Term == "" {
		return "search: " + e.Problem
	}
	shown := []rune(e.Term)
	if len(shown) > maxShown {
		shown = append(shown[:maxShown], '…')
	}
	return fmt.Sprintf("search, character %d, %q: %s", e.Character, string(shown), e.Problem)
}

// Parse reads a search. Every error is a *SyntaxError.
func Parse(text string) (Search, error) {
	words, err := split(text)
	if err != nil {
		return Search{}, err
	}
	var s Search
	for _, w := range words {
		t, problem := w.term()
		if problem != nil {
			return Search{}, &SyntaxError{Character: w.at, Term: w.text, Problem: problem.Error()}
		}
		s.terms = append(s.terms, t)
	}
	return s, nil
}

// String writes the search in its canonical form, which parses to the same.
func (s Search) String() string {
	var b strings.Builder
	for i, t := range s.terms {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.String())
	}
	return b.String()
}

// String writes one term.
func (t term) String() string {
	var b strings.Builder
	if t.not {
		b.WriteByte('-')
	}
	if t.op == 0 {
		b.WriteString(t.value.quoted(true))
		return b.String()
	}
	b.WriteString(t.key)
	b.WriteByte(t.op)
	b.WriteString(t.value.quoted(false))
	return b.String()
}

// Empty says whether every certificate fits.
func (s Search) Empty() bool { return len(s.terms) == 0 }

// matches says whether all terms hold.
func (s Search) matches(f *facts) bool {
	for _, t := range s.terms {
		if t.fits(f) == t.not {
			return false
		}
	}
	return true
}
