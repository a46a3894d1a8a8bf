package vpctest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

var scope = app.Scope{Account: "000000000000", Region: "us-east-1"}

// world grows a snapshot from a seed.
type world struct {
	*rand.Rand
	s     vpc.Snapshot
	count map[string]int
}

// World returns two or three VPCs with the same blocks and partly the same addresses, subnets with and without ACLs of their
// own, groups that name each other, themselves, blocks and prefix lists, and interfaces with several groups and addresses.
func World(seed uint64) vpc.Snapshot {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 7)), count: map[string]int{}}
	w.s.Slots = map[app.VPCID]int{}
	for n := range 2 + w.IntN(2) {
		w.vpc(n)
	}
	return w.s
}

// id is unique in the world and has EC2's form.
func (w *world) id(prefix string) string {
	w.count[prefix]++
	return fmt.Sprintf("%s-%017x", prefix, w.count[prefix])
}

func (w *world) vpc(slot int) {
	v := app.VPC{ID: app.VPCID(w.id("vpc")), Scope: scope, CIDR: netip.MustParsePrefix("10.1.0.0/16"), DNSSupport: true}
	w.s.VPCs = append(w.s.VPCs, v)
	w.s.Slots[v.ID] = slot
	table := app.RouteTable{ID: app.RouteTableID(w.id("rtb")), Scope: scope, VPC: v.ID, Associations: []app.TableAssociation{{ID: "rtbassoc-1", Main: true}}}
	w.s.RouteTables = append(w.s.RouteTables, table)
	var subnets []app.Subnet
	for n := range 2 + w.IntN(2) {
		sub := app.Subnet{ID: app.SubnetID(w.id("subnet")), Scope: scope, VPC: v.ID, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(n), 0}), 24)}
		subnets = append(subnets, sub)
		w.acl(v.ID, sub.ID)
	}
	w.s.Subnets = append(w.s.Subnets, subnets...)
	list := app.PrefixList{ID: app.PrefixListID(w.id("pl")), Scope: scope, Family: "IPv4", MaxEntries: 5}
	for range 1 + w.IntN(3) {
		list.Entries = append(list.Entries, app.PrefixEntry{CIDR: w.prefix()})
	}
	w.s.PrefixLists = append(w.s.PrefixLists, list)
	var groups []app.GroupID
	for range 3 + w.IntN(3) {
		groups = append(groups, app.GroupID(w.id("sg")))
		w.s.Groups = append(w.s.Groups, app.SecurityGroup{ID: groups[len(groups)-1], Scope: scope, VPC: v.ID})
	}
	for _, g := range groups {
		for range 1 + w.IntN(6) {
			w.rule(g, groups, list.ID)
		}
	}
	w.interfaces(v.ID, subnets, groups)
}

func (w *world) interfaces(v app.VPCID, subnets []app.Subnet, groups []app.GroupID) {
	next := map[app.SubnetID]byte{}
	for range 4 + w.IntN(4) {
		sub := subnets[w.IntN(len(subnets))]
		ni := app.NetworkInterface{ID: app.InterfaceID(w.id("eni")), Scope: scope, Kind: app.InterfaceOfUser, VPC: v, Subnet: sub.ID, SourceDestCheck: true}
		for range 1 + w.IntN(5)/4 {
			b := sub.CIDR.Addr().As4()
			b[3] = 4 + next[sub.ID]
			next[sub.ID] += byte(1 + w.IntN(2))
			ni.Addresses = append(ni.Addresses, netip.AddrFrom4(b))
		}
		for _, n := range w.Perm(len(groups))[:1+w.IntN(3)] {
			ni.Groups = append(ni.Groups, groups[n])
		}
		w.s.Interfaces = append(w.s.Interfaces, ni)
	}
}

// prefix is a block inside the VPC's, or around it.
func (w *world) prefix() netip.Prefix {
	bits := []int{0, 8, 16, 24, 24, 29, 30, 31, 32, 32}[w.IntN(10)]
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(w.IntN(4)), byte(4 + w.IntN(12))}), bits).Masked()
}

