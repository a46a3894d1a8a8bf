package app

import (
	"errors"
	"fmt"
)

// Kind is the closed set of reasons why a use case can fail. Each AWS service
// maps kinds to its wire codes in one place.
type Kind int

// The kinds. KindInternal is the zero value: an error nobody classified.
const (
	KindInternal Kind = iota
	KindNotFound
	KindExists
	KindInvalidState
	KindInvalidRequest
	KindDenied
	KindQuota
	KindThrottled
	KindUnavailable
)

var kindNames = [...]string{"Internal", "NotFound", "Exists", "InvalidState", "InvalidRequest", "Denied", "Quota", "Throttled", "Unavailable"}

// String returns the kind's name without the Kind prefix.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return kindNames[k]
}

// Error is the only error type that crosses packages. Message is shown to the
// caller of the API as it is, so it names the field, the value and the remedy,
// and never a secret. Resource is the ARN, name or id that the error is about.
// Code refines the kind where an AWS service distinguishes more than the kinds do
// (for example ImageNotFoundException beside RepositoryNotFoundException).
type Error struct {
	Kind     Kind
	Code     string
	Resource string
	Message  string
	Err      error
}

// Error returns the message; a cause is part of the message's text already.
func (e *Error) Error() string {
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of a kind; a %w operand becomes reachable by errors.Is.
func Errorf(kind Kind, resource, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Resource: resource, Message: err.Error(), Err: errors.Unwrap(err)}
}

// KindOf returns the kind of the first Error in err's chain, KindInternal if none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}
