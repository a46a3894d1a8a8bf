package converge

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"sync"
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
	store  *store.Store
	router FrontDoor
	domain string
	now    func() time.Time
	poke   Poke

	version uint64
	mu      sync.Mutex
	names   map[string]bool
}

// NewRoutes returns the converger; Run does its work. Services answer at <label>.<region>.<domain> and, for
// callers inside instances, at <id>.<region>.apps.internal.
func NewRoutes(s *store.Store, r FrontDoor, domain string, now func() time.Time) *Routes {
	return &Routes{store: s, router: r, domain: domain, now: now, poke: NewPoke(), names: map[string]bool{}}
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

// Serves reports whether the install answers at a name: a service's, or any name below its domains.
func (c *Routes) Serves(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names[name] || strings.HasSuffix(name, "."+c.domain) || strings.HasSuffix(name, "."+internalDomain)
}

// internalDomain is the domain that services answer at inside instances, since many clients hard-wire *.localhost to loopback.
const internalDomain = "apps.internal"

func (c *Routes) pass(ctx context.Context) error {
	var table router.Table
	var statuses []app.RouteStatus
	var gone []app.ServiceID
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for svc := range store.Services.All(tx) {
			if svc.Status == app.ServiceDeleted {
				continue
			}
			route := c.route(tx, svc)
			table.Routes = append(table.Routes, route)
			statuses = append(statuses, c.status(tx, svc, route))
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
	c.install(&table)
	return c.report(ctx, statuses, gone)
}

func (c *Routes) install(table *router.Table) {
	c.version++
	table.Version = c.version
	names := map[string]bool{}
	for _, r := range table.Routes {
		for _, h := range r.Hosts {
			names[h] = true
		}
	}
	c.router.SetTable(table)
	c.mu.Lock()
	c.names = names
	c.mu.Unlock()
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
	case svc.Status == app.ServicePaused:
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

func (c *Routes) status(tx *store.Tx, svc app.Service, r router.Route) app.RouteStatus {
	s := app.RouteStatus{Service: svc.ID, Revision: svc.Routed}
	for _, t := range r.Targets {
		s.Targets = append(s.Targets, t.Instance)
	}
	for i := range store.InstancesByService.Each(tx, svc.ID) {
		if i.Goal == app.GoalDrain && c.router.InFlight(i.ID) > 0 {
			s.Busy = append(s.Busy, i.ID)
		}
	}
	return s
}

func (c *Routes) report(ctx context.Context, statuses []app.RouteStatus, gone []app.ServiceID) error {
	var changed []app.RouteStatus
	busy := false
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for _, s := range statuses {
			busy = busy || len(s.Busy) > 0
			old, ok := store.RouteStatuses.Get(tx, s.Service)
			if !ok || old.Revision != s.Revision || !slices.Equal(old.Targets, s.Targets) || !slices.Equal(old.Busy, s.Busy) {
				changed = append(changed, s)
			}
		}
		return nil
	})
	if busy {
		time.AfterFunc(busyPoll, c.poke.Set)
	}
	if err != nil || len(changed) == 0 && len(gone) == 0 {
		return err
	}
	return errors.Join(err, c.store.Update(ctx, func(tx *store.Tx) error {
		for _, s := range changed {
			store.Observed.RouteStatuses.Put(tx, s)
		}
		for _, id := range gone {
			store.Observed.RouteStatuses.Delete(tx, id)
		}
		return nil
	}))
}
