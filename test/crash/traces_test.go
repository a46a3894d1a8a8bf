package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sys/unix"
)

// hexID matches the ids of services and instances, and no longer string of hex digits.
var hexID = regexp.MustCompile(`(?:^|[^0-9a-f])([0-9a-f]{32})(?:[^0-9a-f]|$)`)

func (w *world) runDir() string { return filepath.Join("/run/funade", w.install) }

func (w *world) cgroups() []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/funade-" + w.install) // the pattern is a constant, so it is well formed
	v2, _ := filepath.Glob("/sys/fs/cgroup/funade-" + w.install)
	return append(v1, v2...)
}

// traces is everything on this machine that carries the install's name.
func (w *world) traces() []string {
	found := append(w.cgroups(), w.mounts()...)
	for _, pattern := range []string{w.runDir(), "/sys/class/net/*" + w.install + "*", w.server.Data, w.tmp + "/*"} {
		more, _ := filepath.Glob(pattern)
		found = append(found, more...)
	}
	for _, p := range w.processes() {
		found = append(found, fmt.Sprintf("process %d %s", p.pid, p.command))
	}
	return found
}

func (w *world) mounts() []string {
	data, err := os.ReadFile("/proc/self/mounts")
	check(w.t, err)
	var found []string
	for l := range strings.Lines(string(data)) {
		fields := strings.Fields(l)
		if strings.HasPrefix(fields[1], w.runDir()+"/") || strings.HasPrefix(fields[1], w.tmp) || strings.HasPrefix(fields[1], w.server.Data+"/") {
			found = append(found, fields[1])
		}
	}
	return found
}

type process struct {
	pid     int
	command string
}

// processes are the install's shims and what runs in its cgroups; the server itself is none.
func (w *world) processes() []process {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	ours := map[int]bool{}
	for _, pid := range w.cgroupPIDs("") {
		ours[pid] = true
	}
	var out []process
	for _, path := range found {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		command := strings.ReplaceAll(string(data), "\x00", " ")
		if ours[pid] || strings.Contains(command, w.install) {
			out = append(out, process{pid, command})
		}
	}
	return out
}

// cgroupPIDs returns the processes in the cgroup of an instance, or of the whole install.
func (w *world) cgroupPIDs(instance string) []int {
	var pids []int
	for _, root := range w.cgroups() {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() || !strings.Contains(path, instance) {
				return nil // it went away meanwhile
			}
			data, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for _, f := range strings.Fields(string(data)) {
				if pid, err := strconv.Atoi(f); err == nil && !slices.Contains(pids, pid) {
					pids = append(pids, pid)
				}
			}
			return nil
		})
	}
	slices.Sort(pids)
	return pids
}

// pids returns the processes of a service's instances.
func (w *world) pids(arn string) []int {
	w.t.Helper()
	ids, err := w.instances(arn)
	check(w.t, err)
	var pids []int
	for _, id := range ids {
		pids = append(pids, w.cgroupPIDs(id)...)
	}
	if len(pids) == 0 {
		w.t.Fatal("no process of the service is in its cgroups")
	}
	return pids
}

// unclaimed is everything that is left of instances and services that no row has any more, and what is missing of the rest.
func (w *world) unclaimed() error {
	services, err := w.services()
	if err != nil {
		return err
	}
	claimed := map[string]bool{}
	count, shims := 0, 0
	for _, s := range services {
		ids, err := w.instances(aws.ToString(s.ServiceArn))
		if err != nil {
			return err
		}
		for _, id := range ids {
			claimed[id] = true
		}
		if len(ids) > 0 {
			claimed[aws.ToString(s.ServiceId)] = true
			shims++
		}
		count += len(ids)
	}
	var faults []string
	for _, place := range w.places() {
		for _, m := range hexID.FindAllStringSubmatch(place, -1) {
			if !claimed[m[1]] {
				faults = append(faults, "no row claims "+place)
			}
		}
	}
	var found []string
	for _, p := range w.processes() {
		if strings.Contains(p.command, "-namespace "+w.install) {
			found = append(found, p.command)
		}
	}
	if len(found) != shims { // a shim keeps the id of the first instance that it had, so its id says nothing
		faults = append(faults, fmt.Sprintf("%d services with instances have the shims %v", shims, found))
	}
	pins, links := names(filepath.Join(w.runDir(), "netns")), w.links()
	if len(pins) != count+1 || len(links) != count {
		faults = append(faults, fmt.Sprintf("%d instances have the namespaces %v (one is the install's) and the links %v", count, pins, links))
	}
	if users := names(filepath.Join(w.runDir(), "userns")); len(users) != 0 && len(users) != count {
		faults = append(faults, fmt.Sprintf("%d instances have the user namespaces %v", count, users))
	}
	if left := names(w.tmp); len(left) > 0 {
		faults = append(faults, fmt.Sprintf("temporary files %v", left))
	}
	return list(faults)
}

// layers checks that the disk holds a writable layer for each instance and those of the images, at most n. The engine
// removes others some seconds after its start.
func (w *world) layers(n int) {
	w.t.Helper()
	w.eventually(30*time.Second, "no layer is left over", func() error {
		snapshots := names(filepath.Join(w.server.Data, "containerd/io.containerd.snapshotter.v1.overlayfs/snapshots"))
		writable := names(filepath.Join(w.server.Data, "containers"))
		writable = slices.DeleteFunc(writable, func(name string) bool { return name[0] == '.' })
		if len(snapshots) > n+len(writable) {
			return fmt.Errorf("%d instances of %d layers have the snapshots %v", len(writable), n, snapshots)
		}
		return nil
	})
}

// places are the paths that name an instance or a service.
func (w *world) places() []string {
	places := w.mounts()
	for _, root := range append(w.cgroups(), filepath.Join(w.runDir(), "state"), filepath.Join(w.server.Data, "containers"),
		filepath.Join(w.server.Data, "containers-logs"), filepath.Join(w.server.Data, "containerd/io.containerd.runtime.v2.task")) {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return nil // it went away meanwhile
			}
			if d.IsDir() && d.Name() == "rootfs" {
				return filepath.SkipDir
			}
			if hexID.MatchString(d.Name()) {
				places = append(places, path)
			}
			return nil
		})
	}
	return places
}

// links are the instances' links in the management namespace.
func (w *world) links() []string {
	w.t.Helper()
	return w.linksIn("mgmt")
}

// linksIn are the links of interfaces in one of the install's namespaces.
func (w *world) linksIn(pin string) []string {
	w.t.Helper()
	data, err := inNamespace(filepath.Join(w.runDir(), "netns", pin), func() ([]byte, error) { return os.ReadFile("/proc/thread-self/net/dev") })
	check(w.t, err)
	var links []string
	for l := range strings.Lines(string(data)) {
		if name, _, ok := strings.Cut(strings.TrimSpace(l), ":"); ok && strings.HasPrefix(name, "v") {
			links = append(links, name)
		}
	}
	return links
}

// inNamespace runs fn in a pinned network namespace. The thread comes back to the test's own: its end would end the
// servers that it has started.
func inNamespace(pin string, fn func() ([]byte, error)) ([]byte, error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	there, err := os.Open(pin)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("cannot enter namespace %s: %w", pin, err)
	}
	data, err := fn()
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("cannot leave namespace %s: %v", pin, err))
	}
	runtime.UnlockOSThread()
	return data, err
}

func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
