package vpc_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

var (
	prefix = netip.MustParsePrefix
	at     = netip.MustParseAddr
)

// story is the one of the README: an instance behind a connector (eni-app) and a private host (eni-db) in subnets of their
// own, and beside the host a stranger and a box that forwards.
func story() vpc.Snapshot {
	everything := app.SecurityGroupRule{Egress: true, Protocol: -1, FromPort: -1, ToPort: -1, CIDR: prefix("0.0.0.0/0")}
	rule := func(id app.RuleID, group app.GroupID, r app.SecurityGroupRule) app.SecurityGroupRule {
		r.ID, r.Group = id, group
		return r
	}
	port := func(id app.InterfaceID, subnet app.SubnetID, address string, group app.GroupID) app.NetworkInterface {
		return app.NetworkInterface{ID: id, VPC: "vpc-1", Kind: app.InterfaceOfInstance, Subnet: subnet, Addresses: []netip.Addr{at(address)}, Groups: []app.GroupID{group}, SourceDestCheck: true}
	}
	s := vpc.Snapshot{
		VPCs:        []app.VPC{{ID: "vpc-1", CIDR: prefix("192.168.0.0/16"), DNSSupport: true}},
		Slots:       map[app.VPCID]int{"vpc-1": 0},
		Subnets:     []app.Subnet{{ID: "subnet-1", VPC: "vpc-1", CIDR: prefix("192.168.1.0/24")}, {ID: "subnet-3", VPC: "vpc-1", CIDR: prefix("192.168.3.0/24")}},
		RouteTables: []app.RouteTable{{ID: "rtb-1", VPC: "vpc-1", Associations: []app.TableAssociation{{Main: true}}}, {ID: "rtb-3", VPC: "vpc-1", Associations: []app.TableAssociation{{Subnet: "subnet-3"}}}},
		Groups:      []app.SecurityGroup{{ID: "sg-connector", VPC: "vpc-1"}, {ID: "sg-private", VPC: "vpc-1"}, {ID: "sg-other", VPC: "vpc-1"}},
		PrefixLists: []app.PrefixList{{ID: "pl-1", Entries: []app.PrefixEntry{{CIDR: prefix("192.168.1.200/32")}}}},
		Rules: []app.SecurityGroupRule{
			rule("sgr-out", "sg-connector", everything), rule("sgr-other", "sg-other", everything),
			rule("sgr-ping", "sg-private", app.SecurityGroupRule{Protocol: 1, FromPort: -1, ToPort: -1, Peer: "sg-connector"}),
			rule("sgr-web", "sg-private", app.SecurityGroupRule{Protocol: 6, FromPort: 8080, ToPort: 8089, CIDR: prefix("192.168.1.0/24")}),
			rule("sgr-list", "sg-private", app.SecurityGroupRule{Protocol: 17, FromPort: 53, ToPort: 53, PrefixList: "pl-1"}),
		},
		Interfaces: []app.NetworkInterface{
			port("eni-app", "subnet-1", "192.168.1.50", "sg-connector"), port("eni-db", "subnet-3", "192.168.3.194", "sg-private"),
			port("eni-stranger", "subnet-1", "192.168.1.200", "sg-other"), port("eni-box", "subnet-1", "192.168.1.9", "sg-other"),
		},
		Gateways: []app.InternetGateway{{ID: "igw-1", VPC: "vpc-1"}},
		NATs:     []app.NATGateway{{ID: "nat-1", VPC: "vpc-1", Subnet: "subnet-3", Public: true, PrivateIP: at("192.168.3.7")}},
		LANs:     []app.LAN{{ID: "lan-1", VPC: "vpc-1", CIDRs: []netip.Prefix{prefix("10.9.0.0/16")}}},
	}
	return s
}

func routed(s *vpc.Snapshot, table int, kind app.TargetKind, target, to string) {
	s.RouteTables[table].Routes = append(s.RouteTables[table].Routes, app.Route{CIDR: prefix(to), Kind: kind, Target: target})
}

func guarded(s *vpc.Snapshot, entries ...app.ACLEntry) {
	all := app.ACLEntry{Number: 200, Allow: true, Protocol: -1, CIDR: prefix("0.0.0.0/0")}
	out := all
	out.Egress = true
	s.ACLs = []app.NetworkACL{{ID: "acl-3", VPC: "vpc-1", Associations: []app.ACLAssociation{{Subnet: "subnet-3"}}, Entries: append(entries, all, out)}}
}

