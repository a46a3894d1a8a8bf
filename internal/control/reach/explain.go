package reach

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

// ExplainInput asks whether a connection works.
type ExplainInput struct {
	// Source is a service (name or ARN), a private host (i-…), a network interface (eni-…), or an address in VPC.
	Source string
	VPC    app.VPCID
	// Destination is an address, a private host, a network interface or a private name of an address, all with or
	// without :port.
	Destination string
	// Protocol is tcp, udp, icmp or a number; "" = tcp.
	Protocol string
	// Port is of TCP or UDP; nil = the one of Destination.
	Port *int
}

// Explanation is the answer with what it was worked out for.
type Explanation struct {
	vpc.Explanation
	Source, Destination netip.Addr
	Protocol            string
	// Port is 0 for protocols without ports.
	Port int
}

// Explain answers whether a connection works, with every decision on its way, from the rules that the kernel holds.
func (r *Reach) Explain(ctx context.Context, scope app.Scope, in ExplainInput) (Explanation, error) {
	var out Explanation
	err := r.store.View(ctx, func(tx *store.Tx) error {
		to, p, err := parseProbe(in)
		if err != nil {
			return err
		}
		from, err := source(tx, scope, in)
		if err != nil {
			return err
		}
		at, err := destination(tx, scope, to, from.vpc.ID)
		if err != nil {
			return err
		}
		out = Explanation{Source: from.address, Destination: at.address, Protocol: p.name, Port: p.port}
		if from.vpc.ID == "" {
			out.Explanation = r.defaultEgress(at)
			return nil
		}
		if at.vpc != "" && at.vpc != from.vpc.ID {
			out.Explanation = decision(stepVPC, false, string(at.vpc), "%s is in %s, which %s does not reach: VPCs never meet", at.address, at.vpc, from.vpc.ID)
			return nil
		}
		s := snapshot(tx, from.vpc)
		var notes []vpc.Step
		if from.hypothetical != nil {
			from.hypothetical.Addresses = []netip.Addr{spare(tx, *from.hypothetical, at.address)}
			out.Source = from.hypothetical.Addresses[0]
			s.Interfaces = append(s.Interfaces, *from.hypothetical)
			notes = []vpc.Step{{Kind: vpc.StepSource, Allowed: true, Text: from.note, Resource: string(from.hypothetical.Subnet)}}
		}
		out.Explanation = vpc.Compile(s).Explain(vpc.Packet{
			VPC: from.vpc.ID, From: from.port, Source: out.Source, Destination: at.address, Protocol: p.number, DestinationPort: p.first,
		})
		out.Explanation = r.beyond(out.Explanation, at.address, p)
		out.Steps = append(notes, out.Steps...)
		return nil
	})
	return out, err
}

// probe is the packet's protocol and port.
type probe struct {
	name   string
	number uint8
	port   int
	// first is the packet's DestinationPort.
	first uint16
}

// echoRequest is ping's type 8, code 0.
const echoRequest = 8 << 8

// protocols are those with names.
var protocols = map[string]uint8{"icmp": 1, "tcp": 6, "udp": 17}

