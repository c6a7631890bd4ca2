package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
)

// webhookJSON is a webhook in the API, without its secret.
type webhookJSON struct {
	ID            string             `json:"id"`
	URL           string             `json:"url"`
	Types         []string           `json:"types"`
	Configuration *configurationName `json:"configuration"`
	CreatedAt     string             `json:"created_at"`
	CreatedBy     string             `json:"created_by"`
	DisabledAt    *string            `json:"disabled_at"`
	DisabledWhy   *string            `json:"disabled_why"`
	Through       *string            `json:"through"` // id of the last event that it got, or that waits or was given up
	Waiting       int                `json:"waiting"`
	Dead          int                `json:"dead"`
}

// newWebhookJSON is the answer to adding one and to giving it another secret:
// the only places that tell it, once.
type newWebhookJSON struct {
	webhookJSON
	Secret string `json:"secret"`
}

// deliveryJSON is an event that a webhook did not get at the first attempt.
type deliveryJSON struct {
	Event      string  `json:"event"` // its id
	State      string  `json:"state"`
	Attempts   int     `json:"attempts"`
	NextAt     *string `json:"next_at"`
	LastAt     *string `json:"last_at"`
	LastStatus *int    `json:"last_status"` // of HTTP
	LastError  *string `json:"last_error"`
}

// The states of a delivery.
const (
	deliveryWaiting = "waiting"
	deliveryDead    = "dead"
)

// testJSON is what a receiver made of a test.
type testJSON struct {
	Delivery   string  `json:"delivery"` // its X-Delivery
	Delivered  bool    `json:"delivered"`
	Status     *int    `json:"status"` // of HTTP
	Error      *string `json:"error"`
	DurationMS int64   `json:"duration_ms"`
}

// redeliveryJSON is how much is delivered again.
type redeliveryJSON struct {
	Count int `json:"count"`
}

// maxURL is the longest URL of a webhook, in bytes.
const maxURL = 2048

// withWebhooks is a handler that there only is where there are webhooks.
func (s *Server) withWebhooks(handle func(*notify.Service, http.ResponseWriter, *http.Request) error) adminFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if s.webhooks == nil {
			return notFound("this server has no webhooks")
		}
		return webhookProblem(handle(s.webhooks.By(callerOf(r.Context()).Name), w, r))
	}
}

// webhookProblem translates what package notify objects to.
func webhookProblem(err error) error {
	var field *notify.FieldError
	switch {
	case errors.As(err, &field):
		return invalidRequest(fieldError{field.Field, printable(field.Err.Error(), maxLogText)})
	case errors.Is(err, depot.ErrNotFound):
		return notFound("there is no such webhook")
	}
	return err
}

// listWebhooks is GET /webhooks. There are few of them: they are one page.
func (s *Server) listWebhooks(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	if _, err := readParameters(r); err != nil {
		return err
	}
	found, err := service.List(r.Context())
	if err != nil {
		return err
	}
	var items []webhookJSON
	for _, h := range found {
		items = append(items, s.webhookToJSON(r, h))
	}
	return writeJSON(w, http.StatusOK, newList(items, ""))
}

// addWebhook is POST /webhooks.
func (s *Server) addWebhook(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	changes, err := s.webhookFields(w, r)
	if err != nil {
		return err
	}
	var wish notify.Wish
	if changes.URL != nil {
		wish.URL = *changes.URL
	}
	if changes.Types != nil {
		wish.Types = *changes.Types
	}
	if changes.ConfigurationID != nil {
		wish.ConfigurationID = *changes.ConfigurationID
	}
	added, secret, err := service.Add(r.Context(), wish, by(r.Context()))
	if err != nil {
		return err
	}
	s.log.Info("webhook added", "webhook", added.ID, "by", by(r.Context()))
	w.Header().Set("Location", apiPrefix+"/webhooks/"+added.ID)
	return writeJSON(w, http.StatusCreated, newWebhookJSON{s.webhookToJSON(r, added), secret})
}

// webhookFields reads what a webhook is to be, or what is to be different.
func (s *Server) webhookFields(w http.ResponseWriter, r *http.Request) (c notify.Changes, err error) {
	fields, err := readObject(w, r)
	if err != nil {
		return c, err
	}
	if raw, given := fields["types"]; given {
		var types []string
		if json.Unmarshal(raw, &types) != nil {
			return c, invalidRequest(fieldError{"types", "must be a list of types of events"})
		}
		delete(fields, "types")
		c.Types = &types
	}
	if _, given := fields["url"]; given {
		text, err := textField(fields, "url", maxURL)
		if err != nil {
			return c, err
		}
		c.URL = &text
	}
	if _, given := fields["configuration"]; given {
		id, err := textField(fields, "configuration", maxNote)
		if err != nil {
			return c, err
		}
		if id != "" {
			if id, err = s.configurationID(r.Context(), id); err != nil {
				return c, invalidRequest(fieldError{"configuration", "does not exist"})
			}
		}
		c.ConfigurationID = &id
	}
	return c, noOthers(fields, invalidRequest)
}

