package operation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/backoff"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/store"
)

// The pauses of the loop.
const (
	lookAnyway = 5 * time.Second
	shortest   = 5 * time.Millisecond
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
	longGap    = time.Minute
)

// Runner advances every operation in flight.
type Runner struct {
	store *store.Store
	now   func() time.Time
	ids   id.Source
	since time.Time
	last  time.Time
	retry map[app.OperationID]attempt
	// Strict lets a step's panic (an illegal move) through instead of trying again later. For tests.
	Strict bool
}

type attempt struct {
	failures int
	next     time.Time
}

// NewRunner makes a runner; call Run, or Pass again and again. It is for one goroutine.
func NewRunner(st *store.Store, now func() time.Time, ids id.Source) *Runner {
	clock := func() time.Time { return now().UTC().Truncate(time.Millisecond) } // as rows keep it
	return &Runner{store: st, now: clock, ids: ids, since: clock(), last: clock(), retry: map[app.OperationID]attempt{}}
}

// Run advances operations until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	for ctx.Err() == nil {
		changed := r.store.Changed(store.Operations.Name(), store.Instances.Name(), store.ImageStatuses.Name(),
			store.InstanceStatuses.Name(), store.InstanceHealths.Name(), store.RouteStatuses.Name())
		begin := r.now()
		wake, err := r.Pass(ctx)
		if err != nil && ctx.Err() == nil {
			slog.Error("cannot advance operations", "error", err)
		}
		// With very many operations in flight a pass is long: leave the writer to others for as long.
		if took := r.now().Sub(begin); took > 10*time.Millisecond {
			idle(ctx, nil, took)
		}
		sleep := lookAnyway
		if !wake.IsZero() {
			sleep = min(sleep, max(wake.Sub(r.now()), shortest))
		}
		idle(ctx, changed, sleep)
	}
}

func idle(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer.C:
	}
}

// Pass advances every operation as far as it goes now and returns when time alone may move one on; zero = never.
// One operation's error holds up no other.
func (r *Runner) Pass(ctx context.Context) (wake time.Time, err error) {
	// After a sleep of the machine or a jump of the clock nobody has had the time that the limits grant.
	if now := r.now(); now.Sub(r.last) > longGap {
		r.since = now
	}
	r.last = r.now()
	var ids []app.OperationID
	err = r.store.View(ctx, func(tx *store.Tx) error {
		for op := range store.OperationsInFlight.Each(tx, struct{}{}) {
			ids = append(ids, op.ID)
		}
		return nil
	})
	if err != nil {
		return wake, err
	}
	var errs []error
	for _, id := range ids {
		if next := r.retry[id].next; r.now().Before(next) {
			wake = earlier(wake, next)
			continue
		}
		until, err := r.advance(ctx, id)
		if err != nil {
			a := r.retry[id]
			a.failures++
			a.next = r.now().Add(backoff.Delay(a.failures, firstRetry, lastRetry))
			r.retry[id], until = a, a.next
			errs = append(errs, fmt.Errorf("cannot advance operation %s: %w", id, err))
		} else {
			delete(r.retry, id)
		}
		wake = earlier(wake, until)
	}
	return wake, errors.Join(errs...)
}

// advance runs steps of one operation, each in its own transaction, until one waits or the operation ends.
func (r *Runner) advance(ctx context.Context, id app.OperationID) (wake time.Time, err error) {
	for again := true; again; {
		err := r.store.Update(ctx, func(tx *store.Tx) error {
			var err error
			wake, again, err = r.step(tx, id)
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
	}
	return wake, nil
}

// step runs the operation's current step and writes where it stands.
func (r *Runner) step(tx *store.Tx, id app.OperationID) (wake time.Time, again bool, err error) {
	op, ok := store.Operations.Get(tx, id)
	if !ok || op.Status.Ended() {
		return time.Time{}, false, nil
	}
	svc, ok := store.Services.Get(tx, op.Service)
	if !ok {
		return time.Time{}, false, fmt.Errorf("service %s is missing", op.Service)
	}
	oldOp, oldService := op, svc
	w := &Work{Tx: tx, Operation: &op, Service: &svc, Now: r.now(), IDs: r.ids, Since: r.since}
	again, err = r.run(w)
	if err != nil {
		return time.Time{}, false, err
	}
	if op != oldOp {
		store.Control.Operations.Put(tx, op)
	}
	if !reflect.DeepEqual(svc, oldService) {
		store.Control.Services.Put(tx, svc)
	}
	return op.WakeAt, again, nil
}

func (r *Runner) run(w *Work) (again bool, err error) {
	if !r.Strict {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("step %q: %v", w.Operation.Step, p)
			}
		}()
	}
	plan := planOf(w.Operation.Type)
	steps, n := plan.step(w.Operation)
	w.Operation.Step = steps[n].Name
	undoing := w.Operation.Status == app.OpRollbackInProgress
	if w.Operation.CancelRequested && !undoing && slices.Contains(plan.Cancellable, w.Operation.Step) {
		return w.apply(plan, steps, n, RollBack("The operation was cancelled.")), nil
	}
	return w.apply(plan, steps, n, steps[n].Run(w)), nil
}

// apply moves the operation on by a step's verdict and reports whether there is more to do at once.
func (w *Work) apply(plan Plan, steps []Step, n int, v Verdict) (again bool) {
	undoing := w.Operation.Status == app.OpRollbackInProgress
	if v.kind == rollBack && (undoing || len(plan.Undo) == 0 || w.Operation.From == 0) {
		v.kind = fail
	}
	w.Operation.WakeAt = time.Time{}
	switch v.kind {
	case wait:
		w.Operation.WakeAt = v.until
		return false
	case next:
		w.enter(steps[n+1].Name)
		return true
	case rollBack:
		w.Operation.Reason = v.reason
		deployFailed(w, v.reason)
		w.setOperationStatus(app.OpRollbackInProgress)
		w.enter(plan.Undo[0].Name)
		return true
	case done:
		if undoing {
			w.end(app.OpRollbackSucceeded)
		} else {
			w.end(app.OpSucceeded)
		}
		return false
	}
	w.Operation.Reason = v.reason
	if undoing {
		w.end(app.OpRollbackFailed)
		return false
	}
	deployFailed(w, v.reason)
	plan.Failed(w, v.reason)
	w.end(app.OpFailed)
	return false
}

func (w *Work) enter(step string) {
	w.Operation.Step, w.Operation.StepSince, w.Operation.UpdatedAt = step, w.Now, w.Now
}

// end closes the operation and starts the deployment that a push meanwhile asked for; a service that does not run drops it.
func (w *Work) end(status app.OperationStatus) {
	w.setOperationStatus(status)
	w.Operation.EndedAt = w.Now
	w.Service.Operation = ""
	if w.Service.PushPending && w.Service.Status == app.ServiceRunning {
		BeginDeployment(w.Tx, w.IDs, w.Now, w.Service, true)
	}
	w.Service.PushPending = false
}
