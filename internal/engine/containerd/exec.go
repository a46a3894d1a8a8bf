package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	apitasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/containerd/shim"
)

var _ engine.Execer = (*Engine)(nil)

// drainWait is how long output may still come once a process has ended: what it left in the background may hold the
// streams open for ever.
const drainWait = 2 * time.Second

// execs names the processes that Exec starts: those of another engine were left by a crash.
type execs struct {
	mu     sync.Mutex
	prefix string
	last   int
}

func (x *execs) next() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last++
	return x.mine() + strconv.Itoa(x.last)
}

// mine is the prefix of this engine's processes; the caller holds mu.
func (x *execs) mine() string {
	if x.prefix == "" {
		x.prefix = "exec-" + id.Source{}.Hex(8) + "-"
	}
	return x.prefix
}

func (x *execs) owns(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.HasPrefix(name, x.mine())
}

func (c *Config) fifoDir() string { return filepath.Join(c.stateDir(), "fifo") }

// bundlePath is the configuration that the instance runs with, its environment included.
func (c *Config) bundlePath(id app.InstanceID) string {
	return filepath.Join(c.bundleRoot(), "io.containerd.runtime.v2.task", string(c.Install), string(id), "config.json")
}

// Exec starts a process inside an instance, see engine.Execer.
func (e *Engine) Exec(ctx context.Context, id app.InstanceID, x engine.Exec) (engine.Process, error) {
	ctx = e.scope(ctx)
	task, err := e.runningTask(ctx, id)
	if err != nil {
		return nil, err
	}
	spec, err := e.execSpec(ctx, id, x)
	if err != nil {
		return nil, err
	}
	ended := &endedInput{r: x.Stdin, done: make(chan struct{})}
	streams := []cio.Opt{cio.WithStreams(ended, x.Stdout, x.Stderr), cio.WithFIFODir(e.cfg.fifoDir())}
	if x.Terminal {
		streams = append(streams, cio.WithTerminal)
	}
	p, err := task.Exec(ctx, e.execs.next(), spec, cio.NewCreator(streams...))
	if err != nil {
		return nil, execError(id, err)
	}
	run := &execProcess{e: e, id: id, p: p, done: make(chan struct{})}
	// The process outlives a cancelled request only until it has been killed.
	exited, err := p.Wait(e.base)
	if err == nil {
		err = p.Start(ctx)
	}
	if err != nil {
		if _, derr := p.Delete(e.base, client.WithProcessKill); derr != nil && !errdefs.IsNotFound(derr) {
			e.cfg.Log.Debug("cannot delete process that did not start", "instance", id, "error", derr)
		}
		return nil, execError(id, err)
	}
	if x.Terminal && x.Width > 0 && x.Height > 0 {
		if err := run.Resize(ctx, x.Width, x.Height); err != nil {
			e.cfg.Log.Debug("cannot set terminal size", "instance", id, "error", err)
		}
	}
	if !x.Terminal {
		go run.closeInput(ended.done)
	}
	e.done.Go(func() { run.attend(ctx, exited) })
	return run, nil
}

func (e *Engine) runningTask(ctx context.Context, id app.InstanceID) (client.Task, error) {
	notRunning := app.Errorf(app.KindInvalidState, string(id), "instance %s does not run; wait until it does", id)
	c, err := e.client.LoadContainer(ctx, string(id))
	if errdefs.IsNotFound(err) {
		return nil, notRunning
	}
	if err != nil {
		return nil, diskError(string(id), fmt.Errorf("cannot load instance %s: %w", id, err))
	}
	task, err := c.Task(ctx, nil)
	if errdefs.IsNotFound(err) {
		return nil, notRunning
	}
	if err != nil {
		return nil, diskError(string(id), fmt.Errorf("cannot load task of instance %s: %w", id, err))
	}
	if status, err := task.Status(ctx); err != nil || status.Status != client.Running {
		return nil, notRunning
	}
	return task, nil
}

// execSpec takes rights and environment from the instance's own process.
func (e *Engine) execSpec(ctx context.Context, id app.InstanceID, x engine.Exec) (*specs.Process, error) {
	if len(x.Args) == 0 || x.Args[0] == "" {
		return nil, app.Errorf(app.KindInvalidRequest, string(id), "there is no command to execute; name one, for example sh")
	}
	data, err := os.ReadFile(e.cfg.bundlePath(id))
	if err != nil {
		return nil, app.Errorf(app.KindUnavailable, string(id), "cannot read configuration of instance %s: %w", id, err)
	}
	var s specs.Spec
	if err := json.Unmarshal(data, &s); err != nil || s.Process == nil || s.Linux == nil {
		return nil, app.Errorf(app.KindUnavailable, string(id), "the configuration of instance %s is damaged", id)
	}
	if x.User != "" {
		c := &containers.Container{ID: string(id), Snapshotter: snapshotter, SnapshotKey: string(id)}
		if err := e.asUser(ctx, c, &s, x.User); err != nil {
			return nil, app.Errorf(app.KindInvalidRequest, string(id), "the user %q cannot be found in the instance: %w", x.User, err)
		}
	}
	p := s.Process
	p.Args, p.Env, p.Terminal = x.Args, shim.MergeEnv(p.Env, x.Env), x.Terminal
	if x.Terminal && x.Width > 0 && x.Height > 0 {
		p.ConsoleSize = &specs.Box{Width: uint(x.Width), Height: uint(x.Height)}
	}
	return p, nil
}

