package converge

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/router/health"
	"github.com/funade/funade/internal/store"
)

// portsEvery is how often an instance whose port refuses connections is asked for the ports that it listens on.
const portsEvery = time.Second

// Prober is the health checker as this converger uses it.
type Prober interface {
	SetTargets(checks []health.Check)
}

// Ports finds the TCP ports that an instance listens on.
type Ports interface {
	ListeningPorts(ctx context.Context, id app.InterfaceID) ([]int, error)
}

// Health has running instances probed and records what the prober finds.
type Health struct {
	store  *store.Store
	prober Prober
	ports  Ports
	now    func() time.Time
	poke   Poke
	relook *repeat
	// runs are the runs of the targets that the prober has.
	runs map[app.InstanceID]*run

	mu      sync.Mutex
	results map[app.InstanceID]health.Result
}

// run is one run of an instance, from a start to its end.
type run struct {
	startedAt time.Time
	// healthy: a check has passed.
	healthy bool
	// looked is when the instance was last asked for its ports.
	looked time.Time
}

// NewHealth returns the converger; Run does its work. The prober reports to Report.
func NewHealth(s *store.Store, p Ports, now func() time.Time) *Health {
	poke := NewPoke()
	return &Health{
		store: s, ports: p, now: now, poke: poke, relook: &repeat{poke: poke, pause: portsEvery},
		runs: map[app.InstanceID]*run{}, results: map[app.InstanceID]health.Result{},
	}
}

// Report takes a change from the prober.
func (c *Health) Report(r health.Result) {
	c.mu.Lock()
	c.results[r.Instance] = r
	c.mu.Unlock()
	c.poke.Set()
}

// Run converges until ctx ends.
func (c *Health) Run(ctx context.Context, p Prober) {
	c.prober = p
	Loop(ctx, "health", func() []<-chan struct{} {
		return []<-chan struct{}{c.store.Changed(
			store.Instances.Name(), store.InstanceStatuses.Name(), store.InterfaceStatuses.Name(),
		), c.poke}
	}, 5*time.Second, c.pass)
}

// probed is an instance to probe with what is known of it.
type probed struct {
	check health.Check
	old   app.InstanceHealth
	known bool
	// startedAt tells a restart: health of an earlier run does not count.
	startedAt time.Time
	run       *run
}

