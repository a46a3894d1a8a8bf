package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
)

const (
	// maxPage bounds the entries of one answer, maxReferrers also its bytes (distribution-spec: "should be at most 4MiB").
	maxPage      = 1000
	maxReferrers = MaxManifest - 64<<10
)

// page reads n and last; n is capped, so that longer lists continue by their Link header.
func page(req *http.Request) (n int, last string, err error) {
	query := req.URL.Query()
	n = maxPage
	if text := query.Get("n"); text != "" {
		v, err := strconv.ParseInt(text, 10, 32)
		if err != nil || v < 0 {
			return 0, "", errPageCount
		}
		n = min(int(v), maxPage)
	}
	return n, query.Get("last"), nil
}

// next sets the Link header of a list that goes on after last.
func next(w http.ResponseWriter, path string, n int, last, artifactType string) {
	query := url.Values{"last": {last}}
	if n > 0 {
		query.Set("n", strconv.Itoa(n))
	}
	if artifactType != "" {
		query.Set("artifactType", artifactType)
	}
	w.Header().Set("Link", "<"+path+"?"+query.Encode()+`>; rel="next"`)
}

// listTags answers tags/list in byte order.
func (r *Registry) listTags(w http.ResponseWriter, req *http.Request, c call) error {
	n, last, err := page(req)
	if err != nil {
		return err
	}
	if _, err := r.Catalog.Repository(req.Context(), c.key); err != nil {
		return withRepository(c.key, err)
	}
	tags := []string{}
	err = r.eachManifest(req.Context(), c.key, func(m app.Manifest) bool {
		for _, tag := range m.Tags {
			if tag > last {
				tags = append(tags, tag)
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	slices.Sort(tags)
	if len(tags) > n {
		tags = tags[:n]
		if n > 0 {
			next(w, c.ns+"/tags/list", n, tags[n-1], "")
		}
	}
	return answerJSON(w, http.StatusOK, "application/json", map[string]any{"name": c.name, "tags": tags})
}

// serveCatalog lists the repositories of the request's scope.
func (r *Registry) serveCatalog(w http.ResponseWriter, req *http.Request, caller Caller) error {
	if req.Method != http.MethodGet {
		return errMethod
	}
	if !caller.allows(catalogScope, Pull) {
		return unauthorized(errToken("The token does not cover the catalog."))
	}
	scope, ok := app.ParseRegistryHost(req.Host)
	if !ok {
		scope = r.DefaultScope
	}
	if scope.Account != caller.Scope.Account {
		return fail(http.StatusForbidden, "DENIED", "the catalog of another account may not be listed")
	}
	n, last, err := page(req)
	if err != nil {
		return err
	}
	names := []string{}
	if r.Directory != nil && n > 0 {
		found, err := r.Directory.Repositories(req.Context(), scope, last, n+1)
		if err != nil {
			return err
		}
		names = append(names, found...)
	}
	if len(names) > n {
		names = names[:n]
		next(w, "/v2/_catalog", n, names[n-1], "")
	}
	return answerJSON(w, http.StatusOK, "application/json", map[string]any{"repositories": names})
}

// referrer is one descriptor of a referrers answer.
type referrer struct {
	MediaType    string            `json:"mediaType"`
	Digest       app.Digest        `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// listReferrers answers which manifests of the repository have the digest as their subject, in digest order.
func (r *Registry) listReferrers(w http.ResponseWriter, req *http.Request, c call) error {
	subject := app.Digest(c.item)
	if !subject.Valid() {
		return errDigest
	}
	if _, err := r.Catalog.Repository(req.Context(), c.key); err != nil {
		return withRepository(c.key, err)
	}
	artifactType, after := req.URL.Query().Get("artifactType"), app.Digest(req.URL.Query().Get("last"))
	found := []json.RawMessage{}
	size, last, more := 0, app.Digest(""), false
	var failed error
	err := r.eachManifest(req.Context(), c.key, func(m app.Manifest) bool {
		if m.Subject != subject || m.Digest <= after {
			return true
		}
		var entry referrer
		if entry, failed = r.referrer(req.Context(), m); failed != nil || artifactType != "" && entry.ArtifactType != artifactType {
			return failed == nil
		}
		var text []byte
		if text, failed = json.Marshal(entry); failed != nil {
			return false
		}
		if more = len(found) > 0 && (size+len(text) > maxReferrers || len(found) == maxPage); more {
			return false
		}
		found, last = append(found, text), m.Digest
		size += len(text) + 1
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if artifactType != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if more {
		next(w, strings.TrimSuffix(c.ns, "/")+"/referrers/"+string(subject), 0, string(last), artifactType)
	}
	return answerJSON(w, http.StatusOK, MediaTypeOCIIndex, map[string]any{
		"schemaVersion": 2, "mediaType": MediaTypeOCIIndex, "manifests": found,
	})
}

// referrer describes a manifest; annotations too large for the row come from the content.
func (r *Registry) referrer(ctx context.Context, m app.Manifest) (referrer, error) {
	out := referrer{m.MediaType, m.Digest, m.Size, m.ArtifactType, m.Annotations}
	if out.ArtifactType == "" {
		out.ArtifactType = m.ConfigMediaType
	}
	if len(m.Annotations) > 0 || m.Size <= maxAnnotations {
		return out, nil
	}
	body, err := r.readBlob(ctx, m.Digest)
	if err != nil {
		return out, err
	}
	d, err := parseManifest(m.MediaType, body)
	if err == nil {
		out.Annotations = d.Annotations
	}
	return out, err
}
