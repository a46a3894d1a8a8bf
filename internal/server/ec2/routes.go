package ec2

import (
	"context"
	"strconv"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// CreateRouteTable makes a route table.
func (h *Handler) CreateRouteTable(ctx context.Context, in *api.CreateRouteTableInput) (*api.CreateRouteTableOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeRouteTable)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	t, err := h.control.CreateTable(ctx, caller.Scope(ctx), app.VPCID(*in.VpcId), member.Value(in.ClientToken), tags[api.ResourceTypeRouteTable])
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateRouteTableOutput{RouteTable: new(tableShape(t)), ClientToken: in.ClientToken}, nil
}

// ofRoutes makes a filter of a route's value.
func ofRoutes(of func(api.Route) string) func(control.TableDetail) []string {
	return func(t control.TableDetail) (out []string) {
		for _, r := range t.Routes {
			if v := of(routeShape(t, r)); v != "" {
				out = append(out, v)
			}
		}
		return out
	}
}

// ofAssociations makes a filter of an association's value.
func ofAssociations(of func(api.RouteTableAssociation) string) func(control.TableDetail) []string {
	return func(t control.TableDetail) (out []string) {
		for _, a := range t.Associations {
			if v := of(tableAssociation(t.ID, a)); v != "" {
				out = append(out, v)
			}
		}
		return out
	}
}

// tables is how route tables are selected.
var tables = described[control.TableDetail]{
	id:   func(t control.TableDetail) string { return string(t.ID) },
	tags: func(t control.TableDetail) app.Tags { return t.Tags },
	filters: map[string]func(control.TableDetail) []string{
		"association.gateway-id":                 fixed[control.TableDetail](),
		"association.main":                       ofAssociations(func(a api.RouteTableAssociation) string { return strconv.FormatBool(*a.Main) }),
		"association.route-table-association-id": ofAssociations(func(a api.RouteTableAssociation) string { return *a.RouteTableAssociationId }),
		"association.route-table-id":             ofAssociations(func(a api.RouteTableAssociation) string { return *a.RouteTableId }),
		"association.subnet-id":                  ofAssociations(func(a api.RouteTableAssociation) string { return member.Value(a.SubnetId) }),
		"owner-id":                               one(func(t control.TableDetail) string { return string(t.Scope.Account) }),
		"route-table-id":                         one(func(t control.TableDetail) string { return string(t.ID) }),
		"route.destination-cidr-block":           ofRoutes(func(r api.Route) string { return member.Value(r.DestinationCidrBlock) }),
		"route.destination-ipv6-cidr-block":      fixed[control.TableDetail](),
		"route.destination-prefix-list-id":       ofRoutes(func(r api.Route) string { return member.Value(r.DestinationPrefixListId) }),
		"route.egress-only-internet-gateway-id":  fixed[control.TableDetail](),
		"route.gateway-id":                       ofRoutes(func(r api.Route) string { return member.Value(r.GatewayId) }),
		"route.instance-id":                      ofRoutes(func(r api.Route) string { return member.Value(r.InstanceId) }),
		"route.nat-gateway-id":                   ofRoutes(func(r api.Route) string { return member.Value(r.NatGatewayId) }),
		"route.network-interface-id":             ofRoutes(func(r api.Route) string { return member.Value(r.NetworkInterfaceId) }),
		"route.origin":                           ofRoutes(func(r api.Route) string { return string(r.Origin) }),
		"route.state":                            ofRoutes(func(r api.Route) string { return string(r.State) }),
		"route.transit-gateway-id":               fixed[control.TableDetail](), "route.vpc-peering-connection-id": fixed[control.TableDetail](),
		"vpc-id": one(func(t control.TableDetail) string { return string(t.VPC) }),
	},
}

// DescribeRouteTables shows route tables.
func (h *Handler) DescribeRouteTables(ctx context.Context, in *api.DescribeRouteTablesInput) (*api.DescribeRouteTablesOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeTables, query{ids: in.RouteTableIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, maximum: 100, missing: control.Missing("rtb-")}, tables)
	if err != nil {
		return nil, err
	}
	return &api.DescribeRouteTablesOutput{RouteTables: shapes(page, tableShape), NextToken: next}, nil
}

