package server_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// filter is one filter of a Describe operation.
func filter(name string, values ...string) ec2types.Filter {
	return ec2types.Filter{Name: &name, Values: values}
}

// tagged are the tags that a create operation gives to an object.
func tagged(kind ec2types.ResourceType, pairs ...string) []ec2types.TagSpecification {
	spec := ec2types.TagSpecification{ResourceType: kind}
	for n := 0; n < len(pairs); n += 2 {
		spec.Tags = append(spec.Tags, ec2types.Tag{Key: &pairs[n], Value: &pairs[n+1]})
	}
	return []ec2types.TagSpecification{spec}
}

// vpc makes a VPC.
func (a *api) vpc(cidr string) string {
	a.t.Helper()
	out, err := a.ec2Client().CreateVpc(a.t.Context(), &sdkec2.CreateVpcInput{CidrBlock: &cidr})
	if err != nil {
		a.t.Fatal(err)
	}
	return *out.Vpc.VpcId
}

func TestVPCs(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	made, err := c.CreateVpc(ctx, &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(false), InstanceTenancy: "default", TagSpecifications: tagged("vpc", "Name", "private-1")})
	if err != nil {
		t.Fatal(err)
	}
	v := made.Vpc
	if *v.CidrBlock != "10.0.0.0/16" || *v.OwnerId != account || v.State != "available" || v.InstanceTenancy != "default" || *v.IsDefault || *v.Tags[0].Value != "private-1" ||
		*v.CidrBlockAssociationSet[0].CidrBlock != "10.0.0.0/16" || v.CidrBlockAssociationSet[0].CidrBlockState.State != "associated" || *v.DhcpOptionsId == "" {
		t.Errorf("got %+v", v)
	}
	id := *v.VpcId
	for name, f := range map[string]ec2types.Filter{
		"default": filter("isDefault", "false"), "is-default": filter("is-default", "false"), "cidr": filter("cidr", "10.0.*"), "cidr-block": filter("cidr-block-association.cidr-block", "10.0.0.0/16"),
		"name": filter("tag:Name", "nothing", "private-*"), "key": filter("tag-key", "N?me"), "id": filter("vpc-id", id), "owner": filter("owner-id", account), "options": filter("dhcp-options-id", *v.DhcpOptionsId),
	} {
		if name == "owner" || name == "options" {
			continue // the default VPC matches too; below
		}
		got, err := c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{Filters: []ec2types.Filter{f}})
		if err != nil || len(got.Vpcs) != 1 || *got.Vpcs[0].VpcId != id {
			t.Errorf("filter %s: %+v, %v", name, got, err)
		}
	}
	both, err := c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("owner-id", account), filter("dhcp-options-id", *v.DhcpOptionsId), filter("state", "available")}})
	if err != nil || len(both.Vpcs) != 2 {
		t.Errorf("got %+v, %v", both, err)
	}
	if none, err := c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("ipv6-cidr-block-association.state", "*")}}); err != nil || none.Vpcs == nil || len(none.Vpcs) != 0 {
		t.Errorf("got %+v, %v", none, err)
	}
	_, err = c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("color", "red")}})
	wantError(t, err, "InvalidParameterValue", "The filter 'color' is invalid")
	_, err = c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{VpcIds: []string{id, "vpc-0"}})
	wantError(t, err, "InvalidVpcID.NotFound", "The vpc ID 'vpc-0' does not exist")
	_, err = c.CreateVpc(ctx, &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), DryRun: aws.Bool(true)})
	wantError(t, err, "DryRunOperation", "would have succeeded")
	_, err = c.CreateVpc(ctx, &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: aws.Bool(true)})
	wantError(t, err, "InvalidParameterValue", "IPv6 is off inside VPCs")
	_, err = c.CreateVpc(ctx, &sdkec2.CreateVpcInput{Ipv4IpamPoolId: aws.String("ipam-pool-1"), Ipv4NetmaskLength: aws.Int32(20)})
	wantError(t, err, "InvalidParameterValue", "Ipv4IpamPoolId")
	_, err = c.CreateVpc(ctx, &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/8")})
	wantError(t, err, "InvalidVpc.Range", "10.0.0.0/8")
	_, err = c.CreateVpc(ctx, &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tagged("subnet", "a", "b")})
	wantError(t, err, "InvalidParameterValue", "subnet")

	for _, attribute := range []ec2types.VpcAttributeName{"enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics"} {
		got, err := c.DescribeVpcAttribute(ctx, &sdkec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: attribute})
		if err != nil {
			t.Fatal(err)
		}
		values := []*ec2types.AttributeBooleanValue{got.EnableDnsSupport, got.EnableDnsHostnames, got.EnableNetworkAddressUsageMetrics}
		n := slices.Index([]ec2types.VpcAttributeName{"enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics"}, attribute)
		if values[n] == nil || *values[n].Value != (n == 0) || values[(n+1)%3] != nil {
			t.Errorf("%s: %+v", attribute, got)
		}
	}
	if _, err := c.ModifyVpcAttribute(ctx, &sdkec2.ModifyVpcAttributeInput{VpcId: &id, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}}); err != nil {
		t.Error(err)
	}
	if got, err := c.DescribeVpcAttribute(ctx, &sdkec2.DescribeVpcAttributeInput{VpcId: &id, Attribute: "enableDnsHostnames"}); err != nil || !*got.EnableDnsHostnames.Value {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = c.ModifyVpcAttribute(ctx, &sdkec2.ModifyVpcAttributeInput{VpcId: &id})
	wantError(t, err, "InvalidParameterCombination", "No attributes")

	block, err := c.AssociateVpcCidrBlock(ctx, &sdkec2.AssociateVpcCidrBlockInput{VpcId: &id, CidrBlock: aws.String("10.1.0.0/16")})
	if err != nil || *block.CidrBlockAssociation.CidrBlock != "10.1.0.0/16" {
		t.Fatalf("got %+v, %v", block, err)
	}
	_, err = c.AssociateVpcCidrBlock(ctx, &sdkec2.AssociateVpcCidrBlockInput{VpcId: &id, Ipv6CidrBlock: aws.String("fd00::/56")})
	wantError(t, err, "InvalidParameterValue", "IPv6 is off inside VPCs")
	if got, err := c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{VpcIds: []string{id}}); err != nil || len(got.Vpcs[0].CidrBlockAssociationSet) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
	if gone, err := c.DisassociateVpcCidrBlock(ctx, &sdkec2.DisassociateVpcCidrBlockInput{AssociationId: block.CidrBlockAssociation.AssociationId}); err != nil || *gone.VpcId != id {
		t.Errorf("got %+v, %v", gone, err)
	}
	_, err = c.CreateDefaultVpc(ctx, &sdkec2.CreateDefaultVpcInput{})
	wantError(t, err, "DefaultVpcAlreadyExists", "already exists")
	_, err = c.DeleteVpc(ctx, &sdkec2.DeleteVpcInput{VpcId: &id, DryRun: aws.Bool(true)})
	wantError(t, err, "DryRunOperation", "DryRun")
	if _, err := c.DeleteVpc(ctx, &sdkec2.DeleteVpcInput{VpcId: &id}); err != nil {
		t.Error(err)
	}
	_, err = c.DeleteVpc(ctx, &sdkec2.DeleteVpcInput{VpcId: &id})
	wantError(t, err, "InvalidVpcID.NotFound", id)
}

