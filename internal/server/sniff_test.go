package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/funade/funade/internal/server"
)

// elsewhere is a listener that says it is not on loopback, and whose first Accepts fail.
type elsewhere struct {
	net.Listener
	addr  net.Addr
	fails atomic.Int32
}

func (l *elsewhere) Addr() net.Addr { return l.addr }

func (l *elsewhere) Accept() (net.Conn, error) {
	if l.fails.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// sniffed serves on a sniffing listener and returns its address and a client that trusts it.
func sniffed(t *testing.T, addr net.Addr, fails int32, allowPlain bool) (string, *http.Client) {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	t.Cleanup(certified.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	if addr == nil {
		addr = l.Addr()
	}
	e := &elsewhere{Listener: l, addr: addr}
	e.fails.Store(fails)
	s := server.HTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "tls %v", r.TLS != nil) }))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(server.Sniff(e, certified.TLS, allowPlain)) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return at, certified.Client()
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestSniff(t *testing.T) {
	away := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}
	for _, w := range []struct {
		name       string
		addr       net.Addr
		allowPlain bool
		fails      int32
		plain      int
	}{
		{"loopback", nil, false, 0, 200},
		{"elsewhere", away, false, 0, 400},
		{"elsewhere, plain allowed", away, true, 0, 200},
		{"any address", &net.TCPAddr{IP: net.IPv6unspecified}, false, 0, 400},
		{"too many open files", nil, false, 3, 200},
	} {
		t.Run(w.name, func(t *testing.T) {
			at, c := sniffed(t, w.addr, w.fails, w.allowPlain)
			if status, body := get(t, c, "https://"+at); status != 200 || body != "tls true" {
				t.Errorf("TLS: %d %q", status, body)
			}
			status, body := get(t, c, "http://"+at)
			if status != w.plain || w.plain == 200 && body != "tls false" || w.plain == 400 && !strings.Contains(body, "https://") {
				t.Errorf("plain: %d %q, want %d", status, body, w.plain)
			}
		})
	}
}

func TestSniffTakesOthersWhileOneIsSilent(t *testing.T) {
	at, c := sniffed(t, nil, 0, false)
	silent, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if status, _ := get(t, c, "http://"+at); status != 200 {
		t.Errorf("got %d", status)
	}
}

func TestHandlerRoutes(t *testing.T) {
	part := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })
	}
	s := httptest.NewServer(server.Handler(part("api"), part("registry"), part("session"), part("health")))
	defer s.Close()
	for path, want := range map[string]string{
		"/": "api", "/v2": "registry", "/v2/": "registry", "/v2/x/blobs/y": "registry", "/token": "registry",
		"/token/x": "api", "/funade/session/x": "session", "/funade/session": "api", "/v22": "api", server.HealthPath: "health", server.HealthPath + "/x": "api",
	} {
		if _, got := get(t, s.Client(), s.URL+path); got != want {
			t.Errorf("%s goes to %s, want %s", path, got, want)
		}
	}
}

// deadlines notes what a handler sets.
type deadlines struct {
	*httptest.ResponseRecorder
	steps []string
}

func (d *deadlines) SetReadDeadline(at time.Time) error  { return d.note("read", at) }
func (d *deadlines) SetWriteDeadline(at time.Time) error { return d.note("write", at) }
func (d *deadlines) Flush()                              { d.steps = append(d.steps, "flush") }

func (d *deadlines) note(what string, at time.Time) error {
	if at.IsZero() {
		what += " none"
	} else if in := time.Until(at); in < 30*time.Second || in > 2*time.Minute {
		what += " in " + in.String()
	}
	d.steps = append(d.steps, what)
	return nil
}

func TestHandlerDeadlines(t *testing.T) {
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	h := server.Handler(nothing, nothing, nothing, nothing)
	for path, want := range map[string]string{"/": "read,write,flush,write none", "/v2/": "", server.HealthPath: ""} {
		d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(d, httptest.NewRequest("POST", path, nil))
		if got := strings.Join(d.steps, ","); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// An answer is whole although it is flushed before the handler ends, and the connection serves the next request.
func TestHandlerKeepsConnections(t *testing.T) {
	a := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		io.WriteString(w, "ok")
	})
	s := httptest.NewServer(server.Handler(a, a, a, a))
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "ok" || res.ContentLength != 2 {
			t.Errorf("got %q, %v, length %d", body, err, res.ContentLength)
		}
	}
}
