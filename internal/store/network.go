package store

import "github.com/funade/funade/internal/app"

// The tables of EC2's objects and of VPC connectors, which internal/control writes.
var (
	VPCs               = define("vpcs", func(r app.VPC) app.VPCID { return r.ID }, text[app.VPCID])
	Subnets            = define("subnets", func(r app.Subnet) app.SubnetID { return r.ID }, text[app.SubnetID])
	RouteTables        = define("route_tables", func(r app.RouteTable) app.RouteTableID { return r.ID }, text[app.RouteTableID])
	InternetGateways   = define("internet_gateways", func(r app.InternetGateway) app.IGWID { return r.ID }, text[app.IGWID])
	NATGateways        = define("nat_gateways", func(r app.NATGateway) app.NATGatewayID { return r.ID }, text[app.NATGatewayID])
	ElasticIPs         = define("elastic_ips", func(r app.ElasticIP) app.AllocationID { return r.ID }, text[app.AllocationID])
	NetworkACLs        = define("network_acls", func(r app.NetworkACL) app.NetworkACLID { return r.ID }, text[app.NetworkACLID])
	SecurityGroups     = define("security_groups", func(r app.SecurityGroup) app.GroupID { return r.ID }, text[app.GroupID])
	SecurityGroupRules = define("security_group_rules", func(r app.SecurityGroupRule) app.RuleID { return r.ID }, text[app.RuleID])
	PrefixLists        = define("prefix_lists", func(r app.PrefixList) app.PrefixListID { return r.ID }, text[app.PrefixListID])
	NetworkInterfaces  = define("network_interfaces", func(r app.NetworkInterface) app.InterfaceID { return r.ID }, text[app.InterfaceID])
	DHCPOptionSets     = define("dhcp_option_sets", func(r app.DHCPOptions) app.DHCPOptionsID { return r.ID }, text[app.DHCPOptionsID])
	Endpoints          = define("endpoints", func(r app.Endpoint) app.EndpointID { return r.ID }, text[app.EndpointID])
	FlowLogs           = define("flow_logs", func(r app.FlowLog) app.FlowLogID { return r.ID }, text[app.FlowLogID])
	KeyPairs           = define("key_pairs", func(r app.KeyPair) app.KeyPairID { return r.ID }, text[app.KeyPairID])
	VPCConnectors      = define("vpc_connectors", func(r app.VPCConnector) app.VPCConnectorID { return r.ID }, text[app.VPCConnectorID])
	LANs               = define("lans", func(r app.LAN) app.LANID { return r.ID }, text[app.LANID])
	Hosts              = define("hosts", func(r app.Host) app.HostID { return r.ID }, text[app.HostID])
	Volumes            = define("volumes", func(r app.Volume) app.VolumeID { return r.ID }, text[app.VolumeID])
)

// VPCStatuses is a table of internal/converge.
var VPCStatuses = define("vpc_statuses", func(r app.VPCStatus) app.VPCID { return r.ID }, text[app.VPCID])

// The indexes by scope, in the order of the ids.
var (
	VPCsByScope               = index(VPCs, scope, func(r app.VPC) string { return scope(r.Scope) })
	SubnetsByScope            = index(Subnets, scope, func(r app.Subnet) string { return scope(r.Scope) })
	RouteTablesByScope        = index(RouteTables, scope, func(r app.RouteTable) string { return scope(r.Scope) })
	InternetGatewaysByScope   = index(InternetGateways, scope, func(r app.InternetGateway) string { return scope(r.Scope) })
	NATGatewaysByScope        = index(NATGateways, scope, func(r app.NATGateway) string { return scope(r.Scope) })
	ElasticIPsByScope         = index(ElasticIPs, scope, func(r app.ElasticIP) string { return scope(r.Scope) })
	NetworkACLsByScope        = index(NetworkACLs, scope, func(r app.NetworkACL) string { return scope(r.Scope) })
	SecurityGroupsByScope     = index(SecurityGroups, scope, func(r app.SecurityGroup) string { return scope(r.Scope) })
	SecurityGroupRulesByScope = index(SecurityGroupRules, scope, func(r app.SecurityGroupRule) string { return scope(r.Scope) })
	PrefixListsByScope        = index(PrefixLists, scope, func(r app.PrefixList) string { return scope(r.Scope) })
	NetworkInterfacesByScope  = index(NetworkInterfaces, scope, func(r app.NetworkInterface) string { return scope(r.Scope) })
	DHCPOptionSetsByScope     = index(DHCPOptionSets, scope, func(r app.DHCPOptions) string { return scope(r.Scope) })
	EndpointsByScope          = index(Endpoints, scope, func(r app.Endpoint) string { return scope(r.Scope) })
	FlowLogsByScope           = index(FlowLogs, scope, func(r app.FlowLog) string { return scope(r.Scope) })
	KeyPairsByScope           = index(KeyPairs, scope, func(r app.KeyPair) string { return scope(r.Scope) })
	VPCConnectorsByScope      = index(VPCConnectors, scope, func(r app.VPCConnector) string { return scope(r.Scope) })
	LANsByScope               = index(LANs, scope, func(r app.LAN) string { return scope(r.Scope) })
	HostsByScope              = index(Hosts, scope, func(r app.Host) string { return scope(r.Scope) })
	VolumesByScope            = index(Volumes, scope, func(r app.Volume) string { return scope(r.Scope) })
)

