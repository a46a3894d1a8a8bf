package router

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// discard is the cheapest ResponseWriter.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// benchmark sends a browser-like request through h, without the client's side of the network.
func benchmark(b *testing.B, h http.Handler) {
	req := httptest.NewRequest("GET", "http://hello.test/some/path?x=1", nil)
	req = req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, &net.TCPAddr{Port: 443}))
	for name, value := range map[string]string{"User-Agent": "Mozilla/5.0", "Accept": "text/html", "Accept-Language": "en", "Cookie": "a=b"} {
		req.Header.Set(name, value)
	}
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(&discard{header: http.Header{}}, req)
	}
}

func small(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Hello, World!") }

func BenchmarkRouter(b *testing.B) {
	target := backend(b, "i", small)
	r := New(Config{Dial: dialTarget})
	r.SetTable(table(target))
	benchmark(b, r)
	r.SetTable(&Table{})
}

func BenchmarkReverseProxy(b *testing.B) {
	target := backend(b, "i", small)
	u := &url.URL{Scheme: "http", Host: target.Addr.String()}
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: idlePerTarget}
	defer tr.CloseIdleConnections()
	benchmark(b, &httputil.ReverseProxy{Transport: tr, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(u); p.SetXForwarded() }})
}

// BenchmarkPick is the routing alone: host, target and counters.
func BenchmarkPick(b *testing.B) {
	r := New(Config{Dial: dialTarget})
	r.SetTable(table(Target{Instance: "a"}, Target{Instance: "b"}, Target{Instance: "c"}, Target{Instance: "d"}))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u := r.table.Load().find("hello.test").pick(nil)
			u.inFlight.Add(-1)
		}
	})
}
