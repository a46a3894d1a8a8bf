package server_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// An id without the prefix of its kind is malformed; one that has it and names nothing is not found.
func TestMalformedIDs(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	g := a.group(a.vpc("10.0.0.0/16"), "g")
	named := func(id string) error {
		p := permission("tcp", 1, 1)
		p.UserIdGroupPairs = []ec2types.UserIdGroupPair{{GroupId: &id}}
		_, err := c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{p}})
		return err
	}
	for prefix, k := range map[string]struct {
		code, missing string
		call          func(id string) error
	}{
		"vpc-": {"InvalidVpcID.Malformed", "InvalidVpcID.NotFound", func(id string) error {
			_, err := c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{VpcIds: []string{id}})
			return err
		}},
		"subnet-": {"InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound", func(id string) error {
			_, err := c.DeleteSubnet(ctx, &sdkec2.DeleteSubnetInput{SubnetId: &id})
			return err
		}},
		"rtb-": {"InvalidRouteTableId.Malformed", "InvalidRouteTableID.NotFound", func(id string) error {
			_, err := c.DescribeRouteTables(ctx, &sdkec2.DescribeRouteTablesInput{RouteTableIds: []string{id}})
			return err
		}},
		"pl-": {"InvalidPrefixListId.Malformed", "InvalidPrefixListID.NotFound", func(id string) error {
			_, err := c.GetManagedPrefixListEntries(ctx, &sdkec2.GetManagedPrefixListEntriesInput{PrefixListId: &id})
			return err
		}},
		"sgr-": {"InvalidSecurityGroupRuleId.Malformed", "InvalidSecurityGroupRuleId.NotFound", func(id string) error {
			_, err := c.RevokeSecurityGroupIngress(ctx, &sdkec2.RevokeSecurityGroupIngressInput{GroupId: &g, SecurityGroupRuleIds: []string{id}})
			return err
		}},
		"sg-": {"InvalidGroupId.Malformed", "InvalidGroup.NotFound", named},
	} {
		wantError(t, k.call("10.0.0.0/8"), k.code, `Invalid id: "10.0.0.0/8" (expecting "`+prefix+`...")`)
		wantError(t, k.call(prefix+"0123456789abcdef0"), k.missing, prefix+"0123456789abcdef0")
	}
}

func TestGroupNames(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	create := func(name string) (string, error) {
		out, err := c.CreateSecurityGroup(ctx, &sdkec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("d")})
		if err != nil {
			return "", err
		}
		return *out.GroupId, nil
	}
	g, err := create("Web servers  ")
	if err != nil {
		t.Fatal(err)
	}
	if got := *a.describeGroup(g).GroupName; got != "Web servers" {
		t.Errorf("the group is called %q", got)
	}
	for _, name := range []string{"Web servers", "web SERVERS "} {
		_, err = create(name)
		wantError(t, err, "InvalidGroup.Duplicate", strings.TrimSpace(name))
	}
	_, err = create("  ")
	wantError(t, err, "InvalidParameterValue", "GroupName")
	out, err := c.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{GroupNames: []string{"web servers", "default", "Web servers"}})
	if err != nil || len(out.SecurityGroups) != 2 {
		t.Errorf("got %+v, %v", out, err)
	}
}

// A permission given twice in one call is not the same error as one that is there already.
func TestSamePermissionTwice(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	g := a.group(a.vpc("10.0.0.0/16"), "g")
	authorize := func(p ...ec2types.IpPermission) error {
		_, err := c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: p})
		return err
	}
	wantError(t, authorize(permission("tcp", 22, 22, "10.0.0.1/8", "10.0.0.0/8")), "InvalidParameterValue", "The same permission must not appear multiple times")
	if err := authorize(permission("tcp", 22, 22, "10.0.0.0/8"), permission("6", 22, 22, "::/0")); err != nil {
		t.Error(err)
	}
	wantError(t, authorize(permission("6", 22, 22, "10.9.9.9/8")), "InvalidPermission.Duplicate", "already exists")
	p := permission("tcp", 23, 23)
	p.UserIdGroupPairs = []ec2types.UserIdGroupPair{{GroupId: &g, VpcPeeringConnectionId: aws.String("pcx-0123456789abcdef0")}}
	wantError(t, authorize(p), "InvalidVpcPeeringConnectionID.NotFound", "pcx-0123456789abcdef0")
}

