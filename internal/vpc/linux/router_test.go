package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/dataplanetest"
)

// plan builds the ruleset of a VPC by hand.
type plan struct {
	n      *vpc.Network
	number int
}

const (
	subnetA = app.SubnetID("subnet-0000000000000000a")
	subnetB = app.SubnetID("subnet-0000000000000000b")
	tableA  = app.RouteTableID("rtb-0000000000000000a")
	openACL = app.NetworkACLID("acl-0000000000000000a")
	natA    = app.NATGatewayID("nat-0000000000000000a")
)

// newPlan returns 192.168.0.0/16 with the subnets 192.168.1.0/24 and 192.168.3.0/24 and only a local route.
func newPlan(number int) *plan {
	block := netip.MustParsePrefix("192.168.0.0/16")
	id := app.VPCID(fmt.Sprintf("vpc-%017x", 0xabc0+number))
	p := &plan{number: number, n: &vpc.Network{
		VPC: id, Slot: number, Blocks: []netip.Prefix{block}, DNS: &vpc.Zone{Names: map[string][]netip.Addr{}},
		Subnets: map[app.SubnetID]*vpc.Subnet{
			subnetA: {ID: subnetA, CIDR: netip.MustParsePrefix("192.168.1.0/24"), Table: tableA, ACL: openACL},
			subnetB: {ID: subnetB, CIDR: netip.MustParsePrefix("192.168.3.0/24"), Table: tableA, ACL: openACL},
		},
		Ports: map[app.InterfaceID]*vpc.Port{}, Groups: map[app.GroupID]*vpc.Group{}, Members: map[app.GroupID]*vpc.Members{},
		Tables: map[app.RouteTableID]*vpc.Table{tableA: {ID: tableA, Routes: []vpc.Route{{CIDR: block, Kind: vpc.RouteLocal}}}},
		ACLs:   map[app.NetworkACLID]*vpc.ACL{openACL: {ID: openACL, Open: true}},
		NATs:   map[app.NATGatewayID]*vpc.NAT{}, LANs: map[app.LANID]*vpc.LAN{},
	}}
	return p
}

// change returns a copy of the network to work on: parts keep their pointers.
func (p *plan) change() {
	n := *p.n
	n.Subnets, n.Ports, n.Groups, n.Members = clone(n.Subnets), clone(n.Ports), clone(n.Groups), clone(n.Members)
	n.Tables, n.ACLs, n.NATs, n.LANs = clone(n.Tables), clone(n.ACLs), clone(n.NATs), clone(n.LANs)
	p.n = &n
}

