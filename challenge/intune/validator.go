package intune

import (
	"context"
	"crypto/x509"
	"errors"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// A Validator leaves the judgement about challenges to Intune.
type Validator struct {
	Client *Client
	// IssuerName is how the issuing authority is called towards Intune.
	IssuerName func(*x509.Certificate) string
}

// Validate asks Intune. Everything but its yes is a refusal: a request about
// which nobody could be asked must not lead to a certificate either.
func (v *Validator) Validate(ctx context.Context, a challenge.Attempt) (challenge.Grant, error) {
	if a.Challenge.Empty() {
		return nil, refusal.New(refusal.ChallengeMissing, "the CSR has no challengePassword, so Intune was not asked")
	}
	s := Subject{TransactionID: a.TransactionID, CSR: a.CSR.Raw}
	if err := v.Client.Validate(ctx, s); err != nil {
		return nil, refuse(err)
	}
	return &grant{validator: v, subject: s}, nil
}

// refuse turns an error of the client into what the device and the operator
// are told. The device gets Intune's code and no more.
func refuse(err error) error {
	var no *RefusedError
	text := "the challenge could not be validated"
	if errors.As(err, &no) && no.Code != "" {
		text = no.Code
	}
	refused := refusal.WithText(refusal.ChallengeRefused, text, "%v", err)
	if no == nil {
		return errors.Join(refused, challenge.ErrInDoubt)
	}
	return refused
}

// Resume returns the grant of a request that Intune found good before.
func (v *Validator) Resume(transactionID string, csr []byte) challenge.Grant {
	return &grant{validator: v, subject: Subject{TransactionID: transactionID, CSR: csr}}
}

// Check tries whether Intune could be asked.
func (v *Validator) Check(ctx context.Context) []challenge.Step { return v.Client.Check(ctx) }

// grant is a request that Intune found good.
type grant struct {
	validator *Validator
	subject   Subject
	ended     bool
}

// Spends is nothing: Intune keeps its own count.
func (g *grant) Spends() depot.ChallengeRef { return depot.ChallengeRef{} }

// HoldsBack is true: Intune may refuse the notification, and then the device
// must not have the certificate.
func (*grant) HoldsBack() bool { return true }

// Issued tells Intune of the certificate; the device may have it only after
// nil.
func (g *grant) Issued(ctx context.Context, certificate *x509.Certificate) error {
	if g.ended {
		return challenge.ErrGrantEnded
	}
	g.ended = true
	err := g.validator.Client.NotifySuccess(ctx, g.subject, Issued{certificate, g.validator.IssuerName(certificate)})
	if err != nil {
		return refuse(err)
	}
	return nil
}

// Failed tells Intune that the request could not be finished here.
func (g *grant) Failed(ctx context.Context, cause error) error {
	if g.ended {
		return challenge.ErrGrantEnded
	}
	g.ended = true
	return g.validator.Client.NotifyFailure(ctx, g.subject, cause.Error())
}
