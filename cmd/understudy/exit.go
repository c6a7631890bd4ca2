package main

import (
	"errors"
	"fmt"
	"net/http"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

// The exit codes, the same for every verb.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitFindings    = 5 // findings, cases or a chain that does not hold
	exitPending     = 6 // timed out while still pending
	exitUnreachable = 7
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// quietError ends with a code after everything was printed already.
type quietError struct{ code int }

func (e *quietError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// usagef is a mistake in what the user gave.
func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// exitCode returns the exit code of an error.
func exitCode(err error) int {
	var (
		own         *exitError
		quiet       *quietError
		unreachable *api.Unreachable
		notRunning  *api.NotRunning
		problem     *api.Problem
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &quiet):
		return quiet.code
	case errors.As(err, &unreachable), errors.As(err, &notRunning):
		return exitUnreachable
	case errors.As(err, &problem):
		return exitCodeOfStatus(problem.Status)
	default:
		return exitFailed
	}
}

func exitCodeOfStatus(status int) int {
	switch status {
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return exitUsage
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
		return exitRefused
	default:
		return exitFailed
	}
}
