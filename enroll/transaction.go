package enroll

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// history is what happened before in a transaction.
type history struct {
	last  depot.Transaction // the last that led to a certificate; Sequence 0: none did
	asked depot.Request     // the last that an operator was asked about; no ID: none was
}

// history reads it. The request comes first, so that the certificate of an
// approved one is there when the transaction is read.
func (f *flow) history(ctx context.Context) (h history, err error) {
	id := f.request.Configuration.Record.ID
	h.asked, err = f.service.depot.RequestOfTransaction(ctx, id, f.message.TransactionID)
	if err != nil && !errors.Is(err, depot.ErrNotFound) {
		return history{}, fmt.Errorf("find request: %w", err)
	}
	h.last, err = f.service.depot.Transaction(ctx, id, f.message.TransactionID)
	if err != nil && !errors.Is(err, depot.ErrNotFound) {
		return history{}, fmt.Errorf("find transaction: %w", err)
	}
	return h, nil
}

// state returns the state of the request, if it is the last that happened;
// empty otherwise.
func (h history) state(now time.Time) depot.RequestState {
	state := h.asked.StateAt(now)
	switch {
	case h.asked.ID == "":
	case state == depot.RequestApproved && h.last.CertificateSerial == h.asked.Transaction.CertificateSerial:
		return state
	case state != depot.RequestApproved && h.last.Sequence < h.asked.Sequence:
		return state
	}
	return ""
}

// earlier answers a request that an earlier one of its transaction decides
// about. An empty outcome means that none does: it is a new enrolment.
func (f *flow) earlier(ctx context.Context, h history) (depot.Identity, Outcome, error) {
	switch h.state(f.now) {
	case depot.RequestPending:
		if h.asked.Transaction.CSRSHA256 != f.csrSHA256() {
			return depot.Identity{}, "", refusal.New(refusal.TransactionConflict,
				"request %s of this transaction waits for approval and has another CSR", h.asked.ID)
		}
		f.requestID = h.asked.ID
		return depot.Identity{}, Pending, f.wait()
	case depot.RequestApproved:
		identity, err := f.approved(ctx, h)
		if err != nil || identity != nil {
			return f.again(identity, err)
		}
	case depot.RequestDenied, depot.RequestExpired:
		if f.repeatsUndone(h.asked) {
			return depot.Identity{}, "", f.undone(h.asked)
		}
	}
	return f.known(ctx, h.last)
}

// again delivers an identity that was issued before.
func (f *flow) again(identity *depot.Identity, err error) (depot.Identity, Outcome, error) {
	if err != nil {
		return depot.Identity{}, "", err
	}
	return *identity, Repeated, f.deliver(*identity)
}

// known looks for the transaction that this request repeats.
//
// Clients derive the transactionID from their key and use it again for years,
// so the id alone says little: within the retry period the same request gets
// the same certificate, and another key under the same id is refused. After it
// the request is an ordinary new one, unless it is the very same message: that
// never makes a second certificate.
func (f *flow) known(ctx context.Context, last depot.Transaction) (depot.Identity, Outcome, error) {
	if last.Sequence == 0 || !f.within(last.At) {
		return depot.Identity{}, "", f.replayed(ctx, last)
	}
	if last.PublicKeySHA256 != f.publicKeySHA256() {
		return depot.Identity{}, "", refusal.New(refusal.TransactionConflict,
			"transaction was answered with certificate %s for another public key", last.CertificateSerial)
	}
	if !f.same(last) {
		return depot.Identity{}, "", f.replayed(ctx, last)
	}
	identity, err := f.service.depot.Identity(ctx, last.CertificateSerial)
	if err != nil {
		return depot.Identity{}, "", fmt.Errorf("find certificate of transaction: %w", err)
	}
	if identity, err = f.service.settled(ctx, identity); err != nil {
		return depot.Identity{}, "", err
	}
	if identity.Void || !identity.RevokedAt.IsZero() {
		return depot.Identity{}, "", f.replayed(ctx, last)
	}
	return f.again(&identity, nil)
}

// within says whether a transaction ended so recently that its client may
// still be asking for the same answer. A clock that was moved back does not
// make that longer than the retry period.
func (f *flow) within(end time.Time) bool {
	period := f.request.Configuration.RetryPeriod()
	age := f.now.Sub(end)
	return age > -period && age < period
}

// same says whether the request asks for exactly what the transaction gave.
func (f *flow) same(t depot.Transaction) bool {
	return t.MessageType == string(f.message.Type) &&
		t.CSRSHA256 == f.csrSHA256() &&
		t.SignerSHA256 == sha256.Sum256(f.message.Signer.Raw)
}

// replayed refuses a pkiMessage that has already made a certificate, in
// whatever configuration. When it did so since last was read, which is the last
// transaction that this flow knows of, this one is a retransmission that arrived
// at the same time: it is decided anew.
func (f *flow) replayed(ctx context.Context, last depot.Transaction) error {
	t, err := f.service.depot.TransactionOfMessage(ctx, f.message.SHA256)
	switch {
	case errors.Is(err, depot.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("find message: %w", err)
	case t.ConfigurationID == f.request.Configuration.Record.ID && t.Sequence > last.Sequence:
		return fmt.Errorf("message was answered meanwhile: %w", depot.ErrTransactionConflict)
	}
	return refusal.New(refusal.Replayed, "the identical message was answered at %s with certificate %s",
		t.At.Format(time.RFC3339), t.CertificateSerial)
}

// unlessOvertaken tells a challenge that was used before, which is refused, from
// one that another request of the transaction has used since its history was
// read: a retransmission is decided anew.
func (f *flow) unlessOvertaken(ctx context.Context, cause error, before history) error {
	if no, refused := refusal.Of(cause); !refused || no.Reason != refusal.ChallengeUsed {
		return cause
	}
	now, err := f.history(ctx)
	if err == nil && now.last.Sequence != before.last.Sequence {
		err = fmt.Errorf("challenge was used by another request of the transaction: %w", depot.ErrTransactionConflict)
	}
	return cmp.Or(err, cause)
}

func (f *flow) publicKeySHA256() [32]byte {
	return sha256.Sum256(f.enrolment.CSR.RawSubjectPublicKeyInfo)
}

func (f *flow) csrSHA256() [32]byte { return sha256.Sum256(f.enrolment.CSR.Raw) }

// transaction is the record of this request, which has no certificate yet.
func (f *flow) transaction() depot.Transaction {
	return depot.Transaction{
		ConfigurationID: f.request.Configuration.Record.ID,
		ID:              f.message.TransactionID,
		MessageType:     string(f.message.Type),
		MessageSHA256:   f.message.SHA256,
		CSRSHA256:       f.csrSHA256(),
		PublicKeySHA256: f.publicKeySHA256(),
		SignerSHA256:    sha256.Sum256(f.message.Signer.Raw),
		At:              f.now,
	}
}