func TestSubnets(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("192.168.0.0/16")
	made, err := c.CreateSubnet(ctx, &sdkec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("192.168.1.0/24"), AvailabilityZone: aws.String("us-east-1b"), TagSpecifications: tagged("subnet", "Name", "private-b")})
	if err != nil {
		t.Fatal(err)
	}
	s := made.Subnet
	if *s.AvailabilityZone != "us-east-1b" || *s.AvailabilityZoneId != "use1-az2" || *s.AvailableIpAddressCount != 251 || *s.DefaultForAz || *s.MapPublicIpOnLaunch || *s.OwnerId != account ||
		*s.SubnetArn != "arn:aws:ec2:us-east-1:"+account+":subnet/"+*s.SubnetId || s.PrivateDnsNameOptionsOnLaunch.HostnameType != "ip-name" || *s.VpcId != vpc || s.State != "available" {
		t.Errorf("got %+v", s)
	}
	for _, f := range [][]ec2types.Filter{
		{filter("vpc-id", vpc)}, {filter("tag:Name", "private-*"), filter("availability-zone", "us-east-1b")}, {filter("cidr-block", "192.168.1.0/24")}, {filter("subnet-id", *s.SubnetId)},
		{filter("availabilityZoneId", "use1-az2"), filter("default-for-az", "false")}, {filter("available-ip-address-count", "251")}, {filter("map-public-ip-on-launch", "false")}, {filter("subnet-arn", "*"+*s.SubnetId)},
	} {
		got, err := c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{Filters: f})
		if err != nil || len(got.Subnets) != 1 || *got.Subnets[0].SubnetId != *s.SubnetId {
			t.Errorf("filter %s: %+v, %v", *f[0].Name, got, err)
		}
	}
	on := &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}
	if _, err := c.ModifySubnetAttribute(ctx, &sdkec2.ModifySubnetAttributeInput{SubnetId: s.SubnetId, MapPublicIpOnLaunch: on}); err != nil {
		t.Error(err)
	}
	_, err = c.ModifySubnetAttribute(ctx, &sdkec2.ModifySubnetAttributeInput{SubnetId: s.SubnetId, AssignIpv6AddressOnCreation: on})
	wantError(t, err, "InvalidParameterValue", "IPv6 is off inside VPCs")
	if _, err := c.ModifySubnetAttribute(ctx, &sdkec2.ModifySubnetAttributeInput{SubnetId: s.SubnetId, AssignIpv6AddressOnCreation: &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}}); err != nil {
		t.Error(err)
	}
	_, err = c.ModifySubnetAttribute(ctx, &sdkec2.ModifySubnetAttributeInput{SubnetId: s.SubnetId})
	wantError(t, err, "InvalidParameterCombination", "No attributes")
	got, err := c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{SubnetIds: []string{*s.SubnetId}})
	if err != nil || !*got.Subnets[0].MapPublicIpOnLaunch {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{SubnetIds: []string{"subnet-0"}})
	wantError(t, err, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-0' does not exist")
	_, err = c.CreateSubnet(ctx, &sdkec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("192.168.1.0/25")})
	wantError(t, err, "InvalidSubnet.Conflict", "The CIDR '192.168.1.0/25' conflicts with another subnet")
	_, err = c.CreateSubnet(ctx, &sdkec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.0.0.0/24")})
	wantError(t, err, "InvalidSubnet.Range", "10.0.0.0/24")
	_, err = c.CreateSubnet(ctx, &sdkec2.CreateSubnetInput{VpcId: &vpc, Ipv6CidrBlock: aws.String("fd00::/64"), Ipv6Native: aws.Bool(true)})
	wantError(t, err, "InvalidParameterValue", "IPv6 is off inside VPCs")
	_, err = c.DeleteVpc(ctx, &sdkec2.DeleteVpcInput{VpcId: &vpc})
	wantError(t, err, "DependencyViolation", *s.SubnetId)
	if _, err := c.DeleteSubnet(ctx, &sdkec2.DeleteSubnetInput{SubnetId: s.SubnetId}); err != nil {
		t.Error(err)
	}
	if _, err := c.DeleteVpc(ctx, &sdkec2.DeleteVpcInput{VpcId: &vpc}); err != nil {
		t.Error(err)
	}
}

