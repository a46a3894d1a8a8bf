package ec2

import (
	"cmp"
	"context"
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// The types of endpoints.
const (
	EndpointInterface = "Interface"
	EndpointGateway   = "Gateway"
)

// openPolicy is what an endpoint allows when the caller says nothing.
const openPolicy = `{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}`

// maxPolicy bounds an endpoint's policy (VPC guide, "Control access to VPC endpoints using endpoint policies").
const maxPolicy = 20480

// EndpointDetail is an endpoint with the groups that are left of its own, the zones of its subnets, and its tags.
type EndpointDetail struct {
	app.Endpoint
	Groups []app.SecurityGroup
	Zones  []string
	Tags   app.Tags
}

// findEndpoint finds an endpoint of the scope.
func findEndpoint(tx *store.Tx, scope app.Scope, id app.EndpointID) (app.Endpoint, error) {
	e, ok := store.Endpoints.Get(tx, id)
	if !ok || e.Scope != scope {
		return app.Endpoint{}, notFound("InvalidVpcEndpointId.NotFound", "Vpc Endpoint Id", string(id))
	}
	return e, nil
}

func detailEndpoint(tx *store.Tx, e app.Endpoint) EndpointDetail {
	out := EndpointDetail{Endpoint: e, Tags: Tags(tx, string(e.ID))}
	for _, id := range e.Groups {
		if g, ok := store.SecurityGroups.Get(tx, id); ok {
			out.Groups = append(out.Groups, g)
		}
	}
	for _, id := range e.Subnets {
		if s, ok := store.Subnets.Get(tx, id); ok {
			out.Zones = append(out.Zones, s.Zone)
		}
	}
	return out
}

// CreateEndpointInput says what endpoint to make.
type CreateEndpointInput struct {
	VPC     app.VPCID
	Service string
	// Type "" is Gateway.
	Type        string
	Policy      string
	RouteTables []app.RouteTableID
	Subnets     []app.SubnetID
	Groups      []app.GroupID
	// Addresses are wanted in subnets.
	Addresses map[app.SubnetID]netip.Addr
	// PrivateDNS nil is true for interface endpoints.
	PrivateDNS  *bool
	ClientToken string
	Tags        app.Tags
}

// CreateEndpoint makes an endpoint. An interface endpoint gets an interface in each subnet; a gateway endpoint adds nothing
// to what packets can do. The same ClientToken again returns the one that it made.
func (c *EC2) CreateEndpoint(ctx context.Context, scope app.Scope, in CreateEndpointInput) (EndpointDetail, error) {
	in.Type = cmp.Or(in.Type, EndpointGateway)
	if err := in.check(scope.Region); err != nil {
		return EndpointDetail{}, err
	}
	var out EndpointDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVPC(tx, scope, in.VPC)
		if err != nil {
			return err
		}
		for e := range store.EndpointsByScope.Each(tx, scope) {
			if in.ClientToken != "" && e.ClientToken == in.ClientToken {
				if e.VPC != in.VPC || e.ServiceName != in.Service || e.Type != in.Type {
					return mismatch(in.ClientToken)
				}
				out = detailEndpoint(tx, e)
				return nil
			}
		}
		if n := count(store.EndpointsByVPC.Each(tx, v.ID)); n >= c.cfg.Quotas.EndpointsPerVPC {
			return fail(app.KindQuota, "VpcEndpointLimitExceeded", "The maximum number of VPC endpoints has been reached: %s has %d. Delete one first", v.ID, n)
		}
		e := app.Endpoint{
			ID: app.EndpointID(c.cfg.IDs.Prefixed("vpce")), Scope: scope, VPC: v.ID, ServiceName: in.Service, Type: in.Type,
			Policy: cmp.Or(in.Policy, openPolicy), ClientToken: in.ClientToken, CreatedAt: c.now(),
		}
		if err := c.fillEndpoint(tx, v, &e, in); err != nil {
			return err
		}
		store.Control.Endpoints.Put(tx, e)
		putTags(tx, string(e.ID), in.Tags)
		out = detailEndpoint(tx, e)
		return nil
	})
	return out, err
}

