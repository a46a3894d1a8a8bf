package server_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// group makes a security group.
func (a *api) group(vpc, name string) string {
	a.t.Helper()
	out, err := a.ec2Client().CreateSecurityGroup(a.t.Context(), &sdkec2.CreateSecurityGroupInput{GroupName: &name, Description: &name, VpcId: &vpc})
	if err != nil {
		a.t.Fatal(err)
	}
	return *out.GroupId
}

func (a *api) describeGroup(id string) ec2types.SecurityGroup {
	a.t.Helper()
	out, err := a.ec2Client().DescribeSecurityGroups(a.t.Context(), &sdkec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
	if err != nil || len(out.SecurityGroups) != 1 {
		a.t.Fatalf("got %+v, %v", out, err)
	}
	return out.SecurityGroups[0]
}

// views are a group's rules as permissions and as rules, each rule as one text.
func (a *api) views(group string) (permissions, rules []string) {
	a.t.Helper()
	text := func(egress bool, protocol *string, from, to *int32, peer, words *string) string {
		port := func(p *int32) string {
			if p == nil {
				return "-1"
			}
			return strconv.Itoa(int(*p))
		}
		return strconv.FormatBool(egress) + " " + *protocol + " " + port(from) + " " + port(to) + " " + *peer + " " + aws.ToString(words)
	}
	g := a.describeGroup(group)
	for egress, list := range map[bool][]ec2types.IpPermission{false: g.IpPermissions, true: g.IpPermissionsEgress} {
		heads := map[string]bool{}
		for _, p := range list {
			head := text(egress, p.IpProtocol, p.FromPort, p.ToPort, p.IpProtocol, nil)
			if heads[head] {
				a.t.Errorf("two permissions for %s", head)
			}
			heads[head] = true
			for _, x := range p.IpRanges {
				permissions = append(permissions, text(egress, p.IpProtocol, p.FromPort, p.ToPort, x.CidrIp, x.Description))
			}
			for _, x := range p.Ipv6Ranges {
				permissions = append(permissions, text(egress, p.IpProtocol, p.FromPort, p.ToPort, x.CidrIpv6, x.Description))
			}
			for _, x := range p.PrefixListIds {
				permissions = append(permissions, text(egress, p.IpProtocol, p.FromPort, p.ToPort, x.PrefixListId, x.Description))
			}
			for _, x := range p.UserIdGroupPairs {
				permissions = append(permissions, text(egress, p.IpProtocol, p.FromPort, p.ToPort, x.GroupId, x.Description))
			}
		}
	}
	out, err := a.ec2Client().DescribeSecurityGroupRules(a.t.Context(), &sdkec2.DescribeSecurityGroupRulesInput{Filters: []ec2types.Filter{filter("group-id", group)}})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, r := range out.SecurityGroupRules {
		peer := r.CidrIpv4
		switch {
		case r.CidrIpv6 != nil:
			peer = r.CidrIpv6
		case r.PrefixListId != nil:
			peer = r.PrefixListId
		case r.ReferencedGroupInfo != nil:
			peer = r.ReferencedGroupInfo.GroupId
		}
		rules = append(rules, text(*r.IsEgress, r.IpProtocol, r.FromPort, r.ToPort, peer, r.Description))
	}
	slices.Sort(permissions)
	slices.Sort(rules)
	return permissions, rules
}

func permission(protocol string, from, to int32, cidrs ...string) ec2types.IpPermission {
	p := ec2types.IpPermission{IpProtocol: &protocol, FromPort: &from, ToPort: &to}
	for _, c := range cidrs {
		if strings.Contains(c, ":") {
			p.Ipv6Ranges = append(p.Ipv6Ranges, ec2types.Ipv6Range{CidrIpv6: aws.String(c)})
			continue
		}
		p.IpRanges = append(p.IpRanges, ec2types.IpRange{CidrIp: aws.String(c)})
	}
	return p
}

func TestSecurityGroups(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	v := a.vpc("10.0.0.0/16")
	made, err := c.CreateSecurityGroup(ctx, &sdkec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("the web"), VpcId: &v, TagSpecifications: tagged("security-group", "Name", "w")})
	if err != nil || len(made.Tags) != 1 {
		t.Fatalf("got %+v, %v", made, err)
	}
	g := *made.GroupId
	got := a.describeGroup(g)
	if *got.GroupName != "web" || *got.Description != "the web" || *got.VpcId != v || *got.OwnerId != account || *got.Tags[0].Value != "w" || len(got.IpPermissions) != 0 ||
		len(got.IpPermissionsEgress) != 1 || *got.IpPermissionsEgress[0].IpProtocol != "-1" || *got.IpPermissionsEgress[0].IpRanges[0].CidrIp != "0.0.0.0/0" {
		t.Errorf("got %+v", got)
	}
	// What Terraform does at once with a new group: it takes the rule that lets everything out, and one for IPv6 that is not there.
	if out, err := c.RevokeSecurityGroupEgress(ctx, &sdkec2.RevokeSecurityGroupEgressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{permission("-1", 0, 0, "0.0.0.0/0")}}); err != nil || !*out.Return {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.RevokeSecurityGroupEgress(ctx, &sdkec2.RevokeSecurityGroupEgressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{permission("-1", 0, 0, "::/0")}})
	wantError(t, err, "InvalidPermission.NotFound", "::/0")

	in := permission("tcp", 443, 443, "10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32")
	in.IpRanges[0].Description = aws.String("inside")
	peer := a.group(v, "peer")
	in.UserIdGroupPairs = []ec2types.UserIdGroupPair{{GroupId: &peer, UserId: aws.String(account)}}
	rules, err := c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{in}, TagSpecifications: tagged("security-group-rule", "kind", "https")})
	if err != nil || len(rules.SecurityGroupRules) != 4 || !*rules.Return {
		t.Fatalf("got %+v, %v", rules, err)
	}
	first, last := rules.SecurityGroupRules[0], rules.SecurityGroupRules[3]
	if !strings.HasPrefix(*first.SecurityGroupRuleId, "sgr-") || *first.CidrIpv4 != "10.0.0.0/8" || *first.Description != "inside" || *first.IsEgress || *first.GroupOwnerId != account || *first.Tags[0].Value != "https" ||
		*last.ReferencedGroupInfo.GroupId != peer || *last.ReferencedGroupInfo.VpcId != v || last.CidrIpv4 != nil {
		t.Errorf("got %+v and %+v", first, last)
	}
	for f, want := range map[string]int{
		"group-name=web": 1, "group-id=" + g: 1, "description=the ???": 1, "owner-id=" + account: 4, "vpc-id=" + v: 3, "tag:Name=w": 1, "tag-key=Name": 1,
		"ip-permission.cidr=10.0.0.0/8": 1, "ip-permission.ipv6-cidr=2001:db8::/32": 1, "ip-permission.from-port=443": 1, "ip-permission.to-port=80": 0, "ip-permission.protocol=tcp": 1,
		"ip-permission.group-id=" + peer: 1, "ip-permission.group-name=peer": 1, "ip-permission.user-id=" + account: 3, "egress.ip-permission.cidr=10.0.0.0/8": 0,
		"egress.ip-permission.cidr=0.0.0.0/0": 3, "egress.ip-permission.protocol=-1": 3, "ip-permission.prefix-list-id=*": 0, "egress.ip-permission.from-port=*": 0,
	} {
		name, value, _ := strings.Cut(f, "=")
		out, err := c.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{filter(name, value)}})
		if err != nil || len(out.SecurityGroups) != want {
			t.Errorf("%s: %d, %v, want %d", f, len(out.SecurityGroups), err, want)
		}
	}
	_, err = c.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{GroupIds: []string{"sg-no"}})
	wantError(t, err, "InvalidGroup.NotFound", "sg-no")
	_, err = c.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{GroupNames: []string{"web"}})
	wantError(t, err, "InvalidGroup.NotFound", "default VPC")
	if out, err := c.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{GroupNames: []string{"default"}}); err != nil || len(out.SecurityGroups) != 1 || len(out.SecurityGroups[0].IpPermissions[0].UserIdGroupPairs) != 1 {
		t.Errorf("got %+v, %v", out, err)
	}
	if out, err := c.DescribeSecurityGroupReferences(ctx, &sdkec2.DescribeSecurityGroupReferencesInput{GroupId: []string{g}}); err != nil || len(out.SecurityGroupReferenceSet) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.DescribeSecurityGroupReferences(ctx, &sdkec2.DescribeSecurityGroupReferencesInput{GroupId: []string{"sg-no"}})
	wantError(t, err, "InvalidGroup.NotFound", "sg-no")
	if out, err := c.DescribeStaleSecurityGroups(ctx, &sdkec2.DescribeStaleSecurityGroupsInput{VpcId: &v}); err != nil || len(out.StaleSecurityGroupSet) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.DeleteSecurityGroup(ctx, &sdkec2.DeleteSecurityGroupInput{GroupId: &peer})
	wantError(t, err, "DependencyViolation", g)
	for _, id := range []string{g, peer} {
		if _, err := c.DeleteSecurityGroup(ctx, &sdkec2.DeleteSecurityGroupInput{GroupId: &id}); err != nil {
			t.Error(err)
		}
	}
}

