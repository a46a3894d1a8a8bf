package shape

import (
	"context"
	"fmt"
	"net/http"
)

// Protocol is one of the AWS wire protocols.
type Protocol string

// The protocols that a service model can name.
const (
	AWSJSON10 Protocol = "awsJson1_0"
	AWSJSON11 Protocol = "awsJson1_1"
	AWSQuery  Protocol = "awsQuery"
	EC2Query  Protocol = "ec2Query"
)

// XML reports whether answers are XML. These protocols also have error codes without the suffix Exception.
func (p Protocol) XML() bool { return p == AWSQuery || p == EC2Query }

// Service describes one AWS API: what a request to it looks like and which operations it has.
type Service struct {
	Name           string   // package name of the generated code
	ID             string   // the model's serviceId
	SigningName    string   // service part of the credential scope
	Protocol       Protocol // the protocol of the model
	APIVersion     string   // query protocol: the Version parameter
	TargetPrefix   string   // JSON protocols: X-Amz-Target up to the dot
	XMLNamespace   string   // XML protocols: xmlns of the response
	ValidationCode string   // error code of a constraint violation
	InternalCode   string   // the model's code for an internal error; empty if it has none
	MessageMember  string   // JSON protocols: the member that holds an error's text
	Operations     []Operation
	ImplementedBy  func(handler any) bool // the handler has the generated Handler interface

	index map[string]*Operation
}

// Operation describes one operation and ties it to the generated types.
type Operation struct {
	Name          string
	Input, Output *Schema
	ResultWrapper string   // query protocol: the element around the output's members
	Errors        []string // codes that the model lists

	NewInput  func() any // a pointer to an empty input
	NewOutput func() any // a pointer to an empty output
	Validate  func(in any) error
	Invoke    func(ctx context.Context, handler, in any) (out any, err error)
}

// NewService indexes the operations; generated code calls it once per service.
func NewService(s Service) *Service {
	s.index = make(map[string]*Operation, len(s.Operations))
	for i := range s.Operations {
		s.index[s.Operations[i].Name] = &s.Operations[i]
	}
	return &s
}

// Operation finds an operation by name; nil if the service has none of that name.
func (s *Service) Operation(name string) *Operation { return s.index[name] }

// UnknownOperation is the protocol's answer to an operation that the service does not offer: HTTP 400, which no
// client retries. (A 5xx would be retried for minutes, an empty 200 taken for "deleted".)
func (s *Service) UnknownOperation(name string) *Error {
	name = Shorten(name)
	e := &Error{
		Code:    "UnknownOperationException",
		Message: fmt.Sprintf("The operation %q of service %s is not available here.", name, s.SigningName),
		Status:  http.StatusBadRequest,
	}
	if s.Protocol.XML() {
		e.Code = "InvalidAction"
		e.Message = fmt.Sprintf("The action %s is not valid for this web service.", name)
	}
	return e
}
