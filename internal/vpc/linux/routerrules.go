package linux

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux/flowlog"
)

// Sets of a router's table. Elements of the first eight belong to interfaces.
const (
	ownMap     = "own"       // link . source that it may have -> number of its routing table
	looseSet   = "loose"     // links whose source and destination are not checked
	tablesMap  = "tables"    // link -> number of its routing table
	egressMap  = "egress"    // link -> chain of its groups
	ingressMap = "ingress"   // link -> chain of its groups
	aclOutMap  = "acl-out"   // link -> chain of its subnet
	aclInMap   = "acl-in"    // link -> chain of its subnet
	portedSet  = "protocols" // protocols with ports
)

var (
	// boxType is the order of fields that the kernel searches fastest: with the protocol first, all rules for TCP are
	// looked at for every packet.
	boxType   = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService, nftables.TypeInetProto)
	anyType   = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto)
	portsType = nftables.MustConcatSetType(nftables.TypeInetService, nftables.TypeInetProto)
)

// way is one direction of a group's rules.
type way struct {
	letter string // in names of sets and chains
	// remote is the offset of the other side's address in a packet's header.
	remote uint32
}

var (
	egressWay  = way{"e", daddrOffset}
	ingressWay = way{"i", saddrOffset}
)

// rendered is the table of one router as objects that keep their pointers while what they are made from does.
type rendered struct {
	base    basis
	sets    map[string]*set
	chains  map[string]*chain
	groups  map[app.GroupID]*groupPart
	members map[app.GroupID]*membersPart
	acls    map[app.NetworkACLID]*aclPart
	ports   map[app.InterfaceID]*portPart
}

// basis is what the base chains depend on.
type basis struct {
	resolver netip.Addr
	uplink   netip.Addr
	dns      bool
	logs     bool
	acls     bool // some subnet has an ACL that is not open
	out      bool // some route leads out of the VPC
	maxFlows uint32
}

type groupPart struct {
	from   *vpc.Group
	sets   []*set
	chains []*chain
}

type membersPart struct {
	from *vpc.Members
	set  *set
}

type aclPart struct {
	from   *vpc.ACL
	chains []*chain
}

// portPart is what one interface adds to sets.
type portPart struct {
	from    *vpc.Port
	subnet  *vpc.Subnet
	table   int
	acl     app.NetworkACLID // of its subnet, "" = it is open
	combo   string
	entries []entry
}

type entry struct {
	set     string
	element nftables.SetElement
}

// render describes the router's table for a network, reusing parts of old, which may be nil. number gives the routing
// table of a port.
func render(n *vpc.Network, b basis, old *rendered, number func(*vpc.Port, *vpc.Subnet) int) (*rendered, error) {
	if old == nil {
		old = &rendered{}
	}
	r := &rendered{
		base: b, sets: map[string]*set{}, chains: map[string]*chain{}, groups: map[app.GroupID]*groupPart{},
		members: map[app.GroupID]*membersPart{}, acls: map[app.NetworkACLID]*aclPart{}, ports: map[app.InterfaceID]*portPart{},
	}
	r.renderBase(old)
	for id, m := range n.Members {
		part := old.members[id]
		if part == nil || part.from != m {
			part = &membersPart{m, &set{name: membersName(id), key: nftables.TypeIPAddr, elements: addressElements(m.Addresses)}}
		}
		r.members[id], r.sets[part.set.name] = part, part.set
	}
	for id, g := range n.Groups {
		part := old.groups[id]
		if part == nil || part.from != g {
			part = renderGroup(g)
		}
		r.groups[id] = part
		r.add(part.sets, part.chains)
		for _, p := range slices.Concat(g.Ingress.Peers, g.Egress.Peers) {
			if n.Members[p.Group] == nil { // nobody carries it
				r.keep(old, []*set{{name: membersName(p.Group), key: nftables.TypeIPAddr}}, nil)
			}
		}
	}
	for id, a := range n.ACLs {
		if a.Open {
			continue
		}
		part := old.acls[id]
		if part == nil || part.from != a {
			part = &aclPart{a, renderACL(a)}
		}
		r.acls[id] = part
		r.add(nil, part.chains)
	}
	for id, s := range n.Subnets {
		if a := n.ACLs[s.ACL]; a != nil && !a.Open {
			sets, chains := guardSubnet(id, s.ACL)
			r.keep(old, sets, chains)
		}
	}
	r.renderNATs(n, old, number)
	return r, r.renderPorts(n, old, number)
}

