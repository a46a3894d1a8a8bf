package linux

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// A NAT gateway has no link. What passes one is known by the routing table of the sender and the address outside, both
// ways, and meets the ACL of the gateway's subnet there: in and out again. Answers keep the port that the sender took.

const (
	natOutMap = "nat-out" // routing table . destination -> chain of the gateway's subnet
	natInMap  = "nat-in"  // routing table . source of an answer -> chain of the gateway's subnet
)

var natType = nftables.MustConcatSetType(nftables.TypeMark, nftables.TypeIPAddr)

func natChain(w way, id app.SubnetID, acl app.NetworkACLID) string {
	return "nat-" + subnetChain(w, id, acl)
}

// renderNATs adds what is judged at NAT gateways in subnets with an ACL. number gives the routing table of a port.
func (r *rendered) renderNATs(n *vpc.Network, old *rendered, number func(*vpc.Port, *vpc.Subnet) int) {
	out, in := &set{name: natOutMap, key: natType, value: nftables.TypeVerdict, interval: true}, &set{name: natInMap, key: natType, value: nftables.TypeVerdict, interval: true}
	for id, t := range n.Tables {
		for _, s := range natSpans(n, t) {
			r.keep(old, nil, natChains(s.subnet))
			for _, public := range []bool{false, true} {
				table := binaryutil.NativeEndian.PutUint32(uint32(number(&vpc.Port{Public: public}, &vpc.Subnet{Table: id})))
				for w, m := range map[way]*set{egressWay: out, ingressWay: in} {
					m.elements = append(m.elements, nftables.SetElement{
						Key: slices.Concat(table, s.first.AsSlice()), KeyEnd: slices.Concat(table, s.last.AsSlice()),
						VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: natChain(w, s.subnet.ID, s.subnet.ACL)},
					})
				}
			}
		}
	}
	for _, m := range []*set{out, in} {
		if k := old.sets[m.name]; k != nil && len(difference(m.elements, k.elements))+len(difference(k.elements, m.elements)) == 0 {
			m = k
		}
		r.sets[m.name] = m
	}
}

// natChains judge by the ACL of a NAT gateway's subnet: what the gateway gets and what it sends on. Nothing meets it between
// the gateway and a sender in the same subnet.
func natChains(s *vpc.Subnet) []*chain {
	unless := func(key expr.MetaKey, w way) []expr.Any {
		return exprs(linkLookup(key, subnetSet(s.ID), true), jumpToChain(aclChain(w, s.ACL)))
	}
	return []*chain{
		{name: natChain(egressWay, s.ID, s.ACL), rules: []rule{{"to the NAT gateway", unless(expr.MetaKeyIIFNAME, ingressWay)}, {"translated", jumpToChain(aclChain(egressWay, s.ACL))}}},
		{name: natChain(ingressWay, s.ID, s.ACL), rules: []rule{{"to be translated back", jumpToChain(aclChain(ingressWay, s.ACL))}, {"from the NAT gateway", unless(expr.MetaKeyOIFNAME, egressWay)}}},
	}
}

// throughNAT finds the gateway of a packet that leaves, and of an answer.
func throughNAT() []rule {
	look := func(name string) []expr.Any {
		return []expr.Any{&expr.Lookup{SourceRegister: 8, SetName: name, DestRegister: 0, IsDestRegSet: true}}
	}
	return []rule{
		{"to a NAT gateway", exprs(oif(uplink), []expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 8}, address(9, daddrOffset)}, look(natOutMap))},
		{"from a NAT gateway", exprs(iif(uplink), []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Lookup{SourceRegister: 1, SetName: tablesMap, DestRegister: 8, IsDestRegSet: true}, address(9, saddrOffset),
		}, look(natInMap))},
	}
}

// natSpan are addresses that a table's routes lead to through gateways in a subnet.
type natSpan struct {
	first, last netip.Addr
	subnet      *vpc.Subnet
}

// natSpans are disjoint: between two borders of routes all addresses go the same way.
func natSpans(n *vpc.Network, t *vpc.Table) (out []natSpan) {
	guarded := func(r vpc.Route) *vpc.Subnet {
		if nat := n.NATs[app.NATGatewayID(r.Target)]; r.Kind == vpc.RouteNAT && nat != nil && nat.Broken == "" {
			if s := n.Subnets[nat.Subnet]; s != nil && n.ACLs[s.ACL] != nil && !n.ACLs[s.ACL].Open {
				return s
			}
		}
		return nil
	}
	if !slices.ContainsFunc(t.Routes, func(r vpc.Route) bool { return guarded(r) != nil }) {
		return nil
	}
	borders := []uint64{1 << 32}
	for _, r := range t.Routes {
		b := r.CIDR.Masked().Addr().As4()
		first := uint64(binary.BigEndian.Uint32(b[:]))
		borders = append(borders, first, first+1<<(32-r.CIDR.Bits()))
	}
	slices.Sort(borders)
	borders = slices.Compact(borders)
	for i, first := range borders[:len(borders)-1] {
		a := addressOf(first)
		k := slices.IndexFunc(t.Routes, func(r vpc.Route) bool { return r.CIDR.Contains(a) }) // the longest comes first
		if k < 0 {
			continue
		}
		s := guarded(t.Routes[k])
		switch last := addressOf(borders[i+1] - 1); {
		case s == nil:
		case len(out) > 0 && out[len(out)-1].subnet == s && out[len(out)-1].last.Next() == a:
			out[len(out)-1].last = last
		default:
			out = append(out, natSpan{a, last, s})
		}
	}
	return out
}

func addressOf(n uint64) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n))))
}
