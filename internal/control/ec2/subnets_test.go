package ec2

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

func TestCreateSubnet(t *testing.T) {
	b := newBench(t, Quotas{SubnetsPerVPC: 4})
	id := b.vpc("10.0.0.0/16")
	s, err := b.CreateSubnet(ctx, scope, CreateSubnetInput{VPC: id, CIDR: "10.0.1.7/24", ZoneID: "use1-az2", Tags: app.Tags{"Name": "n"}})
	if err != nil || s.CIDR.String() != "10.0.1.0/24" || s.Zone != "us-east-1b" || s.Free != 251 || s.Default || s.MapPublicIP || s.HostnameType != "ip-name" || s.Tags["Name"] != "n" {
		t.Fatalf("got %+v, %v", s, err)
	}
	if want := "arn:aws:ec2:us-east-1:000000000000:subnet/" + string(s.ID); s.ARN() != want {
		t.Errorf("got %s", s.ARN())
	}
	b.read(func(tx *store.Tx) {
		if acl := defaultACL(tx, id); len(acl.Associations) != 1 || acl.Associations[0].Subnet != s.ID || !strings.HasPrefix(string(acl.Associations[0].ID), "aclassoc-") {
			t.Errorf("associations %+v", acl.Associations)
		}
	})
	for name, c := range map[string]struct {
		in          CreateSubnetInput
		code, words string
	}{
		"missing":   {CreateSubnetInput{VPC: id}, "MissingParameter", "CidrBlock"},
		"malformed": {CreateSubnetInput{VPC: id, CIDR: "10"}, "InvalidParameterValue", "Value (10) for parameter cidrBlock is invalid"},
		"ipv6":      {CreateSubnetInput{VPC: id, CIDR: "fd00::/64"}, "InvalidParameterValue", "IPv6 is off inside VPCs"},
		"no vpc":    {CreateSubnetInput{VPC: "vpc-x", CIDR: "10.0.2.0/24"}, "InvalidVpcID.NotFound", "vpc-x"},
		"outside":   {CreateSubnetInput{VPC: id, CIDR: "10.1.0.0/24"}, "InvalidSubnet.Range", "The CIDR '10.1.0.0/24' is invalid"},
		"too large": {CreateSubnetInput{VPC: id, CIDR: "10.0.0.0/15"}, "InvalidSubnet.Range", "/16"},
		"too small": {CreateSubnetInput{VPC: id, CIDR: "10.0.2.0/29"}, "InvalidSubnet.Range", "/28"},
		"same":      {CreateSubnetInput{VPC: id, CIDR: "10.0.1.0/24"}, "InvalidSubnet.Conflict", "The CIDR '10.0.1.0/24' conflicts with another subnet"},
		"around":    {CreateSubnetInput{VPC: id, CIDR: "10.0.0.0/16"}, "InvalidSubnet.Conflict", string(s.ID)},
		"inside":    {CreateSubnetInput{VPC: id, CIDR: "10.0.1.128/28"}, "InvalidSubnet.Conflict", string(s.ID)},
		"zone":      {CreateSubnetInput{VPC: id, CIDR: "10.0.2.0/24", Zone: "us-east-1z"}, "InvalidParameterValue", "us-east-1a, us-east-1b, us-east-1c"},
		"two zones": {CreateSubnetInput{VPC: id, CIDR: "10.0.2.0/24", Zone: "us-east-1a", ZoneID: "use1-az1"}, "InvalidParameterCombination", "AvailabilityZoneId"},
		"tags":      {CreateSubnetInput{VPC: id, CIDR: "10.0.2.0/24", Tags: app.Tags{"": "x"}}, "InvalidParameterValue", "empty"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.CreateSubnet(ctx, scope, c.in)
			fails(t, err, c.code, c.words)
		})
	}
	zones := map[string]bool{}
	for _, cidr := range []string{"10.0.2.0/24", "10.0.3.0/24", "10.0.4.0/28"} {
		s, err := b.CreateSubnet(ctx, scope, CreateSubnetInput{VPC: id, CIDR: cidr})
		if err != nil {
			t.Fatal(err)
		}
		zones[s.Zone] = true
	}
	if len(zones) != 3 && !(len(zones) == 2 && !zones["us-east-1b"]) {
		t.Errorf("not balanced: %v", zones)
	}
	_, err = b.CreateSubnet(ctx, scope, CreateSubnetInput{VPC: id, CIDR: "10.0.5.0/24"})
	fails(t, err, "SubnetLimitExceeded", "4")
}

