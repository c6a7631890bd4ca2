package load

import (
	"math"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/scep/client"
)

// A Report is what a run showed. In JSON, durations are integers in
// microseconds, which the names say.
type Report struct {
	Target    Setting   `json:"target"`
	StartedAt time.Time `json:"started_at"`
	ElapsedUS int64     `json:"elapsed_us"`

	Requests int `json:"requests"` // sent while the clock ran
	OK       int `json:"ok"`
	Failed   int `json:"failed"` // of the warm-up too
	// RatePerSecond is that of certificates, not of answers.
	RatePerSecond float64 `json:"rate_per_second"`
	// Latency is that of the messages that got a certificate; at a rate, since
	// the moment that each was due. Service leaves the wait for a connection out.
	Latency  Percentiles `json:"latency"`
	Service  Percentiles `json:"service"`
	Failures []Failure   `json:"failures"`

	Verified   int         `json:"verified"` // replies that were checked completely, good or not
	Deviations []Deviation `json:"deviations"`

	Generator GeneratorCost `json:"generator"`
	Server    *ServerCost   `json:"server"`

	Timeline  []Slice `json:"timeline"`
	Histogram []Bin   `json:"histogram"`
}

// A Setting says what was sent and how.
type Setting struct {
	URL         string        `json:"url"`
	Method      string        `json:"method"`
	Mode        string        `json:"mode"` // "closed", or "open" when there is a rate
	Rate        float64       `json:"rate"` // wanted, a second; 0 when closed
	Concurrency int           `json:"concurrency"`
	WarmUp      int           `json:"warm_up"`
	Keys        int           `json:"keys"`
	KeyBits     int           `json:"key_bits"`
	Cipher      client.Cipher `json:"cipher"`
	Digest      string        `json:"digest"`
}

// Percentiles are of a distribution of durations, each a value that was
// measured.
type Percentiles struct {
	MinUS int64 `json:"min_us"`
	P50US int64 `json:"p50_us"`
	P95US int64 `json:"p95_us"`
	P99US int64 `json:"p99_us"`
	MaxUS int64 `json:"max_us"`
}

// A Failure is one kind of it.
type Failure struct {
	Kind    Kind   `json:"kind"`
	Detail  string `json:"detail"`
	Count   int    `json:"count"`
	Example string `json:"example"` // what one of them said
}

// A Deviation is a rule that replies broke without harm.
type Deviation struct {
	Rule  string `json:"rule"`
	Count int    `json:"count"`
}

// GeneratorCost is what sending cost on this side. More than a third of the
// server's, and the generator may be what limits the rate.
type GeneratorCost struct {
	CPUPerRequestUS int64 `json:"cpu_per_request_us"`
}

// ServerCost is what the requests cost the server's process.
type ServerCost struct {
	PID             int   `json:"pid"`
	CPUPerRequestUS int64 `json:"cpu_per_request_us"`
	UserUS          int64 `json:"user_us"`
	SystemUS        int64 `json:"system_us"`
	PeakRSS         int64 `json:"peak_rss_bytes"`
	PeakAnonymous   int64 `json:"peak_anonymous_bytes"`
}

// A Slice is a piece of the run.
type Slice struct {
	StartUS int64       `json:"start_us"`
	OK      int         `json:"ok"` // certificates that came in it
	Failed  int         `json:"failed"`
	Latency Percentiles `json:"latency"` // of what was due in it
}

// A Bin counts latencies from FromUS up to, not including, ToUS.
type Bin struct {
	FromUS int64 `json:"from_us"`
	ToUS   int64 `json:"to_us"`
	Count  int   `json:"count"`
}

func newReport(t *Target, r *Requests, o Options, begin time.Time, elapsed time.Duration, warm, results []result, u usage, c checked) *Report {
	report := &Report{
		Target: settingOf(t, r, o), StartedAt: begin.UTC().Truncate(time.Second), ElapsedUS: elapsed.Microseconds(),
		Requests: len(results), Verified: c.sampled, Deviations: c.sortedDeviations(),
	}
	markWrong(warm, c)
	markWrong(results, c)
	report.count(warm, results, r.Len())
	var latency, service []time.Duration
	for _, one := range results {
		if one.failure == (failure{}) {
			latency, service = append(latency, one.latency()), append(service, one.done-one.sent)
		}
	}
	report.OK = len(latency)
	if elapsed > 0 {
		report.RatePerSecond = math.Round(float64(report.OK)/elapsed.Seconds()*100) / 100
	}
	report.Latency, report.Service = percentiles(latency), percentiles(service)
	report.Timeline = timeline(results, elapsed)
	report.Histogram = histogram(latency)
	report.cost(u)
	return report
}

func settingOf(t *Target, r *Requests, o Options) Setting {
	s := Setting{
		URL: t.scep.URL, Method: "POST", Mode: "closed", Rate: o.Rate, Concurrency: o.Concurrency, WarmUp: o.WarmUp,
		Keys: r.spec.Keys, KeyBits: r.spec.KeyBits, Cipher: r.spec.Cipher, Digest: r.spec.Digest.String(),
	}
	if o.Method == client.GET {
		s.Method = "GET"
	}
	if o.Rate > 0 {
		s.Mode = "open"
	}
	return s
}

// markWrong turns successes that the complete check refuted into failures.
func markWrong(results []result, c checked) {
	for i := range results {
		if why, wrong := c.wrong[results[i].index]; wrong {
			results[i].failure = failure{kind: KindWrong, example: why}
		}
	}
}

// count sorts the failures of everything that was, or should have been, sent.
func (p *Report) count(warm, results []result, messages int) {
	p.Failures = []Failure{}
	at := map[Failure]int{}
	for _, one := range slices.Concat(warm, results) {
		f := one.failure
		if f == (failure{}) {
			continue
		}
		p.Failed++
		kind := Failure{Kind: f.kind, Detail: f.detail}
		i, known := at[kind]
		if !known {
			i = len(p.Failures)
			at[kind] = i
			p.Failures = append(p.Failures, Failure{f.kind, f.detail, 0, f.example})
		}
		p.Failures[i].Count++
	}
	if unsent := messages - len(warm) - len(results); unsent > 0 {
		p.Failed += unsent
		p.Failures = append(p.Failures, Failure{Kind: KindUnsent, Count: unsent})
	}
	slices.SortFunc(p.Failures, func(a, b Failure) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(string(a.Kind)+a.Detail, string(b.Kind)+b.Detail)
	})
}

func (p *Report) cost(u usage) {
	n := int64(max(1, p.Requests))
	p.Generator.CPUPerRequestUS = u.generator.Microseconds() / n
	if s := u.server; s != nil {
		p.Server = &ServerCost{
			PID: s.pid, CPUPerRequestUS: s.cpu.Microseconds() / n, UserUS: s.user.Microseconds(), SystemUS: s.system.Microseconds(),
			PeakRSS: s.peakRSS, PeakAnonymous: s.anonymous,
		}
	}
}
