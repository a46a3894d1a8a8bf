package reach

import (
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

// snapshot reads what packets inside one VPC depend on. It has a slot whether or not the kernel holds it already.
func snapshot(tx *store.Tx, v app.VPC) vpc.Snapshot {
	s := vpc.Snapshot{
		VPCs:        []app.VPC{v},
		Slots:       map[app.VPCID]int{v.ID: 0},
		Subnets:     slices.Collect(store.SubnetsByVPC.Each(tx, v.ID)),
		RouteTables: slices.Collect(store.RouteTablesByVPC.Each(tx, v.ID)),
		Gateways:    slices.Collect(store.InternetGatewaysByVPC.Each(tx, v.ID)),
		NATs:        slices.Collect(store.NATGatewaysByVPC.Each(tx, v.ID)),
		ElasticIPs:  slices.Collect(store.ElasticIPsByScope.Each(tx, v.Scope)),
		ACLs:        slices.Collect(store.NetworkACLsByVPC.Each(tx, v.ID)),
		Groups:      slices.Collect(store.SecurityGroupsByVPC.Each(tx, v.ID)),
		Interfaces:  slices.Collect(store.NetworkInterfacesByVPC.Each(tx, v.ID)),
		LANs:        slices.Collect(store.LANsByVPC.Each(tx, v.ID)),
	}
	for _, g := range s.Groups {
		s.Rules = slices.AppendSeq(s.Rules, store.RulesByGroup.Each(tx, g.ID))
	}
	for l := range store.PrefixLists.All(tx) { // those of AWS, too
		s.PrefixLists = append(s.PrefixLists, l)
	}
	return s
}
