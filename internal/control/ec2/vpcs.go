package ec2

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

// The lengths that blocks of VPCs and subnets may have (VPC guide, "VPC CIDR blocks").
const (
	minBlockBits = 16
	maxBlockBits = 28
)

const tenancyDefault = "default"

// VPCDetail is a VPC with its tags.
type VPCDetail struct {
	app.VPC
	Tags app.Tags
}

// Association is the id of the primary block, which cannot be taken away.
func (v VPCDetail) Association() app.AssociationID { return primaryAssociation(v.ID) }

func primaryAssociation(id app.VPCID) app.AssociationID {
	return app.AssociationID("vpc-cidr-assoc-" + strings.TrimPrefix(string(id), "vpc-"))
}

// findVPC finds a VPC of the scope.
func findVPC(tx *store.Tx, scope app.Scope, id app.VPCID) (app.VPC, error) {
	v, ok := store.VPCs.Get(tx, id)
	if !ok || v.Scope != scope {
		return app.VPC{}, notFound("InvalidVpcID.NotFound", "vpc ID", string(id))
	}
	return v, nil
}

// mainTable returns the main route table of a VPC.
func mainTable(tx *store.Tx, id app.VPCID) app.RouteTable {
	for t := range store.RouteTablesByVPC.Each(tx, id) {
		if t.Main() {
			return t
		}
	}
	return app.RouteTable{}
}

// defaultACL returns the default network ACL of a VPC.
func defaultACL(tx *store.Tx, id app.VPCID) app.NetworkACL {
	for a := range store.NetworkACLsByVPC.Each(tx, id) {
		if a.Default {
			return a
		}
	}
	return app.NetworkACL{}
}

// dependency is the error for an object that something else needs; why names it and the remedy.
func dependency(noun, id, why string, args ...any) error {
	return fail(app.KindInvalidState, "DependencyViolation", "The %s '%s' has dependencies and cannot be deleted. %s", noun, id, fmt.Sprintf(why, args...))
}

func count[T any](rows iter.Seq[T]) int {
	n := 0
	for range rows {
		n++
	}
	return n
}

// parseBlock reads an IPv4 block and clears its host bits, as EC2 does.
func parseBlock(parameter, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter %s is invalid. This is not a valid CIDR block.", text, parameter)
	case !p.Addr().Is4():
		return p, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter %s is invalid. IPv6 is off inside VPCs: give an IPv4 block", text, parameter)
	}
	return p.Masked(), nil
}

// parseVPCBlock reads a block for a VPC.
func parseVPCBlock(text string) (netip.Prefix, error) {
	p, err := parseBlock("cidrBlock", text)
	if err != nil {
		return p, err
	}
	if p.Bits() < minBlockBits || p.Bits() > maxBlockBits {
		return p, fail(app.KindInvalidRequest, "InvalidVpc.Range", "The CIDR '%s' is invalid: a VPC's block is between /%d and /%d", text, minBlockBits, maxBlockBits)
	}
	for _, taken := range vpc.NeverReachable {
		if taken.Overlaps(p) {
			return p, fail(app.KindInvalidRequest, "InvalidVpc.Range", "The CIDR '%s' is invalid: %s is reserved. Use a block of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16", text, taken)
		}
	}
	return p, nil
}

// CreateVPCInput says what VPC to make.
type CreateVPCInput struct {
	CIDR    string
	Tenancy string // "" = default
	Tags    app.Tags
}

