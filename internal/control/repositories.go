package control

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// ECR's codes beyond the kinds.
const (
	codeRepositoryNotFound = "RepositoryNotFoundException"
	codeImageNotFound      = "ImageNotFoundException"
	codeTagExists          = "ImageTagAlreadyExistsException"
)

// maxPolicy bounds a repository policy or lifecycle policy in bytes (ecr model 2015-09-21: 10,240 and 30,720).
const (
	maxRepositoryPolicy = 10240
	maxLifecyclePolicy  = 30720
)

func repositoryNotFound(key app.RepositoryKey) error {
	return &app.Error{Kind: app.KindNotFound, Code: codeRepositoryNotFound, Resource: key.Name,
		Message: "The repository with name '" + key.Name + "' does not exist in the registry with id '" + string(key.Scope.Account) + "'"}
}

func findRepository(tx *store.Tx, key app.RepositoryKey) (app.Repository, error) {
	if r, ok := store.Repositories.Get(tx, key); ok {
		return r, nil
	}
	return app.Repository{}, repositoryNotFound(key)
}

// CreateRepository makes an empty repository.
func (c *Control) CreateRepository(ctx context.Context, key app.RepositoryKey, in CreateRepositoryInput) (app.Repository, error) {
	if !app.ValidRepositoryName(key.Name) {
		return app.Repository{}, app.Errorf(app.KindInvalidRequest, key.Name,
			"Invalid parameter at 'repositoryName' failed to satisfy constraint: %q has to have 2 to 256 lower-case letters, digits and single separators ._-/", key.Name)
	}
	if err := checkTags(in.Tags, false); err != nil {
		return app.Repository{}, err
	}
	r := app.Repository{
		Key: key, Immutable: in.Immutable, ScanOnPush: in.ScanOnPush, EncryptionType: in.EncryptionType, KMSKeyARN: in.KMSKeyARN, CreatedAt: c.now(),
	}
	if r.EncryptionType == "" {
		r.EncryptionType = "AES256"
	}
	return r, c.store.Update(ctx, func(tx *store.Tx) error {
		if _, exists := store.Repositories.Get(tx, key); exists {
			return &app.Error{Kind: app.KindExists, Code: "RepositoryAlreadyExistsException", Resource: key.Name,
				Message: "The repository with name '" + key.Name + "' already exists in the registry with id '" + string(key.Scope.Account) + "'"}
		}
		if store.Repositories.Len(tx) >= c.cfg.Quotas.Repositories {
			return &app.Error{Kind: app.KindQuota, Code: "LimitExceededException", Resource: key.Name,
				Message: "The registry has as many repositories as it may have. Delete one first."}
		}
		store.Control.Repositories.Put(tx, r)
		putTags(tx, app.Resource(key.ARN()), in.Tags)
		return nil
	})
}

// DescribeRepositories lists repositories by name; names select some, each of which has to exist.
func (c *Control) DescribeRepositories(ctx context.Context, scope app.Scope, names []string, page PageRequest) (Page[app.Repository], error) {
	out := Page[app.Repository]{Items: []app.Repository{}}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		if len(names) == 0 {
			var err error
			out, err = list(tx, store.RepositoriesByScope, scope, nil, page, "repositories", string(scope.Account), string(scope.Region))
			return err
		}
		for _, name := range names {
			r, err := findRepository(tx, app.RepositoryKey{Scope: scope, Name: name})
			if err != nil {
				return err
			}
			out.Items = append(out.Items, r)
		}
		return nil
	})
	return out, err
}

// DeleteRepository removes a repository, with force also one that holds images.
func (c *Control) DeleteRepository(ctx context.Context, key app.RepositoryKey, force bool) (app.Repository, error) {
	return c.changeRepository(ctx, key, func(tx *store.Tx, r *app.Repository) (bool, error) {
		if _, full := store.ManifestsByRepository.First(tx, key); full && !force {
			return false, &app.Error{Kind: app.KindInvalidState, Code: "RepositoryNotEmptyException", Resource: key.Name,
				Message: "The repository with name '" + key.Name + "' in registry with id '" + string(key.Scope.Account) + "' cannot be deleted because it still contains images"}
		}
		for m := range store.ManifestsByRepository.Each(tx, key) {
			store.Control.Manifests.Delete(tx, m.Key())
		}
		for l := range store.BlobLinksByRepository.Each(tx, key) {
			store.Control.BlobLinks.Delete(tx, app.BlobKey{Repository: key, Digest: l.Digest})
		}
		store.Control.TagSets.Delete(tx, app.Resource(key.ARN()))
		store.Control.Repositories.Delete(tx, key)
		return false, nil
	})
}

