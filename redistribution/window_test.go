package redistribution_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

const day = 24 * time.Hour

// TestGoldenWindows holds the maths to a table that was made without it.
func TestGoldenWindows(t *testing.T) {
	for _, row := range golden(t, "testdata/windows.tsv", 5) {
		p := policy(t, row[1])
		opens, closes := p.Window(at(t, row[2]), at(t, row[3]))
		if want := at(t, row[4]); !opens.Equal(want) {
			t.Errorf("%s: opens at %v, want %v", row[0], opens, want)
		}
		if want := at(t, row[3]); !closes.Equal(want) {
			t.Errorf("%s: closes at %v, want %v", row[0], closes, want)
		}
	}
}

// golden reads a table of n columns.
func golden(t *testing.T, file string, n int) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(line, "\t")
		if len(row) != n {
			t.Fatalf("%s: %q has %d columns", file, line, len(row))
		}
		rows = append(rows, row)
	}
	return rows
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

// policy reads the text of a policy, as a table has it.
func policy(t *testing.T, text string) redistribution.Policy {
	t.Helper()
	for _, kind := range []redistribution.Kind{redistribution.DaysBefore, redistribution.PercentRemaining} {
		for value := range redistribution.MaxDays + 1 {
			for _, strict := range []bool{false, true} {
				p := redistribution.Policy{Kind: kind, Value: value, Strict: strict, AckTimeout: day}
				if p.String() == text {
					if err := p.Validate(); err != nil {
						t.Fatal(err)
					}
					return p
				}
			}
		}
	}
	t.Fatalf("no policy is called %q", text)
	return redistribution.Policy{}
}

var somePolicy = rapid.Custom(func(t *rapid.T) redistribution.Policy {
	p := redistribution.Policy{AckTimeout: time.Duration(rapid.IntRange(1, 100_000).Draw(t, "timeout")) * time.Second}
	if rapid.Bool().Draw(t, "percent") {
		p.Kind, p.Value = redistribution.PercentRemaining, rapid.IntRange(1, 99).Draw(t, "value")
		return p
	}
	p.Kind, p.Value = redistribution.DaysBefore, rapid.IntRange(0, redistribution.MaxDays).Draw(t, "value")
	p.Strict = rapid.Bool().Draw(t, "strict")
	return p
})

// someLifetime is up to a hundred years, often near whole days.
var someLifetime = rapid.Custom(func(t *rapid.T) time.Duration {
	days := rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 40), rapid.IntRange(0, 36500)).Draw(t, "days")
	seconds := rapid.OneOf(rapid.IntRange(-1, 1), rapid.IntRange(0, 86399)).Draw(t, "seconds")
	return max(0, time.Duration(days)*day+time.Duration(seconds)*time.Second)
})

// TestWindowProperties: whatever the policy and the lifetime, a window lies
// within the life of its certificate, begins at a whole second, and is no
// smaller for whoever wants more.
func TestWindowProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, lifetime := somePolicy.Draw(t, "policy"), someLifetime.Draw(t, "lifetime")
		notBefore := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "notBefore"), 0).UTC()
		opens, closes := p.Window(notBefore, notBefore.Add(lifetime))
		switch {
		case !closes.Equal(notBefore.Add(lifetime)):
			t.Fatalf("closes at %v", closes)
		case opens.Before(notBefore) || opens.After(closes):
			t.Fatalf("opens at %v, outside of the certificate's life", opens)
		case opens.Nanosecond() != 0:
			t.Fatalf("opens within a second: %v", opens)
		case closes.Sub(opens) != p.Lead(lifetime):
			t.Fatalf("open for %v, but Lead is %v", closes.Sub(opens), p.Lead(lifetime))
		}
		if p.Kind == redistribution.PercentRemaining {
			percents(t, p, lifetime)
		} else {
			days(t, p, lifetime)
		}
	})
}

// percents: the lead is that part of the lifetime, less than a second more.
func percents(t *rapid.T, p redistribution.Policy, lifetime time.Duration) {
	seconds := int64(lifetime / time.Second) // ×99 fits
	exact := seconds * int64(p.Value)
	lead := int64(p.Lead(lifetime)/time.Second) * 100
	if lead < exact || lead-exact >= 100 {
		t.Fatalf("Lead of %v at %d %% is %v", lifetime, p.Value, p.Lead(lifetime))
	}
}

// days: as many days where they fit, else half or all of the life.
func days(t *rapid.T, p redistribution.Policy, lifetime time.Duration) {
	lead, want := p.Lead(lifetime), time.Duration(p.Value)*day
	switch {
	case lifetime > want:
	case p.Strict:
		want = lifetime
	default:
		want = (lifetime/time.Second + 1) / 2 * time.Second
	}
	if lead != want {
		t.Fatalf("Lead of %v with %v is %v, want %v", lifetime, p, lead, want)
	}
}

// TestWindowOfNothing: a certificate that ends before it begins has no window.
func TestWindowOfNothing(t *testing.T) {
	for _, text := range []string{"days_before:30", "days_before:30:strict", "percent_remaining:99"} {
		for _, lifetime := range []time.Duration{0, -time.Second, -400 * day} {
			if lead := policy(t, text).Lead(lifetime); lead != 0 {
				t.Errorf("%s: Lead(%v) = %v", text, lifetime, lead)
			}
		}
	}
}

