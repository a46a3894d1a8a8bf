package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

// The keeper's times.
const (
	keeperInterval = 5 * time.Second
	keeperPause    = 100 * time.Millisecond // between two passes, so that bursts of changes are one
	purgeInterval  = time.Minute
)

// Keeper keeps services as they are: full strength of healthy instances, no surplus, no rows of what is gone. It also
// applies lifecycle policies and purges tombstones.
type Keeper struct {
	c         *Control
	lastPurge time.Time
	// missing is what the event log was last told about instances that cannot be had.
	missing map[app.ServiceID]string
}

// Keeper makes the keeper; call Run, or Pass again and again. It is for one goroutine.
func (c *Control) Keeper() *Keeper { return &Keeper{c: c, missing: map[app.ServiceID]string{}} }

// Run keeps until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for ctx.Err() == nil {
		changed := k.c.store.Changed(store.Instances.Name(), store.InstanceStatuses.Name(), store.InstanceHealths.Name(),
			store.RouteStatuses.Name(), store.Services.Name(), store.Repositories.Name())
		begin := k.c.cfg.Now()
		wake, err := k.Pass(ctx)
		if err != nil && ctx.Err() == nil {
			slog.Error("keeper's pass failed", "error", err)
		}
		rest(ctx, nil, max(keeperPause, 4*k.c.cfg.Now().Sub(begin)))
		sleep := keeperInterval
		if !wake.IsZero() {
			sleep = min(sleep, max(wake.Sub(k.c.cfg.Now()), keeperPause))
		}
		rest(ctx, changed, sleep)
	}
}

func rest(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}

// Pass looks at everything once and returns when time alone may make something due; zero = at the next interval.
func (k *Keeper) Pass(ctx context.Context) (wake time.Time, err error) {
	now := k.c.now()
	var services []app.ServiceID
	var repositories []app.RepositoryKey
	err = k.c.store.View(ctx, func(tx *store.Tx) error {
		services, wake = k.due(tx, now)
		for r := range store.Repositories.All(tx) {
			if expiryDue(r, now) {
				repositories = append(repositories, r.Key)
			}
		}
		return nil
	})
	errs := []error{err}
	for _, id := range services {
		errs = append(errs, k.c.store.Update(ctx, func(tx *store.Tx) error {
			k.keep(tx, id, now)
			return nil
		}))
	}
	for _, key := range repositories {
		errs = append(errs, k.c.store.Update(ctx, func(tx *store.Tx) error {
			expire(tx, key, now)
			return nil
		}))
	}
	if now.Sub(k.lastPurge) >= purgeInterval {
		k.lastPurge = now
		errs = append(errs, k.purge(ctx, now))
	}
	return wake, errors.Join(errs...)
}

// due returns the services that keep would change something of, and when others become due.
func (k *Keeper) due(tx *store.Tx, now time.Time) (due []app.ServiceID, wake time.Time) {
	seen := map[app.ServiceID]bool{}
	consider := func(svc app.Service) {
		if seen[svc.ID] {
			return
		}
		seen[svc.ID] = true
		d := Decide(observe(tx, svc, now))
		if d.Any() {
			due = append(due, svc.ID)
		}
		if !d.Wake.IsZero() && (wake.IsZero() || d.Wake.Before(wake)) {
			wake = d.Wake
		}
	}
	for svc := range store.ServicesByStatus.Each(tx, app.ServiceRunning) {
		consider(svc)
	}
	for i := range store.Instances.All(tx) {
		if svc, ok := store.Services.Get(tx, i.Service); ok {
			consider(svc)
		}
	}
	return due, wake
}

// keep does what Decide says about one service.
func (k *Keeper) keep(tx *store.Tx, id app.ServiceID, now time.Time) {
	svc, ok := store.Services.Get(tx, id)
	if !ok {
		return
	}
	d := Decide(observe(tx, svc, now))
	for _, c := range d.Ended {
		k.tellEnd(tx, &svc, c, now)
	}
	for _, r := range d.Replace {
		i := r.Instance
		goal := app.GoalStop
		if r.Drain {
			goal = app.GoalDrain
		}
		operation.SetGoal(tx, i, goal, now.Add(svc.Settings.WithDefaults().RequestTimeout))
		if r.Reason != "" {
			operation.Say(tx, now, &svc, svc.Operation, app.ToEvents, fmt.Sprintf("Instance %s is being replaced: %s", i.ID, r.Reason))
		}
	}
	if d.Want > 0 {
		k.tellMissing(tx, &svc, operation.TopUp(tx, k.c.cfg.IDs, now, &svc, svc.Routed, d.Want), now)
	} else {
		delete(k.missing, svc.ID)
	}
	if d.Drained {
		operation.Drain(tx, now, &svc, func(i app.Instance) bool { return i.Goal == app.GoalDrain })
	}
	operation.Sweep(tx, svc.ID)
}