func TestSubnetAddresses(t *testing.T) {
	b := newBench(t)
	vpc := b.vpc("10.0.0.0/16")
	id := b.subnet(vpc, "10.0.0.0/28")
	free := func() int {
		all, err := b.DescribeSubnets(ctx, scope)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.ID == id {
				return s.Free
			}
		}
		t.Fatal("the subnet is gone")
		return 0
	}
	if free() != 11 {
		t.Errorf("an empty /28 has %d addresses, want 11", free())
	}
	b.write(func(tx *store.Tx) {
		store.Control.NetworkInterfaces.Put(tx, app.NetworkInterface{ID: "eni-1", Scope: scope, VPC: vpc, Subnet: id, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("10.0.0.5")}})
	})
	if free() != 9 {
		t.Errorf("got %d addresses, want 9", free())
	}
	fails(t, b.DeleteSubnet(ctx, scope, id), "DependencyViolation", "eni-1")
	b.write(func(tx *store.Tx) { eni.Delete(tx, "eni-1") })
	if free() != 11 {
		t.Errorf("got %d addresses, want 11", free())
	}
}

func TestDeleteSubnet(t *testing.T) {
	b := newBench(t)
	vpc := b.vpc("10.0.0.0/16")
	id := b.subnet(vpc, "10.0.0.0/24")
	stays := b.subnet(vpc, "10.0.1.0/24")
	connector := app.VPCConnector{ID: "c", Scope: scope, Name: "conn", Revision: 1, VPC: vpc, Subnets: []app.SubnetID{id}}
	b.write(func(tx *store.Tx) {
		store.Control.VPCConnectors.Put(tx, connector)
		store.Control.RouteTables.Put(tx, app.RouteTable{ID: "rtb-1", Scope: scope, VPC: vpc, Associations: []app.TableAssociation{{ID: "rtbassoc-1", Subnet: id}, {ID: "rtbassoc-2", Subnet: stays}}})
		store.Control.FlowLogs.Put(tx, app.FlowLog{ID: "fl-1", Scope: scope, Resource: string(id)})
		putTags(tx, string(id), app.Tags{"a": "b"})
		putTags(tx, "fl-1", app.Tags{"a": "b"})
	})
	fails(t, b.DeleteSubnet(ctx, scope, "subnet-x"), "InvalidSubnetID.NotFound", "The subnet ID 'subnet-x' does not exist")
	fails(t, b.DeleteSubnet(ctx, other, id), "InvalidSubnetID.NotFound", string(id))
	fails(t, b.DeleteSubnet(ctx, scope, id), "DependencyViolation", "conn")
	connector.DeletedAt = b.now
	b.write(func(tx *store.Tx) { store.Control.VPCConnectors.Put(tx, connector) })
	if err := b.DeleteSubnet(ctx, scope, id); err != nil {
		t.Fatal(err)
	}
	b.read(func(tx *store.Tx) {
		table, _ := store.RouteTables.Get(tx, "rtb-1")
		acl := defaultACL(tx, vpc)
		if len(table.Associations) != 1 || table.Associations[0].Subnet != stays || len(acl.Associations) != 1 || acl.Associations[0].Subnet != stays {
			t.Errorf("associations %+v and %+v", table.Associations, acl.Associations)
		}
		if store.FlowLogs.Len(tx) != 0 || store.TagSets.Len(tx) != 0 {
			t.Errorf("%d flow logs and %d tag sets are left", store.FlowLogs.Len(tx), store.TagSets.Len(tx))
		}
	})
}

