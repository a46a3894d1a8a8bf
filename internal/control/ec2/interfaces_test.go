package ec2

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

func TestInterfaces(t *testing.T) {
	b := newBench(t, Quotas{Interfaces: 3, GroupsPerInterface: 1})
	vpc := b.vpc("10.0.0.0/16")
	subnet := b.subnet(vpc, "10.0.1.0/24")
	g, err := b.CreateGroup(ctx, scope, CreateGroupInput{Name: "a", Description: "a", VPC: vpc})
	b.must(err)
	foreign, err := b.CreateGroup(ctx, scope, CreateGroupInput{Name: "a", Description: "a"})
	b.must(err)
	in := CreateInterfaceInput{
		Subnet: subnet, Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.10")}, Count: 2, Groups: []app.GroupID{g.ID}, Description: "d", ClientToken: "t", Tags: app.Tags{"Name": "n"},
	}
	i, err := b.CreateInterface(ctx, scope, in)
	if err != nil || i.Kind != app.InterfaceOfUser || i.Owner != "" || len(i.Addresses) != 2 || i.Addresses[0].String() != "10.0.1.10" || len(i.Groups) != 1 || i.Groups[0].ID != g.ID ||
		i.NetworkInterface.Description != "d" || i.Tags["Name"] != "n" || !i.SourceDestCheck {
		t.Fatalf("got %+v, %v", i, err)
	}
	if again, err := b.CreateInterface(ctx, scope, in); err != nil || again.ID != i.ID {
		t.Errorf("the same token made %+v, %v", again, err)
	}
	for _, c := range []struct {
		change      func(*CreateInterfaceInput)
		code, words string
	}{
		{func(in *CreateInterfaceInput) { in.Subnet = "subnet-x" }, "InvalidSubnetID.NotFound", "subnet-x"},
		{func(in *CreateInterfaceInput) { in.Groups = []app.GroupID{g.ID, foreign.ID} }, "SecurityGroupsPerInterfaceLimitExceeded", "2"},
		{func(in *CreateInterfaceInput) { in.Groups = []app.GroupID{foreign.ID} }, "InvalidParameterValue", string(foreign.ID)},
		{func(in *CreateInterfaceInput) { in.Groups = []app.GroupID{"sg-x"} }, "InvalidGroup.NotFound", "sg-x"},
		{func(in *CreateInterfaceInput) {}, "InvalidIPAddress.InUse", "10.0.1.10"},
		{func(in *CreateInterfaceInput) { in.Description = strings.Repeat("x", 256) }, "InvalidParameterValue", "256 characters"},
		{func(in *CreateInterfaceInput) { in.Tags = app.Tags{"aws:a": ""} }, "InvalidParameterValue", "reserved"},
		{func(in *CreateInterfaceInput) { in.ClientToken, in.Subnet = "t", b.subnet(vpc, "10.0.2.0/24") }, "IdempotentParameterMismatch", "t"},
	} {
		in := in
		in.ClientToken = ""
		c.change(&in)
		_, err := b.CreateInterface(ctx, scope, in)
		fails(t, err, c.code, c.words)
	}
	b.iface(subnet)
	b.iface(subnet)
	_, err = b.CreateInterface(ctx, scope, CreateInterfaceInput{Subnet: subnet})
	fails(t, err, "NetworkInterfaceLimitExceeded", "3")
	if _, err := b.Interface(ctx, other, i.ID); err == nil {
		t.Error("an interface is seen from another region")
	}

	// Attributes, one at a time.
	change := func(in InterfaceAttributes) error { return b.ModifyInterface(ctx, scope, i.ID, in) }
	fails(t, change(InterfaceAttributes{}), "InvalidParameterCombination", "No attributes")
	fails(t, change(InterfaceAttributes{Description: new(""), SourceDestCheck: new(false)}), "InvalidParameterCombination", "one at a time")
	fails(t, change(InterfaceAttributes{Groups: []app.GroupID{foreign.ID}}), "InvalidParameterValue", string(foreign.ID))
	fails(t, change(InterfaceAttributes{Groups: []app.GroupID{"sg-x"}}), "InvalidGroup.NotFound", "sg-x")
	fails(t, change(InterfaceAttributes{Groups: []app.GroupID{g.ID, g.ID}}), "SecurityGroupsPerInterfaceLimitExceeded", "2")
	fails(t, change(InterfaceAttributes{DeleteOnTermination: new(true), Attachment: "eni-attach-x"}), "InvalidAttachmentID.NotFound", "eni-attach-x")
	fails(t, b.ModifyInterface(ctx, scope, "eni-x", InterfaceAttributes{Description: new("")}), "InvalidNetworkInterfaceID.NotFound", "eni-x")
	var standard app.SecurityGroup
	b.read(func(tx *store.Tx) { standard, _ = groupNamed(tx, vpc, defaultGroup) })
	for _, in := range []InterfaceAttributes{{Description: new("other")}, {SourceDestCheck: new(false)}, {Groups: []app.GroupID{standard.ID}}} {
		b.must(change(in))
	}
	if got, err := b.Interface(ctx, scope, i.ID); err != nil || got.NetworkInterface.Description != "other" || got.SourceDestCheck || got.Groups[0].ID != standard.ID {
		t.Errorf("got %+v, %v", got, err)
	}
	fails(t, b.DeleteSubnet(ctx, scope, subnet), "DependencyViolation", "eni-")
	b.must(b.DeleteInterface(ctx, scope, i.ID))
	fails(t, b.DeleteInterface(ctx, scope, i.ID), "InvalidNetworkInterfaceID.NotFound", string(i.ID))
	if b.rowsOf()["tags"] != 0 {
		t.Error("tags were left")
	}
}

