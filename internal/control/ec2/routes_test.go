package ec2

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/store"
)

func TestTables(t *testing.T) {
	b := newBench(t, Quotas{RouteTablesPerVPC: 3})
	vpc, away := b.vpc("10.0.0.0/16"), b.vpc("10.1.0.0/16")
	subnet, foreign := b.subnet(vpc, "10.0.1.0/24"), b.subnet(away, "10.1.1.0/24")
	a, err := b.CreateTable(ctx, scope, vpc, "t", app.Tags{"Name": "n"})
	if err != nil || a.Main() || len(a.Routes) != 1 || a.Routes[0].Kind != app.TargetLocal || a.Routes[0].Blackhole || a.Tags["Name"] != "n" {
		t.Fatalf("got %+v, %v", a, err)
	}
	if again, err := b.CreateTable(ctx, scope, vpc, "t", nil); err != nil || again.ID != a.ID {
		t.Errorf("the same token made %+v, %v", again, err)
	}
	_, err = b.CreateTable(ctx, scope, away, "t", nil)
	fails(t, err, "IdempotentParameterMismatch", "t")
	_, err = b.CreateTable(ctx, scope, "vpc-x", "", nil)
	fails(t, err, "InvalidVpcID.NotFound", "vpc-x")
	second, err := b.CreateTable(ctx, scope, vpc, "", nil)
	b.must(err)
	_, err = b.CreateTable(ctx, scope, vpc, "", nil)
	fails(t, err, "RouteTableLimitExceeded", "3")

	_, err = b.AssociateTable(ctx, scope, "rtb-x", subnet)
	fails(t, err, "InvalidRouteTableID.NotFound", "The routeTable ID 'rtb-x' does not exist")
	_, err = b.AssociateTable(ctx, scope, a.ID, "subnet-x")
	fails(t, err, "InvalidSubnetID.NotFound", "subnet-x")
	_, err = b.AssociateTable(ctx, scope, a.ID, foreign)
	fails(t, err, "InvalidParameterValue", "belong to different networks")
	bound, err := b.AssociateTable(ctx, scope, a.ID, subnet)
	b.must(err)
	for _, table := range []app.RouteTableID{a.ID, second.ID} {
		_, err = b.AssociateTable(ctx, scope, table, subnet)
		fails(t, err, "Resource.AlreadyAssociated", string(bound))
	}
	fails(t, b.DeleteTable(ctx, scope, a.ID), "DependencyViolation", string(subnet))
	moved, err := b.ReplaceTableAssociation(ctx, scope, bound, second.ID)
	if err != nil || moved.ID == bound || moved.Subnet != subnet || moved.Main {
		t.Errorf("got %+v, %v", moved, err)
	}
	same, err := b.ReplaceTableAssociation(ctx, scope, moved.ID, second.ID)
	b.must(err)
	_, err = b.ReplaceTableAssociation(ctx, scope, bound, a.ID)
	fails(t, err, "InvalidAssociationID.NotFound", string(bound))
	b.must(b.DeleteTable(ctx, scope, a.ID))
	b.must(b.DisassociateTable(ctx, scope, same.ID))
	fails(t, b.DisassociateTable(ctx, scope, same.ID), "InvalidAssociationID.NotFound", string(same.ID))

	// The main table can be replaced, not removed.
	var main, theirs app.RouteTable
	b.read(func(tx *store.Tx) { main, theirs = mainTable(tx, vpc), mainTable(tx, away) })
	fails(t, b.DisassociateTable(ctx, scope, main.Associations[0].ID), "InvalidParameterValue", "main")
	fails(t, b.DeleteTable(ctx, scope, main.ID), "DependencyViolation", "main")
	_, err = b.ReplaceTableAssociation(ctx, scope, main.Associations[0].ID, theirs.ID)
	fails(t, err, "InvalidParameterValue", "different networks")
	if got, err := b.ReplaceTableAssociation(ctx, scope, main.Associations[0].ID, second.ID); err != nil || !got.Main || got.Subnet != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	b.read(func(tx *store.Tx) {
		if now := mainTable(tx, vpc); now.ID != second.ID {
			t.Errorf("the main table is %s, want %s", now.ID, second.ID)
		}
	})
	b.must(b.DeleteTable(ctx, scope, main.ID))
	fails(t, b.DeleteTable(ctx, scope, main.ID), "InvalidRouteTableID.NotFound", string(main.ID))
}

