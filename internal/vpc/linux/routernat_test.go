package linux

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// natStory is a host in an open subnet, and one in the subnet of the NAT gateway that both go out through.
type natStory struct {
	*testing.T
	d          *Dataplane
	p          *plan
	from       map[string]vpc.Interface
	attached   map[string]vpc.Attachment
	everywhere netip.Prefix
	hosts      netip.Prefix // the first host's subnet
}

func newNATStory(t *testing.T, c Config) *natStory {
	s := &natStory{T: t, d: openPlane(t, c), p: newPlan(1), attached: map[string]vpc.Attachment{}, everywhere: netip.MustParsePrefix("0.0.0.0/0")}
	s.p.group('a', nothing(), everything())
	s.p.n.NATs[natA] = &vpc.NAT{ID: natA, Subnet: subnetB}
	s.routes(vpc.Route{CIDR: s.everywhere, Kind: vpc.RouteNAT, Target: string(natA)})
	s.hosts = s.p.n.Subnets[subnetA].CIDR
	s.from = map[string]vpc.Interface{"elsewhere": s.p.port(1, "192.168.1.50", 'a'), "beside": s.p.port(2, "192.168.3.10", 'a')}
	program(t, s.d, s.p)
	for name, row := range s.from {
		s.attached[name] = attach(t, s.d, row)
	}
	return s
}

// routes has the longest prefixes first, as compiled tables have.
func (s *natStory) routes(list ...vpc.Route) {
	list = append(list, vpc.Route{CIDR: s.p.n.Blocks[0], Kind: vpc.RouteLocal})
	slices.SortFunc(list, func(a, b vpc.Route) int { return b.CIDR.Bits() - a.CIDR.Bits() })
	s.p.n.Tables[tableA] = &vpc.Table{ID: tableA, Routes: list}
}

const natACL = app.NetworkACLID("acl-0000000000000000d")

// guard gives the NAT gateway's subnet an ACL; none = the open one.
func (s *natStory) guard(entries ...app.ACLEntry) {
	s.p.change()
	acl := &vpc.ACL{ID: natACL}
	for _, e := range entries {
		if e.Egress {
			acl.Egress = append(acl.Egress, e)
		} else {
			acl.Ingress = append(acl.Ingress, e)
		}
	}
	b := *s.p.n.Subnets[subnetB]
	if s.p.n.ACLs[natACL], b.ACL = acl, natACL; len(entries) == 0 {
		delete(s.p.n.ACLs, natACL)
		b.ACL = openACL
	}
	s.p.n.Subnets[subnetB] = &b
	program(s, s.d, s.p)
}

// expect calls from a host to an address outside, and asks the compiled rules for the same.
func (s *natStory) expect(when, from, to string, want bool) {
	s.Helper()
	row := s.from[from]
	said, err := callFrom(s, s.attached[from], to+":80", pingPatience)
	if (said == wanHost.String()) != want {
		s.Errorf("%s: %s calls %s: %q, %v; want it to work: %v", when, from, to, said, err, want)
	}
	if ok, why := rulesetOf(s.p).Allows(vpc.Packet{
		VPC: s.p.n.VPC, From: row.ENIs[0].ID, Source: row.ENIs[0].Addresses[0], Destination: netip.MustParseAddr(to), Protocol: unix.IPPROTO_TCP, DestinationPort: 80,
	}); ok != want {
		s.Errorf("%s: from %s to %s the rules say %v (%s), want %v", when, from, to, ok, why.Text, want)
	}
}