func (r *rendered) add(sets []*set, chains []*chain) {
	for _, s := range sets {
		r.sets[s.name] = s
	}
	for _, c := range chains {
		r.chains[c.name] = c
	}
}

// keep adds objects whose content follows from their names.
func (r *rendered) keep(old *rendered, sets []*set, chains []*chain) {
	for _, s := range sets {
		if k := old.sets[s.name]; k != nil {
			s = k
		}
		r.sets[s.name] = s
	}
	for _, c := range chains {
		if k := old.chains[c.name]; k != nil {
			c = k
		}
		r.chains[c.name] = c
	}
}

func (r *rendered) renderPorts(n *vpc.Network, old *rendered, number func(*vpc.Port, *vpc.Subnet) int) error {
	for id, p := range n.Ports {
		s := n.Subnets[p.Subnet]
		if s == nil {
			return fmt.Errorf("cannot program interface %s: its subnet %s is not in the ruleset of %s", id, p.Subnet, n.VPC)
		}
		table := number(p, s)
		var acl app.NetworkACLID
		if a := n.ACLs[s.ACL]; a != nil && !a.Open {
			acl = a.ID
		}
		part := old.ports[id]
		if part == nil || part.from != p || part.subnet != s || part.table != table || part.acl != acl {
			for _, g := range p.Groups {
				if n.Groups[g] == nil {
					return fmt.Errorf("cannot program interface %s: its group %s is not in the ruleset of %s", id, g, n.VPC)
				}
			}
			part = &portPart{from: p, subnet: s, table: table, acl: acl, combo: comboName(p.Groups)}
			part.entries = portEntries(part)
		}
		r.ports[id] = part
		if r.chains[comboChain(egressWay, part.combo)] == nil {
			r.keep(old, nil, comboChains(part.combo, p.Groups))
		}
	}
	return nil
}

// renderBase adds the hooks. What may not pass ends in the chains refuse-e and refuse-i, which log it for flow logs.
func (r *rendered) renderBase(old *rendered) {
	if old.base == r.base {
		for _, name := range baseSets {
			r.sets[name] = old.sets[name]
		}
		for _, name := range baseChains {
			if c := old.chains[name]; c != nil {
				r.chains[name] = c
			}
		}
		return
	}
	jumps := nftables.TypeVerdict
	r.add([]*set{
		{name: sourcesSet, key: sourceType},
		{name: ownMap, key: sourceType, value: nftables.TypeMark},
		{name: looseSet, key: nftables.TypeIFName},
		{name: tablesMap, key: nftables.TypeIFName, value: nftables.TypeMark},
		{name: egressMap, key: nftables.TypeIFName, value: jumps},
		{name: ingressMap, key: nftables.TypeIFName, value: jumps},
		{name: aclOutMap, key: nftables.TypeIFName, value: jumps},
		{name: aclInMap, key: nftables.TypeIFName, value: jumps},
		{name: flowsSet, key: nftables.TypeIPAddr, dynamic: true},
		{name: portedSet, key: nftables.TypeInetProto, elements: []nftables.SetElement{{Key: []byte{unix.IPPROTO_TCP}}, {Key: []byte{unix.IPPROTO_UDP}}}},
	}, nil)
	chains := append(r.base.forwardChains(), r.base.otherChains()...)
	for i := range chains {
		r.chains[chains[i].name] = &chains[i]
	}
}

var (
	baseSets   = []string{sourcesSet, ownMap, looseSet, tablesMap, egressMap, ingressMap, aclOutMap, aclInMap, flowsSet, portedSet}
	baseChains = []string{"spoof", "input", "acl", "groups-e", "groups-i", "nat", refuseChain(egressWay), refuseChain(ingressWay)}
)

