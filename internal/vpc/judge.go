package vpc

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
)

// judge walks a packet through its network.
type judge struct {
	Packet
	network   *Network
	sender    *Port
	receiver  *Port
	subnet    *Subnet // of the sender
	nat       *Subnet // of the NAT gateway on the way, nil = there is none
	decisions []decision
}

// decision is a Step whose text nobody has asked for yet.
type decision struct {
	kind     StepKind
	allowed  bool
	resource string
	format   string
	args     []any
}

func (d decision) step() Step {
	return Step{d.kind, d.allowed, fmt.Sprintf(d.format, d.args...), d.resource}
}

func (r *Ruleset) judge(p Packet, answers bool) *judge {
	p.Source, p.Destination = p.Source.Unmap(), p.Destination.Unmap()
	j := &judge{Packet: p, network: r.Networks[p.VPC]}
	if j.arrive() && answers {
		j.answers()
	}
	return j
}

func (j *judge) verdict() (bool, Reason) {
	last := j.decisions[len(j.decisions)-1].step()
	return last.Allowed, last
}

func (j *judge) step(kind StepKind, allowed bool, resource, format string, args ...any) bool {
	j.decisions = append(j.decisions, decision{kind, allowed, resource, format, args})
	return allowed
}

// arrive judges the packet alone.
func (j *judge) arrive() bool {
	if !j.begin() {
		return false
	}
	if j.Destination == j.network.Resolver() {
		return j.resolver()
	}
	if slices.Contains(j.sender.Addresses, j.Destination) {
		j.receiver = j.sender
		return j.step(StepRoute, true, string(j.From), "%s is an address of the sender itself, so the packet never leaves it", j.Destination)
	}
	if !j.question() {
		return false
	}
	route, ok := j.route()
	if !ok || !j.groups(StepEgress, j.sender, j.Destination) {
		return false
	}
	if j.inside() {
		return j.groups(StepIngress, j.receiver, j.Source)
	}
	if j.nat != j.subnet && !j.acl(StepACLOut, j.subnet, j.Destination, j.DestinationPort) {
		return false
	}
	if j.receiver == nil {
		return j.outside(route)
	}
	return j.acl(StepACLIn, j.network.Subnets[j.receiver.Subnet], j.Source, j.DestinationPort) && j.groups(StepIngress, j.receiver, j.Source)
}

// inside reports whether the packet stays in one subnet, where no ACL sees it.
func (j *judge) inside() bool { return j.receiver != nil && j.receiver.Subnet == j.sender.Subnet }

// answerTypes are the ICMP messages that ask, with those that answer. Every other message belongs to some flow, or to
// nobody: then connection tracking drops it.
var answerTypes = map[uint16]uint16{8: 0, 13: 14, 15: 16, 17: 18}

func (j *judge) question() bool {
	kind := j.DestinationPort >> 8
	if _, ok := answerTypes[kind]; j.Protocol == protocolICMP && !ok {
		return j.step(StepSource, false, string(j.From), "icmp type %d begins nothing: it passes as part of a connection only", kind)
	}
	return true
}

// begin finds the sender and checks that the source address is its own.
func (j *judge) begin() bool {
	if j.network == nil {
		return j.step(StepSource, false, string(j.VPC), "%s does not exist", j.VPC)
	}
	if j.From == "" {
		return j.step(StepSource, false, string(j.VPC), "nothing outside %s can open a connection into it", j.VPC)
	}
	if j.sender = j.network.Ports[j.From]; j.sender == nil {
		return j.step(StepSource, false, string(j.From), "interface %s is not in %s", j.From, j.VPC)
	}
	if j.subnet = j.network.Subnets[j.sender.Subnet]; j.subnet == nil {
		return j.step(StepSource, false, string(j.From), "subnet %s of interface %s is gone", j.sender.Subnet, j.From)
	}
	if j.sender.CheckSource && !slices.Contains(j.sender.Addresses, j.Source) {
		return j.step(StepSource, false, string(j.From), "%s is not an address of interface %s, which checks its source", j.Source, j.From)
	}
	return true
}

// resolver allows questions to the VPC's resolver, which rules do not filter.
func (j *judge) resolver() bool {
	at, id := j.network.Resolver(), string(j.VPC)
	switch {
	case j.network.DNS == nil:
		return j.step(StepResolver, false, id, "the resolver %s is off: enableDnsSupport of %s is false", at, j.VPC)
	case (j.Protocol == protocolUDP || j.Protocol == protocolTCP) && j.DestinationPort == 53:
		return j.step(StepResolver, true, id, "the VPC's resolver is not filtered")
	}
	return j.step(StepResolver, false, id, "the resolver %s answers on port 53 only", at)
}

