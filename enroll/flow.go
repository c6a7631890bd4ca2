package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
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
	offset  time.Duration // of now; not zero when a lab moved the clock

	enrolment *scep.Enrolment // from open on
	device    device.Names    // from open on
	signer    *depot.Identity // from bind on: the certificate of ours that signed, if one did
	requestID string          // as soon as there is one
	odd       []string        // warnings of the flow itself
	reply     []byte          // at the end
}

// policy is what the configuration holds its enrolments to.
func (f *flow) policy() depot.ConfigurationPolicy { return f.request.Configuration.Record.Policy }

// run takes a message to where its type is answered. decoded is what decoding
// had to object to, if anything.
func (f *flow) run(ctx context.Context, decoded error) (depot.Identity, Outcome, error) {
	if decoded != nil {
		return depot.Identity{}, "", decoded
	}
	// Could what is asked for be delivered at all?
	if err := scep.CanReplyTo(f.message); err != nil {
		return depot.Identity{}, "", err
	}
	switch f.message.Type {
	case scep.PKCSReq, scep.RenewalReq:
		return f.enrol(ctx)
	case scep.CertPoll:
		return f.poll(ctx)
	case scep.GetCert:
		return f.getCertificate(ctx)
	case scep.GetCRL:
		return depot.Identity{}, Answered, f.getCRL(ctx)
	default:
		return depot.Identity{}, "", unserved(f.message.Type)
	}
}

// unserved refuses a message type that this configuration has no answer to.
func unserved(t scep.MessageType) error {
	return refusal.New(refusal.UnsupportedOperation, "message type %s is not served here", t)
}

// enrol answers a PKCSReq or RenewalReq. It decides anew when another request
// changed, between looking and storing, what the decision was made on.
func (f *flow) enrol(ctx context.Context) (depot.Identity, Outcome, error) {
	if f.message.Type == scep.RenewalReq && !f.policy().Renewal {
		return depot.Identity{}, "", refusal.WithText(refusal.RenewalNotOffered, renewalText,
			"RenewalReq to a configuration that does not offer renewal")
	}
	if err := f.open(); err != nil {
		return depot.Identity{}, "", err
	}
	done, err := f.turn(ctx)
	if err != nil {
		return depot.Identity{}, "", err
	}
	defer done()
	for range maxRounds {
		var identity depot.Identity
		var outcome Outcome
		if identity, outcome, err = f.decide(ctx); !overtaken(err) {
			return identity, outcome, err
		}
	}
	return depot.Identity{}, "", fmt.Errorf("enrol: transaction %q kept changing: %w", f.message.TransactionID, err)
}

// overtaken says whether a step failed because somebody else's came first, or
// took the certificate serial.
func overtaken(err error) bool {
	return errors.Is(err, depot.ErrTransactionConflict) || errors.Is(err, depot.ErrExists) || errors.Is(err, depot.ErrRevoked)
}

// open decrypts the request and reads who it is for.
func (f *flow) open() error {
	enrolment, err := f.message.Open(f.recipients(), f.request.Configuration.SCEPOptions(f.now))
	if err != nil {
		return err
	}
	names, err := device.FromSubject(enrolment.CSR.RawSubject)
	if err != nil {
		return refusal.New(refusal.SubjectRejected, "subject of the CSR: %v", err)
	}
	f.enrolment, f.device = enrolment, names
	return nil
}

// decide goes through the steps of one enrolment in their order. Nothing is
// spent or stored before all of them agree.
func (f *flow) decide(ctx context.Context) (depot.Identity, Outcome, error) {
	if err := f.bind(ctx); err != nil {
		return depot.Identity{}, "", err
	}
	h, err := f.history(ctx)
	if err != nil {
		return depot.Identity{}, "", err
	}
	if identity, outcome, err := f.earlier(ctx, h); err != nil || outcome != "" {
		return identity, outcome, err
	}
	permit, err := f.request.Configuration.Policy.Check(f.enrolment.CSR, f.now)
	if err != nil {
		return depot.Identity{}, "", err
	}
	if err := f.service.listed(ctx, f.request.Configuration.Record, depot.DeviceNames(f.device)); err != nil {
		return depot.Identity{}, "", err
	}
	auth, err := f.authorise(ctx)
	if err != nil {
		return depot.Identity{}, "", f.unlessOvertaken(ctx, err, h)
	}
	waits, err := f.needsApproval(ctx, auth)
	if err != nil {
		return depot.Identity{}, "", errors.Join(err, auth.grant.Failed(ctx, err))
	}
	if waits {
		return depot.Identity{}, Pending, f.ask(ctx, permit, auth, h)
	}
	identity, err := f.issue(ctx, permit, auth, h)
	return identity, Issued, err
}

// An authorisation is why a request may have a certificate.
type authorisation struct {
	// grant is of the challenge; one that knows nothing when there was none
	// to judge.
	grant challenge.Grant
	mode  string // of the challenge; empty: there was none to judge
	// supersedes is the certificate serial of what is renewed; empty: this is
	// no renewal.
	supersedes string
}

// stranger says that nothing but an operator's word is good enough.
func (a authorisation) stranger() bool { return a.mode == "" && a.supersedes == "" }