// The flat form of old clients, in the default VPC and by name.
func TestFlatRules(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	made, err := c.CreateSecurityGroup(ctx, &sdkec2.CreateSecurityGroupInput{GroupName: aws.String("old"), Description: aws.String("d")})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupName: aws.String("old"), IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), CidrIp: aws.String("192.0.2.1/24")})
	if err != nil || len(out.SecurityGroupRules) != 1 || *out.SecurityGroupRules[0].CidrIpv4 != "192.0.2.0/24" {
		t.Fatalf("got %+v, %v", out, err)
	}
	out, err = c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupName: aws.String("old"), SourceSecurityGroupName: aws.String("default"), SourceSecurityGroupOwnerId: aws.String(account)})
	if err != nil || len(out.SecurityGroupRules) != 1 || *out.SecurityGroupRules[0].IpProtocol != "-1" || out.SecurityGroupRules[0].ReferencedGroupInfo == nil {
		t.Fatalf("got %+v, %v", out, err)
	}
	gone, err := c.RevokeSecurityGroupIngress(ctx, &sdkec2.RevokeSecurityGroupIngressInput{GroupName: aws.String("old"), IpPermissions: []ec2types.IpPermission{
		permission("tcp", 23, 23, "192.0.2.0/24", "2001:db8::/32"), permission("tcp", 22, 22, "192.0.2.0/24"),
	}})
	if err != nil || len(gone.UnknownIpPermissions) != 2 || *gone.UnknownIpPermissions[0].IpRanges[0].CidrIp != "192.0.2.0/24" || *gone.UnknownIpPermissions[1].Ipv6Ranges[0].CidrIpv6 != "2001:db8::/32" {
		t.Errorf("got %+v, %v", gone, err)
	}
	if g := a.describeGroup(*made.GroupId); len(g.IpPermissions) != 1 || *g.IpPermissions[0].IpProtocol != "-1" {
		t.Errorf("left %+v", g.IpPermissions)
	}
	if _, err := c.DeleteSecurityGroup(ctx, &sdkec2.DeleteSecurityGroupInput{GroupName: aws.String("old")}); err != nil {
		t.Error(err)
	}
}

