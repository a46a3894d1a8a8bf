package router

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/funade/funade/internal/app"
)

// Upstream connections.
const (
	// dialTimeout bounds one connection attempt to an instance.
	dialTimeout = 5 * time.Second
	// idleUpstream is shorter than the idle time of common servers (Node.js 5 s), so that the router
	// closes a kept connection before the application does.
	idleUpstream = 4 * time.Second
	// idlePerTarget bounds the kept connections to one instance.
	idlePerTarget = 128
	// maxAnswerHead bounds the head of an instance's answer, in bytes.
	maxAnswerHead = 256 << 10
)

// serviceCounts outlives the tables that name the service.
type serviceCounts struct {
	inFlight atomic.Int64
	targets  atomic.Int64
	started  atomic.Uint64
	turn     atomic.Uint64
}

// upstream is one target with its kept connections. The counter is the instance's: it is
// handed on when the instance's address changes.
type upstream struct {
	Target
	inFlight  *atomic.Int64
	transport *http.Transport
	// left is set once the target is in no table any more.
	left atomic.Bool
}

// dialError marks a failure before anything was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func newUpstream(t Target, dial func(context.Context, Target) (net.Conn, error)) *upstream {
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := dial(ctx, t)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}
	return &upstream{Target: t, inFlight: new(atomic.Int64), transport: &http.Transport{
		DialContext:            connect,
		DisableCompression:     true, // the answer travels as the instance encoded it
		MaxIdleConnsPerHost:    idlePerTarget,
		IdleConnTimeout:        idleUpstream,
		MaxResponseHeaderBytes: maxAnswerHead,
		ExpectContinueTimeout:  time.Second,
		WriteBufferSize:        8 << 10,
		ReadBufferSize:         8 << 10,
	}}
}

// pick takes the target with the fewest requests in flight, other than avoid, and counts one
// more on it. Ties go round. It returns nil when there is none.
func (r *route) pick(avoid *upstream) *upstream {
	n := len(r.upstreams)
	if n == 0 {
		return nil
	}
	start := int(r.counts.turn.Add(1) % uint64(n))
	for {
		var best *upstream
		var low int64
		for i := range n {
			u := r.upstreams[(start+i)%n]
			if u == avoid || u.left.Load() {
				continue
			}
			if v := u.inFlight.Load(); best == nil || v < low {
				best, low = u, v
			}
		}
		if best == nil {
			return nil
		}
		if !best.inFlight.CompareAndSwap(low, low+1) {
			continue // another request took it: look again
		}
		if best.left.Load() { // it left meanwhile: Drained may have been answered already
			best.inFlight.Add(-1)
			continue
		}
		return best
	}
}

// SetTable puts a table in force. Requests in flight to targets that it no longer names finish;
// their kept connections are closed. A host that two routes claim goes to the first.
// The same table again changes nothing.
func (r *Router) SetTable(t *Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &compiled{version: t.Version, hosts: map[string]*route{}}
	named := map[*upstream]bool{}
	for _, in := range t.Routes {
		rt := &route{Route: in, counts: r.services[in.Service]}
		if rt.counts == nil {
			rt.counts = new(serviceCounts)
			r.services[in.Service] = rt.counts
		}
		for _, target := range in.Targets {
			if u := r.upstream(target); !named[u] {
				named[u] = true
				rt.upstreams = append(rt.upstreams, u)
			}
		}
		rt.counts.targets.Store(int64(len(rt.upstreams)))
		for _, h := range in.Hosts {
			h = hostName(h)
			if other := next.hosts[h]; other != nil && other.Service != in.Service {
				r.log.Warn("two services claim one host; the first keeps it", "host", h, "service", other.Service, "refused", in.Service)
				continue
			}
			next.hosts[h] = rt
		}
	}
	r.table.Store(next)
	r.dismiss(named)
	r.forget(t)
}

// upstream returns the state of a target, made anew when its address changed. r.mu is held.
func (r *Router) upstream(t Target) *upstream {
	old := r.upstreams[t.Instance]
	if old != nil && old.Target == t && !old.left.Load() {
		return old
	}
	u := newUpstream(t, r.config.Dial)
	if old != nil {
		u.inFlight = old.inFlight
		old.left.Store(true)
		old.transport.CloseIdleConnections()
	}
	r.upstreams[t.Instance] = u
	return u
}

// dismiss lets every upstream go that the table in force does not name. r.mu is held.
func (r *Router) dismiss(named map[*upstream]bool) {
	for id, u := range r.upstreams {
		if named[u] {
			continue
		}
		if !u.left.Swap(true) {
			u.transport.CloseIdleConnections()
		}
		if u.inFlight.Load() == 0 {
			delete(r.upstreams, id)
		}
	}
}

// forget drops the counters of services that are gone and have nothing in flight. r.mu is held.
func (r *Router) forget(t *Table) {
	known := make(map[app.ServiceID]bool, len(t.Routes))
	for _, in := range t.Routes {
		known[in.Service] = true
	}
	for id, c := range r.services {
		if known[id] {
			continue
		}
		if c.targets.Store(0); c.inFlight.Load() == 0 {
			delete(r.services, id)
		}
	}
}

// Version returns the version of the table in force.
func (r *Router) Version() uint64 { return r.table.Load().version }

// Load returns what the service has to do now; zero for an unknown service.
func (r *Router) Load(id app.ServiceID) Load {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.services[id]
	if c == nil {
		return Load{}
	}
	return Load{InFlight: int(c.inFlight.Load()), Started: c.started.Load(), Targets: int(c.targets.Load())}
}

// InFlight returns the number of requests that the instance is answering, upgraded connections
// included, whether it is still a target or not.
func (r *Router) InFlight(id app.InstanceID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u := r.upstreams[id]; u != nil {
		return int(u.inFlight.Load())
	}
	return 0
}

// Drained reports that the instance is no target and answers nothing; it stays so until a table
// names the instance again.
func (r *Router) Drained(id app.InstanceID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.upstreams[id]
	return u == nil || u.left.Load() && u.inFlight.Load() == 0
}

// Busy returns the instances that are no targets any more and still answer requests, sorted.
func (r *Router) Busy() []app.InstanceID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var busy []app.InstanceID
	for id, u := range r.upstreams {
		if u.left.Load() && u.inFlight.Load() > 0 {
			busy = append(busy, id)
		}
	}
	slices.Sort(busy)
	return busy
}
