package explain

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Comparison is two documents beside each other: only what is not the same.
type Comparison struct {
	A, B        Side
	Differences []Difference
}

// A Side is one of the documents of a Comparison.
type Side struct {
	Input    Input     `json:"input"`
	Titles   []string  `json:"titles"`
	Findings []Finding `json:"findings"` // that the other one does not have
}

// A Difference is a field that is not the same, or that only one side has.
type Difference struct {
	Path string `json:"path"` // names from the outside in, with " / " between them
	A    Value  `json:"a"`
	B    Value  `json:"b"`
	// Fresh says that the field differs between any two messages, as nonces,
	// signatures and times do.
	Fresh bool `json:"fresh"`
}

// A Value is what one side has: nil when it has no such field.
type Value *string

// MarshalJSON writes the sides first.
func (c Comparison) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		A           Side         `json:"a"`
		B           Side         `json:"b"`
		Differences []Difference `json:"differences"`
	}{c.A, c.B, c.Differences})
}

// Strict says that the documents differ in more than what always differs.
func (c Comparison) Strict() bool {
	return slices.ContainsFunc(c.Differences, func(d Difference) bool { return !d.Fresh }) ||
		len(c.A.Findings) > 0 || len(c.B.Findings) > 0
}

// Compare compares two documents field by field.
func Compare(a, b Document) Comparison {
	c := Comparison{A: side(a, b), B: side(b, a), Differences: []Difference{}}
	for i := range max(len(a.Items), len(b.Items)) {
		prefix := ""
		if max(len(a.Items), len(b.Items)) > 1 {
			prefix = fmt.Sprintf("object %d / ", i+1)
		}
		c.Differences = append(c.Differences, compareFields(prefix, fieldsOf(a, i), fieldsOf(b, i))...)
		if x, y := breakOf(a, i), breakOf(b, i); x != y {
			c.Differences = append(c.Differences, Difference{Path: prefix + "breaks off", A: orNull(x), B: orNull(y)})
		}
	}
	return c
}

func fieldsOf(d Document, i int) []*Field {
	if i >= len(d.Items) {
		return nil
	}
	return d.Items[i].Fields
}

func breakOf(d Document, i int) string {
	if i >= len(d.Items) || d.Items[i].Break == nil {
		return ""
	}
	b := d.Items[i].Break
	return fmt.Sprintf("in %s: %s", b.Where, b.Why)
}

func side(d, other Document) Side {
	s := Side{Input: d.Input, Titles: []string{}, Findings: []Finding{}}
	var others []Finding
	for _, item := range other.Items {
		others = append(others, item.Findings...)
	}
	for _, item := range d.Items {
		s.Titles = append(s.Titles, item.Title)
		for _, f := range item.Findings {
			if !slices.Contains(others, f) {
				s.Findings = append(s.Findings, f)
			}
		}
	}
	return s
}

// compareFields pairs the fields of one level by their names.
func compareFields(prefix string, a, b []*Field) []Difference {
	var all []Difference
	named := numbered(b)
	paired := map[string]bool{}
	for name, f := range ordered(a) {
		other := named[name]
		paired[name] = true
		if other == nil {
			all = append(all, Difference{Path: prefix + name, A: shown(f), Fresh: f.fresh})
			continue
		}
		all = append(all, compareField(prefix+name, f, other)...)
	}
	for name, f := range ordered(b) {
		if !paired[name] {
			all = append(all, Difference{Path: prefix + name, B: shown(f), Fresh: f.fresh})
		}
	}
	return all
}

func compareField(path string, a, b *Field) []Difference {
	var all []Difference
	switch {
	case a.Value != b.Value:
		all = append(all, Difference{Path: path, A: shown(a), B: shown(b), Fresh: a.fresh && b.fresh})
	case a.secret != b.secret:
		another := b.Value + ", another one"
		all = append(all, Difference{Path: path, A: shown(a), B: &another})
	}
	return append(all, compareFields(path+" / ", a.Fields, b.Fields)...)
}

// ordered yields fields with their names, of which the second "x" is "x #2".
func ordered(fields []*Field) func(yield func(string, *Field) bool) {
	return func(yield func(string, *Field) bool) {
		count := map[string]int{}
		for _, f := range fields {
			name := f.Name
			if count[f.Name]++; count[f.Name] > 1 {
				name = fmt.Sprintf("%s #%d", f.Name, count[f.Name])
			}
			if !yield(name, f) {
				return
			}
		}
	}
}

func numbered(fields []*Field) map[string]*Field {
	all := map[string]*Field{}
	for name, f := range ordered(fields) {
		all[name] = f
	}
	return all
}

// shown is the value of a field; of one that only has fields, that it is there.
func shown(f *Field) Value {
	text := f.Value
	if text == "" {
		text = "present"
	}
	return &text
}

// Text writes a comparison for people. What always differs is named and not
// shown.
func (c Comparison) Text() string {
	var b strings.Builder
	for _, s := range []struct {
		name string
		Side
	}{{"A", c.A}, {"B", c.B}} {
		fmt.Fprintf(&b, "%s: %s (%s, %s)\n", s.name, strings.Join(s.Titles, "; "),
			plural(s.Input.Bytes, "byte"), strings.Join(s.Input.Detected, " → "))
	}
	var fresh []string
	same := true
	for _, d := range c.Differences {
		if d.Fresh {
			fresh = append(fresh, d.Path[strings.LastIndex(d.Path, "/ ")+1:])
			continue
		}
		same = false
		fmt.Fprintf(&b, "\n%s\n  A  %s\n  B  %s\n", d.Path, orAbsent(d.A), orAbsent(d.B))
	}
	if same {
		b.WriteString("\nThey say the same.\n")
	}
	if len(fresh) > 0 {
		slices.Sort(fresh)
		for i := range fresh {
			fresh[i] = strings.TrimSpace(fresh[i])
		}
		fmt.Fprintf(&b, "\nDiffer in any two, not shown: %s\n", strings.Join(slices.Compact(fresh), ", "))
	}
	writeOnly(&b, "A", c.A.Findings)
	writeOnly(&b, "B", c.B.Findings)
	return b.String()
}

func writeOnly(b *strings.Builder, name string, findings []Finding) {
	if len(findings) == 0 {
		return
	}
	fmt.Fprintf(b, "\nOnly about %s\n", name)
	for _, f := range findings {
		fmt.Fprintf(b, "  %s: %s: %s\n      objects: %s (%s)\n", f.Level, f.Where, f.Text, f.Who, f.Rule)
	}
}

func orAbsent(v Value) string {
	if v == nil {
		return "absent"
	}
	return *v
}
