package ec2

import (
	"context"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// TableDetail is a route table with its tags.
type TableDetail struct {
	app.RouteTable
	Routes []RouteDetail
	Tags   app.Tags
}

// RouteDetail is a route; Blackhole: its target is gone or attached to nothing.
type RouteDetail struct {
	app.Route
	Blackhole bool
}

// findRouteTable finds a route table of the scope.
func findRouteTable(tx *store.Tx, scope app.Scope, id app.RouteTableID) (app.RouteTable, error) {
	t, ok := store.RouteTables.Get(tx, id)
	if !ok || t.Scope != scope {
		return app.RouteTable{}, notFound("InvalidRouteTableID.NotFound", "routeTable ID", string(id))
	}
	return t, nil
}

func detailTable(tx *store.Tx, t app.RouteTable) TableDetail {
	out := TableDetail{RouteTable: t, Tags: Tags(tx, string(t.ID))}
	for _, r := range t.Routes {
		out.Routes = append(out.Routes, RouteDetail{r, blackhole(tx, t.VPC, r)})
	}
	return out
}

// blackhole reports whether a route leads nowhere now.
func blackhole(tx *store.Tx, vpc app.VPCID, r app.Route) bool {
	switch r.Kind {
	case app.TargetIGW:
		g, ok := store.InternetGateways.Get(tx, app.IGWID(r.Target))
		return !ok || g.VPC != vpc
	case app.TargetNAT:
		g, ok := store.NATGateways.Get(tx, app.NATGatewayID(r.Target))
		return !ok || !g.DeletedAt.IsZero()
	case app.TargetInterface:
		ni, ok := store.NetworkInterfaces.Get(tx, app.InterfaceID(r.Target))
		return !ok || ni.Owner == ""
	case app.TargetLAN:
		_, ok := store.LANs.Get(tx, app.LANID(r.Target))
		return !ok
	}
	return false
}

// CreateTable makes a route table that has only the local routes of its VPC; the same token again returns the one that
// it made.
func (c *EC2) CreateTable(ctx context.Context, scope app.Scope, vpc app.VPCID, token string, tags app.Tags) (TableDetail, error) {
	if err := checkTags(tags); err != nil {
		return TableDetail{}, err
	}
	var out TableDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, vpc)
		if err != nil {
			return err
		}
		for t := range store.RouteTablesByScope.Each(tx, scope) {
			if token != "" && t.ClientToken == token {
				if t.VPC != vpc {
					return mismatch(token)
				}
				out = detailTable(tx, t)
				return nil
			}
		}
		if n := count(store.RouteTablesByVPC.Each(tx, vpc)); n >= c.cfg.Quotas.RouteTablesPerVPC {
			return fail(app.KindQuota, "RouteTableLimitExceeded", "The maximum number of route tables has been reached: %s has %d. Delete one first", vpc, n)
		}
		t := c.newRouteTable(tx, v, false)
		t.ClientToken = token
		store.Control.RouteTables.Put(tx, t)
		putTags(tx, string(t.ID), tags)
		out = detailTable(tx, t)
		return nil
	})
	return out, err
}

// DescribeTables returns all route tables, by id.
func (c *EC2) DescribeTables(ctx context.Context, scope app.Scope) (out []TableDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for t := range store.RouteTablesByScope.Each(tx, scope) {
			out = append(out, detailTable(tx, t))
		}
		return nil
	})
	return out, err
}

// DeleteTable removes a route table that is not the main one and that no subnet names.
func (c *EC2) DeleteTable(ctx context.Context, scope app.Scope, id app.RouteTableID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		t, err := findRouteTable(tx, scope, id)
		switch {
		case err != nil:
			return err
		case t.Main():
			return dependency("routeTable", string(id), "It is the main route table of %s", t.VPC)
		case len(t.Associations) > 0:
			return dependency("routeTable", string(id), "It is associated with %s: remove association %s first", t.Associations[0].Subnet, t.Associations[0].ID)
		}
		for e := range store.EndpointsByVPC.Each(tx, t.VPC) {
			if n := slices.Index(e.RouteTables, id); n >= 0 {
				e.RouteTables = slices.Delete(slices.Clone(e.RouteTables), n, n+1)
				store.Control.Endpoints.Put(tx, e)
			}
		}
		store.Control.RouteTables.Delete(tx, id)
		deleteTags(tx, string(id))
		return nil
	})
}

