package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

// windowPrefix begins the ids of items; the certificate serial follows.
const windowPrefix = "rd_"

// windowFunc is a handler of what package redistribution knows. of is the id
// of the configuration in the path, empty where the path has none.
type windowFunc func(service *redistribution.Service, of string, w http.ResponseWriter, r *http.Request) error

// withWindows is a handler that there only is where there is a redistribution
// service. The same one serves a path with a configuration and one without.
func (s *Server) withWindows(handle windowFunc) adminFunc {
	return func(w http.ResponseWriter, r *http.Request) (err error) {
		if s.windows == nil {
			return notFound("this server does not look after redistribution")
		}
		of := r.PathValue("configuration")
		if of != "" {
			if of, err = s.configurationID(r.Context(), of); err != nil {
				return err
			}
		}
		return windowProblem(handle(s.windows, of, w, r))
	}
}

// windowProblem translates what package redistribution objects to.
func windowProblem(err error) error {
	status, word := ackStatus(err)
	switch {
	case word == ackNotFound:
		return notFound("there is no such item")
	case word != "":
		return newProblem(status, strings.ReplaceAll(word, "_", "-"), ackDetail(word))
	}
	return err
}

// listWindow is GET /redistribution and GET
// /configurations/{configuration}/redistribution.
func (s *Server) listWindow(service *redistribution.Service, of string, w http.ResponseWriter, r *http.Request) error {
	names := []string{"state", "days", "percent", "strict", "as_of", "device", "profile", "limit", "cursor"}
	if of == "" {
		names = append(names, "configuration")
	}
	p, err := readParameters(r, names...)
	if err != nil {
		return err
	}
	q, err := s.windowQuery(r.Context(), p, of)
	if err != nil {
		return err
	}
	mark := windowMark(q)
	if q.Cursor != "" {
		inner, ours := strings.CutPrefix(q.Cursor, mark)
		if !ours {
			return depot.ErrCursor
		}
		q.Cursor = inner
	}
	extend(w, chunkTimeout) // a time in the past may take long
	page, err := service.List(r.Context(), q)
	if err != nil {
		return err
	}
	if page.NextCursor != "" {
		page.NextCursor = mark + page.NextCursor
	}
	return s.writeWindow(w, r, page)
}

// windowQuery reads the query of a list.
func (s *Server) windowQuery(ctx context.Context, p parameters, of string) (q redistribution.Query, err error) {
	q = redistribution.Query{DeviceKey: p.text("device"), ProfileUUID: p.text("profile"), Cursor: p.text("cursor")}
	for _, word := range p.words("state") {
		state := redistribution.State(word)
		if !slices.Contains(redistribution.States(), state) {
			return q, badParameter("state", "must be valid, due, acknowledged, stalled, superseded, expired or revoked, or several of them with commas")
		}
		q.States = append(q.States, state)
	}
	if q.Policy, err = windowPolicy(p); err != nil {
		return q, err
	}
	if q.AsOf, err = p.time("as_of"); err != nil {
		return q, err
	}
	if of == "" {
		if of, err = s.configurationFilter(ctx, p); err != nil {
			return q, err
		}
	}
	if of != "" {
		q.ConfigurationIDs = []string{of}
	}
	q.Counts = q.Cursor == ""
	q.Limit, err = p.limit()
	return q, err
}

// windowPolicy reads a policy that is to be looked at instead of the
// configurations' own; nil when there is none.
func windowPolicy(p parameters) (*redistribution.Policy, error) {
	strict, err := p.choice("strict", "false", "true")
	if err != nil {
		return nil, err
	}
	days, percent := p.text("days"), p.text("percent")
	policy := redistribution.Policy{Kind: redistribution.DaysBefore, Strict: strict == "true", AckTimeout: redistribution.DefaultAckTimeout}
	name, text := "days", days
	switch {
	case days != "" && percent != "":
		return nil, badParameter("percent", "cannot be given with days")
	case policy.Strict && days == "":
		return nil, badParameter("strict", "needs the parameter days as well")
	case days == "" && percent == "":
		return nil, nil
	case percent != "":
		policy.Kind, name, text = redistribution.PercentRemaining, "percent", percent
	}
	if policy.Value, err = strconv.Atoi(text); err != nil || policy.Validate() != nil {
		return nil, badParameter(name, "must be a whole number, of days from 0 to 3650 or percent from 1 to 99")
	}
	return &policy, nil
}

// windowMark is what the cursors of a list begin with, so that one is not
// taken for a place in a list with other filters.
func windowMark(q redistribution.Query) string {
	states := slices.Sorted(slices.Values(q.States))
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", q.ConfigurationIDs, slices.Compact(states), q.DeviceKey, strings.ToLower(q.ProfileUUID)))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// showWindowItem is GET …/redistribution/{item}.
func (s *Server) showWindowItem(service *redistribution.Service, of string, w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, "as_of", "wait")
	if err != nil {
		return err
	}
	asOf, err := p.time("as_of")
	if err != nil {
		return err
	}
	wait, err := p.wait()
	if err != nil {
		return err
	}
	if wait > 0 && !asOf.IsZero() {
		return badParameter("wait", "cannot be given with as_of")
	}
	serial, err := s.windowSerial(r.Context(), of, r.PathValue("item"))
	if err != nil {
		return err
	}
	var item redistribution.Item
	err = s.poll(w, r, wait, func(ctx context.Context, _ uint64) (bool, time.Time, error) {
		item, err = service.Show(ctx, serial, asOf)
		return settled(item.State), item.Closes, err
	})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, wholeItemJSON{itemToJSON(item), historyToJSON(item)})
}

// settled says whether nobody has to wait for a device any more.
func settled(state redistribution.State) bool {
	return state == redistribution.Superseded || state == redistribution.Revoked || state == redistribution.Expired
}

// windowSerial reads the id of an item, which is one of the configuration if
// there is one in the path.
func (s *Server) windowSerial(ctx context.Context, of, id string) (string, error) {
	text, isItem := strings.CutPrefix(id, windowPrefix)
	serial, isSerial := parseCertificateSerial(text)
	if !isItem || !isSerial {
		return "", depot.ErrNotFound
	}
	if of == "" {
		return serial, nil
	}
	identity, err := s.depot.Identity(ctx, serial)
	if err == nil && identity.ConfigurationID != of {
		err = depot.ErrNotFound
	}
	return serial, err
}
