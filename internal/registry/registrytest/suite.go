package registrytest

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/registry"
)

var scope = app.Scope{Account: "000000000000", Region: "us-east-1"}

// Rows is what TestRows examines: a Catalog and Links over the same rows, and how to make a repository there.
type Rows struct {
	Catalog registry.Catalog
	Links   registry.Links
	Create  func(key app.RepositoryKey, immutable bool)
	// Now is the rows' clock.
	Now func() time.Time
}

// TestRows is the suite that every Catalog with its Links must pass. open returns an empty one.
func TestRows(t *testing.T, open func(t *testing.T) Rows) {
	t.Run("absent", func(t *testing.T) { testAbsent(t, open(t)) })
	t.Run("tags", func(t *testing.T) { testTags(t, open(t)) })
	t.Run("immutable", func(t *testing.T) { testImmutable(t, open(t)) })
	t.Run("pages", func(t *testing.T) { testPages(t, open(t)) })
	t.Run("links", func(t *testing.T) { testLinks(t, open(t)) })
}

func digest(text string) app.Digest { return app.SHA256([]byte(text)) }

func manifest(key app.RepositoryKey, text string, tags ...string) app.Manifest {
	return app.Manifest{Repository: key, Digest: digest(text), MediaType: registry.MediaTypeOCIImage, Size: int64(len(text)),
		ImageSize: 10, Blobs: []app.Digest{digest("layer of " + text)}, Tags: tags, PushedAt: time.Unix(1_800_000_000, 0).UTC()}
}

