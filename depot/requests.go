package depot

import (
	"context"
	"errors"
	"time"
)

// ErrDecided: the request is not pending any more: it was approved or denied,
// or its time ran out. Nothing was changed.
var ErrDecided = errors.New("request is decided")

// RequestState says what became of a request.
type RequestState string

// The states of a request.
const (
	RequestPending  RequestState = "pending"
	RequestApproved RequestState = "approved" // a certificate was stored in the same step
	RequestDenied   RequestState = "denied"
	// RequestExpired is a pending one after its ExpiresAt. It is never stored:
	// time alone makes it so (Request.StateAt).
	RequestExpired RequestState = "expired"
)

// Request is an enrolment that an operator has to decide about, or has. It is
// stored before the client is told PENDING (RFC 8894 §3.3.2.3).
type Request struct {
	ID       string // rq_ + 17 [a-z0-9]
	Sequence uint64 // of the step that stored it; given by the depot
	State    RequestState
	// Transaction is the message that asked. CertificateSerial is empty until
	// the request is approved.
	Transaction Transaction
	// Draft is the identity as far as it can be known before there is a
	// certificate: who asks, from where, by which challenge. What concerns the
	// certificate itself (serial, hashes, DER, validity) is zero.
	Draft Identity
	// CSR is the PKCS#10 request in DER without its challengePassword, which
	// nobody may read again; so its signature does not hold any more. That it
	// held was checked when it came.
	CSR []byte
	// Challenge is what approval spends; zero: nothing.
	Challenge ChallengeRef
	// Supersedes is the certificate serial that a renewal takes the place of.
	Supersedes string
	ExpiresAt  time.Time
	DecidedAt  time.Time
	DecidedBy  string // who decided: the name of an admin token
	Note       string // what they said about it
}

// StateAt returns the state at a time: a pending request whose time ran out is
// expired.
func (r Request) StateAt(now time.Time) RequestState {
	if r.State == RequestPending && !now.Before(r.ExpiresAt) {
		return RequestExpired
	}
	return r.State
}

// RequestQuery selects requests, the latest first. Zero fields do not select.
type RequestQuery struct {
	ConfigurationID string
	State           RequestState // as it is at Now
	Now             time.Time    // needed with State
	Limit           int          // see PageLimit
	Cursor          string
}

// Decision ends a pending request.
type Decision struct {
	RequestID string
	State     RequestState // RequestApproved or RequestDenied
	At        time.Time
	By        string
	Note      string
	// Issuance is stored in the same step when, and only when, the request is
	// approved. Its Transaction is the request's, with the certificate serial.
	Issuance *Issuance
}

// Decide returns the request as the decision leaves it, and what to store with
// it: a copy of the issuance that names the request and who approved it, nil
// for a denial. It is for depots, which have looked at Decision.Validate, and
// does not compare with what else is stored. ErrDecided; ErrInvalid when the
// issuance is not what was asked for.
func (r Request) Decide(d Decision) (Request, *Issuance, error) {
	if r.StateAt(d.At) != RequestPending {
		return r, nil, ErrDecided
	}
	r.State, r.DecidedAt, r.DecidedBy, r.Note = d.State, d.At, d.By, d.Note
	if d.Issuance == nil {
		return r, nil, nil
	}
	i := *d.Issuance
	if !r.Transaction.sameMessage(i.Transaction) || i.Challenge != r.Challenge || i.Supersedes != r.Supersedes {
		return r, nil, invalid("issuance is not what request %s asks for", r.ID)
	}
	i.Identity = i.Identity.AtIssue()
	i.Identity.RequestID, i.Identity.ApprovedBy, i.Identity.HeldBack = r.ID, d.By, i.HoldBack
	r.Transaction.CertificateSerial = i.Transaction.CertificateSerial
	return r, &i, nil
}

// sameMessage compares what the client sent.
func (t Transaction) sameMessage(o Transaction) bool {
	t.Sequence, t.CertificateSerial, t.At = o.Sequence, o.CertificateSerial, o.At
	return t == o
}

// Event returns the event that becoming what it is, is for the request. Its
// sequence is the depot's to give.
func (r Request) Event() Event {
	e := Event{
		Type: EventRequestPending, At: r.Transaction.At,
		ConfigurationID: r.Transaction.ConfigurationID, ConfigurationName: r.Draft.ConfigurationName,
		CertificateSerial: r.Transaction.CertificateSerial, DeviceKey: r.Draft.Device.Key,
		TransactionID: r.Transaction.ID, RequestID: r.ID,
	}
	switch r.State {
	case RequestApproved:
		e.Type, e.At = EventRequestApproved, r.DecidedAt
	case RequestDenied:
		e.Type, e.At = EventRequestDenied, r.DecidedAt
	}
	return e
}

// Requests is the part of a Depot that keeps requests that wait for a
// decision. They survive a restart and are in the ledger.
type Requests interface {
	// AddRequest stores a pending request. after is the Sequence of the last
	// transaction with the same configuration and transactionID that the
	// caller saw (0: none), afterRequest the id of the last such request
	// (empty: none): when either moved on, or the same pkiMessage was answered
	// or made a request before, whatever became of that one, the answer is
	// ErrTransactionConflict. Looked at in this order: ErrInvalid,
	// ErrTransactionConflict, ErrExists (the id is taken).
	AddRequest(ctx context.Context, r Request, after uint64, afterRequest string) error
	// Request finds by id. ErrNotFound.
	Request(ctx context.Context, id string) (Request, error)
	// RequestOfTransaction returns the last request with that transactionID
	// within the configuration, in whatever state. ErrNotFound.
	RequestOfTransaction(ctx context.Context, configurationID, transactionID string) (Request, error)
	// Requests lists a page, the latest first, looking at no more than
	// MaxLook. ErrInvalid, ErrCursor.
	Requests(ctx context.Context, q RequestQuery) (Page[Request], error)
	// Decide ends a pending request and, when it is approved, stores the
	// issuance, in one step: both are there or neither. In this order:
	// ErrInvalid, ErrNotFound, ErrDecided (also at or after ExpiresAt),
	// ErrInvalid (the issuance is not what the request asks for: message,
	// challenge, superseded certificate), then what Commit can answer.
	//
	// A transaction that led to a certificate after the request was stored,
	// because the configuration was switched to automatic approval meanwhile,
	// is ErrTransactionConflict whatever Issuance.After says: one request of a
	// client is one certificate. Such a request can be denied, and expires.
	//
	// The identity's RequestID and ApprovedBy are the depot's to give. It
	// returns the request as stored; two events tell of an approval,
	// certificate.issued and then request.approved.
	Decide(ctx context.Context, d Decision) (Request, error)
}
