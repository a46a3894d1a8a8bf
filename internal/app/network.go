package app

import (
	"net/netip"
	"strconv"
	"time"
)

// The ids of EC2's objects: a prefix, a dash and 17 hex digits.
type (
	VPCID          string // vpc-
	SubnetID       string // subnet-
	RouteTableID   string // rtb-
	AssociationID  string // rtbassoc-, aclassoc-, eipassoc-, vpc-cidr-assoc-, dopt…
	IGWID          string // igw-
	NATGatewayID   string // nat-
	AllocationID   string // eipalloc-
	NetworkACLID   string // acl-
	GroupID        string // sg-
	RuleID         string // sgr-
	PrefixListID   string // pl-
	DHCPOptionsID  string // dopt-
	EndpointID     string // vpce-
	FlowLogID      string // fl-
	HostID         string // i-
	VolumeID       string // vol-
	KeyPairID      string // key-
	LANID          string // lan-
	VPCConnectorID string // 32 hex digits
)

// VPC is a private network; control is the only writer of this and of every other row of this file.
type VPC struct {
	ID    VPCID
	Scope Scope
	CIDR  netip.Prefix
	// Secondary are further IPv4 blocks.
	Secondary    []CIDRAssociation
	Default      bool
	Tenancy      string
	DNSSupport   bool
	DNSHostnames bool
	// UsageMetrics is the attribute enableNetworkAddressUsageMetrics; it is kept and has no effect.
	UsageMetrics bool
	DHCPOptions  DHCPOptionsID
	CreatedAt    time.Time
}

// CIDRAssociation is one secondary block of a VPC.
type CIDRAssociation struct {
	ID   AssociationID
	CIDR netip.Prefix
}

// Blocks returns every IPv4 block, the primary one first.
func (v *VPC) Blocks() []netip.Prefix {
	out := []netip.Prefix{v.CIDR}
	for _, a := range v.Secondary {
		out = append(out, a.CIDR)
	}
	return out
}

// Subnet is a part of a VPC. Its first four addresses and the last are reserved: base, router, DNS, future, broadcast.
type Subnet struct {
	ID          SubnetID
	Scope       Scope
	VPC         VPCID
	CIDR        netip.Prefix
	Zone        string // us-east-1a
	MapPublicIP bool
	Default     bool
	// Attributes that are kept and shown.
	AssignIPv6, DNS64, HostnameA, HostnameAAAA bool
	HostnameType                               string // ip-name or resource-name
	CreatedAt                                  time.Time
}

// TargetKind is what a route leads to.
type TargetKind string

// The targets of routes. A route whose target is gone stays and is a blackhole: that is worked out, not stored.
const (
	TargetLocal     TargetKind = "local"
	TargetIGW       TargetKind = "igw"
	TargetNAT       TargetKind = "nat"
	TargetInterface TargetKind = "eni"
	TargetLAN       TargetKind = "lan"
)

// Route sends a destination somewhere; exactly one of CIDR and PrefixList is set.
type Route struct {
	CIDR       netip.Prefix
	PrefixList PrefixListID
	Kind       TargetKind
	// Target is the id of the gateway, interface or LAN attachment; "" for local. Host is set when the route was given an instance.
	Target string
	Host   HostID
	// Origin is CreateRouteTable, CreateRoute.
	Origin string
}

// RouteTable holds routes; the longest prefix wins.
type RouteTable struct {
	ID     RouteTableID
	Scope  Scope
	VPC    VPCID
	Routes []Route
	// Associations name subnets; the one of the main table has no subnet.
	Associations []TableAssociation
	ClientToken  string
	CreatedAt    time.Time
}

// TableAssociation binds a route table to a subnet, or with Main to every subnet that has none.
type TableAssociation struct {
	ID     AssociationID
	Subnet SubnetID
	Main   bool
}

// Main reports whether it is its VPC's main table.
func (t *RouteTable) Main() bool {
	for _, a := range t.Associations {
		if a.Main {
			return true
		}
	}
	return false
}