func TestAttachInterface(t *testing.T) {
	b := newBench(t)
	vpc := b.vpc("10.0.0.0/16")
	subnet := b.subnet(vpc, "10.0.1.0/24")
	host := b.hostWith(b.iface(subnet))
	i := b.iface(subnet)
	away := b.iface(b.subnet(b.vpc("10.1.0.0/16"), "10.1.1.0/24"))
	elsewhere, err := b.CreateSubnet(ctx, scope, CreateSubnetInput{VPC: vpc, CIDR: "10.0.2.0/24", Zone: "us-east-1b"})
	b.must(err)
	for _, c := range []struct {
		id          app.InterfaceID
		host        app.HostID
		index       int
		code, words string
	}{
		{"eni-x", host, 1, "InvalidNetworkInterfaceID.NotFound", "eni-x"},
		{i.ID, "i-x", 1, "InvalidInstanceID.NotFound", "i-x"},
		{i.ID, host, 0, "InvalidParameterValue", "already has an interface attached at device index '0'"},
		{i.ID, host, -1, "InvalidParameterValue", "deviceIndex"},
		{i.ID, host, 99, "InvalidParameterValue", "deviceIndex"},
		{away.ID, host, 1, "InvalidParameterCombination", "one VPC"},
		{b.iface(elsewhere.ID).ID, host, 1, "InvalidParameterCombination", "availability zone"},
	} {
		_, err := b.AttachInterface(ctx, scope, c.id, c.host, c.index)
		fails(t, err, c.code, c.words)
	}
	attachment, err := b.AttachInterface(ctx, scope, i.ID, host, 3)
	b.must(err)
	_, err = b.AttachInterface(ctx, scope, i.ID, host, 4)
	fails(t, err, "InvalidNetworkInterface.InUse", string(host))
	fails(t, b.DeleteInterface(ctx, scope, i.ID), "InvalidNetworkInterface.InUse", string(host))
	b.must(b.ModifyInterface(ctx, scope, i.ID, InterfaceAttributes{DeleteOnTermination: new(true), Attachment: attachment}))
	var first app.InterfaceID
	var primary string
	b.read(func(tx *store.Tx) {
		h, _ := store.Hosts.Get(tx, host)
		run, _ := store.Instances.Get(tx, h.Run)
		nic, _ := store.Interfaces.Get(tx, run.Interface)
		row, _ := store.NetworkInterfaces.Get(tx, i.ID)
		if len(h.Interfaces) != 2 || h.Interfaces[1] != i.ID || !slices.Equal(nic.VPC, h.Interfaces) ||
			row.Attachment != (app.AttachmentENI{ID: attachment, DeviceIndex: 3, DeleteOnTermination: true, At: b.now}) || row.Owner != string(host) {
			t.Errorf("got %+v, %+v, %+v", h, nic, row)
		}
		row, _ = store.NetworkInterfaces.Get(tx, h.Interfaces[0])
		first, primary = row.ID, row.Attachment.ID
	})
	// The primary one shares its check with the host, the second does not.
	for n, id := range []app.InterfaceID{i.ID, first} {
		b.must(b.ModifyInterface(ctx, scope, id, InterfaceAttributes{SourceDestCheck: new(false)}))
		b.read(func(tx *store.Tx) {
			if h, _ := store.Hosts.Get(tx, host); h.SourceDestCheck != (n == 0) {
				t.Errorf("after %d interfaces the host's check is %v", n+1, h.SourceDestCheck)
			}
		})
	}
	fails(t, b.DetachInterface(ctx, scope, primary), "OperationNotPermitted", "device index 0")
	fails(t, b.DetachInterface(ctx, scope, "eni-attach-x"), "InvalidAttachmentID.NotFound", "The interface attachment 'eni-attach-x' does not exist")
	fails(t, b.DetachInterface(ctx, other, attachment), "InvalidAttachmentID.NotFound", attachment)
	b.must(b.DetachInterface(ctx, scope, attachment))
	b.read(func(tx *store.Tx) {
		h, _ := store.Hosts.Get(tx, host)
		run, _ := store.Instances.Get(tx, h.Run)
		nic, _ := store.Interfaces.Get(tx, run.Interface)
		if len(h.Interfaces) != 1 || !slices.Equal(nic.VPC, h.Interfaces) {
			t.Errorf("got %+v, %+v", h, nic)
		}
	})
	b.must(b.DeleteInterface(ctx, scope, i.ID))
	b.write(func(tx *store.Tx) {
		h, _ := store.Hosts.Get(tx, host)
		h.State = app.HostTerminated
		store.Control.Hosts.Put(tx, h)
	})
	_, err = b.AttachInterface(ctx, scope, away.ID, host, 1)
	fails(t, err, "IncorrectState", "terminated")
}

