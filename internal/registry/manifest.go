package registry

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/base/id"
)

// maxTagParams bounds how many tags one push by digest may set.
const maxTagParams = 32

// digestAs hashes with the algorithm of like, sha256 unless it says sha512.
func digestAs(like app.Digest, content []byte) app.Digest {
	if strings.HasPrefix(string(like), "sha512:") {
		sum := sha512.Sum512(content)
		return app.Digest("sha512:" + hex.EncodeToString(sum[:]))
	}
	return app.SHA256(content)
}

// ManifestInput is one manifest to put.
type ManifestInput struct {
	Repository app.RepositoryKey
	// MediaType may be "": then the content says what it is.
	MediaType string
	Body      []byte
	// Tags are moved to the manifest; none leaves it untagged.
	Tags []string
	// Digest, when not "", must be the content's.
	Digest app.Digest
}

// PutManifest checks and stores a manifest and puts tags on it: a push. Everything that it names must be in the
// repository. Errors are *app.Error with ECR's codes: RepositoryNotFoundException, ImageTagAlreadyExistsException,
// LayersNotFoundException, ImageDigestDoesNotMatchException, InvalidParameterException.
func (r *Registry) PutManifest(ctx context.Context, in ManifestInput) (app.Manifest, error) {
	m, err := r.acceptManifest(ctx, in)
	return m, ecrError(in.Repository, err)
}

func (r *Registry) acceptManifest(ctx context.Context, in ManifestInput) (app.Manifest, error) {
	if len(in.Body) > MaxManifest {
		return app.Manifest{}, fail(http.StatusRequestEntityTooLarge, "SIZE_INVALID", "the manifest exceeds 4 MiB")
	}
	for _, tag := range in.Tags {
		if !app.ValidTag(tag) {
			return app.Manifest{}, errTag
		}
	}
	d, err := parseManifest(in.MediaType, in.Body)
	if err != nil {
		return app.Manifest{}, err
	}
	digest := digestAs(in.Digest, in.Body)
	if in.Digest != "" && in.Digest != digest {
		return app.Manifest{}, fail(http.StatusBadRequest, "DIGEST_INVALID", "the manifest's digest is "+string(digest)+", not "+short(string(in.Digest)))
	}
	repository, err := r.Catalog.Repository(ctx, in.Repository)
	if err != nil {
		return app.Manifest{}, withRepository(in.Repository, err)
	}
	m := d.row(digest, len(in.Body))
	m.Repository, m.PushedAt = in.Repository, r.Now()
	m.Tags = slices.Compact(slices.Sorted(slices.Values(in.Tags)))
	r.commits.RLock()
	defer r.commits.RUnlock()
	if err := r.checkTags(ctx, repository, m); err != nil {
		return app.Manifest{}, err
	}
	if err := r.checkContents(ctx, d, &m); err != nil {
		return app.Manifest{}, err
	}
	if err := r.storeManifest(ctx, digest, in.Body); err != nil {
		return app.Manifest{}, err
	}
	if err := failpoint.Hit("registry/put-manifest"); err != nil {
		return app.Manifest{}, err
	}
	return m, withRepository(in.Repository, r.Catalog.PutManifest(ctx, m))
}

// checkTags refuses to move tags of an immutable repository. The catalogue checks again in its transaction.
func (r *Registry) checkTags(ctx context.Context, repository app.Repository, m app.Manifest) error {
	if !repository.Immutable {
		return nil
	}
	for _, tag := range m.Tags {
		have, err := r.Catalog.Manifest(ctx, m.Repository, tag)
		if app.KindOf(err) == app.KindNotFound {
			continue
		}
		if err != nil {
			return err
		}
		if have.Digest != m.Digest {
			return &app.Error{Kind: app.KindExists, Code: "ImageTagAlreadyExistsException", Resource: m.Repository.ARN(),
				Message: "The image tag '" + tag + "' already exists in the '" + m.Repository.Name + "' repository and cannot be overwritten because the repository is immutable."}
		}
	}
	return nil
}

// checkContents makes sure that everything the manifest names is in the repository, at the size it says.
func (r *Registry) checkContents(ctx context.Context, d *document, m *app.Manifest) error {
	required, _ := d.blobs()
	var missing []string
	checked := map[app.Digest]bool{}
	for _, b := range required {
		if checked[b.Digest] {
			continue
		}
		checked[b.Digest] = true
		ok, err := r.holds(ctx, m.Repository, b)
		if err != nil {
			return err
		}
		if !ok {
			missing = append(missing, string(b.Digest))
		}
	}
	var largest int64
	for _, c := range m.Manifests {
		child, err := r.Catalog.Manifest(ctx, m.Repository, string(c))
		switch {
		case app.KindOf(err) == app.KindNotFound:
			missing = append(missing, string(c))
		case err != nil:
			return err
		}
		largest = max(largest, child.ImageSize)
	}
	m.ImageSize += largest // ECR's imageSizeInBytes: "the max size of all manifests in the list"
	if len(missing) > 0 {
		return &failure{status: http.StatusNotFound, code: "MANIFEST_BLOB_UNKNOWN", detail: map[string]any{"digests": missing[:min(len(missing), 20)]},
			message: "Layers with digests '[" + strings.Join(missing[:min(len(missing), 20)], ", ") + "]' required for pushing image into repository with name '" +
				m.Repository.Name + "' in the registry with id '" + string(m.Repository.Scope.Account) + "' do not exist"}
	}
	return nil
}

