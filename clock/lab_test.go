package clock_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/clock"
)

var _ clock.Clock = (*clock.Lab)(nil)

// noon is the machine's time at the beginning of these tests.
var noon = time.Date(2026, 3, 29, 12, 0, 0, 500, time.UTC)

func year(n int) time.Time { return time.Date(n, 1, 1, 0, 0, 0, 0, time.UTC) }

// A lab's clock beside the machine's, through every kind of move.
func TestLab(t *testing.T) {
	machine := clock.NewManual(noon)
	lab := clock.NewLab(machine)
	day := 24 * time.Hour
	pass := func(d time.Duration) func() error {
		return func() error { machine.Advance(d); return nil }
	}
	advance := func(d time.Duration) func() error { return func() error { return lab.Advance(d) } }
	set := func(to time.Time) func() error { return func() error { return lab.Set(to) } }
	done := func(do func()) func() error { return func() error { do(); return nil } }
	for _, step := range []struct {
		what   string
		do     func() error
		want   time.Time
		offset time.Duration
	}{
		{"at first", pass(0), noon, 0},
		{"time passes", pass(time.Hour), noon.Add(time.Hour), 0},
		{"advanced", advance(335 * day), noon.Add(335*day + time.Hour), 335 * day},
		{"time passes again", pass(time.Hour), noon.Add(335*day + 2*time.Hour), 335 * day},
		{"advanced by less than a second", advance(time.Nanosecond), noon.Add(335*day + 2*time.Hour + 1), 335*day + 1},
		{"moved back", advance(-336 * day), noon.Add(-day + 2*time.Hour + 1), -day + 1},
		{"set in another zone", set(year(2031).In(time.FixedZone("east", 7200))), year(2031), year(2031).Sub(noon.Add(2 * time.Hour))},
		{"frozen", done(lab.Freeze), year(2031), year(2031).Sub(noon.Add(2 * time.Hour))},
		{"time passes elsewhere", pass(time.Hour), year(2031), year(2031).Sub(noon.Add(3 * time.Hour))},
		{"frozen again", done(lab.Freeze), year(2031), year(2031).Sub(noon.Add(3 * time.Hour))},
		{"advanced while frozen", advance(day), year(2031).Add(day), year(2031).Add(day).Sub(noon.Add(3 * time.Hour))},
		{"still frozen", pass(time.Minute), year(2031).Add(day), year(2031).Add(day).Sub(noon.Add(3*time.Hour + time.Minute))},
		{"set while frozen", set(year(2000)), year(2000), year(2000).Sub(noon.Add(3*time.Hour + time.Minute))},
		{"still frozen there", pass(time.Hour), year(2000), year(2000).Sub(noon.Add(4*time.Hour + time.Minute))},
		{"reset", done(lab.Reset), noon.Add(4*time.Hour + time.Minute), 0},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
		if now := lab.Now(); !now.Equal(step.want) || now.Location() != time.UTC {
			t.Errorf("%s: Now = %v, want %v", step.what, now, step.want)
		}
		if got := lab.Offset(); got != step.offset {
			t.Errorf("%s: Offset = %v, want %v", step.what, got, step.offset)
		}
	}
}

// The setting is what a restart begins with; it says the same then.
func TestSetting(t *testing.T) {
	at := noon.AddDate(1, 0, 0)
	running, err := clock.Setting{}.Set(at, noon)
	if err != nil || running.Frozen() || !running.Moved() || !running.At(noon.Add(time.Hour)).Equal(at.Add(time.Hour)) {
		t.Errorf("set: %+v, %v", running, err)
	}
	frozen := running.Freeze(noon.Add(time.Minute))
	if !frozen.Frozen() || !frozen.Moved() || !frozen.At(noon.Add(time.Hour)).Equal(at.Add(time.Minute)) {
		t.Errorf("frozen: %+v", frozen)
	}
	again := frozen.Unfreeze(noon.Add(2 * time.Hour))
	if again.Frozen() || !again.At(noon.Add(3*time.Hour)).Equal(at.Add(time.Hour+time.Minute)) {
		t.Errorf("let go: %+v", again)
	}
	if running.Unfreeze(noon) != running || (clock.Setting{}).Moved() {
		t.Error("what runs cannot be let go, and the machine's own time is not moved")
	}
	lab := clock.NewLab(clock.NewManual(noon))
	lab.Use(frozen)
	if lab.Setting() != frozen || !lab.Now().Equal(frozen.FrozenAt) || !lab.Machine().Equal(noon) {
		t.Errorf("used: %+v at %v", lab.Setting(), lab.Now())
	}
}

