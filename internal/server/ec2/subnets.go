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

// CreateSubnet makes a subnet.
func (h *Handler) CreateSubnet(ctx context.Context, in *api.CreateSubnetInput) (*api.CreateSubnetOutput, error) {
	err := onlyIPv4([]parameter{
		{"Ipv6CidrBlock", in.Ipv6CidrBlock != nil, false}, {"Ipv6Native", member.Value(in.Ipv6Native), false},
		{"Ipv6IpamPoolId", in.Ipv6IpamPoolId != nil, false}, {"Ipv6NetmaskLength", in.Ipv6NetmaskLength != nil, false},
		{"Ipv4IpamPoolId", in.Ipv4IpamPoolId != nil, true}, {"Ipv4NetmaskLength", in.Ipv4NetmaskLength != nil, true},
	})
	if err != nil {
		return nil, err
	}
	if in.OutpostArn != nil {
		return nil, invalid("OutpostArn cannot be given: there are no Outposts here. Leave it out")
	}
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeSubnet)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s, err := h.control.CreateSubnet(ctx, caller.Scope(ctx), control.CreateSubnetInput{
		VPC: app.VPCID(*in.VpcId), CIDR: member.Value(in.CidrBlock), Zone: member.Value(in.AvailabilityZone), ZoneID: member.Value(in.AvailabilityZoneId),
		Tags: tags[api.ResourceTypeSubnet],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateSubnetOutput{Subnet: new(subnetShape(s))}, nil
}

// CreateDefaultSubnet makes the default subnet of a zone again.
func (h *Handler) CreateDefaultSubnet(ctx context.Context, in *api.CreateDefaultSubnetInput) (*api.CreateDefaultSubnetOutput, error) {
	if err := onlyIPv4([]parameter{{"Ipv6Native", member.Value(in.Ipv6Native), false}}); err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	s, err := h.control.CreateDefaultSubnet(ctx, caller.Scope(ctx), *in.AvailabilityZone)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateDefaultSubnetOutput{Subnet: new(subnetShape(s))}, nil
}

// The filters of subnets that have several names.
var (
	subnetZone    = one(func(s control.SubnetDetail) string { return s.Zone })
	subnetZoneID  = one(func(s control.SubnetDetail) string { return s.ZoneID })
	subnetCIDR    = one(func(s control.SubnetDetail) string { return s.CIDR.String() })
	subnetDefault = flag(func(s control.SubnetDetail) bool { return s.Default })
)

// subnets is how subnets are selected.
var subnets = described[control.SubnetDetail]{
	id:   func(s control.SubnetDetail) string { return string(s.ID) },
	tags: func(s control.SubnetDetail) app.Tags { return s.Tags },
	filters: map[string]func(control.SubnetDetail) []string{
		"availability-zone": subnetZone, "availabilityZone": subnetZone, "availability-zone-id": subnetZoneID, "availabilityZoneId": subnetZoneID,
		"available-ip-address-count": one(func(s control.SubnetDetail) string { return strconv.Itoa(s.Free) }),
		"cidr":                       subnetCIDR, "cidrBlock": subnetCIDR, "cidr-block": subnetCIDR, "default-for-az": subnetDefault, "defaultForAz": subnetDefault,
		"customer-owned-ipv4-pool": fixed[control.SubnetDetail](), "enable-dns64": fixed[control.SubnetDetail]("false"),
		"enable-lni-at-device-index":                 fixed[control.SubnetDetail](),
		"ipv6-cidr-block-association.association-id": fixed[control.SubnetDetail](), "ipv6-cidr-block-association.ipv6-cidr-block": fixed[control.SubnetDetail](),
		"ipv6-cidr-block-association.state": fixed[control.SubnetDetail](), "ipv6-native": fixed[control.SubnetDetail]("false"),
		"map-customer-owned-ip-on-launch": fixed[control.SubnetDetail]("false"),
		"map-public-ip-on-launch":         flag(func(s control.SubnetDetail) bool { return s.MapPublicIP }),
		"outpost-arn":                     fixed[control.SubnetDetail](),
		"owner-id":                        one(func(s control.SubnetDetail) string { return string(s.Scope.Account) }),
		"private-dns-name-options-on-launch.hostname-type":                        one(func(s control.SubnetDetail) string { return s.HostnameType }),
		"private-dns-name-options-on-launch.enable-resource-name-dns-a-record":    flag(func(s control.SubnetDetail) bool { return s.HostnameA }),
		"private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": fixed[control.SubnetDetail]("false"),
		"state":      fixed[control.SubnetDetail](string(api.SubnetStateAvailable)),
		"subnet-arn": one(control.SubnetDetail.ARN),
		"subnet-id":  one(func(s control.SubnetDetail) string { return string(s.ID) }),
		"vpc-id":     one(func(s control.SubnetDetail) string { return string(s.VPC) }),
	},
}

// DescribeSubnets shows subnets.
func (h *Handler) DescribeSubnets(ctx context.Context, in *api.DescribeSubnetsInput) (*api.DescribeSubnetsOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeSubnets, query{ids: in.SubnetIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("subnet-")}, subnets)
	if err != nil {
		return nil, err
	}
	return &api.DescribeSubnetsOutput{Subnets: shapes(page, subnetShape), NextToken: next}, nil
}

