// Package app is the model that every other package speaks: services, revisions,
// instances, operations, images, log groups, their states and the one error type
// that crosses packages. It holds values and the rules that need nothing else
// (legal state moves, defaults, ARNs); it does no I/O and imports only the
// standard library.
package app

// AccountID is a 12-digit AWS account number.
type AccountID string

// Region is an AWS region name, for example us-east-1.
type Region string

// Scope is the partition that every control row belongs to. No operation
// sees or names a row of another scope.
type Scope struct {
	Account AccountID
	Region  Region
}

// ServiceID is 32 lowercase hex digits.
type ServiceID string

// RevisionNumber counts the revisions of one service from 1; 0 means none.
type RevisionNumber int

// OperationID is 32 lowercase hex digits, so that the log stream
// deployment/<OperationID> needs no conversion.
type OperationID string

// InstanceID is 32 lowercase hex digits; it is also the instance's hostname.
type InstanceID string

// InterfaceID names a network interface, eni- and 17 hex digits.
type InterfaceID string

// InstallID names this install in every host-visible object, 8 hex digits.
type InstallID string

// Digest is an OCI content digest, for example sha256:….
type Digest string