// routing is a VPC with everything that a route can lead to.
type routing struct {
	*bench
	vpc   app.VPCID
	table app.RouteTableID
	igw   app.IGWID
	nat   app.NATGatewayID
	eni   app.NetworkInterface
	lan   app.LANID
	list  app.PrefixListID
}

func newRouting(t *testing.T, quotas ...Quotas) routing {
	b := newBench(t, quotas...)
	r := routing{bench: b, vpc: b.vpc("10.0.0.0/16")}
	subnet := b.subnet(r.vpc, "10.0.1.0/24")
	r.igw, r.eni = b.gateway(r.vpc), b.iface(subnet)
	nat, err := b.CreateNAT(ctx, scope, CreateNATInput{Subnet: subnet, Allocation: b.address()})
	b.must(err)
	table, err := b.CreateTable(ctx, scope, r.vpc, "", nil)
	b.must(err)
	lan, err := b.AttachLAN(ctx, scope, AttachLANInput{VPC: r.vpc, Interface: "eth1", CIDRs: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}})
	b.must(err)
	list, err := b.CreatePrefixList(ctx, scope, CreatePrefixListInput{Name: "office", Family: "IPv4", MaxEntries: 3})
	b.must(err)
	r.nat, r.table, r.lan, r.list = nat.ID, table.ID, lan.ID, list.ID
	return r
}

func (r routing) routes() []RouteDetail {
	r.t.Helper()
	all, err := r.DescribeTables(ctx, scope)
	r.must(err)
	for _, table := range all {
		if table.ID == r.table {
			return table.Routes
		}
	}
	r.t.Fatalf("there is no %s", r.table)
	return nil
}

// hostWith puts a running host with interfaces into the store.
func (b *bench) hostWith(interfaces ...app.NetworkInterface) app.HostID {
	id := app.HostID(b.cfg.IDs.Prefixed("i"))
	b.write(func(tx *store.Tx) {
		h := app.Host{ID: id, Scope: scope, State: app.HostRunning, Wanted: app.HostRunning, Run: app.InstanceID("run-" + string(id)), SourceDestCheck: true}
		for n, ni := range interfaces {
			ni.Owner, ni.Attachment = string(id), app.AttachmentENI{ID: b.cfg.IDs.Prefixed("eni-attach"), DeviceIndex: n, At: b.now}
			store.Control.NetworkInterfaces.Put(tx, ni)
			h.Interfaces = append(h.Interfaces, ni.ID)
		}
		nic := app.InterfaceID("nic-" + string(id))
		store.Control.Hosts.Put(tx, h)
		store.Control.Instances.Put(tx, app.Instance{ID: h.Run, Host: id, Interface: nic})
		store.Control.Interfaces.Put(tx, app.Interface{ID: nic, Instance: h.Run, Scope: scope, VPC: slices.Clone(h.Interfaces)})
	})
	return id
}

