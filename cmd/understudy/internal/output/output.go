// Package output writes what the verbs print: tables for people, JSON for
// programs, and the formats of durations, times and fingerprints that both
// share.
//
// It must not know what the data means or where it comes from.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// JSON writes v indented and ends with a newline. A json.RawMessage keeps its
// fields and their order.
func JSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// Line writes v as one line of JSON.
func Line(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// Table collects rows and writes them in columns.
type Table struct {
	rows [][]string
}

// NewTable returns a table with these column titles.
func NewTable(titles ...string) *Table { return &Table{rows: [][]string{titles}} }

// Row adds a row. Control and formatting characters are escaped, because
// cells hold what devices sent.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = Clean(cell)
		if row[i] == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// Write writes the table.
func (t *Table) Write(w io.Writer) error { return writeColumns(w, t.rows) }

// Facts writes pairs of name and value in two columns, leaving out those
// without a value.
func Facts(w io.Writer, pairs ...string) error {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			rows = append(rows, []string{pairs[i], Clean(pairs[i+1])})
		}
	}
	return writeColumns(w, rows)
}

func writeColumns(w io.Writer, rows [][]string) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(columns, strings.Join(row, "\t"))
	}
	if err := columns.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// Clean escapes what could change a terminal or the order of reading: control
// characters, and formatting ones such as U+202E. Letters of all scripts stay.
func Clean(s string) string {
	dirty := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar
	}
	if !strings.ContainsFunc(s, dirty) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if dirty(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Time writes t as RFC 3339 in UTC with whole seconds, and the zero time as
// nothing.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Truncate(time.Second).Format(time.RFC3339)
}

// Duration writes whole days as "365d" and everything else as Go does, without
// parts that are zero: "10m", "1h30m".
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d != 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Seconds is Duration for a number of seconds.
func Seconds(n int64) string { return Duration(time.Duration(n) * time.Second) }

// maxDays keeps a duration within the 292 years that time.Duration holds.
const maxDays = 100_000

// ParseDuration reads Go's form and days: "365d", "1d12h", "10m".
func ParseDuration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		return parseGo(text, text)
	}
	n, err := strconv.ParseUint(days, 10, 64)
	if err != nil || n > maxDays {
		return 0, fmt.Errorf("%q is not a duration: write 365d, 12h or 10m", text)
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	r, err := parseGo(rest, text)
	if err != nil {
		return 0, err
	}
	return d + r, nil
}

func parseGo(part, whole string) (time.Duration, error) {
	d, err := time.ParseDuration(part)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write 365d, 12h or 10m", whole)
	}
	return d, nil
}