// parseProbe separates the port from the destination and checks what was given.
func parseProbe(in ExplainInput) (to string, p probe, err error) {
	to, port := in.Destination, in.Port
	if host, text, ok := strings.Cut(in.Destination, ":"); ok {
		n, err := strconv.Atoi(text)
		if err != nil || host == "" || n < 1 || n > 65535 {
			return "", p, invalid("Destination %q is not HOST:PORT with an IPv4 address, an id or a name and a port from 1 to 65535.", in.Destination)
		}
		if port != nil && *port != n {
			return "", p, invalid("Destination %q and Port %d differ. Give the port once.", in.Destination, *port)
		}
		to, port = host, &n
	}
	p.name = strings.ToLower(in.Protocol)
	if p.name == "" {
		p.name = "tcp"
	}
	number, named := protocols[p.name]
	if !named {
		n, err := strconv.ParseUint(p.name, 10, 8)
		if err != nil {
			return "", p, invalid("Protocol %q is not known. Give tcp, udp, icmp or a number from 0 to 255.", in.Protocol)
		}
		number = uint8(n)
		for name, n := range protocols {
			if n == number {
				p.name = name
			}
		}
	}
	p.number = number
	hasPorts := p.name == "tcp" || p.name == "udp"
	switch {
	case hasPorts && (port == nil || *port < 1 || *port > 65535):
		return "", p, invalid("%s needs a port from 1 to 65535: give it as Port or behind the destination (HOST:PORT), or ask for the protocol icmp.", p.name)
	case !hasPorts && port != nil:
		return "", p, invalid("The protocol %s has no ports. Leave the port %d out.", p.name, *port)
	case hasPorts:
		p.port, p.first = *port, uint16(*port)
	case p.name == "icmp":
		p.first = echoRequest
	}
	return to, p, nil
}

// origin is where the packet is sent; the VPC is empty for DEFAULT egress.
type origin struct {
	vpc     app.VPC
	port    app.InterfaceID
	address netip.Addr
	// hypothetical is the interface that an instance would get, without an address, when none runs; note says so.
	hypothetical *app.NetworkInterface
	note         string
}

func source(tx *store.Tx, scope app.Scope, in ExplainInput) (origin, error) {
	if a, err := netip.ParseAddr(in.Source); err == nil {
		v, ok := store.VPCs.Get(tx, in.VPC)
		switch {
		case in.VPC == "":
			return origin{}, invalid("Source %s is an address; say in VpcId which VPC it is of.", a)
		case !ok || v.Scope != scope:
			return origin{}, notFound(string(in.VPC), "The VPC %s does not exist in account %s and region %s.", in.VPC, scope.Account, scope.Region)
		}
		for n := range store.NetworkInterfacesByVPC.Each(tx, v.ID) {
			if slices.Contains(n.Addresses, a) {
				return origin{vpc: v, port: n.ID, address: a}, nil
			}
		}
		return origin{}, notFound(a.String(), "No network interface of %s has the address %s.", v.ID, a)
	}
	if interfaceID.MatchString(in.Source) {
		n, err := networkInterface(tx, scope, app.InterfaceID(in.Source))
		if err != nil {
			return origin{}, err
		}
		return originOf(tx, n), nil
	}
	p, err := find(tx, scope, in.Source)
	if err != nil {
		return origin{}, err
	}
	if p.host == nil {
		return serviceOrigin(tx, p)
	}
	n, err := hostInterface(tx, p.host, in.VPC)
	if err != nil {
		return origin{}, err
	}
	return originOf(tx, n), nil
}

func originOf(tx *store.Tx, n app.NetworkInterface) origin {
	v, _ := store.VPCs.Get(tx, n.VPC)
	return origin{vpc: v, port: n.ID, address: n.Addresses[0]}
}

func networkInterface(tx *store.Tx, scope app.Scope, id app.InterfaceID) (app.NetworkInterface, error) {
	n, ok := store.NetworkInterfaces.Get(tx, id)
	if !ok || n.Scope != scope || len(n.Addresses) == 0 {
		return n, notFound(string(id), "The network interface %s does not exist in account %s and region %s.", id, scope.Account, scope.Region)
	}
	return n, nil
}

// hostInterface returns a private host's interface in a VPC, its primary one when it has none there or no VPC is named.
func hostInterface(tx *store.Tx, h *app.Host, in app.VPCID) (first app.NetworkInterface, err error) {
	for _, id := range h.Interfaces {
		n, ok := store.NetworkInterfaces.Get(tx, id)
		if !ok || len(n.Addresses) == 0 {
			continue
		}
		if n.VPC == in {
			return n, nil
		}
		if first.ID == "" {
			first = n
		}
	}
	if first.ID == "" {
		return first, invalidState(string(h.ID), "The instance %s is %s and has no network interface.", h.ID, h.State)
	}
	return first, nil
}

