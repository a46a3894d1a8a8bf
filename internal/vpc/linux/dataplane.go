package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux/flowlog"
	"github.com/funade/funade/internal/vpc/linux/resolver"
)

// Dataplane implements vpc.Dataplane and vpc.Sockets.
type Dataplane struct {
	names
	log    *slog.Logger
	mgmtNS *os.File
	host   *netlink.Handle
	mgmt   *netlink.Handle
	pool   *pool
	dns    *resolver.Resolver

	doors doorSet

	// mu serialises changes of the kernel's state and guards the fields below.
	mu       sync.Mutex
	closed   bool
	allow    []netip.Prefix
	problems []string
	routers  map[app.VPCID]*router
	uplinks  map[app.VPCID]int // slots of the routers that may send
	lans     []nftables.SetElement
	// lanList are the LANs that can be reached now; nil = not known.
	lanList     []*vpc.LAN
	lanProblems []string
	ruleset     *vpc.Ruleset // the last one that was programmed
	resolver    resolver.Config
	revoke      RevokedFlows
	flowRecords flowlog.Sink
	// doorNames is what Apply said last.
	doorNames func(string) bool
	// attached is replaced, never changed: Dial reads it without the lock.
	attached atomic.Pointer[map[app.InterfaceID]netip.Addr]
}

// iface is an interface with its address worked out.
type iface struct {
	id      app.InterfaceID
	address netip.Addr
	uidBase uint32
	enis    []vpc.ENI
}

func (i *iface) group() uint32 {
	if len(i.enis) > 0 {
		return ingressGroup
	}
	return 0
}

var (
	_ vpc.Dataplane = (*Dataplane)(nil)
	_ vpc.Sockets   = (*Dataplane)(nil)
)

// Open adopts the install's namespaces and rules or makes them, and starts its resolver. The calling process stays in its
// own network namespace, "the host". Instances that are attached stay connected between Close and the next Open.
// Until the first Apply, prefixes that an earlier run opened stay open.
func Open(ctx context.Context, c Config) (*Dataplane, error) {
	n, err := c.names()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d := &Dataplane{names: n, log: c.Logger, routers: map[app.VPCID]*router{}, revoke: c.RevokedFlows, flowRecords: c.FlowRecords}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if err := d.open(ctx, c); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Dataplane) open(ctx context.Context, c Config) (err error) {
	for _, dir := range []string{d.runDir, d.netnsDir(), d.usernsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("cannot create run folder: %w", err)
		}
	}
	if err := ensureNetns(d.mgmtPin()); err != nil {
		return err
	}
	if d.mgmtNS, err = os.Open(d.mgmtPin()); err != nil {
		return fmt.Errorf("cannot open management namespace: %w", err)
	}
	if d.pool, err = newPool(d.mgmtNS); err != nil {
		return err
	}
	if d.host, err = newHandle(); err != nil {
		return err
	}
	if err := d.pool.do(context.Background(), func() (err error) {
		d.mgmt, err = newHandle()
		return errors.Join(err, prepareRouting())
	}); err != nil {
		return err
	}
	known, err := d.linkAddresses()
	if err != nil {
		return err
	}
	d.attached.Store(&known)
	if d.allow, d.lans, err = d.openedInKernel(); err != nil {
		return err
	}
	if err := d.openRouters(); err != nil {
		return err
	}
	if err := d.repair(ctx); err != nil {
		return err
	}
	return d.startResolvers(c)
}

// inMgmt runs f with a connection to the management namespace's nftables.
func (d *Dataplane) inMgmt(f func(*nftables.Conn) error) error {
	var c *nftables.Conn
	if err := d.pool.do(context.Background(), func() (err error) {
		c, err = newConn()
		return err
	}); err != nil {
		return err
	}
	defer c.CloseLasting()
	return f(c)
}

// Apply implements vpc.Dataplane. Called again it repairs what somebody flushed, and lets the install's traffic pass
// firewalls that came up in the meantime.
func (d *Dataplane) Apply(ctx context.Context, r vpc.InstallRules) error {
	if err := vpc.CheckEgressAllow(r.EgressAllow, d.Layout); err != nil {
		return err
	}
	if err := d.lock(ctx); err != nil {
		return err
	}
	defer d.mu.Unlock()
	d.allow = slices.Clone(r.EgressAllow)
	d.setDoorNames(r.DoorNames)
	return d.repair(ctx)
}

