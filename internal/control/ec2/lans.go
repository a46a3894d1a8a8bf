package ec2

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

// maxLANBlocks bounds the blocks of one LAN.
const maxLANBlocks = 50

// managedRange holds the addresses that installs give to their instances (vpc.NewLayout).
var managedRange = netip.MustParsePrefix("100.64.0.0/10")

// linkName is what Linux lets a link be called, without what only mistakes hold.
var linkName = regexp.MustCompile(`^[A-Za-z0-9_.@-]{1,15}$`)

// AttachLANInput says what real network to attach.
type AttachLANInput struct {
	VPC app.VPCID
	// Exactly one is set: the host's link, or the address of a router on the way.
	Interface string
	Via       netip.Addr
	// CIDRs are what is behind it.
	CIDRs []netip.Prefix
}

// findLAN finds an attached LAN of the scope.
func findLAN(tx *store.Tx, scope app.Scope, id app.LANID) (app.LAN, error) {
	l, ok := store.LANs.Get(tx, id)
	if !ok || l.Scope != scope {
		return app.LAN{}, notFound("InvalidLanID.NotFound", "LAN ID", string(id))
	}
	return l, nil
}

// AttachLAN makes a real network behind the host a target of routes of a VPC. Nothing reaches it before a route names it.
func (c *EC2) AttachLAN(ctx context.Context, scope app.Scope, in AttachLANInput) (app.LAN, error) {
	out := app.LAN{Scope: scope, VPC: in.VPC, Interface: in.Interface, Via: in.Via, CIDRs: slices.Clone(in.CIDRs)}
	for n, p := range out.CIDRs {
		out.CIDRs[n] = p.Masked()
	}
	if err := checkLAN(out); err != nil {
		return app.LAN{}, err
	}
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, in.VPC)
		if err != nil {
			return err
		}
		for _, block := range v.Blocks() {
			if n := slices.IndexFunc(out.CIDRs, block.Overlaps); n >= 0 {
				return lanBlock(out.CIDRs[n], "it overlaps %s, a block of %s", block, v.ID)
			}
		}
		for other := range store.LANsByVPC.Each(tx, v.ID) {
			for _, p := range other.CIDRs {
				if slices.Contains(out.CIDRs, p) {
					return fail(app.KindExists, "InvalidParameterValue", "The block %s is behind %s already: detach that first", p, other.ID)
				}
			}
		}
		if n := count(store.LANsByScope.Each(tx, scope)); n >= c.cfg.Quotas.LANs {
			return fail(app.KindQuota, "LanLimitExceeded", "The maximum number of attached LANs has been reached: there are %d in %s. Detach one first", n, scope.Region)
		}
		out.ID, out.CreatedAt = app.LANID(c.cfg.IDs.Prefixed("lan")), c.now()
		store.Control.LANs.Put(tx, out)
		return nil
	})
	return out, err
}

// checkLAN refuses what cannot be a LAN of any VPC.
func checkLAN(l app.LAN) error {
	switch {
	case (l.Interface == "") == !l.Via.IsValid():
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "Exactly one of Interface (%q) and Via (%s) is needed: the link of this host to the network, or the address of a router on the way to it", l.Interface, l.Via)
	case l.Interface != "" && (!linkName.MatchString(l.Interface) || l.Interface == "lo" || l.Interface == "." || l.Interface == ".."):
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Interface %q cannot lead to a network: give the name of a link of this host, such as eth1", l.Interface)
	case l.Via.IsValid() && (!l.Via.Is4() || never(netip.PrefixFrom(l.Via, 32)) != ""):
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Via %s cannot be a router: give its IPv4 address on a network of this host", l.Via)
	case len(l.CIDRs) == 0 || len(l.CIDRs) > maxLANBlocks:
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "%d blocks were given: say with 1 to %d CIDR blocks what is behind the network", len(l.CIDRs), maxLANBlocks)
	}
	for n, p := range l.CIDRs {
		switch {
		case !p.IsValid() || !p.Addr().Is4():
			return lanBlock(p, "it is not an IPv4 block such as 192.168.7.0/24")
		case never(p) != "":
			return lanBlock(p, "%s can be behind no network", never(p))
		case slices.ContainsFunc(l.CIDRs[:n], p.Overlaps):
			return lanBlock(p, "it overlaps another one of the same call")
		}
	}
	return nil
}

// never returns the range that can be behind no network and that a block meets, "" = none.
func never(p netip.Prefix) string {
	for _, taken := range append(slices.Clone(vpc.NeverReachable), managedRange) {
		if taken.Overlaps(p) {
			return taken.String()
		}
	}
	return ""
}

func lanBlock(p netip.Prefix, why string, args ...any) error {
	return fail(app.KindInvalidRequest, "InvalidParameterValue", "The CIDR block %s cannot be attached: %s", p, fmt.Sprintf(why, args...))
}

// ListLANs returns the attached LANs, by id.
func (c *EC2) ListLANs(ctx context.Context, scope app.Scope) (out []app.LAN, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for l := range store.LANsByScope.Each(tx, scope) {
			out = append(out, l)
		}
		return nil
	})
	return out, err
}

// DetachLAN takes a LAN from its VPC; no route may name it.
func (c *EC2) DetachLAN(ctx context.Context, scope app.Scope, id app.LANID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		l, err := findLAN(tx, scope, id)
		if err != nil {
			return err
		}
		for t := range store.RouteTablesByVPC.Each(tx, l.VPC) {
			for _, r := range t.Routes {
				if r.Target == string(id) {
					return dependency("LAN", string(id), "The route to %s in %s names it: delete the route first", destinationOf(r), t.ID)
				}
			}
		}
		store.Control.LANs.Delete(tx, id)
		return nil
	})
}
