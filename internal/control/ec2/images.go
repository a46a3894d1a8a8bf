package ec2

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// Image is something that hosts can be made of.
type Image struct {
	// ID is an ami- id for a tag of the registry, or the reference that the caller wrote.
	ID string
	// Reference is the image reference that it means.
	Reference string
	// Name is REPOSITORY:TAG in the registry, else the reference.
	Name     string
	Owner    app.AccountID
	PushedAt time.Time
}

var amiID = regexp.MustCompile(`^ami-(?:[0-9a-f]{8}|[0-9a-f]{17})$`)

// aliasOf is the ami- id of a tag, the same for as long as the tag is there and again when it comes back.
func aliasOf(key app.RepositoryKey, tag string) string {
	sum := sha256.Sum256([]byte(key.URI() + ":" + tag))
	return "ami-" + hex.EncodeToString(sum[:])[:17]
}

// noImage is the error for an image that does not exist here.
func noImage(id, remedy string) error {
	return fail(app.KindNotFound, "InvalidAMIID.NotFound", "The image id '[%s]' does not exist: %s", id, remedy)
}

// images returns the tagged images of the scope's registry; those that cannot run, such as signatures, are none.
func images(tx *store.Tx, scope app.Scope) (out []Image) {
	for r := range store.RepositoriesByScope.Each(tx, scope) {
		for m := range store.ManifestsByRepository.Each(tx, r.Key) {
			if m.ArtifactType != "" || m.ConfigMediaType != "" && !strings.Contains(m.ConfigMediaType, "image") {
				continue
			}
			for _, tag := range m.Tags {
				out = append(out, taggedImage(r.Key, tag, m.PushedAt))
			}
		}
	}
	return out
}

func taggedImage(key app.RepositoryKey, tag string, pushed time.Time) Image {
	return Image{ID: aliasOf(key, tag), Reference: key.URI() + ":" + tag, Name: key.Name + ":" + tag, Owner: key.Scope.Account, PushedAt: pushed}
}

// DescribeImages returns the tagged images of the scope's registry by their ami- ids, or those that ids mean: ami- ids and
// whatever image references RunHosts takes.
func (c *EC2) DescribeImages(ctx context.Context, scope app.Scope, ids []string) (out []Image, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		if len(ids) == 0 {
			out = images(tx, scope)
			return nil
		}
		for _, id := range ids {
			i, err := c.findImage(tx, scope, id)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(out, func(o Image) bool { return o.ID == i.ID }) {
				out = append(out, i)
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b Image) int { return cmp.Compare(a.ID, b.ID) })
	return out, err
}

// findImage finds out which image the caller means: an ami- id, REPOSITORY:TAG of the scope's registry, or any image
// reference. What the registry is to hold has to be there; what other registries hold is seen when a host starts.
func (c *EC2) findImage(tx *store.Tx, scope app.Scope, id string) (Image, error) {
	if strings.HasPrefix(id, "ami-") {
		if !amiID.MatchString(id) {
			return Image{}, fail(app.KindInvalidRequest, "InvalidAMIID.Malformed", "Invalid id: %q (expecting \"ami-...\", 8 or 17 hexadecimal digits)", id)
		}
		for _, i := range images(tx, scope) {
			if i.ID == id {
				return i, nil
			}
		}
		return Image{}, noImage(id, "push it to the registry, or name one that describe-images shows")
	}
	ref, err := app.ParseReference(id, scope, c.cfg.RegistryHosts...)
	if err != nil {
		return Image{}, fail(app.KindInvalidRequest, "InvalidAMIID.Malformed", "Invalid id: %q: give an ami- id or an image reference such as REPOSITORY:TAG", id)
	}
	if key, ok := ownRepository(tx, scope, id, ref); ok {
		ref.Local, ref.Repository = true, key
	}
	if !ref.Local {
		return Image{ID: id, Reference: ref.String(), Name: ref.String(), Owner: scope.Account}, nil
	}
	m, ok := store.ManifestsByTag.First(tx, app.ManifestTag{Repository: ref.Repository, Tag: ref.Tag})
	if ref.Digest != "" {
		m, ok = store.Manifests.Get(tx, app.ManifestKey{Repository: ref.Repository, Digest: ref.Digest})
	}
	if !ok {
		return Image{}, noImage(id, "push it to the repository "+ref.Repository.Name+", or name one that describe-images shows")
	}
	i := taggedImage(ref.Repository, ref.Tag, m.PushedAt)
	i.ID, i.Reference = id, ref.String()
	if ref.Tag == "" {
		i.Name = ref.Repository.Name + "@" + string(ref.Digest)
	}
	return i, nil
}

// ownRepository finds the repository of the scope that a reference without a host names.
func ownRepository(tx *store.Tx, scope app.Scope, written string, ref app.Reference) (app.RepositoryKey, bool) {
	if ref.Local || ref.Host != "docker.io" || strings.Contains(strings.ToLower(written), "docker.io/") {
		return app.RepositoryKey{}, false
	}
	key := app.RepositoryKey{Scope: scope, Name: ref.Path}
	if !strings.HasPrefix(written, "library/") {
		key.Name = strings.TrimPrefix(key.Name, "library/")
	}
	_, ok := store.Repositories.Get(tx, key)
	return key, ok
}
