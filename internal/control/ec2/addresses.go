package ec2

import (
	"context"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// publicRange is what Elastic IPs are taken from. It is for tests of networks (RFC 2544), so nobody's host has such an
// address; the outside sees the address of this machine.
var publicRange = netip.MustParsePrefix("198.18.0.0/15")

// AddressDetail is an Elastic IP with its tags and the private host that has it, "" = none.
type AddressDetail struct {
	app.ElasticIP
	Host app.HostID
	Tags app.Tags
}

// findAddress finds an Elastic IP of the scope.
func findAddress(tx *store.Tx, scope app.Scope, id app.AllocationID) (app.ElasticIP, error) {
	e, ok := store.ElasticIPs.Get(tx, id)
	if !ok || e.Scope != scope || e.Launched {
		return app.ElasticIP{}, notFound("InvalidAllocationID.NotFound", "allocation ID", string(id))
	}
	return e, nil
}

// AddressRef names an Elastic IP by its id or by the address.
type AddressRef struct {
	Allocation app.AllocationID
	Address    string
}

func (r AddressRef) find(tx *store.Tx, scope app.Scope) (app.ElasticIP, error) {
	switch {
	case r.Allocation != "" && r.Address != "":
		return app.ElasticIP{}, fail(app.KindInvalidRequest, "InvalidParameterCombination", "You may specify public IP or allocation id, but not both in the same call")
	case r.Allocation != "":
		return findAddress(tx, scope, r.Allocation)
	case r.Address == "":
		return app.ElasticIP{}, fail(app.KindInvalidRequest, "MissingParameter", "Either public IP or allocation id must be specified")
	}
	for e := range store.ElasticIPsByScope.Each(tx, scope) {
		if e.Address.String() == r.Address && !e.Launched {
			return e, nil
		}
	}
	return app.ElasticIP{}, MissingAddress(r.Address)
}

// MissingAddress is the error for a public address that is not the account's.
func MissingAddress(address string) error {
	return fail(app.KindNotFound, "InvalidAddress.NotFound", "Address '%s' not found.", address)
}

func detailAddress(tx *store.Tx, e app.ElasticIP) AddressDetail {
	out := AddressDetail{ElasticIP: e, Tags: Tags(tx, string(e.ID))}
	if ni, ok := store.NetworkInterfaces.Get(tx, e.Interface); ok && strings.HasPrefix(ni.Owner, "i-") {
		out.Host = app.HostID(ni.Owner)
	}
	return out
}

// AllocateAddress gives the account a public address: the wanted one, "" = any.
func (c *EC2) AllocateAddress(ctx context.Context, scope app.Scope, wanted string, tags app.Tags) (AddressDetail, error) {
	if err := checkTags(tags); err != nil {
		return AddressDetail{}, err
	}
	out := AddressDetail{Tags: tags}
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if n := held(tx, scope); n >= c.cfg.Quotas.ElasticIPs {
			return fail(app.KindQuota, "AddressLimitExceeded", "The maximum number of addresses has been reached: there are %d in %s. Release one first", n, scope.Region)
		}
		address, err := c.freeAddress(tx, wanted)
		if err != nil {
			return err
		}
		out.ElasticIP = app.ElasticIP{ID: app.AllocationID(c.cfg.IDs.Prefixed("eipalloc")), Scope: scope, Address: address, CreatedAt: c.now()}
		store.Control.ElasticIPs.Put(tx, out.ElasticIP)
		putTags(tx, string(out.ID), tags)
		return nil
	})
	return out, err
}

// held counts the Elastic IPs of the account.
func held(tx *store.Tx, scope app.Scope) (n int) {
	for e := range store.ElasticIPsByScope.Each(tx, scope) {
		if !e.Launched {
			n++
		}
	}
	return n
}

// launchAddress gives the primary address of a new host a public one, which the account does not hold.
func (c *EC2) launchAddress(tx *store.Tx, ni app.NetworkInterface) error {
	address, err := c.freeAddress(tx, "")
	if err != nil {
		return err
	}
	e := app.ElasticIP{ID: app.AllocationID(c.cfg.IDs.Prefixed("eipalloc")), Scope: ni.Scope, Address: address, Launched: true, CreatedAt: c.now()}
	c.mapAddress(tx, e, ni, ni.Addresses[0])
	return nil
}

// freeAddress picks a public address from a random place on, so that one that was just released is not used at once.
func (c *EC2) freeAddress(tx *store.Tx, wanted string) (netip.Addr, error) {
	taken := map[netip.Addr]bool{}
	for e := range store.ElasticIPs.All(tx) {
		taken[e.Address] = true
	}
	if wanted != "" {
		a, err := netip.ParseAddr(wanted)
		if err != nil || !publicRange.Contains(a) || taken[a] {
			return a, fail(app.KindNotFound, "InvalidAddress.NotFound", "Address '%s' not found: it is taken or not of %s. Leave Address out to get one that is free", wanted, publicRange)
		}
		return a, nil
	}
	first, size := publicRange.Addr().As4(), uint64(1)<<(32-publicRange.Bits())
	from, err := strconv.ParseUint(c.cfg.IDs.Hex(8), 16, 32)
	if err != nil {
		panic("ec2: no hexadecimal digits: " + err.Error())
	}
	for n := range size {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(first[:])+uint32((from+n)%size))
		if a := netip.AddrFrom4(b); !taken[a] {
			return a, nil
		}
	}
	return netip.Addr{}, fail(app.KindUnavailable, "InsufficientAddressCapacity", "Insufficient capacity: all %d addresses of %s are taken", size, publicRange)
}

