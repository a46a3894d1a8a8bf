package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/registry"
)

const errNoSpace = syscall.ENOSPC

func (f *fixture) collect(t *testing.T) registry.Collected {
	t.Helper()
	done, err := (&registry.Collector{Registry: f.Registry}).Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// holds says which of the contents the store still has.
func (f *fixture) holds(contents ...string) (out []bool) {
	for _, c := range contents {
		out = append(out, f.files.Has(app.Digest(sum(c))))
	}
	return out
}

func (f *fixture) wantHeld(t *testing.T, when string, held bool, contents ...string) {
	t.Helper()
	for i, h := range f.holds(contents...) {
		if h != held {
			t.Errorf("%s: the store holds %q = %v, want %v", when, contents[i], h, held)
		}
	}
}

// later moves past the grace period, with a password that still works.
func (f *fixture) later() {
	f.advance(2 * time.Hour)
	f.password, _ = f.Tokens.Issue(scope, "AKIATEST")
}

func TestCollect(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	f.rows.Create(repo("gone"), false)
	running := f.pushImage(t, "gone", "v1", "config g", "layer g")
	f.rows.Pin(app.Digest(running), true)
	f.pushImage(t, "gone", "v2", "config x", "layer x")
	f.pushImage(t, "hello", "v1", "config h", "layer h")
	f.push(t, "hello", "ahead of its manifest")
	f.rows.Remove(repo("gone"))
	f.collect(t)
	f.wantHeld(t, "within grace", true, "layer g", "layer x", "layer h", "ahead of its manifest")
	f.later()
	if done := f.collect(t); done.Freed == 0 || done.Links != 1 {
		t.Errorf("the pass did %+v, want bytes freed and one link removed", done)
	}
	f.wantHeld(t, "a running image of a deleted repository", true, "config g", "layer g")
	f.wantHeld(t, "an image of a deleted repository", false, "config x", "layer x", imageText("config x", "layer x"))
	f.wantHeld(t, "an image", true, "config h", "layer h", imageText("config h", "layer h"))
	f.wantHeld(t, "a blob without manifest", false, "ahead of its manifest")
	f.rows.Pin(app.Digest(running), false)
	f.collect(t)
	f.wantHeld(t, "an image that runs no more", false, "config g", "layer g")
}

// TestCollectWalksWhatIsAlsoALayer: a manifest named as a layer elsewhere still keeps its own layers.
func TestCollectWalksWhatIsAlsoALayer(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	f.rows.Create(repo("gone"), false)
	f.rows.Pin(app.Digest(f.pushImage(t, "gone", "v1", "config", "layer")), true)
	f.rows.Remove(repo("gone"))
	for i := range 8 { // both orders of the walk
		f.pushImage(t, "hello", fmt.Sprint("v", i), fmt.Sprint("config ", i), imageText("config", "layer"))
	}
	f.later()
	f.collect(t)
	f.wantHeld(t, "a pinned image", true, "config", "layer")
}

// TestLease: a push that was told that a blob is there finds it there, however old the blob's link is.
func TestLease(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	digest := f.push(t, "hello", "old")
	f.later()
	resp, _ := f.do(t, "HEAD", "/v2/hello/blobs/"+digest, "")
	want(t, "the old blob", resp, "", 200, "")
	f.collect(t)
	f.pushManifestOnly(t, "hello", "v1", "old")
	f.later()
	f.collect(t)
	f.wantHeld(t, "a leased blob", true, "old")
}

func (f *fixture) pushManifestOnly(t *testing.T, name, tag string, blobs ...string) {
	t.Helper()
	resp, body := f.do(t, "PUT", "/v2/"+name+"/manifests/"+tag, imageText(blobs...))
	want(t, "pushing the manifest", resp, body, 201, "")
}

// TestRestartKeepsLinks: leases are lost with the process, so links are left alone for a while.
func TestRestartKeepsLinks(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	f.push(t, "hello", "old")
	f.later()
	f.start(t, nil)
	f.collect(t)
	f.wantHeld(t, "right after the start", true, "old")
	f.later()
	f.collect(t)
	f.wantHeld(t, "later", false, "old")
}

// TestCollectBesidePushes pushes the same old, unreferenced content again and again while passes run.
func TestCollectBesidePushes(t *testing.T) {
	f := newFixture(t, func(c *registry.Config) {
		c.Grace = time.Nanosecond
		c.Links = struct{ registry.Links }{c.Links} // no LinkAges: links stay until their repository goes
	})
	f.rows.Create(repo("hello"), false)
	stop, collected := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(collected)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := (&registry.Collector{Registry: f.Registry}).Collect(t.Context()); err != nil {
				collected <- err
				return
			}
		}
	}()
	var pushers sync.WaitGroup
	for p := range 3 {
		pushers.Go(func() {
			name := fmt.Sprint("repo", p)
			f.rows.Create(repo(name), false)
			for range 30 {
				f.push(t, name, "same layer")
				f.rows.Remove(repo(name))
				f.rows.Create(repo(name), false)
				resp, body := f.do(t, "POST", "/v2/"+name+"/blobs/uploads/?digest="+sum("same layer"), "same layer")
				if resp.StatusCode != 201 {
					t.Errorf("pushing answered %d %s", resp.StatusCode, body)
				}
				linked, err := f.rows.Linked(t.Context(), repo(name), app.Digest(sum("same layer")))
				if err == nil && linked && !f.files.Has(app.Digest(sum("same layer"))) {
					t.Error("a linked blob is gone")
				}
			}
		})
	}
	pushers.Wait()
	close(stop)
	if err := <-collected; err != nil {
		t.Error(err)
	}
}

func TestCollectorRuns(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("gone"), false)
	f.pushImage(t, "gone", "v1", "config", "layer")
	f.rows.Remove(repo("gone"))
	f.later()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- (&registry.Collector{Registry: f.Registry, Every: time.Millisecond}).Run(ctx) }()
	deadline := time.After(10 * time.Second)
	for f.files.Has(app.Digest(sum("layer"))) {
		select {
		case <-deadline:
			t.Fatal("the layer of a deleted repository is still there")
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestCrashBetweenContentAndRows: a push that broke off between store and rows can be repeated.
func TestCrashBetweenContentAndRows(t *testing.T) {
	f := newFixture(t, nil)
	f.rows.Create(repo("hello"), false)
	for _, seam := range []string{"registry/link", "registry/put-manifest"} {
		t.Cleanup(failpoint.Enable(seam, func() error { return errors.New("crash") }))
	}
	resp, body := f.do(t, "POST", "/v2/hello/blobs/uploads/?digest="+sum("config"), "config")
	want(t, "a crash before the link", resp, body, 500, "UNKNOWN")
	resp, _ = f.do(t, "HEAD", "/v2/hello/blobs/"+sum("config"), "")
	want(t, "the blob without link", resp, "", 404, "")
	failpoint.Enable("registry/link", nil)
	f.push(t, "hello", "config")
	resp, body = f.do(t, "PUT", "/v2/hello/manifests/v1", imageText("config"))
	want(t, "a crash before the row", resp, body, 500, "UNKNOWN")
	failpoint.Enable("registry/put-manifest", nil)
	f.pushImage(t, "hello", "v1", "config")
}
