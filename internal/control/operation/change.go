package operation

import (
	"fmt"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// minDrain is how long a draining instance is kept although no request is known to be in flight: the front door
// needs a moment to count.
const minDrain = time.Second

// say writes an event to the stream "events".
func (w *Work) say(message string) { w.event(app.ToEvents, message) }

// deploy writes an event to the deployment's own stream.
func (w *Work) deploy(message string) { w.event(app.ToDeployment, message) }

func (w *Work) event(target app.EventTarget, message string) {
	Say(w.Tx, w.Now, w.Service, w.Operation.ID, target, message)
}

// Say writes an event of a service.
func Say(tx *store.Tx, now time.Time, svc *app.Service, op app.OperationID, target app.EventTarget, message string) {
	store.Control.Events.Append(tx, app.Event{
		Scope: svc.Scope, Service: svc.ID, Name: svc.Name, Operation: op, Target: target, At: now, Message: message,
	})
}

// setStatus moves the service on and tells so. An illegal move is a bug and panics.
func (w *Work) setStatus(s app.ServiceStatus) {
	if !w.Service.Status.CanMove(s) {
		panic(fmt.Sprintf("operation: service %s cannot move from %q to %q", w.Service.ID, w.Service.Status, s))
	}
	w.Service.Status = s
	w.Service.UpdatedAt = w.Now
	w.say("Service status is set to " + string(s) + ".")
}

func (w *Work) setOperationStatus(s app.OperationStatus) {
	if !w.Operation.Status.CanMove(s) {
		panic(fmt.Sprintf("operation: operation %s cannot move from %q to %q", w.Operation.ID, w.Operation.Status, s))
	}
	w.Operation.Status = s
	w.Operation.UpdatedAt = w.Now
}

// revision returns the revision that the operation moves to.
func (w *Work) revision() app.Revision { return w.numbered(w.Operation.Revision) }

func (w *Work) numbered(n app.RevisionNumber) app.Revision {
	r, ok := store.Revisions.Get(w.Tx, app.RevisionKey{Service: w.Service.ID, Number: n})
	if !ok {
		panic(fmt.Sprintf("operation: service %s has no revision %d", w.Service.ID, n))
	}
	return r
}

// limit returns the end of a time limit that began with the current step, or with this process.
func (w *Work) limit(d time.Duration) time.Time {
	begin := w.Operation.StepSince
	if w.Since.After(begin) {
		begin = w.Since
	}
	return begin.Add(d)
}

// MinSize returns how many instances a configuration wants.
func MinSize(tx *store.Tx, scope app.Scope, config app.ServiceConfig) int {
	key, err := ScalingKey(scope, config.ScalingARN)
	if err == nil {
		if a, ok := store.AutoScalings.Get(tx, key); ok {
			return a.MinSize
		}
	}
	return app.DefaultMinSize
}

// TopUp makes the revision have at least want instances that are to run. The error says in words for people why some
// are missing: nothing of them has been written.
func TopUp(tx *store.Tx, ids id.Source, now time.Time, svc *app.Service, revision app.RevisionNumber, want int) error {
	have := 0
	for i := range store.InstancesByService.Each(tx, svc.ID) {
		if i.Revision == revision && i.Goal == app.GoalRun {
			have++
		}
	}
	r, _ := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: revision})
	for ; have < want; have++ {
		i := app.Instance{
			ID: app.InstanceID(ids.Hex32()), Interface: app.InterfaceID(ids.Prefixed("eni")),
			Service: svc.ID, Revision: revision, Goal: app.GoalRun, CreatedAt: now,
		}
		link := app.Interface{ID: i.Interface, Instance: i.ID, Scope: svc.Scope}
		if r.Config.Network.EgressType == app.EgressVPC {
			connector, ok := Connector(tx, r.Config)
			if !ok {
				return app.Errorf(app.KindInvalidState, svc.ARN(), "The VPC connector %s no longer exists. Update the service to use another.", r.Config.Network.VpcConnectorARN)
			}
			inside, err := attachVPC(tx, ids, now, svc, i.ID, &connector)
			if err != nil {
				return err
			}
			link.VPC = []app.InterfaceID{inside}
		}
		store.Control.Instances.Put(tx, i)
		store.Control.Interfaces.Put(tx, link)
	}
	return nil
}

// SetGoal moves an instance's goal on. A backward move is a bug and panics.
func SetGoal(tx *store.Tx, i app.Instance, goal app.InstanceGoal, drainUntil time.Time) {
	if goal < i.Goal {
		panic(fmt.Sprintf("operation: instance %s cannot go back from goal %d to %d", i.ID, i.Goal, goal))
	}
	if goal == i.Goal {
		return
	}
	i.Goal = goal
	if goal == app.GoalDrain {
		i.DrainUntil = drainUntil
	}
	store.Control.Instances.Put(tx, i)
}