func tableShape(t control.TableDetail) api.RouteTable {
	return api.RouteTable{
		RouteTableId: new(string(t.ID)), VpcId: new(string(t.VPC)), OwnerId: new(string(t.Scope.Account)), PropagatingVgws: []api.PropagatingVgw{},
		Routes:       shapes(t.Routes, func(r control.RouteDetail) api.Route { return routeShape(t, r) }),
		Associations: shapes(t.Associations, func(a app.TableAssociation) api.RouteTableAssociation { return tableAssociation(t.ID, a) }),
		Tags:         tagList(t.Tags),
	}
}

func tableAssociation(table app.RouteTableID, a app.TableAssociation) api.RouteTableAssociation {
	return api.RouteTableAssociation{
		RouteTableAssociationId: new(string(a.ID)), RouteTableId: new(string(table)), Main: &a.Main, SubnetId: member.Text(a.Subnet), AssociationState: associated(),
	}
}

func associated() *api.RouteTableAssociationState {
	return &api.RouteTableAssociationState{State: api.RouteTableAssociationStateCodeAssociated}
}

// localTarget is what a local route shows as its gateway.
const localTarget = "local"

func routeShape(t control.TableDetail, r control.RouteDetail) api.Route {
	out := api.Route{Origin: api.RouteOrigin(r.Origin), State: api.RouteStateActive, DestinationPrefixListId: member.Text(r.PrefixList)}
	if r.CIDR.IsValid() {
		out.DestinationCidrBlock = new(r.CIDR.String())
	}
	if r.Blackhole {
		out.State = api.RouteStateBlackhole
	}
	switch r.Kind {
	case app.TargetLocal:
		out.GatewayId = new(localTarget)
	case app.TargetIGW, app.TargetLAN:
		out.GatewayId = &r.Target
	case app.TargetNAT:
		out.NatGatewayId = &r.Target
	case app.TargetInterface:
		out.NetworkInterfaceId = &r.Target
		if r.Host != "" {
			out.InstanceId, out.InstanceOwnerId = new(string(r.Host)), new(string(t.Scope.Account))
		}
	}
	return out
}

// DeleteRouteTable removes a route table.
func (h *Handler) DeleteRouteTable(ctx context.Context, in *api.DeleteRouteTableInput) (*api.DeleteRouteTableOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteTable(ctx, caller.Scope(ctx), app.RouteTableID(*in.RouteTableId)))
}

// AssociateRouteTable makes a subnet use a route table.
func (h *Handler) AssociateRouteTable(ctx context.Context, in *api.AssociateRouteTableInput) (*api.AssociateRouteTableOutput, error) {
	switch {
	case in.GatewayId != nil:
		return nil, invalid("GatewayId cannot be given: gateways have no route tables here. Give SubnetId")
	case in.SubnetId == nil:
		return nil, &wire.Error{Code: "MissingParameter", Message: "The request must contain the parameter SubnetId"}
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	id, err := h.control.AssociateTable(ctx, caller.Scope(ctx), app.RouteTableID(*in.RouteTableId), app.SubnetID(*in.SubnetId))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.AssociateRouteTableOutput{AssociationId: new(string(id)), AssociationState: associated()}, nil
}

// DisassociateRouteTable makes a subnet use the main route table.
func (h *Handler) DisassociateRouteTable(ctx context.Context, in *api.DisassociateRouteTableInput) (*api.DisassociateRouteTableOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DisassociateTable(ctx, caller.Scope(ctx), app.AssociationID(*in.AssociationId)))
}

// ReplaceRouteTableAssociation gives a subnet or a VPC another route table.
func (h *Handler) ReplaceRouteTableAssociation(ctx context.Context, in *api.ReplaceRouteTableAssociationInput) (*api.ReplaceRouteTableAssociationOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	a, err := h.control.ReplaceTableAssociation(ctx, caller.Scope(ctx), app.AssociationID(*in.AssociationId), app.RouteTableID(*in.RouteTableId))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ReplaceRouteTableAssociationOutput{NewAssociationId: new(string(a.ID)), AssociationState: associated()}, nil
}

