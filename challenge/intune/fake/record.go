package fake

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"
)

// maxBody bounds what is posted: a CSR with the longest challenge has about
// 12 KiB in base64.
const maxBody = 256 << 10

// maxCalls and maxKept, in bytes, bound the record: the oldest calls are
// forgotten.
const maxCalls, maxKept = 100_000, 256 << 20

// A Service is one of the endpoints of Microsoft that the cloud plays.
type Service string

// The services.
const (
	ServiceOpenID   Service = "openid"   // Entra: OpenID configuration
	ServiceToken    Service = "token"    // Entra: token endpoint
	ServiceInstance Service = "instance" // Entra: instance discovery; a client set up right never asks
	ServiceGraph    Service = "graph"    // Graph: endpoints of a service principal
	ServiceValidate Service = "validate" // Intune: ScepActions/validateRequest
	ServiceSuccess  Service = "success"  // Intune: ScepActions/successNotification
	ServiceFailure  Service = "failure"  // Intune: ScepActions/failureNotification
	ServiceDownload Service = "download" // Intune: downloadRevocationRequests
	ServiceUpload   Service = "upload"   // Intune: uploadRevocationResults
	ServiceUnknown  Service = "unknown"  // anything else
)

// services are those that can be made to fail.
var services = []Service{ServiceOpenID, ServiceToken, ServiceInstance, ServiceGraph, ServiceValidate,
	ServiceSuccess, ServiceFailure, ServiceDownload, ServiceUpload}

// A Call is one request that the cloud got, and what it answered. Bodies are
// kept as they came, client secrets and challenges included: it is a lab.
type Call struct {
	At      time.Time   `json:"at"`
	Service Service     `json:"service"`
	Method  string      `json:"method"`
	Path    string      `json:"path"`
	Host    string      `json:"host"`
	Header  http.Header `json:"header"`
	Body    string      `json:"body"`
	Status  int         `json:"status"`  // 0: the connection was cut
	Answer  string      `json:"answer"`  // body of the answer
	Code    string      `json:"code"`    // Intune's code, if it gave one
	Strange []string    `json:"strange"` // what the real service is not known to mind, but a reviewer should
}

// Calls returns what was asked since the beginning or the last ForgetCalls, in
// the order in which the answers began.
func (c *Cloud) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// CallsTo returns the calls to one service.
func (c *Cloud) CallsTo(s Service) []Call {
	calls := c.Calls()
	return slices.DeleteFunc(calls, func(call Call) bool { return call.Service != s })
}

// ForgetCalls empties the record.
func (c *Cloud) ForgetCalls() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls, c.kept = nil, 0
}

// handler answers a request whose body was read.
type handler func(w http.ResponseWriter, r *http.Request, body []byte)

// record reads the body, lets an armed fault answer instead of the handler, and
// keeps what was said on both sides.
func (c *Cloud) record(s Service, answer handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			writeJSON(w, http.StatusRequestEntityTooLarge, graphError("RequestTooLarge", "the request is too large"))
			return
		}
		if err != nil {
			return // the client went away
		}
		seen := &recorder{header: http.Header{}}
		fault := c.nextFault(s)
		if fault == nil || !fault.answer(seen, r) {
			answer(seen, r, body)
		}
		c.keep(Call{
			At: c.clock.Now(), Service: s, Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host,
			Header: r.Header.Clone(), Body: string(body), Status: seen.status, Answer: seen.body.String(),
			Code: codeIn(seen.body.Bytes()), Strange: seen.strange,
		})
		if fault != nil && fault.Late {
			fault.wait(r)
		}
		seen.send(w)
	})
}

func (c *Cloud) keep(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
	c.kept += call.size()
	if len(c.calls) <= maxCalls && c.kept <= maxKept {
		return
	}
	// A part at a time, so that not every call moves all the others.
	old := max(1, len(c.calls)/10)
	for _, forgotten := range c.calls[:old] {
		c.kept -= forgotten.size()
	}
	c.calls = slices.Delete(c.calls, 0, old)
}

// size is what a call takes of maxKept.
func (c Call) size() int { return len(c.Body) + len(c.Answer) }

// A recorder holds an answer back until it is in the record.
type recorder struct {
	header  http.Header
	status  int
	body    bytes.Buffer
	strange []string
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// send writes the answer to the client. Without one the connection is cut.
func (r *recorder) send(w http.ResponseWriter) {
	if r.status == 0 {
		panic(http.ErrAbortHandler)
	}
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	w.Write(r.body.Bytes()) //nolint:errcheck // the client went away
}

// note writes down something strange about the request in hand.
func note(w http.ResponseWriter, what string) {
	if r, ok := w.(*recorder); ok {
		r.strange = append(r.strange, what)
	}
}

// codeIn reads Intune's code out of an answer.
func codeIn(body []byte) string {
	var answer struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	return answer.Code
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // into a buffer
}

// graphError is the body of an error of Graph, and of Intune's gateway.
func graphError(code, message string) any {
	return map[string]any{"error": map[string]any{"code": code, "message": message}}
}
