package ecr

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ecr"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

func repository(r app.Repository) *api.Repository {
	out := &api.Repository{
		RepositoryArn: new(r.Key.ARN()), RegistryId: registryID(r.Key), RepositoryName: new(r.Key.Name), RepositoryUri: new(r.Key.URI()),
		CreatedAt: new(r.CreatedAt), ImageTagMutability: mutability(r.Immutable),
		ImageScanningConfiguration: &api.ImageScanningConfiguration{ScanOnPush: new(r.ScanOnPush)},
		EncryptionConfiguration:    &api.EncryptionConfiguration{EncryptionType: api.EncryptionTypeAes256, KmsKey: member.Text(r.KMSKeyARN)},
	}
	if r.EncryptionType != "" {
		out.EncryptionConfiguration.EncryptionType = api.EncryptionType(r.EncryptionType)
	}
	return out
}

func mutability(immutable bool) api.ImageTagMutability {
	if immutable {
		return api.ImageTagMutabilityImmutable
	}
	return api.ImageTagMutabilityMutable
}

// CreateRepository makes a repository.
func (h *Handler) CreateRepository(ctx context.Context, in *api.CreateRepositoryInput) (*api.CreateRepositoryOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	input := control.CreateRepositoryInput{Immutable: in.ImageTagMutability == api.ImageTagMutabilityImmutable, Tags: tagsOf(in.Tags)}
	if c := in.ImageScanningConfiguration; c != nil {
		input.ScanOnPush = member.Value(c.ScanOnPush)
	}
	if c := in.EncryptionConfiguration; c != nil {
		input.EncryptionType, input.KMSKeyARN = string(c.EncryptionType), member.Value(c.KmsKey)
	}
	r, err := h.control.CreateRepository(ctx, k, input)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateRepositoryOutput{Repository: repository(r)}, nil
}

// DescribeRepositories lists repositories, by default all of the caller's registry.
func (h *Handler) DescribeRepositories(ctx context.Context, in *api.DescribeRepositoriesInput) (*api.DescribeRepositoriesOutput, error) {
	if _, err := key(ctx, in.RegistryId, "any"); err != nil {
		return nil, err
	}
	page, err := h.control.DescribeRepositories(ctx, caller.Scope(ctx), in.RepositoryNames, limited(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.DescribeRepositoriesOutput{NextToken: member.Text(page.NextToken), Repositories: []api.Repository{}}
	for _, r := range page.Items {
		out.Repositories = append(out.Repositories, *repository(r))
	}
	return out, nil
}

// DeleteRepository removes a repository; one that holds images only by force.
func (h *Handler) DeleteRepository(ctx context.Context, in *api.DeleteRepositoryInput) (*api.DeleteRepositoryOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	r, err := h.control.DeleteRepository(ctx, k, member.Value(in.Force))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteRepositoryOutput{Repository: repository(r)}, nil
}

// PutImageTagMutability says whether tags may move.
func (h *Handler) PutImageTagMutability(ctx context.Context, in *api.PutImageTagMutabilityInput) (*api.PutImageTagMutabilityOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	r, err := h.control.PutImageTagMutability(ctx, k, in.ImageTagMutability == api.ImageTagMutabilityImmutable)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.PutImageTagMutabilityOutput{RegistryId: registryID(k), RepositoryName: new(k.Name), ImageTagMutability: mutability(r.Immutable)}, nil
}

// PutImageScanningConfiguration stores whether images are to be scanned when pushed.
func (h *Handler) PutImageScanningConfiguration(ctx context.Context, in *api.PutImageScanningConfigurationInput) (*api.PutImageScanningConfigurationOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	r, err := h.control.PutImageScanningConfiguration(ctx, k, member.Value(in.ImageScanningConfiguration.ScanOnPush))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.PutImageScanningConfigurationOutput{
		RegistryId: registryID(k), RepositoryName: new(k.Name),
		ImageScanningConfiguration: &api.ImageScanningConfiguration{ScanOnPush: new(r.ScanOnPush)},
	}, nil
}

// PutLifecyclePolicy sets the policy by which images expire.
func (h *Handler) PutLifecyclePolicy(ctx context.Context, in *api.PutLifecyclePolicyInput) (*api.PutLifecyclePolicyOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	p, err := h.control.PutLifecyclePolicy(ctx, k, *in.LifecyclePolicyText)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.PutLifecyclePolicyOutput{RegistryId: registryID(k), RepositoryName: new(k.Name), LifecyclePolicyText: new(p.Text)}, nil
}

// GetLifecyclePolicy shows the policy.
func (h *Handler) GetLifecyclePolicy(ctx context.Context, in *api.GetLifecyclePolicyInput) (*api.GetLifecyclePolicyOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	p, err := h.control.GetLifecyclePolicy(ctx, k)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.GetLifecyclePolicyOutput{
		RegistryId: registryID(k), RepositoryName: new(k.Name), LifecyclePolicyText: new(p.Text), LastEvaluatedAt: member.Moment(p.EvaluatedAt),
	}, nil
}

// DeleteLifecyclePolicy removes the policy.
func (h *Handler) DeleteLifecyclePolicy(ctx context.Context, in *api.DeleteLifecyclePolicyInput) (*api.DeleteLifecyclePolicyOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	p, err := h.control.DeleteLifecyclePolicy(ctx, k)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteLifecyclePolicyOutput{
		RegistryId: registryID(k), RepositoryName: new(k.Name), LifecyclePolicyText: new(p.Text), LastEvaluatedAt: member.Moment(p.EvaluatedAt),
	}, nil
}

// SetRepositoryPolicy sets the policy of who may use the repository.
func (h *Handler) SetRepositoryPolicy(ctx context.Context, in *api.SetRepositoryPolicyInput) (*api.SetRepositoryPolicyOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	text, err := h.control.SetRepositoryPolicy(ctx, k, *in.PolicyText)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.SetRepositoryPolicyOutput{RegistryId: registryID(k), RepositoryName: new(k.Name), PolicyText: new(text)}, nil
}

// GetRepositoryPolicy shows the policy.
func (h *Handler) GetRepositoryPolicy(ctx context.Context, in *api.GetRepositoryPolicyInput) (*api.GetRepositoryPolicyOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	text, err := h.control.GetRepositoryPolicy(ctx, k)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.GetRepositoryPolicyOutput{RegistryId: registryID(k), RepositoryName: new(k.Name), PolicyText: new(text)}, nil
}

// DeleteRepositoryPolicy removes the policy.
func (h *Handler) DeleteRepositoryPolicy(ctx context.Context, in *api.DeleteRepositoryPolicyInput) (*api.DeleteRepositoryPolicyOutput, error) {
	k, err := key(ctx, in.RegistryId, *in.RepositoryName)
	if err != nil {
		return nil, err
	}
	text, err := h.control.DeleteRepositoryPolicy(ctx, k)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteRepositoryPolicyOutput{RegistryId: registryID(k), RepositoryName: new(k.Name), PolicyText: new(text)}, nil
}
