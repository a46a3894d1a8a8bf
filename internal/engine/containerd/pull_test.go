package containerd

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/guarded"
	"github.com/funade/funade/internal/engine"
)

// platformImage is an image of random layers for an architecture.
func platformImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := random.Image(1<<16, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func pushRemote(t *testing.T, ref string, push func(name.Reference) error) {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := push(r); err != nil {
		t.Fatal(err)
	}
}

// faults wraps a registry with the ways in which one can fail.
func faults(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/private/"):
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		case strings.Contains(r.URL.Path, "/busy/"):
			w.WriteHeader(http.StatusTooManyRequests)
		case strings.Contains(r.URL.Path, "/corrupt/") && strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet:
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			body := rec.Body.Bytes()
			body[len(body)/2] ^= 1
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func TestPull(t *testing.T) {
	server := httptest.NewServer(faults(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	cfg := testConfig(t)
	cfg.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasPrefix(address, "nowhere.test:") {
			return nil, fmt.Errorf("cannot resolve: %w", &net.DNSError{Err: "no such host", Name: "nowhere.test", IsNotFound: true})
		}
		if address != host {
			return nil, fmt.Errorf("cannot dial %s; open it with --allow-dial: %w", address, guarded.ErrRefused)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	e, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()

	mine, other := platformImage(t, runtime.GOARCH), platformImage(t, "s390x")
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: mine, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	foreign := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}})
	pushRemote(t, host+"/lib/multi:1", func(r name.Reference) error { return remote.WriteIndex(r, index) })
	pushRemote(t, host+"/lib/foreign:1", func(r name.Reference) error { return remote.WriteIndex(r, foreign) })
	pushRemote(t, host+"/lib/single:1", func(r name.Reference) error { return remote.Write(r, mine) })
	pushRemote(t, host+"/lib/other:1", func(r name.Reference) error { return remote.Write(r, other) })
	pushRemote(t, host+"/corrupt/image:1", func(r name.Reference) error { return remote.Write(r, platformImage(t, runtime.GOARCH)) })

	want, err := mine.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []engine.ImageRef{{Name: host + "/lib/multi:1"}, {Name: host + "/lib/single:1"}, {Name: host + "/lib/single:1", Digest: app.Digest(want.String())}} {
		if got, err := e.Resolve(t.Context(), ref); err != nil || string(got) != want.String() {
			t.Errorf("Resolve %+v: %s, %v; want %s", ref, got, err, want)
		}
	}
	for _, test := range []struct {
		name  string
		kind  app.Kind
		words string
	}{
		{host + "/lib/foreign:1", app.KindInvalidRequest, "only for linux/s390x"},
		{host + "/lib/other:1", app.KindInvalidRequest, "is for linux/s390x"},
		{host + "/lib/single:none", app.KindInvalidRequest, "no such repository or tag"},
		{host + "/private/image:1", app.KindInvalidRequest, "asks for credentials"},
		{host + "/busy/image:1", app.KindUnavailable, "cannot pull"},
		{host + "/corrupt/image:1", app.KindInvalidRequest, "broken blob"},
		{"127.0.0.1:9/lib/image:1", app.KindInvalidRequest, "--allow-dial"},
		{"nowhere.test/lib/image:1", app.KindInvalidRequest, "there is no host named nowhere.test"},
		{"UPPER CASE", app.KindInvalidRequest, "not an image reference"},
	} {
		if _, err := e.Resolve(t.Context(), engine.ImageRef{Name: test.name}); app.KindOf(err) != test.kind || err == nil || !strings.Contains(err.Error(), test.words) {
			t.Errorf("Resolve %s: %v (%v); want %v with %q", test.name, err, app.KindOf(err), test.kind, test.words)
		}
	}
}

func TestPullIsOffWithoutDialer(t *testing.T) {
	e, err := Open(context.Background(), testConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Resolve(t.Context(), engine.ImageRef{Name: "example.com/image:1"}); app.KindOf(err) != app.KindInvalidRequest {
		t.Errorf("Resolve: %v", err)
	}
}
