package intune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A StatusError is an answer of Microsoft's that is no success.
type StatusError struct {
	Status     int
	Detail     string        // what it said, shortened
	RetryAfter time.Duration // how long it asked to wait; 0: it did not

	host       string
	generation int // of the token that was sent
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("HTTP status %d", e.Status)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// A WaitError says that Microsoft asked for a pause that is not over. Nothing
// was sent.
type WaitError struct {
	Host  string
	Until time.Time
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("%s asked to be left alone until %s", e.Host, e.Until.UTC().Format(time.RFC3339))
}

// errUnreadable: the answer was a success, and not what the call answers.
var errUnreadable = errors.New("the answer is not the JSON that this call gives")

// exchange sends one request with a token and decodes the answer. It repeats
// nothing.
func (c *Client) exchange(ctx context.Context, method, address, scope, apiVersion string, body, answer any) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("address of the service: %w", err)
	}
	if err := c.waiting(u.Host); err != nil {
		return err
	}
	token, generation, err := c.token(ctx, scope)
	if err != nil {
		return err
	}
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the call: %w", err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("client-request-id", uuid.NewString())
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("api-version", apiVersion)
		request.Header["UserAgent"] = []string{c.o.CallerInfo} // literally so, as the reference client writes it
	}
	request.Header.Set("User-Agent", c.o.CallerInfo)
	response, err := c.http.Do(request)
	if err != nil {
		return withoutURL(err)
	}
	defer response.Body.Close()
	err = c.read(response, answer)
	if status := new(StatusError); errors.As(err, &status) {
		status.generation = generation
	}
	return err
}

// read takes an answer apart.
func (c *Client) read(response *http.Response, answer any) error {
	content, err := io.ReadAll(response.Body)
	if response.StatusCode < 200 || response.StatusCode > 299 {
		// The status says enough, however little of the rest has come.
		e := &StatusError{Status: response.StatusCode, Detail: detailOf(content), RetryAfter: retryAfter(response.Header), host: response.Request.URL.Host}
		c.heed(e)
		return e
	}
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if err := json.Unmarshal(content, answer); err != nil {
		return fmt.Errorf("%w: it begins with %q", errUnreadable, shorten(string(content)))
	}
	return nil
}

// token returns a token for a scope, and its generation.
func (c *Client) token(ctx context.Context, scope string) (token string, generation int, err error) {
	if u, err := url.Parse(c.o.Cloud.Authority); err == nil {
		if err := c.waiting(u.Host); err != nil {
			return "", 0, &TokenError{err}
		}
	}
	token, generation, err = c.tokens.get(ctx, scope)
	var status *StatusError
	if errors.As(err, &status) {
		c.heed(status)
	}
	c.observe("token", resultOf(err), "")
	if err != nil {
		return "", 0, &TokenError{err}
	}
	return token, generation, nil
}

// dropToken says whether a service did not take the token that it was sent. It
// is not sent again then.
func (c *Client) dropToken(err error) (bool, error) {
	var status *StatusError
	var noToken *TokenError
	if errors.As(err, &noToken) || !errors.As(err, &status) || status.Status != http.StatusUnauthorized {
		return false, nil
	}
	return true, c.tokens.forget(status.generation)
}

// A TokenError says that Entra gave no token.
type TokenError struct{ Err error }

func (e *TokenError) Error() string { return "get a token: " + e.Err.Error() }
func (e *TokenError) Unwrap() error { return e.Err }

// heed remembers how long a service asked to be left alone.
func (c *Client) heed(e *StatusError) {
	if e.RetryAfter <= 0 || e.host == "" || e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits[e.host] = time.Now().Add(e.RetryAfter)
}

// waiting refuses a call to a service that asked to be left alone.
func (c *Client) waiting(host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.waits[host]
	if !ok {
		return nil
	}
	if time.Now().Before(until) {
		return &WaitError{host, until}
	}
	delete(c.waits, host)
	return nil
}

// maxRetryAfter is the longest pause that is believed.
const maxRetryAfter = time.Hour

func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}

// resultOf names an outcome for metrics.
func resultOf(err error) string {
	var forbidden *ForbiddenHostError
	var status *StatusError
	var wait *WaitError
	var timeout net.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &forbidden):
		return "forbidden_host"
	case errors.As(err, &status): // before what kept it from a second try
		return "status"
	case errors.As(err, &wait):
		return "waiting"
	case errors.Is(err, errUnreadable):
		return "unreadable"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "unreachable"
}

// connectFailed says whether a request never reached the service.
func connectFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// withoutURL drops the address that net/http puts before its errors: it is in
// the sentence already.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// detailOf is what an error answer says, in Graph's form or in any other.
func detailOf(content []byte) string {
	var graph struct {
		Error struct{ Code, Message string }
	}
	if json.Unmarshal(content, &graph) == nil && graph.Error.Code != "" {
		return shorten(graph.Error.Code + ": " + graph.Error.Message)
	}
	return shorten(string(content))
}

// shorten makes a text fit for a log line.
func shorten(text string) string {
	const most = 300
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
