package linux

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/funade/funade/internal/app"
)

// sources are the links of the management namespace with the addresses that may come from them.
func (d *Dataplane) sources() []nftables.SetElement {
	var out []nftables.SetElement
	for id, a := range *d.attached.Load() {
		if a.IsValid() {
			out = append(out, sourceElement(id, a))
		}
	}
	for id, slot := range d.uplinks {
		out = append(out, uplinkElement(id, slot))
	}
	return out
}

func uplinkElement(id app.VPCID, slot int) nftables.SetElement {
	_, own, err := uplinkAddresses(slot)
	if err != nil {
		panic(err) // checked before it is remembered
	}
	return nftables.SetElement{Key: append(linkKey(uplinkName(id)), own.AsSlice()...)}
}

// setSource lets the interface's link send from address and from no other; the zero address removes it.
func (d *Dataplane) setSource(id app.InterfaceID, a netip.Addr) error {
	old := *d.attached.Load()
	updated := maps.Clone(old)
	var gone, missing []nftables.SetElement
	if was := old[id]; was.IsValid() && was != a {
		gone = append(gone, sourceElement(id, was))
	}
	if a.IsValid() {
		missing, updated[id] = append(missing, sourceElement(id, a)), a
	} else {
		delete(updated, id)
	}
	d.attached.Store(&updated)
	if err := d.changeSources(gone, missing); err != nil {
		d.attached.Store(&old)
		return err
	}
	return nil
}

// setUplink lets a router send from its slot's address; a negative slot removes it.
func (d *Dataplane) setUplink(id app.VPCID, slot int) error {
	old := d.uplinks
	var gone, missing []nftables.SetElement
	was, known := old[id]
	if known && was != slot {
		gone = append(gone, uplinkElement(id, was))
	}
	d.uplinks = maps.Clone(old)
	if slot >= 0 {
		missing, d.uplinks[id] = append(missing, uplinkElement(id, slot)), slot
	} else {
		delete(d.uplinks, id)
	}
	if err := d.changeSources(gone, missing); err != nil {
		d.uplinks = old
		return err
	}
	return nil
}

func (d *Dataplane) changeSources(gone, missing []nftables.SetElement) error {
	err := d.inMgmt(func(c *nftables.Conn) error {
		ref := set{name: sourcesSet, key: sourceType}.ref(table{name: mgmtTable}.ref())
		if len(gone) > 0 { // an element that somebody flushed cannot be deleted; adding it first makes the deletion sure
			if err := errors.Join(c.SetAddElements(ref, gone), c.SetDeleteElements(ref, gone)); err != nil {
				return err
			}
		}
		if len(missing) > 0 {
			if err := c.SetAddElements(ref, missing); err != nil {
				return err
			}
		}
		return c.Flush()
	})
	if errors.Is(err, unix.ENOENT) { // the table is gone: put back all of it
		err = d.applyMgmt()
	}
	if err != nil {
		return fmt.Errorf("cannot change who may send: %w", err)
	}
	return nil
}

// applyMgmt makes the management namespace's table what it should be.
func (d *Dataplane) applyMgmt() error {
	return d.inMgmt(func(c *nftables.Conn) error {
		_, err := applyTable(c, d.mgmtRules())
		return err
	})
}

// openedInKernel reads what an earlier run opened: ranges to all, and LANs to VPCs.
func (d *Dataplane) openedInKernel() (allow []netip.Prefix, lans []nftables.SetElement, err error) {
	err = d.inMgmt(func(c *nftables.Conn) error {
		tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
		if err != nil || !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == mgmtTable }) {
			return err
		}
		ref := table{name: mgmtTable}.ref()
		ranges, err := c.GetSetElements(set{name: allowSet, key: nftables.TypeIPAddr, interval: true}.ref(ref))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		allow = fromRanges(ranges)
		lans, err = c.GetSetElements(set{name: lansSet, key: sourceType, interval: true}.ref(ref))
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read opened ranges: %w", err)
	}
	return allow, lans, nil
}

// forgetFlows drops the tracked flows of an address, so that its next owner does not inherit them.
func (d *Dataplane) forgetFlows(a netip.Addr) error {
	if !a.IsValid() {
		return nil
	}
	return forgetFlows(d.mgmtNS, []netip.Addr{a})
}

// forgetFlows drops what is tracked in a namespace from or to the addresses.
func forgetFlows(ns *os.File, list []netip.Addr) error {
	var filters []netlink.CustomConntrackFilter
	for _, a := range list {
		for _, side := range []netlink.ConntrackFilterType{netlink.ConntrackOrigSrcIP, netlink.ConntrackOrigDstIP} {
			f := &netlink.ConntrackFilter{}
			if err := f.AddIP(side, a.AsSlice()); err != nil {
				return fmt.Errorf("cannot filter flows of %v: %w", a, err)
			}
			filters = append(filters, f)
		}
	}
	return inConntrack(ns, func(h *netlink.Handle) error {
		if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filters...); err != nil {
			return fmt.Errorf("cannot drop flows of %v: %w", list, err)
		}
		return nil
	})
}

// inConntrack runs f with a connection to a namespace's connection tracking.
func inConntrack(ns *os.File, f func(*netlink.Handle) error) error {
	var h *netlink.Handle
	err := inNamespace(ns, func() (err error) {
		h, err = netlink.NewHandle(unix.NETLINK_NETFILTER)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot open conntrack socket: %w", err)
	}
	defer h.Close()
	return f(h)
}

func (r *router) forgetFlows(list []netip.Addr) error { return forgetFlows(r.ns, list) }
