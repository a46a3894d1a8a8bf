package linux

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// A packet is marked with its link's routing table. That table holds the routes of the subnet's route table, the local
// ones as "throw": they go on to the main table, which has every interface and refuses everything else. A table with local
// routes only is left out: looking at tables costs every packet something.

const (
	firstTable   = 1000
	markPriority = 100 // of the rules that choose a table by mark, before the main table
)

// tableKey is a route table as interfaces with a public address see it, or as all others do.
type tableKey struct {
	id     app.RouteTableID
	public bool
}

// routeKey is what may exist only once.
type routeKey struct {
	table int
	dst   netip.Prefix
}

// routeTo is where a route leads. Kind is one of the kernel's route types.
type routeTo struct {
	kind     int
	link     int
	via, src netip.Addr
	onlink   bool
}

// neighbour is a permanent entry on a link.
type neighbourKey struct {
	link int
	a    netip.Addr
}

// routing is everything about routes of one router.
type routing struct {
	routes     map[routeKey]routeTo
	marks      map[int]bool // tables chosen by a mark of the same number
	neighbours map[neighbourKey]string
}

// tableOf returns how to find the routing table of a port.
func (r *router) tableOf(n *vpc.Network) func(*vpc.Port, *vpc.Subnet) int {
	used := map[int]bool{}
	for key, number := range r.tables {
		if n.Tables[key.id] == nil {
			delete(r.tables, key)
			continue
		}
		used[number] = true
	}
	for id := range n.Tables {
		for _, public := range []bool{false, true} {
			key := tableKey{id, public}
			if _, ok := r.tables[key]; ok {
				continue
			}
			number := firstTable
			for used[number] {
				number++
			}
			r.tables[key], used[number] = number, true
		}
	}
	return func(p *vpc.Port, s *vpc.Subnet) int { return r.tables[tableKey{s.Table, p.Public}] }
}

// wantedRoutes works out all routes of a network over the links that exist now.
func (r *router) wantedRoutes(n *vpc.Network, up int) (*routing, error) {
	w := &routing{routes: map[routeKey]routeTo{}, marks: map[int]bool{}, neighbours: map[neighbourKey]string{}}
	outer, own, err := uplinkAddresses(n.Slot)
	if err != nil {
		return nil, err
	}
	local := resolverAddress(n)
	anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	w.routes[routeKey{unix.RT_TABLE_MAIN, anywhere}] = routeTo{kind: unix.RTN_PROHIBIT}
	for _, block := range n.Blocks {
		w.routes[routeKey{unix.RT_TABLE_MAIN, block.Masked()}] = routeTo{kind: unix.RTN_UNREACHABLE}
	}
	for id, p := range n.Ports {
		l := r.links[id]
		if l == nil {
			continue
		}
		for i, a := range p.Addresses {
			to := routeTo{kind: unix.RTN_UNICAST, link: l.index, src: local}
			if i > 0 { // found through the neighbour entry of the first one
				to.via, to.onlink = p.Addresses[0], true
			}
			w.routes[routeKey{unix.RT_TABLE_MAIN, netip.PrefixFrom(a, 32)}] = to
		}
		if l.mac != "" {
			w.neighbours[neighbourKey{l.index, p.Addresses[0]}] = l.mac
		}
	}
	out := routeTo{kind: unix.RTN_UNICAST, link: up, via: outer, src: own}
	for key, number := range r.tables {
		t := n.Tables[key.id]
		if !slices.ContainsFunc(t.Routes, notLocal) {
			continue
		}
		w.marks[number] = true
		w.routes[routeKey{number, anywhere}] = routeTo{kind: unix.RTN_PROHIBIT}
		for _, block := range n.Blocks {
			w.routes[routeKey{number, block.Masked()}] = routeTo{kind: unix.RTN_THROW}
		}
		for _, route := range t.Routes {
			w.routes[routeKey{number, route.CIDR.Masked()}] = r.routeOf(n, route, key.public, out)
			for _, p := range lanParts(n, t, route) {
				w.routes[routeKey{number, p}] = out
			}
		}
	}
	w.neighbours[neighbourKey{up, outer}] = hardwareAddr(outer, uplinkMgmt).String()
	return w, nil
}

func notLocal(r vpc.Route) bool { return r.Kind != vpc.RouteLocal }

// leadsOut reports whether some route may lead out of the VPC.
func leadsOut(n *vpc.Network) bool {
	for _, t := range n.Tables {
		if slices.ContainsFunc(t.Routes, func(r vpc.Route) bool {
			return r.Kind == vpc.RouteOut || r.Kind == vpc.RouteNAT || r.Kind == vpc.RouteLAN
		}) {
			return true
		}
	}
	return false
}

// routeOf says where a route of a table leads. What leads nowhere is refused aloud.
func (r *router) routeOf(n *vpc.Network, route vpc.Route, public bool, out routeTo) routeTo {
	refuse := routeTo{kind: unix.RTN_PROHIBIT}
	switch route.Kind {
	case vpc.RouteLocal:
		return routeTo{kind: unix.RTN_THROW}
	case vpc.RouteOut:
		if public {
			return out
		}
	case vpc.RouteNAT:
		if nat := n.NATs[app.NATGatewayID(route.Target)]; nat != nil && nat.Broken == "" {
			return out
		}
	case vpc.RouteLAN:
		l := n.LANs[app.LANID(route.Target)]
		if l != nil && slices.ContainsFunc(l.CIDRs, func(p netip.Prefix) bool { return covers(p, route.CIDR) }) {
			return out
		}
	case vpc.RoutePort:
		id := app.InterfaceID(route.Target)
		if p, l := n.Ports[id], r.links[id]; p != nil && l != nil {
			return routeTo{kind: unix.RTN_UNICAST, link: l.index, via: p.Addresses[0], onlink: true}
		}
	}
	return refuse
}

