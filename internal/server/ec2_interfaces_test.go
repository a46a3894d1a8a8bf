package server_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func TestNetworkInterfaces(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	subnet := a.subnet(vpc, "10.0.1.0/24")
	a.gateway(vpc)
	group, err := c.CreateSecurityGroup(ctx, &sdkec2.CreateSecurityGroupInput{GroupName: aws.String("g"), Description: aws.String("g"), VpcId: &vpc})
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.CreateNetworkInterface(ctx, &sdkec2.CreateNetworkInterfaceInput{
		SubnetId: &subnet, Description: aws.String("mine"), Groups: []string{*group.GroupId}, TagSpecifications: tagged("network-interface", "Name", "n"),
		PrivateIpAddresses: []ec2types.PrivateIpAddressSpecification{{PrivateIpAddress: aws.String("10.0.1.11"), Primary: aws.Bool(false)}, {PrivateIpAddress: aws.String("10.0.1.10"), Primary: aws.Bool(true)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := made.NetworkInterface
	id := *n.NetworkInterfaceId
	if *n.PrivateIpAddress != "10.0.1.10" || len(n.PrivateIpAddresses) != 2 || !*n.PrivateIpAddresses[0].Primary || *n.PrivateIpAddresses[1].PrivateIpAddress != "10.0.1.11" || n.Status != "available" || n.InterfaceType != "interface" ||
		*n.RequesterManaged || !*n.SourceDestCheck || n.Attachment != nil || n.Association != nil || *n.Groups[0].GroupId != *group.GroupId || *n.Groups[0].GroupName != "g" || *n.Description != "mine" || *n.AvailabilityZone != "us-east-1a" ||
		*n.PrivateDnsName != "ip-10-0-1-10.ec2.internal" || *n.OwnerId != account || *n.TagSet[0].Value != "n" || *n.MacAddress == "" {
		t.Errorf("got %+v", n)
	}
	eip, public := a.address()
	if _, err := c.AssociateAddress(ctx, &sdkec2.AssociateAddressInput{AllocationId: &eip, NetworkInterfaceId: &id, PrivateIpAddress: aws.String("10.0.1.11")}); err != nil {
		t.Fatal(err)
	}
	a.networkInterface(subnet, "10.0.1.99")
	filtered(t, id, func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeNetworkInterfaces(ctx, &sdkec2.DescribeNetworkInterfacesInput{Filters: f})
		if err == nil {
			for _, i := range out.NetworkInterfaces {
				ids = append(ids, *i.NetworkInterfaceId)
			}
		}
		return ids, err
	}, []ec2types.Filter{filter("group-id", *group.GroupId)}, []ec2types.Filter{filter("group-name", "g")}, []ec2types.Filter{filter("private-ip-address", "10.0.1.10")}, []ec2types.Filter{filter("addresses.private-ip-address", "10.0.1.11")},
		[]ec2types.Filter{filter("addresses.primary", "false")}, []ec2types.Filter{filter("association.public-ip", public)}, []ec2types.Filter{filter("addresses.association.public-ip", public)}, []ec2types.Filter{filter("association.allocation-id", eip)},
		[]ec2types.Filter{filter("association.ip-owner-id", account)}, []ec2types.Filter{filter("description", "mine")}, []ec2types.Filter{filter("mac-address", *n.MacAddress)}, []ec2types.Filter{filter("network-interface-id", id)},
		[]ec2types.Filter{filter("private-dns-name", "ip-10-0-1-10*")}, []ec2types.Filter{filter("tag:Name", "n")}, []ec2types.Filter{filter("status", "available"), filter("group-name", "g")}, []ec2types.Filter{filter("subnet-id", subnet), filter("group-name", "g")},
		[]ec2types.Filter{filter("requester-managed", "false"), filter("group-name", "g")}, []ec2types.Filter{filter("interface-type", "interface"), filter("group-name", "g")}, []ec2types.Filter{filter("source-dest-check", "true"), filter("group-name", "g")})
	got, err := c.DescribeNetworkInterfaces(ctx, &sdkec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{id}})
	if err != nil || got.NetworkInterfaces[0].Association != nil || *got.NetworkInterfaces[0].PrivateIpAddresses[1].Association.PublicIp != public {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = c.DescribeNetworkInterfaces(ctx, &sdkec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{"eni-0"}})
	wantError(t, err, "InvalidNetworkInterfaceID.NotFound", "The networkInterface ID 'eni-0' does not exist")
	testInterfaceAttributes(t, c, id, *group.GroupId)

	assigned, err := c.AssignPrivateIpAddresses(ctx, &sdkec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: &id, SecondaryPrivateIpAddressCount: aws.Int32(2)})
	if err != nil || len(assigned.AssignedPrivateIpAddresses) != 2 || *assigned.NetworkInterfaceId != id {
		t.Fatalf("got %+v, %v", assigned, err)
	}
	gone := []string{*assigned.AssignedPrivateIpAddresses[0].PrivateIpAddress}
	if _, err := c.UnassignPrivateIpAddresses(ctx, &sdkec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: &id, PrivateIpAddresses: gone}); err != nil {
		t.Error(err)
	}
	_, err = c.UnassignPrivateIpAddresses(ctx, &sdkec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: &id, PrivateIpAddresses: gone})
	wantError(t, err, "InvalidParameterValue", gone[0])
	if left, err := c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{SubnetIds: []string{subnet}}); err != nil || *left.Subnets[0].AvailableIpAddressCount != 251-4 {
		t.Errorf("got %+v, %v", left, err)
	}
	for words, in := range map[string]*sdkec2.CreateNetworkInterfaceInput{
		"IPv6 is off":       {Ipv6AddressCount: aws.Int32(1)},
		"Ipv4Prefixes":      {Ipv4PrefixCount: aws.Int32(1)},
		"InterfaceType efa": {InterfaceType: "efa"},
		"10.0.1.x":          {PrivateIpAddress: aws.String("10.0.1.x")},
		"Only one primary":  {PrivateIpAddress: aws.String("10.0.1.20"), PrivateIpAddresses: []ec2types.PrivateIpAddressSpecification{{PrivateIpAddress: aws.String("10.0.1.21"), Primary: aws.Bool(true)}}},
		"cannot both":       {SecondaryPrivateIpAddressCount: aws.Int32(1), PrivateIpAddresses: []ec2types.PrivateIpAddressSpecification{{PrivateIpAddress: aws.String("10.0.1.21")}}},
		"Connection":        {ConnectionTrackingSpecification: &ec2types.ConnectionTrackingSpecificationRequest{UdpTimeout: aws.Int32(30)}},
	} {
		in.SubnetId = &subnet
		_, err := c.CreateNetworkInterface(ctx, in)
		wantError(t, err, "InvalidParameterValue", words)
	}
	if _, err := c.DeleteNetworkInterface(ctx, &sdkec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &id}); err != nil {
		t.Error(err)
	}
	if _, err := c.ReleaseAddress(ctx, &sdkec2.ReleaseAddressInput{AllocationId: &eip}); err != nil {
		t.Error(err)
	}
}

