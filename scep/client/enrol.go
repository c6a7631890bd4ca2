package client

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"
)

// Poll says what a client does while its request waits for an approval.
type Poll struct {
	// Interval between two CertPolls. Zero means that PENDING is the result.
	Interval time.Duration
	// MaxTime bounds the sum of the intervals; then PENDING is the result.
	MaxTime time.Duration
	// Wait waits for a duration or the end of the context. Nil means a timer
	// on the monotonic clock.
	Wait func(context.Context, time.Duration) error
}

// A Result is how an enrolment ended. Failure and Pending are results too,
// not errors.
type Result struct {
	Reply
	TransactionID string
	CA            *CACertificates
	// Warnings are the deviations that a Tolerant client let pass.
	Warnings []string
}

// Enrol runs the whole of an enrolment as Apple's client does: GetCACert,
// GetCACaps, the request, and CertPolls while the answer is PENDING. The error
// is an *UnreachableError, an *HTTPError, a *Violation in its chain, or one
// about e itself.
func (c *Client) Enrol(ctx context.Context, e Enrolment) (*Result, error) {
	method, err := c.discover(ctx, &e)
	if err != nil {
		return nil, err
	}
	request, err := BuildRequest(c.random(), e, e.CA, c.now())
	if err != nil {
		return nil, err
	}
	result := &Result{TransactionID: request.TransactionID, CA: e.CA}
	err = c.exchange(ctx, request, method, result)
	for waited := e.Poll.Interval; err == nil && result.Status == Pending; waited += e.Poll.Interval {
		if e.Poll.Interval <= 0 || waited > e.Poll.MaxTime {
			break
		}
		if err := e.Poll.wait(ctx); err != nil {
			return nil, fmt.Errorf("wait for approval of transaction %s: %w", request.TransactionID, err)
		}
		if request, err = request.Poll(c.random()); err != nil {
			return nil, err
		}
		err = c.exchange(ctx, request, method, result)
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// discover asks the server for what e does not already have and settles the
// algorithms and the transport.
func (c *Client) discover(ctx context.Context, e *Enrolment) (method Method, err error) {
	if e.CA == nil {
		if e.CA, err = c.CACertificates(ctx); err != nil {
			return 0, err
		}
	}
	if e.Capabilities == nil && (c.Method == Auto || e.Cipher == "" || e.Digest == 0) {
		if e.Capabilities, err = c.Capabilities(ctx); err != nil {
			return 0, err
		}
	}
	if e.Cipher == "" {
		e.Cipher = e.Capabilities.Cipher()
	}
	if e.Digest == crypto.Hash(0) {
		if e.Digest, err = e.Capabilities.Digest(); err != nil {
			return 0, fmt.Errorf("choose a digest for %s: %w", c.URL, err)
		}
	}
	switch {
	case c.Method != Auto:
		return c.Method, nil
	case e.Capabilities.POST():
		return POST, nil
	}
	return GET, nil
}

// exchange sends a request and takes the reply into the result.
func (c *Client) exchange(ctx context.Context, r *Request, m Method, result *Result) error {
	raw, err := c.Send(ctx, r.Raw, m)
	if err != nil {
		return err
	}
	reply, err := r.ReadReply(raw, c.now())
	if err != nil {
		return fmt.Errorf("PKIOperation at %s: %w", c.URL, err)
	}
	if !c.Tolerant && len(reply.Deviations) > 0 {
		return fmt.Errorf("PKIOperation at %s: the reply breaks a rule: %w", c.URL, errors.Join(reply.Deviations...))
	}
	for _, d := range reply.Deviations {
		result.Warnings = append(result.Warnings, d.Error())
	}
	result.Reply = *reply
	return nil
}

func (p *Poll) wait(ctx context.Context) error {
	if p.Wait != nil {
		return p.Wait(ctx, p.Interval)
	}
	timer := time.NewTimer(p.Interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
