package ec2

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// endpointAvailable is the state of every endpoint: EC2 writes it small where its model has a capital.
const endpointAvailable api.State = "available"

// ipv4Only refuses endpoints that are to answer at IPv6 addresses.
func ipv4Only(kind api.IpAddressType, dns *api.DnsOptionsSpecification) error {
	d := member.Value(dns)
	return onlyIPv4([]parameter{
		{"IpAddressType " + string(kind), kind != "" && kind != api.IpAddressTypeIpv4, false},
		{"DnsOptions.DnsRecordIpType " + string(d.DnsRecordIpType), d.DnsRecordIpType == api.DnsRecordIpTypeIpv6 || d.DnsRecordIpType == api.DnsRecordIpTypeDualstack, false},
	})
}

// subnetAddresses reads the addresses that an endpoint is to have in its subnets.
func subnetAddresses(list []api.SubnetConfiguration) (map[app.SubnetID]netip.Addr, error) {
	out := map[app.SubnetID]netip.Addr{}
	for _, c := range list {
		if err := onlyIPv4([]parameter{{"SubnetConfigurations.Ipv6", c.Ipv6 != nil, false}}); err != nil {
			return nil, err
		}
		a, err := address("SubnetConfigurations.Ipv4", c.Ipv4)
		if err != nil {
			return nil, err
		}
		if a.IsValid() {
			out[app.SubnetID(member.Value(c.SubnetId))] = a
		}
	}
	return out, nil
}

func subnetIDs(ids []string) []app.SubnetID {
	return shapes(ids, func(id string) app.SubnetID { return app.SubnetID(id) })
}

func tableIDs(ids []string) []app.RouteTableID {
	return shapes(ids, func(id string) app.RouteTableID { return app.RouteTableID(id) })
}

// texts are ids as the wire has them.
func texts[S ~string](ids []S) []string {
	return shapes(ids, func(id S) string { return string(id) })
}

// CreateVpcEndpoint makes an endpoint.
func (h *Handler) CreateVpcEndpoint(ctx context.Context, in *api.CreateVpcEndpointInput) (*api.CreateVpcEndpointOutput, error) {
	if err := ipv4Only(in.IpAddressType, in.DnsOptions); err != nil {
		return nil, err
	}
	wanted, err := subnetAddresses(in.SubnetConfigurations)
	if err != nil {
		return nil, err
	}
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeVpcEndpoint)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	e, err := h.control.CreateEndpoint(ctx, caller.Scope(ctx), control.CreateEndpointInput{
		VPC: app.VPCID(*in.VpcId), Service: *in.ServiceName, Type: string(in.VpcEndpointType), Policy: member.Value(in.PolicyDocument), RouteTables: tableIDs(in.RouteTableIds),
		Subnets: subnetIDs(in.SubnetIds), Groups: groupIDs(in.SecurityGroupIds), Addresses: wanted, PrivateDNS: in.PrivateDnsEnabled,
		ClientToken: member.Value(in.ClientToken), Tags: tags[api.ResourceTypeVpcEndpoint],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateVpcEndpointOutput{VpcEndpoint: new(endpointShape(e)), ClientToken: in.ClientToken}, nil
}

// endpoints is how endpoints are selected.
var endpoints = described[control.EndpointDetail]{
	id:   func(e control.EndpointDetail) string { return string(e.ID) },
	tags: func(e control.EndpointDetail) app.Tags { return e.Tags },
	filters: map[string]func(control.EndpointDetail) []string{
		"ip-address-type":    fixed[control.EndpointDetail](string(api.IpAddressTypeIpv4)),
		"service-name":       one(func(e control.EndpointDetail) string { return e.ServiceName }),
		"service-region":     one(func(e control.EndpointDetail) string { return string(e.Scope.Region) }),
		"vpc-endpoint-id":    one(func(e control.EndpointDetail) string { return string(e.ID) }),
		"vpc-endpoint-state": fixed[control.EndpointDetail](string(endpointAvailable)),
		"vpc-endpoint-type":  one(func(e control.EndpointDetail) string { return e.Type }),
		"vpc-id":             one(func(e control.EndpointDetail) string { return string(e.VPC) }),
	},
}

// DescribeVpcEndpoints shows endpoints.
func (h *Handler) DescribeVpcEndpoints(ctx context.Context, in *api.DescribeVpcEndpointsInput) (*api.DescribeVpcEndpointsOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeEndpoints, query{ids: in.VpcEndpointIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, minimum: 1, missing: control.Missing("vpce-")}, endpoints)
	if err != nil {
		return nil, err
	}
	return &api.DescribeVpcEndpointsOutput{VpcEndpoints: shapes(page, endpointShape), NextToken: next}, nil
}

