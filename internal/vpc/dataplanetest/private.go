package dataplanetest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// The private network of the suite: a client and a server, whose port 80 is open to the client's group.
const (
	privateVPC    = app.VPCID("vpc-0000000000000d00d")
	privateSubnet = app.SubnetID("subnet-0000000000000d00d")
	privateTable  = app.RouteTableID("rtb-0000000000000d00d")
	clientGroup   = app.GroupID("sg-0000000000000d0c1")
	serverGroup   = app.GroupID("sg-0000000000000d05e")
)

// silence is how long a connection that is dropped may take to fail.
const silence = 400 * time.Millisecond

func privateRows() (vpc.Snapshot, vpc.Interface, vpc.Interface) {
	block := netip.MustParsePrefix("10.77.0.0/16")
	subnet := netip.MustParsePrefix("10.77.1.0/24")
	s := vpc.Snapshot{
		VPCs: []app.VPC{{ID: privateVPC, CIDR: block, DNSSupport: true}}, Slots: map[app.VPCID]int{privateVPC: 7},
		Subnets: []app.Subnet{{ID: privateSubnet, VPC: privateVPC, CIDR: subnet}},
		RouteTables: []app.RouteTable{{ID: privateTable, VPC: privateVPC, Associations: []app.TableAssociation{{ID: "rtbassoc-1", Main: true}},
			Routes: []app.Route{{CIDR: block, Kind: app.TargetLocal}}}},
		Groups: []app.SecurityGroup{{ID: clientGroup, VPC: privateVPC}, {ID: serverGroup, VPC: privateVPC}},
		Rules: []app.SecurityGroupRule{
			{ID: "sgr-1", Group: clientGroup, Egress: true, Protocol: -1, FromPort: -1, ToPort: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")},
			{ID: "sgr-2", Group: serverGroup, Protocol: 6, FromPort: 80, ToPort: 80, Peer: clientGroup},
		},
		Names: map[app.VPCID]map[string][]netip.Addr{privateVPC: {"db.example.internal": {netip.MustParseAddr("10.77.1.20")}}},
	}
	row := func(index int, address string, group app.GroupID) vpc.Interface {
		i, a := Interface(index), netip.MustParseAddr(address)
		id := app.InterfaceID("eni-0000000000000d0" + address[len(address)-2:])
		s.Interfaces = append(s.Interfaces, app.NetworkInterface{
			ID: id, Kind: app.InterfaceOfInstance, VPC: privateVPC, Subnet: privateSubnet, Addresses: []netip.Addr{a},
			Groups: []app.GroupID{group}, MAC: "02:00:00:00:0d:" + address[len(address)-2:], SourceDestCheck: true, Owner: string(i.Instance),
		})
		i.ENIs = []vpc.ENI{{ID: id, VPC: privateVPC, Addresses: []netip.Addr{a}, Subnet: subnet, MAC: "02:00:00:00:0d:" + address[len(address)-2:],
			Resolvers: []netip.Addr{netip.MustParseAddr("10.77.0.2")}}}
		return i
	}
	return s, row(1, "10.77.1.10", clientGroup), row(2, "10.77.1.20", serverGroup)
}

// privateNetwork goes through the life of interfaces in a VPC.
func privateNetwork(t *testing.T, w World) {
	d, s := w.Open(t)
	rows, client, server := privateRows()
	if a, err := d.Attach(t.Context(), client); err == nil {
		t.Errorf("Attach before Program = %+v, want an error", a)
	}
	ruleset := vpc.Compile(rows)
	program(t, d, ruleset)
	a, b := attach(t, d, client), attach(t, d, server)
	if !slices.Equal(a.Resolvers, client.ENIs[0].Resolvers) {
		t.Errorf("Resolvers = %v, want %v", a.Resolvers, client.ENIs[0].Resolvers)
	}
	w.Serve(t, b, 80, "hello")
	w.Serve(t, b, 81, "hello")
	expectInside(t, s, a, "10.77.1.20:80", true)
	expectInside(t, s, a, "10.77.1.20:81", false)
	expectInside(t, s, b, "10.77.1.10:80", false)
	expectGreeting(t, s, b, 80, "hello") // the router does not go through the VPC
	expectName(t, s, a)
	before := list(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, s = open(t, w)
	if got := list(t, d); !reflect.DeepEqual(got, before) {
		t.Errorf("List after a restart = %+v, before %+v", got, before)
	}
	program(t, d, ruleset)
	if again := attach(t, d, client); !reflect.DeepEqual(again, a) {
		t.Errorf("Attach after a restart = %+v, before %+v", again, a)
	}
	expectInside(t, s, a, "10.77.1.20:80", true)
	rows.Rules = rows.Rules[:1]
	program(t, d, vpc.Compile(rows))
	expectInside(t, s, a, "10.77.1.20:80", false)
	for _, i := range []vpc.Interface{client, server} {
		if err := d.Detach(t.Context(), i.ID); err != nil {
			t.Error(err)
		}
	}
	program(t, d, &vpc.Ruleset{})
	if got := list(t, d); len(got) != 0 {
		t.Errorf("List at the end = %+v", got)
	}
}

func program(t *testing.T, d vpc.Dataplane, r *vpc.Ruleset) {
	t.Helper()
	if err := d.Program(t.Context(), r); err != nil {
		t.Fatalf("Program: %v", err)
	}
}

func expectInside(t *testing.T, s vpc.Sockets, from vpc.Attachment, to string, want bool) {
	t.Helper()
	wait := silence
	if want {
		wait = patience
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	c, err := s.(vpc.Inside).DialFrom(ctx, from.ID, netip.MustParseAddrPort(to))
	if (err == nil) != want {
		t.Errorf("DialFrom %s to %s: %v, want it to connect: %v", from.ID, to, err, want)
	}
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("DialFrom %s to %s reads %q, %v", from.ID, to, got, err)
	}
}

func expectName(t *testing.T, s vpc.Sockets, from vpc.Attachment) {
	t.Helper()
	inside := s.(vpc.Inside)
	if got, err := inside.LookupFrom(t.Context(), from.ID, "DB.example.internal"); err != nil || len(got) != 1 || got[0].String() != "10.77.1.20" {
		t.Errorf("LookupFrom = %v, %v", got, err)
	}
	var missing *net.DNSError
	if got, err := inside.LookupFrom(t.Context(), from.ID, "unknown.compute.internal"); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("LookupFrom of an unknown name = %v, %v", got, err)
	}
}
