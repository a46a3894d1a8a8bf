package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"

	"github.com/aws/smithy-go"

	"github.com/funade/funade/internal/aws/shape"
)

// remedies by error code, for errors whose text does not say what to do.
var remedies = map[string]string{
	"UnrecognizedClientException":   "The server does not know this key; eval \"$(sudo funade env)\" sets the current one.",
	"InvalidClientTokenId":          "The server does not know this key; eval \"$(sudo funade env)\" sets the current one.",
	"InvalidSignatureException":     "The secret key does not fit; eval \"$(sudo funade env)\" sets the current one.",
	"SignatureDoesNotMatch":         "The secret key does not fit; eval \"$(sudo funade env)\" sets the current one.",
	"MissingAuthenticationToken":    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; eval \"$(sudo funade env)\" does.",
	"UnknownOperationException":     "The server is older than this program, or the endpoint is not Funade's.",
	"ServiceQuotaExceededException": "Delete what is not needed any more.",
}

// explain turns an error into text for people: what the API said, without the SDK's wrapping, and a remedy.
func explain(err error) string {
	code, message := apiError(err)
	switch {
	case code != "":
		text := message
		if text == "" {
			text = code
		}
		if r := remedies[code]; r != "" {
			text += "\n" + r
		}
		return text
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("cannot reach the server%s: connection refused\nNothing listens there. Is funade server running, and does AWS_ENDPOINT_URL name its --api address?", refusedAt(err))
	case errors.Is(err, context.Canceled):
		return "interrupted; work that has begun goes on in the server, see funade operations"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%v\nRun it as the owner of the data directory, for example with sudo.", err)
	}
	return err.Error()
}

// apiError returns code and message that the API answered; "" when err is something else.
func apiError(err error) (code, message string) {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode(), e.ErrorMessage()
	}
	if e, ok := shape.AsError(err); ok {
		return e.Code, e.Message
	}
	return "", ""
}

// refusedAt is " at ADDRESS" for a connection that was refused, "" when the error does not tell.
func refusedAt(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Addr != nil {
		return " at " + e.Addr.String()
	}
	return ""
}

func isCode(err error, code string) bool {
	got, _ := apiError(err)
	return got == code
}
