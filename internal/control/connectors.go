package control

import (
	"context"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

// maxConnectorGroups is how many security groups an interface carries at most (VPC guide, "Amazon VPC quotas").
const maxConnectorGroups = 5

// CreateVPCConnector makes a connector: subnets of one VPC and security groups, the VPC's default group when none is named.
func (c *Control) CreateVPCConnector(ctx context.Context, scope app.Scope, in CreateVPCConnectorInput) (app.VPCConnector, error) {
	connector := app.VPCConnector{Scope: scope, Name: in.Name, Revision: 1, CreatedAt: c.now()}
	if err := checkName("VpcConnectorName", in.Name, connectorName); err != nil {
		return connector, err
	}
	if err := checkTags(in.Tags, false); err != nil {
		return connector, err
	}
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if old, exists := liveConnector(tx, scope, in.Name); exists {
			return invalid("VPC connector with the provided name already exists: %s. ARN: %s. A connector has one revision: choose another name, or delete that one first.", in.Name, old.ARN())
		}
		live := 0
		for other := range store.VPCConnectorsByScope.Each(tx, scope) {
			if other.DeletedAt.IsZero() {
				live++
			}
		}
		if live >= c.cfg.Quotas.VPCConnectors {
			return quota("You have %d VPC connectors, which is the limit. Delete one first.", live)
		}
		var err error
		if connector.VPC, connector.Subnets, err = connectorSubnets(tx, scope, in.Subnets); err != nil {
			return err
		}
		if connector.Groups, err = connectorGroups(tx, scope, connector.VPC, in.Groups); err != nil {
			return err
		}
		connector.ID = app.VPCConnectorID(c.cfg.IDs.Hex32())
		store.Control.VPCConnectors.Put(tx, connector)
		putTags(tx, app.Resource(connector.ARN()), in.Tags)
		return nil
	})
	return connector, err
}

// connectorSubnets checks that the subnets exist and are of one VPC, and returns them without repetitions.
func connectorSubnets(tx *store.Tx, scope app.Scope, named []app.SubnetID) (vpc app.VPCID, out []app.SubnetID, err error) {
	for _, id := range named {
		subnet, ok := store.Subnets.Get(tx, id)
		switch {
		case !ok || subnet.Scope != scope:
			return "", nil, invalid("Subnets names %q, which does not exist in account %s and region %s. Name subnets of one VPC (aws ec2 describe-subnets).", id, scope.Account, scope.Region)
		case vpc != "" && subnet.VPC != vpc:
			return "", nil, invalid("All Subnets have to be of one VPC: %s is in %s, %s is in %s. Name the subnets of one of them.", out[0], vpc, id, subnet.VPC)
		}
		vpc = subnet.VPC
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if len(out) == 0 {
		return "", nil, invalid("Subnets is empty. Name at least one subnet of the VPC that the services are to reach.")
	}
	return vpc, out, nil
}

// connectorGroups checks that the groups are of the VPC; none means its default group.
func connectorGroups(tx *store.Tx, scope app.Scope, vpc app.VPCID, named []app.GroupID) (out []app.GroupID, err error) {
	for _, id := range named {
		group, ok := store.SecurityGroups.Get(tx, id)
		switch {
		case !ok || group.Scope != scope:
			return nil, invalid("SecurityGroups names %q, which does not exist in account %s and region %s. Name groups of %s (aws ec2 describe-security-groups).", id, scope.Account, scope.Region, vpc)
		case group.VPC != vpc:
			return nil, invalid("SecurityGroups names %s, which is of %s, but the subnets are of %s. Name groups of %s.", id, group.VPC, vpc, vpc)
		}
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if len(out) > maxConnectorGroups {
		return nil, invalid("SecurityGroups names %d groups; an interface can carry %d. Name fewer.", len(out), maxConnectorGroups)
	}
	if len(out) > 0 {
		return out, nil
	}
	for group := range store.SecurityGroupsByVPC.Each(tx, vpc) {
		if group.Default {
			return []app.GroupID{group.ID}, nil
		}
	}
	return nil, invalid("%s has no default security group. Name one in SecurityGroups.", vpc)
}

// DescribeVPCConnector returns a connector by its full ARN, for some time also a deleted one.
func (c *Control) DescribeVPCConnector(ctx context.Context, scope app.Scope, arn string) (app.VPCConnector, error) {
	var out app.VPCConnector
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		var err error
		out, err = wholeConnector(tx, scope, arn)
		return err
	})
	return out, err
}

// ListVPCConnectors lists the connectors that are not deleted.
func (c *Control) ListVPCConnectors(ctx context.Context, scope app.Scope, page PageRequest) (Page[app.VPCConnector], error) {
	var out Page[app.VPCConnector]
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		var err error
		keep := func(v app.VPCConnector) bool { return v.DeletedAt.IsZero() }
		out, err = list(tx, store.VPCConnectorsByScope, scope, keep, page, "connectors", string(scope.Account), string(scope.Region))
		return err
	})
	return out, err
}

