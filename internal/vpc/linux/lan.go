package linux

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/funade/funade/internal/vpc"
)

// Packets to a LAN go router, management namespace, host, LAN, and are the host's on the LAN. Only the VPC's own link may
// send to the LAN's blocks; a routing table of the host's that only instances' packets use says where they are.

const lanPriority = 9900 // of the rule on the host, before the host's own tables

// lanTable is the number of the install's routing table on the host; it follows from the transit prefix.
func (n names) lanTable() int {
	b := n.transit.Addr().As4()
	return 0x46000000 | int(binary.BigEndian.Uint32(b[:])&0xffff)>>2
}

func (n names) lanRule() *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Table, rule.IifName = netlink.FAMILY_V4, lanPriority, n.lanTable(), n.hostLink()
	return rule
}

// attachedLANs returns the LANs of all VPCs, sorted by id.
func attachedLANs(r *vpc.Ruleset) []*vpc.LAN {
	var out []*vpc.LAN
	for _, n := range r.Networks {
		out = slices.AppendSeq(out, maps.Values(n.LANs))
	}
	slices.SortFunc(out, func(a, b *vpc.LAN) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// lanElements are the blocks that each VPC's link may send to, disjoint.
func lanElements(r *vpc.Ruleset) []nftables.SetElement {
	var out []nftables.SetElement
	for id, n := range r.Networks {
		var blocks []netip.Prefix
		for _, l := range n.LANs {
			blocks = append(blocks, l.CIDRs...)
		}
		link := linkKey(uplinkName(id))
		for _, p := range fromRanges(ranges(blocks)) {
			first, last := p.Masked().Addr(), lastOf(p)
			out = append(out, nftables.SetElement{Key: append(slices.Clone(link), first.AsSlice()...), KeyEnd: append(slices.Clone(link), last.AsSlice()...)})
		}
	}
	return out
}

func lastOf(p netip.Prefix) netip.Addr {
	return offset(p, uint32(1<<(32-p.Bits())-1))
}

// programLANs opens the way to LANs in the management namespace and on the host; without verify only when LANs changed.
func (d *Dataplane) programLANs(verify bool) error {
	if d.ruleset == nil {
		return nil
	}
	list := attachedLANs(d.ruleset)
	if !verify && d.lanList != nil && slices.Equal(list, d.lanList) {
		return nil
	}
	d.lanList, d.lanProblems = nil, nil
	wanted := lanElements(d.ruleset)
	if len(difference(wanted, d.lans))+len(difference(d.lans, wanted)) > 0 {
		old := d.lans
		d.lans = wanted
		if err := d.applyMgmt(); err != nil {
			d.lans = old
			return fmt.Errorf("cannot open LANs: %w", err)
		}
	}
	if err := d.routeLANs(list); err != nil {
		return err
	}
	d.lanList = append([]*vpc.LAN{}, list...)
	return nil
}

// routeLANs makes the install's routing table on the host. Of two LANs with the same block the first one has it.
func (d *Dataplane) routeLANs(list []*vpc.LAN) error {
	wanted := map[netip.Prefix]netlink.Route{}
	for _, l := range list {
		for _, p := range l.CIDRs {
			route, err := d.lanRoute(l, p.Masked())
			if err != nil {
				d.lanProblems = append(d.lanProblems, err.Error())
				continue
			}
			if _, taken := wanted[p.Masked()]; taken {
				d.lanProblems = append(d.lanProblems, fmt.Sprintf("LAN %s: another LAN has the block %v too, and packets go there", l.ID, p))
				continue
			}
			if route != nil {
				wanted[p.Masked()] = *route
				d.checkReversePath(l, p, route.LinkIndex)
			}
		}
	}
	have, err := d.host.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: d.lanTable()}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("cannot list routes to LANs: %w", err)
	}
	for _, k := range have {
		a, _ := netip.AddrFromSlice(k.Dst.IP.To4())
		bits, _ := k.Dst.Mask.Size()
		if w, ok := wanted[netip.PrefixFrom(a, bits)]; !ok || w.LinkIndex != 0 && w.LinkIndex != k.LinkIndex || !w.Gw.Equal(k.Gw) {
			if err := d.host.RouteDel(&k); err != nil && !isGone(err) {
				return fmt.Errorf("cannot remove route to LAN %v: %w", k.Dst, err)
			}
		}
	}
	for p, route := range wanted {
		if err := setRoute(d.host, route); err != nil {
			d.lanProblems = append(d.lanProblems, fmt.Sprintf("LAN block %v: %v", p, err))
		}
	}
	return d.ensureLANRule(len(wanted) > 0)
}