// limit bounds the open flows of an interface, where only new ones pass.
func (b basis) limit() rule {
	return rule{"open flows of one interface", exprs(iifPrefix(linkPrefix), overLimit(b.maxFlows), drop())}
}

// otherChains are all base chains but those of the forward hook. Translation costs every packet something, also those that
// stay inside, so it is there only when something may leave.
func (b basis) otherChains() []chain {
	fromPort := iifPrefix(linkPrefix)
	input := []rule{
		{"answers", exprs(ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())},
		{"this namespace itself", exprs(iif("lo"), accept())},
		b.limit(),
	}
	if b.dns {
		for _, proto := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
			input = append(input, rule{"names", exprs(fromPort, daddr(b.resolver), port(proto, 53), accept())})
		}
	}
	chains := []chain{
		// Every packet passes here: nearly all need the first rule and one look into a map.
		filter("spoof", nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw, nftables.ChainPolicyAccept,
			rule{"route table of an interface's own address", exprs(fromPort, linkAndSource(), linkMark(8, ownMap), accept())},
			rule{"no other address", exprs(fromPort, linkLookup(expr.MetaKeyIIFNAME, looseSet, true), drop())},
			rule{"route table", exprs(fromPort, []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}, linkMark(1, tablesMap))},
			rule{"answers to the router's address only", exprs(iif(uplink), notDaddr(b.uplink), drop())}),
		filter("input", nftables.ChainHookInput, *nftables.ChainPriorityFilter, nftables.ChainPolicyDrop, input...),
	}
	if b.out {
		chains = append(chains, chain{
			name: "nat", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, priority: *nftables.ChainPriorityNATSource, policy: nftables.ChainPolicyAccept,
			rules: []rule{{"as the router", exprs(oif(uplink), masquerade())}},
		})
	}
	return chains
}

// forwardChains let a new flow through where the ACLs, the sender's and the receiver's groups all do.
func (b basis) forwardChains() []chain {
	established := rule{"answers", exprs(ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())}
	invalid := rule{"no state", exprs(ctState(expr.CtStateBitINVALID), drop())}
	refuse := func(w way) chain {
		var rules []rule
		if b.logs {
			prefix := flowlog.EgressPrefix
			if w == ingressWay {
				prefix = flowlog.IngressPrefix
			}
			rules = append(rules, rule{"flow logs", []expr.Any{&expr.Log{
				Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX, Group: flowlog.Group, Data: []byte(prefix),
			}}})
		}
		return chain{name: refuseChain(w), rules: append(rules, rule{"no rule allows it", drop()})}
	}
	before := *nftables.ChainPriorityFilter
	toPort := oifPrefix(linkPrefix)
	var borders []rule
	if b.acls {
		borders = slices.Concat([]rule{{"out of a subnet", linkVerdict(expr.MetaKeyIIFNAME, aclOutMap)}}, throughNAT(),
			[]rule{{"into a subnet", linkVerdict(expr.MetaKeyOIFNAME, aclInMap)}})
	}
	return []chain{
		filter("acl", nftables.ChainHookForward, before-20, nftables.ChainPolicyAccept, borders...),
		filter("groups-e", nftables.ChainHookForward, before-10, nftables.ChainPolicyDrop,
			established, invalid, b.limit(), rule{"the sender's groups", linkVerdict(expr.MetaKeyIIFNAME, egressMap)}),
		filter("groups-i", nftables.ChainHookForward, before, nftables.ChainPolicyDrop,
			established,
			rule{"the outside", exprs(oif(uplink), accept())},
			rule{"an interface's own addresses only", exprs(toPort, linkLookup(expr.MetaKeyOIFNAME, looseSet, true), linkAndDestinationOf(expr.MetaKeyOIFNAME), notIn(sourcesSet, 8), drop())},
			rule{"the receiver's groups", linkVerdict(expr.MetaKeyOIFNAME, ingressMap)}),
		refuse(egressWay), refuse(ingressWay),
	}
}

