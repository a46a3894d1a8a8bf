package wire

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"reflect"

	"github.com/funade/funade/internal/aws/shape"
)

// malformedInput is the code of parameters whose values are not of their types.
const malformedInput = "MalformedInput"

// queryCodec speaks awsQuery: parameters in a form or, presigned, in the URL; answers in XML. An operation is named by
// the parameters Action and Version.
type queryCodec struct{}

// Protocols implements Codec.
func (queryCodec) Protocols() []shape.Protocol { return []shape.Protocol{shape.AWSQuery} }

// Claims implements Codec.
func (queryCodec) Claims(r *http.Request) bool {
	if r.URL.Path != "/" && r.URL.Path != "" {
		return false
	}
	if r.Method == http.MethodGet {
		return r.URL.Query().Has("Action")
	}
	t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return r.Method == http.MethodPost && (t == "application/x-www-form-urlencoded" || r.URL.Query().Has("Action"))
}

// Identify implements Codec. The service is the one that the credential scope names: parameters are in the body. Requests
// in ec2Query look the same, so it also tells which of the two protocols it is.
func (queryCodec) Identify(call *Call, services *Services) error {
	if !call.Signed {
		return nil // Verify refuses it
	}
	found := services.BySigningName(call.Credential.Service, shape.AWSQuery, shape.EC2Query)
	if found == nil {
		e := services.unknown(call.Credential.Service)
		e.Code = "InvalidAction"
		return e
	}
	call.Service, call.handler = found.Service, found.Handler
	if found.Service.Protocol == shape.EC2Query {
		call.codec = ec2Codec{}
	}
	return nil
}

// Decode implements Codec.
func (queryCodec) Decode(call *Call) error { return decodeForm(call, queryNames{}) }

// decodeForm sets the call's operation and input from the parameters of a form.
func decodeForm(call *Call, names naming) error {
	if call.Service == nil {
		return errors.New("an unsigned query request was not refused")
	}
	parameters := map[string]string{}
	err := parseForm(parameters, call.Request.URL.RawQuery)
	if err == nil && call.Request.Method == http.MethodPost {
		err = parseForm(parameters, string(call.Body))
	}
	if err != nil {
		return &Error{Code: "MalformedQueryString", Message: "The request is malformed: " + err.Error() + "."}
	}
	if err := names.check(parameters); err != nil {
		return err
	}
	call.target = parameters["Action"]
	version, ok := parameters["Version"]
	switch {
	case call.target == "":
		return &Error{Code: "MissingAction", Message: "The request must contain the parameter Action."}
	case ok && version != call.Service.APIVersion:
		return &Error{Code: "InvalidAction", Message: fmt.Sprintf("Could not find operation %s for version %s.", shape.Shorten(call.target), shape.Shorten(version))}
	}
	op := call.Service.Operation(call.target)
	if op == nil {
		return call.Service.UnknownOperation(call.target)
	}
	call.Operation, call.Input = op, op.NewInput()
	if err := decodeQuery(parameters, names, op.Input, call.Input, &call.violations); err != nil {
		return &Error{Code: malformedInput, Message: "The parameters are not valid for " + op.Name + ": " + err.Error() + "."}
	}
	return nil
}

// Encode implements Codec.
func (queryCodec) Encode(call *Call) (Response, error) {
	out, err := outputOf(call)
	if err != nil {
		return Response{}, err
	}
	var w xmlWriter
	root := call.Operation.Name + "Response"
	w.WriteString("<" + root + ` xmlns="` + call.Service.XMLNamespace + `">`)
	if wrapper := call.Operation.ResultWrapper; wrapper != "" {
		w.open(wrapper)
		if err := w.members(call.Operation.Output, out, 0); err != nil {
			return Response{}, err
		}
		w.close(wrapper)
	}
	w.open("ResponseMetadata")
	w.text("RequestId", call.ID)
	w.close("ResponseMetadata")
	w.close(root)
	return Response{Status: http.StatusOK, ContentType: "text/xml", Body: w.Bytes()}, nil
}

// outputOf is the structure that a call's output points to.
func outputOf(call *Call) (reflect.Value, error) {
	out := reflect.ValueOf(call.Output)
	if out.Kind() != reflect.Pointer || out.IsNil() {
		return reflect.Value{}, fmt.Errorf("cannot encode %s: no value", call.Operation.Output.Name)
	}
	return out.Elem(), nil
}

// EncodeError implements Codec.
func (queryCodec) EncodeError(call *Call, e *Error) Response {
	var w xmlWriter
	w.WriteString("<ErrorResponse")
	if call.Service != nil {
		w.WriteString(` xmlns="` + call.Service.XMLNamespace + `"`)
	}
	w.WriteString("><Error>")
	kind := "Sender"
	if e.HTTPStatus() >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	w.text("Type", kind)
	w.text("Code", e.Code)
	w.text("Message", e.Message)
	w.WriteString("</Error>")
	w.text("RequestId", call.ID)
	w.WriteString("</ErrorResponse>")
	return Response{Status: e.HTTPStatus(), ContentType: "text/xml", Body: w.Bytes()}
}