func testInterfaceAttributes(t *testing.T, c *sdkec2.Client, id, group string) {
	ctx := t.Context()
	modify := func(in sdkec2.ModifyNetworkInterfaceAttributeInput) error {
		in.NetworkInterfaceId = &id
		_, err := c.ModifyNetworkInterfaceAttribute(ctx, &in)
		return err
	}
	wantError(t, modify(sdkec2.ModifyNetworkInterfaceAttributeInput{}), "InvalidParameterCombination", "No attributes")
	wantError(t, modify(sdkec2.ModifyNetworkInterfaceAttributeInput{AssociatePublicIpAddress: aws.Bool(true)}), "InvalidParameterValue", "Elastic IP")
	for _, in := range []sdkec2.ModifyNetworkInterfaceAttributeInput{
		{Description: &ec2types.AttributeValue{Value: aws.String("other")}}, {SourceDestCheck: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}}, {Groups: []string{group}},
	} {
		if err := modify(in); err != nil {
			t.Error(err)
		}
	}
	show := func(attribute ec2types.NetworkInterfaceAttribute) *sdkec2.DescribeNetworkInterfaceAttributeOutput {
		out, err := c.DescribeNetworkInterfaceAttribute(ctx, &sdkec2.DescribeNetworkInterfaceAttributeInput{NetworkInterfaceId: &id, Attribute: attribute})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := show("description"); *out.Description.Value != "other" || out.SourceDestCheck != nil {
		t.Errorf("got %+v", out)
	}
	if out := show("sourceDestCheck"); *out.SourceDestCheck.Value || out.Description != nil {
		t.Errorf("got %+v", out)
	}
	if out := show("groupSet"); *out.Groups[0].GroupId != group {
		t.Errorf("got %+v", out)
	}
	if out := show("attachment"); out.Attachment != nil {
		t.Errorf("got %+v", out)
	}
	if _, err := c.ResetNetworkInterfaceAttribute(ctx, &sdkec2.ResetNetworkInterfaceAttributeInput{NetworkInterfaceId: &id, SourceDestCheck: aws.String("true")}); err != nil {
		t.Error(err)
	}
	if out := show("sourceDestCheck"); !*out.SourceDestCheck.Value {
		t.Errorf("got %+v", out)
	}
	_, err := c.AttachNetworkInterface(ctx, &sdkec2.AttachNetworkInterfaceInput{NetworkInterfaceId: &id, InstanceId: aws.String("i-0"), DeviceIndex: aws.Int32(1)})
	wantError(t, err, "InvalidInstanceID.NotFound", "i-0")
	_, err = c.DetachNetworkInterface(ctx, &sdkec2.DetachNetworkInterfaceInput{AttachmentId: aws.String("eni-attach-0")})
	wantError(t, err, "InvalidAttachmentID.NotFound", "eni-attach-0")
}

