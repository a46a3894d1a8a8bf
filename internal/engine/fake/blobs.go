package fake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

type storedBlob struct {
	data   []byte
	pushed time.Time
}

type session struct {
	engine             *Engine
	ref                string
	data               []byte
	busy, done         bool
	startedAt, updated time.Time
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// Open returns a blob, see engine.Blobs.
func (e *Engine) Open(_ context.Context, d app.Digest) (io.ReadSeekCloser, int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, ok := e.blobs[d]
	if !ok {
		return nil, 0, app.Errorf(app.KindNotFound, string(d), "no blob %s", d)
	}
	return reader{bytes.NewReader(b.data)}, int64(len(b.data)), nil
}

// Upload opens or resumes a session.
func (e *Engine) Upload(_ context.Context, ref string) (engine.Upload, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[ref]
	if s == nil {
		s = &session{engine: e, ref: ref, startedAt: e.opts.Now(), updated: e.opts.Now()}
		e.sessions[ref] = s
	}
	if s.busy {
		return nil, app.Errorf(app.KindInvalidState, ref, "upload %s is being written by another request", ref)
	}
	s.busy = true
	return s, nil
}

// Offset is the number of bytes received.
func (s *session) Offset() int64 { return int64(len(s.data)) }

// Write appends.
func (s *session) Write(p []byte) (int, error) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	if s.done {
		return 0, app.Errorf(app.KindInvalidState, s.ref, "upload %s has ended", s.ref)
	}
	s.data, s.updated = append(s.data, p...), s.engine.opts.Now()
	return len(p), nil
}

// Close leaves the session for later.
func (s *session) Close() error {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.busy = false
	return nil
}

// Commit ends the session.
func (s *session) Commit(_ context.Context, d app.Digest, size int64) error {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.done {
		return app.Errorf(app.KindInvalidState, s.ref, "upload %s has ended", s.ref)
	}
	s.done = true
	delete(e.sessions, s.ref)
	if got := digestOf(d, s.data); got != d {
		return app.Errorf(app.KindInvalidRequest, string(d), "the bytes received have digest %s, not %s", got, d)
	}
	if size >= 0 && size != int64(len(s.data)) {
		return app.Errorf(app.KindInvalidRequest, string(d), "blob %s has %d bytes, not %d", d, len(s.data), size)
	}
	e.blobs[d] = storedBlob{data: s.data, pushed: e.opts.Now()}
	return nil
}

// digestOf hashes with the algorithm of like, sha256 unless it says sha512.
func digestOf(like app.Digest, data []byte) app.Digest {
	if strings.HasPrefix(string(like), "sha512:") {
		sum := sha512.Sum512(data)
		return app.Digest("sha512:" + hex.EncodeToString(sum[:]))
	}
	sum := sha256.Sum256(data)
	return app.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Abort drops a session.
func (e *Engine) Abort(_ context.Context, ref string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[ref]
	if s != nil && s.busy {
		return app.Errorf(app.KindInvalidState, ref, "upload %s is being written by another request", ref)
	}
	if s != nil {
		s.done = true
		delete(e.sessions, ref)
	}
	return nil
}

// Uploads lists the sessions, sorted.
func (e *Engine) Uploads(context.Context) ([]engine.UploadStatus, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []engine.UploadStatus
	for ref, s := range e.sessions {
		out = append(out, engine.UploadStatus{Ref: ref, Offset: s.Offset(), StartedAt: s.startedAt, UpdatedAt: s.updated})
	}
	sort.Slice(out, func(a, b int) bool { return out[a].Ref < out[b].Ref })
	return out, nil
}

// Sweep removes what keep does not hold, see engine.Blobs.
func (e *Engine) Sweep(_ context.Context, keep map[app.Digest]struct{}, before time.Time) (int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := map[app.Digest]bool{}
	for d := range keep {
		e.keepTree(d, kept)
	}
	var freed int64
	for d, b := range e.blobs {
		if !kept[d] && b.pushed.Before(before) {
			freed += int64(len(b.data))
			delete(e.blobs, d)
			delete(e.resolved, d)
		}
	}
	return freed, nil
}

func (e *Engine) keepTree(d app.Digest, kept map[app.Digest]bool) {
	if kept[d] {
		return
	}
	kept[d] = true
	var doc document
	if json.Unmarshal(e.blobs[d].data, &doc) != nil || doc.SchemaVersion != 2 {
		return
	}
	if doc.Config != nil {
		kept[doc.Config.Digest] = true
	}
	for _, l := range doc.Layers {
		kept[l.Digest] = true
	}
	for _, m := range doc.Manifests {
		e.keepTree(m.Digest, kept)
	}
}
