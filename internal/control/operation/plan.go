package operation

import (
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/store"
)

// Plan is how one type of operation proceeds.
type Plan struct {
	// Begin is the event that tells of the start.
	Begin string
	Steps []Step
	// Undo are the steps after a RollBack verdict; empty: a RollBack is a Fail.
	Undo []Step
	// Cancellable are the steps in which a cancel is honoured.
	Cancellable []string
	// Failed writes what follows from a Fail: the service's state and its events.
	Failed func(w *Work, reason string)
}

// Step is one transaction of a plan. It runs again whenever rows that it may look at have changed.
type Step struct {
	Name string
	Run  func(w *Work) Verdict
}

// Work is what a step works on. Changes to Operation and Service are written after the step.
type Work struct {
	Tx        *store.Tx
	Operation *app.Operation
	Service   *app.Service
	Now       time.Time
	IDs       id.Source
	// Since is when this process began to look: time limits do not count what passed while nobody did.
	Since time.Time
}

// Verdict is a step's answer.
type Verdict struct {
	kind   verdictKind
	until  time.Time
	reason string
}

type verdictKind int

const (
	wait verdictKind = iota
	next
	fail
	rollBack
	done
)

// Next moves on to the following step, in a transaction of its own.
func Next() Verdict { return Verdict{kind: next} }

// Wait runs the step again when rows change, at the latest at until (zero: no limit).
func Wait(until time.Time) Verdict { return Verdict{kind: wait, until: until} }

// Fail ends the operation; the reason is one line for people.
func Fail(reason string) Verdict { return Verdict{kind: fail, reason: reason} }

// RollBack goes on with the undo steps; the reason is one line for people.
func RollBack(reason string) Verdict { return Verdict{kind: rollBack, reason: reason} }

// Done ends the operation successfully, or the rollback.
func Done() Verdict { return Verdict{kind: done} }

// planOf returns the plan of a type of operation. It is the list of all plans.
func planOf(t app.OperationType) Plan {
	switch t {
	case app.OpCreateService:
		return createPlan()
	case app.OpUpdateService:
		return updatePlan()
	case app.OpStartDeployment:
		return deploymentPlan()
	case app.OpPauseService:
		return pausePlan()
	case app.OpResumeService:
		return resumePlan()
	case app.OpDeleteService:
		return deletePlan()
	}
	panic("operation: no plan for " + string(t))
}

// step returns the current step, and its list.
func (p Plan) step(op *app.Operation) (steps []Step, index int) {
	steps = p.Steps
	if op.Status == app.OpRollbackInProgress {
		steps = p.Undo
	}
	for n, s := range steps {
		if s.Name == op.Step {
			return steps, n
		}
	}
	// A step that an older version knew: from the start, steps being "make it so".
	return steps, 0
}

// Begin writes a new operation of a service, both to be put by this call: the service is OPERATION_IN_PROGRESS from
// now on. The service must not have one in flight.
func Begin(tx *store.Tx, ids id.Source, now time.Time, svc *app.Service, t app.OperationType, revision app.RevisionNumber, automatic bool) app.Operation {
	if svc.Operation != "" {
		panic("operation: service " + string(svc.ID) + " has operation " + string(svc.Operation) + " in flight")
	}
	plan := planOf(t)
	op := app.Operation{
		ID: app.OperationID(ids.Hex32()), Scope: svc.Scope, Service: svc.ID, Type: t, Status: app.OpInProgress,
		Revision: revision, From: svc.Routed, Step: plan.Steps[0].Name, StepSince: now,
		Automatic: automatic, StartedAt: now, UpdatedAt: now,
	}
	svc.Operation = op.ID
	w := &Work{Tx: tx, Operation: &op, Service: svc, Now: now, IDs: ids}
	w.say(plan.Begin)
	w.setStatus(app.ServiceInProgress)
	if t == app.OpCreateService && svc.Config.Source.AutoDeployments {
		w.say("Successfully created pipeline for automatic deployments.")
	}
	svc.UpdatedAt = now
	store.Control.Operations.Put(tx, op)
	store.Control.Services.Put(tx, *svc)
	return op
}

// NewRevision writes the service's next revision with its present configuration and returns its number.
func NewRevision(tx *store.Tx, now time.Time, svc *app.Service) app.RevisionNumber {
	svc.LastRevision++
	store.Control.Revisions.Put(tx, app.Revision{
		Service: svc.ID, Number: svc.LastRevision, Config: svc.Config, CreatedAt: now,
	})
	return svc.LastRevision
}

// BeginDeployment starts a deployment of the service's present configuration.
func BeginDeployment(tx *store.Tx, ids id.Source, now time.Time, svc *app.Service, automatic bool) app.Operation {
	svc.PushPending = false
	return Begin(tx, ids, now, svc, app.OpStartDeployment, NewRevision(tx, now, svc), automatic)
}

// Cancellable reports whether the operation is at a step where a cancel leaves everything as it was.
func Cancellable(op app.Operation) bool {
	return slices.Contains(planOf(op.Type).Cancellable, op.Step)
}
