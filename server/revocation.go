package server

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/ocsp"
	"understudy.example/understudy/revocation"
)

// The paths by which relying parties find what is revoked. They stand in
// certificates, so they never change.
const (
	crlPrefix    = "/crl/"
	crlSuffix    = ".crl"
	issuerPrefix = "/issuer/"
	issuerSuffix = ".cer"
	ocspPath     = "/ocsp"

	// crlAge is how long a cache may keep a CRL. It is short: whoever revokes
	// in a lab wants to see what comes of it.
	crlAge = time.Minute

	ocspRequestType  = "application/ocsp-request"
	ocspResponseType = "application/ocsp-response"
)

// CRLURL returns where the CRL of an issuer is found below a base URL; the
// issuer is named by its subject key identifier in lower-case hex.
func CRLURL(base, issuerSKI string) string { return base + crlPrefix + issuerSKI + crlSuffix }

// IssuerURL returns where an issuer's certificate is found below a base URL.
func IssuerURL(base, issuerSKI string) string { return base + issuerPrefix + issuerSKI + issuerSuffix }

// OCSPURL returns where the OCSP responder is found below a base URL. It
// answers for every issuer.
func OCSPURL(base string) string { return base + ocspPath }

// Revocation is how revocations are told to the world. Without it there are no
// CRL and no OCSP.
type Revocation struct {
	Publisher *revocation.Publisher
	Responder *revocation.Responder
	Service   *revocation.Service
}

// serveRevocation answers a request for a CRL, an issuer's certificate or an
// OCSP response; false when the path is none of them.
func (s *Server) serveRevocation(w http.ResponseWriter, r *http.Request) (string, response, bool) {
	path := r.URL.EscapedPath() // base64 in a path has escapes
	if ski, ok := between(path, issuerPrefix, issuerSuffix); ok {
		return operationFile, s.issuerFile(r.Method, ski), true
	}
	if s.revocation == nil {
		return operationUnknown, response{}, false
	}
	if ski, ok := between(path, crlPrefix, crlSuffix); ok {
		return operationCRL, s.serveCRL(r, ski), true
	}
	if path == ocspPath || strings.HasPrefix(path, ocspPath+"/") {
		return operationOCSP, s.serveOCSP(w, r, strings.TrimPrefix(path, ocspPath)), true
	}
	return operationUnknown, response{}, false
}

// between returns what stands in a path between prefix and suffix.
func between(path, prefix, suffix string) (string, bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, suffix)
}

// issuer returns the issuer, of whatever generation, with this subject key
// identifier in lower-case hex; nil when there is none.
func (s *Server) issuer(ski string) *x509.Certificate {
	for _, g := range s.authority.Generations() {
		if hex.EncodeToString(g.Issuer.SubjectKeyId) == ski {
			return g.Issuer
		}
	}
	return nil
}

// issuerFile answers with an issuer's certificate, as caIssuers in
// certificates promises (RFC 5280 section 4.2.2.1).
func (s *Server) issuerFile(method, ski string) response {
	issuer := s.issuer(ski)
	if issuer == nil {
		return fixedText(http.StatusNotFound, "there is no such issuer")
	}
	return serveFile(method, derFile(issuer))
}

// serveCRL answers with the CRL of an issuer (RFC 5280 section 4.2.1.13).
func (s *Server) serveCRL(r *http.Request, ski string) response {
	issuer := s.issuer(ski)
	if issuer == nil {
		return fixedText(http.StatusNotFound, "there is no such issuer")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return onlyReading()
	}
	crl, err := s.revocation.Publisher.CRL(r.Context(), issuer)
	switch {
	case errors.Is(err, revocation.ErrIssuerEnded):
		return fixedText(http.StatusNotFound, "that issuer has ended")
	case err != nil:
		s.log.Error("make CRL", "issuer_ski", ski, "error", err)
		return failed(err)
	}
	left := crl.NextUpdate.Sub(s.clock.Now())
	return response{
		status: http.StatusOK, contentType: "application/pkix-crl", body: crl.DER,
		cache: caching{maxAge: max(0, min(crlAge, left)), from: crl.ThisUpdate, to: crl.NextUpdate,
			tag: ski + "-" + strconv.FormatUint(crl.Number, 10)},
	}.unlessKnown(r)
}

