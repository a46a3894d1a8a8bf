package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// subnet makes a subnet in zone a.
func (a *api) subnet(vpc, cidr string) string {
	a.t.Helper()
	out, err := a.ec2Client().CreateSubnet(a.t.Context(), &sdkec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: &cidr, AvailabilityZone: aws.String("us-east-1a")})
	if err != nil {
		a.t.Fatal(err)
	}
	return *out.Subnet.SubnetId
}

// gateway makes an internet gateway and attaches it.
func (a *api) gateway(vpc string) string {
	a.t.Helper()
	out, err := a.ec2Client().CreateInternetGateway(a.t.Context(), &sdkec2.CreateInternetGatewayInput{TagSpecifications: tagged("internet-gateway", "Name", "way out")})
	if err == nil {
		_, err = a.ec2Client().AttachInternetGateway(a.t.Context(), &sdkec2.AttachInternetGatewayInput{InternetGatewayId: out.InternetGateway.InternetGatewayId, VpcId: &vpc})
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return *out.InternetGateway.InternetGatewayId
}

// address allocates an Elastic IP and returns its id and the address.
func (a *api) address() (id, public string) {
	a.t.Helper()
	out, err := a.ec2Client().AllocateAddress(a.t.Context(), &sdkec2.AllocateAddressInput{Domain: "vpc", TagSpecifications: tagged("elastic-ip", "Name", "out")})
	if err != nil {
		a.t.Fatal(err)
	}
	if out.Domain != "vpc" || *out.PublicIpv4Pool != "amazon" || *out.NetworkBorderGroup != region {
		a.t.Errorf("got %+v", out)
	}
	return *out.AllocationId, *out.PublicIp
}

// filtered runs a Describe operation once for each filter and checks that it finds one object, whose id it returns.
func filtered(t *testing.T, want string, find func([]ec2types.Filter) ([]string, error), filters ...[]ec2types.Filter) {
	t.Helper()
	for _, f := range filters {
		got, err := find(f)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("filter %s %q finds %q, %v; want %s", *f[0].Name, f[0].Values, got, err, want)
		}
	}
	for _, f := range filters {
		none := append([]ec2types.Filter{filter(*f[0].Name, "nothing")}, f[1:]...)
		if got, err := find(none); err != nil || len(got) != 0 {
			t.Errorf("filter %s=nothing finds %q, %v", *f[0].Name, got, err)
		}
	}
	_, err := find([]ec2types.Filter{filter("color", "red")})
	wantError(t, err, "InvalidParameterValue", "The filter 'color' is invalid")
}

func TestInternetGateways(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	id := a.gateway(vpc)
	got, err := c.DescribeInternetGateways(ctx, &sdkec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{id}})
	if err != nil || len(got.InternetGateways) != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if g := got.InternetGateways[0]; *g.OwnerId != account || len(g.Attachments) != 1 || g.Attachments[0].State != "available" || *g.Attachments[0].VpcId != vpc || *g.Tags[0].Value != "way out" {
		t.Errorf("got %+v", g)
	}
	filtered(t, id, func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeInternetGateways(ctx, &sdkec2.DescribeInternetGatewaysInput{Filters: f})
		if err == nil {
			for _, g := range out.InternetGateways {
				ids = append(ids, *g.InternetGatewayId)
			}
		}
		return ids, err
	}, []ec2types.Filter{filter("attachment.vpc-id", vpc)}, []ec2types.Filter{filter("internet-gateway-id", id)}, []ec2types.Filter{filter("tag:Name", "way*")},
		[]ec2types.Filter{filter("attachment.state", "available"), filter("attachment.vpc-id", vpc)}, []ec2types.Filter{filter("owner-id", account), filter("tag-key", "Name")})
	_, err = c.DescribeInternetGateways(ctx, &sdkec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{"igw-0"}})
	wantError(t, err, "InvalidInternetGatewayID.NotFound", "The internetGateway ID 'igw-0' does not exist")
	_, err = c.DeleteInternetGateway(ctx, &sdkec2.DeleteInternetGatewayInput{InternetGatewayId: &id})
	wantError(t, err, "DependencyViolation", vpc)
	_, err = c.DetachInternetGateway(ctx, &sdkec2.DetachInternetGatewayInput{InternetGatewayId: &id, VpcId: &vpc, DryRun: aws.Bool(true)})
	wantError(t, err, "DryRunOperation", "would have succeeded")
	if _, err := c.DetachInternetGateway(ctx, &sdkec2.DetachInternetGatewayInput{InternetGatewayId: &id, VpcId: &vpc}); err != nil {
		t.Error(err)
	}
	if got, err := c.DescribeInternetGateways(ctx, &sdkec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{id}}); err != nil || len(got.InternetGateways[0].Attachments) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.DeleteInternetGateway(ctx, &sdkec2.DeleteInternetGatewayInput{InternetGatewayId: &id}); err != nil {
		t.Error(err)
	}
	_, err = c.CreateInternetGateway(ctx, &sdkec2.CreateInternetGatewayInput{TagSpecifications: tagged("vpc", "a", "b")})
	wantError(t, err, "InvalidParameterValue", "not a valid taggable resource type")
}

