package linux

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/vpc"
)

// openRouters adopts the VPCs of an earlier run. Their rules stand until the first Program replaces them.
func (d *Dataplane) openRouters() (err error) {
	if d.uplinks, err = d.readUplinks(); err != nil {
		return err
	}
	ids, err := d.routerPins()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if d.routers[id], err = d.openRouter(id); err != nil {
			delete(d.routers, id)
			return fmt.Errorf("cannot adopt VPC %s: %w", id, err)
		}
	}
	return nil
}

// Program implements vpc.Dataplane. A VPC that cannot be programmed does not keep the others from it.
func (d *Dataplane) Program(ctx context.Context, r *vpc.Ruleset) error {
	if err := d.lock(ctx); err != nil {
		return err
	}
	defer d.mu.Unlock()
	var failed error
	for _, id := range d.unwanted(r) {
		if err := d.removeRouter(id); err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot remove VPC %s: %w", id, err))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.Networks)) {
		n := r.Networks[id]
		if have := d.routers[id]; have != nil && have.network == n {
			continue
		}
		if err := d.programNetwork(ctx, n); err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot program VPC %s: %w", id, err))
		}
	}
	d.ruleset = r
	return errors.Join(failed, d.programLANs(false))
}

// unwanted are the VPCs of which anything stands and that the ruleset lacks.
func (d *Dataplane) unwanted(r *vpc.Ruleset) []app.VPCID {
	all := slices.Collect(maps.Keys(d.routers))
	all = slices.AppendSeq(all, maps.Keys(d.uplinks))
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id app.VPCID) bool { return r.Networks[id] != nil })
}

// programNetwork makes one router. Rules come before links, and links before names.
func (d *Dataplane) programNetwork(ctx context.Context, n *vpc.Network) error {
	if len(n.Blocks) == 0 {
		return errors.New("it has no block")
	}
	if _, _, err := uplinkAddresses(n.Slot); err != nil {
		return err
	}
	for id, slot := range d.uplinks {
		if slot == n.Slot && id != n.VPC {
			return fmt.Errorf("slot %d is in use by %s", slot, id)
		}
	}
	r := d.routers[n.VPC]
	if r == nil {
		var err error
		if r, err = d.openRouter(n.VPC); err != nil {
			return err
		}
		d.routers[n.VPC] = r
	}
	if err := failpoint.Hit("vpc/program/namespace"); err != nil {
		return err
	}
	old := r.network
	r.network = nil // until all of it stands
	took, err := r.programRules(n)
	if err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/program/rules"); err != nil {
		return err
	}
	if err := r.ensureLoopback(resolverAddress(n)); err != nil {
		return err
	}
	if slot, ok := d.uplinks[n.VPC]; old == nil || !ok || slot != n.Slot {
		if ok && slot != n.Slot {
			if err := d.forgetUplink(n.VPC); err != nil {
				return err
			}
		}
		if err := d.setUplink(n.VPC, n.Slot); err != nil {
			return err
		}
		if err := d.ensureUplink(ctx, r, n.Slot); err != nil {
			return err
		}
	}
	if err := r.programRoutes(n, old == nil); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/program/routes"); err != nil {
		return err
	}
	if err := errors.Join(d.programNames(r, n), d.programFlowLogs(r, n)); err != nil {
		return err
	}
	r.network = n
	return d.afterProgram(r, old, n, took)
}

// forgetUplink takes a router's link and its address away, with what was tracked of it.
func (d *Dataplane) forgetUplink(id app.VPCID) error {
	slot, known := d.uplinks[id]
	if err := deleteLink(d.mgmt, uplinkName(id)); err != nil {
		return err
	}
	if !known {
		return nil
	}
	_, own, err := uplinkAddresses(slot)
	if err != nil {
		return err
	}
	return errors.Join(d.forgetFlows(own), d.setUplink(id, -1))
}

// removeRouter removes a VPC: links first, so that no packet meets half of it; the pin last, so that a later run finds it.
func (d *Dataplane) removeRouter(id app.VPCID) error {
	if err := d.forgetUplink(id); err != nil {
		return err
	}
	if err := failpoint.Hit("vpc/remove/uplink"); err != nil {
		return err
	}
	if r := d.routers[id]; r != nil {
		if err := r.deleteLinks(); err != nil {
			return err
		}
		if err := failpoint.Hit("vpc/remove/links"); err != nil {
			return err
		}
		r.close()
		delete(d.routers, id)
	}
	return unpin(d.routerPin(id))
}

func (r *router) deleteLinks() error {
	for id := range r.links {
		if err := deleteLink(r.h, linkName(id)); err != nil {
			return err
		}
		delete(r.links, id)
	}
	return nil
}

// repairRouters puts back what somebody changed in routers: rules by their generation, the rest by reading it.
func (d *Dataplane) repairRouters(ctx context.Context) error {
	var failed error
	for id, r := range d.routers {
		if r.network == nil {
			continue // never programmed, or not wholly: the next Program does it
		}
		if err := d.repairRouter(ctx, r); err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot repair VPC %s: %w", id, err))
		}
	}
	return failed
}

func (d *Dataplane) repairRouter(ctx context.Context, r *router) error {
	n := r.network
	if path := d.routerPin(r.id); !pinned(path) {
		if err := pin(fmt.Sprintf("/proc/self/fd/%d", r.ns.Fd()), path); err != nil {
			return err
		}
	}
	if err := inNamespace(r.ns, prepareRouting); err != nil {
		return err
	}
	if _, err := r.programRules(n); err != nil {
		return err
	}
	if err := r.ensureLoopback(resolverAddress(n)); err != nil {
		return err
	}
	if err := d.ensureUplink(ctx, r, n.Slot); err != nil {
		return err
	}
	if err := r.readLinks(); err != nil {
		return err
	}
	if err := r.programRoutes(n, true); err != nil {
		return err
	}
	return errors.Join(d.programNames(r, n), d.programFlowLogs(r, n))
}

// afterProgram ends what the change no longer allows.
func (d *Dataplane) afterProgram(r *router, old, n *vpc.Network, took bool) error {
	if old == nil { // what an earlier run let begin is judged by the rules of now
		return d.scheduleJudgement(r, nil)
	}
	var left []netip.Addr
	for id, p := range old.Ports {
		now := n.Ports[id]
		for _, a := range p.Addresses {
			if now == nil || !slices.Contains(now.Addresses, a) {
				left = append(left, a)
			}
		}
	}
	if len(left) > 0 {
		if err := r.forgetFlows(left); err != nil {
			return err
		}
	}
	if !took && maps.Equal(old.NATs, n.NATs) && maps.Equal(old.Tables, n.Tables) && maps.Equal(old.LANs, n.LANs) {
		return nil
	}
	return d.scheduleJudgement(r, old)
}
