package vpc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
)

// Packet is the first one of a connection, or a single one.
type Packet struct {
	VPC app.VPCID
	// From is the interface that sends it; "" = it comes from outside the VPC.
	From                app.InterfaceID
	Source, Destination netip.Addr
	Protocol            uint8
	// SourcePort matters to ACLs when answers return; 0 = some ephemeral port.
	SourcePort uint16
	// DestinationPort is type<<8|code for ICMP.
	DestinationPort uint16
}

// StepKind is what a decision was about.
type StepKind string

// The kinds, in the order in which a packet meets them.
const (
	StepSource   StepKind = "source"
	StepResolver StepKind = "resolver"
	StepRoute    StepKind = "route"
	StepACLOut   StepKind = "acl-egress"
	StepEgress   StepKind = "egress"
	StepACLIn    StepKind = "acl-ingress"
	StepIngress  StepKind = "ingress"
	StepOutside  StepKind = "outside"
	StepAnswers  StepKind = "answers"
)

// Step is one decision on a packet's way.
type Step struct {
	Kind    StepKind
	Allowed bool
	// Text is one clause for people. Resource is the id that it is about, "" = none.
	Text     string
	Resource string
}

// Reason is the decision that settled a packet's fate.
type Reason = Step

// Explanation is every decision on a packet's way, the last one being the refusal if there is one.
type Explanation struct {
	Allowed bool
	Steps   []Step
}

// String is the explanation in one line: "allowed: …; …" or "denied: …".
func (e Explanation) String() string {
	if !e.Allowed {
		return "denied: " + e.Steps[len(e.Steps)-1].Text
	}
	var texts []string
	for _, s := range e.Steps {
		if s.Text != "" {
			texts = append(texts, s.Text)
		}
	}
	return "allowed: " + strings.Join(texts, "; ")
}

// Allows reports whether a connection that begins with the packet works: the packet arrives, and stateless ACLs let
// its answers return. Reason is the last decision.
func (r *Ruleset) Allows(p Packet) (bool, Reason) {
	e := r.Explain(p)
	return e.Allowed, e.Steps[len(e.Steps)-1]
}

// Explain returns every decision on a packet's way. It judges by the compiled rules that the kernel holds.
func (r *Ruleset) Explain(p Packet) Explanation {
	j := judge{Packet: p, network: r.Networks[p.VPC]}
	j.run()
	steps := j.steps
	return Explanation{Allowed: steps[len(steps)-1].Allowed, Steps: steps}
}

// judge walks a packet through its network.
type judge struct {
	Packet
	network  *Network
	sender   *Port
	receiver *Port
	subnet   *Subnet // of the sender
	steps    []Step
}

func (j *judge) step(kind StepKind, allowed bool, resource, format string, args ...any) bool {
	j.steps = append(j.steps, Step{kind, allowed, fmt.Sprintf(format, args...), resource})
	return allowed
}

func (j *judge) run() {
	if !j.begin() || j.resolver() {
		return
	}
	route, ok := j.route()
	if !ok {
		return
	}
	if j.receiver != nil && j.receiver.Subnet == j.sender.Subnet {
		_ = j.groups(StepEgress, j.sender, j.Destination) && j.groups(StepIngress, j.receiver, j.Source)
		return
	}
	if !j.acl(StepACLOut, j.subnet, j.Destination) || !j.groups(StepEgress, j.sender, j.Destination) {
		return
	}
	if j.receiver == nil {
		if j.outside(route) {
			j.answers(nil)
		}
		return
	}
	far := j.network.Subnets[j.receiver.Subnet]
	if j.acl(StepACLIn, far, j.Source) && j.groups(StepIngress, j.receiver, j.Source) {
		j.answers(far)
	}
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
	at := j.network.Resolver()
	if j.Destination != at {
		return false
	}
	if j.network.DNS == nil {
		j.step(StepResolver, false, string(j.VPC), "the resolver %s is off: enableDnsSupport of %s is false", at, j.VPC)
		return true
	}
	if (j.Protocol == protocolUDP || j.Protocol == protocolTCP) && j.DestinationPort == 53 {
		j.step(StepResolver, true, string(j.VPC), "the VPC's resolver is not filtered")
		return true
	}
	j.step(StepResolver, false, string(j.VPC), "the resolver %s answers on port 53 only", at)
	return true
}

