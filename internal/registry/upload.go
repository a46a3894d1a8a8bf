package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

// startUpload answers POST …/blobs/uploads/: a mount, a blob in one request, or a new session.
func (r *Registry) startUpload(w http.ResponseWriter, req *http.Request, c call) error {
	ctx := req.Context()
	if _, err := r.Catalog.Repository(ctx, c.key); err != nil {
		return withRepository(c.key, err)
	}
	query := req.URL.Query()
	if mount := app.Digest(query.Get("mount")); mount != "" {
		if !mount.Valid() {
			return errDigest
		}
		mounted, err := r.mount(req, c, mount, query.Get("from"))
		if err != nil {
			return err
		}
		if mounted {
			return created(w, c, mount)
		}
	}
	digest := app.Digest(query.Get("digest"))
	if digest != "" && !digest.Valid() {
		return errDigest
	}
	s, err := r.newSession(ctx, c.key)
	if err != nil {
		return err
	}
	defer r.rest(s)
	if digest == "" || query.Get("mount") != "" {
		uploadStatus(w, c, s, http.StatusAccepted)
		return nil
	}
	if err := r.receive(w, req, s); err != nil {
		return errors.Join(err, r.abort(context.WithoutCancel(ctx), s))
	}
	if err := r.finish(ctx, s, c.key, digest); err != nil {
		return err
	}
	return created(w, c, digest)
}

// maxMountSearch bounds how many repositories a mount without a source looks into.
const maxMountSearch = 256

// mount links a blob that the caller may read elsewhere into the repository.
func (r *Registry) mount(req *http.Request, c call, digest app.Digest, from string) (bool, error) {
	ctx := req.Context()
	r.commits.RLock()
	defer r.commits.RUnlock()
	var source []app.RepositoryKey
	switch {
	case from != "":
		key, err := r.key(req.Host, from)
		if err != nil {
			return false, err
		}
		source = []app.RepositoryKey{key}
	case r.Directory != nil:
		names, err := r.Directory.Repositories(ctx, c.key.Scope, "", maxMountSearch)
		if err != nil {
			return false, err
		}
		for _, name := range names {
			source = append(source, app.RepositoryKey{Scope: c.key.Scope, Name: name})
		}
	}
	for _, key := range source {
		name := from
		if name == "" {
			name = key.Name
		}
		if !c.caller.allows(name, Pull) || r.Authorize(ctx, c.caller, key, Pull) != nil {
			continue
		}
		linked, err := r.Links.Linked(ctx, key, digest)
		if err != nil && app.KindOf(err) != app.KindNotFound {
			return false, err
		}
		if linked {
			r.lease(c.key, digest)
			return true, withRepository(c.key, r.Links.Link(ctx, c.key, digest))
		}
	}
	return false, nil
}

