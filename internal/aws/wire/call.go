package wire

import (
	"context"
	"net/http"

	"github.com/funade/funade/internal/aws/shape"
	"github.com/funade/funade/internal/aws/sigv4"
)

// The descriptors and the error type of package shape, under the names that servers use.
type (
	Service   = shape.Service
	Operation = shape.Operation
	Error     = shape.Error
)

// Caller is whoever signed a request, and the region that the request is for.
type Caller struct {
	AccessKeyID string
	Account     string
	UserName    string // empty for the account's root
	UserID      string
	ARN         string
	Region      string // from the credential scope
}

type callerKey struct{}

// WithCaller returns a context that CallerFrom finds the caller in.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom finds the caller of the request that a handler serves; ok is false outside of one.
func CallerFrom(ctx context.Context) (c Caller, ok bool) {
	c, ok = ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// Call is one API request on its way through the steps. Each step fills its part.
type Call struct {
	ID      string        // request id; answered in x-amzn-RequestId
	Request *http.Request // its context is the handler's

	Credential sigv4.Credential // Identify: claimed, not yet verified
	Signed     bool             // Identify: the request carries a well-formed signature
	Service    *Service         // Identify; nil only if an unsigned request names none
	Body       []byte           // ReadBody
	Caller     Caller           // Verify
	Operation  *Operation       // Decode
	Input      any              // Decode; a pointer to the operation's generated input
	Output     any              // Invoke; a pointer to the operation's generated output

	codec      Codec
	handler    any
	target     string           // the operation's name as the caller wrote it
	violations shape.Violations // found while decoding, reported by Validate
}

// OperationName is the name of the operation that the caller asked for, known or not; empty before it was read.
func (c *Call) OperationName() string { return c.target }

// Step is one part of a request's path. An error ends the path and is answered to the caller.
type Step func(*Call) error

// Response is an encoded answer.
type Response struct {
	Status      int
	ContentType string
	Body        []byte
}

// Codec is one AWS protocol.
type Codec interface {
	// Protocols lists the protocols of service models that this codec serves, at least one.
	Protocols() []shape.Protocol
	// Claims reports, from method, URL and headers, whether a request is written in this protocol.
	Claims(r *http.Request) bool
	// Identify sets the call's service, and its target if headers tell. It sees no body.
	Identify(call *Call, services *Services) error
	// Decode sets the call's operation and input from the body. The signature has been verified.
	Decode(call *Call) error
	// Encode encodes the call's output.
	Encode(call *Call) (Response, error)
	// EncodeError encodes an error; the call may have no service yet.
	EncodeError(call *Call, e *Error) Response
}

// Registration ties a service to what implements it: a value with the generated Handler interface.
type Registration struct {
	Service *Service
	Handler any
}

// Services finds registered services.
type Services struct {
	list     []Registration
	byTarget map[string]*Registration
}

// ByTarget finds the service with that X-Amz-Target prefix; nil if there is none.
func (s *Services) ByTarget(prefix string) *Registration { return s.byTarget[prefix] }

// BySigningName finds the service with that signing name and one of the protocols; nil if there is none.
func (s *Services) BySigningName(name string, protocols ...shape.Protocol) *Registration {
	for i := range s.list {
		r := &s.list[i]
		if r.Service.SigningName != name {
			continue
		}
		for _, p := range protocols {
			if r.Service.Protocol == p {
				return r
			}
		}
	}
	return nil
}
