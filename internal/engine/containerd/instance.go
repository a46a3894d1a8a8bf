package containerd

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	apitasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/runc/options"
	tasktypes "github.com/containerd/containerd/api/types/task"
	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/containerd/shim"
)

// Labels of a container.
const (
	labelService  = "dev.funade.service"
	labelInstance = "dev.funade.instance"
	labelRevision = "dev.funade.revision"
	labelSpec     = "dev.funade.spec"
	labelStop     = "dev.funade.stop-signal"
	labelMemory   = "dev.funade.memory"
	labelStorage  = "dev.funade.storage"
	labelCgroup   = "dev.funade.cgroup"
	// labelRuntime is the OCI runtime that the container was made for; after an upgrade an ended one is made anew.
	labelRuntime = "dev.funade.runtime"
)

// Ensure makes the instance exist and run, see engine.Engine.
func (e *Engine) Ensure(ctx context.Context, in engine.Instance) error {
	ctx = e.scope(ctx)
	defer e.locks.lock(in.ID)()
	hash := e.specHash(in)
	c, err := e.client.LoadContainer(ctx, string(in.ID))
	if errdefs.IsNotFound(err) {
		if c, err = e.create(ctx, in, hash); err != nil {
			return err
		}
		if err := failpoint.Hit("engine/created"); err != nil {
			return err
		}
	} else if err != nil {
		return diskError(string(in.ID), fmt.Errorf("cannot load instance %s: %w", in.ID, err))
	} else {
		info, err := c.Info(ctx, client.WithoutRefreshedMetadata)
		if err != nil {
			return diskError(string(in.ID), fmt.Errorf("cannot load instance %s: %w", in.ID, err))
		}
		moved := info.Labels[labelRuntime] != e.runtime && !e.live(ctx, in.ID)
		if info.Labels[labelSpec] != hash || moved {
			if c, err = e.replace(ctx, in, hash); err != nil {
				return err
			}
		}
	}
	return e.run(ctx, c, in)
}

// replace makes an instance that has ended anew with another configuration.
func (e *Engine) replace(ctx context.Context, in engine.Instance, hash string) (client.Container, error) {
	if e.live(ctx, in.ID) {
		return nil, app.Errorf(app.KindInvalidState, string(in.ID), "instance %s runs with another configuration; remove it first", in.ID)
	}
	if err := e.remove(ctx, in.ID, 0); err != nil {
		return nil, err
	}
	return e.create(ctx, in, hash)
}

// run brings the container's task to running: one that ended is replaced, one that was
// created but not started is started.
func (e *Engine) run(ctx context.Context, c client.Container, in engine.Instance) error {
	task, err := c.Task(ctx, nil)
	if err == nil {
		status, serr := task.Status(ctx)
		switch {
		case serr == nil && (status.Status == client.Running || status.Status == client.Paused || status.Status == client.Pausing):
			return nil
		case serr == nil && status.Status == client.Created:
			return e.startTask(ctx, task, in)
		}
		if _, err := task.Delete(ctx, client.WithProcessKill); err != nil && !errdefs.IsNotFound(err) {
			return diskError(string(in.ID), fmt.Errorf("cannot clear instance %s: %w", in.ID, err))
		}
	} else if !errdefs.IsNotFound(err) {
		return diskError(string(in.ID), fmt.Errorf("cannot load task of instance %s: %w", in.ID, err))
	}
	defer e.starts.begin(in.ID)()
	if shim.ReadRecord(e.cfg.recordPath(in.ID)).LayerFull {
		if err := e.emptyLayer(ctx, in); err != nil {
			return err
		}
	}
	task, err = e.newTask(ctx, c, in)
	if err != nil {
		return err
	}
	if err := failpoint.Hit("engine/task-created"); err != nil {
		return err
	}
	return e.startTask(ctx, task, in)
}

// emptyLayer replaces a writable layer that outgrew its limit.
func (e *Engine) emptyLayer(ctx context.Context, in engine.Instance) error {
	img, err := e.stored(ctx, in.Image)
	if err != nil {
		return err
	}
	if err := e.layers.Remove(ctx, string(in.ID)); err != nil && !errdefs.IsNotFound(err) {
		return diskError(string(in.ID), fmt.Errorf("cannot empty layer of instance %s: %w", in.ID, err))
	}
	if err := e.prepareLayer(ctx, in, img); err != nil {
		return diskError(string(in.ID), err)
	}
	return nil
}

