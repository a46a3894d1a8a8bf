package bench

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux"
)

// plane is a data plane of its own beside no server, with the rows that it follows.
type plane struct {
	*linux.Dataplane
	t        *testing.T
	config   linux.Config
	compiler *vpc.Compiler
	rows     vpc.Snapshot
	next     int // index of the next interface
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, compiler: vpc.NewCompiler(), config: linux.Config{
		Install: "0000be5c", RunDir: t.TempDir(),
		Prefix: netip.MustParsePrefix("100.72.0.0/16"), TransitPrefix: netip.MustParsePrefix("100.127.72.0/30"),
	}}
	p.rows.Slots, p.rows.Names = map[app.VPCID]int{}, map[app.VPCID]map[string][]netip.Addr{}
	t.Cleanup(func() {
		if p.Dataplane != nil {
			p.Close()
		}
		if err := linux.Purge(context.Background(), p.config); err != nil {
			t.Error(err)
		}
	})
	p.open()
	return p
}

func (p *plane) open() {
	p.t.Helper()
	d, err := linux.Open(p.t.Context(), p.config)
	check(p.t, err)
	p.Dataplane = d
}

// compile is what the rows mean now.
func (p *plane) compile() *vpc.Ruleset { return p.compiler.Compile(p.rows) }

func (p *plane) program() {
	p.t.Helper()
	check(p.t, p.Program(p.t.Context(), p.compile()))
}

// network is a VPC whose group "servers" has a number of rules; the last ones admit what is measured.
type network struct {
	number           int
	id               app.VPCID
	subnet           app.SubnetID
	block            netip.Prefix
	clients, servers app.GroupID
	hosts            int
}

func (p *plane) network(number, rules int) *network {
	p.t.Helper()
	id := func(prefix string, n int) string { return fmt.Sprintf("%s-%09x%08x", prefix, number, n) }
	n := &network{
		number: number, id: app.VPCID(id("vpc", 1)), subnet: app.SubnetID(id("subnet", 1)), block: netip.MustParsePrefix("10.77.0.0/16"),
		clients: app.GroupID(id("sg", 1)), servers: app.GroupID(id("sg", 2)),
	}
	s := &p.rows
	s.VPCs = append(s.VPCs, app.VPC{ID: n.id, CIDR: n.block, DNSSupport: true})
	s.Slots[n.id], s.Names[n.id] = number, map[string][]netip.Addr{}
	s.Subnets = append(s.Subnets, app.Subnet{ID: n.subnet, VPC: n.id, CIDR: n.block})
	s.RouteTables = append(s.RouteTables, app.RouteTable{ID: app.RouteTableID(id("rtb", 1)), VPC: n.id,
		Associations: []app.TableAssociation{{ID: app.AssociationID(id("rtbassoc", 1)), Main: true}}, Routes: []app.Route{{CIDR: n.block, Kind: app.TargetLocal}}})
	s.ACLs = append(s.ACLs, app.NetworkACL{ID: app.NetworkACLID(id("acl", 1)), VPC: n.id, Default: true, Entries: openACL,
		Associations: []app.ACLAssociation{{ID: app.AssociationID(id("aclassoc", 1)), Subnet: n.subnet}}})
	s.Groups = append(s.Groups, app.SecurityGroup{ID: n.clients, VPC: n.id}, app.SecurityGroup{ID: n.servers, VPC: n.id})
	rule := func(group app.GroupID, egress bool, protocol, port int, block netip.Prefix) {
		s.Rules = append(s.Rules, app.SecurityGroupRule{ID: app.RuleID(id("sgr", len(s.Rules))), Group: group, Egress: egress,
			Protocol: protocol, FromPort: port, ToPort: port, CIDR: block})
	}
	rule(n.clients, true, -1, -1, everywhere)
	rule(n.servers, true, -1, -1, everywhere)
	for k := range rules - 3 {
		rule(n.servers, false, 6, rulePort(k), ruleBlock(k))
	}
	rule(n.servers, false, 6, streamPort, n.block)
	rule(n.servers, false, 6, connectPort, n.block)
	rule(n.servers, false, 17, probePort, n.block)
	return n
}