// failed is the answer when something went wrong here.
func failed(err error) response {
	if errors.Is(err, depot.ErrUnavailable) {
		unavailable := fixedText(http.StatusServiceUnavailable, "the store is not available")
		unavailable.retryAfter = retryLater
		return unavailable
	}
	return fixedText(http.StatusInternalServerError, textInternalError)
}

// serveOCSP answers an OCSP request by GET or POST (RFC 6960 appendix A). rest
// is the path behind the responder's own. What cannot be an OCSP request is
// turned away before it is parsed; everything else gets an OCSP response.
func (s *Server) serveOCSP(w http.ResponseWriter, r *http.Request, rest string) response {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		refused := fixedText(http.StatusMethodNotAllowed, "method not allowed")
		refused.allow = "GET, POST"
		return refused
	}
	client, _ := s.proxies.client(r)
	if ok, wait := s.limiter.allowClient(client); !ok {
		refused := fixedText(http.StatusTooManyRequests, textTooManyTries)
		refused.retryAfter = wait
		return refused
	}
	request, refused := readOCSP(w, r, rest)
	if refused != nil {
		return *refused
	}
	if !s.gate.enter(r.Context()) {
		return busy(false)
	}
	defer s.gate.leave()
	answer := s.revocation.Responder.Respond(r.Context(), request)
	s.metrics.ocspAnswers.WithLabelValues(answer.Status.String()).Inc()
	out := response{status: http.StatusOK, contentType: ocspResponseType, body: answer.DER}
	if r.Method == http.MethodGet && answer.MaxAge > 0 {
		sum := sha256.Sum256(answer.DER)
		out.cache = caching{maxAge: answer.MaxAge, from: answer.ThisUpdate, to: answer.NextUpdate, tag: hex.EncodeToString(sum[:16])}
		return out.unlessKnown(r)
	}
	return out
}

// readOCSP returns the request of a GET or POST in DER.
func readOCSP(w http.ResponseWriter, r *http.Request, rest string) ([]byte, *response) {
	refuse := func(status int, text string) ([]byte, *response) {
		refused := fixedText(status, text)
		refused.hangUp = r.Method == http.MethodPost
		return nil, &refused
	}
	if r.Method == http.MethodGet {
		request, err := ocsp.FromPath(rest)
		switch {
		case err == nil && len(request) > ocsp.MaxRequest:
			return refuse(http.StatusRequestURITooLong, "request too long")
		case err != nil:
			return refuse(http.StatusBadRequest, "not an OCSP request")
		}
		return request, nil
	}
	switch {
	case r.Header.Get("Content-Encoding") != "":
		return refuse(http.StatusUnsupportedMediaType, "content encodings are not supported")
	case rest != "" && rest != "/":
		return refuse(http.StatusBadRequest, "not an OCSP request")
	case r.ContentLength > ocsp.MaxRequest:
		return refuse(http.StatusRequestEntityTooLarge, "request too large")
	}
	request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ocsp.MaxRequest))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "request too large")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuse(http.StatusRequestTimeout, "request too slow")
	case err != nil:
		return refuse(http.StatusBadRequest, "request incomplete")
	}
	return request, nil
}

// caching is how long an answer may be kept, after RFC 5019 section 6.2. Its
// zero value: not at all.
type caching struct {
	maxAge   time.Duration
	from, to time.Time // thisUpdate and nextUpdate
	tag      string    // entity tag, without its quotes
}

// headers writes the caching headers of an answer.
func (c caching) headers(h http.Header) {
	if c.maxAge <= 0 {
		h["Cache-Control"] = []string{"no-store"} // replies to a GET are for one client
		return
	}
	h.Set("Cache-Control", fmt.Sprintf("max-age=%d, public, no-transform, must-revalidate", int64(c.maxAge/time.Second)))
	h.Set("Last-Modified", c.from.UTC().Format(http.TimeFormat))
	h.Set("Expires", c.to.UTC().Format(http.TimeFormat))
	h.Set("ETag", `"`+c.tag+`"`)
}

// unlessKnown makes the answer a 304 for a client that has it already.
func (a response) unlessKnown(r *http.Request) response {
	if a.cache.maxAge > 0 && hasTag(r, `"`+a.cache.tag+`"`) {
		a.status, a.body = http.StatusNotModified, nil
	}
	return a
}
