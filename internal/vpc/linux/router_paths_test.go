package linux

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

func (p *plan) route(routes ...vpc.Route) {
	local := vpc.Route{CIDR: p.n.Blocks[0], Kind: vpc.RouteLocal}
	p.n.Tables[tableA] = &vpc.Table{ID: tableA, Routes: append(routes, local)}
}

func anywhere(kind vpc.RouteKind, target string) vpc.Route {
	return vpc.Route{CIDR: netip.MustParsePrefix("0.0.0.0/0"), Kind: kind, Target: target}
}

// simple is a plan with one group that allows everything out and ICMP among its members.
func simple(number int) *plan {
	p := newPlan(number)
	p.group('c', icmpFrom('c'), everything())
	return p
}

func TestTheWayOutFollowsTheRoutes(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
		t.Fatal(err)
	}
	p := simple(1)
	i, public := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.1.51", 'c')
	asPublic := *p.n.Ports[public.ENIs[0].ID]
	asPublic.Public = true
	p.n.Ports[asPublic.ID] = &asPublic
	program(t, d, p)
	a, pub := attach(t, d, i), attach(t, d, public)
	door, err := d.ListenDoor(t.Context(), 80)
	if err != nil {
		t.Fatal(err)
	}
	go sayCaller(door)
	outside, doorAt := internet.String()+":80", netip.AddrPortFrom(d.Door(), 80).String()
	expect := func(when string, from vpc.Attachment, to, want string) {
		t.Helper()
		if got := outcomeOf(t, from, to); got != want {
			t.Errorf("%s with %s: %s, want %s", to, when, got, want)
		}
	}
	asHost, atDoor := reached+" as "+wanHost.String(), reached+" as "+d.DoorCaller().String()
	expect("no route", a, outside, prohibited)
	expect("no route", a, doorAt, prohibited)
	p.change()
	p.n.NATs[natA] = &vpc.NAT{ID: natA}
	p.route(anywhere(vpc.RouteNAT, string(natA)))
	program(t, d, p)
	expect("a NAT gateway", a, outside, asHost)
	expect("a NAT gateway", a, doorAt, atDoor)
	expect("a NAT gateway", a, "192.168.88.1:80", prohibited) // it is inside the VPC's block and nobody's
	expect("a NAT gateway", a, "10.1.2.3:80", prohibited)
	expect("a NAT gateway", a, "203.0.113.2:9000", prohibited)
	expect("a NAT gateway", a, d.hostTransit.String()+":9000", prohibited)
	p.change()
	p.n.NATs[natA] = &vpc.NAT{ID: natA, Broken: "its subnet has no route to an internet gateway"}
	program(t, d, p)
	expect("a NAT gateway that leads nowhere", a, outside, prohibited)
	p.change()
	p.route(anywhere(vpc.RouteOut, "igw-1"))
	program(t, d, p)
	expect("an internet gateway and no public address", a, outside, prohibited)
	expect("an internet gateway and a public address", pub, outside, asHost)
	expect("an internet gateway and a public address", pub, doorAt, atDoor)
	p.change()
	p.route(vpc.Route{CIDR: netip.MustParsePrefix("198.51.100.0/24"), Kind: vpc.RouteBlackhole}, anywhere(vpc.RouteOut, "igw-1"))
	program(t, d, p)
	expect("a blackhole for it", pub, outside, prohibited)
	expect("a blackhole beside it", pub, "203.0.113.1:80", asHost)
}

