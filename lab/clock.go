// Package lab is what a laboratory may do to the server that a product would
// not let anybody do.
//
// It must not know HTTP, nor who may ask. Nothing of it is there unless the
// server was started for a lab.
package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

// ErrUnsettled says that the clock was moved, and that not everything that
// follows from the new time was done. It goes on in the background.
var ErrUnsettled = errors.New("the clock was moved, and not everything that follows from it is done yet")

// ClockDepot is the part of depot.Lab that keeps how the clock was moved.
type ClockDepot interface {
	SetLabClock(ctx context.Context, c depot.LabClock, now time.Time) error
	LabClock(ctx context.Context) (depot.LabClock, error)
}

// ClockOptions are what a Clock works with. All of them are needed.
type ClockOptions struct {
	Lab   *clock.Lab // the one that the whole server goes by
	Depot ClockDepot
	Log   *slog.Logger
	// Settle does everything that is due at the time that it is. It is called
	// before each move, so that what the clock leaves behind has happened, and
	// after it.
	Settle func(ctx context.Context) error
}

// A Clock moves the server's time. A move is durable and in the ledger before
// anybody sees the new time, and what follows from it is done before it is
// answered. It is safe for concurrent use: moves come one after another.
type Clock struct {
	o      ClockOptions
	moving chan struct{} // holds one token while somebody moves it
}

// NewClock returns what moves a clock.
func NewClock(o ClockOptions) *Clock {
	return &Clock{o: o, moving: make(chan struct{}, 1)}
}

// Time is what a lab's clock says.
type Time struct {
	Now    time.Time
	Offset time.Duration // ahead of the machine's clock
	Frozen bool
	// ChangedAt is the machine's time of the last move, and By who made it;
	// both are zero before the first.
	ChangedAt time.Time
	By        string
}

// Moved says whether the time differs from the machine's.
func (t Time) Moved() bool { return t.Offset != 0 || t.Frozen }

// Stored returns the setting of a clock as a depot keeps it.
func Stored(c depot.LabClock) clock.Setting {
	return clock.Setting{Offset: c.Offset, FrozenAt: c.FrozenAt}
}

// Show returns what the clock says.
func (c *Clock) Show(ctx context.Context) (Time, error) {
	stored, err := c.o.Depot.LabClock(ctx)
	if err != nil {
		return Time{}, fmt.Errorf("read lab's clock: %w", err)
	}
	return c.time(stored), nil
}

func (c *Clock) time(stored depot.LabClock) Time {
	return Time{
		Now: c.o.Lab.Now(), Offset: c.o.Lab.Offset(), Frozen: c.o.Lab.Setting().Frozen(),
		ChangedAt: stored.ChangedAt, By: stored.By,
	}
}

// A Change is what becomes of a clock's setting when the machine says now.
type Change func(s clock.Setting, machine time.Time) (clock.Setting, error)

// To sets the clock to a time. One that stands still goes on standing still.
func To(t time.Time) Change {
	return func(s clock.Setting, machine time.Time) (clock.Setting, error) { return s.Set(t, machine) }
}

// Ahead sets the clock to be ahead of the machine's by an offset, which may be
// negative.
func Ahead(offset time.Duration) Change {
	return func(s clock.Setting, machine time.Time) (clock.Setting, error) {
		return s.Set(machine.Add(offset), machine)
	}
}

// By moves the clock by d, which may be negative.
func By(d time.Duration) Change {
	return func(s clock.Setting, machine time.Time) (clock.Setting, error) { return s.Advance(d, machine) }
}

// Freeze stops the clock.
func Freeze(s clock.Setting, machine time.Time) (clock.Setting, error) {
	if s.Frozen() {
		return s, nil
	}
	return s.Freeze(machine), nil
}

// Unfreeze lets the clock go on from where it stands.
func Unfreeze(s clock.Setting, machine time.Time) (clock.Setting, error) {
	return s.Unfreeze(machine), nil
}

// Reset gives the clock the machine's time again.
func Reset(clock.Setting, time.Time) (clock.Setting, error) { return clock.Setting{}, nil }

// Move makes changes, one after another and as one move, in the name of who
// asks for them. Changes that change nothing are no move. *clock.RangeError:
// the time is out of range and nothing was moved; ErrUnsettled: it was moved,
// beside the time that it is now.
func (c *Clock) Move(ctx context.Context, by string, changes ...Change) (Time, error) {
	select {
	case c.moving <- struct{}{}:
		defer func() { <-c.moving }()
	case <-ctx.Done():
		return Time{}, fmt.Errorf("move clock: %w", context.Cause(ctx))
	}
	// Whoever asked may hang up; half a move would help nobody.
	ctx = context.WithoutCancel(ctx)
	if err := c.o.Settle(ctx); err != nil {
		// A clock that nobody can move back would be worse than a late event.
		c.o.Log.Error("before a move of the clock, not everything that is due is done", "error", err)
	}
	old, machine := c.o.Lab.Setting(), c.o.Lab.Machine()
	next := old
	for _, change := range changes {
		var err error
		if next, err = change(next, machine); err != nil {
			return Time{}, fmt.Errorf("move clock: %w", err)
		}
	}
	if next == old {
		return c.Show(ctx)
	}
	stored := depot.LabClock{Offset: next.Offset, FrozenAt: next.FrozenAt, ChangedAt: machine, By: by}
	if err := c.o.Depot.SetLabClock(ctx, stored, next.At(machine)); err != nil {
		return Time{}, fmt.Errorf("move clock: %w", err)
	}
	c.o.Lab.Use(next)
	now := c.time(stored)
	c.o.Log.Warn("the lab's clock was moved", "now", now.Now, "offset", now.Offset.String(), "frozen", now.Frozen, "by", by)
	if err := c.o.Settle(ctx); err != nil {
		c.o.Log.Error("after a move of the clock, not everything that is due is done", "error", err)
		return c.time(stored), fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	return c.time(stored), nil
}
