package main

import (
	"net/http"
	"time"

	"understudy.example/understudy/clock"
)

// labTimeHeader is how a server says that its clock is moved.
const labTimeHeader = "X-Lab-Time"

// labTime lets a simulated Mac stand in the lab whose server it asks: its clock
// is the machine's, until the server says that it is another time there. A real
// device whose clock is right would not believe certificates from the future.
type labTime struct {
	next  http.RoundTripper
	clock *clock.Lab
	said  func(now time.Time) // is told of the first move
}

// RoundTrip does what next does.
func (l *labTime) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	now, err := time.Parse(time.RFC3339, response.Header.Get(labTimeHeader))
	if err != nil {
		return response, nil // no lab, or its clock is not moved
	}
	first := !l.clock.Setting().Moved()
	if l.clock.Set(now) == nil && first { // a time out of range is no lab's
		l.said(now)
	}
	return response, nil
}
