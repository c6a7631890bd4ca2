package server

import (
	"net/http"
	"time"

	"understudy.example/understudy/redistribution"
)

// inventoryJSON is how many certificates there are, by configuration.
type inventoryJSON struct {
	AsOf            string         `json:"as_of"`
	Totals          map[string]int `json:"totals"` // by state
	list[stockJSON]                // one page
}

// stockJSON is how many certificates a configuration has.
type stockJSON struct {
	Configuration configurationName `json:"configuration"`
	Certificates  map[string]int    `json:"certificates"` // by state
}

// showInventory is GET /inventory. The states are those of the redistribution
// window.
func (s *Server) showInventory(w http.ResponseWriter, r *http.Request) error {
	if s.windows == nil {
		return notFound("this server does not look after redistribution")
	}
	p, err := readParameters(r, "as_of", "configuration")
	if err != nil {
		return err
	}
	asOf, err := p.time("as_of")
	if err != nil {
		return err
	}
	one, err := s.configurationFilter(r.Context(), p)
	if err != nil {
		return err
	}
	ids := []string{one}
	if one == "" {
		ids = ids[:0]
		for _, live := range s.configurations.List() {
			ids = append(ids, live.Record.ID)
		}
	}
	out := inventoryJSON{AsOf: timeText(s.orNow(asOf)), list: newList[stockJSON](nil, "")}
	totals := make(map[redistribution.State]int)
	extend(w, chunkTimeout) // a time in the past may take long
	for _, id := range ids {
		counts, err := s.windows.Counts(r.Context(), []string{id}, nil, asOf)
		if err != nil {
			return windowProblem(err)
		}
		for state, n := range counts {
			totals[state] += n
		}
		out.Items = append(out.Items, stockJSON{s.nameOf(r.Context(), id), countsToJSON(counts)})
	}
	out.Totals = countsToJSON(totals)
	return writeJSON(w, http.StatusOK, out)
}

// orNow returns the time, or the clock's when it is zero.
func (s *Server) orNow(t time.Time) time.Time {
	if t.IsZero() {
		return s.clock.Now()
	}
	return t
}
