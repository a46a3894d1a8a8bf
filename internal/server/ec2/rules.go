package ec2

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// The address families of blocks.
const (
	ipv4 = "IPv4"
	ipv6 = "IPv6"
)

// legacy is a rule in the flat form.
type legacy struct {
	cidr, protocol, groupName, groupOwner *string
	from, to                              *int32
}

// ruleInputs turns permissions and the flat form into rules, one for each peer.
func ruleInputs(permissions []api.IpPermission, flat legacy) []control.RuleInput {
	var out []control.RuleInput
	for _, p := range permissions {
		base := control.RuleInput{Protocol: member.Value(p.IpProtocol), From: member.Int(p.FromPort), To: member.Int(p.ToPort)}
		before := len(out)
		add := func(set func(*control.RuleInput), text *string) {
			r := base
			r.Description = member.Value(text)
			set(&r)
			out = append(out, r)
		}
		for _, x := range p.IpRanges {
			add(func(r *control.RuleInput) { r.CIDR, r.Family = member.Value(x.CidrIp), ipv4 }, x.Description)
		}
		for _, x := range p.Ipv6Ranges {
			add(func(r *control.RuleInput) { r.CIDR, r.Family = member.Value(x.CidrIpv6), ipv6 }, x.Description)
		}
		for _, x := range p.PrefixListIds {
			add(func(r *control.RuleInput) { r.PrefixList = app.PrefixListID(member.Value(x.PrefixListId)) }, x.Description)
		}
		for _, x := range p.UserIdGroupPairs {
			add(func(r *control.RuleInput) {
				r.Peer, r.PeerName, r.PeerAccount = app.GroupID(member.Value(x.GroupId)), member.Value(x.GroupName), app.AccountID(member.Value(x.UserId))
				r.Peering = member.Value(x.VpcPeeringConnectionId)
			}, x.Description)
		}
		if len(out) == before {
			out = append(out, base) // no peer: control says so
		}
	}
	if flat.protocol != nil || flat.cidr != nil || flat.groupName != nil {
		protocol := member.Value(flat.protocol)
		if protocol == "" && flat.groupName != nil {
			protocol = "-1"
		}
		out = append(out, control.RuleInput{
			Protocol: protocol, From: member.Int(flat.from), To: member.Int(flat.to), CIDR: member.Value(flat.cidr), Family: ipv4,
			PeerName: member.Value(flat.groupName), PeerAccount: app.AccountID(member.Value(flat.groupOwner)),
		})
	}
	return out
}

func (h *Handler) authorize(ctx context.Context, ref control.GroupRef, egress bool, rules []control.RuleInput, specifications []api.TagSpecification, dry *bool) ([]api.SecurityGroupRule, error) {
	tags, err := newTags(specifications, api.ResourceTypeSecurityGroupRule)
	if err != nil {
		return nil, err
	}
	if err := dryRun(dry); err != nil {
		return nil, err
	}
	made, err := h.control.AuthorizeRules(ctx, caller.Scope(ctx), ref, egress, rules, tags[api.ResourceTypeSecurityGroupRule])
	if err != nil {
		return nil, wireError(err)
	}
	return shapes(made, ruleShape), nil
}