// CreateVPC makes a VPC with its main route table, default ACL and default group.
func (c *EC2) CreateVPC(ctx context.Context, scope app.Scope, in CreateVPCInput) (VPCDetail, error) {
	if in.CIDR == "" {
		return VPCDetail{}, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter CidrBlock")
	}
	block, err := parseVPCBlock(in.CIDR)
	if err != nil {
		return VPCDetail{}, err
	}
	switch in.Tenancy {
	case "":
		in.Tenancy = tenancyDefault
	case tenancyDefault, "dedicated":
	default:
		return VPCDetail{}, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter instanceTenancy is invalid. Give default or dedicated", in.Tenancy)
	}
	if err := checkTags(in.Tags); err != nil {
		return VPCDetail{}, err
	}
	out := VPCDetail{Tags: in.Tags}
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		if err := c.roomForVPC(tx, scope); err != nil {
			return err
		}
		out.VPC = c.newVPC(tx, app.VPC{Scope: scope, CIDR: block, Tenancy: in.Tenancy})
		putTags(tx, string(out.ID), in.Tags)
		return nil
	})
	return out, err
}

func (c *EC2) roomForVPC(tx *store.Tx, scope app.Scope) error {
	if n := count(store.VPCsByScope.Each(tx, scope)); n >= c.cfg.Quotas.VPCs {
		return fail(app.KindQuota, "VpcLimitExceeded", "The maximum number of VPCs has been reached: there are %d in %s. Delete one first", n, scope.Region)
	}
	return nil
}

// CreateDefaultVPC makes the default VPC again after it was deleted.
func (c *EC2) CreateDefaultVPC(ctx context.Context, scope app.Scope) (VPCDetail, error) {
	var out VPCDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if v, ok := defaultVPC(tx, scope); ok {
			return fail(app.KindExists, "DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region: %s", v.ID)
		}
		if err := c.roomForVPC(tx, scope); err != nil {
			return err
		}
		out.VPC = c.newDefaultVPC(tx, scope)
		return nil
	})
	return out, err
}

func defaultVPC(tx *store.Tx, scope app.Scope) (app.VPC, bool) {
	for v := range store.VPCsByScope.Each(tx, scope) {
		if v.Default {
			return v, true
		}
	}
	return app.VPC{}, false
}

// DescribeVPCs returns all VPCs, by id.
func (c *EC2) DescribeVPCs(ctx context.Context, scope app.Scope) (out []VPCDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for v := range store.VPCsByScope.Each(tx, scope) {
			out = append(out, VPCDetail{v, Tags(tx, string(v.ID))})
		}
		return nil
	})
	return out, err
}

// VPC returns one VPC.
func (c *EC2) VPC(ctx context.Context, scope app.Scope, id app.VPCID) (out app.VPC, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		out, err = findVPC(tx, scope, id)
		return err
	})
	return out, err
}

// VPCAttributes are those that ModifyVPCAttribute can set; nil leaves one as it is.
type VPCAttributes struct{ DNSSupport, DNSHostnames, UsageMetrics *bool }

// ModifyVPCAttribute changes one attribute of a VPC.
func (c *EC2) ModifyVPCAttribute(ctx context.Context, scope app.Scope, id app.VPCID, in VPCAttributes) error {
	switch n := given(in.DNSSupport != nil, in.DNSHostnames != nil, in.UsageMetrics != nil); {
	case n == 0:
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "No attributes specified: give one of EnableDnsSupport, EnableDnsHostnames and EnableNetworkAddressUsageMetrics")
	case n > 1:
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "%d attributes specified: EnableDnsSupport, EnableDnsHostnames and EnableNetworkAddressUsageMetrics are modified one at a time", n)
	}
	return c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, id)
		if err != nil {
			return err
		}
		set(&v.DNSSupport, in.DNSSupport)
		set(&v.DNSHostnames, in.DNSHostnames)
		set(&v.UsageMetrics, in.UsageMetrics)
		store.Control.VPCs.Put(tx, v)
		return nil
	})
}

// given counts the parameters that are there.
func given(there ...bool) int {
	n := 0
	for _, t := range there {
		if t {
			n++
		}
	}
	return n
}

