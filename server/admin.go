package server

import (
	"context"
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

// What lies below these needs a token: the API, and what only a lab has.
const (
	apiPrefix = "/api/v1"
	labPrefix = "/lab"
)

// adminFunc is one handler of the admin listener. An error is a *problem, one
// of the depot's, or an internal error that the caller does not get to see.
type adminFunc func(w http.ResponseWriter, r *http.Request) error

// route is one call of the admin listener and the scope that it needs.
type route struct {
	method, path string
	needs        scope
	handle       adminFunc
}

// adminRoutes is the whole admin listener.
func (s *Server) adminRoutes() []route {
	return slices.Concat(s.configurationRoutes(), s.certificateRoutes(), s.enrolmentRoutes(), s.windowRoutes(),
		s.outboundRoutes(), s.upkeepRoutes(), s.labRoutes(), s.openRoutes())
}

// configurationRoutes are the endpoints that devices enrol at.
func (s *Server) configurationRoutes() []route {
	return []route{
		{"GET", apiPrefix + "/configurations", scopeRead, s.listConfigurations},
		{"POST", apiPrefix + "/configurations", scopeAdmin, s.addConfiguration},
		{"GET", apiPrefix + "/configurations/{configuration}", scopeRead, noQuery(s.showConfiguration)},
		{"PATCH", apiPrefix + "/configurations/{configuration}", scopeAdmin, s.changeConfiguration},
		{"DELETE", apiPrefix + "/configurations/{configuration}", scopeAdmin, noQuery(s.removeConfiguration)},
		{"POST", apiPrefix + "/configurations/{configuration}/reset-secret", scopeAdmin, s.resetSecret},
		{"POST", apiPrefix + "/configurations/{configuration}/check", scopeAdmin, s.checkConfiguration},
		{"GET", apiPrefix + "/configurations/{configuration}/devices", scopeRead, s.showDeviceList},
		{"PUT", apiPrefix + "/configurations/{configuration}/devices", scopeAdmin, noQuery(s.setDeviceList)},
		{"DELETE", apiPrefix + "/configurations/{configuration}/devices", scopeAdmin, noQuery(s.removeDeviceList)},
	}
}

// certificateRoutes are what was issued, and to whom.
func (s *Server) certificateRoutes() []route {
	return []route{
		{"GET", apiPrefix + "/certificates", scopeRead, s.listCertificates},
		{"GET", apiPrefix + "/certificates/export", scopeRead, s.exportCertificates},
		{"GET", apiPrefix + "/certificates/{certificate}", scopeRead, noQuery(s.showCertificate)},
		{"POST", apiPrefix + "/certificates/{certificate}/revoke", scopeAdmin, s.revokeCertificate},
		{"POST", apiPrefix + "/certificates/{certificate}/used", scopeAdmin, s.useCertificate},
		{"GET", apiPrefix + "/crls/{issuer}", scopeRead, noQuery(s.showCRL)},
		{"GET", apiPrefix + "/inventory", scopeRead, s.showInventory},
		{"GET", apiPrefix + "/devices", scopeRead, s.listDevices},
		{"GET", apiPrefix + "/devices/{device}", scopeRead, s.showDevice},
	}
}

// enrolmentRoutes are what comes before a certificate.
func (s *Server) enrolmentRoutes() []route {
	return []route{
		{"GET", apiPrefix + "/challenges", scopeRead, s.listChallenges},
		{"POST", apiPrefix + "/challenges", scopeAdmin, s.addChallenge},
		{"GET", apiPrefix + "/challenges/{challenge}", scopeRead, noQuery(s.showChallenge)},
		{"DELETE", apiPrefix + "/challenges/{challenge}", scopeAdmin, noQuery(s.withdrawChallenge)},
		{"GET", apiPrefix + "/requests", scopeRead, s.listRequests},
		{"GET", apiPrefix + "/requests/{request}", scopeRead, noQuery(s.showRequest)},
		{"POST", apiPrefix + "/requests/{request}/approve", scopeAdmin, s.decideRequest(s.enroll.Approve)},
		{"POST", apiPrefix + "/requests/{request}/deny", scopeAdmin, s.decideRequest(s.enroll.Deny)},
	}
}

// windowRoutes are what has to be pushed again, of one configuration or of all.
func (s *Server) windowRoutes() (routes []route) {
	for _, prefix := range []string{apiPrefix, apiPrefix + "/configurations/{configuration}"} {
		routes = append(routes, []route{
			{"GET", prefix + "/redistribution", scopeRead, s.withWindows(s.listWindow)},
			{"POST", prefix + "/redistribution:ack", scopeAck, s.withWindows(s.acknowledgeMany)},
			{"GET", prefix + "/redistribution/{item}", scopeRead, s.withWindows(s.showWindowItem)},
			{"POST", prefix + "/redistribution/{item}/ack", scopeAck, s.withWindows(s.acknowledge)},
			{"DELETE", prefix + "/redistribution/{item}/ack", scopeAck, noQuery(s.withWindows(s.undoAcknowledgement))},
		}...)
	}
	return routes
}

// outboundRoutes are who is told what, and who may ask.
func (s *Server) outboundRoutes() []route {
	return []route{
		{"GET", apiPrefix + "/webhooks", scopeRead, s.withWebhooks(s.listWebhooks)},
		{"POST", apiPrefix + "/webhooks", scopeAdmin, s.withWebhooks(s.addWebhook)},
		{"GET", apiPrefix + "/webhooks/{webhook}", scopeRead, noQuery(s.withWebhooks(s.showWebhook))},
		{"PATCH", apiPrefix + "/webhooks/{webhook}", scopeAdmin, s.withWebhooks(s.changeWebhook)},
		{"DELETE", apiPrefix + "/webhooks/{webhook}", scopeAdmin, noQuery(s.withWebhooks(s.removeWebhook))},
		{"POST", apiPrefix + "/webhooks/{webhook}/rotate-secret", scopeAdmin, s.withWebhooks(s.rotateWebhookSecret)},
		{"POST", apiPrefix + "/webhooks/{webhook}/enable", scopeAdmin, s.withWebhooks(s.enableWebhook)},
		{"POST", apiPrefix + "/webhooks/{webhook}/test", scopeAdmin, s.withWebhooks(s.testWebhook)},
		{"GET", apiPrefix + "/webhooks/{webhook}/deliveries", scopeRead, s.withWebhooks(s.listDeliveries)},
		{"POST", apiPrefix + "/webhooks/{webhook}/redeliver", scopeAdmin, s.withWebhooks(s.redeliver)},
		{"GET", apiPrefix + "/tokens", scopeAdmin, s.listTokens},
		{"POST", apiPrefix + "/tokens", scopeAdmin, s.addToken},
		{"DELETE", apiPrefix + "/tokens/{token}", scopeAdmin, noQuery(s.removeToken)},
		{"GET", apiPrefix + "/events", scopeRead, s.listEvents},
	}
}

// upkeepRoutes are the authority and what keeps its data.
func (s *Server) upkeepRoutes() []route {
	return []route{
		{"GET", apiPrefix + "/authority", scopeRead, noQuery(s.showAuthority)},
		{"GET", apiPrefix + "/authority/rollover", scopeRead, s.showRollover},
		{"POST", apiPrefix + "/authority/rollover/prepare", scopeAdmin, s.prepareRollover},
		{"POST", apiPrefix + "/authority/rollover/activate", scopeAdmin, s.activateRollover},
		{"POST", apiPrefix + "/authority/rollover/cancel", scopeAdmin, s.cancelRollover},
		{"GET", apiPrefix + "/audit/verify", scopeRead, s.verifyLedger},
		{"GET", apiPrefix + "/backup", scopeAdmin, s.downloadBackup},
	}
}

// labRoutes are what only a lab has. It takes the admin scope to look, too.
func (s *Server) labRoutes() []route {
	return []route{
		{"GET", labPrefix + "/clock", scopeAdmin, noQuery(s.showLabClock)},
		{"PUT", labPrefix + "/clock", scopeAdmin, s.moveLabClock(labSetting)},
		{"POST", labPrefix + "/clock/advance", scopeAdmin, s.moveLabClock(labAdvance)},
		{"POST", labPrefix + "/clock/freeze", scopeAdmin, s.moveLabClock(only(lab.Freeze))},
		{"POST", labPrefix + "/clock/unfreeze", scopeAdmin, s.moveLabClock(only(lab.Unfreeze))},
		{"POST", labPrefix + "/clock/reset", scopeAdmin, s.moveLabClock(only(lab.Reset))},
	}
}

// openRoutes need no token.
func (s *Server) openRoutes() []route {
	return []route{
		{"GET", "/version", scopeNone, s.showVersion},
		{"GET", "/livez", scopeNone, s.livez},
		{"GET", "/readyz", scopeNone, s.readyz},
		{"GET", "/openapi.yaml", scopeNone, showOpenAPI},
		{"GET", "/metrics", scopeNone, s.showMetrics},
	}
}

// adminHandler makes the handler of the admin listener.
func (s *Server) adminHandler() http.Handler {
	methods := make(map[string]map[string]route) // by path
	for _, r := range s.adminRoutes() {
		if methods[r.path] == nil {
			methods[r.path] = make(map[string]route)
		}
		methods[r.path][r.method] = r
	}
	mux := http.NewServeMux()
	for pattern, byMethod := range methods {
		mux.HandleFunc(pattern, s.dispatch(byMethod))
	}
	mux.HandleFunc("/", s.dispatch(nil))
	return s.guardAdmin(mux)
}

// dispatch calls the handler of the request's method, for a token that may.
func (s *Server) dispatch(byMethod map[string]route) http.HandlerFunc {
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
		route, known := byMethod[method]
		switch {
		case len(byMethod) == 0:
			s.fail(w, r, notFound("there is nothing at this path"))
		case !known:
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.fail(w, r, newProblem(http.StatusMethodNotAllowed, "method-not-allowed", "this path does not know that method"))
		default:
			err := permit(w, r, route.needs)
			if err == nil {
				err = route.handle(w, r)
			}
			if err != nil {
				s.fail(w, r, err)
			}
		}
	}
}