// repair makes the install-wide kernel state what it should be. Rules come before links.
func (d *Dataplane) repair(ctx context.Context) error {
	d.problems = nil
	if !pinned(d.mgmtPin()) {
		if err := pin(fmt.Sprintf("/proc/self/fd/%d", d.mgmtNS.Fd()), d.mgmtPin()); err != nil {
			return err
		}
	}
	if err := d.pool.do(context.Background(), prepareRouting); err != nil {
		return err
	}
	if err := d.applyMgmt(); err != nil {
		return err
	}
	if err := d.repairHost(); err != nil {
		return err
	}
	if err := d.ensureMgmtLinks(ctx); err != nil {
		return err
	}
	return errors.Join(d.repairRouters(ctx), d.programLANs(true), d.ensureForwarding())
}

func (d *Dataplane) repairHost() error {
	c, err := newConn()
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	if _, err := applyTable(c, d.hostRules()); err != nil {
		return err
	}
	chains, err := d.passForeign(c)
	if err != nil { // somebody may be rewriting that table right now; the next Apply looks again
		d.problems = append(d.problems, err.Error())
		d.log.Warn("another firewall may refuse instances' traffic", "error", err)
	}
	if len(chains) > 0 {
		d.log.Info("instances' traffic now passes other firewalls", "chains", chains)
	}
	if p := d.legacyProblem(); p != "" {
		d.problems = append(d.problems, p)
	}
	return nil
}

// forwardingMark is the file that remembers that this install switched routing on.
func (n names) forwardingMark() string { return filepath.Join(n.runDir, "ip_forward-enabled") }

// ensureForwarding lets the host route. It remembers having done so, as the administrator should know.
func (d *Dataplane) ensureForwarding() error {
	const path = "/proc/sys/net/ipv4/ip_forward"
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read ip_forward: %w", err)
	}
	if strings.TrimSpace(string(b)) != "1" {
		if err := os.WriteFile(d.forwardingMark(), nil, 0o600); err != nil {
			return fmt.Errorf("cannot remember that ip_forward was off: %w", err)
		}
		if err := os.WriteFile(path, []byte("1"), 0); err != nil {
			return fmt.Errorf("cannot set net.ipv4.ip_forward to 1: %w; set it in /etc/sysctl.d", err)
		}
		d.log.Warn("net.ipv4.ip_forward was 0 and is now 1, as instances' traffic is routed")
	}
	if _, err := os.Stat(d.forwardingMark()); err == nil {
		d.problems = append(d.problems, "net.ipv4.ip_forward was 0 and has been set to 1: this host now routes between its other links too, unless a firewall forbids it; to keep the setting, write it into /etc/sysctl.d")
	}
	return nil
}

// Problems returns what an administrator should know about this host's network, as of the last Open or Apply.
func (d *Dataplane) Problems() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Concat(d.problems, d.lanProblems)
}

// Attach implements vpc.Dataplane. After an error, or a crash in the middle, Attach or Detach of the same id cleans up.
func (d *Dataplane) Attach(ctx context.Context, i vpc.Interface) (vpc.Attachment, error) {
	if err := checkInterfaceID(i.ID); err != nil {
		return vpc.Attachment{}, err
	}
	address, err := d.Address(i.Index)
	if err != nil {
		return vpc.Attachment{}, fmt.Errorf("cannot attach interface %s: %w", i.ID, err)
	}
	if err := d.lock(ctx); err != nil {
		return vpc.Attachment{}, err
	}
	defer d.mu.Unlock()
	for id, a := range *d.attached.Load() {
		if a == address && id != i.ID {
			return vpc.Attachment{}, fmt.Errorf("cannot attach interface %s: index %d is in use by %s; detach that first", i.ID, i.Index, id)
		}
	}
	if err := d.attach(ctx, &iface{i.ID, address, i.UIDBase, i.ENIs}); err != nil {
		return vpc.Attachment{}, fmt.Errorf("cannot attach interface %s: %w", i.ID, err)
	}
	return d.attachment(i.ID, address, d.owned()[i.ID]), nil
}

