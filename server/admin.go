package server

import (
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/lab"
)

// openAPI describes the admin API. A test holds it against the handlers.
//
//go:embed openapi.yaml
var openAPI []byte

// What lies below these needs the token: the API, and what only a lab has.
const (
	apiPrefix = "/api/v1"
	labPrefix = "/lab"
)

// adminName is who did what was done with the admin token. There is one token
// so far.
const adminName = "admin"

// adminFunc is one handler of the admin listener. An error is a *problem, one
// of the depot's, or an internal error that the caller does not get to see.
type adminFunc func(w http.ResponseWriter, r *http.Request) error

// route is one call of the admin listener.
type route struct {
	method, path string
	handle       adminFunc
}

// adminRoutes is the whole admin listener.
func (s *Server) adminRoutes() []route {
	return []route{
		{"GET", apiPrefix + "/configurations", s.listConfigurations},
		{"POST", apiPrefix + "/configurations", s.addConfiguration},
		{"GET", apiPrefix + "/configurations/{configuration}", s.showConfiguration},
		{"PATCH", apiPrefix + "/configurations/{configuration}", s.changeConfiguration},
		{"DELETE", apiPrefix + "/configurations/{configuration}", s.removeConfiguration},
		{"POST", apiPrefix + "/configurations/{configuration}/reset-secret", s.resetSecret},
		{"POST", apiPrefix + "/configurations/{configuration}/check", s.checkConfiguration},
		{"GET", apiPrefix + "/configurations/{configuration}/devices", s.showDeviceList},
		{"PUT", apiPrefix + "/configurations/{configuration}/devices", s.setDeviceList},
		{"DELETE", apiPrefix + "/configurations/{configuration}/devices", s.removeDeviceList},
		{"GET", apiPrefix + "/certificates", s.listCertificates},
		{"GET", apiPrefix + "/certificates/{certificate}", s.showCertificate},
		{"POST", apiPrefix + "/certificates/{certificate}/revoke", s.revokeCertificate},
		{"POST", apiPrefix + "/certificates/{certificate}/used", s.useCertificate},
		{"GET", apiPrefix + "/crls/{issuer}", s.showCRL},
		{"GET", apiPrefix + "/challenges", s.listChallenges},
		{"POST", apiPrefix + "/challenges", s.addChallenge},
		{"GET", apiPrefix + "/challenges/{challenge}", s.showChallenge},
		{"DELETE", apiPrefix + "/challenges/{challenge}", s.withdrawChallenge},
		{"GET", apiPrefix + "/requests", s.listRequests},
		{"GET", apiPrefix + "/requests/{request}", s.showRequest},
		{"POST", apiPrefix + "/requests/{request}/approve", s.decideRequest(s.enroll.Approve)},
		{"POST", apiPrefix + "/requests/{request}/deny", s.decideRequest(s.enroll.Deny)},
		{"GET", apiPrefix + "/devices", s.listDevices},
		{"GET", apiPrefix + "/devices/{device}", s.showDevice},
		{"GET", apiPrefix + "/authority", s.showAuthority},
		{"GET", apiPrefix + "/authority/rollover", s.showRollover},
		{"POST", apiPrefix + "/authority/rollover/prepare", s.prepareRollover},
		{"POST", apiPrefix + "/authority/rollover/activate", s.activateRollover},
		{"POST", apiPrefix + "/authority/rollover/cancel", s.cancelRollover},
		{"GET", apiPrefix + "/events", s.listEvents},
		{"GET", apiPrefix + "/audit/verify", s.verifyLedger},
		{"GET", apiPrefix + "/backup", s.downloadBackup},
		{"GET", labPrefix + "/clock", s.showLabClock},
		{"PUT", labPrefix + "/clock", s.moveLabClock(labSetting)},
		{"POST", labPrefix + "/clock/advance", s.moveLabClock(labAdvance)},
		{"POST", labPrefix + "/clock/freeze", s.moveLabClock(only(lab.Freeze))},
		{"POST", labPrefix + "/clock/unfreeze", s.moveLabClock(only(lab.Unfreeze))},
		{"POST", labPrefix + "/clock/reset", s.moveLabClock(only(lab.Reset))},
		{"GET", "/version", s.showVersion},
		{"GET", "/livez", s.livez},
		{"GET", "/readyz", s.readyz},
		{"GET", "/openapi.yaml", showOpenAPI},
		{"GET", "/metrics", s.showMetrics},
	}
}