// lanRoute is the host's route to a block of a LAN; nil leaves it to the host's own tables.
func (d *Dataplane) lanRoute(l *vpc.LAN, p netip.Prefix) (*netlink.Route, error) {
	if l.Interface == "" && !l.Via.IsValid() {
		return nil, nil
	}
	route := &netlink.Route{Table: d.lanTable(), Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}
	if l.Interface != "" {
		link, err := findLink(d.host, l.Interface)
		if err != nil {
			return nil, err
		}
		if link == nil {
			return nil, fmt.Errorf("LAN %s: this host has no interface %s", l.ID, l.Interface)
		}
		route.LinkIndex, route.Scope = link.Attrs().Index, netlink.SCOPE_LINK
	}
	if l.Via.IsValid() {
		route.Gw, route.Scope = l.Via.AsSlice(), netlink.SCOPE_UNIVERSE
	}
	return route, nil
}

// checkReversePath tells of a host that would drop a LAN's answers, as its own tables expect them at another link.
func (d *Dataplane) checkReversePath(l *vpc.LAN, p netip.Prefix, link int) {
	if link == 0 || !strict("all") && !strict(l.Interface) {
		return
	}
	if ways, err := d.host.RouteGet(p.Addr().AsSlice()); err == nil && len(ways) > 0 && ways[0].LinkIndex == link {
		return
	}
	d.lanProblems = append(d.lanProblems, fmt.Sprintf("LAN %s: this host drops answers from %v at %s, as it has no route to it there; add the route, or set net.ipv4.conf.%s.rp_filter to 2", l.ID, p, l.Interface, l.Interface))
}

// strict reports whether a link of the host takes packets only where it would send the answer.
func strict(link string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + link + "/rp_filter")
	return err == nil && strings.TrimSpace(string(b)) == "1"
}

func (d *Dataplane) ensureLANRule(want bool) error {
	rules, err := d.host.RuleListFiltered(netlink.FAMILY_V4, &netlink.Rule{Table: d.lanTable()}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("cannot list routing rules: %w", err)
	}
	switch {
	case want && len(rules) == 0:
		err = d.host.RuleAdd(d.lanRule())
	case !want && len(rules) > 0:
		err = d.host.RuleDel(d.lanRule())
	}
	if err != nil {
		return fmt.Errorf("cannot choose the routing table of LANs: %w", err)
	}
	return nil
}

// purgeLANs removes the routing table on the host.
func (n names) purgeLANs(h *netlink.Handle) error {
	rules, err := h.RuleListFiltered(netlink.FAMILY_V4, &netlink.Rule{Table: n.lanTable()}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("cannot list routing rules: %w", err)
	}
	for range rules {
		if err := h.RuleDel(n.lanRule()); err != nil {
			return fmt.Errorf("cannot remove routing rule: %w", err)
		}
	}
	routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: n.lanTable()}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("cannot list routes to LANs: %w", err)
	}
	for _, k := range routes {
		if err := h.RouteDel(&k); err != nil && !isGone(err) {
			return fmt.Errorf("cannot remove route to LAN %v: %w", k.Dst, err)
		}
	}
	return nil
}
