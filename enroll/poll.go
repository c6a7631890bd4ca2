package enroll

import (
	"context"
	"crypto/sha256"
	"fmt"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
	"understudy.example/understudy/refusal"
)

// warnPollNames: a CertPoll names another subject than the request that it
// asks about.
const warnPollNames = "poll_subject"

// poll answers a CertPoll (RFC 8894 §4.4): what became of the transaction? It
// is served where an operator decides, and for what waits since one did.
//
// The transactionID finds it and the signer proves who asks; what the content
// names is read and, where it differs, only wondered at.
func (f *flow) poll(ctx context.Context) (depot.Identity, Outcome, error) {
	h, err := f.history(ctx)
	if err != nil {
		return depot.Identity{}, "", err
	}
	if h.asked.ID == "" && f.policy().Approval == configuration.ApprovalAuto {
		return depot.Identity{}, "", unserved(f.message.Type)
	}
	query, err := f.message.OpenQuery(f.recipients(), f.request.Configuration.SCEPOptions(f.now))
	if err != nil {
		return depot.Identity{}, "", err
	}
	state, t := h.state(f.now), h.last
	if state != "" {
		t = h.asked.Transaction
	}
	if t.ID == "" {
		return depot.Identity{}, "", refusal.New(refusal.NotFound, "no such transaction waits or was answered here")
	}
	if !f.askedBySigner(t) {
		return depot.Identity{}, "", refusal.New(refusal.SignerNotTrusted, "signer of the poll is not who asked for the certificate")
	}
	switch state {
	case depot.RequestPending:
		f.pollsFor(h.asked.Draft.Device, h.asked.Draft.Subject, query.Subject)
		f.requestID = h.asked.ID
		return depot.Identity{}, Pending, f.wait()
	case depot.RequestDenied, depot.RequestExpired:
		f.pollsFor(h.asked.Draft.Device, h.asked.Draft.Subject, query.Subject)
		return depot.Identity{}, "", f.undone(h.asked)
	case depot.RequestApproved:
		f.requestID = h.asked.ID
	}
	return f.polled(ctx, t, query.Subject)
}

// polled delivers the certificate of a transaction, as often as it is asked
// for, while it is live.
func (f *flow) polled(ctx context.Context, t depot.Transaction, subject []byte) (depot.Identity, Outcome, error) {
	identity, err := f.service.depot.Identity(ctx, t.CertificateSerial)
	if err != nil {
		return depot.Identity{}, "", fmt.Errorf("find certificate of transaction: %w", err)
	}
	f.pollsFor(identity.Device, identity.Subject, subject)
	if !f.deliverable(identity) {
		return depot.Identity{}, "", refusal.New(refusal.NotFound, "certificate %s of the transaction is not live any more", identity.CertificateSerial)
	}
	return f.again(&identity, nil)
}

// askedBySigner says whether the signer of this message is the one who asked:
// the same certificate, or the key that the certificate is for (clients make
// themselves a new self-signed certificate when they start anew).
func (f *flow) askedBySigner(t depot.Transaction) bool {
	signer := f.message.Signer
	return sha256.Sum256(signer.Raw) == t.SignerSHA256 || sha256.Sum256(signer.RawSubjectPublicKeyInfo) == t.PublicKeySHA256
}

// pollsFor notes whom a poll is about.
func (f *flow) pollsFor(names depot.DeviceNames, subject string, polled []byte) {
	f.device = device.Names(names)
	if device.FormatName(polled) != subject {
		f.odd = append(f.odd, warnPollNames)
	}
}
