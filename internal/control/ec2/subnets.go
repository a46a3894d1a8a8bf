package ec2

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// SubnetDetail is a subnet with its tags.
type SubnetDetail struct {
	app.Subnet
	Tags app.Tags
	// Free is the number of addresses that are left.
	Free int
	// ZoneID is the id of its zone.
	ZoneID string
}

// ARN returns the subnet's ARN.
func (s SubnetDetail) ARN() string { return s.Scope.ARN("ec2", "subnet/"+string(s.ID)) }

// findSubnet finds a subnet of the scope.
func findSubnet(tx *store.Tx, scope app.Scope, id app.SubnetID) (app.Subnet, error) {
	s, ok := store.Subnets.Get(tx, id)
	if !ok || s.Scope != scope {
		return app.Subnet{}, notFound("InvalidSubnetID.NotFound", "subnet ID", string(id))
	}
	return s, nil
}

func detailSubnet(tx *store.Tx, s app.Subnet) SubnetDetail {
	out := SubnetDetail{Subnet: s, Tags: Tags(tx, string(s.ID)), Free: eni.Free(tx, s)}
	for _, zone := range Zones(s.Scope.Region) {
		if zone.Name == s.Zone {
			out.ZoneID = zone.ID
		}
	}
	return out
}

// newSubnet writes a subnet, which the default ACL of its VPC then guards.
func (c *EC2) newSubnet(tx *store.Tx, s app.Subnet) app.Subnet {
	s.ID = app.SubnetID(c.cfg.IDs.Prefixed("subnet"))
	s.HostnameType = "ip-name"
	s.CreatedAt = c.now()
	store.Control.Subnets.Put(tx, s)
	acl := defaultACL(tx, s.VPC)
	acl.Associations = append(slices.Clone(acl.Associations), app.ACLAssociation{ID: app.AssociationID(c.cfg.IDs.Prefixed("aclassoc")), Subnet: s.ID})
	store.Control.NetworkACLs.Put(tx, acl)
	return s
}

// CreateSubnetInput says what subnet to make.
type CreateSubnetInput struct {
	VPC  app.VPCID
	CIDR string
	// Zone or ZoneID names the zone; neither = the one where the VPC has the fewest subnets.
	Zone, ZoneID string
	Tags         app.Tags
}

// CreateSubnet makes a subnet in a free part of its VPC.
func (c *EC2) CreateSubnet(ctx context.Context, scope app.Scope, in CreateSubnetInput) (SubnetDetail, error) {
	if in.CIDR == "" {
		return SubnetDetail{}, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter CidrBlock")
	}
	block, err := parseBlock("cidrBlock", in.CIDR)
	if err != nil {
		return SubnetDetail{}, err
	}
	if err := checkTags(in.Tags); err != nil {
		return SubnetDetail{}, err
	}
	var out SubnetDetail
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, in.VPC)
		if err != nil {
			return err
		}
		zone, err := chooseZone(tx, v, in.Zone, in.ZoneID)
		if err != nil {
			return err
		}
		if err := c.checkSubnet(tx, v, block); err != nil {
			return err
		}
		s := c.newSubnet(tx, app.Subnet{Scope: scope, VPC: v.ID, CIDR: block, Zone: zone})
		putTags(tx, string(s.ID), in.Tags)
		out = detailSubnet(tx, s)
		return nil
	})
	return out, err
}

// checkSubnet refuses a block that is no free part of the VPC, and a subnet too many.
func (c *EC2) checkSubnet(tx *store.Tx, v app.VPC, block netip.Prefix) error {
	inside := func(b netip.Prefix) bool { return b.Bits() <= block.Bits() && b.Contains(block.Addr()) }
	switch {
	case block.Bits() < minBlockBits || block.Bits() > maxBlockBits:
		return fail(app.KindInvalidRequest, "InvalidSubnet.Range", "The CIDR '%s' is invalid: a subnet's block is between /%d and /%d", block, minBlockBits, maxBlockBits)
	case !slices.ContainsFunc(v.Blocks(), inside):
		return fail(app.KindInvalidRequest, "InvalidSubnet.Range", "The CIDR '%s' is invalid: it is not inside of %s, the blocks of %s", block, joined(v.Blocks()), v.ID)
	}
	n := 0
	for other := range store.SubnetsByVPC.Each(tx, v.ID) {
		if other.CIDR.Overlaps(block) {
			return fail(app.KindInvalidRequest, "InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet: %s has %s", block, other.ID, other.CIDR)
		}
		n++
	}
	if n >= c.cfg.Quotas.SubnetsPerVPC {
		return fail(app.KindQuota, "SubnetLimitExceeded", "The maximum number of subnets has been reached: %s has %d. Delete one first", v.ID, n)
	}
	return nil
}

func joined(blocks []netip.Prefix) string {
	words := make([]string, len(blocks))
	for n, b := range blocks {
		words[n] = b.String()
	}
	return strings.Join(words, ", ")
}

