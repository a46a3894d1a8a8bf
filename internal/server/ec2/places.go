package ec2

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
)

// zones is how availability zones are selected.
func zones(region app.Region) described[control.Zone] {
	type of = func(control.Zone) []string
	return described[control.Zone]{
		id: func(z control.Zone) string { return z.Name },
		filters: map[string]of{
			"group-name": fixed[control.Zone](string(region)), "group-long-name": fixed[control.Zone](), "message": fixed[control.Zone](),
			"opt-in-status":  fixed[control.Zone](string(api.AvailabilityZoneOptInStatusOptInNotRequired)),
			"parent-zone-id": fixed[control.Zone](), "parent-zone-name": fixed[control.Zone](), "parentZoneID": fixed[control.Zone](), "parentZoneName": fixed[control.Zone](),
			"region-name": fixed[control.Zone](string(region)), "state": fixed[control.Zone](string(api.AvailabilityZoneStateAvailable)),
			"zone-id": one(func(z control.Zone) string { return z.ID }), "zone-name": one(func(z control.Zone) string { return z.Name }),
			"zone-type": fixed[control.Zone]("availability-zone"),
		},
	}
}

// DescribeAvailabilityZones shows the zones of the region.
func (h *Handler) DescribeAvailabilityZones(ctx context.Context, in *api.DescribeAvailabilityZonesInput) (*api.DescribeAvailabilityZonesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	region := caller.Scope(ctx).Region
	names := slices.Clone(in.ZoneNames)
	all := control.Zones(region)
	for _, id := range in.ZoneIds {
		n := slices.IndexFunc(all, func(z control.Zone) bool { return z.ID == id })
		if n < 0 {
			return nil, invalid("Invalid availability zone-id: [" + id + "]")
		}
		names = append(names, all[n].Name)
	}
	page, _, err := describe(query{ids: names, filters: in.Filters, missing: func(name string) error {
		return invalid("Invalid availability zone: [" + name + "]")
	}}, all, zones(region))
	if err != nil {
		return nil, err
	}
	return &api.DescribeAvailabilityZonesOutput{AvailabilityZones: shapes(page, func(z control.Zone) api.AvailabilityZone {
		return api.AvailabilityZone{
			ZoneName: &z.Name, ZoneId: &z.ID, State: api.AvailabilityZoneStateAvailable, OptInStatus: api.AvailabilityZoneOptInStatusOptInNotRequired,
			Messages: []api.AvailabilityZoneMessage{}, RegionName: new(string(region)), GroupName: new(string(region)), NetworkBorderGroup: new(string(region)),
			ZoneType: new("availability-zone"),
		}
	})}, nil
}

const optInNotRequired = "opt-in-not-required"

// regions is how regions are selected.
var regions = described[app.Region]{
	id: func(r app.Region) string { return string(r) },
	filters: map[string]func(app.Region) []string{
		"endpoint": one(endpoint), "opt-in-status": fixed[app.Region](optInNotRequired), "region-name": one(func(r app.Region) string { return string(r) }),
	},
}

func endpoint(r app.Region) string { return "ec2." + string(r) + ".amazonaws.com" }

// DescribeRegions shows the regions that every account has, and the one of the call.
func (h *Handler) DescribeRegions(ctx context.Context, in *api.DescribeRegionsInput) (*api.DescribeRegionsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all := control.RegionNames
	if here := caller.Scope(ctx).Region; !slices.Contains(all, here) {
		all = append(slices.Clone(all), here)
	}
	page, _, err := describe(query{ids: in.RegionNames, filters: in.Filters, missing: func(name string) error {
		return invalid("Invalid region names provided: " + name + ". Known names are " + strings.Join(shapes(all, func(r app.Region) string { return string(r) }), ", "))
	}}, all, regions)
	if err != nil {
		return nil, err
	}
	return &api.DescribeRegionsOutput{Regions: shapes(page, func(r app.Region) api.Region {
		return api.Region{RegionName: new(string(r)), Endpoint: new(endpoint(r)), OptInStatus: new(optInNotRequired)}
	})}, nil
}

// DescribeAccountAttributes shows attributes of the account: its default VPC and its quotas.
func (h *Handler) DescribeAccountAttributes(ctx context.Context, in *api.DescribeAccountAttributesInput) (*api.DescribeAccountAttributesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	vpcs, err := h.control.DescribeVPCs(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	standard := "none"
	for _, v := range vpcs {
		if v.Default {
			standard = string(v.ID)
		}
	}
	quotas := h.control.Quotas()
	values := map[string]string{
		"supported-platforms": "VPC", "default-vpc": standard, "max-instances": strconv.Itoa(quotas.Hosts),
		"vpc-max-security-groups-per-interface": strconv.Itoa(quotas.GroupsPerInterface),
		"max-elastic-ips":                       strconv.Itoa(quotas.ElasticIPs), "vpc-max-elastic-ips": strconv.Itoa(quotas.ElasticIPs),
	}
	names := slices.Sorted(maps.Keys(values))
	if len(in.AttributeNames) > 0 {
		names = shapes(in.AttributeNames, func(n api.AccountAttributeName) string { return string(n) })
	}
	out := &api.DescribeAccountAttributesOutput{}
	for _, name := range names {
		value, ok := values[name]
		if !ok {
			return nil, invalid("Invalid account attribute: " + name + ". Known attributes are " + strings.Join(slices.Sorted(maps.Keys(values)), ", "))
		}
		out.AccountAttributes = append(out.AccountAttributes, api.AccountAttribute{AttributeName: &name, AttributeValues: []api.AccountAttributeValue{{AttributeValue: &value}}})
	}
	return out, nil
}
