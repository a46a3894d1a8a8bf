package ec2

import (
	"context"
	"slices"
	"strconv"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

func groupRef(id, name *string) control.GroupRef {
	return control.GroupRef{ID: app.GroupID(member.Value(id)), Name: member.Value(name)}
}

// CreateSecurityGroup makes a group.
func (h *Handler) CreateSecurityGroup(ctx context.Context, in *api.CreateSecurityGroupInput) (*api.CreateSecurityGroupOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeSecurityGroup)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	g, err := h.control.CreateGroup(ctx, caller.Scope(ctx), control.CreateGroupInput{
		Name: *in.GroupName, Description: *in.Description, VPC: app.VPCID(member.Value(in.VpcId)), Tags: tags[api.ResourceTypeSecurityGroup],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateSecurityGroupOutput{GroupId: new(string(g.ID)), Tags: tagList(g.Tags)}, nil
}

// DeleteSecurityGroup removes a group.
func (h *Handler) DeleteSecurityGroup(ctx context.Context, in *api.DeleteSecurityGroupInput) (*api.DeleteSecurityGroupOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if err := h.control.DeleteGroup(ctx, caller.Scope(ctx), groupRef(in.GroupId, in.GroupName)); err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteSecurityGroupOutput{}, nil
}

// groups is how security groups are selected.
var groups = described[control.GroupDetail]{
	id:   func(g control.GroupDetail) string { return string(g.ID) },
	tags: func(g control.GroupDetail) app.Tags { return g.Tags },
	filters: map[string]func(control.GroupDetail) []string{
		"description": one(func(g control.GroupDetail) string { return g.Description }),
		"group-id":    one(func(g control.GroupDetail) string { return string(g.ID) }),
		"group-name":  one(func(g control.GroupDetail) string { return g.Name }),
		"owner-id":    one(func(g control.GroupDetail) string { return string(g.Scope.Account) }),
		"vpc-id":      one(func(g control.GroupDetail) string { return string(g.VPC) }),

		"ip-permission.cidr": ofRules(false, ruleIPv4), "egress.ip-permission.cidr": ofRules(true, ruleIPv4),
		"ip-permission.ipv6-cidr": ofRules(false, ruleIPv6), "egress.ip-permission.ipv6-cidr": ofRules(true, ruleIPv6),
		"ip-permission.from-port": ofRules(false, ruleFrom), "egress.ip-permission.from-port": ofRules(true, ruleFrom),
		"ip-permission.to-port": ofRules(false, ruleTo), "egress.ip-permission.to-port": ofRules(true, ruleTo),
		"ip-permission.protocol": ruleProtocols(false), "egress.ip-permission.protocol": ruleProtocols(true),
		"ip-permission.group-id": ofRules(false, rulePeer), "egress.ip-permission.group-id": ofRules(true, rulePeer),
		"ip-permission.group-name": ofRules(false, rulePeerName), "egress.ip-permission.group-name": ofRules(true, rulePeerName),
		"ip-permission.prefix-list-id": ofRules(false, ruleList), "egress.ip-permission.prefix-list-id": ofRules(true, ruleList),
		"ip-permission.user-id": ofRules(false, ruleUser), "egress.ip-permission.user-id": ofRules(true, ruleUser),
	},
}

// ofRules collects a value of every rule of a direction that has it.
func ofRules(egress bool, of func(control.RuleDetail) string) func(control.GroupDetail) []string {
	return func(g control.GroupDetail) (out []string) {
		for _, r := range g.Rules {
			if v := of(r); r.Egress == egress && v != "" {
				out = append(out, v)
			}
		}
		return out
	}
}

func ruleIPv4(r control.RuleDetail) string {
	if r.CIDR.IsValid() && r.CIDR.Addr().Is4() {
		return r.CIDR.String()
	}
	return ""
}

func ruleIPv6(r control.RuleDetail) string {
	if r.CIDR.IsValid() && !r.CIDR.Addr().Is4() {
		return r.CIDR.String()
	}
	return ""
}

func ruleFrom(r control.RuleDetail) string     { return portText(r, r.FromPort) }
func ruleTo(r control.RuleDetail) string       { return portText(r, r.ToPort) }
func rulePeer(r control.RuleDetail) string     { return string(r.Peer) }
func rulePeerName(r control.RuleDetail) string { return r.PeerName }
func ruleList(r control.RuleDetail) string     { return string(r.PrefixList) }

// ruleProtocols are the protocols of a direction's rules by number and by name, as filters may have either.
func ruleProtocols(egress bool) func(control.GroupDetail) []string {
	return func(g control.GroupDetail) []string {
		names := ofRules(egress, func(r control.RuleDetail) string { return app.ProtocolName(r.Protocol) })(g)
		return append(names, ofRules(egress, func(r control.RuleDetail) string { return strconv.Itoa(r.Protocol) })(g)...)
	}
}

func ruleUser(r control.RuleDetail) string {
	if r.Peer == "" {
		return ""
	}
	return string(r.Scope.Account)
}

func portText(r control.RuleDetail, port int) string {
	if !hasPorts(r.Protocol) {
		return ""
	}
	return strconv.Itoa(port)
}

// DescribeSecurityGroups shows groups with their permissions.
func (h *Handler) DescribeSecurityGroups(ctx context.Context, in *api.DescribeSecurityGroupsInput) (*api.DescribeSecurityGroupsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all, err := h.control.DescribeGroups(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	ids := in.GroupIds
	if len(in.GroupNames) > 0 {
		if all, err = h.namedGroups(ctx, all, in.GroupNames); err != nil {
			return nil, wireError(err)
		}
	}
	page, next, err := describe(query{ids: ids, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("sg-")}, all, groups)
	if err != nil {
		return nil, err
	}
	return &api.DescribeSecurityGroupsOutput{SecurityGroups: shapes(page, groupShape), NextToken: next}, nil
}

// namedGroups keeps the groups of the default VPC that have one of the names; each name has to exist.
func (h *Handler) namedGroups(ctx context.Context, all []control.GroupDetail, names []string) ([]control.GroupDetail, error) {
	ids := map[app.GroupID]bool{}
	for _, name := range names {
		id, err := h.control.GroupNamed(ctx, caller.Scope(ctx), name)
		if err != nil {
			return nil, err
		}
		ids[id] = true
	}
	return slices.DeleteFunc(all, func(g control.GroupDetail) bool { return !ids[g.ID] }), nil
}

func groupShape(g control.GroupDetail) api.SecurityGroup {
	return api.SecurityGroup{
		GroupId: new(string(g.ID)), GroupName: &g.Name, Description: &g.Description, OwnerId: new(string(g.Scope.Account)),
		VpcId: new(string(g.VPC)), Tags: tagList(g.Tags), IpPermissions: permissions(g, false), IpPermissionsEgress: permissions(g, true),
	}
}

// permissions groups the rules of a direction by protocol and ports, as EC2 shows them.
func permissions(g control.GroupDetail, egress bool) []api.IpPermission {
	type key struct{ protocol, from, to int }
	at := map[key]int{}
	out := []api.IpPermission{}
	for _, r := range g.Rules {
		if r.Egress != egress {
			continue
		}
		k := key{r.Protocol, r.FromPort, r.ToPort}
		n, ok := at[k]
		if !ok {
			n = len(out)
			at[k] = n
			out = append(out, permissionHead(r))
		}
		addPeer(&out[n], r)
	}
	return out
}

func permissionHead(r control.RuleDetail) api.IpPermission {
	p := api.IpPermission{
		IpProtocol: new(app.ProtocolName(r.Protocol)), IpRanges: []api.IpRange{}, Ipv6Ranges: []api.Ipv6Range{},
		PrefixListIds: []api.PrefixListId{}, UserIdGroupPairs: []api.UserIdGroupPair{},
	}
	if hasPorts(r.Protocol) {
		p.FromPort, p.ToPort = member.Int32(r.FromPort), member.Int32(r.ToPort)
	}
	return p
}

func addPeer(p *api.IpPermission, r control.RuleDetail) {
	text := member.Text(r.Description)
	switch {
	case r.Peer != "":
		p.UserIdGroupPairs = append(p.UserIdGroupPairs, api.UserIdGroupPair{GroupId: new(string(r.Peer)), UserId: new(string(r.Scope.Account)), Description: text})
	case r.PrefixList != "":
		p.PrefixListIds = append(p.PrefixListIds, api.PrefixListId{PrefixListId: new(string(r.PrefixList)), Description: text})
	case r.CIDR.Addr().Is4():
		p.IpRanges = append(p.IpRanges, api.IpRange{CidrIp: new(r.CIDR.String()), Description: text})
	default:
		p.Ipv6Ranges = append(p.Ipv6Ranges, api.Ipv6Range{CidrIpv6: new(r.CIDR.String()), Description: text})
	}
}

// hasPorts reports whether ports, or type and code, belong to a protocol.
func hasPorts(protocol int) bool {
	return protocol == 1 || protocol == 6 || protocol == 17 || protocol == 58
}

// DescribeSecurityGroupReferences is empty: there is no peering, so no other VPC names a group.
func (h *Handler) DescribeSecurityGroupReferences(ctx context.Context, in *api.DescribeSecurityGroupReferencesInput) (*api.DescribeSecurityGroupReferencesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all, err := h.control.DescribeGroups(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	if _, _, err := describe(query{ids: in.GroupId, missing: control.Missing("sg-")}, all, groups); err != nil {
		return nil, err
	}
	return &api.DescribeSecurityGroupReferencesOutput{SecurityGroupReferenceSet: []api.SecurityGroupReference{}}, nil
}

// DescribeStaleSecurityGroups is empty: without peering no rule can name a group that is out of reach.
func (h *Handler) DescribeStaleSecurityGroups(ctx context.Context, in *api.DescribeStaleSecurityGroupsInput) (*api.DescribeStaleSecurityGroupsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if _, err := h.control.VPC(ctx, caller.Scope(ctx), app.VPCID(*in.VpcId)); err != nil {
		return nil, wireError(err)
	}
	return &api.DescribeStaleSecurityGroupsOutput{StaleSecurityGroupSet: []api.StaleSecurityGroup{}}, nil
}