// association.main is a value of associations, so tables without any do not have it.
func TestMainAssociationFilter(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	v := a.vpc("10.0.0.0/16")
	var ids []string
	for range 2 {
		out, err := c.CreateRouteTable(ctx, &sdkec2.CreateRouteTableInput{VpcId: &v})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, *out.RouteTable.RouteTableId)
	}
	if _, err := c.AssociateRouteTable(ctx, &sdkec2.AssociateRouteTableInput{RouteTableId: &ids[0], SubnetId: aws.String(a.subnet(v, "10.0.0.0/24"))}); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]func(id string) bool{
		"false": func(id string) bool { return id == ids[0] },
		"true":  func(id string) bool { return id != ids[0] && id != ids[1] },
	} {
		out, err := c.DescribeRouteTables(ctx, &sdkec2.DescribeRouteTablesInput{Filters: []ec2types.Filter{filter("vpc-id", v), filter("association.main", value)}})
		if err != nil || len(out.RouteTables) != 1 || !want(*out.RouteTables[0].RouteTableId) {
			t.Errorf("%s: got %+v, %v", value, out, err)
		}
	}
}

// The address family of a network ACL's entry is that of the parameter which holds its block.
func TestACLBlocksHaveTheirFamily(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	v := a.vpc("10.0.0.0/16")
	acl, err := c.CreateNetworkAcl(ctx, &sdkec2.CreateNetworkAclInput{VpcId: &v})
	if err != nil {
		t.Fatal(err)
	}
	id := acl.NetworkAcl.NetworkAclId
	entry := func(four, six *string, protocol string) error {
		_, err := c.CreateNetworkAclEntry(ctx, &sdkec2.CreateNetworkAclEntryInput{
			NetworkAclId: id, RuleNumber: aws.Int32(1), Egress: aws.Bool(true), Protocol: &protocol, RuleAction: "allow", CidrBlock: four, Ipv6CidrBlock: six,
			PortRange: &ec2types.PortRange{From: aws.Int32(1), To: aws.Int32(2)},
		})
		return err
	}
	wantError(t, entry(aws.String("::/0"), nil, "6"), "InvalidParameterValue", "give an IPv4 address")
	wantError(t, entry(nil, aws.String("10.0.0.0/8"), "6"), "InvalidParameterValue", "give an IPv6 address")
	if err := entry(nil, aws.String("::/0"), "6"); err != nil {
		t.Fatal(err)
	}
	for protocol, want := range map[string]int{"6": 1, "tcp": 1, "udp": 0, "17": 0} {
		out, err := c.DescribeNetworkAcls(ctx, &sdkec2.DescribeNetworkAclsInput{Filters: []ec2types.Filter{filter("vpc-id", v), filter("entry.protocol", protocol)}})
		if err != nil || len(out.NetworkAcls) != want {
			t.Errorf("%s: got %+v, %v", protocol, out, err)
		}
	}
}

func TestGroupsByProtocol(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	v := a.vpc("10.0.0.0/16")
	g := a.group(v, "g")
	if _, err := c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{permission("tcp", 1, 2, "10.0.0.0/8")}}); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string]map[string]int{
		"ip-permission.protocol":        {"tcp": 1, "6": 1, "udp": 0, "-1": 1}, // the default group lets everything of its own in
		"egress.ip-permission.protocol": {"tcp": 0, "6": 0, "-1": 2},
	} {
		for protocol, want := range wants {
			out, err := c.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{filter("vpc-id", v), filter(name, protocol)}})
			if err != nil || len(out.SecurityGroups) != want {
				t.Errorf("%s %s: got %+v, %v", name, protocol, out, err)
			}
		}
	}
}

func TestSubnetAttributesOneAtATime(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	s := a.subnet(a.vpc("10.0.0.0/16"), "10.0.0.0/24")
	on := &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}
	_, err := c.ModifySubnetAttribute(ctx, &sdkec2.ModifySubnetAttributeInput{SubnetId: &s, MapPublicIpOnLaunch: on, EnableResourceNameDnsARecordOnLaunch: on})
	wantError(t, err, "InvalidParameterCombination", "one at a time")
	out, err := c.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{SubnetIds: []string{s}})
	if err != nil || *out.Subnets[0].MapPublicIpOnLaunch {
		t.Errorf("got %+v, %v", out, err)
	}
}

// A token is good for the operation that gave it only.
func TestTokenOfAnotherOperation(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	v := a.vpc("10.0.0.0/16")
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		a.group(v, name)
	}
	page, err := c.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{MaxResults: aws.Int32(5)})
	if err != nil || page.NextToken == nil {
		t.Fatalf("got %+v, %v", page, err)
	}
	_, err = c.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{NextToken: page.NextToken})
	wantError(t, err, "InvalidNextToken", *page.NextToken)
	rest, err := c.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{NextToken: page.NextToken})
	if err != nil || len(rest.SecurityGroups) != 2 || rest.NextToken != nil {
		t.Errorf("got %+v, %v", rest, err)
	}
}