// adminHandler makes the handler of the admin listener.
func (s *Server) adminHandler() http.Handler {
	methods := make(map[string]map[string]adminFunc) // by path
	for _, r := range s.adminRoutes() {
		if methods[r.path] == nil {
			methods[r.path] = make(map[string]adminFunc)
		}
		methods[r.path][r.method] = r.handle
	}
	mux := http.NewServeMux()
	for pattern, byMethod := range methods {
		mux.HandleFunc(pattern, s.dispatch(byMethod))
	}
	mux.HandleFunc("/", s.dispatch(nil))
	return s.guardAdmin(mux)
}

// dispatch calls the handler of the request's method.
func (s *Server) dispatch(byMethod map[string]adminFunc) http.HandlerFunc {
	var allowed []string
	for method := range byMethod {
		allowed = append(allowed, method)
		if method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	return func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		handle := byMethod[method]
		switch {
		case len(byMethod) == 0:
			s.fail(w, r, notFound("there is nothing at this path"))
		case handle == nil:
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.fail(w, r, newProblem(http.StatusMethodNotAllowed, "method-not-allowed", "this path does not know that method"))
		default:
			if err := handle(w, r); err != nil {
				s.fail(w, r, err)
			}
		}
	}
}

// guardAdmin stands before every handler of the admin listener: it keeps out
// browsers that were sent by somebody else, and whoever has no token.
func (s *Server) guardAdmin(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == http.ErrAbortHandler { //nolint:errorlint // the very value
				panic(v) // net/http breaks the connection
			}
			if v != nil {
				s.panicked(v)
				s.fail(w, r, errors.New("panic"))
			}
		}()
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		s.tellLabTime(h)
		escaped := r.URL.EscapedPath()
		switch {
		case !s.hostAllowed(r.Host):
			s.fail(w, r, newProblem(http.StatusForbidden, "foreign-host", "this listener does not answer to that host name"))
		case crossOrigin.Check(r) != nil:
			s.fail(w, r, newProblem(http.StatusForbidden, "cross-origin", "cross-origin requests are not allowed"))
		case (below(escaped, apiPrefix) || below(escaped, labPrefix)) && !s.authorised(r):
			h.Set("WWW-Authenticate", `Bearer realm="understudy"`)
			s.fail(w, r, newProblem(http.StatusUnauthorized, "unauthorized", "a valid bearer token is needed"))
		case escaped != path.Clean("/"+escaped): // the mux would redirect
			s.fail(w, r, notFound("there is nothing at this path"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// below says whether a path is a prefix or lies below it.
func below(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// hostAllowed is the defence against DNS rebinding: a page may point its own
// name at this listener's address, but then the browser sends that name. A
// client that sends no Host (HTTP/1.0) is no browser.
func (s *Server) hostAllowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	equals := func(own string) bool { return strings.EqualFold(own, name) }
	return name == "" || equals("localhost") || slices.ContainsFunc(s.adminHosts, equals)
}

// authorised compares the bearer token. Both sides are hashed, so that neither
// length nor prefix shows in the time.
func (s *Server) authorised(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], s.tokenHash[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// fail answers with a problem document. What is not meant for the caller goes
// to the log instead.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, depot.ErrNotFound):
		p = notFound("there is no such record")
	case errors.Is(err, depot.ErrCursor):
		p = badParameter("cursor", "is not one that this list gave out")
	case errors.Is(err, depot.ErrInvalid):
		p = newProblem(http.StatusBadRequest, "invalid-parameter", "the query contradicts itself")
	case errors.Is(err, depot.ErrExists):
		p = newProblem(http.StatusConflict, "name-in-use", "the name is in use")
	case errors.Is(err, depot.ErrTransactionConflict):
		p = newProblem(http.StatusConflict, "changed-meanwhile", "somebody else changed it at the same time; try again")
	case errors.Is(err, depot.ErrUnavailable):
		s.log.Error("admin request", "method", r.Method, "path", printable(r.URL.Path, maxLogText), "error", err)
		p = newProblem(http.StatusServiceUnavailable, "unavailable", "the store is not available")
		w.Header().Set("Retry-After", retrySeconds(retryLater))
	default:
		s.log.Error("admin request", "method", r.Method, "path", printable(r.URL.Path, maxLogText), "error", err)
		p = newProblem(http.StatusInternalServerError, "internal", "internal error; the log has it")
	}
	if err := writeDocument(w, p.Status, "application/problem+json", p); err != nil {
		s.log.Error("write problem", "error", err)
	}
}

// showOpenAPI serves the description of the API.
func showOpenAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI)
	return nil
}

// showMetrics serves the metrics.
func (s *Server) showMetrics(w http.ResponseWriter, r *http.Request) error {
	s.metrics.handler().ServeHTTP(w, r)
	return nil
}
