package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funade/funade/internal/app"
)

func TestLeastInFlightAndFairTies(t *testing.T) {
	r := New(Config{Dial: dialTarget})
	var targets []Target
	for _, id := range []app.InstanceID{"a", "b", "c"} {
		targets = append(targets, Target{Instance: id})
	}
	r.SetTable(table(targets...))
	rt := r.table.Load().find("hello.test")
	rt.upstreams[0].inFlight.Store(2)
	rt.upstreams[1].inFlight.Store(1)
	for _, want := range []int64{2, 2, 2} { // c, c and b, then even
		rt.pick(nil)
		if most := rt.upstreams[0].inFlight.Load(); most != want {
			t.Errorf("the busiest got more: %d", most)
		}
	}
	for i, u := range rt.upstreams {
		if n := u.inFlight.Load(); n != 2 {
			t.Errorf("target %d has %d", i, n)
		}
	}
	counts := map[app.InstanceID]int{}
	for range 300 { // one at a time: all ties
		u := rt.pick(nil)
		counts[u.Instance]++
		u.inFlight.Add(-1)
	}
	for id, n := range counts {
		if n != 100 {
			t.Errorf("%s got %d of 300", id, n)
		}
	}
	if u := rt.pick(rt.upstreams[0]); u == rt.upstreams[0] {
		t.Error("picked the one to avoid")
	}
}

// TestCountersAreExact hammers the router while the table changes.
func TestCountersAreExact(t *testing.T) {
	d := openDoor(t, nil)
	var open, peak atomic.Int64
	var targets []Target
	for _, id := range []app.InstanceID{"a", "b", "c"} {
		target := backend(t, id, func(w http.ResponseWriter, _ *http.Request) {
			peak.Store(max(peak.Load(), open.Add(1)))
			defer open.Add(-1)
			_, _ = io.WriteString(w, string(id))
		})
		targets = append(targets, target)
	}
	d.SetTable(table(targets...))
	client := clientFor(t, d.https, true)
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				left := slices.Delete(slices.Clone(targets), i%3, i%3+1)
				d.SetTable(table(left...))
			}
		}
	})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for range 50 {
				if res, body := get(t, client, "https://hello.test/"); res.StatusCode != 200 {
					t.Errorf("%d %s", res.StatusCode, body)
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	changes.Wait()
	eventually(t, "all counters are zero", func() bool {
		return d.Load("svc").InFlight == 0 && d.InFlight("a")+d.InFlight("b")+d.InFlight("c") == 0
	})
	if load := d.Load("svc"); load.Started != 400 || load.Targets != 2 {
		t.Errorf("load %+v", load)
	}
}

func TestDrain(t *testing.T) {
	d := openDoor(t, nil)
	began, finish := make(chan struct{}), make(chan struct{})
	oldServer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			began <- struct{}{}
			<-finish
		}
		_, _ = io.WriteString(w, "old")
	}))
	var kept sync.Map
	oldServer.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if kept.Store(c, s); s == http.StateClosed {
			kept.Delete(c)
		}
	}
	old := startBackend(t, "old", oldServer)
	next := backend(t, "new", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "new") })
	d.SetTable(table(old))
	client := clientFor(t, d.https, true)
	get(t, client, "https://hello.test/") // leaves a kept connection
	slow := make(chan string)
	go func() { _, body := get(t, client, "https://hello.test/slow"); slow <- body }()
	<-began
	if load := d.Load("svc"); load.InFlight != 1 || load.Targets != 1 || d.Drained("old") || len(d.Busy()) != 0 {
		t.Errorf("before: %+v, drained %v, busy %v", load, d.Drained("old"), d.Busy())
	}
	d.SetTable(table(next))
	for range 5 {
		if _, body := get(t, client, "https://hello.test/"); body != "new" {
			t.Errorf("a new request went to %s", body)
		}
	}
	if d.Drained("old") || d.InFlight("old") != 1 || !slices.Equal(d.Busy(), []app.InstanceID{"old"}) {
		t.Errorf("draining: drained %v, in flight %d, busy %v", d.Drained("old"), d.InFlight("old"), d.Busy())
	}
	close(finish)
	if body := <-slow; body != "old" {
		t.Errorf("the request in flight got %q", body)
	}
	eventually(t, "drained", func() bool { return d.Drained("old") && len(d.Busy()) == 0 })
	eventually(t, "kept connections are closed", func() bool {
		n := 0
		kept.Range(func(any, any) bool { n++; return true })
		return n == 0
	})
	d.SetTable(table(next))
	if len(d.upstreams) != 1 || !d.Drained("never seen") {
		t.Errorf("%d instances are remembered", len(d.upstreams))
	}
	d.SetTable(&Table{})
	if len(d.services) != 0 || len(d.upstreams) != 0 || d.Load("svc") != (Load{}) {
		t.Error("a service that is gone is remembered")
	}
}

