package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/vpc"
)

const (
	// ingressGroup marks the managed links of instances that have interfaces in VPCs: nothing new may come from them.
	ingressGroup = 1
	// managedTable routes what an instance with interfaces in VPCs sends from its managed address; managedTable+n what it
	// sends from its n-th further interface.
	managedTable = 100
	maxENIs      = 15
)

// eniLink is the router's end of an interface's link. Its alias says all of it but the index and the MAC address.
type eniLink struct {
	id    app.InterfaceID
	owner app.InterfaceID // the instance's managed interface
	// device is the number of the other end: 1 is eth1.
	device    int
	resolvers []netip.Addr
	index     int
	mac       string // of the instance's end; "" = not known
}

func (l *eniLink) alias() string {
	list := make([]string, len(l.resolvers))
	for i, a := range l.resolvers {
		list[i] = a.String()
	}
	return fmt.Sprintf("%s %s %d %s", l.id, l.owner, l.device, strings.Join(list, ","))
}

func parseAlias(s string) (l *eniLink, ok bool) {
	f := strings.Split(s, " ")
	if len(f) != 4 {
		return nil, false
	}
	l = &eniLink{id: app.InterfaceID(f[0]), owner: app.InterfaceID(f[1])}
	var err error
	if l.device, err = strconv.Atoi(f[2]); err != nil || checkInterfaceID(l.id) != nil || checkInterfaceID(l.owner) != nil {
		return nil, false
	}
	for _, part := range strings.FieldsFunc(f[3], func(r rune) bool { return r == ',' }) {
		a, err := netip.ParseAddr(part)
		if err != nil {
			return nil, false
		}
		l.resolvers = append(l.resolvers, a)
	}
	return l, true
}

// readLinks learns which interfaces have a link and brings it up; what was never finished is removed.
func (r *router) readLinks() error {
	list, err := r.h.LinkList()
	if err != nil {
		return fmt.Errorf("cannot list links: %w", err)
	}
	neighbours, err := r.h.NeighList(0, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("cannot list neighbours: %w", err)
	}
	macs := map[int]string{}
	for _, n := range neighbours {
		if n.State&netlink.NUD_PERMANENT != 0 {
			macs[n.LinkIndex] = n.HardwareAddr.String()
		}
	}
	old := r.links
	r.links = map[app.InterfaceID]*eniLink{}
	for _, k := range list {
		name := k.Attrs().Name
		if !strings.HasPrefix(name, linkPrefix) {
			continue
		}
		l, ok := parseAlias(k.Attrs().Alias)
		if !ok || linkName(l.id) != name {
			if err := deleteLink(r.h, name); err != nil {
				return err
			}
			continue
		}
		if k.Attrs().Flags&net.FlagUp == 0 {
			if err := setUp(r.h, k); err != nil {
				return err
			}
		}
		l.index, l.mac = k.Attrs().Index, macs[k.Attrs().Index]
		if was := old[l.id]; was != nil && was.index == l.index && was.mac != "" {
			l.mac = was.mac
		}
		r.links[l.id] = l
	}
	return nil
}

// owned are the links of each instance, by its managed interface, in the order of their devices.
func (d *Dataplane) owned() map[app.InterfaceID][]*eniLink {
	out := map[app.InterfaceID][]*eniLink{}
	for _, r := range d.routers {
		for _, l := range r.links {
			out[l.owner] = append(out[l.owner], l)
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b *eniLink) int { return a.device - b.device })
	}
	return out
}

// checkENIs refuses interfaces that no programmed VPC knows: without rules there is no link.
func (d *Dataplane) checkENIs(list []vpc.ENI) error {
	if len(list) > maxENIs {
		return fmt.Errorf("it has %d interfaces in VPCs: at most %d", len(list), maxENIs)
	}
	for _, e := range list {
		if err := checkInterfaceID(e.ID); err != nil {
			return err
		}
		r := d.routers[e.VPC]
		if r == nil || r.network == nil || r.network.Ports[e.ID] == nil {
			return fmt.Errorf("interface %s is not programmed in VPC %q; program the ruleset that has it first", e.ID, e.VPC)
		}
		if len(e.Addresses) == 0 || !slices.Equal(e.Addresses, r.network.Ports[e.ID].Addresses) {
			return fmt.Errorf("interface %s has addresses %v, programmed are %v", e.ID, e.Addresses, r.network.Ports[e.ID].Addresses)
		}
		if !e.Subnet.IsValid() || !e.Subnet.Contains(e.Addresses[0]) {
			return fmt.Errorf("interface %s has address %v, which is not in its subnet %v", e.ID, e.Addresses[0], e.Subnet)
		}
		if _, err := net.ParseMAC(e.MAC); err != nil {
			return fmt.Errorf("interface %s: %w", e.ID, err)
		}
	}
	return nil
}