// Resolver is the address of the VPC's resolver, base+2 of the primary block.
func (n *Network) Resolver() netip.Addr { return n.Blocks[0].Masked().Addr().Next().Next() }

// portAt returns the port that owns an address, nil = none does.
func (n *Network) portAt(a netip.Addr) *Port {
	if n.at != nil {
		return n.at[a]
	}
	for _, p := range n.Ports {
		if slices.Contains(p.Addresses, a) {
			return p
		}
	}
	return nil
}

// route chooses the way and finds the receiver, which stays nil where the packet leaves the VPC.
func (j *judge) route() (Route, bool) {
	table := j.network.Tables[j.subnet.Table]
	id := string(j.subnet.Table)
	r, ok := table.lookup(j.Destination)
	if !ok {
		return r, j.noRoute(table)
	}
	switch r.Kind {
	case RouteLocal:
		if j.receiver = j.network.portAt(j.Destination); j.receiver == nil {
			return r, j.step(StepRoute, false, id, "no interface of %s has the address %s", j.VPC, j.Destination)
		}
		return r, j.step(StepRoute, true, id, "route local")
	case RoutePort:
		j.receiver = j.network.Ports[app.InterfaceID(r.Target)]
		switch {
		case j.receiver == nil:
			return r, j.step(StepRoute, false, id, "the route for %s leads to %s, which is gone", r.CIDR, r.Target)
		case j.receiver == j.sender:
			return r, j.step(StepRoute, false, id, "the route for %s in %s leads back to the sender %s", r.CIDR, id, r.Target)
		case j.receiver.CheckSource && !slices.Contains(j.receiver.Addresses, j.Destination):
			return r, j.step(StepRoute, false, r.Target, "the route for %s leads to interface %s, whose source/destination check is on", r.CIDR, r.Target)
		}
	case RouteNAT:
		if n := j.network.NATs[app.NATGatewayID(r.Target)]; n != nil {
			j.nat = j.network.Subnets[n.Subnet]
		}
	case RouteBlackhole:
		why := "gone"
		if strings.HasPrefix(r.Target, "igw-") {
			why = "not attached to " + string(j.VPC)
		}
		return r, j.step(StepRoute, false, id, "the route for %s in %s is a blackhole: %s is %s", r.CIDR, id, r.Target, why)
	}
	return r, j.step(StepRoute, true, r.Target, "route %s to %s", r.CIDR, r.Target)
}

func (j *judge) noRoute(t *Table) bool {
	if t != nil && slices.ContainsFunc(t.Routes, func(r Route) bool { return r.Kind == RouteNAT }) {
		return j.step(StepRoute, false, string(t.ID), "no route: %s of %s has none for %s", t.ID, j.subnet.CIDR, j.Destination)
	}
	return j.step(StepRoute, false, string(j.subnet.Table), "no route: %s has no NAT gateway", j.subnet.CIDR)
}

// outside judges the way out of the VPC.
func (j *judge) outside(r Route) bool {
	switch r.Kind {
	case RouteOut:
		if !j.sender.Public {
			return j.step(StepOutside, false, r.Target, "interface %s has no public address, so nothing leaves through %s; use a NAT gateway", j.From, r.Target)
		}
		return j.step(StepOutside, true, r.Target, "out through %s", r.Target)
	case RouteNAT:
		n := j.network.NATs[app.NATGatewayID(r.Target)]
		if n == nil {
			return j.step(StepOutside, false, r.Target, "NAT gateway %s is gone", r.Target)
		}
		if n.Broken != "" {
			return j.step(StepOutside, false, r.Target, "NAT gateway %s leads nowhere: %s", r.Target, n.Broken)
		}
		if j.nat != j.subnet && !j.acl(StepACLIn, j.nat, j.Source, j.DestinationPort) {
			return false
		}
		j.step(StepOutside, true, r.Target, "translated by NAT gateway %s", r.Target)
		return j.acl(StepACLOut, j.nat, j.Destination, j.DestinationPort)
	case RouteLAN:
		lan := j.network.LANs[app.LANID(r.Target)]
		if lan == nil || !slices.ContainsFunc(lan.CIDRs, func(p netip.Prefix) bool { return p.Contains(j.Destination) }) {
			return j.step(StepOutside, false, r.Target, "%s is not behind %s", j.Destination, r.Target)
		}
		return j.step(StepOutside, true, r.Target, "out to the attached network %s", r.Target)
	}
	return j.step(StepOutside, false, r.Target, "the route for %s leads nowhere", r.CIDR)
}

