package ec2

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

const (
	ecrAPI = "com.amazonaws.us-east-1.ecr.api"
	s3     = "com.amazonaws.us-east-1.s3"
)

// named makes a VPC whose hosts have names.
func (b *bench) named(cidr string) app.VPCID {
	id := b.vpc(cidr)
	b.must(b.ModifyVPCAttribute(ctx, scope, id, VPCAttributes{DNSHostnames: new(true)}))
	return id
}

func TestInterfaceEndpoints(t *testing.T) {
	b := newBench(t, Quotas{EndpointsPerVPC: 2})
	vpc := b.named("10.0.0.0/16")
	subnet := b.subnet(vpc, "10.0.1.0/24")
	same := b.subnet(vpc, "10.0.2.0/24")
	second, err := b.CreateSubnet(ctx, scope, CreateSubnetInput{VPC: vpc, CIDR: "10.0.3.0/24", Zone: "us-east-1b"})
	b.must(err)
	group, err := b.CreateGroup(ctx, scope, CreateGroupInput{Name: "g", Description: "g", VPC: vpc})
	b.must(err)
	in := CreateEndpointInput{
		VPC: vpc, Service: ecrAPI, Type: EndpointInterface, Subnets: []app.SubnetID{subnet, second.ID}, Groups: []app.GroupID{group.ID}, ClientToken: "t",
		Addresses: map[app.SubnetID]netip.Addr{second.ID: netip.MustParseAddr("10.0.3.33")}, Tags: app.Tags{"Name": "n"},
	}
	e, err := b.CreateEndpoint(ctx, scope, in)
	if err != nil || !e.PrivateDNS || e.Policy != openPolicy || len(e.Interfaces) != 2 || !slices.Equal(e.Subnets, in.Subnets) || e.Groups[0].ID != group.ID || !slices.Equal(e.Zones, []string{"us-east-1a", "us-east-1b"}) || e.Tags["Name"] != "n" {
		t.Fatalf("got %+v, %v", e, err)
	}
	ni, err := b.Interface(ctx, scope, e.Interfaces[1])
	if err != nil || ni.Kind != app.InterfaceOfEndpoint || ni.Owner != string(e.ID) || ni.Addresses[0].String() != "10.0.3.33" || ni.Groups[0].ID != group.ID {
		t.Errorf("got %+v, %v", ni, err)
	}
	fails(t, b.DeleteInterface(ctx, scope, ni.ID), "OperationNotPermitted", string(e.ID))
	if again, err := b.CreateEndpoint(ctx, scope, in); err != nil || again.ID != e.ID {
		t.Errorf("the same token made %+v, %v", again, err)
	}
	in.Service = s3
	_, err = b.CreateEndpoint(ctx, scope, in)
	fails(t, err, "IdempotentParameterMismatch", "t")

	plain := b.named("10.1.0.0/16")
	foreign := b.subnet(plain, "10.1.1.0/24")
	quiet := b.vpc("10.2.0.0/16")
	ok := CreateEndpointInput{VPC: vpc, Service: ecrAPI, Type: EndpointInterface, Subnets: []app.SubnetID{subnet}, PrivateDNS: new(false)}
	for _, c := range []struct {
		change      func(*CreateEndpointInput)
		code, words string
	}{
		{func(in *CreateEndpointInput) { in.VPC = "vpc-x" }, "InvalidVpcID.NotFound", "vpc-x"},
		{func(in *CreateEndpointInput) { in.Service = "com.amazonaws.us-east-1.x" }, "InvalidServiceName", "The Vpc Endpoint Service 'com.amazonaws.us-east-1.x' does not exist"},
		{func(in *CreateEndpointInput) { in.Type = "GatewayLoadBalancer" }, "InvalidParameter", "GatewayLoadBalancer"},
		{func(in *CreateEndpointInput) { in.Type = "" }, "InvalidParameter", "does not match"},
		{func(in *CreateEndpointInput) { in.RouteTables = []app.RouteTableID{"rtb-x"} }, "InvalidParameter", "RouteTableIds"},
		{func(in *CreateEndpointInput) { in.Subnets = []app.SubnetID{"subnet-x"} }, "InvalidSubnetID.NotFound", "subnet-x"},
		{func(in *CreateEndpointInput) { in.Subnets = []app.SubnetID{foreign} }, "InvalidParameter", string(foreign)},
		{func(in *CreateEndpointInput) { in.Subnets = []app.SubnetID{subnet, same} }, "DuplicateSubnetsInSameZone", string(same)},
		{func(in *CreateEndpointInput) { in.Groups = []app.GroupID{"sg-x"} }, "InvalidGroup.NotFound", "sg-x"},
		{func(in *CreateEndpointInput) { in.Policy = "{" }, "InvalidPolicyDocument", "JSON"},
		{func(in *CreateEndpointInput) { in.Addresses = map[app.SubnetID]netip.Addr{second.ID: {}} }, "InvalidParameter", string(second.ID)},
		{func(in *CreateEndpointInput) {
			in.Addresses = map[app.SubnetID]netip.Addr{subnet: netip.MustParseAddr("10.0.1.1")}
		}, "InvalidParameterValue", "reserved"},
		{func(in *CreateEndpointInput) { in.PrivateDNS = nil }, "InvalidParameter", "conflicting DNS domain"},
		{func(in *CreateEndpointInput) { in.PrivateDNS, in.VPC, in.Subnets = nil, quiet, nil }, "InvalidParameter", "enableDnsHostnames"},
	} {
		in := ok
		c.change(&in)
		_, err := b.CreateEndpoint(ctx, scope, in)
		fails(t, err, c.code, c.words)
	}
	b.read(func(tx *store.Tx) {
		if n := store.NetworkInterfaces.Len(tx); n != 2 {
			t.Errorf("failed calls left interfaces: %d", n)
		}
	})
	bare, err := b.CreateEndpoint(ctx, scope, CreateEndpointInput{VPC: vpc, Service: s3, Type: EndpointInterface, PrivateDNS: new(false)})
	if err != nil || bare.Groups[0].Name != "default" || len(bare.Interfaces) != 0 {
		t.Errorf("got %+v, %v", bare, err)
	}
	_, err = b.CreateEndpoint(ctx, scope, ok)
	fails(t, err, "VpcEndpointLimitExceeded", "2")
	testModifyEndpoint(b, e, same, group.ID)
}

