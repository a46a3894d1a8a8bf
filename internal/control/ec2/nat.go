package ec2

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// natShown is how long a deleted NAT gateway stays describable.
const natShown = time.Hour

// NATDetail is a NAT gateway with its tags.
type NATDetail struct {
	app.NATGateway
	Tags app.Tags
}

// findNAT finds a NAT gateway of the scope, for an hour also a deleted one.
func findNAT(tx *store.Tx, scope app.Scope, id app.NATGatewayID) (app.NATGateway, error) {
	g, ok := store.NATGateways.Get(tx, id)
	if !ok || g.Scope != scope {
		return app.NATGateway{}, notFound("NatGatewayNotFound", "NAT gateway ID", string(id))
	}
	return g, nil
}

// CreateNATInput says what NAT gateway to make.
type CreateNATInput struct {
	Subnet app.SubnetID
	// Private gateways have no public address, others need Allocation.
	Private    bool
	Allocation app.AllocationID
	// Address is its private address; the zero one means one that is free.
	Address     netip.Addr
	ClientToken string
	Tags        app.Tags
}

// CreateNAT makes a NAT gateway, which can be used at once, or one that has failed and says why: its VPC has no internet
// gateway, or its Elastic IP is taken. The same ClientToken again returns the one that it made.
func (c *EC2) CreateNAT(ctx context.Context, scope app.Scope, in CreateNATInput) (NATDetail, error) {
	switch {
	case !in.Private && in.Allocation == "":
		return NATDetail{}, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter AllocationId, because ConnectivityType is public")
	case in.Private && in.Allocation != "":
		return NATDetail{}, fail(app.KindInvalidRequest, "InvalidParameter", "AllocationId %s cannot be given, because ConnectivityType is private: leave one of them out", in.Allocation)
	}
	if err := checkTags(in.Tags); err != nil {
		return NATDetail{}, err
	}
	var out NATDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		subnet, err := findSubnet(tx, scope, in.Subnet)
		if err != nil {
			return err
		}
		for g := range store.NATGatewaysByScope.Each(tx, scope) {
			if in.ClientToken == "" || g.ClientToken != in.ClientToken {
				continue
			}
			if g.Subnet != in.Subnet || g.Public == in.Private || g.Allocation != in.Allocation {
				return mismatch(in.ClientToken)
			}
			out = NATDetail{g, Tags(tx, string(g.ID))}
			return nil
		}
		if err := c.roomForNAT(tx, scope, subnet.Zone); err != nil {
			return err
		}
		g, err := c.newNAT(tx, subnet, in)
		if err != nil {
			return err
		}
		putTags(tx, string(g.ID), in.Tags)
		out = NATDetail{g, in.Tags}
		return nil
	})
	return out, err
}

// mismatch is the error for a ClientToken that was used for something else.
func mismatch(token string) error {
	return fail(app.KindInvalidRequest, "IdempotentParameterMismatch", "The client token %s was used before with other parameters: use a new one", token)
}

func (c *EC2) roomForNAT(tx *store.Tx, scope app.Scope, zone string) error {
	n := 0
	for g := range store.NATGatewaysByScope.Each(tx, scope) {
		if s, ok := store.Subnets.Get(tx, g.Subnet); ok && s.Zone == zone && g.DeletedAt.IsZero() {
			n++
		}
	}
	if n >= c.cfg.Quotas.NATGatewaysPerZone {
		return fail(app.KindQuota, "NatGatewayLimitExceeded", "Performing this operation would exceed the limit of %d NAT gateways in %s. Delete one first", c.cfg.Quotas.NATGatewaysPerZone, zone)
	}
	return nil
}