func TestMovedInstanceKeepsItsCount(t *testing.T) {
	r := New(Config{Dial: dialTarget})
	target := Target{Instance: "a", Addr: netip.MustParseAddrPort("127.0.0.1:1")}
	r.SetTable(table(target))
	u := r.table.Load().find("hello.test").pick(nil)
	target.Addr = netip.MustParseAddrPort("127.0.0.1:2")
	r.SetTable(table(target))
	if r.InFlight("a") != 1 || !u.left.Load() || r.Drained("a") {
		t.Errorf("in flight %d, left %v", r.InFlight("a"), u.left.Load())
	}
	u.inFlight.Add(-1)
	if r.InFlight("a") != 0 {
		t.Errorf("in flight %d", r.InFlight("a"))
	}
}

// dead is a target that refuses connections.
func dead(t *testing.T, id app.InstanceID) Target {
	ln := listen(t)
	addr := netip.MustParseAddrPort(ln.Addr().String())
	_ = ln.Close()
	return Target{Instance: id, Addr: addr}
}

func TestRetryOnAnotherInstance(t *testing.T) {
	d := openDoor(t, nil)
	var bodies atomic.Int64
	live := backend(t, "live", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		bodies.Add(n)
		_, _ = io.WriteString(w, "live")
	})
	d.SetTable(table(dead(t, "dead"), live))
	client := clientFor(t, d.https, false)
	for range 6 { // round robin meets the dead one
		for _, method := range []string{"GET", "POST"} {
			res, body := do(t, client, request(t, method, "https://hello.test/", strings.NewReader(map[string]string{"POST": "12345"}[method])))
			if res.StatusCode != 200 || body != "live" {
				t.Errorf("%s: %d %s", method, res.StatusCode, body)
			}
		}
	}
	if bodies.Load() != 30 {
		t.Errorf("%d body bytes arrived", bodies.Load())
	}
	eventually(t, "nothing in flight", func() bool { return d.InFlight("dead") == 0 && d.InFlight("live") == 0 })
	d.SetTable(table(dead(t, "dead")))
	res, body := get(t, client, "https://hello.test/")
	if res.StatusCode != 502 || strings.Contains(body, "127.0.0.1") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	has(t, body, "the instance refused the connection", res.Header.Get("X-Request-Id"))
}

// An instance that has read a request and dies may have acted on it: only safe requests go on.
func TestBrokenAnswers(t *testing.T) {
	d := openDoor(t, nil)
	var calls atomic.Int64
	answer := func(text string) Target {
		ln := listen(t)
		t.Cleanup(func() { _ = ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					calls.Add(1)
					_, _ = io.Copy(io.Discard, req.Body)
				}
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			}
		}()
		return Target{Instance: app.InstanceID("broken" + text), Addr: netip.MustParseAddrPort(ln.Addr().String())}
	}
	client := clientFor(t, d.https, false)
	closing := answer("")
	second := answer("")
	second.Instance = "second"
	d.SetTable(table(closing, second))
	for method, tries := range map[string]int64{"GET": 2, "POST": 1, "DELETE": 1} {
		calls.Store(0)
		body := io.Reader(http.NoBody)
		if method == "POST" {
			body = strings.NewReader("x")
		}
		res, words := do(t, client, request(t, method, "https://hello.test/", body))
		if res.StatusCode != 502 || calls.Load() != tries || !strings.Contains(words, "closed the connection without an answer") {
			t.Errorf("%s: %d after %d tries: %s", method, res.StatusCode, calls.Load(), words)
		}
	}
	d.SetTable(table(answer("SSH-2.0\r\n")))
	res, words := get(t, client, "https://hello.test/")
	if res.StatusCode != 502 || !strings.Contains(words, "sent an answer that is not HTTP") {
		t.Errorf("%d %s", res.StatusCode, words)
	}
}

func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Dial: func(ctx context.Context, _ Target) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }})
		r.SetTable(table(Target{Instance: "i"}))
		w := httptest.NewRecorder()
		began := time.Now()
		r.ServeHTTP(w, httptest.NewRequest("GET", "http://hello.test/", nil))
		if took := time.Since(began); w.Code != 504 || took != dialTimeout {
			t.Errorf("%d after %s: %s", w.Code, took, w.Body)
		}
		has(t, w.Body.String(), "the instance accepted no connection within 5s")
		synctest.Wait()
	})
}

