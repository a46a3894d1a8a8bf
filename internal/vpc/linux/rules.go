package linux

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

const (
	sourcesSet = "sources"
	flowsSet   = "flows"
	neverSet   = "never"
	allowSet   = "allow"
	privateSet = "private"
	lansSet    = "lans"
)

// sourceType is an incoming link with the only address that may come from it.
var sourceType = nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)

func sourceElement(id app.InterfaceID, a netip.Addr) nftables.SetElement {
	return nftables.SetElement{Key: append(linkKey(linkName(id)), a.AsSlice()...)}
}

func linkKey(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// uplinkFlows is how many times as many flows a whole VPC may have open to the outside as one instance.
const uplinkFlows = 16

// mgmtRules is the table of the management namespace. Routers of VPCs are treated as instances, but for their LANs.
func (d *Dataplane) mgmtRules() table {
	n := d.names
	established := rule{"answers", exprs(ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())}
	invalid := rule{"no state", exprs(ctState(expr.CtStateBitINVALID), drop())}
	fromInstance, fromRouter := iifPrefix(linkPrefix), iifPrefix(uplinkPrefix)
	spoof := []rule{}
	limit := []rule{{"answers only from what has interfaces in VPCs", exprs(fromInstance, ctState(expr.CtStateBitNEW),
		metaCmp(expr.MetaKey(unix.NFT_META_IIFGROUP), expr.CmpOpEq, binaryutil.NativeEndian.PutUint32(ingressGroup)), drop())}}
	input := []rule{established, invalid, {"this namespace itself", exprs(iif("lo"), accept())}}
	forward := []rule{established, invalid}
	for _, from := range []struct {
		what  string
		match []expr.Any
		flows uint32
	}{{"instance", fromInstance, n.maxFlows}, {"VPC", fromRouter, n.maxFlows * uplinkFlows}} {
		door := func(p uint16) rule {
			return rule{"front door", exprs(from.match, daddr(n.Door()), port(unix.IPPROTO_TCP, p), accept())}
		}
		spoof = append(spoof, rule{"a link's own address only", exprs(from.match, linkAndSource(), notIn(sourcesSet, 8), drop())})
		limit = append(limit, rule{"open flows of one " + from.what, exprs(from.match, ctState(expr.CtStateBitNEW), overLimit(from.flows), drop())})
		input = append(input, door(80), door(443))
		forward = append(forward,
			rule{"no other instance", exprs(from.match, notOif(mgmtUplink), reject())},
			rule{"never", exprs(from.match, in(neverSet), reject())})
		if from.what == "VPC" {
			forward = append(forward, rule{"the VPC's LANs", exprs(from.match, linkAndDestinationOf(expr.MetaKeyIIFNAME), []expr.Any{&expr.Lookup{SourceRegister: 8, SetName: lansSet}}, accept())})
		}
		forward = append(forward,
			rule{"opened ranges", exprs(from.match, in(allowSet), accept())},
			rule{"private ranges", exprs(from.match, in(privateSet), reject())},
			rule{"the outside", exprs(from.match, accept())})
	}
	for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		input = append(input, rule{"names", exprs(fromInstance, daddr(n.Resolver()), port(proto, 53), accept())})
	}
	input = append(input, rule{"nothing else here", exprs(fromInstance, reject())}, rule{"nothing else here", exprs(fromRouter, reject())})
	spoof = append(spoof, rule{"answers to the transit address only", exprs(iif(mgmtUplink), notDaddr(n.mgmtTransit), drop())})
	return table{
		name: mgmtTable,
		sets: []set{
			{name: sourcesSet, key: sourceType, elements: d.sources()},
			{name: flowsSet, key: nftables.TypeIPAddr, dynamic: true},
			{name: neverSet, key: nftables.TypeIPAddr, interval: true, elements: ranges(append(slices.Clone(vpc.NeverReachable), n.Prefix()))},
			{name: allowSet, key: nftables.TypeIPAddr, interval: true, elements: ranges(d.allow)},
			{name: privateSet, key: nftables.TypeIPAddr, interval: true, elements: ranges(vpc.PrivateRanges)},
			{name: lansSet, key: sourceType, interval: true, elements: d.lans},
		},
		chains: []chain{
			filter("spoof", nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw, nftables.ChainPolicyAccept, spoof...),
			filter("limit", nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle, nftables.ChainPolicyAccept, limit...),
			filter("input", nftables.ChainHookInput, *nftables.ChainPriorityFilter, nftables.ChainPolicyDrop, input...),
			filter("forward", nftables.ChainHookForward, *nftables.ChainPriorityFilter, nftables.ChainPolicyDrop, forward...),
			{name: "nat", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, priority: *nftables.ChainPriorityNATSource, policy: nftables.ChainPolicyAccept,
				rules: []rule{{"as the transit address", exprs(oif(mgmtUplink), masquerade())}}},
		},
	}
}

