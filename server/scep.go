package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

const (
	messageType = "application/x-pki-message"
	// retryLater is the Retry-After of a store that cannot be written now and
	// of a full queue.
	retryLater = 5 * time.Second
)

// serveSCEP answers a request to the endpoint of a configuration. It returns
// which operation it was.
func (s *Server) serveSCEP(w http.ResponseWriter, r *http.Request, live *configuration.Live) (string, response) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		refused := fixedText(http.StatusMethodNotAllowed, "method not allowed")
		refused.allow = "GET, POST"
		return operationUnknown, refused
	}
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return operationUnknown, fixedText(http.StatusBadRequest, "bad query")
	}
	get := r.Method == http.MethodGet
	switch {
	case q.operation == operationPKI, q.operation == "" && !get:
		return operationPKI, s.pkiOperation(w, r, live, q)
	case q.operation == operationCaps && get:
		return operationCaps, s.getCACaps(live)
	case q.operation == operationCert && get:
		return operationCert, s.encoded(s.getCACert(live))
	case q.operation == operationNext && get:
		return operationNext, s.encoded(s.getNextCACert(live))
	}
	return operationUnknown, fixedText(http.StatusBadRequest, "unknown operation")
}

// encoded is an answer made of the authority's certificates, or that it could
// not be made.
func (s *Server) encoded(answer response, err error) response {
	if err != nil {
		s.log.Error("encode the CA certificates", "error", err)
		return fixedText(http.StatusInternalServerError, textInternalError)
	}
	return answer
}

// query is what a SCEP request says in its URL.
type query struct {
	operation string
	message   string // as it stands in the URL: a decoder would make '+' a space
}

// parseQuery reads a raw query. Each of the two parameters may be given once;
// others mean nothing.
func parseQuery(raw string) (query, error) {
	var q query
	var operations, messages int
	for len(raw) > 0 {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(pair, "=")
		switch name {
		case "operation":
			operation, err := url.QueryUnescape(value)
			if err != nil {
				return query{}, errors.New("operation is not well escaped")
			}
			q.operation = operation
			operations++
		case "message":
			q.message = value
			messages++
		}
	}
	if operations > 1 || messages > 1 {
		return query{}, errors.New("a parameter is given twice")
	}
	return q, nil
}

// pkiOperation reads one pkiMessage, has it answered, and says so in the log.
func (s *Server) pkiOperation(w http.ResponseWriter, r *http.Request, live *configuration.Live, q query) response {
	begin := time.Now()
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()
	client, peer := s.proxies.client(r)
	from := enroll.Source{
		Address:   addressText(client),
		Peer:      addressText(peer),
		UserAgent: printable(r.UserAgent(), maxUserAgent),
		TLS:       r.TLS != nil,
	}
	answer, reply := s.process(w, r, live, q, client, from)
	took := time.Since(begin)
	s.transactions.write(live, from, answer, took)
	s.metrics.transaction(live.Record.ID, answer.Outcome, answer.Reason, took)
	s.refusedChallenge(live, answer.Reason, from.Address)
	return reply
}

// refusedChallenge counts a refusal, if its reason is that of a challenge, and
// tells of it.
func (s *Server) refusedChallenge(live *configuration.Live, reason refusal.Reason, source string) {
	if !aboutChallenge(reason) {
		return
	}
	s.metrics.refusedChallenge(reason)
	if s.rejected != nil {
		s.rejected(live.Record.ID, live.Record.Name, string(reason), source)
	}
}

// process takes a message through the limits and the flow.
func (s *Server) process(w http.ResponseWriter, r *http.Request, live *configuration.Live, q query,
	client netip.Addr, from enroll.Source) (enroll.Answer, response) {
	if ok, wait := s.limiter.allow(client, live.Record); !ok {
		refused := fixedText(http.StatusTooManyRequests, textTooManyTries)
		refused.retryAfter = wait
		return turnedAway(refusal.RateLimited, "rate limit"), refused
	}
	message, release, err := s.readMessage(w, r, q)
	defer release()
	if err != nil {
		return err.answer, err.response
	}
	turn := s.turn(live)
	if !turn.gate.enter(r.Context()) {
		return turnedAway(refusal.Busy, "queue full or too long"), busy(false)
	}
	answer := s.answer(r.Context(), turn, enroll.Request{Configuration: live, Message: message, Source: from})
	return answer, statusOf(answer)
}

// A turn is where a message waits until it is worked on, and for how long it
// may then be.
type turn struct {
	gate  *gate
	limit time.Duration
}

// turn returns that of a configuration's messages. Those about which Microsoft
// is asked wait for it most of the time: they must not keep the others out.
func (s *Server) turn(live *configuration.Live) turn {
	if live.Record.Mode == depot.ModeIntune {
		return turn{s.delegated, delegatedTime}
	}
	return turn{s.gate, workTime}
}