func TestSubnetAttributes(t *testing.T) {
	b := newBench(t)
	id := b.subnet(b.vpc("10.0.0.0/16"), "10.0.0.0/24")
	if err := b.ModifySubnetAttribute(ctx, scope, id, SubnetAttributes{MapPublicIP: new(true), HostnameA: new(true), HostnameType: new("resource-name")}); err != nil {
		t.Fatal(err)
	}
	b.read(func(tx *store.Tx) {
		if s, _ := store.Subnets.Get(tx, id); !s.MapPublicIP || !s.HostnameA || s.HostnameType != "resource-name" {
			t.Errorf("got %+v", s)
		}
	})
	fails(t, b.ModifySubnetAttribute(ctx, scope, "subnet-x", SubnetAttributes{}), "InvalidSubnetID.NotFound", "subnet-x")
}

func TestDHCPOptions(t *testing.T) {
	b := newBench(t, Quotas{DHCPOptionSets: 2})
	vpc := b.vpc("10.0.0.0/16")
	for name, c := range map[string]struct {
		values map[string][]string
		code   string
		words  string
	}{
		"none":     {nil, "MissingParameter", "DhcpConfiguration"},
		"key":      {map[string][]string{"boot": {"x"}}, "InvalidParameterValue", "Known keys are domain-name"},
		"no value": {map[string][]string{"ntp-servers": {}}, "InvalidParameterValue", "0 values"},
		"too many": {map[string][]string{"domain-name": {"a", "b"}}, "InvalidParameterValue", "2 values"},
		"address":  {map[string][]string{"domain-name-servers": {"dns"}}, "InvalidParameterValue", "IPv4 address"},
		"ipv6":     {map[string][]string{"ntp-servers": {"::1"}}, "InvalidParameterValue", "IPv4 address"},
		"node":     {map[string][]string{"netbios-node-type": {"3"}}, "InvalidParameterValue", "1, 2, 4 or 8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.CreateDHCPOptions(ctx, scope, c.values, nil)
			fails(t, err, c.code, c.words)
		})
	}
	o, err := b.CreateDHCPOptions(ctx, scope, map[string][]string{"domain-name-servers": {"10.0.0.9", "AmazonProvidedDNS"}, "domain-name": {"corp.internal"}}, app.Tags{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.CreateDHCPOptions(ctx, scope, map[string][]string{"domain-name": {"x"}}, nil)
	fails(t, err, "DhcpOptionsLimitExceeded", "2")
	fails(t, b.AssociateDHCPOptions(ctx, scope, vpc, "dopt-x"), "InvalidDhcpOptionID.NotFound", "dopt-x")
	fails(t, b.AssociateDHCPOptions(ctx, scope, "vpc-x", o.ID), "InvalidVpcID.NotFound", "vpc-x")
	if err := b.AssociateDHCPOptions(ctx, scope, vpc, o.ID); err != nil {
		t.Fatal(err)
	}
	fails(t, b.DeleteDHCPOptions(ctx, scope, o.ID), "DependencyViolation", string(vpc))
	if err := b.AssociateDHCPOptions(ctx, scope, vpc, "default"); err != nil {
		t.Fatal(err)
	}
	if v, _ := b.VPC(ctx, scope, vpc); v.DHCPOptions != "default" {
		t.Errorf("got %+v", v)
	}
	if err := b.DeleteDHCPOptions(ctx, scope, o.ID); err != nil {
		t.Fatal(err)
	}
	fails(t, b.DeleteDHCPOptions(ctx, scope, o.ID), "InvalidDhcpOptionID.NotFound", string(o.ID))
	if all, err := b.DescribeDHCPOptions(ctx, other); err != nil || len(all) != 1 || all[0].Values["domain-name"][0] != "eu-west-1.compute.internal" {
		t.Errorf("got %+v, %v", all, err)
	}
	if all, err := b.DescribeDHCPOptions(ctx, scope); err != nil || len(all) != 1 || !all[0].Default || all[0].Values["domain-name"][0] != "ec2.internal" {
		t.Errorf("got %+v, %v", all, err)
	}
}
