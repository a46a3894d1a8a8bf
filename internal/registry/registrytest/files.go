package registrytest

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/registry"
)

// Files is a Blobs on files: blobs/<digest> and uploads/<ref> below a folder. Make it with NewFiles.
type Files struct {
	dir string
	now func() time.Time
	mu  sync.Mutex
	// open are the uploads with a writer; a second writer is an error, as in the real store.
	open map[string]bool
}

// NewFiles returns a store in the folder, which must exist; what an earlier one left there is taken over.
func NewFiles(dir string, now func() time.Time) (*Files, error) {
	for _, sub := range []string{"blobs", "uploads"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	return &Files{dir: dir, now: now, open: map[string]bool{}}, nil
}

func (f *Files) blob(d app.Digest) string { return filepath.Join(f.dir, "blobs", string(d)) }
func (f *Files) part(ref string) string   { return filepath.Join(f.dir, "uploads", ref) }

// Has reports whether the blob is in the store.
func (f *Files) Has(d app.Digest) bool {
	_, err := os.Stat(f.blob(d))
	return err == nil
}

// Open implements registry.Blobs.
func (f *Files) Open(_ context.Context, d app.Digest) (io.ReadSeekCloser, int64, error) {
	file, err := os.Open(f.blob(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, app.Errorf(app.KindNotFound, string(d), "The blob %s does not exist.", d)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// Upload implements registry.Blobs.
func (f *Files) Upload(_ context.Context, ref string) (registry.Upload, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[ref] {
		return nil, app.Errorf(app.KindUnavailable, ref, "The upload %s is in use.", ref)
	}
	file, err := os.OpenFile(f.part(ref), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	u := &upload{files: f, ref: ref, file: file, hash: sha256.New()}
	if u.offset, err = io.Copy(u.hash, file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f.open[ref] = true
	return u, nil
}

// Abort implements registry.Blobs.
func (f *Files) Abort(_ context.Context, ref string) error {
	err := os.Remove(f.part(ref))
	if errors.Is(err, fs.ErrNotExist) {
		return app.Errorf(app.KindNotFound, ref, "The upload %s does not exist.", ref)
	}
	return err
}

// Uploads implements registry.Blobs.
func (f *Files) Uploads(context.Context) ([]registry.UploadStatus, error) {
	entries, err := os.ReadDir(filepath.Join(f.dir, "uploads"))
	var out []registry.UploadStatus
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			out = append(out, registry.UploadStatus{Ref: e.Name(), Offset: info.Size(), StartedAt: info.ModTime(), UpdatedAt: info.ModTime()})
		}
	}
	return out, err
}

// Sweep implements registry.Blobs.
func (f *Files) Sweep(_ context.Context, keep map[app.Digest]struct{}, before time.Time) (freed int64, err error) {
	entries, err := os.ReadDir(filepath.Join(f.dir, "blobs"))
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if _, ok := keep[app.Digest(e.Name())]; ok || err != nil || !info.ModTime().Before(before) {
			continue
		}
		if err := os.Remove(f.blob(app.Digest(e.Name()))); err != nil {
			return freed, err
		}
		freed += info.Size()
	}
	return freed, nil
}

type upload struct {
	files  *Files
	ref    string
	file   *os.File
	hash   hash.Hash
	offset int64
	closed bool
}

// Write implements registry.Upload.
func (u *upload) Write(b []byte) (int, error) {
	n, err := u.file.Write(b)
	u.hash.Write(b[:n])
	u.offset += int64(n)
	return n, err
}

// Offset implements registry.Upload.
func (u *upload) Offset() int64 { return u.offset }

// Close implements registry.Upload.
func (u *upload) Close() error {
	if u.closed {
		return nil
	}
	u.closed = true
	u.files.mu.Lock()
	delete(u.files.open, u.ref)
	u.files.mu.Unlock()
	return u.file.Close()
}

// Commit implements registry.Upload.
func (u *upload) Commit(_ context.Context, digest app.Digest, size int64) error {
	sum, err := u.sum(digest)
	if err != nil {
		return err
	}
	if sum != digest || size >= 0 && size != u.offset {
		err := app.Errorf(app.KindInvalidRequest, string(digest), "The content is %s with %d bytes, not %s with %d.", sum, u.offset, digest, size)
		return errors.Join(err, u.Close(), os.Remove(u.files.part(u.ref)))
	}
	if err := u.Close(); err != nil {
		return err
	}
	if u.files.Has(digest) {
		return os.Remove(u.files.part(u.ref))
	}
	now := u.files.now()
	if err := os.Chtimes(u.files.part(u.ref), now, now); err != nil {
		return err
	}
	return os.Rename(u.files.part(u.ref), u.files.blob(digest))
}

// sum returns the content's digest in the algorithm of want.
func (u *upload) sum(want app.Digest) (app.Digest, error) {
	if !strings.HasPrefix(string(want), "sha512:") {
		return app.Digest("sha256:" + hex.EncodeToString(u.hash.Sum(nil))), nil
	}
	h := sha512.New()
	_, err := io.Copy(h, io.NewSectionReader(u.file, 0, u.offset))
	return app.Digest("sha512:" + hex.EncodeToString(h.Sum(nil))), err
}