// throughNAT leads the instance out through a NAT gateway, whose subnet has an ACL.
func throughNAT(entries ...app.ACLEntry) func(*vpc.Snapshot) {
	return func(s *vpc.Snapshot) {
		routed(s, 0, app.TargetNAT, "nat-1", "0.0.0.0/0")
		routed(s, 1, app.TargetIGW, "igw-1", "0.0.0.0/0")
		guarded(s, entries...)
	}
}

// forwarding lets eni-box send what it got from elsewhere.
func forwarding(s *vpc.Snapshot) {
	s.Interfaces[3].SourceDestCheck = false
	s.Rules = append(s.Rules, app.SecurityGroupRule{ID: "sgr-any", Group: "sg-private", Protocol: 6, FromPort: 9999, ToPort: 9999, CIDR: prefix("0.0.0.0/0")})
}

func TestExplanationsSayWhy(t *testing.T) {
	const ping = 8 << 8
	db := func(protocol uint8, port uint16) vpc.Packet {
		return vpc.Packet{VPC: "vpc-1", From: "eni-app", Source: at("192.168.1.50"), Destination: at("192.168.3.194"), Protocol: protocol, DestinationPort: port}
	}
	to := func(a string) vpc.Packet {
		p := db(6, 443)
		p.Destination = at(a)
		return p
	}
	as := func(id app.InterfaceID, source string, p vpc.Packet) vpc.Packet {
		p.From, p.Source = id, at(source)
		return p
	}
	for name, c := range map[string]struct {
		change func(*vpc.Snapshot)
		packet vpc.Packet
		want   string
	}{
		"the story":       {nil, db(1, ping), "allowed: route local; egress rule sgr-out of sg-connector allows everything with 0.0.0.0/0; ingress rule sgr-ping of sg-private admits members of sg-connector"},
		"a range":         {nil, db(6, 8089), "allowed: route local; egress rule sgr-out of sg-connector allows everything with 0.0.0.0/0; ingress rule sgr-web of sg-private allows tcp/8080-8089 with 192.168.1.0/24"},
		"a list":          {nil, as("eni-stranger", "192.168.1.200", db(17, 53)), "allowed: route local; egress rule sgr-other of sg-other allows everything with 0.0.0.0/0; ingress rule sgr-list of sg-private allows udp/53 with pl-1"},
		"no rule in":      {nil, db(6, 5432), "denied: no rule of sg-private allows tcp/5432 from 192.168.1.50"},
		"another group":   {nil, as("eni-stranger", "192.168.1.200", db(1, ping)), "denied: no rule of sg-private allows icmp from 192.168.1.200"},
		"two groups":      {func(s *vpc.Snapshot) { s.Interfaces[1].Groups = []app.GroupID{"sg-other", "sg-private"} }, db(6, 5432), "denied: no rule of sg-other or sg-private allows tcp/5432 from 192.168.1.50"},
		"no rule out":     {func(s *vpc.Snapshot) { s.Rules = s.Rules[1:] }, db(6, 8080), "denied: no rule of sg-connector allows tcp/8080 to 192.168.3.194"},
		"spoofed":         {nil, as("eni-app", "192.168.1.99", db(6, 8080)), "denied: 192.168.1.99 is not an address of interface eni-app, which checks its source"},
		"nobody":          {nil, to("192.168.3.99"), "denied: no interface of vpc-1 has the address 192.168.3.99"},
		"itself":          {nil, to("192.168.1.50"), "allowed: 192.168.1.50 is an address of the sender itself, so the packet never leaves it"},
		"unreachable":     {nil, db(1, 3<<8), "denied: icmp type 3 begins nothing: it passes as part of a connection only"},
		"from outside":    {nil, as("", "8.8.8.8", db(6, 8080)), "denied: nothing outside vpc-1 can open a connection into it"},
		"a foreign port":  {nil, as("eni-far", "8.8.8.8", db(6, 8080)), "denied: interface eni-far is not in vpc-1"},
		"the resolver":    {nil, vpc.Packet{VPC: "vpc-1", From: "eni-app", Source: at("192.168.1.50"), Destination: at("192.168.0.2"), Protocol: 17, DestinationPort: 53}, "allowed: the VPC's resolver is not filtered"},
		"resolver, other": {nil, to("192.168.0.2"), "denied: the resolver 192.168.0.2 answers on port 53 only"},
		"resolver off":    {func(s *vpc.Snapshot) { s.VPCs[0].DNSSupport = false }, to("192.168.0.2"), "denied: the resolver 192.168.0.2 is off: enableDnsSupport of vpc-1 is false"},
		"no way out":      {nil, to("10.9.8.7"), "denied: no route: 192.168.1.0/24 has no NAT gateway"},
		"NAT, elsewhere":  {func(s *vpc.Snapshot) { routed(s, 0, app.TargetNAT, "nat-1", "5.0.0.0/8") }, to("9.9.9.9"), "denied: no route: rtb-1 of 192.168.1.0/24 has none for 9.9.9.9"},
		"NAT": {func(s *vpc.Snapshot) {
			routed(s, 0, app.TargetNAT, "nat-1", "0.0.0.0/0")
			routed(s, 1, app.TargetIGW, "igw-1", "0.0.0.0/0")
		}, to("9.9.9.9"), "allowed: route 0.0.0.0/0 to nat-1; egress rule sgr-out of sg-connector allows everything with 0.0.0.0/0; translated by NAT gateway nat-1"},
		"NAT, ACL":         {throughNAT(app.ACLEntry{Number: 50, Protocol: 6, CIDR: prefix("0.0.0.0/0"), FromPort: 22, ToPort: 22}), to("9.9.9.9"), "allowed: route 0.0.0.0/0 to nat-1; egress rule sgr-out of sg-connector allows everything with 0.0.0.0/0; entry 200 of acl-3 allows; translated by NAT gateway nat-1; entry 200 of acl-3 allows"},
		"NAT, ACL in":      {throughNAT(app.ACLEntry{Number: 50, Protocol: 6, CIDR: prefix("192.168.1.0/24"), FromPort: 443, ToPort: 443}), to("9.9.9.9"), "denied: entry 50 of acl-3 for ingress denies tcp/443 with 192.168.1.50"},
		"NAT, ACL out":     {throughNAT(app.ACLEntry{Number: 50, Egress: true, Protocol: 6, CIDR: prefix("9.9.9.0/24"), FromPort: 443, ToPort: 443}), to("9.9.9.9"), "denied: entry 50 of acl-3 for egress denies tcp/443 with 9.9.9.9"},
		"NAT, answers":     {throughNAT(app.ACLEntry{Number: 50, Protocol: 6, CIDR: prefix("9.9.9.0/24"), FromPort: 1000, ToPort: 1024}), to("9.9.9.9"), "denied: acl-3 denies the answers: ACLs are stateless; allow tcp/1024-65535 with 9.9.9.9 for ingress"},
		"NAT, answers on":  {throughNAT(app.ACLEntry{Number: 50, Egress: true, Protocol: 6, CIDR: prefix("192.168.1.0/24"), FromPort: 50000, ToPort: 50000}), to("9.9.9.9"), "denied: acl-3 denies the answers: ACLs are stateless; allow tcp/32768-60999 with 192.168.1.50 for egress"},
		"NAT, no gateway":  {func(s *vpc.Snapshot) { routed(s, 0, app.TargetNAT, "nat-1", "0.0.0.0/0") }, to("9.9.9.9"), "denied: NAT gateway nat-1 leads nowhere: its subnet subnet-3 (192.168.3.0/24) has no route to an internet gateway"},
		"NAT, private":     {func(s *vpc.Snapshot) { routed(s, 0, app.TargetNAT, "nat-1", "0.0.0.0/0"); s.NATs[0].Public = false }, to("9.9.9.9"), "denied: NAT gateway nat-1 leads nowhere: its connectivity is private"},
		"NAT, gone":        {func(s *vpc.Snapshot) { routed(s, 0, app.TargetNAT, "nat-1", "0.0.0.0/0"); s.NATs = nil }, to("9.9.9.9"), "denied: the route for 0.0.0.0/0 in rtb-1 is a blackhole: nat-1 is gone"},
		"gateway, private": {func(s *vpc.Snapshot) { routed(s, 0, app.TargetIGW, "igw-1", "0.0.0.0/0") }, to("9.9.9.9"), "denied: interface eni-app has no public address, so nothing leaves through igw-1; use a NAT gateway"},
		"gateway": {func(s *vpc.Snapshot) {
			routed(s, 0, app.TargetIGW, "igw-1", "0.0.0.0/0")
			s.ElasticIPs = []app.ElasticIP{{Interface: "eni-app"}}
		}, to("9.9.9.9"), "allowed: route 0.0.0.0/0 to igw-1; egress rule sgr-out of sg-connector allows everything with 0.0.0.0/0; out through igw-1"},
		"gateway, detached": {func(s *vpc.Snapshot) { routed(s, 0, app.TargetIGW, "igw-1", "0.0.0.0/0"); s.Gateways[0].VPC = "" }, to("9.9.9.9"), "denied: the route for 0.0.0.0/0 in rtb-1 is a blackhole: igw-1 is not attached to vpc-1"},
		"LAN":               {func(s *vpc.Snapshot) { routed(s, 0, app.TargetLAN, "lan-1", "10.0.0.0/8") }, to("10.9.8.7"), "allowed: route 10.0.0.0/8 to lan-1; egress rule sgr-out of sg-connector allows everything with 0.0.0.0/0; out to the attached network lan-1"},
		"beside the LAN":    {func(s *vpc.Snapshot) { routed(s, 0, app.TargetLAN, "lan-1", "10.0.0.0/8") }, to("10.1.8.7"), "denied: 10.1.8.7 is not behind lan-1"},
		"a box that checks": {func(s *vpc.Snapshot) { routed(s, 0, app.TargetInterface, "eni-box", "10.0.0.0/8") }, to("10.1.8.7"), "denied: the route for 10.0.0.0/8 leads to interface eni-box, whose source/destination check is on"},
		"a box, groups": {func(s *vpc.Snapshot) {
			routed(s, 0, app.TargetInterface, "eni-box", "10.0.0.0/8")
			s.Interfaces[3].SourceDestCheck = false
		}, to("10.1.8.7"), "denied: no rule of sg-other allows tcp/443 from 192.168.1.50"},
		"a box of its own": {func(s *vpc.Snapshot) {
			routed(s, 0, app.TargetInterface, "eni-app", "10.0.0.0/8")
			s.Interfaces[0].SourceDestCheck = false
		}, to("10.1.8.7"), "denied: the route for 10.0.0.0/8 in rtb-1 leads back to the sender eni-app"},
		"ACL": {func(s *vpc.Snapshot) {
			guarded(s, app.ACLEntry{Number: 50, Protocol: 6, CIDR: prefix("192.168.1.0/24"), FromPort: 8080, ToPort: 8080})
		}, db(6, 8080), "denied: entry 50 of acl-3 for ingress denies tcp/8080 with 192.168.1.50"},
		"ACL, beside": {func(s *vpc.Snapshot) {
			guarded(s, app.ACLEntry{Number: 50, Protocol: 6, CIDR: prefix("192.168.1.0/24"), FromPort: 8080, ToPort: 8080})
		}, db(6, 8081), "allowed: route local; egress rule sgr-out of sg-connector allows everything with 0.0.0.0/0; entry 200 of acl-3 allows; ingress rule sgr-web of sg-private allows tcp/8080-8089 with 192.168.1.0/24"},
		"ACL, nothing": {func(s *vpc.Snapshot) { guarded(s); s.ACLs[0].Entries = nil }, db(6, 8080), "denied: no entry of acl-3 for ingress matches tcp/8080 with 192.168.1.50"},
		"answers": {func(s *vpc.Snapshot) {
			guarded(s, app.ACLEntry{Number: 50, Egress: true, Protocol: 6, CIDR: prefix("192.168.1.0/24"), FromPort: 50000, ToPort: 50000})
		}, db(6, 8080), "denied: acl-3 denies the answers: ACLs are stateless; allow tcp/32768-60999 with 192.168.1.50 for egress"},
		"no way back": {func(s *vpc.Snapshot) { routed(s, 1, app.TargetLAN, "lan-1", "192.168.1.0/24") }, db(6, 8080), "denied: the answers do not return: the route for 192.168.1.0/24 in rtb-3 leads to lan-1"},
		"forwarded":   {forwarding, as("eni-box", "10.1.1.1", db(6, 9999)), "denied: the answers do not return: rtb-3 of 192.168.3.0/24 has no route for 10.1.1.1"},
		"forwarded, back": {func(s *vpc.Snapshot) {
			forwarding(s)
			routed(s, 1, app.TargetInterface, "eni-box", "10.1.1.0/24")
		}, as("eni-box", "10.1.1.1", db(6, 9999)), "allowed: route local; egress rule sgr-other of sg-other allows everything with 0.0.0.0/0; ingress rule sgr-any of sg-private allows tcp/9999 with 0.0.0.0/0"},
		"another's address": {forwarding, as("eni-box", "192.168.1.50", db(6, 9999)), "denied: the answers do not return: 192.168.1.50 is not an address of eni-box, and rtb-3 has no route to it by that interface"},
		"answers to a ping": {func(s *vpc.Snapshot) {
			guarded(s, app.ACLEntry{Number: 50, Egress: true, Protocol: 1, CIDR: prefix("192.168.1.0/24"), FromPort: 0, ToPort: -1})
		}, db(1, ping), "denied: acl-3 denies the answers: ACLs are stateless; allow icmp type 0 with 192.168.1.50 for egress"},
	} {
		t.Run(name, func(t *testing.T) {
			s := story()
			if c.change != nil {
				c.change(&s)
			}
			r := vpc.Compile(s)
			if got := r.Explain(c.packet).String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			compare(t, s, r, c.packet)
		})
	}
}