// Pages of every size hold everything once.
func TestEC2Pages(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	for _, third := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		if _, err := c.CreateSubnet(ctx, &sdkec2.CreateSubnetInput{VpcId: &vpc, CidrBlock: aws.String("10.0." + third + ".0/24")}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	pages := sdkec2.NewDescribeSubnetsPaginator(c, &sdkec2.DescribeSubnetsInput{Filters: []ec2types.Filter{filter("vpc-id", vpc)}, MaxResults: aws.Int32(5)})
	for n := 0; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{5, 3}[n]; len(page.Subnets) != want {
			t.Errorf("page %d has %d subnets, want %d", n, len(page.Subnets), want)
		}
		for _, s := range page.Subnets {
			seen[*s.SubnetId] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("saw %d subnets", len(seen))
	}
	first, err := c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{MaxResults: aws.Int32(5)})
	if err != nil || first.NextToken == nil {
		t.Fatalf("got %+v, %v", first, err)
	}
	_, err = c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{MaxResults: aws.Int32(5), NextToken: first.NextToken, Filters: []ec2types.Filter{filter("vpc-id", vpc)}})
	wantError(t, err, "InvalidNextToken", "same parameters")
	_, err = c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{MaxResults: aws.Int32(4)})
	wantError(t, err, "InvalidParameterValue", "MaxResults")
	_, err = c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{NextToken: aws.String("%")})
	wantError(t, err, "InvalidNextToken", "%")
}

