package linux

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

// usernsSize is the number of uids and gids that an instance's user namespace maps, from 0 inside.
const usernsSize = 65536

// pinned reports whether path holds a namespace and not just a file.
func pinned(path string) bool {
	var s unix.Statfs_t
	return unix.Statfs(path, &s) == nil && s.Type == unix.NSFS_MAGIC
}

// pin makes the namespace behind source outlive its processes under path.
func pin(source, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot pin namespace: %w", err)
	}
	f.Close()
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot pin namespace at %s: %w", path, err)
	}
	return nil
}

// unpin removes what pin made, also half of it or several layers; a missing path is fine.
func unpin(path string) error {
	for pinned(path) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("cannot unmount namespace %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot remove namespace pin: %w", err)
	}
	return nil
}

// ensureNetns pins a new network namespace unless path holds one already.
func ensureNetns(path string) error {
	if pinned(path) {
		return nil
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot create network namespace: %w", err)
		}
		return pin("/proc/thread-self/ns/net", path)
	})
}

// ensureNamespaces pins the interface's network namespace and, with a uid base, the user namespace that owns it.
func (n names) ensureNamespaces(id app.InterfaceID, uidBase uint32) error {
	netPath, userPath := n.netnsPin(id), n.usernsPin(id)
	if uidBase == 0 && pinned(userPath) || uidBase != 0 && !owns(userPath, netPath) {
		if err := errors.Join(unpin(netPath), unpin(userPath)); err != nil {
			return err
		}
	}
	if uidBase == 0 {
		return ensureNetns(netPath)
	}
	if pinned(netPath) {
		return nil
	}
	return onThread(func() error { return pinOwned(userPath, netPath, uidBase) })
}

// owns reports whether the user namespace pinned at userPath owns the network namespace pinned at netPath.
func owns(userPath, netPath string) bool {
	if !pinned(userPath) || !pinned(netPath) {
		return false
	}
	f, err := os.Open(netPath)
	if err != nil {
		return false
	}
	defer f.Close()
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var owner, want unix.Stat_t
	return unix.Fstat(fd, &owner) == nil && unix.Stat(userPath, &want) == nil && owner.Ino == want.Ino && owner.Dev == want.Dev
}

// CheckUserNamespaces says why this host cannot give instances user namespaces; nil means that it can.
func CheckUserNamespaces(uidBase uint32) error {
	return onThread(func() error { return withOwned(uidBase, func(int) error { return nil }) })
}

// pinOwned makes both namespaces at once. The calling thread must not be shared.
func pinOwned(userPath, netPath string, uidBase uint32) error {
	return withOwned(uidBase, func(pid int) error {
		if err := pin(fmt.Sprintf("/proc/%d/ns/user", pid), userPath); err != nil {
			return err
		}
		if err := failpoint.Hit("vpc/attach/userns"); err != nil {
			return err
		}
		return pin(fmt.Sprintf("/proc/%d/ns/net", pid), netPath)
	})
}

// withOwned runs f while a process stands in a new user namespace and a network namespace that belongs to it.
// Only a process of one thread can make a user namespace, so a child is started; it is traced and therefore
// stops before its first instruction.
func withOwned(uidBase uint32, f func(pid int) error) error {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(uidBase), Size: usernsSize}}
	child, err := os.StartProcess("/proc/self/exe", []string{"namespace"}, &os.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}})
	if err != nil {
		return fmt.Errorf("cannot create user namespace for uids from %d: %w", uidBase, err)
	}
	failed := f(child.Pid)
	if err := child.Kill(); err != nil {
		failed = errors.Join(failed, fmt.Errorf("cannot end the process that held namespaces: %w", err))
	}
	_, err = child.Wait()
	return errors.Join(failed, err)
}

// pins returns the interfaces that have a file in either folder, whole or half made.
func (n names) pins() ([]app.InterfaceID, error) {
	seen := map[app.InterfaceID]bool{}
	var ids []app.InterfaceID
	for _, dir := range []string{n.netnsDir(), n.usernsDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("cannot list namespaces: %w", err)
		}
		for _, e := range entries {
			id := app.InterfaceID(e.Name())
			if checkInterfaceID(id) == nil && !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// setSysctl writes a value below /proc/sys/net, which belongs to the calling thread's network namespace.
func setSysctl(key, value string) error {
	path := "/proc/sys/net/" + key
	if old, err := os.ReadFile(path); err == nil && strings.Join(strings.Fields(string(old)), " ") == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("cannot set %s to %s: %w", path, value, err)
	}
	return nil
}

// disableIPv6 closes the family that no rule looks at. A kernel without IPv6 has nothing to close.
func disableIPv6(link string) error {
	if _, err := os.Stat("/proc/sys/net/ipv6/conf/" + link); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return setSysctl("ipv6/conf/"+link+"/disable_ipv6", "1")
}
