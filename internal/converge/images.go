package converge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/backoff"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/store"
)

// resolvesAtOnce bounds how many images are made present at the same time.
const resolvesAtOnce = 3

// Images makes the images of ImageRequests present and answers with ImageStatuses.
type Images struct {
	store  *store.Store
	engine engine.Engine
	// parse tells references to the install's own registry from others.
	parse func(image string, scope app.Scope) (app.Reference, error)
	now   func() time.Time

	slots chan struct{}
	poke  Poke

	mu       sync.Mutex
	busy     map[app.RevisionKey]bool
	attempts map[app.RevisionKey]attempt
}

// attempt remembers failures that may pass.
type attempt struct {
	failures int
	next     time.Time
}

// NewImages returns the converger; Run does its work.
func NewImages(s *store.Store, e engine.Engine, parse func(string, app.Scope) (app.Reference, error), now func() time.Time) *Images {
	return &Images{
		store: s, engine: e, parse: parse, now: now,
		slots: make(chan struct{}, resolvesAtOnce), poke: NewPoke(),
		busy: map[app.RevisionKey]bool{}, attempts: map[app.RevisionKey]attempt{},
	}
}

// Run converges until ctx ends.
func (c *Images) Run(ctx context.Context) {
	Loop(ctx, "images", func() []<-chan struct{} {
		return []<-chan struct{}{c.store.Changed(store.ImageRequests.Name()), c.poke}
	}, 5*time.Second, c.pass)
}

func (c *Images) pass(ctx context.Context) error {
	var wanted []app.ImageRequest
	var orphans []app.RevisionKey
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for r := range store.ImageRequests.All(tx) {
			status, ok := store.ImageStatuses.Get(tx, app.RevisionKey{Service: r.Service, Number: r.Revision})
			if !ok || !status.Ready && !status.Permanent {
				wanted = append(wanted, r)
			}
		}
		for s := range store.ImageStatuses.All(tx) {
			key := app.RevisionKey{Service: s.Service, Number: s.Revision}
			if _, ok := store.ImageRequests.Get(tx, key); !ok {
				orphans = append(orphans, key)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range wanted {
		c.start(ctx, r)
	}
	return c.forget(ctx, orphans)
}

func (c *Images) forget(ctx context.Context, orphans []app.RevisionKey) error {
	if len(orphans) == 0 {
		return nil
	}
	c.mu.Lock()
	for _, key := range orphans {
		delete(c.attempts, key)
	}
	c.mu.Unlock()
	return c.store.Update(ctx, func(tx *store.Tx) error {
		for _, key := range orphans {
			if _, ok := store.ImageRequests.Get(tx, key); !ok {
				store.Observed.ImageStatuses.Delete(tx, key)
			}
		}
		return nil
	})
}

// start resolves one request in the background unless that is under way or its back-off has not ended.
func (c *Images) start(ctx context.Context, r app.ImageRequest) {
	key := app.RevisionKey{Service: r.Service, Number: r.Revision}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[key] || c.now().Before(c.attempts[key].next) {
		return
	}
	c.busy[key] = true
	go func() {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		status := c.resolve(ctx, r)
		<-c.slots
		c.finish(ctx, key, status)
	}()
}

func (c *Images) finish(ctx context.Context, key app.RevisionKey, status app.ImageStatus) {
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		if _, ok := store.ImageRequests.Get(tx, key); ok {
			store.Observed.ImageStatuses.Put(tx, status)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		slog.Error("cannot record image", "service", key.Service, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, key)
	if err == nil && (status.Ready || status.Permanent) {
		delete(c.attempts, key)
		return
	}
	a := c.attempts[key]
	a.failures++
	pause := backoff.Delay(a.failures, 500*time.Millisecond, 15*time.Second)
	a.next = c.now().Add(pause)
	c.attempts[key] = a
	time.AfterFunc(pause, c.poke.Set)
}

func (c *Images) resolve(ctx context.Context, r app.ImageRequest) app.ImageStatus {
	status := app.ImageStatus{Service: r.Service, Revision: r.Revision}
	ref, err := c.reference(ctx, r)
	if err == nil {
		status.Digest, err = c.engine.Resolve(ctx, ref)
	}
	if err == nil {
		status.Ready = true
		return status
	}
	var e *app.Error
	status.Error = err.Error()
	status.Permanent = errors.As(err, &e) && (e.Kind == app.KindInvalidRequest || e.Kind == app.KindNotFound || e.Kind == app.KindDenied)
	return status
}

// reference turns a request into what the engine resolves; the install's own registry is looked up here, so that
// nobody runs an image of a repository that does not hold it.
func (c *Images) reference(ctx context.Context, r app.ImageRequest) (engine.ImageRef, error) {
	parsed, err := c.parse(r.Image, r.Scope)
	if err != nil {
		return engine.ImageRef{}, err
	}
	ref := engine.ImageRef{Name: r.Image, Local: parsed.Local, Digest: r.Digest}
	if ref.Digest == "" {
		ref.Digest = parsed.Digest
	}
	if !parsed.Local {
		ref.Name = parsed.String()
		return ref, nil
	}
	return ref, c.store.View(ctx, func(tx *store.Tx) error {
		if _, ok := store.Repositories.Get(tx, parsed.Repository); !ok && r.Digest == "" {
			return app.Errorf(app.KindNotFound, r.Image,
				"The repository %q does not exist in the registry of account %s in %s. Create it with aws ecr create-repository and push the image.",
				parsed.Repository.Name, parsed.Repository.Scope.Account, parsed.Repository.Scope.Region)
		}
		if r.Digest != "" {
			return nil // resolved before; the image outlives its manifest's row
		}
		if ref.Digest != "" {
			if _, ok := store.Manifests.Get(tx, app.ManifestKey{Repository: parsed.Repository, Digest: ref.Digest}); !ok {
				return app.Errorf(app.KindNotFound, r.Image, "The repository %q has no image with the digest %q. Push it, or name one that aws ecr list-images shows.",
					parsed.Repository.Name, ref.Digest)
			}
			return nil
		}
		m, ok := store.ManifestsByTag.First(tx, app.ManifestTag{Repository: parsed.Repository, Tag: parsed.Tag})
		if !ok {
			return app.Errorf(app.KindNotFound, r.Image, "The repository %q has no image with the tag %q. Push it, or name a tag that aws ecr list-images shows.",
				parsed.Repository.Name, parsed.Tag)
		}
		ref.Digest = m.Digest
		return nil
	})
}
