package converge

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

// desired is what an interface has to be in the kernel; homeless says why it cannot be in its VPC.
func desired(tx *store.Tx, i app.Interface, index int, uidBase uint32) (out vpc.Interface, homeless string) {
	out = vpc.Interface{ID: i.ID, Instance: i.Instance, Index: index, UIDBase: uidBase}
	for _, id := range i.VPC {
		n, ok := store.NetworkInterfaces.Get(tx, id)
		v, there := store.VPCs.Get(tx, n.VPC)
		subnet, inSubnet := store.Subnets.Get(tx, n.Subnet)
		status, _ := store.VPCStatuses.Get(tx, n.VPC)
		switch {
		case !ok || !there || !inSubnet:
			return out, fmt.Sprintf("the network interface %s, its subnet or its VPC no longer exists", id)
		case status.Error != "":
			return out, status.Error
		}
		out.ENIs = append(out.ENIs, vpc.ENI{
			ID: n.ID, VPC: n.VPC, Addresses: slices.Clone(n.Addresses), Subnet: subnet.CIDR, MAC: n.MAC, Resolvers: resolvers(tx, v),
		})
	}
	return out, ""
}

// amazonProvided is the word for the VPC's own resolver in DHCP options.
const amazonProvided = "AmazonProvidedDNS"

// resolvers answer names inside the VPC's instances: what the DHCP options name, else the VPC's own at base+2.
func resolvers(tx *store.Tx, v app.VPC) (out []netip.Addr) {
	own := v.CIDR.Addr().Next().Next()
	options, _ := store.DHCPOptionSets.Get(tx, v.DHCPOptions)
	for _, text := range options.Values["domain-name-servers"] {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
			out = append(out, a)
		} else if text == amazonProvided {
			out = append(out, own)
		}
	}
	if len(out) == 0 {
		out = append(out, own)
	}
	return out
}

// snapshot reads everything that packets inside VPCs depend on. The rows' slices are shared with the store.
func snapshot(tx *store.Tx) vpc.Snapshot {
	s := vpc.Snapshot{
		VPCs: rows(tx, store.VPCs), Slots: map[app.VPCID]int{}, Subnets: rows(tx, store.Subnets), RouteTables: rows(tx, store.RouteTables),
		Gateways: rows(tx, store.InternetGateways), NATs: rows(tx, store.NATGateways), ElasticIPs: rows(tx, store.ElasticIPs),
		ACLs: rows(tx, store.NetworkACLs), Groups: rows(tx, store.SecurityGroups), Rules: rows(tx, store.SecurityGroupRules),
		PrefixLists: rows(tx, store.PrefixLists), Interfaces: rows(tx, store.NetworkInterfaces), Endpoints: rows(tx, store.Endpoints),
		LANs: rows(tx, store.LANs), FlowLogs: rows(tx, store.FlowLogs), Names: map[app.VPCID]map[string][]netip.Addr{},
	}
	for status := range store.VPCStatuses.All(tx) {
		if status.Slot != noSlot {
			s.Slots[status.ID] = status.Slot
		}
	}
	for n := range s.VPCs {
		if s.VPCs[n].DNSSupport {
			s.Names[s.VPCs[n].ID] = map[string][]netip.Addr{}
		}
	}
	for n := range s.Interfaces {
		i := &s.Interfaces[n]
		if names := s.Names[i.VPC]; names != nil && strings.HasPrefix(i.Owner, "i-") {
			for _, a := range i.Addresses {
				for _, name := range app.PrivateNames(a, i.Scope.Region) {
					names[name] = []netip.Addr{a}
				}
			}
		}
	}
	for n := range s.Endpoints {
		e := &s.Endpoints[n]
		if names := s.Names[e.VPC]; names != nil && e.Type != endpointGateway {
			nameEndpoint(tx, e, names)
		}
	}
	return s
}

func rows[K, T any](tx *store.Tx, t store.Table[K, T]) []T {
	out := make([]T, 0, t.Len(tx))
	for r := range t.All(tx) {
		out = append(out, r)
	}
	return out
}

// endpointGateway is the type of endpoints that are routes and have no address.
const endpointGateway = "Gateway"

// nameEndpoint adds an endpoint's own name.
func nameEndpoint(tx *store.Tx, e *app.Endpoint, names map[string][]netip.Addr) {
	var addresses []netip.Addr
	for _, id := range e.Interfaces {
		if i, ok := store.NetworkInterfaces.Get(tx, id); ok {
			addresses = append(addresses, i.Addresses...)
		}
	}
	if len(addresses) > 0 {
		names[e.DNSName()] = addresses
	}
}
