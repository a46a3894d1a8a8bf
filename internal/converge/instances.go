package converge

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

const (
	// startsAtOnce bounds how many containers are made at the same time.
	startsAtOnce = 4
	// tailLines is how many of an ended instance's last lines its status keeps.
	tailLines = 5
)

// LogFiles is the part of the engine that keeps the files which shims append output to.
type LogFiles interface {
	// LogPath returns the file of an instance, "" when there is none.
	LogPath(id app.InstanceID) string
	// ReleaseLog removes the file once it has been collected.
	ReleaseLog(id app.InstanceID) error
}

// Follower collects the output of instances.
type Follower interface {
	// Follow takes the whole set of files to collect.
	Follow(ctx context.Context, sources []LogSource) error
}

// LogSource is one instance's output. Final: nothing more will be written.
type LogSource struct {
	Instance app.InstanceID
	Key      app.LogStreamKey
	Path     string
	Final    bool
}

// InstancesConfig is what the instances converger works with.
type InstancesConfig struct {
	Store  *store.Store
	Engine engine.Engine
	Files  LogFiles
	Logs   Follower
	// Tail returns the last lines of a log file.
	Tail func(path string, n int) []string
	// Attachment returns an instance's interface once it is in the kernel.
	Attachment func(app.InterfaceID) (vpc.Attachment, bool)
	UIDBase    func(app.AccountID) uint32
	// CABundle is the file that instances get as their CA bundle.
	CABundle string
	// VolumesDir holds a folder for each volume of private hosts, named by its id.
	VolumesDir string
	Now        func() time.Time
	// Attached is set by the network converger after each attachment.
	Attached Poke
}

// Instances starts, restarts and removes containers so that they are as the Instance rows want them.
type Instances struct {
	InstancesConfig
	poke  Poke
	slots chan struct{}

	mu   sync.Mutex
	busy map[app.InstanceID]bool
	// final are the logs of removed containers that have not been read to their end yet.
	final map[app.InstanceID]bool
	// retry is when work that failed for a passing reason is tried again.
	retry map[app.InstanceID]attempt
}

// NewInstances returns the converger; Run does its work.
func NewInstances(c InstancesConfig) *Instances {
	return &Instances{
		InstancesConfig: c, poke: NewPoke(), slots: make(chan struct{}, startsAtOnce),
		busy: map[app.InstanceID]bool{}, final: map[app.InstanceID]bool{}, retry: map[app.InstanceID]attempt{},
	}
}

// Run converges until ctx ends.
func (c *Instances) Run(ctx context.Context) {
	go func() {
		for events := c.Engine.Events(ctx); ; {
			select {
			case <-ctx.Done():
				return
			case <-events:
				c.poke.Set()
			}
		}
	}()
	Loop(ctx, "instances", func() []<-chan struct{} {
		return []<-chan struct{}{
			c.Store.Changed(store.Instances.Name(), store.InterfaceStatuses.Name(), store.ImageStatuses.Name()), c.poke, c.Attached,
		}
	}, 2*time.Second, c.pass)
}

// LogDone tells that a final log has been read to its end.
func (c *Instances) LogDone(id app.InstanceID) {
	if err := c.Files.ReleaseLog(id); err != nil {
		slog.Warn("cannot remove the log file", "instance", id, "error", err)
		time.AfterFunc(time.Second, func() { c.LogDone(id) })
		return
	}
	c.mu.Lock()
	delete(c.final, id)
	c.mu.Unlock()
	c.poke.Set()
}

// view is everything known about one instance.
type view struct {
	app.Instance
	service   app.Service
	revision  app.Revision
	status    app.InstanceStatus
	container *engine.Status
	settings  app.ServiceSettings
	// host is set instead of service and revision when it is the container of a private host; image is its digest.
	host     *app.Host
	hostname string
	image    app.Digest
}

// log is where the instance's output goes.
func (v view) log() app.LogStreamKey {
	if v.host != nil {
		return v.host.Console()
	}
	return app.LogStreamKey{Group: v.service.ServiceLogGroup("application"), Stream: "instance/" + string(v.ID)}
}

func (c *Instances) pass(ctx context.Context) error {
	busy := c.underWay() // before List, whose answer about these may be out of date when it comes
	containers, err := c.Engine.List(ctx)
	if err != nil {
		return err
	}
	views, orphans, stale, err := c.look(ctx, containers)
	if err != nil {
		return err
	}
	errs := []error{c.follow(ctx, views)}
	for _, v := range views {
		if !busy[v.ID] {
			errs = append(errs, c.converge(ctx, v))
		}
	}
	for _, id := range orphans {
		c.background(ctx, id, func() error {
			if err := c.Engine.Remove(ctx, id, time.Second); err != nil {
				return err
			}
			return c.Files.ReleaseLog(id)
		})
	}
	if len(stale) > 0 {
		errs = append(errs, c.Store.Update(ctx, func(tx *store.Tx) error {
			for _, id := range stale {
				if _, ok := store.Instances.Get(tx, id); !ok {
					store.Observed.InstanceStatuses.Delete(tx, id)
				}
			}
			return nil
		}))
	}
	return errors.Join(errs...)
}