func (d *Dataplane) attach(ctx context.Context, i *iface) error {
	if err := d.checkENIs(i.enis); err != nil {
		return err
	}
	if err := d.ensureNamespaces(i.id, i.uidBase); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/attach/namespaces"); err != nil {
		return err
	}
	if err := d.setSource(i.id, i.address); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/attach/rules"); err != nil {
		return err
	}
	ns, err := os.Open(d.netnsPin(i.id))
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := inNamespace(ns, prepareInstance); err != nil {
		return err
	}
	if err := d.ensureLink(i, ns); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/attach/link"); err != nil {
		return err
	}
	if err := d.ensureENIs(i, ns); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/attach/enis"); err != nil {
		return err
	}
	if err := inNamespace(ns, func() error { return d.configureInstance(i) }); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/attach/configured"); err != nil {
		return err
	}
	return errors.Join(awaitUp(ctx, d.mgmt, linkName(i.id)), d.awaitENIs(ctx, i))
}

func (d *Dataplane) attachment(id app.InterfaceID, a netip.Addr, enis []*eniLink) vpc.Attachment {
	out := vpc.Attachment{ID: id, NetnsPath: d.netnsPin(id), Address: a, Resolvers: []netip.Addr{d.Resolver()}}
	if len(enis) > 0 {
		out.Resolvers = slices.Clone(enis[0].resolvers)
	}
	if path := d.usernsPin(id); pinned(path) {
		out.UsernsPath = path
	}
	return out
}

// Detach implements vpc.Dataplane. The pins go last, so that List knows the interface until nothing is left.
func (d *Dataplane) Detach(ctx context.Context, id app.InterfaceID) error {
	if err := checkInterfaceID(id); err != nil {
		return err
	}
	if err := d.lock(ctx); err != nil {
		return err
	}
	defer d.mu.Unlock()
	if err := d.detach(id); err != nil {
		return fmt.Errorf("cannot detach interface %s: %w", id, err)
	}
	return nil
}

func (d *Dataplane) detach(id app.InterfaceID) error {
	address, known := (*d.attached.Load())[id]
	if err := deleteLink(d.mgmt, linkName(id)); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/detach/link"); err != nil {
		return err
	}
	for _, l := range d.owned()[id] {
		if err := d.removeENI(l); err != nil {
			return err
		}
	}
	if err := failpoint.Hit("vpc/detach/enis"); err != nil {
		return err
	}
	if known {
		if err := d.setSource(id, netip.Addr{}); err != nil {
			return err
		}
		if err := d.forgetFlows(address); err != nil {
			return err
		}
	}
	if err := failpoint.Hit("vpc/detach/rules"); err != nil {
		return err
	}
	if err := unpin(d.netnsPin(id)); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/detach/netns"); err != nil {
		return err
	}
	return unpin(d.usernsPin(id))
}

// List implements vpc.Dataplane: what is pinned, and links that lost their pins. A half-made attachment may have no address.
func (d *Dataplane) List(ctx context.Context) ([]vpc.Attachment, error) {
	if err := d.lock(ctx); err != nil {
		return nil, err
	}
	defer d.mu.Unlock()
	ids, err := d.pins()
	if err != nil {
		return nil, err
	}
	addresses, err := d.linkAddresses()
	if err != nil {
		return nil, err
	}
	owned := d.owned()
	ids = slices.AppendSeq(ids, maps.Keys(addresses))
	ids = slices.AppendSeq(ids, maps.Keys(owned))
	slices.Sort(ids)
	ids = slices.Compact(ids)
	out := make([]vpc.Attachment, 0, len(ids))
	for _, id := range ids {
		out = append(out, d.attachment(id, addresses[id], owned[id]))
	}
	return out, nil
}

// Close implements vpc.Dataplane.
func (d *Dataplane) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.doors.close()
	for _, r := range d.routers {
		r.close()
	}
	if d.dns != nil {
		d.dns.Close()
	}
	if d.pool != nil {
		d.pool.close()
	}
	for _, h := range []*netlink.Handle{d.host, d.mgmt} {
		if h != nil {
			h.Close()
		}
	}
	if d.mgmtNS != nil {
		d.mgmtNS.Close()
	}
	return nil
}

// lock begins a method that needs the kernel; the caller unlocks when it returns nil.
func (d *Dataplane) lock(ctx context.Context) error {
	d.mu.Lock()
	err := ctx.Err()
	if d.closed {
		err = errClosed
	}
	if err != nil {
		d.mu.Unlock()
	}
	return err
}
