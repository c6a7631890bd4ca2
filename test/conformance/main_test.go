//go:build clients

package conformance

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// understudy is the binary under test.
var understudy program.Binary

func TestMain(m *testing.M) {
	os.Exit(program.Main(m, &understudy))
}

// last is the number of the last case of the list.
const last = 71

// A report is what -o json prints, as far as it is looked at.
type report struct {
	Summary struct {
		Pass          int `json:"pass"`
		Fail          int `json:"fail"`
		NotApplicable int `json:"not_applicable"`
	} `json:"summary"`
	Cases []struct {
		Number  int     `json:"number"`
		Verdict string  `json:"verdict"`
		Reason  *string `json:"reason"`
		Checks  []struct {
			Name, Expected, Seen string
			OK                   bool
		} `json:"checks"`
	} `json:"cases"`
}

// conform runs the list and reads its report.
func conform(t *testing.T, wantCode int, url, challenge string, arguments ...string) report {
	t.Helper()
	file := filepath.Join(t.TempDir(), "challenge")
	if err := os.WriteFile(file, []byte(challenge+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := append([]string{"conformance", "--url", url, "--challenge-file", file, "-o", "json"}, arguments...)
	result := understudy.Run(t, nil, all...)
	if result.Code != wantCode {
		t.Errorf("exit code %d, want %d: %s", result.Code, wantCode, result.Stderr)
	}
	var r report
	if err := json.Unmarshal([]byte(result.Stdout), &r); err != nil {
		t.Fatalf("read the report: %v\n%s", err, result.Stdout)
	}
	if len(r.Cases) != last || r.Summary.Pass+r.Summary.Fail+r.Summary.NotApplicable != last {
		t.Errorf("%d cases, summary %+v; want %d", len(r.Cases), r.Summary, last)
	}
	return r
}

// with returns the numbers of the cases that ended so, in order.
func (r report) with(verdict string) []int {
	var numbers []int
	for _, c := range r.Cases {
		if c.Verdict == verdict {
			numbers = append(numbers, c.Number)
		}
	}
	return numbers
}

// show logs what the failed checks of some cases saw.
func (r report) show(t *testing.T, cases []int) {
	t.Helper()
	for _, c := range r.Cases {
		if !slices.Contains(cases, c.Number) {
			continue
		}
		if c.Reason != nil {
			t.Logf("case %d: %s", c.Number, *c.Reason)
		}
		for _, k := range c.Checks {
			if !k.OK || c.Verdict == "pass" {
				t.Logf("case %d: %s: expected %s; seen %s", c.Number, k.Name, k.Expected, k.Seen)
			}
		}
	}
}

// compare wants exactly some cases, and shows those that differ.
func (r report) compare(t *testing.T, what string, got []int, want map[int]string) {
	t.Helper()
	wanted := slices.Sorted(maps.Keys(want))
	if slices.Equal(got, wanted) {
		return
	}
	t.Errorf("%s: %v, want %v", what, got, wanted)
	r.show(t, got)
	r.show(t, wanted)
}
