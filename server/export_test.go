package server

// AdminRoutes lists the routes of the admin listener as "METHOD path", for
// the test that holds the description against them.
func (s *Server) AdminRoutes() []string {
	var routes []string
	for _, r := range s.adminRoutes() {
		routes = append(routes, r.method+" "+r.path)
	}
	return routes
}
