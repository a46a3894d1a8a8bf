package containerd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/containerd/shim"
	"github.com/funade/funade/internal/engine/enginetest"
)

func running(s engine.Status) bool { return s.State == engine.StateRunning }

// holds reports the files below dir that contain secret.
func holds(t *testing.T, dir, secret string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(data, []byte(secret)) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEnvironmentStaysOffTheDisk(t *testing.T) {
	cfg := testConfig(t)
	h := harness(t, cfg)
	in := h.Instance(t, enginetest.Program{Actions: []string{"env=FROM_IMAGE", "env=PORT", "env=SSL_CERT_FILE", "serve"}})
	secret := "secret-" + id.Source{}.Hex32()
	in.Env = []string{"PASSWORD=" + secret, "PORT=8080", "FROM_IMAGE=overridden", "SSL_CERT_FILE=/mine"}
	h.Ensure(t, in)
	s := h.Until(t, in.ID, "running", running)
	h.LogHas(t, s.LogPath, "ready\n")
	data, err := os.ReadFile(s.LogPath)
	if want := "FROM_IMAGE=overridden\nPORT=8080\nSSL_CERT_FILE=/mine\nready\n"; err != nil || string(data) != want {
		t.Errorf("environment is %q, %v; want %q", data, err, want)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.PID))
	if err != nil || !bytes.Contains(environ, []byte(secret)) {
		t.Errorf("the process did not get its secret: %v", err)
	}
	if found := holds(t, cfg.DataDir, secret); found != nil {
		t.Errorf("the secret is on disk in %v", found)
	}
	if len(holds(t, cfg.stateDir(), secret)) == 0 {
		t.Error("the secret is not in the bundle either; does this test look in the right place?")
	}
	if entries, err := os.ReadDir(cfg.envDir()); err != nil || len(entries) != 0 {
		t.Errorf("environment files are left: %v, %v", entries, err)
	}
	if info, err := os.Stat(s.LogPath); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("log has mode %v, %v", info.Mode(), err)
	}
}

func TestSecureDefaults(t *testing.T) {
	cfg := testConfig(t)
	h := harness(t, cfg)
	in := h.Instance(t, enginetest.Program{Actions: []string{"cat=/proc/self/status", "cat=/etc/resolv.conf", "cat=/etc/hostname", "cat=/proc/self/limits", "cat=/etc/ssl/funade-ca.pem", "serve"}})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("test bundle\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	in.Network.Resolvers, in.Network.CABundle, in.CPU, in.Memory = []netip.Addr{netip.MustParseAddr("100.64.0.1")}, ca, 256, 64
	h.Ensure(t, in)
	s := h.Until(t, in.ID, "running", running)
	h.LogHas(t, s.LogPath, "ready\n")
	data, err := os.ReadFile(s.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	// Bits 0 1 3 4 5 6 7 8 10 13: the capabilities of the list above.
	for _, want := range []string{"CapEff:\t00000000000025fb", "CapBnd:\t00000000000025fb", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000",
		"NoNewPrivs:\t1", "Seccomp:\t2", "nameserver 100.64.0.1", string(in.ID), "test bundle"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the instance does not see %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", data)
	}
	checkLimits(t, cfg, in)
}

// checkLimits reads the limits back from the kernel.
func checkLimits(t *testing.T, cfg Config, in engine.Instance) {
	t.Helper()
	group := filepath.Join(cfg.cgroup(), string(in.Service), string(in.ID))
	files := map[string]string{
		"memory/memory.limit_in_bytes": "67108864", "cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000", "pids/pids.max": "1024",
	}
	if cgroupV2() {
		files = map[string]string{"memory.max": "67108864", "cpu.max": "25000 100000", "pids.max": "1024", "memory.swap.max": "0"}
	}
	for name, want := range files {
		hierarchy, file := filepath.Split(name)
		data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", hierarchy, group, file))
		if err != nil || strings.TrimSpace(string(data)) != want {
			t.Errorf("%s is %q, %v; want %q", name, data, err, want)
		}
	}
}

func TestUserNamespace(t *testing.T) {
	cfg := testConfig(t)
	h := harness(t, cfg)
	if caps := h.Engine.(*Engine).Capabilities(); !caps.UserNamespaces {
		in := h.Instance(t, enginetest.Program{Actions: []string{"serve"}})
		in.UIDBase = 300_000
		if err := h.Engine.Ensure(t.Context(), in); app.KindOf(err) != app.KindInvalidState {
			t.Errorf("Ensure without user namespaces: %v; want InvalidState", err)
		}
		if len(caps.Missing) == 0 {
			t.Error("user namespaces are missing and nobody says so")
		}
		return
	}
	in := h.Instance(t, enginetest.Program{Actions: []string{"cat=/proc/self/uid_map", "write=1", "reopen=own", "cat=/etc/hostname", "serve"}})
	in.UIDBase = 300_000
	in.Network = userns(t, in.UIDBase)
	h.Ensure(t, in)
	s := h.Until(t, in.ID, "running", running)
	h.LogHas(t, s.LogPath, "ready\n")
	data, err := os.ReadFile(s.LogPath)
	if err != nil || !strings.Contains(string(data), "300000") || !strings.Contains(string(data), "wrote 1") || !strings.Contains(string(data), string(in.ID)) {
		t.Errorf("log is %q, %v", data, err)
	}
	for _, user := range []string{"", "1000:1001"} {
		var out bytes.Buffer
		p, err := h.Engine.(*Engine).Exec(t.Context(), in.ID, engine.Exec{
			Args: []string{"/app", "uid", "reopen=by name"}, User: user, Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard,
		})
		if err != nil {
			t.Fatal(err)
		}
		if code, err := p.Wait(); err != nil || code != 0 || !strings.HasSuffix(out.String(), "\nby name\n") {
			t.Errorf("further process as %q: exit code %d, %v, output %q", user, code, err, &out)
		}
	}
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID)); err != nil || !strings.Contains(string(status), "Uid:\t300000\t300000") {
		t.Errorf("the process does not run as 300000: %v", err)
	}
}

