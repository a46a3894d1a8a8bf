package vpctest

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// Outward returns a world in which the way out leads through NAT gateways that work, some of them in the sender's own
// subnet, and n packets of its hosts to an address out there. Groups let everything out; network ACLs, those of the
// gateways' subnets too, judge much of what goes there and comes back. TCP and pings can be sent for real.
func Outward(seed uint64, to netip.Addr, n int) (vpc.Snapshot, []vpc.Packet) {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 17)), s: World(seed), count: map[string]int{}}
	host := netip.PrefixFrom(to, 32)
	for i := range w.s.NATs {
		nat := &w.s.NATs[i]
		nat.Public, nat.DeletedAt = true, time.Time{}
		w.s.Gateways[i].VPC = nat.VPC
		for k := range w.s.RouteTables {
			table := &w.s.RouteTables[k]
			if table.VPC != nat.VPC {
				continue
			}
			table.Routes = []app.Route{{CIDR: netip.MustParsePrefix("10.1.0.0/16"), Kind: app.TargetLocal}}
			if through := (app.Route{CIDR: anywhere, Kind: app.TargetNAT, Target: string(nat.ID)}); table.Main() {
				table.Routes = append(table.Routes, through)
			} else {
				table.Routes = append(table.Routes, app.Route{CIDR: anywhere, Kind: app.TargetIGW, Target: string(w.s.Gateways[i].ID)})
				if through.CIDR = host; w.IntN(2) == 0 {
					table.Routes = append(table.Routes, through)
				}
			}
		}
	}
	for _, g := range w.s.Groups {
		w.s.Rules = append(w.s.Rules, app.SecurityGroupRule{
			ID: app.RuleID(w.fresh("sgr")), Scope: scope, Group: g.ID, Egress: true, Protocol: -1, FromPort: -1, ToPort: -1, CIDR: anywhere,
		})
	}
	for i := range w.s.ACLs {
		w.guardOutward(&w.s.ACLs[i], host)
	}
	return w.s, w.outward(to, n)
}

// guardOutward gives an ACL up to two entries a direction before one that allows everything.
func (w *world) guardOutward(a *app.NetworkACL, host netip.Prefix) {
	a.Entries = nil
	for _, egress := range []bool{false, true} {
		for n := range w.IntN(3) {
			e := app.ACLEntry{Number: 10 + n, Egress: egress, Allow: w.IntN(3) == 0}
			e.CIDR = []netip.Prefix{anywhere, host, netip.PrefixFrom(host.Addr(), 24).Masked(), netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.1.1.4/30")}[w.IntN(5)]
			if e.Protocol, e.FromPort, e.ToPort = w.traffic(); w.IntN(3) == 0 { // what answers come to
				e.Protocol, e.FromPort, e.ToPort = 6, []int{1024, 32768, 40000}[w.IntN(3)], 65535
			}
			a.Entries = append(a.Entries, e)
		}
		a.Entries = append(a.Entries, app.ACLEntry{Number: 100, Egress: egress, Allow: true, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1})
	}
}

func (w *world) outward(to netip.Addr, n int) (out []vpc.Packet) {
	hosts := slices.DeleteFunc(slices.Clone(w.s.Interfaces), func(i app.NetworkInterface) bool { return i.Kind != app.InterfaceOfUser })
	for len(out) < n {
		from := hosts[w.IntN(len(hosts))]
		p := vpc.Packet{
			VPC: from.VPC, From: from.ID, Source: from.Addresses[w.IntN(len(from.Addresses))], Destination: to, Protocol: 6,
			SourcePort: uint16(32768 + w.IntN(20000)), DestinationPort: uint16(1 + w.IntN(65535)),
		}
		gateway := natOnTheWay(w.s, &from, to)
		if gateway == nil {
			gateway = &from
		}
		switch aim(w.Rand, w.s, &p, from, *gateway); {
		case p.Protocol == 1:
			p.DestinationPort, p.SourcePort = 8<<8, 0
		case p.Protocol != 6 && p.Protocol != 17:
			p.Protocol, p.SourcePort, p.DestinationPort = 47, 0, 0
		case w.IntN(8) == 0:
			p.SourcePort = 0
		default:
			p.DestinationPort = max(p.DestinationPort, 1)
		}
		out = append(out, p)
	}
	return out
}
