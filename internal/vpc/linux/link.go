package linux

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
)

// hardwareAddr derives a locally administered address from an IPv4 address, so that neighbours need no discovery.
func hardwareAddr(a netip.Addr, end byte) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, end, b[0], b[1], b[2], b[3]}
}

const (
	instanceEnd = 0x01
	mgmtEnd     = 0x02
	transitHost = 0x03
	transitMgmt = 0x04
)

func hostPrefix(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

// newHandle opens a route socket in the calling thread's namespace. Only the route family: others may be missing in a kernel.
func newHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("cannot open netlink socket: %w", err)
	}
	return h, nil
}

func findLink(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find link %s: %w", name, err)
	}
	return l, nil
}

func deleteLink(h *netlink.Handle, name string) error {
	l, err := findLink(h, name)
	if l == nil {
		return err
	}
	if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot delete link %s: %w", name, err)
	}
	return nil
}

func setNeighbour(h *netlink.Handle, link int, a netip.Addr, mac net.HardwareAddr) error {
	err := h.NeighSet(&netlink.Neigh{LinkIndex: link, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: mac})
	if err != nil {
		return fmt.Errorf("cannot set neighbour %v: %w", a, err)
	}
	return nil
}

func setRoute(h *netlink.Handle, r netlink.Route) error {
	if err := h.RouteReplace(&r); err != nil {
		return fmt.Errorf("cannot set route %v: %w", r.Dst, err)
	}
	return nil
}

func setAddress(h *netlink.Handle, l netlink.Link, a *net.IPNet) error {
	if err := h.AddrReplace(l, &netlink.Addr{IPNet: a}); err != nil {
		return fmt.Errorf("cannot set address %v on %s: %w", a, l.Attrs().Name, err)
	}
	return nil
}

func setUp(h *netlink.Handle, l netlink.Link) error {
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("cannot bring up link %s: %w", l.Attrs().Name, err)
	}
	return nil
}

const (
	carrierPatience = 2 * time.Second // the kernel may notice a link only once a second
	carrierPause    = time.Millisecond
)

// awaitUp waits until a link sends: a veth end whose peer came up later drops packets until a worker of the kernel
// has seen it. Asking for the link makes newer kernels (from 6.8) look at once.
func awaitUp(ctx context.Context, h *netlink.Handle, name string) error {
	ctx, cancel := context.WithTimeout(ctx, carrierPatience)
	defer cancel()
	for {
		l, err := findLink(h, name)
		if err != nil {
			return err
		}
		if l != nil && l.Attrs().OperState == netlink.OperUp {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for link %s to come up: %w", name, ctx.Err())
		case <-time.After(carrierPause):
		}
	}
}

// ensureLink makes the pair of v<eni> and eth0 and everything on the management side of it.
func (d *Dataplane) ensureLink(i *iface, ns *os.File) error {
	name := linkName(i.id)
	old, err := findLink(d.mgmt, name)
	if err != nil {
		return err
	}
	if old != nil && old.Attrs().Alias == string(i.id) && connected(old, instanceLink, hardwareAddr(i.address, instanceEnd), ns) {
		return d.finishLink(old, i)
	}
	if old != nil && old.Attrs().Alias != string(i.id) && old.Attrs().Alias != "" {
		return fmt.Errorf("cannot create link %s: interface %s has that name", name, old.Attrs().Alias)
	}
	if old != nil { // its other end is somewhere else, or it was never finished
		if err := deleteLink(d.mgmt, name); err != nil {
			return err
		}
	}
	l := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: hardwareAddr(i.address, mgmtEnd), Group: i.group()},
		PeerName:  instanceLink, PeerNamespace: netlink.NsFd(int(ns.Fd())), PeerHardwareAddr: hardwareAddr(i.address, instanceEnd),
	}
	if err := d.mgmt.LinkAdd(l); err != nil {
		return fmt.Errorf("cannot create link %s: %w", name, err)
	}
	if err := d.mgmt.LinkSetAlias(l, string(i.id)); err != nil {
		return fmt.Errorf("cannot label link %s: %w", name, err)
	}
	return d.finishLink(l, i)
}

// connected reports whether a link's other end has that name and MAC address in a namespace.
func connected(l netlink.Link, name string, mac net.HardwareAddr, ns *os.File) bool {
	ok := false
	err := inNamespace(ns, func() error {
		h, err := newHandle()
		if err != nil {
			return err
		}
		defer h.Close()
		peer, err := findLink(h, name)
		if err != nil || peer == nil {
			return err
		}
		a := peer.Attrs()
		ok = a.Index == l.Attrs().ParentIndex && a.ParentIndex == l.Attrs().Index && a.HardwareAddr.String() == mac.String()
		return nil
	})
	return err == nil && ok
}

