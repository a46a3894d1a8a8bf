package operation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
)

// outside are the rows that decide whether a subnet has a way to the internet: subnets of one VPC, and the VPC's route
// tables and gateways.
type outside struct {
	subnets  []app.Subnet
	tables   []app.RouteTable
	gateways []app.InternetGateway
	nats     []app.NATGateway
}

// noInternet says which of the connector's subnets have no way to the internet, and why; "" when all have one.
func noInternet(connector *app.VPCConnector, o outside) string {
	var reasons []string
	for _, s := range o.subnets {
		if why := o.obstacle(s.ID); why != "" {
			reasons = append(reasons, describe(s)+" "+why)
		}
	}
	switch {
	case len(reasons) == 0:
		return ""
	case len(reasons) == len(o.subnets):
		return fmt.Sprintf("The VPC connector %s has no route to the internet: %s. Requests to public addresses will fail.", connector.Name, strings.Join(reasons, "; "))
	}
	return fmt.Sprintf("The VPC connector %s has no route to the internet in %d of its %d subnets: %s. Requests to public addresses from there will fail.",
		connector.Name, len(reasons), len(o.subnets), strings.Join(reasons, "; "))
}

// obstacle says why an interface without a public address does not get from the subnet to the internet; "" when it does.
// A default route to an interface or a real network is taken at its word.
func (o *outside) obstacle(subnet app.SubnetID) string {
	route, ok := o.defaultRoute(subnet)
	switch {
	case !ok:
		return "has no route to a NAT gateway"
	case route.Kind == app.TargetIGW:
		return "has a route to an internet gateway, but instances have no public address: it needs a route to a NAT gateway"
	case route.Kind != app.TargetNAT:
		return ""
	}
	n := slices.IndexFunc(o.nats, func(g app.NATGateway) bool { return string(g.ID) == route.Target })
	switch {
	case n < 0 || !o.nats[n].DeletedAt.IsZero():
		return "has a route to the NAT gateway " + route.Target + ", which has been deleted"
	case !o.nats[n].Public:
		return "has a route to the NAT gateway " + route.Target + ", which is private: it needs a public one"
	}
	out, ok := o.defaultRoute(o.nats[n].Subnet)
	if !ok || out.Kind != app.TargetIGW || !slices.ContainsFunc(o.gateways, func(g app.InternetGateway) bool { return string(g.ID) == out.Target }) {
		return fmt.Sprintf("has a route to the NAT gateway %s, whose subnet %s has no route to an internet gateway", route.Target, o.nats[n].Subnet)
	}
	return ""
}

// defaultRoute returns the widest route of the subnet's table that leads out of the VPC to any address.
func (o *outside) defaultRoute(subnet app.SubnetID) (app.Route, bool) {
	for _, r := range o.table(subnet).Routes {
		if r.Kind != app.TargetLocal && r.CIDR.IsValid() && r.CIDR.Addr().Is4() && r.CIDR.Bits() == 0 {
			return r, true
		}
	}
	return app.Route{}, false
}

// table returns the route table that the subnet is associated with, else the main one.
func (o *outside) table(subnet app.SubnetID) app.RouteTable {
	var main app.RouteTable
	for _, t := range o.tables {
		if slices.ContainsFunc(t.Associations, func(a app.TableAssociation) bool { return a.Subnet == subnet && subnet != "" }) {
			return t
		}
		if t.Main() {
			main = t
		}
	}
	return main
}