// authorise finds the authorisation: the old certificate for a renewal where
// the configuration offers it, a good challenge, or, where an operator decides
// about everything, nothing.
func (f *flow) authorise(ctx context.Context) (authorisation, error) {
	old, err := f.renewed()
	if err != nil {
		return authorisation{}, err
	}
	password := challenge.NewSecret(f.enrolment.ChallengePassword.Reveal())
	switch {
	case old != "":
		return authorisation{grant: noGrant{}, supersedes: old}, nil
	case password.Empty() && f.asksOperatorFirst():
		return authorisation{grant: noGrant{}}, nil
	}
	live := f.request.Configuration
	grant, err := live.Validator.Validate(ctx, challenge.Attempt{
		ConfigurationID: live.Record.ID,
		TransactionID:   f.message.TransactionID,
		CSR:             f.enrolment.CSR,
		Challenge:       password,
		Now:             f.now,
	})
	if err != nil {
		return authorisation{}, err
	}
	return authorisation{grant: grant, mode: string(live.Record.Mode)}, nil
}

// noGrant stands for a challenge where none was judged.
type noGrant struct{}

func (noGrant) Spends() depot.ChallengeRef                      { return depot.ChallengeRef{} }
func (noGrant) HoldsBack() bool                                 { return false }
func (noGrant) Issued(context.Context, *x509.Certificate) error { return nil }
func (noGrant) Failed(context.Context, error) error             { return nil }

// listed refuses a device that is not on its configuration's list. A
// configuration whose list is in a file that was never read is closed.
func (s *Service) listed(ctx context.Context, c depot.Configuration, names depot.DeviceNames) error {
	listed, exists, err := s.devices.Has(ctx, c.ID, names)
	switch {
	case err != nil:
		return fmt.Errorf("find device on list: %w", err)
	case exists && !listed:
		return refusal.New(refusal.DeviceNotListed, "device %q is not on the configuration's list", names.Key)
	case !exists && c.Policy.DevicesFile != "":
		return refusal.New(refusal.DeviceNotListed, "the configuration's list was never read from %s", c.Policy.DevicesFile)
	}
	return nil
}

// issue makes the certificate, and returns when it is durable and the reply is
// made. After the challenge was found good only signing and storing can fail.
func (f *flow) issue(ctx context.Context, permit *ca.Permit, auth authorisation, h history) (depot.Identity, error) {
	certificate, err := f.service.authority.Issue(permit)
	if err != nil {
		err = fmt.Errorf("issue certificate: %w", err)
		return depot.Identity{}, errors.Join(err, auth.grant.Failed(context.WithoutCancel(ctx), err))
	}
	if auth.grant.HoldsBack() {
		f.service.deliveries.begin(serialOf(certificate))
		defer f.service.deliveries.end(serialOf(certificate))
	}
	identity, err := f.keep(ctx, permit, auth, certificate, h)
	if err != nil {
		if identity.HeldBack {
			identity, err = f.service.void(ctx, identity, err)
		}
		return identity, errors.Join(err, auth.grant.Failed(context.WithoutCancel(ctx), err))
	}
	if identity, err = f.release(ctx, auth.grant, identity, certificate); err != nil {
		return identity, err
	}
	f.service.auditor.enqueue(identity)
	return identity, nil
}

// keep stores the certificate and makes the reply. Neither needs the other, so
// they run side by side; the reply leaves only when both are done.
func (f *flow) keep(ctx context.Context, permit *ca.Permit, auth authorisation,
	certificate *x509.Certificate, h history) (depot.Identity, error) {
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
	transaction := f.transaction()
	transaction.CertificateSerial = serialOf(certificate)
	issuance := depot.Issuance{
		Transaction: transaction,
		Identity:    f.service.issued(f.draft(permit, auth), certificate, clock.Moment{Time: f.now, Offset: f.offset}, f.policy()),
		Challenge:   auth.grant.Spends(),
		Supersedes:  auth.supersedes,
		After:       h.last.Sequence,
	}
	if auth.grant.HoldsBack() {
		issuance.HoldBack, issuance.CSR = true, f.enrolment.CSR.Raw
	}
	// A client that hangs up does not undo a certificate: it will ask again.
	identity, err := f.service.depot.Commit(context.WithoutCancel(ctx), issuance)
	reply := <-replies
	if errors.Is(err, depot.ErrChallengeSpent) {
		return depot.Identity{}, refusal.New(refusal.ChallengeUsed, "challenge %s was spent by another request", auth.grant.Spends().ID)
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

// recipient is the RA certificate that signs replies: the one that the client
// encrypted to, since it may know no other, or else the current one.
func (f *flow) recipient() scep.Recipient {
	ours := f.recipients()
	r := ours[0]
	if i := slices.IndexFunc(ours, func(o scep.Recipient) bool { return o.Certificate.Equal(f.message.Addressee) }); i > 0 {
		r = ours[i]
	}
	r.Random = f.service.random
	return r
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

// deliver makes the reply that carries an identity that was issued before.
func (f *flow) deliver(identity depot.Identity) error {
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

// wait makes the reply that tells the client to ask again later.
func (f *flow) wait() error {
	reply, err := f.recipient().Pending(f.message, f.now)
	if err != nil {
		return fmt.Errorf("make reply: %w", err)
	}
	f.reply = reply
	return nil
}
