package inspect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
)

// A pattern is text with stars in it, each of which stands for any text: the
// parts lie between them. One part is a text without a star.
type pattern []string

// plain is the pattern of a text that has no star.
func plain(text string) pattern { return pattern{text} }

// exact returns the text of a pattern without stars.
func (p pattern) exact() (string, bool) {
	if len(p) != 1 {
		return "", false
	}
	return p[0], true
}

// isASCII says whether no part goes beyond ASCII.
func (p pattern) isASCII() bool {
	return !slices.ContainsFunc(p, func(part string) bool { return !isASCII(part) })
}

// lower returns the pattern in lower case.
func (p pattern) lower() pattern {
	l := make(pattern, len(p))
	for i, part := range p {
		l[i] = depot.FoldName(part)
	}
	return l
}

// readPattern reads text in which a quoted run stands for itself.
func readPattern(text string) (pattern, error) {
	var p pattern
	var part strings.Builder
	quoted, escaped := false, false
	for _, c := range text {
		switch {
		case unicode.IsSpace(c): // only inside of quotes
			c = ' '
		case !unicode.IsPrint(c):
			return nil, fmt.Errorf("%U does not print: subjects are stored with such characters escaped, as they are listed", c)
		}
		switch {
		case escaped:
			if c != '"' && c != '\\' {
				part.WriteByte('\\') // a backslash of the value's own, as in CN=a\,b
			}
			part.WriteRune(c)
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == '*' && !quoted:
			p = append(p, part.String())
			part.Reset()
		default:
			part.WriteRune(c)
		}
	}
	p = append(p, part.String()).tidy()
	if text, ok := p.exact(); ok && strings.TrimSpace(text) == "" {
		return nil, errors.New("there is nothing to look for")
	}
	return p, nil
}

// tidy makes one star of several in a row.
func (p pattern) tidy() pattern {
	tidied := p[:0:0]
	for i, part := range p {
		if part != "" || i == 0 || i == len(p)-1 {
			tidied = append(tidied, part)
		}
	}
	return tidied
}

// quoted writes the pattern so that it is read again as it is.
func (p pattern) quoted(bare bool) string {
	var b strings.Builder
	for i, part := range p {
		if i > 0 {
			b.WriteByte('*')
		}
		special := ` "*`
		if bare {
			special = ` "*:<>`
		}
		if strings.ContainsAny(part, special) || bare && i == 0 && strings.HasPrefix(part, "-") {
			b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(part) + `"`)
			continue
		}
		b.WriteString(part)
	}
	return b.String()
}

// folded returns the pattern as it is compared: see device.Fold. A space next
// to a star counts.
func (p pattern) folded() pattern {
	if text, ok := p.exact(); ok {
		return plain(device.Fold(text))
	}
	f := make(pattern, len(p))
	for i, part := range p {
		words := device.Fold(strings.TrimRight(part, " ") + "\x00") // the dots at a star's side stay
		f[i] = strings.TrimSuffix(words, "\x00")
		if i > 0 && strings.HasPrefix(part, " ") {
			f[i] = " " + f[i]
		}
		if i < len(p)-1 && strings.HasSuffix(part, " ") && f[i] != " " {
			f[i] += " "
		}
	}
	return f
}

// within returns the pattern that fits a text which holds p somewhere.
func (p pattern) within() pattern {
	wide := append(pattern{""}, p...)
	return append(wide, "").tidy()
}

// fits says whether the whole text is what the pattern describes. Each part is
// looked for once, from where the one before ended, so the time is that of
// reading the text.
func (p pattern) fits(text string) bool {
	if len(p) == 1 {
		return text == p[0]
	}
	first, last := p[0], p[len(p)-1]
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range p[1 : len(p)-1] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}