// AuthorizeSecurityGroupIngress adds rules for what may come in.
func (h *Handler) AuthorizeSecurityGroupIngress(ctx context.Context, in *api.AuthorizeSecurityGroupIngressInput) (*api.AuthorizeSecurityGroupIngressOutput, error) {
	rules := ruleInputs(in.IpPermissions, legacy{in.CidrIp, in.IpProtocol, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId, in.FromPort, in.ToPort})
	made, err := h.authorize(ctx, groupRef(in.GroupId, in.GroupName), false, rules, in.TagSpecifications, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &api.AuthorizeSecurityGroupIngressOutput{Return: new(true), SecurityGroupRules: made}, nil
}

// AuthorizeSecurityGroupEgress adds rules for what may go out.
func (h *Handler) AuthorizeSecurityGroupEgress(ctx context.Context, in *api.AuthorizeSecurityGroupEgressInput) (*api.AuthorizeSecurityGroupEgressOutput, error) {
	rules := ruleInputs(in.IpPermissions, legacy{in.CidrIp, in.IpProtocol, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId, in.FromPort, in.ToPort})
	made, err := h.authorize(ctx, groupRef(in.GroupId, nil), true, rules, in.TagSpecifications, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &api.AuthorizeSecurityGroupEgressOutput{Return: new(true), SecurityGroupRules: made}, nil
}

func (h *Handler) revoke(ctx context.Context, ref control.GroupRef, egress bool, rules []control.RuleInput, ids []string, dry *bool) ([]api.IpPermission, error) {
	if err := dryRun(dry); err != nil {
		return nil, err
	}
	switch {
	case len(ids) > 0 && len(rules) > 0:
		return nil, &wire.Error{Code: "InvalidParameterCombination", Message: "SecurityGroupRuleIds and permissions cannot both be given: leave one out"}
	case len(ids) > 0:
		list := shapes(ids, func(id string) app.RuleID { return app.RuleID(id) })
		return []api.IpPermission{}, wireError(h.control.RevokeRulesByID(ctx, caller.Scope(ctx), ref, egress, list))
	}
	unknown, err := h.control.RevokeRules(ctx, caller.Scope(ctx), ref, egress, rules)
	if err != nil {
		return nil, wireError(err)
	}
	return shapes(unknown, unknownShape), nil
}

func unknownShape(in control.RuleInput) api.IpPermission {
	p := api.IpPermission{IpProtocol: &in.Protocol, IpRanges: []api.IpRange{}}
	if in.From != nil {
		p.FromPort = member.Int32(*in.From)
	}
	if in.To != nil {
		p.ToPort = member.Int32(*in.To)
	}
	switch {
	case in.Peer != "":
		p.UserIdGroupPairs = []api.UserIdGroupPair{{GroupId: new(string(in.Peer))}}
	case in.PrefixList != "":
		p.PrefixListIds = []api.PrefixListId{{PrefixListId: new(string(in.PrefixList))}}
	case in.PeerName != "":
		p.UserIdGroupPairs = []api.UserIdGroupPair{{GroupName: &in.PeerName}}
	case in.Family == ipv6:
		p.Ipv6Ranges = []api.Ipv6Range{{CidrIpv6: &in.CIDR}}
	default:
		p.IpRanges = []api.IpRange{{CidrIp: &in.CIDR}}
	}
	return p
}

// RevokeSecurityGroupIngress removes rules for what may come in.
func (h *Handler) RevokeSecurityGroupIngress(ctx context.Context, in *api.RevokeSecurityGroupIngressInput) (*api.RevokeSecurityGroupIngressOutput, error) {
	rules := ruleInputs(in.IpPermissions, legacy{in.CidrIp, in.IpProtocol, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId, in.FromPort, in.ToPort})
	unknown, err := h.revoke(ctx, groupRef(in.GroupId, in.GroupName), false, rules, in.SecurityGroupRuleIds, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &api.RevokeSecurityGroupIngressOutput{Return: new(true), UnknownIpPermissions: unknown}, nil
}

// RevokeSecurityGroupEgress removes rules for what may go out.
func (h *Handler) RevokeSecurityGroupEgress(ctx context.Context, in *api.RevokeSecurityGroupEgressInput) (*api.RevokeSecurityGroupEgressOutput, error) {
	rules := ruleInputs(in.IpPermissions, legacy{in.CidrIp, in.IpProtocol, in.SourceSecurityGroupName, in.SourceSecurityGroupOwnerId, in.FromPort, in.ToPort})
	unknown, err := h.revoke(ctx, groupRef(in.GroupId, nil), true, rules, in.SecurityGroupRuleIds, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &api.RevokeSecurityGroupEgressOutput{Return: new(true), UnknownIpPermissions: unknown}, nil
}

// ModifySecurityGroupRules replaces rules, which keep their ids.
func (h *Handler) ModifySecurityGroupRules(ctx context.Context, in *api.ModifySecurityGroupRulesInput) (*api.ModifySecurityGroupRulesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	rules := map[app.RuleID]control.RuleInput{}
	for _, u := range in.SecurityGroupRules {
		id := app.RuleID(*u.SecurityGroupRuleId)
		if _, twice := rules[id]; twice || u.SecurityGroupRule == nil {
			return nil, invalid("The rule " + string(id) + " is given twice or without SecurityGroupRule: give once what it is to allow")
		}
		r := u.SecurityGroupRule
		if r.CidrIpv4 != nil && r.CidrIpv6 != nil {
			return nil, &wire.Error{Code: "InvalidParameterCombination", Message: "The rule " + string(id) + " has both CidrIpv4 and CidrIpv6: leave one out"}
		}
		rules[id] = control.RuleInput{
			Protocol: member.Value(r.IpProtocol), From: member.Int(r.FromPort), To: member.Int(r.ToPort), CIDR: member.Value(r.CidrIpv4), Family: ipv4,
			PrefixList: app.PrefixListID(member.Value(r.PrefixListId)), Peer: app.GroupID(member.Value(r.ReferencedGroupId)), Description: member.Value(r.Description),
		}
		if r.CidrIpv6 != nil {
			changed := rules[id]
			changed.CIDR, changed.Family = *r.CidrIpv6, ipv6
			rules[id] = changed
		}
	}
	if err := h.control.ModifyRules(ctx, caller.Scope(ctx), app.GroupID(*in.GroupId), rules); err != nil {
		return nil, wireError(err)
	}
	return &api.ModifySecurityGroupRulesOutput{Return: new(true)}, nil
}

func (h *Handler) describeAs(ctx context.Context, ref control.GroupRef, egress bool, permissions []api.IpPermission, texts []api.SecurityGroupRuleDescription, dry *bool) error {
	if err := dryRun(dry); err != nil {
		return err
	}
	switch {
	case len(texts) > 0 && len(permissions) > 0:
		return &wire.Error{Code: "InvalidParameterCombination", Message: "SecurityGroupRuleDescriptions and IpPermissions cannot both be given: leave one out"}
	case len(texts) > 0:
		byID := map[app.RuleID]string{}
		for _, t := range texts {
			byID[app.RuleID(member.Value(t.SecurityGroupRuleId))] = member.Value(t.Description)
		}
		return wireError(h.control.DescribeRulesByID(ctx, caller.Scope(ctx), ref, egress, byID))
	}
	return wireError(h.control.DescribeRulesAs(ctx, caller.Scope(ctx), ref, egress, ruleInputs(permissions, legacy{})))
}

// UpdateSecurityGroupRuleDescriptionsIngress sets descriptions.
func (h *Handler) UpdateSecurityGroupRuleDescriptionsIngress(ctx context.Context, in *api.UpdateSecurityGroupRuleDescriptionsIngressInput) (*api.UpdateSecurityGroupRuleDescriptionsIngressOutput, error) {
	if err := h.describeAs(ctx, groupRef(in.GroupId, in.GroupName), false, in.IpPermissions, in.SecurityGroupRuleDescriptions, in.DryRun); err != nil {
		return nil, err
	}
	return &api.UpdateSecurityGroupRuleDescriptionsIngressOutput{Return: new(true)}, nil
}

// UpdateSecurityGroupRuleDescriptionsEgress sets descriptions.
func (h *Handler) UpdateSecurityGroupRuleDescriptionsEgress(ctx context.Context, in *api.UpdateSecurityGroupRuleDescriptionsEgressInput) (*api.UpdateSecurityGroupRuleDescriptionsEgressOutput, error) {
	if err := h.describeAs(ctx, groupRef(in.GroupId, in.GroupName), true, in.IpPermissions, in.SecurityGroupRuleDescriptions, in.DryRun); err != nil {
		return nil, err
	}
	return &api.UpdateSecurityGroupRuleDescriptionsEgressOutput{Return: new(true)}, nil
}

// groupRules is how rules are selected.
var groupRules = described[control.RuleDetail]{
	id:   func(r control.RuleDetail) string { return string(r.ID) },
	tags: func(r control.RuleDetail) app.Tags { return r.Tags },
	filters: map[string]func(control.RuleDetail) []string{
		"group-id":               one(func(r control.RuleDetail) string { return string(r.Group) }),
		"security-group-rule-id": one(func(r control.RuleDetail) string { return string(r.ID) }),
	},
}

// DescribeSecurityGroupRules shows rules one by one.
func (h *Handler) DescribeSecurityGroupRules(ctx context.Context, in *api.DescribeSecurityGroupRulesInput) (*api.DescribeSecurityGroupRulesOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeRules, query{ids: in.SecurityGroupRuleIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("sgr-")}, groupRules)
	if err != nil {
		return nil, err
	}
	return &api.DescribeSecurityGroupRulesOutput{SecurityGroupRules: shapes(page, ruleShape), NextToken: next}, nil
}

func ruleShape(r control.RuleDetail) api.SecurityGroupRule {
	out := api.SecurityGroupRule{
		SecurityGroupRuleId: new(string(r.ID)), GroupId: new(string(r.Group)), GroupOwnerId: new(string(r.Scope.Account)), IsEgress: new(r.Egress),
		IpProtocol: new(app.ProtocolName(r.Protocol)), FromPort: member.Int32(r.FromPort), ToPort: member.Int32(r.ToPort),
		CidrIpv4: member.Text(ruleIPv4(r)), CidrIpv6: member.Text(ruleIPv6(r)), PrefixListId: member.Text(r.PrefixList),
		Description: member.Text(r.Description), Tags: tagList(r.Tags),
	}
	if r.Peer != "" {
		out.ReferencedGroupInfo = &api.ReferencedSecurityGroup{GroupId: new(string(r.Peer)), UserId: new(string(r.Scope.Account)), VpcId: new(string(r.VPC))}
	}
	return out
}
