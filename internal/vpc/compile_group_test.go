package vpc_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

func addresses(first, last string) vpc.Range { return vpc.Range{First: at(first), Last: at(last)} }

// TestGroupsCompile holds the compiled form itself: few elements, none of which overlaps.
func TestGroupsCompile(t *testing.T) {
	cidr := func(protocol, from, to int, block string) app.SecurityGroupRule {
		return app.SecurityGroupRule{Protocol: protocol, FromPort: from, ToPort: to, CIDR: prefix(block)}
	}
	peer := func(protocol, from, to int, g app.GroupID) app.SecurityGroupRule {
		return app.SecurityGroupRule{Protocol: protocol, FromPort: from, ToPort: to, Peer: g}
	}
	ten, net1, net2 := addresses("10.0.0.0", "10.255.255.255"), addresses("10.1.0.0", "10.1.0.255"), addresses("10.2.0.0", "10.2.0.255")
	for name, c := range map[string]struct {
		rules []app.SecurityGroupRule
		want  vpc.Direction
	}{
		"neighbours are one range": {
			[]app.SecurityGroupRule{cidr(-1, -1, -1, "10.1.0.0/25"), cidr(-1, -1, -1, "10.1.0.128/25"), cidr(-1, -1, -1, "10.1.0.7/32")},
			vpc.Direction{Any: []vpc.Range{net1}},
		},
		"neighbouring blocks are one box": {
			[]app.SecurityGroupRule{cidr(6, 80, 80, "10.1.0.128/25"), cidr(6, 80, 80, "10.1.0.0/25")},
			vpc.Direction{Boxes: []vpc.Box{{Range: net1, Protocol: 6, FirstPort: 80, LastPort: 80}}},
		},
		"neighbouring ports are one box": {
			[]app.SecurityGroupRule{cidr(6, 80, 89, "10.1.0.0/24"), cidr(6, 90, 99, "10.1.0.0/24"), cidr(6, 85, 95, "10.1.0.0/24")},
			vpc.Direction{Boxes: []vpc.Box{{Range: net1, Protocol: 6, FirstPort: 80, LastPort: 99}}},
		},
		"a port where one ends and another begins": {
			[]app.SecurityGroupRule{cidr(6, 70, 80, "10.1.0.0/24"), cidr(6, 80, 90, "10.2.0.0/24")},
			vpc.Direction{Boxes: []vpc.Box{{Range: net1, Protocol: 6, FirstPort: 70, LastPort: 80}, {Range: net2, Protocol: 6, FirstPort: 80, LastPort: 90}}},
		},
		"others do not cut a box": {
			[]app.SecurityGroupRule{cidr(17, 1, 100, "10.1.0.0/24"), cidr(17, 50, 60, "10.2.0.0/24")},
			vpc.Direction{Boxes: []vpc.Box{{Range: net1, Protocol: 17, FirstPort: 1, LastPort: 100}, {Range: net2, Protocol: 17, FirstPort: 50, LastPort: 60}}},
		},
		"a wider block takes over": {
			[]app.SecurityGroupRule{cidr(6, 1, 100, "10.1.0.0/24"), cidr(6, 50, 60, "10.0.0.0/8")},
			vpc.Direction{Boxes: []vpc.Box{{Range: net1, Protocol: 6, FirstPort: 1, LastPort: 49}, {Range: ten, Protocol: 6, FirstPort: 50, LastPort: 60}, {Range: net1, Protocol: 6, FirstPort: 61, LastPort: 100}}},
		},
		"where everything is allowed no box is needed": {
			[]app.SecurityGroupRule{cidr(6, 1, 100, "10.1.0.0/24"), cidr(-1, -1, -1, "10.0.0.0/8")},
			vpc.Direction{Any: []vpc.Range{ten}},
		},
		"protocols": {
			[]app.SecurityGroupRule{cidr(1, 8, -1, "10.1.0.0/24"), cidr(1, 3, 4, "10.1.0.0/24"), cidr(47, 7, 9, "10.1.0.0/24"), cidr(6, -1, -1, "10.1.0.0/24"), cidr(6, 65535, 65535, "10.2.0.0/24")},
			vpc.Direction{Boxes: []vpc.Box{
				{Range: net1, Protocol: 1, FirstPort: 0x304, LastPort: 0x304}, {Range: net1, Protocol: 1, FirstPort: 0x800, LastPort: 0x8ff},
				{Range: net1, Protocol: 6, LastPort: 65535}, {Range: net2, Protocol: 6, FirstPort: 65535, LastPort: 65535}, {Range: net1, Protocol: 47, LastPort: 65535},
			}},
		},
		"IPv6 is nothing": {
			[]app.SecurityGroupRule{cidr(-1, -1, -1, "::/0"), cidr(6, 80, 80, "fd00::/8"), cidr(58, -1, -1, "0.0.0.0/0")}, vpc.Direction{},
		},
		"lists are their entries": {
			[]app.SecurityGroupRule{{Protocol: -1, PrefixList: "pl-1"}, {Protocol: 6, FromPort: 1, ToPort: 1, PrefixList: "pl-gone"}},
			vpc.Direction{Any: []vpc.Range{net1, net2}},
		},
		"everywhere": {
			[]app.SecurityGroupRule{cidr(-1, -1, -1, "0.0.0.0/0")}, vpc.Direction{Any: []vpc.Range{addresses("0.0.0.0", "255.255.255.255")}},
		},
		"peers": {
			[]app.SecurityGroupRule{peer(6, 80, 80, "sg-b"), peer(6, 81, 81, "sg-b"), peer(17, 53, 53, "sg-b"), peer(6, 80, 80, "sg-a"), peer(-1, -1, -1, "sg-a"), peer(1, -1, -1, "sg-1")},
			vpc.Direction{Peers: []vpc.Peer{
				{Group: "sg-1", Ports: []vpc.Ports{{Protocol: 1, Last: 65535}}}, {Group: "sg-a", All: true},
				{Group: "sg-b", Ports: []vpc.Ports{{Protocol: 6, First: 80, Last: 81}, {Protocol: 17, First: 53, Last: 53}}},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := vpc.Snapshot{
				VPCs: []app.VPC{{ID: "vpc-1", CIDR: prefix("10.0.0.0/16")}}, Slots: map[app.VPCID]int{"vpc-1": 0}, Groups: []app.SecurityGroup{{ID: "sg-1", VPC: "vpc-1"}},
				PrefixLists: []app.PrefixList{{ID: "pl-1", Entries: []app.PrefixEntry{{CIDR: prefix("10.2.0.0/24")}, {CIDR: prefix("fd00::/8")}, {CIDR: prefix("10.1.0.0/24")}}}},
			}
			for n, r := range c.rules {
				r.ID, r.Group = app.RuleID(fmt.Sprint("sgr-", n)), "sg-1"
				s.Rules = append(s.Rules, r)
				r.ID, r.Egress = app.RuleID(fmt.Sprint("sgr-e", n)), true
				s.Rules = append(s.Rules, r)
			}
			g := vpc.Compile(s).Networks["vpc-1"].Groups["sg-1"]
			for way, d := range map[string]vpc.Direction{"in": g.Ingress, "out": g.Egress} {
				if !reflect.DeepEqual(d.Any, c.want.Any) || !reflect.DeepEqual(d.Boxes, c.want.Boxes) || !reflect.DeepEqual(d.Peers, c.want.Peers) {
					t.Errorf("%s: got %+v, %+v, %+v", way, d.Any, d.Boxes, d.Peers)
				}
				if len(d.Rules) != len(c.rules) {
					t.Errorf("%s: %d rules are kept for explaining", way, len(d.Rules))
				}
			}
		})
	}
}

// TestRoutesCompile holds the order of routes and what each kind becomes.
func TestRoutesCompile(t *testing.T) {
	s := story()
	s.PrefixLists[0].Entries = append(s.PrefixLists[0].Entries, app.PrefixEntry{CIDR: prefix("10.9.0.0/16")}, app.PrefixEntry{CIDR: prefix("::/0")})
	s.RouteTables[0].Routes = []app.Route{
		{PrefixList: "pl-1", Kind: app.TargetInterface, Target: "eni-gone"}, {CIDR: prefix("0.0.0.0/0"), Kind: app.TargetNAT, Target: "nat-1"},
		{CIDR: prefix("192.168.0.0/16"), Kind: app.TargetLocal}, {CIDR: prefix("10.9.0.0/16"), Kind: app.TargetLAN, Target: "lan-1"},
		{CIDR: prefix("10.9.8.0/24"), Kind: app.TargetIGW, Target: "igw-2"}, {CIDR: prefix("10.9.8.7/32"), Kind: app.TargetInterface, Target: "eni-box"},
	}
	want := []vpc.Route{
		{CIDR: prefix("10.9.8.7/32"), Kind: vpc.RoutePort, Target: "eni-box"}, {CIDR: prefix("192.168.1.200/32"), Kind: vpc.RouteBlackhole, Target: "eni-gone"},
		{CIDR: prefix("10.9.8.0/24"), Kind: vpc.RouteBlackhole, Target: "igw-2"}, {CIDR: prefix("10.9.0.0/16"), Kind: vpc.RouteLAN, Target: "lan-1"},
		{CIDR: prefix("192.168.0.0/16"), Kind: vpc.RouteLocal}, {CIDR: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Kind: vpc.RouteNAT, Target: "nat-1"},
	}
	n := vpc.Compile(s).Networks["vpc-1"]
	if got := n.Tables["rtb-1"].Routes; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if n.Subnets["subnet-1"].Table != "rtb-1" || n.Subnets["subnet-3"].Table != "rtb-3" {
		t.Errorf("subnets %+v, %+v", n.Subnets["subnet-1"], n.Subnets["subnet-3"])
	}
}

// TestPublicPorts holds who may use an internet gateway: who has a public address. That a subnet gives them out at launch
// decides nothing afterwards; what a host got then is a row like any other.
func TestPublicPorts(t *testing.T) {
	s := story()
	s.Subnets[0].MapPublicIP = true
	for i, change := range []func(*app.NetworkInterface){
		func(i *app.NetworkInterface) { i.Owner = "i-1" }, // of App Runner
		func(i *app.NetworkInterface) { i.Kind, i.Owner = app.InterfaceOfUser, "i-2" },
		func(i *app.NetworkInterface) { i.Kind, i.Owner = app.InterfaceOfUser, "i-3" },
		func(i *app.NetworkInterface) { i.Kind = app.InterfaceOfUser }, // attached to nothing
	} {
		change(&s.Interfaces[i])
	}
	s.Interfaces = append(s.Interfaces, app.NetworkInterface{ID: "eni-nat", VPC: "vpc-1", Kind: app.InterfaceOfNAT, Owner: "nat-1", Subnet: "subnet-1", Addresses: []netip.Addr{at("192.168.1.8")}})
	for id, public := range map[app.InterfaceID]bool{"eni-app": false, "eni-db": false, "eni-stranger": false, "eni-box": false, "eni-nat": false} {
		if got := vpc.Compile(s).Networks["vpc-1"].Ports[id].Public; got != public {
			t.Errorf("%s is public: %v", id, got)
		}
	}
	s.ElasticIPs = []app.ElasticIP{{Interface: "eni-app"}, {}}
	if !vpc.Compile(s).Networks["vpc-1"].Ports["eni-app"].Public {
		t.Error("an Elastic IP does not make its interface public")
	}
}