func TestSecurityGroupRules(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	v := a.vpc("10.0.0.0/16")
	g, peer := a.group(v, "g"), a.group(v, "peer")
	made, err := c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{permission("tcp", 1, 1, "10.0.0.0/8"), permission("tcp", 2, 2, "10.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	one, two := made.SecurityGroupRules[0].SecurityGroupRuleId, made.SecurityGroupRules[1].SecurityGroupRuleId
	modify := func(id *string, r *ec2types.SecurityGroupRuleRequest, more ...ec2types.SecurityGroupRuleUpdate) error {
		_, err := c.ModifySecurityGroupRules(ctx, &sdkec2.ModifySecurityGroupRulesInput{GroupId: &g, SecurityGroupRules: append(more, ec2types.SecurityGroupRuleUpdate{SecurityGroupRuleId: id, SecurityGroupRule: r})})
		return err
	}
	if err := modify(one, &ec2types.SecurityGroupRuleRequest{IpProtocol: aws.String("udp"), FromPort: aws.Int32(53), ToPort: aws.Int32(53), CidrIpv6: aws.String("2001:db8::/32"), Description: aws.String("dns")}); err != nil {
		t.Error(err)
	}
	if err := modify(two, &ec2types.SecurityGroupRuleRequest{IpProtocol: aws.String("-1"), ReferencedGroupId: &peer}); err != nil {
		t.Error(err)
	}
	wantError(t, modify(two, &ec2types.SecurityGroupRuleRequest{IpProtocol: aws.String("-1"), CidrIpv6: aws.String("::/0"), CidrIpv4: aws.String("0.0.0.0/0")}), "InvalidParameterCombination", "CidrIpv6")
	wantError(t, modify(two, &ec2types.SecurityGroupRuleRequest{IpProtocol: aws.String("-1"), CidrIpv4: aws.String("::/0")}), "InvalidParameterValue", "::/0")
	wantError(t, modify(two, nil), "InvalidParameterValue", *two)
	wantError(t, modify(two, &ec2types.SecurityGroupRuleRequest{IpProtocol: aws.String("-1"), ReferencedGroupId: &peer}, ec2types.SecurityGroupRuleUpdate{SecurityGroupRuleId: two, SecurityGroupRule: &ec2types.SecurityGroupRuleRequest{IpProtocol: aws.String("-1"), ReferencedGroupId: &peer}}), "InvalidParameterValue", "twice")

	if _, err := c.UpdateSecurityGroupRuleDescriptionsIngress(ctx, &sdkec2.UpdateSecurityGroupRuleDescriptionsIngressInput{GroupId: &g, SecurityGroupRuleDescriptions: []ec2types.SecurityGroupRuleDescription{{SecurityGroupRuleId: two, Description: aws.String("friends")}}}); err != nil {
		t.Error(err)
	}
	egress := permission("-1", 0, 0, "0.0.0.0/0")
	egress.IpRanges[0].Description = aws.String("out")
	if _, err := c.UpdateSecurityGroupRuleDescriptionsEgress(ctx, &sdkec2.UpdateSecurityGroupRuleDescriptionsEgressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{egress}}); err != nil {
		t.Error(err)
	}
	_, err = c.UpdateSecurityGroupRuleDescriptionsEgress(ctx, &sdkec2.UpdateSecurityGroupRuleDescriptionsEgressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{egress}, SecurityGroupRuleDescriptions: []ec2types.SecurityGroupRuleDescription{{SecurityGroupRuleId: two}}})
	wantError(t, err, "InvalidParameterCombination", "leave one out")
	want := []string{"false -1 -1 -1 " + peer + " friends", "false udp 53 53 2001:db8::/32 dns", "true -1 -1 -1 0.0.0.0/0 out"}
	if permissions, rules := a.views(g); !slices.Equal(rules, want) || !slices.Equal(permissions, want) {
		t.Errorf("rules %q, permissions %q, want %q", rules, permissions, want)
	}
	if out, err := c.DescribeSecurityGroupRules(ctx, &sdkec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{*one}, Filters: []ec2types.Filter{filter("security-group-rule-id", *one), filter("group-id", g)}}); err != nil || len(out.SecurityGroupRules) != 1 {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.DescribeSecurityGroupRules(ctx, &sdkec2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{"sgr-no"}})
	wantError(t, err, "InvalidSecurityGroupRuleId.NotFound", "sgr-no")
	revoke := func(in sdkec2.RevokeSecurityGroupIngressInput) error {
		in.GroupId = &g
		_, err := c.RevokeSecurityGroupIngress(ctx, &in)
		return err
	}
	wantError(t, revoke(sdkec2.RevokeSecurityGroupIngressInput{SecurityGroupRuleIds: []string{*one}, IpPermissions: []ec2types.IpPermission{egress}}), "InvalidParameterCombination", "leave one out")
	wantError(t, revoke(sdkec2.RevokeSecurityGroupIngressInput{SecurityGroupRuleIds: []string{*one, "sgr-no"}}), "InvalidSecurityGroupRuleId.NotFound", "sgr-no")
	wantError(t, revoke(sdkec2.RevokeSecurityGroupIngressInput{}), "MissingParameter", "ipPermissions")
	wantError(t, revoke(sdkec2.RevokeSecurityGroupIngressInput{DryRun: aws.Bool(true)}), "DryRunOperation", "DryRun")
	if err := revoke(sdkec2.RevokeSecurityGroupIngressInput{SecurityGroupRuleIds: []string{*one, *two}}); err != nil {
		t.Error(err)
	}
	if permissions, _ := a.views(g); len(permissions) != 1 {
		t.Errorf("left %q", permissions)
	}
}

