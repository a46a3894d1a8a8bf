package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/enginetest"
)

// The test binary plays three more parts: the shim, a daemon that a test kills, and a
// process that only holds namespaces.
func TestMain(m *testing.M) {
	ShimMain()
	switch os.Getenv("ENGINE_TEST_ROLE") {
	case "daemon":
		daemon()
	case "holder":
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// order is what the daemon is told to do.
type order struct {
	DataDir, RunDir, Runtime string

	Install  app.InstallID
	Instance engine.Instance
	Fail     string
}

// daemon opens an engine, starts one instance and stays until it is killed.
func daemon() {
	var o order
	err := json.NewDecoder(os.Stdin).Decode(&o)
	if err == nil {
		err = failpoint.FromEnv(o.Fail)
	}
	var e *Engine
	if err == nil {
		e, err = Open(context.Background(), Config{DataDir: o.DataDir, RunDir: o.RunDir, Runtime: o.Runtime, Install: o.Install, ReserveBytes: 1 << 20})
	}
	if err == nil {
		err = e.Ensure(context.Background(), o.Instance)
	}
	fmt.Println("ensured", err)
	select {}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes containers, mounts and namespaces")
	}
}

var testApp = sync.OnceValues(func() ([]byte, error) { return build("enginetest/testapp") })

// build compiles a program of this repository, by its path below internal/engine.
func build(program string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "engine-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "program")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "no_grpc", "-ldflags", "-s -w", "-o", path, "github.com/funade/funade/internal/engine/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cannot build %s: %w: %s", program, err, out)
	}
	return os.ReadFile(path)
}

// runtimePath finds the runc that the tests use.
func runtimePath(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"../../../bin/runc", "/usr/bin/runc", "/usr/sbin/runc"} {
		if _, err := os.Stat(path); err == nil {
			abs, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			return abs
		}
	}
	t.Skip("needs runc: build/runc/build.sh makes bin/runc")
	return ""
}

// testConfig makes an install of its own, purged when the test ends.
func testConfig(t testing.TB) Config {
	t.Helper()
	needRoot(t)
	install := app.InstallID(id.Source{}.Hex(8))
	cfg := Config{
		DataDir: t.TempDir(), RunDir: "/run/funade-test/" + string(install), Install: install, Runtime: runtimePath(t),
		ReserveBytes: 1 << 20, StorageCheck: 200e6,
	}
	t.Cleanup(func() {
		if err := Purge(context.Background(), cfg); err != nil {
			t.Errorf("Purge: %v", err)
		}
		if err := os.RemoveAll(cfg.RunDir); err != nil {
			t.Errorf("run directory: %v", err)
		}
		_ = os.Remove("/run/funade-test")
		if pids := append(cgroupPIDs(cfg.cgroup()), shimPIDs(&cfg)...); len(pids) > 0 {
			t.Errorf("processes %v survive Purge", pids)
		}
	})
	return cfg
}

// netns pins a network namespace in a file and returns its path.
func netns(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread dies with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- unix.Mount(fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid()), path, "", unix.MS_BIND, "")
	}()
	if err := <-done; err != nil {
		t.Fatalf("cannot make network namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			t.Errorf("cannot unpin namespace: %v", err)
		}
	})
	return path
}

// userns pins a user namespace from base and a network namespace that it owns.
func userns(t testing.TB, base uint32) engine.Network {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "ENGINE_TEST_ROLE=holder")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(base), Size: idRange}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, UidMappings: ids, GidMappings: ids}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot make user namespace: %v", err)
	}
	dir := t.TempDir()
	network := engine.Network{NetnsPath: filepath.Join(dir, "net"), UsernsPath: filepath.Join(dir, "user")}
	for name, path := range map[string]string{"net": network.NetnsPath, "user": network.UsernsPath} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(fmt.Sprintf("/proc/%d/ns/%s", cmd.Process.Pid, name), path, "", unix.MS_BIND, ""); err != nil {
			t.Fatalf("cannot pin namespace: %v", err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				t.Errorf("cannot unpin namespace: %v", err)
			}
		})
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return network
}

// harness opens an engine that is closed when the test ends.
func harness(t testing.TB, cfg Config) *enginetest.Harness {
	t.Helper()
	h := &enginetest.Harness{Files: true}
	var current *Engine
	open := func(t testing.TB) {
		t.Helper()
		e, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		current, h.Engine, h.Blobs = e, e, e
	}
	closeIt := func(t testing.TB) {
		if err := current.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	open(t)
	t.Cleanup(func() { closeIt(t) })
	h.Image = func(t testing.TB, p enginetest.Program) app.Digest {
		binary, err := testApp()
		if err != nil {
			t.Fatal(err)
		}
		return enginetest.PushImage(t, h.Blobs, binary, enginetest.Spec{Program: p})
	}
	h.Network = func(t testing.TB) engine.Network { return engine.Network{NetnsPath: netns(t)} }
	h.Reopen = func(t testing.TB) {
		closeIt(t)
		open(t)
	}
	h.Reboot = func(t testing.TB) {
		closeIt(t)
		loseMachine(t, &cfg)
		open(t)
	}
	return h
}

// loseMachine does to an install what a reboot does: no process, no mount, no /run.
func loseMachine(t testing.TB, cfg *Config) {
	t.Helper()
	if err := killInstall(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{cfg.stateDir(), cfg.root()} {
		if err := unmountBelow(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(cfg.RunDir); err != nil {
		t.Fatal(err)
	}
	if err := removeCgroups(cfg.cgroup()); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) *enginetest.Harness { return harness(t, testConfig(t)) })
}