func (e *Engine) newTask(ctx context.Context, c client.Container, in engine.Instance) (client.Task, error) {
	record := shim.Record{StartedAt: time.Now()}
	if err := record.Write(e.cfg.recordPath(in.ID)); err != nil {
		return nil, diskError(string(in.ID), err)
	}
	if err := e.writeEnv(in); err != nil {
		return nil, diskError(string(in.ID), err)
	}
	if err := createLog(e.cfg.logPath(in.ID)); err != nil {
		return nil, diskError(string(in.ID), err)
	}
	task, err := c.NewTask(ctx, appendTo(e.cfg.logPath(in.ID)))
	for range shimCleanups {
		if !errdefs.IsAlreadyExists(err) || ctx.Err() != nil {
			break
		}
		<-time.After(100 * time.Millisecond)
		task, err = c.NewTask(ctx, appendTo(e.cfg.logPath(in.ID)))
	}
	if err != nil {
		return nil, e.startFailed(ctx, in, err)
	}
	return task, nil
}

// shimCleanups is how many tenths of a second containerd may take to clear away a shim
// that died; until then the dead task's bundle is in the way of a new one.
const shimCleanups = 50

// createLog makes the log private before the shim opens it.
func createLog(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("cannot create log: %w", err)
	}
	return f.Close()
}

func (e *Engine) startTask(ctx context.Context, task client.Task, in engine.Instance) error {
	if err := task.Start(ctx); err != nil {
		// The shim may have ended a start whose daemon was killed.
		if now, serr := task.Status(ctx); serr == nil && now.Status == client.Running {
			return nil
		}
		// A task that could not start is of no use: the next Ensure makes a new one.
		if _, derr := task.Delete(context.WithoutCancel(ctx), client.WithProcessKill); derr != nil && !errdefs.IsNotFound(derr) {
			e.cfg.Log.Warn("cannot delete task that did not start", "instance", in.ID, "error", derr)
		}
		return e.startFailed(ctx, in, err)
	}
	return failpoint.Hit("engine/started")
}

// startFailed records why an instance did not start, so that List shows it.
func (e *Engine) startFailed(ctx context.Context, in engine.Instance, err error) error {
	if ctx.Err() != nil {
		return app.Errorf(app.KindUnavailable, string(in.ID), "cannot start instance %s: %w", in.ID, ctx.Err())
	}
	failure := startError(in, err)
	now := time.Now()
	rec := shim.Record{StartedAt: now, ExitedAt: now, ExitCode: -1, Failure: failure.Message}
	if werr := rec.Write(e.cfg.recordPath(in.ID)); werr != nil {
		e.cfg.Log.Warn("cannot record failure", "instance", in.ID, "error", werr)
	}
	e.hints.send(in.ID)
	return failure
}

// writeEnv leaves the user's environment on the tmpfs for the shim, which takes it away.
func (e *Engine) writeEnv(in engine.Instance) error {
	env := in.Env
	if env == nil {
		env = []string{}
	}
	data, err := json.Marshal(env)
	if err != nil {
		return fmt.Errorf("cannot encode environment: %w", err)
	}
	if err := os.WriteFile(e.cfg.envPath(in.ID), data, 0o600); err != nil {
		return fmt.Errorf("cannot write environment: %w", err)
	}
	return nil
}

// create makes the writable layer, the generated files and the container.
func (e *Engine) create(ctx context.Context, in engine.Instance, hash string) (client.Container, error) {
	if in.UIDBase != 0 && (!e.caps.UserNamespaces || in.Network.UsernsPath == "") {
		return nil, app.Errorf(app.KindInvalidState, string(in.ID), "instance %s wants a user namespace that this machine or its network attachment does not offer", in.ID)
	}
	img, err := e.stored(ctx, in.Image)
	if err != nil {
		return nil, err
	}
	if err := e.prepareLayer(ctx, in, img); err != nil {
		return nil, diskError(string(in.ID), err)
	}
	mounts, err := e.writeFiles(in)
	if err != nil {
		return nil, diskError(string(in.ID), err)
	}
	spec, err := e.spec(ctx, in, img, mounts)
	if err != nil {
		return nil, err
	}
	c, err := e.client.NewContainer(ctx, string(in.ID),
		client.WithSnapshotter(snapshotter),
		func(_ context.Context, _ *client.Client, c *containers.Container) error {
			c.SnapshotKey, c.Image = string(in.ID), imageName(in.Image)
			return nil
		},
		// The streams belong to the instance's root, so that programs may open /dev/stdout.
		client.WithRuntime(e.cfg.shimPath(), &options.Options{BinaryName: e.runtime, Root: e.cfg.runcRoot(), IoUid: in.UIDBase, IoGid: in.UIDBase}),
		client.WithContainerLabels(e.labels(in, img, hash)),
		client.WithSpec(spec))
	if err != nil {
		return nil, diskError(string(in.ID), fmt.Errorf("cannot create instance %s: %w", in.ID, err))
	}
	return c, nil
}

