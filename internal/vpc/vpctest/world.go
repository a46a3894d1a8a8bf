package vpctest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

var (
	scope    = app.Scope{Account: "000000000000", Region: "us-east-1"}
	anywhere = netip.MustParsePrefix("0.0.0.0/0")
)

// world grows a snapshot from a seed.
type world struct {
	*rand.Rand
	s     vpc.Snapshot
	count map[string]int
}

// World returns two or three VPCs with the same blocks and partly the same addresses: subnets with ACLs and route tables,
// some of their own; groups that name each other, themselves, blocks of both families and prefix lists; interfaces with
// several groups and addresses; gateways, NAT gateways and attached networks, some of which are gone or lead nowhere.
// The interfaces of private hosts (Kind InterfaceOfUser) have a MAC and an owner.
func World(seed uint64) vpc.Snapshot {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 7)), count: map[string]int{}}
	w.s.Slots, w.s.Names = map[app.VPCID]int{}, map[app.VPCID]map[string][]netip.Addr{}
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
	v := app.VPC{ID: app.VPCID(w.id("vpc")), Scope: scope, CIDR: netip.MustParsePrefix("10.1.0.0/16"), DNSSupport: w.IntN(4) > 0}
	if w.IntN(2) == 0 {
		v.Secondary = []app.CIDRAssociation{{ID: app.AssociationID(w.id("vpc-cidr-assoc")), CIDR: netip.MustParsePrefix("10.9.0.0/24")}}
	}
	w.s.VPCs = append(w.s.VPCs, v)
	w.s.Slots[v.ID] = slot
	var subnets []app.Subnet
	for n := range 2 + w.IntN(2) {
		block := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(n), 0}), 24)
		if n == 2 && len(v.Secondary) > 0 {
			block = v.Secondary[0].CIDR
		}
		sub := app.Subnet{ID: app.SubnetID(w.id("subnet")), Scope: scope, VPC: v.ID, CIDR: block, MapPublicIP: w.IntN(3) == 0}
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
		if w.IntN(2) == 0 { // as new groups have it
			w.s.Rules = append(w.s.Rules, app.SecurityGroupRule{
				ID: app.RuleID(w.id("sgr")), Scope: scope, Group: g, Egress: true, Protocol: -1, FromPort: -1, ToPort: -1, CIDR: anywhere,
			})
		}
		for range 1 + w.IntN(6) {
			w.s.Rules = append(w.s.Rules, w.rule(g, groups, list.ID))
		}
	}
	w.interfaces(v.ID, subnets, groups)
	w.routes(v.ID, subnets, list.ID)
}

