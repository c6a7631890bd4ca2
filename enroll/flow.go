package enroll

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// maxRounds bounds how often a flow begins anew because another request moved
// the same transaction, or because a certificate serial was taken.
const maxRounds = 3

// renewalText is what a client reads when it asks to renew, in the words that
// tell its administrator what to do instead (Okta: "Okta as a CA doesn't
// support renewal requests. Instead, redistribute the profile").
const renewalText = "renewal is not supported: redistribute the profile"

// flow is one request on its way.
type flow struct {
	service *Service
	request Request
	message *scep.Message
	now     time.Time

	enrolment *scep.Enrolment // from open on
	device    device.Names    // from open on
	reply     []byte          // at the end
}

// run goes through the steps of one enrolment in their order. decoded is what
// decoding had to object to, if anything.
func (f *flow) run(ctx context.Context, decoded error) (depot.Identity, Outcome, error) {
	if decoded != nil {
		return depot.Identity{}, "", decoded
	}
	if err := f.allowed(); err != nil {
		return depot.Identity{}, "", err
	}
	if err := f.open(ctx); err != nil {
		return depot.Identity{}, "", err
	}
	for range maxRounds {
		known, last, err := f.known(ctx)
		if err != nil {
			return depot.Identity{}, "", err
		}
		if known != nil {
			return *known, Repeated, f.repeat(*known)
		}
		identity, err := f.enrol(ctx, last)
		if !errors.Is(err, depot.ErrTransactionConflict) && !errors.Is(err, depot.ErrExists) {
			return identity, Issued, err
		}
	}
	return depot.Identity{}, "", fmt.Errorf("enrol: transaction %q kept changing", f.message.TransactionID)
}

// allowed checks what needs no key: is this message type served here, and
// could an issued certificate be delivered at all?
func (f *flow) allowed() error {
	switch f.message.Type {
	case scep.PKCSReq:
		return scep.CanReplyTo(f.message)
	case scep.RenewalReq:
		return refusal.WithText(refusal.RenewalNotOffered, renewalText, "RenewalReq to a configuration that does not offer renewal")
	default:
		return refusal.New(refusal.UnsupportedOperation, "message type %s is not served here", f.message.Type)
	}
}

// open decrypts the request and binds it to whoever signed it.
func (f *flow) open(ctx context.Context) error {
	enrolment, err := f.message.Open(f.recipients(), f.request.Configuration.SCEPOptions(f.now))
	if err != nil {
		return err
	}
	names, err := device.FromSubject(enrolment.CSR.RawSubject)
	if err != nil {
		return refusal.New(refusal.SubjectRejected, "subject of the CSR: %v", err)
	}
	f.enrolment, f.device = enrolment, names
	return f.bind(ctx)
}

// bind makes sure that whoever signed the message may speak for the CSR's key:
// the same key did, or a live certificate that this authority issued to the
// same device (macOS signs with the old identity when it enrols again). Names
// prove nothing, so the certificate is compared whole.
func (f *flow) bind(ctx context.Context) error {
	if f.enrolment.SignerKeyIsCSRKey {
		return nil
	}
	signer := f.message.Signer
	identity, err := f.service.depot.IdentityBySHA256(ctx, sha256.Sum256(signer.Raw))
	if errors.Is(err, depot.ErrNotFound) {
		return refusal.New(refusal.SignerNotTrusted, "signer key is not the CSR's, and the signer certificate is not one of ours")
	}
	if err != nil {
		return fmt.Errorf("find signer certificate: %w", err)
	}
	switch {
	case !bytes.Equal(identity.DER, signer.Raw):
		return refusal.New(refusal.SignerNotTrusted, "signer certificate differs from certificate %s of ours", identity.CertificateSerial)
	case identity.ConfigurationID != f.request.Configuration.Record.ID || identity.Device.Key != f.device.Key:
		return refusal.New(refusal.SignerNotTrusted, "signer certificate %s belongs to another device", identity.CertificateSerial)
	case identity.Void || !identity.RevokedAt.IsZero():
		return refusal.New(refusal.SignerNotTrusted, "signer certificate %s is revoked", identity.CertificateSerial)
	case f.now.Before(identity.NotBefore) || !f.now.Before(identity.NotAfter):
		return refusal.New(refusal.SignerNotTrusted, "signer certificate %s is not valid now", identity.CertificateSerial)
	}
	return nil
}

