package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"understudy.example/understudy/scep/client"
)

const typeMessage = "application/x-pki-message"

// An answer is what came back for one HTTP request, and what it means if it
// was a pkiMessage.
type answer struct {
	err         error // there was none
	status      int
	contentType string
	body        []byte
	took        time.Duration

	message bool          // a CertRep was wanted
	reply   *client.Reply // nil: see unread
	unread  error         // why the body is no CertRep that a client may believe
}

// A request is one HTTP request to the SCEP URL.
type request struct {
	method      string // "" means GET
	url         string // "" means the SCEP URL
	query       string // as it goes over the wire
	contentType string
	body        []byte
	announce    bool // ask by Expect: 100-continue before the body goes out
}

// exchange sends a request and takes whatever comes. When the one before was
// lost, it waits first for the server to come back.
func (s *session) exchange(ctx context.Context, r request) answer {
	if err := s.await(ctx); err != nil {
		return answer{err: err}
	}
	a := s.once(ctx, r)
	if a.err != nil && !errors.Is(a.err, context.DeadlineExceeded) && ctx.Err() == nil {
		s.lost.Store(true)
	}
	return a
}

var errDown = errors.New("the server is down")

// await returns an error when the server is down and does not come back.
func (s *session) await(ctx context.Context) error {
	if s.down.Load() {
		return errDown
	}
	if !s.lost.Load() {
		return nil
	}
	const interval = 100 * time.Millisecond
	for waited := time.Duration(0); ; waited += interval {
		a := s.once(ctx, request{query: "operation=GetCACaps"})
		switch {
		case a.err == nil:
			s.lost.Store(false)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case waited >= s.o.Restart:
			s.down.Store(true)
			return errDown
		}
		if err := s.wait(ctx, interval); err != nil {
			return err
		}
	}
}

// once sends a request once.
func (s *session) once(ctx context.Context, r request) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	begin := time.Now()
	defer func() { a.took = time.Since(begin) }()
	if r.method == "" {
		r.method = http.MethodGet
	}
	if r.url == "" {
		r.url = s.o.URL
	}
	if r.query != "" {
		r.url += "?" + r.query
	}
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	sent, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return answer{err: err}
	}
	if r.contentType != "" {
		sent.Header.Set("Content-Type", r.contentType)
	}
	if s.o.UserAgent != "" {
		sent.Header.Set("User-Agent", s.o.UserAgent)
	}
	if r.announce {
		sent.Header.Set("Expect", "100-continue")
	}
	response, err := s.httpClient().Do(sent)
	if err != nil {
		return answer{err: withoutURL(err)}
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, client.MaxReply))
	if err != nil {
		return answer{err: withoutURL(err)}
	}
	return answer{status: response.StatusCode, contentType: response.Header.Get("Content-Type"), body: content}
}

func (s *session) httpClient() *http.Client {
	if s.o.HTTPClient != nil {
		return s.o.HTTPClient
	}
	return http.DefaultClient
}

// withoutURL drops the URL, in which a whole message may stand, and the
// addresses, of which one is another each time.
func withoutURL(err error) error {
	if o, ok := errors.AsType[*net.OpError](err); ok {
		return &net.OpError{Op: o.Op, Err: rootOf(o.Err)}
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func rootOf(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// String says what was seen, in one line.
func (a answer) String() string {
	switch {
	case a.err != nil && errors.Is(a.err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer in %v", a.took.Round(time.Second))
	case a.err != nil:
		return "no answer: " + a.err.Error()
	case a.reply != nil:
		return statusText(a.reply)
	case errors.Is(a.unread, client.ErrPasswordEnvelope):
		return "SUCCESS in an envelope for a password"
	case a.unread != nil:
		return strings.TrimPrefix(a.unread.Error(), "read reply: ")
	}
	text := fmt.Sprintf("HTTP %d", a.status)
	if a.status == http.StatusOK {
		return fmt.Sprintf("%s, %q, %d bytes", text, a.contentType, len(a.body))
	}
	if words := excerpt(a.body); words != "" {
		text += fmt.Sprintf(" %q", words)
	}
	return text
}

func statusText(p *client.Reply) string {
	switch p.Status {
	case client.Success:
		if p.CRL != nil {
			return fmt.Sprintf("SUCCESS, a CRL of %d entries", len(p.CRL.RevokedCertificateEntries))
		}
		return fmt.Sprintf("SUCCESS, %s, %v", p.Cipher, p.Digest)
	case client.Pending:
		return "PENDING"
	}
	text := "FAILURE " + p.FailInfo.Name()
	if p.FailInfoText != "" {
		text += fmt.Sprintf(" %q", p.FailInfoText)
	}
	return text
}

// excerpt is the start of a body in which a person may find a hint.
func excerpt(body []byte) string {
	const most = 80
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, string(body[:min(len(body), most)]))
	return strings.Join(strings.Fields(text), " ")
}

func (a answer) is(s client.Status) bool { return a.reply != nil && a.reply.Status == s }

// An expectation is what an answer should be.
type expectation struct {
	text  string
	holds func(answer) bool
}

var (
	success    = expectation{"SUCCESS", func(a answer) bool { return a.is(client.Success) }}
	pending    = expectation{"PENDING", func(a answer) bool { return a.is(client.Pending) }}
	anyFailure = expectation{"FAILURE", func(a answer) bool { return a.is(client.Failure) }}
	badRequest = failure(client.BadRequest)
	badAlg     = failure(client.BadAlg)
	badMessage = failure(client.BadMessageCheck)
	http400    = status(http.StatusBadRequest)
)

// failure wants a signed FAILURE with one of some reasons.
func failure(infos ...client.FailInfo) expectation {
	var names []string
	for _, f := range infos {
		names = append(names, f.Name())
	}
	return expectation{"FAILURE " + strings.Join(names, " or "), func(a answer) bool {
		return a.is(client.Failure) && slices.Contains(infos, a.reply.FailInfo)
	}}
}

// status wants an HTTP status.
func status(codes ...int) expectation {
	return expectation{"HTTP " + strings.Trim(strings.ReplaceAll(fmt.Sprint(codes), " ", " or "), "[]"), func(a answer) bool {
		return a.err == nil && slices.Contains(codes, a.status)
	}}
}

// clientError wants an HTTP status from 400 to 499.
var clientError = expectation{"HTTP 4xx", func(a answer) bool { return a.err == nil && a.status >= 400 && a.status <= 499 }}

// either wants one of several.
func either(wants ...expectation) expectation {
	var texts []string
	for _, w := range wants {
		texts = append(texts, w.text)
	}
	return expectation{strings.Join(texts, ", or "), func(a answer) bool {
		return slices.ContainsFunc(wants, func(w expectation) bool { return w.holds(a) })
	}}
}

// accepted wants a certificate, or PENDING where nobody is there to approve.
func (t *trial) accepted() expectation {
	if t.o.Operator.Approve != nil || t.base != nil && t.base.is(client.Success) {
		return success
	}
	return either(success, pending)
}