// Resolver is the address of the VPC's resolver, base+2 of the primary block.
func (n *Network) Resolver() netip.Addr { return n.Blocks[0].Masked().Addr().Next().Next() }

func (j *judge) route() (Route, bool) {
	r, ok := j.network.Tables[j.subnet.Table].lookup(j.Destination)
	if !ok {
		return r, j.step(StepRoute, false, string(j.subnet.Table), "no route: %s has no NAT gateway", j.subnet.CIDR)
	}
	id := string(j.subnet.Table)
	switch r.Kind {
	case RouteLocal:
		for _, p := range j.network.Ports {
			if slices.Contains(p.Addresses, j.Destination) {
				j.receiver = p
			}
		}
		if j.receiver == nil {
			return r, j.step(StepRoute, false, id, "no interface of %s has the address %s", j.VPC, j.Destination)
		}
		return r, j.step(StepRoute, true, id, "route local")
	case RoutePort:
		j.receiver = j.network.Ports[app.InterfaceID(r.Target)]
		if j.receiver == nil {
			return r, j.step(StepRoute, false, id, "the route for %s leads to %s, which is gone", r.CIDR, r.Target)
		}
		if j.receiver.CheckSource && !slices.Contains(j.receiver.Addresses, j.Destination) {
			return r, j.step(StepRoute, false, r.Target, "the route for %s leads to interface %s, whose source/destination check is on", r.CIDR, r.Target)
		}
		return r, j.step(StepRoute, true, r.Target, "route %s to %s", r.CIDR, r.Target)
	case RouteBlackhole:
		return r, j.step(StepRoute, false, id, "the route for %s in %s is a blackhole: %s is gone or detached", r.CIDR, id, r.Target)
	}
	return r, j.step(StepRoute, true, r.Target, "route %s to %s", r.CIDR, r.Target)
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
		return j.step(StepOutside, true, r.Target, "translated by NAT gateway %s", r.Target)
	case RouteLAN:
		lan := j.network.LANs[app.LANID(r.Target)]
		if lan == nil || !slices.ContainsFunc(lan.CIDRs, func(p netip.Prefix) bool { return p.Contains(j.Destination) }) {
			return j.step(StepOutside, false, r.Target, "%s is not behind %s", j.Destination, r.Target)
		}
		return j.step(StepOutside, true, r.Target, "out to the attached network %s", r.Target)
	}
	return j.step(StepOutside, false, r.Target, "the route for %s leads nowhere", r.CIDR)
}

// acl judges by the ACL of a subnet; far is the address at the other end.
func (j *judge) acl(kind StepKind, s *Subnet, far netip.Addr) bool {
	a := j.network.ACLs[s.ACL]
	if a == nil || a.Open {
		return true
	}
	entries := a.Ingress
	if kind == StepACLOut {
		entries = a.Egress
	}
	e, ok := entryFor(entries, far, j.Protocol, j.DestinationPort)
	switch {
	case !ok:
		return j.step(kind, false, string(a.ID), "no entry of %s for %s matches %s", a.ID, direction(kind), j.what(far))
	case !e.Allow:
		return j.step(kind, false, string(a.ID), "entry %s of %s for %s denies %s", entryName(e), a.ID, direction(kind), j.what(far))
	}
	return j.step(kind, true, string(a.ID), "entry %s of %s allows", entryName(e), a.ID)
}

// answers judges whether stateless ACLs let answers return; far is the receiver's subnet, nil outside the VPC.
func (j *judge) answers(far *Subnet) bool {
	port := j.SourcePort
	switch {
	case j.Protocol == protocolICMP && j.DestinationPort>>8 == 8:
		port = 0 // an echo reply
	case j.Protocol == protocolICMP:
		return true
	case port == 0:
		port = 32768
	}
	for _, side := range []struct {
		subnet *Subnet
		out    bool
		to     netip.Addr
	}{{far, true, j.Source}, {j.subnet, false, j.Destination}} {
		if side.subnet == nil {
			continue
		}
		a := j.network.ACLs[side.subnet.ACL]
		if a == nil || a.Open {
			continue
		}
		entries := a.Ingress
		if side.out {
			entries = a.Egress
		}
		if e, ok := entryFor(entries, side.to, j.Protocol, port); !ok || !e.Allow {
			return j.step(StepAnswers, false, string(a.ID), "%s denies the answers: ACLs are stateless; allow ports 1024 to 65535 back", a.ID)
		}
	}
	return true
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
		return e.FromPort <= int(port) && int(port) <= e.ToPort
	case protocolICMP:
		return (e.FromPort < 0 || e.FromPort == int(port>>8)) && (e.ToPort < 0 || e.ToPort == int(port&255))
	}
	return true
}

