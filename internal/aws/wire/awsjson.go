package wire

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/funade/funade/internal/aws/shape"
)

// jsonCodec speaks awsJson1_0 and awsJson1_1, which differ in their content type only. An operation is named by the
// header X-Amz-Target: <prefix>.<Operation>.
type jsonCodec struct{}

// Protocols implements Codec.
func (jsonCodec) Protocols() []shape.Protocol {
	return []shape.Protocol{shape.AWSJSON10, shape.AWSJSON11}
}

// Claims implements Codec.
func (jsonCodec) Claims(r *http.Request) bool { return len(r.Header["X-Amz-Target"]) > 0 }

// Identify implements Codec.
func (jsonCodec) Identify(call *Call, services *Services) error {
	r := call.Request
	targets := r.Header["X-Amz-Target"]
	prefix, operation, ok := strings.Cut(targets[0], ".")
	switch {
	case len(targets) != 1 || !ok:
		return &Error{Code: "UnknownOperationException", Message: "X-Amz-Target must be given once, as <service>.<operation>."}
	case r.Method != http.MethodPost || (r.URL.Path != "/" && r.URL.Path != ""):
		return &Error{Code: "MalformedHttpRequestException", Message: "Requests of this protocol are POSTs to the path /."}
	}
	found := services.ByTarget(prefix)
	if found == nil {
		name := call.Credential.Service
		if name == "" || services.BySigningName(name, shape.AWSJSON10) != nil || services.BySigningName(name, shape.AWSJSON11) != nil {
			name = prefix // the header's word is what is wrong
		}
		return services.unknown(name)
	}
	call.Service, call.handler, call.target = found.Service, found.Handler, operation
	return nil
}

// Decode implements Codec.
func (jsonCodec) Decode(call *Call) error {
	op := call.Service.Operation(call.target)
	if op == nil {
		return call.Service.UnknownOperation(call.target)
	}
	call.Operation, call.Input = op, op.NewInput()
	if err := decodeJSON(call.Body, op.Input, call.Input, &call.violations); err != nil {
		text := strings.TrimSuffix(err.Error(), ",") // a path would have followed
		return &Error{Code: "SerializationException", Message: "The request body is not valid for " + op.Name + ": " + text + "."}
	}
	return nil
}

// Encode implements Codec.
func (jsonCodec) Encode(call *Call) (Response, error) {
	body, err := encodeJSON(nil, call.Operation.Output, call.Output)
	if err != nil {
		return Response{}, err
	}
	return Response{Status: http.StatusOK, ContentType: jsonType(call.Service), Body: body}, nil
}

// EncodeError implements Codec.
func (jsonCodec) EncodeError(call *Call, e *Error) Response {
	message := "message"
	if call.Service != nil {
		message = call.Service.MessageMember
	}
	b := appendJSONString([]byte(`{"__type":`), e.Code)
	b = append(appendJSONString(append(b, ','), message), ':')
	b = appendJSONString(b, e.Message)
	for _, name := range slices.Sorted(maps.Keys(e.Members)) {
		b = append(appendJSONString(append(b, ','), name), ':')
		switch v := e.Members[name].(type) {
		case int, int32, int64:
			b = fmt.Append(b, v)
		default:
			b = appendJSONString(b, fmt.Sprint(v))
		}
	}
	return Response{Status: e.HTTPStatus(), ContentType: jsonType(call.Service), Body: append(b, '}')}
}

func jsonType(s *Service) string {
	if s != nil && s.Protocol == shape.AWSJSON10 {
		return "application/x-amz-json-1.0"
	}
	return "application/x-amz-json-1.1"
}
