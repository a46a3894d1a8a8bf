package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
)

func TestDecide(t *testing.T) {
	t0 := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	now := t0.Add(time.Hour)
	inst := func(id string, rev app.RevisionNumber, change func(*operation.Candidate)) operation.Candidate {
		c := operation.Candidate{
			Instance: app.Instance{ID: app.InstanceID(id), Revision: rev, Goal: app.GoalRun, CreatedAt: t0},
			Status:   app.InstanceStatus{Phase: app.PhaseRunning, StartedAt: t0},
			Health:   app.InstanceHealth{Healthy: true, EverHealthy: true},
		}
		if change != nil {
			change(&c)
		}
		return c
	}
	ill := func(c *operation.Candidate) { c.Health.Healthy = false }
	young := func(c *operation.Candidate) { c.Health = app.InstanceHealth{}; c.Instance.CreatedAt = now }
	running := app.Service{Status: app.ServiceRunning, Routed: 2}
	for _, c := range []struct {
		name    string
		service app.Service
		op      app.Operation
		min     int
		have    []operation.Candidate
		want    string // replaced instances, number created
	}{
		{"full strength", running, app.Operation{}, 1, []operation.Candidate{inst("a", 2, nil)}, "[] 0"},
		{"one missing", running, app.Operation{}, 2, []operation.Candidate{inst("a", 2, nil)}, "[] 1"},
		{"surplus goes, newest first", running, app.Operation{}, 1, []operation.Candidate{inst("a", 2, nil), inst("b", 2, nil)}, "[b] 0"},
		{"old revision goes", running, app.Operation{}, 1, []operation.Candidate{inst("a", 1, nil), inst("b", 2, nil)}, "[a] 0"},
		{"ill is replaced", running, app.Operation{}, 2, []operation.Candidate{inst("a", 2, ill), inst("b", 2, nil)}, "[a] 1"},
		{"one at a time", running, app.Operation{}, 2, []operation.Candidate{inst("a", 2, ill), inst("b", 2, ill)}, "[a] 1"},
		{"waits for the successor", running, app.Operation{}, 2, []operation.Candidate{inst("a", 2, ill), inst("b", 2, young)}, "[] 0"},
		{"restarted gets its time", running, app.Operation{}, 1, []operation.Candidate{inst("a", 2, func(c *operation.Candidate) {
			ill(c)
			c.Status.Exits, c.Status.StartedAt = 1, now
		})}, "[] 0"},
		{"restarting is left to the engine", running, app.Operation{}, 1, []operation.Candidate{inst("a", 2, func(c *operation.Candidate) {
			ill(c)
			c.Status.Exits, c.Status.Phase = 2, app.PhaseExited
		})}, "[] 0"},
		{"too many ends", running, app.Operation{}, 1, []operation.Candidate{inst("a", 2, func(c *operation.Candidate) {
			ill(c)
			c.Status.Exits, c.Status.Phase = 5, app.PhaseExited
		})}, "[a] 1"},
		{"healthy again after many ends", running, app.Operation{}, 1, []operation.Candidate{inst("a", 2, func(c *operation.Candidate) { c.Status.Exits = 5 })}, "[] 0"},
		{"cannot start", running, app.Operation{}, 1, []operation.Candidate{inst("a", 2, func(c *operation.Candidate) {
			c.Health, c.Status.Phase = app.InstanceHealth{}, app.PhaseFailed
		})}, "[a] 1"},
		{"old version stays strong during an update", app.Service{Status: app.ServiceInProgress, Routed: 2}, app.Operation{Type: app.OpUpdateService, From: 2, Revision: 3}, 1,
			[]operation.Candidate{inst("a", 2, ill), inst("n", 3, young)}, "[a] 1"},
		{"the update's own instances are left alone", app.Service{Status: app.ServiceInProgress, Routed: 3}, app.Operation{Type: app.OpUpdateService, From: 2, Revision: 3}, 1,
			[]operation.Candidate{inst("a", 2, ill), inst("n", 3, ill)}, "[] 0"},
		{"a pausing service is left alone", app.Service{Status: app.ServiceInProgress}, app.Operation{Type: app.OpPauseService, From: 2}, 0, nil, "[] 0"},
	} {
		d := Decide(View{Service: c.service, Operation: c.op, MinSize: c.min, Instances: c.have, Now: now})
		var ids []app.InstanceID
		for _, r := range d.Replace {
			ids = append(ids, r.Instance.ID)
		}
		if got := fmt.Sprintf("%v %d", ids, d.Create); got != c.want {
			t.Errorf("%s: replaces and creates %s, want %s", c.name, got, c.want)
		}
	}
}
