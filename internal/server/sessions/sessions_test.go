package sessions

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/funade/funade/internal/session"
)

// world is the fake engine and the fake network.
type world struct {
	mu    sync.Mutex
	execs []Exec
	sizes []string
	// killed gets the cause when a process is killed.
	killed chan error
	dials  []string
	// target is what DialFrom reaches; nil = refused.
	target net.Addr
}

type fakeProcess struct {
	w    *world
	done chan int
}

func (p fakeProcess) Resize(_ context.Context, width, height int) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.sizes = append(p.w.sizes, fmt.Sprintf("%dx%d", width, height))
	return nil
}

func (p fakeProcess) Wait() (int, error) { return <-p.done, nil }

func (w *world) Exec(ctx context.Context, id app.InstanceID, x Exec) (Process, error) {
	w.mu.Lock()
	w.execs = append(w.execs, x)
	w.mu.Unlock()
	p := fakeProcess{w, make(chan int, 1)}
	switch x.Args[0] {
	case "missing":
		return nil, app.Errorf(app.KindInvalidRequest, string(id), "the command %q does not exist in the instance", x.Args[0])
	case "copy":
		go func() {
			_, err := io.Copy(x.Stdout, x.Stdin)
			fmt.Fprintf(x.Stderr, "copied %v", err)
			p.done <- 3
		}()
	case "sleep":
		fmt.Fprint(x.Stdout, "asleep")
		go func() {
			<-ctx.Done()
			w.killed <- context.Cause(ctx)
			p.done <- 137
		}()
	}
	return p, nil
}