func (c *EC2) newNAT(tx *store.Tx, subnet app.Subnet, in CreateNATInput) (app.NATGateway, error) {
	g := app.NATGateway{
		ID: app.NATGatewayID(c.cfg.IDs.Prefixed("nat")), Scope: subnet.Scope, VPC: subnet.VPC, Subnet: subnet.ID, Public: !in.Private,
		ClientToken: in.ClientToken, CreatedAt: c.now(),
	}
	var e app.ElasticIP
	if g.Public {
		var err error
		if e, err = findAddress(tx, g.Scope, in.Allocation); err != nil {
			return g, err
		}
		g.Allocation = e.ID
		g.FailureCode, g.FailureCause = natFailure(tx, g.VPC, e)
	}
	if g.FailureCode != "" {
		g.DeletedAt = g.CreatedAt
		store.Control.NATGateways.Put(tx, g)
		return g, nil
	}
	n := eni.New{
		Scope: g.Scope, Kind: app.InterfaceOfNAT, Subnet: subnet.ID, Description: "Interface for NAT Gateway " + string(g.ID), Owner: string(g.ID),
		Attachment: app.AttachmentENI{ID: c.cfg.IDs.Prefixed("ela-attach"), DeviceIndex: 1, At: c.now()},
	}
	if in.Address.IsValid() {
		n.Addresses = []netip.Addr{in.Address}
	}
	ni, err := eni.Create(tx, c.cfg.IDs, c.now(), n)
	if err != nil {
		return g, err
	}
	g.Interface, g.PrivateIP = ni.ID, ni.Addresses[0]
	if g.Public {
		e = c.mapAddress(tx, e, ni, g.PrivateIP)
		g.Association, g.PublicIP = e.Association, e.Address
	}
	store.Control.NATGateways.Put(tx, g)
	return g, nil
}

// natFailure is why a public gateway cannot come up, "" = it can (VPC guide, "Troubleshoot NAT gateways").
func natFailure(tx *store.Tx, vpc app.VPCID, e app.ElasticIP) (code, cause string) {
	if e.Interface != "" {
		return "Resource.AlreadyAssociated", fmt.Sprintf("Elastic IP address [%s] is already associated with %s: disassociate it first, or use another one", e.ID, e.Interface)
	}
	if _, ok := store.InternetGatewaysByVPC.First(tx, vpc); !ok {
		return "Gateway.NotAttached", fmt.Sprintf("Network %s has no Internet gateway attached: attach one, and create the NAT gateway again", vpc)
	}
	return "", ""
}

// DescribeNATs returns all NAT gateways, by id.
func (c *EC2) DescribeNATs(ctx context.Context, scope app.Scope) (out []NATDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for g := range store.NATGatewaysByScope.Each(tx, scope) {
			out = append(out, NATDetail{g, Tags(tx, string(g.ID))})
		}
		return nil
	})
	return out, err
}

// DeleteNAT ends a NAT gateway and frees its addresses; it is shown as deleted for an hour, and routes to it are
// blackholes. One that is deleted already is fine; one that failed is shown as deleted from now on.
func (c *EC2) DeleteNAT(ctx context.Context, scope app.Scope, id app.NATGatewayID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		g, err := findNAT(tx, scope, id)
		switch {
		case err != nil:
			return err
		case g.FailureCode != "":
			g.FailureCode, g.FailureCause = "", ""
		case !g.DeletedAt.IsZero():
			return nil
		default:
			eni.Delete(tx, g.Interface)
		}
		g.DeletedAt = c.now()
		store.Control.NATGateways.Put(tx, g)
		return nil
	})
}

// Expire forgets NAT gateways that were deleted an hour ago.
func (c *EC2) Expire(ctx context.Context) error {
	now := c.now()
	var due []app.NATGatewayID
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for g := range store.NATGateways.All(tx) {
			if !g.DeletedAt.IsZero() && !now.Before(g.DeletedAt.Add(natShown)) {
				due = append(due, g.ID)
			}
		}
		return nil
	})
	if err != nil || len(due) == 0 {
		return err
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		for _, id := range due { // a deleted gateway never comes back, so what was due still is
			store.Control.NATGateways.Delete(tx, id)
			deleteTags(tx, string(id))
		}
		return nil
	})
}
