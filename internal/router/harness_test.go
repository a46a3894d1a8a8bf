package router

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

// records is a Sink that keeps everything.
type records struct {
	mu   sync.Mutex
	list []Record
}

func (s *records) Request(r Record) { s.mu.Lock(); defer s.mu.Unlock(); s.list = append(s.list, r) }

func (s *records) all() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Record(nil), s.list...)
}

// testCertificate is one that httptest brings along; clients do not verify it.
var testCertificate = sync.OnceValue(func() *tls.Certificate {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return &s.TLS.Certificates[0]
})

// dialTarget connects to the target's address as it is.
func dialTarget(ctx context.Context, t Target) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", t.Addr.String())
}

// door is a router with its three kinds of front on free ports.
type door struct {
	*Router
	sink                *records
	https, http, inside string
	cancel              context.CancelFunc
	served              chan error
}

var doorCaller = netip.MustParseAddr("100.100.0.1")

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// openDoor starts a router; change may alter its configuration.
func openDoor(t testing.TB, change func(*Config)) *door {
	t.Helper()
	d := &door{sink: &records{}, served: make(chan error, 3)}
	c := Config{
		Dial:        dialTarget,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return testCertificate(), nil },
		HTTPSPort:   8443,
		Sink:        d.sink,
	}
	if change != nil {
		change(&c)
	}
	d.Router = New(c)
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(context.Background())
	start := func(f Front) string {
		ln := listen(t)
		go func() { d.served <- d.Serve(ctx, f, ln) }()
		return ln.Addr().String()
	}
	d.https = start(Front{TLS: true})
	d.http = start(Front{})
	d.inside = start(Front{TLS: true, Caller: doorCaller})
	t.Cleanup(func() {
		d.cancel()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = d.Shutdown(ctx) // tests that leave requests open on purpose are cut off here
		for range 3 {
			if err := <-d.served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		}
	})
	return d
}

// backend starts an instance.
func backend(t testing.TB, id app.InstanceID, h http.HandlerFunc) Target {
	t.Helper()
	return startBackend(t, id, httptest.NewUnstartedServer(h))
}

func startBackend(t testing.TB, id app.InstanceID, s *httptest.Server) Target {
	t.Helper()
	s.Start()
	t.Cleanup(s.Close)
	return Target{Instance: id, Interface: "eni-0", Addr: netip.MustParseAddrPort(s.Listener.Addr().String())}
}

// table routes hello.test to targets.
func table(targets ...Target) *Table {
	return &Table{Version: 1, Routes: []Route{{Service: "svc", Name: "hello", Hosts: []string{"hello.test", "alias.test"}, Revision: 1, Targets: targets, State: RouteServing}}}
}

// clientFor returns an HTTP client whose connections all go to address.
func clientFor(t testing.TB, address string, h2 bool) *http.Client {
	t.Helper()
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:  h2,
		DisableCompression: true,
	}
	if !h2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// do sends a request and returns the answer with its body.
func do(t testing.TB, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return res, string(body)
}

func get(t testing.TB, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	return do(t, c, request(t, "GET", url, nil))
}

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// eventually polls until ok or a deadline.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// raw opens a TLS connection that speaks HTTP/1.1.
func raw(t testing.TB, address, server string) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: server, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// status reads one answer's status and body from a raw connection.
func status(t testing.TB, r *bufio.Reader) (int, string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func echoHeaders(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	_, _ = fmt.Fprintf(w, "%s %s\nHost: %s\n", r.Method, r.RequestURI, r.Host)
	_ = r.Header.Write(w)
}

func has(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %q in:\n%s", p, text)
		}
	}
}
