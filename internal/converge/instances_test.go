package converge

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/fake"
	"github.com/funade/funade/internal/store"
)

func ref(name string) engine.ImageRef { return engine.ImageRef{Name: name} }

func TestInstanceIsStartedOnceAndAdoptedByTheNextProcess(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		w.pass(10 * time.Second)
		w.wantPhase(id, app.PhaseRunning, 0)
		before := w.status(id)
		if s, ok := w.logs.source(id); !ok || s.Final || s.Key.Stream != "instance/"+string(id) || s.Key.Group.Name != "/aws/apprunner/hello/"+string(service)+"/application" {
			t.Errorf("the log is followed as %+v, %v", s, ok)
		}
		w.boot()
		w.pass(10 * time.Second)
		if after := w.status(id); !after.StartedAt.Equal(before.StartedAt) || !after.UpdatedAt.Equal(before.UpdatedAt) {
			t.Errorf("the next process changed the status from %+v to %+v", before, after)
		}
		if c := w.engine.Counts(); c.Starts != 1 || c.Creates != 1 || c.Removes != 0 {
			t.Errorf("counts are %+v, want one start", c)
		}
		if c := w.kernel.Counts(); c.Attached != 1 || c.Detached != 0 {
			t.Errorf("counts are %+v, want one attachment", c)
		}
	})
}

func TestInstanceWaitsForImageAndInterface(t *testing.T) {
	inWorld(t, func(w *world) {
		w.update(func(tx *store.Tx) {
			store.Control.Revisions.Put(tx, app.Revision{Service: service, Number: 1, Config: app.ServiceConfig{Source: app.Source{Port: 80}}})
		})
		w.boot()
		id := w.want(1, app.GoalRun)
		w.pass(5 * time.Second)
		if w.status(id).Phase != "" || w.engine.Counts().Creates != 0 {
			t.Fatal("an instance without a resolved image was started")
		}
		w.revise(1, app.ServiceConfig{Source: app.Source{Port: 80}})
		w.pass(2 * time.Second)
		w.wantPhase(id, app.PhaseRunning, 0)
	})
}

