package enginetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/engine"
)

// Wait bounds everything that a test waits for.
const Wait = 30 * time.Second

// Program is what an image does when started: actions of testapp, in order.
type Program struct {
	// Actions are for example "print=hello", "exit=3", "serve".
	Actions []string
	// Command replaces /app as the entrypoint; "" = /app.
	Command string
	// Garbage: the command is a file of text, not a program.
	Garbage bool
	// Mode is the command's file mode; 0 = 0755.
	Mode int64
	// StopSignal, User and Volumes go into the image's config.
	StopSignal, User string
	Volumes          []string
	// Tree are further folders and files of the image.
	Tree []Node
}

// Node is a folder, or with Data a file, of an image.
type Node struct {
	Name     string
	Mode     int64
	UID, GID int
	Data     string
}

// Harness makes and drives one engine for one test.
type Harness struct {
	Engine engine.Engine
	Blobs  engine.Blobs
	// Image stores an image that runs p in Blobs and returns its manifest's digest.
	Image func(t testing.TB, p Program) app.Digest
	// Network returns a place for one instance to live in.
	Network func(t testing.TB) engine.Network
	// Reopen closes the engine and opens it again while instances run; it replaces Engine and Blobs.
	Reopen func(t testing.TB)
	// Reboot is Reopen after a loss of every process and of everything that is not on disk.
	Reboot func(t testing.TB)
	// Files: the engine writes logs to Status.LogPath and limits the writable layer.
	Files bool
}

// Instance returns an instance of a freshly stored and resolved image.
func (h *Harness) Instance(t testing.TB, p Program) engine.Instance {
	t.Helper()
	d := h.Image(t, p)
	got, err := h.Engine.Resolve(t.Context(), engine.ImageRef{Name: "localhost/test:v1", Local: true, Digest: d})
	if err != nil {
		t.Fatalf("Resolve: %v", err)
	}
	return engine.Instance{
		ID: app.InstanceID(id.Source{}.Hex32()), Service: app.ServiceID(id.Source{}.Hex32()), Revision: 1, Image: got,
		CPU: 1024, Memory: 128, Network: h.Network(t),
	}
}

// Ensure starts the instance and removes it when the test ends.
func (h *Harness) Ensure(t testing.TB, in engine.Instance) {
	t.Helper()
	h.Forget(t, in.ID)
	if err := h.Engine.Ensure(t.Context(), in); err != nil {
		t.Fatalf("Ensure: %v", err)
	}
}

// Forget removes the instance when the test ends.
func (h *Harness) Forget(t testing.TB, instance app.InstanceID) {
	t.Cleanup(func() {
		if err := h.Engine.Remove(context.Background(), instance, 0); err != nil {
			t.Errorf("Remove: %v", err)
		}
	})
}

// Status returns the instance's status; ok is false when the engine does not list it.
func (h *Harness) Status(t testing.TB, instance app.InstanceID) (s engine.Status, ok bool) {
	t.Helper()
	list, err := h.Engine.List(context.Background())
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	for _, s := range list {
		if s.ID == instance {
			return s, true
		}
	}
	return engine.Status{}, false
}

// Until polls the instance's status until cond holds.
func (h *Harness) Until(t testing.TB, instance app.InstanceID, what string, cond func(engine.Status) bool) engine.Status {
	t.Helper()
	deadline := time.Now().Add(Wait)
	for {
		s, ok := h.Status(t, instance)
		if ok && cond(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("instance is not %s: %+v (listed: %v)", what, s, ok)
		}
		Pause()
	}
}

// Stopped waits until the instance has ended.
func (h *Harness) Stopped(t testing.TB, instance app.InstanceID) engine.Status {
	t.Helper()
	return h.Until(t, instance, "stopped", func(s engine.Status) bool { return s.State == engine.StateStopped })
}

// Pause is the beat of every poll.
func Pause() { <-time.After(20 * time.Millisecond) }

// wantError checks an error's kind and words.
func wantError(t testing.TB, err error, kind app.Kind, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v", kind)
	}
	if got := app.KindOf(err); got != kind {
		t.Errorf("error %q is %v; want %v", err, got, kind)
	}
	wantWords(t, err.Error(), words...)
}

func wantWords(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not mention %q", text, w)
		}
	}
}
