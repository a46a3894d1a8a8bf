package ec2

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// amazonPool is where all Elastic IPs come from.
const amazonPool = "amazon"

// AllocateAddress gives the account an Elastic IP.
func (h *Handler) AllocateAddress(ctx context.Context, in *api.AllocateAddressInput) (*api.AllocateAddressOutput, error) {
	switch region := string(caller.Scope(ctx).Region); {
	case in.CustomerOwnedIpv4Pool != nil:
		return nil, invalid("CustomerOwnedIpv4Pool cannot be given: there are no Outposts here. Leave it out")
	case in.PublicIpv4Pool != nil && *in.PublicIpv4Pool != amazonPool:
		return nil, invalid("PublicIpv4Pool " + *in.PublicIpv4Pool + " does not exist: the only pool is " + amazonPool + ". Leave it out")
	case in.NetworkBorderGroup != nil && *in.NetworkBorderGroup != region:
		return nil, invalid("NetworkBorderGroup " + *in.NetworkBorderGroup + " does not exist: the only one is " + region + ". Leave it out")
	case in.Domain == api.DomainTypeStandard:
		return nil, invalid("Domain standard cannot be had: every address is for VPCs. Give vpc, or leave it out")
	}
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeElasticIp)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	e, err := h.control.AllocateAddress(ctx, caller.Scope(ctx), member.Value(in.Address), tags[api.ResourceTypeElasticIp])
	if err != nil {
		return nil, wireError(err)
	}
	return &api.AllocateAddressOutput{
		AllocationId: new(string(e.ID)), PublicIp: new(e.Address.String()), Domain: api.DomainTypeVpc, PublicIpv4Pool: new(amazonPool), NetworkBorderGroup: new(string(e.Scope.Region)),
	}, nil
}

// elastic is how Elastic IPs are selected.
var elastic = described[control.AddressDetail]{
	id:   func(e control.AddressDetail) string { return string(e.ID) },
	tags: func(e control.AddressDetail) app.Tags { return e.Tags },
	filters: map[string]func(control.AddressDetail) []string{
		"allocation-id":              one(func(e control.AddressDetail) string { return string(e.ID) }),
		"association-id":             one(func(e control.AddressDetail) string { return string(e.Association) }),
		"domain":                     fixed[control.AddressDetail](string(api.DomainTypeVpc)),
		"instance-id":                one(func(e control.AddressDetail) string { return string(e.Host) }),
		"network-border-group":       one(func(e control.AddressDetail) string { return string(e.Scope.Region) }),
		"network-interface-id":       one(func(e control.AddressDetail) string { return string(e.Interface) }),
		"network-interface-owner-id": one(interfaceOwner),
		"private-ip-address":         one(privateOf),
		"public-ip":                  one(func(e control.AddressDetail) string { return e.Address.String() }),
	},
}

func interfaceOwner(e control.AddressDetail) string {
	if e.Interface == "" {
		return ""
	}
	return string(e.Scope.Account)
}

func privateOf(e control.AddressDetail) string {
	if !e.Private.IsValid() {
		return ""
	}
	return e.Private.String()
}

// DescribeAddresses shows Elastic IPs.
func (h *Handler) DescribeAddresses(ctx context.Context, in *api.DescribeAddressesInput) (*api.DescribeAddressesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all, err := h.control.DescribeAddresses(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	if len(in.PublicIps) > 0 { // by address first, then as usual
		byAddress := elastic
		byAddress.id = func(e control.AddressDetail) string { return e.Address.String() }
		if all, _, err = describe(query{ids: in.PublicIps, missing: control.MissingAddress}, all, byAddress); err != nil {
			return nil, err
		}
	}
	page, _, err := describe(query{ids: in.AllocationIds, filters: in.Filters, missing: control.Missing("eipalloc-")}, all, elastic)
	if err != nil {
		return nil, err
	}
	return &api.DescribeAddressesOutput{Addresses: shapes(page, addressShape)}, nil
}

func addressShape(e control.AddressDetail) api.Address {
	return api.Address{
		AllocationId: new(string(e.ID)), PublicIp: new(e.Address.String()), Domain: api.DomainTypeVpc, PublicIpv4Pool: new(amazonPool), NetworkBorderGroup: new(string(e.Scope.Region)),
		AssociationId: member.Text(e.Association), InstanceId: member.Text(e.Host), NetworkInterfaceId: member.Text(e.Interface), NetworkInterfaceOwnerId: member.Text(interfaceOwner(e)),
		PrivateIpAddress: member.Text(privateOf(e)), Tags: tagList(e.Tags),
	}
}

// DescribeAddressesAttribute shows the reverse names of Elastic IPs: there are none.
func (h *Handler) DescribeAddressesAttribute(ctx context.Context, in *api.DescribeAddressesAttributeInput) (*api.DescribeAddressesAttributeOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeAddresses, query{ids: in.AllocationIds, max: in.MaxResults, token: in.NextToken, minimum: 1, missing: control.Missing("eipalloc-")}, elastic)
	if err != nil {
		return nil, err
	}
	return &api.DescribeAddressesAttributeOutput{NextToken: next, Addresses: shapes(page, func(e control.AddressDetail) api.AddressAttribute {
		return api.AddressAttribute{AllocationId: new(string(e.ID)), PublicIp: new(e.Address.String())}
	})}, nil
}

func addressRef(id, address *string) control.AddressRef {
	return control.AddressRef{Allocation: app.AllocationID(member.Value(id)), Address: member.Value(address)}
}

// AssociateAddress makes an Elastic IP stand for a private address.
func (h *Handler) AssociateAddress(ctx context.Context, in *api.AssociateAddressInput) (*api.AssociateAddressOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	id, err := h.control.AssociateAddress(ctx, caller.Scope(ctx), control.AssociateInput{
		AddressRef: addressRef(in.AllocationId, in.PublicIp), Host: app.HostID(member.Value(in.InstanceId)), Interface: app.InterfaceID(member.Value(in.NetworkInterfaceId)),
		Private: member.Value(in.PrivateIpAddress), Keep: in.AllowReassociation != nil && !*in.AllowReassociation,
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.AssociateAddressOutput{AssociationId: new(string(id))}, nil
}

// DisassociateAddress takes an Elastic IP from where it is.
func (h *Handler) DisassociateAddress(ctx context.Context, in *api.DisassociateAddressInput) (*api.DisassociateAddressOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DisassociateAddress(ctx, caller.Scope(ctx), app.AssociationID(member.Value(in.AssociationId)), member.Value(in.PublicIp)))
}

// ReleaseAddress gives an Elastic IP back.
func (h *Handler) ReleaseAddress(ctx context.Context, in *api.ReleaseAddressInput) (*api.ReleaseAddressOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.ReleaseAddress(ctx, caller.Scope(ctx), addressRef(in.AllocationId, in.PublicIp)))
}
