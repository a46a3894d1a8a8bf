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

// invalid is the error for a parameter with a value that cannot be had here.
func invalid(message string) error {
	return &wire.Error{Code: "InvalidParameterValue", Message: message}
}

// onlyIPv4 refuses the parameters by which callers ask for IPv6 or for pools of addresses; given holds them by name.
func onlyIPv4(given []parameter) error {
	for _, p := range given {
		switch {
		case !p.given:
		case p.pool:
			return invalid(p.name + " cannot be given: there are no address pools here. Leave it out and give CidrBlock")
		default:
			return invalid(p.name + " cannot be given: IPv6 is off inside VPCs. Leave it out; services reach IPv6 clients through the front door")
		}
	}
	return nil
}

// parameter says whether a parameter that is not served was given; pool: it is about address pools.
type parameter struct {
	name  string
	given bool
	pool  bool
}

// CreateVpc makes a VPC.
func (h *Handler) CreateVpc(ctx context.Context, in *api.CreateVpcInput) (*api.CreateVpcOutput, error) {
	err := onlyIPv4([]parameter{
		{"AmazonProvidedIpv6CidrBlock", member.Value(in.AmazonProvidedIpv6CidrBlock), false}, {"Ipv6CidrBlock", in.Ipv6CidrBlock != nil, false},
		{"Ipv6Pool", in.Ipv6Pool != nil, false}, {"Ipv6IpamPoolId", in.Ipv6IpamPoolId != nil, false}, {"Ipv6NetmaskLength", in.Ipv6NetmaskLength != nil, false},
		{"Ipv6CidrBlockNetworkBorderGroup", in.Ipv6CidrBlockNetworkBorderGroup != nil, false},
		{"Ipv4IpamPoolId", in.Ipv4IpamPoolId != nil, true}, {"Ipv4NetmaskLength", in.Ipv4NetmaskLength != nil, true},
	})
	if err != nil {
		return nil, err
	}
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeVpc)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	v, err := h.control.CreateVPC(ctx, caller.Scope(ctx), control.CreateVPCInput{
		CIDR: member.Value(in.CidrBlock), Tenancy: string(in.InstanceTenancy), Tags: tags[api.ResourceTypeVpc],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateVpcOutput{Vpc: new(vpcShape(v))}, nil
}

// CreateDefaultVpc makes the default VPC again.
func (h *Handler) CreateDefaultVpc(ctx context.Context, in *api.CreateDefaultVpcInput) (*api.CreateDefaultVpcOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	v, err := h.control.CreateDefaultVPC(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateDefaultVpcOutput{Vpc: new(vpcShape(v))}, nil
}

// vpcs is how VPCs are selected.
var vpcs = described[control.VPCDetail]{
	id:   func(v control.VPCDetail) string { return string(v.ID) },
	tags: func(v control.VPCDetail) app.Tags { return v.Tags },
	filters: map[string]func(control.VPCDetail) []string{
		"cidr": one(vpcCIDR), "cidrBlock": one(vpcCIDR), "cidr-block": one(vpcCIDR),
		"cidr-block-association.association-id": func(v control.VPCDetail) (out []string) {
			for _, a := range vpcBlocks(v) {
				out = append(out, *a.AssociationId)
			}
			return out
		},
		"cidr-block-association.cidr-block": func(v control.VPCDetail) (out []string) {
			for _, a := range vpcBlocks(v) {
				out = append(out, *a.CidrBlock)
			}
			return out
		},
		"cidr-block-association.state":               fixed[control.VPCDetail](string(api.VpcCidrBlockStateCodeAssociated)),
		"dhcp-options-id":                            one(func(v control.VPCDetail) string { return string(v.DHCPOptions) }),
		"dhcpOptionsId":                              one(func(v control.VPCDetail) string { return string(v.DHCPOptions) }),
		"ipv6-cidr-block-association.association-id": fixed[control.VPCDetail](), "ipv6-cidr-block-association.ipv6-cidr-block": fixed[control.VPCDetail](),
		"ipv6-cidr-block-association.ipv6-pool": fixed[control.VPCDetail](), "ipv6-cidr-block-association.state": fixed[control.VPCDetail](),
		"is-default": flag(func(v control.VPCDetail) bool { return v.Default }), "isDefault": flag(func(v control.VPCDetail) bool { return v.Default }),
		"owner-id": one(func(v control.VPCDetail) string { return string(v.Scope.Account) }),
		"state":    fixed[control.VPCDetail](string(api.VpcStateAvailable)),
		"vpc-id":   one(func(v control.VPCDetail) string { return string(v.ID) }),
	},
}

func vpcCIDR(v control.VPCDetail) string { return v.CIDR.String() }

// DescribeVpcs shows VPCs.
func (h *Handler) DescribeVpcs(ctx context.Context, in *api.DescribeVpcsInput) (*api.DescribeVpcsOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeVPCs, query{ids: in.VpcIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("vpc-")}, vpcs)
	if err != nil {
		return nil, err
	}
	return &api.DescribeVpcsOutput{Vpcs: shapes(page, vpcShape), NextToken: next}, nil
}

// shapes converts every element.
func shapes[T, U any](list []T, of func(T) U) []U {
	out := make([]U, 0, len(list))
	for _, item := range list {
		out = append(out, of(item))
	}
	return out
}

func vpcShape(v control.VPCDetail) api.Vpc {
	return api.Vpc{
		VpcId: new(string(v.ID)), OwnerId: new(string(v.Scope.Account)), State: api.VpcStateAvailable, CidrBlock: new(v.CIDR.String()),
		CidrBlockAssociationSet: vpcBlocks(v), Ipv6CidrBlockAssociationSet: []api.VpcIpv6CidrBlockAssociation{}, DhcpOptionsId: new(string(v.DHCPOptions)),
		InstanceTenancy: api.Tenancy(v.Tenancy), IsDefault: new(v.Default), Tags: tagList(v.Tags),
	}
}

func vpcBlocks(v control.VPCDetail) []api.VpcCidrBlockAssociation {
	out := []api.VpcCidrBlockAssociation{block(app.CIDRAssociation{ID: v.Association(), CIDR: v.CIDR}, api.VpcCidrBlockStateCodeAssociated)}
	for _, a := range v.Secondary {
		out = append(out, block(a, api.VpcCidrBlockStateCodeAssociated))
	}
	return out
}

func block(a app.CIDRAssociation, state api.VpcCidrBlockStateCode) api.VpcCidrBlockAssociation {
	return api.VpcCidrBlockAssociation{AssociationId: new(string(a.ID)), CidrBlock: new(a.CIDR.String()), CidrBlockState: &api.VpcCidrBlockState{State: state}}
}

// DescribeVpcAttribute shows one attribute of a VPC.
func (h *Handler) DescribeVpcAttribute(ctx context.Context, in *api.DescribeVpcAttributeInput) (*api.DescribeVpcAttributeOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	v, err := h.control.VPC(ctx, caller.Scope(ctx), app.VPCID(*in.VpcId))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.DescribeVpcAttributeOutput{VpcId: new(string(v.ID))}
	switch in.Attribute {
	case api.VpcAttributeNameEnableDnsSupport:
		out.EnableDnsSupport = &api.AttributeBooleanValue{Value: &v.DNSSupport}
	case api.VpcAttributeNameEnableDnsHostnames:
		out.EnableDnsHostnames = &api.AttributeBooleanValue{Value: &v.DNSHostnames}
	case api.VpcAttributeNameEnableNetworkAddressUsageMetrics:
		out.EnableNetworkAddressUsageMetrics = &api.AttributeBooleanValue{Value: &v.UsageMetrics}
	}
	return out, nil
}

// truth is the value of an attribute that may be absent: given without a value it is false, which some clients leave out.
func truth(a *api.AttributeBooleanValue) *bool {
	if a == nil {
		return nil
	}
	return new(member.Value(a.Value))
}

// ModifyVpcAttribute changes one attribute of a VPC.
func (h *Handler) ModifyVpcAttribute(ctx context.Context, in *api.ModifyVpcAttributeInput) (*api.ModifyVpcAttributeOutput, error) {
	err := h.control.ModifyVPCAttribute(ctx, caller.Scope(ctx), app.VPCID(*in.VpcId), control.VPCAttributes{
		DNSSupport: truth(in.EnableDnsSupport), DNSHostnames: truth(in.EnableDnsHostnames), UsageMetrics: truth(in.EnableNetworkAddressUsageMetrics),
	})
	return nil, wireError(err)
}

// DeleteVpc removes a VPC that holds nothing but its defaults.
func (h *Handler) DeleteVpc(ctx context.Context, in *api.DeleteVpcInput) (*api.DeleteVpcOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteVPC(ctx, caller.Scope(ctx), app.VPCID(*in.VpcId)))
}