func refuseChain(w way) string { return "refuse-" + w.letter }

func membersName(id app.GroupID) string { return "members-" + string(id) }

// comboName names the chains of all interfaces that carry the same groups.
func comboName(groups []app.GroupID) string {
	h := fnv.New64a()
	for _, g := range slices.Sorted(slices.Values(groups)) {
		h.Write([]byte(g + " "))
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

func comboChain(w way, combo string) string { return "port-" + w.letter + "-" + combo }

func comboChains(combo string, groups []app.GroupID) []*chain {
	var out []*chain
	for _, w := range []way{egressWay, ingressWay} {
		c := &chain{name: comboChain(w, combo)}
		for _, g := range slices.Sorted(slices.Values(groups)) {
			c.rules = append(c.rules, rule{string(g), jumpToChain(groupChain(w, g))})
		}
		c.rules = append(c.rules, rule{"no group", []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: refuseChain(w)}}})
		out = append(out, c)
	}
	return out
}

func jumpToChain(name string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: name}}
}

func portEntries(p *portPart) []entry {
	name := linkName(p.from.ID)
	key := linkKey(name)
	jump := func(set, target string) entry {
		return entry{set, nftables.SetElement{Key: key, VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: target}}}
	}
	out := []entry{
		{tablesMap, nftables.SetElement{Key: key, Val: binaryutil.NativeEndian.PutUint32(uint32(p.table))}},
		jump(egressMap, comboChain(egressWay, p.combo)), jump(ingressMap, comboChain(ingressWay, p.combo)),
	}
	if p.from.CheckSource {
		for _, a := range p.from.Addresses {
			own := sourceElement(p.from.ID, a)
			out = append(out, entry{sourcesSet, own})
			own.Val = binaryutil.NativeEndian.PutUint32(uint32(p.table))
			out = append(out, entry{ownMap, own})
		}
	} else {
		out = append(out, entry{looseSet, nftables.SetElement{Key: key}})
	}
	if p.acl != "" {
		out = append(out, entry{subnetSet(p.subnet.ID), nftables.SetElement{Key: key}},
			jump(aclOutMap, subnetChain(egressWay, p.subnet.ID, p.acl)), jump(aclInMap, subnetChain(ingressWay, p.subnet.ID, p.acl)))
	}
	return out
}

func groupChain(w way, id app.GroupID) string { return w.letter + "-" + string(id) }

func renderGroup(g *vpc.Group) *groupPart {
	part := &groupPart{from: g}
	part.direction(egressWay, &g.Egress)
	part.direction(ingressWay, &g.Ingress)
	return part
}

// direction adds the chain of one direction: it accepts what the group allows and returns otherwise.
func (part *groupPart) direction(w way, d *vpc.Direction) {
	id := part.from.ID
	c := &chain{name: groupChain(w, id)}
	anySet := &set{name: "any-" + groupChain(w, id), key: anyType, interval: true}
	for _, r := range d.Any {
		anySet.elements = append(anySet.elements, nftables.SetElement{Key: fields(r.First, []byte{0}), KeyEnd: fields(r.Last, []byte{255})})
	}
	boxSet := &set{name: "box-" + groupChain(w, id), key: boxType, interval: true}
	var used protocols
	for _, b := range d.Boxes {
		proto := []byte{b.Protocol}
		boxSet.elements = append(boxSet.elements, nftables.SetElement{
			Key: fields(b.First, binaryutil.BigEndian.PutUint16(b.FirstPort), proto), KeyEnd: fields(b.Last, binaryutil.BigEndian.PutUint16(b.LastPort), proto),
		})
		used.see(b.Protocol)
	}
	part.sets = append(part.sets, anySet, boxSet)
	c.rules = append(c.rules, rule{"everything", exprs(
		[]expr.Any{address(8, w.remote), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 9}, &expr.Lookup{SourceRegister: 8, SetName: anySet.name}}, accept())})
	used.each(func(what string, match []expr.Any, load func(uint32) expr.Any) {
		c.rules = append(c.rules, rule{what, exprs(match, []expr.Any{address(8, w.remote), load(9), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 10},
			&expr.Lookup{SourceRegister: 8, SetName: boxSet.name}}, accept())})
	})
	for _, p := range d.Peers {
		part.peer(c, w, p)
	}
	part.chains = append(part.chains, c)
}

