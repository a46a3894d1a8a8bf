package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux/resolver"
)

// A router is the namespace of one VPC. Its links are v<eni>, one an interface, and up0 to the management namespace.
type router struct {
	names
	id app.VPCID
	ns *os.File
	h  *netlink.Handle

	// network, rules and routes are what the kernel holds as far as this process made it; nil = not known.
	network *vpc.Network
	rules   *rendered
	routes  *routing
	// generation is the kernel's number after our last change of rules.
	generation uint32
	tables     map[tableKey]int
	links      map[app.InterfaceID]*eniLink
	dns        *resolver.Resolver
	dnsAt      netip.Addr
	zone       *vpc.Zone
	flows      *flowWatch
	past       []past // networks whose flows still have their grace
}

const (
	uplink       = mgmtUplink
	uplinkPrefix = "r" // begins the management namespace's ends of routers' links and nothing else there
	maxRouters   = 4096
	routerEnd    = 0x05
	eniEnd       = 0x06
	uplinkMgmt   = 0x07
	uplinkRouter = 0x08
)

var (
	vpcForm     = regexp.MustCompile(`^vpc-[0-9a-f]{17}$`)
	uplinkRange = netip.MustParsePrefix("169.254.128.0/17")
)

func checkVPCID(id app.VPCID) error {
	if !vpcForm.MatchString(string(id)) {
		return fmt.Errorf("cannot use VPC id %q: expected vpc- and 17 hex digits", id)
	}
	return nil
}

func (n names) routerPin(id app.VPCID) string { return filepath.Join(n.netnsDir(), string(id)) }

// uplinkName is the management end of a router's link; its alias holds the whole id.
func uplinkName(id app.VPCID) string { return uplinkPrefix + string(id[7:]) }

// uplinkAddresses are the ends of the link of the VPC with a slot.
func uplinkAddresses(slot int) (mgmt, router netip.Addr, err error) {
	if slot < 0 || slot >= maxRouters {
		return mgmt, router, fmt.Errorf("cannot place VPC slot %d: slots are 0 to %d; delete VPCs that are not needed", slot, maxRouters-1)
	}
	b := uplinkRange.Addr().As4()
	base := binary.BigEndian.Uint32(b[:]) + uint32(slot)*4
	at := func(n uint32) netip.Addr { return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, base+n))) }
	return at(1), at(2), nil
}

// offset returns the n-th address of a block: 1 is its router, 2 its resolver.
func offset(p netip.Prefix, n uint32) netip.Addr {
	b := p.Masked().Addr().As4()
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])+n)))
}

// routerPins returns the VPCs that have a file.
func (n names) routerPins() ([]app.VPCID, error) {
	entries, err := os.ReadDir(n.netnsDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot list namespaces: %w", err)
	}
	var ids []app.VPCID
	for _, e := range entries {
		if id := app.VPCID(e.Name()); checkVPCID(id) == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// openRouter enters a VPC's namespace, which it makes when there is none, and learns which links it has.
func (n names) openRouter(id app.VPCID) (_ *router, err error) {
	if err := checkVPCID(id); err != nil {
		return nil, err
	}
	r := &router{names: n, id: id, tables: map[tableKey]int{}, links: map[app.InterfaceID]*eniLink{}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if err := ensureNetns(n.routerPin(id)); err != nil {
		return nil, err
	}
	if r.ns, err = os.Open(n.routerPin(id)); err != nil {
		return nil, fmt.Errorf("cannot open router namespace: %w", err)
	}
	err = inNamespace(r.ns, func() (err error) {
		if r.h, err = newHandle(); err != nil {
			return err
		}
		return prepareRouting()
	})
	if err != nil {
		return nil, err
	}
	return r, r.readLinks()
}

func (r *router) close() {
	r.stopFlowLogs()
	if r.dns != nil {
		r.dns.Close()
		r.dns = nil
	}
	if r.h != nil {
		r.h.Close()
	}
	if r.ns != nil {
		r.ns.Close()
	}
}

// nft runs f with a connection to the router's nftables.
func (r *router) nft(f func(*nftables.Conn) error) error {
	var c *nftables.Conn
	if err := inNamespace(r.ns, func() (err error) {
		c, err = newConn()
		return err
	}); err != nil {
		return err
	}
	defer c.CloseLasting()
	return f(c)
}

// resolverAddress is where names are answered: the primary block's base+2.
func resolverAddress(n *vpc.Network) netip.Addr { return offset(n.Blocks[0], 2) }

// programRules makes the router's table that of the network. It compares with what this process made before, and puts
// back everything when somebody else changed a rule. took reports that something may no longer be allowed.
func (r *router) programRules(n *vpc.Network) (took bool, err error) {
	_, own, err := uplinkAddresses(n.Slot)
	if err != nil {
		return false, err
	}
	b := basis{resolver: resolverAddress(n), uplink: own, dns: n.DNS != nil, logs: len(n.FlowLogs) > 0, acls: guarded(n), out: leadsOut(n), maxFlows: r.maxFlows}
	now, err := generation(r.ns)
	if err != nil {
		return false, err
	}
	old := r.rules
	if old != nil && now != r.generation {
		old = nil
	}
	wanted, err := render(n, b, old, r.tableOf(n))
	if err != nil {
		return false, err
	}
	if old != nil {
		c := compare(old, wanted)
		if c.empty() {
			r.rules = wanted
			return false, nil
		}
		if r.sendRules(c, wanted, now, false) == nil {
			return c.takes(), nil
		}
		if now, err = generation(r.ns); err != nil {
			return false, err
		}
	}
	return true, r.sendRules(compare(&rendered{}, wanted), wanted, now, true)
}

func (r *router) sendRules(c *change, wanted *rendered, before uint32, replace bool) error {
	r.rules = nil
	if err := r.nft(func(conn *nftables.Conn) error { return c.send(conn, wanted, replace) }); err != nil {
		return err
	}
	r.rules, r.generation = wanted, before+1
	return nil
}

// ensureUplink makes the pair between the router and the management namespace, with its addresses.
func (d *Dataplane) ensureUplink(ctx context.Context, r *router, slot int) error {
	outer, own, err := uplinkAddresses(slot)
	if err != nil {
		return err
	}
	name := uplinkName(r.id)
	mgmtSide, err := findLink(d.mgmt, name)
	if err != nil {
		return err
	}
	routerSide, err := findLink(r.h, uplink)
	if err != nil {
		return err
	}
	if mgmtSide != nil && mgmtSide.Attrs().Alias != string(r.id) && mgmtSide.Attrs().Alias != "" {
		return fmt.Errorf("cannot create link %s: %s has that name", name, mgmtSide.Attrs().Alias)
	}
	whole := mgmtSide != nil && routerSide != nil && mgmtSide.Attrs().ParentIndex == routerSide.Attrs().Index &&
		routerSide.Attrs().ParentIndex == mgmtSide.Attrs().Index && routerSide.Attrs().HardwareAddr.String() == hardwareAddr(own, uplinkRouter).String()
	if !whole {
		if err := errors.Join(deleteLink(d.mgmt, name), deleteLink(r.h, uplink)); err != nil {
			return err
		}
		err := d.mgmt.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: hardwareAddr(outer, uplinkMgmt)},
			PeerName:  uplink, PeerNamespace: netlink.NsFd(int(r.ns.Fd())), PeerHardwareAddr: hardwareAddr(own, uplinkRouter),
		})
		if err != nil {
			return fmt.Errorf("cannot create link %s: %w", name, err)
		}
	}
	if err := failpoint.Hit("vpc/program/link"); err != nil {
		return err
	}
	return d.finishUplink(ctx, r, name, outer, own)
}

