package registry

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
)

const (
	// sessionPrefix marks the registry's sessions among all of the content store's.
	sessionPrefix = "push-"
	// manifestPrefix marks those that hold a manifest for a moment.
	manifestPrefix = "manifest-"
	// handleIdle is how long a resting session keeps its file open: a store may hash it anew when it is opened again,
	// and may bound how many are open.
	handleIdle = 10 * time.Second
	// turnWait is how long a request waits for the one before it on the same session.
	turnWait = 5 * time.Second
)

// session is one blob upload. Its id is proof that the registry began it for this repository.
type session struct {
	id string
	// turn holds a token while one request works on the session.
	turn chan struct{}
	// upload is nil while the content store's handle is closed.
	upload Upload
	gone   bool
	closer *time.Timer
	// offset and touched (Unix nanoseconds) may be read without the turn.
	offset  atomic.Int64
	touched atomic.Int64
}

func newSession(name string) *session { return &session{id: name, turn: make(chan struct{}, 1)} }

func (s *session) tryLock() bool {
	select {
	case s.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

// lock waits a moment for the request before, which may have lost its client without knowing yet.
func (s *session) lock(ctx context.Context) error {
	if s.tryLock() {
		return nil
	}
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-timer.C:
		return errBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) unlock() { <-s.turn }

// sessions are the uploads in progress.
type sessions struct {
	mu     sync.Mutex
	open   map[string]*session
	loaded bool
	bytes  atomic.Int64
}

// loadSessions takes over the sessions that an earlier process left. It holds sessions.mu.
func (r *Registry) loadSessions(ctx context.Context) error {
	if r.sessions.loaded {
		return nil
	}
	all, err := r.Blobs.Uploads(ctx)
	if err != nil {
		return err
	}
	for _, u := range all {
		if strings.HasPrefix(u.Ref, manifestPrefix) && u.UpdatedAt.Before(r.started) {
			if err := r.Blobs.Abort(ctx, u.Ref); err != nil && app.KindOf(err) != app.KindNotFound {
				return err
			}
		}
		name, ours := strings.CutPrefix(u.Ref, sessionPrefix)
		if !ours || r.sessions.open[name] != nil {
			continue
		}
		s := newSession(name)
		s.offset.Store(u.Offset)
		s.touched.Store(u.UpdatedAt.UnixNano())
		r.sessions.open[name] = s
		r.sessions.bytes.Add(u.Offset)
	}
	r.sessions.loaded = true
	return nil
}

// newSession begins a session for the repository and returns it locked.
func (r *Registry) newSession(ctx context.Context, key app.RepositoryKey) (*session, error) {
	r.sessions.mu.Lock()
	err := r.loadSessions(ctx)
	full := len(r.sessions.open) >= r.Limits.Uploads
	r.sessions.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if full {
		if err := r.ExpireUploads(ctx); err != nil {
			return nil, err
		}
	}
	nonce := id.Source{}.Hex32()
	s := newSession(nonce + "." + r.sessionProof(nonce, key))
	s.touched.Store(r.Now().UnixNano())
	s.turn <- struct{}{}
	r.sessions.mu.Lock()
	full = len(r.sessions.open) >= r.Limits.Uploads
	if !full {
		r.sessions.open[s.id] = s
	}
	r.sessions.mu.Unlock()
	if full {
		s.unlock()
		return nil, errSpace
	}
	if s.upload, err = r.Blobs.Upload(ctx, sessionPrefix+s.id); err != nil {
		r.forget(s)
		s.unlock()
		return nil, err
	}
	return s, nil
}

func (r *Registry) sessionProof(nonce string, key app.RepositoryKey) string {
	sum := mac(r.Tokens.Key, "registry upload", nonce, string(key.Scope.Account), string(key.Scope.Region), key.Name)
	return hex.EncodeToString(sum[:16])
}

// takeSession returns the session, locked and open, for a request on the repository.
func (r *Registry) takeSession(ctx context.Context, key app.RepositoryKey, name string) (*session, error) {
	s, err := r.findSession(ctx, key, name)
	if err != nil {
		return nil, err
	}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	if s.gone {
		s.unlock()
		return nil, errUpload
	}
	if s.closer != nil {
		s.closer.Stop()
	}
	if s.upload == nil {
		if s.upload, err = r.Blobs.Upload(ctx, sessionPrefix+s.id); err != nil {
			s.unlock()
			return nil, err
		}
		r.sessions.bytes.Add(s.upload.Offset() - s.offset.Swap(s.upload.Offset()))
	}
	return s, nil
}

func (r *Registry) findSession(ctx context.Context, key app.RepositoryKey, name string) (*session, error) {
	nonce, proof, _ := strings.Cut(name, ".")
	if !hmac.Equal([]byte(proof), []byte(r.sessionProof(nonce, key))) {
		return nil, errUpload
	}
	r.sessions.mu.Lock()
	defer r.sessions.mu.Unlock()
	if err := r.loadSessions(ctx); err != nil {
		return nil, err
	}
	if s := r.sessions.open[name]; s != nil {
		return s, nil
	}
	return nil, errUpload
}

// rest ends a request's use of the session; the handle stays open for the next one that comes soon.
func (r *Registry) rest(s *session) {
	s.touched.Store(r.Now().UnixNano())
	if s.upload != nil && !s.gone {
		s.closer = time.AfterFunc(handleIdle, func() { r.closeIdle(s) })
	}
	s.unlock()
}

// closeIdle lets go of a resting session's handle; a request that holds it will come by again.
func (r *Registry) closeIdle(s *session) {
	if !s.tryLock() {
		return
	}
	defer s.unlock()
	if s.upload != nil && !s.gone {
		r.closeUpload(s)
	}
}

func (r *Registry) closeUpload(s *session) {
	if s.upload == nil {
		return
	}
	if err := s.upload.Close(); err != nil {
		r.Log.Warn("cannot close registry upload", "upload", s.id, "error", err)
	}
	s.upload = nil
}

// forget takes the locked session off the books.
func (r *Registry) forget(s *session) {
	s.gone = true
	if s.closer != nil {
		s.closer.Stop()
	}
	r.sessions.mu.Lock()
	defer r.sessions.mu.Unlock()
	if r.sessions.open[s.id] == s {
		delete(r.sessions.open, s.id)
		r.sessions.bytes.Add(-s.offset.Load())
	}
}

// abort drops the locked session and what it received.
func (r *Registry) abort(ctx context.Context, s *session) error {
	r.closeUpload(s)
	r.forget(s)
	if err := r.Blobs.Abort(ctx, sessionPrefix+s.id); err != nil && app.KindOf(err) != app.KindNotFound {
		return err
	}
	return nil
}

// ExpireUploads drops the sessions that have rested for longer than Limits.UploadAge.
func (r *Registry) ExpireUploads(ctx context.Context) error {
	limit := r.Now().Add(-r.Limits.UploadAge).UnixNano()
	r.sessions.mu.Lock()
	err := r.loadSessions(ctx)
	var stale []*session
	for _, s := range r.sessions.open {
		if s.touched.Load() < limit {
			stale = append(stale, s)
		}
	}
	r.sessions.mu.Unlock()
	if err != nil {
		return err
	}
	for _, s := range stale {
		if !s.tryLock() {
			continue // in use after all
		}
		if !s.gone && s.touched.Load() < limit {
			err = r.abort(ctx, s)
		}
		s.unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Close closes the handles of all resting sessions; they resume after a restart. Call it after the HTTP server's end.
func (r *Registry) Close() error {
	r.sessions.mu.Lock()
	all := make([]*session, 0, len(r.sessions.open))
	for _, s := range r.sessions.open {
		all = append(all, s)
	}
	r.sessions.mu.Unlock()
	for _, s := range all {
		s.turn <- struct{}{}
		if s.closer != nil {
			s.closer.Stop()
		}
		r.closeUpload(s)
		s.unlock()
	}
	return nil
}
