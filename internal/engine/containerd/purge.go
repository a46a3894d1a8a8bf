package containerd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// purgeWait bounds the wait for killed processes to go.
const purgeWait = 30 * time.Second

// Purge removes everything of a stopped install from the machine: instances, shims,
// mounts, cgroups, images, logs. It finds processes by the install's cgroups and bundles,
// never by name.
func Purge(ctx context.Context, cfg Config) error {
	if err := cfg.normalize(); err != nil {
		return err
	}
	if err := killInstall(ctx, &cfg); err != nil {
		return err
	}
	for _, dir := range []string{cfg.stateDir(), cfg.root()} {
		if err := unmountBelow(dir); err != nil {
			return err
		}
	}
	return errors.Join(
		removeCgroups(cfg.cgroup()), os.RemoveAll(cfg.stateDir()), os.RemoveAll(cfg.socketDir()), removeFile(cfg.ttrpcPath()),
		os.RemoveAll(cfg.root()), os.RemoveAll(filepath.Join(cfg.DataDir, "containers")), os.RemoveAll(cfg.logDir()),
		removeRuntimes(&cfg),
	)
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove %s: %w", path, err)
	}
	return nil
}

func removeRuntimes(c *Config) error {
	found, err := filepath.Glob(filepath.Join(c.binDir(), "runc-*"))
	if err != nil {
		return fmt.Errorf("cannot list runtimes: %w", err)
	}
	for _, path := range append(found, c.shimPath()) {
		if err := removeFile(path); err != nil {
			return err
		}
	}
	return nil
}

// killInstall kills shims and instances until none is left: a shim first, so that it does
// not report and clean up while its directories go.
func killInstall(ctx context.Context, c *Config) error {
	ctx, cancel := context.WithTimeout(ctx, purgeWait)
	defer cancel()
	for {
		pids := append(shimPIDs(c), cgroupPIDs(c.cgroup())...)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("cannot kill process %d: %w", pid, err)
			}
		}
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("cannot kill processes %v: %w", pids, ctx.Err())
		case <-timer.C:
		}
	}
}

// shimPIDs finds processes whose working directory is a bundle of this install.
func shimPIDs(c *Config) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", entry.Name(), "cwd"))
		if err == nil && strings.HasPrefix(cwd, c.bundleRoot()+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func cgroupPIDs(group string) []int {
	var pids []int
	for _, root := range cgroupRoots() {
		for _, dir := range groupsBelow(filepath.Join(root, group)) {
			f, err := os.Open(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue
			}
			for s := bufio.NewScanner(f); s.Scan(); {
				if pid, err := strconv.Atoi(s.Text()); err == nil && pid > 0 {
					pids = append(pids, pid)
				}
			}
			f.Close()
		}
	}
	return pids
}

// groupsBelow lists dir and the groups below it, children first.
func groupsBelow(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, entry := range entries {
		if entry.IsDir() {
			out = append(out, groupsBelow(filepath.Join(dir, entry.Name()))...)
		}
	}
	return append(out, dir)
}

func removeCgroups(group string) error {
	var errs []error
	for _, root := range cgroupRoots() {
		for _, dir := range groupsBelow(filepath.Join(root, group)) {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("cannot remove cgroup %s: %w", dir, err))
			}
		}
	}
	return errors.Join(errs...)
}

// unmountBelow unmounts what is mounted on or below dir, innermost first.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("cannot list mounts: %w", err)
	}
	defer f.Close()
	var points []string
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			points = append(points, fields[4])
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	for _, point := range points {
		if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("cannot unmount %s: %w", point, err)
		}
	}
	return nil
}
