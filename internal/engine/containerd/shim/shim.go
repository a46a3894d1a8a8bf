// Package shim is the process that stays with a service's instances: containerd's task
// service for runc, plus two things of ours. It puts the user's environment into the
// bundle, so that no value reaches containerd's metadata, and it records exits on disk, so
// that nothing is lost while no daemon runs. It imports nothing of the daemon, because
// every service pays for its memory.
package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	// Name is the name by which containerd calls our executable.
	Name = "containerd-shim-funade-v2"
	// marker marks the shim's second execution, which resolves the link away.
	marker = "FUNADE_SHIM"
)

// Main turns this process into a shim when it was called as one, and then does not
// return. main calls it first, before anything that costs memory.
func Main() {
	if filepath.Base(os.Args[0]) != Name && os.Getenv(marker) != "1" {
		return
	}
	if err := os.Setenv(marker, "1"); err != nil {
		fmt.Fprintln(os.Stderr, "cannot set environment:", err)
		os.Exit(1)
	}
	// The registry holds the daemon's plugins too, which a shim must not start.
	registry.Reset()
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn:   newService,
	})
	// No log pipe: nobody reads it while the daemon is away.
	shim.RunShim(context.Background(), manager.NewShimManager(Name), func(c *shim.Config) { c.NoSetupLogger = true })
	os.Exit(0)
}

func newService(ic *plugin.InitContext) (any, error) {
	publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
	if err != nil {
		return nil, err
	}
	stop, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
	if err != nil {
		return nil, err
	}
	recorder := &recorder{Publisher: publisher.(shim.Publisher), bundles: map[string]bundle{}}
	inner, err := task.NewTaskService(ic.Context, recorder, stop.(shutdown.Service))
	if err != nil {
		return nil, err
	}
	return &service{TTRPCTaskService: inner, recorder: recorder}, nil
}

// service is containerd's task service; before a container is created it puts the
// user's environment, which containerd's metadata never sees, into the bundle.
type service struct {
	taskapi.TTRPCTaskService
	recorder *recorder
	memory   frugal
}

// RegisterTTRPC makes the service reachable.
func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	taskapi.RegisterTTRPCTaskService(server, s)
	return nil
}

// Create completes the bundle and creates the container.
func (s *service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	s.memory.busy()
	bundle, err := completeBundle(r.Bundle)
	if err != nil {
		return nil, err
	}
	bundle.log = r.Stdout
	s.recorder.add(r.ID, bundle)
	return s.TTRPCTaskService.Create(ctx, r)
}

// Start starts the container's process. A daemon that dies meanwhile does not interrupt it: when runc is killed after it
// has let the process go, the container counts as created for ever and the next start waits for ever.
func (s *service) Start(ctx context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	s.memory.busy()
	return s.TTRPCTaskService.Start(context.WithoutCancel(ctx), r)
}

// Delete deletes the container.
func (s *service) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	s.memory.busy()
	return s.TTRPCTaskService.Delete(ctx, r)
}

// bundle is what the shim remembers of a container.
type bundle struct {
	record string
	cgroup string
	log    string
}

// completeBundle merges the one-shot environment file into config.json and removes it.
// The bundle directory opens up for the root of a user namespace, config.json does not.
func completeBundle(dir string) (bundle, error) {
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return bundle{}, fmt.Errorf("cannot read bundle: %w", err)
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return bundle{}, fmt.Errorf("cannot read bundle: %w", err)
	}
	envPath := spec.Annotations[AnnotationEnv]
	var env []string
	switch data, err := os.ReadFile(envPath); {
	case errors.Is(err, fs.ErrNotExist):
		return bundle{}, errors.New("cannot complete bundle: its environment is gone")
	case err != nil:
		return bundle{}, fmt.Errorf("cannot read environment: %w", err)
	default:
		if err := json.Unmarshal(data, &env); err != nil {
			return bundle{}, errors.New("cannot read environment: the file is damaged")
		}
	}
	spec.Process.Env = MergeEnv(spec.Process.Env, env)
	if data, err = json.Marshal(&spec); err != nil {
		return bundle{}, fmt.Errorf("cannot encode bundle: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return bundle{}, fmt.Errorf("cannot protect bundle: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return bundle{}, fmt.Errorf("cannot write bundle: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return bundle{}, fmt.Errorf("cannot open bundle: %w", err)
	}
	if err := os.Remove(envPath); err != nil {
		return bundle{}, fmt.Errorf("cannot remove environment: %w", err)
	}
	return bundle{record: spec.Annotations[AnnotationRecord], cgroup: spec.Linux.CgroupsPath}, nil
}

// MergeEnv returns base with the entries of over, which win where names are equal.
func MergeEnv(base, over []string) []string {
	out := make([]string, 0, len(base)+len(over))
	index := map[string]int{}
	for _, list := range [][]string{base, over} {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			if i, ok := index[name]; ok {
				out[i] = entry
				continue
			}
			index[name] = len(out)
			out = append(out, entry)
		}
	}
	return out
}

// recorder writes starts and exits to the instance's record before it publishes them.
type recorder struct {
	shim.Publisher
	mu      sync.Mutex
	bundles map[string]bundle
}

func (r *recorder) add(id string, b bundle) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bundles[id] = b
}

// Publish records the event and passes it on.
func (r *recorder) Publish(ctx context.Context, topic string, event events.Event) error {
	switch e := event.(type) {
	case *eventtypes.TaskExit:
		if e.ID == e.ContainerID {
			r.exited(e)
		}
	case *eventtypes.TaskDelete:
		r.mu.Lock()
		delete(r.bundles, e.ContainerID)
		r.mu.Unlock()
	}
	return r.Publisher.Publish(ctx, topic, event)
}

func (r *recorder) exited(e *eventtypes.TaskExit) {
	r.mu.Lock()
	b, ok := r.bundles[e.ContainerID]
	r.mu.Unlock()
	if !ok || b.record == "" {
		return
	}
	settle(b.log)
	rec := ReadRecord(b.record)
	rec.ExitedAt = e.ExitedAt.AsTime()
	rec.ExitCode = int(e.ExitStatus)
	rec.OOMKilled = rec.ExitCode != 0 && OOMKills(b.cgroup) > 0
	// Without a record the daemon reports the exit code as unknown; there is nobody to tell here.
	_ = rec.Write(b.record)
}

// settle waits a moment for the last words of a process to reach its log, so that whoever
// hears of the exit finds them there: until the file stops growing, at most 100 ms.
func settle(path string) {
	size := int64(-1)
	for range 10 {
		info, err := os.Stat(path)
		if err != nil || info.Size() == size {
			return
		}
		size = info.Size()
		<-time.After(10 * time.Millisecond)
	}
}
