package operation

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
)

func TestNoInternet(t *testing.T) {
	any4 := netip.MustParsePrefix("0.0.0.0/0")
	table := func(id app.RouteTableID, main bool, subnet app.SubnetID, routes ...app.Route) app.RouteTable {
		return app.RouteTable{ID: id, Routes: routes, Associations: []app.TableAssociation{{Main: main, Subnet: subnet}}}
	}
	nat := app.Route{CIDR: any4, Kind: app.TargetNAT, Target: "nat-1"}
	igw := app.Route{CIDR: any4, Kind: app.TargetIGW, Target: "igw-1"}
	local := app.Route{CIDR: netip.MustParsePrefix("10.0.0.0/16"), Kind: app.TargetLocal}
	private := app.Subnet{ID: "subnet-p", CIDR: netip.MustParsePrefix("10.0.1.0/24")}
	works := outside{
		subnets:  []app.Subnet{private},
		tables:   []app.RouteTable{table("rtb-m", true, "", local), table("rtb-p", false, "subnet-p", local, nat), table("rtb-o", false, "subnet-o", local, igw)},
		gateways: []app.InternetGateway{{ID: "igw-1"}},
		nats:     []app.NATGateway{{ID: "nat-1", Subnet: "subnet-o", Public: true}},
	}
	for _, c := range []struct {
		name, want string
		change     func(o *outside)
	}{
		{"a NAT gateway that works", "", func(*outside) {}},
		{"the main table", "subnet-p (10.0.1.0/24) has no route to a NAT gateway. Requests to public addresses will fail.", func(o *outside) { o.tables = o.tables[:1] }},
		{"a public subnet", "instances have no public address: it needs a route to a NAT gateway", func(o *outside) { o.tables[1].Routes = []app.Route{igw} }},
		{"a deleted NAT gateway", "the NAT gateway nat-1, which has been deleted", func(o *outside) { o.nats = nil }},
		{"a private NAT gateway", "which is private", func(o *outside) { o.nats[0].Public = false }},
		{"a NAT gateway in a private subnet", "whose subnet subnet-o has no route to an internet gateway", func(o *outside) { o.tables = o.tables[:2] }},
		{"a detached internet gateway", "whose subnet subnet-o has no route to an internet gateway", func(o *outside) { o.gateways = nil }},
		{"a machine that translates", "", func(o *outside) {
			o.tables[1].Routes = []app.Route{{CIDR: any4, Kind: app.TargetInterface, Target: "eni-1"}}
		}},
		{"one of two subnets", "in 1 of its 2 subnets: subnet-q (10.0.2.0/24) has no route", func(o *outside) {
			o.subnets = append(o.subnets, app.Subnet{ID: "subnet-q", CIDR: netip.MustParsePrefix("10.0.2.0/24")})
		}},
	} {
		o := outside{subnets: append([]app.Subnet{}, works.subnets...), tables: append([]app.RouteTable{}, works.tables...), gateways: works.gateways, nats: append([]app.NATGateway{}, works.nats...)}
		c.change(&o)
		got := noInternet(&app.VPCConnector{Name: "shop"}, o)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestChooseBalancesZonesThenSubnetsThenSpace(t *testing.T) {
	subnet := func(id app.SubnetID) app.Subnet { return app.Subnet{ID: id} }
	for name, c := range map[string]struct {
		want app.SubnetID
		all  []site
	}{
		"zone":   {"b", []site{{subnet("a"), 0, 2, 9}, {subnet("b"), 1, 1, 1}}},
		"subnet": {"b", []site{{subnet("a"), 2, 2, 9}, {subnet("b"), 1, 2, 1}}},
		"space":  {"b", []site{{subnet("a"), 1, 1, 8}, {subnet("b"), 1, 1, 9}}},
		"id":     {"a", []site{{subnet("b"), 1, 1, 9}, {subnet("a"), 1, 1, 9}}},
		"full":   {"a", []site{{subnet("b"), 0, 0, 0}, {subnet("a"), 5, 5, 1}}},
		"none":   {"", []site{{subnet("b"), 0, 0, 0}, {subnet("a"), 0, 0, -3}}},
	} {
		if got, ok := choose(c.all); got.ID != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v", name, got.ID, ok)
		}
	}
}