func TestPrivateAddresses(t *testing.T) {
	b := newBench(t)
	vpc := b.vpc("10.0.0.0/16")
	subnet := b.subnet(vpc, "10.0.1.0/24")
	b.gateway(vpc)
	ten, eleven := netip.MustParseAddr("10.0.1.10"), netip.MustParseAddr("10.0.1.11")
	i, err := b.CreateInterface(ctx, scope, CreateInterfaceInput{Subnet: subnet, Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.20")}})
	b.must(err)
	j, err := b.CreateInterface(ctx, scope, CreateInterfaceInput{Subnet: subnet, Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.21")}})
	b.must(err)
	_, err = b.AssignAddresses(ctx, scope, i.ID, nil, 0, false)
	fails(t, err, "InvalidParameterCombination", "either")
	_, err = b.AssignAddresses(ctx, scope, i.ID, []netip.Addr{ten}, 1, false)
	fails(t, err, "InvalidParameterCombination", "either")
	_, err = b.AssignAddresses(ctx, scope, "eni-x", nil, 1, false)
	fails(t, err, "InvalidNetworkInterfaceID.NotFound", "eni-x")
	got, err := b.AssignAddresses(ctx, scope, i.ID, []netip.Addr{ten, eleven}, 0, false)
	if err != nil || !slices.Equal(got, []netip.Addr{ten, eleven}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := b.AssignAddresses(ctx, scope, i.ID, []netip.Addr{ten}, 0, true); err != nil || len(got) != 0 {
		t.Errorf("its own address again: %v, %v", got, err)
	}
	if got, err := b.AssignAddresses(ctx, scope, j.ID, nil, 3, false); err != nil || len(got) != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = b.AssignAddresses(ctx, scope, j.ID, []netip.Addr{ten}, 0, false)
	fails(t, err, "InvalidIPAddress.InUse", "10.0.1.10")
	_, err = b.AssignAddresses(ctx, scope, j.ID, i.Addresses[:1], 0, true)
	fails(t, err, "InvalidParameterValue", "primary")
	eip := b.address()
	_, err = b.AssociateAddress(ctx, scope, AssociateInput{AddressRef: AddressRef{Allocation: eip}, Interface: i.ID, Private: "10.0.1.10"})
	b.must(err)
	if got, err := b.AssignAddresses(ctx, scope, j.ID, []netip.Addr{ten}, 0, true); err != nil || !slices.Equal(got, []netip.Addr{ten}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := b.Interface(ctx, scope, i.ID); err != nil || !slices.Equal(got.Addresses, []netip.Addr{i.Addresses[0], eleven}) || len(got.Elastic) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	fails(t, b.UnassignAddresses(ctx, scope, i.ID, nil), "MissingParameter", "PrivateIpAddresses")
	fails(t, b.UnassignAddresses(ctx, scope, i.ID, []netip.Addr{ten}), "InvalidParameterValue", "10.0.1.10")
	fails(t, b.UnassignAddresses(ctx, scope, i.ID, i.Addresses[:1]), "InvalidParameterValue", "primary")
	b.must(b.UnassignAddresses(ctx, scope, i.ID, []netip.Addr{eleven}))
	b.read(func(tx *store.Tx) {
		s, _ := store.Subnets.Get(tx, subnet)
		if free := eni.Free(tx, s); free != 251-6 {
			t.Errorf("%d are free", free)
		}
	})
}
