package health

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funade/funade/internal/app"
)

var addr = netip.MustParseAddrPort("100.64.16.9:8080")

func tcp(interval, timeout, healthy, unhealthy int) app.HealthCheck {
	return app.HealthCheck{Protocol: app.ProtocolTCP, Path: "/", Interval: interval, Timeout: timeout, HealthyThreshold: healthy, UnhealthyThreshold: unhealthy}
}

func httpCheck(path string) app.HealthCheck {
	h := tcp(5, 2, 1, 1)
	h.Protocol, h.Path = app.ProtocolHTTP, path
	return h
}

// world is an instance that a test can switch, and what the prober said of it.
type world struct {
	mu      sync.Mutex
	err     error               // of dialling; nil = connect
	serve   func(conn net.Conn) // the application; nil = accept and close
	hang    bool                // dialling never ends by itself
	dials   []time.Duration     // since the start
	start   time.Time
	results []Result
	open    atomic.Int64 // dials under way
	peak    atomic.Int64
}

func (w *world) set(f func()) { w.mu.Lock(); defer w.mu.Unlock(); f() }

func (w *world) dial(ctx context.Context, _ app.InterfaceID, _ netip.AddrPort) (net.Conn, error) {
	w.peak.Store(max(w.peak.Load(), w.open.Add(1)))
	defer w.open.Add(-1)
	w.mu.Lock()
	w.dials = append(w.dials, time.Since(w.start))
	err, serve, hang := w.err, w.serve, w.hang
	w.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	ours, theirs := net.Pipe()
	if serve == nil {
		_ = theirs.Close()
	} else {
		go serve(theirs)
	}
	return ours, nil
}

func (w *world) report(r Result) { w.set(func() { w.results = append(w.results, r) }) }

// dialled and said copy under the lock: fake time orders goroutines, but not for the race detector.
func (w *world) dialled() (out []time.Duration) {
	w.set(func() { out = slices.Clone(w.dials) })
	return out
}

func (w *world) said() (out []Result) { w.set(func() { out = slices.Clone(w.results) }); return out }

func (w *world) last() Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.results) == 0 {
		return Result{}
	}
	return w.results[len(w.results)-1]
}

// inBubble runs a test with a prober in fake time.
func inBubble(t *testing.T, f func(t *testing.T, w *world, p *Prober)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{start: time.Now()}
		p := New(Config{Dial: w.dial, Report: w.report, Concurrency: 2})
		defer p.Close()
		f(t, w, p)
	})
}

// after lets fake time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func refused() error {
	return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func TestThresholds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *Prober) {
		check := Check{Instance: "i", Addr: addr, HealthCheck: tcp(5, 2, 2, 3)}
		p.SetTargets([]Check{check})
		synctest.Wait()
		if r := w.last(); r.Healthy || r.Answer != "port 8080 accepts connections" {
			t.Errorf("after one pass of two: %+v", r)
		}
		after(6 * time.Second)
		if r := w.last(); !r.Healthy || !r.EverHealthy {
			t.Errorf("after two passes: %+v", r)
		}
		w.set(func() { w.err = refused() })
		after(11 * time.Second)
		if r := w.last(); !r.Healthy || r.Answer != "connection refused" {
			t.Errorf("after two misses of three: %+v", r)
		}
		after(6 * time.Second)
		if r := w.last(); r.Healthy || !r.EverHealthy {
			t.Errorf("after three misses: %+v", r)
		}
		count := len(w.said())
		after(time.Minute)
		if len(w.said()) != count {
			t.Errorf("%d reports of nothing new", len(w.said())-count)
		}
	})
}

func TestFastStart(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *Prober) {
		w.err = refused()
		p.SetTargets([]Check{{Instance: "i", Addr: addr, HealthCheck: tcp(5, 2, 1, 5), Fast: true}})
		after(2 * time.Second)
		if n := len(w.dialled()); n < 19 || n > 21 {
			t.Errorf("%d probes in the first 2 s, want one every 100 ms", n)
		}
		after(298 * time.Second)
		n := len(w.dialled())
		if pause := w.dialled()[n-1] - w.dialled()[n-2]; pause != 5*time.Second {
			t.Errorf("pause after 5 minutes is %s", pause)
		}
		w.set(func() { w.err = nil; w.dials = nil })
		after(5 * time.Second)
		if !w.last().Healthy {
			t.Error("not healthy")
		}
		after(50 * time.Second)
		if n := len(w.dialled()); n < 9 || n > 13 {
			t.Errorf("%d probes in 55 s once healthy", n)
		}
	})
}

func TestKnownHealthIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *Prober) {
		w.err = refused()
		check := Check{Instance: "i", Addr: addr, HealthCheck: tcp(5, 2, 3, 2), Healthy: true}
		p.SetTargets([]Check{check})
		synctest.Wait()
		if r := w.last(); !r.Healthy || !r.EverHealthy {
			t.Errorf("one miss of two ended what was healthy before: %+v", r)
		}
		dials := len(w.dialled())
		check.Healthy, check.EverHealthy = false, true
		p.SetTargets([]Check{check})
		synctest.Wait()
		if len(w.dialled()) != dials {
			t.Error("the same check again started a probe")
		}
		check.HealthCheck.Interval = 1
		p.SetTargets([]Check{check})
		synctest.Wait()
		if len(w.dialled()) != dials+1 || !w.last().Healthy {
			t.Errorf("a changed check lost the health or did not probe: %+v", w.last())
		}
		p.SetTargets(nil)
		synctest.Wait()
		dials = len(w.dialled())
		after(time.Minute)
		if len(w.dialled()) != dials {
			t.Error("an instance that left is still probed")
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *Prober) {
		w.hang = true
		var checks []Check
		for i := range 10 {
			checks = append(checks, Check{Instance: app.InstanceID(fmt.Sprint(i)), Addr: addr, HealthCheck: tcp(20, 2, 1, 1)})
		}
		p.SetTargets(checks)
		after(15 * time.Second)
		if w.peak.Load() != 2 {
			t.Errorf("%d probes at one time", w.peak.Load())
		}
		seen := map[app.InstanceID]string{}
		for _, r := range w.said() {
			seen[r.Instance] = r.Answer
		}
		if len(seen) != 10 || seen["9"] != "no answer within 2 s" {
			t.Errorf("answers %v", seen)
		}
	})
}

// app1 answers one request with text and remembers it.
func app1(text string, got *http.Request) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		if got != nil {
			*got = *req
		}
		_, _ = io.WriteString(c, text)
	}
}

func TestHTTPAnswersInWords(t *testing.T) {
	for text, want := range map[string]struct {
		ok     bool
		answer string
	}{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                  {true, "GET /health?x=1 answered 200"},
		"HTTP/1.0 204 No Content\r\n\r\n":                                 {true, "GET /health?x=1 answered 204"},
		"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n": {true, "GET /health?x=1 answered 302"},
		"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n":          {false, "GET /health?x=1 answered 401"},
		"HTTP/1.1 500 Oops\r\nContent-Length: 9999999\r\n\r\n":            {false, "GET /health?x=1 answered 500"},
		"SSH-2.0-OpenSSH_9.2\r\n":                                         {false, "the answer on port 8080 is not HTTP"},
		"":                                                                {false, "the connection was closed without an answer"},
	} {
		inBubble(t, func(t *testing.T, w *world, p *Prober) {
			var got http.Request
			w.serve = app1(text, &got)
			ok, answer := p.once(t.Context(), Check{Instance: "i", Addr: addr, HealthCheck: httpCheck("/health?x=1")})
			if ok != want.ok || answer != want.answer {
				t.Errorf("%.20q: %v %q, want %v %q", text, ok, answer, want.ok, want.answer)
			}
			if len(w.dialled()) != 1 {
				t.Errorf("%.20q: %d connections", text, len(w.dialled()))
			}
			if got.Host != addr.String() || got.UserAgent() != userAgent {
				t.Errorf("Host %q, User-Agent %q", got.Host, got.UserAgent())
			}
		})
	}
}

func TestSilentApplication(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p *Prober) {
		w.serve = func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
		began := time.Now()
		ok, answer := p.once(t.Context(), Check{Instance: "i", Addr: addr, HealthCheck: httpCheck("/")})
		if ok || answer != "no answer within 2 s" || time.Since(began) != 2*time.Second {
			t.Errorf("%v %q after %s", ok, answer, time.Since(began))
		}
	})
}

func TestDialErrorsInWords(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ECONNREFUSED: "connection refused",
		syscall.ECONNRESET:   "connection reset",
		syscall.EHOSTUNREACH: "the instance cannot be reached",
		syscall.ETIMEDOUT:    "no answer within 2 s",
		syscall.ENOENT:       "no such file or directory",
	} {
		w := &world{err: err}
		p := New(Config{Dial: w.dial})
		if _, answer := p.once(t.Context(), Check{Addr: addr, HealthCheck: tcp(5, 2, 1, 1)}); answer != want {
			t.Errorf("%v: %q, want %q", err, answer, want)
		}
	}
}
