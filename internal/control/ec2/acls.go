package ec2

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// ACLDetail is a network ACL with its tags.
type ACLDetail struct {
	app.NetworkACL
	Tags app.Tags
}

// findACL finds a network ACL of the scope.
func findACL(tx *store.Tx, scope app.Scope, id app.NetworkACLID) (app.NetworkACL, error) {
	a, ok := store.NetworkACLs.Get(tx, id)
	if !ok || a.Scope != scope {
		return app.NetworkACL{}, notFound("InvalidNetworkAclID.NotFound", "networkAcl ID", string(id))
	}
	return a, nil
}

// CreateACL makes a network ACL that lets nothing pass; the same token again returns the one that it made.
func (c *EC2) CreateACL(ctx context.Context, scope app.Scope, vpc app.VPCID, token string, tags app.Tags) (ACLDetail, error) {
	if err := checkTags(tags); err != nil {
		return ACLDetail{}, err
	}
	var out ACLDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, vpc)
		if err != nil {
			return err
		}
		for a := range store.NetworkACLsByScope.Each(tx, scope) {
			if token != "" && a.ClientToken == token {
				if a.VPC != vpc {
					return mismatch(token)
				}
				out = ACLDetail{a, Tags(tx, string(a.ID))}
				return nil
			}
		}
		if n := count(store.NetworkACLsByVPC.Each(tx, vpc)); n >= c.cfg.Quotas.ACLsPerVPC {
			return fail(app.KindQuota, "NetworkAclLimitExceeded", "The maximum number of network ACLs has been reached: %s has %d. Delete one first", vpc, n)
		}
		a := c.newACL(tx, v, false)
		a.ClientToken = token
		store.Control.NetworkACLs.Put(tx, a)
		putTags(tx, string(a.ID), tags)
		out = ACLDetail{a, tags}
		return nil
	})
	return out, err
}

// DescribeACLs returns all network ACLs, by id.
func (c *EC2) DescribeACLs(ctx context.Context, scope app.Scope) (out []ACLDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for a := range store.NetworkACLsByScope.Each(tx, scope) {
			out = append(out, ACLDetail{a, Tags(tx, string(a.ID))})
		}
		return nil
	})
	return out, err
}

// DeleteACL removes a network ACL that is not the default one and that no subnet names.
func (c *EC2) DeleteACL(ctx context.Context, scope app.Scope, id app.NetworkACLID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		a, err := findACL(tx, scope, id)
		switch {
		case err != nil:
			return err
		case a.Default:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "cannot delete default network ACL %s: it goes with %s", id, a.VPC)
		case len(a.Associations) > 0:
			return dependency("networkAcl", string(id), "It guards %s: replace association %s first", a.Associations[0].Subnet, a.Associations[0].ID)
		}
		store.Control.NetworkACLs.Delete(tx, id)
		deleteTags(tx, string(id))
		return nil
	})
}

// ACLEntryInput is an entry as a caller writes it.
type ACLEntryInput struct {
	Number        int
	Egress, Allow bool
	Protocol      string // a number or a name
	CIDR          string // IPv4 or IPv6; nothing inside a VPC matches IPv6
	Family        string // what CIDR has to be, IPv4 or IPv6; "" = either
	// From and To are ports, Type and Code those of ICMP; nil = not given.
	From, To, Type, Code *int
}

func checkNumber(number int) error {
	if number < 1 || number >= finalRule {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%d) for parameter ruleNumber is invalid: give a number from 1 to %d", number, finalRule-1)
	}
	return nil
}

// entry checks what a caller wrote.
func (in ACLEntryInput) entry() (app.ACLEntry, error) {
	e := app.ACLEntry{Number: in.Number, Egress: in.Egress, Allow: in.Allow, FromPort: allPorts, ToPort: allPorts}
	err := checkNumber(in.Number)
	if err != nil {
		return e, err
	}
	if in.CIDR == "" {
		return e, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter CidrBlock or Ipv6CidrBlock")
	}
	e.CIDR, err = netip.ParsePrefix(in.CIDR)
	if err != nil || in.Family != "" && (in.Family == "IPv4") != e.CIDR.Addr().Is4() {
		return e, fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block: give %s", in.CIDR, blockExample(in.Family))
	}
	e.CIDR = e.CIDR.Masked()
	if e.Protocol, err = ParseProtocol(in.Protocol); err != nil {
		return e, err
	}
	switch e.Protocol {
	case 6, 17:
		e.FromPort, e.ToPort, err = in.ports()
	case 1, 58:
		e.FromPort, e.ToPort, err = in.icmp()
	}
	return e, err
}

func (in ACLEntryInput) ports() (from, to int, err error) {
	if in.From == nil || in.To == nil {
		return 0, 0, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter PortRange with From and To, because the protocol is %s", in.Protocol)
	}
	from, to = *in.From, *in.To
	if from < 0 || to > 65535 || from > to {
		return 0, 0, fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d): give ports from 0 to 65535, the lower one first", from, to)
	}
	return from, to, nil
}