// chooseZone finds the zone that was named by name or id.
func chooseZone(tx *store.Tx, v app.VPC, name, id string) (string, error) {
	zones := Zones(v.Scope.Region)
	if name != "" && id != "" {
		return "", fail(app.KindInvalidRequest, "InvalidParameterCombination", "AvailabilityZone and AvailabilityZoneId cannot both be given: leave one out")
	}
	names := make([]string, len(zones))
	for n, z := range zones {
		if z.Name == name || z.ID == id {
			return z.Name, nil
		}
		names[n] = z.Name
	}
	if name != "" || id != "" {
		return "", fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: %s.", name+id, strings.Join(names, ", "))
	}
	used := make(map[string]int, len(zones))
	for s := range store.SubnetsByVPC.Each(tx, v.ID) {
		used[s.Zone]++
	}
	return slices.MinFunc(names, func(a, b string) int { return used[a] - used[b] }), nil
}

// CreateDefaultSubnet makes the default subnet of a zone again after it was deleted.
func (c *EC2) CreateDefaultSubnet(ctx context.Context, scope app.Scope, zone string) (SubnetDetail, error) {
	var out SubnetDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		v, ok := defaultVPC(tx, scope)
		if !ok {
			return fail(app.KindNotFound, "DefaultVpcDoesNotExist", "No default VPC exists for this account in this region: make it with CreateDefaultVpc")
		}
		name, err := chooseZone(tx, v, zone, "")
		if err != nil {
			return err
		}
		for s := range store.SubnetsByVPC.Each(tx, v.ID) {
			if s.Default && s.Zone == name {
				return fail(app.KindExists, "DefaultSubnetAlreadyExistsInAvailabilityZone", "'%s' is already the default subnet in %s.", s.ID, name)
			}
		}
		block, ok := freeBlock(tx, v, defaultSubnetBits)
		if !ok {
			return fail(app.KindInvalidState, "InvalidSubnet.Conflict", "%s has no free block of /%d in %s: delete a subnet first", v.ID, defaultSubnetBits, v.CIDR)
		}
		if err := c.checkSubnet(tx, v, block); err != nil {
			return err
		}
		out = detailSubnet(tx, c.newSubnet(tx, app.Subnet{Scope: scope, VPC: v.ID, CIDR: block, Zone: name, Default: true, MapPublicIP: true}))
		return nil
	})
	return out, err
}

// freeBlock returns the first block of a length in the VPC's primary one that meets no subnet.
func freeBlock(tx *store.Tx, v app.VPC, bits int) (netip.Prefix, bool) {
	base := v.CIDR.Addr().As4()
	first := binary.BigEndian.Uint32(base[:])
	for n := range uint32(1) << (bits - v.CIDR.Bits()) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], first+n<<(32-bits))
		block := netip.PrefixFrom(netip.AddrFrom4(b), bits)
		if firstOf(tx, store.SubnetsByVPC, v.ID, func(s app.Subnet) string {
			if s.CIDR.Overlaps(block) {
				return string(s.ID)
			}
			return ""
		}) == "" {
			return block, true
		}
	}
	return netip.Prefix{}, false
}

// DescribeSubnets returns all subnets, by id.
func (c *EC2) DescribeSubnets(ctx context.Context, scope app.Scope) (out []SubnetDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for s := range store.SubnetsByScope.Each(tx, scope) {
			out = append(out, detailSubnet(tx, s))
		}
		return nil
	})
	return out, err
}

// SubnetAttributes are those that ModifySubnetAttribute can set; nil leaves one as it is.
type SubnetAttributes struct {
	MapPublicIP, HostnameA *bool
	HostnameType           *string
}

// ModifySubnetAttribute changes attributes of a subnet.
func (c *EC2) ModifySubnetAttribute(ctx context.Context, scope app.Scope, id app.SubnetID, in SubnetAttributes) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		s, err := findSubnet(tx, scope, id)
		if err != nil {
			return err
		}
		set(&s.MapPublicIP, in.MapPublicIP)
		set(&s.HostnameA, in.HostnameA)
		set(&s.HostnameType, in.HostnameType)
		store.Control.Subnets.Put(tx, s)
		return nil
	})
}

// DeleteSubnet removes a subnet in which nothing has an address and that no connector names.
func (c *EC2) DeleteSubnet(ctx context.Context, scope app.Scope, id app.SubnetID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		s, err := findSubnet(tx, scope, id)
		if err != nil {
			return err
		}
		if ni, ok := store.NetworkInterfacesBySubnet.First(tx, id); ok {
			return dependency("subnet", string(id), "The network interface %s has an address in it: delete it, or what it belongs to, first", ni.ID)
		}
		for connector := range store.VPCConnectorsByScope.Each(tx, scope) {
			if connector.DeletedAt.IsZero() && slices.Contains(connector.Subnets, id) {
				return dependency("subnet", string(id), "The App Runner VPC connector %s names it: delete the connector first", connector.Name)
			}
		}
		for t := range store.RouteTablesByVPC.Each(tx, s.VPC) {
			left := slices.DeleteFunc(slices.Clone(t.Associations), func(a app.TableAssociation) bool { return a.Subnet == id })
			if len(left) < len(t.Associations) {
				t.Associations = left
				store.Control.RouteTables.Put(tx, t)
			}
		}
		for a := range store.NetworkACLsByVPC.Each(tx, s.VPC) {
			left := slices.DeleteFunc(slices.Clone(a.Associations), func(x app.ACLAssociation) bool { return x.Subnet == id })
			if len(left) < len(a.Associations) {
				a.Associations = left
				store.Control.NetworkACLs.Put(tx, a)
			}
		}
		deleteFlowLogs(tx, scope, string(id))
		store.Control.Subnets.Delete(tx, id)
		deleteTags(tx, string(id))
		return nil
	})
}