// Rules that come and go at random, in every form, show the same in both views.
func TestRuleViewsAgree(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	v := a.vpc("10.0.0.0/16")
	g, peer := a.group(v, "g"), a.group(v, "peer")
	list, err := c.CreateManagedPrefixList(ctx, &sdkec2.CreateManagedPrefixListInput{PrefixListName: aws.String("l"), AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(2)})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 80 {
		p := permission([]string{"tcp", "6", "-1", "udp", "icmp", "50"}[random.IntN(6)], int32(random.IntN(2)), 1)
		for _, cidr := range []string{"10.0.0.0/8", "10.1.1.1/16", "::/0"} {
			if random.IntN(2) == 0 {
				more := permission("", 0, 0, cidr)
				p.IpRanges, p.Ipv6Ranges = append(p.IpRanges, more.IpRanges...), append(p.Ipv6Ranges, more.Ipv6Ranges...)
			}
		}
		if random.IntN(3) == 0 {
			p.UserIdGroupPairs = []ec2types.UserIdGroupPair{{GroupId: &peer}}
		}
		if random.IntN(3) == 0 {
			p.PrefixListIds = []ec2types.PrefixListId{{PrefixListId: list.PrefixList.PrefixListId}}
		}
		permissions := []ec2types.IpPermission{p}
		switch random.IntN(4) { // errors are part of the game
		case 0:
			_, _ = c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: permissions})
		case 1:
			_, _ = c.AuthorizeSecurityGroupEgress(ctx, &sdkec2.AuthorizeSecurityGroupEgressInput{GroupId: &g, IpPermissions: permissions})
		case 2:
			_, _ = c.RevokeSecurityGroupIngress(ctx, &sdkec2.RevokeSecurityGroupIngressInput{GroupId: &g, IpPermissions: permissions})
		default:
			_, _ = c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpProtocol: aws.String("tcp"), FromPort: aws.Int32(1), ToPort: aws.Int32(1), CidrIp: aws.String("10.0.0.0/8")})
		}
		permissions1, rules := a.views(g)
		if !slices.Equal(permissions1, rules) {
			t.Fatalf("permissions %q, rules %q", permissions1, rules)
		}
		if len(slices.Compact(rules)) != len(permissions1) {
			t.Fatalf("a rule is there twice: %q", permissions1)
		}
	}
	if _, rules := a.views(g); len(rules) < 5 {
		t.Errorf("only %d rules: the test tests nothing", len(rules))
	}
}