// routeInput reads a route; for one that is to be replaced or deleted, in holds what they have in common.
func routeInput(in *api.CreateRouteInput) (control.RouteInput, error) {
	if err := onlyIPv4([]parameter{{"DestinationIpv6CidrBlock", in.DestinationIpv6CidrBlock != nil, false}}); err != nil {
		return control.RouteInput{}, err
	}
	for _, other := range []struct {
		name  string
		value *string
	}{
		{"VpcEndpointId", in.VpcEndpointId}, {"EgressOnlyInternetGatewayId", in.EgressOnlyInternetGatewayId}, {"TransitGatewayId", in.TransitGatewayId},
		{"LocalGatewayId", in.LocalGatewayId}, {"CarrierGatewayId", in.CarrierGatewayId}, {"VpcPeeringConnectionId", in.VpcPeeringConnectionId}, {"CoreNetworkArn", in.CoreNetworkArn},
	} {
		if other.value != nil {
			return control.RouteInput{}, invalid(other.name + " (" + *other.value + ") cannot be given: there is nothing of that kind here. Give GatewayId, NatGatewayId, NetworkInterfaceId or InstanceId")
		}
	}
	return control.RouteInput{
		Table: app.RouteTableID(*in.RouteTableId), CIDR: member.Value(in.DestinationCidrBlock), PrefixList: app.PrefixListID(member.Value(in.DestinationPrefixListId)),
		Gateway: member.Value(in.GatewayId), NAT: member.Value(in.NatGatewayId), Interface: member.Value(in.NetworkInterfaceId), Host: app.HostID(member.Value(in.InstanceId)),
	}, nil
}

// CreateRoute adds a route.
func (h *Handler) CreateRoute(ctx context.Context, in *api.CreateRouteInput) (*api.CreateRouteOutput, error) {
	r, err := routeInput(in)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if err := h.control.CreateRoute(ctx, caller.Scope(ctx), r); err != nil {
		return nil, wireError(err)
	}
	return &api.CreateRouteOutput{Return: new(true)}, nil
}

// ReplaceRoute gives a route another target.
func (h *Handler) ReplaceRoute(ctx context.Context, in *api.ReplaceRouteInput) (*api.ReplaceRouteOutput, error) {
	r, err := routeInput(&api.CreateRouteInput{
		RouteTableId: in.RouteTableId, DestinationCidrBlock: in.DestinationCidrBlock, DestinationIpv6CidrBlock: in.DestinationIpv6CidrBlock, DestinationPrefixListId: in.DestinationPrefixListId,
		GatewayId: in.GatewayId, NatGatewayId: in.NatGatewayId, NetworkInterfaceId: in.NetworkInterfaceId, InstanceId: in.InstanceId, VpcEndpointId: in.VpcEndpointId,
		EgressOnlyInternetGatewayId: in.EgressOnlyInternetGatewayId, TransitGatewayId: in.TransitGatewayId, LocalGatewayId: in.LocalGatewayId, CarrierGatewayId: in.CarrierGatewayId,
		VpcPeeringConnectionId: in.VpcPeeringConnectionId, CoreNetworkArn: in.CoreNetworkArn,
	})
	if err != nil {
		return nil, err
	}
	r.Local = member.Value(in.LocalTarget) || r.Gateway == localTarget
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.ReplaceRoute(ctx, caller.Scope(ctx), r))
}

// DeleteRoute removes a route.
func (h *Handler) DeleteRoute(ctx context.Context, in *api.DeleteRouteInput) (*api.DeleteRouteOutput, error) {
	r, err := routeInput(&api.CreateRouteInput{
		RouteTableId: in.RouteTableId, DestinationCidrBlock: in.DestinationCidrBlock, DestinationIpv6CidrBlock: in.DestinationIpv6CidrBlock, DestinationPrefixListId: in.DestinationPrefixListId,
	})
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteRoute(ctx, caller.Scope(ctx), r))
}
