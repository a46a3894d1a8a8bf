package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
)

// labelRoot keeps a resource from containerd's own garbage collector.
const labelRoot = "containerd.io/gc.root"

func joinClose(err, closeErr error) error { return errors.Join(err, closeErr) }

func (e *Engine) ensureNamespace(ctx context.Context) error {
	ns := e.client.NamespaceService()
	if err := ns.Create(e.scope(ctx), string(e.cfg.Install), nil); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("cannot create containerd namespace: %w", err)
	}
	return nil
}

// removeOrphans removes what a crash between two steps left: writable layers, environment
// files, directories and cgroups of containers that do not exist.
func (e *Engine) removeOrphans(ctx context.Context) error {
	ctx = e.scope(ctx)
	list, err := e.client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list containers: %w", err)
	}
	known := map[string]bool{}
	for _, c := range list {
		known[c.ID] = true
	}
	var orphans []string
	err = e.layers.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Kind == snapshots.KindActive && info.Labels[labelRoot] != "" && !known[info.Name] {
			orphans = append(orphans, info.Name)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot list snapshots: %w", err)
	}
	for _, name := range orphans {
		if err := e.layers.Remove(ctx, name); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("cannot remove snapshot %s: %w", name, err)
		}
	}
	e.removeOrphanCgroups(known)
	for _, dir := range []string{e.cfg.envDir(), filepath.Join(e.cfg.DataDir, "containers")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("cannot list %s: %w", dir, err)
		}
		for _, entry := range entries {
			if known[entry.Name()] || entry.Name()[0] == '.' {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				return fmt.Errorf("cannot remove orphan: %w", err)
			}
		}
	}
	return nil
}

// removeOrphanCgroups removes the empty groups of unknown instances, then those of services without instances.
func (e *Engine) removeOrphanCgroups(known map[string]bool) {
	for _, pattern := range []string{"*/*", "*"} {
		for _, root := range cgroupRoots() {
			found, _ := filepath.Glob(filepath.Join(root, e.cfg.cgroup(), pattern)) // the pattern is well formed
			for _, dir := range found {
				if !known[filepath.Base(dir)] {
					_ = unix.Rmdir(dir) // a file, or a group in use: it stays
				}
			}
		}
	}
}

// compareStores makes containerd's next collection compare layers and blobs with the disk. It does so only after a
// deletion, and what was deleted right before a kill is on the disk still while the metadata has forgotten it.
func (e *Engine) compareStores() {
	const name = "funade-compare"
	_, err := e.layers.Prepare(e.base, name, "")
	if err == nil || errdefs.IsAlreadyExists(err) {
		err = e.layers.Remove(e.base, name)
	}
	blob := ocispec.Descriptor{Digest: digest.FromString(name), Size: int64(len(name))}
	err = errors.Join(err, content.WriteBlob(e.base, e.content, name, strings.NewReader(name), blob), e.content.Delete(e.base, blob.Digest))
	if err != nil && e.base.Err() == nil {
		e.cfg.Log.Warn("cannot look for what deleted layers and blobs left", "error", err)
	}
}

// removeInstanceFiles removes what an instance had on disk; its log stays until ReleaseLog.
func (e *Engine) removeInstanceFiles(id app.InstanceID) error {
	if err := os.RemoveAll(e.cfg.instanceDir(id)); err != nil {
		return fmt.Errorf("cannot remove files of instance %s: %w", id, err)
	}
	if err := os.Remove(e.cfg.envPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove environment of instance %s: %w", id, err)
	}
	return nil
}
