package ec2

import (
	"context"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// GatewayDetail is an internet gateway with its tags.
type GatewayDetail struct {
	app.InternetGateway
	Tags app.Tags
}

// findGateway finds an internet gateway of the scope.
func findGateway(tx *store.Tx, scope app.Scope, id app.IGWID) (app.InternetGateway, error) {
	g, ok := store.InternetGateways.Get(tx, id)
	if !ok || g.Scope != scope {
		return app.InternetGateway{}, notFound("InvalidInternetGatewayID.NotFound", "internetGateway ID", string(id))
	}
	return g, nil
}

// CreateGateway makes an internet gateway that is attached to nothing.
func (c *EC2) CreateGateway(ctx context.Context, scope app.Scope, tags app.Tags) (GatewayDetail, error) {
	if err := checkTags(tags); err != nil {
		return GatewayDetail{}, err
	}
	out := GatewayDetail{Tags: tags}
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if n := count(store.InternetGatewaysByScope.Each(tx, scope)); n >= c.cfg.Quotas.InternetGateways {
			return fail(app.KindQuota, "InternetGatewayLimitExceeded", "The maximum number of internet gateways has been reached: there are %d in %s. Delete one first", n, scope.Region)
		}
		out.InternetGateway = app.InternetGateway{ID: app.IGWID(c.cfg.IDs.Prefixed("igw")), Scope: scope, CreatedAt: c.now()}
		store.Control.InternetGateways.Put(tx, out.InternetGateway)
		putTags(tx, string(out.ID), tags)
		return nil
	})
	return out, err
}

// DescribeGateways returns all internet gateways, by id.
func (c *EC2) DescribeGateways(ctx context.Context, scope app.Scope) (out []GatewayDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for g := range store.InternetGatewaysByScope.Each(tx, scope) {
			out = append(out, GatewayDetail{g, Tags(tx, string(g.ID))})
		}
		return nil
	})
	return out, err
}

// AttachGateway makes a gateway the way out of a VPC that has none.
func (c *EC2) AttachGateway(ctx context.Context, scope app.Scope, id app.IGWID, vpc app.VPCID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := findGateway(tx, scope, id)
		if err != nil {
			return err
		}
		if _, err := findVPC(tx, scope, vpc); err != nil {
			return err
		}
		if g.VPC != "" {
			return fail(app.KindInvalidState, "Resource.AlreadyAssociated", "resource %s is already attached to network %s: detach it first", id, g.VPC)
		}
		if other, ok := store.InternetGatewaysByVPC.First(tx, vpc); ok {
			return fail(app.KindInvalidState, "InvalidParameterValue", "Network %s already has an internet gateway attached: %s. Detach it first", vpc, other.ID)
		}
		g.VPC = vpc
		store.Control.InternetGateways.Put(tx, g)
		return nil
	})
}

// DetachGateway takes a gateway from its VPC, in which no Elastic IP may be in use.
func (c *EC2) DetachGateway(ctx context.Context, scope app.Scope, id app.IGWID, vpc app.VPCID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := findGateway(tx, scope, id)
		if err != nil {
			return err
		}
		if _, err := findVPC(tx, scope, vpc); err != nil {
			return err
		}
		if g.VPC != vpc {
			return fail(app.KindInvalidState, "Gateway.NotAttached", "resource %s is not attached to network %s", id, vpc)
		}
		for e := range store.ElasticIPsByScope.Each(tx, scope) {
			if ni, ok := store.NetworkInterfaces.Get(tx, e.Interface); ok && ni.VPC == vpc {
				return fail(app.KindInvalidState, "DependencyViolation", "Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway: %s (%s) is mapped to %s", vpc, e.Address, e.ID, ni.ID)
			}
		}
		g.VPC = ""
		store.Control.InternetGateways.Put(tx, g)
		return nil
	})
}

// DeleteGateway removes a gateway that is not attached.
func (c *EC2) DeleteGateway(ctx context.Context, scope app.Scope, id app.IGWID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := findGateway(tx, scope, id)
		if err != nil {
			return err
		}
		if g.VPC != "" {
			return dependency("internetGateway", string(id), "It is attached to %s: detach it first", g.VPC)
		}
		store.Control.InternetGateways.Delete(tx, id)
		deleteTags(tx, string(id))
		return nil
	})
}

// attachedGateway returns the id of a VPC's internet gateway, or the error for a VPC without one.
func attachedGateway(tx *store.Tx, vpc app.VPCID) (app.IGWID, error) {
	g, ok := store.InternetGatewaysByVPC.First(tx, vpc)
	if !ok {
		return "", fail(app.KindInvalidState, "Gateway.NotAttached", "Network %s is not attached to any internet gateway: attach one first", vpc)
	}
	return g.ID, nil
}
