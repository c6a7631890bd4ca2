package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Floors in R: what the cryptography alone costs, from the costs of its parts.
// Understudy with P-256 signs the certificate in ECDSA.
var floors = map[string]float64{nameUnderstudy: 3.09, nameMicromdm: 3.06, nameStep: 3.09, nameP256: 2.13}

const (
	beginMark = "<!-- compare: begin -->"
	endMark   = "<!-- compare: end -->"
)

// write puts the tables between their markers.
func write(p plan, h *house, cells []cell, missing int) error {
	text, err := os.ReadFile(p.document)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %s and %s", p.document, beginMark, endMark)
	}
	tables := summary(p, missing) + costTable(h, p, cells) + answerTable(h, cells) + growthTable(h, p, cells)
	fmt.Print(tables)
	return os.WriteFile(p.document, []byte(before+beginMark+"\n"+tables+endMark+after), 0o644)
}

func summary(p plan, missing int) string {
	text := fmt.Sprintf("\nMeasured on %s, %s, %d messages a cell after 20 to warm up, %d rounds", time.Now().UTC().Format("2 January 2006"),
		runtime.Version(), p.count, p.rounds)
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		text += ", load average at the end " + strings.Join(strings.Fields(string(load))[:3], " ")
	}
	text += ". Figures are medians; quartiles in brackets."
	if missing > 0 {
		text += fmt.Sprintf(" The run ended before %d cells were measured.", missing)
	}
	return text + "\n\n"
}

// costTable compares the servers on an empty store.
func costTable(h *house, p plan, cells []cell) string {
	var b strings.Builder
	b.WriteString("| Server | Cost in R | Share of the floor |")
	for _, c := range p.concurrency {
		fmt.Fprintf(&b, " Rate ÷ micromdm, c = %d |", c)
	}
	b.WriteString(" Peak memory | Anonymous | Start |\n|---|---|---|" + strings.Repeat("---|", len(p.concurrency)) + "---|---|---|\n")
	for _, s := range h.servers {
		mine := of(cells, func(c cell) bool { return c.Server == s.name && c.Stored == 0 })
		if len(mine) == 0 {
			fmt.Fprintf(&b, "| %s | not measured |"+strings.Repeat(" – |", len(p.concurrency)+4)+"\n", s.name)
			continue
		}
		cost := values(mine, func(c cell) float64 { return c.Cost })
		share := "–"
		if floor := floors[s.name]; floor > 0 {
			share = fmt.Sprintf("%.0f %%", 100*floor/middle(cost, 2))
		}
		fmt.Fprintf(&b, "| %s | **%.2f** (%.2f–%.2f) | %s |", s.name, middle(cost, 2), middle(cost, 1), middle(cost, 3), share)
		for _, c := range p.concurrency {
			fmt.Fprintf(&b, " %s |", ratios(cells, s.name, c))
		}
		fmt.Fprintf(&b, " %.0f MiB | %.0f MiB | %.0f ms |\n", middle(values(mine, func(c cell) float64 { return float64(c.Peak) / (1 << 20) }), 2),
			middle(values(mine, func(c cell) float64 { return float64(c.Anon) / (1 << 20) }), 2),
			middle(values(mine, func(c cell) float64 { return float64(c.Start.Milliseconds()) }), 2))
	}
	return b.String()
}

// answerTable compares the answers that never change.
func answerTable(h *house, cells []cell) string {
	var b strings.Builder
	b.WriteString("\nAnswers that never change, CPU of the server over one kept connection:\n\n" +
		"| Server | GetCACaps | GetCACert | GetCACert in R | GetCACert ÷ micromdm |\n|---|---|---|---|---|\n")
	median := func(name string, value func(cell) float64) float64 {
		return middle(values(of(cells, func(c cell) bool { return c.Server == name && c.Cert > 0 }), value), 2)
	}
	cert := func(c cell) float64 { return float64(c.Cert) / float64(time.Microsecond) }
	inR := func(c cell) float64 { return float64(c.Cert) / float64(c.R) }
	for _, s := range h.servers {
		caps := median(s.name, func(c cell) float64 { return float64(c.Caps) / float64(time.Microsecond) })
		if caps > 0 {
			fmt.Fprintf(&b, "| %s | %.0f µs | %.0f µs | %.4f | %.2f |\n", s.name, caps, median(s.name, cert), median(s.name, inR),
				median(s.name, inR)/median(nameMicromdm, inR))
		}
	}
	return b.String()
}

// ratios is the median of the rates' ratios within each round.
func ratios(cells []cell, name string, concurrency int) string {
	at := func(name string) []cell {
		return of(cells, func(c cell) bool { return c.Server == name && c.Stored == 0 && c.Concurrency == concurrency })
	}
	mine, theirs := at(name), at(nameMicromdm)
	var all []float64
	for i := range min(len(mine), len(theirs)) {
		all = append(all, mine[i].Rate/theirs[i].Rate)
	}
	if len(all) == 0 {
		return "–"
	}
	slices.Sort(all)
	return fmt.Sprintf("%.2f", middle(all, 2))
}

// growthTable says what an enrolment costs in a filled store.
func growthTable(h *house, p plan, cells []cell) string {
	var b strings.Builder
	b.WriteString("\nGrowth, cost in R at c = 8 (in brackets: start, anonymous memory):\n\n| Stored |")
	var named []server
	for _, s := range h.servers {
		if s.seed != nil {
			named = append(named, s)
			fmt.Fprintf(&b, " %s |", s.name)
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(named)) + "\n")
	for _, stored := range append([]int{0}, p.growth...) {
		fmt.Fprintf(&b, "| %d |", stored)
		for _, s := range named {
			some := of(cells, func(c cell) bool { return c.Server == s.name && c.Stored == stored && c.Concurrency == 8 })
			if len(some) == 0 {
				b.WriteString(" – |")
				continue
			}
			fmt.Fprintf(&b, " %.2f (%.0f ms, %.0f MiB) |", middle(values(some, func(c cell) float64 { return c.Cost }), 2),
				middle(values(some, func(c cell) float64 { return float64(c.Start.Milliseconds()) }), 2),
				middle(values(some, func(c cell) float64 { return float64(c.Anon) / (1 << 20) }), 2))
		}
		b.WriteString("\n")
	}
	if failed := of(cells, nil); len(failed) > 0 {
		b.WriteString("\nCells that failed:\n\n")
		for _, c := range failed {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(c.String(), "\n", " "))
		}
	}
	return b.String() + "\n"
}

// of returns the good cells that fit, or the failed ones for nil.
func of(cells []cell, fits func(cell) bool) []cell {
	var some []cell
	for _, c := range cells {
		if fits == nil && c.Failed != "" || fits != nil && c.Failed == "" && fits(c) {
			some = append(some, c)
		}
	}
	return some
}

// values are sorted.
func values(cells []cell, value func(cell) float64) []float64 {
	var all []float64
	for _, c := range cells {
		all = append(all, value(c))
	}
	slices.Sort(all)
	return all
}

// middle is a quartile of sorted values: 2 is the median.
func middle(sorted []float64, quartile int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*quartile/4]
}