// check refuses what no VPC can have.
func (in CreateEndpointInput) check(region app.Region) error {
	services := Services(region)
	n := slices.IndexFunc(services, func(s Service) bool { return s.Name == in.Service })
	switch {
	case n < 0:
		return MissingService(in.Service)
	case in.Type != EndpointInterface && in.Type != EndpointGateway:
		return fail(app.KindInvalidRequest, "InvalidParameter", "Endpoint type (%s) is not served here: give Interface or Gateway", in.Type)
	case !slices.Contains(services[n].Types, in.Type):
		return fail(app.KindInvalidRequest, "InvalidParameter", "Endpoint type (%s) does not match available service types (%v) of %s", in.Type, services[n].Types, in.Service)
	case in.Type == EndpointGateway && given(len(in.Subnets) > 0, len(in.Groups) > 0, in.PrivateDNS != nil && *in.PrivateDNS) > 0:
		return fail(app.KindInvalidRequest, "InvalidParameter", "SubnetIds, SecurityGroupIds and PrivateDnsEnabled cannot be given for endpoints of type Gateway: give RouteTableIds")
	case in.Type == EndpointInterface && len(in.RouteTables) > 0:
		return fail(app.KindInvalidRequest, "InvalidParameter", "RouteTableIds cannot be given for endpoints of type Interface: give SubnetIds")
	}
	for subnet := range in.Addresses {
		if !slices.Contains(in.Subnets, subnet) {
			return fail(app.KindInvalidRequest, "InvalidParameter", "The subnet %s of SubnetConfigurations is not among SubnetIds: add it", subnet)
		}
	}
	if err := checkPolicy(in.Policy); err != nil {
		return err
	}
	return checkTags(in.Tags)
}

func checkPolicy(policy string) error {
	if policy != "" && (len(policy) > maxPolicy || !json.Valid([]byte(policy))) {
		return fail(app.KindInvalidRequest, "InvalidPolicyDocument", "PolicyDocument is invalid: give JSON of at most %d characters", maxPolicy)
	}
	return nil
}

// fillEndpoint gives a new endpoint its route tables, or groups, names and interfaces.
func (c *EC2) fillEndpoint(tx *store.Tx, v app.VPC, e *app.Endpoint, in CreateEndpointInput) error {
	if e.Type == EndpointGateway {
		return addTables(tx, e, in.RouteTables)
	}
	groups := in.Groups
	if len(groups) == 0 {
		if g, ok := groupNamed(tx, v.ID, defaultGroup); ok {
			groups = []app.GroupID{g.ID}
		}
	}
	if err := c.regroup(tx, e, groups); err != nil {
		return err
	}
	e.PrivateDNS = true
	set(&e.PrivateDNS, in.PrivateDNS)
	if err := checkPrivateDNS(tx, v, *e); err != nil {
		return err
	}
	return c.addSubnets(tx, e, in.Subnets, in.Addresses)
}

func addTables(tx *store.Tx, e *app.Endpoint, ids []app.RouteTableID) error {
	for _, id := range ids {
		t, err := findRouteTable(tx, e.Scope, id)
		if err != nil {
			return err
		}
		if t.VPC != e.VPC {
			return fail(app.KindInvalidRequest, "InvalidParameter", "Route table %s is of %s and the endpoint of %s: name route tables of the endpoint's VPC", id, t.VPC, e.VPC)
		}
		for other := range store.EndpointsByVPC.Each(tx, e.VPC) {
			if other.ID != e.ID && other.ServiceName == e.ServiceName && slices.Contains(other.RouteTables, id) {
				return fail(app.KindExists, "RouteAlreadyExists", "route table %s already leads to %s through %s", id, e.ServiceName, other.ID)
			}
		}
		if !slices.Contains(e.RouteTables, id) {
			e.RouteTables = append(slices.Clone(e.RouteTables), id)
		}
	}
	return nil
}

