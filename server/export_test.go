package server

import (
	"log/slog"
	"net"
)

// NewSharing is the listener that shares connections out, and how many clients
// it remembers.
func NewSharing(l net.Listener) (sharing net.Listener, remembered func() int) {
	made := newSharing(l, nil, slog.New(slog.DiscardHandler))
	return made, func() int {
		made.mu.Lock()
		defer made.mu.Unlock()
		return len(made.numbers)
	}
}

// AdminRoutes lists the routes of the admin listener as "METHOD path", for
// the test that holds the description against them.
func (s *Server) AdminRoutes() []string {
	var routes []string
	for _, r := range s.adminRoutes() {
		routes = append(routes, r.method+" "+r.path)
	}
	return routes
}

// AdminScopes returns the scope that each route needs, by "METHOD path".
func (s *Server) AdminScopes() map[string]string {
	needs := make(map[string]string)
	for _, r := range s.adminRoutes() {
		needs[r.method+" "+r.path] = string(r.needs)
	}
	return needs
}
