package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

const (
	// maxAcks is how many items one call acknowledges.
	maxAcks = 500
	// maxAckText is the longest text of an acknowledgement, in bytes.
	maxAckText = 200

	idempotencyKey = "Idempotency-Key"
)

// What became of an acknowledgement.
const (
	ackDone       = "acknowledged"
	ackNotDue     = "not_due"
	ackSuperseded = "superseded"
	ackRevoked    = "revoked"
	ackExpired    = "expired"
	ackNotFound   = "not_found"
)

// ackStatus returns the status and the word for how an acknowledgement ended;
// no word for an error that is none of its ends.
func ackStatus(err error) (status int, word string) {
	switch {
	case err == nil:
		return http.StatusOK, ""
	case errors.Is(err, redistribution.ErrNotDue):
		return http.StatusConflict, ackNotDue
	case errors.Is(err, redistribution.ErrExpired):
		return http.StatusConflict, ackExpired
	case errors.Is(err, depot.ErrSuperseded):
		return http.StatusConflict, ackSuperseded
	case errors.Is(err, depot.ErrRevoked):
		return http.StatusConflict, ackRevoked
	case errors.Is(err, depot.ErrNotFound):
		return http.StatusNotFound, ackNotFound
	}
	return 0, ""
}

// ackDetail says in a sentence why an item cannot be acknowledged.
func ackDetail(word string) string {
	switch word {
	case ackNotDue:
		return "its window has not opened yet; nothing was acknowledged"
	case ackExpired:
		return "its window has closed; push the profile all the same, and the enrolment supersedes it"
	case ackSuperseded:
		return "the device has a newer certificate already"
	}
	return "the certificate is revoked"
}

// acknowledge is POST …/redistribution/{item}/ack. Saying it again changes
// nothing.
func (s *Server) acknowledge(service *redistribution.Service, of string, w http.ResponseWriter, r *http.Request) error {
	fields, err := readFields(w, r)
	if err != nil {
		return err
	}
	wish, err := acknowledging(r, fields)
	if err != nil {
		return err
	}
	serial, err := s.windowSerial(r.Context(), of, r.PathValue("item"))
	if err != nil {
		return err
	}
	item, made, err := service.Acknowledge(r.Context(), serial, wish)
	if err != nil {
		return err
	}
	if made {
		s.log.Info("redistribution acknowledged", "certificate_serial", serial, "by", wish.By)
	}
	return writeJSON(w, http.StatusOK, itemToJSON(item))
}

// acknowledging reads what somebody says who pushes profiles. The query is that
// of the list that the items are from, as far as it says what is due.
func acknowledging(r *http.Request, fields map[string]json.RawMessage) (a redistribution.Acknowledging, err error) {
	p, err := readParameters(r, "days", "percent", "strict")
	if err != nil {
		return a, err
	}
	if a.Policy, err = windowPolicy(p); err != nil {
		return a, err
	}
	a.By, a.IdempotencyKey = by(r.Context()), r.Header.Get(idempotencyKey)
	if len(a.IdempotencyKey) > maxAckText {
		return a, newProblem(http.StatusBadRequest, "invalid-header", fmt.Sprintf("%s must have at most %d bytes", idempotencyKey, maxAckText))
	}
	if a.CommandID, err = textField(fields, "command_id", maxAckText); err != nil {
		return a, err
	}
	if a.RequestedBy, err = textField(fields, "requested_by", maxAckText); err != nil {
		return a, err
	}
	if a.RequestedAt, err = timeField(fields, "requested_at"); err != nil {
		return a, err
	}
	a.RequestedAt = a.RequestedAt.Truncate(time.Second)
	return a, noOthers(fields, invalidRequest)
}

// undoAcknowledgement is DELETE …/redistribution/{item}/ack. What nobody
// acknowledged stays as it is.
func (s *Server) undoAcknowledgement(service *redistribution.Service, of string, w http.ResponseWriter, r *http.Request) error {
	serial, err := s.windowSerial(r.Context(), of, r.PathValue("item"))
	if err != nil {
		return err
	}
	item, made, err := service.Undo(r.Context(), serial, by(r.Context()))
	if err != nil {
		return err
	}
	if made {
		s.log.Info("redistribution not acknowledged any more", "certificate_serial", serial, "by", by(r.Context()))
	}
	return writeJSON(w, http.StatusOK, itemToJSON(item))
}

// ackResultsJSON is what became of many acknowledgements, in their order.
type ackResultsJSON struct {
	Results []ackResultJSON `json:"results"`
}

// ackResultJSON is what became of one of them.
type ackResultJSON struct {
	ID     string    `json:"id"` // as it was given
	Status string    `json:"status"`
	Item   *itemJSON `json:"item"` // null when there is none
}

// acknowledgeMany is POST …/redistribution:ack. Each item is acknowledged or
// not for itself; after a failure of the store the call can be made again.
func (s *Server) acknowledgeMany(service *redistribution.Service, of string, w http.ResponseWriter, r *http.Request) error {
	fields, err := readFields(w, r)
	if err != nil {
		return err
	}
	list := fields["ids"]
	delete(fields, "ids")
	wish, err := acknowledging(r, fields)
	if err != nil {
		return err
	}
	var ids []string
	if json.Unmarshal(list, &ids) != nil || len(ids) == 0 || len(ids) > maxAcks {
		return invalidRequest(fieldError{"ids", fmt.Sprintf("must be a list of 1 to %d ids of items", maxAcks)})
	}
	serials := make([]string, len(ids)) // empty: no such item
	for i, id := range ids {
		if serials[i], err = s.windowSerial(r.Context(), of, id); errors.Is(err, depot.ErrNotFound) {
			serials[i] = ""
		} else if err != nil {
			return err
		}
	}
	var found []string
	for _, serial := range serials {
		if serial != "" {
			found = append(found, serial)
		}
	}
	extend(w, chunkTimeout)
	results := service.AcknowledgeMany(r.Context(), found, wish)
	out, count := ackResultsJSON{Results: make([]ackResultJSON, len(ids))}, 0
	for i, id := range ids {
		one := ackResultJSON{ID: printable(id, maxAckText), Status: ackNotFound}
		if serials[i] != "" {
			if one, err = ackResult(one.ID, results[0]); err != nil {
				return err
			}
			results = results[1:]
		}
		if one.Status == ackDone {
			count++
		}
		out.Results[i] = one
	}
	s.log.Info("redistribution acknowledged", "asked", len(ids), "acknowledged", count, "by", wish.By)
	return writeJSON(w, http.StatusOK, out)
}

// ackResult renders what became of one acknowledgement.
func ackResult(id string, result redistribution.Result) (ackResultJSON, error) {
	out := ackResultJSON{ID: id, Status: ackDone}
	if result.Err != nil {
		if _, out.Status = ackStatus(result.Err); out.Status == "" {
			return out, result.Err
		}
	}
	if result.Item.Identity.CertificateSerial != "" {
		item := itemToJSON(result.Item)
		out.Item = &item
	}
	return out, nil
}
