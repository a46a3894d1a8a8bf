// Package eni gives out private addresses and makes and removes the rows of network interfaces, inside the caller's
// transaction. Whoever needs an interface (App Runner instances, private hosts, NAT gateways, endpoints, users)
// gets it here. Errors are *app.Error with EC2's codes.
package eni

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/store"
)

// Reserved addresses of a subnet: base, router, resolver, future use and the last one (VPC guide, "Subnet sizing").
const (
	reservedFirst = 4
	reservedLast  = 1
)

// MaxAddresses bounds the private addresses of one interface.
const MaxAddresses = 50

// New describes an interface to make.
type New struct {
	Scope  app.Scope
	Kind   app.InterfaceKind
	Subnet app.SubnetID
	// Addresses are wanted, the primary one first; where there are fewer than Count, free ones are added. Count 0 = 1.
	Addresses []netip.Addr
	Count     int
	// Groups carry the rules; none = the VPC's default group. NAT gateways have none at all.
	Groups      []app.GroupID
	Description string
	Owner       string
	ClientToken string
	Attachment  app.AttachmentENI
}

// Create writes the row of a new interface, which checks the source of what it sends unless it is a NAT gateway's.
func Create(tx *store.Tx, ids id.Source, now time.Time, n New) (app.NetworkInterface, error) {
	subnet, ok := store.Subnets.Get(tx, n.Subnet)
	if !ok || subnet.Scope != n.Scope {
		return app.NetworkInterface{}, fail(app.KindNotFound, "InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", n.Subnet)
	}
	nat := n.Kind == app.InterfaceOfNAT
	var groups []app.GroupID
	if !nat {
		var err error
		if groups, err = checkGroups(tx, subnet, n.Groups); err != nil {
			return app.NetworkInterface{}, err
		}
	}
	ni := app.NetworkInterface{
		ID: app.InterfaceID(ids.Prefixed("eni")), Scope: n.Scope, Kind: n.Kind, VPC: subnet.VPC, Subnet: subnet.ID, Zone: subnet.Zone,
		Groups: groups, MAC: mac(ids), SourceDestCheck: !nat, Description: n.Description,
		Owner: n.Owner, Attachment: n.Attachment, ClientToken: n.ClientToken, CreatedAt: now,
	}
	return place(tx, ids, subnet, ni, n.Addresses, max(n.Count, len(n.Addresses), 1))
}

// Assign gives further addresses to an interface: those that are named, then free ones up to count more in all.
func Assign(tx *store.Tx, ids id.Source, ni app.NetworkInterface, addresses []netip.Addr, count int) (app.NetworkInterface, error) {
	subnet, ok := store.Subnets.Get(tx, ni.Subnet)
	if !ok {
		return ni, fail(app.KindNotFound, "InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", ni.Subnet)
	}
	return place(tx, ids, subnet, ni, addresses, max(count, len(addresses)))
}

// Unassign takes addresses, and the Elastic IPs that stand for them, from an interface; its primary address stays.
func Unassign(tx *store.Tx, ni app.NetworkInterface, addresses []netip.Addr) (app.NetworkInterface, error) {
	for _, a := range addresses {
		switch i := slices.Index(ni.Addresses, a); i {
		case -1:
			return ni, fail(app.KindInvalidRequest, "InvalidParameterValue", "Some of the specified addresses are not assigned to interface %s: %s", ni.ID, a)
		case 0:
			return ni, fail(app.KindInvalidRequest, "InvalidParameterValue", "%s is the primary address of interface %s and cannot be unassigned", a, ni.ID)
		}
	}
	Unmap(tx, ni, addresses)
	ni.Addresses = slices.DeleteFunc(slices.Clone(ni.Addresses), func(a netip.Addr) bool { return slices.Contains(addresses, a) })
	store.Control.NetworkInterfaces.Put(tx, ni)
	return ni, nil
}

// Delete removes an interface, its tags, its flow logs and its hold on Elastic IPs; an unknown one is fine.
func Delete(tx *store.Tx, id app.InterfaceID) {
	ni, ok := store.NetworkInterfaces.Get(tx, id)
	if !ok {
		return
	}
	Unmap(tx, ni, ni.Addresses)
	for l := range store.FlowLogsByScope.Each(tx, ni.Scope) {
		if l.Resource == string(id) {
			store.Control.FlowLogs.Delete(tx, l.ID)
			store.Control.TagSets.Delete(tx, app.Resource(l.ID))
		}
	}
	store.Control.NetworkInterfaces.Delete(tx, id)
	store.Control.TagSets.Delete(tx, app.Resource(id))
}

// Unmap takes Elastic IPs from addresses of an interface.
func Unmap(tx *store.Tx, ni app.NetworkInterface, addresses []netip.Addr) {
	for e := range store.ElasticIPsByScope.Each(tx, ni.Scope) {
		if e.Interface == ni.ID && slices.Contains(addresses, e.Private) {
			UnmapOne(tx, e)
		}
	}
}

// UnmapOne takes an Elastic IP from its interface; one that came with a host's launch is gone then.
func UnmapOne(tx *store.Tx, e app.ElasticIP) {
	if e.Launched {
		store.Control.ElasticIPs.Delete(tx, e.ID)
		return
	}
	e.Interface, e.Private, e.Association = "", netip.Addr{}, ""
	store.Control.ElasticIPs.Put(tx, e)
}