// noQuery is a handler that knows no parameters and says so: who asks for a
// certificate as of some time must not be shown it as of now.
func noQuery(handle adminFunc) adminFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := readParameters(r); err != nil {
			return err
		}
		return handle(w, r)
	}
}

// guardAdmin stands before every handler of the admin listener: it keeps out
// browsers that were sent by somebody else, and whoever has no token.
func (s *Server) guardAdmin(next http.Handler) http.Handler {
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
		ctx, err := s.admit(w, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// admit says why a request gets no further, or returns the context with which
// it goes on.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) (context.Context, error) {
	switch {
	case !s.hostAllowed(r.Host):
		return nil, newProblem(http.StatusForbidden, "foreign-host", "this listener does not answer to that host name")
	case http.NewCrossOriginProtection().Check(r) != nil:
		return nil, newProblem(http.StatusForbidden, "cross-origin", "cross-origin requests are not allowed")
	}
	ctx, escaped := r.Context(), r.URL.EscapedPath()
	if below(escaped, apiPrefix) || below(escaped, labPrefix) {
		var err error
		if ctx, err = s.authenticate(w, r); err != nil {
			return nil, err
		}
	}
	if escaped != path.Clean("/"+escaped) { // the mux would redirect
		return nil, notFound("there is nothing at this path")
	}
	return ctx, nil
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

// fail answers with a problem document. What is not meant for the caller goes
// to the log instead.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	switch {
	case r.Context().Err() != nil && errors.Is(err, r.Context().Err()):
		return // the client is gone; nobody is left to be told
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
	s.metrics.handler.ServeHTTP(w, r)
	return nil
}
