package fake

import (
	"sort"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

// Behave sets the script of an image by its manifest's digest.
func (e *Engine) Behave(d app.Digest, s Script) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scripts[d] = s
}

// AddImage makes an external image that Resolve finds by name, or that fails with err.
// An image that Behave or AddImage named needs no content in Blobs.
func (e *Engine) AddImage(name string, d app.Digest, s Script, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.external[name] = externalImage{digest: d, err: err}
	if s != nil {
		e.scripts[d] = s
	}
}

// Always is the script of an image whose instances all behave alike.
func Always(b Behaviour) Script { return func(engine.Instance) Behaviour { return b } }

// Tick announces the instances that ended since the last Tick; a simulation calls it after
// moving the clock.
func (e *Engine) Tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, i := range e.instances {
		if e.settle(i); i.status.State == engine.StateStopped && !i.told {
			i.told = true
			e.send(id)
		}
	}
}

// Kill ends a running instance as a crash would.
func (e *Engine) Kill(id app.InstanceID, code int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := e.instances[id]; i != nil && i.status.State == engine.StateRunning {
		e.end(i, e.opts.Now(), code)
		e.send(id)
	}
}

// Reboot ends everything; exit codes are unknown. Images and uploads stay.
func (e *Engine) Reboot() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range e.instances {
		if e.settle(i); i.status.State == engine.StateRunning {
			e.end(i, e.opts.Now(), -1)
		}
	}
}

// Probe is what a health check of an instance finds.
type Probe struct {
	Running, Listening, Healthy bool
	OtherPorts                  []int
}

// Probe checks an instance as the prober would.
func (e *Engine) Probe(id app.InstanceID) Probe {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.instances[id]
	if i == nil {
		return Probe{}
	}
	if e.settle(i); i.status.State != engine.StateRunning {
		return Probe{}
	}
	b := i.behaviour
	p := Probe{Running: true, Listening: !b.NeverListens, OtherPorts: b.OtherPorts}
	p.Healthy = p.Listening && !b.Unhealthy && !e.opts.Now().Before(i.status.StartedAt.Add(b.HealthyAfter))
	return p
}

// Leaks returns the instances that exist although nobody claims them, sorted.
func (e *Engine) Leaks(claimed func(app.InstanceID) bool) []app.InstanceID {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []app.InstanceID
	for id := range e.instances {
		if !claimed(id) {
			out = append(out, id)
		}
	}
	sort.Slice(out, func(a, b int) bool { return out[a] < out[b] })
	return out
}

// Counts returns what happened so far.
func (e *Engine) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}