func (d *Dataplane) finishLink(l netlink.Link, i *iface) error {
	if l.Attrs().Group != i.group() {
		if err := d.mgmt.LinkSetGroup(l, int(i.group())); err != nil {
			return fmt.Errorf("cannot set the group of link %s: %w", l.Attrs().Name, err)
		}
	}
	if err := setUp(d.mgmt, l); err != nil {
		return err
	}
	index := l.Attrs().Index
	if err := setNeighbour(d.mgmt, index, i.address, hardwareAddr(i.address, instanceEnd)); err != nil {
		return err
	}
	return setRoute(d.mgmt, netlink.Route{LinkIndex: index, Dst: hostPrefix(i.address), Src: d.Gateway().AsSlice(), Scope: netlink.SCOPE_LINK})
}

// prepareInstance closes IPv6 and opens what an unprivileged process may do, before the namespace has a link.
func prepareInstance() error {
	for _, link := range []string{"all", "default"} {
		if err := disableIPv6(link); err != nil {
			return err
		}
	}
	gids, err := os.ReadFile("/proc/thread-self/gid_map")
	if err != nil {
		return fmt.Errorf("cannot read the groups of this user namespace: %w", err)
	}
	if err := setSysctl("ipv4/ping_group_range", pingGroups(string(gids))); err != nil {
		return err
	}
	return setSysctl("ipv4/ip_unprivileged_port_start", "0")
}

// pingGroups returns the widest value of ping_group_range for a gid_map: the kernel counts the writer's groups, of which
// instances' groups are a part, and takes none above 2^31-1 and none that is not mapped.
func pingGroups(gidMap string) string {
	last := int64(0)
	for line := range strings.Lines(gidMap) {
		var inside, outside, count int64
		if n, err := fmt.Sscan(line, &inside, &outside, &count); n == 3 && err == nil && inside <= last+1 {
			last = max(last, min(inside+count-1, math.MaxInt32))
		}
	}
	return fmt.Sprintf("0 %d", last)
}

// configureInstance sets up the links inside the instance's namespace, on a thread that is there.
func (n names) configureInstance(i *iface) error {
	h, err := newHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := findLink(h, "lo")
	if err != nil || lo == nil {
		return errors.Join(errors.New("cannot configure instance namespace: link lo is missing"), err)
	}
	if err := setUp(h, lo); err != nil {
		return err
	}
	if err := n.configureManaged(h, i); err != nil {
		return err
	}
	for k, e := range i.enis {
		if err := configureENI(h, e, k+1); err != nil {
			return err
		}
	}
	return nil
}

// configureManaged sets up eth0. With interfaces in VPCs it answers only: a table of its own routes what is sent from its
// address, and the main table knows nothing of it.
func (n names) configureManaged(h *netlink.Handle, i *iface) error {
	l, err := findLink(h, instanceLink)
	if err != nil || l == nil {
		return errors.Join(fmt.Errorf("cannot configure instance namespace: link %s is missing", instanceLink), err)
	}
	if err := setAddress(h, l, hostPrefix(i.address)); err != nil {
		return err
	}
	if err := setUp(h, l); err != nil {
		return err
	}
	index := l.Attrs().Index
	if err := setNeighbour(h, index, n.Gateway(), hardwareAddr(i.address, mgmtEnd)); err != nil {
		return err
	}
	near := netlink.Route{LinkIndex: index, Dst: hostPrefix(n.Gateway()), Scope: netlink.SCOPE_LINK, Table: unix.RT_TABLE_MAIN}
	far := netlink.Route{LinkIndex: index, Dst: everywhere(), Gw: n.Gateway().AsSlice(), Src: i.address.AsSlice(), Table: unix.RT_TABLE_MAIN}
	far.SetFlag(netlink.FLAG_ONLINK)
	if len(i.enis) == 0 {
		return errors.Join(setRoute(h, near), setRoute(h, far))
	}
	for _, r := range []netlink.Route{near, far} { // of a time before it had interfaces in VPCs
		if err := h.RouteDel(&r); err != nil && !isGone(err) {
			return fmt.Errorf("cannot remove route %v: %w", r.Dst, err)
		}
	}
	far.Table = managedTable
	if err := setRoute(h, far); err != nil {
		return err
	}
	return ensureSourceRule(h, i.address, managedTable)
}

// isGone reports that the kernel does not have what should be deleted.
func isGone(err error) bool { return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) }

// ensureMgmtLinks sets up the management namespace's own addresses and the transit link.
func (d *Dataplane) ensureMgmtLinks(ctx context.Context) error {
	lo, err := findLink(d.mgmt, "lo")
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{d.Gateway(), d.Resolver(), d.Door()} {
		if err := setAddress(d.mgmt, lo, hostPrefix(a)); err != nil {
			return err
		}
	}
	if err := setUp(d.mgmt, lo); err != nil {
		return err
	}
	if err := d.ensureTransit(); err != nil {
		return err
	}
	return d.finishTransit(ctx)
}

