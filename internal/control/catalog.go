package control

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

// Catalog is the registry's view of repositories, manifests and blobs (registry.Catalog and registry.Links).
type Catalog struct{ c *Control }

// Catalog returns the registry's view.
func (c *Control) Catalog() *Catalog { return &Catalog{c} }

// Repository returns the repository.
func (k *Catalog) Repository(ctx context.Context, key app.RepositoryKey) (app.Repository, error) {
	var out app.Repository
	err := k.c.store.View(ctx, func(tx *store.Tx) error {
		var err error
		out, err = findRepository(tx, key)
		return err
	})
	return out, err
}

func referenceID(reference string) ImageID {
	if d := app.Digest(reference); d.Valid() {
		return ImageID{Digest: d}
	}
	return ImageID{Tag: reference}
}

// Manifest returns a manifest by tag or digest.
func (k *Catalog) Manifest(ctx context.Context, key app.RepositoryKey, reference string) (app.Manifest, error) {
	var out app.Manifest
	err := k.c.store.View(ctx, func(tx *store.Tx) error {
		if _, err := findRepository(tx, key); err != nil {
			return err
		}
		var err error
		out, err = findImage(tx, key, referenceID(reference))
		return err
	})
	return out, err
}

// PutManifest records a manifest, moves the tags in m.Tags to it and starts the deployments that this push asks for.
func (k *Catalog) PutManifest(ctx context.Context, m app.Manifest) error {
	return k.c.store.Update(ctx, func(tx *store.Tx) error {
		repo, err := findRepository(tx, m.Repository)
		if err != nil {
			return err
		}
		old, known := store.Manifests.Get(tx, m.Key())
		if err := k.c.checkPush(tx, repo, m, known); err != nil {
			return err
		}
		pushed := sortedTags(m.Tags)
		var moved []string // a push that changes nothing deploys nothing
		for _, tag := range pushed {
			holder, ok := store.ManifestsByTag.First(tx, app.ManifestTag{Repository: m.Repository, Tag: tag})
			if !ok || holder.Digest != m.Digest {
				moved = append(moved, tag)
			}
			if ok && holder.Digest != m.Digest {
				holder.Tags = slices.DeleteFunc(slices.Clone(holder.Tags), func(t string) bool { return t == tag })
				store.Control.Manifests.Put(tx, holder)
			}
		}
		m.Tags = sortedTags(slices.Concat(old.Tags, pushed))
		if m.PushedAt = old.PushedAt; !known {
			m.PushedAt = k.c.now()
		}
		store.Control.Manifests.Put(tx, m)
		for _, tag := range moved {
			k.c.autodeploy(tx, app.PushTag{Repository: m.Repository, Tag: tag, Digest: m.Digest})
		}
		return nil
	})
}

func (c *Control) checkPush(tx *store.Tx, repo app.Repository, m app.Manifest, known bool) error {
	for _, tag := range m.Tags {
		holder, taken := store.ManifestsByTag.First(tx, app.ManifestTag{Repository: m.Repository, Tag: tag})
		if taken && repo.Immutable && holder.Digest != m.Digest {
			return &app.Error{Kind: app.KindExists, Code: codeTagExists, Resource: repo.Key.Name,
				Message: "The image tag '" + tag + "' already exists in the '" + repo.Key.Name + "' repository and cannot be overwritten because the repository is immutable."}
		}
	}
	if known {
		return nil
	}
	count := 0
	for range store.ManifestsByRepository.Each(tx, m.Repository) {
		if count++; count >= c.cfg.Quotas.ImagesPerRepository {
			return &app.Error{Kind: app.KindQuota, Code: "LimitExceededException", Resource: repo.Key.Name,
				Message: "The repository '" + repo.Key.Name + "' holds as many images as it may hold. Delete some, or put a lifecycle policy."}
		}
	}
	return nil
}

// autodeploy starts a deployment of every service of the repository's account and region that deploys automatically and
// names exactly this tag. One that is busy remembers it; a paused or failed one does not.
func (c *Control) autodeploy(tx *store.Tx, push app.PushTag) {
	for svc := range store.ServicesByScope.Each(tx, push.Repository.Scope) {
		if !c.follows(svc, push) {
			continue
		}
		switch svc.Status {
		case app.ServiceRunning:
			operation.BeginDeployment(tx, c.cfg.IDs, c.now(), &svc, true)
		case app.ServiceInProgress:
			if !svc.PushPending {
				svc.PushPending = true
				store.Control.Services.Put(tx, svc)
			}
		}
	}
}

func (c *Control) follows(svc app.Service, push app.PushTag) bool {
	if !svc.Config.Source.AutoDeployments || svc.Config.Source.RepositoryType != app.ImageRepositoryECR {
		return false
	}
	ref, err := app.ParseReference(svc.Config.Source.Image, svc.Scope, c.cfg.RegistryHosts...)
	return err == nil && ref.Local && ref.Digest == "" && ref.Tag == push.Tag && ref.Repository == push.Repository
}

