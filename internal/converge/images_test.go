package converge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/fake"
	"github.com/funade/funade/internal/store"
)

const other = app.Digest("sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")

var repository = app.RepositoryKey{Scope: scope, Name: "hello"}

// resolver answers Resolve from a list of errors, then with the digest asked for.
type resolver struct {
	*fake.Engine
	mu    sync.Mutex
	fails []error
	asked []engine.ImageRef
	delay time.Duration
	most  int
	now   int
}

func (r *resolver) Resolve(_ context.Context, ref engine.ImageRef) (app.Digest, error) {
	r.mu.Lock()
	r.asked = append(r.asked, ref)
	r.now++
	r.most = max(r.most, r.now)
	var err error
	if len(r.fails) > 0 {
		err, r.fails = r.fails[0], r.fails[1:]
	}
	delay := r.delay
	r.mu.Unlock()
	<-time.After(delay)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now--
	if err == nil && ref.Digest == "" {
		return digest, nil
	}
	return ref.Digest, err
}

func (r *resolver) fail(errs ...error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = errs
}

func (r *resolver) slow(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

func (r *resolver) refs() []engine.ImageRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func (r *resolver) attempts() int { return len(r.refs()) }

type imageWorld struct {
	world
	resolver *resolver
}

func inImageWorld(t *testing.T, test func(w *imageWorld)) {
	synctest.Test(t, func(t *testing.T) {
		w := &imageWorld{world{t: t, store: openStore(t)}, &resolver{}}
		parse := func(image string, s app.Scope) (app.Reference, error) {
			return app.ParseReference(image, s, "localhost:4566")
		}
		images := NewImages(w.store, w.resolver, parse, time.Now)
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { images.Run(ctx) })
		defer func() { cancel(); running.Wait(); synctest.Wait() }()
		test(w)
	})
}

func (w *imageWorld) request(n app.RevisionNumber, image string, pinned app.Digest) {
	w.update(func(tx *store.Tx) {
		store.Control.ImageRequests.Put(tx, app.ImageRequest{Service: service, Revision: n, Scope: scope, Image: image, Digest: pinned})
	})
	w.settle()
}

func (w *imageWorld) answer(n app.RevisionNumber) (s app.ImageStatus, ok bool) {
	w.view(func(tx *store.Tx) { s, ok = store.ImageStatuses.Get(tx, app.RevisionKey{Service: service, Number: n}) })
	return s, ok
}

func TestImageOfTheOwnRegistry(t *testing.T) {
	inImageWorld(t, func(w *imageWorld) {
		w.update(func(tx *store.Tx) {
			store.Control.Repositories.Put(tx, app.Repository{Key: repository})
			store.Control.Manifests.Put(tx, app.Manifest{Repository: repository, Digest: digest, Tags: []string{"v1"}})
		})
		host := scope.RegistryHost()
		for n, c := range []struct {
			image  string
			pinned app.Digest
			want   app.Digest
			words  string
		}{
			{host + "/hello:v1", "", digest, ""},
			{"localhost:4566/hello:v1", "", digest, ""},
			{host + "/hello@" + string(digest), "", digest, ""},
			{host + "/gone:v1", other, other, ""}, // resolved before: neither tag nor repository have to be there any more
			{host + "/hello:v2", "", "", `no image with the tag "v2"`},
			{host + "/hello", "", "", `no image with the tag "latest"`},
			{host + "/hello@" + string(other), "", "", `no image with the digest`}, // of another repository, perhaps
			{host + "/gone:v1", "", "", `The repository "gone" does not exist`},
		} {
			revision := app.RevisionNumber(n + 1)
			w.request(revision, c.image, c.pinned)
			s, ok := w.answer(revision)
			if !ok || s.Ready != (c.words == "") || s.Permanent == s.Ready || s.Digest != c.want || !strings.Contains(s.Error, c.words) {
				t.Errorf("%s: got %+v, want digest %q, words %q", c.image, s, c.want, c.words)
			}
		}
		for _, ref := range w.resolver.refs() {
			if !ref.Local || ref.Digest == "" {
				t.Errorf("the engine was asked for %+v", ref)
			}
		}
	})
}

