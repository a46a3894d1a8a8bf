package ec2

import (
	"context"
	"net/netip"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// address reads an IPv4 address, nil as the zero one.
func address(parameter string, text *string) (netip.Addr, error) {
	if text == nil {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(*text)
	if err != nil || !a.Is4() {
		return netip.Addr{}, invalid("Value (" + *text + ") for parameter " + parameter + " is invalid: give an IPv4 address of the subnet")
	}
	return a, nil
}

func addresses(parameter string, texts []string) ([]netip.Addr, error) {
	out := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		a, err := address(parameter, &text)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// CreateNatGateway makes a NAT gateway.
func (h *Handler) CreateNatGateway(ctx context.Context, in *api.CreateNatGatewayInput) (*api.CreateNatGatewayOutput, error) {
	if len(in.SecondaryAllocationIds) > 0 || len(in.SecondaryPrivateIpAddresses) > 0 || member.Value(in.SecondaryPrivateIpAddressCount) > 0 {
		return nil, invalid("SecondaryAllocationIds, SecondaryPrivateIpAddresses and SecondaryPrivateIpAddressCount cannot be given: a NAT gateway has one address here. Leave them out")
	}
	private, err := address("PrivateIpAddress", in.PrivateIpAddress)
	if err != nil {
		return nil, err
	}
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeNatgateway)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	g, err := h.control.CreateNAT(ctx, caller.Scope(ctx), control.CreateNATInput{
		Subnet: app.SubnetID(*in.SubnetId), Private: in.ConnectivityType == api.ConnectivityTypePrivate, Allocation: app.AllocationID(member.Value(in.AllocationId)),
		Address: private, ClientToken: member.Value(in.ClientToken), Tags: tags[api.ResourceTypeNatgateway],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateNatGatewayOutput{ClientToken: in.ClientToken, NatGateway: new(natShape(g))}, nil
}

// nats is how NAT gateways are selected.
var nats = described[control.NATDetail]{
	id:   func(g control.NATDetail) string { return string(g.ID) },
	tags: func(g control.NATDetail) app.Tags { return g.Tags },
	filters: map[string]func(control.NATDetail) []string{
		"nat-gateway-id": one(func(g control.NATDetail) string { return string(g.ID) }),
		"state":          one(func(g control.NATDetail) string { return string(natState(g)) }),
		"subnet-id":      one(func(g control.NATDetail) string { return string(g.Subnet) }),
		"vpc-id":         one(func(g control.NATDetail) string { return string(g.VPC) }),
	},
}

func natState(g control.NATDetail) api.NatGatewayState {
	switch {
	case g.FailureCode != "":
		return api.NatGatewayStateFailed
	case g.DeletedAt.IsZero():
		return api.NatGatewayStateAvailable
	}
	return api.NatGatewayStateDeleted
}

// DescribeNatGateways shows NAT gateways.
func (h *Handler) DescribeNatGateways(ctx context.Context, in *api.DescribeNatGatewaysInput) (*api.DescribeNatGatewaysOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeNATs, query{ids: in.NatGatewayIds, filters: in.Filter, max: in.MaxResults, token: in.NextToken, missing: control.Missing("nat-")}, nats)
	if err != nil {
		return nil, err
	}
	return &api.DescribeNatGatewaysOutput{NatGateways: shapes(page, natShape), NextToken: next}, nil
}

func natShape(g control.NATDetail) api.NatGateway {
	kind := api.ConnectivityTypePublic
	if !g.Public {
		kind = api.ConnectivityTypePrivate
	}
	a := api.NatGatewayAddress{
		NetworkInterfaceId: member.Text(g.Interface), AllocationId: member.Text(g.Allocation), AssociationId: member.Text(g.Association),
		IsPrimary: new(true), Status: api.NatGatewayAddressStatusSucceeded,
	}
	if g.PrivateIP.IsValid() {
		a.PrivateIp = new(g.PrivateIP.String())
	} else {
		a.Status, a.FailureMessage = api.NatGatewayAddressStatusFailed, member.Text(g.FailureCause)
	}
	if g.PublicIP.IsValid() {
		a.PublicIp = new(g.PublicIP.String())
	}
	return api.NatGateway{
		NatGatewayId: new(string(g.ID)), VpcId: new(string(g.VPC)), SubnetId: new(string(g.Subnet)), State: natState(g), ConnectivityType: kind,
		CreateTime: member.Moment(g.CreatedAt), DeleteTime: member.Moment(g.DeletedAt), FailureCode: member.Text(g.FailureCode), FailureMessage: member.Text(g.FailureCause), NatGatewayAddresses: []api.NatGatewayAddress{a}, Tags: tagList(g.Tags),
	}
}

// DeleteNatGateway ends a NAT gateway.
func (h *Handler) DeleteNatGateway(ctx context.Context, in *api.DeleteNatGatewayInput) (*api.DeleteNatGatewayOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if err := h.control.DeleteNAT(ctx, caller.Scope(ctx), app.NATGatewayID(*in.NatGatewayId)); err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteNatGatewayOutput{NatGatewayId: in.NatGatewayId}, nil
}
