// Package engine says what an engine that runs containers must do. Implementations
// live in subpackages; enginetest is the suite that each must pass.
package engine

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/funade/funade/internal/app"
)

// Engine runs instances and keeps their images. Every method may be repeated: the same
// input again changes nothing. Methods are safe for concurrent use.
type Engine interface {
	// Resolve makes an image present and unpacked and returns the digest of the manifest for this machine.
	// An image of the install's own registry is named by RegistryHost form and a digest and is read from the
	// shared content store; any other is pulled through the guarded dialer, anonymously.
	// Errors are *app.Error: KindInvalidRequest = asking again cannot help (no such tag, wrong architecture,
	// broken layer, not an image), KindUnavailable = try again (network, disk full).
	Resolve(ctx context.Context, image ImageRef) (app.Digest, error)
	// Ensure makes the instance exist and run once: an instance that has ended is started again, one that
	// runs is left alone, one that runs with another spec is an error.
	Ensure(ctx context.Context, instance Instance) error
	// Remove ends the instance (stop signal, grace, SIGKILL) and removes everything it had. Unknown ids are fine.
	Remove(ctx context.Context, id app.InstanceID, grace time.Duration) error
	// List returns everything that carries this install's label, also what no row knows.
	List(ctx context.Context) ([]Status, error)
	// Events yields a hint after each change; the channel is never closed before ctx ends.
	Events(ctx context.Context) <-chan app.InstanceID
	// Close lets go of everything without stopping instances.
	Close() error
}

// ImageRef is an image to resolve.
type ImageRef struct {
	// Name is the reference as the user wrote it, host included; Local says that it means our own registry.
	Name  string
	Local bool
	// Digest pins it; "" = resolve the tag. A Local reference always carries one.
	Digest app.Digest
}

// Instance is the complete desired state of one container.
type Instance struct {
	ID      app.InstanceID
	Service app.ServiceID
	// Revision labels the container; a service's containers share one shim.
	Revision app.RevisionNumber
	Image    app.Digest
	// StartCommand replaces the image's CMD, already split; nil = the image's own.
	StartCommand []string
	// Env is NAME=value, the image's own variables are merged below it. Values never enter stored metadata.
	Env []string
	// CPU is in 1/1024 of a core, Memory in MiB. Limits, not reservations.
	CPU    int
	Memory int
	// Network is where it lives; the attachment exists before Ensure.
	Network Network
	// Storage is the size limit of the writable layer in bytes.
	Storage int64
	// UIDBase is the first host uid of the user namespace's range of 65,536; 0 = no user namespace.
	UIDBase uint32
	// Hostname is its name to itself; "" = ID.
	Hostname string `json:",omitempty"`
	// Volume is a folder of this machine that outlives the instance, "" = none: it holds what is written at VolumePath and
	// at every path that the image declares as VOLUME. An empty one first gets what the image has there. One instance at
	// a time may have it.
	Volume string `json:",omitempty"`
	// Files are there read-only, for its root alone. Like those of Env, their data never enters stored metadata.
	Files []File `json:",omitempty"`
}

// VolumePath is where instances find their volume, whatever their image says.
const VolumePath = "/data"

// File is a file that the engine puts into an instance.
type File struct {
	Path string // absolute
	Data []byte
}

// Network is the attachment that an instance joins by path.
type Network struct {
	NetnsPath string
	// UsernsPath owns the network namespace; "" = no user namespace.
	UsernsPath string
	// Resolvers are the name servers for resolv.conf, at most three.
	Resolvers []netip.Addr
	// CABundle is a file mounted read-only with the system's CAs plus Funade's; "" = none.
	CABundle string
}

// State is what a container does.
type State int

// The states.
const (
	StateCreated State = iota
	StateRunning
	StateStopped
)

// Status is the observed state of one container.
type Status struct {
	ID       app.InstanceID
	Service  app.ServiceID
	Revision app.RevisionNumber
	State    State
	// PID is of the application in the host's pid namespace while running.
	PID int
	// ExitCode is valid when Stopped; -1 = unknown.
	ExitCode  int
	OOMKilled bool
	// Failure is why it could not be created, started or was stopped by us (storage full …); "" = none.
	Failure string
	// LogPath is the file that the shim appends stdout and stderr to.
	LogPath   string
	StartedAt time.Time
	ExitedAt  time.Time
}

// Blobs is the content store as the registry uses it: one copy of each blob, shared with the engine.
type Blobs interface {
	// Open returns a blob and its size. KindNotFound when absent.
	Open(ctx context.Context, digest app.Digest) (io.ReadSeekCloser, int64, error)
	// Upload opens or resumes the upload session ref; sessions survive a restart.
	Upload(ctx context.Context, ref string) (Upload, error)
	// Abort drops a session.
	Abort(ctx context.Context, ref string) error
	// Uploads lists the sessions in progress.
	Uploads(ctx context.Context) ([]UploadStatus, error)
	// Sweep removes every blob that keep does not hold and that is older than before, with the unpacked
	// layers that only those used, and returns the bytes freed.
	Sweep(ctx context.Context, keep map[app.Digest]struct{}, before time.Time) (int64, error)
}

// Upload is one session. Write appends at Offset.
type Upload interface {
	io.WriteCloser
	Offset() int64
	// Commit ends the session: content with that digest, and size when >= 0, is in the store. A blob that is
	// there already is success. A mismatch is KindInvalidRequest and drops the session.
	Commit(ctx context.Context, digest app.Digest, size int64) error
}

// UploadStatus describes a session.
type UploadStatus struct {
	Ref       string
	Offset    int64
	StartedAt time.Time
	UpdatedAt time.Time
}
