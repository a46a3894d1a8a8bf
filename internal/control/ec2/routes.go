package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

// RouteInput is a route as a caller writes it: one destination, and one target unless it is to be deleted.
type RouteInput struct {
	Table app.RouteTableID
	// CIDR or PrefixList is the destination.
	CIDR       string
	PrefixList app.PrefixListID
	// Gateway is an igw- or lan- id, Interface an eni- or lan- id.
	Gateway, NAT, Interface string
	Host                    app.HostID
	// Local asks for the route that the VPC itself gives.
	Local bool
}

// destination reads where a route is for.
func (in RouteInput) destination(tx *store.Tx, scope app.Scope) (r app.Route, err error) {
	switch given(in.CIDR != "", in.PrefixList != "") {
	case 0:
		return r, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter DestinationCidrBlock or DestinationPrefixListId")
	case 2:
		return r, fail(app.KindInvalidRequest, "InvalidParameterCombination", "DestinationCidrBlock and DestinationPrefixListId cannot both be given: leave one out")
	}
	if in.CIDR != "" {
		r.CIDR, err = parseBlock("destinationCidrBlock", in.CIDR)
		return r, err
	}
	l, err := findPrefixList(tx, scope, in.PrefixList)
	r.PrefixList = l.ID
	return r, err
}

// destinationOf is a route's destination in words.
func destinationOf(r app.Route) string {
	if r.PrefixList != "" {
		return string(r.PrefixList)
	}
	return r.CIDR.String()
}

func routeIndex(t app.RouteTable, like app.Route) int {
	return slices.IndexFunc(t.Routes, func(r app.Route) bool { return r.CIDR == like.CIDR && r.PrefixList == like.PrefixList })
}

// target fills in where a route leads.
func (in RouteInput) target(tx *store.Tx, t app.RouteTable, r *app.Route) error {
	if given(in.Gateway != "", in.NAT != "", in.Interface != "", in.Host != "") != 1 {
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "The request must contain exactly one of GatewayId, NatGatewayId, NetworkInterfaceId and InstanceId")
	}
	var network app.VPCID
	var err error
	switch id := in.Gateway + in.Interface; {
	case strings.HasPrefix(id, "lan-"):
		network, err = in.toLAN(tx, t, r, app.LANID(id))
	case in.Gateway != "":
		g, missing := findGateway(tx, t.Scope, app.IGWID(in.Gateway))
		if missing != nil {
			return notFound("InvalidGatewayID.NotFound", "gateway ID", in.Gateway)
		}
		r.Kind, r.Target, network = app.TargetIGW, in.Gateway, g.VPC
	case in.NAT != "":
		g, missing := findNAT(tx, t.Scope, app.NATGatewayID(in.NAT))
		if missing != nil || !g.DeletedAt.IsZero() {
			return notFound("InvalidNatGatewayID.NotFound", "natGateway ID", in.NAT)
		}
		r.Kind, r.Target, network = app.TargetNAT, in.NAT, g.VPC
	default:
		var ni app.NetworkInterface
		if in.Interface != "" {
			ni, err = findInterface(tx, t.Scope, app.InterfaceID(in.Interface))
		} else {
			ni, err = onlyInterface(tx, t.Scope, in.Host)
		}
		r.Kind, r.Target, r.Host, network = app.TargetInterface, string(ni.ID), in.Host, ni.VPC
	}
	if err == nil && network != t.VPC {
		err = fail(app.KindInvalidRequest, "InvalidParameterValue", "route table %s and %s belong to different networks: %s and %s", t.ID, r.Target, t.VPC, orNone(string(network)))
	}
	return err
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// toLAN makes a route to a LAN, behind which some of the destination must be.
func (in RouteInput) toLAN(tx *store.Tx, t app.RouteTable, r *app.Route, id app.LANID) (app.VPCID, error) {
	l, err := findLAN(tx, t.Scope, id)
	if err != nil {
		return "", err
	}
	if r.CIDR.IsValid() && !slices.ContainsFunc(l.CIDRs, r.CIDR.Overlaps) {
		return "", fail(app.KindInvalidRequest, "InvalidParameterValue", "The destination CIDR block %s is not behind %s, which has %s", r.CIDR, id, joined(l.CIDRs))
	}
	r.Kind, r.Target = app.TargetLAN, string(id)
	return l.VPC, nil
}

