package fake

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Fault makes a service misbehave. Its zero values change nothing.
type Fault struct {
	Service Service `json:"service"`
	// Times is how many calls it spoils; 0: all, until it is taken away.
	Times int `json:"times,omitempty"`
	// Skip is how many calls go by before the first that it spoils.
	Skip int `json:"skip,omitempty"`

	DelaySeconds float64 `json:"delay_seconds,omitempty"` // before the answer
	// Late: the call is done and recorded as it should be, and only then the
	// delay begins.
	Late bool `json:"late,omitempty"`

	Cut               bool    `json:"cut,omitempty"`          // the connection ends without an answer
	Status            int     `json:"status,omitempty"`       // HTTP status
	Body              *string `json:"body,omitempty"`         // instead of the answer
	ContentType       string  `json:"content_type,omitempty"` // of Body; empty: guessed
	Code              string  `json:"code,omitempty"`         // Intune's code, or Entra's "error"
	Description       string  `json:"description,omitempty"`  // goes with Code
	RetryAfterSeconds int     `json:"retry_after_seconds,omitempty"`
	Location          string  `json:"location,omitempty"` // of a redirect, with Status 3xx
	AADSTS            int     `json:"aadsts,omitempty"`   // number of an error of Entra
}

// Fail arms a fault. Faults of one service wait in line: the first one in
// force spoils a call, the others do not see it.
func (c *Cloud) Fail(f Fault) error {
	switch {
	case !slices.Contains(services, f.Service):
		return fmt.Errorf("no service %q to fail: there are %v", f.Service, services)
	case f.Times < 0 || f.Skip < 0 || f.DelaySeconds < 0 || f.RetryAfterSeconds < 0:
		return fmt.Errorf("fault of %s: numbers must not be negative", f.Service)
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("fault of %s: status %d is not of 200 to 599", f.Service, f.Status)
	case f.Late && (f.Cut || f.Status != 0 || f.Body != nil || f.Code != "" || f.DelaySeconds == 0):
		return fmt.Errorf("fault of %s: an answer that is late is the right one, and delay_seconds says how late", f.Service)
	case f.Cut && (f.Status != 0 || f.Body != nil || f.Code != ""):
		return fmt.Errorf("fault of %s: a connection that is cut has no answer", f.Service)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, &f)
	return nil
}

// Heal takes every fault away.
func (c *Cloud) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// Faults returns those in force, with the calls that they have left.
func (c *Cloud) Faults() []Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Fault, 0, len(c.faults))
	for _, f := range c.faults {
		all = append(all, *f)
	}
	return all
}

// nextFault returns the fault that spoils this call, or nil, and counts it.
func (c *Cloud) nextFault(s Service) *Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range c.faults {
		if f.Service != s {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			return nil
		}
		spoils := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				c.faults = slices.Delete(c.faults, i, i+1)
			}
		}
		return &spoils
	}
	return nil
}

// wait lets the delay go by. It says false when nobody waits for the answer any
// more.
func (f *Fault) wait(r *http.Request) bool {
	if f.DelaySeconds <= 0 {
		return true
	}
	over := time.NewTimer(time.Duration(f.DelaySeconds * float64(time.Second)))
	defer over.Stop()
	select {
	case <-over.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// answer writes the spoiled answer. It says false when the handler is to
// answer after all, later than it would have.
func (f *Fault) answer(w *recorder, r *http.Request) bool {
	if !f.Late && !f.wait(r) {
		return true // nobody is there; the status stays 0
	}
	if f.RetryAfterSeconds > 0 {
		w.header.Set("Retry-After", strconv.Itoa(f.RetryAfterSeconds))
	}
	if f.Location != "" {
		w.header.Set("Location", f.Location)
	}
	switch {
	case f.Cut:
		return true
	case f.Body != nil:
		w.header.Set("Content-Type", f.contentType())
		w.WriteHeader(orOK(f.Status))
		w.body.WriteString(*f.Body)
		return true
	case f.Code != "" && f.Service == ServiceToken, f.AADSTS != 0:
		writeJSON(w, orStatus(f.Status, http.StatusBadRequest), entraError(f.Code, f.AADSTS, f.Description))
		return true
	case f.Code != "":
		writeJSON(w, orOK(f.Status), verdict{f.Code, f.Description})
		return true
	case f.Status != 0:
		writeJSON(w, f.Status, graphError(http.StatusText(f.Status), "the fake cloud was told to fail"))
		return true
	}
	return false
}

func (f *Fault) contentType() string {
	switch {
	case f.ContentType != "":
		return f.ContentType
	case strings.HasPrefix(strings.TrimSpace(*f.Body), "<"):
		return "text/html; charset=utf-8"
	}
	return "application/json; charset=utf-8"
}

func orOK(status int) int { return orStatus(status, http.StatusOK) }

func orStatus(status, otherwise int) int {
	if status == 0 {
		return otherwise
	}
	return status
}