func TestImageUser(t *testing.T) {
	h := harness(t, testConfig(t))
	in := h.Instance(t, enginetest.Program{User: "user", Actions: []string{"cat=/proc/self/status", "serve"}})
	h.Ensure(t, in)
	s := h.Until(t, in.ID, "running", running)
	h.LogHas(t, s.LogPath, "ready\n")
	data, err := os.ReadFile(s.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t1000\t1000", "Gid:\t1001\t1001", "1002", "CapEff:\t0000000000000000"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the status of the process lacks %q:\n%s", want, data)
		}
	}
	in = h.Instance(t, enginetest.Program{User: "nobody-there", Actions: []string{"serve"}})
	if err := h.Engine.Ensure(t.Context(), in); app.KindOf(err) != app.KindInvalidRequest || !strings.Contains(err.Error(), "nobody-there") {
		t.Errorf("Ensure with an unknown USER: %v", err)
	}
}

// startDaemon runs an engine with one instance in a process of its own.
func startDaemon(t *testing.T, cfg Config, o order) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "ENGINE_TEST_ROLE=daemon")
	o.DataDir, o.RunDir, o.Runtime, o.Install = cfg.DataDir, cfg.RunDir, cfg.Runtime, cfg.Install
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(data), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

// prepared stores an image and closes the engine again.
func prepared(t *testing.T, cfg Config, p enginetest.Program) engine.Instance {
	t.Helper()
	e, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := &enginetest.Harness{Engine: e, Blobs: e, Network: func(t testing.TB) engine.Network { return engine.Network{NetnsPath: netns(t)} }}
	h.Image = func(t testing.TB, p enginetest.Program) app.Digest {
		binary, err := testApp()
		if err != nil {
			t.Fatal(err)
		}
		return enginetest.PushImage(t, e, binary, enginetest.Spec{Program: p})
	}
	in := h.Instance(t, p)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return in
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed: the error says just that
}

func TestKilledDaemon(t *testing.T) {
	cfg := testConfig(t)
	in := prepared(t, cfg, enginetest.Program{Actions: []string{"serve"}})
	cmd, out := startDaemon(t, cfg, order{Instance: in})
	if line, err := out.ReadString('\n'); err != nil || line != "ensured <nil>\n" {
		t.Fatalf("daemon says %q, %v", line, err)
	}
	kill(t, cmd)
	pids := cgroupPIDs(cfg.cgroup())
	h := harness(t, cfg)
	h.Forget(t, in.ID)
	s := h.Until(t, in.ID, "running", running)
	if len(pids) == 0 || s.PID != pids[0] {
		t.Errorf("adopted process %d; want one of %v", s.PID, pids)
	}
	if err := h.Engine.Ensure(t.Context(), in); err != nil {
		t.Fatalf("Ensure: %v", err)
	}
	if again, _ := h.Status(t, in.ID); again.PID != s.PID {
		t.Error("the adopted process was replaced")
	}
}

