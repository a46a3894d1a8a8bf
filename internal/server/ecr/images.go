package ecr

import (
	"context"
	"errors"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ecr"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/server/member"
)

func imageIDs(in []api.ImageIdentifier) []control.ImageID {
	out := make([]control.ImageID, len(in))
	for n, id := range in {
		out[n] = control.ImageID{Digest: app.Digest(member.Value(id.ImageDigest)), Tag: member.Value(id.ImageTag)}
	}
	return out
}

func imageIdentifier(id control.ImageID) *api.ImageIdentifier {
	return &api.ImageIdentifier{ImageDigest: member.Text(id.Digest), ImageTag: member.Text(id.Tag)}
}

func imageFailures(in []control.ImageFailure) []api.ImageFailure {
	out := make([]api.ImageFailure, len(in))
	for n, f := range in {
		out[n] = api.ImageFailure{ImageId: imageIdentifier(f.ID), FailureCode: api.ImageFailureCode(f.Code), FailureReason: new(f.Reason)}
	}
	return out
}

// DescribeImages shows images with their sizes and tags.
func (h *Handler) DescribeImages(ctx context.Context, in *api.DescribeImagesInput) (*api.DescribeImagesOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	status := control.TagAny
	if in.Filter != nil && in.Filter.TagStatus != "" {
		status = control.TagStatus(in.Filter.TagStatus)
	}
	page, err := h.control.DescribeImages(ctx, k, imageIDs(in.ImageIds), status, limited(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.DescribeImagesOutput{NextToken: member.Text(page.NextToken), ImageDetails: []api.ImageDetail{}}
	for _, m := range page.Items {
		artifact := m.ArtifactType
		if artifact == "" {
			artifact = m.ConfigMediaType
		}
		out.ImageDetails = append(out.ImageDetails, api.ImageDetail{
			RegistryId: registryID(k), RepositoryName: new(k.Name), ImageDigest: new(string(m.Digest)), ImageTags: m.Tags,
			ImageSizeInBytes: new(m.ImageSize), ImagePushedAt: new(m.PushedAt), ImageManifestMediaType: new(m.MediaType),
			ArtifactMediaType: member.Text(artifact),
		})
	}
	return out, nil
}

// ListImages lists the identifiers of images, one entry a tag.
func (h *Handler) ListImages(ctx context.Context, in *api.ListImagesInput) (*api.ListImagesOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	status := control.TagAny
	if in.Filter != nil && in.Filter.TagStatus != "" {
		status = control.TagStatus(in.Filter.TagStatus)
	}
	page, err := h.control.ListImages(ctx, k, status, limited(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListImagesOutput{NextToken: member.Text(page.NextToken), ImageIds: []api.ImageIdentifier{}}
	for _, id := range page.Items {
		out.ImageIds = append(out.ImageIds, *imageIdentifier(id))
	}
	return out, nil
}

// BatchGetImage returns the manifests of images.
func (h *Handler) BatchGetImage(ctx context.Context, in *api.BatchGetImageInput) (*api.BatchGetImageOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	ids := imageIDs(in.ImageIds)
	out := &api.BatchGetImageOutput{Images: []api.Image{}, Failures: []api.ImageFailure{}}
	for _, id := range ids {
		found, failures, err := h.control.FindImages(ctx, k, []control.ImageID{id})
		if err != nil {
			return nil, wireError(err)
		}
		out.Failures = append(out.Failures, imageFailures(failures)...)
		for _, m := range found {
			_, body, err := h.manifests.ReadManifest(ctx, k, string(m.Digest))
			if err != nil {
				return nil, wireError(err)
			}
			out.Images = append(out.Images, image(k, m, id.Tag, body))
		}
	}
	return out, nil
}

func image(k app.RepositoryKey, m app.Manifest, tag string, body []byte) api.Image {
	return api.Image{
		RegistryId: registryID(k), RepositoryName: new(k.Name),
		ImageId:       imageIdentifier(control.ImageID{Digest: m.Digest, Tag: tag}),
		ImageManifest: new(string(body)), ImageManifestMediaType: new(m.MediaType),
	}
}

// PutImage records a manifest, usually to give an image one more tag.
func (h *Handler) PutImage(ctx context.Context, in *api.PutImageInput) (*api.PutImageOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	body, tag := []byte(*in.ImageManifest), member.Value(in.ImageTag)
	if err := h.checkPut(ctx, k, in, tag); err != nil {
		return nil, err
	}
	m, err := h.manifests.PutManifest(ctx, k, member.Value(in.ImageManifestMediaType), body, tag)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.PutImageOutput{Image: new(image(k, m, tag, body))}, nil
}

// checkPut refuses what ECR refuses before anything is written: an image that stands there already with the same
// tag, and a digest that is not the manifest's.
func (h *Handler) checkPut(ctx context.Context, k app.RepositoryKey, in *api.PutImageInput, tag string) error {
	digest := app.SHA256([]byte(*in.ImageManifest))
	if in.ImageDigest != nil && app.Digest(*in.ImageDigest) != digest {
		return &api.ImageDigestDoesNotMatchException{Message: "The digest '" + *in.ImageDigest + "' is not the manifest's, which is '" + string(digest) + "'."}
	}
	reference := tag
	if reference == "" {
		reference = string(digest)
	}
	current, _, err := h.manifests.ReadManifest(ctx, k, reference)
	var e *app.Error
	switch {
	case err == nil && current.Digest == digest:
		return &api.ImageAlreadyExistsException{
			Message: "Image with digest '" + string(digest) + "' and tag '" + tag + "' already exists in the repository with name '" + k.Name + "' in registry with id '" + string(k.Scope.Account) + "'",
		}
	case err == nil, errors.As(err, &e) && e.Code == "ImageNotFoundException":
		return nil
	}
	return wireError(err)
}

// BatchDeleteImage removes tags and images.
func (h *Handler) BatchDeleteImage(ctx context.Context, in *api.BatchDeleteImageInput) (*api.BatchDeleteImageOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	deleted, failures, err := h.control.BatchDeleteImage(ctx, k, imageIDs(in.ImageIds))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.BatchDeleteImageOutput{ImageIds: []api.ImageIdentifier{}, Failures: imageFailures(failures)}
	for _, id := range deleted {
		out.ImageIds = append(out.ImageIds, *imageIdentifier(id))
	}
	return out, nil
}