// TestWindowOfFractions: a window that would open within a second opens at its
// beginning, and never before the certificate begins.
func TestWindowOfFractions(t *testing.T) {
	for _, c := range []struct {
		policy         string
		lifetime, want time.Duration
	}{
		{"percent_remaining:99", 1500 * time.Millisecond, 1500 * time.Millisecond},
		{"percent_remaining:1", 1500 * time.Millisecond, time.Second},
		{"days_before:1", 500 * time.Millisecond, 500 * time.Millisecond},
		{"days_before:1", 3500 * time.Millisecond, 2 * time.Second},
	} {
		if lead := policy(t, c.policy).Lead(c.lifetime); lead != c.want {
			t.Errorf("%s: Lead(%v) = %v, want %v", c.policy, c.lifetime, lead, c.want)
		}
	}
}

// TestPolicyText: marks in old stores have it.
func TestPolicyText(t *testing.T) {
	for want, p := range map[string]redistribution.Policy{
		"days_before:30":        {Kind: redistribution.DaysBefore, Value: 30},
		"days_before:30:strict": {Kind: redistribution.DaysBefore, Value: 30, Strict: true, AckTimeout: time.Hour},
		"days_before:0":         {Kind: redistribution.DaysBefore},
		"percent_remaining:20":  {Kind: redistribution.PercentRemaining, Value: 20, AckTimeout: time.Minute},
	} {
		if got := p.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	good := redistribution.Policy{Kind: redistribution.DaysBefore, Value: 30, AckTimeout: day}
	for name, c := range map[string]struct {
		change func(*redistribution.Policy)
		want   string // in the error; empty: valid
	}{
		"default":                 {func(*redistribution.Policy) {}, ""},
		"no days":                 {func(p *redistribution.Policy) { p.Value = 0 }, ""},
		"ten years":               {func(p *redistribution.Policy) { p.Value = 3650 }, ""},
		"more":                    {func(p *redistribution.Policy) { p.Value = 3651 }, "0 to 3650"},
		"negative days":           {func(p *redistribution.Policy) { p.Value = -1 }, "0 to 3650"},
		"strict":                  {func(p *redistribution.Policy) { p.Strict = true }, ""},
		"no percent":              {func(p *redistribution.Policy) { p.Kind, p.Value = redistribution.PercentRemaining, 0 }, "1 to 99"},
		"1 percent":               {func(p *redistribution.Policy) { p.Kind, p.Value = redistribution.PercentRemaining, 1 }, ""},
		"99 percent":              {func(p *redistribution.Policy) { p.Kind, p.Value = redistribution.PercentRemaining, 99 }, ""},
		"all":                     {func(p *redistribution.Policy) { p.Kind, p.Value = redistribution.PercentRemaining, 100 }, "1 to 99"},
		"strict percent":          {func(p *redistribution.Policy) { p.Kind, p.Strict = redistribution.PercentRemaining, true }, "days only"},
		"no kind":                 {func(p *redistribution.Policy) { p.Kind = "" }, "kind must be"},
		"other kind":              {func(p *redistribution.Policy) { p.Kind = "weeks_before" }, "weeks_before"},
		"no timeout":              {func(p *redistribution.Policy) { p.AckTimeout = 0 }, "whole seconds"},
		"a second":                {func(p *redistribution.Policy) { p.AckTimeout = time.Second }, ""},
		"a second and a half":     {func(p *redistribution.Policy) { p.AckTimeout = 1500 * time.Millisecond }, "whole seconds"},
		"a year":                  {func(p *redistribution.Policy) { p.AckTimeout = 365 * day }, ""},
		"a timeout beyond a year": {func(p *redistribution.Policy) { p.AckTimeout = 365*day + time.Second }, "whole seconds"},
	} {
		p := good
		c.change(&p)
		err := p.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (!errors.Is(err, redistribution.ErrPolicy) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

// TestPolicyOf: what an old record does not say is as by default.
func TestPolicyOf(t *testing.T) {
	for name, c := range map[string]struct {
		record depot.ConfigurationPolicy
		want   redistribution.Policy
	}{
		"of an older version": {
			depot.ConfigurationPolicy{},
			redistribution.Policy{Kind: redistribution.DaysBefore, Value: 30, AckTimeout: day},
		},
		"no days": {
			depot.ConfigurationPolicy{WindowKind: "days_before", AckTimeout: time.Hour},
			redistribution.Policy{Kind: redistribution.DaysBefore, AckTimeout: time.Hour},
		},
		"strict": {
			depot.ConfigurationPolicy{WindowKind: "days_before", WindowValue: 7, WindowStrict: true},
			redistribution.Policy{Kind: redistribution.DaysBefore, Value: 7, Strict: true, AckTimeout: day},
		},
		"percent": {
			depot.ConfigurationPolicy{WindowKind: "percent_remaining", WindowValue: 20, AckTimeout: time.Minute},
			redistribution.Policy{Kind: redistribution.PercentRemaining, Value: 20, AckTimeout: time.Minute},
		},
	} {
		if got := redistribution.PolicyOf(c.record); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
