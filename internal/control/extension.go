package control

import (
	"context"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

// CancelOperation asks a service's operation in flight to end: a creation or resume fails, an update or deployment
// rolls back. An id, if given, has to be that operation's.
func (c *Control) CancelOperation(ctx context.Context, scope app.Scope, arn string, id app.OperationID) (app.Operation, error) {
	var out app.Operation
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		svc, err := findLiveService(tx, scope, arn)
		if err != nil {
			return err
		}
		op, ok := store.Operations.Get(tx, svc.Operation)
		switch {
		case !ok:
			return app.Errorf(app.KindInvalidState, arn, "There is no operation in progress on this service.")
		case id != "" && id != op.ID:
			return app.Errorf(app.KindInvalidState, arn, "The operation in progress is %s, not %s.", op.ID, id)
		case op.Status != app.OpInProgress || !operation.Cancellable(op):
			return app.Errorf(app.KindInvalidState, arn, "The operation %s (%s, step %q) can no longer be cancelled.", op.ID, op.Type, op.Step)
		}
		op.CancelRequested = true
		store.Control.Operations.Put(tx, op)
		out = op
		return nil
	})
	return out, err
}

// RollbackService brings an older revision back, configuration and image digest; 0 means the one that served before.
func (c *Control) RollbackService(ctx context.Context, scope app.Scope, arn string, to app.RevisionNumber) (app.OperationID, error) {
	_, id, err := c.operate(ctx, scope, arn, func(tx *store.Tx, svc *app.Service) (app.OperationID, error) {
		if err := allowed(svc, "rolled back", app.ServiceRunning); err != nil {
			return "", err
		}
		if to == 0 {
			to = svc.Previous
		}
		revision, ok := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: to})
		switch {
		case to == 0:
			return "", app.Errorf(app.KindInvalidState, arn, "The service has no earlier revision to roll back to.")
		case !ok:
			return "", notFound(arn, "The service has no revision %d.", to)
		case to == svc.Routed:
			return "", invalid("Revision %d is the active one already. Name another.", to)
		case revision.Digest == "":
			return "", invalid("Revision %d was never deployed: its image was not resolved. Name another.", to)
		}
		if key, err := operation.ScalingKey(scope, revision.Config.ScalingARN); err == nil {
			if a, ok := store.AutoScalings.Get(tx, key); !ok || !a.DeletedAt.IsZero() {
				return "", invalid("Revision %d uses the auto scaling configuration %s, which has been deleted.", to, revision.Config.ScalingARN)
			}
		}
		if err := connectorOfRevision(tx, revision); err != nil {
			return "", err
		}
		svc.Config = revision.Config
		return operation.Begin(tx, c.cfg.IDs, c.now(), svc, app.OpUpdateService, to, false).ID, nil
	})
	return id, err
}

// ListInstances lists a service's instances, oldest first.
func (c *Control) ListInstances(ctx context.Context, scope app.Scope, arn string) ([]InstanceDetail, error) {
	out := []InstanceDetail{}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		svc, err := findService(tx, scope, arn)
		if err != nil {
			return err
		}
		for i := range store.InstancesByService.Each(tx, svc.ID) {
			d := InstanceDetail{Instance: i}
			d.Status, _ = store.InstanceStatuses.Get(tx, i.ID)
			d.Health, _ = store.InstanceHealths.Get(tx, i.ID)
			network, _ := store.InterfaceStatuses.Get(tx, i.Interface)
			d.Address = network.Address
			d.State, d.Reason = instanceState(d, network)
			out = append(out, d)
		}
		slices.SortStableFunc(out, func(a, b InstanceDetail) int { return a.Instance.CreatedAt.Compare(b.Instance.CreatedAt) })
		return nil
	})
	return out, err
}

// instanceState puts what is desired and observed into one word and one line.
func instanceState(d InstanceDetail, network app.InterfaceStatus) (state InstanceState, reason string) {
	switch {
	case d.Status.Phase == app.PhaseGone:
		return InstanceStopped, ""
	case d.Instance.Goal != app.GoalRun:
		return InstanceStopping, ""
	case d.Status.Phase == app.PhaseRunning && d.Health.Healthy:
		return InstanceRunning, ""
	case d.Status.Phase == app.PhaseFailed, d.Status.Phase == app.PhaseExited:
		return InstanceUnhealthy, d.Status.Reason
	case d.Status.Phase == app.PhaseRunning && d.Health.EverHealthy:
		return InstanceUnhealthy, d.Health.Answer
	case network.Error != "":
		return InstanceStarting, network.Error
	case d.Health.Answer != "":
		return InstanceStarting, d.Health.Answer
	}
	return InstanceStarting, d.Status.Reason
}

// ListRevisions lists a service's revisions, newest first.
func (c *Control) ListRevisions(ctx context.Context, scope app.Scope, arn string) ([]RevisionDetail, error) {
	out := []RevisionDetail{}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		svc, err := findService(tx, scope, arn)
		if err != nil {
			return err
		}
		for r := range store.RevisionsByService.Each(tx, svc.ID) {
			out = append(out, RevisionDetail{r, r.Number == svc.Routed})
		}
		slices.Reverse(out)
		return nil
	})
	return out, err
}
