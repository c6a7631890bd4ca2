package enroll

import (
	"context"
	"errors"
	"fmt"
	"io"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// asksOperatorFirst says whether an operator decides about every request, so
// that one without a challenge may wait too.
func (f *flow) asksOperatorFirst() bool { return f.policy().Approval == configuration.ApprovalManual }

// needsApproval says whether an operator has to decide about an authorised
// request.
func (f *flow) needsApproval(ctx context.Context, auth authorisation) (bool, error) {
	switch f.policy().Approval {
	case configuration.ApprovalManual:
		return true, nil
	case configuration.ApprovalManualNew:
		if auth.supersedes != "" {
			return false, nil
		}
		known, err := f.knownDevice(ctx)
		return !known, err
	}
	return false, nil
}

// knownDevice says whether the device has a certificate here, the latest of
// which nobody revoked.
func (f *flow) knownDevice(ctx context.Context) (bool, error) {
	d, err := f.service.depot.Device(ctx, f.request.Configuration.Record.ID, f.device.Key)
	if errors.Is(err, depot.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find device: %w", err)
	}
	latest, err := f.service.depot.Identity(ctx, d.LatestSerial)
	if err != nil {
		return false, fmt.Errorf("find latest certificate of device: %w", err)
	}
	return !latest.Void && latest.RevokedAt.IsZero(), nil
}

// ask stores the request for an operator and makes the PENDING reply, in this
// order: a client that is told to come again must be known then.
func (f *flow) ask(ctx context.Context, permit *ca.Permit, auth authorisation, h history) error {
	r, err := f.pending(permit, auth)
	if err == nil {
		err = f.service.backlog.add(ctx, f.service.depot, r.Transaction.ConfigurationID, f.now, auth.stranger())
	}
	if err != nil {
		return errors.Join(err, auth.grant.Failed(ctx, err))
	}
	err = f.service.depot.AddRequest(context.WithoutCancel(ctx), r, h.last.Sequence, h.asked.ID)
	if err != nil {
		f.service.backlog.remove(r.Transaction.ConfigurationID)
		err = f.notAdded(ctx, err, h)
		return errors.Join(err, auth.grant.Failed(ctx, err))
	}
	f.requestID = r.ID
	if err := auth.grant.Failed(ctx, challenge.ErrPending); err != nil {
		return fmt.Errorf("end grant: %w", err)
	}
	return f.wait()
}

// pending is the record of a request that waits.
func (f *flow) pending(permit *ca.Permit, auth authorisation) (depot.Request, error) {
	id, err := newRequestID(f.service.random)
	if err != nil {
		return depot.Request{}, err
	}
	csr, err := scep.WithoutChallenge(f.enrolment.CSR.Raw)
	if err != nil {
		return depot.Request{}, err
	}
	return depot.Request{
		ID: id, State: depot.RequestPending,
		Transaction: f.transaction(), Draft: f.draft(permit, auth), CSR: csr,
		Challenge: auth.grant.Spends(), Supersedes: auth.supersedes,
		ExpiresAt: f.now.Add(f.policy().ApprovalTTL),
	}, nil
}

// notAdded tells a message that made a request before, which is refused, from
// a race with another request, which is decided anew.
func (f *flow) notAdded(ctx context.Context, cause error, before history) error {
	if !errors.Is(cause, depot.ErrTransactionConflict) {
		return fmt.Errorf("store request: %w", cause)
	}
	now, err := f.history(ctx)
	if err != nil {
		return err
	}
	if now.last.Sequence == before.last.Sequence && now.asked.ID == before.asked.ID {
		return refusal.New(refusal.Replayed, "the identical message asked for approval or was answered before")
	}
	return cause
}

// newRequestID returns rq_ and 17 of [a-z2-7], which are 85 random bits.
func newRequestID(random io.Reader) (string, error) {
	const alphabet, length = "abcdefghijklmnopqrstuvwxyz234567", 17
	id := make([]byte, length)
	if _, err := io.ReadFull(random, id); err != nil {
		return "", fmt.Errorf("make request id: %w", err)
	}
	for i := range id {
		id[i] = alphabet[id[i]%byte(len(alphabet))]
	}
	return "rq_" + string(id), nil
}

// approved returns the certificate of an approved request to whoever asks for
// it once more, at any time while it is live; nil when this is another request.
func (f *flow) approved(ctx context.Context, h history) (*depot.Identity, error) {
	t := h.asked.Transaction
	if t.MessageType != string(f.message.Type) || t.CSRSHA256 != f.csrSHA256() {
		return nil, nil
	}
	identity, err := f.service.depot.Identity(ctx, t.CertificateSerial)
	if err != nil {
		return nil, fmt.Errorf("find certificate of request: %w", err)
	}
	if !f.deliverable(identity) {
		return nil, nil
	}
	f.requestID = h.asked.ID
	return &identity, nil
}

// deliverable says whether an identity is of use to its device.
func (f *flow) deliverable(i depot.Identity) bool {
	return !i.Void && !i.HeldBack && i.RevokedAt.IsZero() && i.SupersededAt.IsZero() && f.now.Before(i.NotAfter)
}

// repeatsUndone says whether the client still asks for what was denied, or was
// never decided: with the same message at any time, with the same CSR within
// the retry period. Later it asks anew, and an operator is asked anew.
func (f *flow) repeatsUndone(r depot.Request) bool {
	end := r.ExpiresAt
	if r.State == depot.RequestDenied {
		end = r.DecidedAt
	}
	return r.Transaction.MessageSHA256 == f.message.SHA256 ||
		r.Transaction.CSRSHA256 == f.csrSHA256() && f.within(end)
}

// undone refuses what an operator denied or did not decide about in time.
func (f *flow) undone(r depot.Request) error {
	f.requestID = r.ID
	if r.State == depot.RequestDenied {
		return refusal.WithText(refusal.Denied, "denied by an administrator", "request %s was denied by %s", r.ID, r.DecidedBy)
	}
	return refusal.WithText(refusal.ApprovalExpired, "nobody approved the request in time: ask again", "request %s was not decided in time", r.ID)
}