// DeleteManifest removes a tag, or a manifest with all its tags when reference is a digest.
func (k *Catalog) DeleteManifest(ctx context.Context, key app.RepositoryKey, reference string) error {
	return k.c.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := findRepository(tx, key); err != nil {
			return err
		}
		id := referenceID(reference)
		m, err := findImage(tx, key, id)
		if err != nil {
			return err
		}
		if id.Tag == "" {
			store.Control.Manifests.Delete(tx, m.Key())
			return nil
		}
		m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(t string) bool { return t == id.Tag })
		store.Control.Manifests.Put(tx, m)
		return nil
	})
}

// Manifests returns a page of the repository's manifests in digest order after the given digest.
func (k *Catalog) Manifests(ctx context.Context, key app.RepositoryKey, after app.Digest, limit int) ([]app.Manifest, error) {
	var out []app.Manifest
	err := k.c.store.View(ctx, func(tx *store.Tx) error {
		if _, err := findRepository(tx, key); err != nil {
			return err
		}
		position := ""
		if after != "" {
			position = string(after) + "\x00"
		}
		out, _ = store.ManifestsByRepository.Page(tx, key, position, limit, nil)
		return nil
	})
	return out, err
}

// Roots returns every manifest digest that a repository holds or a service runs or may roll back to.
func (k *Catalog) Roots(ctx context.Context) ([]app.Digest, error) {
	roots := map[app.Digest]struct{}{}
	err := k.c.store.View(ctx, func(tx *store.Tx) error {
		for m := range store.Manifests.All(tx) {
			roots[m.Digest] = struct{}{}
		}
		for svc := range store.Services.All(tx) {
			if svc.Status == app.ServiceDeleted {
				continue
			}
			op, _ := store.Operations.Get(tx, svc.Operation)
			for _, n := range []app.RevisionNumber{svc.Routed, svc.Previous, svc.Paused, op.Revision, op.From} {
				if r, ok := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: n}); ok && r.Digest != "" {
					roots[r.Digest] = struct{}{}
				}
			}
		}
		for s := range store.ImageStatuses.All(tx) {
			if s.Ready { // resolved, but perhaps not yet written into its revision
				roots[s.Digest] = struct{}{}
			}
		}
		for i := range store.Instances.All(tx) {
			if r, ok := store.Revisions.Get(tx, app.RevisionKey{Service: i.Service, Number: i.Revision}); ok && r.Digest != "" {
				roots[r.Digest] = struct{}{}
			}
		}
		return nil
	})
	return sortedKeys(roots), err
}

// Linked reports whether the repository holds the blob.
func (k *Catalog) Linked(ctx context.Context, key app.RepositoryKey, digest app.Digest) (bool, error) {
	linked := false
	err := k.c.store.View(ctx, func(tx *store.Tx) error {
		_, linked = store.BlobLinks.Get(tx, app.BlobKey{Repository: key, Digest: digest})
		return nil
	})
	return linked, err
}

// Link adds blobs to the repository.
func (k *Catalog) Link(ctx context.Context, key app.RepositoryKey, digests ...app.Digest) error {
	return k.c.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := findRepository(tx, key); err != nil {
			return err
		}
		for _, d := range digests {
			if _, ok := store.BlobLinks.Get(tx, app.BlobKey{Repository: key, Digest: d}); !ok {
				store.Control.BlobLinks.Put(tx, app.BlobLink{Repository: key, Digest: d, LinkedAt: k.c.now()})
			}
		}
		return nil
	})
}

// Unlink removes a blob from the repository.
func (k *Catalog) Unlink(ctx context.Context, key app.RepositoryKey, digest app.Digest) error {
	return k.c.store.Update(ctx, func(tx *store.Tx) error {
		store.Control.BlobLinks.Delete(tx, app.BlobKey{Repository: key, Digest: digest})
		return nil
	})
}

// LinksBefore returns a page of the links made before the time, in the order of their keys after the given one.
func (k *Catalog) LinksBefore(ctx context.Context, before time.Time, after app.BlobKey, limit int) ([]app.BlobLink, error) {
	var out []app.BlobLink
	err := k.c.store.View(ctx, func(tx *store.Tx) error {
		for l := range store.BlobLinks.All(tx) {
			if len(out) == limit {
				break
			}
			if l.LinkedAt.Before(before) && compareLinks(app.BlobKey{Repository: l.Repository, Digest: l.Digest}, after) > 0 {
				out = append(out, l)
			}
		}
		return nil
	})
	return out, err
}

func compareLinks(a, b app.BlobKey) int {
	return cmp.Or(cmp.Compare(a.Repository.Scope.Account, b.Repository.Scope.Account), cmp.Compare(a.Repository.Scope.Region, b.Repository.Scope.Region),
		cmp.Compare(a.Repository.Name, b.Repository.Name), cmp.Compare(a.Digest, b.Digest))
}

// LinkedBlobs returns every linked blob of the install.
func (k *Catalog) LinkedBlobs(ctx context.Context) ([]app.Digest, error) {
	blobs := map[app.Digest]struct{}{}
	err := k.c.store.View(ctx, func(tx *store.Tx) error {
		for l := range store.BlobLinks.All(tx) {
			blobs[l.Digest] = struct{}{}
		}
		return nil
	})
	return sortedKeys(blobs), err
}

func sortedKeys(set map[app.Digest]struct{}) []app.Digest {
	out := make([]app.Digest, 0, len(set))
	for d := range set {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}