func clone[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func groupID(name byte) app.GroupID { return app.GroupID(fmt.Sprintf("sg-%017x", name)) }

// everything is what a new group allows out.
func everything() vpc.Direction {
	return vpc.Direction{
		Any:   []vpc.Range{{First: netip.MustParseAddr("0.0.0.0"), Last: netip.MustParseAddr("255.255.255.255")}},
		Rules: []app.SecurityGroupRule{{ID: "sgr-1", Egress: true, Protocol: -1, FromPort: -1, ToPort: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")}},
	}
}

func nothing() vpc.Direction { return vpc.Direction{} }

// icmpFrom and tcpFrom admit members of a group.
func icmpFrom(peer byte) vpc.Direction {
	return vpc.Direction{
		Peers: []vpc.Peer{{Group: groupID(peer), Ports: []vpc.Ports{{Protocol: unix.IPPROTO_ICMP, First: 0, Last: 65535}}}},
		Rules: []app.SecurityGroupRule{{ID: "sgr-2", Protocol: unix.IPPROTO_ICMP, FromPort: -1, ToPort: -1, Peer: groupID(peer)}},
	}
}

func tcpFrom(block string, first, last uint16) vpc.Direction {
	p := netip.MustParsePrefix(block)
	return vpc.Direction{
		Boxes: []vpc.Box{{Range: vpc.Range{First: p.Addr(), Last: lastOf(p)}, Protocol: unix.IPPROTO_TCP, FirstPort: first, LastPort: last}},
		Rules: []app.SecurityGroupRule{{ID: "sgr-3", Protocol: unix.IPPROTO_TCP, FromPort: int(first), ToPort: int(last), CIDR: p}},
	}
}

func (p *plan) group(name byte, ingress, egress vpc.Direction) {
	id := groupID(name)
	p.n.Groups[id] = &vpc.Group{ID: id, Ingress: ingress, Egress: egress}
	if p.n.Members[id] == nil {
		p.n.Members[id] = &vpc.Members{}
	}
}

// port adds an interface and returns it as a row for slot index of the managed range.
func (p *plan) port(index int, address string, groups ...byte) vpc.Interface {
	a := netip.MustParseAddr(address)
	id := app.InterfaceID(fmt.Sprintf("eni-%017x", 0xe0000+p.number*0x1000+index))
	port := &vpc.Port{ID: id, Kind: app.InterfaceOfInstance, Addresses: []netip.Addr{a}, CheckSource: true}
	var subnet *vpc.Subnet
	for _, s := range p.n.Subnets {
		if s.CIDR.Contains(a) {
			subnet, port.Subnet = s, s.ID
		}
	}
	for _, g := range groups {
		port.Groups = append(port.Groups, groupID(g))
		m := append(slices.Clone(p.n.Members[groupID(g)].Addresses), a)
		slices.SortFunc(m, netip.Addr.Compare)
		p.n.Members[groupID(g)] = &vpc.Members{Addresses: m}
	}
	p.n.Ports[id] = port
	i := dataplanetest.Interface(index)
	i.ENIs = []vpc.ENI{{ID: id, VPC: p.n.VPC, Addresses: port.Addresses, Subnet: subnet.CIDR, MAC: net.HardwareAddr{0x02, 0xee, byte(p.number), 0, 0, byte(index)}.String(),
		Resolvers: []netip.Addr{resolverAddress(p.n)}}}
	return i
}

func rulesetOf(plans ...*plan) *vpc.Ruleset {
	r := &vpc.Ruleset{Networks: map[app.VPCID]*vpc.Network{}}
	for _, p := range plans {
		r.Networks[p.n.VPC] = p.n
	}
	return r
}

func program(t testing.TB, d *Dataplane, plans ...*plan) {
	t.Helper()
	if err := d.Program(t.Context(), rulesetOf(plans...)); err != nil {
		t.Fatal(err)
	}
}

// outcomes of a ping.
const (
	answered = "answered"
	silence  = "silence"
)

const pingPatience = 400 * time.Millisecond

// pingOnce sends one echo request from the calling thread's namespace, through an unprivileged socket.
func pingOnce(to netip.Addr) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval(int64(pingPatience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return err.Error()
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1); err != nil {
		return err.Error()
	}
	request := []byte{8, 0, 0, 0, 0, 1, 0, 1, 'f', 'u'}
	binary.BigEndian.PutUint16(request[2:], ^uint16(0x0800+1+1+0x6675))
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
		return err.Error()
	}
	b := make([]byte, 100)
	n, _, err := unix.Recvfrom(fd, b, 0)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return silence
	case err != nil:
		return err.Error()
	case n >= 8 && b[0] == 0:
		return answered
	}
	return fmt.Sprintf("ICMP type %d", b[0])
}

func pingFrom(t testing.TB, a vpc.Attachment, to string) (got string) {
	t.Helper()
	if err := inside(t, a, func() error {
		got = pingOnce(netip.MustParseAddr(to))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func expectPing(t testing.TB, what string, a vpc.Attachment, to, want string) {
	t.Helper()
	if got := pingFrom(t, a, to); got != want {
		t.Errorf("ping %s from %s: %s, want %s", to, what, got, want)
	}
}

// TestStory is the story of private networks: a host that answers pings of the connector's group and of nobody else.
func TestStory(t *testing.T) {
	d := openPlane(t, freshConfig(t))
	p, q := newPlan(1), newPlan(2)
	for _, x := range []*plan{p, q} {
		x.group('c', nothing(), everything())     // the connector's
		x.group('h', icmpFrom('c'), everything()) // the host's
		x.group('o', nothing(), everything())
	}
	instance, host, other := p.port(1, "192.168.1.50", 'c'), p.port(2, "192.168.3.194", 'h'), p.port(3, "192.168.1.60", 'o')
	overlap, overlapHost := q.port(4, "192.168.1.50", 'o'), q.port(5, "192.168.3.194", 'h')
	sender := q.port(6, "192.168.1.51", 'c')
	program(t, d, p, q)
	a, h, o := attach(t, d, instance), attach(t, d, host), attach(t, d, other)
	b, bh, bc := attach(t, d, overlap), attach(t, d, overlapHost), attach(t, d, sender)
	plain := attach(t, d, dataplanetest.Interface(9))
	expectPing(t, "the connector's instance", a, "192.168.3.194", answered)
	expectPing(t, "an instance of another group", o, "192.168.3.194", silence)
	expectPing(t, "the host back", h, "192.168.1.50", silence)
	if got := pingFrom(t, plain, "192.168.3.194"); got == answered {
		t.Error("an instance with DEFAULT egress reaches the host")
	}
	if err := onThread(func() error {
		if got := pingOnce(netip.MustParseAddr("192.168.3.194")); got == answered {
			return errors.New("the host's namespace reaches it")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	expectPing(t, "the overlapping VPC's other group", b, "192.168.3.194", silence)
	expectPing(t, "the overlapping VPC's connector", bc, "192.168.3.194", answered)
	serveIn(t, bh, ":80", func(l net.Listener) { dataplanetest.Greet(l, "B") })
	serveIn(t, h, ":80", func(l net.Listener) { dataplanetest.Greet(l, "A") })
	for _, x := range []*plan{p, q} {
		x.change()
		x.group('h', tcpFrom("192.168.1.0/24", 80, 80), everything())
	}
	program(t, d, p, q)
	for _, c := range []struct {
		from vpc.Attachment
		want string
	}{{a, "A"}, {b, "B"}} {
		if got, err := callFrom(t, c.from, "192.168.3.194:80", 5*time.Second); got != c.want || err != nil {
			t.Errorf("call in the VPC of %s: %q, %v", c.want, got, err)
		}
	}
	expectPing(t, "the connector's instance, as ICMP is no longer allowed,", a, "192.168.3.194", silence)
	program(t, d)
	if entries, err := os.ReadDir(d.netnsDir()); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return checkVPCID(app.VPCID(e.Name())) == nil }) {
		t.Errorf("routers are left: %v, %v", entries, err)
	}
}

func timeout(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func openNS(a vpc.Attachment) (*os.File, error) { return os.Open(a.NetnsPath) }