// ensureTransit makes the pair between host and management namespace unless both ends stand and belong together.
func (d *Dataplane) ensureTransit() error {
	outer, err := findLink(d.host, d.hostLink())
	if err != nil {
		return err
	}
	inner, err := findLink(d.mgmt, mgmtUplink)
	if err != nil {
		return err
	}
	if outer != nil && inner != nil && outer.Attrs().ParentIndex == inner.Attrs().Index && inner.Attrs().ParentIndex == outer.Attrs().Index {
		return nil
	}
	if err := errors.Join(deleteLink(d.host, d.hostLink()), deleteLink(d.mgmt, mgmtUplink)); err != nil {
		return err
	}
	err = d.host.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: d.hostLink(), HardwareAddr: hardwareAddr(d.hostTransit, transitHost)},
		PeerName:  mgmtUplink, PeerNamespace: netlink.NsFd(int(d.mgmtNS.Fd())), PeerHardwareAddr: hardwareAddr(d.mgmtTransit, transitMgmt),
	})
	if err != nil {
		return fmt.Errorf("cannot create transit link %s: %w", d.hostLink(), err)
	}
	return nil
}

func (d *Dataplane) finishTransit(ctx context.Context) error {
	ends := []struct {
		h         *netlink.Handle
		name      string
		own, peer netip.Addr
		peerMAC   net.HardwareAddr
	}{
		{d.host, d.hostLink(), d.hostTransit, d.mgmtTransit, hardwareAddr(d.mgmtTransit, transitMgmt)},
		{d.mgmt, mgmtUplink, d.mgmtTransit, d.hostTransit, hardwareAddr(d.hostTransit, transitHost)},
	}
	if err := disableIPv6(d.hostLink()); err != nil {
		return err
	}
	for _, e := range ends {
		l, err := findLink(e.h, e.name)
		if err != nil || l == nil {
			return errors.Join(fmt.Errorf("cannot configure transit link %s: it is missing", e.name), err)
		}
		if err := setAddress(e.h, l, &net.IPNet{IP: e.own.AsSlice(), Mask: net.CIDRMask(d.transit.Bits(), 32)}); err != nil {
			return err
		}
		if err := setUp(e.h, l); err != nil {
			return err
		}
		if err := setNeighbour(e.h, l.Attrs().Index, e.peer, e.peerMAC); err != nil {
			return err
		}
		if e.name == mgmtUplink {
			if err := setRoute(e.h, netlink.Route{LinkIndex: l.Attrs().Index, Gw: d.hostTransit.AsSlice(), Src: d.mgmtTransit.AsSlice()}); err != nil {
				return err
			}
		}
	}
	return errors.Join(awaitUp(ctx, d.host, d.hostLink()), awaitUp(ctx, d.mgmt, mgmtUplink))
}

// linkAddresses reads which address each interface's link routes to: what the kernel knows without any row.
func (d *Dataplane) linkAddresses() (map[app.InterfaceID]netip.Addr, error) {
	links, err := d.mgmt.LinkList()
	if err != nil {
		return nil, fmt.Errorf("cannot list links: %w", err)
	}
	routes, err := d.mgmt.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("cannot list routes: %w", err)
	}
	byLink := map[int]netip.Addr{}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if a, ok := netip.AddrFromSlice(r.Dst.IP.To4()); ok && d.Holds(a) {
			byLink[r.LinkIndex] = a
		}
	}
	found := map[app.InterfaceID]netip.Addr{}
	for _, l := range links {
		id := app.InterfaceID(l.Attrs().Alias)
		if checkInterfaceID(id) == nil && l.Attrs().Name == linkName(id) {
			found[id] = byLink[l.Attrs().Index]
		}
	}
	return found, nil
}

// prepareRouting sets the switches of the management namespace and of routers: they route, refuse aloud, answer no ARP
// and speak no IPv6.
func prepareRouting() error {
	for _, s := range [][2]string{
		{"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"},
		{"ipv4/conf/all/send_redirects", "0"}, {"ipv4/conf/default/send_redirects", "0"},
		{"ipv4/conf/all/accept_redirects", "0"}, {"ipv4/conf/default/accept_redirects", "0"},
		{"ipv4/conf/all/accept_source_route", "0"}, {"ipv4/conf/default/accept_source_route", "0"},
		{"ipv4/conf/all/arp_ignore", "8"}, {"ipv4/conf/default/arp_ignore", "8"},
		{"ipv4/icmp_ratelimit", "0"}, // else only the first few refusals of a second are answered
		{"ipv4/ip_forward", "1"},
	} {
		if err := setSysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	return errors.Join(disableIPv6("all"), disableIPv6("default"))
}
