package fake

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/enginetest"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) *enginetest.Harness {
		e := New(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil {
				e.Tick()
				enginetest.Pause()
			}
		}()
		t.Cleanup(func() {
			cancel()
			<-done
		})
		return &enginetest.Harness{
			Engine: e, Blobs: e,
			Image: func(t testing.TB, p enginetest.Program) app.Digest {
				d := enginetest.PushImage(t, e, []byte("binary"), enginetest.Spec{Program: p})
				e.Behave(d, func(in engine.Instance) Behaviour { return interpret(p, in) })
				return d
			},
			Network: func(testing.TB) engine.Network { return engine.Network{NetnsPath: "/run/netns"} },
			Reopen:  func(testing.TB) {},
			Reboot:  func(testing.TB) { e.Reboot() },
		}
	})
}

// interpret turns a program of the suite into a behaviour.
func interpret(p enginetest.Program, in engine.Instance) Behaviour {
	fail := func(format string, args ...any) Behaviour {
		return Behaviour{StartError: app.Errorf(app.KindInvalidRequest, string(in.ID), format, args...)}
	}
	switch {
	case p.Command != "":
		return fail("the command %q does not exist in the image", p.Command)
	case p.Garbage:
		return fail("exec format error; build the image for linux/%s", runtime.GOARCH)
	case p.Mode == 0o644:
		return fail("the command /app may not be executed (permission denied)")
	}
	actions := p.Actions
	if in.StartCommand != nil {
		actions = in.StartCommand
	}
	b := Behaviour{Exec: perform}
	for _, action := range actions {
		name, arg, _ := strings.Cut(action, "=")
		n, _ := strconv.Atoi(arg)
		switch name {
		case "exit":
			b.Exits, b.ExitCode = true, n
		case "eat":
			b.Memory = n
		case "write":
			b.Writes = int64(n) << 20
		case "stubborn":
			b.StopAfter = time.Hour
		}
	}
	return b
}

// perform takes the actions of testapp that the suite gives to Exec.
func perform(ctx context.Context, x engine.Exec) int {
	for _, action := range x.Args[1:] {
		name, arg, _ := strings.Cut(action, "=")
		switch name {
		case "print":
			fmt.Fprintln(x.Stdout, arg)
		case "complain":
			fmt.Fprintln(x.Stderr, arg)
		case "env":
			for _, v := range x.Env {
				if value, ok := strings.CutPrefix(v, arg+"="); ok {
					fmt.Fprintf(x.Stdout, "%s=%s\n", arg, value)
				}
			}
		case "copy":
			if _, err := io.Copy(x.Stdout, x.Stdin); err != nil {
				return 1
			}
		case "serve":
			fmt.Fprintln(x.Stdout, "ready")
			<-ctx.Done()
		case "exit":
			code, _ := strconv.Atoi(arg)
			return code
		}
	}
	return 0
}

// clock is a hand-moved clock.
type clock struct{ now time.Time }

func simulated() (*Engine, *clock) {
	c := &clock{now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	return New(Options{Now: func() time.Time { return c.now }, Sleep: func(_ context.Context, d time.Duration) { c.now = c.now.Add(d) }}), c
}

func TestScripts(t *testing.T) {
	e, c := simulated()
	const slow, crashing app.Digest = "sha256:slow", "sha256:crashing"
	e.AddImage("example.com/slow:1", slow, Always(Behaviour{HealthyAfter: 3 * time.Second, OtherPorts: []int{9090}}), nil)
	e.AddImage("example.com/crashing:1", crashing, Always(Behaviour{Exits: true, ExitAfter: time.Second, ExitCode: 4}), nil)
	for _, name := range []string{"example.com/slow:1", "example.com/crashing:1"} {
		if _, err := e.Resolve(t.Context(), engine.ImageRef{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	for id, image := range map[app.InstanceID]app.Digest{"a": slow, "b": crashing} {
		if err := e.Ensure(t.Context(), engine.Instance{ID: id, Image: image}); err != nil {
			t.Fatal(err)
		}
	}
	hints := e.Events(t.Context())
	if p := e.Probe("a"); !p.Listening || p.Healthy || len(p.OtherPorts) != 1 {
		t.Errorf("at first: %+v", p)
	}
	c.now = c.now.Add(3 * time.Second)
	e.Tick()
	if p := e.Probe("a"); !p.Healthy {
		t.Errorf("after 3 s: %+v", p)
	}
	if got := <-hints; got != "b" {
		t.Errorf("hint for %q; want b", got)
	}
	list, err := e.List(t.Context())
	if err != nil || len(list) != 2 || list[1].ExitCode != 4 || list[1].ExitedAt != list[1].StartedAt.Add(time.Second) {
		t.Errorf("List: %+v, %v", list, err)
	}
	if leaks := e.Leaks(func(id app.InstanceID) bool { return id == "a" }); len(leaks) != 1 || leaks[0] != "b" {
		t.Errorf("leaks %v", leaks)
	}
	if got, want := e.Counts(), (Counts{Creates: 2, Starts: 2, Resolves: 2, MaxRunning: 2}); got != want {
		t.Errorf("counts %+v; want %+v", got, want)
	}
}

func TestFailpoints(t *testing.T) {
	e, _ := simulated()
	e.AddImage("example.com/app:1", "sha256:app", nil, nil)
	if _, err := e.Resolve(t.Context(), engine.ImageRef{Name: "example.com/app:1"}); err != nil {
		t.Fatal(err)
	}
	in := engine.Instance{ID: "a", Image: "sha256:app"}
	for _, point := range []string{"engine/created", "engine/task-created", "engine/started"} {
		if err := failpoint.FromEnv(point + "=error"); err != nil {
			t.Fatal(err)
		}
		err := e.Ensure(t.Context(), in)
		failpoint.Enable(point, nil)
		if err == nil {
			t.Errorf("%s did not fail Ensure", point)
		}
	}
	if err := e.Ensure(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if got := e.Counts(); got.Creates != 1 || got.Starts != 1 {
		t.Errorf("counts %+v; want one create and one start", got)
	}
}
