package enginetest

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/engine"
)

func unique() []byte { return []byte("blob " + id.Source{}.Hex32()) }

func resolveErrors(t *testing.T, h *Harness) {
	resolve := func(d app.Digest) error {
		_, err := h.Engine.Resolve(t.Context(), engine.ImageRef{Name: "localhost/test:v1", Local: true, Digest: d})
		return err
	}
	wantError(t, resolve(DigestOf(unique())), app.KindInvalidRequest)
	wantError(t, resolve(""), app.KindInvalidRequest, "digest")
	wantError(t, resolve(Push(t, h.Blobs, unique())), app.KindInvalidRequest, "not a container image")
	for _, test := range []struct {
		spec  Spec
		words []string
	}{
		{Spec{Arch: "s390x"}, []string{"is for linux/s390x", "build it for linux/"}},
		{Spec{BrokenLayer: true}, []string{"layer sha256:", "broken"}},
		{Spec{NoLayer: true}, []string{"lacks blob sha256:"}},
		{Spec{ConfigType: "application/vnd.example.thing"}, []string{"not a container image"}},
	} {
		err := resolve(PushImage(t, h.Blobs, []byte("x"), test.spec))
		wantError(t, err, app.KindInvalidRequest, test.words...)
	}
	foreign := PushImage(t, h.Blobs, []byte("x"), Spec{Arch: "s390x"})
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{map[string]any{
		"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": foreign, "size": 1, "platform": map[string]any{"os": "linux", "architecture": "s390x"}}}})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, resolve(Push(t, h.Blobs, index)), app.KindInvalidRequest, "only for linux/s390x")
}