// holds reports whether the repository has the blob; a size that contradicts the manifest is an error.
func (r *Registry) holds(ctx context.Context, key app.RepositoryKey, b descriptor) (bool, error) {
	linked, err := r.Links.Linked(ctx, key, b.Digest)
	if err != nil || !linked {
		return false, withRepository(key, err)
	}
	content, size, err := r.Blobs.Open(ctx, b.Digest)
	if app.KindOf(err) == app.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := content.Close(); err != nil {
		return false, err
	}
	if size != b.Size {
		return false, invalidManifest("it says that " + string(b.Digest) + " has " + strconv.FormatInt(b.Size, 10) + " bytes, but it has " + strconv.FormatInt(size, 10))
	}
	return true, nil
}

func (r *Registry) storeManifest(ctx context.Context, digest app.Digest, body []byte) error {
	ref := manifestPrefix + id.Source{}.Hex32()
	up, err := r.Blobs.Upload(ctx, ref)
	if err != nil {
		return err
	}
	_, err = up.Write(body)
	if err == nil {
		err = up.Commit(ctx, digest, int64(len(body)))
	}
	if closeErr := up.Close(); err == nil {
		return closeErr
	}
	_ = r.Blobs.Abort(context.WithoutCancel(ctx), ref) // the next start drops it otherwise
	return err
}

// ReadManifest returns a manifest's row and content by tag or digest. KindNotFound carries
// RepositoryNotFoundException or ImageNotFoundException.
func (r *Registry) ReadManifest(ctx context.Context, key app.RepositoryKey, reference string) (app.Manifest, []byte, error) {
	m, err := r.Catalog.Manifest(ctx, key, reference)
	if err != nil {
		return app.Manifest{}, nil, withManifest(key, reference, err)
	}
	body, err := r.readBlob(ctx, m.Digest)
	return m, body, ecrError(key, err)
}

// readBlob reads a blob of at most MaxManifest bytes.
func (r *Registry) readBlob(ctx context.Context, digest app.Digest) ([]byte, error) {
	content, size, err := r.Blobs.Open(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if size > MaxManifest {
		return nil, invalidManifest("it exceeds 4 MiB")
	}
	body := make([]byte, size)
	_, err = io.ReadFull(content, body)
	return body, err
}

// reference checks a tag or digest of a path.
func reference(item string) error {
	if strings.Contains(item, ":") {
		if !app.Digest(item).Valid() {
			return errDigest
		}
	} else if !app.ValidTag(item) {
		return errTag
	}
	return nil
}

func (r *Registry) getManifest(w http.ResponseWriter, req *http.Request, c call) error {
	if err := reference(c.item); err != nil {
		return err
	}
	m, err := r.Catalog.Manifest(req.Context(), c.key, c.item)
	if err != nil {
		return withManifest(c.key, c.item, err)
	}
	content, size, err := r.Blobs.Open(req.Context(), m.Digest)
	if err != nil {
		return err
	}
	defer content.Close()
	w.Header().Set("Content-Type", m.MediaType)
	w.Header().Set("Docker-Content-Digest", string(m.Digest))
	req.Header.Del("Range")
	return r.sendContent(w, req, m.Digest, content, size)
}

func (r *Registry) putManifest(w http.ResponseWriter, req *http.Request, c call) error {
	if err := reference(c.item); err != nil {
		return err
	}
	in := ManifestInput{Repository: c.key, MediaType: req.Header.Get("Content-Type")}
	if strings.Contains(c.item, ":") {
		in.Digest, in.Tags = app.Digest(c.item), req.URL.Query()["tag"]
	} else {
		in.Tags = []string{c.item}
	}
	if len(in.Tags) > maxTagParams {
		return fail(http.StatusRequestURITooLong, "TAG_INVALID", "too many tags: at most "+strconv.Itoa(maxTagParams)+" in one request")
	}
	var err error
	if in.Body, err = io.ReadAll(io.LimitReader(paced(w, req, r.Limits), MaxManifest+1)); err != nil {
		return err
	}
	m, err := r.acceptManifest(req.Context(), in)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Location", c.ns+"/manifests/"+string(m.Digest))
	h.Set("Docker-Content-Digest", string(m.Digest))
	if m.Subject != "" {
		h.Set("OCI-Subject", string(m.Subject))
	}
	if in.Digest != "" {
		for _, tag := range m.Tags {
			h.Add("OCI-Tag", tag)
		}
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (r *Registry) deleteManifest(w http.ResponseWriter, req *http.Request, c call) error {
	if err := reference(c.item); err != nil {
		return err
	}
	if err := r.Catalog.DeleteManifest(req.Context(), c.key, c.item); err != nil {
		return withManifest(c.key, c.item, err)
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	return nil
}