// Further indexes.
var (
	SubnetsByVPC          = index(Subnets, text[app.VPCID], func(r app.Subnet) string { return parts(string(r.VPC)) })
	RouteTablesByVPC      = index(RouteTables, text[app.VPCID], func(r app.RouteTable) string { return parts(string(r.VPC)) })
	InternetGatewaysByVPC = index(InternetGateways, text[app.VPCID], func(r app.InternetGateway) string { return partsOf(string(r.VPC)) })
	NATGatewaysByVPC      = index(NATGateways, text[app.VPCID], func(r app.NATGateway) string { return parts(string(r.VPC)) })
	NetworkACLsByVPC      = index(NetworkACLs, text[app.VPCID], func(r app.NetworkACL) string { return parts(string(r.VPC)) })
	SecurityGroupsByVPC   = index(SecurityGroups, text[app.VPCID], func(r app.SecurityGroup) string { return parts(string(r.VPC)) })
	EndpointsByVPC        = index(Endpoints, text[app.VPCID], func(r app.Endpoint) string { return parts(string(r.VPC)) })
	LANsByVPC             = index(LANs, text[app.VPCID], func(r app.LAN) string { return parts(string(r.VPC)) })
	RulesByGroup          = index(SecurityGroupRules, text[app.GroupID], func(r app.SecurityGroupRule) string { return parts(string(r.Group)) })
	// RulesByPeer finds the rules that name a group as their peer.
	RulesByPeer               = index(SecurityGroupRules, text[app.GroupID], func(r app.SecurityGroupRule) string { return partsOf(string(r.Peer)) })
	RulesByPrefixList         = index(SecurityGroupRules, text[app.PrefixListID], func(r app.SecurityGroupRule) string { return partsOf(string(r.PrefixList)) })
	NetworkInterfacesBySubnet = index(NetworkInterfaces, text[app.SubnetID], func(r app.NetworkInterface) string { return parts(string(r.Subnet)) })
	NetworkInterfacesByVPC    = index(NetworkInterfaces, text[app.VPCID], func(r app.NetworkInterface) string { return parts(string(r.VPC)) })
	NetworkInterfacesByGroup  = indexMany(NetworkInterfaces, text[app.GroupID], func(r app.NetworkInterface) []string {
		out := make([]string, len(r.Groups))
		for n, g := range r.Groups {
			out[n] = parts(string(g))
		}
		return out
	})
	// NetworkInterfacesByOwner finds by NetworkInterface.Owner.
	NetworkInterfacesByOwner = index(NetworkInterfaces, func(s string) string { return parts(s) }, func(r app.NetworkInterface) string { return partsOf(r.Owner) })
	// VPCConnectorsByName finds by name in the order of the revisions, deleted ones too.
	VPCConnectorsByName = index(VPCConnectors, named, func(r app.VPCConnector) string {
		return named(app.NamedKey{Scope: r.Scope, Name: r.Name}) + number(int64(r.Revision))
	})
	InstancesByHost = index(Instances, text[app.HostID], func(i app.Instance) string { return partsOf(string(i.Host)) })
	VolumesByHost   = index(Volumes, text[app.HostID], func(r app.Volume) string { return partsOf(string(r.Host)) })
)

// partsOf is parts of one text, and leaves the row out of the index when it is empty.
func partsOf(s string) string {
	if s == "" {
		return ""
	}
	return parts(s)
}
