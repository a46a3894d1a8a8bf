package control

import (
	"fmt"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
)

// The keeper's patience with instances of a running service.
const (
	// replaceAfterExits is how many ends in a row an instance may have before another takes its place.
	replaceAfterExits = 5
	// failedPause spaces out replacements of instances that cannot be started.
	failedPause = 30 * time.Second
)

// View is everything that Decide looks at: one service with its instances, oldest first.
type View struct {
	Service   app.Service
	Operation app.Operation // in flight; zero = none
	MinSize   int           // of the routed revision
	Instances []operation.Candidate
	// DrainedAt are the times when the draining instances may be stopped.
	DrainedAt []time.Time
	Now       time.Time
}

// Replacement is an instance to take out of service; Reason is "" for surplus.
type Replacement struct {
	Instance app.Instance
	Drain    bool
	Reason   string
}

// Decision is what to do about a service.
type Decision struct {
	Replace []Replacement
	// Want is how many instances of the routed revision have to run after the replacements; 0 = leave that alone.
	Want int
	// Create is how many of them are missing.
	Create int
	// Drained: at least one draining instance may be stopped.
	Drained bool
	// Gone: at least one instance's rows can go.
	Gone bool
	// Ended are instances that served and have ended since the event log told of it; they are started again.
	Ended []operation.Candidate
	// Wake is when time alone changes the decision; zero = it does not.
	Wake time.Time
}

// Any reports whether there is something to do.
func (d Decision) Any() bool {
	return len(d.Replace) > 0 || d.Create > 0 || d.Drained || d.Gone || len(d.Ended) > 0
}

// Decide says what keeps a service at full strength. It is pure.
func Decide(v View) Decision {
	var d Decision
	for _, at := range v.DrainedAt {
		if !v.Now.Before(at) {
			d.Drained = true
		} else {
			d.wake(at)
		}
	}
	for _, c := range v.Instances {
		d.Gone = d.Gone || c.Instance.Goal == app.GoalStop && c.Status.Phase == app.PhaseGone
		if c.Instance.Goal == app.GoalRun && c.Health.EverHealthy && c.Status.Ends > c.Instance.EndsTold {
			d.Ended = append(d.Ended, c)
		}
	}
	steady := v.Service.Status == app.ServiceRunning
	if v.Service.Routed == 0 || !steady && !servesMeanwhile(v) {
		return d
	}
	d.strength(v, steady)
	return d
}

// servesMeanwhile: during an update or deployment the old revision has to stay at full strength until the new one has
// the traffic.
func servesMeanwhile(v View) bool {
	t := v.Operation.Type
	return (t == app.OpUpdateService || t == app.OpStartDeployment) && v.Service.Routed == v.Operation.From
}

func (d *Decision) strength(v View, steady bool) {
	var run []operation.Candidate
	for _, c := range v.Instances {
		switch {
		case c.Instance.Goal != app.GoalRun:
		case c.Instance.Revision == v.Service.Routed:
			run = append(run, c)
		case steady:
			d.Replace = append(d.Replace, Replacement{Instance: c.Instance, Drain: true})
		}
	}
	timeout := v.Service.Settings.WithDefaults().StartTimeout
	starting := 0
	for _, c := range run {
		if !c.Health.EverHealthy && v.Now.Before(c.Instance.CreatedAt.Add(timeout)) && c.Status.Phase != app.PhaseFailed {
			starting++
		}
	}
	have := 0
	for _, c := range run {
		r, at := sick(c, v.Now, timeout)
		switch {
		case r == nil:
			have++
			d.wake(at)
		case starting > 0 && c.Status.Phase == app.PhaseRunning:
			have++ // one replacement at a time: its successor may not be the cure
		default:
			d.Replace = append(d.Replace, *r)
			if c.Status.Phase == app.PhaseRunning {
				starting++
			}
		}
	}
	d.Want = v.MinSize
	if have < v.MinSize {
		d.Create = v.MinSize - have
	}
	if steady {
		d.surplus(run, have-v.MinSize)
	}
}

// surplus takes n instances that were not replaced out of service, the newest first.
func (d *Decision) surplus(run []operation.Candidate, n int) {
	for k := len(run) - 1; k >= 0 && n > 0; k-- {
		if !d.replaces(run[k].Instance.ID) {
			d.Replace = append(d.Replace, Replacement{Instance: run[k].Instance, Drain: true})
			n--
		}
	}
}

func (d *Decision) replaces(id app.InstanceID) bool {
	for _, r := range d.Replace {
		if r.Instance.ID == id {
			return true
		}
	}
	return false
}

// sick says why an instance has to be replaced, nil if it has not, and then when time alone may change that.
func sick(c operation.Candidate, now time.Time, timeout time.Duration) (*Replacement, time.Time) {
	created, running := c.Instance.CreatedAt, c.Status.Phase == app.PhaseRunning
	switch {
	case running && c.Health.Healthy:
		return nil, time.Time{}
	case c.Status.Phase == app.PhaseFailed || c.Status.Exits >= replaceAfterExits:
		if at := created.Add(failedPause); now.Before(at) {
			return nil, at
		}
		reason := fmt.Sprintf("it ended %d times in a row.", c.Status.Exits)
		if c.Status.Phase == app.PhaseFailed {
			reason = "it cannot be started. " + c.Status.Reason
		}
		return &Replacement{c.Instance, false, reason}, time.Time{}
	case running && c.Health.EverHealthy:
		// One that was restarted gets the time of a start before it is given up.
		if at := c.Status.StartedAt.Add(timeout); c.Status.Exits > 0 && now.Before(at) {
			return nil, at
		}
		return &Replacement{c.Instance, true, fmt.Sprintf("it failed its health check (%s).", c.Health.Answer)}, time.Time{}
	case !c.Health.EverHealthy:
		if at := created.Add(timeout); now.Before(at) {
			return nil, at
		}
		return &Replacement{c.Instance, false, fmt.Sprintf("it did not become healthy within %v.", timeout)}, time.Time{}
	}
	return nil, time.Time{}
}

func (d *Decision) wake(at time.Time) {
	if !at.IsZero() && (d.Wake.IsZero() || at.Before(d.Wake)) {
		d.Wake = at
	}
}
