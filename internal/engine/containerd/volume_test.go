package containerd

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/engine/enginetest"
)

// TestVolumeInUserNamespaces: owners in a volume follow the range of the instance's user namespace.
func TestVolumeInUserNamespaces(t *testing.T) {
	cfg := testConfig(t)
	h := harness(t, cfg)
	bases := []uint32{0, 300_000, 400_000}
	if caps := h.Engine.(*Engine).Capabilities(); !caps.UserNamespaces {
		bases = bases[:1] // TestShiftOwners has the rest
	}
	folder := filepath.Join(t.TempDir(), "vol-1")
	for n, base := range bases {
		in := h.Instance(t, enginetest.Program{
			User: "user", Volumes: []string{"/db"}, Tree: []enginetest.Node{{Name: "db", Mode: 0o700, UID: 1000, GID: 1001}},
			Actions: []string{"append=/db/a:more", "append=/data/a:more", "cat=/db/a", "owner=/db/a", "serve"},
		})
		if in.Volume, in.UIDBase = folder, base; base != 0 {
			in.Network = userns(t, base)
		}
		h.Ensure(t, in)
		s := h.Until(t, in.ID, "running", running)
		h.LogHas(t, s.LogPath, "ready\n")
		data, err := os.ReadFile(s.LogPath)
		if want := strings.Repeat("more\n", n+1) + "/db/a 1000:1001 600\n"; err != nil || !strings.HasPrefix(string(data), want) {
			t.Errorf("from %d on: log is %q, %v; want %q", base, data, err, want)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(folder, "db", "a"), &st); err != nil || st.Uid != base+1000 || st.Gid != base+1001 {
			t.Errorf("from %d on: it is owned by %d:%d, %v", base, st.Uid, st.Gid, err)
		}
		if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("the volume itself is %v, %v", info, err)
		}
		if err := h.Engine.Remove(t.Context(), in.ID, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(cfg.stateDir(), "v-*")); err != nil || len(left) > 0 {
		t.Errorf("views of images are left: %v, %v", left, err)
	}
}

// TestVolumeAfterCrash: what a daemon left that died while it filled a volume is in nobody's way.
func TestVolumeAfterCrash(t *testing.T) {
	cfg := testConfig(t)
	h := harness(t, cfg)
	in := h.Instance(t, enginetest.Program{Volumes: []string{"/db"}, Tree: []enginetest.Node{{Name: "db", Mode: 0o700}, {Name: "db/seed", Mode: 0o600, Data: "seed\n"}}, Actions: []string{"cat=/db/seed", "serve"}})
	in.Volume = filepath.Join(t.TempDir(), "vol-1")
	leave := func() {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(in.Volume, volumeNew, "half"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(cfg.viewDir(in.ID), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", cfg.viewDir(in.ID), "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	h.Ensure(t, in)
	s := h.Until(t, in.ID, "running", running)
	h.LogHas(t, s.LogPath, "seed\nready\n")
	if left, err := filepath.Glob(filepath.Join(in.Volume, volumeNew)); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	leave()
	if err := h.Engine.Remove(t.Context(), in.ID, time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cfg.viewDir(in.ID)); err == nil {
		t.Error("the view is left")
	}
}

func TestShiftOwners(t *testing.T) {
	needRoot(t)
	volume := t.TempDir()
	path := func(name string) string { return filepath.Join(volume, name) }
	for _, made := range []struct {
		name string
		uid  int
	}{{"db", 7}, {"db/file", 65_535}, {"db/foreign", 500_000}} {
		var err error
		if made.name == "db" {
			err = os.Mkdir(path(made.name), 0o700)
		} else {
			err = os.WriteFile(path(made.name), nil, 0o600)
		}
		if err == nil {
			err = os.Chown(path(made.name), made.uid, made.uid)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path("db/file"), 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", path("db/link")); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		base                  uint32
		db, file, foreign, ln uint32
	}{
		{0, 7, 65_535, 500_000, 0}, {300_000, 300_007, 365_535, 500_000, 300_000}, {300_000, 300_007, 365_535, 500_000, 300_000}, {0, 7, 65_535, 500_000, 0},
	} {
		if err := ownVolume(volume, step.base); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]uint32{"db": step.db, "db/file": step.file, "db/foreign": step.foreign, "db/link": step.ln, ".": 0} {
			info, err := os.Lstat(path(name))
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != want || st.Gid != want {
				t.Errorf("counted from %d: %s is owned by %d:%d; want %d", step.base, name, st.Uid, st.Gid, want)
			}
		}
	}
	if info, err := os.Stat(path("db/file")); err != nil || info.Mode()&os.ModeSetuid == 0 {
		t.Errorf("the set-user-id bit is lost: %v, %v", info.Mode(), err)
	}
	if st, err := os.Stat("/etc/passwd"); err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("a link's target changed its owner: %v", err)
	}
	if err := os.WriteFile(path(volumeOwner), []byte("what"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ownVolume(volume, 0); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged marker: %v", err)
	}
}
