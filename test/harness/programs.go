package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

var (
	// Root is the root of the repository.
	Root = sync.OnceValues(func() (string, error) {
		dir, err := os.Getwd()
		for err == nil {
			if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				return "", fmt.Errorf("cannot find go.mod above the working directory")
			}
			dir = filepath.Dir(dir)
		}
		return "", err
	})

	// Funade is the path of the program: FUNADE_BIN, or built once for this test process.
	Funade = sync.OnceValues(func() (string, error) {
		if bin := os.Getenv("FUNADE_BIN"); bin != "" {
			return bin, nil
		}
		return goBuild("funade", "./cmd/funade")
	})

	// TestApp is the path of the static program test/testapp.
	TestApp = sync.OnceValues(func() (string, error) { return goBuild("testapp", "./test/testapp") })
)

// Rootfs is the folder that build/debrootfs.sh filled with Debian's packages under a name: make stories calls it, as the
// tests themselves are in a network of their own.
func Rootfs(name string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".cache", "rootfs", name)
	if _, err := os.Stat(filepath.Join(dir, ".packages")); err != nil {
		return "", fmt.Errorf("there is no root file system %s; run make rootfs: %w", name, err)
	}
	return dir, nil
}

// programDir is where programs are built; the next test process replaces them, so it does not grow.
func programDir() string { return filepath.Join(os.TempDir(), "funade-test-programs") }

func goBuild(name, pkg string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(programDir(), 0o755); err != nil {
		return "", fmt.Errorf("cannot build %s: %w", name, err)
	}
	out := filepath.Join(programDir(), name)
	fresh := fmt.Sprintf("%s.%d", out, os.Getpid())
	args := []string{"build", "-trimpath", "-o", fresh}
	if _, err := os.Stat(filepath.Join(root, "internal/engine/containerd/runcbin/runc")); err == nil {
		args = append(args, "-tags", "embedrunc")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build %s: %w: %s", name, err, text)
	}
	if err := os.Rename(fresh, out); err != nil { // at once: another test process may be running the old one
		return "", fmt.Errorf("cannot build %s: %w", name, err)
	}
	return out, nil
}
