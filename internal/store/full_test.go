package store

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/funade/funade/internal/app"
)

const smallDisk = "FUNADE_TEST_SMALL_DISK"

// TestRealFullDisk fills a file system of 8 MiB, in a mount namespace of its own.
func TestRealFullDisk(t *testing.T) {
	if dir := os.Getenv(smallDisk); dir != "" {
		fillDisk(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestRealFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), smallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Skipf("no namespaces for a small file system: %v (needs root, or user namespaces allowed by the kernel)", err)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("the test did not run in its namespace:\n%s", out)
	}
}

func fillDisk(t *testing.T, dir string) {
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatal(err)
	}
	s, err := Open(filepath.Join(dir, "state.db"), Options{Reserve: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := 0
	put := func() error {
		n++
		return s.Update(context.Background(), func(tx *Tx) error {
			svc := service(n)
			svc.Config.Source.Env = map[string]string{"TEXT": strings.Repeat("x", 20_000)}
			Control.Services.Put(tx, svc)
			return nil
		})
	}
	fill := func(name string) string {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for {
			if _, err := f.Write(make([]byte, 4096)); err != nil {
				return path
			}
		}
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	first := fill("first")
	for range 20 {
		if err := put(); err != nil {
			t.Fatalf("write %d on a full disk with a reserve: %v", n, err)
		}
	}
	second := fill("second")
	for err = nil; err == nil && n < 10_000; {
		err = put()
	}
	if app.KindOf(err) != app.KindUnavailable {
		t.Fatalf("with the reserve used up: %v (%v), want Unavailable", err, app.KindOf(err))
	}
	if err := s.Verify(); err != nil {
		t.Fatalf("after a failed write: %v", err)
	}
	for _, path := range []string{first, second} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	if err := s.Verify(); err != nil {
		t.Fatal(err)
	}
}