// tellMissing writes into the event log why instances cannot be had, once until it changes.
func (k *Keeper) tellMissing(tx *store.Tx, svc *app.Service, err error, now time.Time) {
	if err == nil {
		delete(k.missing, svc.ID)
		return
	}
	if k.missing[svc.ID] != err.Error() {
		k.missing[svc.ID] = err.Error()
		operation.Say(tx, now, svc, svc.Operation, app.ToEvents, "An instance is missing. "+err.Error())
	}
}

// tellEnd writes into the event log why an instance that served ended. Ends in a start are the operation's to tell.
func (k *Keeper) tellEnd(tx *store.Tx, svc *app.Service, c operation.Candidate, now time.Time) {
	r, _ := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: c.Instance.Revision})
	operation.Say(tx, now, svc, svc.Operation, app.ToEvents, c.End(r.Config))
	c.Instance.EndsTold = c.Status.Ends
	store.Control.Instances.Put(tx, c.Instance)
}

// observe collects what Decide needs.
func observe(tx *store.Tx, svc app.Service, now time.Time) View {
	v := View{Service: svc, Now: now}
	if r, ok := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: svc.Routed}); ok {
		v.MinSize = operation.MinSize(tx, svc.Scope, r.Config)
	}
	v.Operation, _ = store.Operations.Get(tx, svc.Operation)
	for i := range store.InstancesByService.Each(tx, svc.ID) {
		c := operation.Candidate{Instance: i}
		c.Status, _ = store.InstanceStatuses.Get(tx, i.ID)
		c.Health, _ = store.InstanceHealths.Get(tx, i.ID)
		v.Instances = append(v.Instances, c)
		if i.Goal == app.GoalDrain {
			v.DrainedAt = append(v.DrainedAt, operation.DrainedAt(tx, &svc, i))
		}
	}
	slices.SortStableFunc(v.Instances, func(a, b operation.Candidate) int {
		return a.Instance.CreatedAt.Compare(b.Instance.CreatedAt)
	})
	return v
}

// purge removes what was deleted a tombstone's life ago, and events that are in the log store.
func (k *Keeper) purge(ctx context.Context, now time.Time) error {
	before := now.Add(-k.c.cfg.TombstoneTTL)
	return k.c.store.Update(ctx, func(tx *store.Tx) error {
		for svc := range store.ServicesByStatus.Each(tx, app.ServiceDeleted) {
			if svc.DeletedAt.Before(before) {
				purgeService(tx, svc)
			}
		}
		for a := range store.AutoScalings.All(tx) {
			if !a.DeletedAt.IsZero() && a.DeletedAt.Before(before) {
				store.Control.AutoScalings.Delete(tx, a.Key())
				store.Control.TagSets.Delete(tx, app.Resource(a.ARN()))
			}
		}
		for o := range store.Observabilities.All(tx) {
			if !o.DeletedAt.IsZero() && o.DeletedAt.Before(before) {
				store.Control.Observabilities.Delete(tx, o.Key())
				store.Control.TagSets.Delete(tx, app.Resource(o.ARN()))
			}
		}
		for v := range store.VPCConnectors.All(tx) {
			if !v.DeletedAt.IsZero() && v.DeletedAt.Before(before) {
				store.Control.VPCConnectors.Delete(tx, v.ID)
				store.Control.TagSets.Delete(tx, app.Resource(v.ARN()))
			}
		}
		purgeEvents(tx)
		return nil
	})
}

func purgeService(tx *store.Tx, svc app.Service) {
	for r := range store.RevisionsByService.Each(tx, svc.ID) {
		store.Control.Revisions.Delete(tx, app.RevisionKey{Service: svc.ID, Number: r.Number})
	}
	for op := range store.OperationsByService.Each(tx, svc.ID) {
		store.Control.Operations.Delete(tx, op.ID)
	}
	for r := range store.ImageRequestsByService.Each(tx, svc.ID) {
		store.Control.ImageRequests.Delete(tx, app.RevisionKey{Service: svc.ID, Number: r.Revision})
	}
	store.Control.Settings.Delete(tx, svc.ID)
	store.Control.TagSets.Delete(tx, app.Resource(svc.ARN()))
	store.Control.Services.Delete(tx, svc.ID)
}

// purgeEvents removes shipped events. The last event stays, because the next one's number follows from it.
func purgeEvents(tx *store.Tx) {
	cursor, _ := store.EventCursors.Get(tx, struct{}{})
	last, _ := store.Events.Last(tx)
	for e := range store.Events.All(tx) {
		if e.Seq > cursor.Shipped || e.Seq == last.Seq {
			return
		}
		store.Control.Events.Delete(tx, e.Seq)
	}
}
