// Package fake is an engine in memory, for simulations of the control plane. Images
// follow scripts, time is injected, crashes and reboots are calls, and everything that
// was started is counted, so that a simulation can prove that nothing leaks.
//
// The fake's state stands for the machine: it outlives the control plane that a
// simulation crashes. It hits the same failpoints as the real engine.
package fake

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/engine"
)

// Script says what an instance of an image does; it is asked at each start.
type Script func(in engine.Instance) Behaviour

// Behaviour is one run. The zero value runs until it is stopped, listens and is healthy at once.
type Behaviour struct {
	// StartError makes Ensure fail.
	StartError error
	// Exits: it ends by itself after ExitAfter with ExitCode.
	Exits     bool
	ExitAfter time.Duration
	ExitCode  int
	// Memory in MiB and Writes in bytes are what it takes at once; beyond its limits it is ended.
	Memory int
	Writes int64
	// StopAfter is how long it takes to obey the stop signal; beyond the grace it is killed.
	StopAfter time.Duration
	// Failure is shown once it has ended.
	Failure string
	// NeverListens: its port stays closed. OtherPorts are open instead.
	NeverListens bool
	OtherPorts   []int
	// HealthyAfter is the time from its start until checks pass.
	HealthyAfter time.Duration
	// Unhealthy: checks never pass.
	Unhealthy bool
	// Output is appended to its log at the start.
	Output string
	// Exec is what Exec runs, until it returns the exit code or ctx ends; nil = no command exists.
	Exec func(ctx context.Context, x engine.Exec) int
}

// Options make an engine. The zero value uses the real clock and writes no logs.
type Options struct {
	Now func() time.Time
	// Sleep waits for a stopping instance.
	Sleep func(ctx context.Context, d time.Duration)
	// LogDir is where logs are written; "" = nowhere.
	LogDir string
}

// Engine implements engine.Engine and engine.Blobs.
type Engine struct {
	opts Options

	mu        sync.Mutex
	instances map[app.InstanceID]*instance
	scripts   map[app.Digest]Script
	external  map[string]externalImage
	resolved  map[app.Digest]bool
	blobs     map[app.Digest]storedBlob
	sessions  map[string]*session
	listeners map[chan app.InstanceID]struct{}
	lastPID   int
	counts    Counts
}

type instance struct {
	in        engine.Instance
	behaviour Behaviour
	status    engine.Status
	// told: the end of this run has been announced.
	told bool
}

type externalImage struct {
	digest app.Digest
	err    error
}

// Counts is what happened so far.
type Counts struct {
	Creates, Starts, Removes, Resolves int
	// MaxRunning is the most that ran at once.
	MaxRunning int
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Blobs  = (*Engine)(nil)
)

