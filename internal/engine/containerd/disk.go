package containerd

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
)

// reserve refuses content that would eat into the space kept for control writes.
func (e *Engine) reserve(size int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(e.cfg.DataDir, &st); err != nil {
		return app.Errorf(app.KindUnavailable, e.cfg.DataDir, "cannot inspect disk of %s: %w", e.cfg.DataDir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	if free-size >= e.cfg.ReserveBytes {
		return nil
	}
	return app.Errorf(app.KindUnavailable, e.cfg.DataDir, "the disk of %s is full: %s free, %s of them reserved, %s more needed; free some space or delete images",
		e.cfg.DataDir, mib(free), mib(e.cfg.ReserveBytes), mib(size))
}

func mib(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
