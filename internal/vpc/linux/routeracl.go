package linux

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

func subnetSet(id app.SubnetID) string { return "links-" + string(id) }

// subnetChain names the ACL too: another ACL is another chain.
func subnetChain(w way, id app.SubnetID, acl app.NetworkACLID) string {
	return w.letter + "-" + string(id) + "-" + string(acl)
}

func aclChain(w way, id app.NetworkACLID) string { return w.letter + "-" + string(id) }

// guarded reports whether some subnet has an ACL that does not let everything through.
func guarded(n *vpc.Network) bool {
	for _, s := range n.Subnets {
		if a := n.ACLs[s.ACL]; a != nil && !a.Open {
			return true
		}
	}
	return false
}

// guardSubnet sends what crosses the border of a subnet through its ACL.
func guardSubnet(id app.SubnetID, acl app.NetworkACLID) ([]*set, []*chain) {
	links := &set{name: subnetSet(id), key: nftables.TypeIFName}
	inside := func(key expr.MetaKey) []expr.Any {
		return exprs(linkLookup(key, links.name, false), []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}})
	}
	chains := []*chain{
		{name: subnetChain(egressWay, id, acl), rules: []rule{{"inside the subnet", inside(expr.MetaKeyOIFNAME)}, {"out", jumpToChain(aclChain(egressWay, acl))}}},
		{name: subnetChain(ingressWay, id, acl), rules: []rule{{"inside the subnet", inside(expr.MetaKeyIIFNAME)}, {"in", jumpToChain(aclChain(ingressWay, acl))}}},
	}
	return []*set{links}, chains
}

// renderACL makes a chain a direction: an entry that allows returns, everything else is dropped.
func renderACL(a *vpc.ACL) []*chain {
	var out []*chain
	for _, d := range []struct {
		way     way
		entries []app.ACLEntry
	}{{egressWay, a.Egress}, {ingressWay, a.Ingress}} {
		c := &chain{name: aclChain(d.way, a.ID)}
		for _, e := range d.entries {
			verdict := []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictReturn}}
			if !e.Allow {
				verdict = []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: refuseChain(d.way)}}
			}
			c.rules = append(c.rules, rule{strconv.Itoa(e.Number), exprs(prefixMatch(d.way.remote, e.CIDR), aclPorts(e), verdict)})
		}
		c.rules = append(c.rules, rule{"*", []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: refuseChain(d.way)}}})
		out = append(out, c)
	}
	return out
}

// aclPorts matches the protocol and the ports, or type and code, of an entry.
func aclPorts(e app.ACLEntry) []expr.Any {
	if e.Protocol < 0 {
		return nil
	}
	match := metaCmp(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{byte(e.Protocol)})
	transport := func(offset, length uint32) expr.Any {
		return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length}
	}
	switch e.Protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		if e.FromPort >= 0 && (e.FromPort > 0 || e.ToPort < 65535) {
			match = append(match, transport(2, 2), &expr.Range{
				Op: expr.CmpOpEq, Register: 1, FromData: binary.BigEndian.AppendUint16(nil, uint16(e.FromPort)), ToData: binary.BigEndian.AppendUint16(nil, uint16(e.ToPort)),
			})
		}
	case unix.IPPROTO_ICMP:
		for offset, value := range []int{e.FromPort, e.ToPort} {
			if value >= 0 {
				match = append(match, transport(uint32(offset), 1), &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(value)}})
			}
		}
	}
	return match
}

func prefixMatch(offset uint32, p netip.Prefix) []expr.Any {
	if p.Bits() == 0 {
		return nil
	}
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	return []expr.Any{
		address(1, offset),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}