// set takes over a value that was given.
func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// DeleteVPC removes a VPC that holds nothing but its defaults.
func (c *EC2) DeleteVPC(ctx context.Context, scope app.Scope, id app.VPCID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, id)
		if err != nil {
			return err
		}
		if what := heldBy(tx, id); what != "" {
			return dependency("vpc", string(id), "It holds %s: delete it first", what)
		}
		table, acl := mainTable(tx, id), defaultACL(tx, id)
		store.Control.RouteTables.Delete(tx, table.ID)
		deleteTags(tx, string(table.ID))
		store.Control.NetworkACLs.Delete(tx, acl.ID)
		deleteTags(tx, string(acl.ID))
		for g := range store.SecurityGroupsByVPC.Each(tx, id) {
			for r := range store.RulesByGroup.Each(tx, g.ID) {
				store.Control.SecurityGroupRules.Delete(tx, r.ID)
				deleteTags(tx, string(r.ID))
			}
			store.Control.SecurityGroups.Delete(tx, g.ID)
			deleteTags(tx, string(g.ID))
		}
		deleteFlowLogs(tx, v.Scope, string(id))
		store.Control.VPCs.Delete(tx, id)
		deleteTags(tx, string(id))
		return nil
	})
}

// heldBy names something in a VPC beside its defaults, "" if there is nothing.
func heldBy(tx *store.Tx, id app.VPCID) string {
	unless := func(holds bool, id string) string {
		if holds {
			return ""
		}
		return id
	}
	return cmp.Or(
		firstOf(tx, store.SubnetsByVPC, id, func(r app.Subnet) string { return string(r.ID) }),
		firstOf(tx, store.NetworkInterfacesByVPC, id, func(r app.NetworkInterface) string { return string(r.ID) }),
		firstOf(tx, store.InternetGatewaysByVPC, id, func(r app.InternetGateway) string { return string(r.ID) }),
		firstOf(tx, store.NATGatewaysByVPC, id, func(r app.NATGateway) string { return unless(!r.DeletedAt.IsZero(), string(r.ID)) }),
		firstOf(tx, store.EndpointsByVPC, id, func(r app.Endpoint) string { return string(r.ID) }),
		firstOf(tx, store.LANsByVPC, id, func(r app.LAN) string { return string(r.ID) }),
		firstOf(tx, store.RouteTablesByVPC, id, func(r app.RouteTable) string { return unless(r.Main(), string(r.ID)) }),
		firstOf(tx, store.NetworkACLsByVPC, id, func(r app.NetworkACL) string { return unless(r.Default, string(r.ID)) }),
		firstOf(tx, store.SecurityGroupsByVPC, id, func(r app.SecurityGroup) string { return unless(r.Default, string(r.ID)) }),
	)
}

// firstOf returns the first name that is not empty among the rows of an index.
func firstOf[V, T any](tx *store.Tx, index store.Index[V, T], value V, name func(T) string) string {
	for row := range index.Each(tx, value) {
		if n := name(row); n != "" {
			return n
		}
	}
	return ""
}

// deleteFlowLogs removes the flow logs of an object that goes.
func deleteFlowLogs(tx *store.Tx, scope app.Scope, resource string) {
	for l := range store.FlowLogsByScope.Each(tx, scope) {
		if l.Resource == resource {
			store.Control.FlowLogs.Delete(tx, l.ID)
			deleteTags(tx, string(l.ID))
		}
	}
}

