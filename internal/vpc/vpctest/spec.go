// Package vpctest judges packets by the rows alone, makes seeded worlds of private networks, changes them, and probes the
// edges of their rules. It shares no code with the compiler: tests compare the two, and both with real packets.
package vpctest

import (
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// Allows is the specification: whether a connection that begins with a packet works, answers included.
func Allows(s vpc.Snapshot, p vpc.Packet) bool {
	from := find(s.Interfaces, func(i app.NetworkInterface) bool { return i.ID == p.From })
	if !Arrives(s, p) || p.Destination == resolver(s, p.VPC) || slices.Contains(from.Addresses, p.Destination) {
		return Arrives(s, p)
	}
	to, _ := way(s, from, p.Destination)
	nat := natOnTheWay(s, from, p.Destination)
	if to != nil {
		if back, _ := way(s, to, p.Source); back == nil || back.ID != from.ID {
			return false
		}
		if to.Subnet == from.Subnet {
			return true
		}
	}
	first, last := p.SourcePort, p.SourcePort
	if first == 0 && (p.Protocol == 6 || p.Protocol == 17) {
		first, last = 32768, 60999 // what Linux takes
	}
	for port := int(first); port <= int(last); port++ {
		answer := vpc.Packet{Protocol: p.Protocol, DestinationPort: uint16(port)}
		if p.Protocol == 1 {
			answer.DestinationPort = answerType(p)
		}
		if to != nil && !aclAllows(s, to, true, answer, p.Source) || !at(nat, from) && !aclAllows(s, from, false, answer, p.Destination) ||
			nat != nil && !at(nat, from) && !aclAllows(s, nat, true, answer, p.Source) {
			return false
		}
	}
	return nat == nil || answersReachNAT(s, p, nat)
}

// answersReachNAT says whether what a NAT gateway's translated packets are answered with enters its subnet. It takes any
// port from 1024 on when the sender's is not known, and else the sender's.
func answersReachNAT(s vpc.Snapshot, p vpc.Packet, nat *app.NetworkInterface) bool {
	first, last := p.SourcePort, p.SourcePort
	if first == 0 && (p.Protocol == 6 || p.Protocol == 17) {
		first, last = 1024, 65535
	}
	for port := int(first); port <= int(last); port++ {
		answer := vpc.Packet{Protocol: p.Protocol, DestinationPort: uint16(port)}
		if p.Protocol == 1 {
			answer.DestinationPort = answerType(p)
		}
		if !aclAllows(s, nat, false, answer, p.Destination) {
			return false
		}
	}
	return true
}

// answerType is how an ICMP message is answered: type 8 by 0, the others by the next type.
func answerType(p vpc.Packet) uint16 {
	return map[uint16]uint16{8: 0, 13: 14, 15: 16, 17: 18}[p.DestinationPort>>8] << 8
}

// at reports whether a NAT gateway is in the sender's subnet: what passes between the two leaves no subnet.
func at(nat, from *app.NetworkInterface) bool { return nat != nil && nat.Subnet == from.Subnet }

// Arrives is the specification for the packet alone.
func Arrives(s vpc.Snapshot, p vpc.Packet) bool {
	from := find(s.Interfaces, func(i app.NetworkInterface) bool { return i.ID == p.From && i.VPC == p.VPC })
	if _, programmed := s.Slots[p.VPC]; !programmed || from == nil || from.SourceDestCheck && !slices.Contains(from.Addresses, p.Source) {
		return false
	}
	if p.Destination == resolver(s, p.VPC) { // not filtered
		v := find(s.VPCs, func(v app.VPC) bool { return v.ID == p.VPC })
		return v.DNSSupport && (p.Protocol == 6 || p.Protocol == 17) && p.DestinationPort == 53
	}
	if slices.Contains(from.Addresses, p.Destination) {
		return true
	}
	if p.Protocol == 1 && !slices.Contains([]uint16{8, 13, 15, 17}, p.DestinationPort>>8) || !groupsAllow(s, from, true, p, p.Destination) {
		return false
	}
	to, out := way(s, from, p.Destination)
	if nat := natOnTheWay(s, from, p.Destination); nat != nil {
		return out && aclAllows(s, nat, true, p, p.Destination) &&
			(at(nat, from) || aclAllows(s, from, true, p, p.Destination) && aclAllows(s, nat, false, p, p.Source))
	}
	if to == nil {
		return out && aclAllows(s, from, true, p, p.Destination)
	}
	return groupsAllow(s, to, false, p, p.Source) && (to.Subnet == from.Subnet || aclAllows(s, from, true, p, p.Destination) && aclAllows(s, to, false, p, p.Source))
}

func groupsAllow(s vpc.Snapshot, ni *app.NetworkInterface, egress bool, p vpc.Packet, far netip.Addr) bool {
	return slices.ContainsFunc(s.Rules, func(r app.SecurityGroupRule) bool {
		if r.Egress != egress || r.Protocol == 58 || !slices.Contains(ni.Groups, r.Group) || // ICMPv6 is of IPv6
			!matches(r.Protocol, r.FromPort, r.ToPort, p) {
			return false
		}
		if peer := portOf(s, ni.VPC, far); r.Peer != "" {
			return peer != nil && slices.Contains(peer.Groups, r.Peer)
		}
		return r.CIDR.Contains(far) || listed(s, r.PrefixList, far) >= 0
	})
}

func aclAllows(s vpc.Snapshot, ni *app.NetworkInterface, egress bool, p vpc.Packet, far netip.Addr) bool {
	for _, a := range s.ACLs {
		if slices.ContainsFunc(a.Associations, func(x app.ACLAssociation) bool { return x.Subnet == ni.Subnet }) {
			for _, e := range a.Entries { // in the order of their numbers
				if e.Egress == egress && e.CIDR.Contains(far) && matches(e.Protocol, e.FromPort, e.ToPort, p) {
					return e.Allow
				}
			}
			return false
		}
	}
	return true
}

func matches(protocol, from, to int, p vpc.Packet) bool {
	switch port := int(p.DestinationPort); {
	case protocol == -1:
		return true
	case protocol != int(p.Protocol):
		return false
	case protocol == 6, protocol == 17:
		return from < 0 || from <= port && port <= to
	case protocol == 1:
		return (from < 0 || from == port>>8) && (from < 0 || to < 0 || to == port&255)
	}
	return true
}

func find[T any](rows []T, is func(T) bool) *T {
	if i := slices.IndexFunc(rows, is); i >= 0 {
		return &rows[i]
	}
	return nil
}

func portOf(s vpc.Snapshot, v app.VPCID, a netip.Addr) *app.NetworkInterface {
	return find(s.Interfaces, func(i app.NetworkInterface) bool { return i.VPC == v && slices.Contains(i.Addresses, a) })
}

// listed returns the length of the longest prefix in a list that has an address, -1 = none has.
func listed(s vpc.Snapshot, id app.PrefixListID, a netip.Addr) int {
	longest := -1
	if l := find(s.PrefixLists, func(l app.PrefixList) bool { return l.ID == id }); l != nil {
		for _, e := range l.Entries {
			if e.CIDR.Contains(a) {
				longest = max(longest, e.CIDR.Bits())
			}
		}
	}
	return longest
}
