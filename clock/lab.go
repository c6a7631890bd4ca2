package clock

import (
	"fmt"
	"sync"
	"time"
)

// Earliest returns the first moment that a Lab can be set to. Before it the
// certificates of its own authority would make no sense to anybody.
func Earliest() time.Time { return time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC) }

// Latest returns the last moment that a Lab can be set to. An authority's
// certificates end 20 years later, and times in them have four digits.
func Latest() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }

// RangeError: a Lab was to be set to a time outside of Earliest and Latest.
type RangeError struct{ Time time.Time }

func (e *RangeError) Error() string {
	return fmt.Sprintf("%s is out of range: the lab's clock goes from %s to %s",
		e.Time.UTC().Format(time.RFC3339), Earliest().Format(time.RFC3339), Latest().Format(time.RFC3339))
}

// A Setting is how a Lab's time is made of the machine's. Its zero value is
// the machine's time.
type Setting struct {
	// Offset is how far the time is ahead of the machine's, while it runs.
	Offset time.Duration
	// FrozenAt is where it stands; zero while it runs.
	FrozenAt time.Time
}

// Moved says whether the time differs from the machine's.
func (s Setting) Moved() bool { return s.Offset != 0 || s.Frozen() }

// Frozen says whether the time stands still.
func (s Setting) Frozen() bool { return !s.FrozenAt.IsZero() }

// At returns the time when the machine says now.
func (s Setting) At(machine time.Time) time.Time {
	if s.Frozen() {
		return s.FrozenAt.UTC()
	}
	return machine.Add(s.Offset).UTC()
}

// Set returns the setting by which it is t when the machine says now. A time
// that stands still goes on standing still. *RangeError.
func (s Setting) Set(t, machine time.Time) (Setting, error) {
	if t.Before(Earliest()) || t.After(Latest()) {
		return s, &RangeError{t}
	}
	if s.Frozen() {
		return Setting{FrozenAt: t.UTC().Round(0)}, nil
	}
	// Without their monotonic readings, which a restart of the machine ends.
	return Setting{Offset: t.Round(0).Sub(machine.Round(0))}, nil
}

// Advance returns the setting by which it is d later, or earlier when d is
// negative. *RangeError.
func (s Setting) Advance(d time.Duration, machine time.Time) (Setting, error) {
	t := s.At(machine).Add(d)
	if _, err := s.Set(t, machine); err != nil {
		return s, err
	}
	if s.Frozen() {
		return Setting{FrozenAt: t.Round(0)}, nil
	}
	return Setting{Offset: s.Offset + d}, nil // to the nanosecond
}

// Freeze returns the setting by which the time stands still from now on.
func (s Setting) Freeze(machine time.Time) Setting {
	return Setting{FrozenAt: s.At(machine).Round(0)}
}

// Unfreeze returns the setting by which the time goes on from where it stands.
func (s Setting) Unfreeze(machine time.Time) Setting {
	if !s.Frozen() {
		return s
	}
	return Setting{Offset: s.FrozenAt.Sub(machine.Round(0))}
}

// Lab is a clock that a lab can move: the machine's time and an offset, or
// one moment at which it stands. It is safe for concurrent use.
type Lab struct {
	machine Clock

	mu      sync.Mutex
	setting Setting
	moved   chan struct{} // closed by the next Use
}

// NewLab returns a clock that says what the machine's says until it is moved.
func NewLab(machine Clock) *Lab {
	return &Lab{machine: machine, moved: make(chan struct{})}
}

// Now returns the lab's time.
func (l *Lab) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.setting.At(l.machine.Now())
}

// Offset returns how far Now is ahead of the machine's clock. Of a clock that
// stands still it falls as time passes.
func (l *Lab) Offset() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.setting.Frozen() {
		return l.setting.Offset
	}
	return l.setting.FrozenAt.Sub(l.machine.Now().Round(0))
}

// Moved returns a channel that is closed when the clock is next moved.
func (l *Lab) Moved() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}

// Setting returns how its time is made.
func (l *Lab) Setting() Setting {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.setting
}

// Machine returns the machine's time.
func (l *Lab) Machine() time.Time { return l.machine.Now() }

// Use makes the time as s says from now on, and wakes whoever waits.
func (l *Lab) Use(s Setting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.use(s)
}

// use is Use with the mutex held.
func (l *Lab) use(s Setting) {
	l.setting = s
	close(l.moved)
	l.moved = make(chan struct{})
}

// Set moves the clock to t. *RangeError: nothing was changed.
func (l *Lab) Set(t time.Time) error {
	return l.change(func(s Setting, machine time.Time) (Setting, error) { return s.Set(t, machine) })
}

// Advance moves the clock by d, which may be negative. *RangeError: nothing
// was changed.
func (l *Lab) Advance(d time.Duration) error {
	return l.change(func(s Setting, machine time.Time) (Setting, error) { return s.Advance(d, machine) })
}

// Freeze stops the clock where it is.
func (l *Lab) Freeze() {
	_ = l.change(func(s Setting, machine time.Time) (Setting, error) { return s.Freeze(machine), nil })
}

// Reset gives it the machine's time again.
func (l *Lab) Reset() { l.Use(Setting{}) }

func (l *Lab) change(to func(s Setting, machine time.Time) (Setting, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := to(l.setting, l.machine.Now())
	if err != nil {
		return fmt.Errorf("move clock: %w", err)
	}
	l.use(s)
	return nil
}