// execError says in words why a process did not start.
func execError(id app.InstanceID, err error) error {
	text := err.Error()
	switch {
	case missingCommand.MatchString(text):
		return app.Errorf(app.KindInvalidRequest, string(id), "the command %q does not exist in the instance; name one that its image has", missingCommand.FindStringSubmatch(text)[1])
	case deniedCommand.MatchString(text):
		return app.Errorf(app.KindInvalidRequest, string(id), "the command %q may not be executed (permission denied)", deniedCommand.FindStringSubmatch(text)[1])
	case errdefs.IsNotFound(err), errdefs.IsFailedPrecondition(err):
		return app.Errorf(app.KindInvalidState, string(id), "instance %s does not run any more", id)
	}
	return app.Errorf(app.KindUnavailable, string(id), "cannot start process in instance %s: %w", id, err)
}

// endedInput tells when the reader has ended.
type endedInput struct {
	r    io.Reader
	once sync.Once
	done chan struct{}
}

func (r *endedInput) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil {
		r.once.Do(func() { close(r.done) })
	}
	return n, err
}

// execProcess implements engine.Process.
type execProcess struct {
	e    *Engine
	id   app.InstanceID
	p    client.Process
	done chan struct{}
	// code and err are set when done is closed.
	code int
	err  error
}

// Resize implements engine.Process.
func (x *execProcess) Resize(ctx context.Context, width, height int) error {
	if err := x.p.Resize(x.e.scope(ctx), uint32(width), uint32(height)); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("cannot resize terminal: %w", err)
	}
	return nil
}

// Wait implements engine.Process.
func (x *execProcess) Wait() (int, error) {
	<-x.done
	return x.code, x.err
}

// closeInput ends the process's standard input: the shim holds it open until told.
func (x *execProcess) closeInput(ended <-chan struct{}) {
	select {
	case <-ended:
		if err := x.p.CloseIO(x.e.base, client.WithStdinCloser); err != nil && !errdefs.IsNotFound(err) {
			x.e.cfg.Log.Debug("cannot close standard input", "instance", x.id, "error", err)
		}
	case <-x.done:
	}
}

// attend waits for the process, kills it when ctx ends, and clears away what it had.
func (x *execProcess) attend(ctx context.Context, exited <-chan client.ExitStatus) {
	defer close(x.done)
	var status client.ExitStatus
	select {
	case status = <-exited:
	case <-ctx.Done():
		tree := descendants(int(x.p.Pid()))
		if err := x.p.Kill(x.e.base, syscall.SIGKILL); err != nil && ignoreGone(err) != nil {
			x.e.cfg.Log.Warn("cannot kill process of a session", "instance", x.id, "error", err)
		}
		tree.kill()
		select {
		case status = <-exited:
		case <-time.After(killWait):
			x.err = errors.New("the process survives SIGKILL")
		}
	}
	code, _, err := status.Result()
	if x.code = int(code); err != nil && x.err == nil {
		x.err = fmt.Errorf("cannot wait for process: %w", err)
	}
	drained := make(chan struct{})
	go func() { x.p.IO().Wait(); close(drained) }()
	select {
	case <-drained:
	case <-ctx.Done():
	case <-time.After(drainWait):
	}
	if _, err := x.p.Delete(x.e.base); err != nil && !errdefs.IsNotFound(err) && x.e.base.Err() == nil {
		x.e.cfg.Log.Warn("cannot clear process of a session", "instance", x.id, "error", err)
	}
}

// endExecs kills what sessions of an engine that crashed left running.
func (e *Engine) endExecs() {
	answer, err := e.client.TaskService().List(e.base, &apitasks.ListTasksRequest{})
	if err != nil {
		e.cfg.Log.Debug("cannot list tasks", "error", err)
		return
	}
	for _, task := range answer.Tasks {
		pids, err := e.client.TaskService().ListPids(e.base, &apitasks.ListPidsRequest{ContainerID: task.ID})
		if err != nil {
			continue // it has ended
		}
		for _, p := range pids.Processes {
			var details options.ProcessDetails
			if p.Info == nil || typeurl.UnmarshalTo(p.Info, &details) != nil || details.ExecID == "" || e.execs.owns(details.ExecID) {
				continue
			}
			tree := descendants(int(p.Pid))
			kill := &apitasks.KillRequest{ContainerID: task.ID, ExecID: details.ExecID, Signal: uint32(syscall.SIGKILL)}
			if _, err := e.client.TaskService().Kill(e.base, kill); err != nil && e.base.Err() == nil {
				e.cfg.Log.Debug("cannot kill a crashed session's process", "instance", task.ID, "error", err)
			}
			tree.kill()
			// Its entry in the shim goes with the instance.
		}
	}
}