func TestRoutes(t *testing.T) {
	r := newRouting(t)
	host := r.hostWith(r.eni)
	for _, in := range []RouteInput{
		{CIDR: "0.0.0.0/0", Gateway: string(r.igw)},
		{CIDR: "10.5.6.7/16", NAT: string(r.nat)},
		{CIDR: "10.6.0.0/16", Interface: string(r.eni.ID)},
		{CIDR: "10.7.0.0/16", Host: host},
		{CIDR: "192.168.7.0/25", Gateway: string(r.lan)},
		{CIDR: "192.168.0.0/16", Interface: string(r.lan)},
		{CIDR: "10.0.1.0/24", Interface: string(r.eni.ID)}, // a part of the VPC
		{PrefixList: r.list, NAT: string(r.nat)},
	} {
		in.Table = r.table
		if err := r.CreateRoute(ctx, scope, in); err != nil {
			t.Fatalf("%+v: %v", in, err)
		}
		fails(t, r.CreateRoute(ctx, scope, in), "RouteAlreadyExists", "already exists")
	}
	routes := r.routes()
	want := []app.Route{
		{CIDR: netip.MustParsePrefix("10.0.0.0/16"), Kind: app.TargetLocal, Origin: originTable},
		{CIDR: anywhere, Kind: app.TargetIGW, Target: string(r.igw), Origin: originRoute},
		{CIDR: netip.MustParsePrefix("10.5.0.0/16"), Kind: app.TargetNAT, Target: string(r.nat), Origin: originRoute},
		{CIDR: netip.MustParsePrefix("10.6.0.0/16"), Kind: app.TargetInterface, Target: string(r.eni.ID), Origin: originRoute},
		{CIDR: netip.MustParsePrefix("10.7.0.0/16"), Kind: app.TargetInterface, Target: string(r.eni.ID), Host: host, Origin: originRoute},
		{CIDR: netip.MustParsePrefix("192.168.7.0/25"), Kind: app.TargetLAN, Target: string(r.lan), Origin: originRoute},
		{CIDR: netip.MustParsePrefix("192.168.0.0/16"), Kind: app.TargetLAN, Target: string(r.lan), Origin: originRoute},
		{CIDR: netip.MustParsePrefix("10.0.1.0/24"), Kind: app.TargetInterface, Target: string(r.eni.ID), Origin: originRoute},
		{PrefixList: r.list, Kind: app.TargetNAT, Target: string(r.nat), Origin: originRoute},
	}
	for n, route := range routes {
		if route.Route != want[n] || route.Blackhole {
			t.Errorf("route %d is %+v, want %+v", n, route, want[n])
		}
	}
	fails(t, r.DetachLAN(ctx, scope, r.lan), "DependencyViolation", string(r.table))
	if _, err := r.DeletePrefixList(ctx, scope, r.list); err == nil {
		t.Error("a prefix list that a route names was deleted")
	}

	// Targets that go leave blackholes.
	r.must(r.DeleteNAT(ctx, scope, r.nat))
	r.write(func(tx *store.Tx) {
		g, _ := store.InternetGateways.Get(tx, r.igw)
		g.VPC = ""
		store.Control.InternetGateways.Put(tx, g)
		ni, _ := store.NetworkInterfaces.Get(tx, r.eni.ID)
		ni.Owner = ""
		store.Control.NetworkInterfaces.Put(tx, ni)
		store.Control.LANs.Delete(tx, r.lan)
	})
	for n, route := range r.routes() {
		if route.Blackhole != (n > 0) {
			t.Errorf("route %d: blackhole is %v: %+v", n, route.Blackhole, route)
		}
	}
}