// changeRepository changes one repository; change tells whether to write the row.
func (c *Control) changeRepository(ctx context.Context, key app.RepositoryKey, change func(tx *store.Tx, r *app.Repository) (bool, error)) (app.Repository, error) {
	var out app.Repository
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		r, err := findRepository(tx, key)
		if err != nil {
			return err
		}
		write, err := change(tx, &r)
		if err == nil && write {
			store.Control.Repositories.Put(tx, r)
		}
		out = r
		return err
	})
	return out, err
}

// PutImageTagMutability says whether tags can be moved.
func (c *Control) PutImageTagMutability(ctx context.Context, key app.RepositoryKey, immutable bool) (app.Repository, error) {
	return c.changeRepository(ctx, key, func(_ *store.Tx, r *app.Repository) (bool, error) {
		r.Immutable = immutable
		return true, nil
	})
}

// PutImageScanningConfiguration stores whether images are to be scanned on push.
func (c *Control) PutImageScanningConfiguration(ctx context.Context, key app.RepositoryKey, scanOnPush bool) (app.Repository, error) {
	return c.changeRepository(ctx, key, func(_ *store.Tx, r *app.Repository) (bool, error) {
		r.ScanOnPush = scanOnPush
		return true, nil
	})
}

// SetRepositoryPolicy stores a repository policy, a JSON text, and returns it.
func (c *Control) SetRepositoryPolicy(ctx context.Context, key app.RepositoryKey, text string) (string, error) {
	if err := checkPolicy("policyText", text, maxRepositoryPolicy); err != nil {
		return "", err
	}
	r, err := c.changeRepository(ctx, key, func(_ *store.Tx, r *app.Repository) (bool, error) {
		r.Policy = text
		return true, nil
	})
	return r.Policy, err
}

// GetRepositoryPolicy returns the repository policy.
func (c *Control) GetRepositoryPolicy(ctx context.Context, key app.RepositoryKey) (string, error) {
	var out string
	err := c.store.View(ctx, func(tx *store.Tx) error {
		r, err := findRepository(tx, key)
		if err == nil && r.Policy == "" {
			err = policyNotFound("RepositoryPolicyNotFoundException", "Repository policy", key)
		}
		out = r.Policy
		return err
	})
	return out, err
}

// DeleteRepositoryPolicy removes the repository policy and returns it.
func (c *Control) DeleteRepositoryPolicy(ctx context.Context, key app.RepositoryKey) (string, error) {
	var old string
	_, err := c.changeRepository(ctx, key, func(_ *store.Tx, r *app.Repository) (bool, error) {
		if old = r.Policy; old == "" {
			return false, policyNotFound("RepositoryPolicyNotFoundException", "Repository policy", key)
		}
		r.Policy = ""
		return true, nil
	})
	return old, err
}

func policyNotFound(code, what string, key app.RepositoryKey) error {
	return &app.Error{Kind: app.KindNotFound, Code: code, Resource: key.Name,
		Message: what + " does not exist for the repository with name '" + key.Name + "' in the registry with id '" + string(key.Scope.Account) + "'"}
}

func checkPolicy(member, text string, limit int) error {
	var object map[string]any
	if len(text) > limit {
		return invalid("Invalid parameter at '%s' failed to satisfy constraint: it has %d bytes, the limit is %d.", member, len(text), limit)
	}
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return invalid("Invalid parameter at '%s' failed to satisfy constraint: it is not a JSON object: %v", member, err)
	}
	return nil
}

// sortedTags returns tags sorted and without repeats.
func sortedTags(tags []string) []string {
	out := slices.Clone(tags)
	slices.Sort(out)
	return slices.Compact(out)
}