// peer allows the members of another group.
func (part *groupPart) peer(c *chain, w way, p vpc.Peer) {
	member := []expr.Any{address(8, w.remote), &expr.Lookup{SourceRegister: 8, SetName: membersName(p.Group)}}
	if p.All {
		c.rules = append(c.rules, rule{"members of " + string(p.Group), exprs(member, accept())})
		return
	}
	s := &set{name: "peer-" + groupChain(w, part.from.ID) + "-" + strings.TrimPrefix(string(p.Group), "sg-"), key: portsType, interval: true}
	var used protocols
	for _, ports := range p.Ports {
		proto := []byte{ports.Protocol}
		s.elements = append(s.elements, nftables.SetElement{
			Key: padded(binaryutil.BigEndian.PutUint16(ports.First), proto), KeyEnd: padded(binaryutil.BigEndian.PutUint16(ports.Last), proto),
		})
		used.see(ports.Protocol)
	}
	part.sets = append(part.sets, s)
	used.each(func(what string, match []expr.Any, load func(uint32) expr.Any) {
		c.rules = append(c.rules, rule{"members of " + string(p.Group) + ", " + what, exprs(match, member, []expr.Any{load(9),
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 10}, &expr.Lookup{SourceRegister: 9, SetName: s.name}}, accept())})
	})
}

// protocols says which kinds of protocols appear: each loads its port from another place of a packet.
type protocols struct{ ported, icmp, other bool }

func (p *protocols) see(number uint8) {
	switch number {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		p.ported = true
	case unix.IPPROTO_ICMP:
		p.icmp = true
	default:
		p.other = true
	}
}

func (p *protocols) each(f func(what string, match []expr.Any, load func(register uint32) expr.Any)) {
	protocol := &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}
	transport := func(offset uint32) func(uint32) expr.Any {
		return func(register uint32) expr.Any {
			return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2}
		}
	}
	if p.ported {
		f("ports", []expr.Any{protocol, &expr.Lookup{SourceRegister: 1, SetName: portedSet}}, transport(2))
	}
	if p.icmp {
		f("ICMP types and codes", metaCmp(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_ICMP}), transport(0))
	}
	if p.other {
		f("protocols without ports", []expr.Any{protocol, &expr.Lookup{SourceRegister: 1, SetName: portedSet, Invert: true}},
			func(register uint32) expr.Any { return &expr.Immediate{Register: register, Data: make([]byte, 4)} })
	}
}

// fields are the fields of a concatenated key after an address.
func fields(a netip.Addr, rest ...[]byte) []byte { return append(a.AsSlice(), padded(rest...)...) }

// padded joins fields, each filled up to whole registers.
func padded(list ...[]byte) []byte {
	var out []byte
	for _, f := range list {
		out = append(out, f...)
		out = append(out, make([]byte, -len(f)&3)...)
	}
	return out
}

func addressElements(list []netip.Addr) []nftables.SetElement {
	out := make([]nftables.SetElement, len(list))
	for i, a := range list {
		out[i].Key = a.AsSlice()
	}
	return out
}

func linkLookup(key expr.MetaKey, set string, invert bool) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Lookup{SourceRegister: 1, SetName: set, Invert: invert}}
}

// linkVerdict goes on in the chain that a map names for a link, and past it for links that it lacks.
func linkVerdict(key expr.MetaKey, name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Lookup{SourceRegister: 1, SetName: name, DestRegister: 0, IsDestRegSet: true}}
}

// linkMark marks a packet with the routing table that a map names for what a register holds.
func linkMark(register uint32, name string) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: register, SetName: name, DestRegister: 1, IsDestRegSet: true},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

// linkAndDestinationOf loads a link's name and the destination into registers 8 to 12.
func linkAndDestinationOf(key expr.MetaKey) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 8}, address(12, daddrOffset)}
}