// InternetGateway leads to the outside; VPC is "" while detached.
type InternetGateway struct {
	ID        IGWID
	Scope     Scope
	VPC       VPCID
	CreatedAt time.Time
}

// NATGateway translates for subnets that route to it.
type NATGateway struct {
	ID     NATGatewayID
	Scope  Scope
	VPC    VPCID
	Subnet SubnetID
	Public bool // connectivity type
	// Interface is its network interface, whose first address is its private address.
	Interface    InterfaceID
	Allocation   AllocationID
	Association  AssociationID
	ClientToken  string
	CreatedAt    time.Time
	DeletedAt    time.Time // set: deleted or failed, shown for an hour
	PrivateIP    netip.Addr
	PublicIP     netip.Addr
	FailureCode  string // set: it never came up, and DeletedAt is set too
	FailureCause string
}

// ElasticIP is a public address that an account holds. Addresses are of a range that the install shows
// (198.18.0.0/15 unless set); the outside sees the host's address.
type ElasticIP struct {
	ID        AllocationID
	Scope     Scope
	Address   netip.Addr
	Interface InterfaceID
	// Private is the address of Interface that it stands for.
	Private     netip.Addr
	Association AssociationID
	// Launched: a host got it at its launch. The account does not hold it, and it goes when it is unmapped.
	Launched  bool
	CreatedAt time.Time
}

// NetworkACL is a stateless, numbered list of rules for subnets.
type NetworkACL struct {
	ID           NetworkACLID
	Scope        Scope
	VPC          VPCID
	Default      bool
	Entries      []ACLEntry // sorted by direction (ingress first) and number; the final * rules (32767, deny) are included
	Associations []ACLAssociation
	ClientToken  string
	CreatedAt    time.Time
}

// ACLAssociation binds an ACL to a subnet.
type ACLAssociation struct {
	ID     AssociationID
	Subnet SubnetID
}

// ACLEntry is one rule of a network ACL.
type ACLEntry struct {
	Number int // 1 to 32766; 32767 is the final deny
	Egress bool
	Allow  bool
	// Protocol is a number, -1 = all.
	Protocol int
	CIDR     netip.Prefix
	// FromPort and ToPort bound TCP and UDP ports; for ICMP they are type and code, -1 = any.
	FromPort, ToPort int
}

// SecurityGroup is a named set of allow rules, which are rows of their own.
type SecurityGroup struct {
	ID          GroupID
	Scope       Scope
	VPC         VPCID
	Name        string // unique in its VPC
	Description string
	Default     bool
	CreatedAt   time.Time
}

// SecurityGroupRule allows. It is comparable. Exactly one of CIDR, PrefixList and Peer is set.
type SecurityGroupRule struct {
	ID     RuleID
	Scope  Scope
	Group  GroupID
	Egress bool
	// Protocol is an IP protocol number, -1 = everything.
	Protocol int
	// FromPort and ToPort bound destination ports; for ICMP and ICMPv6 they are type and code; -1 = any.
	FromPort, ToPort int
	CIDR             netip.Prefix // IPv4 or IPv6
	PrefixList       PrefixListID
	Peer             GroupID
	// PeerAccount is the account that the caller named beside Peer, "" = none.
	PeerAccount AccountID
	Description string
	CreatedAt   time.Time
}

// PrefixList is a managed prefix list.
type PrefixList struct {
	ID    PrefixListID
	Scope Scope // Account "AWS" for read-only lists of AWS
	Name  string
	// Family is IPv4 or IPv6.
	Family     string
	MaxEntries int
	Version    int64
	// Entries are those of Version; History holds those of earlier versions, [0] being version 1.
	Entries     []PrefixEntry
	History     [][]PrefixEntry
	State       string // create-complete, modify-complete, restore-complete
	ClientToken string
	CreatedAt   time.Time
}

// PrefixEntry is one block of a prefix list.
type PrefixEntry struct {
	CIDR        netip.Prefix
	Description string
}

// InterfaceKind says who made a network interface and what for.
type InterfaceKind string

