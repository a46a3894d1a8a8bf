package app

import "time"

// OperationType is App Runner's, in AWS's words.
type OperationType string

// The operation types.
const (
	OpStartDeployment OperationType = "START_DEPLOYMENT"
	OpCreateService   OperationType = "CREATE_SERVICE"
	OpPauseService    OperationType = "PAUSE_SERVICE"
	OpResumeService   OperationType = "RESUME_SERVICE"
	OpDeleteService   OperationType = "DELETE_SERVICE"
	OpUpdateService   OperationType = "UPDATE_SERVICE"
)

// OperationStatus is App Runner's, in AWS's words.
type OperationStatus string

// The operation states.
const (
	OpPending            OperationStatus = "PENDING"
	OpInProgress         OperationStatus = "IN_PROGRESS"
	OpFailed             OperationStatus = "FAILED"
	OpSucceeded          OperationStatus = "SUCCEEDED"
	OpRollbackInProgress OperationStatus = "ROLLBACK_IN_PROGRESS"
	OpRollbackFailed     OperationStatus = "ROLLBACK_FAILED"
	OpRollbackSucceeded  OperationStatus = "ROLLBACK_SUCCEEDED"
)

// Ended reports whether the status is final.
func (s OperationStatus) Ended() bool {
	switch s {
	case OpFailed, OpSucceeded, OpRollbackFailed, OpRollbackSucceeded:
		return true
	}
	return false
}

// Operation is one unit of asynchronous work on a service; control is its only writer.
type Operation struct {
	ID      OperationID
	Scope   Scope
	Service ServiceID
	Type    OperationType
	Status  OperationStatus
	// Revision is what the operation moves the service to; 0 for pause and delete.
	Revision RevisionNumber
	// From is the revision that served when the operation began; 0 = none.
	From RevisionNumber
	// Step is the name of the plan's current step; StepSince is when it became current.
	Step      string
	StepSince time.Time
	// Reason is why it failed or rolled back, in one line.
	Reason string
	// CancelRequested is set by CancelOperation and honoured by the next step.
	CancelRequested bool
	// Automatic: started by a push, not by a caller.
	Automatic bool
	// WakeAt is when the runner looks again without being woken; zero = only when woken.
	WakeAt    time.Time
	StartedAt time.Time
	UpdatedAt time.Time
	EndedAt   time.Time
}

// EventTarget says which log streams of the service's service group an event goes to.
type EventTarget int

// The targets; they may be combined.
const (
	// ToEvents is the stream "events".
	ToEvents EventTarget = 1 << iota
	// ToDeployment is the stream deployment/<OperationID>; lines there begin with "[AppRunner] ", which whoever
	// ships them puts before Message.
	ToDeployment
)

// Event is one line of a service's or private host's life-cycle log, written in the transaction of the change it tells of
// and shipped to the log store afterwards, in order, exactly once. Control is its only writer.
type Event struct {
	// Seq orders all events of the install; the store assigns it.
	Seq     int64
	Scope   Scope
	Service ServiceID
	Name    string
	// Host is set instead of Service and Name when it is about a private host.
	Host      HostID
	Operation OperationID
	Target    EventTarget
	At        time.Time
	Message   string
}