func (d *Dataplane) finishUplink(ctx context.Context, r *router, name string, outer, own netip.Addr) error {
	ends := []struct {
		h         *netlink.Handle
		name      string
		own, peer netip.Addr
		peerMAC   net.HardwareAddr
	}{
		{d.mgmt, name, outer, own, hardwareAddr(own, uplinkRouter)},
		{r.h, uplink, own, outer, hardwareAddr(outer, uplinkMgmt)},
	}
	for _, e := range ends {
		l, err := findLink(e.h, e.name)
		if err != nil || l == nil {
			return errors.Join(fmt.Errorf("cannot configure link %s: it is missing", e.name), err)
		}
		if e.h == d.mgmt && l.Attrs().Alias != string(r.id) {
			if err := d.mgmt.LinkSetAlias(l, string(r.id)); err != nil {
				return fmt.Errorf("cannot label link %s: %w", name, err)
			}
		}
		if err := setAddress(e.h, l, &net.IPNet{IP: e.own.AsSlice(), Mask: net.CIDRMask(30, 32)}); err != nil {
			return err
		}
		if err := setUp(e.h, l); err != nil {
			return err
		}
		if err := setNeighbour(e.h, l.Attrs().Index, e.peer, e.peerMAC); err != nil {
			return err
		}
	}
	return errors.Join(awaitUp(ctx, d.mgmt, name), awaitUp(ctx, r.h, uplink))
}

// ensureLoopback gives the router the resolver's address and takes an old one away.
func (r *router) ensureLoopback(a netip.Addr) error {
	lo, err := findLink(r.h, "lo")
	if err != nil {
		return err
	}
	have, err := r.h.AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("cannot list addresses of lo: %w", err)
	}
	for _, old := range have {
		if ip, _ := netip.AddrFromSlice(old.IP.To4()); ip != a && !ip.IsLoopback() {
			if err := r.h.AddrDel(lo, &old); err != nil {
				return fmt.Errorf("cannot remove address %v: %w", ip, err)
			}
		}
	}
	if err := setAddress(r.h, lo, hostPrefix(a)); err != nil {
		return err
	}
	return setUp(r.h, lo)
}

// uplinks reads which VPC has which slot: what the kernel knows without any row.
func (d *Dataplane) readUplinks() (map[app.VPCID]int, error) {
	links, err := d.mgmt.LinkList()
	if err != nil {
		return nil, fmt.Errorf("cannot list links: %w", err)
	}
	found := map[app.VPCID]int{}
	for _, l := range links {
		id := app.VPCID(l.Attrs().Alias)
		if checkVPCID(id) != nil || l.Attrs().Name != uplinkName(id) {
			continue
		}
		addresses, err := d.mgmt.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return nil, fmt.Errorf("cannot list addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, a := range addresses {
			if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && uplinkRange.Contains(ip) {
				b, base := ip.As4(), uplinkRange.Addr().As4()
				found[id] = int(binary.BigEndian.Uint32(b[:])-binary.BigEndian.Uint32(base[:])) / 4
			}
		}
	}
	return found, nil
}