// AssociateTable makes a subnet use a route table of its VPC.
func (c *EC2) AssociateTable(ctx context.Context, scope app.Scope, id app.RouteTableID, subnet app.SubnetID) (app.AssociationID, error) {
	made := app.TableAssociation{Subnet: subnet}
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		t, err := findRouteTable(tx, scope, id)
		if err != nil {
			return err
		}
		s, err := findSubnet(tx, scope, subnet)
		if err != nil {
			return err
		}
		if s.VPC != t.VPC {
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Route table %s and network %s belong to different networks: %s and %s", id, subnet, t.VPC, s.VPC)
		}
		for other := range store.RouteTablesByVPC.Each(tx, t.VPC) {
			for _, a := range other.Associations {
				if a.Subnet == subnet {
					return fail(app.KindExists, "Resource.AlreadyAssociated", "the specified association for route table %s conflicts with an existing association: %s of %s has %s. Replace that one", id, a.ID, other.ID, subnet)
				}
			}
		}
		made.ID = app.AssociationID(c.cfg.IDs.Prefixed("rtbassoc"))
		t.Associations = append(slices.Clone(t.Associations), made)
		store.Control.RouteTables.Put(tx, t)
		return nil
	})
	return made.ID, err
}

// findTableAssociation finds the route table that has an association.
func findTableAssociation(tx *store.Tx, scope app.Scope, id app.AssociationID) (app.RouteTable, int, error) {
	for t := range store.RouteTablesByScope.Each(tx, scope) {
		if n := slices.IndexFunc(t.Associations, func(a app.TableAssociation) bool { return a.ID == id }); n >= 0 {
			return t, n, nil
		}
	}
	return app.RouteTable{}, 0, notFound("InvalidAssociationID.NotFound", "association ID", string(id))
}

// DisassociateTable makes a subnet use the main route table again.
func (c *EC2) DisassociateTable(ctx context.Context, scope app.Scope, id app.AssociationID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		t, n, err := findTableAssociation(tx, scope, id)
		if err != nil {
			return err
		}
		if t.Associations[n].Main {
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "cannot disassociate the main route table association %s: replace it", id)
		}
		t.Associations = slices.Delete(slices.Clone(t.Associations), n, n+1)
		store.Control.RouteTables.Put(tx, t)
		return nil
	})
}

// ReplaceTableAssociation gives a subnet, or with the main association a VPC, another route table.
func (c *EC2) ReplaceTableAssociation(ctx context.Context, scope app.Scope, id app.AssociationID, table app.RouteTableID) (app.TableAssociation, error) {
	var made app.TableAssociation
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		old, n, err := findTableAssociation(tx, scope, id)
		if err != nil {
			return err
		}
		to, err := findRouteTable(tx, scope, table)
		if err != nil {
			return err
		}
		if to.VPC != old.VPC {
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Route table %s and association %s belong to different networks: %s and %s", table, id, to.VPC, old.VPC)
		}
		made = old.Associations[n]
		made.ID = app.AssociationID(c.cfg.IDs.Prefixed("rtbassoc"))
		old.Associations = slices.Delete(slices.Clone(old.Associations), n, n+1)
		store.Control.RouteTables.Put(tx, old)
		to, _ = store.RouteTables.Get(tx, table) // again: it may be the same one
		to.Associations = append(slices.Clone(to.Associations), made)
		store.Control.RouteTables.Put(tx, to)
		return nil
	})
	return made, err
}
