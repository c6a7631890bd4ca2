package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"understudy.example/understudy/clock"
)

const (
	// maxPolls is how many requests may wait for something to happen at once.
	// It is well below the admin listener's connections, so that there is
	// always room for those that do not wait.
	maxPolls = 64
	// maxPoll is how long one may.
	maxPoll = 10 * time.Minute
)

// A look says whether what a request waits for has happened, or when it will
// by the server's clock at the latest (zero: time alone does not do it). last
// is the newest event that there was before it looked.
type look func(ctx context.Context, last uint64) (done bool, at time.Time, err error)

// poll looks until it is done or wait is over, which is no error: the caller
// answers with what the last look saw. It looks again when an event was
// stored, when the clock was moved, and when time alone may have done it. It
// holds nothing that an enrolment needs.
//
// A token that is removed or expires while its request waits is good for
// nothing any more.
func (s *Server) poll(w http.ResponseWriter, r *http.Request, wait time.Duration, see look) error {
	if wait > 0 {
		select {
		case s.polls <- struct{}{}:
			defer func() { <-s.polls }()
		default:
			w.Header().Set("Retry-After", retrySeconds(retryLater))
			return newProblem(http.StatusServiceUnavailable, "busy", "too many requests wait already; ask without waiting, or later")
		}
	}
	extend(w, wait+writeTimeout)
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for {
		moved, removed := s.clock.Moved(), s.tokens.removed()
		last, err := s.depot.LastEvent(r.Context())
		if err != nil {
			return err
		}
		done, at, err := see(r.Context(), last)
		if err != nil || done || wait == 0 {
			return err
		}
		over, err := s.sleep(r, last, at, deadline.C, moved, removed)
		if err != nil {
			return err
		}
		if err := s.stillGood(w, r); err != nil {
			return err
		}
		if over {
			_, _, err := see(r.Context(), last)
			return err
		}
	}
}

// sleep returns when there is a reason to look again, or says that it is over:
// the deadline passed, or the server stops.
func (s *Server) sleep(r *http.Request, last uint64, at time.Time, deadline <-chan time.Time, moved, removed <-chan struct{}) (over bool, err error) {
	ctx, wake := context.WithCancel(r.Context())
	defer wake()
	ended := make(chan bool, 1) // whether it is over
	go func() {
		defer wake()
		select {
		case <-ctx.Done():
			ended <- false
		case <-moved:
			ended <- false
		case <-removed:
			ended <- false
		case <-deadline:
			ended <- true
		case <-s.ending:
			ended <- true
		}
	}()
	if !at.IsZero() {
		go func() {
			_ = clock.WaitUntil(ctx, s.clock, at)
			wake()
		}()
	}
	err = s.depot.Await(ctx, last)
	wake()
	over = <-ended
	if gone := r.Context().Err(); gone != nil {
		return over, gone
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return over, err
}

// extend gives an answer so much time to come to its end. The listener's own
// limit is for what is answered at once.
func extend(w http.ResponseWriter, by time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(by)) // a recorder in a test has none
}
