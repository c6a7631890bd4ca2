// Package load puts a SCEP server under load and says how it bore it: real
// PKCSReq messages, built before the clock starts, sent at a concurrency or at
// a rate, every answer's pkiStatus read, and a sample of the replies verified
// completely after the clock stopped.
//
// It works against any SCEP server and must not know ours: no policy, no
// store. What it may reach is its own loopback, unless it is told otherwise.
package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"understudy.example/understudy/scep/client"
)

// Options say how a set of messages is sent. Requests, by [Build] or
// [ReadRequests], say what.
type Options struct {
	// Concurrency is how many requests are in flight at most, each on a
	// connection of its own; 0 means 1.
	Concurrency int
	// Rate, when not 0, is how many requests begin each second, whatever the
	// server does (open loop). A request that no connection is free for waits,
	// and its wait counts as latency. At 0 each connection sends its next
	// request when it has the answer to the last (closed loop).
	Rate float64
	// Method is client.POST unless it is client.GET.
	Method client.Method
	// WarmUp is how many messages of the set are sent before the clock starts.
	WarmUp int
	// Timeout bounds one request; 0 means 30 s.
	Timeout time.Duration
	// VerifyEvery has one reply in so many verified completely; 0 means 50.
	VerifyEvery int
	// PID, when not 0, is the server's process, whose CPU time and memory are
	// read. Linux only.
	PID int
	// Now judges certificates in replies; nil means time.Now.
	Now func() time.Time
}

func (o Options) complete() Options {
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
	if o.Method != client.GET {
		o.Method = client.POST
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.VerifyEvery == 0 {
		o.VerifyEvery = 50
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// The rates, a second, at which the moment of every message is a duration.
const minRate, maxRate = 0.001, 1e6

func (o Options) check(messages int) error {
	switch {
	case o.Concurrency < 1, o.WarmUp < 0, o.Timeout < 0, o.VerifyEvery < 1:
		return errors.New("load: concurrency, warm-up, timeout and verify-every cannot be negative")
	case o.Rate != 0 && !(o.Rate >= minRate && o.Rate <= maxRate): // this way round for NaN
		return fmt.Errorf("load: a rate of %g a second: choose %g to %g, or 0 for none", o.Rate, minRate, maxRate)
	case messages <= o.WarmUp:
		return fmt.Errorf("load: %d messages leave none after a warm-up of %d", messages, o.WarmUp)
	}
	return nil
}

// Run sends the messages to the target and reports. It returns an error when
// nothing could be measured; what the server did wrong stands in the report.
// When ctx ends, no further message is sent.
func Run(ctx context.Context, t *Target, requests *Requests, o Options) (*Report, error) {
	o = o.complete()
	if err := o.check(len(requests.items)); err != nil {
		return nil, err
	}
	s := newSender(t, requests, o)
	defer s.close()
	warm := s.run(ctx, 0, o.WarmUp, 0)
	meter, err := newMeter(o.PID)
	if err != nil {
		return nil, fmt.Errorf("load: measure the server: %w", err)
	}
	meter.start()
	begin := time.Now()
	results := s.run(ctx, o.WarmUp, len(requests.items), o.Rate)
	elapsed := time.Since(begin)
	usage, err := meter.stop()
	if err != nil {
		return nil, fmt.Errorf("load: measure the server: %w", err)
	}
	checked := verify(requests, slices.Concat(warm, results), o.Now())
	return newReport(t, requests, o, begin, elapsed, warm, results, usage, checked), nil
}

// A Target is the server under load.
type Target struct {
	url       *url.URL
	transport func() *http.Transport
	scep      *client.Client
}

// TargetOptions say who is trusted and what may be reached.
type TargetOptions struct {
	// CAFingerprint is that of client.Client.
	CAFingerprint string
	// Transport, when not nil, makes the HTTP transport of one connection:
	// for TLS roots. Its dialler and proxy are replaced.
	Transport func() *http.Transport
	// AllowRemote lets load leave this machine.
	AllowRemote bool
	UserAgent   string
}

// NewTarget returns the server at a SCEP URL. Without AllowRemote it refuses
// with [ErrRemote], here or when a connection is made, whatever is not a
// loopback address.
func NewTarget(rawURL string, o TargetOptions) (*Target, error) {
	scep, err := client.New(rawURL)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("read SCEP URL: %w", err)
	}
	if !o.AllowRemote {
		if err := checkHost(u.Hostname()); err != nil {
			return nil, err
		}
	}
	t := &Target{url: u, scep: scep, transport: transports(o)}
	scep.CAFingerprint, scep.UserAgent, scep.Tolerant = o.CAFingerprint, o.UserAgent, true
	scep.HTTPClient = &http.Client{
		Transport:     t.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t, nil
}

// CACertificates asks the server for its certificates.
func (t *Target) CACertificates(ctx context.Context) (*client.CACertificates, error) {
	defer t.scep.HTTPClient.CloseIdleConnections()
	return t.scep.CACertificates(ctx)
}
