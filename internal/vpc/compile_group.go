package vpc

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
)

// The protocols whose ports matter.
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
)

// groupInput is everything that a group's compiled form depends on.
type groupInput struct {
	rules []app.SecurityGroupRule // sorted by id
	lists map[app.PrefixListID][]app.PrefixEntry
}

// sortedRules returns the rules of a group by id.
func (w *world) sortedRules(id app.GroupID) []*app.SecurityGroupRule {
	rows := w.rules[id]
	byID := func(a, b *app.SecurityGroupRule) int { return strings.Compare(string(a.ID), string(b.ID)) }
	if !slices.IsSortedFunc(rows, byID) {
		slices.SortFunc(rows, byID)
	}
	return rows
}

func newGroupInput(rows []*app.SecurityGroupRule, lists map[app.PrefixListID][]app.PrefixEntry) groupInput {
	in := groupInput{rules: make([]app.SecurityGroupRule, len(rows))}
	for i, r := range rows {
		in.rules[i] = *r
		if r.PrefixList != "" {
			if in.lists == nil {
				in.lists = map[app.PrefixListID][]app.PrefixEntry{}
			}
			in.lists[r.PrefixList] = lists[r.PrefixList]
		}
	}
	return in
}

// isOf reports whether newGroupInput would return the same.
func (in groupInput) isOf(rows []*app.SecurityGroupRule, lists map[app.PrefixListID][]app.PrefixEntry) bool {
	if len(in.rules) != len(rows) {
		return false
	}
	for i, r := range rows {
		if in.rules[i] != *r {
			return false
		}
	}
	for id, entries := range in.lists {
		if !slices.Equal(entries, lists[id]) {
			return false
		}
	}
	return true
}

func compileGroup(id app.GroupID, in groupInput) *Group {
	return &Group{ID: id, Ingress: in.direction(false), Egress: in.direction(true)}
}

func (in groupInput) direction(egress bool) Direction {
	var d Direction
	var anywhere []span
	boxes := map[uint8][]block{}
	peers := map[app.GroupID]map[uint8][]span{}
	for _, r := range in.rules {
		if r.Egress != egress {
			continue
		}
		d.Rules = append(d.Rules, r)
		if r.PrefixList != "" {
			if d.lists == nil {
				d.lists = map[app.RuleID][]span{}
			}
			d.lists[r.ID] = in.spans(r)
		}
		ports, ok := portsOf(r)
		if !ok {
			continue
		}
		switch {
		case r.Peer != "" && r.Protocol == app.AllProtocols:
			d.Peers = append(d.Peers, Peer{Group: r.Peer, All: true})
			continue
		case r.Peer != "":
			if peers[r.Peer] == nil {
				peers[r.Peer] = map[uint8][]span{}
			}
			peers[r.Peer][uint8(r.Protocol)] = append(peers[r.Peer][uint8(r.Protocol)], ports)
			continue
		}
		for _, addresses := range in.spans(r) {
			if r.Protocol == app.AllProtocols {
				anywhere = append(anywhere, addresses)
			} else {
				boxes[uint8(r.Protocol)] = append(boxes[uint8(r.Protocol)], block{addresses, ports})
			}
		}
	}
	anywhere = merge(anywhere)
	for _, s := range anywhere {
		d.Any = append(d.Any, s.addresses())
	}
	for _, protocol := range slices.Sorted(maps.Keys(boxes)) {
		d.Boxes = append(d.Boxes, disjoint(protocol, boxes[protocol], anywhere)...)
	}
	d.Peers = compilePeers(d.Peers, peers)
	return d
}

// compilePeers adds the peers of which only some ports are allowed; everything is those of whom all is.
func compilePeers(everything []Peer, some map[app.GroupID]map[uint8][]span) []Peer {
	out := map[app.GroupID]Peer{}
	for _, p := range everything {
		out[p.Group] = p
	}
	for group, protocols := range some {
		if _, all := out[group]; all {
			continue
		}
		p := Peer{Group: group}
		for _, protocol := range slices.Sorted(maps.Keys(protocols)) {
			for _, s := range merge(protocols[protocol]) {
				p.Ports = append(p.Ports, Ports{protocol, uint16(s.first), uint16(s.last)})
			}
		}
		out[group] = p
	}
	list := slices.Collect(maps.Values(out))
	slices.SortFunc(list, func(a, b Peer) int { return strings.Compare(string(a.Group), string(b.Group)) })
	if len(list) == 0 {
		return nil
	}
	return list
}