func endpointShape(e control.EndpointDetail) api.VpcEndpoint {
	out := api.VpcEndpoint{
		VpcEndpointId: new(string(e.ID)), VpcId: new(string(e.VPC)), VpcEndpointType: api.VpcEndpointType(e.Type), ServiceName: &e.ServiceName, State: endpointAvailable,
		PolicyDocument: &e.Policy, RouteTableIds: texts(e.RouteTables), SubnetIds: texts(e.Subnets), NetworkInterfaceIds: texts(e.Interfaces),
		Groups: shapes(e.Groups, func(g app.SecurityGroup) api.SecurityGroupIdentifier {
			return api.SecurityGroupIdentifier{GroupId: new(string(g.ID)), GroupName: &g.Name}
		}),
		PrivateDnsEnabled: &e.PrivateDNS, RequesterManaged: new(false), DnsEntries: []api.DnsEntry{}, CreationTimestamp: member.Moment(e.CreatedAt),
		OwnerId: new(string(e.Scope.Account)), Tags: tagList(e.Tags),
	}
	if e.Type != control.EndpointInterface {
		return out
	}
	out.IpAddressType, out.DnsOptions = api.IpAddressTypeIpv4, &api.DnsOptions{DnsRecordIpType: api.DnsRecordIpTypeIpv4}
	if name := e.DNSName(); len(e.Interfaces) > 0 {
		out.DnsEntries = append(out.DnsEntries, api.DnsEntry{DnsName: &name})
	}
	return out
}

