package registry

import (
	"context"
	"io"
	"time"

	"github.com/funade/funade/internal/app"
)

// Blobs is the content store: one copy of each blob, shared with the engine, keyed by sha256 or sha512 digest.
type Blobs interface {
	// Open returns a blob and its size in bytes. KindNotFound when absent.
	Open(ctx context.Context, digest app.Digest) (io.ReadSeekCloser, int64, error)
	// Upload opens or resumes the upload session ref; sessions survive a restart.
	Upload(ctx context.Context, ref string) (Upload, error)
	// Abort drops a session.
	Abort(ctx context.Context, ref string) error
	// Uploads lists the sessions in progress, also those of others.
	Uploads(ctx context.Context) ([]UploadStatus, error)
	// Sweep removes every blob that keep does not hold and that is older than before, and returns the bytes freed.
	Sweep(ctx context.Context, keep map[app.Digest]struct{}, before time.Time) (int64, error)
}

// Upload is one session. Write appends at Offset. Close keeps what was written.
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
