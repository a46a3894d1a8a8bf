// Package vpctest judges packets by the rows alone, makes seeded worlds of private networks and probes at the edges of
// their rules. It shares no code with the compiler: tests compare the two, and both with real packets.
package vpctest

import (
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// Allows is the specification: whether a connection that begins with a packet works inside one VPC.
func Allows(s vpc.Snapshot, p vpc.Packet) bool {
	sender, receiver := portOf(s, p.VPC, p.Source), portOf(s, p.VPC, p.Destination)
	if sender == nil || receiver == nil || sender.ID != p.From {
		return false
	}
	if !groupsAllow(s, sender, true, p, p.Destination) || !groupsAllow(s, receiver, false, p, p.Source) {
		return false
	}
	if sender.Subnet == receiver.Subnet {
		return true
	}
	answer := p
	answer.Source, answer.Destination, answer.SourcePort, answer.DestinationPort = p.Destination, p.Source, p.DestinationPort, p.SourcePort
	if p.Protocol == 1 {
		answer.DestinationPort = 0 // an echo reply; other messages have no answer
	}
	noAnswer := p.Protocol == 1 && p.DestinationPort>>8 != 8
	return aclAllows(s, sender, true, p, p.Destination) && aclAllows(s, receiver, false, p, p.Source) &&
		(noAnswer || aclAllows(s, receiver, true, answer, answer.Destination) && aclAllows(s, sender, false, answer, answer.Source))
}

func portOf(s vpc.Snapshot, v app.VPCID, a netip.Addr) *app.NetworkInterface {
	for i := range s.Interfaces {
		if s.Interfaces[i].VPC == v && slices.Contains(s.Interfaces[i].Addresses, a) {
			return &s.Interfaces[i]
		}
	}
	return nil
}

func groupsAllow(s vpc.Snapshot, ni *app.NetworkInterface, egress bool, p vpc.Packet, far netip.Addr) bool {
	return slices.ContainsFunc(s.Rules, func(r app.SecurityGroupRule) bool {
		if r.Egress != egress || !slices.Contains(ni.Groups, r.Group) || !matches(r.Protocol, r.FromPort, r.ToPort, p) {
			return false
		}
		if peer := portOf(s, ni.VPC, far); r.Peer != "" {
			return peer != nil && slices.Contains(peer.Groups, r.Peer)
		}
		return r.CIDR.Contains(far) || slices.ContainsFunc(s.PrefixLists, func(l app.PrefixList) bool {
			return l.ID == r.PrefixList && slices.ContainsFunc(l.Entries, func(e app.PrefixEntry) bool { return e.CIDR.Contains(far) })
		})
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
