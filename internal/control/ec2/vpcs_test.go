package ec2

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/store"
)

func TestDefaultVPC(t *testing.T) {
	b := newBench(t)
	all, err := b.DescribeVPCs(ctx, scope)
	if err != nil || len(all) != 1 {
		t.Fatalf("got %+v, %v", all, err)
	}
	v := all[0]
	if !v.Default || v.CIDR.String() != "172.31.0.0/16" || !v.DNSSupport || !v.DNSHostnames || v.Tenancy != "default" || !v.CreatedAt.Equal(b.now) {
		t.Errorf("got %+v", v)
	}
	subnets, err := b.DescribeSubnets(ctx, scope)
	if err != nil || len(subnets) != 3 {
		t.Fatalf("got %+v, %v", subnets, err)
	}
	slices.SortFunc(subnets, func(x, y SubnetDetail) int { return strings.Compare(x.Zone, y.Zone) })
	for n, s := range subnets {
		zone, cidr := Zones(scope.Region)[n], []string{"172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"}[n]
		if s.Zone != zone.Name || s.ZoneID != zone.ID || s.CIDR.String() != cidr || !s.Default || !s.MapPublicIP || s.Free != 4091 {
			t.Errorf("subnet %d is %+v", n, s)
		}
	}
	b.read(func(tx *store.Tx) {
		gateway, _ := store.InternetGatewaysByVPC.First(tx, v.ID)
		table := mainTable(tx, v.ID)
		if len(table.Routes) != 2 || table.Routes[0].Kind != app.TargetLocal || table.Routes[1].CIDR != anywhere || table.Routes[1].Target != string(gateway.ID) {
			t.Errorf("routes %+v", table.Routes)
		}
		if acl := defaultACL(tx, v.ID); len(acl.Associations) != 3 {
			t.Errorf("associations %+v", acl.Associations)
		}
		names := []string{}
		for l := range store.PrefixListsByScope.Each(tx, app.Scope{Account: "AWS", Region: "us-east-1"}) {
			names = append(names, l.Name)
		}
		slices.Sort(names)
		if strings.Join(names, " ") != "com.amazonaws.global.cloudfront.origin-facing com.amazonaws.us-east-1.dynamodb com.amazonaws.us-east-1.s3" {
			t.Errorf("prefix lists %q", names)
		}
	})
	before := b.rowsOf()
	if _, err := b.DescribeVPCs(ctx, scope); err != nil || !maps.Equal(before, b.rowsOf()) {
		t.Errorf("a second look made rows: %v then %v, %v", before, b.rowsOf(), err)
	}
	if _, err := b.DescribeVPCs(ctx, app.Scope{Account: "111111111111", Region: "us-east-1"}); err != nil || b.rowsOf()["lists"] != 3 {
		t.Errorf("another account of the region brought AWS's lists again: %v, %v", b.rowsOf(), err)
	}
}

// The built-in rows of App Runner and of the network come in either order, and neither loses the other's.
func TestSeedsInEitherOrder(t *testing.T) {
	for _, networkFirst := range []bool{true, false} {
		b := newBench(t)
		runner := control.New(b.store, control.Config{Now: b.cfg.Now})
		seeds := []func() error{
			func() error { _, err := b.DescribeVPCs(ctx, scope); return err },
			func() error { _, err := runner.ListVPCConnectors(ctx, scope, control.PageRequest{}); return err },
		}
		if !networkFirst {
			slices.Reverse(seeds)
		}
		for range 2 {
			for _, seed := range seeds {
				if err := seed(); err != nil {
					t.Fatal(err)
				}
			}
		}
		b.read(func(tx *store.Tx) {
			row, _ := store.Scopes.Get(tx, scope)
			if !row.Network || len(row.LastRevisions) != 2 || store.AutoScalings.Len(tx) != 1 || store.VPCs.Len(tx) != 1 {
				t.Errorf("network first %v: %+v, %d configurations, %d VPCs", networkFirst, row, store.AutoScalings.Len(tx), store.VPCs.Len(tx))
			}
		})
	}
}

