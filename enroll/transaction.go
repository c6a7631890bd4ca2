package enroll

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// known looks for the transaction that this request repeats. It returns the
// identity to hand out again, or, when this is a new enrolment, the sequence
// number of the transaction that it follows (0 if there is none).
//
// Clients derive the transactionID from their key and use it again for years,
// so the id alone says little: within the retry period the same request gets
// the same certificate, and another key under the same id is refused. After it
// the request is an ordinary new one, unless it is the very same message: that
// never makes a second certificate.
func (f *flow) known(ctx context.Context) (*depot.Identity, uint64, error) {
	id := f.request.Configuration.Record.ID
	last, err := f.service.depot.Transaction(ctx, id, f.message.TransactionID)
	switch {
	case errors.Is(err, depot.ErrNotFound):
		return nil, 0, f.replayed(ctx)
	case err != nil:
		return nil, 0, fmt.Errorf("find transaction: %w", err)
	}
	if !f.retrying(last) {
		return nil, last.Sequence, f.replayed(ctx)
	}
	if last.PublicKeySHA256 != f.publicKeySHA256() {
		return nil, 0, refusal.New(refusal.TransactionConflict,
			"transaction was answered with certificate %s for another public key", last.CertificateSerial)
	}
	if !f.same(last) {
		return nil, last.Sequence, f.replayed(ctx)
	}
	identity, err := f.service.depot.Identity(ctx, last.CertificateSerial)
	if err != nil {
		return nil, 0, fmt.Errorf("find certificate of transaction: %w", err)
	}
	if identity.Void || !identity.RevokedAt.IsZero() {
		return nil, last.Sequence, f.replayed(ctx)
	}
	return &identity, last.Sequence, nil
}

// retrying says whether the transaction ended so recently that its client may
// still be asking for the same answer. A clock that was moved back does not
// make that longer than the retry period.
func (f *flow) retrying(t depot.Transaction) bool {
	period := f.request.Configuration.RetryPeriod()
	age := f.now.Sub(t.At)
	return age > -period && age < period
}

// same says whether the request asks for exactly what the transaction gave.
func (f *flow) same(t depot.Transaction) bool {
	return t.MessageType == string(f.message.Type) &&
		t.CSRSHA256 == sha256.Sum256(f.enrolment.CSR.Raw) &&
		t.SignerSHA256 == sha256.Sum256(f.message.Signer.Raw)
}

// replayed refuses a pkiMessage that has already made a certificate, in
// whatever configuration.
func (f *flow) replayed(ctx context.Context) error {
	t, err := f.service.depot.TransactionOfMessage(ctx, f.message.SHA256)
	switch {
	case errors.Is(err, depot.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("find message: %w", err)
	}
	return refusal.New(refusal.Replayed, "the identical message was answered at %s with certificate %s",
		t.At.Format(time.RFC3339), t.CertificateSerial)
}

func (f *flow) publicKeySHA256() [32]byte {
	return sha256.Sum256(f.enrolment.CSR.RawSubjectPublicKeyInfo)
}

// transaction is the record that ties this request to its certificate.
func (f *flow) transaction(certificate *x509.Certificate) depot.Transaction {
	return depot.Transaction{
		ConfigurationID:   f.request.Configuration.Record.ID,
		ID:                f.message.TransactionID,
		MessageType:       string(f.message.Type),
		MessageSHA256:     f.message.SHA256,
		CSRSHA256:         sha256.Sum256(f.enrolment.CSR.Raw),
		PublicKeySHA256:   f.publicKeySHA256(),
		SignerSHA256:      sha256.Sum256(f.message.Signer.Raw),
		CertificateSerial: serialOf(certificate),
		At:                f.now,
	}
}