func (w *world) interfaces(v app.VPCID, subnets []app.Subnet, groups []app.GroupID) {
	next := map[app.SubnetID]byte{}
	for range 4 + w.IntN(4) {
		sub := subnets[w.IntN(len(subnets))]
		ni := app.NetworkInterface{
			ID: app.InterfaceID(w.id("eni")), Scope: scope, Kind: app.InterfaceOfUser, VPC: v, Subnet: sub.ID, SourceDestCheck: w.IntN(6) > 0,
			MAC: fmt.Sprintf("02:dd:00:00:00:%02x", w.count["eni"]), Owner: w.id("i"),
		}
		for range 1 + w.IntN(5)/4 {
			b := sub.CIDR.Addr().As4()
			b[3] = 4 + next[sub.ID]
			next[sub.ID] += byte(1 + w.IntN(2))
			ni.Addresses = append(ni.Addresses, netip.AddrFrom4(b))
		}
		for _, n := range w.Perm(len(groups))[:1+w.IntN(3)] {
			ni.Groups = append(ni.Groups, groups[n])
		}
		if w.IntN(5) < 2 {
			w.s.ElasticIPs = append(w.s.ElasticIPs, app.ElasticIP{ID: app.AllocationID(w.id("eipalloc")), Scope: scope, Interface: ni.ID, Private: ni.Addresses[0]})
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
	switch w.IntN(9) {
	case 0:
		return -1, -1, -1
	case 1:
		return 1, -1, -1
	case 2:
		return 1, []int{8, 8, 3, 13}[w.IntN(4)], w.IntN(3) - 1
	case 3:
		return []int{47, 58}[w.IntN(2)], -1, -1
	case 4:
		return []int{6, 17}[w.IntN(2)], []int{-1, 0}[w.IntN(2)], 65535
	}
	low := []int{1, 22, 80, 1000, 1010, 5432, 8080, 9080, 32768}[w.IntN(9)] // where some end, others begin
	return []int{6, 6, 17}[w.IntN(3)], low, min(65535, low+[]int{0, 0, 1, 10, 1000, 40000}[w.IntN(6)])
}

func (w *world) rule(g app.GroupID, groups []app.GroupID, list app.PrefixListID) app.SecurityGroupRule {
	r := app.SecurityGroupRule{ID: app.RuleID(w.id("sgr")), Scope: scope, Group: g, Egress: w.IntN(2) == 0}
	r.Protocol, r.FromPort, r.ToPort = w.traffic()
	switch w.IntN(11) {
	case 0, 1:
		r.PrefixList = list
	case 2, 3, 4, 5:
		r.Peer = groups[w.IntN(len(groups))]
	case 6:
		r.CIDR = netip.MustParsePrefix("::/0")
	default:
		r.CIDR = w.prefix()
	}
	return r
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
		a.Entries = append(a.Entries, app.ACLEntry{Number: number, Egress: egress, Allow: true, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1},
			app.ACLEntry{Number: 32767, Egress: egress, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1})
	}
	w.s.ACLs = append(w.s.ACLs, a)
}

// routes adds a main table, one of the first subnet's own, and what their routes lead to.
func (w *world) routes(v app.VPCID, subnets []app.Subnet, list app.PrefixListID) {
	igw := app.InternetGateway{ID: app.IGWID(w.id("igw")), Scope: scope}
	if w.IntN(4) > 0 {
		igw.VPC = v
	}
	w.s.Gateways = append(w.s.Gateways, igw)
	at := subnets[0]
	b := at.CIDR.Addr().As4()
	b[3] = 200
	nat := app.NATGateway{ID: app.NATGatewayID(w.id("nat")), Scope: scope, VPC: v, Subnet: at.ID, Public: w.IntN(4) > 0, Interface: app.InterfaceID(w.id("eni")), PrivateIP: netip.AddrFrom4(b)}
	w.s.Interfaces = append(w.s.Interfaces, app.NetworkInterface{
		ID: nat.Interface, Scope: scope, Kind: app.InterfaceOfNAT, VPC: v, Subnet: at.ID, Addresses: []netip.Addr{nat.PrivateIP}, Owner: string(nat.ID), MAC: "02:dd:00:00:01:01",
	})
	if w.IntN(6) == 0 {
		nat.DeletedAt = time.Unix(1, 0).UTC()
	}
	w.s.NATs = append(w.s.NATs, nat)
	lan := app.LAN{ID: app.LANID(w.id("lan")), Scope: scope, VPC: v, Interface: "eth1", CIDRs: []netip.Prefix{netip.MustParsePrefix("172.20.4.0/24")}}
	w.s.LANs = append(w.s.LANs, lan)
	targets := []app.Route{
		{Kind: app.TargetIGW, Target: string(igw.ID)}, {Kind: app.TargetNAT, Target: string(nat.ID)}, {Kind: app.TargetLAN, Target: string(lan.ID)},
		{Kind: app.TargetInterface, Target: string(w.s.Interfaces[len(w.s.Interfaces)-2].ID)}, {Kind: app.TargetInterface, Target: "eni-00000000000000fff"},
	}
	for n, association := range []app.TableAssociation{{Main: true}, {Subnet: at.ID}} {
		table := app.RouteTable{ID: app.RouteTableID(w.id("rtb")), Scope: scope, VPC: v, Routes: []app.Route{{CIDR: netip.MustParsePrefix("10.1.0.0/16"), Kind: app.TargetLocal}}}
		association.ID = app.AssociationID(w.id("rtbassoc"))
		table.Associations = []app.TableAssociation{association}
		for i, destination := range []string{"0.0.0.0/0", "172.20.0.0/16", "172.20.4.128/25", "198.51.100.0/24", "10.1.1.8/29", "list"} {
			if w.IntN(3) == 0 || i > 3 && w.IntN(3) > 0 {
				continue
			}
			r := targets[w.IntN(len(targets))]
			switch {
			case i == 0 && n == 1:
				r = targets[0] // what the NAT gateway needs
			case i == 0 && w.IntN(2) == 0:
				r = targets[1]
			}
			if r.Origin = "CreateRoute"; destination == "list" {
				r.PrefixList = list
			} else {
				r.CIDR = netip.MustParsePrefix(destination)
			}
			table.Routes = append(table.Routes, r)
		}
		w.s.RouteTables = append(w.s.RouteTables, table)
	}
}
