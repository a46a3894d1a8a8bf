package vpc

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Layout divides an install's managed range: sixteen addresses for the install itself, the rest one per instance.
type Layout struct{ prefix netip.Prefix }

const reservedAddresses = 16

// NewLayout returns the division of prefix, an IPv4 range between /16 and /27 inside 100.64.0.0/10.
func NewLayout(prefix netip.Prefix) (Layout, error) {
	shared := netip.MustParsePrefix("100.64.0.0/10")
	if !prefix.IsValid() || !prefix.Addr().Is4() || prefix != prefix.Masked() || !shared.Contains(prefix.Addr()) {
		return Layout{}, fmt.Errorf("cannot use managed prefix %v: expected an IPv4 range inside %v without host bits", prefix, shared)
	}
	if prefix.Bits() < 16 || prefix.Bits() > 27 {
		return Layout{}, fmt.Errorf("cannot use managed prefix %v: expected a length between /16 and /27", prefix)
	}
	return Layout{prefix}, nil
}

// Prefix returns the whole managed range.
func (l Layout) Prefix() netip.Prefix { return l.prefix }

// Gateway is the address that instances route to; the router's connections to instances come from it.
func (l Layout) Gateway() netip.Addr { return l.at(1) }

// Resolver is the address that answers names.
func (l Layout) Resolver() netip.Addr { return l.at(2) }

// Door is the front door's address as instances see it.
func (l Layout) Door() netip.Addr { return l.at(3) }

// DoorCaller is the constant peer address of every connection that an instance makes to the front door.
func (l Layout) DoorCaller() netip.Addr { return l.at(4) }

// Slots is the number of instances that fit.
func (l Layout) Slots() int { return 1<<(32-l.prefix.Bits()) - reservedAddresses }

// Address returns the address of an instance's slot, Interface.Index.
func (l Layout) Address(index int) (netip.Addr, error) {
	if index < 0 || index >= l.Slots() {
		return netip.Addr{}, fmt.Errorf("cannot place index %d: the managed prefix %v has slots 0 to %d", index, l.prefix, l.Slots()-1)
	}
	return l.at(uint32(reservedAddresses + index)), nil
}

// Holds reports whether an address can be an instance's.
func (l Layout) Holds(a netip.Addr) bool {
	return l.prefix.Contains(a) && !a.Less(l.at(reservedAddresses))
}

func (l Layout) at(n uint32) netip.Addr {
	b := l.prefix.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n)
	return netip.AddrFrom4(b)
}