// enrol decides about a request that no earlier transaction answers, issues,
// and returns when the certificate is durable and the reply is made. After the
// challenge was found good only signing and storing can fail.
func (f *flow) enrol(ctx context.Context, last uint64) (depot.Identity, error) {
	live := f.request.Configuration
	permit, err := live.Policy.Check(f.enrolment.CSR, f.now)
	if err != nil {
		return depot.Identity{}, err
	}
	grant, err := live.Validator.Validate(ctx, challenge.Attempt{
		ConfigurationID: live.Record.ID,
		TransactionID:   f.message.TransactionID,
		CSR:             f.enrolment.CSR,
		Challenge:       challenge.NewSecret(f.enrolment.ChallengePassword.Reveal()),
		Now:             f.now,
	})
	if err != nil {
		return depot.Identity{}, err
	}
	certificate, err := f.service.authority.Issue(permit)
	if err != nil {
		err = fmt.Errorf("issue certificate: %w", err)
		return depot.Identity{}, errors.Join(err, grant.Failed(ctx, err))
	}
	identity, err := f.keep(ctx, permit, grant, certificate, last)
	if err != nil {
		return depot.Identity{}, errors.Join(err, grant.Failed(ctx, err))
	}
	if err := grant.Issued(ctx, certificate); err != nil {
		return identity, fmt.Errorf("end grant: %w", err)
	}
	f.service.auditor.enqueue(identity)
	return identity, nil
}

// keep stores the certificate and makes the reply. Neither needs the other, so
// they run side by side; the reply leaves only when both are done.
func (f *flow) keep(ctx context.Context, permit *ca.Permit, grant challenge.Grant,
	certificate *x509.Certificate, last uint64) (depot.Identity, error) {
	type made struct {
		reply []byte
		err   error
	}
	replies := make(chan made, 1)
	go func() {
		// Nobody else can recover a panic in this goroutine. Its value may
		// be hostile to print, so only its type is kept.
		defer func() {
			if v := recover(); v != nil {
				replies <- made{err: fmt.Errorf("panic of type %T", v)}
			}
		}()
		reply, err := f.recipient().Success(f.message, f.now, certificate)
		replies <- made{reply, err}
	}()
	// A client that hangs up does not undo a certificate: it will ask again.
	identity, err := f.service.depot.Commit(context.WithoutCancel(ctx), depot.Issuance{
		Transaction: f.transaction(certificate),
		Identity:    f.identity(permit, certificate),
		Challenge:   grant.Spends(),
		After:       last,
	})
	reply := <-replies
	if errors.Is(err, depot.ErrChallengeSpent) {
		return depot.Identity{}, refusal.New(refusal.ChallengeUsed, "challenge %s was spent by another request", grant.Spends().ID)
	}
	if err != nil {
		return depot.Identity{}, fmt.Errorf("store certificate: %w", err)
	}
	if reply.err != nil {
		return identity, fmt.Errorf("make reply: %w", reply.err)
	}
	f.reply = reply.reply
	return identity, nil
}

// recipient is the RA certificate that signs replies.
func (f *flow) recipient() scep.Recipient {
	return f.recipients()[0]
}

// recipients are the RA certificates that requests may be addressed to, the
// current one first.
func (f *flow) recipients() []scep.Recipient {
	ours := f.service.authority.Recipients()
	recipients := make([]scep.Recipient, 0, len(ours))
	for _, r := range ours {
		recipients = append(recipients, scep.Recipient{Certificate: r.Certificate, Key: r.Key})
	}
	return recipients
}

// repeat makes the reply that carries an identity that was issued before.
func (f *flow) repeat(identity depot.Identity) error {
	certificate, err := x509.ParseCertificate(identity.DER)
	if err != nil {
		return fmt.Errorf("read stored certificate %s: %w", identity.CertificateSerial, err)
	}
	reply, err := f.recipient().Success(f.message, f.now, certificate)
	if err != nil {
		return fmt.Errorf("make reply: %w", err)
	}
	f.reply = reply
	return nil
}