func TestNATGatewaysAreUnderTheACLOfTheirSubnet(t *testing.T) {
	c := freshConfig(t)
	s := newNATStory(t, c)
	entry := func(egress, allow bool, peer netip.Prefix, first, last int) app.ACLEntry {
		return app.ACLEntry{Number: 100, Egress: egress, Allow: allow, Protocol: unix.IPPROTO_TCP, CIDR: peer, FromPort: first, ToPort: last}
	}
	in, out := entry(false, true, s.hosts, 80, 80), entry(true, true, s.everywhere, 80, 80)
	answersIn, answersOut := entry(false, true, s.everywhere, 1024, 65535), entry(true, true, s.hosts, 1024, 65535)
	const to, other = "198.51.100.10", "203.0.113.1"
	for _, c := range []struct {
		when              string
		entries           []app.ACLEntry
		elsewhere, beside bool
	}{
		{"an open ACL", nil, true, true},
		{"entries for every way", []app.ACLEntry{in, out, answersIn, answersOut}, true, true},
		{"none for what enters from the host", []app.ACLEntry{out, answersIn, answersOut}, false, true},
		{"one that denies what enters from the host", []app.ACLEntry{entry(false, false, s.hosts, 80, 80), in, out, answersIn, answersOut}, false, true},
		{"none for what leaves to the outside", []app.ACLEntry{in, answersIn, answersOut}, false, false},
		{"none for answers from the outside", []app.ACLEntry{in, out, answersOut}, false, false},
		{"one that denies answers of the outside", []app.ACLEntry{entry(false, false, netip.MustParsePrefix("198.51.100.0/24"), 1024, 65535), in, out, answersIn, answersOut}, false, false},
		{"none for answers to the host", []app.ACLEntry{in, out, answersIn}, false, true},
		{"an open ACL again", nil, true, true},
	} {
		s.guard(c.entries...)
		s.expect(c.when, "elsewhere", to, c.elsewhere)
		s.expect(c.when, "beside", to, c.beside)
	}
	// A longer route goes another way, and only that: by a NAT gateway in the open subnet.
	s.guard(entry(false, false, s.everywhere, 0, 65535))
	s.expect("a closed ACL", "elsewhere", to, false)
	const natB = app.NATGatewayID("nat-0000000000000000b")
	s.p.change()
	s.p.n.NATs[natB] = &vpc.NAT{ID: natB, Subnet: subnetA}
	s.routes(vpc.Route{CIDR: s.everywhere, Kind: vpc.RouteNAT, Target: string(natA)}, vpc.Route{CIDR: netip.MustParsePrefix(to + "/32"), Kind: vpc.RouteNAT, Target: string(natB)})
	program(t, s.d, s.p)
	s.expect("a route through another gateway", "elsewhere", to, true)
	s.expect("no such route", "elsewhere", other, false)
	s.p.change()
	s.routes(vpc.Route{CIDR: s.everywhere, Kind: vpc.RouteNAT, Target: string(natB)}, vpc.Route{CIDR: netip.MustParsePrefix("198.51.100.0/24"), Kind: vpc.RouteNAT, Target: string(natA)})
	program(t, s.d, s.p)
	s.expect("the routes exchanged", "elsewhere", to, false)
	s.expect("the routes exchanged", "elsewhere", other, true)

	// All these small changes have left what a new process makes at once.
	changed := steady(kernelState(t, s.d.names))
	s.d.Close()
	d := openPlane(t, c)
	program(t, d, s.p)
	expectState(t, "made at once", changed, func() []string { return steady(kernelState(t, d.names)) })
}

// ACLs are stateless: a connection through a NAT gateway stops as soon as the ACL of the gateway's subnet denies it.
func TestConnectionsThroughNATGatewaysStop(t *testing.T) {
	s := newNATStory(t, freshConfig(t))
	all := app.ACLEntry{Number: 100, Allow: true, Protocol: -1, CIDR: s.everywhere}
	out := all
	out.Egress = true
	s.guard(all, out)
	var l net.Listener
	if err := inNamespace(wanNS, func() (err error) {
		l, err = net.Listen("tcp4", ":8081")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	conn := dialInside(t, s.d, s.attached["elsewhere"], "198.51.100.10:8081")
	if !exchange(conn, pingPatience) {
		t.Fatal("the connection does not work, so the test proves nothing")
	}
	s.guard(app.ACLEntry{Number: 90, Protocol: unix.IPPROTO_TCP, CIDR: s.hosts, FromPort: 8081, ToPort: 8081}, all, out)
	if exchange(conn, pingPatience) {
		t.Error("the connection goes on")
	}
}
