package ec2

import (
	"context"
	"strconv"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// CreateNetworkAcl makes a network ACL.
func (h *Handler) CreateNetworkAcl(ctx context.Context, in *api.CreateNetworkAclInput) (*api.CreateNetworkAclOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeNetworkAcl)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	a, err := h.control.CreateACL(ctx, caller.Scope(ctx), app.VPCID(*in.VpcId), member.Value(in.ClientToken), tags[api.ResourceTypeNetworkAcl])
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateNetworkAclOutput{NetworkAcl: new(aclShape(a)), ClientToken: in.ClientToken}, nil
}

// ofEntries makes a filter of an entry's value.
func ofEntries(of func(api.NetworkAclEntry) string) func(control.ACLDetail) []string {
	return func(a control.ACLDetail) (out []string) {
		for _, e := range a.Entries {
			if v := of(entryShape(e)); v != "" {
				out = append(out, v)
			}
		}
		return out
	}
}

// aclProtocols are the protocols of entries by number and by name, as filters may have either.
func aclProtocols(a control.ACLDetail) (out []string) {
	for _, e := range a.Entries {
		out = append(out, strconv.Itoa(e.Protocol), app.ProtocolName(e.Protocol))
	}
	return out
}

// ofGuarded makes a filter of an association's value.
func ofGuarded(of func(app.ACLAssociation) string) func(control.ACLDetail) []string {
	return func(a control.ACLDetail) []string { return shapes(a.Associations, of) }
}

// number is a number as text, "" when it is absent.
func number(n *int32) string {
	if n == nil {
		return ""
	}
	return decimal(*n)
}

// acls is how network ACLs are selected.
var acls = described[control.ACLDetail]{
	id:   func(a control.ACLDetail) string { return string(a.ID) },
	tags: func(a control.ACLDetail) app.Tags { return a.Tags },
	filters: map[string]func(control.ACLDetail) []string{
		"association.association-id": ofGuarded(func(a app.ACLAssociation) string { return string(a.ID) }),
		"association.network-acl-id": one(func(a control.ACLDetail) string { return string(a.ID) }),
		"association.subnet-id":      ofGuarded(func(a app.ACLAssociation) string { return string(a.Subnet) }),
		"default":                    flag(func(a control.ACLDetail) bool { return a.Default }),
		"entry.cidr":                 ofEntries(func(e api.NetworkAclEntry) string { return member.Value(e.CidrBlock) }),
		"entry.egress":               ofEntries(func(e api.NetworkAclEntry) string { return strconv.FormatBool(*e.Egress) }),
		"entry.icmp.code":            ofEntries(func(e api.NetworkAclEntry) string { return number(member.Value(e.IcmpTypeCode).Code) }),
		"entry.icmp.type":            ofEntries(func(e api.NetworkAclEntry) string { return number(member.Value(e.IcmpTypeCode).Type) }),
		"entry.ipv6-cidr":            ofEntries(func(e api.NetworkAclEntry) string { return member.Value(e.Ipv6CidrBlock) }),
		"entry.port-range.from":      ofEntries(func(e api.NetworkAclEntry) string { return number(member.Value(e.PortRange).From) }),
		"entry.port-range.to":        ofEntries(func(e api.NetworkAclEntry) string { return number(member.Value(e.PortRange).To) }),
		"entry.protocol":             aclProtocols,
		"entry.rule-action":          ofEntries(func(e api.NetworkAclEntry) string { return string(e.RuleAction) }),
		"entry.rule-number":          ofEntries(func(e api.NetworkAclEntry) string { return decimal(*e.RuleNumber) }),
		"network-acl-id":             one(func(a control.ACLDetail) string { return string(a.ID) }),
		"owner-id":                   one(func(a control.ACLDetail) string { return string(a.Scope.Account) }),
		"vpc-id":                     one(func(a control.ACLDetail) string { return string(a.VPC) }),
	},
}

// DescribeNetworkAcls shows network ACLs.
func (h *Handler) DescribeNetworkAcls(ctx context.Context, in *api.DescribeNetworkAclsInput) (*api.DescribeNetworkAclsOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeACLs, query{ids: in.NetworkAclIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("acl-")}, acls)
	if err != nil {
		return nil, err
	}
	return &api.DescribeNetworkAclsOutput{NetworkAcls: shapes(page, aclShape), NextToken: next}, nil
}

func aclShape(a control.ACLDetail) api.NetworkAcl {
	return api.NetworkAcl{
		NetworkAclId: new(string(a.ID)), VpcId: new(string(a.VPC)), OwnerId: new(string(a.Scope.Account)), IsDefault: &a.Default, Entries: shapes(a.Entries, entryShape),
		Associations: shapes(a.Associations, func(x app.ACLAssociation) api.NetworkAclAssociation {
			return api.NetworkAclAssociation{NetworkAclAssociationId: new(string(x.ID)), NetworkAclId: new(string(a.ID)), SubnetId: new(string(x.Subnet))}
		}),
		Tags: tagList(a.Tags),
	}
}

