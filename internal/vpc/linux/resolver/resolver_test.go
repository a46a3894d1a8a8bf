package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var (
	door    = netip.MustParseAddr("100.64.0.3")
	install = netip.MustParsePrefix("100.64.0.0/20")
	first   = netip.MustParseAddrPort("192.0.2.1:53")
	second  = netip.MustParseAddrPort("192.0.2.2:53")
)

type asked struct {
	network  string
	upstream netip.AddrPort
}

// withUpstreams returns a resolver whose upstreams are played by answer, and what was asked of them.
func withUpstreams(list []netip.AddrPort, answer func(network string, q *dns.Msg, upstream netip.AddrPort) (*dns.Msg, error)) (*Resolver, *[]asked) {
	r := newResolver(Config{Door: door, Install: install, Upstreams: Fixed(list)})
	var log []asked
	r.ask = func(_ context.Context, network string, q *dns.Msg, upstream netip.AddrPort) (*dns.Msg, error) {
		log = append(log, asked{network, upstream})
		return answer(network, q, upstream)
	}
	r.SetNames(func(name string) bool { return name == "web.apps.internal" || name == "shop.example" })
	return r, &log
}

func withA(q *dns.Msg, n int) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	for i := range n {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(10, 0, 0, byte(i))})
	}
	return m
}

