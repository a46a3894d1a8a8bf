// Package registrytest holds in-memory versions of what the registry needs, and the suites that every version must pass.
package registrytest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
)

// Memory is a Catalog, Links, LinkAges and Directory in memory. Make it with NewMemory.
type Memory struct {
	mu    sync.Mutex
	now   func() time.Time
	repos map[app.RepositoryKey]*repository
	pins  map[app.Digest]bool
}

type repository struct {
	row       app.Repository
	manifests map[app.Digest]app.Manifest
	links     map[app.Digest]time.Time
}

// NewMemory returns an empty Memory.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{now: now, repos: map[app.RepositoryKey]*repository{}, pins: map[app.Digest]bool{}}
}

// Create adds a repository, or changes whether it is immutable.
func (m *Memory) Create(key app.RepositoryKey, immutable bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.repos[key] == nil {
		m.repos[key] = &repository{manifests: map[app.Digest]app.Manifest{}, links: map[app.Digest]time.Time{}}
	}
	m.repos[key].row = app.Repository{Key: key, Immutable: immutable, CreatedAt: m.now()}
}

// Remove deletes a repository with all that it holds.
func (m *Memory) Remove(key app.RepositoryKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.repos, key)
}

// Pin makes a digest a root, as a running service does; Unpin undoes it.
func (m *Memory) Pin(digest app.Digest, pinned bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pins[digest] = pinned
}

// Age makes every link of the repository older by d.
func (m *Memory) Age(key app.RepositoryKey, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for digest, at := range m.repos[key].links {
		m.repos[key].links[digest] = at.Add(-d)
	}
}

// find returns a repository; the caller holds mu.
func (m *Memory) find(key app.RepositoryKey) (*repository, error) {
	if r := m.repos[key]; r != nil {
		return r, nil
	}
	return nil, &app.Error{Kind: app.KindNotFound, Code: "RepositoryNotFoundException", Resource: key.ARN(), Message: "The repository " + key.Name + " does not exist."}
}

// Repository implements registry.Catalog.
func (m *Memory) Repository(_ context.Context, key app.RepositoryKey) (app.Repository, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.find(key)
	if err != nil {
		return app.Repository{}, err
	}
	return r.row, nil
}

// lookup finds a manifest by tag or digest.
func (r *repository) lookup(key app.RepositoryKey, reference string) (app.Manifest, error) {
	if found, ok := r.manifests[app.Digest(reference)]; ok {
		return found, nil
	}
	for _, found := range r.manifests {
		if slices.Contains(found.Tags, reference) {
			return found, nil
		}
	}
	return app.Manifest{}, &app.Error{Kind: app.KindNotFound, Code: "ImageNotFoundException", Resource: key.ARN(), Message: "The image " + reference + " does not exist."}
}

// Manifest implements registry.Catalog.
func (m *Memory) Manifest(_ context.Context, key app.RepositoryKey, reference string) (app.Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.find(key)
	if err != nil {
		return app.Manifest{}, err
	}
	return r.lookup(key, reference)
}

// PutManifest implements registry.Catalog.
func (m *Memory) PutManifest(_ context.Context, put app.Manifest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.find(put.Repository)
	if err != nil {
		return err
	}
	for _, tag := range put.Tags {
		have, err := r.lookup(put.Repository, tag)
		if err != nil || have.Digest == put.Digest {
			continue
		}
		if r.row.Immutable {
			return &app.Error{Kind: app.KindExists, Code: "ImageTagAlreadyExistsException", Resource: put.Repository.ARN(), Message: "The image tag " + tag + " already exists."}
		}
	}
	for _, tag := range put.Tags {
		if have, err := r.lookup(put.Repository, tag); err == nil {
			have.Tags = without(have.Tags, tag)
			r.manifests[have.Digest] = have
		}
	}
	put.Tags = slices.Compact(slices.Sorted(slices.Values(slices.Concat(put.Tags, r.manifests[put.Digest].Tags))))
	r.manifests[put.Digest] = put
	return nil
}