// ensureENIs makes the links into VPCs that an instance should have and removes others of it.
func (d *Dataplane) ensureENIs(i *iface, ns *os.File) error {
	for _, l := range d.owned()[i.id] {
		k := slices.IndexFunc(i.enis, func(e vpc.ENI) bool { return e.ID == l.id })
		if k < 0 || k+1 != l.device || !slices.Equal(i.enis[k].Resolvers, l.resolvers) {
			if err := d.removeENI(l); err != nil {
				return err
			}
		}
	}
	for k, e := range i.enis {
		if err := d.ensureENI(i, e, k+1, ns); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dataplane) ensureENI(i *iface, e vpc.ENI, device int, ns *os.File) error {
	r := d.routers[e.VPC]
	name, inner := linkName(e.ID), ethName(device)
	mac, err := net.ParseMAC(e.MAC)
	if err != nil {
		return err
	}
	old, err := findLink(r.h, name)
	if err != nil {
		return err
	}
	l := &eniLink{id: e.ID, owner: i.id, device: device, resolvers: e.Resolvers, mac: mac.String()}
	if old != nil {
		have, ok := parseAlias(old.Attrs().Alias)
		if ok && (have.id != e.ID || have.owner != i.id) {
			return fmt.Errorf("cannot create link %s: interface %s of %s has that name; detach that first", name, have.id, have.owner)
		}
		if !ok || old.Attrs().Alias != l.alias() || !connected(old, inner, mac, ns) {
			if err := deleteLink(r.h, name); err != nil {
				return err
			}
			old = nil
		}
	}
	if old == nil {
		if old, err = r.createENI(l, inner, mac, e.Addresses[0], ns); err != nil {
			return err
		}
	}
	l.index = old.Attrs().Index
	r.links[e.ID] = l
	if err := setUp(r.h, old); err != nil { // a route needs a link that is up; the rules for its name stand already
		return err
	}
	return r.programRoutes(r.network, false)
}

func (r *router) createENI(l *eniLink, inner string, mac net.HardwareAddr, primary netip.Addr, ns *os.File) (netlink.Link, error) {
	link := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: linkName(l.id), HardwareAddr: hardwareAddr(primary, routerEnd)},
		PeerName:  inner, PeerNamespace: netlink.NsFd(int(ns.Fd())), PeerHardwareAddr: mac,
	}
	if err := r.h.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("cannot create link %s: %w", link.Name, err)
	}
	if err := failpoint.Hit("vpc/attach/eni-created"); err != nil {
		return nil, err
	}
	if err := r.h.LinkSetAlias(link, l.alias()); err != nil {
		return nil, fmt.Errorf("cannot label link %s: %w", link.Name, err)
	}
	return link, nil
}

func ethName(device int) string { return "eth" + strconv.Itoa(device) }

// removeENI deletes an interface's link and what was tracked of it, so that its address starts afresh.
func (d *Dataplane) removeENI(l *eniLink) error {
	for _, r := range d.routers {
		if r.links[l.id] != l {
			continue
		}
		if err := deleteLink(r.h, linkName(l.id)); err != nil {
			return err
		}
		delete(r.links, l.id)
		if r.network == nil {
			return nil
		}
		if p := r.network.Ports[l.id]; p != nil {
			if err := r.forgetFlows(p.Addresses); err != nil {
				return err
			}
		}
		return r.programRoutes(r.network, false)
	}
	return nil
}

// configureENI sets up an interface inside the instance's namespace, on a thread that is there. Every packet goes to the
// router, those to neighbours in the subnet too.
func configureENI(h *netlink.Handle, e vpc.ENI, device int) error {
	l, err := findLink(h, ethName(device))
	if err != nil || l == nil {
		return errors.Join(fmt.Errorf("cannot configure %s: it is missing", ethName(device)), err)
	}
	if err := setAddresses(h, l, e); err != nil {
		return err
	}
	if err := setUp(h, l); err != nil {
		return err
	}
	index, gateway := l.Attrs().Index, offset(e.Subnet, 1)
	if err := setNeighbour(h, index, gateway, hardwareAddr(e.Addresses[0], routerEnd)); err != nil {
		return err
	}
	way := netlink.Route{LinkIndex: index, Dst: everywhere(), Gw: gateway.AsSlice(), Src: e.Addresses[0].AsSlice(), Table: unix.RT_TABLE_MAIN}
	way.SetFlag(netlink.FLAG_ONLINK)
	if device == 1 {
		return setRoute(h, way)
	}
	way.Table = managedTable + device - 1
	if err := setRoute(h, way); err != nil {
		return err
	}
	for _, a := range e.Addresses {
		if err := ensureSourceRule(h, a, way.Table); err != nil {
			return err
		}
	}
	return nil
}

func everywhere() *net.IPNet { return &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)} }

func setAddresses(h *netlink.Handle, l netlink.Link, e vpc.ENI) error {
	have, err := h.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("cannot list addresses of %s: %w", l.Attrs().Name, err)
	}
	for _, old := range have {
		if a, _ := netip.AddrFromSlice(old.IP.To4()); !slices.Contains(e.Addresses, a) {
			if err := h.AddrDel(l, &old); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("cannot remove address %v of %s: %w", a, l.Attrs().Name, err)
			}
		}
	}
	for i, a := range e.Addresses {
		mask := net.CIDRMask(e.Subnet.Bits(), 32)
		if i > 0 {
			mask = net.CIDRMask(32, 32) // else the kernel removes it along with the first one
		}
		err := h.AddrReplace(l, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: mask}, Flags: unix.IFA_F_NOPREFIXROUTE})
		if err != nil {
			return fmt.Errorf("cannot set address %v on %s: %w", a, l.Attrs().Name, err)
		}
	}
	return nil
}

func ensureSourceRule(h *netlink.Handle, a netip.Addr, number int) error {
	rule := netlink.NewRule()
	rule.Family, rule.Priority, rule.Table, rule.Src = netlink.FAMILY_V4, managedTable, number, hostPrefix(a)
	if err := h.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("cannot route by source %v: %w", a, err)
	}
	return nil
}

// awaitENIs waits until the instance's links into VPCs send.
func (d *Dataplane) awaitENIs(ctx context.Context, i *iface) error {
	for _, e := range i.enis {
		if err := awaitUp(ctx, d.routers[e.VPC].h, linkName(e.ID)); err != nil {
			return err
		}
	}
	return nil
}
