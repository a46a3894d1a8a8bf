package containerd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/funade/funade/internal/base/atomicfile"
	"github.com/funade/funade/internal/engine/containerd/runcbin"
	"github.com/funade/funade/internal/engine/containerd/shim"
)

// findRuntime returns the absolute path of the OCI runtime: the configured one, the
// embedded runc (written to bin/ under its hash), one beside our executable, or one in PATH.
func (c *Config) findRuntime() (string, error) {
	if c.Runtime != "" {
		path, err := exec.LookPath(c.Runtime)
		if err != nil {
			return "", fmt.Errorf("cannot find runtime %q: %w", c.Runtime, err)
		}
		return filepath.Abs(path)
	}
	if data := runcbin.Binary(); len(data) > 0 {
		return c.extractRunc(data)
	}
	for _, dir := range []string{filepath.Dir(c.executable()), c.binDir()} {
		path := filepath.Join(dir, "runc")
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return filepath.Abs(path)
		}
	}
	path, err := exec.LookPath("runc")
	if err != nil {
		return "", errors.New("cannot find runc: none is embedded, beside the executable or in PATH; run make setup, or name one with --runtime")
	}
	return filepath.Abs(path)
}

func (c *Config) extractRunc(data []byte) (string, error) {
	sum := sha256.Sum256(data)
	path := filepath.Join(c.binDir(), "runc-"+hex.EncodeToString(sum[:8]))
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(data)) && info.Mode().Perm() == 0o755 {
		return path, nil
	}
	if err := atomicfile.Write(path, data, 0o755); err != nil {
		return "", fmt.Errorf("cannot extract runc: %w", err)
	}
	return path, nil
}

// ShimMain turns this process into a shim when it was called as one, and then does not
// return. main calls it first; a build that embeds the slim shim never gets here.
func ShimMain() { shim.Main() }

// installShim puts the shim in its place: the slim one that is embedded, which costs an
// instance less memory, or a link to our own executable. Shims that run are not disturbed.
func (c *Config) installShim() error {
	if data := runcbin.Shim(); len(data) > 0 && c.Self == "" {
		if now, err := os.ReadFile(c.shimPath()); err == nil && bytes.Equal(now, data) {
			return nil
		}
		if err := atomicfile.Write(c.shimPath(), data, 0o755); err != nil {
			return fmt.Errorf("cannot extract shim: %w", err)
		}
		return nil
	}
	self, err := filepath.EvalSymlinks(c.executable())
	if err != nil {
		return fmt.Errorf("cannot find own executable: %w", err)
	}
	if now, err := os.Readlink(c.shimPath()); err == nil && now == self {
		return nil
	}
	tmp := c.shimPath() + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot link shim: %w", err)
	}
	if err := os.Symlink(self, tmp); err != nil {
		return fmt.Errorf("cannot link shim: %w", err)
	}
	if err := os.Rename(tmp, c.shimPath()); err != nil {
		return fmt.Errorf("cannot link shim: %w", err)
	}
	return nil
}

// executable is the program that becomes the shim when none is embedded; "" = unknown.
func (c *Config) executable() string {
	if c.Self != "" {
		return c.Self
	}
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	return self
}