// traffic is a protocol with ports, ICMP types or nothing.
func (w *world) traffic() (protocol, from, to int) {
	switch w.IntN(8) {
	case 0:
		return -1, -1, -1
	case 1:
		return 1, -1, -1
	case 2:
		return 1, []int{8, 8, 3, 13}[w.IntN(4)], w.IntN(3) - 1
	case 3:
		return 47, -1, -1
	}
	low := []int{1, 22, 80, 443, 1000, 5432, 8080, 65000}[w.IntN(8)]
	return []int{6, 6, 17}[w.IntN(3)], low, min(65535, low+[]int{0, 0, 1, 10, 1000}[w.IntN(5)])
}

func (w *world) rule(g app.GroupID, groups []app.GroupID, list app.PrefixListID) {
	r := app.SecurityGroupRule{ID: app.RuleID(w.id("sgr")), Scope: scope, Group: g, Egress: w.IntN(2) == 0}
	r.Protocol, r.FromPort, r.ToPort = w.traffic()
	switch w.IntN(5) {
	case 0:
		r.PrefixList = list
	case 1, 2:
		r.Peer = groups[w.IntN(len(groups))]
	default:
		r.CIDR = w.prefix()
	}
	w.s.Rules = append(w.s.Rules, r)
}

func (w *world) acl(v app.VPCID, subnet app.SubnetID) {
	a := app.NetworkACL{ID: app.NetworkACLID(w.id("acl")), Scope: scope, VPC: v, Associations: []app.ACLAssociation{{ID: "aclassoc-1", Subnet: subnet}}}
	for _, egress := range []bool{false, true} {
		number := 100
		if w.IntN(2) == 0 {
			for range 1 + w.IntN(3) {
				e := app.ACLEntry{Number: number, Egress: egress, Allow: w.IntN(2) == 0, CIDR: w.prefix()}
				e.Protocol, e.FromPort, e.ToPort = w.traffic()
				a.Entries = append(a.Entries, e)
				number += 10
			}
		}
		every := netip.MustParsePrefix("0.0.0.0/0")
		a.Entries = append(a.Entries, app.ACLEntry{Number: number, Egress: egress, Allow: true, Protocol: -1, CIDR: every},
			app.ACLEntry{Number: 32767, Egress: egress, Protocol: -1, CIDR: every})
	}
	w.s.ACLs = append(w.s.ACLs, a)
}

// Probes returns n packets between interfaces of the world, most of them at the edge of a rule: its first and last port or
// one beyond.
func Probes(s vpc.Snapshot, seed uint64, n int) []vpc.Packet {
	r := rand.New(rand.NewPCG(seed, 11))
	out := make([]vpc.Packet, 0, n)
	for len(out) < n {
		from, to := s.Interfaces[r.IntN(len(s.Interfaces))], s.Interfaces[r.IntN(len(s.Interfaces))]
		if from.VPC != to.VPC || from.ID == to.ID {
			continue
		}
		p := vpc.Packet{
			VPC: from.VPC, From: from.ID, Source: from.Addresses[r.IntN(len(from.Addresses))],
			Destination: to.Addresses[r.IntN(len(to.Addresses))], SourcePort: uint16(32768 + r.IntN(20000)),
		}
		rules := slices.DeleteFunc(slices.Clone(s.Rules), func(x app.SecurityGroupRule) bool {
			return !slices.Contains(from.Groups, x.Group) && !slices.Contains(to.Groups, x.Group)
		})
		p.Protocol, p.DestinationPort = uint8([]int{6, 17, 1, 47}[r.IntN(4)]), uint16(r.IntN(65536))
		if len(rules) > 0 && r.IntN(5) > 0 {
			edge(r, &p, rules[r.IntN(len(rules))])
		}
		if p.Protocol == 1 { // a type that a host can send, and sees answered
			p.DestinationPort, p.SourcePort = 8<<8, 0
		}
		if p.Protocol == 47 {
			p.DestinationPort, p.SourcePort = 0, 0
		}
		out = append(out, p)
	}
	return out
}

func edge(r *rand.Rand, p *vpc.Packet, rule app.SecurityGroupRule) {
	if rule.Protocol > 0 {
		p.Protocol = uint8(rule.Protocol)
	}
	if rule.Protocol == 6 || rule.Protocol == 17 {
		port := []int{rule.FromPort, rule.ToPort, rule.FromPort - 1, rule.ToPort + 1}[r.IntN(4)]
		p.DestinationPort = uint16(min(max(port, 1), 65535))
	}
}
