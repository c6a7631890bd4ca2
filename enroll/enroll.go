// Package enroll is the flow of one SCEP message, from the bytes of a
// pkiMessage to the bytes of the reply. For an enrolment: message → CSR →
// signer → transaction → permit → list of devices → grant → operator →
// certificate → commit → CertRep.
//
// It is the only place that knows the order. It must not know HTTP, and it
// must not know how any of the steps is done.
package enroll

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"sync"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/devicelist"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// Service answers pkiMessages, and decides about requests that wait for it. It
// is safe for concurrent use.
type Service struct {
	depot          depot.Depot
	authority      *ca.Authority
	clock          clock.Clock
	auditor        *KeyAuditor
	devices        *devicelist.Book
	configurations func(id string) (*configuration.Live, bool)
	crls           CRLSource
	random         io.Reader

	deciding sync.Mutex // held while a request is approved or denied
	backlog  backlog

	turns      turns
	deliveries deliveries
	revoked    func(issuer [32]byte) // told of certificates that became void
}

// A CRLSource returns the current CRL of an issuer of ours, in DER.
type CRLSource func(ctx context.Context, issuer *x509.Certificate) ([]byte, error)

// Option is what New can do without.
type Option func(*Service)

// WithCRLs answers GetCRL, where a configuration allows it. Without it GetCRL
// is refused.
func WithCRLs(source CRLSource) Option { return func(s *Service) { s.crls = source } }

// WithConfigurations says where Approve finds the configuration of a request,
// which is configuration.Set.ByID. Without it nothing can be approved.
func WithConfigurations(byID func(id string) (*configuration.Live, bool)) Option {
	return func(s *Service) { s.configurations = byID }
}

// WithDevices judges by a book of lists that others write to as well. Without
// it the service has a book of its own, which is Devices.
func WithDevices(b *devicelist.Book) Option { return func(s *Service) { s.devices = b } }

// WithRevoked tells of every certificate that becomes void, by the SHA-256 of
// its issuer's certificate: it is on the CRL from then on.
func WithRevoked(told func(issuer [32]byte)) Option { return func(s *Service) { s.revoked = told } }

// WithRandom makes replies and the ids of requests from another source than
// crypto/rand.
func WithRandom(random io.Reader) Option { return func(s *Service) { s.random = random } }

// New returns a service that issues from authority and keeps in d. The auditor
// gets the key of every new certificate.
func New(d depot.Depot, authority *ca.Authority, c clock.Clock, auditor *KeyAuditor, options ...Option) *Service {
	s := &Service{
		depot: d, authority: authority, clock: c, auditor: auditor, devices: devicelist.NewBook(d), random: rand.Reader,
		configurations: func(string) (*configuration.Live, bool) { return nil, false },
		revoked:        func([32]byte) {},
	}
	for _, o := range options {
		o(s)
	}
	return s
}

// Devices returns the lists of devices that enrolments are judged by. Lists
// must be changed through it, not in the depot behind it.
func (s *Service) Devices() *devicelist.Book { return s.devices }

// Request is one pkiMessage as it arrived.
type Request struct {
	// Configuration is the one that the URL names. The request keeps it to
	// the end, even when it is changed meanwhile.
	Configuration *configuration.Live
	Message       []byte
	Source        Source
}

// Source says where a request came from. Everything in it is untrusted text.
type Source struct {
	Address   string // of the client; from X-Forwarded-For when the peer is a trusted proxy
	Peer      string // of the TCP connection
	UserAgent string
	TLS       bool
}

// Outcome is how a request ended: the log's outcome and the metric's label.
type Outcome string

// The closed set of outcomes.
const (
	Issued   Outcome = "issued"   // a new certificate
	Repeated Outcome = "repeated" // the certificate that this transaction already has
	Pending  Outcome = "pending"  // an operator must decide
	Answered Outcome = "answered" // a GetCert or GetCRL got what it asked for
	Refused  Outcome = "refused"  // see Reason
	Failed   Outcome = "failed"   // an internal error; see Internal
)

// Outcomes returns the whole set, for metrics and documentation.
func Outcomes() []Outcome { return []Outcome{Issued, Repeated, Pending, Answered, Refused, Failed} }

// Answer is the reply to a request and everything that the operator's log line
// says about it.
type Answer struct {
	// Reply is a CertRep. It is nil when none can be made: the message was not
	// understood well enough to address one (Outcome Refused), or something
	// went wrong here (Outcome Failed).
	Reply    []byte
	Outcome  Outcome
	Reason   refusal.Reason // when refused
	Detail   string         // the exact cause, for the operator
	Internal error          // when failed

	MessageType       string // an allowed value, or empty
	TransactionID     string // printable, as checked by package scep
	DeviceKey         string
	CertificateSerial string
	RequestID         string // of the request that waits, or that was approved
	Warnings          []string
}

// Answer runs the flow. It returns only when everything that the reply
// acknowledges is durable.
func (s *Service) Answer(ctx context.Context, r Request) Answer {
	s.auditor.begin()
	defer s.auditor.end()
	at := clock.Read(s.clock)
	message, err := scep.Decode(r.Message, r.Configuration.SCEPOptions(at.Time))
	if message == nil {
		return withoutReply(err)
	}
	f := &flow{service: s, request: r, message: message, now: at.Time, offset: at.Offset}
	identity, outcome, err := f.run(ctx, err)
	return f.answer(identity, outcome, err)
}

// withoutReply is the answer to what is no pkiMessage.
func withoutReply(err error) Answer {
	no, ok := refusal.Of(err)
	if !ok {
		return Answer{Outcome: Failed, Internal: err}
	}
	return Answer{Outcome: Refused, Reason: no.Reason, Detail: no.Detail}
}

// answer turns what the flow came to into a reply and a log line.
func (f *flow) answer(identity depot.Identity, outcome Outcome, cause error) Answer {
	a := Answer{
		Outcome:           outcome,
		MessageType:       string(f.message.Type),
		TransactionID:     f.message.TransactionID,
		DeviceKey:         f.device.Key,
		CertificateSerial: identity.CertificateSerial,
		RequestID:         f.requestID,
		Warnings:          f.warnings(),
	}
	if cause == nil {
		a.Reply = f.reply
		return a
	}
	no, ok := refusal.Of(cause)
	if !ok {
		a.Outcome, a.Internal = Failed, cause
		return a
	}
	a.Outcome, a.Reason, a.Detail = Refused, no.Reason, no.Detail
	reply, err := f.recipient().Failure(f.message, f.now, cause)
	if err != nil {
		a.Outcome, a.Internal = Failed, errors.Join(cause, err)
		return a
	}
	a.Reply = reply
	return a
}

// Unavailable says whether an internal error means that trying again later may
// help: the store cannot be written now.
func Unavailable(err error) bool { return errors.Is(err, depot.ErrUnavailable) }
