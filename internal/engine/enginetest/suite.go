package enginetest

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

// Run runs the whole suite; open makes a fresh engine that is closed when its test ends.
func Run(t *testing.T, open func(t *testing.T) *Harness) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *Harness)
	}{
		{"StartStop", startStop}, {"ExitCode", exitCode}, {"Restart", restart}, {"Events", events},
		{"OutOfMemory", outOfMemory}, {"NoSuchCommand", noSuchCommand}, {"WrongFormat", wrongFormat},
		{"NotExecutable", notExecutable}, {"StartCommand", startCommand}, {"GraceStop", graceStop}, {"Stubborn", stubborn}, {"StopSignal", customSignal},
		{"OtherSpec", otherSpec}, {"Unresolved", unresolved}, {"Adopt", adopt}, {"Reboot", reboot},
		{"Storage", storage}, {"Volume", volume}, {"VolumeErrors", volumeErrors}, {"Files", files}, {"Shared", sharedService}, {"ResolveErrors", resolveErrors},
		{"Blobs", blobs}, {"UploadErrors", uploadErrors}, {"UploadResume", uploadResume}, {"Sweep", sweep}, {"SweepRenewed", sweepRenewed},
		{"Exec", execute}, {"ExecInput", executeInput}, {"ExecErrors", executeErrors}, {"ExecKilled", executeKilled},
		{"ExecRights", executeRights}, {"ExecTerminal", executeTerminal},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func running(s engine.Status) bool { return s.State == engine.StateRunning }

func startStop(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"serve"}})
	h.Ensure(t, in)
	first := h.Until(t, in.ID, "running", running)
	if first.PID == 0 || first.Service != in.Service || first.Revision != in.Revision || first.StartedAt.IsZero() {
		t.Errorf("incomplete status %+v", first)
	}
	h.Ensure(t, in)
	if again, _ := h.Status(t, in.ID); again.PID != first.PID {
		t.Errorf("a second Ensure replaced process %d by %d", first.PID, again.PID)
	}
	for range 2 {
		if err := h.Engine.Remove(t.Context(), in.ID, time.Second); err != nil {
			t.Fatalf("Remove: %v", err)
		}
	}
	if s, ok := h.Status(t, in.ID); ok {
		t.Errorf("still listed after Remove: %+v", s)
	}
}

func exitCode(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"print=hello", "exit=3"}})
	h.Ensure(t, in)
	s := h.Stopped(t, in.ID)
	if s.ExitCode != 3 || s.OOMKilled || s.Failure != "" || s.ExitedAt.IsZero() {
		t.Errorf("got %+v; want exit code 3", s)
	}
	if h.Files {
		if data, err := os.ReadFile(s.LogPath); err != nil || string(data) != "hello\n" {
			t.Errorf("log is %q, %v", data, err)
		}
	}
}

func restart(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"exit=5"}})
	h.Ensure(t, in)
	first := h.Stopped(t, in.ID)
	if err := h.Engine.Ensure(t.Context(), in); err != nil {
		t.Fatalf("Ensure of an ended instance: %v", err)
	}
	second := h.Until(t, in.ID, "ended again", func(s engine.Status) bool {
		return s.State == engine.StateStopped && s.StartedAt.After(first.StartedAt) && s.ExitCode == 5
	})
	if second.ExitedAt.Before(first.ExitedAt) {
		t.Errorf("exit times go backwards: %v, %v", first.ExitedAt, second.ExitedAt)
	}
}

func events(t *testing.T, h *Harness) {
	hints := h.Engine.Events(t.Context())
	in := h.Instance(t, Program{Actions: []string{"exit=0"}})
	h.Ensure(t, in)
	deadline := time.After(Wait)
	for {
		select {
		case got := <-hints:
			if s, ok := h.Status(t, in.ID); got == in.ID && ok && s.State == engine.StateStopped {
				return
			}
		case <-deadline:
			t.Fatal("no hint after the exit")
		}
	}
}

func outOfMemory(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"eat=256", "serve"}})
	in.Memory = 32
	h.Ensure(t, in)
	s := h.Stopped(t, in.ID)
	if !s.OOMKilled || s.ExitCode != 137 {
		t.Errorf("got %+v; want an out-of-memory kill", s)
	}
	wantWords(t, s.Failure, "more than its 32 MiB")
}

func noSuchCommand(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Command: "no-such-program"})
	h.Forget(t, in.ID)
	wantFailure(t, h, in, "no-such-program", "does not exist")
	in = h.Instance(t, Program{Command: "/no/such/program"})
	h.Forget(t, in.ID)
	wantFailure(t, h, in, "/no/such/program", "does not exist")
}

func wrongFormat(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Garbage: true})
	h.Forget(t, in.ID)
	wantFailure(t, h, in, "exec format error", "build the image for linux/")
}

func notExecutable(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Mode: 0o644})
	h.Forget(t, in.ID)
	wantFailure(t, h, in, "/app", "permission denied")
}

