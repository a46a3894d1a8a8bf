package sim

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

// server is what a crash ends: the control plane and small convergers of the simulation's own.
type server struct {
	w       *world
	store   *store.Store
	control *control.Control
	runner  *operation.Runner
	keeper  *control.Keeper
	// table is the front door's: by service, the revision and the instances that requests go to.
	table map[app.ServiceID]app.RouteStatus
	// pulls counts attempts by revision; ports remembers since when only another port was open.
	pulls      map[app.RevisionKey]int
	behaviours map[app.Digest]string
}

func startServer(w *world, path string, random io.Reader) (*server, error) {
	st, err := store.Open(path, store.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	ids := id.Source{Random: random}
	now := func() time.Time { return w.now }
	s := &server{
		w: w, store: st, table: map[app.ServiceID]app.RouteStatus{}, pulls: map[app.RevisionKey]int{}, behaviours: map[app.Digest]string{},
		control: control.New(st, control.Config{Now: now, IDs: ids, RegistryHosts: []string{"localhost:4566"}}),
		runner:  operation.NewRunner(st, now, ids),
	}
	s.runner.Strict = true
	s.keeper = s.control.Keeper()
	return s, nil
}

func (s *server) update(fn func(tx *store.Tx)) {
	if err := s.store.Update(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		panic(err)
	}
}

func (s *server) view(fn func(tx *store.Tx)) {
	if err := s.store.View(context.Background(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		panic(err)
	}
}

// parts are everything that runs by itself, in no particular order.
func (s *server) parts() []func() {
	return []func(){s.runnerPass, s.keeperPass, s.images, s.networks, s.instances, s.health, s.routes, s.events}
}

func (s *server) runnerPass() {
	if _, err := s.runner.Pass(context.Background()); err != nil {
		panic(err)
	}
}

func (s *server) keeperPass() {
	if _, err := s.keeper.Pass(context.Background()); err != nil {
		panic(err)
	}
}

// images answers requests: images of the registry by their manifests, public ones by name.
func (s *server) images() {
	var open []app.ImageRequest
	var orphans []app.RevisionKey
	s.view(func(tx *store.Tx) {
		for r := range store.ImageRequests.All(tx) {
			st, ok := store.ImageStatuses.Get(tx, app.RevisionKey{Service: r.Service, Number: r.Revision})
			if !ok || !st.Ready && !st.Permanent {
				open = append(open, r)
			}
		}
		for st := range store.ImageStatuses.All(tx) {
			key := app.RevisionKey{Service: st.Service, Number: st.Revision}
			if _, ok := store.ImageRequests.Get(tx, key); !ok {
				orphans = append(orphans, key)
			}
		}
	})
	for _, r := range open {
		s.resolve(r)
	}
	if len(orphans) > 0 {
		s.update(func(tx *store.Tx) {
			for _, key := range orphans {
				store.Observed.ImageStatuses.Delete(tx, key)
			}
		})
	}
}

func (s *server) resolve(r app.ImageRequest) {
	key := app.RevisionKey{Service: r.Service, Number: r.Revision}
	s.pulls[key]++
	s.update(func(tx *store.Tx) {
		status := app.ImageStatus{Service: r.Service, Revision: r.Revision, Digest: r.Digest}
		ref, err := app.ParseReference(r.Image, r.Scope, "localhost:4566")
		if err == nil && status.Digest == "" {
			if m, ok := store.ManifestsByTag.First(tx, app.ManifestTag{Repository: ref.Repository, Tag: ref.Tag}); ok {
				status.Digest = m.Digest
			}
		}
		switch {
		case status.Digest == "":
			status.Error, status.Permanent = "There is no such tag.", true
		case !s.w.quiet && s.pulls[key] < 3 && s.w.chance(30):
			status.Digest, status.Error = "", "The registry did not answer."
		default:
			status.Ready = true
		}
		store.Observed.ImageStatuses.Put(tx, status)
	})
}

// networks attaches and detaches.
func (s *server) networks() {
	var want []app.Interface
	known := map[app.InterfaceID]bool{}
	s.view(func(tx *store.Tx) {
		for i := range store.Interfaces.All(tx) {
			known[i.ID] = true
			st, ok := store.InterfaceStatuses.Get(tx, i.ID)
			if !s.w.networks[i.ID] || !ok || !st.Ready {
				want = append(want, i)
			}
		}
	})
	for _, i := range want {
		effect(func() { s.w.networks[i.ID] = true })
		s.update(func(tx *store.Tx) {
			if _, ok := store.Interfaces.Get(tx, i.ID); ok {
				store.Observed.InterfaceStatuses.Put(tx, app.InterfaceStatus{ID: i.ID, Ready: true, Address: "100.64.0.1"})
			}
		})
	}
	for _, id := range sortedKeys(s.w.networks) {
		if !known[id] {
			effect(func() { delete(s.w.networks, id) })
		}
	}
	var stale []app.InterfaceID
	s.view(func(tx *store.Tx) {
		for st := range store.InterfaceStatuses.All(tx) {
			if !known[st.ID] {
				stale = append(stale, st.ID)
			}
		}
	})
	if len(stale) > 0 {
		s.update(func(tx *store.Tx) {
			for _, id := range stale {
				store.Observed.InterfaceStatuses.Delete(tx, id)
			}
		})
	}
}

// instances starts, restarts and removes containers.
func (s *server) instances() {
	type row struct {
		app.Instance
		digest app.Digest
		status app.InstanceStatus
	}
	var rows []row
	known := map[app.InstanceID]bool{}
	s.view(func(tx *store.Tx) {
		for i := range store.Instances.All(tx) {
			known[i.ID] = true
			r := row{Instance: i}
			rev, _ := store.Revisions.Get(tx, app.RevisionKey{Service: i.Service, Number: i.Revision})
			r.digest = rev.Digest
			r.status, _ = store.InstanceStatuses.Get(tx, i.ID)
			rows = append(rows, r)
		}
	})
	for _, r := range rows {
		s.instance(r.Instance, r.digest, r.status)
	}
	for _, id := range sortedKeys(s.w.containers) {
		if !known[id] {
			effect(func() { delete(s.w.containers, id) })
		}
	}
	s.update(func(tx *store.Tx) {
		for st := range store.InstanceStatuses.All(tx) {
			if !known[st.ID] {
				if _, ok := store.Instances.Get(tx, st.ID); !ok {
					store.Observed.InstanceStatuses.Delete(tx, st.ID)
					store.Observed.InstanceHealths.Delete(tx, st.ID)
				}
			}
		}
	})
}

func (s *server) instance(i app.Instance, digest app.Digest, status app.InstanceStatus) {
	c := s.w.containers[i.ID]
	status.ID, status.UpdatedAt = i.ID, s.w.now
	switch {
	case i.Goal == app.GoalStop && c == nil:
		if status.Phase != app.PhaseGone {
			status.Phase = app.PhaseGone
			s.record(status)
		}
	case i.Goal == app.GoalStop:
		if c.stopping.IsZero() {
			effect(func() { c.running, c.stopping = false, s.w.now.Add(s.w.stopTime()) })
		}
	case c != nil && c.running:
		if status.Phase != app.PhaseRunning || !status.StartedAt.Equal(c.started) {
			status.Phase, status.StartedAt = app.PhaseRunning, c.started
			s.record(status)
		}
	case c != nil && !c.running && (status.Phase == app.PhaseRunning || !status.StartedAt.Equal(c.started)):
		status.StartedAt, status.Phase, status.ExitCode, status.LastLines = c.started, app.PhaseExited, c.exitCode, []string{"panic: boom"}
		if s.wasHealthy(i.ID) {
			status.Exits = 0
		}
		status.Exits++
		s.record(status)
	case i.Goal == app.GoalRun && digest != "" && s.w.networks[i.Interface] && status.Phase != app.PhaseFailed:
		if s.behaviours[digest] == "broken" {
			status.Phase, status.Reason = app.PhaseFailed, "exec: no such file or directory"
			s.record(status)
			return
		}
		effect(func() { s.w.start(i.ID, digest, s.behaviours[digest]) })
	}
}

func (s *server) wasHealthy(id app.InstanceID) (healthy bool) {
	s.view(func(tx *store.Tx) {
		h, _ := store.InstanceHealths.Get(tx, id)
		healthy = h.Healthy
	})
	return healthy
}

func (s *server) record(status app.InstanceStatus) {
	s.update(func(tx *store.Tx) {
		if _, ok := store.Instances.Get(tx, status.ID); ok {
			store.Observed.InstanceStatuses.Put(tx, status)
		}
	})
}

// health probes every instance that runs.
func (s *server) health() {
	var changed []app.InstanceHealth
	s.view(func(tx *store.Tx) {
		for i := range store.Instances.All(tx) {
			c := s.w.containers[i.ID]
			old, known := store.InstanceHealths.Get(tx, i.ID)
			if c == nil || i.Goal == app.GoalStop {
				continue
			}
			h := old
			h.ID = i.ID
			h.Healthy, h.Answer = s.w.healthy(c)
			h.EverHealthy = h.EverHealthy || h.Healthy
			if c.running && c.behave == "port" && h.OtherPortsSince.IsZero() {
				h.OtherPorts, h.OtherPortsSince = []int{3000}, s.w.now
			}
			if !known || h.Healthy != old.Healthy || h.Answer != old.Answer || !h.OtherPortsSince.Equal(old.OtherPortsSince) {
				h.UpdatedAt = s.w.now
				changed = append(changed, h)
			}
		}
	})
	if len(changed) > 0 {
		s.update(func(tx *store.Tx) {
			for _, h := range changed {
				if _, ok := store.Instances.Get(tx, h.ID); ok {
					store.Observed.InstanceHealths.Put(tx, h)
				}
			}
		})
	}
}

// routes installs the front door's table and reports it.
func (s *server) routes() {
	table := map[app.ServiceID]app.RouteStatus{}
	s.view(func(tx *store.Tx) {
		for svc := range store.Services.All(tx) {
			if svc.Status == app.ServiceDeleted {
				continue
			}
			r := app.RouteStatus{Service: svc.ID, Revision: svc.Routed}
			for i := range store.InstancesByService.Each(tx, svc.ID) {
				h, _ := store.InstanceHealths.Get(tx, i.ID)
				st, _ := store.InstanceStatuses.Get(tx, i.ID)
				if svc.Routed != 0 && i.Revision == svc.Routed && i.Goal == app.GoalRun && h.Healthy && st.Phase == app.PhaseRunning {
					r.Targets = append(r.Targets, i.ID)
				}
				if i.Goal == app.GoalDrain && !s.w.quiet && s.w.chance(20) {
					r.Busy = append(r.Busy, i.ID)
				}
			}
			table[svc.ID] = r
		}
	})
	effect(func() { s.table = table })
	s.update(func(tx *store.Tx) {
		for _, id := range sortedKeys(table) {
			old, ok := store.RouteStatuses.Get(tx, id)
			if r := table[id]; !ok || old.Revision != r.Revision || !slices.Equal(old.Targets, r.Targets) || !slices.Equal(old.Busy, r.Busy) {
				store.Observed.RouteStatuses.Put(tx, r)
			}
		}
		for st := range store.RouteStatuses.All(tx) {
			if _, ok := table[st.Service]; !ok {
				store.Observed.RouteStatuses.Delete(tx, st.Service)
			}
		}
	})
}

// events ships events; what was appended before a crash but not noted in the cursor is recognised by its number.
func (s *server) events() {
	var cursor app.EventCursor
	var fresh []int64
	s.view(func(tx *store.Tx) {
		cursor, _ = store.EventCursors.Get(tx, struct{}{})
		for e := range store.Events.All(tx) {
			if e.Seq > cursor.Shipped {
				fresh = append(fresh, e.Seq)
			}
		}
	})
	if len(fresh) == 0 {
		return
	}
	for _, seq := range fresh {
		if n := len(s.w.shipped); n == 0 || s.w.shipped[n-1] < seq {
			effect(func() { s.w.shipped = append(s.w.shipped, seq) })
		}
	}
	s.update(func(tx *store.Tx) {
		store.Observed.EventCursors.Put(tx, app.EventCursor{Shipped: fresh[len(fresh)-1]})
	})
}