// checkRoute refuses destinations that a route may not have.
func checkRoute(tx *store.Tx, t app.RouteTable, r app.Route) error {
	if !r.CIDR.IsValid() {
		return nil
	}
	within := func(b netip.Prefix) bool { return b.Bits() <= r.CIDR.Bits() && b.Contains(r.CIDR.Addr()) }
	if n := slices.IndexFunc(vpc.NeverReachable, within); n >= 0 {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "The destination CIDR block %s is invalid: %s is reserved", r.CIDR, vpc.NeverReachable[n])
	}
	v, _ := store.VPCs.Get(tx, t.VPC)
	if slices.ContainsFunc(v.Blocks(), within) && r.Kind != app.TargetInterface && r.Kind != app.TargetNAT {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "The destination CIDR block %s is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface, an instance or a NAT gateway.", r.CIDR)
	}
	return nil
}

// checkRoom refuses more routes than a table may have; one to a prefix list counts for all entries that the list may have.
func (c *EC2) checkRoom(tx *store.Tx, t app.RouteTable) error {
	n := 0
	for _, r := range t.Routes {
		switch l, listed := store.PrefixLists.Get(tx, r.PrefixList); {
		case listed:
			n += l.MaxEntries
		case r.Kind != app.TargetLocal:
			n++
		}
	}
	if n > c.cfg.Quotas.RoutesPerTable {
		return fail(app.KindQuota, "RouteLimitExceeded", "The maximum number of routes has been reached: %s may have %d, and with this one it would have %d", t.ID, c.cfg.Quotas.RoutesPerTable, n)
	}
	return nil
}

// CreateRoute adds a route.
func (c *EC2) CreateRoute(ctx context.Context, scope app.Scope, in RouteInput) error {
	return c.onRoute(ctx, scope, in, func(tx *store.Tx, t *app.RouteTable, r app.Route, n int) error {
		if err := in.target(tx, *t, &r); err != nil {
			return err
		}
		if n >= 0 {
			return fail(app.KindExists, "RouteAlreadyExists", "The route identified by %s already exists. Replace or delete it", destinationOf(r))
		}
		if err := checkRoute(tx, *t, r); err != nil {
			return err
		}
		r.Origin = originRoute
		t.Routes = append(t.Routes, r)
		return c.checkRoom(tx, *t)
	})
}

// onRoute finds the table that the input names and changes it; r has the input's destination only, and n is the index of the
// table's route to it, -1 when there is none. The routes are a copy.
func (c *EC2) onRoute(ctx context.Context, scope app.Scope, in RouteInput, change func(tx *store.Tx, t *app.RouteTable, r app.Route, n int) error) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		t, err := findRouteTable(tx, scope, in.Table)
		if err != nil {
			return err
		}
		r, err := in.destination(tx, scope)
		if err != nil {
			return err
		}
		t.Routes = slices.Clone(t.Routes)
		if err := change(tx, &t, r, routeIndex(t, r)); err != nil {
			return err
		}
		store.Control.RouteTables.Put(tx, t)
		return nil
	})
}

// ReplaceRoute gives a route another target.
func (c *EC2) ReplaceRoute(ctx context.Context, scope app.Scope, in RouteInput) error {
	return c.onRoute(ctx, scope, in, func(tx *store.Tx, t *app.RouteTable, r app.Route, n int) error {
		switch {
		case n < 0:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "There is no route defined for '%s' in the route table. Use CreateRoute instead.", destinationOf(r))
		case in.Local && t.Routes[n].Kind == app.TargetLocal:
			return nil
		case in.Local:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "The route to %s cannot become local: %s has no such block", destinationOf(r), t.VPC)
		case t.Routes[n].Kind == app.TargetLocal:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "cannot replace local route %s in route table %s: create a route to a part of it instead", destinationOf(r), t.ID)
		}
		if err := in.target(tx, *t, &r); err != nil {
			return err
		}
		if err := checkRoute(tx, *t, r); err != nil {
			return err
		}
		r.Origin = originRoute
		t.Routes[n] = r
		return nil
	})
}

// DeleteRoute removes the route to a destination; local ones stay.
func (c *EC2) DeleteRoute(ctx context.Context, scope app.Scope, in RouteInput) error {
	return c.onRoute(ctx, scope, in, func(_ *store.Tx, t *app.RouteTable, r app.Route, n int) error {
		switch {
		case n < 0:
			return fail(app.KindNotFound, "InvalidRoute.NotFound", "no route with destination %s in route table %s", destinationOf(r), t.ID)
		case t.Routes[n].Kind == app.TargetLocal:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "cannot remove local route %s in route table %s", destinationOf(r), t.ID)
		}
		t.Routes = slices.Delete(t.Routes, n, n+1)
		return nil
	})
}
