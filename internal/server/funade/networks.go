package funade

import (
	"context"
	"net/netip"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// AttachNetwork makes a real network behind this machine a target of a VPC's routes.
func (h *Handler) AttachNetwork(ctx context.Context, in *api.AttachNetworkInput) (*api.AttachNetworkOutput, error) {
	lan := ec2.AttachLANInput{VPC: app.VPCID(*in.VpcId), Interface: member.Value(in.Interface)}
	if text := member.Value(in.Via); text != "" {
		via, err := netip.ParseAddr(text)
		if err != nil {
			return nil, &api.InvalidRequestException{Message: "Via " + text + " is not an address. Give an IPv4 address, for example 192.168.1.20."}
		}
		lan.Via = via
	}
	for _, text := range in.Cidrs {
		block, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, &api.InvalidRequestException{Message: "Cidrs names " + text + ", which is not a block. Give IPv4 blocks, for example 192.168.50.0/24."}
		}
		lan.CIDRs = append(lan.CIDRs, block)
	}
	made, err := h.networks.AttachLAN(ctx, caller.Scope(ctx), lan)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.AttachNetworkOutput{Network: new(network(made))}, nil
}

// DetachNetwork takes an attached network away.
func (h *Handler) DetachNetwork(ctx context.Context, in *api.DetachNetworkInput) (*api.DetachNetworkOutput, error) {
	if err := h.networks.DetachLAN(ctx, caller.Scope(ctx), app.LANID(*in.NetworkId)); err != nil {
		return nil, wireError(err)
	}
	return &api.DetachNetworkOutput{}, nil
}

// ListNetworks lists attached networks, all of them or those of one VPC.
func (h *Handler) ListNetworks(ctx context.Context, in *api.ListNetworksInput) (*api.ListNetworksOutput, error) {
	all, err := h.networks.ListLANs(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListNetworksOutput{Networks: []api.Network{}}
	for _, l := range all {
		if vpc := member.Value(in.VpcId); vpc == "" || vpc == string(l.VPC) {
			out.Networks = append(out.Networks, network(l))
		}
	}
	return out, nil
}

func network(l app.LAN) api.Network {
	out := api.Network{
		NetworkId: new(string(l.ID)), VpcId: new(string(l.VPC)), Interface: member.Text(l.Interface), Cidrs: []string{}, CreatedAt: member.Moment(l.CreatedAt),
	}
	if l.Via.IsValid() {
		out.Via = new(l.Via.String())
	}
	for _, c := range l.CIDRs {
		out.Cidrs = append(out.Cidrs, c.String())
	}
	return out
}
