package inspect

import (
	"strings"
	"time"
)

// CSV as RFC 4180 has it, in UTF-8: lines end in CRLF. It is written here and
// not by encoding/csv because that one changes the line ends inside of cells,
// and because a cell that was guarded must be quoted.

// csvHeader returns the names of the columns.
func csvHeader(columns []column) []byte {
	var line []byte
	for n, c := range columns {
		line = appendCell(line, n, c.name)
	}
	return append(line, "\r\n"...)
}

// csvLine renders rows.
func csvLine(columns []column) func(line []byte, r Row) ([]byte, error) {
	return func(line []byte, r Row) ([]byte, error) {
		for n, c := range columns {
			text := c.text(r)
			if !c.ours {
				text = guard(text)
			}
			line = appendCell(line, n, text)
		}
		return append(line, "\r\n"...), nil
	}
}

// guard keeps a spreadsheet from taking text for a formula: an apostrophe
// stands before one that begins with a character which begins a formula, in
// its full-width form too, or which a spreadsheet passes over on its way to
// one (OWASP, "CSV Injection").
func guard(text string) string {
	begin := strings.TrimLeft(text, " ")
	for _, c := range []string{"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"} {
		if strings.HasPrefix(begin, c) {
			return "'" + text
		}
	}
	return text
}

// appendCell adds the n-th cell of a line. Quotation marks stand around every
// text with a character that ends a cell somewhere: semicolons and tabs do
// where people set them as separators, and what follows would be a cell that
// nobody guarded.
func appendCell(line []byte, n int, text string) []byte {
	if n > 0 {
		line = append(line, ',')
	}
	if !strings.ContainsAny(text, ",;\t\r\n\"' ") {
		return append(line, text...)
	}
	line = append(line, '"')
	line = append(line, strings.ReplaceAll(text, `"`, `""`)...)
	return append(line, '"')
}

// timeText returns a time as the API writes it, empty for none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
