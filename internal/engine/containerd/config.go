package containerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/atomicfile"
	"github.com/funade/funade/internal/engine/containerd/shim"
)

// DefaultReserve is the free space that image content never takes, so that control
// writes and logs still fit on a full disk.
const DefaultReserve = 512 << 20

// Config says where an engine lives. DataDir, RunDir and Install are required.
type Config struct {
	// DataDir is the install's directory on disk; symbolic links are resolved.
	DataDir string
	// RunDir is the install's directory for sockets and bundles, at most 40 bytes long, /run/funade/<install>.
	RunDir string
	// Install names the containerd namespace and the cgroups.
	Install app.InstallID
	// Runtime is the OCI runtime to use; "" = the embedded runc, else one beside the executable or in PATH.
	Runtime string
	// Self is an executable that calls ShimMain first and becomes the shim; "" = the embedded slim shim, else
	// our own executable.
	Self string
	// Dialer reaches registries that a caller named; it refuses forbidden destinations. nil = external pulls fail.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)
	// ReserveBytes of DataDir's file system stay free; 0 = DefaultReserve.
	ReserveBytes int64
	// StorageCheck is the pause between two looks at writable layers; 0 = 5 s.
	StorageCheck time.Duration
	// Log takes warnings; nil = slog.Default.
	Log *slog.Logger
}

// normalize checks c and fills in the defaults.
func (c *Config) normalize() error {
	if c.DataDir == "" || c.RunDir == "" || c.Install == "" {
		return errors.New("cannot open engine: DataDir, RunDir and Install are required")
	}
	if len(c.RunDir) > 40 {
		return fmt.Errorf("cannot open engine: RunDir %q is longer than 40 bytes, too long for sockets below it", c.RunDir)
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("cannot create data directory: %w", err)
	}
	real, err := filepath.EvalSymlinks(c.DataDir)
	if err != nil {
		return fmt.Errorf("cannot resolve data directory: %w", err)
	}
	if c.DataDir, err = filepath.Abs(real); err != nil {
		return fmt.Errorf("cannot resolve data directory: %w", err)
	}
	if c.ReserveBytes == 0 {
		c.ReserveBytes = DefaultReserve
	}
	if c.StorageCheck == 0 {
		c.StorageCheck = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}

// The paths of an install.
func (c *Config) root() string       { return filepath.Join(c.DataDir, "containerd") }
func (c *Config) binDir() string     { return filepath.Join(c.DataDir, "bin") }
func (c *Config) shimPath() string   { return filepath.Join(c.binDir(), shim.Name) }
func (c *Config) logDir() string     { return filepath.Join(c.DataDir, "containers-logs") }
func (c *Config) stateDir() string   { return filepath.Join(c.RunDir, "state") }
func (c *Config) bundleRoot() string { return filepath.Join(c.stateDir(), "c") }
func (c *Config) runcRoot() string   { return filepath.Join(c.stateDir(), "runc") }
func (c *Config) envDir() string     { return filepath.Join(c.stateDir(), "env") }
func (c *Config) socketDir() string  { return filepath.Join(c.RunDir, "s") }
func (c *Config) ttrpcPath() string  { return filepath.Join(c.RunDir, "ttrpc.sock") }
func (c *Config) cgroup() string     { return "/funade-" + string(c.Install) }

func (c *Config) instanceDir(id app.InstanceID) string {
	return filepath.Join(c.DataDir, "containers", string(id))
}
func (c *Config) recordPath(id app.InstanceID) string {
	return filepath.Join(c.instanceDir(id), "state.json")
}
func (c *Config) logPath(id app.InstanceID) string {
	return filepath.Join(c.logDir(), string(id)+".log")
}
func (c *Config) viewDir(id app.InstanceID) string {
	return filepath.Join(c.stateDir(), "v-"+string(id))
}
func (c *Config) envPath(id app.InstanceID) string { return filepath.Join(c.envDir(), string(id)) }

// prepareDirs makes the directories. A user namespace's root reaches its bundle through
// RunDir and its parent, so the directories on that way can be passed but not listed; so can bin, where
// other users find a client.
func (c *Config) prepareDirs() error {
	if err := passable(c.RunDir); err != nil {
		return err
	}
	for _, dir := range []string{c.logDir(), filepath.Join(c.DataDir, "containers"), c.socketDir()} {
		if err := mkdirMode(dir, 0o700); err != nil {
			return err
		}
	}
	if err := mountState(c.stateDir()); err != nil {
		return err
	}
	for _, dir := range []string{c.binDir(), c.bundleRoot(), c.runcRoot()} {
		if err := mkdirMode(dir, 0o711); err != nil {
			return err
		}
	}
	return mkdirMode(c.envDir(), 0o700)
}

// passable makes dir and lets others pass through it and its parent.
func passable(dir string) error {
	if err := mkdirMode(dir, 0o711); err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	info, err := os.Stat(parent)
	if err != nil {
		return fmt.Errorf("cannot inspect directory: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o011 != 0o011 {
		if err := os.Chmod(parent, mode|0o011); err != nil {
			return fmt.Errorf("cannot set mode of directory: %w", err)
		}
	}
	return nil
}

func mkdirMode(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("cannot create directory: %w", err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("cannot set mode of directory: %w", err)
	}
	return nil
}

// hashKey returns the install's random key for spec hashes: stored hashes must not allow
// guessing the environment that went into them.
func (c *Config) hashKey() ([]byte, error) {
	path := filepath.Join(c.DataDir, "containers", ".hash-key")
	key, err := os.ReadFile(path)
	if err == nil && len(key) == 32 {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read hash key: %w", err)
	}
	key = make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("cannot make hash key: %w", err)
	}
	return key, atomicfile.Write(path, key, 0o600)
}