func subnetShape(s control.SubnetDetail) api.Subnet {
	return api.Subnet{
		SubnetId: new(string(s.ID)), SubnetArn: new(s.ARN()), VpcId: new(string(s.VPC)), OwnerId: new(string(s.Scope.Account)), State: api.SubnetStateAvailable,
		CidrBlock: new(s.CIDR.String()), AvailableIpAddressCount: member.Int32(s.Free), AvailabilityZone: &s.Zone, AvailabilityZoneId: &s.ZoneID,
		DefaultForAz: &s.Default, MapPublicIpOnLaunch: &s.MapPublicIP, MapCustomerOwnedIpOnLaunch: new(false), AssignIpv6AddressOnCreation: new(false),
		Ipv6CidrBlockAssociationSet: []api.SubnetIpv6CidrBlockAssociation{}, EnableDns64: new(false), Ipv6Native: new(false),
		PrivateDnsNameOptionsOnLaunch: &api.PrivateDnsNameOptionsOnLaunch{
			HostnameType: api.HostnameType(s.HostnameType), EnableResourceNameDnsARecord: &s.HostnameA, EnableResourceNameDnsAAAARecord: new(false),
		},
		Tags: tagList(s.Tags),
	}
}

// ModifySubnetAttribute changes attributes of a subnet. Those that need IPv6 or an Outpost can only be switched off.
func (h *Handler) ModifySubnetAttribute(ctx context.Context, in *api.ModifySubnetAttributeInput) (*api.ModifySubnetAttributeOutput, error) {
	err := onlyIPv4([]parameter{
		{"AssignIpv6AddressOnCreation", member.Value(truth(in.AssignIpv6AddressOnCreation)), false},
		{"EnableDns64", member.Value(truth(in.EnableDns64)), false},
		{"EnableResourceNameDnsAAAARecordOnLaunch", member.Value(truth(in.EnableResourceNameDnsAAAARecordOnLaunch)), false},
	})
	if err != nil {
		return nil, err
	}
	if member.Value(truth(in.MapCustomerOwnedIpOnLaunch)) || in.CustomerOwnedIpv4Pool != nil || in.EnableLniAtDeviceIndex != nil {
		return nil, invalid("MapCustomerOwnedIpOnLaunch, CustomerOwnedIpv4Pool and EnableLniAtDeviceIndex cannot be given: there are no Outposts here. Leave them out")
	}
	changes := control.SubnetAttributes{MapPublicIP: truth(in.MapPublicIpOnLaunch), HostnameA: truth(in.EnableResourceNameDnsARecordOnLaunch)}
	if in.PrivateDnsHostnameTypeOnLaunch != "" {
		changes.HostnameType = new(string(in.PrivateDnsHostnameTypeOnLaunch))
	}
	given := 0
	for _, there := range []bool{
		in.MapPublicIpOnLaunch != nil, in.EnableResourceNameDnsARecordOnLaunch != nil, in.PrivateDnsHostnameTypeOnLaunch != "",
		in.AssignIpv6AddressOnCreation != nil, in.EnableDns64 != nil, in.EnableResourceNameDnsAAAARecordOnLaunch != nil,
		in.MapCustomerOwnedIpOnLaunch != nil, in.DisableLniAtDeviceIndex != nil,
	} {
		if there {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, &wire.Error{Code: "InvalidParameterCombination", Message: "No attributes specified: give one, such as MapPublicIpOnLaunch"}
	case given > 1:
		return nil, &wire.Error{Code: "InvalidParameterCombination", Message: decimal(int32(given)) + " attributes specified: those of a subnet are modified one at a time"}
	}
	return nil, wireError(h.control.ModifySubnetAttribute(ctx, caller.Scope(ctx), app.SubnetID(*in.SubnetId), changes))
}

// DeleteSubnet removes an empty subnet.
func (h *Handler) DeleteSubnet(ctx context.Context, in *api.DeleteSubnetInput) (*api.DeleteSubnetOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteSubnet(ctx, caller.Scope(ctx), app.SubnetID(*in.SubnetId)))
}
