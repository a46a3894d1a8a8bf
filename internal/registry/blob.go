package registry

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
)

// getBlob answers GET and HEAD of a blob, whole or one range of it.
func (r *Registry) getBlob(w http.ResponseWriter, req *http.Request, c call) error {
	digest := app.Digest(c.item)
	if !digest.Valid() {
		return errDigest
	}
	if err := r.mustBeLinked(req.Context(), c.key, digest); err != nil {
		return err
	}
	if req.Method == http.MethodHead { // a push that finds the blob here does not send it
		r.lease(c.key, digest)
	}
	content, size, err := r.Blobs.Open(req.Context(), digest)
	if app.KindOf(err) == app.KindNotFound {
		return errBlob
	}
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", string(digest))
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("Accept-Ranges", "bytes")
	return r.sendContent(w, req, digest, content, size)
}

// sendContent sends content that never changes: conditional and range requests, then the bytes.
func (r *Registry) sendContent(w http.ResponseWriter, req *http.Request, digest app.Digest, content io.ReadSeeker, size int64) error {
	tag := `"` + string(digest) + `"`
	w.Header().Set("ETag", tag)
	if match := req.Header.Get("If-None-Match"); match == "*" || strings.Contains(match, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	part, whole := span{0, size - 1}, true
	if ifRange := req.Header.Get("If-Range"); req.Method == http.MethodGet && (ifRange == "" || ifRange == tag) {
		var err error
		if part, whole, err = parseRange(req.Header.Get("Range"), size); err != nil {
			w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
			return err
		}
	}
	status := http.StatusOK
	if !whole {
		if _, err := content.Seek(part.first, io.SeekStart); err != nil {
			return err
		}
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", "bytes "+strconv.FormatInt(part.first, 10)+"-"+strconv.FormatInt(part.last, 10)+"/"+strconv.FormatInt(size, 10))
	}
	w.Header().Set("Content-Length", strconv.FormatInt(part.length(), 10))
	w.WriteHeader(status)
	if req.Method == http.MethodHead {
		return nil
	}
	if err := send(w, content, part.length()); err != nil {
		r.Log.Info("registry answer ended early", "path", req.URL.Path, "error", err)
	}
	return nil
}

// mustBeLinked is nil when the repository holds the blob, and else says whether blob or repository are unknown.
func (r *Registry) mustBeLinked(ctx context.Context, key app.RepositoryKey, digest app.Digest) error {
	linked, err := r.Links.Linked(ctx, key, digest)
	if err != nil {
		return withRepository(key, err)
	}
	if linked {
		return nil
	}
	if _, err := r.Catalog.Repository(ctx, key); err != nil {
		return withRepository(key, err)
	}
	return errBlob
}

// deleteBlob removes the blob from the repository; a blob that an image there names stays.
func (r *Registry) deleteBlob(w http.ResponseWriter, req *http.Request, c call) error {
	digest := app.Digest(c.item)
	if !digest.Valid() {
		return errDigest
	}
	if err := r.mustBeLinked(req.Context(), c.key, digest); err != nil {
		return err
	}
	var user app.Digest
	err := r.eachManifest(req.Context(), c.key, func(m app.Manifest) bool {
		for _, b := range m.Blobs {
			if b == digest {
				user = m.Digest
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	if user != "" {
		return fail(http.StatusMethodNotAllowed, "UNSUPPORTED", "the blob belongs to the image "+string(user)+" of this repository: delete the image instead")
	}
	if err := r.Links.Unlink(req.Context(), c.key, digest); err != nil {
		return withRepository(c.key, err)
	}
	r.leases.drop(app.BlobKey{Repository: c.key, Digest: digest})
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// manifestPage is how many manifests one catalogue transaction reads.
const manifestPage = 200

// eachManifest calls visit with every manifest of the repository in digest order until it returns false.
func (r *Registry) eachManifest(ctx context.Context, key app.RepositoryKey, visit func(app.Manifest) bool) error {
	var after app.Digest
	for {
		page, err := r.Catalog.Manifests(ctx, key, after, manifestPage)
		if err != nil {
			return withRepository(key, err)
		}
		for _, m := range page {
			if !visit(m) {
				return nil
			}
			after = m.Digest
		}
		if len(page) < manifestPage {
			return nil
		}
	}
}
