package lab_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/lab"
)

var noon = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// a world is a lab's clock with a witness at every step of a move.
type world struct {
	machine *clock.Manual
	time    *clock.Lab
	clock   *lab.Clock
	log     strings.Builder

	mu        sync.Mutex
	steps     []string // "settle 2026-…", "store 2026-…": what the clock said then
	stored    depot.LabClock
	dated     time.Time // as the depot was told
	storing   error
	settling  []error // of the next calls
	whenMoved func()  // while it is stored
}

func newWorld() *world {
	w := &world{machine: clock.NewManual(noon)}
	w.time = clock.NewLab(w.machine)
	w.clock = lab.NewClock(lab.ClockOptions{Lab: w.time, Depot: w, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Settle: w.settle})
	return w
}

func (w *world) step(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, what+" "+w.time.Now().Format(time.DateOnly))
}

func (w *world) settle(ctx context.Context) error {
	w.step("settle")
	if len(w.settling) == 0 {
		return ctx.Err()
	}
	err := w.settling[0]
	w.settling = w.settling[1:]
	return err
}

func (w *world) SetLabClock(ctx context.Context, c depot.LabClock, now time.Time) error {
	w.step("store")
	if w.whenMoved != nil {
		w.whenMoved()
	}
	if err := errors.Join(w.storing, ctx.Err()); err != nil {
		return err
	}
	w.stored, w.dated = c, now
	return nil
}

func (w *world) LabClock(context.Context) (depot.LabClock, error) { return w.stored, nil }

// What is due is done at the old time, the move is durable before anybody sees
// it, and what follows is done before the answer.
func TestMove(t *testing.T) {
	w := newWorld()
	got, err := w.clock.Move(t.Context(), "ci", lab.By(400*day))
	if err != nil {
		t.Fatal(err)
	}
	then := noon.Add(400 * day)
	want := lab.Time{Now: then, Offset: 400 * day, ChangedAt: noon, By: "ci"}
	if got != want || !got.Moved() {
		t.Errorf("moved: %+v, want %+v", got, want)
	}
	if want := []string{"settle 2026-03-29", "store 2026-03-29", "settle 2027-05-03"}; !slices.Equal(w.steps, want) {
		t.Errorf("in the order %q, want %q", w.steps, want)
	}
	if want := (depot.LabClock{Offset: 400 * day, ChangedAt: noon, By: "ci"}); w.stored != want || !w.dated.Equal(then) {
		t.Errorf("stored %+v of %v", w.stored, w.dated)
	}
	if shown, err := w.clock.Show(t.Context()); err != nil || shown != want {
		t.Errorf("shown: %+v, %v", shown, err)
	}
	if line := w.log.String(); !strings.Contains(line, "level=WARN") || !strings.Contains(line, "now=2027-05-03T12:00:00.000Z offset=9600h0m0s frozen=false by=ci") {
		t.Errorf("logged %q", line)
	}
}

// Every kind of change, from a clock that runs and from one that stands.
func TestChanges(t *testing.T) {
	at := noon.AddDate(1, 0, 0)
	frozen := func(t time.Time) clock.Setting { return clock.Setting{FrozenAt: t} }
	ahead := func(d time.Duration) clock.Setting { return clock.Setting{Offset: d} }
	for _, c := range []struct {
		what    string
		from    clock.Setting
		changes []lab.Change
		want    clock.Setting
	}{
		{"to", ahead(day), []lab.Change{lab.To(at)}, ahead(365 * day)},
		{"to, frozen", frozen(noon), []lab.Change{lab.To(at)}, frozen(at)},
		{"to and freeze", ahead(day), []lab.Change{lab.To(at), lab.Freeze}, frozen(at)},
		{"to and let go", frozen(noon), []lab.Change{lab.To(at), lab.Unfreeze}, ahead(365 * day)},
		{"ahead", ahead(day), []lab.Change{lab.Ahead(-day)}, ahead(-day)},
		{"ahead, frozen", frozen(at), []lab.Change{lab.Ahead(day)}, frozen(noon.Add(day))},
		{"not ahead", ahead(day), []lab.Change{lab.Ahead(0)}, clock.Setting{}},
		{"by", ahead(day), []lab.Change{lab.By(-3 * day)}, ahead(-2 * day)},
		{"by, frozen", frozen(at), []lab.Change{lab.By(day)}, frozen(at.Add(day))},
		{"freeze", ahead(day), []lab.Change{lab.Freeze}, frozen(noon.Add(day))},
		{"let go", frozen(at), []lab.Change{lab.Unfreeze}, ahead(365 * day)},
		{"reset", ahead(day), []lab.Change{lab.Reset}, clock.Setting{}},
		{"reset, frozen", frozen(at), []lab.Change{lab.Reset}, clock.Setting{}},
	} {
		w := newWorld()
		w.time.Use(c.from)
		got, err := w.clock.Move(t.Context(), "ci", c.changes...)
		if err != nil || w.time.Setting() != c.want || lab.Stored(w.stored) != c.want || got.Frozen != c.want.Frozen() || !got.Now.Equal(c.want.At(noon)) {
			t.Errorf("%s: %+v, in force %+v, stored %+v, want %+v, %v", c.what, got, w.time.Setting(), w.stored, c.want, err)
		}
	}
}

