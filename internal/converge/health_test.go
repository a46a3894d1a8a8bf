package converge

import (
	"slices"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine/fake"
	"github.com/funade/funade/internal/store"
)

func TestHealthIsRecorded(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		check, ok := w.prober.target(id)
		if !ok || !check.Fast || check.Healthy || check.Addr.Port() != 8080 || check.HealthCheck.Interval != 5 {
			t.Fatalf("the check is %+v, %v", check, ok)
		}
		w.find(id, false, "connection refused")
		if h := w.health(id); h.Healthy || h.EverHealthy || h.Answer != "connection refused" {
			t.Errorf("health is %+v", h)
		}
		w.find(id, true, "GET / answered 200")
		w.find(id, false, "no answer within 2 s")
		if h := w.health(id); h.Healthy || !h.EverHealthy || h.Answer != "no answer within 2 s" {
			t.Errorf("health is %+v", h)
		}
		w.pass(6 * time.Second)
		if check, _ = w.prober.target(id); check.Fast {
			t.Error("an instance that was healthy is still probed as one that starts")
		}
		w.want(1, app.GoalDrain)
		if _, ok := w.prober.target(id); ok {
			t.Error("a draining instance is probed")
		}
	})
}

func TestRestartEndsHealth(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		w.serve(func(s *app.Service) { s.Routed = 1 })
		w.find(id, true, "ok")
		w.pass(6 * time.Second)
		w.engine.Kill(id, 1)
		w.settle()
		w.wantPhase(id, app.PhaseExited, 1)
		if h := w.health(id); h.Healthy || !h.EverHealthy {
			t.Errorf("after the end health is %+v", h)
		}
		w.find(id, true, "ok") // a report of the old run that comes late
		w.pass(time.Second)
		w.wantPhase(id, app.PhaseRunning, 1)
		if w.health(id).Healthy || len(w.front.route(t).Targets) != 0 {
			t.Fatal("the new run is routed before it passed a check")
		}
		if check, ok := w.prober.target(id); !ok || check.Healthy || !check.Fast {
			t.Errorf("the new run is probed by %+v, %v", check, ok)
		}
		w.find(id, true, "ok")
		w.wantPhase(id, app.PhaseRunning, 0) // healthy in between: ends count from the beginning
		if len(w.front.route(t).Targets) != 1 {
			t.Error("the healthy run is not routed")
		}
	})
}

// The health converger may sleep through the end of a run: it has to see by StartedAt that this is another one.
func TestRestartBetweenTwoPassesIsSeen(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		w.find(id, true, "ok")
		w.pass(6 * time.Second)
		calls := len(w.prober.calls)
		w.update(func(tx *store.Tx) {
			s, _ := store.InstanceStatuses.Get(tx, id)
			s.StartedAt = s.StartedAt.Add(time.Second)
			store.Observed.InstanceStatuses.Put(tx, s)
			unhealthy(tx, id, time.Now())
		})
		w.settle()
		calls2 := w.prober.calls[calls:]
		if len(calls2) < 2 || len(calls2[0]) != 0 || !slices.Equal(calls2[1], []app.InstanceID{id}) {
			t.Errorf("the prober got the sets %v, want one without the instance first", calls2)
		}
		if w.health(id).Healthy {
			t.Error("the result of the earlier run was written")
		}
	})
}

func TestOtherPorts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.engine.Behave(digest, fake.Always(fake.Behaviour{NeverListens: true, OtherPorts: []int{3000, 8080}}))
		w.boot()
		id := w.want(1, app.GoalRun)
		w.find(id, false, "connection refused")
		since := time.Now()
		w.pass(5 * time.Second)
		if h := w.health(id); !slices.Equal(h.OtherPorts, []int{3000}) || !h.OtherPortsSince.Equal(since) {
			t.Errorf("health is %+v, want port 3000 since %v", h, since)
		}
		w.find(id, false, "GET / answered 500")
		if h := w.health(id); len(h.OtherPorts) != 0 || !h.OtherPortsSince.IsZero() {
			t.Errorf("health is %+v: its port is open now", h)
		}
	})
}
