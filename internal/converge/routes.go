package converge

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/router"
	"github.com/funade/funade/internal/store"
)

// busyPoll is how often a draining instance's requests in flight are counted.
const busyPoll = 100 * time.Millisecond

// FrontDoor is the router as this converger uses it.
type FrontDoor interface {
	SetTable(t *router.Table)
	// InFlight counts the requests that an instance is answering.
	InFlight(id app.InstanceID) int
}

// Routes keeps the router's table true to the rows and reports what the router has taken over.
type Routes struct {
	store   *store.Store
	router  FrontDoor
	domain  string
	poke    Poke
	recount *repeat

	version uint64
	// routes are those of the table that the router has.
	routes []router.Route
}

// NewRoutes returns the converger; Run does its work. Services answer at <label>.<region>.<domain> and, for
// callers inside instances, at <id>.<region>.apps.internal.
func NewRoutes(s *store.Store, r FrontDoor, domain string) *Routes {
	poke := NewPoke()
	return &Routes{store: s, router: r, domain: strings.ToLower(domain), poke: poke, recount: &repeat{poke: poke, pause: busyPoll}}
}

// Run converges until ctx ends.
func (c *Routes) Run(ctx context.Context) {
	Loop(ctx, "routes", func() []<-chan struct{} {
		return []<-chan struct{}{c.store.Changed(
			store.Services.Name(), store.Instances.Name(), store.InstanceStatuses.Name(),
			store.InstanceHealths.Name(), store.InterfaceStatuses.Name(),
		), c.poke}
	}, 5*time.Second, c.pass)
}

// Serves reports whether the install answers at a name, which is any name below its domains.
func (c *Routes) Serves(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return strings.HasSuffix(name, "."+c.domain) || strings.HasSuffix(name, "."+internalDomain)
}

// internalDomain is the domain that services answer at inside instances, since many clients hard-wire *.localhost to loopback.
const internalDomain = "apps.internal"

func (c *Routes) pass(ctx context.Context) error {
	var routes []router.Route
	var gone []app.ServiceID
	draining := map[app.ServiceID][]app.InstanceID{}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for svc := range store.Services.All(tx) {
			if svc.Status == app.ServiceDeleted {
				continue
			}
			routes = append(routes, c.route(tx, svc))
		}
		for i := range store.Instances.All(tx) {
			if i.Goal == app.GoalDrain {
				draining[i.Service] = append(draining[i.Service], i.ID)
			}
		}
		for s := range store.RouteStatuses.All(tx) {
			if svc, ok := store.Services.Get(tx, s.Service); !ok || svc.Status == app.ServiceDeleted {
				gone = append(gone, s.Service)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.install(routes)
	if len(draining) > 0 {
		c.recount.later()
	}
	return c.report(ctx, c.statuses(routes, draining), gone)
}

// install gives the router a new table unless it has this one.
func (c *Routes) install(routes []router.Route) {
	if c.version > 0 && reflect.DeepEqual(routes, c.routes) {
		return
	}
	c.version++
	c.routes = routes
	c.router.SetTable(&router.Table{Version: c.version, Routes: routes})
}

func (c *Routes) route(tx *store.Tx, svc app.Service) router.Route {
	r := router.Route{
		Service: svc.ID, Name: svc.Name, Revision: svc.Routed,
		RequestTimeout: svc.Settings.WithDefaults().RequestTimeout,
		State:          router.RouteStarting,
		Hosts: []string{
			svc.Label + "." + string(svc.Scope.Region) + "." + c.domain,
			svc.Label + "." + string(svc.Scope.Region) + "." + internalDomain,
			string(svc.ID) + "." + string(svc.Scope.Region) + "." + internalDomain,
		},
	}
	switch {
	case svc.Routed != 0:
		r.State = router.RouteServing
	case svc.Status == app.ServicePaused, pausing(tx, svc):
		r.State = router.RoutePaused
	}
	for i := range store.InstancesByService.Each(tx, svc.ID) {
		if t, ok := target(tx, svc, i); ok {
			r.Targets = append(r.Targets, t)
		}
	}
	sort.Slice(r.Targets, func(a, b int) bool { return r.Targets[a].Instance < r.Targets[b].Instance })
	return r
}

// pausing reports that the service is on its way to PAUSED.
func pausing(tx *store.Tx, svc app.Service) bool {
	op, ok := store.Operations.Get(tx, svc.Operation)
	return ok && op.Type == app.OpPauseService
}

// target returns where to send an instance's requests, if it may have any.
func target(tx *store.Tx, svc app.Service, i app.Instance) (router.Target, bool) {
	if svc.Routed == 0 || i.Revision != svc.Routed || i.Goal != app.GoalRun {
		return router.Target{}, false
	}
	health, ok := store.InstanceHealths.Get(tx, i.ID)
	if !ok || !health.Healthy {
		return router.Target{}, false
	}
	if status, ok := store.InstanceStatuses.Get(tx, i.ID); !ok || status.Phase != app.PhaseRunning {
		return router.Target{}, false
	}
	addr, ok := instanceAddr(tx, i)
	return router.Target{Instance: i.ID, Interface: i.Interface, Addr: addr}, ok
}

// instanceAddr returns the address that the application of an instance listens on.
func instanceAddr(tx *store.Tx, i app.Instance) (netip.AddrPort, bool) {
	status, ok := store.InterfaceStatuses.Get(tx, i.Interface)
	if !ok || !status.Ready {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddr(status.Address)
	if err != nil {
		return netip.AddrPort{}, false
	}
	rev, ok := store.Revisions.Get(tx, app.RevisionKey{Service: i.Service, Number: i.Revision})
	return netip.AddrPortFrom(addr, uint16(rev.Config.Source.Port)), ok
}

// statuses says what the router has taken over. Requests are counted now, when draining instances get no new ones.
func (c *Routes) statuses(routes []router.Route, draining map[app.ServiceID][]app.InstanceID) []app.RouteStatus {
	out := make([]app.RouteStatus, len(routes))
	for n, r := range routes {
		out[n] = app.RouteStatus{Service: r.Service, Revision: r.Revision}
		for _, t := range r.Targets {
			out[n].Targets = append(out[n].Targets, t.Instance)
		}
		for _, id := range draining[r.Service] {
			if c.router.InFlight(id) > 0 {
				out[n].Busy = append(out[n].Busy, id)
			}
		}
	}
	return out
}

func (c *Routes) report(ctx context.Context, statuses []app.RouteStatus, gone []app.ServiceID) error {
	var changed []app.RouteStatus
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for _, s := range statuses {
			old, ok := store.RouteStatuses.Get(tx, s.Service)
			if !ok || old.Revision != s.Revision || !slices.Equal(old.Targets, s.Targets) || !slices.Equal(old.Busy, s.Busy) {
				changed = append(changed, s)
			}
		}
		return nil
	})
	if err != nil || len(changed) == 0 && len(gone) == 0 {
		return err
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		for _, s := range changed {
			store.Observed.RouteStatuses.Put(tx, s)
		}
		for _, id := range gone {
			store.Observed.RouteStatuses.Delete(tx, id)
		}
		return nil
	})
}