// regroup sets the groups of an endpoint and its interfaces.
func (c *EC2) regroup(tx *store.Tx, e *app.Endpoint, ids []app.GroupID) error {
	groups, err := c.groupsOf(tx, app.NetworkInterface{Scope: e.Scope, VPC: e.VPC, ID: app.InterfaceID(e.ID)}, ids)
	if err != nil {
		return err
	}
	if len(groups) == 0 {
		return fail(app.KindInvalidRequest, "InvalidParameter", "%s needs a security group: add one before you remove the last", e.ID)
	}
	e.Groups = groups
	for _, id := range e.Interfaces {
		if ni, ok := store.NetworkInterfaces.Get(tx, id); ok {
			ni.Groups = slices.Clone(groups)
			store.Control.NetworkInterfaces.Put(tx, ni)
		}
	}
	return nil
}

// addSubnets gives an endpoint an interface in each further subnet; two may not be in one zone.
func (c *EC2) addSubnets(tx *store.Tx, e *app.Endpoint, ids []app.SubnetID, addresses map[app.SubnetID]netip.Addr) error {
	for _, id := range ids {
		s, err := findSubnet(tx, e.Scope, id)
		if err != nil {
			return err
		}
		if s.VPC != e.VPC {
			return fail(app.KindInvalidRequest, "InvalidParameter", "Subnet %s is of %s and the endpoint of %s: name subnets of the endpoint's VPC", id, s.VPC, e.VPC)
		}
		if slices.Contains(e.Subnets, id) {
			continue
		}
		for _, have := range e.Subnets {
			if other, _ := store.Subnets.Get(tx, have); other.Zone == s.Zone {
				return fail(app.KindInvalidRequest, "DuplicateSubnetsInSameZone", "Found another VPC endpoint subnet in the availability zone of %s: %s. Give one subnet a zone", id, have)
			}
		}
		n := eni.New{
			Scope: e.Scope, Kind: app.InterfaceOfEndpoint, Subnet: id, Groups: e.Groups, Owner: string(e.ID), Description: "VPC Endpoint Interface " + string(e.ID),
			Attachment: app.AttachmentENI{ID: c.cfg.IDs.Prefixed("ela-attach"), DeviceIndex: 1, At: c.now()},
		}
		if a, ok := addresses[id]; ok {
			n.Addresses = []netip.Addr{a}
		}
		ni, err := eni.Create(tx, c.cfg.IDs, c.now(), n)
		if err != nil {
			return err
		}
		e.Subnets = append(slices.Clone(e.Subnets), id)
		e.Interfaces = append(slices.Clone(e.Interfaces), ni.ID)
	}
	return nil
}

// checkPrivateDNS refuses private names where a VPC has no names, or where another endpoint has them already.
func checkPrivateDNS(tx *store.Tx, v app.VPC, e app.Endpoint) error {
	if !e.PrivateDNS {
		return nil
	}
	if !v.DNSSupport || !v.DNSHostnames {
		return fail(app.KindInvalidRequest, "InvalidParameter", "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for %s", v.ID)
	}
	for other := range store.EndpointsByVPC.Each(tx, v.ID) {
		if other.ID != e.ID && other.ServiceName == e.ServiceName && other.PrivateDNS {
			return fail(app.KindInvalidRequest, "InvalidParameter", "private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s: %s has it", e.ServiceName, v.ID, other.ID)
		}
	}
	return nil
}

// DescribeEndpoints returns all endpoints, by id.
func (c *EC2) DescribeEndpoints(ctx context.Context, scope app.Scope) (out []EndpointDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for e := range store.EndpointsByScope.Each(tx, scope) {
			out = append(out, detailEndpoint(tx, e))
		}
		return nil
	})
	return out, err
}

// EndpointChanges are what ModifyEndpoint changes.
type EndpointChanges struct {
	ResetPolicy               bool
	Policy                    string
	AddTables, RemoveTables   []app.RouteTableID
	AddSubnets, RemoveSubnets []app.SubnetID
	AddGroups, RemoveGroups   []app.GroupID
	Addresses                 map[app.SubnetID]netip.Addr
	PrivateDNS                *bool
}

