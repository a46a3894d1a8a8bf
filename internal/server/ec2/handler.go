// Package ec2 answers the EC2 API for private networks: wire shapes to control's inputs and back, filters, pages, and
// EC2's error codes.
package ec2

import (
	"context"
	"errors"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/logs"
)

// Handler implements the generated EC2 handler.
type Handler struct {
	api.Unimplemented
	control *control.EC2
	output  Output
}

// Output is the part of the log store that holds what hosts wrote.
type Output interface {
	GetEvents(ctx context.Context, in logs.GetEventsInput) (logs.GetEventsOutput, error)
}

// New returns the handler.
func New(c *control.EC2, o Output) *Handler { return &Handler{control: c, output: o} }

// codes are what kinds become when control gave no code.
var codes = map[app.Kind]string{
	app.KindNotFound: "InvalidParameterValue", app.KindExists: "InvalidParameterValue", app.KindInvalidState: "IncorrectState",
	app.KindInvalidRequest: "InvalidParameterValue", app.KindDenied: "UnauthorizedOperation", app.KindQuota: "ResourceLimitExceeded",
	app.KindThrottled: "RequestLimitExceeded", app.KindUnavailable: "Unavailable",
}

// wireError gives an error EC2's code.
func wireError(err error) error {
	var e *app.Error
	if !errors.As(err, &e) {
		return err
	}
	code := e.Code
	if code == "" {
		code = codes[e.Kind]
	}
	if code == "" {
		return err
	}
	out := &wire.Error{Code: code, Message: e.Message, Err: err}
	if e.Kind == app.KindUnavailable {
		out.Status = 503
	}
	return out
}
