package sigv4

import "errors"

// Kind says why a request was refused.
type Kind uint8

// Kinds of refusal. Protocols have different names for each.
const (
	Missing      Kind = iota + 1 // the request has no signature
	Incomplete                   // the signature's form is wrong or a part of it is absent
	UnknownKey                   // nobody owns the access key
	Mismatch                     // the signature is not the one that the secret gives
	Expired                      // the request was signed too long ago, or for a time to come
	ExpiredToken                 // the session token is no longer valid
)

// Error is a refusal; Message is meant for the caller.
type Error struct {
	Kind    Kind
	Message string
}

// Error gives the message.
func (e *Error) Error() string { return e.Message }

// Errors of a Keys that Verify turns into refusals. Any other error passes through unchanged.
var (
	ErrUnknownKey   = errors.New("unknown access key")
	ErrExpiredToken = errors.New("session token has expired")
)