// serviceOrigin is the interface of one of the service's instances, or the one that its connector would give to the next.
func serviceOrigin(tx *store.Tx, p party) (origin, error) {
	connector, err := p.connector(tx)
	if err != nil || connector == nil {
		return origin{}, err
	}
	for _, i := range p.running(tx) {
		attached, _ := store.Interfaces.Get(tx, i.Interface)
		for _, id := range attached.VPC {
			if n, ok := store.NetworkInterfaces.Get(tx, id); ok && n.VPC == connector.VPC && len(n.Addresses) > 0 {
				return originOf(tx, n), nil
			}
		}
	}
	v, ok := store.VPCs.Get(tx, connector.VPC)
	for _, id := range connector.Subnets {
		if subnet, exists := store.Subnets.Get(tx, id); ok && exists {
			// The id is no interface's: those have hex digits.
			n := &app.NetworkInterface{ID: "eni-hypothetical", Scope: p.service.Scope, Kind: app.InterfaceOfInstance, VPC: v.ID, Subnet: id, Groups: connector.Groups, SourceDestCheck: true}
			note := fmt.Sprintf("no instance of %s runs through its connector; judged as one in %s (%v)", p, id, subnet.CIDR)
			return origin{vpc: v, port: n.ID, hypothetical: n, note: note}, nil
		}
	}
	return origin{}, invalidState(connector.ARN(), "None of the subnets of the VPC connector %s exists any more. Create another one and update the service %s to use it.", connector.Name, p.service.Name)
}

// spare returns an address of the interface's subnet that nobody has and that is not the destination; one of a full
// subnet is its router's, which rules never name.
func spare(tx *store.Tx, n app.NetworkInterface, besides netip.Addr) netip.Addr {
	subnet, _ := store.Subnets.Get(tx, n.Subnet)
	taken := map[netip.Addr]bool{besides: true}
	for other := range store.NetworkInterfacesBySubnet.Each(tx, n.Subnet) {
		for _, a := range other.Addresses {
			taken[a] = true
		}
	}
	router := subnet.CIDR.Masked().Addr().Next()
	for a := router.Next().Next().Next(); subnet.CIDR.Contains(a.Next()); a = a.Next() {
		if !taken[a] {
			return a
		}
	}
	return router
}

// place is where the packet goes; the VPC is set when the caller named something in one.
type place struct {
	address netip.Addr
	vpc     app.VPCID
}

func destination(tx *store.Tx, scope app.Scope, named string, from app.VPCID) (place, error) {
	if a, err := netip.ParseAddr(named); err == nil {
		if !a.Is4() {
			return place{}, invalid("Destination %s is an IPv6 address. Networks here carry IPv4 only: give an IPv4 address.", named)
		}
		return place{address: a}, nil
	}
	if a, ok := privateName(named); ok {
		return place{address: a}, nil
	}
	switch {
	case interfaceID.MatchString(named):
		n, err := networkInterface(tx, scope, app.InterfaceID(named))
		if err != nil {
			return place{}, err
		}
		return place{n.Addresses[0], n.VPC}, nil
	case hostID.MatchString(named):
		p, err := find(tx, scope, named)
		if err != nil {
			return place{}, err
		}
		n, err := hostInterface(tx, p.host, from)
		if err != nil {
			return place{}, err
		}
		return place{n.Addresses[0], n.VPC}, nil
	}
	return place{}, invalid("Destination %q is not an IPv4 address, an instance (i-…), a network interface (eni-…) or a private name of an address (ip-10-0-0-5…). Give the address that the name stands for.", named)
}

// privateName reads the address in ip-10-0-0-5.us-east-1.compute.internal or ip-10-0-0-5.ec2.internal.
func privateName(name string) (netip.Addr, bool) {
	host, domain, _ := strings.Cut(strings.ToLower(name), ".")
	digits, ok := strings.CutPrefix(host, "ip-")
	if !ok || domain != "ec2.internal" && !strings.HasSuffix(domain, ".compute.internal") {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.ReplaceAll(digits, "-", "."))
	return a, err == nil && a.Is4()
}

