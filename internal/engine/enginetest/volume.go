package enginetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

// logged waits until an instance that serves is ready, and returns what it wrote.
func (h *Harness) logged(t *testing.T, id app.InstanceID) string {
	t.Helper()
	s := h.Until(t, id, "running", running)
	if !h.Files {
		return ""
	}
	h.LogHas(t, s.LogPath, "ready\n")
	data, err := os.ReadFile(s.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// volume: what is written to a volume outlives the instance; a new volume has what the image has there.
func volume(t *testing.T, h *Harness) {
	p := Program{
		User: "user", Volumes: []string{"/var/lib/db", "/srv/new/"},
		Tree: []Node{{Name: "var/lib/db", Mode: 0o700, UID: 1000, GID: 1001}, {Name: "var/lib/db/seed", Mode: 0o640, UID: 1000, GID: 1001, Data: "from the image\n"}},
		Actions: []string{
			"owner=/var/lib/db", "owner=/var/lib/db/seed", "owner=/data", "owner=/srv/new",
			"append=/data/a:more", "append=/srv/new/b:more", "append=/var/lib/db/seed:more", "cat=/data/a", "cat=/srv/new/b", "cat=/var/lib/db/seed", "serve",
		},
	}
	folder := filepath.Join(t.TempDir(), "vol-1")
	first := h.Instance(t, p)
	first.Volume = folder
	h.Ensure(t, first)
	wants(t, h, h.logged(t, first.ID), "/var/lib/db 1000:1001 700\n", "/var/lib/db/seed 1000:1001 640\n", "/data 1000:1001 755\n", "/srv/new 1000:1001 755\n",
		"more\nmore\nfrom the image\nmore\nready")
	if err := h.Engine.Remove(t.Context(), first.ID, time.Second); err != nil {
		t.Fatal(err)
	}
	second := h.Instance(t, p)
	second.Volume = folder
	h.Ensure(t, second)
	wants(t, h, h.logged(t, second.ID), "\nmore\nmore\nmore\nmore\nfrom the image\nmore\nmore\nready")
	for range 2 { // nobody writes to this one
		idle := h.Instance(t, p)
		idle.StartCommand, idle.Volume = []string{"owner=/data", "serve"}, folder+"-idle"
		h.Ensure(t, idle)
		wants(t, h, h.logged(t, idle.ID), "/data 1000:1001 755\n")
		if err := h.Engine.Remove(t.Context(), idle.ID, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	third := h.Instance(t, p) // a volume is asked for, or not there
	third.StartCommand = []string{"owner=/data", "serve"}
	h.Ensure(t, third)
	wants(t, h, h.logged(t, third.ID), "no such file")
}

func wants(t *testing.T, h *Harness, got string, words ...string) {
	t.Helper()
	if h.Files {
		wantWords(t, got, words...)
	}
}

// volumeErrors: what can never be a volume is refused in words.
func volumeErrors(t *testing.T, h *Harness) {
	if !h.Files {
		t.Skip("the fake looks into no image")
	}
	for declared, word := range map[string]string{"/": "VOLUME", "/proc/x": "VOLUME", "/" + strings.Repeat("long/", 60): "too long", "/app": "is a folder"} {
		in := h.Instance(t, Program{Volumes: []string{declared}, Actions: []string{"serve"}})
		in.Volume = filepath.Join(t.TempDir(), "vol-1")
		h.Forget(t, in.ID)
		wantError(t, h.Engine.Ensure(t.Context(), in), app.KindInvalidRequest, word)
	}
}

// files: an instance finds its files and its name.
func files(t *testing.T, h *Harness) {
	in := h.Instance(t, Program{Actions: []string{"cat=/var/lib/some/where.txt", "owner=/var/lib/some/where.txt", "cat=/data/inside", "cat=/etc/hostname", "env=HOSTNAME", "serve"}})
	in.Hostname, in.Volume = "ip-10-0-0-5", filepath.Join(t.TempDir(), "vol-1")
	in.Files = []engine.File{{Path: "/var/lib/some/where.txt", Data: []byte("secret\x00text\n")}, {Path: "/data/inside", Data: []byte("in the volume\n")}}
	h.Ensure(t, in)
	wants(t, h, h.logged(t, in.ID), "secret\x00text\n/var/lib/some/where.txt 0:0 600\nin the volume\nip-10-0-0-5\nHOSTNAME=ip-10-0-0-5\n")
}
