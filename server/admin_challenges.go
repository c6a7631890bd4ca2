package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
)

// oneTimeJSON is a one-time challenge in the API, without its text.
type oneTimeJSON struct {
	ID                string            `json:"id"`
	Configuration     configurationName `json:"configuration"`
	State             string            `json:"state"`
	CreatedAt         string            `json:"created_at"`
	CreatedBy         string            `json:"created_by"`
	ExpiresAt         string            `json:"expires_at"`
	Bound             boundJSON         `json:"bound"`
	SpentAt           *string           `json:"spent_at"`
	CertificateSerial *string           `json:"certificate_serial"`
	WithdrawnAt       *string           `json:"withdrawn_at"`
	WithdrawnBy       *string           `json:"withdrawn_by"`
}

// boundJSON is whom a challenge is for; null where anybody will do.
type boundJSON struct {
	DeviceSerial *string `json:"device_serial"`
	ProfileUUID  *string `json:"profile_uuid"`
	UDID         *string `json:"udid"`
	UPN          *string `json:"upn"`
}

// newChallengeJSON is the answer to making one: the only place that tells its
// text, once.
type newChallengeJSON struct {
	ID            string `json:"id"`
	Challenge     string `json:"challenge"`
	Configuration string `json:"configuration"`
	ExpiresAt     string `json:"expires_at"`
}

// maxBound is the longest value that a challenge may be bound to, in bytes.
const maxBound = 256

// addChallenge is POST /challenges.
func (s *Server) addChallenge(w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	var name string
	var seconds int64
	var bound depot.DeviceNames
	if err := takeFields(fields, map[string]any{
		"configuration": &name, "ttl_seconds": &seconds, "device_serial": &bound.DeviceSerial,
		"profile_uuid": &bound.ProfileUUID, "udid": &bound.UDID, "upn": &bound.UPN,
	}); err != nil {
		return err
	}
	if seconds < 0 || seconds > int64(30*24*time.Hour/time.Second) {
		return invalidChallenge(fieldError{"ttl_seconds", "must be 1 to 2592000, or 0 for what the configuration says"})
	}
	if name == "" {
		return invalidChallenge(fieldError{"configuration", "is missing"})
	}
	live, err := s.configurations.Find(name)
	if err != nil {
		return settingsProblem(err)
	}
	text, made, err := live.NewChallenge(r.Context(), s.clock.Now(), time.Duration(seconds)*time.Second, bound, by(r.Context()))
	switch {
	case errors.Is(err, configuration.ErrNotDynamic):
		return invalidChallenge(fieldError{"configuration", "is not of mode dynamic, so it has no one-time challenges"})
	case errors.Is(err, challenge.ErrCacheFull):
		return newProblem(http.StatusConflict, "too-many-challenges", fmt.Sprintf("there are %d challenges that nobody has used yet", live.Record.Policy.MaxOutstanding))
	case err != nil:
		return err
	}
	w.Header().Set("Location", apiPrefix+"/challenges/"+made.ID)
	return writeJSON(w, http.StatusCreated, newChallengeJSON{made.ID, text.Reveal(), live.Record.Name, timeText(made.ExpiresAt)})
}

// takeFields reads the fields of a body into targets, and refuses others.
func takeFields(fields map[string]json.RawMessage, targets map[string]any) error {
	var wrong []fieldError
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		raw, given := fields[name]
		delete(fields, name)
		if !given || string(raw) == "null" {
			continue
		}
		target := targets[name]
		if json.Unmarshal(raw, target) != nil {
			wrong = append(wrong, fieldError{name, "is of the wrong type"})
		} else if text, ok := target.(*string); ok && len(*text) > maxBound {
			wrong = append(wrong, fieldError{name, fmt.Sprintf("must have at most %d bytes", maxBound)})
		}
	}
	if wrong != nil {
		return invalidChallenge(wrong...)
	}
	return noOthers(fields, invalidChallenge)
}

func invalidChallenge(wrong ...fieldError) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "invalid-request", "the wish for a challenge is not valid")
	p.Errors = wrong
	return p
}

// listChallenges is GET /challenges, the latest first.
func (s *Server) listChallenges(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "configuration", "outstanding", "limit", "cursor")
	if err != nil {
		return err
	}
	q := depot.ChallengeQuery{Cursor: p.text("cursor")}
	switch p.text("outstanding") {
	case "", "false":
	case "true":
		q.OutstandingAt = s.clock.Now()
	default:
		return badParameter("outstanding", "must be true or false")
	}
	if q.ConfigurationID, err = s.configurationFilter(r.Context(), p); err != nil {
		return err
	}
	if q.Limit, err = p.limit(); err != nil {
		return err
	}
	page, err := s.depot.Challenges(r.Context(), q)
	if err != nil {
		return err
	}
	var items []oneTimeJSON
	for _, c := range page.Items {
		items = append(items, s.challengeToJSON(r, c))
	}
	return writeJSON(w, http.StatusOK, newList(items, page.NextCursor))
}

// showChallenge is GET /challenges/{challenge}.
func (s *Server) showChallenge(w http.ResponseWriter, r *http.Request) error {
	c, err := s.depot.Challenge(r.Context(), r.PathValue("challenge"))
	if errors.Is(err, depot.ErrNotFound) {
		return notFound("there is no such challenge")
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.challengeToJSON(r, c))
}

// withdrawChallenge is DELETE /challenges/{challenge}.
func (s *Server) withdrawChallenge(w http.ResponseWriter, r *http.Request) error {
	err := s.depot.WithdrawChallenge(r.Context(), r.PathValue("challenge"), by(r.Context()), s.clock.Now())
	switch {
	case errors.Is(err, depot.ErrNotFound):
		return notFound("there is no such challenge")
	case errors.Is(err, depot.ErrChallengeSpent):
		return newProblem(http.StatusConflict, "challenge-used", "the challenge is spent or withdrawn already")
	case err != nil:
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// challengeToJSON renders one.
func (s *Server) challengeToJSON(r *http.Request, c depot.Challenge) oneTimeJSON {
	state := "outstanding"
	switch {
	case !c.SpentAt.IsZero():
		state = "spent"
	case !c.WithdrawnAt.IsZero():
		state = "withdrawn"
	case !c.Outstanding(s.clock.Now()):
		state = "expired"
	}
	return oneTimeJSON{
		ID: c.ID, Configuration: s.nameOf(r.Context(), c.ConfigurationID), State: state,
		CreatedAt: timeText(c.CreatedAt), CreatedBy: c.CreatedBy, ExpiresAt: timeText(c.ExpiresAt),
		Bound: boundJSON{
			DeviceSerial: orNull(c.Bound.DeviceSerial), ProfileUUID: orNull(c.Bound.ProfileUUID),
			UDID: orNull(c.Bound.UDID), UPN: orNull(c.Bound.UPN),
		},
		SpentAt: timeOrNull(c.SpentAt), CertificateSerial: orNull(c.CertificateSerial),
		WithdrawnAt: timeOrNull(c.WithdrawnAt), WithdrawnBy: orNull(c.WithdrawnBy),
	}
}