// created answers that the blob is in the repository.
func created(w http.ResponseWriter, c call, digest app.Digest) error {
	h := w.Header()
	h.Set("Location", c.ns+"/blobs/"+string(digest))
	h.Set("Docker-Content-Digest", string(digest))
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// uploadStatus answers where the session stands.
func uploadStatus(w http.ResponseWriter, c call, s *session, status int) {
	uploadHeaders(w, c, s)
	if status != http.StatusNoContent {
		w.Header().Set("Content-Length", "0")
	}
	w.WriteHeader(status)
}

func uploadHeaders(w http.ResponseWriter, c call, s *session) {
	h := w.Header()
	h.Set("Location", c.ns+"/blobs/uploads/"+s.id)
	h.Set("Docker-Upload-UUID", s.id)
	h.Set("Range", "0-"+strconv.FormatInt(max(s.offset.Load()-1, 0), 10))
}

func (r *Registry) getUpload(w http.ResponseWriter, req *http.Request, c call) error {
	s, err := r.findSession(req.Context(), c.key, c.item)
	if err != nil {
		return err
	}
	uploadStatus(w, c, s, http.StatusNoContent)
	return nil
}

func (r *Registry) cancelUpload(w http.ResponseWriter, req *http.Request, c call) error {
	s, err := r.takeSession(req.Context(), c.key, c.item)
	if err != nil {
		return err
	}
	defer r.rest(s)
	if err := r.abort(req.Context(), s); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (r *Registry) patchUpload(w http.ResponseWriter, req *http.Request, c call) error {
	s, err := r.takeSession(req.Context(), c.key, c.item)
	if err != nil {
		return err
	}
	defer r.rest(s)
	if err := r.receiveChunk(w, req, c, s); err != nil {
		return err
	}
	uploadStatus(w, c, s, http.StatusAccepted)
	return nil
}

// putUpload ends a session; the request may carry the last chunk, or all of the blob.
func (r *Registry) putUpload(w http.ResponseWriter, req *http.Request, c call) error {
	digest := app.Digest(req.URL.Query().Get("digest"))
	if !digest.Valid() {
		return errDigest
	}
	s, err := r.takeSession(req.Context(), c.key, c.item)
	if err != nil {
		return err
	}
	defer r.rest(s)
	if err := r.receiveChunk(w, req, c, s); err != nil {
		return err
	}
	if err := r.finish(req.Context(), s, c.key, digest); err != nil {
		return err
	}
	return created(w, c, digest)
}

// receiveChunk checks the chunk's place, when the request names one, and appends it.
func (r *Registry) receiveChunk(w http.ResponseWriter, req *http.Request, c call, s *session) error {
	header := req.Header.Get("Content-Range")
	if header == "" {
		return r.receive(w, req, s)
	}
	chunk, err := parseContentRange(header)
	if err != nil {
		return err
	}
	if req.ContentLength >= 0 && req.ContentLength != chunk.length() {
		return errContentRange
	}
	if chunk.first != s.offset.Load() {
		uploadHeaders(w, c, s)
		return fail(http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID",
			"the chunk begins at "+strconv.FormatInt(chunk.first, 10)+", but the upload continues at "+strconv.FormatInt(s.offset.Load(), 10))
	}
	body := req.Body
	defer func() { req.Body = body }()
	req.Body = &exactBody{body, chunk.length()}
	return r.receive(w, req, s)
}

// exactBody ends with errShort or errLong unless it yields exactly left bytes.
type exactBody struct {
	io.ReadCloser
	left int64
}

func (e *exactBody) Read(b []byte) (int, error) {
	if e.left == 0 {
		var one [1]byte
		if n, err := io.ReadFull(e.ReadCloser, one[:]); n > 0 {
			return 0, errLong
		} else if err != nil {
			return 0, err
		}
	}
	n, err := e.ReadCloser.Read(b[:min(int64(len(b)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = errShort
	}
	return n, err
}

// receive appends the request's body to the session. What arrived before an error stays, so that the client can resume.
func (r *Registry) receive(w http.ResponseWriter, req *http.Request, s *session) error {
	if req.ContentLength == 0 {
		return nil
	}
	if req.ContentLength > 0 && s.offset.Load()+req.ContentLength > r.Limits.BlobBytes {
		return errBlobSize
	}
	body := paced(w, req, r.Limits)
	if req.ContentLength > copyBuffer || req.ContentLength < 0 {
		return r.receiveAhead(body, s)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	n, err := fill(body, (*buffer)[:req.ContentLength])
	if appendErr := r.append(s, (*buffer)[:n]); appendErr != nil {
		return appendErr
	}
	if err == nil {
		_, err = body.Read((*buffer)[:1]) // see the end, or a body that contradicts its Content-Range
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// part is a filled buffer on its way to the store; err is why it is the last one.
type part struct {
	buffer *[]byte
	n      int
	err    error
}

// receiveAhead reads the next part from the network while the store writes and hashes the one before.
func (r *Registry) receiveAhead(body *pacedBody, s *session) error {
	free, parts := make(chan *[]byte, 2), make(chan part, 2)
	for range cap(free) {
		buffer := buffers.Get().(*[]byte)
		defer buffers.Put(buffer)
		free <- buffer
	}
	go func() {
		defer close(parts)
		for buffer := range free {
			n, err := fill(body, *buffer)
			parts <- part{buffer, n, err}
			if err != nil {
				return
			}
		}
	}()
	var err error
	for p := range parts {
		if err = r.append(s, (*p.buffer)[:p.n]); err == nil {
			err = p.err
		}
		if err != nil {
			break
		}
		free <- p.buffer
	}
	close(free)
	if errors.Is(err, io.EOF) {
		return nil
	}
	body.stop()
	for range parts { // the reader must not outlive the request
	}
	return err
}

// fill reads until the buffer is full or the body ends.
func fill(body io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = body.Read(b[n:])
		n += m
	}
	return n, err
}

func (r *Registry) append(s *session, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if s.offset.Load()+int64(len(b)) > r.Limits.BlobBytes {
		return errBlobSize
	}
	if r.sessions.bytes.Load()+int64(len(b)) > r.Limits.UploadBytes {
		return errSpace
	}
	n, err := s.upload.Write(b)
	s.offset.Add(int64(n))
	r.sessions.bytes.Add(int64(n))
	return err
}

// finish puts the session's content into the store and the repository.
func (r *Registry) finish(ctx context.Context, s *session, key app.RepositoryKey, digest app.Digest) error {
	r.commits.RLock()
	defer r.commits.RUnlock()
	r.lease(key, digest)
	if err := s.upload.Commit(ctx, digest, s.offset.Load()); err != nil {
		if app.KindOf(err) != app.KindInvalidRequest {
			r.closeUpload(s) // the next request opens it anew and sees where it stands
			return err
		}
		return errors.Join(&failure{http.StatusBadRequest, "DIGEST_INVALID",
			"the uploaded content does not match the digest " + string(digest) + ": the upload was dropped", nil, false, err},
			r.abort(context.WithoutCancel(ctx), s))
	}
	r.closeUpload(s)
	r.forget(s)
	if err := failpoint.Hit("registry/link"); err != nil {
		return err
	}
	return withRepository(key, r.Links.Link(ctx, key, digest))
}
