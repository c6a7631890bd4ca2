package inspect

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A word is a term as it was written.
type word struct {
	at    int    // character, counted from 1
	text  string // as written
	not   bool
	key   string // lower case; "" for a bare word
	op    byte
	value pattern
}

// split takes a search apart at the spaces that are not quoted.
func split(text string) ([]word, error) {
	if len(text) > MaxSearch {
		return nil, &SyntaxError{Problem: fmt.Sprintf("%d bytes are too long, %d are the most", len(text), MaxSearch)}
	}
	if !utf8.ValidString(text) {
		return nil, &SyntaxError{Problem: "it is not UTF-8"}
	}
	var words []word
	at, rest := 1, text
	for {
		trimmed := strings.TrimLeftFunc(rest, unicode.IsSpace)
		at += utf8.RuneCountInString(rest[:len(rest)-len(trimmed)])
		if trimmed == "" {
			return words, nil
		}
		if len(words) == MaxTerms {
			return nil, &SyntaxError{Problem: fmt.Sprintf("more than %d terms", MaxTerms)}
		}
		size, problem := wordSize(trimmed)
		w := word{at: at, text: trimmed[:size]}
		if problem == nil {
			problem = w.read()
		}
		if problem != nil {
			return nil, &SyntaxError{Character: at, Term: w.text, Problem: problem.Error()}
		}
		words = append(words, w)
		at += utf8.RuneCountInString(w.text)
		rest = trimmed[size:]
	}
}

// wordSize returns how many bytes the first word has.
func wordSize(text string) (int, error) {
	quoted, escaped := false, false
	for i, c := range text {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case !quoted && unicode.IsSpace(c):
			return i, nil
		}
	}
	if quoted {
		return len(text), errors.New(`the quotation mark is never closed: write another " at the end, or \" for one that is meant`)
	}
	return len(text), nil
}

// read finds what the word is made of.
func (w *word) read() error {
	rest, negated := strings.CutPrefix(w.text, "-")
	w.not = negated
	if rest == "" || negated && rest[0] == '-' {
		return errors.New(`"-" stands before what is not wanted, as in -state:revoked; quote a word that begins with it`)
	}
	if i := strings.IndexAny(rest, `:<>"`); i > 0 && rest[i] != '"' && isKey(rest[:i]) {
		w.key, w.op, rest = strings.ToLower(rest[:i]), rest[i], rest[i+1:]
		if rest == "" || rest == `""` {
			return fmt.Errorf("nothing follows %q", w.text[:len(w.text)-len(rest)])
		}
	}
	if w.key == "" && strings.ContainsRune(":<>", rune(rest[0])) {
		return fmt.Errorf("%q needs a key before it, without a space between, as in expires<30d; quote a word that begins with it", rest[:1])
	}
	var err error
	w.value, err = readPattern(rest)
	return err
}

// isKey says whether a text before a colon can be a key at all. What cannot,
// such as CN=x, is the beginning of a bare word.
func isKey(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-')
	}) < 0
}

// term finds out what the word means.
func (w word) term() (term, error) {
	t := term{not: w.not, key: w.key, op: w.op, value: w.value}
	if w.op == 0 {
		return t, bareWord(&t)
	}
	for _, k := range keys {
		if k.name != w.key {
			continue
		}
		if !strings.Contains(k.operators, string(w.op)) {
			return t, fmt.Errorf("%s is not compared with %q: write %s", k.name, w.op, k.example)
		}
		if err := k.read(&t); err != nil {
			return t, fmt.Errorf("%w, as in %s", err, k.example)
		}
		return t, nil
	}
	return t, fmt.Errorf("there is no key %q: use one of %s, or quote a word that holds %q", w.key, keyNames(), w.op)
}

// keyNames lists the keys.
func keyNames() string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}