func TestExitWhileNoDaemonRuns(t *testing.T) {
	cfg := testConfig(t)
	in := prepared(t, cfg, enginetest.Program{Actions: []string{"serve"}})
	cmd, out := startDaemon(t, cfg, order{Instance: in})
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	kill(t, cmd)
	deadline := time.Now().Add(enginetest.Wait)
	for len(cgroupPIDs(cfg.cgroup())) > 0 {
		for _, pid := range cgroupPIDs(cfg.cgroup()) {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the instance survives SIGKILL")
		}
		enginetest.Pause()
	}
	for shim.ReadRecord(cfg.recordPath(in.ID)).ExitedAt.IsZero() {
		if time.Now().After(deadline) {
			t.Fatal("the shim wrote no record")
		}
		enginetest.Pause()
	}
	h := harness(t, cfg)
	h.Forget(t, in.ID)
	if s := h.Stopped(t, in.ID); s.ExitCode != 137 {
		t.Errorf("exit code %d; want the shim's record of 137", s.ExitCode)
	}
	if err := h.Engine.Ensure(t.Context(), in); err != nil {
		t.Fatalf("Ensure: %v", err)
	}
	h.Until(t, in.ID, "running", running)
}

// TestKilledAtFailpoints kills the daemon between the steps of Ensure; the next one
// finishes the work.
func TestKilledAtFailpoints(t *testing.T) {
	for _, point := range []string{"engine/created", "engine/task-created", "engine/started"} {
		t.Run(filepath.Base(point), func(t *testing.T) {
			cfg := testConfig(t)
			in := prepared(t, cfg, enginetest.Program{Actions: []string{"serve"}})
			cmd, out := startDaemon(t, cfg, order{Instance: in, Fail: point + "=kill"})
			if line, err := out.ReadString('\n'); err == nil {
				t.Fatalf("the daemon survived its failpoint: %q", line)
			}
			_ = cmd.Wait() // killed by its failpoint
			h := harness(t, cfg)
			h.Ensure(t, in)
			h.Until(t, in.ID, "running", running)
		})
	}
}

func TestFailedRemove(t *testing.T) {
	cfg := testConfig(t)
	h := harness(t, cfg)
	in := h.Instance(t, enginetest.Program{Actions: []string{"serve"}})
	h.Ensure(t, in)
	disable := failpoint.Enable("engine/removing", func() error { return os.ErrDeadlineExceeded })
	if err := h.Engine.Remove(t.Context(), in.ID, 0); err == nil {
		t.Error("Remove does not report the failure")
	}
	disable()
	if err := h.Engine.Remove(t.Context(), in.ID, 0); err != nil {
		t.Fatalf("second Remove: %v", err)
	}
	e := h.Engine.(*Engine)
	ctx := e.scope(t.Context())
	if _, err := e.layers.Stat(ctx, string(in.ID)); err == nil {
		t.Error("the writable layer is left")
	}
	if _, err := os.Stat(cfg.instanceDir(in.ID)); err == nil {
		t.Error("the instance's files are left")
	}
	if left := groupsBelow(filepath.Join("/sys/fs/cgroup/memory", cfg.cgroup(), string(in.Service))); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	if _, err := os.Stat(cfg.logPath(in.ID)); err != nil {
		t.Errorf("the log is gone before ReleaseLog: %v", err)
	}
	if err := e.ReleaseLog(t.Context(), in.ID); err != nil {
		t.Fatal(err)
	}
	if logs, err := e.Logs(); err != nil || len(logs) != 0 {
		t.Errorf("logs are left: %v, %v", logs, err)
	}
}

func TestKilledShim(t *testing.T) {
	cfg := testConfig(t)
	h := harness(t, cfg)
	in := h.Instance(t, enginetest.Program{Actions: []string{"serve"}})
	h.Ensure(t, in)
	first := h.Until(t, in.ID, "running", running)
	for _, pid := range shimPIDs(&cfg) {
		p, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	h.Stopped(t, in.ID)
	if err := h.Engine.Ensure(t.Context(), in); err != nil {
		t.Fatalf("Ensure after the shim's death: %v", err)
	}
	if s := h.Until(t, in.ID, "running", running); s.PID == first.PID {
		t.Error("same process after its shim was killed")
	}
}

func TestFullDisk(t *testing.T) {
	cfg := testConfig(t)
	cfg.ReserveBytes = 1 << 60
	e, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Upload(t.Context(), "one"); app.KindOf(err) != app.KindUnavailable || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Errorf("Upload on a full disk: %v", err)
	}
}