// Drain takes every instance of the service that match selects out of service: those that run get the goal drain, those
// that have drained the goal stop. It returns how many still drain and when to look again.
func Drain(tx *store.Tx, now time.Time, svc *app.Service, match func(app.Instance) bool) (draining int, wake time.Time) {
	timeout := svc.Settings.WithDefaults().RequestTimeout
	route, _ := store.RouteStatuses.Get(tx, svc.ID)
	for i := range store.InstancesByService.Each(tx, svc.ID) {
		if !match(i) || i.Goal == app.GoalStop {
			continue
		}
		if i.Goal == app.GoalRun {
			SetGoal(tx, i, app.GoalDrain, now.Add(timeout))
			i.Goal, i.DrainUntil = app.GoalDrain, now.Add(timeout)
		}
		status, _ := store.InstanceStatuses.Get(tx, i.ID)
		until := drainedAt(i, timeout, status, route)
		if !now.Before(until) {
			SetGoal(tx, i, app.GoalStop, time.Time{})
			continue
		}
		draining++
		wake = earlier(wake, until)
	}
	return draining, wake
}

// drainedAt is when a draining instance may be stopped, by what is known now.
func drainedAt(i app.Instance, timeout time.Duration, status app.InstanceStatus, route app.RouteStatus) time.Time {
	begin := i.DrainUntil.Add(-timeout)
	switch {
	case status.Phase != app.PhaseRunning:
		return begin // it answers nothing
	case slices.Contains(route.Targets, i.ID), slices.Contains(route.Busy, i.ID):
		return i.DrainUntil
	}
	if idle := begin.Add(minDrain); idle.Before(i.DrainUntil) {
		return idle
	}
	return i.DrainUntil
}

// Stop gives every instance that match selects the goal stop, without draining.
func Stop(tx *store.Tx, svc *app.Service, match func(app.Instance) bool) {
	for i := range store.InstancesByService.Each(tx, svc.ID) {
		if match(i) {
			SetGoal(tx, i, app.GoalStop, time.Time{})
		}
	}
}

// Sweep removes the rows of the service's instances that are gone, network interfaces included, and returns how many instances are left.
func Sweep(tx *store.Tx, svc app.ServiceID) (left int) {
	for i := range store.InstancesByService.Each(tx, svc) {
		status, _ := store.InstanceStatuses.Get(tx, i.ID)
		if i.Goal != app.GoalStop || status.Phase != app.PhaseGone {
			left++
			continue
		}
		link, _ := store.Interfaces.Get(tx, i.Interface)
		for _, inside := range link.VPC {
			eni.Delete(tx, inside)
		}
		store.Control.Instances.Delete(tx, i.ID)
		store.Control.Interfaces.Delete(tx, i.Interface)
	}
	return left
}

// request asks for a revision's image; a digest pins it.
func request(w *Work, r app.Revision) {
	want := app.ImageRequest{
		Service: r.Service, Revision: r.Number, Scope: w.Service.Scope, Image: r.Config.Source.Image,
		Type: r.Config.Source.RepositoryType, Digest: r.Digest, RequestedAt: w.Now,
	}
	if _, ok := store.ImageRequests.Get(w.Tx, app.RevisionKey{Service: r.Service, Number: r.Number}); !ok {
		store.Control.ImageRequests.Put(w.Tx, want)
	}
}

// forgetImages removes the service's image requests but those of the revisions to keep.
func forgetImages(tx *store.Tx, svc *app.Service, keep ...app.RevisionNumber) {
	for r := range store.ImageRequestsByService.Each(tx, svc.ID) {
		if !slices.Contains(keep, r.Revision) {
			store.Control.ImageRequests.Delete(tx, app.RevisionKey{Service: r.Service, Number: r.Revision})
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func all(app.Instance) bool { return true }

func of(n app.RevisionNumber) func(app.Instance) bool {
	return func(i app.Instance) bool { return i.Revision == n }
}

func notOf(n app.RevisionNumber) func(app.Instance) bool {
	return func(i app.Instance) bool { return i.Revision != n }
}

// DrainedAt is when a draining instance may be stopped, by what is known now.
func DrainedAt(tx *store.Tx, svc *app.Service, i app.Instance) time.Time {
	status, _ := store.InstanceStatuses.Get(tx, i.ID)
	route, _ := store.RouteStatuses.Get(tx, svc.ID)
	return drainedAt(i, svc.Settings.WithDefaults().RequestTimeout, status, route)
}
