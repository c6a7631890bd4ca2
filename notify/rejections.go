package notify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
)

const (
	// together is how long refusals are summed up before they are put on
	// record.
	together = time.Minute
	// atOnce is how many sums a minute are put on record without waiting.
	atOnce = 6
	// maxSums is how many sums are kept. There is one for each configuration
	// and reason; what is more than that is counted in the log.
	maxSums = 256
)

// A Recorder is what of a depot.Depot Rejections work with.
type Recorder interface {
	RecordRejections(ctx context.Context, r depot.Rejections) error
}

// RejectionsOptions are what Rejections work with. All of it is needed.
type RejectionsOptions struct {
	Clock clock.Clock // the authority's, which dates events
	Wall  clock.Clock // the machine's, which says what is together
	Log   *slog.Logger
}

// Rejections put refused challenges on record: the first of a configuration
// and reason at once, and those that follow within a minute as one sum at its
// end. However many there are, they cost little memory and few steps of the
// depot.
type Rejections struct {
	depot Recorder
	RejectionsOptions
	noted chan struct{}

	mu      sync.Mutex
	sums    map[sumKey]*rejectionSum
	left    int       // how many may be put on record at once
	minute  time.Time // when sums are next put on record; zero: there are none
	dropped int       // refusals for which there was no sum
}

type sumKey struct{ configurationID, reason string }

// rejectionSum is what was refused since it was last put on record.
type rejectionSum struct {
	depot.Rejections
	now bool // to be put on record without waiting
}

// NewRejections returns what records in d while Run runs.
func NewRejections(d Recorder, o RejectionsOptions) *Rejections {
	return &Rejections{depot: d, RejectionsOptions: o, noted: make(chan struct{}, 1), sums: make(map[sumKey]*rejectionSum), left: atOnce}
}

// Note counts a challenge that was refused for a reason (refusal.Reason), from
// an address. It never waits for the depot.
func (r *Rejections) Note(configurationID, configurationName, reason, source string) {
	at := r.Clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s, known := r.sums[sumKey{configurationID, reason}]
	if !known {
		if len(r.sums) == maxSums {
			r.dropped++
			return
		}
		s = &rejectionSum{now: r.left > 0}
		if s.now {
			r.left--
		}
		r.sums[sumKey{configurationID, reason}] = s
	}
	s.Rejections = depot.Rejections{
		ConfigurationID: configurationID, ConfigurationName: configurationName, Reason: reason,
		Count: s.Count + 1, At: at, SourceAddress: source,
	}
	if r.minute.IsZero() {
		r.minute = r.Wall.Now().Add(together)
	}
	if s.Count == 1 {
		select {
		case r.noted <- struct{}{}:
		default:
		}
	}
}

// Run puts on record what is noted, until its context ends; then what is left.
func (r *Rejections) Run(ctx context.Context) {
	for ctx.Err() == nil {
		r.record(ctx, r.due())
		r.wait(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
	defer cancel()
	r.record(ctx, r.all())
}

// wait returns when something was noted or the minute is over.
func (r *Rejections) wait(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	minute := r.minute
	r.mu.Unlock()
	if minute.IsZero() {
		select {
		case <-ctx.Done():
		case <-r.noted:
		}
		return
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = clock.WaitUntil(ctx, r.Wall, minute)
	}()
	select {
	case <-over: // or ctx is
	case <-r.noted:
	}
	cancel()
	<-over
}

// due takes what is to be put on record now: after a minute everything, and
// until then what came first.
func (r *Rejections) due() []depot.Rejections {
	r.mu.Lock()
	over := !r.minute.IsZero() && !r.Wall.Now().Before(r.minute)
	r.mu.Unlock()
	if over {
		return r.all()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []depot.Rejections
	for _, s := range r.sums {
		if s.now && s.Count > 0 {
			due = append(due, s.Rejections)
			s.Count, s.now = 0, false
		}
	}
	return due
}

// all takes everything, and begins anew. What was refused in the minute that
// ended is not first when it is refused in the next one.
func (r *Rejections) all() []depot.Rejections {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []depot.Rejections
	for key, s := range r.sums {
		if s.Count == 0 {
			delete(r.sums, key)
			continue
		}
		all = append(all, s.Rejections)
		s.Count, s.now = 0, false
	}
	r.left, r.minute = atOnce, time.Time{}
	if len(r.sums) > 0 {
		r.minute = r.Wall.Now().Add(together)
	}
	if r.dropped > 0 {
		r.Log.Warn("refused challenges not on record: there are too many configurations and reasons at once", "count", r.dropped)
		r.dropped = 0
	}
	return all
}

// record puts sums on record. What cannot be now is added to the sums again.
func (r *Rejections) record(ctx context.Context, sums []depot.Rejections) {
	for _, sum := range sums {
		err := r.depot.RecordRejections(ctx, sum)
		if err == nil {
			continue
		}
		r.Log.Error("refused challenges not on record", "configuration", sum.ConfigurationID, "reason", sum.Reason, "count", sum.Count, "error", err)
		if !errors.Is(err, depot.ErrInvalid) && !errors.Is(err, depot.ErrNotFound) {
			r.putBack(sum)
		}
	}
}

func (r *Rejections) putBack(sum depot.Rejections) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := sumKey{sum.ConfigurationID, sum.Reason}
	s := r.sums[key]
	if s == nil {
		s = &rejectionSum{Rejections: sum}
		s.Count = 0
		r.sums[key] = s
	}
	if s.Count == 0 {
		s.Rejections.At, s.Rejections.SourceAddress = sum.At, sum.SourceAddress
	}
	s.Count += sum.Count
	if r.minute.IsZero() {
		r.minute = r.Wall.Now().Add(together)
	}
}