// ModifyVpcEndpoint changes an endpoint.
func (h *Handler) ModifyVpcEndpoint(ctx context.Context, in *api.ModifyVpcEndpointInput) (*api.ModifyVpcEndpointOutput, error) {
	if err := ipv4Only(in.IpAddressType, in.DnsOptions); err != nil {
		return nil, err
	}
	wanted, err := subnetAddresses(in.SubnetConfigurations)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	err = h.control.ModifyEndpoint(ctx, caller.Scope(ctx), app.EndpointID(*in.VpcEndpointId), control.EndpointChanges{
		ResetPolicy: member.Value(in.ResetPolicy), Policy: member.Value(in.PolicyDocument), AddTables: tableIDs(in.AddRouteTableIds), RemoveTables: tableIDs(in.RemoveRouteTableIds),
		AddSubnets: subnetIDs(in.AddSubnetIds), RemoveSubnets: subnetIDs(in.RemoveSubnetIds), AddGroups: groupIDs(in.AddSecurityGroupIds), RemoveGroups: groupIDs(in.RemoveSecurityGroupIds),
		Addresses: wanted, PrivateDNS: in.PrivateDnsEnabled,
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ModifyVpcEndpointOutput{Return: new(true)}, nil
}

// DeleteVpcEndpoints removes endpoints and lists those that could not be.
func (h *Handler) DeleteVpcEndpoints(ctx context.Context, in *api.DeleteVpcEndpointsInput) (*api.DeleteVpcEndpointsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	ids := shapes(in.VpcEndpointIds, func(id string) app.EndpointID { return app.EndpointID(id) })
	failed, err := h.control.DeleteEndpoints(ctx, caller.Scope(ctx), ids)
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.DeleteVpcEndpointsOutput{Unsuccessful: []api.UnsuccessfulItem{}}
	for _, id := range ids {
		var e *wire.Error
		if errors.As(wireError(failed[id]), &e) {
			out.Unsuccessful = append(out.Unsuccessful, api.UnsuccessfulItem{ResourceId: new(string(id)), Error: &api.UnsuccessfulItemError{Code: &e.Code, Message: &e.Message}})
		}
	}
	return out, nil
}

// services is how services for endpoints are selected.
func services(region app.Region) described[control.Service] {
	return described[control.Service]{
		id: func(s control.Service) string { return s.Name },
		filters: map[string]func(control.Service) []string{
			"owner": fixed[control.Service](servicesOwner), "service-name": one(func(s control.Service) string { return s.Name }),
			"service-region": fixed[control.Service](string(region)), "service-type": func(s control.Service) []string { return s.Types },
			"supported-ip-address-types": fixed[control.Service](string(api.ServiceConnectivityTypeIpv4)),
		},
	}
}

// servicesOwner owns all services.
const servicesOwner = "amazon"

// DescribeVpcEndpointServices shows what endpoints can be made for.
func (h *Handler) DescribeVpcEndpointServices(ctx context.Context, in *api.DescribeVpcEndpointServicesInput) (*api.DescribeVpcEndpointServicesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	region := caller.Scope(ctx).Region
	page, next, err := describe(query{ids: in.ServiceNames, filters: in.Filters, max: in.MaxResults, token: in.NextToken, minimum: 1, missing: control.MissingService}, control.Services(region), services(region))
	if err != nil {
		return nil, err
	}
	out := &api.DescribeVpcEndpointServicesOutput{NextToken: next, ServiceNames: shapes(page, func(s control.Service) string { return s.Name }), ServiceDetails: []api.ServiceDetail{}}
	for _, s := range page {
		for _, kind := range s.Types { // as EC2 does: a service of two types appears twice
			if wantsType(in.Filters, kind) {
				out.ServiceDetails = append(out.ServiceDetails, serviceShape(region, s, kind))
			}
		}
	}
	return out, nil
}

// wantsType reports whether filters of the service's type, if there are any, select one.
func wantsType(filters []api.Filter, kind string) bool {
	for _, f := range filters {
		if member.Value(f.Name) == "service-type" && !anyMatches([]string{kind}, f.Values) {
			return false
		}
	}
	return true
}

func serviceShape(region app.Region, s control.Service, kind string) api.ServiceDetail {
	short := strings.Split(strings.TrimPrefix(s.Name, "com.amazonaws."+string(region)+"."), ".")
	slices.Reverse(short)
	base := strings.Join(short, ".") + "." + string(region) + ".vpce.amazonaws.com"
	if kind == control.EndpointGateway {
		base = strings.TrimPrefix(s.PrivateName, "*.")
	}
	out := api.ServiceDetail{
		ServiceName: &s.Name, ServiceType: []api.ServiceTypeDetail{{ServiceType: api.ServiceType(kind)}}, Owner: new(servicesOwner),
		AvailabilityZones:    shapes(control.Zones(region), func(z control.Zone) string { return z.Name }),
		BaseEndpointDnsNames: []string{base}, VpcEndpointPolicySupported: new(true), AcceptanceRequired: new(false), ManagesVpcEndpoints: new(false), Tags: []api.Tag{},
		SupportedIpAddressTypes: []api.ServiceConnectivityType{api.ServiceConnectivityTypeIpv4},
	}
	if kind == control.EndpointInterface {
		out.PrivateDnsName, out.PrivateDnsNames, out.PrivateDnsNameVerificationState = &s.PrivateName, []api.PrivateDnsDetails{{PrivateDnsName: &s.PrivateName}}, api.DnsNameStateVerified
	}
	return out
}