func TestPurgeWhileInstancesRun(t *testing.T) {
	cfg := testConfig(t)
	in := prepared(t, cfg, enginetest.Program{Actions: []string{"serve"}})
	cmd, out := startDaemon(t, cfg, order{Instance: in})
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	kill(t, cmd)
	if len(cgroupPIDs(cfg.cgroup())) == 0 || len(shimPIDs(&cfg)) == 0 {
		t.Fatal("nothing runs; there is nothing to purge")
	}
	for range 2 {
		if err := Purge(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(cfg.RunDir)) || bytes.Contains(mounts, []byte(cfg.root())) {
		t.Errorf("mounts are left, %v", err)
	}
	for _, dir := range []string{cfg.root(), cfg.logDir(), cfg.stateDir(), filepath.Join("/sys/fs/cgroup/memory", cfg.cgroup())} {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}

// TestListDuringStart: an instance that is being started never looks ended.
func TestListDuringStart(t *testing.T) {
	h := harness(t, testConfig(t))
	in := h.Instance(t, enginetest.Program{Actions: []string{"serve"}})
	h.Forget(t, in.ID)
	done := make(chan error, 1)
	go func() { done <- h.Engine.Ensure(t.Context(), in) }()
	for {
		if s, ok := h.Status(t, in.ID); ok && s.State == engine.StateStopped {
			t.Fatalf("listed as ended while it starts: %+v", s)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

func TestTailLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, test := range []struct {
		data string
		n    int
		want string
	}{
		{"", 3, ""}, {"one\n", 3, "one"}, {"one\ntwo\nthree\nfour", 2, "three|four"}, {"\x00\x00\x00rest\nlast\n", 5, "rest|last"},
		{strings.Repeat("x", tailBytes) + "\nend\n", 5, "end"},
	} {
		if err := os.WriteFile(path, []byte(test.data), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := TailLog(path, test.n)
		if err != nil || strings.Join(got, "|") != test.want {
			t.Errorf("TailLog of %.20q: %q, %v; want %q", test.data, got, err, test.want)
		}
	}
}

func TestMergeEnv(t *testing.T) {
	got := shim.MergeEnv([]string{"A=1", "B=2"}, []string{"B=3", "C=", "C=4"})
	if want := "A=1 B=3 C=4"; strings.Join(got, " ") != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestStopSignal(t *testing.T) {
	for name, want := range map[string]int{"SIGTERM": 15, "TERM": 15, "sigint": 2, "9": 9, "": 15, "nonsense": 15, "0": 15, "99": 15} {
		if got := stopSignal(name); int(got) != want {
			t.Errorf("stopSignal(%q) = %d; want %d", name, got, want)
		}
	}
}

// TestCrashedSession: a process that a session of a dead daemon left is killed by the next one.
func TestCrashedSession(t *testing.T) {
	cfg := testConfig(t)
	h := harness(t, cfg)
	in := h.Instance(t, enginetest.Program{Actions: []string{"serve"}})
	h.Ensure(t, in)
	h.Until(t, in.ID, "running", running)
	e := h.Engine.(*Engine)
	r, w := io.Pipe()
	defer w.Close()
	// As a crash leaves it: nobody attends to the process when the engine ends.
	task, err := e.runningTask(e.scope(t.Context()), in.ID)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := e.execSpec(e.scope(t.Context()), in.ID, engine.Exec{Args: []string{"/app", "stubborn"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := task.Exec(e.scope(t.Context()), "exec-of-another-engine", spec, cio.NewCreator(cio.WithStreams(r, io.Discard, io.Discard), cio.WithFIFODir(cfg.fifoDir())))
	if err == nil {
		err = p.Start(e.scope(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Reopen(t)
	deadline := time.Now().Add(enginetest.Wait)
	for unix.Kill(int(p.Pid()), 0) == nil {
		if time.Now().After(deadline) {
			t.Fatalf("process %d of the crashed session lives on", p.Pid())
		}
		enginetest.Pause()
	}
	if s, _ := h.Status(t, in.ID); s.State != engine.StateRunning {
		t.Errorf("the instance went with it: %+v", s)
	}
}