// Free is the number of addresses that the subnet has left, EC2's AvailableIpAddressCount.
func Free(tx *store.Tx, subnet app.Subnet) int {
	return size(subnet.CIDR) - reservedFirst - reservedLast - len(used(tx, subnet.ID))
}

// place adds count addresses to an interface and writes it.
func place(tx *store.Tx, ids id.Source, subnet app.Subnet, ni app.NetworkInterface, wanted []netip.Addr, count int) (app.NetworkInterface, error) {
	if len(ni.Addresses)+count > MaxAddresses {
		return ni, fail(app.KindQuota, "PrivateIpAddressLimitExceeded", "An interface may have %d private addresses; %d were asked for", MaxAddresses, len(ni.Addresses)+count)
	}
	taken := used(tx, subnet.ID)
	ni.Addresses = slices.Clone(ni.Addresses)
	for _, a := range wanted {
		if err := check(subnet, a); err != nil {
			return ni, err
		}
		if taken[a] {
			return ni, fail(app.KindExists, "InvalidIPAddress.InUse", "The address %s is in use in subnet %s; choose another one or leave it out", a, subnet.ID)
		}
		taken[a] = true
		ni.Addresses = append(ni.Addresses, a)
	}
	for range count - len(wanted) {
		a, ok := free(ids, subnet, taken)
		if !ok {
			return ni, fail(app.KindUnavailable, "InsufficientFreeAddressesInSubnet", "Subnet %s (%s) has no free address left; remove interfaces or use another subnet", subnet.ID, subnet.CIDR)
		}
		taken[a] = true
		ni.Addresses = append(ni.Addresses, a)
	}
	store.Control.NetworkInterfaces.Put(tx, ni)
	return ni, nil
}

// free picks an address from a random place on, so that one that was just released is not used again at once.
func free(ids id.Source, subnet app.Subnet, taken map[netip.Addr]bool) (netip.Addr, bool) {
	usable := size(subnet.CIDR) - reservedFirst - reservedLast
	from, err := strconv.ParseUint(ids.Hex(8), 16, 32)
	if err != nil {
		panic("eni: no hexadecimal digits: " + err.Error())
	}
	for n := range usable {
		a := at(subnet.CIDR, reservedFirst+(int(from)%usable+n)%usable)
		if !taken[a] {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// check refuses addresses that a subnet does not give out.
func check(subnet app.Subnet, a netip.Addr) error {
	if !a.Is4() || !subnet.CIDR.Contains(a) {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "The address %s does not fall within the address range of subnet %s (%s)", a, subnet.ID, subnet.CIDR)
	}
	base, last := at(subnet.CIDR, reservedFirst), at(subnet.CIDR, size(subnet.CIDR)-reservedLast-1)
	if a.Less(base) || last.Less(a) {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "The address %s is in the reserved range of subnet %s (%s): use %s to %s", a, subnet.ID, subnet.CIDR, base, last)
	}
	return nil
}

// checkGroups returns the groups of an interface without repetitions; none means the default group of the subnet's VPC.
func checkGroups(tx *store.Tx, subnet app.Subnet, groups []app.GroupID) ([]app.GroupID, error) {
	if len(groups) == 0 {
		for g := range store.SecurityGroupsByVPC.Each(tx, subnet.VPC) {
			if g.Default {
				return []app.GroupID{g.ID}, nil
			}
		}
		return nil, fail(app.KindInvalidState, "InvalidGroup.NotFound", "VPC %s has no default security group; name a group", subnet.VPC)
	}
	var out []app.GroupID
	for _, id := range groups {
		g, ok := store.SecurityGroups.Get(tx, id)
		switch {
		case !ok || g.Scope != subnet.Scope:
			return nil, fail(app.KindNotFound, "InvalidGroup.NotFound", "The security group '%s' does not exist", id)
		case g.VPC != subnet.VPC:
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "Security group %s is of %s and subnet %s of %s: name groups of the subnet's VPC", id, g.VPC, subnet.ID, subnet.VPC)
		case !slices.Contains(out, id):
			out = append(out, id)
		}
	}
	return out, nil
}

// used are the addresses of a subnet that interfaces have.
func used(tx *store.Tx, subnet app.SubnetID) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for ni := range store.NetworkInterfacesBySubnet.Each(tx, subnet) {
		for _, a := range ni.Addresses {
			out[a] = true
		}
	}
	return out
}

func size(p netip.Prefix) int { return 1 << (32 - p.Bits()) }

func at(p netip.Prefix, n int) netip.Addr {
	b := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
	return netip.AddrFrom4(b)
}

// mac is a locally administered unicast address.
func mac(ids id.Source) string {
	h := ids.Hex(10)
	return fmt.Sprintf("02:%s:%s:%s:%s:%s", h[0:2], h[2:4], h[4:6], h[6:8], h[8:10])
}

func fail(kind app.Kind, code, format string, args ...any) error {
	e := app.Errorf(kind, "", format, args...)
	e.Code = code
	return e
}