func TestCrashLoopIsCountedOncePerRunAndSlowsDown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.engine.Behave(digest, fake.Always(fake.Behaviour{Exits: true, ExitCode: 3, Failure: "boom", Output: "a\nb\n"}))
		w.boot()
		id := w.want(1, app.GoalRun)
		begin := time.Now()
		var starts []time.Duration
		for n := 0; len(starts) < 6 && time.Since(begin) < 2*time.Minute; {
			if c := w.engine.Counts().Starts; c != n {
				n = c
				starts = append(starts, time.Since(begin).Round(50*time.Millisecond))
			}
			if s := w.status(id); s.Exits > n {
				t.Fatalf("%d exits after %d starts", s.Exits, n)
			}
			w.pass(50 * time.Millisecond)
		}
		want := []time.Duration{0, 100 * time.Millisecond, 600 * time.Millisecond, 2600 * time.Millisecond, 7600 * time.Millisecond, 22600 * time.Millisecond}
		if !slices.EqualFunc(starts, want, func(a, b time.Duration) bool { return (a - b).Abs() <= 150*time.Millisecond }) {
			t.Errorf("started after %v, want %v", starts, want)
		}
		w.pass(time.Second)
		w.wantPhase(id, app.PhaseExited, 6)
		s := w.status(id)
		if s.ExitCode != 3 || s.Reason != "boom" || !slices.Equal(s.LastLines, []string{"b", "a", "b", "a", "b"}) {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestPassingStartErrorIsNoExit(t *testing.T) {
	inWorld(t, func(w *world) {
		busy := fake.Behaviour{StartError: app.Errorf(app.KindUnavailable, "", "the disk is full")}
		w.engine.Behave(digest, fake.Always(busy))
		w.boot()
		id := w.want(1, app.GoalRun)
		w.pass(20 * time.Second)
		w.wantPhase(id, app.PhasePending, 0)
		if s := w.status(id); s.Reason != "the disk is full" {
			t.Errorf("the reason is %q", s.Reason)
		}
		w.engine.Behave(digest, fake.Always(fake.Behaviour{}))
		w.pass(20 * time.Second)
		w.wantPhase(id, app.PhaseRunning, 0)
		if s := w.status(id); s.Reason != "" {
			t.Errorf("a running instance has the reason %q", s.Reason)
		}
	})
}

func TestInstanceThatCannotBeStartedFails(t *testing.T) {
	inWorld(t, func(w *world) {
		asked := 0
		w.engine.Behave(digest, func(engine.Instance) fake.Behaviour {
			asked++
			return fake.Behaviour{StartError: app.Errorf(app.KindInvalidRequest, "", "no such command")}
		})
		w.boot()
		id := w.want(1, app.GoalRun)
		w.pass(time.Minute)
		w.wantPhase(id, app.PhaseFailed, 0)
		if s := w.status(id); s.Reason != "no such command" || asked != 1 {
			t.Errorf("status is %+v after %d starts, want one", s, asked)
		}
		w.want(1, app.GoalStop)
		w.pass(time.Second)
		w.wantPhase(id, app.PhaseGone, 0)
	})
}

func TestStopGivesGraceThenReadsTheLogThenIsGone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.engine.Behave(digest, fake.Always(fake.Behaviour{StopAfter: 10 * time.Second, Output: "bye\n"}))
		w.boot()
		id := w.want(1, app.GoalRun)
		w.logs.hold = true
		w.want(1, app.GoalStop)
		w.pass(9 * time.Second)
		if w.status(id).Phase == app.PhaseGone || w.engine.Counts().Removes != 0 {
			t.Fatal("gone before it had stopped")
		}
		w.pass(2 * time.Second)
		if w.engine.Counts().Removes != 1 || w.status(id).Phase == app.PhaseGone {
			t.Fatalf("phase is %s: gone before its log was read", w.status(id).Phase)
		}
		if s, ok := w.logs.source(id); !ok || !s.Final {
			t.Fatalf("the log is followed as %+v, want final", s)
		}
		w.boot() // the next process reads the log anew
		w.pass(time.Second)
		if s, ok := w.logs.source(id); !ok || !s.Final {
			t.Fatalf("after a restart the log is followed as %+v, want final", s)
		}
		w.logs.refuses = 2
		w.LogDone(id)
		w.pass(500 * time.Millisecond)
		if w.status(id).Phase == app.PhaseGone {
			t.Fatal("gone although its log is still there")
		}
		w.pass(3 * time.Second)
		w.wantPhase(id, app.PhaseGone, 0)
		w.drop(id)
		w.pass(3 * time.Second)
		w.view(func(tx *store.Tx) {
			if n := store.InstanceStatuses.Len(tx) + store.InstanceHealths.Len(tx) + store.InterfaceStatuses.Len(tx); n != 0 {
				t.Errorf("%d observed rows are left", n)
			}
		})
		if leaks := w.kernel.Leaks(); len(leaks) != 0 {
			t.Errorf("interfaces %v are left", leaks)
		}
	})
}

func TestStopIsWantedBeforeTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalStop)
		w.pass(time.Second)
		w.wantPhase(id, app.PhaseGone, 0)
		if c := w.engine.Counts(); c.Creates != 0 {
			t.Errorf("counts are %+v", c)
		}
	})
}

func TestOrphansGo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		w.drop(id)
		w.pass(5 * time.Second)
		if leaks := w.engine.Leaks(func(app.InstanceID) bool { return false }); len(leaks) != 0 {
			t.Errorf("containers %v are left", leaks)
		}
		if _, err := os.Stat(filepath.Join(w.logs.dir, string(id)+".log")); !os.IsNotExist(err) {
			t.Errorf("the orphan's log is left: %v", err)
		}
	})
}

func TestDrainingInstanceIsNotStartedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		w.want(1, app.GoalDrain)
		w.engine.Kill(id, 9)
		w.pass(time.Minute)
		w.wantPhase(id, app.PhaseExited, 1)
		if c := w.engine.Counts(); c.Starts != 1 {
			t.Errorf("counts are %+v", c)
		}
	})
}

func TestRebootStartsEverythingAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		a, b := w.want(1, app.GoalRun), w.want(2, app.GoalRun)
		w.stop()
		w.engine.Reboot()
		w.kernel.Reboot()
		w.boot()
		w.pass(time.Second)
		for _, id := range []app.InstanceID{a, b} {
			w.wantPhase(id, app.PhaseRunning, 1)
			if s := w.status(id); s.ExitCode != -1 {
				t.Errorf("the exit code of a run that nobody watched is %d", s.ExitCode)
			}
		}
		if c := w.engine.Counts(); c.Starts != 4 || c.Creates != 2 {
			t.Errorf("counts are %+v", c)
		}
	})
}

func TestLostContainerIsMadeAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		w.find(id, true, "ok")
		w.pass(time.Second)
		if err := w.engine.Remove(w.t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
		w.pass(3 * time.Second)
		w.wantPhase(id, app.PhaseRunning, 0)
		if w.health(id).Healthy {
			t.Error("the new container has the health of the old one")
		}
	})
}

func TestSpec(t *testing.T) {
	svc := app.Service{Scope: scope}
	c := app.ServiceConfig{Source: app.Source{Port: 3000, StartCommand: "run 'a b'", Env: map[string]string{"PORT": "1", "AWS_REGION": "mine", "A": "1"}}}
	got, err := spec(svc, app.Revision{Config: c, Digest: digest}, app.Instance{}, attachment(t), 0, "/ca")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"A=1", "AWS_DEFAULT_REGION=us-east-1", "AWS_REGION=mine", "PORT=3000"}; !slices.Equal(got.Env, want) {
		t.Errorf("environment is %q, want %q", got.Env, want)
	}
	if !slices.Equal(got.StartCommand, []string{"run", "a b"}) {
		t.Errorf("command is %q", got.StartCommand)
	}
	c.Source.StartCommand = ""
	if got, err = spec(svc, app.Revision{Config: c}, app.Instance{}, attachment(t), 0, ""); err != nil || got.StartCommand != nil {
		t.Errorf("without a StartCommand: %q, %v", got.StartCommand, err)
	}
	c.Source.StartCommand = "'"
	if _, err = spec(svc, app.Revision{Config: c}, app.Instance{}, attachment(t), 0, ""); app.KindOf(err) != app.KindInvalidRequest {
		t.Errorf("an open quote gives %v", err)
	}
}

// lateEngine answers List late: it looks, then work that was under way ends, then it answers.
type lateEngine struct {
	engine.Engine
	mu    sync.Mutex
	gate  chan struct{} // Ensure waits until it is closed; nil = it need not
	after func()        // runs once between the look and the answer
}

func (e *lateEngine) set(gate chan struct{}, after func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate, e.after = gate, after
}

func (e *lateEngine) Ensure(ctx context.Context, in engine.Instance) error {
	e.mu.Lock()
	gate := e.gate
	e.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return e.Engine.Ensure(ctx, in)
}

func (e *lateEngine) List(ctx context.Context) ([]engine.Status, error) {
	list, err := e.Engine.List(ctx)
	e.mu.Lock()
	after := e.after
	e.after = nil
	e.mu.Unlock()
	if after != nil {
		after()
	}
	return list, err
}

func TestEndThatListStillShowsIsNotCountedTwice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		w.stop()
		w.settle()
		late := &lateEngine{Engine: w.engine}
		w.Engine = late
		w.engine.Kill(id, 1)
		pass := func() {
			if err := w.Instances.pass(w.t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		pass()
		w.wantPhase(id, app.PhaseExited, 1)
		w.pass(time.Second)
		gate := make(chan struct{})
		late.set(gate, nil)
		pass() // begins the second start, which stands at the gate
		late.set(gate, func() {
			close(gate)
			synctest.Wait() // the start ends and is recorded before List answers
			w.wantPhase(id, app.PhaseRunning, 1)
		})
		pass()
		w.wantPhase(id, app.PhaseRunning, 1)
	})
}