func TestNATGatewaysAndAddresses(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	subnet := a.subnet(vpc, "10.0.1.0/24")
	a.gateway(vpc)
	eip, public := a.address()
	made, err := c.CreateNatGateway(ctx, &sdkec2.CreateNatGatewayInput{
		SubnetId: &subnet, AllocationId: &eip, ConnectivityType: "public", ClientToken: aws.String("t"), TagSpecifications: tagged("natgateway", "Name", "nat"),
	})
	if err != nil {
		t.Fatal(err)
	}
	g := made.NatGateway
	if n := g.NatGatewayAddresses[0]; g.State != "available" || g.ConnectivityType != "public" || *g.SubnetId != subnet || *g.VpcId != vpc || *n.AllocationId != eip || *n.PublicIp != public || !*n.IsPrimary ||
		*n.PrivateIp == "" || n.Status != "succeeded" || *n.AssociationId == "" || *g.Tags[0].Value != "nat" || *made.ClientToken != "t" {
		t.Errorf("got %+v", g)
	}
	id, ni := *g.NatGatewayId, *g.NatGatewayAddresses[0].NetworkInterfaceId
	filtered(t, id, func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeNatGateways(ctx, &sdkec2.DescribeNatGatewaysInput{Filter: f})
		if err == nil {
			for _, g := range out.NatGateways {
				ids = append(ids, *g.NatGatewayId)
			}
		}
		return ids, err
	}, []ec2types.Filter{filter("vpc-id", vpc)}, []ec2types.Filter{filter("subnet-id", subnet)}, []ec2types.Filter{filter("state", "pending", "available")}, []ec2types.Filter{filter("nat-gateway-id", id)}, []ec2types.Filter{filter("tag:Name", "nat")})
	filtered(t, eip, func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeAddresses(ctx, &sdkec2.DescribeAddressesInput{Filters: f})
		if err == nil {
			for _, e := range out.Addresses {
				ids = append(ids, *e.AllocationId)
			}
		}
		return ids, err
	}, []ec2types.Filter{filter("public-ip", public)}, []ec2types.Filter{filter("network-interface-id", ni)}, []ec2types.Filter{filter("domain", "vpc")}, []ec2types.Filter{filter("association-id", "eipassoc-*")},
		[]ec2types.Filter{filter("network-interface-owner-id", account)}, []ec2types.Filter{filter("private-ip-address", "10.0.1.*")}, []ec2types.Filter{filter("allocation-id", eip)}, []ec2types.Filter{filter("tag:Name", "out")})
	got, err := c.DescribeAddresses(ctx, &sdkec2.DescribeAddressesInput{PublicIps: []string{public}})
	if err != nil || len(got.Addresses) != 1 || *got.Addresses[0].NetworkInterfaceId != ni || got.Addresses[0].InstanceId != nil || got.Addresses[0].Domain != "vpc" || *got.Addresses[0].PrivateIpAddress == "" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = c.DescribeAddresses(ctx, &sdkec2.DescribeAddressesInput{PublicIps: []string{"198.18.0.9"}})
	wantError(t, err, "InvalidAddress.NotFound", "Address '198.18.0.9' not found.")
	_, err = c.DescribeAddresses(ctx, &sdkec2.DescribeAddressesInput{AllocationIds: []string{"eipalloc-0"}})
	wantError(t, err, "InvalidAllocationID.NotFound", "The allocation ID 'eipalloc-0' does not exist")
	attributes, err := c.DescribeAddressesAttribute(ctx, &sdkec2.DescribeAddressesAttributeInput{AllocationIds: []string{eip}, Attribute: "domain-name"})
	if err != nil || len(attributes.Addresses) != 1 || *attributes.Addresses[0].AllocationId != eip || attributes.Addresses[0].PtrRecord != nil {
		t.Errorf("got %+v, %v", attributes, err)
	}
	_, err = c.ReleaseAddress(ctx, &sdkec2.ReleaseAddressInput{AllocationId: &eip})
	wantError(t, err, "InvalidIPAddress.InUse", eip)
	_, err = c.CreateNatGateway(ctx, &sdkec2.CreateNatGatewayInput{SubnetId: &subnet, ConnectivityType: "private", PrivateIpAddress: aws.String("10.0.1")})
	wantError(t, err, "InvalidParameterValue", "10.0.1")
	_, err = c.CreateNatGateway(ctx, &sdkec2.CreateNatGatewayInput{SubnetId: &subnet, ConnectivityType: "private", SecondaryPrivateIpAddressCount: aws.Int32(2)})
	wantError(t, err, "InvalidParameterValue", "one address")
	if gone, err := c.DeleteNatGateway(ctx, &sdkec2.DeleteNatGatewayInput{NatGatewayId: &id}); err != nil || *gone.NatGatewayId != id {
		t.Errorf("got %+v, %v", gone, err)
	}
	shown, err := c.DescribeNatGateways(ctx, &sdkec2.DescribeNatGatewaysInput{NatGatewayIds: []string{id}})
	if err != nil || shown.NatGateways[0].State != "deleted" || shown.NatGateways[0].DeleteTime == nil {
		t.Errorf("got %+v, %v", shown, err)
	}
	_, err = c.DescribeNatGateways(ctx, &sdkec2.DescribeNatGatewaysInput{NatGatewayIds: []string{"nat-0"}})
	wantError(t, err, "NatGatewayNotFound", "nat-0")

	eni := a.networkInterface(subnet, "10.0.1.50")
	bound, err := c.AssociateAddress(ctx, &sdkec2.AssociateAddressInput{AllocationId: &eip, NetworkInterfaceId: &eni})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.DisassociateAddress(ctx, &sdkec2.DisassociateAddressInput{AssociationId: aws.String("eipassoc-0")})
	wantError(t, err, "InvalidAssociationID.NotFound", "eipassoc-0")
	if _, err := c.DisassociateAddress(ctx, &sdkec2.DisassociateAddressInput{AssociationId: bound.AssociationId}); err != nil {
		t.Error(err)
	}
	if _, err := c.ReleaseAddress(ctx, &sdkec2.ReleaseAddressInput{AllocationId: &eip}); err != nil {
		t.Error(err)
	}
	for _, in := range []*sdkec2.AllocateAddressInput{{Domain: "standard"}, {PublicIpv4Pool: aws.String("mine")}, {NetworkBorderGroup: aws.String("moon")}, {CustomerOwnedIpv4Pool: aws.String("x")}} {
		_, err := c.AllocateAddress(ctx, in)
		wantError(t, err, "InvalidParameterValue", "")
	}
}