// AssociateVPCBlock gives a VPC a further block, to which all its route tables then lead.
func (c *EC2) AssociateVPCBlock(ctx context.Context, scope app.Scope, id app.VPCID, text string) (app.CIDRAssociation, error) {
	if text == "" {
		return app.CIDRAssociation{}, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter CidrBlock")
	}
	block, err := parseVPCBlock(text)
	if err != nil {
		return app.CIDRAssociation{}, err
	}
	out := app.CIDRAssociation{CIDR: block}
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, id)
		if err != nil {
			return err
		}
		blocks := v.Blocks()
		if len(blocks) >= c.cfg.Quotas.BlocksPerVPC {
			return fail(app.KindQuota, "CidrLimitExceeded", "This network '%s' has met its maximum number of allowed CIDRs: %d", id, len(blocks))
		}
		if n := slices.IndexFunc(blocks, block.Overlaps); n >= 0 {
			return fail(app.KindInvalidRequest, "CidrConflict", "The CIDR '%s' conflicts with %s, which %s has: choose a block outside of it", block, blocks[n], id)
		}
		for l := range store.LANsByVPC.Each(tx, id) {
			if n := slices.IndexFunc(l.CIDRs, block.Overlaps); n >= 0 {
				return fail(app.KindInvalidRequest, "CidrConflict", "The CIDR '%s' conflicts with %s, which is behind %s: detach that first", block, l.CIDRs[n], l.ID)
			}
		}
		for t := range store.RouteTablesByVPC.Each(tx, id) {
			for _, r := range t.Routes {
				if r.CIDR.IsValid() && block.Bits() <= r.CIDR.Bits() && block.Contains(r.CIDR.Addr()) {
					return fail(app.KindInvalidRequest, "CidrConflict", "The CIDR '%s' conflicts with the route to %s in %s: delete that route first", block, r.CIDR, t.ID)
				}
			}
			local := slices.IndexFunc(t.Routes, func(r app.Route) bool { return r.Kind != app.TargetLocal })
			if local < 0 {
				local = len(t.Routes)
			}
			t.Routes = slices.Insert(slices.Clone(t.Routes), local, localRoute(block))
			store.Control.RouteTables.Put(tx, t)
		}
		out.ID = app.AssociationID(c.cfg.IDs.Prefixed("vpc-cidr-assoc"))
		v.Secondary = append(slices.Clone(v.Secondary), out)
		store.Control.VPCs.Put(tx, v)
		return nil
	})
	return out, err
}

// DisassociateVPCBlock takes a secondary block in which no subnet lies from its VPC.
func (c *EC2) DisassociateVPCBlock(ctx context.Context, scope app.Scope, id app.AssociationID) (app.VPCID, app.CIDRAssociation, error) {
	var from app.VPCID
	var out app.CIDRAssociation
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		v, n, err := findBlock(tx, scope, id)
		if err != nil {
			return err
		}
		out, from = v.Secondary[n], v.ID
		for s := range store.SubnetsByVPC.Each(tx, v.ID) {
			if out.CIDR.Overlaps(s.CIDR) {
				return fail(app.KindInvalidState, "InvalidCidrBlock.InUse", "The vpc %s currently has a subnet %s in the CIDR block %s: delete it first", v.ID, s.ID, out.CIDR)
			}
		}
		for t := range store.RouteTablesByVPC.Each(tx, v.ID) {
			t.Routes = slices.DeleteFunc(slices.Clone(t.Routes), func(r app.Route) bool { return r.Kind == app.TargetLocal && r.CIDR == out.CIDR })
			store.Control.RouteTables.Put(tx, t)
		}
		v.Secondary = slices.Delete(slices.Clone(v.Secondary), n, n+1)
		store.Control.VPCs.Put(tx, v)
		return nil
	})
	return from, out, err
}

// findBlock finds the secondary block with that id.
func findBlock(tx *store.Tx, scope app.Scope, id app.AssociationID) (app.VPC, int, error) {
	for v := range store.VPCsByScope.Each(tx, scope) {
		if primaryAssociation(v.ID) == id {
			return v, 0, fail(app.KindInvalidState, "OperationNotPermitted", "The vpc CIDR block with association ID %s may not be disassociated. It is the primary IPv4 CIDR block of the VPC", id)
		}
		if n := slices.IndexFunc(v.Secondary, func(a app.CIDRAssociation) bool { return a.ID == id }); n >= 0 {
			return v, n, nil
		}
	}
	return app.VPC{}, 0, notFound("InvalidVpcCidrBlockAssociationID.NotFound", "vpc CIDR block association ID", string(id))
}