// wantCode checks kind and code of an error.
func wantCode(t *testing.T, what string, err error, kind app.Kind, code string) {
	t.Helper()
	var e *app.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Code != code {
		t.Errorf("%s: error %v, want %v %s", what, err, kind, code)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testAbsent(t *testing.T, r Rows) {
	ctx, key := t.Context(), app.RepositoryKey{Scope: scope, Name: "absent"}
	const code = "RepositoryNotFoundException"
	_, err := r.Catalog.Repository(ctx, key)
	wantCode(t, "Repository", err, app.KindNotFound, code)
	_, err = r.Catalog.Manifest(ctx, key, "v1")
	wantCode(t, "Manifest", err, app.KindNotFound, code)
	_, err = r.Catalog.Manifests(ctx, key, "", 10)
	wantCode(t, "Manifests", err, app.KindNotFound, code)
	wantCode(t, "PutManifest", r.Catalog.PutManifest(ctx, manifest(key, "a")), app.KindNotFound, code)
	wantCode(t, "DeleteManifest", r.Catalog.DeleteManifest(ctx, key, "v1"), app.KindNotFound, code)
	wantCode(t, "Link", r.Links.Link(ctx, key, digest("a")), app.KindNotFound, code)
	if linked, err := r.Links.Linked(ctx, key, digest("a")); linked || err != nil && app.KindOf(err) != app.KindNotFound {
		t.Errorf("Linked = %v, %v, want false", linked, err)
	}
}

func tagsOf(t *testing.T, r Rows, key app.RepositoryKey, text string) string {
	t.Helper()
	m, err := r.Catalog.Manifest(t.Context(), key, string(digest(text)))
	must(t, err)
	return strings.Join(m.Tags, " ")
}

func testTags(t *testing.T, r Rows) {
	ctx, key := t.Context(), app.RepositoryKey{Scope: scope, Name: "hello"}
	r.Create(key, false)
	must(t, r.Catalog.PutManifest(ctx, manifest(key, "a", "latest", "v1")))
	must(t, r.Catalog.PutManifest(ctx, manifest(key, "b", "latest", "v2")))
	must(t, r.Catalog.PutManifest(ctx, manifest(key, "a"))) // by digest: keeps its tags
	if a, b := tagsOf(t, r, key, "a"), tagsOf(t, r, key, "b"); a != "v1" || b != "latest v2" {
		t.Errorf("the tags are %q and %q, want v1 and latest v2", a, b)
	}
	m, err := r.Catalog.Manifest(ctx, key, "latest")
	if want := manifest(key, "b"); err != nil || m.Digest != want.Digest || m.ImageSize != want.ImageSize || !slices.Equal(m.Blobs, want.Blobs) || m.PushedAt.IsZero() {
		t.Errorf("Manifest(latest) = %+v, %v, want %+v", m, err, want)
	}
	roots, err := r.Catalog.Roots(ctx)
	if err != nil || !slices.Contains(roots, digest("a")) || !slices.Contains(roots, digest("b")) {
		t.Errorf("Roots = %v, %v, want both manifests", roots, err)
	}
	must(t, r.Catalog.DeleteManifest(ctx, key, "latest"))
	_, err = r.Catalog.Manifest(ctx, key, "latest")
	wantCode(t, "a deleted tag", err, app.KindNotFound, "ImageNotFoundException")
	wantCode(t, "deleting it again", r.Catalog.DeleteManifest(ctx, key, "latest"), app.KindNotFound, "ImageNotFoundException")
	if b := tagsOf(t, r, key, "b"); b != "v2" {
		t.Errorf("the tags are %q, want v2", b)
	}
	must(t, r.Catalog.DeleteManifest(ctx, key, string(digest("b"))))
	_, err = r.Catalog.Manifest(ctx, key, "v2")
	wantCode(t, "a tag of a deleted manifest", err, app.KindNotFound, "ImageNotFoundException")
}

func testImmutable(t *testing.T, r Rows) {
	ctx, key := t.Context(), app.RepositoryKey{Scope: scope, Name: "hello"}
	r.Create(key, true)
	must(t, r.Catalog.PutManifest(ctx, manifest(key, "a", "v1")))
	must(t, r.Catalog.PutManifest(ctx, manifest(key, "a", "v1")))
	wantCode(t, "moving a tag", r.Catalog.PutManifest(ctx, manifest(key, "b", "v1")), app.KindExists, "ImageTagAlreadyExistsException")
	must(t, r.Catalog.PutManifest(ctx, manifest(key, "b", "v2")))
}

func testPages(t *testing.T, r Rows) {
	ctx, key := t.Context(), app.RepositoryKey{Scope: scope, Name: "hello"}
	r.Create(key, false)
	r.Create(app.RepositoryKey{Scope: scope, Name: "hello2"}, false)
	must(t, r.Catalog.PutManifest(ctx, manifest(app.RepositoryKey{Scope: scope, Name: "hello2"}, "other")))
	var want, got []app.Digest
	for _, text := range []string{"a", "b", "c", "d", "e"} {
		must(t, r.Catalog.PutManifest(ctx, manifest(key, text)))
		want = append(want, digest(text))
	}
	slices.Sort(want)
	for after := app.Digest(""); ; after = got[len(got)-1] {
		page, err := r.Catalog.Manifests(ctx, key, after, 2)
		must(t, err)
		for _, m := range page {
			got = append(got, m.Digest)
		}
		if len(page) < 2 {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages hold %v, want %v", got, want)
	}
}

func testLinks(t *testing.T, r Rows) {
	ctx, one, two := t.Context(), app.RepositoryKey{Scope: scope, Name: "one"}, app.RepositoryKey{Scope: scope, Name: "two"}
	r.Create(one, false)
	r.Create(two, false)
	must(t, r.Links.Link(ctx, one, digest("a"), digest("b")))
	must(t, r.Links.Link(ctx, one, digest("a")))
	must(t, r.Links.Link(ctx, two, digest("b")))
	must(t, r.Links.Unlink(ctx, one, digest("b")))
	must(t, r.Links.Unlink(ctx, one, digest("never linked")))
	for _, c := range []struct {
		key  app.RepositoryKey
		text string
		want bool
	}{{one, "a", true}, {one, "b", false}, {two, "a", false}, {two, "b", true}} {
		if got, err := r.Links.Linked(ctx, c.key, digest(c.text)); err != nil || got != c.want {
			t.Errorf("Linked(%s, %s) = %v, %v, want %v", c.key.Name, c.text, got, err, c.want)
		}
	}
	all, err := r.Links.LinkedBlobs(ctx)
	slices.Sort(all)
	want := []app.Digest{digest("a"), digest("b")}
	if slices.Sort(want); err != nil || !slices.Equal(slices.Compact(all), want) {
		t.Errorf("LinkedBlobs = %v, %v, want %v", all, err, want)
	}
	ages, ok := r.Links.(registry.LinkAges)
	if !ok {
		return // an optional ability
	}
	soon := r.Now().Add(time.Hour)
	first, err := ages.LinksBefore(ctx, soon, app.BlobKey{}, 1)
	if err != nil || len(first) != 1 || first[0].Repository != one || first[0].Digest != digest("a") {
		t.Errorf("the first link is %v, %v, want a of one", first, err)
		return
	}
	rest, err := ages.LinksBefore(ctx, soon, app.BlobKey{Repository: one, Digest: digest("a")}, 10)
	if err != nil || len(rest) != 1 || rest[0].Repository != two || rest[0].Digest != digest("b") {
		t.Errorf("the other links are %v, %v, want b of two", rest, err)
	}
	if none, err := ages.LinksBefore(ctx, r.Now().Add(-time.Hour), app.BlobKey{}, 10); err != nil || len(none) > 0 {
		t.Errorf("links before they were made: %v, %v", none, err)
	}
}

// TestBlobs is the suite that every Blobs must pass. open returns a store; called again in the same test it opens
// what was there, as after a restart.
func TestBlobs(t *testing.T, open func(t *testing.T) registry.Blobs) {
	ctx := t.Context()
	b := open(t)
	_, _, err := b.Open(ctx, digest("absent"))
	if app.KindOf(err) != app.KindNotFound {
		t.Errorf("Open of an absent blob failed with %v, want KindNotFound", err)
	}
	up, err := b.Upload(ctx, "push-1")
	must(t, err)
	put(t, up, "hello ")
	must(t, up.Close())
	all, err := b.Uploads(ctx)
	if err != nil || len(all) != 1 || all[0].Ref != "push-1" || all[0].Offset != 6 {
		t.Errorf("Uploads = %+v, %v, want push-1 at 6", all, err)
	}
	b = open(t)
	up, err = b.Upload(ctx, "push-1")
	must(t, err)
	if up.Offset() != 6 {
		t.Errorf("the upload resumes at %d, want 6", up.Offset())
	}
	put(t, up, "world")
	must(t, up.Commit(ctx, digest("hello world"), 11))
	must(t, up.Close())
	wantBlob(t, b, digest("hello world"), "hello world")
	store(t, b, digest("hello world"), "hello world") // there already: success
	store(t, b, digest(""), "")
	wantBlob(t, b, digest(""), "")
	big := sha512.Sum512([]byte("hello"))
	sha := app.Digest("sha512:" + hex.EncodeToString(big[:]))
	store(t, b, sha, "hello")
	wantBlob(t, b, sha, "hello")
	testDrops(t, b)
	testSweep(t, b, sha)
}

func put(t *testing.T, up registry.Upload, text string) {
	t.Helper()
	_, err := io.WriteString(up, text)
	must(t, err)
}

// store uploads text in one session.
func store(t *testing.T, b registry.Blobs, d app.Digest, text string) {
	t.Helper()
	up, err := b.Upload(t.Context(), "push-store")
	must(t, err)
	put(t, up, text)
	must(t, up.Commit(t.Context(), d, -1))
	must(t, up.Close())
}

func wantBlob(t *testing.T, b registry.Blobs, d app.Digest, text string) {
	t.Helper()
	content, size, err := b.Open(context.WithoutCancel(t.Context()), d)
	must(t, err)
	defer content.Close()
	got, err := io.ReadAll(content)
	if err != nil || string(got) != text || size != int64(len(text)) {
		t.Errorf("the blob %s is %q of %d bytes, %v, want %q", d, got, size, err, text)
	}
}

// testDrops: a mismatch and an abort leave no session.
func testDrops(t *testing.T, b registry.Blobs) {
	ctx := t.Context()
	up, err := b.Upload(ctx, "push-2")
	must(t, err)
	put(t, up, "other")
	if err := up.Commit(ctx, digest("what was promised"), -1); app.KindOf(err) != app.KindInvalidRequest {
		t.Errorf("Commit of other content failed with %v, want KindInvalidRequest", err)
	}
	must(t, up.Close())
	up, err = b.Upload(ctx, "push-3")
	must(t, err)
	must(t, up.Close())
	must(t, b.Abort(ctx, "push-3"))
	if all, err := b.Uploads(ctx); err != nil || len(all) != 0 {
		t.Errorf("Uploads = %+v, %v, want none", all, err)
	}
	if err := b.Abort(ctx, "push-3"); err != nil && app.KindOf(err) != app.KindNotFound {
		t.Errorf("Abort of no session failed with %v, want KindNotFound or nil", err)
	}
}

func testSweep(t *testing.T, b registry.Blobs, kept app.Digest) {
	ctx := t.Context()
	store(t, b, digest("garbage"), "garbage")
	keep := map[app.Digest]struct{}{kept: {}}
	_, err := b.Sweep(ctx, keep, time.Now().Add(-time.Hour))
	must(t, err)
	wantBlob(t, b, digest("garbage"), "garbage")
	_, err = b.Sweep(ctx, keep, time.Now().Add(time.Hour))
	must(t, err)
	wantBlob(t, b, kept, "hello")
	if _, _, err := b.Open(ctx, digest("garbage")); app.KindOf(err) != app.KindNotFound {
		t.Errorf("Open of swept content failed with %v, want KindNotFound", err)
	}
}