// The decisions that are none of a VPC's rules.
const (
	stepDefault vpc.StepKind = "default-egress" // the one on packets of services without a connector
	stepVPC     vpc.StepKind = "vpc"            // the one between VPCs
)

func decision(kind vpc.StepKind, allowed bool, resource, format string, args ...any) vpc.Explanation {
	return vpc.Explanation{Allowed: allowed, Steps: []vpc.Step{{Kind: kind, Allowed: allowed, Text: fmt.Sprintf(format, args...), Resource: resource}}}
}

// beyond judges what leaves a VPC for the outside once more: this machine does not let out everything that the VPC does.
func (r *Reach) beyond(e vpc.Explanation, to netip.Addr, p probe) vpc.Explanation {
	last := e.Steps[len(e.Steps)-1]
	if !e.Allowed || last.Kind != vpc.StepOutside {
		return e
	}
	refuse := func(format string, args ...any) vpc.Explanation {
		return vpc.Explanation{Steps: append(e.Steps, vpc.Step{Kind: vpc.StepOutside, Text: fmt.Sprintf(format, args...), Resource: last.Resource})}
	}
	switch {
	case r.own(to):
		return refuse(ownAddress, to)
	case strings.HasPrefix(last.Resource, "lan-"):
		return e
	}
	contains := func(x netip.Prefix) bool { return x.Contains(to) }
	door := sharedRange.Contains(to) && p.name == "tcp" && (p.port == 80 || p.port == 443) // perhaps
	var why string
	switch {
	case slices.ContainsFunc(vpc.NeverReachable, contains):
		why = "its own, link-local or reserved"
	case door || !slices.ContainsFunc(vpc.PrivateRanges, contains) || slices.ContainsFunc(r.cfg.EgressAllow, contains):
		return e
	default:
		why = "private; attach the network that it is in to the VPC (funade vpc attach), or open the range with --default-egress-allow"
	}
	return refuse("this machine lets nothing out to %s: it is %s", to, why)
}

const ownAddress = "%s is this machine's own address, and it answers no instance; run what is wanted as a private host, or on another machine"

// own reports whether an address is this machine's.
func (r *Reach) own(a netip.Addr) bool {
	return r.cfg.OwnAddresses != nil && slices.Contains(r.cfg.OwnAddresses(), a)
}

// sharedRange has the front door's address as instances see it.
var sharedRange = netip.MustParsePrefix("100.64.0.0/10")

// defaultEgress judges packets of a service with EgressType DEFAULT, which go straight to the outside.
func (r *Reach) defaultEgress(to place) vpc.Explanation {
	contains := func(p netip.Prefix) bool { return p.Contains(to.address) }
	step := func(allowed bool, format string, args ...any) vpc.Explanation {
		return decision(stepDefault, allowed, string(to.vpc), format, args...)
	}
	switch {
	case to.vpc != "":
		return step(false, "DEFAULT egress reaches no VPC, and %s is in %s; give the service a VPC connector", to.address, to.vpc)
	case r.own(to.address):
		return step(false, ownAddress, to.address)
	case slices.ContainsFunc(vpc.NeverReachable, contains):
		return step(false, "DEFAULT egress never reaches %s: it is this machine's, link-local or reserved", to.address)
	case !slices.ContainsFunc(vpc.PrivateRanges, contains):
		return step(true, "DEFAULT egress reaches public addresses, translated by this machine")
	}
	if n := slices.IndexFunc(r.cfg.EgressAllow, contains); n >= 0 {
		return step(true, "DEFAULT egress reaches %v of this machine's network, which --default-egress-allow opens, but no VPC", r.cfg.EgressAllow[n])
	}
	return step(false, "DEFAULT egress reaches public addresses only, and %s is private; give the service a VPC connector, or open the range of this machine's network with --default-egress-allow", to.address)
}
