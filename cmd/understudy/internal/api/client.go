// Package api talks to the admin API of a running server, as the verbs do.
//
// It finds the server through the file that the server leaves in its data
// directory, and turns answers into errors that a person can act on. It must
// not know how anything is printed.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxAnswer = 64 << 20 // bytes; a list of 500 identities has well under one MiB
	// timeout is what the server allows itself for what may take long, such as
	// counting as of a time in the past. That nobody answers at all is noticed
	// much earlier, when connecting.
	timeout = 10 * time.Minute
)

// Client is one server's admin API.
type Client struct {
	// Header goes with every call, besides what the client says itself.
	Header http.Header

	base  string // without a trailing slash
	token string
	http  *http.Client
}

// New returns a client of the admin API at base, for example
// "http://127.0.0.1:8081".
func New(base, token string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%q is not the URL of a server: write http://host:port", base)
	}
	return &Client{
		base:  strings.TrimRight(base, "/"),
		token: token,
		// An admin token goes to the server that was named and nowhere else.
		http: &http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}, nil
}

// Unreachable is the error when no server answered.
type Unreachable struct {
	Server string
	Err    error
}

// Error says which server it was and what to do.
func (e *Unreachable) Error() string {
	return fmt.Sprintf("no server answers at %s (%v); is \"understudy serve\" running?", e.Server, cause(e.Err))
}

// Unwrap returns the network's error.
func (e *Unreachable) Unwrap() error { return e.Err }

// cause removes the method and the URL that net/http puts in front.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Problem is an answer that says no: an RFC 9457 problem document.
type Problem struct {
	Status int          `json:"status"`
	Title  string       `json:"title"`
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors"`
}

// FieldError is what is wrong with one field of a request.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error returns the detail and, one to a line, the fields.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = strings.ToLower(p.Title)
	}
	if text == "" {
		text = fmt.Sprintf("the server answered %d %s", p.Status, http.StatusText(p.Status))
	}
	for _, e := range p.Errors {
		text += "\n  " + e.Field + ": " + e.Detail
	}
	return text
}

// Call sends in as JSON (nothing if nil) and decodes the answer into out
// (ignored if nil). A *json.RawMessage keeps the answer as it came. The error
// is an *Unreachable, a *Problem, or says what was wrong with the answer.
func (c *Client) Call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	body, err := c.send(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("read the server's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// Bytes returns the body of a GET as it is.
func (c *Client) Bytes(ctx context.Context, path string) ([]byte, error) {
	return c.send(ctx, http.MethodGet, path, nil, nil)
}

// Stream returns the body of a GET, which may be long and take its time. The
// caller closes it. Reading it fails when the server broke off.
func (c *Client) Stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	patient := *c.http
	patient.Timeout = 0
	response, err := patient.Do(request)
	if err != nil {
		return nil, &Unreachable{Server: c.base, Err: err}
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		answer, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer)) // what there is of an explanation
		return nil, problemOf(response, answer)
	}
	return response.Body, nil
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	maps.Copy(request.Header, c.Header)
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", "application/json, application/problem+json, */*")
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, &Unreachable{Server: c.base, Err: err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, &Unreachable{Server: c.base, Err: err}
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("the server's answer to %s %s is longer than %d bytes", method, path, maxAnswer)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, problemOf(response, answer)
	}
	return answer, nil
}

// problemOf reads the problem document, or makes one when something else than
// our server answered.
func problemOf(response *http.Response, body []byte) error {
	problem := &Problem{}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if kind != "application/problem+json" || json.Unmarshal(body, problem) != nil {
		problem = &Problem{Detail: fmt.Sprintf("%s answered %s, which is not how an understudy server answers", response.Request.URL.Redacted(), response.Status)}
	}
	problem.Status = response.StatusCode
	switch {
	case problem.Status == http.StatusUnauthorized:
		problem.Detail = "the server did not accept the token; give the right one with --token-file"
	case strings.Contains(response.Header.Get("WWW-Authenticate"), "insufficient_scope"):
		problem.Detail += "; give another token with --token-file"
	}
	return problem
}
