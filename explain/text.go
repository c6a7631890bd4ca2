package explain

import (
	"fmt"
	"strings"
)

// Text writes a document for people: a tree of fields, then the findings.
func (d Document) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Input: %s, %s\n", plural(d.Input.Bytes, "byte"), strings.Join(d.Input.Detected, " → "))
	for _, item := range d.Items {
		b.WriteByte('\n')
		item.text(&b)
	}
	return b.String()
}

func (i Item) text(b *strings.Builder) {
	fmt.Fprintf(b, "%s%s\n", strings.ToUpper(i.Title[:1]), i.Title[1:])
	fmt.Fprintf(b, "  %s, SHA-256 %s\n", plural(i.Bytes, "byte"), i.SHA256)
	writeFields(b, i.Fields, 1)
	if i.Break != nil {
		fmt.Fprintf(b, "\nBreaks off in %s, at offset %d: %s.\n", i.Break.Where, i.Break.Offset, i.Break.Why)
	}
	for _, level := range []struct {
		Level
		title string
	}{{Wrong, "Wrong"}, {Objection, "Objections"}, {Remark, "Remarks"}} {
		i.findings(b, level.Level, level.title)
	}
	if len(i.Findings) == 0 && i.Break == nil && i.Kind != Unknown {
		b.WriteString("\nNobody that is known here objects to anything.\n")
	}
}

func (i Item) findings(b *strings.Builder, level Level, title string) {
	first := true
	for _, f := range i.Findings {
		if f.Level != level {
			continue
		}
		if first {
			fmt.Fprintf(b, "\n%s\n", title)
			first = false
		}
		fmt.Fprintf(b, "  %s: %s\n      objects: %s (%s)\n", f.Where, f.Text, f.Who, f.Rule)
	}
}

// writeFields writes fields of one level with their values below each other.
func writeFields(b *strings.Builder, fields []*Field, depth int) {
	const widest = 26
	width := 0
	for _, f := range fields {
		if n := runes(f.Name); n <= widest {
			width = max(width, n)
		}
	}
	for _, f := range fields {
		line := strings.Repeat("  ", depth) + f.Name
		if f.Value != "" {
			line += strings.Repeat(" ", max(width-runes(f.Name), 0)) + "  " + f.Value
		}
		if f.OID != "" && f.OID != f.Value && f.OID != f.Name {
			line += "  (" + f.OID + ")"
		}
		if f.Note != "" {
			line += "  # " + f.Note
		}
		b.WriteString(line + "\n")
		writeFields(b, f.Fields, depth+1)
	}
}
