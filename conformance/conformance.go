// Package conformance puts any SCEP server to the test of a numbered list of
// cases: what RFC 8894 asks of a server, what clients in the field need beyond
// it, and what a server must survive.
//
// It sees a server as a client does, over HTTP, and finds out by itself what
// the server offers. What cannot be shown from outside takes the help of the
// server's operator, given as an [Operator]; without it such a case is not
// applicable, with the reason. The package must not know any server, ours
// included, and it sends nothing larger than what trips an ordinary limit.
package conformance

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"understudy.example/understudy/scep/client"
)

// Options say which server is put to the test, and how.
type Options struct {
	// URL is the SCEP URL, without a query.
	URL string
	// HTTPClient sends the requests; nil means http.DefaultClient.
	HTTPClient *http.Client
	// CAFingerprint, when not empty, is that of a certificate which the server
	// must have: see client.Client.
	CAFingerprint string
	UserAgent     string
	// Challenge is sent with honest requests. When it is empty and Operator
	// has NewChallenge, each request gets a new one.
	Challenge client.Password
	Operator  Operator
	// Only are the numbers of the cases to run; none means all.
	Only []int
	// Require are the numbers of cases that must apply: there "n/a" is a
	// failure.
	Require []int
	// Subject makes the name to ask for, in DER, from an id that is new for
	// each device. Nil means CN=id.
	Subject func(id string) ([]byte, error)
	// FreshKeys gives each request a key of its own, for servers that refuse
	// a key which they have seen. It takes longer.
	FreshKeys bool
	// Timeout bounds one HTTP request; zero means ten seconds.
	Timeout time.Duration
	// Flood is how many bad messages case 70 sends; zero means 100.
	Flood int
	// Restart is how long a server may take to come back when it went down
	// under a case; the cases after that do not apply when it does not.
	Restart time.Duration
	// Wait waits between two CertPolls and for a restart; nil means a timer.
	Wait func(context.Context, time.Duration) error
	// Each, when not nil, is told every result as it comes.
	Each func(Result)
}

// An Operator does what only the operator of a server can. Every function may
// be nil. An error is the failure of the case that asked.
type Operator struct {
	// NewChallenge returns a challenge that is good for one enrolment.
	NewChallenge func(context.Context) (client.Password, error)
	// ExpiredChallenge returns a challenge whose time ran out.
	ExpiredChallenge func(context.Context) (client.Password, error)
	// Approve and Deny decide about a request that waits.
	Approve func(context.Context, Waiting) error
	Deny    func(context.Context, Waiting) error
	Revoke  func(context.Context, *x509.Certificate) error
	// PrepareNextCA makes a CA for a rollover, CancelNextCA takes it back.
	PrepareNextCA func(context.Context) error
	CancelNextCA  func(context.Context) error
	// Issued counts the certificates of a transaction.
	Issued func(ctx context.Context, transactionID string) (int, error)
}

// Waiting is a request that was answered with PENDING.
type Waiting struct {
	TransactionID string
	Subject       string // as RFC 2253 writes names
}

const (
	defaultTimeout = 10 * time.Second
	defaultFlood   = 100
	caseLimit      = 2 * time.Minute
)

// Run runs the cases, those last that have brought servers down. The error says why there is
// no report: the server cannot be reached at all (*client.UnreachableError), it
// is not the one with the fingerprint, or the options are wrong. A case never
// ends the run; the end of the context does.
func Run(ctx context.Context, o Options) (*Report, error) {
	chosen, err := o.cases()
	if err != nil {
		return nil, err
	}
	s, err := newSession(ctx, o)
	if err != nil {
		return nil, err
	}
	report := &Report{URL: o.URL, StartedAt: time.Now().UTC().Truncate(time.Second), Server: s.describe(), Cases: []Result{}}
	begin := time.Now()
	for _, c := range chosen {
		result := s.try(ctx, c)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("conformance: stopped at case %d: %w", c.Number, err)
		}
		report.add(result)
		if o.Each != nil {
			o.Each(result)
		}
	}
	slices.SortFunc(report.Cases, func(a, b Result) int { return a.Number - b.Number })
	report.DurationMS = time.Since(begin).Milliseconds()
	return report, nil
}

// cases returns the cases to run.
func (o *Options) cases() ([]Case, error) {
	all := Cases()
	for _, n := range append(append([]int(nil), o.Only...), o.Require...) {
		if n < 1 || n > len(all) {
			return nil, fmt.Errorf("conformance: there is no case %d; they are 1 to %d", n, len(all))
		}
	}
	slices.SortStableFunc(all, func(a, b Case) int { return a.late - b.late })
	if len(o.Only) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(c Case) bool { return !contains(o.Only, c.Number) }), nil
}

// session is one run against one server: what was found out about it, and what
// the cases share.
type session struct {
	o      Options
	client *client.Client
	keys   keyring
	run    string // in every id, so that two runs do not meet
	count  int

	caps   answer // to GetCACaps
	words  client.Capabilities
	caCert answer                 // to GetCACert
	ca     *client.CACertificates // nil: see caErr
	caErr  error
	base   *answer // to an honest enrolment; nil: not tried yet

	lost, down atomic.Bool // the last request was; the server is
	downSince  int         // the case under which it went down
}

// newSession asks the server for its capabilities and certificates.
func newSession(ctx context.Context, o Options) (*session, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Flood == 0 {
		o.Flood = defaultFlood
	}
	c, err := client.New(o.URL)
	if err != nil {
		return nil, err
	}
	c.HTTPClient, c.CAFingerprint, c.UserAgent, c.Tolerant = o.HTTPClient, o.CAFingerprint, o.UserAgent, true
	id := make([]byte, 3)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	s := &session{o: o, client: c, run: strings.ToUpper(hex.EncodeToString(id))}
	s.caCert = s.exchange(ctx, request{query: "operation=GetCACert"})
	if s.caCert.err != nil {
		return nil, &client.UnreachableError{Operation: "GetCACert", URL: o.URL, Err: s.caCert.err}
	}
	s.caps = s.exchange(ctx, request{query: "operation=GetCACaps"})
	if s.caps.err == nil && s.caps.status == http.StatusOK {
		s.words = client.ParseCapabilities(s.caps.body)
	}
	bounded, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	s.ca, s.caErr = c.CACertificates(bounded)
	_, asked := errors.AsType[*client.Violation](s.caErr)
	_, refused := errors.AsType[*client.HTTPError](s.caErr)
	if s.caErr != nil && !asked && !refused && o.CAFingerprint != "" {
		return nil, s.caErr
	}
	return s, nil
}

// describe is what a report says about the server.
func (s *session) describe() Server {
	d := Server{Capabilities: s.words, Certificates: []Certificate{}}
	if d.Capabilities == nil {
		d.Capabilities = client.Capabilities{}
	}
	if s.ca != nil {
		for _, c := range s.ca.All {
			d.Certificates = append(d.Certificates, certificateOf(c))
		}
	}
	return d
}
