package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/funade/funade/internal/aws/shape"
	"github.com/funade/funade/internal/aws/sigv4"
)

// maxAnswer is the largest answer in bytes that a Client reads.
const maxAnswer = 64 << 20

// Client calls a service that speaks one of the JSON protocols, through its descriptor. Generated clients use it as
// their Caller.
type Client struct {
	Service     *Service
	Endpoint    string // URL of the API, such as http://127.0.0.1:4566
	Region      string
	Credentials sigv4.Credentials
	HTTP        *http.Client     // nil means http.DefaultClient
	Now         func() time.Time // nil means time.Now
}

// Call sends one operation. in and out are pointers to its generated input and output. It returns *Error for what the
// service refuses, with the request id as a member, and other errors when there was no answer to understand.
func (c *Client) Call(ctx context.Context, operation string, in, out any) error {
	op := c.Service.Operation(operation)
	if op == nil {
		return fmt.Errorf("cannot call %s: the service %s has no such operation", operation, c.Service.Name)
	}
	body, err := encodeJSON(nil, op.Input, in)
	if err != nil {
		return fmt.Errorf("cannot call %s: %w", operation, err)
	}
	request, err := c.request(ctx, operation, body)
	if err != nil {
		return fmt.Errorf("cannot call %s: %w", operation, err)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("cannot call %s: %w", operation, err)
	}
	defer func() { _ = response.Body.Close() }() // it was read to its end, or the error says more
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("cannot read the answer to %s: %w", operation, err)
	case len(answer) > maxAnswer:
		return fmt.Errorf("cannot read the answer to %s: it is larger than %d bytes", operation, maxAnswer)
	case response.StatusCode != http.StatusOK:
		return refusal(response, answer)
	}
	if err := decodeJSON(answer, op.Output, out, new(shape.Violations)); err != nil {
		return fmt.Errorf("cannot understand the answer to %s: %w", operation, err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, operation string, body []byte) (*http.Request, error) {
	if c.Service.TargetPrefix == "" {
		return nil, errors.New("the service does not speak a JSON protocol")
	}
	endpoint := strings.TrimSuffix(c.Endpoint, "/") + "/"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", jsonType(c.Service))
	request.Header.Set("X-Amz-Target", c.Service.TargetPrefix+"."+operation)
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	return request, sigv4.Sign(request, body, c.Credentials, c.Region, c.Service.SigningName, now())
}

// refusal reads an error answer.
func refusal(response *http.Response, body []byte) error {
	var envelope struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // encoding/json takes Message too
	}
	if err := json.Unmarshal(body, &envelope); err != nil || envelope.Type == "" {
		return fmt.Errorf("the endpoint answered %s, which is not an answer of this API", response.Status)
	}
	code := envelope.Type
	if _, after, ok := strings.Cut(code, "#"); ok {
		code = after
	}
	return &Error{
		Code: code, Message: envelope.Message, Status: response.StatusCode,
		Members: map[string]any{"RequestId": response.Header.Get("X-Amzn-Requestid")},
	}
}
