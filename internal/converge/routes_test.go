package converge

import (
	"slices"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/router"
	"github.com/funade/funade/internal/store"
)

func (w *world) routed() (s app.RouteStatus) {
	w.t.Helper()
	w.view(func(tx *store.Tx) { s, _ = store.RouteStatuses.Get(tx, service) })
	return s
}

func targets(r router.Route) []app.InstanceID {
	var ids []app.InstanceID
	for _, t := range r.Targets {
		ids = append(ids, t.Instance)
	}
	return ids
}

func TestRouteHoldsHealthyRoutedInstancesThatAreToRun(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		a, b, c := w.want(1, app.GoalRun), w.want(2, app.GoalRun), w.want(3, app.GoalRun)
		w.find(a, true, "ok")
		w.find(b, false, "connection refused")
		w.find(c, true, "ok")
		r := w.front.route(t)
		if r.State != router.RouteStarting || len(r.Targets) != 0 {
			t.Errorf("before it is routed the route is %+v", r)
		}
		want := []string{"abcdefghij.us-east-1.apps.test", "abcdefghij.us-east-1.apps.internal", string(service) + ".us-east-1.apps.internal"}
		if !slices.Equal(r.Hosts, want) {
			t.Errorf("hosts are %q, want %q", r.Hosts, want)
		}
		w.serve(func(s *app.Service) { s.Routed = 1 })
		r = w.front.route(t)
		if r.State != router.RouteServing || r.Revision != 1 || !slices.Equal(targets(r), []app.InstanceID{a, c}) {
			t.Errorf("the route is %+v", r)
		}
		if r.RequestTimeout != app.DefaultRequestTimeout || r.Targets[0].Addr.Port() != 8080 {
			t.Errorf("the route is %+v", r)
		}
		if s := w.routed(); s.Revision != 1 || !slices.Equal(s.Targets, []app.InstanceID{a, c}) || len(s.Busy) != 0 {
			t.Errorf("the status is %+v", s)
		}
		tables := w.front.tables
		w.pass(time.Minute)
		if w.front.tables != tables {
			t.Errorf("the router got %d new tables although nothing changed", w.front.tables-tables)
		}
		w.serve(func(s *app.Service) { s.Routed = 2 })
		if r := w.front.route(t); len(r.Targets) != 0 {
			t.Errorf("instances of another revision are routed: %+v", r)
		}
	})
}

func TestDrainingInstanceIsBusyUntilItHasAnswered(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		id := w.want(1, app.GoalRun)
		w.serve(func(s *app.Service) { s.Routed = 1 })
		w.find(id, true, "ok")
		// A request comes in until the very moment of the new table.
		w.front.onTable = func() { w.front.set(id, 1) }
		w.want(1, app.GoalDrain)
		if s := w.routed(); len(s.Targets) != 0 || !slices.Equal(s.Busy, []app.InstanceID{id}) {
			t.Fatalf("the status is %+v, want the instance busy", s)
		}
		w.pass(10 * time.Second)
		if s := w.routed(); len(s.Busy) != 1 {
			t.Errorf("the status is %+v, want the instance busy", s)
		}
		w.front.set(id, 0)
		w.pass(busyPoll)
		if s := w.routed(); len(s.Busy) != 0 {
			t.Errorf("the status is %+v, want nothing busy", s)
		}
	})
}

func TestRouteStates(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot()
		w.serve(func(s *app.Service) { s.Status = app.ServicePaused })
		if r := w.front.route(t); r.State != router.RoutePaused {
			t.Errorf("a paused service has the state %s", r.State)
		}
		w.update(func(tx *store.Tx) {
			store.Control.Operations.Put(tx, app.Operation{ID: "op", Service: service, Type: app.OpPauseService, Status: app.OpInProgress})
		})
		w.serve(func(s *app.Service) { s.Status, s.Operation = app.ServiceInProgress, "op" })
		if r := w.front.route(t); r.State != router.RoutePaused {
			t.Errorf("a service that is being paused has the state %s", r.State)
		}
		w.serve(func(s *app.Service) { s.Status = app.ServiceDeleted })
		if len(w.front.table.Routes) != 0 {
			t.Error("a deleted service is routed")
		}
		if s := w.routed(); s.Service != "" {
			t.Errorf("a deleted service has the route status %+v", s)
		}
	})
}

func TestServes(t *testing.T) {
	c := NewRoutes(nil, nil, "Apps.Test")
	for name, want := range map[string]bool{
		"abc.us-east-1.apps.test": true, "ABC.us-east-1.APPS.test.": true, "x.apps.internal": true,
		"apps.test": false, "notapps.test": false, "example.com": false, "": false,
	} {
		if c.Serves(name) != want {
			t.Errorf("Serves(%q) is not %v", name, want)
		}
	}
}
