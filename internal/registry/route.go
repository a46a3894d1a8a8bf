package registry

import (
	"net/http"
	"strings"

	"github.com/funade/funade/internal/app"
)

// maxHeaders bounds a request's headers in bytes, names and values together.
const maxHeaders = 64 << 10

// endpoint is one row of distribution-spec 1.1 "Endpoints".
type endpoint int

const (
	noEndpoint endpoint = iota
	baseEndpoint
	tokenEndpoint
	catalogEndpoint
	blobEndpoint
	uploadsEndpoint
	uploadEndpoint
	manifestEndpoint
	tagsEndpoint
	referrersEndpoint
)

// route is a parsed path. Name is the repository as the client wrote it, which answers repeat.
type route struct {
	endpoint endpoint
	name     string
	// item is the digest, tag or upload id.
	item string
}

// parseRoute takes a path apart from its end, because names may hold any of the fixed words.
func parseRoute(path string) route {
	if path == "/token" || path == "/v2/token" {
		return route{endpoint: tokenEndpoint}
	}
	rest, ok := strings.CutPrefix(path, "/v2")
	switch {
	case ok && (rest == "" || rest == "/"):
		return route{endpoint: baseEndpoint}
	case ok && rest == "/_catalog":
		return route{endpoint: catalogEndpoint}
	case !ok || rest[0] != '/':
		return route{}
	}
	parts := strings.Split(rest[1:], "/")
	n := len(parts)
	name := func(drop int) string { return strings.Join(parts[:max(n-drop, 0)], "/") }
	switch {
	case n >= 3 && parts[n-2] == "tags" && parts[n-1] == "list":
		return route{tagsEndpoint, name(2), ""}
	case n >= 4 && parts[n-3] == "blobs" && parts[n-2] == "uploads" && parts[n-1] != "":
		return route{uploadEndpoint, name(3), parts[n-1]}
	case n >= 4 && parts[n-3] == "blobs" && parts[n-2] == "uploads":
		return route{uploadsEndpoint, name(3), ""}
	case n >= 3 && parts[n-2] == "blobs" && parts[n-1] == "uploads":
		return route{uploadsEndpoint, name(2), ""}
	case n >= 3 && parts[n-2] == "blobs":
		return route{blobEndpoint, name(2), parts[n-1]}
	case n >= 3 && parts[n-2] == "manifests":
		return route{manifestEndpoint, name(2), parts[n-1]}
	case n >= 3 && parts[n-2] == "referrers":
		return route{referrersEndpoint, name(2), parts[n-1]}
	}
	return route{}
}

// key returns the repository that a name means: AWS's host in front of the name says the scope, else AWS's host in
// the Host header, else it is the default scope.
func (r *Registry) key(host, name string) (app.RepositoryKey, error) {
	scope := r.DefaultScope
	if s, ok := app.ParseRegistryHost(host); ok {
		scope = s
	}
	if first, rest, ok := strings.Cut(name, "/"); ok {
		if s, ok := app.ParseRegistryHost(first); ok {
			scope, name = s, rest
		}
	}
	if !app.ValidRepositoryName(name) {
		return app.RepositoryKey{}, errName
	}
	return app.RepositoryKey{Scope: scope, Name: name}, nil
}

// call is one authorised request.
type call struct {
	route
	key    app.RepositoryKey
	caller Caller
	// ns is the path of the repository, "/v2/" and the name as the client wrote it.
	ns string
}

// ServeHTTP answers one request of the distribution protocol.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := r.serve(w, req); err != nil {
		r.answerError(w, req, err)
	}
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) error {
	size := 0
	for name, values := range req.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if size > maxHeaders {
		return errHeaders
	}
	rt := parseRoute(req.URL.Path)
	switch rt.endpoint {
	case noEndpoint:
		return errPath
	case tokenEndpoint:
		return r.serveToken(w, req)
	}
	caller, err := r.authenticate(req)
	if err != nil {
		return err
	}
	switch rt.endpoint {
	case baseEndpoint:
		return r.serveBase(w, req)
	case catalogEndpoint:
		return r.serveCatalog(w, req, caller)
	}
	c := call{route: rt, caller: caller, ns: "/v2/" + rt.name}
	if c.key, err = r.key(req.Host, rt.name); err != nil {
		return err
	}
	if err := r.authorize(req, c, actionOf(rt.endpoint, req.Method)); err != nil {
		return err
	}
	if serve := methods[c.endpoint][req.Method]; serve != nil {
		return serve(r, w, req, c)
	}
	return errMethod
}

// methods are the operations of the endpoints within a repository.
var methods = map[endpoint]map[string]func(*Registry, http.ResponseWriter, *http.Request, call) error{
	blobEndpoint:      {"GET": (*Registry).getBlob, "HEAD": (*Registry).getBlob, "DELETE": (*Registry).deleteBlob},
	uploadsEndpoint:   {"POST": (*Registry).startUpload},
	uploadEndpoint:    {"GET": (*Registry).getUpload, "PATCH": (*Registry).patchUpload, "PUT": (*Registry).putUpload, "DELETE": (*Registry).cancelUpload},
	manifestEndpoint:  {"GET": (*Registry).getManifest, "HEAD": (*Registry).getManifest, "PUT": (*Registry).putManifest, "DELETE": (*Registry).deleteManifest},
	tagsEndpoint:      {"GET": (*Registry).listTags},
	referrersEndpoint: {"GET": (*Registry).listReferrers},
}

// actionOf says which right a request needs.
func actionOf(e endpoint, method string) Action {
	switch {
	case e == uploadsEndpoint || e == uploadEndpoint || method == http.MethodPut || method == http.MethodPatch || method == http.MethodPost:
		return Push
	case method == http.MethodDelete:
		return Delete
	}
	return Pull
}

func (r *Registry) serveBase(w http.ResponseWriter, req *http.Request) error {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return errMethod
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "2")
	_, _ = w.Write([]byte("{}")) // the client is gone when this fails
	return nil
}