func TestEC2Tags(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	pair := func(key, value string) ec2types.Tag { return ec2types.Tag{Key: &key, Value: &value} }
	if _, err := c.CreateTags(ctx, &sdkec2.CreateTagsInput{Resources: []string{vpc}, Tags: []ec2types.Tag{pair("Name", "x"), pair("empty", "")}}); err != nil {
		t.Fatal(err)
	}
	for _, f := range [][]ec2types.Filter{{filter("resource-id", vpc), filter("key", "Na*")}, {filter("resource-type", "vpc"), filter("value", "x")}, {filter("tag:Name", "x")}} {
		got, err := c.DescribeTags(ctx, &sdkec2.DescribeTagsInput{Filters: f})
		if err != nil || len(got.Tags) != 1 || *got.Tags[0].Key != "Name" || *got.Tags[0].ResourceId != vpc || got.Tags[0].ResourceType != "vpc" || *got.Tags[0].Value != "x" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if got, err := c.DescribeTags(ctx, &sdkec2.DescribeTagsInput{Filters: []ec2types.Filter{filter("value", "")}}); err != nil || len(got.Tags) != 1 || *got.Tags[0].Key != "empty" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.DeleteTags(ctx, &sdkec2.DeleteTagsInput{Resources: []string{vpc}, Tags: []ec2types.Tag{pair("Name", "other"), {Key: aws.String("empty")}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{VpcIds: []string{vpc}}); err != nil || len(got.Vpcs[0].Tags) != 1 || *got.Vpcs[0].Tags[0].Key != "Name" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err := c.CreateTags(ctx, &sdkec2.CreateTagsInput{Resources: []string{"igw-0"}, Tags: []ec2types.Tag{pair("a", "b")}})
	wantError(t, err, "InvalidInternetGatewayID.NotFound", "igw-0")
	_, err = c.CreateTags(ctx, &sdkec2.CreateTagsInput{Resources: []string{vpc}, Tags: []ec2types.Tag{pair("a", "b"), pair("a", "c")}})
	wantError(t, err, "InvalidParameterValue", "Duplicate tag key 'a'")
	_, err = c.CreateVpc(ctx, &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: tagged("vpc", "a", "b", "a", "c")})
	wantError(t, err, "InvalidParameterValue", "Duplicate tag key 'a'")
	_, err = c.CreateTags(ctx, &sdkec2.CreateTagsInput{Resources: []string{vpc}, Tags: []ec2types.Tag{pair("aws:a", "b")}})
	wantError(t, err, "InvalidParameterValue", "reserved")
	_, err = c.CreateTags(ctx, &sdkec2.CreateTagsInput{Resources: []string{vpc}, Tags: []ec2types.Tag{pair("a", "b")}, DryRun: aws.Bool(true)})
	wantError(t, err, "DryRunOperation", "")
}

func TestDHCPOptions(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("10.0.0.0/16")
	made, err := c.CreateDhcpOptions(ctx, &sdkec2.CreateDhcpOptionsInput{TagSpecifications: tagged("dhcp-options", "Name", "corp"), DhcpConfigurations: []ec2types.NewDhcpConfiguration{
		{Key: aws.String("domain-name"), Values: []string{"corp.internal"}}, {Key: aws.String("domain-name-servers"), Values: []string{"10.0.0.9", "AmazonProvidedDNS"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	o := made.DhcpOptions
	if len(o.DhcpConfigurations) != 2 || *o.DhcpConfigurations[1].Key != "domain-name-servers" || *o.DhcpConfigurations[1].Values[1].Value != "AmazonProvidedDNS" || *o.Tags[0].Value != "corp" || *o.OwnerId != account {
		t.Errorf("got %+v", o)
	}
	if _, err := c.AssociateDhcpOptions(ctx, &sdkec2.AssociateDhcpOptionsInput{VpcId: &vpc, DhcpOptionsId: o.DhcpOptionsId}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []ec2types.Filter{filter("value", "corp.internal"), filter("value", "10.0.0.9"), filter("tag:Name", "corp"), filter("dhcp-options-id", *o.DhcpOptionsId)} {
		got, err := c.DescribeDhcpOptions(ctx, &sdkec2.DescribeDhcpOptionsInput{Filters: []ec2types.Filter{f}})
		if err != nil || len(got.DhcpOptions) != 1 || *got.DhcpOptions[0].DhcpOptionsId != *o.DhcpOptionsId {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	_, err = c.DeleteDhcpOptions(ctx, &sdkec2.DeleteDhcpOptionsInput{DhcpOptionsId: o.DhcpOptionsId})
	wantError(t, err, "DependencyViolation", vpc)
	if _, err := c.AssociateDhcpOptions(ctx, &sdkec2.AssociateDhcpOptionsInput{VpcId: &vpc, DhcpOptionsId: aws.String("default")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteDhcpOptions(ctx, &sdkec2.DeleteDhcpOptionsInput{DhcpOptionsId: o.DhcpOptionsId}); err != nil {
		t.Error(err)
	}
	_, err = c.DescribeDhcpOptions(ctx, &sdkec2.DescribeDhcpOptionsInput{DhcpOptionsIds: []string{*o.DhcpOptionsId}})
	wantError(t, err, "InvalidDhcpOptionID.NotFound", *o.DhcpOptionsId)
}

func TestPlaces(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	zones, err := c.DescribeAvailabilityZones(ctx, &sdkec2.DescribeAvailabilityZonesInput{Filters: []ec2types.Filter{filter("state", "available")}})
	if err != nil || len(zones.AvailabilityZones) != 3 {
		t.Fatalf("got %+v, %v", zones, err)
	}
	if z := zones.AvailabilityZones[2]; *z.ZoneName != "us-east-1c" || *z.ZoneId != "use1-az3" || *z.RegionName != region || z.State != "available" || z.OptInStatus != "opt-in-not-required" || *z.ZoneType != "availability-zone" {
		t.Errorf("got %+v", z)
	}
	if one, err := c.DescribeAvailabilityZones(ctx, &sdkec2.DescribeAvailabilityZonesInput{ZoneIds: []string{"use1-az2"}}); err != nil || len(one.AvailabilityZones) != 1 || *one.AvailabilityZones[0].ZoneName != "us-east-1b" {
		t.Errorf("got %+v, %v", one, err)
	}
	_, err = c.DescribeAvailabilityZones(ctx, &sdkec2.DescribeAvailabilityZonesInput{ZoneNames: []string{"us-east-1z"}})
	wantError(t, err, "InvalidParameterValue", "Invalid availability zone: [us-east-1z]")
	regions, err := c.DescribeRegions(ctx, &sdkec2.DescribeRegionsInput{RegionNames: []string{region, "eu-west-1"}})
	if err != nil || len(regions.Regions) != 2 || *regions.Regions[1].Endpoint != "ec2.us-east-1.amazonaws.com" || *regions.Regions[1].OptInStatus != "opt-in-not-required" {
		t.Errorf("got %+v, %v", regions, err)
	}
	_, err = c.DescribeRegions(ctx, &sdkec2.DescribeRegionsInput{RegionNames: []string{"mars-1"}})
	wantError(t, err, "InvalidParameterValue", "mars-1")
	standard, err := c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{Filters: []ec2types.Filter{filter("isDefault", "true")}})
	if err != nil || len(standard.Vpcs) != 1 {
		t.Fatalf("got %+v, %v", standard, err)
	}
	got, err := c.DescribeAccountAttributes(ctx, &sdkec2.DescribeAccountAttributesInput{AttributeNames: []ec2types.AccountAttributeName{"default-vpc"}})
	if err != nil || len(got.AccountAttributes) != 1 || *got.AccountAttributes[0].AttributeValues[0].AttributeValue != *standard.Vpcs[0].VpcId {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = c.DescribeAccountAttributes(ctx, &sdkec2.DescribeAccountAttributesInput{AttributeNames: []ec2types.AccountAttributeName{"shoe-size"}})
	wantError(t, err, "InvalidParameterValue", "default-vpc, max-elastic-ips")
	if all, err := c.DescribeAccountAttributes(ctx, &sdkec2.DescribeAccountAttributesInput{}); err != nil || len(all.AccountAttributes) != 6 {
		t.Errorf("got %+v, %v", all, err)
	}
}
