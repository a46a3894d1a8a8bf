package shape

import (
	"errors"
	"net/http"
)

// Error is what an API answers instead of an output. Generated error types convert to it (see Coded).
type Error struct {
	Code    string         // the wire code, such as ResourceNotFoundException
	Message string         // for the caller; never holds secrets
	Status  int            // HTTP status; 0 means 400
	Members map[string]any // further members of the modelled error, by wire name; strings and numbers only
	Err     error          // the cause, for the log only
}

// Error gives the code and the text.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// HTTPStatus is the status to answer with.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// Coded is what generated error types implement.
type Coded interface {
	error
	// WireError returns the code, status and members of this error.
	WireError() *Error
}

// AsError finds the API error in err's chain.
func AsError(err error) (*Error, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e, true
	}
	if c, ok := errors.AsType[Coded](err); ok {
		return c.WireError(), true
	}
	return nil, false
}