func question(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

func TestOwnNamesNeverLeave(t *testing.T) {
	r, log := withUpstreams([]netip.AddrPort{first}, func(_ string, q *dns.Msg, _ netip.AddrPort) (*dns.Msg, error) { return withA(q, 1), nil })
	for _, c := range []struct {
		name   string
		kind   uint16
		rcode  int
		answer string
	}{
		{"web.apps.internal.", dns.TypeA, dns.RcodeSuccess, door.String()},
		{"Shop.Example.", dns.TypeA, dns.RcodeSuccess, door.String()},
		{"shop.example.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"shop.example.", dns.TypeMX, dns.RcodeSuccess, ""},
		{"other.apps.internal.", dns.TypeA, dns.RcodeNameError, ""},
		{"localhost.", dns.TypeA, dns.RcodeSuccess, "127.0.0.1"},
		{"x.apps.localhost.", dns.TypeA, dns.RcodeNameError, ""},
		{"example.com.", dns.TypeAXFR, dns.RcodeRefused, ""},
	} {
		m := r.answer(t.Context(), question(c.name, c.kind), false)
		got := ""
		if len(m.Answer) == 1 {
			got = m.Answer[0].(*dns.A).A.String()
		}
		if m.Rcode != c.rcode || got != c.answer || len(m.Answer) > 1 {
			t.Errorf("%s %s: code %d, %v; want %d, %q", c.name, dns.TypeToString[c.kind], m.Rcode, m.Answer, c.rcode, c.answer)
		}
	}
	if len(*log) != 0 {
		t.Errorf("upstreams were asked: %v", *log)
	}
}

func TestForwardTriesTheNextUpstream(t *testing.T) {
	for name, bad := range map[string]func(q *dns.Msg) (*dns.Msg, error){
		"error":   func(*dns.Msg) (*dns.Msg, error) { return nil, errors.New("timeout") },
		"refused": func(q *dns.Msg) (*dns.Msg, error) { return failure(q, dns.RcodeRefused), nil },
		"other question": func(q *dns.Msg) (*dns.Msg, error) {
			m := withA(question("evil.example.", 1), 1)
			m.Id = q.Id
			return m, nil
		},
		"other id": func(q *dns.Msg) (*dns.Msg, error) { m := withA(q, 1); m.Id++; return m, nil },
	} {
		r, log := withUpstreams([]netip.AddrPort{first, second}, func(_ string, q *dns.Msg, u netip.AddrPort) (*dns.Msg, error) {
			if u == first {
				return bad(q)
			}
			return withA(q, 2), nil
		})
		q := question("example.com.", dns.TypeA)
		m := r.answer(t.Context(), q, false)
		if m.Id != q.Id || m.Rcode != dns.RcodeSuccess || len(m.Answer) != 2 {
			t.Errorf("%s: %v", name, m)
		}
		if want := []asked{{"udp", first}, {"udp", second}}; !slices.Equal(*log, want) {
			t.Errorf("%s: asked %v, want %v", name, *log, want)
		}
	}
}

func TestNoUpstreamAnswers(t *testing.T) {
	r, log := withUpstreams([]netip.AddrPort{first, second}, func(string, *dns.Msg, netip.AddrPort) (*dns.Msg, error) { return nil, errors.New("timeout") })
	if m := r.answer(t.Context(), question("example.com.", dns.TypeA), false); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("answer %v, want SERVFAIL", m)
	}
	if len(*log) != 4 {
		t.Errorf("asked %d times, want each upstream twice", len(*log))
	}
}

func TestOurselvesAreNoUpstream(t *testing.T) {
	own := netip.MustParseAddrPort("100.64.0.2:53")
	mapped := netip.MustParseAddrPort("[::ffff:100.64.0.2]:53")
	r, log := withUpstreams([]netip.AddrPort{own, mapped}, func(_ string, q *dns.Msg, _ netip.AddrPort) (*dns.Msg, error) { return withA(q, 1), nil })
	if m := r.answer(t.Context(), question("example.com.", dns.TypeA), false); m.Rcode != dns.RcodeServerFailure || len(*log) != 0 {
		t.Errorf("answer %v after asking %v", m, *log)
	}
}

func TestSizes(t *testing.T) {
	r, log := withUpstreams([]netip.AddrPort{first}, func(network string, q *dns.Msg, _ netip.AddrPort) (*dns.Msg, error) {
		m := withA(q, 250)
		if network == "udp" {
			m.Truncate(1232)
		}
		return m, nil
	})
	for _, c := range []struct {
		edns   uint16
		stream bool
		limit  int
	}{{0, false, 512}, {100, false, 512}, {1000, false, 1000}, {65535, false, maxUDP}, {0, true, dns.MaxMsgSize}} {
		*log = nil
		q := question("big.example.", dns.TypeA)
		if c.edns > 0 {
			q.SetEdns0(c.edns, true)
		}
		m := r.answer(t.Context(), q, c.stream)
		if got := m.Len(); got > c.limit || m.Truncated == c.stream {
			t.Errorf("EDNS %d, stream %v: %d bytes, truncated %v; limit %d", c.edns, c.stream, got, m.Truncated, c.limit)
		}
		if opt := m.IsEdns0(); (opt != nil) != (c.edns > 0) || opt != nil && !opt.Do() {
			t.Errorf("EDNS %d: the answer has %v", c.edns, opt)
		}
		if want := []asked{{"udp", first}, {"tcp", first}}; !slices.Equal(*log, want) {
			t.Errorf("asked %v, want %v", *log, want)
		}
	}
}

func TestBoundsOfOneClient(t *testing.T) {
	r := newResolver(Config{})
	a, b := netip.MustParseAddr("100.64.0.16"), netip.MustParseAddr("100.64.0.17")
	for range perClient {
		if !r.enter(a) {
			t.Fatal("refused within the bound")
		}
	}
	if r.enter(a) || !r.enter(b) {
		t.Error("the bound does not hold for each client alone")
	}
	r.leave(a)
	if !r.enter(a) {
		t.Error("a place that was left stays taken")
	}
}

func TestBoundOfConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	limited := newLimited(l)
	var open []net.Conn
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for range connsPerClient {
		dial()
		c, err := limited.Accept()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	over := dial()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := limited.Accept()
		accepted <- c
	}()
	over.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := over.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection over the bound was not closed: %v", err)
	}
	open[0].Close()
	open[0].Close() // frees one place only
	dial()
	if c := <-accepted; c == nil {
		t.Error("no connection after a place was left")
	}
	if limited.total != connsPerClient {
		t.Errorf("%d places taken, want %d", limited.total, connsPerClient)
	}
}

