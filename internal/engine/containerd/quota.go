package containerd

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
)

// Numbers of linux/fs.h and linux/dqblk_xfs.h that x/sys does not have.
const (
	fsGetXattr      = 0x801c581f
	fsSetXattr      = 0x401c5820
	xflagInherit    = 0x200
	projectQuota    = 2
	setLimit        = 0x5804
	quotaVersion    = 1
	quotaFlagProj   = 2
	quotaFieldHard  = 1 << 3
	quotaBlock      = 512
	magicXFS        = 0x58465342
	projectIDOffset = 1 << 30
)

// fsXattr is struct fsxattr.
type fsXattr struct {
	flags, extentSize, extents, project, cowExtentSize uint32
	_                                                  [8]byte
}

// diskQuota is struct fs_disk_quota.
type diskQuota struct {
	version, flags int8
	fields         uint16
	id             uint32
	hard, soft     uint64
	_              [4]uint64 // inode limits, block and inode counts
	_              [2]int32  // timers
	_              [2]uint16 // warnings
	_              [4]int8
	_              [3]uint64 // real-time blocks
	_              int32
	_              uint16
	_              int16
	_              [8]byte
}

// The kernel's structures have these sizes.
var (
	_ [28]struct{}  = [unsafe.Sizeof(fsXattr{})]struct{}{}
	_ [112]struct{} = [unsafe.Sizeof(diskQuota{})]struct{}{}
)

// limitLayer puts a project quota on the writable layer, so that the application sees a
// full disk at its limit. Where the file system has none (only XFS mounted with prjquota
// does) the watcher stops the instance instead.
func (e *Engine) limitLayer(ctx context.Context, id app.InstanceID, limit int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(e.cfg.root(), &st); err != nil || st.Type != magicXFS || limit <= 0 {
		return err
	}
	mounts, err := e.layers.Mounts(ctx, string(id))
	if err != nil {
		return fmt.Errorf("cannot find layer of instance %s: %w", id, err)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	project := projectIDOffset | h.Sum32()>>2
	for _, m := range mounts {
		for _, option := range m.Options {
			dir, ok := strings.CutPrefix(option, "upperdir=")
			if !ok {
				continue
			}
			if err := errors.Join(setProject(dir, project), setProject(filepath.Join(filepath.Dir(dir), "work"), project)); err != nil {
				return err
			}
			return setQuota(dir, project, limit)
		}
	}
	return nil
}

// setProject gives dir, and what will be made below it, a project number.
func setProject(dir string, project uint32) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot open layer: %w", err)
	}
	defer f.Close()
	var attr fsXattr
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsGetXattr, uintptr(unsafe.Pointer(&attr))); errno != 0 {
		return fmt.Errorf("cannot read project of layer: %w", errno)
	}
	attr.project = project
	attr.flags |= xflagInherit
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsSetXattr, uintptr(unsafe.Pointer(&attr))); errno != 0 {
		return fmt.Errorf("cannot set project of layer: %w", errno)
	}
	return nil
}

// setQuota limits a project on the file system of dir (quotactl_fd, Linux >= 5.14).
func setQuota(dir string, project uint32, limit int64) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot open layer: %w", err)
	}
	defer f.Close()
	quota := diskQuota{version: quotaVersion, flags: quotaFlagProj, fields: quotaFieldHard, id: project, hard: uint64(limit) / quotaBlock}
	command := uintptr(setLimit<<8 | projectQuota)
	if _, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), command, uintptr(project), uintptr(unsafe.Pointer(&quota)), 0, 0); errno != 0 {
		return fmt.Errorf("cannot set quota of layer: %w", errno)
	}
	return nil
}