// leadOut gives a network a NAT gateway and a route to it.
func (p *plane) leadOut(n *network) {
	table := slices.IndexFunc(p.rows.RouteTables, func(t app.RouteTable) bool { return t.VPC == n.id })
	nat := app.NATGateway{ID: app.NATGatewayID(fmt.Sprintf("nat-%017x", n.number)), VPC: n.id, Subnet: n.subnet, Public: true}
	p.rows.NATs = append(p.rows.NATs, nat)
	p.rows.RouteTables[table].Routes = append(p.rows.RouteTables[table].Routes, app.Route{CIDR: everywhere, Kind: app.TargetNAT, Target: string(nat.ID)})
}

var (
	everywhere = netip.MustParsePrefix("0.0.0.0/0")
	openACL    = []app.ACLEntry{
		{Number: 100, Allow: true, Protocol: -1, CIDR: everywhere, FromPort: -1, ToPort: -1},
		{Number: 32767, Protocol: -1, CIDR: everywhere, FromPort: -1, ToPort: -1},
		{Number: 100, Egress: true, Allow: true, Protocol: -1, CIDR: everywhere, FromPort: -1, ToPort: -1},
		{Number: 32767, Egress: true, Protocol: -1, CIDR: everywhere, FromPort: -1, ToPort: -1},
	}
)

// host adds the row of an interface in a group and returns it as it is to be attached.
func (p *plane) host(n *network, group app.GroupID) vpc.Interface {
	address := netip.AddrFrom4([4]byte{10, 77, byte(1 + n.hosts/200), byte(10 + n.hosts%200)})
	id := app.InterfaceID(fmt.Sprintf("eni-%09x%08x", n.number, 0x1000+n.hosts))
	mac := fmt.Sprintf("02:77:%02x:00:%02x:%02x", n.number, n.hosts>>8, n.hosts&255)
	i := vpc.Interface{ID: app.InterfaceID(fmt.Sprintf("eni-%017x", 0xbe0000+p.next)), Instance: app.InstanceID(fmt.Sprintf("%032x", p.next)), Index: p.next}
	p.rows.Interfaces = append(p.rows.Interfaces, app.NetworkInterface{ID: id, Kind: app.InterfaceOfInstance, VPC: n.id, Subnet: n.subnet,
		Addresses: []netip.Addr{address}, Groups: []app.GroupID{group}, MAC: mac, SourceDestCheck: true, Owner: string(i.Instance)})
	i.ENIs = []vpc.ENI{{ID: id, VPC: n.id, Addresses: []netip.Addr{address}, Subnet: n.block, MAC: mac, Resolvers: []netip.Addr{netip.MustParseAddr("10.77.0.2")}}}
	p.next++
	n.hosts++
	return i
}

// hosts adds interfaces, a client's and a server's alternately, programs all rows and attaches them.
func (p *plane) hosts(n *network, count int) pair {
	p.t.Helper()
	var all []vpc.Interface
	for k := range count {
		all = append(all, p.host(n, []app.GroupID{n.clients, n.servers}[k%2]))
	}
	p.program()
	began := time.Now()
	var out pair
	for k, i := range all {
		a, err := p.Attach(p.t.Context(), i)
		check(p.t, err)
		switch k {
		case 0:
			out.from = p.namespace(a)
		case 1:
			out.to, out.address = p.namespace(a), i.ENIs[0].Addresses[0]
		}
	}
	p.t.Logf("%d interfaces attached in %v", count, time.Since(began))
	return out
}

func (p *plane) namespace(a vpc.Attachment) *os.File {
	p.t.Helper()
	ns, err := os.Open(a.NetnsPath)
	check(p.t, err)
	p.t.Cleanup(func() { ns.Close() })
	return ns
}
