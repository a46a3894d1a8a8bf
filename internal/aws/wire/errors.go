package wire

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/funade/funade/internal/aws/shape"
	"github.com/funade/funade/internal/aws/sigv4"
)

// refusals names sigv4's refusals in the JSON and in the XML protocols. All are answered with 403.
var refusals = map[sigv4.Kind]struct{ json, xml string }{
	sigv4.Missing:      {"MissingAuthenticationTokenException", "MissingAuthenticationToken"},
	sigv4.Incomplete:   {"IncompleteSignatureException", "IncompleteSignature"},
	sigv4.UnknownKey:   {"UnrecognizedClientException", "InvalidClientTokenId"},
	sigv4.Mismatch:     {"InvalidSignatureException", "SignatureDoesNotMatch"},
	sigv4.Expired:      {"InvalidSignatureException", "SignatureDoesNotMatch"},
	sigv4.ExpiredToken: {"ExpiredTokenException", "ExpiredToken"},
}

// wireError turns any error into what the caller is told. What no type explains is an internal error: the caller gets
// the request id, the report gets the text.
func (m *Mux) wireError(call *Call, err error) *Error {
	if v, ok := errors.AsType[*shape.Violations](err); ok {
		if c, ok := call.errorCodec().(refuser); ok {
			return c.refuse(call, v)
		}
		return &Error{Code: call.Service.ValidationCode, Message: v.Error()}
	}
	if s, ok := errors.AsType[*sigv4.Error](err); ok {
		names := refusals[s.Kind]
		code := names.json
		if call.errorCodec().Protocols()[0].XML() {
			code = names.xml
		}
		return &Error{Code: code, Message: s.Message, Status: http.StatusForbidden}
	}
	if e, ok := shape.AsError(err); ok {
		if e.HTTPStatus() >= http.StatusInternalServerError && m.options.Report != nil {
			m.options.Report(call, err)
		}
		return e
	}
	if errors.Is(err, context.Canceled) && call.Request.Context().Err() != nil {
		return &Error{Code: "RequestAbortedException", Message: "The caller went away before the operation was done.", Err: err}
	}
	if m.options.Report != nil {
		m.options.Report(call, err)
	}
	code := "InternalFailure"
	if call.Service != nil && call.Service.InternalCode != "" {
		code = call.Service.InternalCode
	}
	return &Error{
		Code: code, Status: http.StatusInternalServerError, Err: err,
		Message: "The request failed because of an unexpected error on the server, which has logged it with request id " + call.ID + ".",
	}
}

// refuser is a codec with its own words for violated constraints.
type refuser interface {
	refuse(call *Call, v *shape.Violations) *Error
}

// errorCodec is the codec that errors are written in; before one is known, the one that the request resembles.
func (c *Call) errorCodec() Codec {
	switch {
	case c.codec != nil:
		return c.codec
	case strings.Contains(c.Request.Header.Get("Content-Type"), "json"), c.Request.Header.Get("X-Amz-Target") != "":
		return jsonCodec{}
	}
	return queryCodec{}
}
