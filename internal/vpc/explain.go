package vpc

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
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
	StepEgress   StepKind = "egress"
	StepACLOut   StepKind = "acl-egress"
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
// its answers return. Reason is the last decision. A test that waits for answers compares with this.
func (r *Ruleset) Allows(p Packet) (bool, Reason) { return r.judge(p, true).verdict() }

// Arrives reports whether the packet alone gets to its destination, answered or not. A test that looks at the receiver
// compares with this.
func (r *Ruleset) Arrives(p Packet) (bool, Reason) { return r.judge(p, false).verdict() }

// Explain returns every decision on a packet's way, as Allows makes them. It judges by the compiled rules that the kernel
// holds. Beyond the border of the VPC it does not see: what this machine lets out is another question.
func (r *Ruleset) Explain(p Packet) Explanation {
	j := r.judge(p, true)
	out := Explanation{Steps: make([]Step, len(j.decisions))}
	for i, d := range j.decisions {
		out.Steps[i] = d.step()
	}
	out.Allowed = out.Steps[len(out.Steps)-1].Allowed
	return out
}

// admission says what a rule allows, behind its name.
type admission struct{ rule *app.SecurityGroupRule }

func (a admission) String() string {
	switch r := a.rule; {
	case r.Peer != "":
		return "admits members of " + string(r.Peer)
	case r.PrefixList != "":
		return "allows " + allowed(r) + " with " + string(r.PrefixList)
	default:
		return "allows " + allowed(r) + " with " + r.CIDR.String()
	}
}

// allowed is everything, or the traffic of a rule.
func allowed(r *app.SecurityGroupRule) string {
	if r.Protocol == app.AllProtocols {
		return "everything"
	}
	ports, _ := portsOf(*r)
	return traffic(uint8(r.Protocol), ports)
}

// traffic is tcp, tcp/5432, udp/1000-2000, icmp, icmp type 8 or protocol 47; for ports of ICMP see Box.
func traffic(protocol uint8, ports span) string {
	name := protocolName(int(protocol))
	switch {
	case ports == span{0, math.MaxUint16}:
		return name
	case protocol == protocolICMP:
		return fmt.Sprintf("%s type %d", name, ports.first>>8)
	case protocol != protocolTCP && protocol != protocolUDP:
		return name
	case ports.first == ports.last:
		return fmt.Sprintf("%s/%d", name, ports.first)
	}
	return fmt.Sprintf("%s/%d-%d", name, ports.first, ports.last)
}

func entryName(e app.ACLEntry) string {
	if e.Number > 32766 {
		return "*"
	}
	return fmt.Sprint(e.Number)
}

func direction(kind StepKind) string { return way(kind == StepACLOut || kind == StepEgress) }

func way(egress bool) string {
	if egress {
		return "egress"
	}
	return "ingress"
}

// service is tcp/5432, icmp or protocol 47.
func (j *judge) service() string {
	if j.Protocol == protocolTCP || j.Protocol == protocolUDP {
		return fmt.Sprintf("%s/%d", protocolName(int(j.Protocol)), j.DestinationPort)
	}
	return protocolName(int(j.Protocol))
}

func (j *judge) what(far netip.Addr) string { return j.service() + " with " + far.String() }

// protocolName is EC2's word, with a noun where that is a number.
func protocolName(p int) string {
	if name := app.ProtocolName(p); name != strconv.Itoa(p) {
		return name
	}
	return fmt.Sprintf("protocol %d", p)
}