// portsOf returns the ports of a rule in the form of Box; not ok: nothing in IPv4 can match it.
func portsOf(r app.SecurityGroupRule) (span, bool) {
	every := span{0, math.MaxUint16}
	switch r.Protocol {
	case app.AllProtocols:
		return every, true
	case protocolTCP, protocolUDP:
		if r.FromPort < 0 {
			return every, true
		}
		return span{uint32(r.FromPort), uint32(r.ToPort)}, r.FromPort <= r.ToPort && r.ToPort <= math.MaxUint16
	case protocolICMP:
		switch kind, code := r.FromPort, r.ToPort; {
		case kind < 0:
			return every, true
		case code < 0:
			return span{uint32(kind) << 8, uint32(kind)<<8 | 255}, kind <= 255
		default:
			return span{uint32(kind)<<8 | uint32(code), uint32(kind)<<8 | uint32(code)}, kind <= 255 && code <= 255
		}
	case protocolICMPv6:
		return span{}, false
	}
	return every, r.Protocol >= 0 && r.Protocol <= 255
}

// spans returns the IPv4 addresses that a rule with a block or a prefix list names.
func (in groupInput) spans(r app.SecurityGroupRule) []span {
	var out []span
	add := func(p netip.Prefix) {
		if p.IsValid() && p.Addr().Is4() {
			first := number(p.Masked().Addr())
			out = append(out, span{first, first | uint32(uint64(1)<<(32-p.Bits())-1)})
		}
	}
	add(r.CIDR)
	if r.PrefixList != "" {
		for _, e := range in.lists[r.PrefixList] {
			add(e.CIDR)
		}
	}
	return out
}

// span is an inclusive range of numbers: addresses or ports.
type span struct{ first, last uint32 }

func (s span) addresses() Range { return Range{address(s.first), address(s.last)} }

func (s span) covers(other span) bool { return s.first <= other.first && other.last <= s.last }

// merge returns the fewest spans that cover the same numbers, sorted.
func merge(list []span) []span {
	if len(list) < 2 {
		return list
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b span) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last)) })
	var out []span
	for _, s := range list {
		if k := len(out) - 1; k >= 0 && uint64(s.first) <= uint64(out[k].last)+1 {
			out[k].last = max(out[k].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}

// block is a range of addresses with a range of ports.
type block struct{ addresses, ports span }

// disjoint sweeps over the ports of one protocol's blocks, merges the addresses that are allowed at each, and joins what
// follows with the same addresses. Addresses with which everything is allowed anyway are left out.
func disjoint(protocol uint8, blocks []block, anywhere []span) []Box {
	blocks = slices.DeleteFunc(slices.Clone(blocks), func(b block) bool { return covered(anywhere, b.addresses) })
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(a.ports.first, b.ports.first) })
	cuts := make([]uint32, 0, 2*len(blocks))
	for _, b := range blocks {
		cuts = append(cuts, b.ports.first, b.ports.last+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var found []block
	var open []block         // those with the ports that the sweep is at
	latest := map[span]int{} // index in found, by addresses
	for i := 0; i+1 < len(cuts); i++ {
		ports := span{cuts[i], cuts[i+1] - 1}
		open = slices.DeleteFunc(open, func(b block) bool { return b.ports.last < ports.first })
		for len(blocks) > 0 && blocks[0].ports.first == ports.first {
			open, blocks = append(open, blocks[0]), blocks[1:]
		}
		addresses := make([]span, len(open))
		for k, b := range open {
			addresses[k] = b.addresses
		}
		for _, a := range merge(addresses) {
			if k, ok := latest[a]; ok && found[k].ports.last+1 == ports.first {
				found[k].ports.last = ports.last
				continue
			}
			latest[a] = len(found)
			found = append(found, block{a, ports})
		}
	}
	out := make([]Box, len(found))
	for i, b := range found {
		out[i] = Box{b.addresses.addresses(), protocol, uint16(b.ports.first), uint16(b.ports.last)}
	}
	return out
}

// covered reports whether one of the merged spans covers s.
func covered(merged []span, s span) bool {
	i, _ := slices.BinarySearchFunc(merged, s.last, func(m span, last uint32) int { return cmp.Compare(m.last, last) })
	return i < len(merged) && merged[i].covers(s)
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}
