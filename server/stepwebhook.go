package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// stepRequest is the body of step-ca's SCEPCHALLENGE webhook, as far as it is
// read. (smallstep/certificates, authority/provisioner/webhook.go)
type stepRequest struct {
	CSR struct {
		Raw []byte `json:"raw"` // DER
	} `json:"x509CertificateRequest"`
	Challenge     string `json:"scepChallenge"`
	TransactionID string `json:"scepTransactionID"`
}

// stepAnswer is what step-ca reads.
type stepAnswer struct {
	Allow bool       `json:"allow"`
	Error *stepError `json:"error,omitempty"`
}

type stepError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// judgeForStep says whether a challenge of ours is good for a request that came
// to a step-ca. The certificate is made there, so a good challenge is withdrawn
// at once: of two who ask one is told yes. step-ca shows that it is itself by
// user name and password; its signature is not looked at, because its key is
// kept here only as a hash. What is refused counts as it does in a SCEP message.
func (s *Server) judgeForStep(ctx context.Context, live *configuration.Live, body []byte, source string) response {
	var in stepRequest
	if json.Unmarshal(body, &in) != nil {
		return fixedText(http.StatusBadRequest, "body is not a SCEPCHALLENGE webhook")
	}
	csr, err := x509.ParseCertificateRequest(in.CSR.Raw)
	if err != nil {
		return fixedText(http.StatusBadRequest, "body has no certificate request")
	}
	grant, err := live.Validator.Validate(ctx, challenge.Attempt{
		ConfigurationID: live.Record.ID, TransactionID: in.TransactionID, CSR: csr,
		Challenge: challenge.NewSecret(in.Challenge), Now: s.clock.Now(),
	})
	if err == nil {
		err = s.withdrawForStep(ctx, grant.Spends().ID)
	}
	no, refused := refusal.Of(err)
	switch {
	case err == nil:
		s.log.Info("challenge judged", "configuration", live.Record.Name, "allow", true, "challenge", grant.Spends().ID, "transaction_id", printable(in.TransactionID, maxLogText))
		return stepSays(stepAnswer{Allow: true})
	case refused:
		s.log.Warn("challenge judged", "configuration", live.Record.Name, "allow", false, "reason", no.Reason, "detail", no.Detail, "transaction_id", printable(in.TransactionID, maxLogText))
		s.refusedChallenge(live, no.Reason, source)
		return stepSays(stepAnswer{Error: &stepError{"challenge_refused", "the challenge is not good"}})
	case errors.Is(err, depot.ErrUnavailable):
		return busy(false)
	}
	s.log.Error("judge a challenge", "configuration", live.Record.Name, "error", err)
	return fixedText(http.StatusInternalServerError, textInternalError)
}

// withdrawForStep ends a challenge that was found good. That somebody else was
// quicker is a refusal.
func (s *Server) withdrawForStep(ctx context.Context, id string) error {
	err := s.depot.WithdrawChallenge(ctx, id, "step-ca", s.clock.Now())
	if errors.Is(err, depot.ErrChallengeSpent) {
		return refusal.New(refusal.ChallengeUsed, "challenge %s was spent or withdrawn meanwhile", id)
	}
	return err
}

func stepSays(a stepAnswer) response {
	body, err := json.Marshal(a)
	if err != nil {
		return fixedText(http.StatusInternalServerError, textInternalError)
	}
	return response{status: http.StatusOK, contentType: "application/json; charset=utf-8", body: body}
}