// lanParts are the blocks of a LAN inside a wider route to it: nothing else of that route leads there.
func lanParts(n *vpc.Network, t *vpc.Table, route vpc.Route) []netip.Prefix {
	l := n.LANs[app.LANID(route.Target)]
	if route.Kind != vpc.RouteLAN || l == nil {
		return nil
	}
	var out []netip.Prefix
	for _, p := range l.CIDRs {
		if covers(route.CIDR, p) && !slices.ContainsFunc(t.Routes, func(other vpc.Route) bool {
			return covers(other.CIDR, p) && other.CIDR.Bits() > route.CIDR.Bits()
		}) {
			out = append(out, p.Masked())
		}
	}
	return out
}

// covers reports whether all of q is in p.
func covers(p, q netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) }

// programRoutes makes the kernel's routes those of the network; with verify it reads what the kernel holds first.
func (r *router) programRoutes(n *vpc.Network, verify bool) error {
	up, err := findLink(r.h, uplink)
	if err != nil || up == nil {
		return fmt.Errorf("cannot set routes of %s: link %s is missing (%w)", r.id, uplink, err)
	}
	r.tableOf(n)
	wanted, err := r.wantedRoutes(n, up.Attrs().Index)
	if err != nil {
		return err
	}
	have := r.routes
	if verify || have == nil {
		if have, err = r.readRoutes(); err != nil {
			return err
		}
	}
	r.routes = nil
	if err := r.exchangeRoutes(have, wanted); err != nil {
		return err
	}
	r.routes = wanted
	return nil
}

// exchangeRoutes adds before it removes: neighbours, routes, then the choice of tables.
func (r *router) exchangeRoutes(have, wanted *routing) error {
	for key, mac := range wanted.neighbours {
		if have.neighbours[key] != mac {
			address, err := net.ParseMAC(mac)
			if err != nil {
				return fmt.Errorf("cannot set neighbour %v: %w", key.a, err)
			}
			if err := setNeighbour(r.h, key.link, key.a, address); err != nil {
				return err
			}
		}
	}
	for key, to := range wanted.routes {
		if have.routes[key] != to {
			if err := setRoute(r.h, to.object(key)); err != nil {
				return err
			}
		}
	}
	for mark := range wanted.marks {
		if !have.marks[mark] {
			if err := r.h.RuleAdd(markRule(mark)); err != nil {
				return fmt.Errorf("cannot choose table %d by its mark: %w", mark, err)
			}
		}
	}
	for mark := range have.marks {
		if !wanted.marks[mark] {
			if err := r.h.RuleDel(markRule(mark)); err != nil {
				return fmt.Errorf("cannot remove the rule for table %d: %w", mark, err)
			}
		}
	}
	for key, to := range have.routes {
		if _, ok := wanted.routes[key]; ok {
			continue
		}
		route := to.object(key)
		if err := r.h.RouteDel(&route); err != nil && !isGone(err) {
			return fmt.Errorf("cannot remove route %v: %w", key.dst, err)
		}
	}
	return nil
}

func markRule(number int) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Mark, rule.Table = netlink.FAMILY_V4, markPriority, uint32(number), number
	return rule
}

func (t routeTo) object(key routeKey) netlink.Route {
	out := netlink.Route{
		Table: key.table, Type: t.kind, LinkIndex: t.link,
		Dst: &net.IPNet{IP: key.dst.Addr().AsSlice(), Mask: net.CIDRMask(key.dst.Bits(), 32)},
	}
	if t.via.IsValid() {
		out.Gw = t.via.AsSlice()
	} else if t.kind == unix.RTN_UNICAST {
		out.Scope = netlink.SCOPE_LINK
	}
	if t.src.IsValid() {
		out.Src = t.src.AsSlice()
	}
	if t.onlink {
		out.SetFlag(netlink.FLAG_ONLINK)
	}
	return out
}

// readRoutes reads what the kernel holds, without what it makes by itself for local addresses.
func (r *router) readRoutes() (*routing, error) {
	out := &routing{routes: map[routeKey]routeTo{}, marks: map[int]bool{}, neighbours: map[neighbourKey]string{}}
	list, err := r.h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("cannot list routes: %w", err)
	}
	for _, k := range list {
		if k.Table == unix.RT_TABLE_LOCAL || k.Protocol == unix.RTPROT_KERNEL {
			continue
		}
		key := routeKey{k.Table, netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
		if k.Dst != nil {
			a, _ := netip.AddrFromSlice(k.Dst.IP.To4())
			bits, _ := k.Dst.Mask.Size()
			key.dst = netip.PrefixFrom(a, bits)
		}
		to := routeTo{kind: k.Type, link: k.LinkIndex, onlink: k.Flags&int(netlink.FLAG_ONLINK) != 0}
		to.via, _ = netip.AddrFromSlice(k.Gw.To4())
		to.src, _ = netip.AddrFromSlice(k.Src.To4())
		out.routes[key] = to
	}
	rules, err := r.h.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("cannot list routing rules: %w", err)
	}
	for _, k := range rules {
		if k.Priority == markPriority && k.Mark == uint32(k.Table) {
			out.marks[k.Table] = true
		}
	}
	neighbours, err := r.h.NeighList(0, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("cannot list neighbours: %w", err)
	}
	for _, k := range neighbours {
		if a, ok := netip.AddrFromSlice(k.IP.To4()); ok && k.State&netlink.NUD_PERMANENT != 0 {
			out.neighbours[neighbourKey{k.LinkIndex, a}] = k.HardwareAddr.String()
		}
	}
	return out, nil
}
