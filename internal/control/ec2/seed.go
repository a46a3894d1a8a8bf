package ec2

import (
	"net/netip"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// Everything and anywhere, and the numbers of a network ACL's rules.
const (
	allPorts  = -1
	openRule  = 100   // of a default ACL
	finalRule = 32767 // denies what no rule before it matched; it cannot be removed
)

var anywhere = netip.MustParsePrefix("0.0.0.0/0")

// defaultBlock is the CIDR of every default VPC, and defaultSubnetBits the length of its subnets'.
var defaultBlock = netip.MustParsePrefix("172.31.0.0/16")

const defaultSubnetBits = 20

// AWS owns these prefix lists. Nothing of this install answers for their services, so they have no entries; size is what
// they weigh in a group's quota (VPC guide, "AWS-managed prefix list weight").
var ownedLists = []struct {
	name string // after com.amazonaws.
	size int
}{{"REGION.s3", 1}, {"REGION.dynamodb", 1}, {"global.cloudfront.origin-facing", 55}}

// ownedBy is the account of AWS's prefix lists.
const ownedBy app.AccountID = "AWS"

// seed writes the default VPC and what belongs to it, and the prefix lists of AWS.
func (c *EC2) seed(tx *store.Tx, scope app.Scope) {
	row, ok := store.Scopes.Get(tx, scope)
	if !ok {
		row = app.ScopeRow{Scope: scope, CreatedAt: c.now()}
	}
	row.Network = true
	store.Control.Scopes.Put(tx, row)
	c.seedPrefixLists(tx, scope.Region)
	c.newDefaultVPC(tx, scope)
}

func (c *EC2) seedPrefixLists(tx *store.Tx, region app.Region) {
	scope := app.Scope{Account: ownedBy, Region: region}
	if _, ok := store.PrefixListsByScope.First(tx, scope); ok {
		return // another account's scope brought them
	}
	for _, l := range ownedLists {
		name := strings.Replace(l.name, "REGION", string(region), 1)
		store.Control.PrefixLists.Put(tx, app.PrefixList{
			ID: app.PrefixListID(c.cfg.IDs.Prefixed("pl")), Scope: scope, Name: "com.amazonaws." + name, Family: "IPv4", MaxEntries: l.size,
			Version: 1, State: "create-complete", CreatedAt: c.now(),
		})
	}
}

// newDefaultVPC makes the VPC that every account and region starts with: a public subnet in each zone.
func (c *EC2) newDefaultVPC(tx *store.Tx, scope app.Scope) app.VPC {
	v := c.newVPC(tx, app.VPC{Scope: scope, CIDR: defaultBlock, Default: true, Tenancy: tenancyDefault, DNSHostnames: true})
	gateway := app.InternetGateway{ID: app.IGWID(c.cfg.IDs.Prefixed("igw")), Scope: scope, VPC: v.ID, CreatedAt: c.now()}
	store.Control.InternetGateways.Put(tx, gateway)
	table := mainTable(tx, v.ID)
	table.Routes = append(table.Routes[:len(table.Routes):len(table.Routes)], app.Route{CIDR: anywhere, Kind: app.TargetIGW, Target: string(gateway.ID), Origin: originRoute})
	store.Control.RouteTables.Put(tx, table)
	for _, zone := range Zones(scope.Region) {
		block, _ := freeBlock(tx, v, defaultSubnetBits) // a /16 has room for more zones than there are
		c.newSubnet(tx, app.Subnet{Scope: scope, VPC: v.ID, CIDR: block, Zone: zone.Name, Default: true, MapPublicIP: true})
	}
	return v
}

// newVPC writes a VPC with what each one has from the start: main route table, default ACL, default group, DHCP options.
func (c *EC2) newVPC(tx *store.Tx, v app.VPC) app.VPC {
	v.ID = app.VPCID(c.cfg.IDs.Prefixed("vpc"))
	v.DNSSupport = true
	v.DHCPOptions = c.defaultDHCPOptions(tx, v.Scope).ID
	v.CreatedAt = c.now()
	store.Control.VPCs.Put(tx, v)
	c.newRouteTable(tx, v, true)
	c.newACL(tx, v, true)
	c.newDefaultGroup(tx, v.Scope, v.ID)
	return v
}

// Origins of routes, as EC2 names them.
const (
	originTable = "CreateRouteTable"
	originRoute = "CreateRoute"
)

// newRouteTable writes a route table that has only the local routes of its VPC.
func (c *EC2) newRouteTable(tx *store.Tx, v app.VPC, main bool) app.RouteTable {
	t := app.RouteTable{ID: app.RouteTableID(c.cfg.IDs.Prefixed("rtb")), Scope: v.Scope, VPC: v.ID, CreatedAt: c.now()}
	for _, block := range v.Blocks() {
		t.Routes = append(t.Routes, localRoute(block))
	}
	if main {
		t.Associations = []app.TableAssociation{{ID: app.AssociationID(c.cfg.IDs.Prefixed("rtbassoc")), Main: true}}
	}
	store.Control.RouteTables.Put(tx, t)
	return t
}

// localRoute leads to the VPC itself.
func localRoute(block netip.Prefix) app.Route {
	return app.Route{CIDR: block, Kind: app.TargetLocal, Origin: originTable}
}

// newACL writes a network ACL: a default one allows everything, another one nothing.
func (c *EC2) newACL(tx *store.Tx, v app.VPC, isDefault bool) app.NetworkACL {
	a := app.NetworkACL{ID: app.NetworkACLID(c.cfg.IDs.Prefixed("acl")), Scope: v.Scope, VPC: v.ID, Default: isDefault, CreatedAt: c.now()}
	for _, egress := range []bool{false, true} {
		entry := app.ACLEntry{Number: openRule, Egress: egress, Allow: true, Protocol: app.AllProtocols, CIDR: anywhere, FromPort: allPorts, ToPort: allPorts}
		if isDefault {
			a.Entries = append(a.Entries, entry)
		}
		entry.Number, entry.Allow = finalRule, false
		a.Entries = append(a.Entries, entry)
	}
	store.Control.NetworkACLs.Put(tx, a)
	return a
}

// newDefaultGroup writes the default group of a VPC: its members may send anywhere and hear from each other.
func (c *EC2) newDefaultGroup(tx *store.Tx, scope app.Scope, vpc app.VPCID) app.SecurityGroup {
	g := app.SecurityGroup{
		ID: app.GroupID(c.cfg.IDs.Prefixed("sg")), Scope: scope, VPC: vpc, Name: defaultGroup, Description: "default VPC security group", Default: true, CreatedAt: c.now(),
	}
	store.Control.SecurityGroups.Put(tx, g)
	rule := app.SecurityGroupRule{Scope: scope, Group: g.ID, Protocol: app.AllProtocols, FromPort: allPorts, ToPort: allPorts, CreatedAt: c.now()}
	in, out := rule, rule
	in.ID, in.Peer = app.RuleID(c.cfg.IDs.Prefixed("sgr")), g.ID
	out.ID, out.Egress, out.CIDR = app.RuleID(c.cfg.IDs.Prefixed("sgr")), true, anywhere
	store.Control.SecurityGroupRules.Put(tx, in)
	store.Control.SecurityGroupRules.Put(tx, out)
	return g
}

// defaultGroup is the name of the group that every VPC has.
const defaultGroup = "default"
