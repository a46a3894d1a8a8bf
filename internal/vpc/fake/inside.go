package fake

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

const protocolTCP = 6

var _ vpc.Inside = (*Dataplane)(nil)

// DialFrom implements vpc.Inside: the programmed ruleset judges the first packet. What it drops fails at once, as no test
// should wait for silence.
func (d *Dataplane) DialFrom(ctx context.Context, id app.InterfaceID, addr netip.AddrPort) (net.Conn, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	d.k.mu.Lock()
	at, err := d.k.reach(id, addr)
	d.k.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("cannot dial %v from %s: %w", addr, id, err)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
}

// reach finds what listens at an address of the instance's VPC.
func (k *Kernel) reach(id app.InterfaceID, addr netip.AddrPort) (netip.AddrPort, error) {
	from, ok := k.attached[id]
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("interface %s is not attached", id)
	}
	if len(from.ENIs) == 0 {
		return netip.AddrPort{}, fmt.Errorf("nothing is outside")
	}
	e := from.ENIs[0]
	if k.programmed == nil {
		return netip.AddrPort{}, fmt.Errorf("VPC %s is not programmed", e.VPC)
	}
	allowed, why := k.programmed.Allows(vpc.Packet{
		VPC: e.VPC, From: e.ID, Source: e.Addresses[0], Destination: addr.Addr(), Protocol: protocolTCP, DestinationPort: addr.Port(),
	})
	if !allowed {
		return netip.AddrPort{}, fmt.Errorf("connection timed out: %s", why.Text)
	}
	for _, other := range k.attached {
		for _, far := range other.ENIs {
			if far.VPC != e.VPC || !slices.Contains(far.Addresses, addr.Addr()) {
				continue
			}
			if at, ok := k.ports[other.ID][int(addr.Port())]; ok {
				return at, nil
			}
		}
	}
	return netip.AddrPort{}, fmt.Errorf("connection refused")
}

// LookupFrom implements vpc.Inside: it knows the install's names and those of the VPC.
func (d *Dataplane) LookupFrom(ctx context.Context, id app.InterfaceID, name string) ([]netip.Addr, error) {
	if err := d.usable(ctx); err != nil {
		return nil, err
	}
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	from, ok := d.k.attached[id]
	if !ok {
		return nil, fmt.Errorf("cannot look up %s: interface %s is not attached", name, id)
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if d.k.rules.DoorNames != nil && d.k.rules.DoorNames(name) {
		return []netip.Addr{d.k.layout.Door()}, nil
	}
	if len(from.ENIs) > 0 && d.k.programmed != nil {
		if n := d.k.programmed.Networks[from.ENIs[0].VPC]; n != nil && n.DNS != nil && len(n.DNS.Names[name]) > 0 {
			return slices.Clone(n.DNS.Names[name]), nil
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}