// underWay returns the instances that work goes on for; its end pokes.
func (c *Instances) underWay() map[app.InstanceID]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.busy)
}

// look joins rows and containers; orphans are containers without a row, stale are statuses without one.
func (c *Instances) look(ctx context.Context, containers []engine.Status) (views []view, orphans, stale []app.InstanceID, err error) {
	byID := make(map[app.InstanceID]*engine.Status, len(containers))
	for i := range containers {
		byID[containers[i].ID] = &containers[i]
	}
	err = c.Store.View(ctx, func(tx *store.Tx) error {
		for i := range store.Instances.All(tx) {
			v := view{Instance: i, container: byID[i.ID]}
			delete(byID, i.ID)
			v.service, _ = store.Services.Get(tx, i.Service)
			v.revision, _ = store.Revisions.Get(tx, app.RevisionKey{Service: i.Service, Number: i.Revision})
			v.status, _ = store.InstanceStatuses.Get(tx, i.ID)
			v.settings = v.service.Settings.WithDefaults()
			v.image = v.revision.Digest
			if h, ok := store.Hosts.Get(tx, i.Host); ok && i.Host != "" {
				image, _ := store.ImageStatuses.Get(tx, h.ImageKey())
				v.host, v.image = &h, image.Digest
				v.settings.StopTimeout = hostStopTimeout
				if len(h.Interfaces) > 0 {
					primary, _ := store.NetworkInterfaces.Get(tx, h.Interfaces[0])
					v.hostname = hostname(primary)
				}
			}
			views = append(views, v)
		}
		for s := range store.InstanceStatuses.All(tx) {
			if _, ok := store.Instances.Get(tx, s.ID); !ok {
				stale = append(stale, s.ID)
			}
		}
		return nil
	})
	for id := range byID {
		orphans = append(orphans, id)
	}
	return views, orphans, stale, err
}

// follow hands every log file, those of removed containers included, to the collector.
func (c *Instances) follow(ctx context.Context, views []view) error {
	c.mu.Lock()
	final := maps.Clone(c.final)
	c.mu.Unlock()
	var sources []LogSource
	for _, v := range views {
		path := ""
		if v.container != nil {
			path = v.container.LogPath
		} else if final[v.ID] {
			path = c.Files.LogPath(v.ID)
		}
		if path == "" {
			continue
		}
		sources = append(sources, LogSource{
			Instance: v.ID, Path: path, Final: final[v.ID],
			Key: v.log(),
		})
	}
	return c.Logs.Follow(ctx, sources)
}

// converge does what one instance needs.
func (c *Instances) converge(ctx context.Context, v view) error {
	switch {
	case v.Goal == app.GoalStop:
		return c.stop(ctx, v)
	case v.container != nil && v.container.State == engine.StateRunning:
		if v.status.Phase == app.PhaseRunning && v.status.StartedAt.Equal(v.container.StartedAt) {
			return nil
		}
		return c.recordRunning(ctx, v.ID, v.container.StartedAt)
	case v.status.Phase == app.PhaseFailed:
		return nil
	case v.container != nil && v.container.State == engine.StateStopped && v.status.Phase == app.PhaseRunning:
		return c.recordExit(ctx, v)
	case v.container == nil && v.status.Phase == app.PhaseRunning:
		return c.recordLost(ctx, v.ID)
	case v.Goal == app.GoalRun:
		return c.start(ctx, v)
	}
	return nil
}

func (c *Instances) stop(ctx context.Context, v view) error {
	c.mu.Lock()
	reading := c.final[v.ID]
	c.mu.Unlock()
	switch {
	case v.status.Phase == app.PhaseGone || reading:
		return nil
	case v.container != nil:
		grace := v.settings.StopTimeout
		c.background(ctx, v.ID, func() error { return c.Engine.Remove(ctx, v.ID, grace) })
		return nil
	case c.Files.LogPath(v.ID) != "":
		c.mu.Lock()
		c.final[v.ID] = true
		c.mu.Unlock()
		c.poke.Set()
		return nil
	}
	return c.record(ctx, v.ID, func(s *app.InstanceStatus) { s.Phase = app.PhaseGone })
}

