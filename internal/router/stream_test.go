package router

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBothWaysAtOnce answers each line of a request while the request still goes on.
func TestBothWaysAtOnce(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			_, _ = fmt.Fprintf(w, "data: %s\n\n", lines.Text())
			_ = rc.Flush()
		}
	})
	d.SetTable(table(target))
	for _, h2 := range []bool{false, true} {
		body, out := io.Pipe()
		res, err := clientFor(t, d.https, h2).Do(request(t, "POST", "https://hello.test/", body))
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(res.Body)
		for i := range 3 {
			_, _ = fmt.Fprintf(out, "%d\n", i)
			line, err := in.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("h2 %v: %q, %v", h2, line, err)
			}
			_, _ = in.ReadString('\n')
		}
		_ = out.Close()
		if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
			t.Errorf("h2 %v: %q, %v", h2, rest, err)
		}
		_ = res.Body.Close()
	}
}

// A body of known length arrives piece by piece too.
func TestKnownLengthIsNotHeldBack(t *testing.T) {
	d := openDoor(t, nil)
	more := make(chan struct{})
	target := backend(t, "i", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "a")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "b")
	})
	d.SetTable(table(target))
	res, err := clientFor(t, d.https, false).Do(request(t, "GET", "https://hello.test/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(res.Body, first); err != nil || first[0] != 'a' {
		t.Fatalf("%q %v", first, err)
	}
	close(more)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "b" {
		t.Errorf("%q %v", rest, err)
	}
}

func TestLargeBodiesAndTrailers(t *testing.T) {
	const size = 20 << 20
	d := openDoor(t, nil)
	target := backend(t, "i", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Back")
		_ = http.NewResponseController(w).EnableFullDuplex()
		h := sha256.New()
		n, _ := io.Copy(io.MultiWriter(w, h), r.Body)
		w.Header().Set("X-Back", fmt.Sprintf("%d %x %s", n, h.Sum(nil), r.Trailer.Get("X-Sum")))
	})
	d.SetTable(table(target))
	data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for _, h2 := range []bool{false, true} {
		req := request(t, "PUT", "https://hello.test/", struct{ io.Reader }{bytes.NewReader(data)})
		req.Trailer = http.Header{"X-Sum": {"the sum"}}
		res, body := do(t, clientFor(t, d.https, h2), req)
		if body != string(data) {
			t.Errorf("h2 %v: %d bytes came back", h2, len(body))
		}
		if got, want := res.Trailer.Get("X-Back"), fmt.Sprintf("%d %x the sum", size, sha256.Sum256(data)); got != want {
			t.Errorf("h2 %v: trailer %q, want %q", h2, got, want)
		}
	}
	eventually(t, "records", func() bool { return len(d.sink.all()) == 2 })
	for _, r := range d.sink.all() {
		if r.In != size || r.Out != size || r.Status != 200 || r.Service != "svc" || r.Instance != "i" || r.Reason != "" {
			t.Errorf("record %+v", r)
		}
	}
}

// upgrade is an instance that echoes after a protocol change; it greets first.
func upgrade(w http.ResponseWriter, r *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\nhi\n", r.Header.Get("Upgrade"))
	_ = rw.Flush()
	_, _ = io.Copy(conn, rw)
}

const upgradeHead = "GET /ws HTTP/1.1\r\nHost: hello.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n"

// openUpgrade returns an upgraded connection whose greeting has been read.
func openUpgrade(t *testing.T, address, early string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := raw(t, address, "hello.test")
	_, _ = io.WriteString(c, upgradeHead+early)
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%+v, %v", res, err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "hi\n" {
		t.Fatalf("greeting %q, %v", line, err)
	}
	return c, r
}

func TestUpgradeOutlivesTheRequestTimeout(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", upgrade)
	tab := table(target)
	tab.Routes[0].RequestTimeout = 50 * time.Millisecond
	d.SetTable(tab)
	for _, early := range []string{"", "\x00early\n"} {
		c, r := openUpgrade(t, d.https, early)
		<-time.After(150 * time.Millisecond) // three times the timeout: the passing of time is what is tested
		_, _ = io.WriteString(c, "\x81\x00binary\n")
		for _, want := range []string{early, "\x81\x00binary\n"} {
			if want == "" {
				continue
			}
			if line, err := r.ReadString('\n'); err != nil || line != want {
				t.Errorf("early %q: got %q, %v", early, line, err)
			}
		}
		if n := d.InFlight("i"); n != 1 {
			t.Errorf("%d in flight", n)
		}
		_ = c.Close()
		eventually(t, "the upgraded connection ends", func() bool { return d.InFlight("i") == 0 })
	}
	eventually(t, "records", func() bool { return len(d.sink.all()) == 2 })
	if r := d.sink.all()[0]; !r.Upgraded || r.Status != 101 {
		t.Errorf("record %+v", r)
	}
}

// A client that asks for an upgrade and does not get one is held to HTTP as before.
func TestRefusedUpgradeStaysWatched(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "no") })
	d.SetTable(table(target))
	c := raw(t, d.https, "hello.test")
	_, _ = io.WriteString(c, upgradeHead+"GET / HTTP/1.9\r\nHost: hello.test\r\n\r\n")
	r := bufio.NewReader(c)
	for _, want := range []int{200, 400} {
		if got, body := status(t, r); got != want {
			t.Errorf("%d %s, want %d", got, body, want)
		}
	}
}

