package control

import (
	"context"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

func imageNotFound(key app.RepositoryKey, what string) error {
	return &app.Error{Kind: app.KindNotFound, Code: codeImageNotFound, Resource: key.Name,
		Message: "The image with imageId {" + what + "} does not exist within the repository with name '" + key.Name +
			"' in the registry with id '" + string(key.Scope.Account) + "'"}
}

// findImage looks an image up by digest, tag or both.
func findImage(tx *store.Tx, key app.RepositoryKey, id ImageID) (app.Manifest, error) {
	switch {
	case id.Tag != "":
		m, ok := store.ManifestsByTag.First(tx, app.ManifestTag{Repository: key, Tag: id.Tag})
		if ok && (id.Digest == "" || id.Digest == m.Digest) {
			return m, nil
		}
		return app.Manifest{}, imageNotFound(key, "imageDigest:'"+string(id.Digest)+"', imageTag:'"+id.Tag+"'")
	case id.Digest != "":
		if m, ok := store.Manifests.Get(tx, app.ManifestKey{Repository: key, Digest: id.Digest}); ok {
			return m, nil
		}
	}
	return app.Manifest{}, imageNotFound(key, "imageDigest:'"+string(id.Digest)+"', imageTag:'"+id.Tag+"'")
}

func imageFailure(id ImageID) ImageFailure {
	switch {
	case id.Digest == "" && id.Tag == "":
		return ImageFailure{id, "MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"}
	case id.Digest != "" && !id.Digest.Valid():
		return ImageFailure{id, "InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"}
	case id.Digest != "" && id.Tag != "":
		return ImageFailure{id, "ImageTagDoesNotMatchDigest", "The image tag does not name the image with that digest"}
	}
	return ImageFailure{id, "ImageNotFound", "Requested image not found"}
}

// ListImages lists a repository's images: one entry per tag, and one per image without tags.
func (c *Control) ListImages(ctx context.Context, key app.RepositoryKey, status TagStatus, page PageRequest) (Page[ImageID], error) {
	var out Page[ImageID]
	err := c.store.View(ctx, func(tx *store.Tx) error {
		if _, err := findRepository(tx, key); err != nil {
			return err
		}
		var ids []ImageID
		for m := range store.ManifestsByRepository.Each(tx, key) {
			if len(m.Tags) == 0 && status != Tagged {
				ids = append(ids, ImageID{Digest: m.Digest})
			}
			for _, tag := range m.Tags {
				if status != Untagged {
					ids = append(ids, ImageID{m.Digest, tag})
				}
			}
		}
		var err error
		out, err = slice(ids, func(id ImageID) string { return string(id.Digest) + "\x00" + id.Tag }, page,
			"images", key.ARN(), string(status))
		return err
	})
	return out, err
}

// DescribeImages lists a repository's images in digest order; ids select some, each of which has to exist.
func (c *Control) DescribeImages(ctx context.Context, key app.RepositoryKey, ids []ImageID, status TagStatus, page PageRequest) (Page[app.Manifest], error) {
	out := Page[app.Manifest]{Items: []app.Manifest{}}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		if _, err := findRepository(tx, key); err != nil {
			return err
		}
		if len(ids) == 0 {
			var err error
			out, err = list(tx, store.ManifestsByRepository, key, func(m app.Manifest) bool {
				return !(status == Tagged && len(m.Tags) == 0 || status == Untagged && len(m.Tags) > 0)
			}, page, "describe-images", key.ARN(), string(status))
			return err
		}
		for _, id := range ids {
			m, err := findImage(tx, key, id)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(out.Items, func(o app.Manifest) bool { return o.Digest == m.Digest }) {
				out.Items = append(out.Items, m)
			}
		}
		return nil
	})
	return out, err
}

// FindImages looks a batch of images up; those that are not there become failures.
func (c *Control) FindImages(ctx context.Context, key app.RepositoryKey, ids []ImageID) (found []app.Manifest, failures []ImageFailure, err error) {
	err = c.store.View(ctx, func(tx *store.Tx) error {
		if _, err := findRepository(tx, key); err != nil {
			return err
		}
		for _, id := range ids {
			if m, err := findImage(tx, key, id); err == nil {
				found = append(found, m)
			} else {
				failures = append(failures, imageFailure(id))
			}
		}
		return nil
	})
	return found, failures, err
}

// BatchDeleteImage removes tags, and images named by digest with all their tags. An image whose last tag goes this way
// goes too. Every removed digest-and-tag pair is reported.
func (c *Control) BatchDeleteImage(ctx context.Context, key app.RepositoryKey, ids []ImageID) (deleted []ImageID, failures []ImageFailure, err error) {
	err = c.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := findRepository(tx, key); err != nil {
			return err
		}
		for _, id := range ids {
			m, err := findImage(tx, key, id)
			if err != nil {
				failures = append(failures, imageFailure(id))
				continue
			}
			if parent, used := indexOf(tx, m); used && (id.Tag == "" || len(m.Tags) == 1) {
				failures = append(failures, ImageFailure{id, "ImageReferencedByManifestList",
					"Requested image referenced by manifest list: [" + string(parent) + "]"})
				continue
			}
			deleted = append(deleted, removeImage(tx, m, id.Tag)...)
		}
		return nil
	})
	return deleted, failures, err
}

// indexOf finds an index in the same repository that names the manifest.
func indexOf(tx *store.Tx, m app.Manifest) (app.Digest, bool) {
	for other := range store.ManifestsByRepository.Each(tx, m.Repository) {
		if slices.Contains(other.Manifests, m.Digest) {
			return other.Digest, true
		}
	}
	return "", false
}

// removeImage removes one tag, or with tag "" the image, and returns what went.
func removeImage(tx *store.Tx, m app.Manifest, tag string) []ImageID {
	if tag != "" && len(m.Tags) > 1 {
		m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(t string) bool { return t == tag })
		store.Control.Manifests.Put(tx, m)
		return []ImageID{{m.Digest, tag}}
	}
	store.Control.Manifests.Delete(tx, m.Key())
	if len(m.Tags) == 0 {
		return []ImageID{{Digest: m.Digest}}
	}
	var out []ImageID
	for _, t := range m.Tags {
		out = append(out, ImageID{m.Digest, t})
	}
	return out
}