// answer runs the flow, holding a slot of the gate. A client that hangs up
// does not stop it: its retry finds the work done. A panic fails this one
// message and nothing else.
func (s *Server) answer(ctx context.Context, t turn, request enroll.Request) (a enroll.Answer) {
	defer t.gate.leave()
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
			a = enroll.Answer{Outcome: enroll.Failed, Internal: fmt.Errorf("panic of type %T", v)}
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.limit)
	defer cancel()
	return s.enroll.Answer(ctx, request)
}

// statusOf maps the flow's answer to HTTP. Every CertRep is a 200, FAILURE
// too: iOS shows "unknown SCEP problem" for anything else. There is never an
// empty 200.
func statusOf(a enroll.Answer) response {
	switch {
	case len(a.Reply) > 0:
		return response{status: http.StatusOK, contentType: messageType, body: a.Reply}
	case errors.Is(a.Internal, depot.ErrUnavailable):
		unavailable := fixedText(http.StatusServiceUnavailable, "the store is not available")
		unavailable.retryAfter = retryLater
		return unavailable
	case a.Outcome == enroll.Refused && a.Internal == nil:
		return fixedText(http.StatusBadRequest, "not a SCEP message")
	}
	return fixedText(http.StatusInternalServerError, textInternalError)
}

// turnedAway is the log's answer for a message that never reached the flow.
func turnedAway(reason refusal.Reason, detail string) enroll.Answer {
	return enroll.Answer{Outcome: enroll.Refused, Reason: reason, Detail: detail}
}

// busy is the answer for whom there is no room.
func busy(hangUp bool) response {
	full := fixedText(http.StatusServiceUnavailable, textBusy)
	full.retryAfter, full.hangUp = retryLater, hangUp
	return full
}

// unread is why a message could not be read.
type unread struct {
	answer   enroll.Answer
	response response
}

// badMessage is an unread message that the client is to blame for.
func badMessage(status int, text, detail string) *unread {
	refused := fixedText(status, text)
	refused.hangUp = true
	return &unread{turnedAway(refusal.BadMessage, detail), refused}
}

// readMessage returns the message of a GET or POST. release must be called
// when the message is not needed any more, in any case.
func (s *Server) readMessage(w http.ResponseWriter, r *http.Request, q query) (message []byte, release func(), err *unread) {
	release = func() {}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, release, badMessage(http.StatusUnsupportedMediaType, "content encodings are not supported", "content encoding")
	}
	if r.Method == http.MethodPost {
		return s.readPost(w, r)
	}
	if len(q.message) > scep.MaxMessageGET {
		return nil, release, badMessage(http.StatusRequestURITooLong, "message too long",
			fmt.Sprintf("message parameter of %d bytes", len(q.message)))
	}
	message, cause := scep.DecodeGET(q.message)
	if cause != nil {
		return nil, release, badMessage(http.StatusBadRequest, "message is not base64", detailOf(cause))
	}
	return message, release, nil
}

// readPost returns the body of a POST of any content type: clients send
// several. What it buffers is bounded, for one request and for all together.
func (s *Server) readPost(w http.ResponseWriter, r *http.Request) (message []byte, release func(), failure *unread) {
	release = func() {}
	if r.ContentLength > scep.MaxMessage {
		return nil, release, badMessage(http.StatusRequestEntityTooLarge, "message too large",
			fmt.Sprintf("body of %d bytes", r.ContentLength))
	}
	body := http.MaxBytesReader(w, r.Body, scep.MaxMessage)
	message, err := io.ReadAll(io.LimitReader(body, ordinaryBody))
	if err == nil && len(message) == ordinaryBody {
		select {
		case s.largeBodies <- struct{}{}:
			release = func() { <-s.largeBodies }
		default:
			return nil, release, &unread{turnedAway(refusal.Busy, "too many large messages at once"), busy(true)}
		}
		var rest []byte
		rest, err = io.ReadAll(body)
		message = append(message, rest...)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, release, badMessage(http.StatusRequestEntityTooLarge, "message too large",
			fmt.Sprintf("body of more than %d bytes", scep.MaxMessage))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, release, badMessage(http.StatusRequestTimeout, "message too slow", "body did not arrive in time")
	case err != nil:
		return nil, release, badMessage(http.StatusBadRequest, "message incomplete", "body ended early")
	case len(message) == 0:
		return nil, release, badMessage(http.StatusBadRequest, "not a SCEP message", "empty body")
	}
	return message, release, nil
}

// detailOf is a refusal's detail for the log.
func detailOf(err error) string {
	if no, ok := refusal.Of(err); ok {
		return no.Detail
	}
	return err.Error()
}