func (in ACLEntryInput) icmp() (kind, code int, err error) {
	if in.Type == nil {
		return 0, 0, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter IcmpTypeCode, because the protocol is %s", in.Protocol)
	}
	kind, code = *in.Type, allPorts
	set(&code, in.Code)
	if kind < -1 || kind > 255 || code < -1 || code > 255 || kind == -1 && code != -1 {
		return 0, 0, fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid ICMP type and code (%d:%d): give numbers from 0 to 255, or -1 for all; all types have all codes", kind, code)
	}
	return kind, code, nil
}

func entryIndex(a app.NetworkACL, number int, egress bool) int {
	return slices.IndexFunc(a.Entries, func(e app.ACLEntry) bool { return e.Number == number && e.Egress == egress })
}

func noEntry(number int) error {
	return fail(app.KindNotFound, "InvalidNetworkAclEntry.NotFound", "The network acl entry identified by %d does not exist in that direction", number)
}

// CreateACLEntry adds an entry.
func (c *EC2) CreateACLEntry(ctx context.Context, scope app.Scope, id app.NetworkACLID, in ACLEntryInput) error {
	e, err := in.entry()
	if err != nil {
		return err
	}
	return c.changeACL(ctx, scope, id, func(a *app.NetworkACL) error {
		if entryIndex(*a, e.Number, e.Egress) >= 0 {
			return fail(app.KindExists, "NetworkAclEntryAlreadyExists", "The network acl entry identified by %d already exists. Replace or delete it", e.Number)
		}
		n := 0
		for _, other := range a.Entries {
			if other.Egress == e.Egress && other.Number != finalRule {
				n++
			}
		}
		if n >= c.cfg.Quotas.EntriesPerACL {
			return fail(app.KindQuota, "NetworkAclEntryLimitExceeded", "The maximum number of network ACL entries has been reached: %s has %d in that direction. Delete one first", id, n)
		}
		a.Entries = append(a.Entries, e)
		return nil
	})
}

// ReplaceACLEntry changes the entry with that number and direction.
func (c *EC2) ReplaceACLEntry(ctx context.Context, scope app.Scope, id app.NetworkACLID, in ACLEntryInput) error {
	e, err := in.entry()
	if err != nil {
		return err
	}
	return c.changeACL(ctx, scope, id, func(a *app.NetworkACL) error {
		n := entryIndex(*a, e.Number, e.Egress)
		if n < 0 {
			return noEntry(e.Number)
		}
		a.Entries[n] = e
		return nil
	})
}

// DeleteACLEntry removes the entry with that number and direction; the final ones stay.
func (c *EC2) DeleteACLEntry(ctx context.Context, scope app.Scope, id app.NetworkACLID, number int, egress bool) error {
	if err := checkNumber(number); err != nil {
		return err
	}
	return c.changeACL(ctx, scope, id, func(a *app.NetworkACL) error {
		n := entryIndex(*a, number, egress)
		if n < 0 {
			return noEntry(number)
		}
		a.Entries = slices.Delete(a.Entries, n, n+1)
		return nil
	})
}

// changeACL changes a copy of the entries and keeps their order.
func (c *EC2) changeACL(ctx context.Context, scope app.Scope, id app.NetworkACLID, change func(*app.NetworkACL) error) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		a, err := findACL(tx, scope, id)
		if err != nil {
			return err
		}
		a.Entries = slices.Clone(a.Entries)
		if err := change(&a); err != nil {
			return err
		}
		slices.SortFunc(a.Entries, func(x, y app.ACLEntry) int {
			if x.Egress != y.Egress {
				if y.Egress {
					return -1
				}
				return 1
			}
			return cmp.Compare(x.Number, y.Number)
		})
		store.Control.NetworkACLs.Put(tx, a)
		return nil
	})
}

// ReplaceACLAssociation makes another network ACL guard a subnet.
func (c *EC2) ReplaceACLAssociation(ctx context.Context, scope app.Scope, id app.AssociationID, acl app.NetworkACLID) (app.AssociationID, error) {
	made := app.AssociationID("")
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		to, err := findACL(tx, scope, acl)
		if err != nil {
			return err
		}
		for old := range store.NetworkACLsByScope.Each(tx, scope) {
			n := slices.IndexFunc(old.Associations, func(a app.ACLAssociation) bool { return a.ID == id })
			if n < 0 {
				continue
			}
			if old.VPC != to.VPC {
				return fail(app.KindInvalidRequest, "InvalidParameterValue", "Network ACL %s and association %s belong to different networks: %s and %s", acl, id, to.VPC, old.VPC)
			}
			moved := old.Associations[n]
			moved.ID = app.AssociationID(c.cfg.IDs.Prefixed("aclassoc"))
			old.Associations = slices.Delete(slices.Clone(old.Associations), n, n+1)
			store.Control.NetworkACLs.Put(tx, old)
			to, _ = store.NetworkACLs.Get(tx, acl) // again: it may be the same one
			to.Associations = append(slices.Clone(to.Associations), moved)
			store.Control.NetworkACLs.Put(tx, to)
			made = moved.ID
			return nil
		}
		return notFound("InvalidAssociationID.NotFound", "association ID", string(id))
	})
	return made, err
}
