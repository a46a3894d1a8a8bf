package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

const (
	// uploadPrefix keeps the registry's sessions apart from pulls.
	uploadPrefix = "upload-"
	// uploadIdle is how long a session that nobody writes to keeps its file and hash in memory;
	// resuming it later hashes what is there once more.
	uploadIdle = time.Minute
	// maxOpenUploads bounds those.
	maxOpenUploads = 256
	// labelUsed carries the time of the last push of a blob, so that Sweep sees it as new.
	labelUsed = "dev.funade.pushed"
)

// Open returns a blob, see engine.Blobs.
func (e *Engine) Open(ctx context.Context, d app.Digest) (io.ReadSeekCloser, int64, error) {
	ctx = e.scope(ctx)
	dgst := digest.Digest(d)
	if err := dgst.Validate(); err != nil {
		return nil, 0, app.Errorf(app.KindInvalidRequest, string(d), "%q is not a digest: %w", d, err)
	}
	dgst, err := e.storedAs(ctx, dgst)
	if err != nil {
		return nil, 0, diskError(string(d), err)
	}
	ra, err := e.content.ReaderAt(ctx, ocispec.Descriptor{Digest: dgst})
	if errdefs.IsNotFound(err) {
		return nil, 0, app.Errorf(app.KindNotFound, string(d), "no blob %s", d)
	}
	if err != nil {
		return nil, 0, diskError(string(d), fmt.Errorf("cannot open blob %s: %w", d, err))
	}
	return &blob{SectionReader: io.NewSectionReader(ra, 0, ra.Size()), Closer: ra}, ra.Size(), nil
}

type blob struct {
	*io.SectionReader
	io.Closer
}

// uploads holds the sessions that are open or were a moment ago.
type uploads struct {
	mu   sync.Mutex
	open map[string]*upload
}

// upload is a session in memory: the hash of what it has received needs no second reading.
type upload struct {
	engine *Engine
	ref    string
	writer content.Writer
	offset int64
	// unchecked counts the bytes since the last look at the free space.
	unchecked int64
	// busy: between Upload and Close. used is when that ended.
	busy bool
	used time.Time
	done bool
}

// Upload opens or resumes a session, see engine.Blobs. One caller at a time may have it.
func (e *Engine) Upload(ctx context.Context, ref string) (engine.Upload, error) {
	e.uploads.mu.Lock()
	defer e.uploads.mu.Unlock()
	if u := e.uploads.open[ref]; u != nil {
		if u.busy {
			return nil, app.Errorf(app.KindInvalidState, ref, "upload %s is being written by another request", ref)
		}
		u.busy = true
		return u, nil
	}
	if len(e.uploads.open) >= maxOpenUploads {
		e.uploads.dropIdle(time.Now())
		if len(e.uploads.open) >= maxOpenUploads {
			return nil, app.Errorf(app.KindUnavailable, ref, "%d uploads are in progress; try again later", maxOpenUploads)
		}
	}
	if err := e.reserve(0); err != nil {
		return nil, err
	}
	// The writer outlives this request: it is bound to the engine's life, not to ctx.
	w, err := e.content.Writer(e.base, content.WithRef(uploadPrefix+ref))
	if err != nil {
		return nil, diskError(ref, fmt.Errorf("cannot open upload %s: %w", ref, err))
	}
	status, err := w.Status()
	if err != nil {
		return nil, diskError(ref, fmt.Errorf("cannot resume upload %s: %w", ref, errors.Join(err, w.Close())))
	}
	if e.uploads.open == nil {
		e.uploads.open = map[string]*upload{}
	}
	u := &upload{engine: e, ref: ref, writer: w, offset: status.Offset, busy: true}
	e.uploads.open[ref] = u
	return u, nil
}

// Offset is the number of bytes received.
func (u *upload) Offset() int64 { return u.offset }

// Write appends at Offset. It leaves the reserved space of the disk alone.
func (u *upload) Write(p []byte) (int, error) {
	if u.done {
		return 0, app.Errorf(app.KindInvalidState, u.ref, "upload %s has ended", u.ref)
	}
	if u.unchecked += int64(len(p)); u.unchecked >= 8<<20 {
		u.unchecked = 0
		if err := u.engine.reserve(int64(len(p))); err != nil {
			return 0, err
		}
	}
	n, err := u.writer.Write(p)
	u.offset += int64(n)
	if err != nil {
		return n, diskError(u.ref, fmt.Errorf("cannot write upload %s: %w", u.ref, err))
	}
	return n, nil
}

// Close leaves the session as it is; Upload resumes it.
func (u *upload) Close() error {
	u.engine.uploads.mu.Lock()
	defer u.engine.uploads.mu.Unlock()
	u.busy, u.used = false, time.Now()
	return nil
}

