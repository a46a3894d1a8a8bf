// Package resolver answers the names that instances ask for: the install's own with the front door's
// address, everything else by asking the host's upstreams.
package resolver

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Config of a Resolver.
type Config struct {
	// Door is the answer for names that the install serves.
	Door netip.Addr
	// Install is the managed range; an upstream inside would be ourselves and is not asked.
	Install   netip.Prefix
	Upstreams Upstreams
	// Private are the blocks of a VPC: the names of its addresses, and EC2's private names, are nobody else's to answer.
	Private []netip.Prefix
	// CacheSize is the number of upstreams' answers that are kept for as long as they say; 0 = none.
	CacheSize int
	Logger    *slog.Logger
}

const (
	ttl              = 5    // seconds that an answer of ours may be kept
	maxUDP           = 1232 // bytes of a UDP answer; more is truncated, and asked again over TCP
	perClient        = 64   // questions of one instance under way at a time
	perResolver      = 1024 // and of all instances
	answerTimeout    = 6 * time.Second
	upstreamTimeout  = 2 * time.Second
	idleTimeout      = 8 * time.Second
	questionsPerConn = 128
	connsPerClient   = 16
	internalDomain   = "apps.internal."
	loopbackDomain   = "localhost."
)

// Resolver serves DNS on the sockets given to Start until Close.
type Resolver struct {
	c       Config
	names   atomic.Pointer[func(string) bool]
	zone    atomic.Pointer[zone]
	cache   *cache
	ask     func(ctx context.Context, network string, q *dns.Msg, upstream netip.AddrPort) (*dns.Msg, error)
	servers []*dns.Server
	wg      sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc

	mu      sync.Mutex
	clients map[netip.Addr]int
	total   int
}

// Start serves questions from packets and streams and owns both.
func Start(c Config, packets net.PacketConn, streams net.Listener) *Resolver {
	r := newResolver(c)
	started := make(chan struct{}, 2)
	notify := func() { started <- struct{}{} }
	r.servers = []*dns.Server{
		{PacketConn: packets, Handler: r, UDPSize: 4096, ReadTimeout: upstreamTimeout, NotifyStartedFunc: notify},
		{Listener: newLimited(streams), Handler: r, MaxTCPQueries: questionsPerConn, ReadTimeout: upstreamTimeout,
			WriteTimeout: upstreamTimeout, IdleTimeout: func() time.Duration { return idleTimeout }, NotifyStartedFunc: notify},
	}
	for _, s := range r.servers {
		r.wg.Go(func() {
			if err := s.ActivateAndServe(); err != nil && r.ctx.Err() == nil {
				r.c.Logger.Error("the instances' resolver stopped", "error", err)
				notify()
			}
		})
	}
	for range r.servers {
		<-started // Shutdown works from here on
	}
	return r
}

func newResolver(c Config) *Resolver {
	r := &Resolver{c: c, clients: map[netip.Addr]int{}, ask: exchange, cache: newCache(c.CacheSize, time.Now)}
	if r.c.Logger == nil {
		r.c.Logger = slog.New(slog.DiscardHandler)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// SetNames says which names the install serves; nil means none. It must be cheap and safe for concurrent use;
// it gets names in lower case without the final dot.
func (r *Resolver) SetNames(serves func(name string) bool) {
	if serves == nil {
		r.names.Store(nil)
		return
	}
	r.names.Store(&serves)
}

// Close stops serving and waits for the answers under way.
func (r *Resolver) Close() {
	r.cancel()
	for _, s := range r.servers {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if err := s.ShutdownContext(ctx); err != nil {
			r.c.Logger.Warn("cannot stop the instances' resolver in time", "error", err)
		}
		cancel()
	}
	r.wg.Wait()
}

// ServeDNS implements dns.Handler.
func (r *Resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	from, _ := netip.ParseAddrPort(w.RemoteAddr().String())
	if !r.enter(from.Addr()) {
		write(w, failure(q, dns.RcodeRefused))
		return
	}
	defer r.leave(from.Addr())
	ctx, cancel := context.WithTimeout(r.ctx, answerTimeout)
	defer cancel()
	_, stream := w.RemoteAddr().(*net.TCPAddr)
	write(w, r.answer(ctx, q, stream))
}

// write sends an answer; a client that left is no concern of ours.
func write(w dns.ResponseWriter, m *dns.Msg) {
	if m != nil {
		_ = w.WriteMsg(m)
	}
}

func (r *Resolver) enter(a netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.clients[a] >= perClient || r.total >= perResolver {
		return false
	}
	r.clients[a]++
	r.total++
	return true
}

func (r *Resolver) leave(a netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total--
	if r.clients[a]--; r.clients[a] == 0 {
		delete(r.clients, a)
	}
}

// answer returns the answer to q, no larger than the way it came allows; nil for what is no question.
func (r *Resolver) answer(ctx context.Context, q *dns.Msg, stream bool) *dns.Msg {
	if q.Response {
		return nil
	}
	if q.Opcode != dns.OpcodeQuery {
		return failure(q, dns.RcodeNotImplemented)
	}
	if len(q.Question) != 1 {
		return failure(q, dns.RcodeFormatError)
	}
	m := r.resolve(ctx, q)
	limit := dns.MaxMsgSize
	if !stream {
		limit = dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			limit = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
		}
	}
	m.Compress = true
	m.Truncate(limit)
	return m
}

func (r *Resolver) resolve(ctx context.Context, q *dns.Msg) *dns.Msg {
	question := q.Question[0]
	if question.Qclass != dns.ClassINET || question.Qtype == dns.TypeAXFR || question.Qtype == dns.TypeIXFR {
		return failure(q, dns.RcodeRefused)
	}
	name := dns.CanonicalName(question.Name)
	if serves := r.names.Load(); serves != nil && (*serves)(strings.TrimSuffix(name, ".")) {
		return addresses(q, r.c.Door)
	}
	if m := r.zone.Load().answer(q, name); m != nil {
		return m
	}
	switch {
	case name == loopbackDomain:
		return addresses(q, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	case dns.IsSubDomain(internalDomain, name), dns.IsSubDomain(loopbackDomain, name):
		return failure(q, dns.RcodeNameError) // nobody else's to answer
	case len(r.c.Private) > 0 && r.private(name):
		return failure(q, dns.RcodeNameError)
	}
	if m := r.cache.get(q); m != nil {
		return passOn(q, m)
	}
	return r.forward(ctx, q)
}

// addresses answers with IPv4 addresses; for other types the name exists and has nothing.
func addresses(q *dns.Msg, list ...netip.Addr) *dns.Msg {
	m := reply(q)
	m.Authoritative = true
	question := q.Question[0]
	if question.Qtype != dns.TypeA && question.Qtype != dns.TypeANY {
		return m
	}
	for _, a := range list {
		if a.Is4() {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: a.AsSlice()})
		}
	}
	return m
}