func TestManagedPrefixLists(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	made, err := c.CreateManagedPrefixList(ctx, &sdkec2.CreateManagedPrefixListInput{
		PrefixListName: aws.String("office"), AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(5), Entries: []ec2types.AddPrefixListEntry{{Cidr: aws.String("192.0.2.0/24"), Description: aws.String("a")}},
		TagSpecifications: tagged("prefix-list", "Name", "o"), ClientToken: aws.String("t"),
	})
	if err != nil {
		t.Fatal(err)
	}
	id := made.PrefixList.PrefixListId
	if l := made.PrefixList; *l.Version != 1 || l.State != "create-complete" || *l.OwnerId != account || *l.PrefixListArn != "arn:aws:ec2:us-east-1:"+account+":prefix-list/"+*id || *l.Tags[0].Value != "o" {
		t.Errorf("got %+v", l)
	}
	entries := func(version *int64) string {
		out, err := c.GetManagedPrefixListEntries(ctx, &sdkec2.GetManagedPrefixListEntriesInput{PrefixListId: id, TargetVersion: version})
		if err != nil {
			return err.Error()
		}
		var text []string
		for _, e := range out.Entries {
			text = append(text, *e.Cidr+" "+aws.ToString(e.Description))
		}
		return strings.Join(text, ", ")
	}
	// A new description comes as a removal and then an addition.
	if _, err := c.ModifyManagedPrefixList(ctx, &sdkec2.ModifyManagedPrefixListInput{PrefixListId: id, CurrentVersion: aws.Int64(1), RemoveEntries: []ec2types.RemovePrefixListEntry{{Cidr: aws.String("192.0.2.0/24")}}}); err != nil {
		t.Error(err)
	}
	changed, err := c.ModifyManagedPrefixList(ctx, &sdkec2.ModifyManagedPrefixListInput{PrefixListId: id, CurrentVersion: aws.Int64(2), AddEntries: []ec2types.AddPrefixListEntry{{Cidr: aws.String("192.0.2.0/24"), Description: aws.String("b")}}})
	if err != nil || *changed.PrefixList.PrefixListName != "office" || *changed.PrefixList.Version != 3 || changed.PrefixList.State != "modify-complete" || *changed.PrefixList.MaxEntries != 5 {
		t.Errorf("got %+v, %v", changed, err)
	}
	if entries(nil) != "192.0.2.0/24 b" || entries(aws.Int64(1)) != "192.0.2.0/24 a" || entries(aws.Int64(2)) != "" || !strings.Contains(entries(aws.Int64(9)), "InvalidPrefixListVersion.NotFound") {
		t.Errorf("entries %q, %q, %q, %q", entries(nil), entries(aws.Int64(1)), entries(aws.Int64(2)), entries(aws.Int64(9)))
	}
	_, err = c.ModifyManagedPrefixList(ctx, &sdkec2.ModifyManagedPrefixListInput{PrefixListId: id, CurrentVersion: aws.Int64(1), PrefixListName: aws.String("x")})
	wantError(t, err, "PrefixListVersionMismatch", "prefix list has the incorrect version number")
	restored, err := c.RestoreManagedPrefixListVersion(ctx, &sdkec2.RestoreManagedPrefixListVersionInput{PrefixListId: id, PreviousVersion: aws.Int64(1), CurrentVersion: aws.Int64(3)})
	if err != nil || restored.PrefixList.State != "restore-complete" || entries(nil) != "192.0.2.0/24 a" {
		t.Errorf("got %+v, %v", restored, err)
	}
	for f, want := range map[string]int{"prefix-list-name=office": 1, "prefix-list-id=" + *id: 1, "owner-id=AWS": 3, "owner-id=" + account: 1, "tag:Name=o": 1, "prefix-list-name=com.amazonaws.global.cloudfront.*": 1} {
		name, value, _ := strings.Cut(f, "=")
		out, err := c.DescribeManagedPrefixLists(ctx, &sdkec2.DescribeManagedPrefixListsInput{Filters: []ec2types.Filter{filter(name, value)}})
		if err != nil || len(out.PrefixLists) != want {
			t.Errorf("%s: %+v, %v, want %d", f, out, err, want)
		}
	}
	_, err = c.DescribeManagedPrefixLists(ctx, &sdkec2.DescribeManagedPrefixListsInput{PrefixListIds: []string{"pl-no"}})
	wantError(t, err, "InvalidPrefixListID.NotFound", "pl-no")
	owned, err := c.DescribePrefixLists(ctx, &sdkec2.DescribePrefixListsInput{Filters: []ec2types.Filter{filter("prefix-list-name", "com.amazonaws.us-east-1.s3")}})
	if err != nil || len(owned.PrefixLists) != 1 {
		t.Fatalf("got %+v, %v", owned, err)
	}
	_, err = c.DeleteManagedPrefixList(ctx, &sdkec2.DeleteManagedPrefixListInput{PrefixListId: owned.PrefixLists[0].PrefixListId})
	wantError(t, err, "UnauthorizedOperation", "AWS's")
	g := a.group(a.vpc("10.0.0.0/16"), "g")
	rule := ec2types.IpPermission{IpProtocol: aws.String("-1"), PrefixListIds: []ec2types.PrefixListId{{PrefixListId: id}}}
	if _, err := c.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{rule}}); err != nil {
		t.Fatal(err)
	}
	if uses, err := c.GetManagedPrefixListAssociations(ctx, &sdkec2.GetManagedPrefixListAssociationsInput{PrefixListId: id}); err != nil || len(uses.PrefixListAssociations) != 1 || *uses.PrefixListAssociations[0].ResourceId != g || *uses.PrefixListAssociations[0].ResourceOwner != account {
		t.Errorf("got %+v, %v", uses, err)
	}
	_, err = c.DeleteManagedPrefixList(ctx, &sdkec2.DeleteManagedPrefixListInput{PrefixListId: id})
	wantError(t, err, "DependencyViolation", g)
	if _, err := c.RevokeSecurityGroupIngress(ctx, &sdkec2.RevokeSecurityGroupIngressInput{GroupId: &g, IpPermissions: []ec2types.IpPermission{rule}}); err != nil {
		t.Error(err)
	}
	if gone, err := c.DeleteManagedPrefixList(ctx, &sdkec2.DeleteManagedPrefixListInput{PrefixListId: id}); err != nil || gone.PrefixList.State != "delete-complete" {
		t.Errorf("got %+v, %v", gone, err)
	}
}

