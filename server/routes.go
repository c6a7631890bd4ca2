package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"understudy.example/understudy/configuration"
)

// The paths of the public listener.
const (
	pkiPrefix         = "/pki/"
	scepPath          = "/scep"
	clientSuffix      = "/pkiclient.exe" // appended by Windows and Cisco
	cgiPath           = "/cgi-bin" + clientSuffix
	maxRetryAfter     = time.Hour
	fixedTextType     = "text/plain; charset=utf-8"
	textTooManyTries  = "too many requests"
	textBusy          = "busy, try again later"
	textInternalError = "internal error"
)

// response is what goes back on the public listener. It is made whole before
// the first byte is written, so that no error can follow a good beginning.
type response struct {
	status      int
	contentType string
	body        []byte
	allow       string        // of a 405
	retryAfter  time.Duration // of a 429 or 503
	hangUp      bool          // the rest of the request is not worth reading
	cache       caching
	// authenticate is the WWW-Authenticate of a 401.
	authenticate string
}

// fixedText is an error: a status and a text that owes nothing to the request.
func fixedText(status int, text string) response {
	return response{status: status, contentType: fixedTextType, body: []byte(text + "\n")}
}

// servePublic answers every request of the public listener.
//
// It does not use http.ServeMux, which answers //, /./ and /../ with a
// redirect: SCEP clients do not follow them, and nobody needs them. A path
// matches as it is or not at all.
func (s *Server) servePublic(w http.ResponseWriter, r *http.Request) {
	operation := operationUnknown
	s.tellLabTime(w.Header())
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
			s.send(w, operation, fixedText(http.StatusInternalServerError, textInternalError))
		}
	}()
	if of, answer, ok := s.serveRevocation(w, r); ok {
		operation = of
		s.send(w, operation, answer)
		return
	}
	if path := r.URL.Path; r.URL.RawPath == "" { // else something is escaped that need not be
		if file, ok := s.file(path); ok {
			operation = operationFile
			s.send(w, operation, serveFile(r.Method, file))
			return
		}
		if live, hook, ok := s.challengeEndpoint(path); ok {
			operation = operationChallenge
			s.send(w, operation, s.serveChallenge(w, r, live, hook))
			return
		}
		if live, ok := s.endpoint(path); ok {
			var answer response
			operation, answer = s.serveSCEP(w, r, live)
			s.send(w, operation, answer)
			return
		}
	}
	s.send(w, operation, fixedText(http.StatusNotFound, "not found"))
}

// panicked counts and logs a panic.
func (s *Server) panicked(value any) {
	s.metrics.panics.Inc()
	logPanic(s.log, value)
}

// endpoint returns the configuration whose SCEP endpoint the path is.
func (s *Server) endpoint(path string) (*configuration.Live, bool) {
	path = strings.TrimSuffix(path, "/")
	if path == cgiPath {
		return s.configurations.ByName(configuration.DefaultName)
	}
	path = strings.TrimSuffix(path, clientSuffix)
	if path == scepPath {
		return s.configurations.ByName(configuration.DefaultName)
	}
	if name, ok := strings.CutPrefix(path, scepPath+"/"); ok {
		return s.configurations.ByName(name)
	}
	if rest, ok := strings.CutPrefix(path, pkiPrefix); ok {
		authority, rest, _ := strings.Cut(rest, scepPath+"/")
		if slices.Contains(s.authority.IDs(), authority) {
			return s.configurations.ByID(rest)
		}
	}
	return nil, false
}

// send writes an answer and counts it.
func (s *Server) send(w http.ResponseWriter, operation string, a response) {
	h := w.Header()
	if a.status != http.StatusNotModified {
		h["Content-Type"] = []string{a.contentType}
		h["Content-Length"] = []string{strconv.Itoa(len(a.body))}
	}
	a.cache.headers(h)
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if a.allow != "" {
		h.Set("Allow", a.allow)
	}
	if a.authenticate != "" {
		h.Set("WWW-Authenticate", a.authenticate)
	}
	if a.retryAfter > 0 {
		h.Set("Retry-After", retrySeconds(a.retryAfter))
	}
	if a.hangUp {
		h.Set("Connection", "close")
	}
	s.metrics.request(operation, a.status)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that hung up needs no answer
}

// retrySeconds is a wait in whole seconds, rounded up.
func retrySeconds(wait time.Duration) string {
	wait = min(wait, maxRetryAfter)
	return strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10)
}