// testModifyEndpoint moves an endpoint with two subnets to another group and one subnet, and removes it.
func testModifyEndpoint(b *bench, e EndpointDetail, same app.SubnetID, group app.GroupID) {
	t := b.t
	var standard app.SecurityGroup
	b.read(func(tx *store.Tx) { standard, _ = groupNamed(tx, e.VPC, defaultGroup) })
	change := func(in EndpointChanges) error { return b.ModifyEndpoint(ctx, scope, e.ID, in) }
	fails(t, change(EndpointChanges{ResetPolicy: true, Policy: "{}"}), "InvalidParameterCombination", "ResetPolicy")
	fails(t, change(EndpointChanges{Policy: "}"}), "InvalidPolicyDocument", "JSON")
	fails(t, change(EndpointChanges{AddTables: []app.RouteTableID{"rtb-x"}}), "InvalidParameter", "route tables")
	fails(t, change(EndpointChanges{RemoveGroups: []app.GroupID{group}}), "InvalidParameter", "needs a security group")
	fails(t, change(EndpointChanges{AddSubnets: []app.SubnetID{same}}), "DuplicateSubnetsInSameZone", string(same))
	fails(t, b.ModifyEndpoint(ctx, scope, "vpce-x", EndpointChanges{}), "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id 'vpce-x' does not exist")
	b.must(change(EndpointChanges{
		Policy: `{"Version":"2012-10-17"}`, AddGroups: []app.GroupID{standard.ID}, RemoveGroups: []app.GroupID{group}, RemoveSubnets: e.Subnets[:1], AddSubnets: []app.SubnetID{same}, PrivateDNS: new(false),
	}))
	all, err := b.DescribeEndpoints(ctx, scope)
	b.must(err)
	got := all[slices.IndexFunc(all, func(x EndpointDetail) bool { return x.ID == e.ID })]
	if !slices.Equal(got.Subnets, []app.SubnetID{e.Subnets[1], same}) || len(got.Interfaces) != 2 || got.Groups[0].ID != standard.ID || got.PrivateDNS || !strings.Contains(got.Policy, "2012") {
		t.Errorf("got %+v", got)
	}
	for _, id := range got.Interfaces {
		if ni, err := b.Interface(ctx, scope, id); err != nil || len(ni.Groups) != 1 || ni.Groups[0].ID != standard.ID {
			t.Errorf("got %+v, %v", ni, err)
		}
	}
	b.must(b.DeleteGroup(ctx, scope, GroupRef{ID: group}))
	b.must(change(EndpointChanges{ResetPolicy: true}))
	fails(t, b.DeleteVPC(ctx, scope, e.VPC), "DependencyViolation", "subnet-")
	failed, err := b.DeleteEndpoints(ctx, scope, []app.EndpointID{"vpce-x", e.ID, e.ID})
	var refused *app.Error
	if err != nil || len(failed) != 2 || !errors.As(failed["vpce-x"], &refused) || refused.Code != "InvalidVpcEndpoint.NotFound" {
		t.Errorf("got %v, %v", failed, err)
	}
	b.read(func(tx *store.Tx) {
		if n := store.NetworkInterfaces.Len(tx); n != 0 || store.TagSets.Len(tx) != 0 {
			t.Errorf("%d interfaces or tags were left", n)
		}
	})
}