// ModifyEndpoint changes an endpoint.
func (c *EC2) ModifyEndpoint(ctx context.Context, scope app.Scope, id app.EndpointID, in EndpointChanges) error {
	if in.ResetPolicy && in.Policy != "" {
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "ResetPolicy and PolicyDocument cannot both be given: leave one out")
	}
	if err := checkPolicy(in.Policy); err != nil {
		return err
	}
	return c.update(ctx, scope, func(tx *store.Tx) error {
		e, err := findEndpoint(tx, scope, id)
		if err != nil {
			return err
		}
		if in.ResetPolicy {
			e.Policy = openPolicy
		}
		e.Policy = cmp.Or(in.Policy, e.Policy)
		if e.Type == EndpointGateway {
			err = in.gateway(tx, &e)
		} else {
			err = c.changeInterfaces(tx, &e, in)
		}
		if err != nil {
			return err
		}
		store.Control.Endpoints.Put(tx, e)
		return nil
	})
}

// gateway changes the route tables of a gateway endpoint.
func (in EndpointChanges) gateway(tx *store.Tx, e *app.Endpoint) error {
	if given(len(in.AddSubnets) > 0, len(in.RemoveSubnets) > 0, len(in.AddGroups) > 0, len(in.RemoveGroups) > 0, in.PrivateDNS != nil && *in.PrivateDNS) > 0 {
		return fail(app.KindInvalidRequest, "InvalidParameter", "%s is of type Gateway, which has no subnets, security groups and private names", e.ID)
	}
	e.RouteTables = slices.DeleteFunc(slices.Clone(e.RouteTables), func(id app.RouteTableID) bool { return slices.Contains(in.RemoveTables, id) })
	return addTables(tx, e, in.AddTables)
}

// changeInterfaces changes the subnets, groups and names of an interface endpoint.
func (c *EC2) changeInterfaces(tx *store.Tx, e *app.Endpoint, in EndpointChanges) error {
	if len(in.AddTables)+len(in.RemoveTables) > 0 {
		return fail(app.KindInvalidRequest, "InvalidParameter", "%s is of type Interface, which has no route tables", e.ID)
	}
	e.Subnets, e.Interfaces = slices.Clone(e.Subnets), slices.Clone(e.Interfaces)
	for _, subnet := range in.RemoveSubnets {
		for n := len(e.Interfaces) - 1; n >= 0; n-- {
			if ni, ok := store.NetworkInterfaces.Get(tx, e.Interfaces[n]); !ok || ni.Subnet == subnet {
				eni.Delete(tx, e.Interfaces[n])
				e.Interfaces = slices.Delete(e.Interfaces, n, n+1)
			}
		}
		e.Subnets = slices.DeleteFunc(e.Subnets, func(id app.SubnetID) bool { return id == subnet })
	}
	if len(in.AddGroups)+len(in.RemoveGroups) > 0 {
		left := slices.DeleteFunc(slices.Concat(e.Groups, in.AddGroups), func(id app.GroupID) bool { return slices.Contains(in.RemoveGroups, id) })
		if err := c.regroup(tx, e, left); err != nil {
			return err
		}
	}
	set(&e.PrivateDNS, in.PrivateDNS)
	v, _ := store.VPCs.Get(tx, e.VPC)
	if in.PrivateDNS != nil {
		if err := checkPrivateDNS(tx, v, *e); err != nil {
			return err
		}
	}
	return c.addSubnets(tx, e, in.AddSubnets, in.Addresses)
}

// DeleteEndpoints removes endpoints with their interfaces; what could not be is returned by id.
func (c *EC2) DeleteEndpoints(ctx context.Context, scope app.Scope, ids []app.EndpointID) (failed map[app.EndpointID]error, err error) {
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		failed = map[app.EndpointID]error{}
		for _, id := range ids {
			e, err := findEndpoint(tx, scope, id)
			if err != nil {
				failed[id] = notFound("InvalidVpcEndpoint.NotFound", "VpcEndpoint ID", string(id))
				continue
			}
			for _, ni := range e.Interfaces {
				eni.Delete(tx, ni)
			}
			store.Control.Endpoints.Delete(tx, id)
			deleteTags(tx, string(id))
		}
		return nil
	})
	return failed, err
}
