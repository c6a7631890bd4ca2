package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
	"understudy.example/understudy/redistribution"
)

// eventJSON is an event in the API and in what webhooks get.
type eventJSON struct {
	ID                string             `json:"id"`
	Type              string             `json:"type"`
	OktaEventType     *string            `json:"okta_event_type"`
	At                string             `json:"at"`
	CreatedAt         string             `json:"created_at"` // the same, as other APIs call it
	Configuration     *configurationName `json:"configuration"`
	CertificateSerial *string            `json:"certificate_serial"`
	DeviceKey         *string            `json:"device_key"`
	TransactionID     *string            `json:"transaction_id"`
	RequestID         *string            `json:"request_id"`
	ChallengeID       *string            `json:"challenge_id"`
	SubjectID         *string            `json:"subject_id"`
	By                *string            `json:"by"`
	Reason            *string            `json:"reason"`
	Count             *int               `json:"count"`
	SupersededBy      *string            `json:"superseded_by"`
	CommandID         *string            `json:"command_id"`
	Source            *string            `json:"source"`
	OffsetSeconds     *int64             `json:"offset_seconds"`
	FrozenAt          *string            `json:"frozen_at"`
	Data              any                `json:"data"`
}

// eventList is a page of events.
type eventList struct {
	list[eventJSON]
	// Through is the id up to which the page looked: everything that was
	// selected and is not newer is on it or on one before. It is what to give
	// as after when there is no next page yet.
	Through *string `json:"through"`
}

// eventPrefix begins the ids of events; the sequence follows in hex, at full
// width, so that ids sort as events happened.
const eventPrefix = "ev_"

// afterNow stands for the latest event, for those who want none of the past.
const afterNow = "now"