func TestGatewayEndpoints(t *testing.T) {
	b := newBench(t)
	vpc := b.vpc("10.0.0.0/16")
	table, err := b.CreateTable(ctx, scope, vpc, "", nil)
	b.must(err)
	more, err := b.CreateTable(ctx, scope, vpc, "", nil)
	b.must(err)
	foreign, err := b.CreateTable(ctx, scope, b.vpc("10.1.0.0/16"), "", nil)
	b.must(err)
	in := CreateEndpointInput{VPC: vpc, Service: s3, RouteTables: []app.RouteTableID{table.ID}}
	e, err := b.CreateEndpoint(ctx, scope, in)
	if err != nil || e.Type != EndpointGateway || !slices.Equal(e.RouteTables, in.RouteTables) || len(e.Interfaces) != 0 || e.PrivateDNS {
		t.Fatalf("got %+v, %v", e, err)
	}
	_, err = b.CreateEndpoint(ctx, scope, in)
	fails(t, err, "RouteAlreadyExists", string(e.ID))
	in.Subnets, in.RouteTables = []app.SubnetID{"subnet-x"}, nil
	_, err = b.CreateEndpoint(ctx, scope, in)
	fails(t, err, "InvalidParameter", "RouteTableIds")
	change := func(in EndpointChanges) error { return b.ModifyEndpoint(ctx, scope, e.ID, in) }
	fails(t, change(EndpointChanges{AddTables: []app.RouteTableID{"rtb-x"}}), "InvalidRouteTableID.NotFound", "rtb-x")
	fails(t, change(EndpointChanges{AddTables: []app.RouteTableID{foreign.ID}}), "InvalidParameter", string(foreign.ID))
	fails(t, change(EndpointChanges{AddGroups: []app.GroupID{"sg-x"}}), "InvalidParameter", "type Gateway")
	b.must(change(EndpointChanges{AddTables: []app.RouteTableID{more.ID, more.ID}, RemoveTables: []app.RouteTableID{table.ID}, PrivateDNS: new(false)}))
	b.must(b.DeleteTable(ctx, scope, table.ID))
	if all, err := b.DescribeEndpoints(ctx, scope); err != nil || !slices.Equal(all[0].RouteTables, []app.RouteTableID{more.ID}) {
		t.Errorf("got %+v, %v", all, err)
	}
	b.must(b.DeleteTable(ctx, scope, more.ID)) // takes itself out of the endpoint
	if all, err := b.DescribeEndpoints(ctx, scope); err != nil || len(all[0].RouteTables) != 0 {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestServices(t *testing.T) {
	names := map[string]string{}
	for _, s := range Services("eu-west-1") {
		names[s.Name] = s.PrivateName
	}
	for service, want := range map[string]string{"ecr.api": "api.ecr.eu-west-1.amazonaws.com", "ecr.dkr": "*.dkr.ecr.eu-west-1.amazonaws.com", "s3": "s3.eu-west-1.amazonaws.com"} {
		if got := names["com.amazonaws.eu-west-1."+service]; got != want {
			t.Errorf("%s answers at %q, want %q", service, got, want)
		}
	}
}