func without(tags []string, tag string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return t == tag })
}

// DeleteManifest implements registry.Catalog.
func (m *Memory) DeleteManifest(_ context.Context, key app.RepositoryKey, reference string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.find(key)
	if err != nil {
		return err
	}
	found, err := r.lookup(key, reference)
	if err != nil {
		return err
	}
	if strings.Contains(reference, ":") {
		delete(r.manifests, found.Digest)
		return nil
	}
	found.Tags = without(found.Tags, reference)
	r.manifests[found.Digest] = found
	return nil
}

// Manifests implements registry.Catalog.
func (m *Memory) Manifests(_ context.Context, key app.RepositoryKey, after app.Digest, limit int) ([]app.Manifest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.find(key)
	if err != nil {
		return nil, err
	}
	var page []app.Manifest
	for _, d := range slices.Sorted(maps.Keys(r.manifests)) {
		if d > after && len(page) < limit {
			page = append(page, r.manifests[d])
		}
	}
	return page, nil
}

// Roots implements registry.Catalog.
func (m *Memory) Roots(context.Context) ([]app.Digest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	roots := map[app.Digest]bool{}
	for d, pinned := range m.pins {
		if pinned {
			roots[d] = true
		}
	}
	for _, r := range m.repos {
		for d := range r.manifests {
			roots[d] = true
		}
	}
	return slices.Sorted(maps.Keys(roots)), nil
}

// Linked implements registry.Links.
func (m *Memory) Linked(_ context.Context, key app.RepositoryKey, digest app.Digest) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.repos[key]
	if r == nil {
		return false, nil
	}
	_, ok := r.links[digest]
	return ok, nil
}

// Link implements registry.Links.
func (m *Memory) Link(_ context.Context, key app.RepositoryKey, digests ...app.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.find(key)
	if err != nil {
		return err
	}
	for _, d := range digests {
		r.links[d] = m.now()
	}
	return nil
}

// Unlink implements registry.Links.
func (m *Memory) Unlink(_ context.Context, key app.RepositoryKey, digest app.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.repos[key]; r != nil {
		delete(r.links, digest)
	}
	return nil
}

// LinkedBlobs implements registry.Links.
func (m *Memory) LinkedBlobs(context.Context) ([]app.Digest, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[app.Digest]bool{}
	for _, r := range m.repos {
		for d := range r.links {
			all[d] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// LinksBefore implements registry.LinkAges.
func (m *Memory) LinksBefore(_ context.Context, before time.Time, after app.BlobKey, limit int) ([]app.BlobLink, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []app.BlobLink
	for key, r := range m.repos {
		for d, at := range r.links {
			if at.Before(before) && compareLinks(app.BlobKey{Repository: key, Digest: d}, after) > 0 {
				all = append(all, app.BlobLink{Repository: key, Digest: d, LinkedAt: at})
			}
		}
	}
	slices.SortFunc(all, func(a, b app.BlobLink) int {
		return compareLinks(app.BlobKey{Repository: a.Repository, Digest: a.Digest}, app.BlobKey{Repository: b.Repository, Digest: b.Digest})
	})
	return all[:min(limit, len(all))], nil
}

func compareLinks(a, b app.BlobKey) int {
	return cmp.Or(cmp.Compare(a.Repository.Scope.Account, b.Repository.Scope.Account), cmp.Compare(a.Repository.Scope.Region, b.Repository.Scope.Region),
		cmp.Compare(a.Repository.Name, b.Repository.Name), cmp.Compare(a.Digest, b.Digest))
}

// Repositories implements registry.Directory.
func (m *Memory) Repositories(_ context.Context, scope app.Scope, after string, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for key := range m.repos {
		if key.Scope == scope && key.Name > after {
			names = append(names, key.Name)
		}
	}
	slices.Sort(names)
	return names[:min(limit, len(names))], nil
}
