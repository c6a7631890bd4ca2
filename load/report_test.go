package load_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/load"
)

var update = flag.Bool("update", false, "write the golden files anew")

// example has something in every field.
func example() *load.Report {
	return &load.Report{
		Target: load.Setting{
			URL: "http://127.0.0.1:8080/scep/default", Method: "POST", Mode: "open", Rate: 50, Concurrency: 8, WarmUp: 20,
			Keys: 8, KeyBits: 2048, Cipher: "AES-128-CBC", Digest: "SHA-256",
		},
		StartedAt: time.Date(2026, 11, 22, 4, 5, 6, 0, time.UTC), ElapsedUS: 20_000_000,
		Requests: 1000, OK: 996, Failed: 5, RatePerSecond: 49.8,
		Latency: load.Percentiles{MinUS: 950, P50US: 7_210, P95US: 12_345, P99US: 99_900, MaxUS: 1_234_567},
		Service: load.Percentiles{MinUS: 950, P50US: 7_000, P95US: 11_000, P99US: 50_000, MaxUS: 60_000},
		Failures: []load.Failure{
			{Kind: load.KindFailure, Detail: "badRequest", Count: 4},
			{Kind: load.KindNetwork, Count: 1, Example: "read: connection reset <by peer>"},
		},
		Verified: 20, Deviations: []load.Deviation{{Rule: "the envelope is encrypted with single DES (RFC 8894 §2.9)", Count: 20}},
		Generator: load.GeneratorCost{CPUPerRequestUS: 210},
		Server:    &load.ServerCost{PID: 4711, CPUPerRequestUS: 3_400, UserUS: 3_200_000, SystemUS: 200_000, PeakRSS: 24 << 20, PeakAnonymous: 11 << 20},
		Timeline: []load.Slice{
			{StartUS: 0, OK: 500, Failed: 0, Latency: load.Percentiles{MinUS: 950, P50US: 7_000, P95US: 12_000, P99US: 13_000, MaxUS: 14_000}},
			{StartUS: 10_000_000, OK: 496, Failed: 4, Latency: load.Percentiles{MinUS: 960, P50US: 7_300, P95US: 12_400, P99US: 99_900, MaxUS: 1_234_567}},
		},
		Histogram: []load.Bin{{FromUS: 900, ToUS: 10_000, Count: 800}, {FromUS: 10_000, ToUS: 100_000, Count: 190}, {FromUS: 100_000, ToUS: 1_300_000, Count: 6}},
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	asJSON := func(p *load.Report) func(io.Writer) error {
		return func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(p)
		}
	}
	empty := &load.Report{Target: load.Setting{URL: "http://127.0.0.1/", Method: "GET", Mode: "closed"}}
	for name, write := range map[string]func(io.Writer) error{
		"report.txt": example().WriteText, "report.json": asJSON(example()), "report.html": example().WriteHTML,
		"empty.txt": empty.WriteText, "empty.html": empty.WriteHTML,
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, got.Bytes(), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is not what it was; look at the difference, and if it is meant, run go test -update:\n%s", name, got.Bytes())
		}
	}
}

// TestPageStandsAlone: nothing is fetched, nothing runs, nothing that a server
// said becomes markup, and every chart is well formed.
func TestPageStandsAlone(t *testing.T) {
	t.Parallel()
	p := example()
	p.Target.URL = "http://127.0.0.1/<script>alert(1)</script>"
	var page bytes.Buffer
	if err := p.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	text := page.String()
	for _, bad := range []string{"<script", "src=", "href=", "@import", "url(", "<by peer>", "NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if n := strings.Count(text, "<svg"); n != 4 {
		t.Errorf("the page has %d charts, want 4", n)
	}
	for _, rest := range strings.Split(text, "<svg")[1:] {
		svg, _, _ := strings.Cut("<svg"+rest, "</svg>")
		for d := xml.NewDecoder(strings.NewReader(svg + "</svg>")); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("a chart is not well formed: %v", err)
				break
			}
		}
	}
}
