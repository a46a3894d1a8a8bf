package containerd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mountState makes dir a tmpfs: what is in it never reaches a disk and is gone after a
// reboot. On a tmpfs already (the usual /run) a plain directory does.
func mountState(dir string) error {
	if err := mkdirMode(dir, 0o711); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("cannot inspect %s: %w", dir, err)
	}
	if st.Type == unix.TMPFS_MAGIC {
		return nil
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=711,size=64m"); err != nil {
		return fmt.Errorf("cannot mount tmpfs on %s: %w", dir, err)
	}
	return nil
}
