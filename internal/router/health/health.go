// Package health probes instances the way App Runner's health checks do (apprunner guide,
// HealthCheckConfiguration) and says in words what it found.
package health

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
)

// The pace of probes while an instance starts.
const (
	fastest = 100 * time.Millisecond
	// slowing makes the pause this fraction of the time since the start: 100 ms up to 2 s, 500 ms at 10 s.
	slowing = 20
	// jitter spreads steady probes by this fraction of the interval to either side.
	jitter = 0.1
)

// Check is one instance to probe.
type Check struct {
	Instance    app.InstanceID
	Interface   app.InterfaceID
	Addr        netip.AddrPort
	HealthCheck app.HealthCheck
	// Fast probes every 100 ms at first and slows down to the interval, until the instance is healthy.
	Fast bool
	// Healthy and EverHealthy are what is known already; they count when the prober meets the instance.
	Healthy, EverHealthy bool
}

// Result is what the prober knows about an instance.
type Result struct {
	Instance app.InstanceID
	Healthy  bool
	// EverHealthy stays true once the instance was healthy.
	EverHealthy bool
	// Answer is the last probe's outcome in words.
	Answer string
	At     time.Time
}

// Config is what a prober needs from outside.
type Config struct {
	// Dial connects to a port of an instance; required.
	Dial func(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error)
	// Report is told every change of health or answer; required. Calls about one instance come one
	// after the other, from the prober's goroutines; one under way when the instance leaves the
	// targets may still finish.
	Report func(Result)
	// Concurrency bounds the probes at one time; 0 = 64.
	Concurrency int
}

// Prober probes a changing set of instances. Its methods are safe for concurrent use.
type Prober struct {
	config Config
	slots  chan struct{}

	mu      sync.Mutex
	probes  map[app.InstanceID]*probe
	running sync.WaitGroup
	closed  bool
}

// New returns a prober without targets.
func New(c Config) *Prober {
	if c.Concurrency <= 0 {
		c.Concurrency = 64
	}
	return &Prober{config: c, slots: make(chan struct{}, c.Concurrency), probes: map[app.InstanceID]*probe{}}
}

// SetTargets replaces the whole set; the same set again changes nothing. An instance whose check
// changed keeps its health and is probed anew by the new check at once.
func (p *Prober) SetTargets(checks []Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	wanted := make(map[app.InstanceID]bool, len(checks))
	for _, c := range checks {
		wanted[c.Instance] = true
		old := p.probes[c.Instance]
		if old != nil && old.same(c) {
			continue
		}
		p.start(c, old)
	}
	for id, pr := range p.probes {
		if !wanted[id] {
			pr.stop()
			delete(p.probes, id)
		}
	}
}

// start begins to probe by c, going on from old. p.mu is held.
func (p *Prober) start(c Check, old *probe) {
	ctx, stop := context.WithCancel(context.Background())
	pr := &probe{prober: p, check: c, stop: stop, done: make(chan struct{})}
	pr.state = Result{Instance: c.Instance, Healthy: c.Healthy, EverHealthy: c.EverHealthy || c.Healthy}
	p.probes[c.Instance] = pr
	var before *probe
	if old != nil {
		old.stop()
		before = old
	}
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		defer close(pr.done)
		if before != nil {
			<-before.done
			pr.state = before.state
		}
		pr.run(ctx)
	}()
}

// Close stops probing and waits for the reports under way.
func (p *Prober) Close() {
	p.mu.Lock()
	p.closed = true
	for _, pr := range p.probes {
		pr.stop()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// probe is the loop of one instance; state and the counts belong to its goroutine.
type probe struct {
	prober *Prober
	check  Check
	stop   context.CancelFunc
	done   chan struct{}

	state          Result
	passes, misses int // in a row
}

// same reports that c asks for what the probe does already; what was known beforehand does not count.
func (p *probe) same(c Check) bool {
	c.Healthy, c.EverHealthy = p.check.Healthy, p.check.EverHealthy
	return c == p.check
}

func (p *probe) run(ctx context.Context) {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		select {
		case p.prober.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		ok, answer := p.prober.once(ctx, p.check)
		<-p.prober.slots
		if ctx.Err() != nil {
			return
		}
		p.note(ok, answer)
		timer.Reset(p.pause(time.Since(began)))
	}
}

// note counts an outcome and reports when something changed.
func (p *probe) note(ok bool, answer string) {
	before := p.state
	h := p.check.HealthCheck
	if ok {
		p.passes, p.misses = p.passes+1, 0
	} else {
		p.passes, p.misses = 0, p.misses+1
	}
	switch {
	case p.passes >= max(h.HealthyThreshold, 1):
		p.state.Healthy, p.state.EverHealthy = true, true
	case p.misses >= max(h.UnhealthyThreshold, 1):
		p.state.Healthy = false
	}
	p.state.Answer = answer
	if p.state.Healthy != before.Healthy || p.state.EverHealthy != before.EverHealthy || answer != before.Answer {
		p.state.At = time.Now()
		p.prober.config.Report(p.state)
	}
}

// pause is the time until the next probe, age being the time since the first.
func (p *probe) pause(age time.Duration) time.Duration {
	interval := seconds(p.check.HealthCheck.Interval)
	if p.check.Fast && !p.state.Healthy {
		return min(max(age/slowing, fastest), interval)
	}
	return time.Duration(float64(interval) * (1 - jitter + 2*jitter*rand.Float64()))
}

// seconds guards against a zero from an incomplete row: a probe loop must never spin.
func seconds(n int) time.Duration { return time.Duration(max(n, 1)) * time.Second }
