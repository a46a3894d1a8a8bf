package registry

import (
	"context"
	"time"

	"github.com/funade/funade/internal/app"
)

// Catalog is the registry's view of the control rows. Every method is one transaction.
// Errors are *app.Error; KindNotFound carries Code "RepositoryNotFoundException" or
// "ImageNotFoundException", an immutable tag is KindExists with Code "ImageTagAlreadyExistsException".
type Catalog interface {
	// Repository returns the repository.
	Repository(ctx context.Context, key app.RepositoryKey) (app.Repository, error)
	// Manifest returns a manifest by tag or digest.
	Manifest(ctx context.Context, key app.RepositoryKey, reference string) (app.Manifest, error)
	// PutManifest records a manifest with the tags in m.Tags moved to it. This is a push: autodeploy sees it.
	PutManifest(ctx context.Context, m app.Manifest) error
	// DeleteManifest removes a tag, or a manifest with all its tags when reference is a digest.
	DeleteManifest(ctx context.Context, key app.RepositoryKey, reference string) error
	// Manifests returns a page of the repository's manifests in digest order after the given digest.
	Manifests(ctx context.Context, key app.RepositoryKey, after app.Digest, limit int) ([]app.Manifest, error)
	// Roots returns every manifest digest that a repository holds or a service runs or may roll back to.
	Roots(ctx context.Context) ([]app.Digest, error)
}

// Links says which repository may see which blob: a blob exists for a caller only through a repository
// that it may read.
type Links interface {
	// Linked reports whether the repository holds the blob.
	Linked(ctx context.Context, key app.RepositoryKey, digest app.Digest) (bool, error)
	// Link adds blobs to the repository. KindNotFound when the repository is gone.
	Link(ctx context.Context, key app.RepositoryKey, digests ...app.Digest) error
	// Unlink removes a blob from the repository.
	Unlink(ctx context.Context, key app.RepositoryKey, digest app.Digest) error
	// LinkedBlobs returns every linked blob of the install, for garbage collection: a blob pushed ahead of its
	// manifest is kept by its link until the grace period ends.
	LinkedBlobs(ctx context.Context) ([]app.Digest, error)
}

// Directory lists repositories. It serves _catalog and mounts that name no source; both do without when it is nil.
type Directory interface {
	// Repositories returns a page of the scope's repository names in byte order after the given one.
	Repositories(ctx context.Context, scope app.Scope, after string, limit int) ([]string, error)
}

// LinkAges is an ability of Links that lets garbage collection remove links that no manifest came to need.
// Without it a link lasts as long as its repository.
type LinkAges interface {
	// LinksBefore returns a page of the links made before the time, in the order (account, region, name, digest),
	// after the given one; the zero key begins.
	LinksBefore(ctx context.Context, before time.Time, after app.BlobKey, limit int) ([]app.BlobLink, error)
}
