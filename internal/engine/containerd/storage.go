package containerd

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"

	apitasks "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine/containerd/shim"
)

// storageShare bounds the watcher's work: it rests at least this many times as long as a look took.
const storageShare = 50

// watchStorage stops instances whose writable layer outgrew its limit, until the engine closes.
func (e *Engine) watchStorage() {
	pause := e.cfg.StorageCheck
	for {
		timer := time.NewTimer(pause)
		select {
		case <-e.base.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		began := time.Now()
		if err := e.checkStorage(e.base); err != nil && e.base.Err() == nil {
			e.cfg.Log.Warn("cannot check writable layers", "error", err)
		}
		pause = max(e.cfg.StorageCheck, storageShare*time.Since(began))
	}
}

func (e *Engine) checkStorage(ctx context.Context) error {
	answer, err := e.client.TaskService().List(ctx, &apitasks.ListTasksRequest{})
	if err != nil {
		return fmt.Errorf("cannot list tasks: %w", err)
	}
	for _, task := range answer.Tasks {
		if task.Status != tasktypes.Status_RUNNING {
			continue
		}
		if err := e.checkLayer(ctx, app.InstanceID(task.ID)); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return ctx.Err()
}

func (e *Engine) checkLayer(ctx context.Context, id app.InstanceID) error {
	c, err := e.client.ContainerService().Get(ctx, string(id))
	if err != nil {
		return err
	}
	limit, _ := strconv.ParseInt(c.Labels[labelStorage], 10, 64)
	if limit <= 0 {
		return nil
	}
	usage, err := e.layers.Usage(ctx, string(id))
	if err != nil || usage.Size <= limit {
		return err
	}
	return e.stopFull(ctx, id, limit)
}

// stopFull kills an instance and leaves the reason in its record. The instance's next start
// begins with an empty layer, or it would be stopped again at once.
func (e *Engine) stopFull(ctx context.Context, id app.InstanceID, limit int64) error {
	defer e.locks.lock(id)()
	path := e.cfg.recordPath(id)
	rec := shim.ReadRecord(path)
	rec.Failure = fmt.Sprintf("it wrote more than %s to its file system and was stopped; write to a database or an object store instead", bytesText(limit))
	rec.LayerFull = true
	if err := rec.Write(path); err != nil {
		return err
	}
	_, err := e.client.TaskService().Kill(ctx, &apitasks.KillRequest{ContainerID: string(id), Signal: uint32(syscall.SIGKILL), All: true})
	e.hints.send(id)
	return err
}

// bytesText writes a size as AWS's documentation does: 3 GB.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