// listEvents is GET /events: oldest first, after an event. The next cursor is
// what to give as after.
func (s *Server) listEvents(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "after", "types", "configuration", "expand", "limit", "wait")
	if err != nil {
		return err
	}
	q, err := s.eventQuery(r.Context(), p)
	if err != nil {
		return err
	}
	// After a store was restored, an id that somebody kept can be of an event
	// that has yet to come: who reads on from there would miss all until then.
	if last, err := s.depot.LastEvent(r.Context()); err != nil {
		return err
	} else if q.After > last {
		return badParameter("after", "is newer than the newest event, "+eventID(last)+": go on from there, or begin anew")
	}
	expand, err := p.choice("expand", "", "data")
	if err != nil {
		return err
	}
	wait, err := p.wait()
	if err != nil {
		return err
	}
	var out eventList
	err = s.poll(w, r, wait, func(ctx context.Context, last uint64) (bool, time.Time, error) {
		out, err = s.events(ctx, &q, last, expand == "data")
		return err != nil || len(out.Items) > 0, time.Time{}, err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

// eventQuery reads the filters of GET /events.
func (s *Server) eventQuery(ctx context.Context, p parameters) (q depot.EventQuery, err error) {
	switch after := p.text("after"); after {
	case "":
	case afterNow:
		if q.After, err = s.depot.LastEvent(ctx); err != nil {
			return q, err
		}
	default:
		sequence, ok := parseEventID(after)
		if !ok {
			return q, badParameter("after", "must be the id of an event, or now")
		}
		q.After = sequence
	}
	for _, word := range p.words("types") {
		if !slices.Contains(notify.Types(), depot.EventType(word)) {
			return q, badParameter("types", fmt.Sprintf("%q is not a type of event", printable(word, 64)))
		}
		q.Types = append(q.Types, depot.EventType(word))
	}
	if q.ConfigurationID, err = s.configurationFilter(ctx, p); err != nil {
		return q, err
	}
	q.Limit, err = p.limit()
	return q, err
}

// events returns a page; last is the newest event that there was before. Pages
// on which nothing was selected are passed over, for good.
func (s *Server) events(ctx context.Context, q *depot.EventQuery, last uint64, expand bool) (eventList, error) {
	for {
		page, err := s.depot.Events(ctx, *q)
		if err != nil {
			return eventList{}, err
		}
		through, next := max(last, q.After), ""
		if n := len(page.Items); n > 0 {
			through = max(through, page.Items[n-1].Sequence)
		}
		if page.NextCursor != "" {
			if through, err = strconv.ParseUint(page.NextCursor, 10, 64); err != nil {
				return eventList{}, fmt.Errorf("read the depot's cursor: %w", err)
			}
			next = eventID(through)
		}
		if len(page.Items) == 0 {
			q.After = through
			if next != "" {
				continue
			}
		}
		items := make([]eventJSON, 0, len(page.Items))
		for _, e := range page.Items {
			item, err := s.eventToJSON(ctx, e, expand)
			if err != nil {
				return eventList{}, err
			}
			items = append(items, item)
		}
		out := eventList{list: newList(items, next)}
		if through > 0 {
			out.Through = orNull(eventID(through))
		}
		return out, nil
	}
}

// RenderEvent returns an event as webhooks get it: as the API shows it, with
// what it is about.
func (s *Server) RenderEvent(ctx context.Context, e depot.Event) ([]byte, error) {
	item, err := s.eventToJSON(ctx, e, true)
	if err != nil {
		return nil, fmt.Errorf("render event %s: %w", eventID(e.Sequence), err)
	}
	return json.Marshal(item)
}

// eventToJSON renders an event, and if that is wanted, what it is about as
// that is now.
func (s *Server) eventToJSON(ctx context.Context, e depot.Event, expand bool) (eventJSON, error) {
	item := eventJSON{
		ID:                eventID(e.Sequence),
		Type:              string(e.Type),
		OktaEventType:     orNull(notify.OktaEventType(e.Type)),
		At:                timeText(e.At),
		CreatedAt:         timeText(e.At),
		CertificateSerial: orNull(e.CertificateSerial),
		DeviceKey:         orNull(e.DeviceKey),
		TransactionID:     orNull(e.TransactionID),
		RequestID:         orNull(e.RequestID),
		ChallengeID:       orNull(e.ChallengeID),
		SubjectID:         orNull(e.SubjectID),
		By:                orNull(e.By),
		Reason:            orNull(e.Reason),
		SupersededBy:      orNull(e.SupersededBy),
		CommandID:         orNull(e.CommandID),
		Source:            orNull(e.Source),
		Count:             numberOrNull(e.Count),
		FrozenAt:          timeOrNull(e.FrozenAt),
	}
	if e.ConfigurationID != "" {
		item.Configuration = &configurationName{e.ConfigurationID, e.ConfigurationName}
	}
	if e.Type == depot.EventClockMoved {
		seconds := int64(e.Offset / time.Second)
		item.OffsetSeconds = &seconds
	}
	if !expand || e.CertificateSerial == "" {
		return item, nil
	}
	var err error
	item.Data, err = s.eventData(ctx, e)
	return item, err
}

// eventID is the id of the event with this sequence.
func eventID(sequence uint64) string {
	digits := strconv.FormatUint(sequence, 16)
	return eventPrefix + strings.Repeat("0", 16-len(digits)) + digits
}

// parseEventID reads the id of an event.
func parseEventID(text string) (sequence uint64, ok bool) {
	digits, isEvent := strings.CutPrefix(text, eventPrefix)
	sequence, err := strconv.ParseUint(digits, 16, 64)
	return sequence, isEvent && err == nil
}

// eventData returns what an event is about as that is now: the item of the
// redistribution window for what concerns that, the certificate for what
// concerns it, nil for others.
func (s *Server) eventData(ctx context.Context, e depot.Event) (any, error) {
	var data any
	var err error
	switch kind, _, _ := strings.Cut(string(e.Type), "."); {
	case s.windows != nil && (kind == "redistribution" || e.Type == depot.EventCertificateSuperseded):
		var item redistribution.Item
		item, err = s.windows.Show(ctx, e.CertificateSerial, time.Time{})
		data = itemToJSON(item)
	case kind == "certificate":
		var identity depot.Identity
		if identity, err = s.depot.Identity(ctx, e.CertificateSerial); err == nil {
			data, err = s.identityJSON(ctx, identity)
		}
	}
	if errors.Is(err, depot.ErrNotFound) {
		return nil, nil
	}
	return data, err
}