// wantFailure: Ensure refuses, or the instance ends, with words; List shows them.
func wantFailure(t *testing.T, h *Harness, in engine.Instance, words ...string) {
	t.Helper()
	if err := h.Engine.Ensure(t.Context(), in); err != nil {
		wantError(t, err, app.KindInvalidRequest, words...)
	}
	s := h.Stopped(t, in.ID)
	if wantWords(t, s.Failure, words...); t.Failed() && h.Files {
		data, err := os.ReadFile(s.LogPath)
		t.Logf("status %+v, log %q, %v", s, data, err)
	}
}

func startCommand(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"exit=1"}})
	in.StartCommand = []string{"exit=9"}
	h.Ensure(t, in)
	if s := h.Stopped(t, in.ID); s.ExitCode != 9 {
		t.Errorf("exit code %d; want 9 from the start command", s.ExitCode)
	}
}

func graceStop(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"serve"}})
	h.Ensure(t, in)
	s := h.Until(t, in.ID, "running", running)
	h.ready(t, s)
	began := time.Now()
	if err := h.Engine.Remove(t.Context(), in.ID, Wait); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if took := time.Since(began); took > Wait/2 {
		t.Errorf("Remove took %v although the application ends at SIGTERM", took)
	}
	if h.Files {
		if data, err := os.ReadFile(s.LogPath); err != nil || string(data) != "ready\nbye\n" {
			t.Errorf("log after Remove is %q, %v; the last words are missing", data, err)
		}
	}
}

// ready waits until the application has said so.
func (h *Harness) ready(t testing.TB, s engine.Status) {
	t.Helper()
	if h.Files {
		h.LogHas(t, s.LogPath, "ready\n")
	}
}

// LogHas waits until a log contains text.
func (h *Harness) LogHas(t testing.TB, path, text string) {
	t.Helper()
	deadline := time.Now().Add(Wait)
	for {
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("log %q never has %q, %v", data, text, err)
		}
		Pause()
	}
}

func stubborn(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"stubborn"}})
	h.Ensure(t, in)
	h.ready(t, h.Until(t, in.ID, "running", running))
	began := time.Now()
	if err := h.Engine.Remove(t.Context(), in.ID, 200*time.Millisecond); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > Wait/2 {
		t.Errorf("Remove took %v; want the grace period and little more", took)
	}
}

func customSignal(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"usr1"}, StopSignal: "SIGUSR1"})
	h.Ensure(t, in)
	h.ready(t, h.Until(t, in.ID, "running", running))
	began := time.Now()
	if err := h.Engine.Remove(t.Context(), in.ID, Wait); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if took := time.Since(began); took > Wait/2 {
		t.Errorf("Remove took %v; the image's STOPSIGNAL was not sent", took)
	}
}

func otherSpec(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"serve"}})
	in.Env = []string{"A=1"}
	h.Ensure(t, in)
	h.Until(t, in.ID, "running", running)
	in.Env = []string{"A=2"}
	wantError(t, h.Engine.Ensure(t.Context(), in), app.KindInvalidState, string(in.ID))
}

func unresolved(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"serve"}})
	in.Image = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	wantError(t, h.Engine.Ensure(t.Context(), in), app.KindInvalidState, "resolve it first")
}

func adopt(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"serve"}})
	h.Ensure(t, in)
	before := h.Until(t, in.ID, "running", running)
	h.Reopen(t)
	after := h.Until(t, in.ID, "running", running)
	if after.PID != before.PID || !after.StartedAt.Equal(before.StartedAt) {
		t.Errorf("before %+v, after %+v; want the same process", before, after)
	}
	if err := h.Engine.Ensure(t.Context(), in); err != nil {
		t.Fatalf("Ensure of an adopted instance: %v", err)
	}
	if s, _ := h.Status(t, in.ID); s.PID != before.PID {
		t.Errorf("Ensure replaced the adopted process")
	}
}

func reboot(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"serve"}})
	h.Ensure(t, in)
	before := h.Until(t, in.ID, "running", running)
	h.Reboot(t)
	if s, ok := h.Status(t, in.ID); !ok || s.State == engine.StateRunning {
		t.Fatalf("after a reboot: %+v, listed %v", s, ok)
	}
	if err := h.Engine.Ensure(t.Context(), in); err != nil {
		t.Fatalf("Ensure after a reboot: %v", err)
	}
	if s := h.Until(t, in.ID, "running", running); !s.StartedAt.After(before.StartedAt) {
		t.Errorf("start time %v is not new", s.StartedAt)
	}
}

func storage(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"write=8", "serve"}})
	in.Storage = 4 << 20
	h.Ensure(t, in)
	s := h.Stopped(t, in.ID)
	wantWords(t, s.Failure, "wrote more than 4 MB")
}

func sharedService(t *testing.T, h *Harness) {
	first := h.Instance(t, Program{Actions: []string{"serve"}})
	second := h.Instance(t, Program{Actions: []string{"exit=7"}})
	second.Service = first.Service
	h.Ensure(t, first)
	h.Ensure(t, second)
	if s := h.Stopped(t, second.ID); s.ExitCode != 7 {
		t.Errorf("second instance: %+v", s)
	}
	before := h.Until(t, first.ID, "running", running)
	if err := h.Engine.Remove(t.Context(), second.ID, 0); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	if s, _ := h.Status(t, first.ID); s.PID != before.PID || s.State != engine.StateRunning {
		t.Errorf("removing one instance changed its sibling: %+v", s)
	}
}