func has(t testing.TB, b engine.Blobs, d app.Digest) bool {
	t.Helper()
	r, _, err := b.Open(t.Context(), d)
	if err == nil {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if app.KindOf(err) != app.KindNotFound {
		t.Fatalf("Open: %v", err)
	}
	return false
}

func blobs(t *testing.T, h *Harness) {
	data := unique()
	if has(t, h.Blobs, DigestOf(data)) {
		t.Fatal("blob is there before its upload")
	}
	d := Push(t, h.Blobs, data)
	Push(t, h.Blobs, data) // once more is fine
	r, size, err := h.Blobs.Open(t.Context(), d)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer r.Close()
	if size != int64(len(data)) {
		t.Errorf("size %d; want %d", size, len(data))
	}
	if _, err := r.Seek(5, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[5:]) {
		t.Errorf("read %q, %v after Seek(5)", got, err)
	}
	empty := Push(t, h.Blobs, nil)
	if !has(t, h.Blobs, empty) {
		t.Error("the empty blob is missing")
	}
	sha512Blob(t, h)
}

// sha512Blob: OCI's other digest algorithm finds the same content.
func sha512Blob(t *testing.T, h *Harness) {
	data := unique()
	sum := sha512.Sum512(data)
	d := app.Digest("sha512:" + hex.EncodeToString(sum[:]))
	for range 2 { // once more is fine
		u, err := h.Blobs.Upload(t.Context(), "sha512")
		if err != nil {
			t.Fatalf("Upload: %v", err)
		}
		if _, err := u.Write(data); err != nil {
			t.Fatalf("Write: %v", err)
		}
		if err := u.Commit(t.Context(), d, int64(len(data))); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		u.Close()
	}
	if _, err := h.Blobs.Sweep(t.Context(), map[app.Digest]struct{}{d: {}}, time.Now().Add(time.Hour)); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	if !has(t, h.Blobs, d) {
		t.Error("the blob pushed by its sha512 is missing")
	}
	u, err := h.Blobs.Upload(t.Context(), "sha512")
	if err != nil {
		t.Fatalf("Upload: %v", err)
	}
	wantError(t, u.Commit(t.Context(), d, -1), app.KindInvalidRequest, "digest")
	u.Close()
}

func uploadErrors(t *testing.T, h *Harness) {
	start := func(ref string) engine.Upload {
		u, err := h.Blobs.Upload(t.Context(), ref)
		if err != nil {
			t.Fatalf("Upload: %v", err)
		}
		if u.Offset() != 0 {
			t.Fatalf("upload %s begins at %d", ref, u.Offset())
		}
		if _, err := u.Write([]byte("some bytes")); err != nil {
			t.Fatalf("Write: %v", err)
		}
		return u
	}
	u := start("one")
	if _, err := h.Blobs.Upload(t.Context(), "one"); app.KindOf(err) != app.KindInvalidState {
		t.Errorf("a second writer of an upload: %v; want InvalidState", err)
	}
	wantError(t, u.Commit(t.Context(), DigestOf([]byte("other bytes")), -1), app.KindInvalidRequest, "digest")
	u.Close()
	u = start("one") // the mismatch dropped the session, so it begins at 0 again
	wantError(t, u.Commit(t.Context(), DigestOf([]byte("some bytes")), 11), app.KindInvalidRequest, "11")
	u.Close()
	u = start("one")
	u.Close()
	if list, err := h.Blobs.Uploads(t.Context()); err != nil || len(list) != 1 || list[0].Ref != "one" || list[0].Offset != 10 {
		t.Errorf("Uploads: %+v, %v", list, err)
	}
	for range 2 {
		if err := h.Blobs.Abort(t.Context(), "one"); err != nil {
			t.Fatalf("Abort: %v", err)
		}
	}
	if list, err := h.Blobs.Uploads(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("Uploads after Abort: %+v, %v", list, err)
	}
}

func uploadResume(t *testing.T, h *Harness) {
	data := append(bytes.Repeat([]byte("0123456789"), 1000), unique()...)
	ref := id.Source{}.Hex32()
	for at, step := range []int{3000, 3001, len(data)} {
		u, err := h.Blobs.Upload(t.Context(), ref)
		if err != nil {
			t.Fatalf("Upload: %v", err)
		}
		if _, err := u.Write(data[u.Offset():step]); err != nil {
			t.Fatalf("Write: %v", err)
		}
		if err := u.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		if at == 1 {
			h.Reopen(t)
		}
	}
	u, err := h.Blobs.Upload(t.Context(), ref)
	if err != nil {
		t.Fatalf("Upload: %v", err)
	}
	defer u.Close()
	if u.Offset() != int64(len(data)) {
		t.Fatalf("offset %d; want %d", u.Offset(), len(data))
	}
	if err := u.Commit(t.Context(), DigestOf(data), int64(len(data))); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	if !has(t, h.Blobs, DigestOf(data)) {
		t.Error("blob is missing after Commit")
	}
}

func sweep(t *testing.T, h *Harness) {
	kept := h.Instance(t, Program{Actions: []string{"serve"}})
	gone := h.Instance(t, Program{Actions: []string{"serve"}})
	loose := Push(t, h.Blobs, unique())
	linked := Push(t, h.Blobs, unique())
	h.Ensure(t, kept)
	before := h.Until(t, kept.ID, "running", running)
	keep := map[app.Digest]struct{}{kept.Image: {}, linked: {}}
	if _, err := h.Blobs.Sweep(t.Context(), keep, before.StartedAt.Add(-time.Hour)); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	for _, d := range []app.Digest{gone.Image, loose} {
		if !has(t, h.Blobs, d) {
			t.Errorf("%s is gone although it is new", d)
		}
	}
	freed, err := h.Blobs.Sweep(t.Context(), keep, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	if freed <= 0 {
		t.Errorf("freed %d bytes", freed)
	}
	for _, d := range []app.Digest{gone.Image, loose} {
		if has(t, h.Blobs, d) {
			t.Errorf("%s is still there", d)
		}
	}
	for _, d := range []app.Digest{kept.Image, linked} {
		if !has(t, h.Blobs, d) {
			t.Errorf("%s is gone although it is kept", d)
		}
	}
	if s, _ := h.Status(t, kept.ID); s.PID != before.PID {
		t.Errorf("the instance of the kept image changed: %+v", s)
	}
	more := kept
	more.ID, more.Network = app.InstanceID(id.Source{}.Hex32()), h.Network(t)
	h.Ensure(t, more)
	h.Until(t, more.ID, "running", running)
	wantError(t, h.Engine.Ensure(t.Context(), gone), app.KindInvalidState, "resolve it first")
}

func sweepRenewed(t *testing.T, h *Harness) {
	data := unique()
	d := Push(t, h.Blobs, data)
	between := time.Now().Truncate(time.Second).Add(time.Second)
	for time.Now().Before(between) {
		Pause()
	}
	Push(t, h.Blobs, data)
	if _, err := h.Blobs.Sweep(t.Context(), nil, between); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	if !has(t, h.Blobs, d) {
		t.Error("a blob that was pushed again lately is gone")
	}
}