func entryName(e app.ACLEntry) string {
	if e.Number > 32766 {
		return "*"
	}
	return fmt.Sprint(e.Number)
}

func direction(kind StepKind) string {
	if kind == StepACLOut || kind == StepEgress {
		return "egress"
	}
	return "ingress"
}

// groups judges by the groups of an interface; far is the address at the other end.
func (j *judge) groups(kind StepKind, p *Port, far netip.Addr) bool {
	for _, id := range p.Groups {
		g := j.network.Groups[id]
		if g == nil {
			continue
		}
		d := g.Ingress
		if kind == StepEgress {
			d = g.Egress
		}
		if text, rule, ok := j.admits(d, far); ok {
			return j.step(kind, true, string(rule), "%s rule %s of %s %s", direction(kind), rule, id, text)
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

// admits decides by the compiled form and names the first rule that says the same.
func (j *judge) admits(d Direction, far netip.Addr) (text string, rule app.RuleID, ok bool) {
	within := func(r Range) bool { return !far.Less(r.First) && !r.Last.Less(far) }
	if slices.ContainsFunc(d.Any, within) || slices.ContainsFunc(d.Boxes, func(b Box) bool {
		return b.Protocol == j.Protocol && within(b.Range) && b.FirstPort <= j.DestinationPort && j.DestinationPort <= b.LastPort
	}) {
		for _, r := range d.Rules {
			listed := slices.ContainsFunc(d.lists[r.ID], func(s span) bool { return s.covers(span{number(far), number(far)}) })
			if r.Peer == "" && j.protocolMatches(r) && (listed || r.CIDR.Contains(far)) {
				return "allows " + ruleText(r), r.ID, true
			}
		}
	}
	for _, p := range d.Peers {
		m := j.network.Members[p.Group]
		if m == nil || !slices.Contains(m.Addresses, far) || !p.All && !slices.ContainsFunc(p.Ports, func(x Ports) bool {
			return x.Protocol == j.Protocol && x.First <= j.DestinationPort && j.DestinationPort <= x.Last
		}) {
			continue
		}
		for _, r := range d.Rules {
			if r.Peer == p.Group && j.protocolMatches(r) {
				return "admits members of " + string(p.Group), r.ID, true
			}
		}
	}
	return "", "", false
}

func (j *judge) protocolMatches(r app.SecurityGroupRule) bool {
	ports, ok := portsOf(r)
	return ok && (r.Protocol == app.AllProtocols || r.Protocol == int(j.Protocol) && ports.first <= uint32(j.DestinationPort) && uint32(j.DestinationPort) <= ports.last)
}

func ruleText(r app.SecurityGroupRule) string {
	what := "everything"
	if r.Protocol != app.AllProtocols {
		what = protocolName(r.Protocol)
	}
	if r.PrefixList != "" {
		return what + " with " + string(r.PrefixList)
	}
	return what + " with " + r.CIDR.String()
}

// service is tcp/5432, icmp or protocol 47.
func (j *judge) service() string {
	if j.Protocol == protocolTCP || j.Protocol == protocolUDP {
		return fmt.Sprintf("%s/%d", protocolName(int(j.Protocol)), j.DestinationPort)
	}
	return protocolName(int(j.Protocol))
}

func (j *judge) what(far netip.Addr) string { return j.service() + " with " + far.String() }

func protocolName(p int) string {
	switch p {
	case protocolICMP:
		return "icmp"
	case protocolTCP:
		return "tcp"
	case protocolUDP:
		return "udp"
	case protocolICMPv6:
		return "icmpv6"
	}
	return fmt.Sprintf("protocol %d", p)
}