// New returns an empty engine.
func New(opts Options) *Engine {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Sleep == nil {
		opts.Sleep = sleep
	}
	return &Engine{
		opts: opts, instances: map[app.InstanceID]*instance{}, scripts: map[app.Digest]Script{}, external: map[string]externalImage{},
		resolved: map[app.Digest]bool{}, blobs: map[app.Digest]storedBlob{}, sessions: map[string]*session{}, listeners: map[chan app.InstanceID]struct{}{},
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Ensure makes the instance run, see engine.Engine.
func (e *Engine) Ensure(_ context.Context, in engine.Instance) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.instances[in.ID]
	if i != nil {
		e.settle(i)
	}
	switch {
	case i != nil && i.status.State == engine.StateRunning:
		if !sameSpec(i.in, in) {
			return app.Errorf(app.KindInvalidState, string(in.ID), "instance %s runs with another configuration; remove it first", in.ID)
		}
		return nil
	case i == nil || !sameSpec(i.in, in):
		if !e.resolved[in.Image] {
			return app.Errorf(app.KindInvalidState, string(in.Image), "image %s is not present; resolve it first", in.Image)
		}
		i = &instance{in: in, status: engine.Status{ID: in.ID, Service: in.Service, Revision: in.Revision, ExitCode: -1, LogPath: e.logPath(in.ID)}}
		e.instances[in.ID] = i
		e.counts.Creates++
		if err := failpoint.Hit("engine/created"); err != nil {
			return err
		}
	}
	if err := failpoint.Hit("engine/task-created"); err != nil {
		return err
	}
	if err := e.start(i); err != nil {
		return err
	}
	return failpoint.Hit("engine/started")
}

func (e *Engine) start(i *instance) error {
	i.behaviour, i.told = Behaviour{}, false
	if script := e.scripts[i.in.Image]; script != nil {
		i.behaviour = script(i.in)
	}
	now := e.opts.Now()
	s := &i.status
	s.StartedAt, s.ExitedAt, s.ExitCode, s.OOMKilled, s.Failure = now, time.Time{}, -1, false, ""
	if err := i.behaviour.StartError; err != nil {
		s.State, s.ExitedAt, s.Failure = engine.StateStopped, now, err.Error()
		e.send(i.in.ID)
		return err
	}
	e.lastPID++
	e.counts.Starts++
	s.State, s.PID = engine.StateRunning, e.lastPID
	if err := e.writeLog(i); err != nil {
		return err
	}
	e.settle(i)
	e.counts.MaxRunning = max(e.counts.MaxRunning, e.running())
	e.send(i.in.ID)
	return nil
}

func (e *Engine) logPath(id app.InstanceID) string {
	if e.opts.LogDir == "" {
		return ""
	}
	return filepath.Join(e.opts.LogDir, string(id)+".log")
}

func (e *Engine) writeLog(i *instance) error {
	if i.status.LogPath == "" {
		return nil
	}
	f, err := os.OpenFile(i.status.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open log: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString(i.behaviour.Output); err != nil {
		return fmt.Errorf("cannot write log: %w", err)
	}
	return nil
}

// settle moves an instance to where its script has it by now.
func (e *Engine) settle(i *instance) {
	s, b := &i.status, i.behaviour
	if s.State != engine.StateRunning {
		return
	}
	switch {
	case b.Memory > 0 && i.in.Memory > 0 && b.Memory > i.in.Memory:
		e.end(i, s.StartedAt, 137)
		s.OOMKilled, s.Failure = true, fmt.Sprintf("it used more than its %d MiB of memory and was killed", i.in.Memory)
	case i.in.Storage > 0 && b.Writes > i.in.Storage:
		e.end(i, s.StartedAt, 137)
		s.Failure = fmt.Sprintf("it wrote more than %d MB to its file system and was stopped", i.in.Storage>>20)
	case b.Exits && !e.opts.Now().Before(s.StartedAt.Add(b.ExitAfter)):
		e.end(i, s.StartedAt.Add(b.ExitAfter), b.ExitCode)
		s.Failure = b.Failure
	}
}

func (e *Engine) end(i *instance, at time.Time, code int) {
	i.status.State, i.status.PID, i.status.ExitedAt, i.status.ExitCode = engine.StateStopped, 0, at, code
}

func (e *Engine) running() int {
	n := 0
	for _, i := range e.instances {
		if i.status.State == engine.StateRunning {
			n++
		}
	}
	return n
}

// Remove ends and removes an instance, see engine.Engine.
func (e *Engine) Remove(ctx context.Context, id app.InstanceID, grace time.Duration) error {
	e.mu.Lock()
	i := e.instances[id]
	if i == nil {
		e.mu.Unlock()
		return nil
	}
	e.settle(i)
	wait := time.Duration(0)
	if i.status.State == engine.StateRunning {
		wait = min(grace, i.behaviour.StopAfter)
	}
	e.mu.Unlock()
	if wait > 0 {
		e.opts.Sleep(ctx, wait)
		if err := ctx.Err(); err != nil {
			return app.Errorf(app.KindUnavailable, string(id), "cannot stop instance %s: %w", id, err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if i.status.State == engine.StateRunning {
		e.end(i, e.opts.Now(), 143)
	}
	if err := failpoint.Hit("engine/removing"); err != nil {
		return err
	}
	if e.instances[id] == i {
		delete(e.instances, id)
		e.counts.Removes++
		e.send(id)
	}
	return nil
}

// List returns every instance, sorted by id.
func (e *Engine) List(context.Context) ([]engine.Status, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]engine.Status, 0, len(e.instances))
	for _, i := range e.instances {
		e.settle(i)
		out = append(out, i.status)
	}
	sort.Slice(out, func(a, b int) bool { return out[a].ID < out[b].ID })
	return out, nil
}

// Events yields a hint after each change.
func (e *Engine) Events(ctx context.Context) <-chan app.InstanceID {
	ch := make(chan app.InstanceID, 256)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.listeners[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.listeners, ch)
	})
	return ch
}

// send tells every listener; the caller holds mu.
func (e *Engine) send(id app.InstanceID) {
	for ch := range e.listeners {
		select {
		case ch <- id:
		default:
		}
	}
}

// Close lets go of the engine; its instances run on.
func (e *Engine) Close() error { return nil }

func sameSpec(a, b engine.Instance) bool {
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}
