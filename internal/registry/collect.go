package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/funade/funade/internal/app"
)

// Collector removes content that nobody needs while the registry serves.
type Collector struct {
	Registry *Registry
	// Every is the pause between passes; default 1 h.
	Every time.Duration
}

// Collected says what one pass did.
type Collected struct {
	// Kept counts the blobs that something names, Links the links removed, Freed the bytes.
	Kept  int
	Links int
	Freed int64
}

// firstCollect is the pause before the first pass, so that a server which restarts often collects too.
const firstCollect = 5 * time.Minute

// Run collects soon after the start and then after each pause, until ctx ends. A failed pass is logged.
func (c *Collector) Run(ctx context.Context) error {
	every := c.Every
	setDefault(&every, time.Hour)
	timer := time.NewTimer(min(every, firstCollect))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(every)
		}
		done, err := c.Collect(ctx)
		if err != nil && ctx.Err() == nil {
			c.Registry.Log.Error("cannot collect registry garbage", "error", err)
		}
		if done.Freed > 0 || done.Links > 0 {
			c.Registry.Log.Info("registry garbage collected", "bytes", done.Freed, "links", done.Links, "kept", done.Kept)
		}
	}
}

// Collect is one pass: stale uploads, links that no manifest came to need within Grace, then blobs that are older than
// Grace and that neither a root nor a link names. An error before the sweep means that nothing was swept.
func (c *Collector) Collect(ctx context.Context) (done Collected, err error) {
	r := c.Registry
	if err := r.ExpireUploads(ctx); err != nil {
		return done, err
	}
	if done.Links, err = r.sweepLinks(ctx); err != nil {
		return done, fmt.Errorf("cannot remove dangling links: %w", err)
	}
	// walked are the manifests whose children are in keep: not the same as keep, where a layer may have any digest.
	keep, walked := map[app.Digest]struct{}{}, map[app.Digest]struct{}{}
	if err := r.mark(ctx, keep, walked); err != nil { // the long walk, beside pushes
		return done, err
	}
	r.commits.Lock()
	defer r.commits.Unlock()
	if err := r.mark(ctx, keep, walked); err != nil { // what was pushed meanwhile
		return done, err
	}
	linked, err := r.Links.LinkedBlobs(ctx)
	if err != nil {
		return done, fmt.Errorf("cannot list linked blobs: %w", err)
	}
	for _, d := range linked {
		keep[d] = struct{}{}
	}
	done.Kept = len(keep)
	done.Freed, err = r.Blobs.Sweep(ctx, keep, r.Now().Add(-r.Grace))
	return done, err
}

// mark adds the roots and everything that they name to keep, but for what was walked before.
func (r *Registry) mark(ctx context.Context, keep, walked map[app.Digest]struct{}) error {
	todo, err := r.Catalog.Roots(ctx)
	if err != nil {
		return fmt.Errorf("cannot list image roots: %w", err)
	}
	for len(todo) > 0 {
		digest := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if _, ok := walked[digest]; ok {
			continue
		}
		manifests, blobs, err := r.children(ctx, digest)
		if err != nil {
			return fmt.Errorf("cannot read manifest %s: %w", digest, err)
		}
		keep[digest], walked[digest] = struct{}{}, struct{}{}
		for _, b := range blobs {
			keep[b] = struct{}{}
		}
		todo = append(todo, manifests...)
	}
	return nil
}

// children returns what a manifest names. One that is absent (an index holds more platforms than were pulled), too
// large or not JSON names nothing: it can start no container either.
func (r *Registry) children(ctx context.Context, digest app.Digest) (manifests, blobs []app.Digest, err error) {
	body, err := r.readBlob(ctx, digest)
	if app.KindOf(err) == app.KindNotFound {
		return nil, nil, nil
	}
	if failed := failureOf(err); err != nil && failed.code == "MANIFEST_INVALID" {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var d document
	if json.Unmarshal(body, &d) != nil {
		return nil, nil, nil
	}
	required, foreign := d.blobs()
	for _, b := range append(required, foreign...) {
		blobs = append(blobs, b.Digest)
	}
	for _, m := range d.Manifests {
		manifests = append(manifests, m.Digest)
	}
	return manifests, blobs, nil
}

// linkPage is how many links are judged under one hold of commits.
const linkPage = 500

// sweepLinks removes links older than Grace to blobs that no manifest of their repository names. Leases are lost with
// the process, so nothing is removed within Grace of its start.
func (r *Registry) sweepLinks(ctx context.Context) (removed int, err error) {
	ages, ok := r.Links.(LinkAges)
	if !ok || r.Now().Before(r.started.Add(r.Grace)) {
		return 0, nil
	}
	var after app.BlobKey
	for {
		page, err := ages.LinksBefore(ctx, r.Now().Add(-r.Grace), after, linkPage)
		if err != nil {
			return removed, err
		}
		for first := 0; first < len(page); {
			end := first + 1
			for end < len(page) && page[end].Repository == page[first].Repository {
				end++
			}
			n, err := r.sweepRepository(ctx, page[first:end])
			if removed += n; err != nil {
				return removed, err
			}
			first = end
		}
		if len(page) < linkPage {
			return removed, nil
		}
		last := page[len(page)-1]
		after = app.BlobKey{Repository: last.Repository, Digest: last.Digest}
	}
}

// sweepRepository judges links of one repository.
func (r *Registry) sweepRepository(ctx context.Context, links []app.BlobLink) (removed int, err error) {
	r.commits.Lock()
	defer r.commits.Unlock()
	key := links[0].Repository
	used := map[app.Digest]bool{}
	err = r.eachManifest(ctx, key, func(m app.Manifest) bool {
		for _, b := range m.Blobs {
			used[b] = true
		}
		return true
	})
	if err != nil && app.KindOf(err) != app.KindNotFound {
		return 0, err
	}
	for _, link := range links {
		if used[link.Digest] || r.leases.held(app.BlobKey{Repository: key, Digest: link.Digest}, r.Now()) {
			continue
		}
		if err := r.Links.Unlink(ctx, key, link.Digest); err != nil && app.KindOf(err) != app.KindNotFound {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
