package server_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
	"understudy.example/understudy/redistribution"
	"understudy.example/understudy/server"
)

// counted is a depot that knows how many items are in which window.
type counted struct{ depot.Depot }

func (counted) WindowLifetimes(context.Context, string) ([]time.Duration, error) {
	return []time.Duration{365 * 24 * time.Hour}, nil
}

func (counted) WindowCounts(_ context.Context, ranges []depot.WindowRange) ([]int, error) {
	counts := make([]int, len(ranges))
	for i := range counts {
		counts[i] = 1
	}
	return counts, nil
}

// measured is a house in which everything that has a metric happened.
func measured(t *testing.T) *house {
	t.Helper()
	deliveries, exchanges := server.NewDeliveries(), server.NewExchanges(nil)
	exchanges.Count("token", "ok", "")
	deliveries.Count(notify.ResultDelivered)
	h := open(t, func(h *house) {
		h.config.Deliveries, h.config.Exchanges = deliveries, exchanges
		h.wrap = func(d depot.Depot) depot.Depot {
			dispatcher := notify.New(d, notify.Options{Client: notify.NewClient(notify.Targets{}, notify.ClientOptions{}), Clock: h.clock, Wall: clock.System{}})
			h.config.Webhooks = notify.NewService(dispatcher, notify.ServiceOptions{})
			h.config.Redistribution = redistribution.New(counted{d}, h.clock, nil)
			return d
		}
	})
	certificate := h.enrol("SERIAL1")
	h.post(string(h.message("SERIAL2", "wrong").Raw))
	h.api("POST", "/api/v1/certificates/"+certificate.SerialNumber.Text(16)+"/revoke", `{"reason":"keyCompromise"}`)
	do(h.Public(), httptest.NewRequest("POST", "/ocsp", strings.NewReader("garbage")))
	return h
}

// metricsOf returns type and labels of every metric of ours on /metrics.
func (h *house) metricsOf() map[string]string {
	h.t.Helper()
	kinds, labels := map[string]string{}, map[string]map[string]bool{}
	series := regexp.MustCompile(`^([a-z_]+?)(_bucket|_sum|_count)?(?:\{(.*)\})? `)
	label := regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
	for line := range strings.Lines(h.api("GET", "/metrics", "").body) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(rest), " ")
			kinds[name] = kind
			continue
		}
		m := series.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(line, "#") {
			continue
		}
		name := m[1]
		if kinds[name] != "histogram" {
			name += m[2]
		}
		if labels[name] == nil {
			labels[name] = map[string]bool{}
		}
		for _, l := range label.FindAllStringSubmatch(m[3], -1) {
			if l[1] != "le" {
				labels[name][l[1]] = true
			}
		}
	}
	all := map[string]string{}
	for name, kind := range kinds {
		if strings.HasPrefix(name, "understudy_") {
			all[name] = kind + " " + strings.Join(slices.Sorted(maps.Keys(labels[name])), " ")
		}
	}
	return all
}

// Every metric is in docs/metrics.md with its type and labels, and nothing
// else is.
func TestMetricsAreDocumented(t *testing.T) {
	have := measured(t).metricsOf()
	text, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(understudy_[a-z_]+)` \\| (\\w+) \\| (.*?) ?\\| (.+) \\|$").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = row[2] + " " + strings.ReplaceAll(row[3], "`", "")
		if len(row[4]) < 10 {
			t.Errorf("%s has no meaning", row[1])
		}
	}
	for name, what := range have {
		if documented[name] != what {
			t.Errorf("%s is %q, and %q in docs/metrics.md", name, what, documented[name])
		}
	}
	for name := range documented {
		if have[name] == "" {
			t.Errorf("docs/metrics.md has %s, which /metrics has not", name)
		}
	}
	if len(have) < 20 {
		t.Errorf("only %d metrics", len(have))
	}
}

// Whatever rules and dashboard name exists on a server.
func TestDeployedMetricsExist(t *testing.T) {
	have := measured(t).metricsOf()
	dashboard, err := os.ReadFile("../deploy/grafana/understudy.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(dashboard) {
		t.Error("the dashboard is not JSON")
	}
	files, err := filepath.Glob("../deploy/prometheus/*.yml")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	named := map[string]bool{}
	for _, file := range append(files, "../deploy/grafana/understudy.json") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bunderstudy_[a-z_]+`).FindAllString(string(text), -1) {
			base := name
			for _, part := range []string{"_bucket", "_count"} {
				if whole, found := strings.CutSuffix(name, part); found && strings.HasPrefix(have[whole], "histogram") {
					base = whole
				}
			}
			if have[base] == "" {
				t.Errorf("%s names %s, which does not exist", filepath.Base(file), name)
			}
			named[base] = true
		}
	}
	for name := range have {
		if !named[name] {
			t.Errorf("%s is on no dashboard and in no rule", name)
		}
	}
}

// Prometheus itself reads the rules, and they fire when they should and not
// else.
func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is not there: install Debian's package prometheus")
		}
		t.Skip("promtool is not there")
	}
	for _, arguments := range [][]string{
		{"check", "rules", "understudy.rules.yml"}, {"check", "config", "prometheus.yml"}, {"test", "rules", "understudy.test.yml"},
	} {
		c := exec.CommandContext(t.Context(), promtool, arguments...)
		c.Dir = "../deploy/prometheus"
		if output, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
	}
	// Every alert is in the test of the rules, firing and quiet.
	rules, err := os.ReadFile("../deploy/prometheus/understudy.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../deploy/prometheus/understudy.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		quiet := regexp.MustCompile(`alertname: ` + alert[1] + `\}`)
		fires := regexp.MustCompile(`alertname: ` + alert[1] + `\n +exp_alerts:`)
		if !quiet.Match(tests) || !fires.Match(tests) {
			t.Errorf("%s is not tested both firing and quiet", alert[1])
		}
	}
}
