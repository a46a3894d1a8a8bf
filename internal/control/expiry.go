package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/lifecycle"
	"github.com/funade/funade/internal/store"
)

const codePolicyNotFound = "LifecyclePolicyNotFoundException"

// PutLifecyclePolicy checks and stores a lifecycle policy. The keeper applies it within the hour.
func (c *Control) PutLifecyclePolicy(ctx context.Context, key app.RepositoryKey, text string) (LifecyclePolicy, error) {
	if _, err := lifecycle.Parse(text); err != nil {
		return LifecyclePolicy{}, err
	}
	_, err := c.changeRepository(ctx, key, func(_ *store.Tx, r *app.Repository) (bool, error) {
		r.LifecyclePolicy, r.LifecycleEvaluatedAt = text, time.Time{}
		return true, nil
	})
	return LifecyclePolicy{Text: text}, err
}

// GetLifecyclePolicy returns the lifecycle policy.
func (c *Control) GetLifecyclePolicy(ctx context.Context, key app.RepositoryKey) (LifecyclePolicy, error) {
	var out LifecyclePolicy
	err := c.store.View(ctx, func(tx *store.Tx) error {
		r, err := findRepository(tx, key)
		if err == nil && r.LifecyclePolicy == "" {
			err = policyNotFound(codePolicyNotFound, "Lifecycle policy", key)
		}
		out = LifecyclePolicy{r.LifecyclePolicy, r.LifecycleEvaluatedAt}
		return err
	})
	return out, err
}

// DeleteLifecyclePolicy removes the lifecycle policy and returns it.
func (c *Control) DeleteLifecyclePolicy(ctx context.Context, key app.RepositoryKey) (LifecyclePolicy, error) {
	var old LifecyclePolicy
	_, err := c.changeRepository(ctx, key, func(_ *store.Tx, r *app.Repository) (bool, error) {
		if r.LifecyclePolicy == "" {
			return false, policyNotFound(codePolicyNotFound, "Lifecycle policy", key)
		}
		old = LifecyclePolicy{r.LifecyclePolicy, r.LifecycleEvaluatedAt}
		r.LifecyclePolicy, r.LifecycleEvaluatedAt = "", time.Time{}
		return true, nil
	})
	return old, err
}

// expire applies a repository's lifecycle policy when it is due.
func expire(tx *store.Tx, key app.RepositoryKey, now time.Time) {
	r, ok := store.Repositories.Get(tx, key)
	if !ok || !expiryDue(r, now) {
		return
	}
	policy, err := lifecycle.Parse(r.LifecyclePolicy)
	if err != nil {
		// A policy of an older version that this one refuses: leave the images alone and say so.
		slog.Warn("cannot apply lifecycle policy", "repository", key.Name, "error", err)
	} else {
		var images []app.Manifest
		for m := range store.ManifestsByRepository.Each(tx, key) {
			images = append(images, m)
		}
		for _, digest := range lifecycle.Expired(policy, images, now) {
			store.Control.Manifests.Delete(tx, app.ManifestKey{Repository: key, Digest: digest})
		}
	}
	r.LifecycleEvaluatedAt = now
	store.Control.Repositories.Put(tx, r)
}

// lifecycleInterval is how often lifecycle policies are applied.
const lifecycleInterval = time.Hour

func expiryDue(r app.Repository, now time.Time) bool {
	return r.LifecyclePolicy != "" && now.Sub(r.LifecycleEvaluatedAt) >= lifecycleInterval
}