// The kinds (EC2's InterfaceType, and for connectors and LANs the requester's word).
const (
	InterfaceOfUser     InterfaceKind = "interface"
	InterfaceOfInstance InterfaceKind = "apprunner" // of an App Runner instance, requester-managed
	InterfaceOfNAT      InterfaceKind = "nat_gateway"
	InterfaceOfEndpoint InterfaceKind = "vpc_endpoint"
)

// NetworkInterface is an address in a subnet with security groups.
type NetworkInterface struct {
	ID     InterfaceID
	Scope  Scope
	Kind   InterfaceKind
	VPC    VPCID
	Subnet SubnetID
	Zone   string
	// Addresses are the private addresses, the primary one first.
	Addresses       []netip.Addr
	Groups          []GroupID
	MAC             string
	SourceDestCheck bool
	Description     string
	// Owner is what it is attached to: an InstanceID of App Runner, a HostID, a NATGatewayID, an EndpointID; "" = free.
	Owner       string
	Attachment  AttachmentENI
	ClientToken string
	CreatedAt   time.Time
}

// AttachmentENI is how a network interface is attached; ID is "" when it is not.
type AttachmentENI struct {
	ID                  string // eni-attach-
	DeviceIndex         int
	DeleteOnTermination bool
	At                  time.Time
}

// DHCPOptions are what instances of a VPC learn about names.
type DHCPOptions struct {
	ID        DHCPOptionsID
	Scope     Scope
	Default   bool
	Values    map[string][]string // domain-name, domain-name-servers, ntp-servers, netbios-…
	CreatedAt time.Time
}

// Endpoint is a VPC endpoint.
type Endpoint struct {
	ID          EndpointID
	Scope       Scope
	VPC         VPCID
	ServiceName string
	Type        string // Interface or Gateway
	Subnets     []SubnetID
	Groups      []GroupID
	RouteTables []RouteTableID
	Interfaces  []InterfaceID
	PrivateDNS  bool
	Policy      string
	ClientToken string
	CreatedAt   time.Time
}

// FlowLog records the traffic of a VPC, a subnet or an interface.
type FlowLog struct {
	ID       FlowLogID
	Scope    Scope
	Resource string // vpc-, subnet- or eni-
	// Traffic is ACCEPT, REJECT or ALL.
	Traffic     string
	Group       LogGroupKey
	RoleARN     string
	Format      string
	Interval    int // seconds: 60 or 600
	ClientToken string
	CreatedAt   time.Time
}

// KeyPair is kept for clients that name one.
type KeyPair struct {
	ID          KeyPairID
	Scope       Scope
	Name        string
	Type        string // rsa or ed25519
	PublicKey   string
	Fingerprint string
	CreatedAt   time.Time
}

// VPCConnector is what services with EgressType VPC go out through. It is immutable.
type VPCConnector struct {
	ID        VPCConnectorID
	Scope     Scope
	Name      string
	Revision  int
	VPC       VPCID
	Subnets   []SubnetID
	Groups    []GroupID
	CreatedAt time.Time
	DeletedAt time.Time
}

// ARN returns the connector's ARN.
func (c *VPCConnector) ARN() string {
	return c.Scope.ARN("apprunner", "vpcconnector/"+c.Name+"/"+strconv.Itoa(c.Revision)+"/"+string(c.ID))
}

// LAN is a real network behind the host that routes can name, as the target lan-….
type LAN struct {
	ID    LANID
	Scope Scope
	VPC   VPCID
	// Interface is the host's link, or Via the host's address on the network; CIDRs are what is behind it.
	Interface string
	Via       netip.Addr
	CIDRs     []netip.Prefix
	CreatedAt time.Time
}

// VPCStatus holds the host-local number of a VPC; converge is its only writer.
type VPCStatus struct {
	ID VPCID
	// Slot is unique in the install: the router's addresses follow from it. -1 = none is free.
	Slot  int
	Error string
}

// AllProtocols stands for every protocol in rules of security groups and ACLs.
const AllProtocols = -1

// ProtocolName returns EC2's word for an IP protocol: tcp, udp, icmp, icmpv6, else its number.
func ProtocolName(n int) string {
	switch n {
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmpv6"
	}
	return strconv.Itoa(n)
}