// AssociateVpcCidrBlock gives a VPC a further block.
func (h *Handler) AssociateVpcCidrBlock(ctx context.Context, in *api.AssociateVpcCidrBlockInput) (*api.AssociateVpcCidrBlockOutput, error) {
	err := onlyIPv4([]parameter{
		{"AmazonProvidedIpv6CidrBlock", member.Value(in.AmazonProvidedIpv6CidrBlock), false}, {"Ipv6CidrBlock", in.Ipv6CidrBlock != nil, false},
		{"Ipv6Pool", in.Ipv6Pool != nil, false}, {"Ipv6IpamPoolId", in.Ipv6IpamPoolId != nil, false}, {"Ipv6NetmaskLength", in.Ipv6NetmaskLength != nil, false},
		{"Ipv6CidrBlockNetworkBorderGroup", in.Ipv6CidrBlockNetworkBorderGroup != nil, false},
		{"Ipv4IpamPoolId", in.Ipv4IpamPoolId != nil, true}, {"Ipv4NetmaskLength", in.Ipv4NetmaskLength != nil, true},
	})
	if err != nil {
		return nil, err
	}
	a, err := h.control.AssociateVPCBlock(ctx, caller.Scope(ctx), app.VPCID(*in.VpcId), member.Value(in.CidrBlock))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.AssociateVpcCidrBlockOutput{VpcId: in.VpcId, CidrBlockAssociation: new(block(a, api.VpcCidrBlockStateCodeAssociating))}, nil
}

// DisassociateVpcCidrBlock takes a secondary block from its VPC.
func (h *Handler) DisassociateVpcCidrBlock(ctx context.Context, in *api.DisassociateVpcCidrBlockInput) (*api.DisassociateVpcCidrBlockOutput, error) {
	vpc, a, err := h.control.DisassociateVPCBlock(ctx, caller.Scope(ctx), app.AssociationID(*in.AssociationId))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DisassociateVpcCidrBlockOutput{VpcId: new(string(vpc)), CidrBlockAssociation: new(block(a, api.VpcCidrBlockStateCodeDisassociating))}, nil
}