// aclOf returns the entries that judge what leaves or enters a subnet; not ok: everything may.
func (n *Network) aclOf(s *Subnet, egress bool) (a *ACL, entries []app.ACLEntry, ok bool) {
	if s == nil {
		return nil, nil, false
	}
	if a = n.ACLs[s.ACL]; a == nil || a.Open {
		return nil, nil, false
	}
	if egress {
		return a, a.Egress, true
	}
	return a, a.Ingress, true
}

// acl judges by the ACL of a subnet; far is the address at the other end.
func (j *judge) acl(kind StepKind, s *Subnet, far netip.Addr, port uint16) bool {
	a, entries, ok := j.network.aclOf(s, kind == StepACLOut)
	if !ok {
		return true
	}
	e, ok := entryFor(entries, far, j.Protocol, port)
	switch {
	case !ok:
		return j.step(kind, false, string(a.ID), "no entry of %s for %s matches %s", a.ID, direction(kind), j.what(far))
	case !e.Allow:
		return j.step(kind, false, string(a.ID), "entry %s of %s for %s denies %s", entryName(e), a.ID, direction(kind), j.what(far))
	}
	return j.step(kind, true, string(a.ID), "entry %s of %s allows", entryName(e), a.ID)
}

// The ports that a Linux host takes for connections that it begins.
const firstEphemeral, lastEphemeral = 32768, 60999

// firstTranslated is the first port that a NAT gateway may take.
const firstTranslated = 1024

// answers judges whether routes and stateless ACLs let answers return: out of the receiver's subnet, or through that of the
// NAT gateway, and into the sender's.
func (j *judge) answers() {
	if j.Destination == j.network.Resolver() || j.receiver == j.sender {
		return
	}
	var far *Subnet
	if j.receiver != nil {
		far = j.network.Subnets[j.receiver.Subnet]
		if !j.returns(far) {
			return
		}
	}
	if j.inside() {
		return
	}
	ports := j.answerPorts()
	switch {
	case j.nat == nil:
		_ = j.answersPass(far, true, j.Source, ports) && j.answersPass(j.subnet, false, j.Destination, ports)
	case !j.answersPass(j.nat, false, j.Destination, j.translatedPorts()) || j.nat == j.subnet:
	default:
		_ = j.answersPass(j.nat, true, j.Source, ports) && j.answersPass(j.subnet, false, j.Destination, ports)
	}
}

// answersPass judges answers by the ACL of a subnet that they leave or enter; other is the address at the other end.
func (j *judge) answersPass(s *Subnet, egress bool, other netip.Addr, ports span) bool {
	a, entries, ok := j.network.aclOf(s, egress)
	if !ok || entriesAllow(entries, other, j.Protocol, ports) {
		return true
	}
	return j.step(StepAnswers, false, string(a.ID), "%s denies the answers: ACLs are stateless; allow %s with %s for %s", a.ID, traffic(j.Protocol, ports), other, way(egress))
}

// returns reports whether the receiver's routes lead back to the sender.
func (j *judge) returns(far *Subnet) bool {
	if far == nil {
		return true
	}
	r, ok := j.network.Tables[far.Table].lookup(j.Source)
	switch {
	case !ok:
		return j.step(StepAnswers, false, string(far.Table), "the answers do not return: %s of %s has no route for %s", far.Table, far.CIDR, j.Source)
	case r.Kind == RouteLocal && j.network.portAt(j.Source) == j.sender, r.Kind == RoutePort && r.Target == string(j.From):
		return true
	case r.Kind == RouteLocal:
		return j.step(StepAnswers, false, string(far.Table), "the answers do not return: %s is not an address of %s, and %s has no route to it by that interface", j.Source, j.From, far.Table)
	}
	return j.step(StepAnswers, false, string(far.Table), "the answers do not return: the route for %s in %s leads to %s", r.CIDR, far.Table, r.Target)
}

// answerPorts are the ports that answers go to; for ICMP see Box.
func (j *judge) answerPorts() span {
	switch {
	case j.Protocol == protocolICMP:
		kind := uint32(answerTypes[j.DestinationPort>>8])
		return span{kind << 8, kind << 8}
	case j.SourcePort == 0 && (j.Protocol == protocolTCP || j.Protocol == protocolUDP):
		return span{firstEphemeral, lastEphemeral}
	}
	return span{uint32(j.SourcePort), uint32(j.SourcePort)}
}