// background runs work for an instance and looks again afterwards. Nothing happens while other work is under way for it,
// or until the back-off after a failure is over.
func (c *Instances) background(ctx context.Context, id app.InstanceID, work func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[id] {
		return
	}
	if wait := c.retry[id].next.Sub(c.Now()); wait > 0 {
		time.AfterFunc(wait, c.poke.Set)
		return
	}
	c.busy[id] = true
	go func() {
		err := work()
		if err != nil && ctx.Err() == nil {
			slog.Warn("cannot converge instance", "instance", id, "error", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.busy, id)
		if err == nil {
			delete(c.retry, id)
		} else {
			failures := c.retry[id].failures + 1
			c.retry[id] = attempt{failures, c.Now().Add(restartPause(failures))}
		}
		c.poke.Set()
	}()
}

// record changes the status of an instance that control still has. In the same transaction the health of a run that
// is over ends.
func (c *Instances) record(ctx context.Context, id app.InstanceID, change func(*app.InstanceStatus)) error {
	return c.Store.Update(ctx, func(tx *store.Tx) error {
		if _, ok := store.Instances.Get(tx, id); !ok {
			return nil
		}
		old, _ := store.InstanceStatuses.Get(tx, id)
		status := old
		change(&status)
		status.ID, status.UpdatedAt = id, c.Now()
		if status.Phase != app.PhaseRunning || !status.StartedAt.Equal(old.StartedAt) {
			unhealthy(tx, id, status.UpdatedAt)
		}
		store.Observed.InstanceStatuses.Put(tx, status)
		return nil
	})
}

func (c *Instances) recordRunning(ctx context.Context, id app.InstanceID, startedAt time.Time) error {
	return c.record(ctx, id, func(s *app.InstanceStatus) {
		s.Phase, s.StartedAt, s.Reason = app.PhaseRunning, startedAt, ""
	})
}

func (c *Instances) recordExit(ctx context.Context, v view) error {
	lines := c.Tail(v.container.LogPath, tailLines)
	exits := 0
	err := c.record(ctx, v.ID, func(s *app.InstanceStatus) {
		s.Phase, s.LastLines = app.PhaseExited, lines
		s.Exits++
		s.ExitCode, s.OOMKilled, s.Reason = v.container.ExitCode, v.container.OOMKilled, v.container.Failure
		s.Ends, s.EndReason = s.Ends+1, s.Reason
		exits = s.Exits
	})
	if err == nil {
		time.AfterFunc(restartPause(exits), c.poke.Set)
	}
	return err
}

// recordLost tells that somebody else took the container away; it is made again.
func (c *Instances) recordLost(ctx context.Context, id app.InstanceID) error {
	defer c.poke.Set()
	return c.record(ctx, id, func(s *app.InstanceStatus) { s.Phase, s.Reason = app.PhasePending, "its container was removed" })
}

// restartPause is the back-off between an end and the next start.
func restartPause(exits int) time.Duration {
	pauses := []time.Duration{0, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 15 * time.Second}
	return pauses[min(exits, len(pauses)-1)]
}

// start makes the container run once everything that it needs is there and its back-off is over.
func (c *Instances) start(ctx context.Context, v view) error {
	a, attached := c.Attachment(v.Interface)
	if !attached || v.image == "" {
		return nil
	}
	if v.status.Phase == app.PhaseExited {
		if wait := v.status.UpdatedAt.Add(restartPause(v.status.Exits)).Sub(c.Now()); wait > 0 {
			time.AfterFunc(wait, c.poke.Set)
			return nil
		}
	}
	instance, err := c.spec(v, a)
	if err != nil {
		return c.recordFailed(ctx, v.ID, err)
	}
	c.background(ctx, v.ID, func() error {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { <-c.slots }()
		return c.ensure(ctx, instance)
	})
	return nil
}

func (c *Instances) ensure(ctx context.Context, instance engine.Instance) error {
	id := instance.ID
	err := c.Engine.Ensure(ctx, instance)
	if err == nil {
		return c.recordRunning(ctx, id, c.startedAt(ctx, id)) // at once: a run that ended meanwhile counts as one
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if kind := app.KindOf(err); kind == app.KindInvalidRequest || kind == app.KindNotFound {
		return c.recordFailed(ctx, id, err)
	}
	return errors.Join(err, c.record(ctx, id, func(s *app.InstanceStatus) { s.Phase, s.Reason = app.PhasePending, err.Error() }))
}

func (c *Instances) startedAt(ctx context.Context, id app.InstanceID) time.Time {
	containers, err := c.Engine.List(ctx)
	if n := slices.IndexFunc(containers, func(s engine.Status) bool { return s.ID == id }); err == nil && n >= 0 {
		return containers[n].StartedAt
	}
	return c.Now()
}

func (c *Instances) recordFailed(ctx context.Context, id app.InstanceID, cause error) error {
	var lines []string
	if path := c.Files.LogPath(id); path != "" {
		lines = c.Tail(path, tailLines)
	}
	return c.record(ctx, id, func(s *app.InstanceStatus) {
		s.Phase, s.Reason, s.LastLines = app.PhaseFailed, cause.Error(), lines
	})
}

// spec returns the complete desired container of an instance or a private host.
func (c *Instances) spec(v view, a vpc.Attachment) (engine.Instance, error) {
	if v.host != nil {
		return c.hostSpec(v, a)
	}
	return spec(v.service, v.revision, v.Instance, a, c.UIDBase(v.service.Scope.Account), c.CABundle)
}