func TestLabRange(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		machine := clock.NewManual(noon)
		lab := clock.NewLab(machine)
		if frozen {
			lab.Freeze()
		}
		for _, move := range []struct {
			what string
			do   func() error
			ok   bool
		}{
			{"far past", func() error { return lab.Set(year(1990).Add(-1)) }, false},
			{"far future", func() error { return lab.Set(year(2200).Add(1)) }, false},
			{"the time zero", func() error { return lab.Set(time.Time{}) }, false},
			{"first", func() error { return lab.Set(year(1990)) }, true},
			{"before the first", func() error { return lab.Advance(-1) }, false},
			{"the longest way back", func() error { return lab.Advance(-1 << 63) }, false},
			{"last", func() error { return lab.Set(year(2200)) }, true},
			{"after the last", func() error { return lab.Advance(1) }, false},
			{"the longest way", func() error { return lab.Advance(1<<63 - 1) }, false},
			{"all the way back", func() error { return lab.Advance(year(1990).Sub(year(2200))) }, true},
		} {
			before, moved := lab.Now(), lab.Moved()
			err := move.do()
			var outside *clock.RangeError
			if errors.As(err, &outside) == move.ok {
				t.Errorf("%s: %v", move.what, err)
			}
			if changed := !lab.Now().Equal(before); changed != move.ok || closed(moved) != move.ok {
				t.Errorf("%s: moved: %t, told: %t", move.what, changed, closed(moved))
			}
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Many may move one clock; no movement is lost.
func TestLabConcurrently(t *testing.T) {
	lab := clock.NewLab(clock.NewManual(noon))
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range 100 {
				if err := lab.Advance(time.Second); err != nil {
					t.Error(err)
				}
				lab.Now()
				lab.Offset()
			}
		})
	}
	wg.Wait()
	if want := noon.Add(1000 * time.Second); !lab.Now().Equal(want) {
		t.Errorf("Now = %v, want %v", lab.Now(), want)
	}
}

// Who waits for a time is woken by a move, by any number of them, and by time
// that passes under an offset.
func TestWaitUntilLab(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := clock.NewLab(clock.System{})
		until := lab.Now().Add(400 * 24 * time.Hour)
		over := make(chan error, 1)
		go func() { over <- clock.WaitUntil(t.Context(), lab, until) }()
		for _, move := range []time.Duration{399 * 24 * time.Hour, -time.Hour, 24 * time.Hour} {
			synctest.Wait()
			if len(over) > 0 {
				t.Fatal("over before its time")
			}
			if err := lab.Advance(move); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour - time.Second) // the bubble's time
		synctest.Wait()
		if len(over) > 0 {
			t.Fatal("over a second before its time")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(over) != 1 || <-over != nil {
			t.Fatal("it is time")
		}
	})
}

// Every does something at once, at each interval, after each move, and no more
// once its context has ended.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewManual(noon)
		ctx, cancel := context.WithCancel(t.Context())
		var done atomic.Int32
		var ended, moveMeanwhile atomic.Bool
		go func() {
			clock.Every(ctx, c, time.Minute, func(context.Context) {
				done.Add(1)
				if moveMeanwhile.CompareAndSwap(true, false) {
					c.Advance(time.Hour) // while it is done: it may have asked for the time already
				}
			})
			ended.Store(true)
		}()
		for _, step := range []struct {
			what string
			do   func()
			want int
		}{
			{"at once", func() {}, 1},
			{"just before the interval", func() { time.Sleep(time.Minute - 1) }, 1},
			{"the interval", func() { time.Sleep(1) }, 2},
			{"moved", func() { c.Advance(time.Hour) }, 3},
			{"moved back", func() { c.Advance(-2 * time.Hour) }, 4},
			{"moved while it was done", func() { moveMeanwhile.Store(true); time.Sleep(time.Minute) }, 6},
			{"ended", cancel, 6},
			{"after the end", func() { c.Advance(time.Hour); time.Sleep(time.Hour) }, 6},
		} {
			step.do()
			synctest.Wait()
			if got := int(done.Load()); got != step.want {
				t.Errorf("%s: done %d times, want %d", step.what, got, step.want)
			}
		}
		if !ended.Load() {
			t.Error("it goes on after its context")
		}
	})
}

// A time and its offset are read together, however often the clock is moved.
func TestRead(t *testing.T) {
	machine := clock.NewManual(noon)
	lab := clock.NewLab(machine)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 1000 {
			_ = lab.Advance(time.Hour)
		}
	}()
	for running := true; running; {
		running = !closed(ended)
		if m := clock.Read(lab); !m.Time.Equal(noon.Add(m.Offset)) {
			t.Fatalf("%v is not %v ahead of %v", m.Time, m.Offset, noon)
		}
	}
	if m := clock.Read(lab); m.Offset != 1000*time.Hour {
		t.Errorf("%v ahead", m.Offset)
	}
}
