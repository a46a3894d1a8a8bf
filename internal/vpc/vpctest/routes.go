package vpctest

import (
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// way is where routes lead: to an interface, out of the VPC, or nowhere.
func way(s vpc.Snapshot, from *app.NetworkInterface, d netip.Addr) (to *app.NetworkInterface, out bool) {
	switch r := routeOf(s, from.VPC, from.Subnet, d); r.Kind {
	case app.TargetLocal:
		return portOf(s, from.VPC, d), false
	case app.TargetInterface:
		to = find(s.Interfaces, func(i app.NetworkInterface) bool { return string(i.ID) == r.Target && i.VPC == from.VPC })
		if to == nil || to.ID == from.ID || to.SourceDestCheck && !slices.Contains(to.Addresses, d) {
			return nil, false
		}
		return to, false
	case app.TargetIGW:
		return nil, attached(s, r, from.VPC) && public(s, from)
	case app.TargetNAT:
		nat := find(s.NATs, func(n app.NATGateway) bool { return string(n.ID) == r.Target && n.VPC == from.VPC })
		return nil, nat != nil && nat.DeletedAt.IsZero() && nat.Public && attached(s, routeOf(s, nat.VPC, nat.Subnet, netip.IPv4Unspecified()), nat.VPC)
	case app.TargetLAN:
		lan := find(s.LANs, func(l app.LAN) bool { return string(l.ID) == r.Target && l.VPC == from.VPC })
		return nil, lan != nil && slices.ContainsFunc(lan.CIDRs, func(c netip.Prefix) bool { return c.Contains(d) })
	}
	return nil, false
}

// natOnTheWay is the place of the NAT gateway that a route leads through, nil = it leads elsewhere.
func natOnTheWay(s vpc.Snapshot, from *app.NetworkInterface, d netip.Addr) *app.NetworkInterface {
	r := routeOf(s, from.VPC, from.Subnet, d)
	nat := find(s.NATs, func(n app.NATGateway) bool { return string(n.ID) == r.Target && n.VPC == from.VPC })
	if r.Kind != app.TargetNAT || nat == nil {
		return nil
	}
	return &app.NetworkInterface{VPC: nat.VPC, Subnet: nat.Subnet}
}

// routeOf is the longest route of a subnet's table: where two are as long, local before a block before a prefix list.
func routeOf(s vpc.Snapshot, v app.VPCID, subnet app.SubnetID, d netip.Addr) (best app.Route) {
	longest := -1
	take := func(bits int, r app.Route) {
		if bits > longest {
			longest, best = bits, r
		}
	}
	network := find(s.VPCs, func(x app.VPC) bool { return x.ID == v })
	for _, block := range network.Blocks() {
		if block.Contains(d) {
			take(block.Bits(), app.Route{Kind: app.TargetLocal})
		}
	}
	table := find(s.RouteTables, func(t app.RouteTable) bool {
		return slices.ContainsFunc(t.Associations, func(a app.TableAssociation) bool { return a.Subnet == subnet })
	})
	if table == nil {
		table = find(s.RouteTables, func(t app.RouteTable) bool { return t.VPC == v && t.Main() })
	}
	for _, r := range table.Routes {
		if r.Kind != app.TargetLocal && r.CIDR.Contains(d) {
			take(r.CIDR.Bits(), r)
		}
	}
	for _, r := range table.Routes {
		take(listed(s, r.PrefixList, d), r)
	}
	return best
}

func attached(s vpc.Snapshot, r app.Route, v app.VPCID) bool {
	return r.Kind == app.TargetIGW && find(s.Gateways, func(g app.InternetGateway) bool { return string(g.ID) == r.Target && g.VPC == v }) != nil
}

func public(s vpc.Snapshot, ni *app.NetworkInterface) bool {
	return slices.ContainsFunc(s.ElasticIPs, func(e app.ElasticIP) bool { return e.Interface == ni.ID })
}

// resolver is the third address of the VPC's primary block.
func resolver(s vpc.Snapshot, v app.VPCID) netip.Addr {
	network := find(s.VPCs, func(x app.VPC) bool { return x.ID == v })
	if network == nil {
		return netip.Addr{}
	}
	return network.CIDR.Addr().Next().Next()
}
