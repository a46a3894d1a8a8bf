package vpc

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
)

// table compiles a route table: one route per destination, the longest prefix first. Where several routes have a
// destination, a block of the VPC wins, then a route to the block itself, then one through a prefix list.
func (w *world) table(t *app.RouteTable) *Table {
	routes := map[netip.Prefix]Route{}
	put := func(r Route) {
		if _, taken := routes[r.CIDR]; !taken && r.CIDR.IsValid() && r.CIDR.Addr().Is4() {
			routes[r.CIDR] = r
		}
	}
	for _, block := range w.vpc.Blocks() {
		put(Route{CIDR: block, Kind: RouteLocal})
	}
	for _, r := range t.Routes {
		if r.CIDR.IsValid() && r.Kind != app.TargetLocal {
			put(w.route(r, r.CIDR))
		}
	}
	for _, r := range t.Routes {
		for _, e := range w.lists[r.PrefixList] {
			put(w.route(r, e.CIDR.Masked()))
		}
	}
	out := &Table{ID: t.ID}
	for _, r := range routes {
		out.Routes = append(out.Routes, r)
	}
	slices.SortFunc(out.Routes, func(a, b Route) int {
		return cmp.Or(b.CIDR.Bits()-a.CIDR.Bits(), a.CIDR.Addr().Compare(b.CIDR.Addr()))
	})
	return out
}

// route works out where a route leads now; one whose target is gone is a blackhole.
func (w *world) route(r app.Route, to netip.Prefix) Route {
	out := Route{CIDR: to, Kind: RouteBlackhole, Target: r.Target}
	switch r.Kind {
	case app.TargetIGW:
		if slices.ContainsFunc(w.gateways, func(g *app.InternetGateway) bool { return string(g.ID) == r.Target }) {
			out.Kind = RouteOut
		}
	case app.TargetNAT:
		if slices.ContainsFunc(w.nats, func(n *app.NATGateway) bool { return string(n.ID) == r.Target && n.DeletedAt.IsZero() }) {
			out.Kind = RouteNAT
		}
	case app.TargetInterface:
		if slices.ContainsFunc(w.interfaces, func(i *app.NetworkInterface) bool { return string(i.ID) == r.Target }) {
			out.Kind = RoutePort
		}
	case app.TargetLAN:
		if slices.ContainsFunc(w.lans, func(l *app.LAN) bool { return string(l.ID) == r.Target }) {
			out.Kind = RouteLAN
		}
	}
	return out
}

func (w *world) compileNATs(n *Network, old map[app.NATGatewayID]*NAT) map[app.NATGatewayID]*NAT {
	out := map[app.NATGatewayID]*NAT{}
	for _, g := range w.nats {
		if !g.DeletedAt.IsZero() {
			continue
		}
		made := &NAT{ID: g.ID, Address: g.PrivateIP, Port: g.Interface, Subnet: g.Subnet, Broken: broken(n, g)}
		out[g.ID] = reuse(old[g.ID], made, func(a, b *NAT) bool { return *a == *b })
	}
	return out
}

// broken says why nothing gets out through a NAT gateway, "" when it works.
func broken(n *Network, g *app.NATGateway) string {
	s := n.Subnets[g.Subnet]
	switch {
	case !g.Public:
		return "its connectivity is private"
	case g.FailureCode != "":
		return "it has failed: " + g.FailureCause
	case s == nil:
		return fmt.Sprintf("its subnet %s is gone", g.Subnet)
	}
	if r, ok := n.Tables[s.Table].lookup(netip.IPv4Unspecified()); !ok || r.Kind != RouteOut {
		return fmt.Sprintf("its subnet %s (%s) has no route to an internet gateway", g.Subnet, s.CIDR)
	}
	return ""
}

// lookup returns the route of an address.
func (t *Table) lookup(a netip.Addr) (Route, bool) {
	if t == nil {
		return Route{}, false
	}
	for _, r := range t.Routes {
		if r.CIDR.Contains(a) {
			return r, true
		}
	}
	return Route{}, false
}