func (w *world) DialFrom(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dials = append(w.dials, string(id)+" "+addr.String())
	target := w.target
	w.mu.Unlock()
	if target == nil || addr.Addr() == netip.MustParseAddr("10.0.0.9") {
		return nil, errors.New("connection refused")
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", target.String())
}

func (w *world) LookupFrom(_ context.Context, _ app.InterfaceID, name string) ([]netip.Addr, error) {
	if name != "db.internal" {
		return nil, errors.New("no such name")
	}
	return []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.10")}, nil
}

type bench struct {
	*world
	*Server
	t   *testing.T
	url string
	now time.Time
	mu  sync.Mutex
}

func newBench(t *testing.T) *bench {
	b := &bench{world: &world{killed: make(chan error, 8)}, t: t, now: time.Unix(1_800_000_000, 0)}
	b.Server = New(b.world, b.world, func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now })
	srv := httptest.NewServer(b.Server)
	b.url = srv.URL
	t.Cleanup(func() {
		if err := b.Server.Close(); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return b
}

func (b *bench) later(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) issue(t Ticket) (id, token string) {
	b.t.Helper()
	id, token, expires, err := b.Issue(t)
	if err != nil || !expires.Equal(b.now.Add(30*time.Second)) {
		b.t.Fatalf("Issue: until %v, %v", expires, err)
	}
	return id, token
}

func (b *bench) dial(id, token string) (*session.Conn, error) {
	return session.Dial(b.t.Context(), http.DefaultTransport.(*http.Transport), b.url+Path+id, token)
}

func (b *bench) open(t Ticket) *session.Conn {
	b.t.Helper()
	c, err := b.dial(b.issue(t))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

func run(args ...string) Ticket { return Ticket{Instance: "i1", Process: Exec{Args: args}} }

// result is what a session said until its last frame.
func result(t *testing.T, c *session.Conn) (out, errs, failure string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	for {
		k, p, err := c.Receive()
		if err != nil {
			t.Fatalf("the session ended without a last frame: %v", err)
		}
		switch k {
		case session.Output:
			stdout.Write(p)
		case session.Errors:
			stderr.Write(p)
		case session.Exit:
			if code, err = session.ExitCode(p); err != nil {
				t.Fatal(err)
			}
			return stdout.String(), stderr.String(), "", code
		case session.Failure:
			return stdout.String(), stderr.String(), string(p), -1
		}
	}
}

func TestExec(t *testing.T) {
	b := newBench(t)
	c := b.open(Ticket{Instance: "i1", Process: Exec{Args: []string{"copy"}, Env: []string{"TERM=xterm"}, Terminal: true, Width: 80, Height: 24}})
	if err := errors.Join(c.SendResize(120, 40), c.Send(session.Input, []byte("hello")), c.End(session.Input)); err != nil {
		t.Fatal(err)
	}
	if out, errs, failure, code := result(t, c); out != "hello" || errs != "copied <nil>" || failure != "" || code != 3 {
		t.Errorf("output %q, errors %q, failure %q, code %d", out, errs, failure, code)
	}
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	if x := b.execs[0]; x.Width != 80 || !x.Terminal || x.Env[0] != "TERM=xterm" || len(b.sizes) != 1 || b.sizes[0] != "120x40" {
		t.Errorf("process %+v, sizes %v", x, b.sizes)
	}
}

func TestExecFails(t *testing.T) {
	b := newBench(t)
	c := b.open(run("missing"))
	if _, _, failure, _ := result(t, c); !strings.Contains(failure, "does not exist in the instance") {
		t.Errorf("failure %q", failure)
	}
}

// asleep opens a session whose process runs until it is killed.
func asleep(t *testing.T, b *bench) *session.Conn {
	t.Helper()
	c := b.open(run("sleep"))
	if k, p, err := c.Receive(); err != nil || k != session.Output || string(p) != "asleep" {
		t.Fatalf("kind %d, %q, %v", k, p, err)
	}
	return c
}

func wantKilled(t *testing.T, b *bench) {
	t.Helper()
	select {
	case <-b.killed:
	case <-time.After(10 * time.Second):
		t.Fatal("the process lives on")
	}
}

func TestDisconnectKills(t *testing.T) {
	b := newBench(t)
	asleep(t, b).Close()
	wantKilled(t, b)
}

func TestCloseKills(t *testing.T) {
	b := newBench(t)
	c := asleep(t, b)
	if err := b.Server.Close(); err != nil {
		t.Fatal(err)
	}
	wantKilled(t, b)
	for kind, data, err := c.Receive(); err == nil; kind, data, err = c.Receive() {
		t.Logf("last words: %v %q", kind, data)
		if kind != session.Exit {
			t.Error("the session goes on without its server")
		}
	}
	if _, err := b.dial(b.issue(run("copy"))); err == nil {
		t.Error("a closed server opens sessions")
	}
}

func TestForgedFramesEndTheSession(t *testing.T) {
	b := newBench(t)
	c := asleep(t, b)
	if err := c.Send(session.Output, []byte("from the wrong end")); err != nil {
		t.Fatal(err)
	}
	wantKilled(t, b)
}

func TestTokens(t *testing.T) {
	b := newBench(t)
	id, token := b.issue(run("copy"))
	other, _ := b.issue(run("copy"))
	for name, try := range map[string][2]string{"wrong token": {id, token[:len(token)-1] + "!"}, "no token": {id, ""}, "another's token": {other, token}, "no such session": {"x", token}} {
		if _, err := b.dial(try[0], try[1]); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := b.dial(id, token)
	if err != nil {
		t.Fatalf("the right token: %v", err)
	}
	c.Close()
	if _, err := b.dial(id, token); err == nil || !strings.Contains(err.Error(), "open another one") {
		t.Errorf("the same token again: %v", err)
	}
	id, token = b.issue(run("copy"))
	b.later(30 * time.Second)
	if _, err := b.dial(id, token); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after 30 s: %v", err)
	}
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	if len(b.execs) > 1 {
		t.Errorf("%d processes were started; want one", len(b.execs))
	}
}

func TestTokenOnceUnderContention(t *testing.T) {
	b := newBench(t)
	id, token := b.issue(run("sleep"))
	var wg sync.WaitGroup
	opened := make(chan *session.Conn, 16)
	for range 16 {
		wg.Go(func() {
			if c, err := b.dial(id, token); err == nil {
				opened <- c
			}
		})
	}
	wg.Wait()
	if len(opened) != 1 {
		t.Errorf("one token opened %d sessions", len(opened))
	}
	for range len(opened) {
		(<-opened).Close()
	}
}

func TestLimits(t *testing.T) {
	b := newBench(t)
	for range maxTickets {
		b.issue(run("copy"))
	}
	if _, _, _, err := b.Issue(run("copy")); app.KindOf(err) != app.KindThrottled {
		t.Errorf("ticket beyond the limit: %v", err)
	}
	b.later(time.Minute)
	id, token := b.issue(run("copy")) // expired ones make room
	b.Server.mu.Lock()
	b.Server.open = maxSessions
	b.Server.mu.Unlock()
	if _, err := b.dial(id, token); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("session beyond the limit: %v", err)
	}
	b.Server.mu.Lock()
	b.Server.open = 0
	b.Server.mu.Unlock()
	c, err := b.dial(id, token) // the refusal did not use the token up
	if err != nil {
		t.Fatalf("after the refusal: %v", err)
	}
	c.Close()
}

func TestNotAnUpgrade(t *testing.T) {
	b := newBench(t)
	id, token := b.issue(run("copy"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+Path+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUpgradeRequired || answer.Header.Get("Upgrade") != session.Protocol {
		t.Errorf("%s, %v", answer.Status, answer.Header)
	}
}

// echo answers what it got, after the caller has ended its direction.
func echo(t *testing.T) net.Addr {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				text, _ := io.ReadAll(c)
				if string(text) == "reset" {
					_ = c.(*net.TCPConn).SetLinger(0)
					return
				}
				fmt.Fprintf(c, "you said %s", text)
			}()
		}
	}()
	return ln.Addr()
}

func TestForward(t *testing.T) {
	b := newBench(t)
	b.target = echo(t)
	c := b.open(Ticket{Interface: "eni-1", Host: "db.internal", Port: 5432})
	if err := errors.Join(c.Send(session.Input, []byte("hello")), c.End(session.Input)); err != nil {
		t.Fatal(err)
	}
	if out, _, failure, code := result(t, c); out != "you said hello" || code != 0 || failure != "" {
		t.Errorf("output %q, failure %q, code %d", out, failure, code)
	}
	c = b.open(Ticket{Interface: "eni-1", Host: "LOCALHOST", Port: 80})
	if err := errors.Join(c.Send(session.Input, []byte("reset")), c.End(session.Input)); err != nil {
		t.Fatal(err)
	}
	if _, _, failure, _ := result(t, c); !strings.Contains(failure, "was lost") {
		t.Errorf("failure %q", failure)
	}
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	if got := strings.Join(b.dials, ", "); got != "eni-1 10.0.0.9:5432, eni-1 10.0.0.10:5432, eni-1 127.0.0.1:80" {
		t.Errorf("dials %s", got)
	}
}

func TestForwardFails(t *testing.T) {
	b := newBench(t)
	c := b.open(Ticket{Interface: "eni-1", Host: "10.0.0.10", Port: 5432})
	if _, _, failure, _ := result(t, c); !strings.Contains(failure, "cannot connect to 10.0.0.10:5432: connection refused") || !strings.Contains(failure, "funade explain") {
		t.Errorf("failure %q", failure)
	}
	c = b.open(Ticket{Interface: "eni-1", Host: "elsewhere", Port: 5432})
	if _, _, failure, _ := result(t, c); !strings.Contains(failure, "cannot look elsewhere up") {
		t.Errorf("failure %q", failure)
	}
}
