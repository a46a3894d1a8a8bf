package containerd

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apitasks "github.com/containerd/containerd/api/services/tasks/v1"
	tasktypes "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/containerd/shim"
)

// recordWait is how long an ended task still counts as running while its shim writes the
// record down; a hint follows the record.
const recordWait = time.Second

// List returns every container of the install.
func (e *Engine) List(ctx context.Context) ([]engine.Status, error) {
	ctx = e.scope(ctx)
	began := time.Now()
	list, err := e.client.ContainerService().List(ctx)
	if err != nil {
		return nil, diskError("instances", fmt.Errorf("cannot list containers: %w", err))
	}
	answer, err := e.client.TaskService().List(ctx, &apitasks.ListTasksRequest{})
	if err != nil {
		return nil, diskError("instances", fmt.Errorf("cannot list tasks: %w", err))
	}
	tasks := make(map[string]*tasktypes.Process, len(answer.Tasks))
	for _, t := range answer.Tasks {
		tasks[t.ID] = t
	}
	out := make([]engine.Status, 0, len(list))
	for _, c := range list {
		out = append(out, e.status(c, tasks[c.ID], began))
	}
	return out, nil
}

// status puts together what the task says now and what the shim wrote down. A container
// without a task and without a record of its end ended while nobody watched: exit code -1.
func (e *Engine) status(c containers.Container, task *tasktypes.Process, began time.Time) engine.Status {
	id := app.InstanceID(c.ID)
	revision, _ := strconv.Atoi(c.Labels[labelRevision])
	rec := shim.ReadRecord(e.cfg.recordPath(id))
	s := engine.Status{
		ID: id, Service: app.ServiceID(c.Labels[labelService]), Revision: app.RevisionNumber(revision),
		LogPath: e.cfg.logPath(id), StartedAt: rec.StartedAt, ExitCode: -1,
	}
	switch {
	case task != nil && (task.Status == tasktypes.Status_RUNNING || task.Status == tasktypes.Status_PAUSED || task.Status == tasktypes.Status_PAUSING):
		s.State, s.PID = engine.StateRunning, int(task.Pid)
		return s
	case task != nil && task.Status == tasktypes.Status_CREATED, task == nil && rec.StartedAt.IsZero(),
		rec.ExitedAt.IsZero() && e.starts.during(id, began):
		s.State = engine.StateCreated
		return s
	}
	if task != nil && rec.ExitedAt.IsZero() && time.Since(task.ExitedAt.AsTime()) < recordWait {
		s.State, s.PID = engine.StateRunning, int(task.Pid)
		return s
	}
	s.State = engine.StateStopped
	switch {
	case !rec.ExitedAt.IsZero():
		s.ExitCode, s.ExitedAt, s.OOMKilled = rec.ExitCode, rec.ExitedAt, rec.OOMKilled
	case task != nil && task.Status == tasktypes.Status_STOPPED:
		s.ExitCode, s.ExitedAt = int(task.ExitStatus), task.ExitedAt.AsTime()
		s.OOMKilled = s.ExitCode != 0 && shim.OOMKills(c.Labels[labelCgroup]) > 0
	}
	if s.Failure = rec.Failure; s.Failure == "" {
		s.Failure = exitFailure(s, c.Labels[labelMemory])
	}
	return s
}
