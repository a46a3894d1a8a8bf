package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	continuity "github.com/containerd/continuity/fs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/atomicfile"
	"github.com/funade/funade/internal/engine"
)

// A volume has one folder for each path, named by the escaped path. These two are no such names.
const (
	// volumeOwner says from which host uid on the files' owners count.
	volumeOwner = "%owner"
	// volumeNew is a folder that is being filled.
	volumeNew = "%new"
)

// maxName is how long a file's name may be.
const maxName = 255

// volumeMounts makes the folders of an instance's volume and returns their mounts, outer paths first. user owns the
// folders of paths that the image does not have.
func (e *Engine) volumeMounts(ctx context.Context, in engine.Instance, img *image, user specs.User) ([]specs.Mount, error) {
	if in.Volume == "" {
		return nil, nil
	}
	paths, err := volumePaths(img)
	if err != nil {
		return nil, app.Errorf(app.KindInvalidRequest, string(in.Image), "%w", err)
	}
	if err := mkdirMode(in.Volume, 0o700); err != nil {
		return nil, diskError(string(in.ID), err)
	}
	if err := ownVolume(in.Volume, in.UIDBase); err != nil {
		return nil, diskError(string(in.ID), fmt.Errorf("cannot give the volume to instance %s: %w", in.ID, err))
	}
	var mounts []specs.Mount
	empty := map[string]string{}
	for _, p := range paths {
		dir := filepath.Join(in.Volume, folderName(p))
		if entries, err := os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, diskError(string(in.ID), fmt.Errorf("cannot read the volume of instance %s: %w", in.ID, err))
		} else if len(entries) == 0 {
			empty[p] = dir
		}
		mounts = append(mounts, specs.Mount{Source: dir, Destination: p, Type: "bind", Options: []string{"bind", "rw", "nosuid", "nodev"}})
	}
	if err := e.fillVolume(ctx, in, empty, user); err != nil {
		return nil, err
	}
	return mounts, nil
}

func folderName(p string) string { return url.PathEscape(strings.TrimPrefix(p, "/")) }

// volumePaths are where an image's instances find their volume, sorted.
func volumePaths(img *image) ([]string, error) {
	paths := map[string]bool{engine.VolumePath: true}
	for declared := range img.config.Config.Volumes {
		p := path.Clean("/" + declared)
		first, _, _ := strings.Cut(p[1:], "/")
		switch {
		case first == "", first == "proc", first == "sys", first == "dev":
			return nil, fmt.Errorf("the image declares the VOLUME %q, where there can be none; declare the folder that holds its data", declared)
		case len(folderName(p)) > maxName:
			return nil, fmt.Errorf("the image declares the VOLUME %q, whose path is too long: at most %d characters, each / counting three", declared, maxName)
		}
		paths[p] = true
	}
	return slices.Sorted(maps.Keys(paths)), nil
}

// ownVolume makes the owners of everything in a volume count from base, wherever they counted from before: the volume
// may come from another machine, or from a time without user namespaces.
func ownVolume(volume string, base uint32) error {
	marker := filepath.Join(volume, volumeOwner)
	data, err := os.ReadFile(marker)
	switch old, perr := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32); {
	case errors.Is(err, fs.ErrNotExist): // a new volume
	case err != nil:
		return err
	case perr != nil:
		return fmt.Errorf("%s is damaged: it must hold the first user id of the volume's files: %w", marker, perr)
	case uint32(old) == base:
		return nil
	default:
		if err := shiftOwners(volume, uint32(old), base); err != nil {
			return err
		}
	}
	return atomicfile.Write(marker, []byte(strconv.FormatUint(uint64(base), 10)+"\n"), 0o600)
}

// shiftOwners moves owners from one range of ids to another; those outside of the first stay, so that it can be repeated.
func shiftOwners(volume string, from, to uint32) error {
	shift := func(id uint32) int {
		if id-from < idRange { // unsigned: also false below from
			id = id - from + to
		}
		return int(id)
	}
	return filepath.WalkDir(volume, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == volume || filepath.Dir(p) == volume && !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if err := os.Lchown(p, shift(st.Uid), shift(st.Gid)); err != nil {
			return err
		}
		if mode := info.Mode(); mode&(os.ModeSetuid|os.ModeSetgid) != 0 && mode&os.ModeSymlink == 0 {
			return os.Chmod(p, mode) // chown takes these bits
		}
		return nil
	})
}

// fillVolume makes folders, by their paths inside the instance, as the image has them.
func (e *Engine) fillVolume(ctx context.Context, in engine.Instance, folders map[string]string, user specs.User) error {
	if len(folders) == 0 {
		return nil
	}
	root := e.cfg.viewDir(in.ID)
	// The instance's own layer, not mounted yet for anybody else, shows the image with the owners that it is to have.
	layer, err := e.layers.Mounts(ctx, string(in.ID))
	if err == nil {
		err = e.dropView(in.ID) // what a crash left
	}
	if err == nil {
		err = mkdirMode(root, 0o700)
	}
	if err == nil {
		err = mount.All(layer, root)
	}
	if err != nil {
		return diskError(string(in.ID), fmt.Errorf("cannot look into the image of instance %s: %w", in.ID, err))
	}
	for _, p := range slices.Sorted(maps.Keys(folders)) {
		if err = fillFolder(root, p, folders[p], int(in.UIDBase+user.UID), int(in.UIDBase+user.GID)); err != nil {
			err = fmt.Errorf("cannot fill the volume of instance %s at %s: %w", in.ID, p, err)
			break
		}
	}
	if derr := e.dropView(in.ID); err == nil {
		err = derr
	}
	if errors.Is(err, errNoFolder) {
		return app.Errorf(app.KindInvalidRequest, string(in.Image), "%w", err)
	}
	if err != nil {
		return diskError(string(in.ID), err)
	}
	return nil
}

// OwnTempMounts lets what this process mounts for a moment stand in the install's folder, where this and Purge clear what
// a kill left, and not in /tmp. It holds for the whole process.
func (e *Engine) OwnTempMounts() error {
	dir := filepath.Join(e.cfg.stateDir(), "tmp")
	if err := unmountBelow(dir); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return errors.Join(err, mount.SetTempMountLocation(dir))
}

// dropView lets go of the view of an image through which an instance's volume was filled; none is fine.
func (e *Engine) dropView(id app.InstanceID) error {
	dir := e.cfg.viewDir(id)
	err := mount.UnmountAll(dir, 0)
	if err == nil {
		err = os.Remove(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot clear the view of the image of instance %s: %w", id, err)
	}
	return nil
}

var errNoFolder = errors.New("the image has a file there, and a volume is a folder")

// fillFolder makes the folder dir of what an image has at p; where it has nothing, uid and gid own an empty folder.
func fillFolder(root, p, dir string, uid, gid int) error {
	fresh := filepath.Join(filepath.Dir(dir), volumeNew)
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	source, err := continuity.RootPath(root, p)
	if err != nil {
		return err
	}
	info, err := os.Lstat(source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err = os.Mkdir(fresh, 0o755); err == nil {
			err = errors.Join(os.Chmod(fresh, 0o755), os.Chown(fresh, uid, gid))
		}
	case err == nil && !info.IsDir():
		err = errNoFolder
	case err == nil:
		err = continuity.CopyDir(fresh, source, continuity.WithAllowXAttrErrors())
	}
	if err != nil {
		return err
	}
	if err := unix.Rename(fresh, dir); err != nil { // over an empty folder too, which os.Rename refuses
		return fmt.Errorf("cannot put the folder in place: %w", err)
	}
	return nil
}