// showWebhook is GET /webhooks/{webhook}.
func (s *Server) showWebhook(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	found, err := service.Show(r.Context(), r.PathValue("webhook"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.webhookToJSON(r, found))
}

// changeWebhook is PATCH /webhooks/{webhook}.
func (s *Server) changeWebhook(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	changes, err := s.webhookFields(w, r)
	if err != nil {
		return err
	}
	changed, err := service.Change(r.Context(), r.PathValue("webhook"), changes)
	if err != nil {
		return err
	}
	s.log.Info("webhook changed", "webhook", changed.ID, "by", by(r.Context()))
	return writeJSON(w, http.StatusOK, s.webhookToJSON(r, changed))
}

// removeWebhook is DELETE /webhooks/{webhook}.
func (s *Server) removeWebhook(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	if err := service.Remove(r.Context(), r.PathValue("webhook")); err != nil {
		return err
	}
	s.log.Info("webhook removed", "webhook", r.PathValue("webhook"), "by", by(r.Context()))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// rotateWebhookSecret is POST /webhooks/{webhook}/rotate-secret.
func (s *Server) rotateWebhookSecret(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	if err := readNothing(w, r); err != nil {
		return err
	}
	changed, secret, err := service.Rotate(r.Context(), r.PathValue("webhook"))
	if err != nil {
		return err
	}
	s.log.Info("webhook has another secret", "webhook", changed.ID, "by", by(r.Context()))
	return writeJSON(w, http.StatusOK, newWebhookJSON{s.webhookToJSON(r, changed), secret})
}

// enableWebhook is POST /webhooks/{webhook}/enable.
func (s *Server) enableWebhook(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	if err := readNothing(w, r); err != nil {
		return err
	}
	changed, err := service.Enable(r.Context(), r.PathValue("webhook"))
	if err != nil {
		return err
	}
	s.log.Info("webhook enabled", "webhook", changed.ID, "by", by(r.Context()))
	return writeJSON(w, http.StatusOK, s.webhookToJSON(r, changed))
}

// testWebhook is POST /webhooks/{webhook}/test. That the receiver did not take
// the test is a good answer.
func (s *Server) testWebhook(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	if err := readNothing(w, r); err != nil {
		return err
	}
	extend(w, writeTimeout)
	result, err := service.Test(r.Context(), r.PathValue("webhook"))
	if err != nil {
		return err
	}
	out := testJSON{Delivery: result.Delivery, Delivered: result.Delivered(), Status: numberOrNull(result.Status), DurationMS: result.Took.Milliseconds()}
	if result.Err != nil {
		out.Error = orNull(printable(result.Err.Error(), maxLogText))
	}
	return writeJSON(w, http.StatusOK, out)
}

// listDeliveries is GET /webhooks/{webhook}/deliveries, by event.
func (s *Server) listDeliveries(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "state", "limit", "cursor")
	if err != nil {
		return err
	}
	state, err := p.choice("state", deliveryWaiting, deliveryDead)
	if err != nil {
		return err
	}
	q := depot.NotificationQuery{WebhookID: r.PathValue("webhook"), Dead: state == deliveryDead, Cursor: p.text("cursor")}
	if q.Limit, err = p.limit(); err != nil {
		return err
	}
	page, err := service.Deliveries(r.Context(), q)
	if err != nil {
		return err
	}
	var items []deliveryJSON
	for _, n := range page.Items {
		items = append(items, deliveryJSON{
			Event: eventID(n.Event), State: state, Attempts: n.Attempts, NextAt: timeOrNull(n.NextAt), LastAt: timeOrNull(n.LastAt),
			LastStatus: numberOrNull(n.LastStatus), LastError: orNull(n.LastError),
		})
	}
	return writeJSON(w, http.StatusOK, newList(items, page.NextCursor))
}

// redeliver is POST /webhooks/{webhook}/redeliver: some events, or all that
// were given up.
func (s *Server) redeliver(service *notify.Service, w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	raw, chosen := fields["events"]
	delete(fields, "events")
	if err := noOthers(fields, invalidRequest); err != nil {
		return err
	}
	var ids []string
	if chosen && (json.Unmarshal(raw, &ids) != nil || len(ids) == 0) {
		return invalidRequest(fieldError{"events", "must be a list of ids of events; without it, all that were given up are meant"})
	}
	var events []uint64
	for _, id := range ids {
		sequence, ok := parseEventID(id)
		if !ok {
			return invalidRequest(fieldError{"events", fmt.Sprintf("has %q, which is not the id of an event", printable(id, 64))})
		}
		events = append(events, sequence)
	}
	extend(w, chunkTimeout)
	n, err := service.Redeliver(r.Context(), r.PathValue("webhook"), events)
	if err != nil {
		return err
	}
	s.log.Info("events are delivered again", "webhook", r.PathValue("webhook"), "count", n, "by", by(r.Context()))
	return writeJSON(w, http.StatusOK, redeliveryJSON{n})
}

// webhookToJSON renders one.
func (s *Server) webhookToJSON(r *http.Request, h notify.Status) webhookJSON {
	out := webhookJSON{
		ID: h.ID, URL: h.URL, Types: orEmpty(h.Types), CreatedAt: timeText(h.CreatedAt), CreatedBy: h.CreatedBy,
		DisabledAt: timeOrNull(h.DisabledAt), DisabledWhy: orNull(h.DisabledWhy), Waiting: h.Waiting, Dead: h.Dead,
	}
	if h.ConfigurationID != "" {
		name := s.nameOf(r.Context(), h.ConfigurationID)
		out.Configuration = &name
	}
	if h.Through > 0 {
		out.Through = orNull(eventID(h.Through))
	}
	return out
}