func TestKeyPairs(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINOXUlSTBPoojDvKdPjHEvhoJJedoYyXRMV+5edUYCYE me@host"
	in, err := c.ImportKeyPair(ctx, &sdkec2.ImportKeyPairInput{KeyName: aws.String("deploy"), PublicKeyMaterial: []byte(line), TagSpecifications: tagged("key-pair", "Name", "d")})
	if err != nil || *in.KeyFingerprint != "aaoc2cnhjjasuY6k1f6GQymZA/KnhB9FEH/XIoRaO40=" || *in.KeyName != "deploy" || *in.Tags[0].Value != "d" {
		t.Fatalf("got %+v, %v", in, err)
	}
	made, err := c.CreateKeyPair(ctx, &sdkec2.CreateKeyPairInput{KeyName: aws.String("made"), KeyType: "ed25519"})
	if err != nil || !strings.HasPrefix(*made.KeyMaterial, "-----BEGIN OPENSSH PRIVATE KEY-----\n") {
		t.Fatalf("got %+v, %v", made, err)
	}
	_, err = c.CreateKeyPair(ctx, &sdkec2.CreateKeyPairInput{KeyName: aws.String("putty"), KeyFormat: "ppk"})
	wantError(t, err, "InvalidParameterValue", "ppk")
	_, err = c.ImportKeyPair(ctx, &sdkec2.ImportKeyPairInput{KeyName: aws.String("deploy"), PublicKeyMaterial: []byte(line)})
	wantError(t, err, "InvalidKeyPair.Duplicate", "deploy")
	_, err = c.CreateKeyPair(ctx, &sdkec2.CreateKeyPairInput{KeyName: aws.String("dry"), DryRun: aws.Bool(true)})
	wantError(t, err, "DryRunOperation", "DryRun")
	for name, q := range map[string]sdkec2.DescribeKeyPairsInput{
		"name": {KeyNames: []string{"deploy"}}, "id": {KeyPairIds: []string{*in.KeyPairId}}, "filter": {Filters: []ec2types.Filter{filter("key-name", "dep*")}},
		"fingerprint": {Filters: []ec2types.Filter{filter("fingerprint", *in.KeyFingerprint)}}, "tag": {Filters: []ec2types.Filter{filter("tag:Name", "d")}}, "key-pair-id": {Filters: []ec2types.Filter{filter("key-pair-id", *in.KeyPairId)}},
	} {
		q.IncludePublicKey = aws.Bool(name == "name")
		out, err := c.DescribeKeyPairs(ctx, &q)
		if err != nil || len(out.KeyPairs) != 1 || *out.KeyPairs[0].KeyPairId != *in.KeyPairId || out.KeyPairs[0].KeyType != "ed25519" || out.KeyPairs[0].CreateTime == nil {
			t.Errorf("%s: %+v, %v", name, out, err)
			continue
		}
		if key := aws.ToString(out.KeyPairs[0].PublicKey); (key != "") != (name == "name") || key != "" && strings.TrimSuffix(key, " deploy") != strings.TrimSuffix(line, " me@host") {
			t.Errorf("%s: public key %q", name, key)
		}
	}
	_, err = c.DescribeKeyPairs(ctx, &sdkec2.DescribeKeyPairsInput{KeyNames: []string{"no"}})
	wantError(t, err, "InvalidKeyPair.NotFound", "'no'")
	_, err = c.DescribeKeyPairs(ctx, &sdkec2.DescribeKeyPairsInput{KeyPairIds: []string{"key-no"}})
	wantError(t, err, "InvalidKeyPair.NotFound", "key-no")
	for range 2 {
		if out, err := c.DeleteKeyPair(ctx, &sdkec2.DeleteKeyPairInput{KeyName: aws.String("deploy")}); err != nil || !*out.Return {
			t.Errorf("got %+v, %v", out, err)
		}
	}
	if out, err := c.DescribeKeyPairs(ctx, &sdkec2.DescribeKeyPairsInput{}); err != nil || len(out.KeyPairs) != 1 {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestFlowLogs(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	v := a.vpc("10.0.0.0/16")
	in := sdkec2.CreateFlowLogsInput{
		ResourceIds: []string{v}, ResourceType: "VPC", TrafficType: "ALL", LogDestination: aws.String("arn:aws:logs:us-east-1:" + account + ":log-group:/vpc/flow"), LogDestinationType: "cloud-watch-logs",
		DeliverLogsPermissionArn: aws.String("arn:aws:iam::" + account + ":role/flow"), MaxAggregationInterval: aws.Int32(60), ClientToken: aws.String("t"), TagSpecifications: tagged("vpc-flow-log", "Name", "f"),
	}
	made, err := c.CreateFlowLogs(ctx, &in)
	if err != nil || len(made.FlowLogIds) != 1 || len(made.Unsuccessful) != 0 || *made.ClientToken != "t" {
		t.Fatalf("got %+v, %v", made, err)
	}
	id := made.FlowLogIds[0]
	out, err := c.DescribeFlowLogs(ctx, &sdkec2.DescribeFlowLogsInput{FlowLogIds: []string{id, "fl-no"}})
	if err != nil || len(out.FlowLogs) != 1 {
		t.Fatalf("got %+v, %v", out, err)
	}
	if l := out.FlowLogs[0]; *l.FlowLogStatus != "ACTIVE" || *l.LogDestination != *in.LogDestination || *l.LogGroupName != "/vpc/flow" || l.LogDestinationType != "cloud-watch-logs" || *l.MaxAggregationInterval != 60 ||
		*l.DeliverLogsPermissionArn != *in.DeliverLogsPermissionArn || l.TrafficType != "ALL" || *l.ResourceId != v || !strings.HasPrefix(*l.LogFormat, "${version} ${account-id} ") || *l.Tags[0].Value != "f" || *l.DeliverLogsStatus != "SUCCESS" {
		t.Errorf("got %+v", l)
	}
	for f, want := range map[string]int{"resource-id=" + v: 1, "flow-log-id=" + id: 1, "traffic-type=REJECT": 0, "log-group-name=/vpc/*": 1, "log-destination-type=s3": 0, "deliver-log-status=SUCCESS": 1, "tag:Name=f": 1} {
		name, value, _ := strings.Cut(f, "=")
		out, err := c.DescribeFlowLogs(ctx, &sdkec2.DescribeFlowLogsInput{Filter: []ec2types.Filter{filter(name, value)}})
		if err != nil || len(out.FlowLogs) != want {
			t.Errorf("%s: %+v, %v, want %d", f, out, err, want)
		}
	}
	if again, err := c.CreateFlowLogs(ctx, &in); err != nil || !slices.Equal(again.FlowLogIds, made.FlowLogIds) {
		t.Errorf("the same token gave %+v, %v", again, err)
	}
	in.ClientToken = nil
	_, err = c.CreateFlowLogs(ctx, &in)
	wantError(t, err, "FlowLogAlreadyExists", id)
	bucket := in
	bucket.LogDestinationType, bucket.LogDestination = "s3", aws.String("arn:aws:s3:::bucket")
	if out, err := c.CreateFlowLogs(ctx, &bucket); err != nil || len(out.FlowLogIds) != 0 || len(out.Unsuccessful) != 1 || *out.Unsuccessful[0].ResourceId != v || !strings.Contains(*out.Unsuccessful[0].Error.Message, "s3") {
		t.Errorf("got %+v, %v", out, err)
	}
	options := in
	options.DestinationOptions = &ec2types.DestinationOptionsRequest{FileFormat: "parquet"}
	_, err = c.CreateFlowLogs(ctx, &options)
	wantError(t, err, "InvalidParameterValue", "DestinationOptions")
	dry := in
	dry.DryRun = aws.Bool(true)
	_, err = c.CreateFlowLogs(ctx, &dry)
	wantError(t, err, "DryRunOperation", "DryRun")
	gone, err := c.DeleteFlowLogs(ctx, &sdkec2.DeleteFlowLogsInput{FlowLogIds: []string{id, "fl-no"}})
	if err != nil || len(gone.Unsuccessful) != 1 || *gone.Unsuccessful[0].Error.Code != "InvalidFlowLogId.NotFound" || *gone.Unsuccessful[0].ResourceId != "fl-no" {
		t.Errorf("got %+v, %v", gone, err)
	}
	if out, err := c.DescribeFlowLogs(ctx, &sdkec2.DescribeFlowLogsInput{FlowLogIds: []string{id}}); err != nil || len(out.FlowLogs) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
}
