package containerd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/funade/funade/internal/app"
)

// protected counts the blobs that a running Resolve relies on: from the moment it names one
// until it ends, Sweep leaves that blob alone. mu is also held while a blob is committed or deleted.
type protected struct {
	mu     sync.Mutex
	counts map[digest.Digest]int
}

// hold is one Resolve's share.
type hold struct {
	all     *protected
	digests []digest.Digest
}

func (p *protected) begin() *hold { return &hold{all: p} }

func (h *hold) add(d digest.Digest) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	if h.all.counts == nil {
		h.all.counts = map[digest.Digest]int{}
	}
	h.all.counts[d]++
	h.digests = append(h.digests, d)
}

func (h *hold) end() {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	for _, d := range h.digests {
		if h.all.counts[d]--; h.all.counts[d] == 0 {
			delete(h.all.counts, d)
		}
	}
}

// Sweep removes what keep does not hold, see engine.Blobs. A kept manifest or index keeps
// everything that it names.
func (e *Engine) Sweep(ctx context.Context, keep map[app.Digest]struct{}, before time.Time) (int64, error) {
	ctx = e.scope(ctx)
	kept := map[digest.Digest]bool{}
	for d := range keep {
		stored, err := e.storedAs(ctx, digest.Digest(d))
		if err != nil {
			return 0, err
		}
		e.keepTree(ctx, stored, kept, 0)
	}
	layersBefore, err := e.layerUsage(ctx)
	if err != nil {
		return 0, err
	}
	if err := e.sweepImages(ctx, kept, before); err != nil {
		return 0, err
	}
	freed, err := e.sweepBlobs(ctx, kept, before)
	if err != nil {
		return freed, err
	}
	if err := e.collect(ctx); err != nil {
		return freed, err
	}
	layersAfter, err := e.layerUsage(ctx)
	if err != nil {
		return freed, err
	}
	return freed + max(0, layersBefore-layersAfter), nil
}

// keepTree marks d and, when it is a manifest or an index, what it names. A blob that is
// not here or not readable has nothing to keep below it.
func (e *Engine) keepTree(ctx context.Context, d digest.Digest, kept map[digest.Digest]bool, depth int) {
	if kept[d] || depth > 4 {
		return
	}
	kept[d] = true
	desc, err := e.describe(ctx, d)
	if err != nil {
		return
	}
	children, err := images.Children(ctx, e.content, desc)
	if err != nil {
		return
	}
	for _, child := range children {
		if images.IsManifestType(child.MediaType) || images.IsIndexType(child.MediaType) {
			e.keepTree(ctx, child.Digest, kept, depth+1)
		} else {
			kept[child.Digest] = true
		}
	}
}

func (e *Engine) sweepImages(ctx context.Context, kept map[digest.Digest]bool, before time.Time) error {
	list, err := e.images.List(ctx)
	if err != nil {
		return fmt.Errorf("cannot list images: %w", err)
	}
	for _, img := range list {
		if kept[img.Target.Digest] || !img.UpdatedAt.Before(before) {
			continue
		}
		e.protected.mu.Lock()
		if e.protected.counts[img.Target.Digest] == 0 {
			err = e.images.Delete(ctx, img.Name)
		}
		e.protected.mu.Unlock()
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("cannot remove image %s: %w", img.Name, err)
		}
		e.cache.drop(app.Digest(img.Target.Digest))
	}
	return nil
}

func (c *imageCache) drop(d app.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, img := range c.images {
		if img.digest == d {
			delete(c.images, key)
		}
	}
}

// sweepBlobs deletes old blobs that nothing keeps. A blob that was pushed again since
// counts as new.
func (e *Engine) sweepBlobs(ctx context.Context, kept map[digest.Digest]bool, before time.Time) (int64, error) {
	var old []content.Info
	err := e.content.Walk(ctx, func(info content.Info) error {
		if !kept[info.Digest] && info.CreatedAt.Before(before) {
			old = append(old, info)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cannot list blobs: %w", err)
	}
	var freed int64
	for _, info := range old {
		removed, err := e.deleteBlob(ctx, info.Digest, before)
		if err != nil {
			return freed, err
		}
		if removed {
			freed += info.Size
		}
	}
	return freed, nil
}

func (e *Engine) deleteBlob(ctx context.Context, d digest.Digest, before time.Time) (bool, error) {
	e.protected.mu.Lock()
	defer e.protected.mu.Unlock()
	if e.protected.counts[d] > 0 {
		return false, nil
	}
	info, err := e.content.Info(ctx, d)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot inspect blob %s: %w", d, err)
	}
	if pushed, err := time.Parse(time.RFC3339Nano, info.Labels[labelUsed]); err == nil && !pushed.Before(before) {
		return false, nil
	}
	if err := e.content.Delete(ctx, d); err != nil && !errdefs.IsNotFound(err) {
		return false, fmt.Errorf("cannot delete blob %s: %w", d, err)
	}
	return true, nil
}

// collect runs containerd's garbage collector and waits for it: it removes the files of
// deleted blobs and the layers that nothing refers to any more.
func (e *Engine) collect(ctx context.Context) error {
	manager := e.client.LeasesService()
	lease, err := manager.Create(ctx, leases.WithRandomID(), leases.WithExpiration(time.Minute))
	if err != nil {
		return fmt.Errorf("cannot start collection: %w", err)
	}
	if err := manager.Delete(ctx, lease, leases.SynchronousDelete); err != nil {
		return fmt.Errorf("cannot collect garbage: %w", err)
	}
	return nil
}

// layerUsage sums up the unpacked layers in bytes; their sizes are in the metadata.
func (e *Engine) layerUsage(ctx context.Context) (int64, error) {
	var names []string
	err := e.layers.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Kind == snapshots.KindCommitted {
			names = append(names, info.Name)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cannot list layers: %w", err)
	}
	var total int64
	for _, name := range names {
		usage, err := e.layers.Usage(ctx, name)
		if err != nil && !errdefs.IsNotFound(err) {
			return 0, fmt.Errorf("cannot measure layer %s: %w", name, err)
		}
		total += usage.Size
	}
	return total, nil
}
