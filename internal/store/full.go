package store

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

// reserve is a file that takes up space until the disk is full.
type reserve struct {
	path string
	size int64
	held bool
}

// hold takes the space; it does nothing when there is none to take.
func (r *reserve) hold() {
	if r.size == 0 {
		return
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, r.size); err != nil {
		// A part of the reserve would only take what others need.
		_ = os.Remove(r.path)
		return
	}
	r.held = true
}

// release gives the space up and reports whether there was some.
func (r *reserve) release() bool {
	if !r.held {
		return false
	}
	r.held = false
	return os.Remove(r.path) == nil
}

// rearm takes the space again once there is plenty: four times the reserve.
func (r *reserve) rearm() {
	if r.held || r.size == 0 {
		return
	}
	var fs syscall.Statfs_t
	if syscall.Statfs(r.path[:strings.LastIndexByte(r.path, '/')+1], &fs) == nil && int64(fs.Bavail)*fs.Bsize >= 4*r.size {
		r.hold()
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "database or disk is full")
}

func fullError(err error) error {
	return &app.Error{Kind: app.KindUnavailable, Err: err,
		Message: "The disk that holds Funade's data is full. Free some space and repeat the call."}
}

// injectedFull lets tests fill the disk.
func injectedFull() error { return failpoint.Hit("store/disk") }
