package ec2

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
)

// CreateInternetGateway makes an internet gateway.
func (h *Handler) CreateInternetGateway(ctx context.Context, in *api.CreateInternetGatewayInput) (*api.CreateInternetGatewayOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeInternetGateway)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	g, err := h.control.CreateGateway(ctx, caller.Scope(ctx), tags[api.ResourceTypeInternetGateway])
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateInternetGatewayOutput{InternetGateway: new(gatewayShape(g))}, nil
}

// attached is the state of a gateway that is attached: EC2 says available where its model says attached.
const attached api.AttachmentStatus = "available"

// gateways is how internet gateways are selected.
var gateways = described[control.GatewayDetail]{
	id:   func(g control.GatewayDetail) string { return string(g.ID) },
	tags: func(g control.GatewayDetail) app.Tags { return g.Tags },
	filters: map[string]func(control.GatewayDetail) []string{
		"attachment.state": one(func(g control.GatewayDetail) string {
			if g.VPC == "" {
				return ""
			}
			return string(attached)
		}),
		"attachment.vpc-id":   one(func(g control.GatewayDetail) string { return string(g.VPC) }),
		"internet-gateway-id": one(func(g control.GatewayDetail) string { return string(g.ID) }),
		"owner-id":            one(func(g control.GatewayDetail) string { return string(g.Scope.Account) }),
	},
}

// DescribeInternetGateways shows internet gateways.
func (h *Handler) DescribeInternetGateways(ctx context.Context, in *api.DescribeInternetGatewaysInput) (*api.DescribeInternetGatewaysOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeGateways, query{ids: in.InternetGatewayIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("igw-")}, gateways)
	if err != nil {
		return nil, err
	}
	return &api.DescribeInternetGatewaysOutput{InternetGateways: shapes(page, gatewayShape), NextToken: next}, nil
}

func gatewayShape(g control.GatewayDetail) api.InternetGateway {
	out := api.InternetGateway{
		InternetGatewayId: new(string(g.ID)), OwnerId: new(string(g.Scope.Account)), Attachments: []api.InternetGatewayAttachment{}, Tags: tagList(g.Tags),
	}
	if g.VPC != "" {
		out.Attachments = append(out.Attachments, api.InternetGatewayAttachment{State: attached, VpcId: new(string(g.VPC))})
	}
	return out
}

// AttachInternetGateway makes a gateway the way out of a VPC.
func (h *Handler) AttachInternetGateway(ctx context.Context, in *api.AttachInternetGatewayInput) (*api.AttachInternetGatewayOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.AttachGateway(ctx, caller.Scope(ctx), app.IGWID(*in.InternetGatewayId), app.VPCID(*in.VpcId)))
}

// DetachInternetGateway takes a gateway from its VPC.
func (h *Handler) DetachInternetGateway(ctx context.Context, in *api.DetachInternetGatewayInput) (*api.DetachInternetGatewayOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DetachGateway(ctx, caller.Scope(ctx), app.IGWID(*in.InternetGatewayId), app.VPCID(*in.VpcId)))
}

// DeleteInternetGateway removes a detached gateway.
func (h *Handler) DeleteInternetGateway(ctx context.Context, in *api.DeleteInternetGatewayInput) (*api.DeleteInternetGatewayOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteGateway(ctx, caller.Scope(ctx), app.IGWID(*in.InternetGatewayId)))
}
