package load

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// WriteText writes the report for people.
func (p *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	t := p.Target
	fmt.Fprintf(&b, "%s by %s, %s\n", t.URL, t.Method, t.pace())
	fmt.Fprintf(&b, "messages     %d (%d to warm up), %d keys of %d bits, %s, %s\n", p.Requests, t.WarmUp, t.Keys, t.KeyBits, t.Cipher, t.Digest)
	fmt.Fprintf(&b, "certificates %d in %s: %.1f a second\n", p.OK, micros(p.ElapsedUS), p.RatePerSecond)
	if p.OK > 0 {
		fmt.Fprintf(&b, "latency      %s\n", p.Latency)
		if t.Mode == "open" {
			fmt.Fprintf(&b, "service      %s\n", p.Service)
		}
	}
	fmt.Fprintf(&b, "verified     %d replies completely\n", p.Verified)
	if p.Generator.CPUPerRequestUS > 0 {
		fmt.Fprintf(&b, "generator    %s CPU a request\n", micros(p.Generator.CPUPerRequestUS))
	}
	if s := p.Server; s != nil {
		fmt.Fprintf(&b, "server       %s CPU a request, peak memory %s, anonymous %s (process %d)\n",
			micros(s.CPUPerRequestUS), mebibytes(s.PeakRSS), mebibytes(s.PeakAnonymous), s.PID)
	}
	for _, d := range p.Deviations {
		fmt.Fprintf(&b, "deviation    %d × %s\n", d.Count, d.Rule)
	}
	fmt.Fprintf(&b, "failures     %d\n", p.Failed)
	for _, f := range p.Failures {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s Setting) pace() string {
	if s.Mode == "open" {
		return fmt.Sprintf("%g requests a second on up to %d connections", s.Rate, s.Concurrency)
	}
	return fmt.Sprintf("%d in flight", s.Concurrency)
}

// String is one line for people.
func (p Percentiles) String() string {
	return fmt.Sprintf("p50 %s  p95 %s  p99 %s  max %s", micros(p.P50US), micros(p.P95US), micros(p.P99US), micros(p.MaxUS))
}

// String is one line for people.
func (f Failure) String() string {
	text := fmt.Sprintf("%d × %s", f.Count, f.Kind)
	if f.Detail != "" {
		text += " " + f.Detail
	}
	if f.Example != "" {
		text += ": " + f.Example
	}
	return text
}

// micros writes a duration with about three digits.
func micros(us int64) string {
	value, unit := float64(us), "µs"
	switch {
	case us >= 1e6:
		value, unit = value/1e6, "s"
	case us >= 1e3:
		value, unit = value/1e3, "ms"
	}
	digits := 0
	if unit != "µs" && value < 100 {
		digits = 1
		if value < 10 {
			digits = 2
		}
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + " " + unit
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