// Commit ends the session, see engine.Upload.
func (u *upload) Commit(ctx context.Context, d app.Digest, size int64) error {
	e := u.engine
	ctx = e.scope(ctx)
	if u.done {
		return app.Errorf(app.KindInvalidState, u.ref, "upload %s has ended", u.ref)
	}
	dgst := digest.Digest(d)
	if err := dgst.Validate(); err != nil {
		return u.reject(ctx, app.Errorf(app.KindInvalidRequest, string(d), "%q is not a digest: %w", d, err))
	}
	if dgst.Algorithm() == digest.SHA512 {
		return u.commitSHA512(ctx, dgst, size)
	}
	if size >= 0 && size != u.offset {
		return u.reject(ctx, app.Errorf(app.KindInvalidRequest, string(d), "blob %s has %d bytes, not %d", d, u.offset, size))
	}
	if got := u.writer.Digest(); got.Algorithm() == dgst.Algorithm() && got != dgst {
		return u.reject(ctx, app.Errorf(app.KindInvalidRequest, string(d), "the bytes received have digest %s, not %s", got, d))
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	labels := map[string]string{labelRoot: now, labelUsed: now}
	e.protected.mu.Lock()
	defer e.protected.mu.Unlock()
	err := u.writer.Commit(ctx, u.offset, dgst, content.WithLabels(labels))
	switch {
	case errdefs.IsAlreadyExists(err):
		_, err = e.content.Update(ctx, content.Info{Digest: dgst, Labels: labels}, "labels."+labelRoot, "labels."+labelUsed)
		if err != nil {
			return diskError(string(d), fmt.Errorf("cannot label blob %s: %w", d, err))
		}
	case errdefs.IsFailedPrecondition(err):
		return u.reject(ctx, app.Errorf(app.KindInvalidRequest, string(d), "the bytes received are not %s: %w", d, err))
	case err != nil:
		// The writer is closed; what was received can be resumed.
		u.forget()
		return diskError(string(d), fmt.Errorf("cannot store blob %s: %w", d, err))
	}
	u.forget()
	return nil
}

// reject drops the session and returns why.
func (u *upload) reject(ctx context.Context, why error) error {
	_ = u.writer.Close()
	u.forget()
	if err := u.engine.content.Abort(ctx, uploadPrefix+u.ref); err != nil && !errdefs.IsNotFound(err) {
		u.engine.cfg.Log.Warn("cannot drop upload", "upload", u.ref, "error", err)
	}
	return why
}

func (u *upload) forget() {
	u.engine.uploads.mu.Lock()
	defer u.engine.uploads.mu.Unlock()
	u.done = true
	delete(u.engine.uploads.open, u.ref)
}

// Abort drops a session; an unknown one is fine.
func (e *Engine) Abort(ctx context.Context, ref string) error {
	e.uploads.mu.Lock()
	u := e.uploads.open[ref]
	if u != nil && u.busy {
		e.uploads.mu.Unlock()
		return app.Errorf(app.KindInvalidState, ref, "upload %s is being written by another request", ref)
	}
	if u != nil {
		u.done = true
		delete(e.uploads.open, ref)
		_ = u.writer.Close()
	}
	e.uploads.mu.Unlock()
	if err := e.content.Abort(e.scope(ctx), uploadPrefix+ref); err != nil && !errdefs.IsNotFound(err) {
		return diskError(ref, fmt.Errorf("cannot drop upload %s: %w", ref, err))
	}
	return nil
}

// Uploads lists the sessions.
func (e *Engine) Uploads(ctx context.Context) ([]engine.UploadStatus, error) {
	statuses, err := e.content.ListStatuses(e.scope(ctx))
	if err != nil {
		return nil, diskError("uploads", fmt.Errorf("cannot list uploads: %w", err))
	}
	var out []engine.UploadStatus
	for _, s := range statuses {
		if ref, ok := strings.CutPrefix(s.Ref, uploadPrefix); ok {
			out = append(out, engine.UploadStatus{Ref: ref, Offset: s.Offset, StartedAt: s.StartedAt, UpdatedAt: s.UpdatedAt})
		}
	}
	return out, nil
}

// expireUploads closes the files of idle sessions until the engine closes.
func (e *Engine) expireUploads() {
	tick := time.NewTicker(uploadIdle / 4)
	defer tick.Stop()
	for {
		select {
		case <-e.base.Done():
			return
		case now := <-tick.C:
			e.uploads.mu.Lock()
			e.uploads.dropIdle(now.Add(-uploadIdle))
			e.uploads.mu.Unlock()
		}
	}
}

// dropIdle closes every session that nobody has used since then; the caller holds mu.
func (u *uploads) dropIdle(since time.Time) {
	for ref, up := range u.open {
		if !up.busy && up.used.Before(since) {
			up.done = true
			_ = up.writer.Close()
			delete(u.open, ref)
		}
	}
}

func (u *uploads) closeAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for ref, up := range u.open {
		up.done = true
		_ = up.writer.Close()
		delete(u.open, ref)
	}
}