func (e *Engine) labels(in engine.Instance, img *image, hash string) map[string]string {
	signal := img.config.Config.StopSignal
	if signal == "" {
		signal = "SIGTERM"
	}
	return map[string]string{
		labelService: string(in.Service), labelInstance: string(in.ID), labelRevision: strconv.Itoa(int(in.Revision)),
		labelSpec: hash, labelStop: signal, labelMemory: strconv.Itoa(in.Memory), labelStorage: strconv.FormatInt(in.Storage, 10),
		labelCgroup: e.cgroupPath(in.Service, in.ID), labelRuntime: e.runtime,
	}
}

// prepareLayer makes the writable layer; one left by a crash is made anew.
func (e *Engine) prepareLayer(ctx context.Context, in engine.Instance, img *image) error {
	labels := map[string]string{labelRoot: time.Now().UTC().Format(time.RFC3339)}
	if in.UIDBase != 0 {
		idmap := fmt.Sprintf("0:%d:%d", in.UIDBase, idRange)
		labels[snapshots.LabelSnapshotUIDMapping], labels[snapshots.LabelSnapshotGIDMapping] = idmap, idmap
	}
	_, err := e.layers.Prepare(ctx, string(in.ID), img.chainID, snapshots.WithLabels(labels))
	if errdefs.IsAlreadyExists(err) {
		if err := e.layers.Remove(ctx, string(in.ID)); err != nil {
			return fmt.Errorf("cannot remove old layer of instance %s: %w", in.ID, err)
		}
		_, err = e.layers.Prepare(ctx, string(in.ID), img.chainID, snapshots.WithLabels(labels))
	}
	if errdefs.IsNotFound(err) {
		e.cache.drop(in.Image)
		return app.Errorf(app.KindInvalidState, string(in.Image), "image %s is not unpacked; resolve it first", in.Image)
	}
	if err != nil {
		return fmt.Errorf("cannot prepare layer of instance %s: %w", in.ID, err)
	}
	if err := e.limitLayer(ctx, in.ID, in.Storage); err != nil {
		e.cfg.Log.Debug("no quota on this file system, watching instead", "instance", in.ID, "error", err)
	}
	return nil
}

// writeFiles generates the files that an instance finds in /etc, and their mounts.
func (e *Engine) writeFiles(in engine.Instance) ([]specs.Mount, error) {
	dir := e.cfg.instanceDir(in.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create directory of instance: %w", err)
	}
	resolv := ""
	for _, a := range in.Network.Resolvers {
		resolv += "nameserver " + a.String() + "\n"
	}
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\t" + hostname(in) + "\n"
	var mounts []specs.Mount
	for name, text := range map[string]string{"resolv.conf": resolv, "hosts": hosts, "hostname": hostname(in) + "\n"} {
		path := filepath.Join(dir, name)
		// Readable by everyone inside the instance; the directory above keeps others out.
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("cannot write %s: %w", name, err)
		}
		mounts = append(mounts, bind(path, "/etc/"+name))
	}
	if in.Network.CABundle != "" {
		mounts = append(mounts, bind(in.Network.CABundle, caPath))
	}
	for n, f := range in.Files {
		path := filepath.Join(dir, "file-"+strconv.Itoa(n))
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			return nil, fmt.Errorf("cannot write %s: %w", f.Path, err)
		}
		if err := os.Chown(path, int(in.UIDBase), int(in.UIDBase)); err != nil {
			return nil, fmt.Errorf("cannot give %s to the instance: %w", f.Path, err)
		}
		mounts = append(mounts, bind(path, f.Path))
	}
	return mounts, nil
}

func bind(source, destination string) specs.Mount {
	return specs.Mount{Source: source, Destination: destination, Type: "bind", Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"}}
}

// specHash identifies the instance's configuration without revealing its environment.
func (e *Engine) specHash(in engine.Instance) string {
	mac := hmac.New(sha256.New, e.key)
	// Encoding a struct of strings and numbers to memory cannot fail.
	_ = json.NewEncoder(mac).Encode(in)
	return hex.EncodeToString(mac.Sum(nil))
}

// live reports whether the instance has a task that has not ended.
func (e *Engine) live(ctx context.Context, id app.InstanceID) bool {
	answer, err := e.client.TaskService().Get(ctx, &apitasks.GetRequest{ContainerID: string(id)})
	return err == nil && answer.Process.Status != tasktypes.Status_STOPPED
}
