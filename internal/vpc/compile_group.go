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

func (w *world) groupInput(id app.GroupID) groupInput {
	in := groupInput{rules: slices.Clone(w.rules[id])}
	slices.SortFunc(in.rules, func(a, b app.SecurityGroupRule) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for _, r := range in.rules {
		if r.PrefixList != "" {
			if in.lists == nil {
				in.lists = map[app.PrefixListID][]app.PrefixEntry{}
			}
			in.lists[r.PrefixList] = w.lists[r.PrefixList]
		}
	}
	return in
}

func (in groupInput) equal(other groupInput) bool {
	return slices.Equal(in.rules, other.rules) && maps.EqualFunc(in.lists, other.lists, slices.Equal[[]app.PrefixEntry])
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

// disjoint cuts the blocks of one protocol at their ports, merges addresses within each piece and joins neighbouring
// pieces that have the same addresses. Addresses with which everything is allowed are left out.
func disjoint(protocol uint8, blocks []block, anywhere []span) []Box {
	blocks = slices.DeleteFunc(slices.Clone(blocks), func(b block) bool {
		return slices.ContainsFunc(anywhere, func(s span) bool { return s.covers(b.addresses) })
	})
	var cuts []uint32
	for _, b := range blocks {
		cuts = append(cuts, b.ports.first, b.ports.last+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	type piece struct {
		ports     span
		addresses []span
	}
	var pieces []piece
	for i := 0; i+1 < len(cuts); i++ {
		ports := span{cuts[i], cuts[i+1] - 1}
		var addresses []span
		for _, b := range blocks {
			if b.ports.covers(ports) {
				addresses = append(addresses, b.addresses)
			}
		}
		if addresses = merge(addresses); len(addresses) == 0 {
			continue
		}
		if k := len(pieces) - 1; k >= 0 && pieces[k].ports.last+1 == ports.first && slices.Equal(pieces[k].addresses, addresses) {
			pieces[k].ports.last = ports.last
			continue
		}
		pieces = append(pieces, piece{ports, addresses})
	}
	var out []Box
	for _, p := range pieces {
		for _, a := range p.addresses {
			out = append(out, Box{a.addresses(), protocol, uint16(p.ports.first), uint16(p.ports.last)})
		}
	}
	return out
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}
