package resolver

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// private is a resolver of 10.0.0.0/16 whose upstream answers as the function says and counts questions.
func private(asked *int, answer func(*dns.Msg) *dns.Msg) *Resolver {
	r := newResolver(Config{
		Door: netip.MustParseAddr("100.64.0.3"), Private: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, CacheSize: 2,
		Upstreams: Fixed([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}),
	})
	r.ask = func(_ context.Context, _ string, q *dns.Msg, _ netip.AddrPort) (*dns.Msg, error) {
		*asked++
		return answer(q), nil
	}
	r.SetZone(map[string][]netip.Addr{
		"db.corp.example":                        {netip.MustParseAddr("10.0.1.5"), netip.MustParseAddr("10.0.1.6")},
		"ip-10-0-1-5.eu-west-1.compute.internal": {netip.MustParseAddr("10.0.1.5")},
		"deep.of.ec2.internal":                   {netip.MustParseAddr("10.0.1.7")},
	})
	return r
}

func TestZoneAnswersItsOwnNames(t *testing.T) {
	asked := 0
	r := private(&asked, func(q *dns.Msg) *dns.Msg { return failure(q, dns.RcodeNameError) })
	for _, c := range []struct {
		name      string
		kind      uint16
		rcode     int
		answers   int
		forwarded bool
	}{
		{"db.corp.example.", dns.TypeA, dns.RcodeSuccess, 2, false},
		{"Db.Corp.Example.", dns.TypeA, dns.RcodeSuccess, 2, false},
		{"db.corp.example.", dns.TypeAAAA, dns.RcodeSuccess, 0, false},
		{"db.corp.example.", dns.TypeMX, dns.RcodeSuccess, 0, false},
		{"corp.example.", dns.TypeA, dns.RcodeNameError, 0, true},
		{"of.ec2.internal.", dns.TypeA, dns.RcodeSuccess, 0, false},
		{"eu-west-1.compute.internal.", dns.TypeA, dns.RcodeSuccess, 0, false},
		{"ip-10-0-1-9.eu-west-1.compute.internal.", dns.TypeA, dns.RcodeNameError, 0, false},
		{"compute.internal.", dns.TypeA, dns.RcodeSuccess, 0, false},
		{"5.1.0.10.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, 2, false},
		{"5.1.0.10.in-addr.arpa.", dns.TypeA, dns.RcodeSuccess, 0, false},
		{"9.1.0.10.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, 0, false},
		{"9.1.1.10.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, 0, true},
		{"x.1.0.10.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, 0, true},
	} {
		asked = 0
		m := r.answer(t.Context(), new(dns.Msg).SetQuestion(c.name, c.kind), true)
		if m.Rcode != c.rcode || len(m.Answer) != c.answers || (asked > 0) != c.forwarded {
			t.Errorf("%s %s: code %d, %d answers, %d questions upstream; want %d, %d, forwarded %v", c.name, dns.TypeToString[c.kind], m.Rcode, len(m.Answer), asked, c.rcode, c.answers, c.forwarded)
		}
	}
}

func TestUpstreamsAnswersAreKeptAsLongAsTheySay(t *testing.T) {
	asked := 0
	r := private(&asked, func(q *dns.Msg) *dns.Msg {
		m := reply(q)
		h := func(name string, kind uint16, ttl uint32) dns.RR_Header {
			return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
		}
		switch name := q.Question[0].Name; name {
		case "none.example.":
			m.Rcode = dns.RcodeNameError
			m.Ns = []dns.RR{&dns.SOA{Hdr: h("example.", dns.TypeSOA, 60), Ns: "a.example.", Mbox: "b.example.", Minttl: 30}}
		case "volatile.example.":
			m.Answer = []dns.RR{&dns.A{Hdr: h(name, dns.TypeA, 0), A: net.IPv4(192, 0, 2, 9)}}
		default:
			m.Answer = []dns.RR{&dns.A{Hdr: h(name, dns.TypeA, 100), A: net.IPv4(192, 0, 2, 9)}, &dns.A{Hdr: h(name, dns.TypeA, 200), A: net.IPv4(192, 0, 2, 10)}}
		}
		return m
	})
	now := time.Unix(1000, 0)
	r.cache.now = func() time.Time { return now }
	ask := func(name string) *dns.Msg {
		return r.answer(t.Context(), new(dns.Msg).SetQuestion(name, dns.TypeA), true)
	}
	for _, step := range []struct {
		name  string
		after time.Duration
		asks  int
		ttl   uint32
	}{
		{"www.example.", 0, 1, 100}, {"WWW.example.", 40 * time.Second, 0, 60}, {"www.example.", 59 * time.Second, 0, 1}, {"www.example.", time.Second, 1, 100},
		{"volatile.example.", 0, 1, 0}, {"volatile.example.", 0, 1, 0},
		{"none.example.", 0, 1, 0}, {"none.example.", 29 * time.Second, 0, 0}, {"none.example.", time.Second, 1, 0},
	} {
		asked, now = 0, now.Add(step.after)
		m := ask(step.name)
		if asked != step.asks {
			t.Errorf("%s at %v: %d questions upstream, want %d", step.name, now.Unix(), asked, step.asks)
		}
		if len(m.Answer) > 0 && m.Answer[0].Header().Ttl != step.ttl {
			t.Errorf("%s at %v: TTL %d, want %d", step.name, now.Unix(), m.Answer[0].Header().Ttl, step.ttl)
		}
	}
	for _, name := range []string{"a.example.", "b.example.", "c.example."} {
		ask(name)
	}
	if len(r.cache.kept) > 2 {
		t.Errorf("%d answers are kept, want at most 2", len(r.cache.kept))
	}
}

func TestLookupFallsBackToTCP(t *testing.T) {
	asked := 0
	r := private(&asked, func(q *dns.Msg) *dns.Msg {
		m := reply(q)
		for i := range 100 {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.IPv4(192, 0, 2, byte(i))})
		}
		return m
	})
	var used []string
	dial := func(network string) (net.Conn, error) {
		used = append(used, network)
		client, server := net.Pipe()
		go serveOne(r, server, network == "tcp")
		return client, nil
	}
	got, err := Lookup(t.Context(), "big.example", dial)
	if err != nil || len(got) != 100 || len(used) != 2 {
		t.Errorf("Lookup = %d addresses, %v over %v", len(got), err, used)
	}
	if got, err := Lookup(t.Context(), "db.corp.example", dial); err != nil || len(got) != 2 {
		t.Errorf("Lookup = %v, %v", got, err)
	}
}

// serveOne answers one question. A pipe is a stream to the client, whatever it stands for.
func serveOne(r *Resolver, c net.Conn, stream bool) {
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	q, err := conn.ReadMsg()
	if err == nil {
		_ = conn.WriteMsg(r.answer(context.Background(), q, stream))
	}
}