func failure(q *dns.Msg, code int) *dns.Msg {
	m := reply(q)
	m.Rcode = code
	return m
}

func reply(q *dns.Msg) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Opcode: q.Opcode, RecursionDesired: q.RecursionDesired, RecursionAvailable: true}}
	if len(q.Question) > 0 {
		m.Question = q.Question[:1]
	}
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(maxUDP, opt.Do())
	}
	return m
}

// forward asks the upstreams in order, each at most twice, and passes on the first usable answer.
func (r *Resolver) forward(ctx context.Context, q *dns.Msg) *dns.Msg {
	question := q.Question[0]
	ask := &dns.Msg{MsgHdr: dns.MsgHdr{RecursionDesired: true, CheckingDisabled: q.CheckingDisabled, AuthenticatedData: q.AuthenticatedData}, Question: []dns.Question{question}}
	do := false
	if opt := q.IsEdns0(); opt != nil {
		do = opt.Do()
	}
	ask.SetEdns0(maxUDP, do)
	var last *dns.Msg
	for range 2 {
		for _, upstream := range r.c.Upstreams() {
			if r.c.Install.Contains(upstream.Addr().Unmap()) || ctx.Err() != nil {
				continue
			}
			got := r.askOne(ctx, ask, upstream)
			if got == nil {
				continue
			}
			if got.Rcode != dns.RcodeServerFailure && got.Rcode != dns.RcodeRefused {
				r.cache.put(q, got)
				return passOn(q, got)
			}
			last = got
		}
	}
	if last != nil {
		return passOn(q, last)
	}
	return failure(q, dns.RcodeServerFailure)
}

// askOne asks over UDP and, for an answer that did not fit, over TCP; nil means no usable answer.
func (r *Resolver) askOne(ctx context.Context, ask *dns.Msg, upstream netip.AddrPort) *dns.Msg {
	for _, network := range []string{"udp", "tcp"} {
		m := ask.Copy()
		m.Id = dns.Id()
		got, err := r.ask(ctx, network, m, upstream)
		if err != nil {
			r.c.Logger.Debug("cannot ask upstream", "upstream", upstream, "network", network, "error", err)
			return nil
		}
		if !answers(got, m) {
			return nil
		}
		if !got.Truncated || network == "tcp" {
			return got
		}
	}
	return nil
}

func answers(got, ask *dns.Msg) bool {
	if got == nil || !got.Response || got.Id != ask.Id || len(got.Question) != 1 {
		return false
	}
	a, b := got.Question[0], ask.Question[0]
	return dns.CanonicalName(a.Name) == dns.CanonicalName(b.Name) && a.Qtype == b.Qtype && a.Qclass == b.Qclass
}

// passOn turns an upstream's answer into the answer to q.
func passOn(q, got *dns.Msg) *dns.Msg {
	m := reply(q)
	m.Rcode, m.AuthenticatedData, m.CheckingDisabled = got.Rcode&0xf, got.AuthenticatedData, got.CheckingDisabled
	m.Answer, m.Ns = got.Answer, got.Ns
	for _, rr := range got.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			m.Extra = append(m.Extra, rr)
		}
	}
	return m
}

func exchange(ctx context.Context, network string, q *dns.Msg, upstream netip.AddrPort) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamTimeout)
	defer cancel()
	client := dns.Client{Net: network, Timeout: upstreamTimeout, UDPSize: maxUDP}
	conn, err := client.DialContext(ctx, upstream.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // a cancelled context ends the wait for an answer
	defer stop()
	m, _, err := client.ExchangeWithConnContext(ctx, q, conn)
	return m, err
}