func TestRouteErrors(t *testing.T) {
	r := newRouting(t)
	away := r.vpc2()
	two := r.hostWith(r.iface(away), r.iface(away))
	lan, err := r.AttachLAN(ctx, scope, AttachLANInput{VPC: r.vpc, Via: netip.MustParseAddr("192.168.1.1"), CIDRs: []netip.Prefix{netip.MustParsePrefix("192.168.8.0/24")}})
	r.must(err)
	for _, c := range []struct {
		in          RouteInput
		code, words string
	}{
		{RouteInput{Table: "rtb-x", CIDR: "10.9.0.0/16", NAT: string(r.nat)}, "InvalidRouteTableID.NotFound", "rtb-x"},
		{RouteInput{NAT: string(r.nat)}, "MissingParameter", "DestinationCidrBlock"},
		{RouteInput{CIDR: "10.9.0.0/16", PrefixList: r.list, NAT: string(r.nat)}, "InvalidParameterCombination", "both"},
		{RouteInput{CIDR: "10.9.0.0", NAT: string(r.nat)}, "InvalidParameterValue", "destinationCidrBlock"},
		{RouteInput{PrefixList: "pl-x", NAT: string(r.nat)}, "InvalidPrefixListID.NotFound", "pl-x"},
		{RouteInput{CIDR: "10.9.0.0/16"}, "InvalidParameterCombination", "exactly one"},
		{RouteInput{CIDR: "10.9.0.0/16", NAT: string(r.nat), Gateway: string(r.igw)}, "InvalidParameterCombination", "exactly one"},
		{RouteInput{CIDR: "10.9.0.0/16", Gateway: "igw-x"}, "InvalidGatewayID.NotFound", "The gateway ID 'igw-x' does not exist"},
		{RouteInput{CIDR: "10.9.0.0/16", NAT: "nat-x"}, "InvalidNatGatewayID.NotFound", "The natGateway ID 'nat-x' does not exist"},
		{RouteInput{CIDR: "10.9.0.0/16", Interface: "eni-x"}, "InvalidNetworkInterfaceID.NotFound", "eni-x"},
		{RouteInput{CIDR: "10.9.0.0/16", Host: "i-x"}, "InvalidInstanceID.NotFound", "i-x"},
		{RouteInput{CIDR: "10.9.0.0/16", Host: two}, "InvalidInstanceID", "multiple interfaces"},
		{RouteInput{CIDR: "10.9.0.0/16", Gateway: "lan-x"}, "InvalidLanID.NotFound", "lan-x"},
		{RouteInput{CIDR: "10.9.0.0/16", Gateway: string(lan.ID)}, "InvalidParameterValue", "192.168.8.0/24"},
		{RouteInput{CIDR: "10.0.0.0/16", NAT: string(r.nat)}, "RouteAlreadyExists", "10.0.0.0/16"},
		{RouteInput{CIDR: "10.0.2.0/24", Gateway: string(r.igw)}, "InvalidParameterValue", "more specific"},
		{RouteInput{CIDR: "169.254.169.254/32", NAT: string(r.nat)}, "InvalidParameterValue", "reserved"},
	} {
		if c.in.Table == "" {
			c.in.Table = r.table
		}
		fails(t, r.CreateRoute(ctx, scope, c.in), c.code, c.words)
	}
	// A target of another VPC.
	other, err := r.CreateTable(ctx, scope, r.vpc3(), "", nil)
	r.must(err)
	for _, in := range []RouteInput{{Gateway: string(r.igw)}, {NAT: string(r.nat)}, {Interface: string(r.eni.ID)}, {Interface: string(r.lan)}} {
		in.Table, in.CIDR = other.ID, "192.168.7.0/24"
		fails(t, r.CreateRoute(ctx, scope, in), "InvalidParameterValue", "different networks")
	}
	if n := len(r.routes()); n != 1 {
		t.Errorf("failed calls left %d routes", n)
	}
}

func (r routing) vpc2() app.SubnetID { return r.subnet(r.bench.vpc("10.1.0.0/16"), "10.1.1.0/24") }

func (r routing) vpc3() app.VPCID { return r.bench.vpc("10.2.0.0/16") }

func TestReplaceAndDeleteRoutes(t *testing.T) {
	r := newRouting(t)
	in := RouteInput{Table: r.table, CIDR: "0.0.0.0/0", Gateway: string(r.igw)}
	fails(t, r.ReplaceRoute(ctx, scope, in), "InvalidParameterValue", "There is no route defined for '0.0.0.0/0' in the route table. Use CreateRoute instead.")
	fails(t, r.DeleteRoute(ctx, scope, in), "InvalidRoute.NotFound", "0.0.0.0/0")
	r.must(r.CreateRoute(ctx, scope, in))
	in.Local = true
	fails(t, r.ReplaceRoute(ctx, scope, in), "InvalidParameterValue", "cannot become local")
	in.Local, in.Gateway, in.NAT = false, "", string(r.nat)
	r.must(r.ReplaceRoute(ctx, scope, in))
	if routes := r.routes(); len(routes) != 2 || routes[1].Kind != app.TargetNAT || routes[1].Target != string(r.nat) {
		t.Errorf("got %+v", routes)
	}
	in.NAT = "nat-x"
	fails(t, r.ReplaceRoute(ctx, scope, in), "InvalidNatGatewayID.NotFound", "nat-x")
	local := RouteInput{Table: r.table, CIDR: "10.0.0.0/16", Local: true}
	r.must(r.ReplaceRoute(ctx, scope, local))
	fails(t, r.DeleteRoute(ctx, scope, local), "InvalidParameterValue", "cannot remove local route 10.0.0.0/16 in route table "+string(r.table))
	local.Local, local.Interface = false, string(r.eni.ID)
	fails(t, r.ReplaceRoute(ctx, scope, local), "InvalidParameterValue", "local route")
	r.must(r.DeleteRoute(ctx, scope, in))
	r.must(r.CreateRoute(ctx, scope, RouteInput{Table: r.table, PrefixList: r.list, Gateway: string(r.igw)}))
	r.must(r.DeleteRoute(ctx, scope, RouteInput{Table: r.table, PrefixList: r.list}))
	if routes := r.routes(); len(routes) != 1 {
		t.Errorf("got %+v", routes)
	}
}