// translatedPorts are the ports that answers to a NAT gateway go to: it keeps the sender's, which may be any from 1024 on.
func (j *judge) translatedPorts() span {
	if j.SourcePort == 0 && (j.Protocol == protocolTCP || j.Protocol == protocolUDP) {
		return span{firstTranslated, math.MaxUint16}
	}
	return j.answerPorts()
}

// entriesAllow reports whether every one of ports is allowed. What decides changes at the borders of entries only.
func entriesAllow(entries []app.ACLEntry, far netip.Addr, protocol uint8, ports span) bool {
	at := []uint32{ports.first}
	for _, e := range entries {
		at = append(at, uint32(max(e.FromPort, 0)), uint32(e.ToPort+1))
	}
	return !slices.ContainsFunc(at, func(port uint32) bool {
		if port < ports.first || port > ports.last {
			return false
		}
		e, ok := entryFor(entries, far, protocol, uint16(port))
		return !ok || !e.Allow
	})
}

// entryFor returns the first entry that matches.
func entryFor(entries []app.ACLEntry, far netip.Addr, protocol uint8, port uint16) (app.ACLEntry, bool) {
	for _, e := range entries {
		if e.CIDR.Contains(far) && (e.Protocol == app.AllProtocols || e.Protocol == int(protocol) && entryPort(e, protocol, port)) {
			return e, true
		}
	}
	return app.ACLEntry{}, false
}

func entryPort(e app.ACLEntry, protocol uint8, port uint16) bool {
	switch protocol {
	case protocolTCP, protocolUDP:
		return e.FromPort < 0 || e.FromPort <= int(port) && int(port) <= e.ToPort
	case protocolICMP:
		return (e.FromPort < 0 || e.FromPort == int(port>>8)) && (e.ToPort < 0 || e.ToPort == int(port&255))
	}
	return true
}

// groups judges by the groups of an interface; far is the address at the other end.
func (j *judge) groups(kind StepKind, p *Port, far netip.Addr) bool {
	for _, id := range p.Groups {
		g := j.network.Groups[id]
		if g == nil {
			continue
		}
		d := &g.Ingress
		if kind == StepEgress {
			d = &g.Egress
		}
		if rule := j.admits(d, far); rule != nil {
			return j.step(kind, true, string(rule.ID), "%s rule %s of %s %s", direction(kind), rule.ID, id, admission{rule})
		}
	}
	names := make([]string, len(p.Groups))
	for i, g := range p.Groups {
		names[i] = string(g)
	}
	preposition := "from"
	if kind == StepEgress {
		preposition = "to"
	}
	return j.step(kind, false, strings.Join(names, ","), "no rule of %s allows %s %s %s", strings.Join(names, " or "), j.service(), preposition, far)
}

// admits decides by the compiled form and returns the first rule that says the same, nil = nothing allows it.
func (j *judge) admits(d *Direction, far netip.Addr) *app.SecurityGroupRule {
	within := func(r Range) bool { return !far.Less(r.First) && !r.Last.Less(far) }
	if slices.ContainsFunc(d.Any, within) || slices.ContainsFunc(d.Boxes, func(b Box) bool {
		return b.Protocol == j.Protocol && b.FirstPort <= j.DestinationPort && j.DestinationPort <= b.LastPort && within(b.Range)
	}) {
		for i := range d.Rules {
			r := &d.Rules[i]
			listed := func(s span) bool { return s.covers(span{number(far), number(far)}) }
			if r.Peer == "" && j.protocolMatches(r) && (r.CIDR.Contains(far) || slices.ContainsFunc(d.lists[r.ID], listed)) {
				return r
			}
		}
	}
	for _, p := range d.Peers {
		m := j.network.Members[p.Group]
		if m == nil || !p.All && !slices.ContainsFunc(p.Ports, func(x Ports) bool {
			return x.Protocol == j.Protocol && x.First <= j.DestinationPort && j.DestinationPort <= x.Last
		}) {
			continue
		}
		if _, member := slices.BinarySearchFunc(m.Addresses, far, netip.Addr.Compare); !member {
			continue
		}
		for i := range d.Rules {
			if r := &d.Rules[i]; r.Peer == p.Group && j.protocolMatches(r) {
				return r
			}
		}
	}
	return nil
}

func (j *judge) protocolMatches(r *app.SecurityGroupRule) bool {
	ports, ok := portsOf(*r)
	return ok && (r.Protocol == app.AllProtocols || r.Protocol == int(j.Protocol) && ports.first <= uint32(j.DestinationPort) && uint32(j.DestinationPort) <= ports.last)
}