// TestStepsNameTheirResource holds the structured form of the story.
func TestStepsNameTheirResource(t *testing.T) {
	e := vpc.Compile(story()).Explain(vpc.Packet{VPC: "vpc-1", From: "eni-app", Source: at("192.168.1.50"), Destination: at("192.168.3.194"), Protocol: 1, DestinationPort: 8 << 8})
	want := []vpc.Step{
		{Kind: vpc.StepRoute, Allowed: true, Text: "route local", Resource: "rtb-1"},
		{Kind: vpc.StepEgress, Allowed: true, Text: "egress rule sgr-out of sg-connector allows everything with 0.0.0.0/0", Resource: "sgr-out"},
		{Kind: vpc.StepIngress, Allowed: true, Text: "ingress rule sgr-ping of sg-private admits members of sg-connector", Resource: "sgr-ping"},
	}
	if !e.Allowed || !slices.Equal(e.Steps, want) {
		t.Errorf("got %+v", e)
	}
}

// TestTwoVPCsWithTheSameAddresses holds that one's members and interfaces are not the other's.
func TestTwoVPCsWithTheSameAddresses(t *testing.T) {
	s := story()
	s.VPCs = append(s.VPCs, app.VPC{ID: "vpc-2", CIDR: prefix("192.168.0.0/16")})
	s.Slots["vpc-2"] = 1
	s.Subnets = append(s.Subnets, app.Subnet{ID: "subnet-twin", VPC: "vpc-2", CIDR: prefix("192.168.1.0/24")})
	s.RouteTables = append(s.RouteTables, app.RouteTable{ID: "rtb-twin", VPC: "vpc-2", Associations: []app.TableAssociation{{Main: true}}})
	s.Interfaces = append(s.Interfaces, app.NetworkInterface{
		ID: "eni-twin", VPC: "vpc-2", Subnet: "subnet-twin", Addresses: []netip.Addr{at("192.168.1.60")}, Groups: []app.GroupID{"sg-connector"}, SourceDestCheck: true,
	})
	r := vpc.Compile(s)
	if got := r.Networks["vpc-1"].Members["sg-connector"].Addresses; !slices.Equal(got, []netip.Addr{at("192.168.1.50")}) {
		t.Errorf("members %v", got)
	}
	if ok, why := r.Allows(vpc.Packet{VPC: "vpc-2", From: "eni-twin", Source: at("192.168.1.60"), Destination: at("192.168.3.194"), Protocol: 1, DestinationPort: 8 << 8}); ok {
		t.Errorf("the twin reaches the private host: %+v", why)
	}
	delete(s.Slots, "vpc-2")
	if r := vpc.Compile(s); r.Networks["vpc-2"] != nil || len(r.Networks) != 1 {
		t.Errorf("a VPC without a slot is compiled")
	}
}
