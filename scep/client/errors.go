package client

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
)

// A Violation is a rule that the server broke.
type Violation struct {
	Rule   string // where it stands, such as "RFC 8894 §3.2.1.5"
	Detail string // what was seen, in one sentence without a full stop
}

// Error returns the detail and the rule.
func (v *Violation) Error() string { return v.Detail + " (" + v.Rule + ")" }

func broken(rule, format string, args ...any) error {
	return &Violation{Rule: rule, Detail: fmt.Sprintf(format, args...)}
}

// An HTTPError is an answer with a status other than 200.
type HTTPError struct {
	Operation  string // "GetCACert" …
	URL        string // without the query
	StatusCode int
	RetryAfter string // the header as sent, or ""
	Body       string // the first printable characters of the body
}

// Error says which operation failed where, and what to do about it.
func (e *HTTPError) Error() string {
	text := fmt.Sprintf("%s at %s: HTTP %d %s", e.Operation, e.URL, e.StatusCode, http.StatusText(e.StatusCode))
	if e.Body != "" {
		text += fmt.Sprintf(", %q", e.Body)
	}
	switch e.StatusCode {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return text + "; check the SCEP URL"
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong:
		return text + "; the message is too long for this server"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if _, err := strconv.ParseUint(e.RetryAfter, 10, 32); err == nil {
			return text + "; try again in " + e.RetryAfter + " s"
		}
		return text + "; try again later"
	}
	return text
}

// An UnreachableError is an exchange that did not come to an answer.
type UnreachableError struct {
	Operation string
	URL       string // without the query
	Err       error
}

// Error says what could not be reached and why.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s at %s: no answer: %v", e.Operation, e.URL, e.Err)
}

// Unwrap returns the cause: a network error or the context's.
func (e *UnreachableError) Unwrap() error { return e.Err }

// excerpt returns the start of what a server said, in which a person may find a
// hint, without what could move a terminal's cursor.
func excerpt(body []byte) string {
	const most = 240
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, string(body[:min(len(body), most)]))
	return strings.TrimSpace(text)
}

// contained runs f and turns a panic into an error. The decoder behind it
// indexes into what the server sent; the value of its panic is not printed.
func contained(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: the decoder gave up on it (%T)", what, p)
		}
	}()
	return f()
}
