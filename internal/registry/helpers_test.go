package registry_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/registry"
	"github.com/funade/funade/internal/registry/registrytest"
)

var scope = app.Scope{Account: "000000000000", Region: "us-east-1"}

func repo(name string) app.RepositoryKey { return app.RepositoryKey{Scope: scope, Name: name} }

// fixture is a registry over memory and files behind an HTTP server on loopback.
type fixture struct {
	*registry.Registry
	rows     *registrytest.Memory
	files    *registrytest.Files
	dir      string
	server   *httptest.Server
	host     string
	password string
	// clock is added to real time.
	clock atomic.Int64
	// keyGone makes every access key unknown.
	keyGone atomic.Bool
}

func (f *fixture) now() time.Time          { return time.Now().Add(time.Duration(f.clock.Load())) }
func (f *fixture) advance(d time.Duration) { f.clock.Add(int64(d)) }

func newFixture(t testing.TB, change func(*registry.Config)) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir()}
	f.rows = registrytest.NewMemory(f.now)
	f.start(t, change)
	return f
}

// start makes the registry; a second call is a restart.
func (f *fixture) start(t testing.TB, change func(*registry.Config)) {
	t.Helper()
	var err error
	if f.files, err = registrytest.NewFiles(f.dir, f.now); err != nil {
		t.Fatal(err)
	}
	tokens := &registry.Tokens{Key: []byte(strings.Repeat("k", 32)), Now: f.now,
		KeyKnown: func(context.Context, string) bool { return !f.keyGone.Load() }}
	config := registry.Config{Catalog: f.rows, Links: f.rows, Directory: f.rows, Blobs: f.files, Tokens: tokens, DefaultScope: scope, Now: f.now}
	if change != nil {
		change(&config)
	}
	if f.Registry, err = registry.New(config); err != nil {
		t.Fatal(err)
	}
	f.password, _ = tokens.Issue(scope, "AKIATEST")
	f.server = httptest.NewServer(f.Registry)
	t.Cleanup(f.server.Close)
	f.host = strings.TrimPrefix(f.server.URL, "http://")
}

// do sends a request as user AWS and returns the answer with its body read.
func (f *fixture) do(t testing.TB, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	target := path
	if !strings.HasPrefix(path, "http") {
		target = f.server.URL + path
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("AWS", f.password)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp, readAll(t, resp)
}