// hostRules is the install's table in the host's namespace. Its chains come before everybody else's filters.
func (n names) hostRules() table {
	link := n.hostLink()
	before := *nftables.ChainPriorityFilter - 10
	return table{
		name: n.hostTable(),
		chains: []chain{
			filter("input", nftables.ChainHookInput, before, nftables.ChainPolicyAccept,
				rule{"no service of the host", exprs(iif(link), reject())}),
			filter("forward", nftables.ChainHookForward, before, nftables.ChainPolicyAccept,
				rule{"the transit address only", exprs(iif(link), notSaddr(n.mgmtTransit), drop())},
				rule{"no published port of the host", exprs(iif(link), destinationChanged(), reject())},
				rule{"no other install", exprs(iif(link), oifPrefix(hostLinkPrefix), transitDaddr(), reject())},
				rule{"nobody calls in", exprs(oif(link), notCtState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), drop())}),
			{name: "nat", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, priority: *nftables.ChainPriorityNATSource, policy: nftables.ChainPolicyAccept,
				rules: []rule{{"as the host", exprs(saddr(n.mgmtTransit), notOif(link), masquerade())}}},
		},
	}
}

func filter(name string, hook *nftables.ChainHook, priority nftables.ChainPriority, policy nftables.ChainPolicy, rules ...rule) chain {
	return chain{name: name, kind: nftables.ChainTypeFilter, hook: hook, priority: priority, policy: policy, rules: rules}
}

func exprs(parts ...[]expr.Any) []expr.Any { return slices.Concat(parts...) }

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }
func drop() []expr.Any   { return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}} }

// reject answers with ICMP's "administratively prohibited", which a program sees at once as "no route to host".
func reject() []expr.Any {
	const adminProhibited = 13
	return []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: adminProhibited}}
}

func masquerade() []expr.Any { return []expr.Any{&expr.Masq{}} }

func metaCmp(key expr.MetaKey, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

func iif(name string) []expr.Any {
	return metaCmp(expr.MetaKeyIIFNAME, expr.CmpOpEq, linkKey(name))
}
func oif(name string) []expr.Any {
	return metaCmp(expr.MetaKeyOIFNAME, expr.CmpOpEq, linkKey(name))
}
func notOif(name string) []expr.Any {
	return metaCmp(expr.MetaKeyOIFNAME, expr.CmpOpNeq, linkKey(name))
}
func iifPrefix(p string) []expr.Any {
	return metaCmp(expr.MetaKeyIIFNAME, expr.CmpOpEq, []byte(p))
}
func oifPrefix(p string) []expr.Any {
	return metaCmp(expr.MetaKeyOIFNAME, expr.CmpOpEq, []byte(p))
}

const saddrOffset, daddrOffset = 12, 16

func address(register, offset uint32) *expr.Payload {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}
}

func addressCmp(offset uint32, op expr.CmpOp, a netip.Addr) []expr.Any {
	return []expr.Any{address(1, offset), &expr.Cmp{Op: op, Register: 1, Data: a.AsSlice()}}
}

func daddr(a netip.Addr) []expr.Any    { return addressCmp(daddrOffset, expr.CmpOpEq, a) }
func notDaddr(a netip.Addr) []expr.Any { return addressCmp(daddrOffset, expr.CmpOpNeq, a) }
func saddr(a netip.Addr) []expr.Any    { return addressCmp(saddrOffset, expr.CmpOpEq, a) }
func notSaddr(a netip.Addr) []expr.Any { return addressCmp(saddrOffset, expr.CmpOpNeq, a) }

