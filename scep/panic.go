package scep

import (
	"fmt"
	"runtime/debug"

	"understudy.example/understudy/refusal"
)

// A PanicError says that a parser panicked on a message. It is wrapped around
// the refusal that the client gets, so that a server can find it with errors.As
// and count it: there should be none.
//
// The panic's value is not kept. Printing it may panic again, and that ends the
// process; its type does not.
type PanicError struct {
	Type  string // of the panic's value, as %T prints it
	Stack []byte
	err   error
}

// Error returns the type of the panic's value.
func (e *PanicError) Error() string { return e.err.Error() }

// Unwrap returns the refusal.
func (e *PanicError) Unwrap() error { return e.err }

// guarded calls f and turns a panic into a *PanicError around a refusal with
// the given reason.
func guarded(reason refusal.Reason, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			name := fmt.Sprintf("%T", value)
			err = &PanicError{
				Type:  name,
				Stack: debug.Stack(),
				err:   refusal.New(reason, "a parser panicked with a value of type %s", name),
			}
		}
	}()
	return f()
}