// What changes nothing is no move: it is not on record and wakes nobody.
func TestNoMove(t *testing.T) {
	for what, c := range map[string]struct {
		from   clock.Setting
		change lab.Change
	}{
		"reset":  {clock.Setting{}, lab.Reset},
		"freeze": {clock.Setting{FrozenAt: noon.Add(day)}, lab.Freeze},
		"let go": {clock.Setting{Offset: day}, lab.Unfreeze},
		"by 0":   {clock.Setting{Offset: day}, lab.By(0)},
	} {
		w := newWorld()
		w.time.Use(c.from)
		moved := w.time.Moved()
		got, err := w.clock.Move(t.Context(), "ci", c.change)
		if err != nil || !got.Now.Equal(c.from.At(noon)) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		select {
		case <-moved:
			t.Errorf("%s woke who waits", what)
		default:
		}
		if slices.ContainsFunc(w.steps, func(s string) bool { return strings.HasPrefix(s, "store") }) || w.log.Len() > 0 {
			t.Errorf("%s is on record: %q, %q", what, w.steps, w.log.String())
		}
	}
}

// A move that is refused or not stored has not happened.
func TestMoveRefused(t *testing.T) {
	w := newWorld()
	var outside *clock.RangeError
	if _, err := w.clock.Move(t.Context(), "ci", lab.By(day), lab.To(noon.AddDate(300, 0, 0))); !errors.As(err, &outside) {
		t.Errorf("out of range: %v", err)
	}
	w.storing = depot.ErrUnavailable
	if _, err := w.clock.Move(t.Context(), "ci", lab.By(day)); !errors.Is(err, depot.ErrUnavailable) {
		t.Errorf("not stored: %v", err)
	}
	if w.time.Setting().Moved() || w.log.Len() > 0 {
		t.Errorf("it was moved: %+v, %q", w.time.Setting(), w.log.String())
	}
}

// A clock can be moved, above all back, whatever cannot be done at its time;
// whoever moved it is told.
func TestMoveUnsettled(t *testing.T) {
	w := newWorld()
	broken := errors.New("the issuer has ended")
	w.settling = []error{broken}
	if _, err := w.clock.Move(t.Context(), "ci", lab.By(day)); err != nil {
		t.Errorf("before the move: %v", err)
	}
	if !strings.Contains(w.log.String(), "level=ERROR") {
		t.Errorf("logged %q", w.log.String())
	}
	w.settling = []error{nil, broken}
	got, err := w.clock.Move(t.Context(), "ci", lab.By(day))
	if !errors.Is(err, lab.ErrUnsettled) || !errors.Is(err, broken) || got.Offset != 2*day || w.time.Offset() != 2*day {
		t.Errorf("after the move: %+v, %v", got, err)
	}
}

// Two moves at once are two moves, each whole. Who gives up waiting moves
// nothing; who gives up later has moved it.
func TestMovesOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		let := make(chan struct{})
		w.whenMoved = func() { <-let }
		ctx, hangUp := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := w.clock.Move(ctx, "first", lab.By(day)); first <- err }()
		synctest.Wait()
		impatient, giveUp := context.WithCancel(t.Context())
		go func() { _, err := w.clock.Move(impatient, "second", lab.By(day)); second <- err }()
		synctest.Wait()
		if len(w.steps) != 2 {
			t.Errorf("while the first is stored: %q", w.steps)
		}
		giveUp()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("gave up: %v", err)
		}
		hangUp()
		close(let)
		if err := <-first; err != nil || w.time.Offset() != day {
			t.Errorf("hung up: %v, %v ahead", err, w.time.Offset())
		}
	})
	w := newWorld()
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			if _, err := w.clock.Move(t.Context(), fmt.Sprint(n), lab.By(day)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if w.time.Offset() != 16*day || w.stored.Offset != 16*day {
		t.Errorf("%v ahead, %v stored", w.time.Offset(), w.stored.Offset)
	}
	for n := 0; n < len(w.steps); n += 3 {
		if !strings.HasPrefix(w.steps[n], "settle") || !strings.HasPrefix(w.steps[n+1], "store") || !strings.HasPrefix(w.steps[n+2], "settle") {
			t.Fatalf("moves are mixed: %q", w.steps)
		}
	}
}
