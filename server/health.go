package server

import (
	"context"
	"net/http"
	"runtime"
	"time"
)

// readyTime bounds how long /readyz waits for the store.
const readyTime = 2 * time.Second

// readiness is what /readyz says: one word for each part, "ok" or why not.
type readiness struct {
	Status string          `json:"status"`
	Checks readinessChecks `json:"checks"`
}

type readinessChecks struct {
	Store     string `json:"store"`
	Authority string `json:"authority"`
	Server    string `json:"server"`
	// Configurations do not make the server unready: one that cannot serve
	// must not take the others with it.
	Configurations string `json:"configurations"`
}

const partOK = "ok"

// readyz says whether an enrolment would work now, in any configuration.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) error {
	checks := readinessChecks{Store: partOK, Authority: s.authorityState(), Server: partOK}
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	if err := s.depot.Ready(ctx); err != nil {
		checks.Store = "unavailable"
		s.log.Warn("not ready", "store", err)
	}
	if s.stopping.Load() {
		checks.Server = "stopping"
	}
	state, status := "ready", http.StatusOK
	if checks != (readinessChecks{Store: partOK, Authority: partOK, Server: partOK}) {
		state, status = "not_ready", http.StatusServiceUnavailable
	}
	checks.Configurations = s.configurationsState()
	return writeJSON(w, status, readiness{state, checks})
}

// authorityState says whether the authority's certificates are in force.
func (s *Server) authorityState() string {
	now := s.clock.Now()
	for _, c := range s.authority.Chain(false) {
		switch {
		case now.Before(c.NotBefore):
			return "not_yet_valid"
		case !now.Before(c.NotAfter):
			return "expired"
		}
	}
	return partOK
}

// configurationsState says whether all configurations can judge challenges.
func (s *Server) configurationsState() string {
	for _, live := range s.configurations.List() {
		if live.Unavailable() != nil {
			return "some_unavailable"
		}
	}
	return partOK
}

// livez says that the process answers.
func (s *Server) livez(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"alive"})
}

// showVersion says what runs.
func (s *Server) showVersion(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, struct {
		Version string `json:"version"`
		Go      string `json:"go"`
	}{s.version, runtime.Version()})
}