// A route to a prefix list counts for all entries that the list may have.
func TestRouteQuota(t *testing.T) {
	r := newRouting(t, Quotas{RoutesPerTable: 4})
	to := func(cidr string) error {
		return r.CreateRoute(ctx, scope, RouteInput{Table: r.table, CIDR: cidr, NAT: string(r.nat)})
	}
	r.must(to("10.1.0.0/16"))
	r.must(to("10.2.0.0/16"))
	fails(t, r.CreateRoute(ctx, scope, RouteInput{Table: r.table, PrefixList: r.list, NAT: string(r.nat)}), "RouteLimitExceeded", "5")
	r.must(r.DeleteRoute(ctx, scope, RouteInput{Table: r.table, CIDR: "10.2.0.0/16"}))
	r.must(r.CreateRoute(ctx, scope, RouteInput{Table: r.table, PrefixList: r.list, NAT: string(r.nat)}))
	fails(t, to("10.3.0.0/16"), "RouteLimitExceeded", "4")
}

func TestLANs(t *testing.T) {
	b := newBench(t, Quotas{LANs: 2})
	vpc := b.vpc("10.0.0.0/16")
	blocks := func(texts ...string) (out []netip.Prefix) {
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	via := netip.MustParseAddr("192.168.1.1")
	for _, c := range []struct {
		in          AttachLANInput
		code, words string
	}{
		{AttachLANInput{CIDRs: blocks("192.168.7.0/24")}, "InvalidParameterCombination", "Exactly one"},
		{AttachLANInput{Interface: "eth1", Via: via, CIDRs: blocks("192.168.7.0/24")}, "InvalidParameterCombination", "Exactly one"},
		{AttachLANInput{Interface: "eth1"}, "InvalidParameterValue", "0 blocks"},
		{AttachLANInput{Interface: "a b", CIDRs: blocks("192.168.7.0/24")}, "InvalidParameterValue", "a b"},
		{AttachLANInput{Interface: "lo", CIDRs: blocks("192.168.7.0/24")}, "InvalidParameterValue", "lo"},
		{AttachLANInput{Via: netip.MustParseAddr("127.0.0.1"), CIDRs: blocks("192.168.7.0/24")}, "InvalidParameterValue", "127.0.0.1"},
		{AttachLANInput{Via: netip.MustParseAddr("fe80::1"), CIDRs: blocks("192.168.7.0/24")}, "InvalidParameterValue", "fe80::1"},
		{AttachLANInput{Via: via, CIDRs: blocks("fd00::/64")}, "InvalidParameterValue", "fd00::/64"},
		{AttachLANInput{Via: via, CIDRs: blocks("127.0.0.0/8")}, "InvalidParameterValue", "127.0.0.0/8"},
		{AttachLANInput{Via: via, CIDRs: blocks("169.254.0.0/24")}, "InvalidParameterValue", "169.254.0.0/16"},
		{AttachLANInput{Via: via, CIDRs: blocks("224.0.0.0/8")}, "InvalidParameterValue", "224.0.0.0/3"},
		{AttachLANInput{Via: via, CIDRs: blocks("100.80.0.0/16")}, "InvalidParameterValue", "100.64.0.0/10"},
		{AttachLANInput{Via: via, CIDRs: blocks("0.0.0.0/0")}, "InvalidParameterValue", "0.0.0.0"},
		{AttachLANInput{Via: via, CIDRs: blocks("10.0.0.0/8")}, "InvalidParameterValue", "10.0.0.0/16, a block of"},
		{AttachLANInput{Via: via, CIDRs: blocks("192.168.0.0/16", "192.168.7.0/24")}, "InvalidParameterValue", "overlaps another"},
	} {
		c.in.VPC = vpc
		_, err := b.AttachLAN(ctx, scope, c.in)
		fails(t, err, c.code, c.words)
	}
	_, err := b.AttachLAN(ctx, scope, AttachLANInput{VPC: "vpc-x", Via: via, CIDRs: blocks("192.168.7.0/24")})
	fails(t, err, "InvalidVpcID.NotFound", "vpc-x")
	first, err := b.AttachLAN(ctx, scope, AttachLANInput{VPC: vpc, Via: via, CIDRs: blocks("192.168.7.9/24")})
	if err != nil || !slices.Equal(first.CIDRs, blocks("192.168.7.0/24")) || first.Via != via || !first.CreatedAt.Equal(b.now) {
		t.Fatalf("got %+v, %v", first, err)
	}
	_, err = b.AttachLAN(ctx, scope, AttachLANInput{VPC: vpc, Interface: "eth1", CIDRs: blocks("192.168.7.0/24")})
	fails(t, err, "InvalidParameterValue", string(first.ID))
	_, err = b.AssociateVPCBlock(ctx, scope, vpc, "192.168.0.0/16")
	fails(t, err, "CidrConflict", string(first.ID))
	_, err = b.AttachLAN(ctx, scope, AttachLANInput{VPC: vpc, Interface: "eth1.20", CIDRs: blocks("192.168.8.0/24")})
	b.must(err)
	_, err = b.AttachLAN(ctx, scope, AttachLANInput{VPC: vpc, Interface: "eth2", CIDRs: blocks("192.168.9.0/24")})
	fails(t, err, "LanLimitExceeded", "2")
	fails(t, b.DeleteVPC(ctx, scope, vpc), "DependencyViolation", "lan-")
	fails(t, b.DetachLAN(ctx, other, first.ID), "InvalidLanID.NotFound", string(first.ID))
	b.must(b.DetachLAN(ctx, scope, first.ID))
	if left, err := b.ListLANs(ctx, scope); err != nil || len(left) != 1 || left[0].Interface != "eth1.20" {
		t.Errorf("got %+v, %v", left, err)
	}
}

// Rows that other transactions hold are never changed in place, whatever is done to what they describe.
func TestRoutingRowsAreValues(t *testing.T) {
	r := newRouting(t)
	r.must(r.ModifyVPCAttribute(ctx, scope, r.vpc, VPCAttributes{DNSHostnames: new(true)}))
	acl, err := r.CreateACL(ctx, scope, r.vpc, "", nil)
	r.must(err)
	r.must(r.CreateACLEntry(ctx, scope, acl.ID, ACLEntryInput{Number: 9, Protocol: "-1", CIDR: "0.0.0.0/0"}))
	r.must(r.CreateRoute(ctx, scope, RouteInput{Table: r.table, CIDR: "10.9.0.0/16", NAT: string(r.nat)}))
	e, err := r.CreateEndpoint(ctx, scope, CreateEndpointInput{VPC: r.vpc, Service: ecrAPI, Type: EndpointInterface, Subnets: []app.SubnetID{r.eni.Subnet}})
	r.must(err)
	bound, err := r.AssociateTable(ctx, scope, r.table, r.eni.Subnet)
	r.must(err)
	host := r.hostWith(r.iface(r.eni.Subnet))
	err = r.store.View(ctx, func(tx *store.Tx) error {
		rows := func() []any {
			table, _ := store.RouteTables.Get(tx, r.table)
			list, _ := store.NetworkACLs.Get(tx, acl.ID)
			ni, _ := store.NetworkInterfaces.Get(tx, r.eni.ID)
			endpoint, _ := store.Endpoints.Get(tx, e.ID)
			h, _ := store.Hosts.Get(tx, host)
			return []any{table.Routes, table.Associations, list.Entries, list.Associations, ni.Addresses, ni.Groups, endpoint.Subnets, endpoint.Interfaces, endpoint.Groups, h.Interfaces}
		}
		before := fmt.Sprint(rows()...)
		var standard app.NetworkACL
		r.read(func(tx *store.Tx) { standard = defaultACL(tx, r.vpc) })
		_, attached := r.AttachInterface(ctx, scope, r.eni.ID, host, 1)
		_, assigned := r.AssignAddresses(ctx, scope, r.eni.ID, nil, 2, false)
		_, guarded := r.ReplaceACLAssociation(ctx, scope, standard.Associations[0].ID, acl.ID)
		err := errors.Join(attached, assigned, guarded,
			r.ReplaceRoute(ctx, scope, RouteInput{Table: r.table, CIDR: "10.9.0.0/16", Gateway: string(r.igw)}),
			r.DeleteRoute(ctx, scope, RouteInput{Table: r.table, CIDR: "10.9.0.0/16"}),
			r.DisassociateTable(ctx, scope, bound),
			r.ReplaceACLEntry(ctx, scope, acl.ID, ACLEntryInput{Number: 9, Allow: true, Protocol: "6", CIDR: "0.0.0.0/0", From: new(1), To: new(2)}),
			r.CreateACLEntry(ctx, scope, acl.ID, ACLEntryInput{Number: 3, Protocol: "-1", CIDR: "0.0.0.0/0"}),
			r.DeleteACLEntry(ctx, scope, acl.ID, 9, false),
			r.ModifyEndpoint(ctx, scope, e.ID, EndpointChanges{RemoveSubnets: e.Subnets}),
		)
		if after := fmt.Sprint(rows()...); after != before {
			t.Errorf("an older snapshot changed:\n%s\n%s", before, after)
		}
		return err
	})
	r.must(err)
}

// What fails at its commit has left nothing, and succeeds when it is tried again.
func TestFailedRoutingCommits(t *testing.T) {
	r := newRouting(t)
	lost := errors.New("the disk is gone")
	for name, do := range map[string]func() error{
		"CreateGateway":   func() error { _, err := r.CreateGateway(ctx, scope, app.Tags{"a": "b"}); return err },
		"AllocateAddress": func() error { _, err := r.AllocateAddress(ctx, scope, "198.19.1.1", app.Tags{"a": "b"}); return err },
		"CreateNAT": func() error {
			_, err := r.CreateNAT(ctx, scope, CreateNATInput{Subnet: r.eni.Subnet, Private: true})
			return err
		},
		"CreateEndpoint": func() error {
			_, err := r.CreateEndpoint(ctx, scope, CreateEndpointInput{VPC: r.vpc, Service: ecrAPI, Type: EndpointInterface, Subnets: []app.SubnetID{r.eni.Subnet}, PrivateDNS: new(false)})
			return err
		},
		"DeleteNAT": func() error { return r.DeleteNAT(ctx, scope, r.nat) },
		"CreateRoute": func() error {
			return r.CreateRoute(ctx, scope, RouteInput{Table: r.table, CIDR: "10.9.0.0/16", Gateway: string(r.igw)})
		},
	} {
		counts := func() (out [6]int) {
			r.read(func(tx *store.Tx) {
				deleted := 0
				for g := range store.NATGateways.All(tx) {
					if !g.DeletedAt.IsZero() {
						deleted++
					}
				}
				table, _ := store.RouteTables.Get(tx, r.table)
				out = [6]int{store.InternetGateways.Len(tx), store.ElasticIPs.Len(tx), store.NATGateways.Len(tx) + 100*deleted, store.NetworkInterfaces.Len(tx), store.Endpoints.Len(tx) + 100*store.TagSets.Len(tx), len(table.Routes)}
			})
			return out
		}
		before := counts()
		off := failpoint.Enable("store/before-commit", func() error { return lost })
		if err := do(); !errors.Is(err, lost) {
			t.Errorf("%s: got %v", name, err)
		}
		off()
		if after := counts(); after != before {
			t.Errorf("%s left rows: %v then %v", name, before, after)
		}
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := counts(); after == before {
			t.Errorf("%s did nothing", name)
		}
	}
}
