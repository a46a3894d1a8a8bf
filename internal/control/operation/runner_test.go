package operation

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/store"
)

var scope = app.Scope{Account: "000000000000", Region: "us-east-1"}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "state.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// begin writes a service whose creation begins.
func begin(t *testing.T, st *store.Store, now time.Time, name string) (op app.Operation) {
	t.Helper()
	err := st.Update(context.Background(), func(tx *store.Tx) error {
		svc := app.Service{ID: app.ServiceID(name), Scope: scope, Name: name, Config: app.ServiceConfig{Source: app.Source{Image: "x"}}}
		op = Begin(tx, id.Source{}, now, &svc, app.OpCreateService, NewRevision(tx, now, &svc), false)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func get(t *testing.T, st *store.Store, id app.OperationID) (op app.Operation) {
	t.Helper()
	_ = st.View(context.Background(), func(tx *store.Tx) error {
		op, _ = store.Operations.Get(tx, id)
		return nil
	})
	return op
}

func TestOneBrokenOperationHoldsUpNoOther(t *testing.T) {
	st := openStore(t)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	broken, sound := begin(t, st, now, "broken"), begin(t, st, now, "sound")
	err := st.Update(context.Background(), func(tx *store.Tx) error {
		store.Control.Revisions.Delete(tx, app.RevisionKey{Service: "broken", Number: 1}) // its step panics
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := NewRunner(st, func() time.Time { return now }, id.Source{})
	wake, err := r.Pass(context.Background())
	if err == nil || !strings.Contains(err.Error(), string(broken.ID)) || wake.IsZero() {
		t.Errorf("got %v, wake at %v", err, wake)
	}
	_ = st.View(context.Background(), func(tx *store.Tx) error {
		if _, ok := store.ImageRequests.Get(tx, app.RevisionKey{Service: "sound", Number: 1}); !ok {
			t.Error("the sound operation did not advance")
		}
		return nil
	})
	if got := get(t, st, sound.ID); got.WakeAt.IsZero() {
		t.Errorf("the sound operation waits without a limit: %+v", got)
	}
	if _, err := r.Pass(context.Background()); err != nil {
		t.Errorf("the broken operation is tried again without a pause: %v", err)
	}
	r.Strict = true
	defer func() {
		if recover() == nil {
			t.Error("a strict runner hides a panic")
		}
	}()
	now = now.Add(time.Minute)
	_, _ = r.Pass(context.Background())
}

func TestIllegalMovesPanic(t *testing.T) {
	st := openStore(t)
	for name, do := range map[string]func(w *Work){
		"service":   func(w *Work) { w.Service.Status = app.ServiceDeleted; w.setStatus(app.ServiceRunning) },
		"operation": func(w *Work) { w.Operation.Status = app.OpFailed; w.setOperationStatus(app.OpSucceeded) },
		"instance":  func(w *Work) { SetGoal(w.Tx, app.Instance{ID: "i", Goal: app.GoalStop}, app.GoalRun, time.Time{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: an illegal move is let through", name)
				}
			}()
			_ = st.Update(context.Background(), func(tx *store.Tx) error {
				do(&Work{Tx: tx, Operation: &app.Operation{}, Service: &app.Service{}})
				return nil
			})
		}()
	}
}

func TestSleepOfTheMachineDoesNotCount(t *testing.T) {
	st := openStore(t)
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	op := begin(t, st, now, "hello")
	r := NewRunner(st, func() time.Time { return now }, id.Source{})
	pass := func(after time.Duration) {
		t.Helper()
		now = now.Add(after)
		if _, err := r.Pass(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	pass(0)
	pass(8 * time.Hour)
	if got := get(t, st, op.ID); got.Status != app.OpInProgress {
		t.Errorf("after a sleep: %s, %s", got.Status, got.Reason)
	}
	for range 100 {
		pass(10 * time.Second)
	}
	if got := get(t, st, op.ID); got.Status != app.OpFailed {
		t.Errorf("after the limit has passed awake: %s", got.Status)
	}
}

func TestRunIsWokenAndKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			NewRunner(st, time.Now, id.Source{}).Run(ctx)
		}()
		synctest.Wait()
		op := begin(t, st, time.Now().UTC(), "hello")
		synctest.Wait()
		if got := get(t, st, op.ID); got.WakeAt.IsZero() {
			t.Error("a new operation did not wake the runner")
		}
		time.Sleep(pullTimeout + time.Second)
		synctest.Wait()
		if got := get(t, st, op.ID); got.Status != app.OpFailed {
			t.Errorf("after the time limit: %s in step %q", got.Status, got.Step)
		}
		cancel()
		<-ended
	})
}