// entryShape shows an entry; its protocol is always a number.
func entryShape(e app.ACLEntry) api.NetworkAclEntry {
	out := api.NetworkAclEntry{
		RuleNumber: member.Int32(e.Number), Egress: &e.Egress, RuleAction: api.RuleActionDeny, Protocol: new(strconv.Itoa(e.Protocol)),
	}
	if e.Allow {
		out.RuleAction = api.RuleActionAllow
	}
	if e.CIDR.Addr().Is4() {
		out.CidrBlock = new(e.CIDR.String())
	} else {
		out.Ipv6CidrBlock = new(e.CIDR.String())
	}
	switch e.Protocol {
	case 6, 17:
		out.PortRange = &api.PortRange{From: member.Int32(e.FromPort), To: member.Int32(e.ToPort)}
	case 1, 58:
		out.IcmpTypeCode = &api.IcmpTypeCode{Type: member.Int32(e.FromPort), Code: member.Int32(e.ToPort)}
	}
	return out
}

// DeleteNetworkAcl removes a network ACL.
func (h *Handler) DeleteNetworkAcl(ctx context.Context, in *api.DeleteNetworkAclInput) (*api.DeleteNetworkAclOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteACL(ctx, caller.Scope(ctx), app.NetworkACLID(*in.NetworkAclId)))
}

// aclEntry reads an entry. Blocks of IPv6 are kept and match nothing, because templates bring them along.
func aclEntry(in api.NetworkAclEntry) (control.ACLEntryInput, error) {
	out := control.ACLEntryInput{
		Number: int(*in.RuleNumber), Egress: member.Value(in.Egress), Allow: in.RuleAction == api.RuleActionAllow, Protocol: *in.Protocol,
		CIDR: member.Value(in.CidrBlock) + member.Value(in.Ipv6CidrBlock), Family: ipv4,
	}
	switch {
	case in.CidrBlock != nil && in.Ipv6CidrBlock != nil:
		return out, invalid("CidrBlock and Ipv6CidrBlock cannot both be given: leave one out")
	case in.Ipv6CidrBlock != nil:
		out.Family = ipv6
	}
	if p := in.PortRange; p != nil {
		out.From, out.To = member.Int(p.From), member.Int(p.To)
	}
	if i := in.IcmpTypeCode; i != nil {
		out.Type, out.Code = member.Int(i.Type), member.Int(i.Code)
	}
	return out, nil
}

// CreateNetworkAclEntry adds an entry.
func (h *Handler) CreateNetworkAclEntry(ctx context.Context, in *api.CreateNetworkAclEntryInput) (*api.CreateNetworkAclEntryOutput, error) {
	e, err := aclEntry(api.NetworkAclEntry{
		RuleNumber: in.RuleNumber, Egress: in.Egress, RuleAction: in.RuleAction, Protocol: in.Protocol, CidrBlock: in.CidrBlock, Ipv6CidrBlock: in.Ipv6CidrBlock,
		PortRange: in.PortRange, IcmpTypeCode: in.IcmpTypeCode,
	})
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.CreateACLEntry(ctx, caller.Scope(ctx), app.NetworkACLID(*in.NetworkAclId), e))
}

// ReplaceNetworkAclEntry changes an entry.
func (h *Handler) ReplaceNetworkAclEntry(ctx context.Context, in *api.ReplaceNetworkAclEntryInput) (*api.ReplaceNetworkAclEntryOutput, error) {
	e, err := aclEntry(api.NetworkAclEntry{
		RuleNumber: in.RuleNumber, Egress: in.Egress, RuleAction: in.RuleAction, Protocol: in.Protocol, CidrBlock: in.CidrBlock, Ipv6CidrBlock: in.Ipv6CidrBlock,
		PortRange: in.PortRange, IcmpTypeCode: in.IcmpTypeCode,
	})
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.ReplaceACLEntry(ctx, caller.Scope(ctx), app.NetworkACLID(*in.NetworkAclId), e))
}

// DeleteNetworkAclEntry removes an entry.
func (h *Handler) DeleteNetworkAclEntry(ctx context.Context, in *api.DeleteNetworkAclEntryInput) (*api.DeleteNetworkAclEntryOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteACLEntry(ctx, caller.Scope(ctx), app.NetworkACLID(*in.NetworkAclId), int(*in.RuleNumber), member.Value(in.Egress)))
}

// ReplaceNetworkAclAssociation makes another network ACL guard a subnet.
func (h *Handler) ReplaceNetworkAclAssociation(ctx context.Context, in *api.ReplaceNetworkAclAssociationInput) (*api.ReplaceNetworkAclAssociationOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	id, err := h.control.ReplaceACLAssociation(ctx, caller.Scope(ctx), app.AssociationID(*in.AssociationId), app.NetworkACLID(*in.NetworkAclId))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ReplaceNetworkAclAssociationOutput{NewAssociationId: new(string(id))}, nil
}
