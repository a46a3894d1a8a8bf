package vpc

import (
	"net/netip"

	"github.com/funade/funade/internal/app"
)

// Snapshot is everything that packets inside VPCs depend on, as rows. Order does not matter.
type Snapshot struct {
	VPCs        []app.VPC
	Slots       map[app.VPCID]int // VPCs without a slot are left out of the ruleset
	Subnets     []app.Subnet
	RouteTables []app.RouteTable
	Gateways    []app.InternetGateway
	NATs        []app.NATGateway
	ElasticIPs  []app.ElasticIP
	ACLs        []app.NetworkACL
	Groups      []app.SecurityGroup
	Rules       []app.SecurityGroupRule
	PrefixLists []app.PrefixList
	Interfaces  []app.NetworkInterface
	Endpoints   []app.Endpoint
	LANs        []app.LAN
	FlowLogs    []app.FlowLog
	// Names are the private names of each VPC: lower case, no final dot.
	Names map[app.VPCID]map[string][]netip.Addr
}

// Ruleset is the compiled form: what the kernel holds, and what Allows and Explain judge by. It and all below it are
// never changed. A Compiler gives parts that did not change the same pointers again, so that a data plane finds
// differences by comparing pointers.
type Ruleset struct {
	Networks map[app.VPCID]*Network
}

// Network is one VPC.
type Network struct {
	VPC app.VPCID
	// Slot is the VPC's host-local number, from 0: the addresses of its link to the outside follow from it.
	Slot int
	// Blocks are its CIDRs, the primary one first. The resolver answers at the primary block's base+2.
	Blocks  []netip.Prefix
	DNS     *Zone // nil = enableDnsSupport is off
	Subnets map[app.SubnetID]*Subnet
	Ports   map[app.InterfaceID]*Port
	Groups  map[app.GroupID]*Group
	// Members are the addresses that carry a group now, sorted; only groups that a rule names as peer appear.
	Members map[app.GroupID]*Members
	Tables  map[app.RouteTableID]*Table
	ACLs    map[app.NetworkACLID]*ACL
	NATs    map[app.NATGatewayID]*NAT
	LANs    map[app.LANID]*LAN
	// FlowLogs of the VPC, its subnets and interfaces.
	FlowLogs map[app.FlowLogID]*app.FlowLog
	// at are the ports by address; nil = nobody has worked it out.
	at map[netip.Addr]*Port
}

// PortAt returns the port that owns an address, nil = none does.
func (n *Network) PortAt(a netip.Addr) *Port { return n.portAt(a) }

// Zone is what the VPC's own resolver knows.
type Zone struct{ Names map[string][]netip.Addr }

// Subnet binds a block to its route table and ACL.
type Subnet struct {
	ID    app.SubnetID
	CIDR  netip.Prefix
	Table app.RouteTableID
	ACL   app.NetworkACLID
}

// Port is a network interface as the router sees it.
type Port struct {
	ID        app.InterfaceID
	Kind      app.InterfaceKind
	Addresses []netip.Addr
	Subnet    app.SubnetID
	Groups    []app.GroupID
	// CheckSource drops what it sends from addresses that are not its own, and what it gets for others.
	CheckSource bool
	// Public: it has a public address, so a route to an internet gateway lets it out.
	Public bool
}

// Group is the compiled rules of a security group, one list a direction.
type Group struct {
	ID              app.GroupID
	Ingress, Egress Direction
}

// Direction holds what a group allows one way. Ranges and boxes are disjoint, merged and sorted; IPv6 rules compile to
// nothing.
type Direction struct {
	// Any are address ranges with which everything is allowed.
	Any []Range
	// Boxes are address ranges × protocol × ports.
	Boxes []Box
	// Peers are groups whose members are allowed.
	Peers []Peer
	// Rules are the rules it was made from, for explaining, sorted by id.
	Rules []app.SecurityGroupRule
	// lists are the addresses of rules that name a prefix list.
	lists map[app.RuleID][]span
}

// Range is an inclusive range of IPv4 addresses.
type Range struct{ First, Last netip.Addr }

// Box is a range of addresses and of ports of one protocol. For ICMP the port is type<<8|code; protocols without ports have
// 0 to 65535.
type Box struct {
	Range
	Protocol            uint8
	FirstPort, LastPort uint16
}

// Peer allows the members of a group: everything, or ports of protocols, disjoint and sorted.
type Peer struct {
	Group app.GroupID
	All   bool
	Ports []Ports
}

// Ports is an inclusive range of ports of a protocol; for ICMP see Box.
type Ports struct {
	Protocol    uint8
	First, Last uint16
}

// Members are addresses, sorted.
type Members struct{ Addresses []netip.Addr }

// RouteKind is what a compiled route does.
type RouteKind int

// The kinds.
const (
	RouteLocal RouteKind = iota + 1 // inside the VPC
	RouteOut                        // through the internet gateway: ports that are Public only
	RouteNAT                        // through Target, a NATGatewayID that works
	RoutePort                       // to the interface Target, whatever the destination
	RouteLAN                        // to the LAN Target
	RouteBlackhole
)

// Table is a route table; routes are sorted, the longest prefix first, one per prefix.
type Table struct {
	ID     app.RouteTableID
	Routes []Route
}

// Route is one compiled route.
type Route struct {
	CIDR   netip.Prefix
	Kind   RouteKind
	Target string
}

// ACL is a network ACL. Entries are IPv4, in the order of their numbers; the first that matches decides, and what none
// matches is denied.
type ACL struct {
	ID              app.NetworkACLID
	Ingress, Egress []app.ACLEntry
	Open            bool // both directions allow everything: no rule is needed
}

// NAT is a NAT gateway that can work: it is public, and its subnet has a route to an internet gateway; or Broken.
type NAT struct {
	ID      app.NATGatewayID
	Address netip.Addr
	Port    app.InterfaceID
	Subnet  app.SubnetID
	// Broken says why nothing gets out through it, "" = it works.
	Broken string
}

// LAN is an attached real network.
type LAN struct {
	ID        app.LANID
	Interface string
	Via       netip.Addr
	CIDRs     []netip.Prefix
}