func TestShutdownFinishesRequests(t *testing.T) {
	d := openDoor(t, nil)
	began, finish := make(chan struct{}), make(chan struct{})
	target := backend(t, "i", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			upgrade(w, r)
			return
		}
		began <- struct{}{}
		<-finish
		_, _ = io.WriteString(w, "done")
	})
	d.SetTable(table(target))
	_, upgraded := openUpgrade(t, d.https, "")
	answers := make(chan string, 2)
	for _, h2 := range []bool{false, true} {
		go func() { _, body := get(t, clientFor(t, d.https, h2), "https://hello.test/"); answers <- body }()
		<-began
	}
	down := make(chan error)
	go func() { down <- d.Shutdown(t.Context()) }()
	eventually(t, "no new connections", func() bool {
		c, err := net.Dial("tcp", d.https)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	select {
	case err := <-down:
		t.Fatalf("shut down with requests in flight: %v", err)
	default:
	}
	close(finish)
	for range 2 {
		if body := <-answers; body != "done" {
			t.Errorf("answer %q", body)
		}
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if rest, _ := io.ReadAll(upgraded); len(rest) != 0 {
		t.Errorf("upgraded connection: %q", rest)
	}
	if n := d.active.Load(); n != 0 {
		t.Errorf("%d requests are left", n)
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	d := openDoor(t, nil)
	began := make(chan struct{})
	target := backend(t, "i", func(_ http.ResponseWriter, r *http.Request) { close(began); <-r.Context().Done() })
	d.SetTable(table(target))
	failed := make(chan error)
	go func() {
		_, err := clientFor(t, d.https, false).Do(request(t, "GET", "https://hello.test/", nil))
		failed <- err
	}()
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := d.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "cannot finish 1 requests") {
		t.Errorf("got %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	d := openDoor(t, func(c *Config) { c.MaxConns = 1 })
	target := backend(t, "i", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	d.SetTable(table(target))
	first := raw(t, d.https, "hello.test")
	second := make(chan string)
	go func() { _, body := get(t, clientFor(t, d.https, true), "https://hello.test/"); second <- body }()
	_, _ = io.WriteString(first, "GET / HTTP/1.1\r\nHost: hello.test\r\n\r\n")
	if got, _ := status(t, bufio.NewReader(first)); got != 200 {
		t.Errorf("first: %d", got)
	}
	select {
	case body := <-second:
		t.Errorf("a second connection was served: %s", body)
	default:
	}
	_ = first.Close()
	if body := <-second; body != "ok" {
		t.Errorf("second: %s", body)
	}
}

func TestFailureWordsGiveNoAddressAway(t *testing.T) {
	at := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(100, 64, 0, 9), Port: 8080}, Err: err}
	}
	for want, err := range map[string]error{
		"refused the connection":                  &dialError{at(syscall.ECONNREFUSED)},
		"cannot be reached":                       &dialError{at(syscall.EHOSTUNREACH)},
		"cannot be connected to":                  &dialError{at(errors.New("no such interface"))},
		"broke the connection off":                at(syscall.ECONNRESET),
		"closed the connection without an answer": io.ErrUnexpectedEOF,
		"sent an answer that is not HTTP":         errors.New("net/http: HTTP/1.x transport connection broken: malformed HTTP response"),
		"failed to answer":                        at(errors.New("anything else")),
	} {
		if got := failureWords(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

// An instance whose address is wrong at first must not cost a client with a large body its request.
func TestRetryKeepsTheWholeBody(t *testing.T) {
	d := openDoor(t, nil)
	live := backend(t, "live", func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	})
	d.SetTable(table(dead(t, "dead"), live))
	for _, h2 := range []bool{false, true} {
		for range 4 {
			_, body := do(t, clientFor(t, d.https, h2), request(t, "POST", "https://hello.test/", strings.NewReader(strings.Repeat("x", 1<<20))))
			if body != "1048576" {
				t.Errorf("h2 %v: %s", h2, body)
			}
		}
	}
}

func TestBrokenListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Dial: dialTarget})
		ln := &failing{}
		if err := r.Serve(t.Context(), Front{}, ln); err == nil || !strings.Contains(err.Error(), "too many open files") {
			t.Errorf("got %v", err)
		}
		if ln.tries != maxAcceptFailures {
			t.Errorf("%d tries", ln.tries)
		}
		if err := r.Serve(t.Context(), Front{TLS: true}, ln); err == nil || !strings.Contains(err.Error(), "certificates") {
			t.Errorf("no certificates: %v", err)
		}
	})
}

// failing is a listener that cannot accept.
type failing struct{ tries int }

func (f *failing) Accept() (net.Conn, error) { f.tries++; return nil, syscall.EMFILE }
func (f *failing) Close() error              { return nil }
func (f *failing) Addr() net.Addr            { return &net.TCPAddr{} }