func TestVPCEndpoints(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	subnet := a.subnet(vpc, "10.0.1.0/24")
	if _, err := c.ModifyVpcAttribute(ctx, &sdkec2.ModifyVpcAttributeInput{VpcId: &vpc, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}}); err != nil {
		t.Fatal(err)
	}
	tables, err := c.DescribeRouteTables(ctx, &sdkec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{filter("vpc-id", vpc)}})
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := c.CreateVpcEndpoint(ctx, &sdkec2.CreateVpcEndpointInput{VpcId: &vpc, ServiceName: aws.String("com.amazonaws.us-east-1.s3"), RouteTableIds: []string{*tables.RouteTables[0].RouteTableId}})
	if err != nil || gateway.VpcEndpoint.VpcEndpointType != "Gateway" || gateway.VpcEndpoint.State != "available" || len(gateway.VpcEndpoint.RouteTableIds) != 1 || *gateway.VpcEndpoint.PrivateDnsEnabled || *gateway.VpcEndpoint.PolicyDocument == "" {
		t.Fatalf("got %+v, %v", gateway, err)
	}
	made, err := c.CreateVpcEndpoint(ctx, &sdkec2.CreateVpcEndpointInput{
		VpcId: &vpc, ServiceName: aws.String("com.amazonaws.us-east-1.ecr.api"), VpcEndpointType: "Interface", SubnetIds: []string{subnet}, TagSpecifications: tagged("vpc-endpoint", "Name", "ecr"),
		SubnetConfigurations: []ec2types.SubnetConfiguration{{SubnetId: &subnet, Ipv4: aws.String("10.0.1.40")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := made.VpcEndpoint
	id := *e.VpcEndpointId
	if e.State != "available" || e.VpcEndpointType != "Interface" || len(e.NetworkInterfaceIds) != 1 || *e.Groups[0].GroupName != "default" || !*e.PrivateDnsEnabled || *e.DnsEntries[0].DnsName != id+".api.ecr.us-east-1.vpce.amazonaws.com" ||
		e.IpAddressType != "ipv4" || e.SubnetIds[0] != subnet || *e.Tags[0].Value != "ecr" || e.CreationTimestamp == nil {
		t.Errorf("got %+v", e)
	}
	n, err := c.DescribeNetworkInterfaces(ctx, &sdkec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: e.NetworkInterfaceIds})
	if err != nil || n.NetworkInterfaces[0].InterfaceType != "vpc_endpoint" || !*n.NetworkInterfaces[0].RequesterManaged || *n.NetworkInterfaces[0].PrivateIpAddress != "10.0.1.40" || n.NetworkInterfaces[0].Status != "in-use" || *n.NetworkInterfaces[0].Attachment.InstanceOwnerId != "amazon-aws" {
		t.Errorf("got %+v, %v", n, err)
	}
	filtered(t, id, func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeVpcEndpoints(ctx, &sdkec2.DescribeVpcEndpointsInput{Filters: f})
		if err == nil {
			for _, e := range out.VpcEndpoints {
				ids = append(ids, *e.VpcEndpointId)
			}
		}
		return ids, err
	}, []ec2types.Filter{filter("service-name", "*ecr.api")}, []ec2types.Filter{filter("vpc-endpoint-type", "Interface")}, []ec2types.Filter{filter("vpc-endpoint-id", id)}, []ec2types.Filter{filter("tag:Name", "ecr")},
		[]ec2types.Filter{filter("vpc-id", vpc), filter("vpc-endpoint-type", "Interface")}, []ec2types.Filter{filter("vpc-endpoint-state", "available"), filter("vpc-endpoint-type", "Interface")})
	_, err = c.DescribeVpcEndpoints(ctx, &sdkec2.DescribeVpcEndpointsInput{VpcEndpointIds: []string{"vpce-0"}})
	wantError(t, err, "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id 'vpce-0' does not exist")
	if out, err := c.ModifyVpcEndpoint(ctx, &sdkec2.ModifyVpcEndpointInput{VpcEndpointId: &id, PrivateDnsEnabled: aws.Bool(false), PolicyDocument: aws.String("{}")}); err != nil || !*out.Return {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.ModifyVpcEndpoint(ctx, &sdkec2.ModifyVpcEndpointInput{VpcEndpointId: &id, IpAddressType: "dualstack"})
	wantError(t, err, "InvalidParameterValue", "IPv6 is off inside VPCs")
	gone, err := c.DeleteVpcEndpoints(ctx, &sdkec2.DeleteVpcEndpointsInput{VpcEndpointIds: []string{id, "vpce-0", *gateway.VpcEndpoint.VpcEndpointId}})
	if err != nil || len(gone.Unsuccessful) != 1 || *gone.Unsuccessful[0].ResourceId != "vpce-0" || *gone.Unsuccessful[0].Error.Code != "InvalidVpcEndpoint.NotFound" {
		t.Errorf("got %+v, %v", gone, err)
	}

	services, err := c.DescribeVpcEndpointServices(ctx, &sdkec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{"com.amazonaws.us-east-1.s3"}, Filters: []ec2types.Filter{filter("service-type", "Gateway")}})
	if err != nil || len(services.ServiceDetails) != 1 || services.ServiceDetails[0].ServiceType[0].ServiceType != "Gateway" || *services.ServiceDetails[0].Owner != "amazon" || len(services.ServiceDetails[0].AvailabilityZones) != 3 || services.ServiceNames[0] != "com.amazonaws.us-east-1.s3" {
		t.Errorf("got %+v, %v", services, err)
	}
	if all, err := c.DescribeVpcEndpointServices(ctx, &sdkec2.DescribeVpcEndpointServicesInput{}); err != nil || len(all.ServiceDetails) != len(all.ServiceNames)+2 {
		t.Errorf("got %+v, %v", all, err)
	}
	_, err = c.DescribeVpcEndpointServices(ctx, &sdkec2.DescribeVpcEndpointServicesInput{ServiceNames: []string{"x"}})
	wantError(t, err, "InvalidServiceName", "The Vpc Endpoint Service 'x' does not exist")
}
