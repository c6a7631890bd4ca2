package clock_test

import (
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/clock"
)

func TestSystem(t *testing.T) {
	before := time.Now()
	now := clock.System{}.Now()
	after := time.Now()
	if now.Before(before) || now.After(after) {
		t.Errorf("Now = %v, not between %v and %v", now, before, after)
	}
	if now.Location() != time.UTC {
		t.Errorf("Now is in %v, not in UTC", now.Location())
	}
	if offset := (clock.System{}).Offset(); offset != 0 {
		t.Errorf("Offset = %v", offset)
	}
}

func TestManual(t *testing.T) {
	east := time.FixedZone("east", 2*60*60)
	begin := time.Date(2026, 3, 29, 12, 0, 0, 0, east)
	c := clock.NewManual(begin)
	check := func(what string, want time.Time) {
		t.Helper()
		if got := c.Now(); !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("%s: Now = %v, want %v in UTC", what, got, want)
		}
	}
	check("at first", begin)
	check("asked again", begin)
	c.Advance(90 * time.Second)
	check("advanced", begin.Add(90*time.Second))
	c.Advance(-2 * time.Hour)
	check("moved back", begin.Add(90*time.Second-2*time.Hour))
	c.Set(begin.AddDate(20, 0, 0))
	check("set", begin.AddDate(20, 0, 0))
	if c.Offset() != 0 {
		t.Errorf("Offset = %v", c.Offset())
	}
	if zero := new(clock.Manual).Now(); !zero.IsZero() {
		t.Errorf("zero value stands at %v", zero)
	}
}

// Many may move one clock; no movement is lost.
func TestManualConcurrently(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := clock.NewManual(begin)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 100 {
				c.Advance(time.Second)
				c.Now()
			}
		})
	}
	wg.Wait()
	if want := begin.Add(1000 * time.Second); !c.Now().Equal(want) {
		t.Errorf("Now = %v, want %v", c.Now(), want)
	}
}

var (
	_ clock.Clock = clock.System{}
	_ clock.Clock = (*clock.Manual)(nil)
)