func TestStartAndClose(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := Start(Config{Door: door, Upstreams: Fixed(nil)}, packets, streams)
	r.SetNames(func(string) bool { return true })
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: 5 * time.Second}
		m, _, err := c.Exchange(question("a.example.", dns.TypeA), packets.LocalAddr().String())
		if err != nil || len(m.Answer) != 1 {
			t.Errorf("%s: %v, %v", network, m, err)
		}
	}
	r.Close()
	if _, err := net.DialTimeout("tcp", streams.Addr().String(), time.Second); err == nil {
		t.Error("the resolver listens after Close")
	}
}

// Close does not wait for upstreams that never answer.
func TestCloseEndsQuestionsUnderWay(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := exchange(ctx, "udp", question("a.example.", dns.TypeA), silent.LocalAddr().(*net.UDPAddr).AddrPort())
		ended <- err
	}()
	if _, _, err := silent.ReadFrom(make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	cancel()
	if err := <-ended; err == nil || time.Since(started) > upstreamTimeout/2 {
		t.Errorf("ended with %v after %v", err, time.Since(started))
	}
}

func TestHostFileIsFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	now := time.Unix(1000, 0)
	h := &hostFile{path: path, now: func() time.Time { return now }}
	expect := func(want ...string) {
		t.Helper()
		var got []string
		for _, a := range h.servers() {
			got = append(got, a.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("servers = %v, want %v", got, want)
		}
	}
	expect("127.0.0.1:53") // no file
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("# stub\nnameserver 127.0.0.53\noptions edns0\nsearch lan\n")
	expect("127.0.0.1:53") // looked a moment ago
	now = now.Add(2 * time.Second)
	expect("127.0.0.53:53")
	write("nameserver 192.0.2.1\nnameserver bad\nnameserver fe80::1%eth0\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n")
	now = now.Add(2 * time.Second)
	expect("192.0.2.1:53", "[fe80::1%eth0]:53", "192.0.2.3:53")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	expect("192.0.2.1:53", "[fe80::1%eth0]:53", "192.0.2.3:53")
}

func FuzzAnswer(f *testing.F) {
	for _, m := range []*dns.Msg{question("web.apps.internal.", dns.TypeA), question("example.com.", dns.TypeMX), question(".", dns.TypeANY),
		new(dns.Msg).SetUpdate("example.com."), new(dns.Msg).SetAxfr("example.com."), new(dns.Msg).SetReply(question("a.", 1)), {}} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b, false)
	}
	f.Fuzz(func(t *testing.T, in, from []byte, stream bool) {
		q := new(dns.Msg)
		if q.Unpack(in) != nil {
			return
		}
		r, _ := withUpstreams([]netip.AddrPort{first}, func(_ string, ask *dns.Msg, _ netip.AddrPort) (*dns.Msg, error) {
			m := new(dns.Msg)
			if err := m.Unpack(from); err != nil {
				return nil, err
			}
			m.Id, m.Response, m.Question = ask.Id, true, ask.Question
			return m, nil
		})
		m := r.answer(t.Context(), q, stream)
		if q.Response {
			if m != nil {
				t.Fatalf("an answer was answered: %v", m)
			}
			return
		}
		b, err := m.Pack()
		if err != nil {
			return // an upstream's record that cannot be written again; the server drops it
		}
		limit := dns.MaxMsgSize
		if !stream {
			limit = maxUDP
		}
		if len(b) > limit || m.Id != q.Id || !m.Response {
			t.Fatalf("%d bytes, id %d for %d, response %v", len(b), m.Id, q.Id, m.Response)
		}
	})
}

func FuzzHostFile(f *testing.F) {
	f.Add([]byte("nameserver 127.0.0.53\n"))
	f.Add([]byte("nameserver fe80::1%eth0\nnameserver"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got := Host(path)()
		if len(got) < 1 || len(got) > maxUpstreams {
			t.Fatalf("%d servers", len(got))
		}
		for _, a := range got {
			if !a.IsValid() || a.Port() != 53 {
				t.Fatalf("server %v", a)
			}
		}
	})
}