// transitDaddr matches any install's transit link.
func transitDaddr() []expr.Any {
	b := transitRange.Addr().As4()
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: daddrOffset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b[:2]},
	}
}

func in(set string) []expr.Any {
	return []expr.Any{address(1, daddrOffset), &expr.Lookup{SourceRegister: 1, SetName: set}}
}

// linkAndSource loads the key of the sources set into registers 8 to 12.
func linkAndSource() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 8}, address(12, saddrOffset)}
}

func notIn(set string, register uint32) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register, SetName: set, Invert: true}}
}

func port(proto byte, number uint16) []expr.Any {
	return append(metaCmp(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{proto}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(number)})
}

func ctBits(key expr.CtKey, op expr.CmpOp, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: 1, Key: key},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: make([]byte, 4)},
	}
}

func ctState(bits uint32) []expr.Any    { return ctBits(expr.CtKeySTATE, expr.CmpOpNeq, bits) }
func notCtState(bits uint32) []expr.Any { return ctBits(expr.CtKeySTATE, expr.CmpOpEq, bits) }

// destinationChanged matches packets that the host redirected to another address, as Docker does for published ports.
func destinationChanged() []expr.Any {
	const ipsDstNAT = 1 << 5
	return ctBits(expr.CtKeySTATUS, expr.CmpOpNeq, ipsDstNAT)
}

// overLimit counts the sender's flows and matches when there are more than limit.
func overLimit(limit uint32) []expr.Any {
	return []expr.Any{address(1, saddrOffset), &expr.Dynset{
		SrcRegKey: 1, SetName: flowsSet, Operation: unix.NFT_DYNSET_OP_ADD,
		Exprs: []expr.Any{&expr.Connlimit{Count: limit, Flags: expr.NFT_CONNLIMIT_F_INV}},
	}}
}

// ranges turns prefixes into the elements of an interval set: disjoint, sorted, start and end each, the end
// exclusive and left out where it is the end of the address space.
func ranges(list []netip.Prefix) []nftables.SetElement {
	type span struct{ first, end uint64 }
	spans := make([]span, 0, len(list))
	for _, p := range list {
		b := p.Masked().Addr().As4()
		first := uint64(binary.BigEndian.Uint32(b[:]))
		spans = append(spans, span{first, first + 1<<uint(32-p.Bits())})
	}
	slices.SortFunc(spans, func(a, b span) int { return int(int64(a.first) - int64(b.first)) })
	var merged []span
	for _, s := range spans {
		if k := len(merged) - 1; k >= 0 && s.first <= merged[k].end {
			merged[k].end = max(merged[k].end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	var out []nftables.SetElement
	for _, s := range merged {
		out = append(out, nftables.SetElement{Key: binaryutil.BigEndian.PutUint32(uint32(s.first))})
		if s.end < 1<<32 {
			out = append(out, nftables.SetElement{Key: binaryutil.BigEndian.PutUint32(uint32(s.end)), IntervalEnd: true})
		}
	}
	return out
}

// fromRanges is the inverse of ranges: the fewest prefixes that cover the same addresses.
func fromRanges(elements []nftables.SetElement) []netip.Prefix {
	sorted := slices.Clone(elements)
	slices.SortFunc(sorted, func(a, b nftables.SetElement) int { return slices.Compare(a.Key, b.Key) })
	var out []netip.Prefix
	for i, e := range sorted {
		if e.IntervalEnd {
			continue
		}
		end := uint64(1 << 32)
		if i+1 < len(sorted) {
			end = uint64(binary.BigEndian.Uint32(sorted[i+1].Key))
		}
		for first := uint64(binary.BigEndian.Uint32(e.Key)); first < end; {
			bits := 0 // the widest range that begins here and ends in time
			for first&(1<<(32-bits)-1) != 0 || first+1<<(32-bits) > end {
				bits++
			}
			out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(first)))), bits))
			first += 1 << (32 - bits)
		}
	}
	return out
}
