// Package clock is where every other package takes its time from.
//
// It must not know who asks or why: certificates, challenges, retry periods
// and logs all read the same Clock, so that a lab can move it and a test can
// hold it still. Durations (timeouts, rate limits) are not its business; they
// use the monotonic clock of package time.
package clock

import (
	"context"
	"sync"
	"time"
)

// A Clock tells the time of the authority.
type Clock interface {
	// Now returns the authority's time in UTC.
	Now() time.Time
	// Offset returns how far Now is ahead of the machine's own clock. It is
	// zero unless a lab moved the time; identities record it at issue.
	Offset() time.Duration
	// Moved returns a channel that is closed when the time is next moved,
	// other than by passing; nil when that never happens. Ask for it before
	// Now, so that no move is missed.
	Moved() <-chan struct{}
}

// A Moment is a time and how far it was ahead of the machine's clock then.
type Moment struct {
	Time   time.Time
	Offset time.Duration
}

// Read returns what c says now. Its parts belong together also when the clock
// is moved meanwhile.
func Read(c Clock) Moment {
	for {
		moved := c.Moved()
		m := Moment{Offset: c.Offset(), Time: c.Now()}
		select {
		case <-moved: // never, when nobody moves it
		default:
			return m
		}
	}
}

// shortestWait keeps a clock that stands a nanosecond before the time from
// being asked again and again.
const shortestWait = time.Millisecond

// WaitUntil returns nil when c says t or later, however it came to do so, and
// the context's error when that ends first.
func WaitUntil(ctx context.Context, c Clock, t time.Time) error {
	for {
		moved := c.Moved()
		left := t.Sub(c.Now())
		if left <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(max(left, shortestWait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-moved:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// System is the machine's own clock.
type System struct{}

// Now returns the machine's time in UTC.
func (System) Now() time.Time { return time.Now().UTC() }

// Offset is always zero.
func (System) Offset() time.Duration { return 0 }

// Moved is nil: nobody moves it.
func (System) Moved() <-chan struct{} { return nil }

// Manual is a clock that moves only when it is told to. Its zero value stands
// at the zero time. It is safe for concurrent use.
type Manual struct {
	mu    sync.Mutex
	now   time.Time
	moved chan struct{} // nil: nobody asked
}

// NewManual returns a clock that stands at t.
func NewManual(t time.Time) *Manual { return &Manual{now: t.UTC()} }

// Now returns the time that was last set.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Offset is always zero: nothing says what the machine's clock would be.
func (m *Manual) Offset() time.Duration { return 0 }

// Moved returns a channel that the next Set or Advance closes.
func (m *Manual) Moved() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.moved == nil {
		m.moved = make(chan struct{})
	}
	return m.moved
}

// Set moves the clock to t, forwards or backwards.
func (m *Manual) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(t.UTC())
}

// Advance moves the clock by d, which may be negative.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(m.now.Add(d))
}

func (m *Manual) set(t time.Time) {
	m.now = t
	if m.moved != nil {
		close(m.moved)
		m.moved = nil
	}
}