// networkInterface makes a network interface with an address.
func (a *api) networkInterface(subnet, address string) string {
	a.t.Helper()
	out, err := a.ec2Client().CreateNetworkInterface(a.t.Context(), &sdkec2.CreateNetworkInterfaceInput{SubnetId: &subnet, PrivateIpAddress: &address})
	if err != nil {
		a.t.Fatal(err)
	}
	return *out.NetworkInterface.NetworkInterfaceId
}

func TestRouteTables(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	subnet := a.subnet(vpc, "10.0.1.0/24")
	igw, eni := a.gateway(vpc), a.networkInterface(subnet, "10.0.1.50")
	made, err := c.CreateRouteTable(ctx, &sdkec2.CreateRouteTableInput{VpcId: &vpc, ClientToken: aws.String("t"), TagSpecifications: tagged("route-table", "Name", "private")})
	if err != nil {
		t.Fatal(err)
	}
	table := made.RouteTable
	if r := table.Routes[0]; *table.OwnerId != account || len(table.Routes) != 1 || *r.GatewayId != "local" || *r.DestinationCidrBlock != "10.0.0.0/16" || r.Origin != "CreateRouteTable" || r.State != "active" || *table.Tags[0].Value != "private" {
		t.Errorf("got %+v", table)
	}
	id := *table.RouteTableId
	bound, err := c.AssociateRouteTable(ctx, &sdkec2.AssociateRouteTableInput{RouteTableId: &id, SubnetId: &subnet})
	if err != nil || bound.AssociationState.State != "associated" {
		t.Fatalf("got %+v, %v", bound, err)
	}
	for destination, in := range map[string]*sdkec2.CreateRouteInput{"0.0.0.0/0": {GatewayId: &igw}, "10.9.0.0/16": {NetworkInterfaceId: &eni}} {
		in.RouteTableId, in.DestinationCidrBlock = &id, &destination
		if out, err := c.CreateRoute(ctx, in); err != nil || !*out.Return {
			t.Errorf("got %+v, %v", out, err)
		}
		_, err := c.CreateRoute(ctx, in)
		wantError(t, err, "RouteAlreadyExists", destination)
	}
	got, err := c.DescribeRouteTables(ctx, &sdkec2.DescribeRouteTablesInput{RouteTableIds: []string{id}})
	if err != nil || len(got.RouteTables[0].Routes) != 3 {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, r := range got.RouteTables[0].Routes[1:] {
		switch *r.DestinationCidrBlock {
		case "0.0.0.0/0":
			if *r.GatewayId != igw || r.State != "active" || r.Origin != "CreateRoute" || r.NetworkInterfaceId != nil {
				t.Errorf("got %+v", r)
			}
		default: // the interface is attached to nothing
			if *r.NetworkInterfaceId != eni || r.State != "blackhole" || r.GatewayId != nil {
				t.Errorf("got %+v", r)
			}
		}
	}
	if x := got.RouteTables[0].Associations; len(x) != 1 || *x[0].SubnetId != subnet || *x[0].Main || *x[0].RouteTableId != id || *x[0].RouteTableAssociationId != *bound.AssociationId || x[0].AssociationState.State != "associated" {
		t.Errorf("got %+v", x)
	}
	find := func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeRouteTables(ctx, &sdkec2.DescribeRouteTablesInput{Filters: f})
		if err == nil {
			for _, r := range out.RouteTables {
				ids = append(ids, *r.RouteTableId)
			}
		}
		return ids, err
	}
	filtered(t, id, find, []ec2types.Filter{filter("association.subnet-id", subnet)}, []ec2types.Filter{filter("association.main", "false"), filter("vpc-id", vpc)},
		[]ec2types.Filter{filter("route.gateway-id", igw)}, []ec2types.Filter{filter("route.network-interface-id", eni)}, []ec2types.Filter{filter("route.state", "blackhole")},
		[]ec2types.Filter{filter("route.destination-cidr-block", "10.9.0.0/16")}, []ec2types.Filter{filter("route.origin", "CreateRoute"), filter("vpc-id", vpc)}, []ec2types.Filter{filter("route-table-id", id)},
		[]ec2types.Filter{filter("association.route-table-association-id", *bound.AssociationId)}, []ec2types.Filter{filter("association.route-table-id", id)}, []ec2types.Filter{filter("tag:Name", "private")})
	if main, err := find([]ec2types.Filter{filter("association.main", "true"), filter("vpc-id", vpc)}); err != nil || len(main) != 1 || main[0] == id {
		t.Errorf("the main table is %q, %v", main, err)
	}
	testRouteErrors(t, c, id, igw, eni)
	if _, err := c.DisassociateRouteTable(ctx, &sdkec2.DisassociateRouteTableInput{AssociationId: bound.AssociationId}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteRouteTable(ctx, &sdkec2.DeleteRouteTableInput{RouteTableId: &id}); err != nil {
		t.Error(err)
	}
	_, err = c.DescribeRouteTables(ctx, &sdkec2.DescribeRouteTablesInput{RouteTableIds: []string{id}})
	wantError(t, err, "InvalidRouteTableID.NotFound", "The routeTable ID '"+id+"' does not exist")
}

func testRouteErrors(t *testing.T, c *sdkec2.Client, id, igw, eni string) {
	ctx := t.Context()
	cidr := aws.String("10.9.0.0/16")
	_, err := c.CreateRoute(ctx, &sdkec2.CreateRouteInput{RouteTableId: &id, DestinationIpv6CidrBlock: aws.String("::/0"), GatewayId: &igw})
	wantError(t, err, "InvalidParameterValue", "IPv6 is off inside VPCs")
	_, err = c.CreateRoute(ctx, &sdkec2.CreateRouteInput{RouteTableId: &id, DestinationCidrBlock: cidr, TransitGatewayId: aws.String("tgw-1")})
	wantError(t, err, "InvalidParameterValue", "TransitGatewayId (tgw-1)")
	_, err = c.AssociateRouteTable(ctx, &sdkec2.AssociateRouteTableInput{RouteTableId: &id, GatewayId: &igw})
	wantError(t, err, "InvalidParameterValue", "GatewayId")
	_, err = c.AssociateRouteTable(ctx, &sdkec2.AssociateRouteTableInput{RouteTableId: &id})
	wantError(t, err, "MissingParameter", "SubnetId")
	_, err = c.ReplaceRoute(ctx, &sdkec2.ReplaceRouteInput{RouteTableId: &id, DestinationCidrBlock: cidr, GatewayId: &igw, DryRun: aws.Bool(true)})
	wantError(t, err, "DryRunOperation", "DryRun")
	if _, err := c.ReplaceRoute(ctx, &sdkec2.ReplaceRouteInput{RouteTableId: &id, DestinationCidrBlock: cidr, GatewayId: &igw}); err != nil {
		t.Error(err)
	}
	if _, err := c.ReplaceRoute(ctx, &sdkec2.ReplaceRouteInput{RouteTableId: &id, DestinationCidrBlock: aws.String("10.0.0.0/16"), LocalTarget: aws.Bool(true)}); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteRoute(ctx, &sdkec2.DeleteRouteInput{RouteTableId: &id, DestinationCidrBlock: aws.String("10.0.0.0/16")})
	wantError(t, err, "InvalidParameterValue", "cannot remove local route")
	if _, err := c.DeleteRoute(ctx, &sdkec2.DeleteRouteInput{RouteTableId: &id, DestinationCidrBlock: cidr}); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteRoute(ctx, &sdkec2.DeleteRouteInput{RouteTableId: &id, DestinationCidrBlock: cidr})
	wantError(t, err, "InvalidRoute.NotFound", "10.9.0.0/16")
}

func TestNetworkACLs(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	subnet := a.subnet(vpc, "10.0.1.0/24")
	made, err := c.CreateNetworkAcl(ctx, &sdkec2.CreateNetworkAclInput{VpcId: &vpc, TagSpecifications: tagged("network-acl", "Name", "tight")})
	if err != nil || *made.NetworkAcl.IsDefault || len(made.NetworkAcl.Entries) != 2 || *made.NetworkAcl.Entries[0].RuleNumber != 32767 || made.NetworkAcl.Entries[0].RuleAction != "deny" {
		t.Fatalf("got %+v, %v", made, err)
	}
	id := *made.NetworkAcl.NetworkAclId
	entry := func(number int32, protocol, cidr string) *sdkec2.CreateNetworkAclEntryInput {
		return &sdkec2.CreateNetworkAclEntryInput{NetworkAclId: &id, RuleNumber: &number, Protocol: &protocol, CidrBlock: &cidr, RuleAction: "allow", Egress: aws.Bool(false)}
	}
	tcp, icmp, all := entry(100, "6", "10.0.0.0/8"), entry(110, "1", "0.0.0.0/0"), entry(120, "-1", "0.0.0.0/0")
	tcp.PortRange = &ec2types.PortRange{From: aws.Int32(443), To: aws.Int32(443)}
	icmp.IcmpTypeCode = &ec2types.IcmpTypeCode{Type: aws.Int32(8), Code: aws.Int32(-1)}
	all.PortRange = &ec2types.PortRange{From: aws.Int32(0), To: aws.Int32(0)} // what Terraform sends
	six := entry(130, "-1", "")
	six.CidrBlock, six.Ipv6CidrBlock = nil, aws.String("::/0")
	for _, in := range []*sdkec2.CreateNetworkAclEntryInput{tcp, icmp, all, six} {
		if _, err := c.CreateNetworkAclEntry(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.CreateNetworkAclEntry(ctx, tcp)
	wantError(t, err, "NetworkAclEntryAlreadyExists", "100")
	got, err := c.DescribeNetworkAcls(ctx, &sdkec2.DescribeNetworkAclsInput{NetworkAclIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	e := got.NetworkAcls[0].Entries
	if len(e) != 6 || *e[0].Protocol != "6" || *e[0].PortRange.From != 443 || *e[0].CidrBlock != "10.0.0.0/8" || *e[0].Egress || e[0].RuleAction != "allow" || *e[1].IcmpTypeCode.Type != 8 || *e[1].IcmpTypeCode.Code != -1 ||
		*e[2].Protocol != "-1" || e[2].PortRange != nil || *e[3].Ipv6CidrBlock != "::/0" || e[3].CidrBlock != nil || *e[4].RuleNumber != 32767 || !*e[5].Egress {
		t.Errorf("got %+v", e)
	}
	find := func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeNetworkAcls(ctx, &sdkec2.DescribeNetworkAclsInput{Filters: f})
		if err == nil {
			for _, x := range out.NetworkAcls {
				ids = append(ids, *x.NetworkAclId)
			}
		}
		return ids, err
	}
	standard, err := c.DescribeNetworkAcls(ctx, &sdkec2.DescribeNetworkAclsInput{Filters: []ec2types.Filter{filter("default", "true"), filter("vpc-id", vpc)}})
	if err != nil || len(standard.NetworkAcls) != 1 || *standard.NetworkAcls[0].Associations[0].SubnetId != subnet {
		t.Fatalf("got %+v, %v", standard, err)
	}
	moved, err := c.ReplaceNetworkAclAssociation(ctx, &sdkec2.ReplaceNetworkAclAssociationInput{AssociationId: standard.NetworkAcls[0].Associations[0].NetworkAclAssociationId, NetworkAclId: &id})
	if err != nil {
		t.Fatal(err)
	}
	filtered(t, id, find, []ec2types.Filter{filter("association.subnet-id", subnet)}, []ec2types.Filter{filter("association.association-id", *moved.NewAssociationId)}, []ec2types.Filter{filter("default", "false")},
		[]ec2types.Filter{filter("entry.port-range.from", "443")}, []ec2types.Filter{filter("entry.port-range.to", "443")}, []ec2types.Filter{filter("entry.icmp.type", "8")}, []ec2types.Filter{filter("entry.icmp.code", "-1")},
		[]ec2types.Filter{filter("entry.protocol", "6")}, []ec2types.Filter{filter("entry.cidr", "10.*")}, []ec2types.Filter{filter("entry.ipv6-cidr", "::/0")}, []ec2types.Filter{filter("entry.rule-number", "110")},
		[]ec2types.Filter{filter("entry.rule-action", "allow"), filter("network-acl-id", id)}, []ec2types.Filter{filter("entry.egress", "true"), filter("network-acl-id", id)}, []ec2types.Filter{filter("tag:Name", "tight")})
	number := int32(100)
	if _, err := c.ReplaceNetworkAclEntry(ctx, &sdkec2.ReplaceNetworkAclEntryInput{NetworkAclId: &id, RuleNumber: &number, Protocol: aws.String("tcp"), CidrBlock: aws.String("10.0.0.0/8"), RuleAction: "deny", Egress: aws.Bool(false), PortRange: tcp.PortRange}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteNetworkAclEntry(ctx, &sdkec2.DeleteNetworkAclEntryInput{NetworkAclId: &id, RuleNumber: &number, Egress: aws.Bool(false)}); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteNetworkAclEntry(ctx, &sdkec2.DeleteNetworkAclEntryInput{NetworkAclId: &id, RuleNumber: &number, Egress: aws.Bool(false)})
	wantError(t, err, "InvalidNetworkAclEntry.NotFound", "100")
	_, err = c.DeleteNetworkAcl(ctx, &sdkec2.DeleteNetworkAclInput{NetworkAclId: &id})
	wantError(t, err, "DependencyViolation", subnet)
	if _, err := c.ReplaceNetworkAclAssociation(ctx, &sdkec2.ReplaceNetworkAclAssociationInput{AssociationId: moved.NewAssociationId, NetworkAclId: standard.NetworkAcls[0].NetworkAclId}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteNetworkAcl(ctx, &sdkec2.DeleteNetworkAclInput{NetworkAclId: &id}); err != nil {
		t.Error(err)
	}
	_, err = c.DescribeNetworkAcls(ctx, &sdkec2.DescribeNetworkAclsInput{NetworkAclIds: []string{id}})
	wantError(t, err, "InvalidNetworkAclID.NotFound", id)
}

func TestFailedNATGateway(t *testing.T) {
	c := newAPI(t).ec2Client()
	ctx := t.Context()
	vpc, err := c.CreateVpc(ctx, &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	subnet, err := c.CreateSubnet(ctx, &sdkec2.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24")})
	if err != nil {
		t.Fatal(err)
	}
	eip, err := c.AllocateAddress(ctx, &sdkec2.AllocateAddressInput{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.CreateNatGateway(ctx, &sdkec2.CreateNatGatewayInput{SubnetId: subnet.Subnet.SubnetId, AllocationId: eip.AllocationId})
	if err != nil {
		t.Fatal(err)
	}
	one := &sdkec2.DescribeNatGatewaysInput{NatGatewayIds: []string{*made.NatGateway.NatGatewayId}}
	out, err := c.DescribeNatGateways(ctx, one)
	if err != nil || len(out.NatGateways) != 1 {
		t.Fatalf("got %+v, %v", out, err)
	}
	if g := out.NatGateways[0]; g.State != "failed" || aws.ToString(g.FailureCode) != "Gateway.NotAttached" || !strings.Contains(aws.ToString(g.FailureMessage), *vpc.Vpc.VpcId) ||
		len(g.NatGatewayAddresses) != 1 || g.NatGatewayAddresses[0].PrivateIp != nil || g.NatGatewayAddresses[0].Status != "failed" {
		t.Errorf("got %+v", g)
	}
	if err := sdkec2.NewNatGatewayAvailableWaiter(c).Wait(ctx, one, time.Minute); err == nil || !strings.Contains(err.Error(), "Failure") {
		t.Errorf("the waiter says %v", err)
	}
	if _, err := c.ReleaseAddress(ctx, &sdkec2.ReleaseAddressInput{AllocationId: eip.AllocationId}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteNatGateway(ctx, &sdkec2.DeleteNatGatewayInput{NatGatewayId: &one.NatGatewayIds[0]}); err != nil {
		t.Error(err)
	}
	if out, err := c.DescribeNatGateways(ctx, one); err != nil || out.NatGateways[0].State != "deleted" {
		t.Errorf("got %+v, %v", out, err)
	}
}