// DeleteVPCConnector makes a connector inactive that no service uses.
func (c *Control) DeleteVPCConnector(ctx context.Context, scope app.Scope, arn string) (app.VPCConnector, error) {
	var out app.VPCConnector
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		connector, err := wholeConnector(tx, scope, arn)
		switch {
		case err != nil:
			return err
		case !connector.DeletedAt.IsZero():
			return connectorDeleted(&connector)
		case connectorUsed(tx, &connector):
			return invalid("Provided VPC connector arn is being used by other services. ARN:  %s", connector.ARN())
		}
		connector.DeletedAt = c.now()
		store.Control.VPCConnectors.Put(tx, connector)
		out = connector
		return nil
	})
	return out, err
}

func connectorDeleted(c *app.VPCConnector) error {
	return invalid("The VPC connector you specified has been deleted. ARN: %s. Create another one.", c.ARN())
}

// connectorUsed reports whether a service that is not deleted names the connector, or has to be able to go back to a
// revision that does.
func connectorUsed(tx *store.Tx, c *app.VPCConnector) bool {
	arn := c.ARN()
	for svc := range store.ServicesByScope.Each(tx, c.Scope) {
		if svc.Config.Network.VpcConnectorARN == arn {
			return true
		}
		op, _ := store.Operations.Get(tx, svc.Operation)
		for _, n := range []app.RevisionNumber{svc.Routed, svc.Paused, op.Revision, op.From} {
			r, _ := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: n})
			if r.Config.Network.VpcConnectorARN == arn {
				return true
			}
		}
		for i := range store.InstancesByService.Each(tx, svc.ID) {
			r, _ := store.Revisions.Get(tx, app.RevisionKey{Service: svc.ID, Number: i.Revision})
			if r.Config.Network.VpcConnectorARN == arn {
				return true
			}
		}
	}
	return false
}

// wholeConnector is findConnector for the operations that want the full ARN.
func wholeConnector(tx *store.Tx, scope app.Scope, arn string) (app.VPCConnector, error) {
	parsed, err := parseConfiguration(scope, arn, "vpcconnector")
	if err == nil && parsed.ID == "" {
		err = app.Errorf(app.KindInvalidRequest, arn, "The ARN %q is not complete: expected %s.", arn, scope.ARN("apprunner", "vpcconnector/NAME/REVISION/ID"))
	}
	if err != nil {
		return app.VPCConnector{}, err
	}
	return findConnector(tx, scope, arn)
}

// findConnector looks a connector up by a full or partial ARN; without the id it means the live one of that name.
// Deleted ones are found by their full ARN.
func findConnector(tx *store.Tx, scope app.Scope, arn string) (app.VPCConnector, error) {
	parsed, err := parseConfiguration(scope, arn, "vpcconnector")
	if err != nil {
		return app.VPCConnector{}, err
	}
	var connector app.VPCConnector
	ok := false
	if parsed.ID != "" {
		connector, ok = store.VPCConnectors.Get(tx, app.VPCConnectorID(parsed.ID))
	} else {
		connector, ok = liveConnector(tx, scope, parsed.Name)
	}
	if !ok || connector.Scope != scope || connector.Name != parsed.Name || parsed.Revision != 0 && connector.Revision != parsed.Revision {
		return app.VPCConnector{}, notFound(arn, "VPC connector with the provided ARN does not exist: %s.", arn)
	}
	return connector, nil
}

func liveConnector(tx *store.Tx, scope app.Scope, name string) (app.VPCConnector, bool) {
	for connector := range store.VPCConnectorsByName.Each(tx, app.NamedKey{Scope: scope, Name: name}) {
		if connector.DeletedAt.IsZero() {
			return connector, true
		}
	}
	return app.VPCConnector{}, false
}

// resolveConnector turns what a service names into the full ARN of a live connector; errors are InvalidRequest.
func resolveConnector(tx *store.Tx, scope app.Scope, arn string) (string, error) {
	connector, err := findConnector(tx, scope, arn)
	if err != nil {
		return "", invalid("VpcConnectorArn: %v", err)
	}
	if !connector.DeletedAt.IsZero() {
		return "", connectorDeleted(&connector)
	}
	return connector.ARN(), nil
}

// connectorOfRevision refuses a revision whose connector is gone.
func connectorOfRevision(tx *store.Tx, r app.Revision) error {
	if r.Config.Network.EgressType != app.EgressVPC {
		return nil
	}
	if connector, ok := operation.Connector(tx, r.Config); !ok || !connector.DeletedAt.IsZero() {
		return invalid("Revision %d uses the VPC connector %s, which has been deleted.", r.Number, r.Config.Network.VpcConnectorARN)
	}
	return nil
}
