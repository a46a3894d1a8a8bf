package ec2

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// gateway makes an internet gateway and attaches it.
func (b *bench) gateway(vpc app.VPCID) app.IGWID {
	b.t.Helper()
	g, err := b.CreateGateway(ctx, scope, nil)
	if err == nil {
		err = b.AttachGateway(ctx, scope, g.ID, vpc)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return g.ID
}

// address allocates an Elastic IP.
func (b *bench) address() app.AllocationID {
	b.t.Helper()
	e, err := b.AllocateAddress(ctx, scope, "", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return e.ID
}

// iface makes a network interface.
func (b *bench) iface(subnet app.SubnetID) app.NetworkInterface {
	b.t.Helper()
	i, err := b.CreateInterface(ctx, scope, CreateInterfaceInput{Subnet: subnet})
	if err != nil {
		b.t.Fatal(err)
	}
	return i.NetworkInterface
}

// must fails the test on an error.
func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestGateways(t *testing.T) {
	b := newBench(t, Quotas{InternetGateways: 3})
	vpc, second := b.vpc("10.0.0.0/16"), b.vpc("10.1.0.0/16")
	g, err := b.CreateGateway(ctx, scope, app.Tags{"Name": "n"})
	if err != nil || g.VPC != "" || g.Tags["Name"] != "n" {
		t.Fatalf("got %+v, %v", g, err)
	}
	_, err = b.CreateGateway(ctx, scope, app.Tags{"aws:x": "y"})
	fails(t, err, "InvalidParameterValue", "reserved")
	fails(t, b.AttachGateway(ctx, scope, "igw-x", vpc), "InvalidInternetGatewayID.NotFound", "The internetGateway ID 'igw-x' does not exist")
	fails(t, b.AttachGateway(ctx, other, g.ID, vpc), "InvalidInternetGatewayID.NotFound", string(g.ID))
	fails(t, b.AttachGateway(ctx, scope, g.ID, "vpc-x"), "InvalidVpcID.NotFound", "vpc-x")
	fails(t, b.DetachGateway(ctx, scope, g.ID, vpc), "Gateway.NotAttached", string(vpc))
	b.must(b.AttachGateway(ctx, scope, g.ID, vpc))
	fails(t, b.AttachGateway(ctx, scope, g.ID, second), "Resource.AlreadyAssociated", "already attached to network "+string(vpc))
	more, err := b.CreateGateway(ctx, scope, nil)
	b.must(err)
	fails(t, b.AttachGateway(ctx, scope, more.ID, vpc), "InvalidParameterValue", "already has an internet gateway attached")
	_, err = b.CreateGateway(ctx, scope, nil)
	fails(t, err, "InternetGatewayLimitExceeded", "3")
	fails(t, b.DetachGateway(ctx, scope, g.ID, second), "Gateway.NotAttached", string(second))
	fails(t, b.DeleteGateway(ctx, scope, g.ID), "DependencyViolation", string(vpc))

	ni, eip := b.iface(b.subnet(vpc, "10.0.1.0/24")), b.address()
	_, err = b.AssociateAddress(ctx, scope, AssociateInput{AddressRef: AddressRef{Allocation: eip}, Interface: ni.ID})
	b.must(err)
	fails(t, b.DetachGateway(ctx, scope, g.ID, vpc), "DependencyViolation", "mapped public address")
	b.must(b.DeleteInterface(ctx, scope, ni.ID))
	b.must(b.DetachGateway(ctx, scope, g.ID, vpc))
	b.must(b.DeleteGateway(ctx, scope, g.ID))
	fails(t, b.DeleteGateway(ctx, scope, g.ID), "InvalidInternetGatewayID.NotFound", string(g.ID))
	if all, err := b.DescribeGateways(ctx, scope); err != nil || len(all) != 2 || b.rowsOf()["tags"] != 0 {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestNATs(t *testing.T) {
	b := newBench(t, Quotas{NATGatewaysPerZone: 2})
	vpc := b.vpc("10.0.0.0/16")
	subnet, eip := b.subnet(vpc, "10.0.1.0/24"), b.address()
	public := CreateNATInput{Subnet: subnet, Allocation: eip, Address: netip.MustParseAddr("10.0.1.10"), ClientToken: "t", Tags: app.Tags{"Name": "n"}}
	failed, err := b.CreateNAT(ctx, scope, CreateNATInput{Subnet: subnet, Allocation: eip})
	if err != nil || failed.FailureCode != "Gateway.NotAttached" || !strings.Contains(failed.FailureCause, string(vpc)) || failed.Interface != "" {
		t.Errorf("got %+v, %v", failed, err)
	}
	b.gateway(vpc)
	for _, c := range []struct {
		in          CreateNATInput
		code, words string
	}{
		{CreateNATInput{Subnet: subnet}, "MissingParameter", "AllocationId"},
		{CreateNATInput{Subnet: subnet, Private: true, Allocation: eip}, "InvalidParameter", string(eip)},
		{CreateNATInput{Subnet: "subnet-x", Allocation: eip}, "InvalidSubnetID.NotFound", "subnet-x"},
		{CreateNATInput{Subnet: subnet, Allocation: "eipalloc-x"}, "InvalidAllocationID.NotFound", "The allocation ID 'eipalloc-x' does not exist"},
		{CreateNATInput{Subnet: subnet, Private: true, Address: netip.MustParseAddr("10.0.1.1")}, "InvalidParameterValue", "reserved"},
	} {
		_, err := b.CreateNAT(ctx, scope, c.in)
		fails(t, err, c.code, c.words)
	}
	g, err := b.CreateNAT(ctx, scope, public)
	if err != nil || !g.Public || g.Allocation != eip || !g.PublicIP.IsValid() || !g.PrivateIP.IsValid() || g.VPC != vpc || g.Association == "" {
		t.Fatalf("got %+v, %v", g, err)
	}
	ni, err := b.Interface(ctx, scope, g.Interface)
	if err != nil || ni.Kind != app.InterfaceOfNAT || ni.Owner != string(g.ID) || len(ni.Groups) != 0 || ni.SourceDestCheck || ni.Public == nil || ni.Public.ID != eip || ni.Addresses[0] != g.PrivateIP {
		t.Errorf("got %+v, %v", ni, err)
	}
	if again, err := b.CreateNAT(ctx, scope, public); err != nil || again.ID != g.ID || again.Tags["Name"] != "n" {
		t.Errorf("the same token made %+v, %v", again, err)
	}
	changed := public
	changed.Allocation = b.address()
	_, err = b.CreateNAT(ctx, scope, changed)
	fails(t, err, "IdempotentParameterMismatch", "t")
	taken, err := b.CreateNAT(ctx, scope, CreateNATInput{Subnet: subnet, Allocation: eip})
	if err != nil || taken.FailureCode != "Resource.AlreadyAssociated" || !strings.Contains(taken.FailureCause, string(eip)) || taken.Association != "" {
		t.Errorf("got %+v, %v", taken, err)
	}
	for _, id := range []app.NATGatewayID{failed.ID, taken.ID} {
		if err := b.DeleteNAT(ctx, scope, id); err != nil {
			t.Error(err)
		}
	}
	private, err := b.CreateNAT(ctx, scope, CreateNATInput{Subnet: subnet, Private: true, Address: netip.MustParseAddr("10.0.1.77")})
	if err != nil || private.Public || private.PublicIP.IsValid() || private.PrivateIP.String() != "10.0.1.77" {
		t.Errorf("got %+v, %v", private, err)
	}
	_, err = b.CreateNAT(ctx, scope, CreateNATInput{Subnet: subnet, Private: true})
	fails(t, err, "NatGatewayLimitExceeded", "2")

	// What belongs to a gateway cannot be taken from it.
	fails(t, b.DisassociateAddress(ctx, scope, g.Association, ""), "AuthFailure", string(g.ID))
	fails(t, b.ReleaseAddress(ctx, scope, AddressRef{Allocation: eip}), "InvalidIPAddress.InUse", string(eip))
	fails(t, b.DeleteInterface(ctx, scope, g.Interface), "OperationNotPermitted", string(g.ID))
	fails(t, b.DetachInterface(ctx, scope, ni.Attachment.ID), "OperationNotPermitted", "not allowed to manage")
	fails(t, b.DeleteSubnet(ctx, scope, subnet), "DependencyViolation", string(subnet))

	b.must(b.DeleteNAT(ctx, scope, g.ID))
	b.must(b.DeleteNAT(ctx, scope, g.ID))
	fails(t, b.DeleteNAT(ctx, scope, "nat-x"), "NatGatewayNotFound", "nat-x")
	b.must(b.ReleaseAddress(ctx, scope, AddressRef{Allocation: eip}))
	if all, err := b.DescribeNATs(ctx, scope); err != nil || len(all) != 4 { // with those that failed
		t.Errorf("got %+v, %v", all, err)
	}
	b.now = b.now.Add(time.Hour - time.Second)
	b.must(b.Expire(ctx))
	b.read(func(tx *store.Tx) {
		if row, ok := store.NATGateways.Get(tx, g.ID); !ok || row.DeletedAt.IsZero() || Tags(tx, string(g.ID))["Name"] != "n" {
			t.Errorf("gone too early: %+v", row)
		}
	})
	b.now = b.now.Add(time.Second)
	b.must(b.Expire(ctx))
	if all, err := b.DescribeNATs(ctx, scope); err != nil || len(all) != 1 || all[0].ID != private.ID || b.rowsOf()["tags"] != 0 {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestAddresses(t *testing.T) {
	b := newBench(t, Quotas{ElasticIPs: 3})
	vpc := b.vpc("10.0.0.0/16")
	subnet := b.subnet(vpc, "10.0.1.0/24")
	first, err := b.AllocateAddress(ctx, scope, "198.18.7.7", app.Tags{"a": "b"})
	if err != nil || first.Address.String() != "198.18.7.7" || first.Tags["a"] != "b" {
		t.Fatalf("got %+v, %v", first, err)
	}
	for _, wanted := range []string{"198.18.7.7", "10.0.0.1", "x"} {
		_, err := b.AllocateAddress(ctx, other, wanted, nil)
		fails(t, err, "InvalidAddress.NotFound", wanted)
	}
	second, third := b.address(), b.address()
	_, err = b.AllocateAddress(ctx, scope, "", nil)
	fails(t, err, "AddressLimitExceeded", "The maximum number of addresses has been reached")
	ref := AddressRef{Allocation: first.ID}
	ni, err := b.CreateInterface(ctx, scope, CreateInterfaceInput{Subnet: subnet, Count: 2})
	b.must(err)
	in := AssociateInput{AddressRef: ref, Interface: ni.ID}
	_, err = b.AssociateAddress(ctx, scope, in)
	fails(t, err, "Gateway.NotAttached", string(vpc))
	b.gateway(vpc)
	for _, c := range []struct {
		in          AssociateInput
		code, words string
	}{
		{AssociateInput{Interface: ni.ID}, "MissingParameter", "allocation id"},
		{AssociateInput{AddressRef: AddressRef{"eipalloc-x", "198.18.7.7"}, Interface: ni.ID}, "InvalidParameterCombination", "not both"},
		{AssociateInput{AddressRef: AddressRef{Allocation: "eipalloc-x"}, Interface: ni.ID}, "InvalidAllocationID.NotFound", "eipalloc-x"},
		{AssociateInput{AddressRef: AddressRef{Address: "198.18.9.9"}, Interface: ni.ID}, "InvalidAddress.NotFound", "198.18.9.9"},
		{AssociateInput{AddressRef: ref}, "MissingParameter", "InstanceId"},
		{AssociateInput{AddressRef: ref, Interface: ni.ID, Host: "i-x"}, "InvalidParameterCombination", "not both"},
		{AssociateInput{AddressRef: ref, Interface: "eni-x"}, "InvalidNetworkInterfaceID.NotFound", "eni-x"},
		{AssociateInput{AddressRef: ref, Host: "i-x"}, "InvalidInstanceID.NotFound", "i-x"},
		{AssociateInput{AddressRef: ref, Interface: ni.ID, Private: "10.0.2.250"}, "InvalidParameterValue", "10.0.2.250"},
	} {
		_, err := b.AssociateAddress(ctx, scope, c.in)
		fails(t, err, c.code, c.words)
	}
	one, err := b.AssociateAddress(ctx, scope, in)
	b.must(err)
	if again, err := b.AssociateAddress(ctx, scope, in); err != nil || again != one {
		t.Errorf("the same again: %s, %v; was %s", again, err, one)
	}
	// The second address of the interface has an Elastic IP of its own.
	_, err = b.AssociateAddress(ctx, scope, AssociateInput{AddressRef: AddressRef{Allocation: second}, Interface: ni.ID, Private: ni.Addresses[1].String()})
	b.must(err)
	if got, err := b.Interface(ctx, scope, ni.ID); err != nil || len(got.Elastic) != 2 || got.Public == nil || got.Public.ID != first.ID {
		t.Errorf("got %+v, %v", got, err)
	}
	// Another Elastic IP takes the place of the one before; one that is in use moves unless the caller forbids it.
	_, err = b.AssociateAddress(ctx, scope, AssociateInput{AddressRef: AddressRef{Allocation: third}, Interface: ni.ID})
	b.must(err)
	fails(t, b.DisassociateAddress(ctx, scope, one, ""), "InvalidAssociationID.NotFound", string(one))
	in.Allocation, in.Keep, in.Private = third, true, ni.Addresses[1].String()
	_, err = b.AssociateAddress(ctx, scope, in)
	fails(t, err, "Resource.AlreadyAssociated", string(third))
	in.Keep = false
	moved, err := b.AssociateAddress(ctx, scope, in)
	b.must(err)
	all, err := b.DescribeAddresses(ctx, scope)
	b.must(err)
	for _, e := range all {
		if (e.ID == third) != (e.Interface == ni.ID) || (e.ID == third) != (e.Private == ni.Addresses[1]) {
			t.Errorf("got %+v", e)
		}
	}
	fails(t, b.ReleaseAddress(ctx, scope, AddressRef{Allocation: third}), "InvalidIPAddress.InUse", string(ni.ID))
	b.must(b.DisassociateAddress(ctx, scope, moved, ""))
	fails(t, b.DisassociateAddress(ctx, scope, "", "198.18.7.7"), "InvalidAssociationID.NotFound", "198.18.7.7")
	fails(t, b.DisassociateAddress(ctx, scope, "", ""), "MissingParameter", "public IP")
	b.must(b.ReleaseAddress(ctx, scope, AddressRef{Address: "198.18.7.7"}))
	fails(t, b.ReleaseAddress(ctx, scope, ref), "InvalidAllocationID.NotFound", string(first.ID))
	b.must(b.ReleaseAddress(ctx, scope, AddressRef{Allocation: third}))
}
