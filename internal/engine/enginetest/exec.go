package enginetest

import (
	"bytes"
	"context"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

// output collects what a process writes while a test reads it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// until waits until the process has written text.
func (o *output) until(t testing.TB, text string) {
	t.Helper()
	deadline := time.Now().Add(Wait)
	for !strings.Contains(o.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("the process wrote %q; want %q", o.String(), text)
		}
		Pause()
	}
}

func execer(t testing.TB, h *Harness) engine.Execer {
	t.Helper()
	x, ok := h.Engine.(engine.Execer)
	if !ok {
		t.Skip("this engine starts no further processes")
	}
	return x
}

// serving starts an instance that stays.
func serving(t testing.TB, h *Harness) engine.Instance {
	t.Helper()
	in := h.Instance(t, Program{Actions: []string{"serve"}})
	in.Env = []string{"COLOUR=green"}
	h.Ensure(t, in)
	h.Until(t, in.ID, "running", running)
	return in
}

// appActions runs actions of testapp to their end.
func appActions(t testing.TB, h *Harness, id app.InstanceID, change func(*engine.Exec), actions ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs output
	e := engine.Exec{Args: append([]string{"/app"}, actions...), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	if change != nil {
		change(&e)
	}
	p, err := execer(t, h).Exec(t.Context(), id, e)
	if err != nil {
		t.Fatalf("Exec: %v", err)
	}
	if code, err = p.Wait(); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	return code, out.String(), errs.String()
}

func execute(t *testing.T, h *Harness) {
	in := serving(t, h)
	before, _ := h.Status(t, in.ID)
	code, out, errs := appActions(t, h, in.ID, func(e *engine.Exec) { e.Env = []string{"SHAPE=round"} }, "print=hello", "complain=alas", "env=SHAPE", "exit=7")
	if code != 7 || out != "hello\nSHAPE=round\n" || errs != "alas\n" {
		t.Errorf("exit code %d, output %q, errors %q", code, out, errs)
	}
	if after, _ := h.Status(t, in.ID); after.PID != before.PID || after.State != engine.StateRunning {
		t.Errorf("the instance changed: before %+v, after %+v", before, after)
	}
}

func executeInput(t *testing.T, h *Harness) {
	in := serving(t, h)
	want := strings.Repeat("0123456789abcdef", 64<<10) // a megabyte: more than any pipe holds
	code, out, _ := appActions(t, h, in.ID, func(e *engine.Exec) { e.Stdin = strings.NewReader(want) }, "copy", "print=end")
	if code != 0 || out != want+"end\n" {
		t.Errorf("exit code %d, %d bytes of output; want 0, %d", code, len(out), len(want)+4)
	}
}

func executeErrors(t *testing.T, h *Harness) {
	in := serving(t, h)
	ended := h.Instance(t, Program{Actions: []string{"exit=0"}})
	h.Ensure(t, ended)
	h.Stopped(t, ended.ID)
	for _, test := range []struct {
		name  string
		id    app.InstanceID
		args  []string
		user  string
		kind  app.Kind
		words string
		real  bool
	}{
		{"unknown instance", "0123456789abcdef0123456789abcdef", []string{"/app"}, "", app.KindInvalidState, "does not run", false},
		{"ended instance", ended.ID, []string{"/app"}, "", app.KindInvalidState, "does not run", false},
		{"no command", in.ID, nil, "", app.KindInvalidRequest, "name one", false},
		{"no such command", in.ID, []string{"/no/such/program"}, "", app.KindInvalidRequest, "/no/such/program", true},
		{"no such user", in.ID, []string{"/app"}, "nobody-here", app.KindInvalidRequest, "nobody-here", true},
	} {
		if test.real && !h.Files {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			_, err := execer(t, h).Exec(t.Context(), test.id, engine.Exec{Args: test.args, User: test.user, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard})
			wantError(t, err, test.kind, test.words)
		})
	}
}

func executeKilled(t *testing.T, h *Harness) {
	in := serving(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	defer w.Close()
	var out output
	actions := []string{"/app", "print=begun", "serve"}
	if h.Files {
		actions = []string{"/app", "child=stubborn", "print=begun", "stubborn"}
	}
	p, err := execer(t, h).Exec(ctx, in.ID, engine.Exec{Args: actions, Stdin: r, Stdout: &out, Stderr: io.Discard})
	if err != nil {
		t.Fatalf("Exec: %v", err)
	}
	out.until(t, "begun\n")
	cancel()
	if code, err := p.Wait(); err != nil || code != 137 {
		t.Errorf("exit code %d, %v; want 137: killed", code, err)
	}
	if !h.Files {
		return
	}
	s, _ := h.Status(t, in.ID)
	deadline := time.Now().Add(Wait)
	for others := siblings(t, s.PID); len(others) > 0; others = siblings(t, s.PID) {
		if time.Now().After(deadline) {
			t.Fatalf("processes %v of the session live on", others)
		}
		Pause()
	}
}

// siblings lists the living processes in the pid namespace of pid, but for itself; its application reaps none.
func siblings(t testing.TB, pid int) (out []int) {
	t.Helper()
	own, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil || n == pid {
			continue
		}
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/pid"); err == nil && ns == own && !dead(e.Name()) {
			out = append(out, n)
		}
	}
	return out
}

func dead(pid string) bool {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}

func executeRights(t *testing.T, h *Harness) {
	if !h.Files {
		t.Skip("scripts have no rights")
	}
	in := h.Instance(t, Program{Actions: []string{"status=CapBnd", "status=CapEff", "status=NoNewPrivs", "status=Seccomp", "env=COLOUR", "serve"}})
	in.Env = []string{"COLOUR=green"}
	h.Ensure(t, in)
	s := h.Until(t, in.ID, "running", running)
	h.ready(t, s)
	log, err := os.ReadFile(s.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	_, out, _ := appActions(t, h, in.ID, nil, "status=CapBnd", "status=CapEff", "status=NoNewPrivs", "status=Seccomp", "env=COLOUR")
	if own := strings.TrimSuffix(string(log), "ready\n"); out != own || !strings.Contains(out, "Seccomp 2\n") || !strings.Contains(out, "NoNewPrivs 1\n") {
		t.Errorf("rights and environment of the instance\n%s\nof the further process\n%s", own, out)
	}
	if _, out, _ := appActions(t, h, in.ID, func(e *engine.Exec) { e.User = "1234:99" }, "uid"); out != "uid 1234\n" {
		t.Errorf("as user 1234: %q", out)
	}
}

func executeTerminal(t *testing.T, h *Harness) {
	if !h.Files {
		t.Skip("scripts have no terminal")
	}
	in := serving(t, h)
	r, w := io.Pipe()
	defer w.Close()
	var out output
	p, err := execer(t, h).Exec(t.Context(), in.ID, engine.Exec{
		Args: []string{"/app", "size=100x30", "size=120x40", "copy", "print=end"}, Terminal: true, Width: 100, Height: 30, Stdin: r, Stdout: &out, Stderr: io.Discard,
	})
	if err != nil {
		t.Fatalf("Exec: %v", err)
	}
	out.until(t, "size 100x30\r\n")
	if err := p.Resize(t.Context(), 120, 40); err != nil {
		t.Errorf("Resize: %v", err)
	}
	out.until(t, "size 120x40\r\n")
	if _, err := io.WriteString(w, "typed\n\x04"); err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(); err != nil || code != 0 {
		t.Errorf("exit code %d, %v", code, err)
	}
	if text := out.String(); !strings.HasSuffix(text, "typed\r\ntyped\r\nend\r\n") {
		t.Errorf("the terminal shows %q", text)
	}
}