func TestCreateVPC(t *testing.T) {
	b := newBench(t)
	v, err := b.CreateVPC(ctx, scope, CreateVPCInput{CIDR: "10.1.2.3/16", Tenancy: "dedicated", Tags: app.Tags{"Name": "n"}})
	if err != nil || v.CIDR.String() != "10.1.0.0/16" || v.Default || v.DNSHostnames || !v.DNSSupport || v.Tenancy != "dedicated" || v.Tags["Name"] != "n" {
		t.Fatalf("got %+v, %v", v, err)
	}
	b.read(func(tx *store.Tx) {
		table, acl := mainTable(tx, v.ID), defaultACL(tx, v.ID)
		if len(table.Routes) != 1 || table.Routes[0] != (app.Route{CIDR: v.CIDR, Kind: app.TargetLocal, Origin: "CreateRouteTable"}) {
			t.Errorf("routes %+v", table.Routes)
		}
		want := []app.ACLEntry{
			{Number: 100, Allow: true, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1}, {Number: 32767, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1},
			{Number: 100, Egress: true, Allow: true, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1}, {Number: 32767, Egress: true, Protocol: -1, CIDR: anywhere, FromPort: -1, ToPort: -1},
		}
		if !slices.Equal(acl.Entries, want) {
			t.Errorf("entries %+v", acl.Entries)
		}
		group, _ := store.SecurityGroupsByVPC.First(tx, v.ID)
		in, out := 0, 0
		for r := range store.RulesByGroup.Each(tx, group.ID) {
			switch {
			case r.Egress && r.CIDR == anywhere && r.Protocol == -1:
				out++
			case !r.Egress && r.Peer == group.ID && r.Protocol == -1:
				in++
			}
		}
		if group.Name != "default" || !group.Default || in != 1 || out != 1 {
			t.Errorf("group %+v with %d and %d rules", group, in, out)
		}
		if o, ok := store.DHCPOptionSets.Get(tx, v.DHCPOptions); !ok || o.Values["domain-name-servers"][0] != "AmazonProvidedDNS" {
			t.Errorf("options %+v", o)
		}
	})
}

func TestCreateVPCErrors(t *testing.T) {
	b := newBench(t)
	for cidr, want := range map[string]struct{ code, words string }{
		"":                 {"MissingParameter", "CidrBlock"},
		"10.0.0.0":         {"InvalidParameterValue", "Value (10.0.0.0) for parameter cidrBlock is invalid. This is not a valid CIDR block."},
		"10.0.0.0/33":      {"InvalidParameterValue", "not a valid CIDR block"},
		"fd00::/56":        {"InvalidParameterValue", "IPv6 is off inside VPCs"},
		"10.0.0.0/15":      {"InvalidVpc.Range", "The CIDR '10.0.0.0/15' is invalid"},
		"10.0.0.0/29":      {"InvalidVpc.Range", "between /16 and /28"},
		"127.0.0.0/16":     {"InvalidVpc.Range", "127.0.0.0/8 is reserved"},
		"169.254.128.0/20": {"InvalidVpc.Range", "reserved"},
	} {
		_, err := b.CreateVPC(ctx, scope, CreateVPCInput{CIDR: cidr})
		fails(t, err, want.code, want.words)
	}
	_, err := b.CreateVPC(ctx, scope, CreateVPCInput{CIDR: "10.0.0.0/16", Tenancy: "host"})
	fails(t, err, "InvalidParameterValue", "instanceTenancy")
	_, err = b.CreateVPC(ctx, scope, CreateVPCInput{CIDR: "10.0.0.0/16", Tags: app.Tags{"aws:x": "y"}})
	fails(t, err, "InvalidParameterValue", "reserved")
	for range 4 {
		b.vpc("10.0.0.0/16") // the same block again is fine: they never meet
	}
	_, err = b.CreateVPC(ctx, scope, CreateVPCInput{CIDR: "10.0.0.0/16"})
	fails(t, err, "VpcLimitExceeded", "The maximum number of VPCs has been reached")
	if _, err := b.CreateVPC(ctx, other, CreateVPCInput{CIDR: "10.0.0.0/16"}); err != nil {
		t.Errorf("the quota binds another region: %v", err)
	}
}

