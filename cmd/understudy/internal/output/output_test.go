package output_test

import (
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/output"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"365d": 365 * day, "1d": day, "0s": 0, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute,
		"36h": 36 * time.Hour, "1m30s": 90 * time.Second, "100000d": 100_000 * day,
	} {
		got, err := output.ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
		if back, err := output.ParseDuration(output.Duration(want)); err != nil || back != want {
			t.Errorf("%v is written %q, which reads %v, %v", want, output.Duration(want), back, err)
		}
	}
	if got, err := output.ParseDuration("1d12h"); err != nil || got != 36*time.Hour {
		t.Errorf("1d12h = %v, %v", got, err)
	}
	for want, d := range map[string]time.Duration{
		"365d": 365 * day, "2d": 48 * time.Hour, "10m": 10 * time.Minute, "36h": 36 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "30s": 30 * time.Second,
	} {
		if got := output.Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
	for _, text := range []string{"", "d", "365", "-1d", "1.5d", "1d2d", "1d2", "100001d", "99999999999999999999d", "ten minutes"} {
		if got, err := output.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		} else if !strings.Contains(err.Error(), "365d, 12h or 10m") {
			t.Errorf("ParseDuration(%q): %v does not say how to write it", text, err)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("east", 3*3600)
	if got := output.Time(time.Date(2026, 12, 1, 2, 0, 0, 999, east)); got != "2026-11-30T23:00:00Z" {
		t.Errorf("got %s", got)
	}
	if got := output.Time(time.Time{}); got != "" {
		t.Errorf("the zero time is %q", got)
	}
}

// TestTable: what a device sent cannot change the terminal or fake a row.
func TestTable(t *testing.T) {
	t.Parallel()
	table := output.NewTable("NAME", "SUBJECT")
	table.Row("a", "CN=\x1b[31mred\nCN=fake\u202e\u009b")
	table.Row("b", "CN=Über 日本")
	table.Row("c", "")
	var b strings.Builder
	if err := table.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "NAME  SUBJECT\n" +
		"a     CN=\\u001b[31mred\\u000aCN=fake\\u202e\\u009b\n" +
		"b     CN=Über 日本\n" +
		"c     -\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := output.Facts(&b, "name", "x", "nothing", "", "longer name", "y\tz"); err != nil {
		t.Fatal(err)
	}
	if want := "name         x\nlonger name  y\\u0009z\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