func TestExternalImage(t *testing.T) {
	inImageWorld(t, func(w *imageWorld) {
		w.request(1, "public.ecr.aws/nginx/nginx:1", "")
		if s, _ := w.answer(1); !s.Ready || s.Digest != digest {
			t.Errorf("got %+v", s)
		}
		if ref := w.resolver.refs()[0]; ref.Local || ref.Name != "public.ecr.aws/nginx/nginx:1" {
			t.Errorf("the engine was asked for %+v", ref)
		}
		w.request(2, "UPPER//case", "")
		if s, _ := w.answer(2); !s.Permanent || !strings.Contains(s.Error, "malformed") {
			t.Errorf("got %+v", s)
		}
	})
}

func TestPassingErrorsAreTriedAgain(t *testing.T) {
	inImageWorld(t, func(w *imageWorld) {
		busy := app.Errorf(app.KindUnavailable, "", "the registry does not answer")
		w.resolver.fail(busy, errors.New("strange"), busy)
		w.request(1, "docker.io/library/hello:v1", "")
		if s, _ := w.answer(1); s.Ready || s.Permanent || s.Error != "the registry does not answer" {
			t.Fatalf("got %+v", s)
		}
		w.pass(3400 * time.Millisecond) // 0.5 + 1 + 2 s
		if s, _ := w.answer(1); s.Ready || w.resolver.attempts() != 3 {
			t.Fatalf("got %+v after %d attempts, want 3", s, w.resolver.attempts())
		}
		w.pass(200 * time.Millisecond)
		if s, _ := w.answer(1); !s.Ready || s.Error != "" {
			t.Errorf("got %+v", s)
		}
		w.pass(time.Minute)
		if n := w.resolver.attempts(); n != 4 {
			t.Errorf("a ready image was resolved again: %d attempts", n)
		}
	})
}

func TestPermanentErrorsAreNot(t *testing.T) {
	for _, kind := range []app.Kind{app.KindInvalidRequest, app.KindNotFound, app.KindDenied} {
		inImageWorld(t, func(w *imageWorld) {
			w.resolver.fail(app.Errorf(kind, "", "no such tag"))
			w.request(1, "docker.io/library/hello:v1", "")
			w.pass(time.Minute)
			if s, _ := w.answer(1); !s.Permanent || s.Error != "no such tag" || w.resolver.attempts() != 1 {
				t.Errorf("%v: got %+v after %d attempts", kind, s, w.resolver.attempts())
			}
		})
	}
}

func TestForgottenRequestsTakeTheirStatusAlong(t *testing.T) {
	inImageWorld(t, func(w *imageWorld) {
		w.request(1, "docker.io/library/hello:v1", "")
		w.resolver.slow(time.Second)
		w.request(2, "docker.io/library/hello:v2", "") // under way when it is forgotten
		w.update(func(tx *store.Tx) {
			for n := range app.RevisionNumber(2) {
				store.Control.ImageRequests.Delete(tx, app.RevisionKey{Service: service, Number: n + 1})
			}
		})
		w.pass(10 * time.Second)
		for n := range app.RevisionNumber(2) {
			if s, ok := w.answer(n + 1); ok {
				t.Errorf("revision %d has the status %+v", n+1, s)
			}
		}
	})
}

func TestFewImagesAtATime(t *testing.T) {
	inImageWorld(t, func(w *imageWorld) {
		w.resolver.slow(time.Second)
		for n := range app.RevisionNumber(10) {
			w.request(n+1, "docker.io/library/hello:v1", "")
		}
		w.pass(30 * time.Second)
		if n := w.resolver.attempts(); n != 10 || w.resolver.most != resolvesAtOnce {
			t.Errorf("%d images were resolved, up to %d at a time, want 10 and %d", n, w.resolver.most, resolvesAtOnce)
		}
	})
}
