package explain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the longest text of a field, in bytes; the rest is counted.
const maxText = 2048

// printable returns s with everything escaped that could move a cursor or
// change the order of reading: control characters, formatting ones such as
// U+202E, and bytes that are no UTF-8. A backslash is doubled where anything
// is escaped, so that nobody can write an escape.
func printable(s string) string {
	if len(s) > maxText {
		whole := len(s)
		s = strings.ToValidUTF8(s[:maxText], "") + fmt.Sprintf("… (%d bytes)", whole)
	}
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case c == '\\':
			b.WriteString(`\\`)
		case !unicode.IsPrint(c) && c > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, c)
		case !unicode.IsPrint(c):
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

// clean is the one gate through which every text of a document goes, so that
// no reader of a field has to think of it.
func clean(d *Document) {
	for i, s := range d.Input.Detected {
		d.Input.Detected[i] = printable(s)
	}
	for i := range d.Items {
		item := &d.Items[i]
		item.Title = printable(item.Title)
		cleanFields(item.Fields)
		for j := range item.Findings {
			f := &item.Findings[j]
			f.Who, f.Rule, f.Where, f.Text = printable(f.Who), printable(f.Rule), printable(f.Where), printable(f.Text)
		}
		if item.Break != nil {
			item.Break.Where, item.Break.Why = printable(item.Break.Where), printable(item.Break.Why)
		}
	}
}

func cleanFields(fields []*Field) {
	for _, f := range fields {
		f.Name, f.Value, f.OID, f.Note = printable(f.Name), printable(f.Value), printable(f.OID), printable(f.Note)
		cleanFields(f.Fields)
	}
}