func TestDeleteVPC(t *testing.T) {
	b := newBench(t)
	if _, err := b.DescribeVPCs(ctx, scope); err != nil {
		t.Fatal(err)
	}
	before := b.rowsOf()
	id := b.vpc("10.0.0.0/16")
	if err := b.CreateTags(ctx, scope, []string{string(id)}, app.Tags{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	b.write(func(tx *store.Tx) {
		store.Control.FlowLogs.Put(tx, app.FlowLog{ID: "fl-1", Scope: scope, Resource: string(id)})
	})
	fails(t, b.DeleteVPC(ctx, other, id), "InvalidVpcID.NotFound", "The vpc ID '"+string(id)+"' does not exist")
	holders := map[string]struct{ put, remove func(tx *store.Tx) }{
		"subnet-1": {func(tx *store.Tx) { store.Control.Subnets.Put(tx, app.Subnet{ID: "subnet-1", Scope: scope, VPC: id}) }, func(tx *store.Tx) { store.Control.Subnets.Delete(tx, "subnet-1") }},
		"eni-1": {func(tx *store.Tx) {
			store.Control.NetworkInterfaces.Put(tx, app.NetworkInterface{ID: "eni-1", Scope: scope, VPC: id, Subnet: "subnet-x"})
		}, func(tx *store.Tx) { store.Control.NetworkInterfaces.Delete(tx, "eni-1") }},
		"igw-1": {func(tx *store.Tx) {
			store.Control.InternetGateways.Put(tx, app.InternetGateway{ID: "igw-1", Scope: scope, VPC: id})
		}, func(tx *store.Tx) { store.Control.InternetGateways.Delete(tx, "igw-1") }},
		"nat-1": {func(tx *store.Tx) {
			store.Control.NATGateways.Put(tx, app.NATGateway{ID: "nat-1", Scope: scope, VPC: id})
		},
			func(tx *store.Tx) {
				store.Control.NATGateways.Put(tx, app.NATGateway{ID: "nat-1", Scope: scope, VPC: id, DeletedAt: b.now})
			}},
		"vpce-1": {func(tx *store.Tx) { store.Control.Endpoints.Put(tx, app.Endpoint{ID: "vpce-1", Scope: scope, VPC: id}) }, func(tx *store.Tx) { store.Control.Endpoints.Delete(tx, "vpce-1") }},
		"lan-1":  {func(tx *store.Tx) { store.Control.LANs.Put(tx, app.LAN{ID: "lan-1", Scope: scope, VPC: id}) }, func(tx *store.Tx) { store.Control.LANs.Delete(tx, "lan-1") }},
		"rtb-1": {func(tx *store.Tx) {
			store.Control.RouteTables.Put(tx, app.RouteTable{ID: "rtb-1", Scope: scope, VPC: id})
		}, func(tx *store.Tx) { store.Control.RouteTables.Delete(tx, "rtb-1") }},
		"acl-1": {func(tx *store.Tx) {
			store.Control.NetworkACLs.Put(tx, app.NetworkACL{ID: "acl-1", Scope: scope, VPC: id})
		}, func(tx *store.Tx) { store.Control.NetworkACLs.Delete(tx, "acl-1") }},
		"sg-1": {func(tx *store.Tx) {
			store.Control.SecurityGroups.Put(tx, app.SecurityGroup{ID: "sg-1", Scope: scope, VPC: id, Name: "x"})
		}, func(tx *store.Tx) { store.Control.SecurityGroups.Delete(tx, "sg-1") }},
	}
	for name, h := range holders {
		b.write(h.put)
		fails(t, b.DeleteVPC(ctx, scope, id), "DependencyViolation", name)
		b.write(h.remove)
	}
	if err := b.DeleteVPC(ctx, scope, id); err != nil {
		t.Fatal(err)
	}
	if after := b.rowsOf(); !maps.Equal(before, after) {
		t.Errorf("left behind: %v before, %v after", before, after)
	}
	fails(t, b.DeleteVPC(ctx, scope, id), "InvalidVpcID.NotFound", "does not exist")
}

func TestDefaultVPCAgain(t *testing.T) {
	b := newBench(t)
	_, err := b.CreateDefaultVPC(ctx, scope)
	fails(t, err, "DefaultVpcAlreadyExists", "vpc-")
	all, _ := b.DescribeVPCs(ctx, scope)
	subnets, _ := b.DescribeSubnets(ctx, scope)
	_, err = b.CreateDefaultSubnet(ctx, scope, "us-east-1a")
	fails(t, err, "DefaultSubnetAlreadyExistsInAvailabilityZone", "us-east-1a")
	for _, s := range subnets {
		if err := b.DeleteSubnet(ctx, scope, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = b.CreateSubnet(ctx, scope, CreateSubnetInput{VPC: all[0].ID, CIDR: "172.31.0.0/24"}); err != nil {
		t.Fatal(err)
	}
	again, err := b.CreateDefaultSubnet(ctx, scope, "us-east-1c")
	if err != nil || again.CIDR.String() != "172.31.16.0/20" || !again.Default || again.Zone != "us-east-1c" {
		t.Errorf("got %+v, %v", again, err)
	}
	subnets, _ = b.DescribeSubnets(ctx, scope)
	for _, s := range subnets {
		if err := b.DeleteSubnet(ctx, scope, s.ID); err != nil {
			t.Fatal(err)
		}
	}
	b.write(func(tx *store.Tx) {
		for g := range store.InternetGatewaysByVPC.Each(tx, all[0].ID) {
			store.Control.InternetGateways.Delete(tx, g.ID)
		}
	})
	if err := b.DeleteVPC(ctx, scope, all[0].ID); err != nil {
		t.Fatal(err)
	}
	_, err = b.CreateDefaultSubnet(ctx, scope, "us-east-1a")
	fails(t, err, "DefaultVpcDoesNotExist", "CreateDefaultVpc")
	if left, err := b.DescribeVPCs(ctx, scope); err != nil || len(left) != 0 {
		t.Errorf("a deleted default VPC came back: %+v, %v", left, err)
	}
	if made, err := b.CreateDefaultVPC(ctx, scope); err != nil || !made.Default {
		t.Errorf("got %+v, %v", made, err)
	}
	if subnets, _ = b.DescribeSubnets(ctx, scope); len(subnets) != 3 {
		t.Errorf("got %+v", subnets)
	}
}

func TestVPCAttributes(t *testing.T) {
	b := newBench(t)
	id := b.vpc("10.0.0.0/16")
	fails(t, b.ModifyVPCAttribute(ctx, scope, id, VPCAttributes{}), "InvalidParameterCombination", "No attributes")
	fails(t, b.ModifyVPCAttribute(ctx, scope, id, VPCAttributes{DNSSupport: new(true), DNSHostnames: new(true)}), "InvalidParameterCombination", "one at a time")
	fails(t, b.ModifyVPCAttribute(ctx, scope, "vpc-x", VPCAttributes{DNSSupport: new(true)}), "InvalidVpcID.NotFound", "vpc-x")
	for _, in := range []VPCAttributes{{DNSSupport: new(false)}, {DNSHostnames: new(true)}, {UsageMetrics: new(true)}} {
		if err := b.ModifyVPCAttribute(ctx, scope, id, in); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := b.VPC(ctx, scope, id); err != nil || v.DNSSupport || !v.DNSHostnames || !v.UsageMetrics {
		t.Errorf("got %+v, %v", v, err)
	}
}

func TestBlocks(t *testing.T) {
	b := newBench(t)
	id := b.vpc("10.0.0.0/16")
	var table app.RouteTable
	b.read(func(tx *store.Tx) { table = mainTable(tx, id) })
	table.Routes = append(table.Routes, app.Route{CIDR: netip.MustParsePrefix("10.9.1.0/24"), Kind: app.TargetNAT, Target: "nat-1"})
	b.write(func(tx *store.Tx) { store.Control.RouteTables.Put(tx, table) })
	_, err := b.AssociateVPCBlock(ctx, scope, id, "10.0.128.0/17")
	fails(t, err, "CidrConflict", "10.0.0.0/16")
	_, err = b.AssociateVPCBlock(ctx, scope, id, "10.9.0.0/16")
	fails(t, err, "CidrConflict", "route to 10.9.1.0/24")
	_, err = b.AssociateVPCBlock(ctx, scope, id, "")
	fails(t, err, "MissingParameter", "CidrBlock")
	_, err = b.AssociateVPCBlock(ctx, scope, "vpc-x", "10.1.0.0/16")
	fails(t, err, "InvalidVpcID.NotFound", "vpc-x")
	a, err := b.AssociateVPCBlock(ctx, scope, id, "10.1.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	b.read(func(tx *store.Tx) {
		routes := mainTable(tx, id).Routes
		if len(routes) != 3 || routes[1].CIDR != a.CIDR || routes[1].Kind != app.TargetLocal {
			t.Errorf("routes %+v", routes)
		}
	})
	inside := b.subnet(id, "10.1.0.0/24")
	_, _, err = b.DisassociateVPCBlock(ctx, scope, a.ID)
	fails(t, err, "InvalidCidrBlock.InUse", string(inside))
	if err := b.DeleteSubnet(ctx, scope, inside); err != nil {
		t.Fatal(err)
	}
	if from, gone, err := b.DisassociateVPCBlock(ctx, scope, a.ID); err != nil || from != id || gone != a {
		t.Errorf("got %v %+v, %v", from, gone, err)
	}
	b.read(func(tx *store.Tx) {
		v, _ := store.VPCs.Get(tx, id)
		if routes := mainTable(tx, id).Routes; len(routes) != 2 || len(v.Secondary) != 0 {
			t.Errorf("routes %+v, VPC %+v", routes, v)
		}
	})
	_, _, err = b.DisassociateVPCBlock(ctx, scope, a.ID)
	fails(t, err, "InvalidVpcCidrBlockAssociationID.NotFound", string(a.ID))
	_, _, err = b.DisassociateVPCBlock(ctx, scope, primaryAssociation(id))
	fails(t, err, "OperationNotPermitted", "primary")
	for _, cidr := range []string{"10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.0/16"} {
		if _, err := b.AssociateVPCBlock(ctx, scope, id, cidr); err != nil {
			t.Fatal(err)
		}
	}
	_, err = b.AssociateVPCBlock(ctx, scope, id, "10.5.0.0/16")
	fails(t, err, "CidrLimitExceeded", "5")
}

func TestZones(t *testing.T) {
	for region, code := range map[app.Region]string{"us-east-1": "use1", "ap-southeast-2": "apse2", "us-gov-west-1": "usgw1", "eu-central-1": "euc1", "ap-northeast-3": "apne3", "local": "local"} {
		if got := regionCode(region); got != code {
			t.Errorf("%s is %s, want %s", region, got, code)
		}
	}
	if z := Zones("eu-west-1"); z[2] != (Zone{"eu-west-1c", "euw1-az3"}) {
		t.Errorf("got %+v", z)
	}
}