// The managed link answers the router and does nothing by itself.
func TestTheManagedLinkOnlyAnswers(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p := simple(1)
	i := p.port(1, "192.168.1.50", 'c')
	program(t, d, p)
	a := attach(t, d, i)
	serveIn(t, a, ":8080", func(l net.Listener) { dataplanetest.Greet(l, "hello") })
	c, err := d.Dial(t.Context(), a.ID, netip.AddrPortFrom(a.Address, 8080))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); string(b) != "hello" || err != nil {
		t.Errorf("the router got %q, %v", b, err)
	}
	c.Close()
	err = inside(t, a, func() error {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: a.Address.AsSlice()}, Timeout: pingPatience}
		for _, to := range []string{internet.String() + ":80", netip.AddrPortFrom(d.Door(), 80).String(), netip.AddrPortFrom(d.Resolver(), 53).String()} {
			if c, err := from.Dial("tcp4", to); err == nil {
				c.Close()
				t.Errorf("the managed link leads to %s", to)
			} else if !isTimeout(err) {
				t.Errorf("%s by the managed link: %v, want silence", to, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if a.Resolvers[0] != resolverAddress(p.n) {
		t.Errorf("Resolvers = %v", a.Resolvers)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// sendRaw sends a UDP packet with a source of its choice.
func sendRaw(t *testing.T, a vpc.Attachment, from, to netip.Addr, port uint16) {
	t.Helper()
	packet := make([]byte, 32)
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_UDP
	copy(packet[12:], from.AsSlice())
	copy(packet[16:], to.AsSlice())
	packet[20], packet[21], packet[22], packet[23], packet[25] = 0x13, 0x88, byte(port>>8), byte(port), 12
	if err := inside(t, a, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: to.As4()})
	}); err != nil {
		t.Fatal(err)
	}
}

func TestForgedSourcesDoNotPassARouter(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p := newPlan(1)
	udp := everything()
	udp.Rules[0].Egress = false
	p.group('a', udp, everything())
	sender, receiver := p.port(1, "192.168.1.50", 'a'), p.port(2, "192.168.3.10", 'a')
	program(t, d, p)
	a, b := attach(t, d, sender), attach(t, d, receiver)
	var packets net.PacketConn
	if err := inside(t, b, func() (err error) {
		packets, err = net.ListenPacket("udp4", ":7")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	to, own, forged := netip.MustParseAddr("192.168.3.10"), netip.MustParseAddr("192.168.1.50"), netip.MustParseAddr("192.168.1.99")
	got := func() netip.Addr {
		t.Helper()
		packets.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, from, err := packets.ReadFrom(make([]byte, 100))
		if err != nil {
			t.Fatal(err)
		}
		return from.(*net.UDPAddr).AddrPort().Addr()
	}
	sendRaw(t, a, forged, to, 7)
	sendRaw(t, a, own, to, 7)
	if from := got(); from != own {
		t.Errorf("a packet from %v arrived", from)
	}
	p.change()
	loose := *p.n.Ports[sender.ENIs[0].ID]
	loose.CheckSource = false
	p.n.Ports[loose.ID] = &loose
	program(t, d, p)
	sendRaw(t, a, forged, to, 7)
	if from := got(); from != forged {
		t.Errorf("without the check a packet from %v arrived first", from)
	}
}

func TestACLsAreStatelessAndBetweenSubnets(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p := newPlan(1)
	p.group('a', tcpFrom("192.168.0.0/16", 80, 90), everything())
	i, j, k := p.port(1, "192.168.1.50", 'a'), p.port(2, "192.168.3.10", 'a'), p.port(3, "192.168.1.51", 'a')
	program(t, d, p)
	a, b, near := attach(t, d, i), attach(t, d, j), attach(t, d, k)
	for _, server := range []vpc.Attachment{b, near} {
		serveIn(t, server, ":80", func(l net.Listener) { dataplanetest.Greet(l, "x") })
	}
	const closed = app.NetworkACLID("acl-0000000000000000b")
	all := netip.MustParsePrefix("0.0.0.0/0")
	entry := func(number int, egress, allow bool, from, to int) app.ACLEntry {
		return app.ACLEntry{Number: number, Egress: egress, Allow: allow, Protocol: unix.IPPROTO_TCP, CIDR: all, FromPort: from, ToPort: to}
	}
	use := func(ingress, egress []app.ACLEntry) {
		t.Helper()
		p.change()
		p.n.ACLs[closed] = &vpc.ACL{ID: closed, Ingress: ingress, Egress: egress}
		p.n.Subnets[subnetB] = &vpc.Subnet{ID: subnetB, CIDR: netip.MustParsePrefix("192.168.3.0/24"), Table: tableA, ACL: closed}
		program(t, d, p)
	}
	expect := func(when string, to string, want bool) {
		t.Helper()
		got, err := callFrom(t, a, to, pingPatience)
		if (got == "x") != want {
			t.Errorf("%s: %q, %v; want it to work: %v", when, got, err, want)
		}
	}
	expect("an open ACL", "192.168.3.10:80", true)
	use([]app.ACLEntry{entry(100, false, true, 80, 80)}, []app.ACLEntry{entry(100, true, true, 1024, 65535)})
	expect("entries for both ways", "192.168.3.10:80", true)
	expect("inside one subnet", "192.168.1.51:80", true)
	use([]app.ACLEntry{entry(100, false, true, 80, 80)}, nil)
	expect("no entry for answers", "192.168.3.10:80", false)
	use([]app.ACLEntry{entry(90, false, false, 80, 80), entry(100, false, true, 0, 65535)}, []app.ACLEntry{entry(100, true, true, 0, 65535)})
	expect("a lower number that denies", "192.168.3.10:80", false)
	p.change()
	delete(p.n.ACLs, closed)
	p.n.Subnets[subnetB] = &vpc.Subnet{ID: subnetB, CIDR: netip.MustParsePrefix("192.168.3.0/24"), Table: tableA, ACL: openACL}
	program(t, d, p)
	expect("the open ACL again", "192.168.3.10:80", true)
}

func TestALANIsReachedByItsRouteOnly(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
		t.Fatal(err)
	}
	block := netip.MustParsePrefix("10.0.0.0/16")
	build := func(number int) (*plan, vpc.Interface) {
		p := simple(number)
		p.n.Blocks = []netip.Prefix{block}
		p.n.Subnets = map[app.SubnetID]*vpc.Subnet{subnetA: {ID: subnetA, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Table: tableA, ACL: openACL}}
		p.n.NATs[natA] = &vpc.NAT{ID: natA}
		p.route(anywhere(vpc.RouteNAT, string(natA)))
		return p, p.port(number, "10.0.1.50", 'c')
	}
	p, i := build(1)
	q, j := build(2)
	program(t, d, p, q)
	a, b := attach(t, d, i), attach(t, d, j)
	serveIn(t, a, ":8080", sayCaller)
	const lan, outside = "192.168.88.1:80", "198.51.100.10:80"
	if got := outcomeOf(t, a, lan); got != prohibited {
		t.Errorf("the LAN without a route: %s", got)
	}
	p.change()
	p.n.LANs["lan-1"] = &vpc.LAN{ID: "lan-1", Interface: "lan0", CIDRs: []netip.Prefix{netip.MustParsePrefix("192.168.88.0/24")}}
	p.route(vpc.Route{CIDR: netip.MustParsePrefix("192.168.0.0/16"), Kind: vpc.RouteLAN, Target: "lan-1"}, anywhere(vpc.RouteNAT, string(natA)))
	program(t, d, p, q)
	for _, c := range []struct {
		from     vpc.Attachment
		to, want string
	}{
		{a, lan, reached + " as " + lanHost.String()}, {b, lan, prohibited}, {a, "192.168.87.1:80", prohibited},
		{a, outside, reached + " as " + wanHost.String()}, {a, lanHost.String() + ":9000", prohibited},
	} {
		if got := outcomeOf(t, c.from, c.to); got != c.want {
			t.Errorf("%s from %v: %s, want %s", c.to, c.from.ID, got, c.want)
		}
	}
	if len(d.Problems()) > 1 { // ip_forward
		t.Errorf("Problems = %q", d.Problems())
	}
	with := p.n
	p.change()
	delete(p.n.LANs, "lan-1")
	p.route(anywhere(vpc.RouteNAT, string(natA)))
	program(t, d, p, q)
	if got := outcomeOf(t, a, lan); got != prohibited {
		t.Errorf("the LAN after its route: %s", got)
	}
	p.n = with // Purge finds it
	program(t, d, p, q)
	if said, err := callLAN(t, netip.AddrPortFrom(d.mgmtTransit, 8080).String()); err == nil {
		t.Errorf("the LAN calls in: %q", said)
	}
}

func TestNamesOfAVPC(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	if err := d.Apply(t.Context(), vpc.InstallRules{DoorNames: func(name string) bool { return name == "web.us-east-1.apps.internal" }}); err != nil {
		t.Fatal(err)
	}
	p, q := newPlan(1), newPlan(2)
	var rows []vpc.Interface
	for n, x := range []*plan{p, q} {
		x.group('c', nothing(), nothing()) // names need no rule
		rows = append(rows, x.port(n+1, "192.168.1.50", 'c'))
	}
	db := netip.MustParseAddr("192.168.3.10")
	p.n.DNS = &vpc.Zone{Names: map[string][]netip.Addr{"db.a.internal": {db}, "ip-192-168-3-10.us-east-1.compute.internal": {db}}}
	program(t, d, p, q)
	a, b := attach(t, d, rows[0]), attach(t, d, rows[1])
	for _, c := range []struct {
		from  vpc.Attachment
		name  string
		kind  uint16
		rcode int
		want  string
	}{
		{a, "db.a.internal.", dns.TypeA, dns.RcodeSuccess, db.String()},
		{a, "DB.a.internal.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{b, "db.a.internal.", dns.TypeA, dns.RcodeNameError, ""},
		{a, "10.3.168.192.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "db.a.internal."},
		{a, "11.3.168.192.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{a, "us-east-1.compute.internal.", dns.TypeA, dns.RcodeSuccess, ""},
		{a, "ip-192-168-3-11.us-east-1.compute.internal.", dns.TypeA, dns.RcodeNameError, ""},
		{b, "web.us-east-1.apps.internal.", dns.TypeA, dns.RcodeSuccess, d.Door().String()},
		{b, "example.test.", dns.TypeA, dns.RcodeSuccess, internet.String()},
	} {
		for _, network := range []string{"udp", "tcp"} {
			m := lookUp(t, c.from, network, c.name, c.kind)
			if m == nil {
				continue
			}
			got := ""
			if len(m.Answer) > 0 {
				got = strings.TrimSpace(m.Answer[0].String()[strings.LastIndex(m.Answer[0].String(), "\t"):])
			}
			if m.Rcode != c.rcode || got != c.want {
				t.Errorf("%s of %s over %s: code %d, %q; want %d, %q", c.name, c.from.ID, network, m.Rcode, got, c.rcode, c.want)
			}
		}
	}
	if got, err := d.LookupFrom(t.Context(), a.ID, "db.a.internal"); err != nil || len(got) != 1 || got[0] != db {
		t.Errorf("LookupFrom = %v, %v", got, err)
	}
	var missing *net.DNSError
	if got, err := d.LookupFrom(t.Context(), b.ID, "db.a.internal"); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("LookupFrom of another VPC's name = %v, %v", got, err)
	}
	p.change()
	p.n.DNS = nil
	program(t, d, p, q)
	if err := inside(t, a, func() error {
		c := dns.Client{Timeout: pingPatience}
		_, _, err := c.Exchange(new(dns.Msg).SetQuestion("db.a.internal.", dns.TypeA), netip.AddrPortFrom(a.Resolvers[0], 53).String())
		if !isTimeout(err) {
			t.Errorf("a resolver that is off: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestDialFromIsUnderTheInstancesGroups(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p := newPlan(1)
	p.group('c', nothing(), tcpFrom("192.168.3.0/24", 80, 80))
	p.group('h', tcpFrom("192.168.1.0/24", 80, 81), everything())
	i, j := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.10", 'h')
	program(t, d, p)
	a, b := attach(t, d, i), attach(t, d, j)
	for _, port := range []string{":80", ":81"} {
		serveIn(t, b, port, sayCaller)
	}
	c, err := d.DialFrom(t.Context(), a.ID, netip.MustParseAddrPort("192.168.3.10:80"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if said, err := io.ReadAll(c); string(said) != "192.168.1.50" || err != nil {
		t.Errorf("the host sees %q, %v", said, err)
	}
	ctx, cancel := timeout(t, pingPatience)
	defer cancel()
	if c, err := d.DialFrom(ctx, a.ID, netip.MustParseAddrPort("192.168.3.10:81")); err == nil {
		c.Close()
		t.Error("a port that no rule allows was reached")
	}
	if c, err := d.DialFrom(t.Context(), dataplanetest.Interface(77).ID, netip.MustParseAddrPort("192.168.3.10:80")); err == nil {
		c.Close()
		t.Error("an unknown interface dialled")
	}
}

// echo answers every byte.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// exchange reports whether a connection still carries a byte there and back.
func exchange(c net.Conn, patience time.Duration) bool {
	c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 1)
	if _, err := c.Write(b); err != nil {
		return false
	}
	_, err := io.ReadFull(c, b)
	return err == nil
}

func TestRevokedConnectionsAreCut(t *testing.T) {
	for name, mode := range map[string]RevokedFlows{"after grace": AfterGrace, "now": Now, "keep": Keep} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := freshConfig(t)
			config.RevokedFlows = mode
			d := openPlane(t, config)
			p := newPlan(1)
			p.group('c', nothing(), everything())
			p.group('h', tcpFrom("192.168.1.0/24", 80, 90), everything())
			i, j := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.10", 'h')
			program(t, d, p)
			a, b := attach(t, d, i), attach(t, d, j)
			serveIn(t, b, ":80", echo)
			serveIn(t, b, ":90", echo)
			gone, stays := dialInside(t, d, a, "192.168.3.10:80"), dialInside(t, d, a, "192.168.3.10:90")
			if !exchange(gone, time.Second) || !exchange(stays, time.Second) {
				t.Fatal("the connections do not work, so the test proves nothing")
			}
			p.change()
			p.group('h', tcpFrom("192.168.1.0/24", 90, 90), everything())
			program(t, d, p)
			if got := exchange(gone, pingPatience); got != (mode != Now) {
				t.Errorf("right after the change the connection works: %v", got)
			}
			cut := false
			for deadline := time.Now().Add(revokedGrace + 2*time.Second); !cut && time.Now().Before(deadline); {
				cut = !exchange(gone, pingPatience)
			}
			if cut != (mode != Keep) {
				t.Errorf("the connection was cut: %v", cut)
			}
			if !exchange(stays, time.Second) {
				t.Error("an allowed connection was cut")
			}
		})
	}
}

func dialInside(t *testing.T, d *Dataplane, a vpc.Attachment, to string) net.Conn {
	t.Helper()
	c, err := d.DialFrom(t.Context(), a.ID, netip.MustParseAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A tool that revokes a rule and authorises it again cuts nobody.
func TestARuleThatReturnsInTimeCutsNobody(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p := newPlan(1)
	p.group('c', nothing(), everything())
	p.group('h', tcpFrom("192.168.1.0/24", 80, 80), everything())
	i, j := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.10", 'h')
	program(t, d, p)
	a, b := attach(t, d, i), attach(t, d, j)
	serveIn(t, b, ":80", echo)
	c := dialInside(t, d, a, "192.168.3.10:80")
	before := p.n.Groups[groupID('h')]
	p.change()
	p.group('h', nothing(), everything())
	program(t, d, p)
	p.change()
	p.n.Groups[groupID('h')] = before
	program(t, d, p)
	for deadline := time.Now().Add(revokedGrace + time.Second); time.Now().Before(deadline); {
		if !exchange(c, time.Second) {
			t.Fatal("the connection was cut")
		}
	}
}

func TestApplyRepairsRouters(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p := newPlan(1)
	p.group('c', nothing(), everything())
	p.group('h', icmpFrom('c'), everything())
	p.n.NATs[natA] = &vpc.NAT{ID: natA}
	p.route(anywhere(vpc.RouteNAT, string(natA)))
	i, j := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.10", 'h')
	program(t, d, p)
	a, h := attach(t, d, i), attach(t, d, j)
	r := d.routers[p.n.VPC]
	inRouter := func(f func() error) {
		t.Helper()
		if err := inNamespace(r.ns, f); err != nil {
			t.Fatal(err)
		}
	}
	for what, harm := range map[string]func(){
		"flush ruleset": func() {
			inRouter(func() error {
				c := &nftables.Conn{}
				c.FlushRuleset()
				return c.Flush()
			})
		},
		"routes": func() {
			list, err := r.h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range list {
				if k.Protocol != unix.RTPROT_KERNEL {
					if err := r.h.RouteDel(&k); err != nil {
						t.Fatal(err)
					}
				}
			}
		},
		"rules of routing": func() {
			for number := range r.routes.marks {
				if err := r.h.RuleDel(markRule(number)); err != nil {
					t.Fatal(err)
				}
			}
		},
		"the uplink": func() { deleteLink(d.mgmt, uplinkName(r.id)) },
		"forwarding": func() { inRouter(func() error { return setSysctl("ipv4/ip_forward", "0") }) },
		"a link down": func() {
			l, _ := findLink(r.h, linkName(i.ENIs[0].ID))
			if err := r.h.LinkSetDown(l); err != nil {
				t.Fatal(err)
			}
		},
		"the pin": func() { unpin(d.routerPin(r.id)) },
		"a rule more": func() {
			inRouter(func() error {
				c := &nftables.Conn{}
				ref := table{name: mgmtTable}.ref()
				c.AddRule(&nftables.Rule{Table: ref, Chain: &nftables.Chain{Name: comboChain(ingressWay, comboName([]app.GroupID{groupID('c')})), Table: ref}, Exprs: accept()})
				c.InsertRule(&nftables.Rule{Table: ref, Chain: &nftables.Chain{Name: "groups-e", Table: ref}, Exprs: drop()})
				return c.Flush()
			})
		},
	} {
		harm()
		if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil {
			t.Errorf("Apply after harm to %s: %v", what, err)
			continue
		}
		expectPing(t, "the instance after harm to "+what, a, "192.168.3.10", answered)
		expectPing(t, "the host after harm to "+what, h, "192.168.1.50", silence)
		if got := outcomeOf(t, a, internet.String()+":80"); got != reached+" as "+wanHost.String() {
			t.Errorf("the outside after harm to %s: %s", what, got)
		}
		if !pinned(d.routerPin(r.id)) {
			t.Errorf("the router is not pinned after harm to %s", what)
		}
	}
	before := r.generation
	if err := d.Apply(t.Context(), vpc.InstallRules{}); err != nil || r.generation != before {
		t.Errorf("Apply without harm changed rules: %v", err)
	}
}

func TestARestartAdoptsRouters(t *testing.T) {
	c := freshConfig(t)
	d := openPlane(t, c)
	p := newPlan(1)
	p.group('c', nothing(), everything())
	p.group('h', tcpFrom("192.168.1.0/24", 80, 80), everything())
	p.n.NATs[natA] = &vpc.NAT{ID: natA}
	p.route(anywhere(vpc.RouteNAT, string(natA)))
	i, j := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.10", 'h')
	program(t, d, p)
	a, b := attach(t, d, i), attach(t, d, j)
	serveIn(t, b, ":80", echo)
	conn := dialInside(t, d, a, "192.168.3.10:80")
	before, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	working := func(when string) {
		t.Helper()
		if !exchange(conn, time.Second) {
			t.Errorf("%s the connection is cut", when)
		}
		if got := outcomeOf(t, a, internet.String()+":80"); got != reached+" as "+wanHost.String() {
			t.Errorf("%s the outside: %s", when, got)
		}
	}
	working("while the data plane is closed")
	d = openPlane(t, c)
	working("before Program")
	after, err := d.List(t.Context())
	if err != nil || len(after) != 2 || after[0].Resolvers[0] != before[0].Resolvers[0] {
		t.Errorf("List = %+v, %v; before %+v", after, err, before)
	}
	program(t, d, p)
	working("after Program")
	attach(t, d, i)
	working("after Attach")
	p.change()
	delete(p.n.Ports, i.ENIs[0].ID)
	if err := d.Detach(t.Context(), i.ID); err != nil {
		t.Fatal(err)
	}
	program(t, d, p)
	if len(d.routers[p.n.VPC].links) != 1 {
		t.Errorf("links = %v", d.routers[p.n.VPC].links)
	}
	d.Close()
	d = openPlane(t, c)
	program(t, d)
	for _, row := range []vpc.Interface{i, j} {
		if err := d.Detach(t.Context(), row.ID); err != nil {
			t.Fatal(err)
		}
	}
	expectEmpty(t, d)
}

// A crash at any step is found and cleared by the next process.
func TestCrashesOfVPCsAreRecoveredFrom(t *testing.T) {
	for _, point := range []string{
		"vpc/program/namespace", "vpc/program/rules", "vpc/program/link", "vpc/program/routes",
		"vpc/attach/link", "vpc/attach/eni-created", "vpc/attach/enis", "vpc/attach/configured",
		"vpc/detach/link", "vpc/detach/enis", "vpc/detach/rules", "vpc/remove/uplink", "vpc/remove/links",
	} {
		for _, again := range []bool{false, true} {
			t.Run(point, func(t *testing.T) {
				c := freshConfig(t)
				d := openPlane(t, c)
				p := newPlan(1)
				p.group('c', icmpFrom('c'), everything())
				i, j := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.10", 'c')
				disable := failpoint.Enable(point, func() error { return errCrash })
				err := live(t, d, p, i, j)
				disable()
				if !errors.Is(err, errCrash) {
					t.Fatalf("failpoint %s was not hit: %v", point, err)
				}
				d.Close()
				d = openPlane(t, c)
				if again {
					if err := live(t, d, p, i, j); err != nil {
						t.Error(err)
					}
				}
				program(t, d)
				recoverByList(t, d)
				expectEmpty(t, d)
			})
		}
	}
}

// live programs a VPC, attaches, pings and removes everything.
func live(t *testing.T, d *Dataplane, p *plan, rows ...vpc.Interface) error {
	if err := d.Program(t.Context(), rulesetOf(p)); err != nil {
		return err
	}
	var last vpc.Attachment
	for _, i := range rows {
		a, err := d.Attach(t.Context(), i)
		if err != nil {
			return err
		}
		last = a
	}
	expectPing(t, "a recovered instance", last, rows[0].ENIs[0].Addresses[0].String(), answered)
	for _, i := range rows {
		if err := d.Detach(t.Context(), i.ID); err != nil {
			return err
		}
	}
	return d.Program(t.Context(), rulesetOf())
}

func callLAN(t *testing.T, address string) (said string, err error) {
	t.Helper()
	err = inNamespace(lanNS, func() (err error) {
		said, err = call(address, pingPatience)
		return err
	})
	return said, err
}

// A route to an interface leads through it, whatever the destination, and further interfaces and addresses work.
func TestRoutesToInterfacesAndFurtherOnes(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p := newPlan(1)
	p.group('a', everything(), everything())
	i, mid, far := p.port(1, "192.168.1.50", 'a'), p.port(2, "192.168.1.60", 'a'), p.port(3, "192.168.3.10", 'a')
	second := p.port(4, "192.168.3.20", 'a') // the middlebox's eth2
	mid.ENIs = append(mid.ENIs, second.ENIs[0])
	port := *p.n.Ports[far.ENIs[0].ID]
	port.Addresses = append(port.Addresses, netip.MustParseAddr("192.168.3.11"))
	p.n.Ports[port.ID], far.ENIs[0].Addresses = &port, port.Addresses
	program(t, d, p)
	a, m, f := attach(t, d, i), attach(t, d, mid), attach(t, d, far)
	for _, to := range []string{"192.168.3.10", "192.168.3.11", "192.168.3.20", "192.168.1.60"} {
		expectPing(t, "the first interface", a, to, answered)
	}
	expectPing(t, "the one with two addresses", f, "192.168.1.50", answered)
	if err := inside(t, m, func() error {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 168, 3, 20)}, Timeout: time.Second}
		_, err := from.Dial("tcp4", "192.168.1.50:9")
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("by the second interface: %v, want a refusal by the other end", err)
		}
		return setSysctl("ipv4/ip_forward", "1")
	}); err != nil {
		t.Fatal(err)
	}
	p.change()
	p.route(vpc.Route{CIDR: netip.MustParsePrefix("172.20.0.0/16"), Kind: vpc.RoutePort, Target: string(mid.ENIs[0].ID)})
	program(t, d, p)
	ns, err := openNS(m)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	s := sniff(t, ns, i.ENIs[0].Addresses[0])
	expectPing(t, "the first interface through one that checks", a, "172.20.1.1", silence)
	if s.seen.Load() > 0 {
		t.Error("an interface that checks got a packet for somebody else")
	}
	p.change()
	loose := *p.n.Ports[mid.ENIs[0].ID]
	loose.CheckSource = false
	p.n.Ports[loose.ID] = &loose
	program(t, d, p)
	pingFrom(t, a, "172.20.1.1")
	poll(2*time.Second, func() bool { return s.seen.Load() > 0 })
	if s.seen.Load() == 0 {
		t.Error("the interface that the route names got no packet")
	}
}
