package server

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// maxNote is the longest note of a decision or a revocation, in bytes.
const maxNote = 1024

// requestJSON is a request that waits for a decision, or waited. It holds no
// challenge.
type requestJSON struct {
	ID                string            `json:"id"`
	State             string            `json:"state"`
	Configuration     configurationName `json:"configuration"`
	Subject           string            `json:"subject"`
	Device            deviceNamesJSON   `json:"device"`
	TransactionID     string            `json:"transaction_id"`
	MessageType       string            `json:"message_type"`
	RequestedAt       string            `json:"requested_at"`
	ExpiresAt         string            `json:"expires_at"`
	DecidedAt         *string           `json:"decided_at"`
	DecidedBy         *string           `json:"decided_by"`
	Note              *string           `json:"note"`
	CertificateSerial *string           `json:"certificate_serial"`
	Supersedes        *string           `json:"supersedes"`
	Challenge         challengeJSON     `json:"challenge"`
	Key               keyJSON           `json:"key"`
	PublicKeySHA256   string            `json:"public_key_sha256"`
	CSRSHA256         string            `json:"csr_sha256"`
	RequestedSANs     []string          `json:"requested_sans"`
	Source            sourceJSON        `json:"source"`
	Wire              wireJSON          `json:"wire"`
	Warnings          []string          `json:"warnings"`
}

// requestStates are what the parameter state can be.
var requestStates = []string{
	string(depot.RequestPending), string(depot.RequestApproved), string(depot.RequestDenied), string(depot.RequestExpired),
}

// listRequests is GET /requests, the latest first.
func (s *Server) listRequests(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "configuration", "state", "limit", "cursor")
	if err != nil {
		return err
	}
	q := depot.RequestQuery{State: depot.RequestState(p.text("state")), Now: s.clock.Now(), Cursor: p.text("cursor")}
	if q.State != "" && !slices.Contains(requestStates, string(q.State)) {
		return badParameter("state", "must be pending, approved, denied or expired")
	}
	if q.ConfigurationID, err = s.configurationFilter(r.Context(), p); err != nil {
		return err
	}
	if q.Limit, err = p.limit(); err != nil {
		return err
	}
	page, err := s.depot.Requests(r.Context(), q)
	if err != nil {
		return err
	}
	items := make([]requestJSON, 0, len(page.Items))
	for i := range page.Items {
		items = append(items, requestToJSON(&page.Items[i], q.Now))
	}
	return writeJSON(w, http.StatusOK, newList(items, page.NextCursor))
}

// showRequest is GET /requests/{request}.
func (s *Server) showRequest(w http.ResponseWriter, r *http.Request) error {
	request, err := s.depot.Request(r.Context(), r.PathValue("request"))
	if err != nil {
		return decisionProblem(err)
	}
	return writeJSON(w, http.StatusOK, requestToJSON(&request, s.clock.Now()))
}

// decide is how enroll approves or denies.
type decide func(ctx context.Context, requestID, by, note string) (depot.Request, error)

// decideRequest is POST /requests/{request}/approve and …/deny.
func (s *Server) decideRequest(decide decide) adminFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		fields, err := readObject(w, r)
		if err != nil {
			return err
		}
		note, err := textField(fields, "note", maxNote)
		if err != nil {
			return err
		}
		if err := noOthers(fields, invalidRequest); err != nil {
			return err
		}
		request, err := decide(r.Context(), r.PathValue("request"), by(r.Context()), note)
		if err != nil {
			return decisionProblem(err)
		}
		if request.State == depot.RequestApproved {
			s.metrics.issued.Inc()
		}
		s.log.Info("request decided", "request", request.ID, "state", string(request.State), "by", by(r.Context()),
			"device_key", printable(request.Draft.Device.Key, maxLogText), "certificate_serial", request.Transaction.CertificateSerial)
		return writeJSON(w, http.StatusOK, requestToJSON(&request, s.clock.Now()))
	}
}

// decisionProblem translates why a request could not be decided.
func decisionProblem(err error) error {
	no, refused := refusal.Of(err)
	switch {
	case errors.Is(err, depot.ErrNotFound):
		return notFound("there is no such request, or its configuration is gone")
	case errors.Is(err, depot.ErrDecided):
		return newProblem(http.StatusConflict, "decided", "the request is decided already, or its time ran out")
	case refused && no.Reason == refusal.ChallengeUsed:
		return newProblem(http.StatusConflict, "challenge-used", "the challenge was spent or withdrawn meanwhile; the request can be denied")
	case refused:
		return newProblem(http.StatusConflict, "refused", "policy refuses it now ("+string(no.Reason)+"): "+printable(no.Detail, maxLogText))
	}
	return err
}

// requestToJSON renders one, with its state as of now.
func requestToJSON(r *depot.Request, now time.Time) requestJSON {
	d, t := &r.Draft, &r.Transaction
	return requestJSON{
		ID:                r.ID,
		State:             string(r.StateAt(now)),
		Configuration:     configurationName{t.ConfigurationID, d.ConfigurationName},
		Subject:           d.Subject,
		Device:            deviceNamesToJSON(d.Device),
		TransactionID:     t.ID,
		MessageType:       t.MessageType,
		RequestedAt:       timeText(t.At),
		ExpiresAt:         timeText(r.ExpiresAt),
		DecidedAt:         timeOrNull(r.DecidedAt),
		DecidedBy:         orNull(r.DecidedBy),
		Note:              orNull(r.Note),
		CertificateSerial: orNull(t.CertificateSerial),
		Supersedes:        orNull(r.Supersedes),
		Challenge:         challengeJSON{orNull(d.ChallengeMode), orNull(d.ChallengeID)},
		Key:               keyJSON{d.KeyAlgorithm, d.KeyBits},
		PublicKeySHA256:   hex.EncodeToString(t.PublicKeySHA256[:]),
		CSRSHA256:         hex.EncodeToString(t.CSRSHA256[:]),
		RequestedSANs:     orEmpty(d.RequestedSANs),
		Source:            sourceJSON{orNull(d.SourceAddress), orNull(d.SourcePeer), orNull(d.UserAgent), d.TLS},
		Wire:              wireJSON{d.Digest, d.Cipher},
		Warnings:          orEmpty(d.Warnings),
	}
}
