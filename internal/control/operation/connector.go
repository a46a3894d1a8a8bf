package operation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// managedTag marks the network interfaces that App Runner makes (apprunner guide, "Enabling VPC access for outgoing traffic").
const managedTag = "AWSAppRunnerManaged"

// Connector returns the VPC connector that a configuration names, deleted ones too; false when it names none that is known.
func Connector(tx *store.Tx, config app.ServiceConfig) (app.VPCConnector, bool) {
	arn := config.Network.VpcConnectorARN
	return store.VPCConnectors.Get(tx, app.VPCConnectorID(arn[strings.LastIndexByte(arn, '/')+1:]))
}

// passing reports whether a TopUp that failed may succeed later without anybody's changing the service.
func passing(err error) bool { return app.KindOf(err) == app.KindUnavailable }

// lacking makes TopUp's error. What is said names the connector, what is missing and the remedy.
func lacking(kind app.Kind, connector *app.VPCConnector, format string, args ...any) error {
	return app.Errorf(kind, connector.ARN(), "VPC connector %s: "+format, append([]any{connector.Name}, args...)...)
}

// connectorSubnets returns the connector's subnets and checks that everything it names still exists.
func connectorSubnets(tx *store.Tx, connector *app.VPCConnector) ([]app.Subnet, error) {
	for _, g := range connector.Groups {
		if _, ok := store.SecurityGroups.Get(tx, g); !ok {
			return nil, lacking(app.KindInvalidState, connector, "the security group %s no longer exists. Create a connector with existing groups and update the service to use it.", g)
		}
	}
	var out []app.Subnet
	for _, s := range connector.Subnets {
		if subnet, ok := store.Subnets.Get(tx, s); ok {
			out = append(out, subnet)
		}
	}
	if len(out) == 0 {
		return nil, lacking(app.KindInvalidState, connector, "none of its subnets exists any more (%s). Create a connector with existing subnets and update the service to use it.", joined(connector.Subnets))
	}
	return out, nil
}

// attachVPC makes the network interface through which an instance sends, in the subnet where the service has the fewest.
// When no address is free the error is passing.
func attachVPC(tx *store.Tx, ids id.Source, now time.Time, svc *app.Service, instance app.InstanceID, connector *app.VPCConnector) (app.InterfaceID, error) {
	subnets, err := connectorSubnets(tx, connector)
	if err != nil {
		return "", err
	}
	place, ok := choose(sites(tx, svc, subnets))
	if !ok {
		blocks := make([]string, len(subnets))
		for n, s := range subnets {
			blocks[n] = describe(s)
		}
		return "", lacking(app.KindUnavailable, connector, "no address is free in %s. Delete network interfaces there, or update the service to use a connector with more or larger subnets.", strings.Join(blocks, ", "))
	}
	made, err := eni.Create(tx, ids, now, eni.New{
		Scope: svc.Scope, Kind: app.InterfaceOfInstance, Subnet: place.ID, Groups: connector.Groups,
		Description: "AWS App Runner: service " + svc.Name, Owner: string(instance),
		Attachment: app.AttachmentENI{ID: ids.Prefixed("eni-attach"), DeviceIndex: 1, DeleteOnTermination: true, At: now},
	})
	if err != nil {
		return "", lacking(app.KindUnavailable, connector, "cannot make a network interface in %s: %v", describe(place), err)
	}
	store.Control.TagSets.Put(tx, app.TagSet{Resource: app.Resource(made.ID), Tags: app.Tags{managedTag: "true"}})
	return made.ID, nil
}

// site is a subnet with what decides whether the next interface goes there.
type site struct {
	app.Subnet
	// mine and inZone count the service's interfaces in the subnet and in its zone; free are addresses that nobody has.
	mine, inZone, free int
}

func sites(tx *store.Tx, svc *app.Service, subnets []app.Subnet) []site {
	bySubnet, byZone := map[app.SubnetID]int{}, map[string]int{}
	for i := range store.InstancesByService.Each(tx, svc.ID) {
		link, _ := store.Interfaces.Get(tx, i.Interface)
		for _, id := range link.VPC {
			if n, ok := store.NetworkInterfaces.Get(tx, id); ok {
				bySubnet[n.Subnet]++
				byZone[n.Zone]++
			}
		}
	}
	out := make([]site, len(subnets))
	for n, s := range subnets {
		out[n] = site{Subnet: s, mine: bySubnet[s.ID], inZone: byZone[s.Zone], free: eni.Free(tx, s)}
	}
	return out
}

// choose balances zones, then subnets, then takes the subnet with the most free addresses; false when all are full.
func choose(all []site) (app.Subnet, bool) {
	all = slices.DeleteFunc(all, func(s site) bool { return s.free <= 0 })
	if len(all) == 0 {
		return app.Subnet{}, false
	}
	return slices.MinFunc(all, func(a, b site) int {
		return cmp.Or(cmp.Compare(a.inZone, b.inZone), cmp.Compare(a.mine, b.mine), cmp.Compare(b.free, a.free), cmp.Compare(a.ID, b.ID))
	}).Subnet, true
}

// tellNetwork says in the event log what about the revision's network people will stumble over.
func (w *Work) tellNetwork(r app.Revision) {
	if r.Config.Network.IPAddressType == app.DualStack {
		w.say("IpAddressType is DUAL_STACK: the front door answers over IPv6 too; what the application sends stays IPv4.")
	}
	connector, ok := Connector(w.Tx, r.Config)
	if r.Config.Network.EgressType != app.EgressVPC || !ok {
		return
	}
	if text := noInternet(&connector, outside{
		subnets:  pick(w.Tx, store.Subnets, connector.Subnets),
		tables:   slices.Collect(store.RouteTablesByVPC.Each(w.Tx, connector.VPC)),
		gateways: slices.Collect(store.InternetGatewaysByVPC.Each(w.Tx, connector.VPC)),
		nats:     slices.Collect(store.NATGatewaysByVPC.Each(w.Tx, connector.VPC)),
	}); text != "" {
		w.say(text)
	}
}

func pick[K, T any](tx *store.Tx, table store.Table[K, T], keys []K) (out []T) {
	for _, k := range keys {
		if row, ok := table.Get(tx, k); ok {
			out = append(out, row)
		}
	}
	return out
}

func describe(s app.Subnet) string { return fmt.Sprintf("%s (%v)", s.ID, s.CIDR) }

func joined[S ~string](all []S) string {
	out := make([]string, len(all))
	for n, s := range all {
		out[n] = string(s)
	}
	return strings.Join(out, ", ")
}
