package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

// killWait bounds the wait for a process after SIGKILL; only one stuck in the kernel takes longer.
const killWait = 30 * time.Second

// Remove ends an instance and removes all but its log, see engine.Engine.
func (e *Engine) Remove(ctx context.Context, id app.InstanceID, grace time.Duration) error {
	defer e.locks.lock(id)()
	if err := e.remove(e.scope(ctx), id, grace); err != nil {
		return err
	}
	e.hints.send(id)
	return nil
}

func (e *Engine) remove(ctx context.Context, id app.InstanceID, grace time.Duration) error {
	c, err := e.client.LoadContainer(ctx, string(id))
	if err != nil && !errdefs.IsNotFound(err) {
		return diskError(string(id), fmt.Errorf("cannot load instance %s: %w", id, err))
	}
	if err == nil {
		if err := e.removeContainer(ctx, c, id, grace); err != nil {
			return err
		}
	}
	if err := e.dropView(id); err != nil {
		return diskError(string(id), err)
	}
	if err := e.layers.Remove(ctx, string(id)); err != nil && !errdefs.IsNotFound(err) {
		return diskError(string(id), fmt.Errorf("cannot remove layer of instance %s: %w", id, err))
	}
	e.starts.forget(id)
	return e.removeInstanceFiles(id)
}

func (e *Engine) removeContainer(ctx context.Context, c client.Container, id app.InstanceID, grace time.Duration) error {
	labels, err := c.Labels(ctx)
	if err != nil {
		return diskError(string(id), fmt.Errorf("cannot load instance %s: %w", id, err))
	}
	task, err := c.Task(ctx, nil)
	if err != nil && !errdefs.IsNotFound(err) {
		return diskError(string(id), fmt.Errorf("cannot load task of instance %s: %w", id, err))
	}
	if err == nil {
		if err := stopTask(ctx, task, stopSignal(labels[labelStop]), grace); err != nil {
			return app.Errorf(app.KindUnavailable, string(id), "cannot stop instance %s: %w", id, err)
		}
		if _, err := task.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
			return app.Errorf(app.KindUnavailable, string(id), "cannot delete task of instance %s: %w", id, err)
		}
	}
	if err := failpoint.Hit("engine/removing"); err != nil {
		return err
	}
	if err := c.Delete(ctx); err != nil && !errdefs.IsNotFound(err) {
		return diskError(string(id), fmt.Errorf("cannot delete instance %s: %w", id, err))
	}
	removeEmptyCgroup(labels[labelCgroup])
	removeEmptyCgroup(filepath.Dir(labels[labelCgroup]))
	return nil
}

// stopTask sends the signal, waits for grace and sends SIGKILL. It returns once the
// process is gone.
func stopTask(ctx context.Context, task client.Task, signal syscall.Signal, grace time.Duration) error {
	exited, err := task.Wait(ctx)
	if err != nil {
		return ignoreGone(err)
	}
	if grace > 0 {
		if err := task.Kill(ctx, signal); err != nil {
			return ignoreGone(err)
		}
		if done, err := waitExit(ctx, exited, grace); done || err != nil {
			return err
		}
	}
	if err := task.Kill(ctx, syscall.SIGKILL, client.WithKillAll); err != nil {
		return ignoreGone(err)
	}
	done, err := waitExit(ctx, exited, killWait)
	if err == nil && !done {
		err = errors.New("the process survives SIGKILL")
	}
	return err
}

// ignoreGone: a process that is gone already, or never ran, needs no stopping.
func ignoreGone(err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsFailedPrecondition(err) {
		return nil
	}
	return err
}

func waitExit(ctx context.Context, exited <-chan client.ExitStatus, limit time.Duration) (bool, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-exited:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// stopSignal parses an image's STOPSIGNAL, a name or a number; SIGTERM when it is neither.
func stopSignal(name string) syscall.Signal {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n)
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if s := unix.SignalNum(upper); s != 0 {
		return s
	}
	return syscall.SIGTERM
}

// ReleaseLog removes the log of an instance that is gone; the log collector calls it once
// it has read everything. The log of an instance that exists stays.
func (e *Engine) ReleaseLog(ctx context.Context, id app.InstanceID) error {
	defer e.locks.lock(id)()
	if _, err := e.client.LoadContainer(e.scope(ctx), string(id)); err == nil {
		return app.Errorf(app.KindInvalidState, string(id), "instance %s still exists; its log stays", id)
	} else if !errdefs.IsNotFound(err) {
		return diskError(string(id), fmt.Errorf("cannot load instance %s: %w", id, err))
	}
	if err := os.Remove(e.cfg.logPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove log of instance %s: %w", id, err)
	}
	return nil
}

// Logs lists the instances that have a log, also those that are gone.
func (e *Engine) Logs() (map[app.InstanceID]string, error) {
	entries, err := os.ReadDir(e.cfg.logDir())
	if err != nil {
		return nil, fmt.Errorf("cannot list logs: %w", err)
	}
	out := map[app.InstanceID]string{}
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), ".log"); ok {
			out[app.InstanceID(id)] = filepath.Join(e.cfg.logDir(), entry.Name())
		}
	}
	return out, nil
}

// cgroupRoots are the mounted hierarchies: one for version 2, one per controller for version 1.
func cgroupRoots() []string {
	if cgroupV2() {
		return []string{"/sys/fs/cgroup"}
	}
	entries, _ := os.ReadDir("/sys/fs/cgroup")
	var roots []string
	for _, entry := range entries {
		if entry.IsDir() {
			roots = append(roots, filepath.Join("/sys/fs/cgroup", entry.Name()))
		}
	}
	return roots
}

// removeEmptyCgroup removes one group of ours from every hierarchy if nothing is in it.
func removeEmptyCgroup(group string) {
	if !strings.HasPrefix(group, "/funade-") {
		return
	}
	for _, root := range cgroupRoots() {
		_ = unix.Rmdir(filepath.Join(root, group))
	}
}