func TestClientAbortCancelsTheInstance(t *testing.T) {
	d := openDoor(t, nil)
	began, ended := make(chan struct{}, 2), make(chan struct{}, 2)
	target := backend(t, "i", func(_ http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})
	d.SetTable(table(target))
	for _, h2 := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-began; cancel() }()
		_, err := clientFor(t, d.https, h2).Do(request(t, "GET", "https://hello.test/", nil).WithContext(ctx))
		if err == nil {
			t.Error("answered")
		}
		<-ended
	}
	eventually(t, "records", func() bool { return len(d.sink.all()) == 2 })
	for _, r := range d.sink.all() {
		if r.Status != statusClientGone || r.Reason != "the client went away" {
			t.Errorf("record %+v", r)
		}
	}
}

// pipeDial serves h on connections within a synctest bubble.
func pipeDial(h http.HandlerFunc) (func(context.Context, Target) (net.Conn, error), func()) {
	ln := newPipeListener()
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(ln) }()
	return func(context.Context, Target) (net.Conn, error) { return ln.connect(), nil }, func() { _ = s.Close() }
}

// pipeListener is a listener of net.Pipe connections.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) connect() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func TestRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, stop := pipeDial(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		defer stop()
		sink := &records{}
		r := New(Config{Dial: dial, Sink: sink})
		r.SetTable(table(Target{Instance: "i"}))
		defer r.SetTable(&Table{})
		began := time.Now()
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", "http://hello.test/", nil))
		if took := time.Since(began); took != 120*time.Second || w.Code != 504 {
			t.Errorf("%d after %s", w.Code, took)
		}
		has(t, w.Body.String(), "the service did not answer within 2m0s")
		if rec := sink.all()[0]; rec.Status != 504 || rec.Duration != 120*time.Second {
			t.Errorf("record %+v", rec)
		}
	})
}

// A client that stops in the middle of its head is cut off, and so is one that keeps an idle connection.
func TestSlowClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, stop := pipeDial(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
		defer stop()
		r := New(Config{Dial: dial})
		r.SetTable(table(Target{Instance: "i"}))
		ln := newPipeListener()
		go func() { _ = r.Serve(t.Context(), Front{}, ln) }()
		for _, message := range []string{"", "GET / HT", "GET / HTTP/1.1\r\nHost: hello.test\r\nX: y"} {
			c := ln.connect()
			began := time.Now()
			_, _ = io.WriteString(c, message)
			answer, _ := io.ReadAll(c)
			if took := time.Since(began); took != headerTimeout {
				t.Errorf("%q: %q after %s", message, answer, took)
			}
		}
		c := ln.connect()
		began := time.Now()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: hello.test\r\n\r\n")
		if answer, _ := io.ReadAll(c); !strings.HasPrefix(string(answer), "HTTP/1.1 301 ") || time.Since(began) != idleTimeout {
			t.Errorf("idle: %q after %s", answer, time.Since(began))
		}
		_ = r.Shutdown(t.Context())
		r.SetTable(&Table{})
	})
}

func TestSlowBodyEndsWithTheRequestTimeout(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	tab := table(target)
	tab.Routes[0].RequestTimeout = 100 * time.Millisecond
	d.SetTable(tab)
	c := raw(t, d.https, "hello.test")
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: hello.test\r\nContent-Length: 1000000\r\n\r\nsome")
	r := bufio.NewReader(c)
	if got, body := status(t, r); got != 504 || !strings.Contains(body, "within 100ms") {
		t.Errorf("%d %s", got, body)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 {
		t.Errorf("the connection lives on: %q, %v", rest, err)
	}
	eventually(t, "nothing in flight", func() bool { return d.InFlight("i") == 0 && d.Load("svc").InFlight == 0 })
}

// A client that never sends the rest of a body that nobody wants gets its answer at once.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	d := openDoor(t, nil)
	d.SetTable(table())
	c := raw(t, d.https, "hello.test")
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: hello.test\r\nContent-Length: 1000000\r\n\r\nsome")
	r := bufio.NewReader(c)
	if got, body := status(t, r); got != 503 {
		t.Errorf("%d %s", got, body)
	}
	if _, err := io.ReadAll(r); err != nil { // ends after the grace
		t.Errorf("the connection lives on: %v", err)
	}
}

// An answer that does not come to its end must not look complete, and the record says why.
func TestBrokenOffAnswers(t *testing.T) {
	d := openDoor(t, nil)
	target := backend(t, "i", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	})
	tab := table(target)
	tab.Routes[0].RequestTimeout = 100 * time.Millisecond
	d.SetTable(tab)
	for _, h2 := range []bool{false, true} {
		for _, path := range []string{"/", "/slow"} {
			res, err := clientFor(t, d.https, h2).Do(request(t, "GET", "https://hello.test"+path, nil))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err == nil || string(body) != "begun" {
				t.Errorf("h2 %v %s: %q, %v", h2, path, body, err)
			}
		}
	}
	eventually(t, "records", func() bool { return len(d.sink.all()) == 4 })
	for _, r := range d.sink.all() {
		want := "the instance broke its answer off"
		if r.URI == "/slow" {
			want = "the answer was not complete within 100ms"
		}
		if r.Status != 200 || r.Reason != want || r.Out != 5 {
			t.Errorf("record %+v", r)
		}
	}
}