// DescribeAddresses returns all Elastic IPs, by id.
func (c *EC2) DescribeAddresses(ctx context.Context, scope app.Scope) (out []AddressDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for e := range store.ElasticIPsByScope.Each(tx, scope) {
			if !e.Launched {
				out = append(out, detailAddress(tx, e))
			}
		}
		return nil
	})
	return out, err
}

// AssociateInput says which private address an Elastic IP is to stand for.
type AssociateInput struct {
	AddressRef
	// Host or Interface has the address; Private is which, "" = its primary one.
	Host      app.HostID
	Interface app.InterfaceID
	Private   string
	// Keep refuses to take an Elastic IP from where it is associated.
	Keep bool
}

// AssociateAddress makes an Elastic IP stand for a private address; one that stood for it before no longer does.
func (c *EC2) AssociateAddress(ctx context.Context, scope app.Scope, in AssociateInput) (id app.AssociationID, err error) {
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		e, err := in.find(tx, scope)
		if err != nil {
			return err
		}
		ni, err := in.target(tx, scope)
		if err != nil {
			return err
		}
		private := ni.Addresses[0]
		if in.Private != "" {
			a, err := netip.ParseAddr(in.Private)
			if err != nil || !holds(ni, a) {
				return fail(app.KindInvalidRequest, "InvalidParameterValue", "The private IP address %s is not assigned to interface %s", in.Private, ni.ID)
			}
			private = a
		}
		if e.Interface == ni.ID && e.Private == private {
			id = e.Association
			return nil
		}
		if e.Interface != "" && in.Keep {
			return fail(app.KindInvalidState, "Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s, and AllowReassociation is false", e.ID, e.Association)
		}
		if err := mayUnmap(tx, e); err != nil {
			return err
		}
		if _, err := attachedGateway(tx, ni.VPC); err != nil {
			return err
		}
		for other := range store.ElasticIPsByScope.Each(tx, scope) {
			if other.Interface == ni.ID && other.Private == private {
				eni.UnmapOne(tx, other)
			}
		}
		id = c.mapAddress(tx, e, ni, private).Association
		return nil
	})
	return id, err
}

// target finds the interface that is to have the address.
func (in AssociateInput) target(tx *store.Tx, scope app.Scope) (app.NetworkInterface, error) {
	switch {
	case in.Interface != "" && in.Host != "":
		return app.NetworkInterface{}, fail(app.KindInvalidRequest, "InvalidParameterCombination", "You may specify NetworkInterfaceId or InstanceId, but not both in the same call")
	case in.Interface != "":
		ni, err := findInterface(tx, scope, in.Interface)
		if err == nil {
			err = mayManage(ni)
		}
		return ni, err
	case in.Host == "":
		return app.NetworkInterface{}, fail(app.KindInvalidRequest, "MissingParameter", "Either NetworkInterfaceId or InstanceId must be specified")
	}
	return onlyInterface(tx, scope, in.Host)
}

func holds(ni app.NetworkInterface, a netip.Addr) bool {
	for _, have := range ni.Addresses {
		if have == a {
			return true
		}
	}
	return false
}

// mapAddress writes that an Elastic IP stands for an address of an interface.
func (c *EC2) mapAddress(tx *store.Tx, e app.ElasticIP, ni app.NetworkInterface, private netip.Addr) app.ElasticIP {
	e.Interface, e.Private, e.Association = ni.ID, private, app.AssociationID(c.cfg.IDs.Prefixed("eipassoc"))
	store.Control.ElasticIPs.Put(tx, e)
	return e
}

// mayUnmap refuses to take an Elastic IP from a NAT gateway.
func mayUnmap(tx *store.Tx, e app.ElasticIP) error {
	if ni, ok := store.NetworkInterfaces.Get(tx, e.Interface); ok && ni.Kind == app.InterfaceOfNAT {
		return fail(app.KindDenied, "AuthFailure", "You do not have permission to access the specified resource: %s belongs to %s. Delete that first", e.ID, ni.Owner)
	}
	return nil
}

// DisassociateAddress takes an Elastic IP from where it is, found by its association or by its address.
func (c *EC2) DisassociateAddress(ctx context.Context, scope app.Scope, id app.AssociationID, address string) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		var e app.ElasticIP
		if id == "" {
			found, err := AddressRef{Address: address}.find(tx, scope)
			if err != nil {
				return err
			}
			e = found
		} else {
			for other := range store.ElasticIPsByScope.Each(tx, scope) {
				if other.Association == id && !other.Launched {
					e = other
				}
			}
		}
		if e.Association == "" {
			return notFound("InvalidAssociationID.NotFound", "association ID", string(id)+address)
		}
		if err := mayUnmap(tx, e); err != nil {
			return err
		}
		eni.UnmapOne(tx, e)
		return nil
	})
}

// ReleaseAddress gives an Elastic IP back.
func (c *EC2) ReleaseAddress(ctx context.Context, scope app.Scope, ref AddressRef) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		e, err := ref.find(tx, scope)
		if err != nil {
			return err
		}
		if e.Interface != "" {
			return fail(app.KindInvalidState, "InvalidIPAddress.InUse", "Address %s (%s) is in use by %s: disassociate it first", e.Address, e.ID, e.Interface)
		}
		store.Control.ElasticIPs.Delete(tx, e.ID)
		deleteTags(tx, string(e.ID))
		return nil
	})
}
