package vpctest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// Probes returns n packets that hosts of the world can send each other for real, and see answered: TCP, UDP, pings and
// GRE between private hosts over local routes. Most of them are at the edge of a rule: its first and last port or one beyond.
func Probes(s vpc.Snapshot, seed uint64, n int) []vpc.Packet {
	r := rand.New(rand.NewPCG(seed, 11))
	hosts := slices.DeleteFunc(slices.Clone(s.Interfaces), func(i app.NetworkInterface) bool { return i.Kind != app.InterfaceOfUser })
	out := make([]vpc.Packet, 0, n)
	for tries := 0; len(out) < n && len(hosts) > 1 && tries < 100*n; tries++ {
		from, to := hosts[r.IntN(len(hosts))], hosts[r.IntN(len(hosts))]
		p := vpc.Packet{
			VPC: from.VPC, From: from.ID, Source: from.Addresses[r.IntN(len(from.Addresses))],
			Destination: to.Addresses[r.IntN(len(to.Addresses))], SourcePort: uint16(32768 + r.IntN(20000)),
		}
		if from.VPC != to.VPC || from.ID == to.ID || routeOf(s, from.VPC, from.Subnet, p.Destination).Kind != app.TargetLocal {
			continue
		}
		aim(r, s, &p, from, to)
		switch p.Protocol {
		case 1:
			p.DestinationPort, p.SourcePort = 8<<8, 0
		case 6, 17:
			p.DestinationPort = max(p.DestinationPort, 1)
		default:
			p.Protocol, p.DestinationPort, p.SourcePort = 47, 0, 0
		}
		out = append(out, p)
	}
	return out
}

// Wild returns n packets of any kind: to the first and last address of what rules, entries, routes and lists name and one
// beyond, from addresses that are the sender's or not, to the outside, to the resolver and to nobody.
func Wild(s vpc.Snapshot, seed uint64, n int) []vpc.Packet {
	r := rand.New(rand.NewPCG(seed, 13))
	edges := edgesOf(s)
	out := make([]vpc.Packet, 0, n)
	for len(out) < n && len(s.Interfaces) > 0 {
		from, to := s.Interfaces[r.IntN(len(s.Interfaces))], s.Interfaces[r.IntN(len(s.Interfaces))]
		p := vpc.Packet{VPC: from.VPC, From: from.ID, Source: from.Addresses[0], Destination: to.Addresses[0], SourcePort: uint16([]int{0, 1024, 32767, 32768, 60999, 65535}[r.IntN(6)])}
		switch r.IntN(12) {
		case 0, 1, 2, 3, 4, 5:
			p.Destination = edges[r.IntN(len(edges))]
		case 6:
			p.Destination = resolver(s, from.VPC)
		case 7, 8:
			p.Destination = netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(256))})
		}
		switch r.IntN(20) {
		case 0, 1, 2:
			p.Source = edges[r.IntN(len(edges))]
		case 3:
			p.From = ""
		case 4:
			p.VPC = to.VPC
		}
		aim(r, s, &p, from, to)
		if r.IntN(30) == 0 {
			p.DestinationPort = 53
		}
		out = append(out, p)
	}
	return out
}

// edgesOf are the addresses at the borders of all blocks that rows name.
func edgesOf(s vpc.Snapshot) (out []netip.Addr) {
	add := func(p netip.Prefix) {
		if p.IsValid() && p.Addr().Is4() {
			first := p.Masked().Addr()
			b := first.As4()
			last := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])|uint32(uint64(1)<<(32-p.Bits())-1))))
			for _, a := range []netip.Addr{first.Prev(), first, last, last.Next()} {
				if a.IsValid() {
					out = append(out, a)
				}
			}
		}
	}
	for _, r := range s.Rules {
		add(r.CIDR)
	}
	for _, l := range s.PrefixLists {
		for _, e := range l.Entries {
			add(e.CIDR)
		}
	}
	for _, a := range s.ACLs {
		for _, e := range a.Entries {
			add(e.CIDR)
		}
	}
	for _, t := range s.RouteTables {
		for _, r := range t.Routes {
			add(r.CIDR)
		}
	}
	for _, l := range s.LANs {
		for _, c := range l.CIDRs {
			add(c)
		}
	}
	return out
}

// aim chooses protocol and port: mostly those at the edge of a rule or an ACL entry that may judge the packet.
func aim(r *rand.Rand, s vpc.Snapshot, p *vpc.Packet, from, to app.NetworkInterface) {
	p.Protocol, p.DestinationPort = uint8([]int{6, 17, 1, 47}[r.IntN(4)]), uint16(r.IntN(65536))
	type traffic struct{ protocol, from, to int }
	var near []traffic
	for _, x := range s.Rules {
		if slices.Contains(from.Groups, x.Group) || slices.Contains(to.Groups, x.Group) {
			near = append(near, traffic{x.Protocol, x.FromPort, x.ToPort})
		}
	}
	for _, a := range s.ACLs {
		if slices.ContainsFunc(a.Associations, func(x app.ACLAssociation) bool { return x.Subnet == from.Subnet || x.Subnet == to.Subnet }) {
			for _, e := range a.Entries {
				near = append(near, traffic{e.Protocol, e.FromPort, e.ToPort})
			}
		}
	}
	if len(near) == 0 || r.IntN(5) == 0 {
		return
	}
	switch t := near[r.IntN(len(near))]; {
	case t.protocol == 6, t.protocol == 17:
		p.Protocol = uint8(t.protocol)
		p.DestinationPort = uint16(min(max([]int{t.from, t.to, t.from - 1, t.to + 1}[r.IntN(4)], 0), 65535))
	case t.protocol == 1:
		p.Protocol = 1
		kind := []int{max(t.from, 8), 8, 13, 3}[r.IntN(4)]
		p.DestinationPort = uint16(kind<<8 | max(t.to, 0) + r.IntN(2))
	case t.protocol > 0:
		p.Protocol = uint8(t.protocol)
	}
}
