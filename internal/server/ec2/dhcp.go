package ec2

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// CreateDhcpOptions makes a set of DHCP options. Values of a key given twice add up.
func (h *Handler) CreateDhcpOptions(ctx context.Context, in *api.CreateDhcpOptionsInput) (*api.CreateDhcpOptionsOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeDhcpOptions)
	if err != nil {
		return nil, err
	}
	values := map[string][]string{}
	for _, c := range in.DhcpConfigurations {
		key := strings.ToLower(member.Value(c.Key))
		for _, value := range c.Values {
			for part := range strings.SplitSeq(value, ",") { // clients may join addresses with commas
				values[key] = append(values[key], strings.TrimSpace(part))
			}
		}
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	o, err := h.control.CreateDHCPOptions(ctx, caller.Scope(ctx), values, tags[api.ResourceTypeDhcpOptions])
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateDhcpOptionsOutput{DhcpOptions: new(dhcpShape(o))}, nil
}

// dhcpOptions is how sets of DHCP options are selected.
var dhcpOptions = described[control.DHCPOptionsDetail]{
	id:   func(o control.DHCPOptionsDetail) string { return string(o.ID) },
	tags: func(o control.DHCPOptionsDetail) app.Tags { return o.Tags },
	filters: map[string]func(control.DHCPOptionsDetail) []string{
		"dhcp-options-id": one(func(o control.DHCPOptionsDetail) string { return string(o.ID) }),
		"key":             func(o control.DHCPOptionsDetail) []string { return slices.Collect(maps.Keys(o.Values)) },
		"value": func(o control.DHCPOptionsDetail) []string {
			return slices.Concat(slices.Collect(maps.Values(o.Values))...)
		},
		"owner-id": one(func(o control.DHCPOptionsDetail) string { return string(o.Scope.Account) }),
	},
}

// DescribeDhcpOptions shows sets of DHCP options.
func (h *Handler) DescribeDhcpOptions(ctx context.Context, in *api.DescribeDhcpOptionsInput) (*api.DescribeDhcpOptionsOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeDHCPOptions, query{ids: in.DhcpOptionsIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("dopt-")}, dhcpOptions)
	if err != nil {
		return nil, err
	}
	return &api.DescribeDhcpOptionsOutput{DhcpOptions: shapes(page, dhcpShape), NextToken: next}, nil
}

func dhcpShape(o control.DHCPOptionsDetail) api.DhcpOptions {
	out := api.DhcpOptions{DhcpOptionsId: new(string(o.ID)), OwnerId: new(string(o.Scope.Account)), Tags: tagList(o.Tags), DhcpConfigurations: []api.DhcpConfiguration{}}
	for _, key := range slices.Sorted(maps.Keys(o.Values)) {
		values := shapes(o.Values[key], func(v string) api.AttributeValue { return api.AttributeValue{Value: &v} })
		out.DhcpConfigurations = append(out.DhcpConfigurations, api.DhcpConfiguration{Key: &key, Values: values})
	}
	return out
}

// AssociateDhcpOptions gives a VPC a set of options.
func (h *Handler) AssociateDhcpOptions(ctx context.Context, in *api.AssociateDhcpOptionsInput) (*api.AssociateDhcpOptionsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.AssociateDHCPOptions(ctx, caller.Scope(ctx), app.VPCID(*in.VpcId), app.DHCPOptionsID(*in.DhcpOptionsId)))
}

// DeleteDhcpOptions removes a set that no VPC has.
func (h *Handler) DeleteDhcpOptions(ctx context.Context, in *api.DeleteDhcpOptionsInput) (*api.DeleteDhcpOptionsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.DeleteDHCPOptions(ctx, caller.Scope(ctx), app.DHCPOptionsID(*in.DhcpOptionsId)))
}
