package server

import (
	"net/http"
)

// problem is an error of the admin API (RFC 9457). Everything in it is meant
// for the caller: it never holds the text of an internal error.
type problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail"`
	Errors []fieldError `json:"errors,omitempty"`
}

// fieldError says what is wrong with one field or query parameter.
type fieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// problemType is the prefix of the problems' types. They are names, not
// addresses.
const problemType = "urn:understudy:problem:"

// Error returns the detail, so that a problem can travel as an error.
func (p *problem) Error() string { return p.Detail }

// newProblem returns a problem of kind, the last part of its type.
func newProblem(status int, kind, detail string) *problem {
	return &problem{Type: problemType + kind, Title: http.StatusText(status), Status: status, Detail: detail}
}

// The problems that several handlers have.
func notFound(detail string) *problem {
	return newProblem(http.StatusNotFound, "not-found", detail)
}

func badParameter(field, detail string) *problem {
	p := newProblem(http.StatusBadRequest, "invalid-parameter", "a query parameter is not valid")
	p.Errors = []fieldError{{Field: field, Detail: detail}}
	return p
}

func badJSON(detail string) *problem {
	return newProblem(http.StatusBadRequest, "invalid-json", detail)
}

// invalidRequest is the problem of a body whose fields are wrong and that is
// not the settings of a configuration.
func invalidRequest(wrong ...fieldError) *problem {
	p := newProblem(http.StatusUnprocessableEntity, "invalid-request", "the request is not valid")
	p.Errors = wrong
	return p
}