func (c *Health) pass(ctx context.Context) error {
	var targets []probed
	var stale []app.InstanceID
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for i := range store.Instances.All(tx) {
			if t, ok := c.target(tx, i); ok {
				targets = append(targets, t)
			}
		}
		for h := range store.InstanceHealths.All(tx) {
			if _, ok := store.Instances.Get(tx, h.ID); !ok {
				stale = append(stale, h.ID)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.follow(targets)
	return c.record(ctx, targets, stale)
}

// follow has the prober probe the targets. What it knows of an earlier run of an instance is forgotten, on both sides.
func (c *Health) follow(targets []probed) {
	runs := make(map[app.InstanceID]*run, len(targets))
	var checks, same []health.Check
	kept := make(map[app.InstanceID]bool, len(targets))
	for n := range targets {
		t := &targets[n]
		id := t.check.Instance
		r := c.runs[id]
		restarted := r != nil && !r.startedAt.Equal(t.startedAt)
		if r == nil || restarted {
			r = &run{startedAt: t.startedAt, healthy: !restarted && t.old.Healthy}
		}
		t.run, runs[id] = r, r
		t.check.Fast = !r.healthy
		checks = append(checks, t.check)
		if !restarted {
			same = append(same, t.check)
			kept[id] = true
		}
	}
	c.runs = runs
	c.prober.SetTargets(same)
	c.mu.Lock()
	maps.DeleteFunc(c.results, func(id app.InstanceID, _ health.Result) bool { return !kept[id] })
	c.mu.Unlock()
	if len(same) < len(checks) {
		c.prober.SetTargets(checks)
	}
}

// target returns how to probe an instance, if it is to be probed: one that runs and is wanted. One that drains gets
// no new requests, so its health is of no use.
func (c *Health) target(tx *store.Tx, i app.Instance) (probed, bool) {
	status, ok := store.InstanceStatuses.Get(tx, i.ID)
	if !ok || i.Goal != app.GoalRun || status.Phase != app.PhaseRunning {
		return probed{}, false
	}
	addr, ok := instanceAddr(tx, i)
	if !ok {
		return probed{}, false
	}
	rev, ok := store.Revisions.Get(tx, app.RevisionKey{Service: i.Service, Number: i.Revision})
	if !ok {
		return probed{}, false
	}
	old, known := store.InstanceHealths.Get(tx, i.ID)
	return probed{
		check: health.Check{
			Instance: i.ID, Interface: i.Interface, Addr: addr, HealthCheck: rev.Config.HealthCheck,
			Healthy: old.Healthy, EverHealthy: old.EverHealthy,
		},
		old: old, known: known, startedAt: status.StartedAt,
	}, true
}

func (c *Health) record(ctx context.Context, targets []probed, stale []app.InstanceID) error {
	changed := map[app.InstanceID]app.InstanceHealth{}
	startedAt := map[app.InstanceID]time.Time{}
	for _, t := range targets {
		if h, ok := c.judge(ctx, t); ok {
			changed[h.ID], startedAt[h.ID] = h, t.startedAt
		}
	}
	if len(changed) == 0 && len(stale) == 0 {
		return nil
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		for id, h := range changed {
			status, ok := store.InstanceStatuses.Get(tx, id)
			if !ok || status.Phase != app.PhaseRunning || !status.StartedAt.Equal(startedAt[id]) {
				continue // the run that was judged is over
			}
			store.Observed.InstanceHealths.Put(tx, h)
			if h.Healthy && status.Exits > 0 {
				status.Exits = 0
				store.Observed.InstanceStatuses.Put(tx, status)
			}
		}
		for _, id := range stale {
			store.Observed.InstanceHealths.Delete(tx, id)
		}
		return nil
	})
}

// unhealthy writes that an instance's run is over: what was found out about it does not hold for the next one, so
// that requests wait for the next one's first passed check.
func unhealthy(tx *store.Tx, id app.InstanceID, now time.Time) {
	if h, ok := store.InstanceHealths.Get(tx, id); ok {
		store.Observed.InstanceHealths.Put(tx, app.InstanceHealth{ID: id, EverHealthy: h.EverHealthy, Answer: h.Answer, UpdatedAt: now})
	}
}

// judge returns an instance's health if it changed.
func (c *Health) judge(ctx context.Context, t probed) (app.InstanceHealth, bool) {
	c.mu.Lock()
	result, ok := c.results[t.check.Instance]
	c.mu.Unlock()
	if !ok {
		return app.InstanceHealth{}, false
	}
	h := t.old
	h.ID, h.Healthy, h.Answer = result.Instance, result.Healthy, result.Answer
	h.EverHealthy = h.EverHealthy || result.EverHealthy
	t.run.healthy = t.run.healthy || result.Healthy
	c.lookAround(ctx, t, &h)
	same := t.known && h.Healthy == t.old.Healthy && h.EverHealthy == t.old.EverHealthy && h.Answer == t.old.Answer &&
		slices.Equal(h.OtherPorts, t.old.OtherPorts) && h.OtherPortsSince.Equal(t.old.OtherPortsSince)
	if same {
		return app.InstanceHealth{}, false
	}
	h.UpdatedAt = c.now()
	return h, true
}

// lookAround finds out whether an instance that refuses connections listens on other ports instead.
func (c *Health) lookAround(ctx context.Context, t probed, h *app.InstanceHealth) {
	if h.EverHealthy || !strings.Contains(h.Answer, "refused") {
		h.OtherPorts, h.OtherPortsSince = nil, time.Time{}
		return
	}
	c.relook.later()
	if c.now().Sub(t.run.looked) < portsEvery/2 {
		return
	}
	t.run.looked = c.now()
	ports, err := c.ports.ListeningPorts(ctx, t.check.Interface)
	if err != nil {
		return
	}
	ports = slices.DeleteFunc(ports, func(p int) bool { return netip.AddrPortFrom(t.check.Addr.Addr(), uint16(p)) == t.check.Addr })
	switch {
	case len(ports) == 0:
		h.OtherPorts, h.OtherPortsSince = nil, time.Time{}
	case h.OtherPortsSince.IsZero():
		h.OtherPorts, h.OtherPortsSince = ports, c.now()
	default:
		h.OtherPorts = ports
	}
}
