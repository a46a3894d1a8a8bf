package ec2

import (
	"encoding/base64"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// run is what most tests run.
func run(subnet app.SubnetID) RunHostsInput {
	return RunHostsInput{Min: 1, Max: 1, Subnet: subnet, Host: app.Host{Image: "app:v1", InstanceType: "t3.micro"}}
}

func (b *bench) host(in RunHostsInput) HostDetail {
	b.t.Helper()
	made, err := b.RunHosts(ctx, scope, in)
	if err != nil {
		b.t.Fatal(err)
	}
	return made[0]
}

// observe plays the converger: what is seen of the host's container and image. Then the keeper looks.
func (b *bench) observe(id app.HostID, phase app.InstancePhase, reason string, image app.ImageStatus) app.Host {
	b.t.Helper()
	b.write(func(tx *store.Tx) {
		h, _ := store.Hosts.Get(tx, id)
		store.Observed.InstanceStatuses.Put(tx, app.InstanceStatus{ID: h.Run, Phase: phase, Reason: reason})
		image.Service, image.Revision = app.ServiceID(id), 1
		store.Observed.ImageStatuses.Put(tx, image)
	})
	if err := b.KeepHosts(ctx); err != nil {
		b.t.Fatal(err)
	}
	var h app.Host
	b.read(func(tx *store.Tx) { h, _ = store.Hosts.Get(tx, id) })
	return h
}

var present = app.ImageStatus{Ready: true, Digest: "sha256:1"}

func TestLifeOfAHost(t *testing.T) {
	b := newBench(t)
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	in := run(sub)
	in.Addresses, in.HostTags, in.NICTags = []netip.Addr{netip.MustParseAddr("10.0.1.10")}, app.Tags{"Name": "db"}, app.Tags{"Name": "nic"}
	d := b.host(in)
	if d.State != app.HostPending || d.CPU != 2048 || d.Memory != 1024 || len(d.NICs) != 1 || d.NICs[0].Addresses[0] != in.Addresses[0] || d.NICs[0].Owner != string(d.ID) || d.NICs[0].Tags["Name"] != "nic" {
		t.Fatalf("got %+v", d)
	}
	b.read(func(tx *store.Tx) {
		i, _ := store.Instances.Get(tx, d.Run)
		link, _ := store.Interfaces.Get(tx, i.Interface)
		if i.Host != d.ID || i.Goal != app.GoalRun || len(link.VPC) != 1 || link.VPC[0] != d.NICs[0].ID {
			t.Errorf("instance %+v, link %+v", i, link)
		}
		if _, ok := store.LogGroups.Get(tx, d.LogGroup()); !ok {
			t.Error("there is no log group")
		}
	})
	if h := b.observe(d.ID, app.PhaseRunning, "", present); h.State != app.HostRunning {
		t.Errorf("running it is %s", h.State)
	}
	for phase, down := range map[app.InstancePhase]bool{app.PhaseExited: true, app.PhaseRunning: false} {
		h := b.observe(d.ID, phase, "", present)
		if all, err := b.DescribeHosts(ctx, scope); err != nil || h.State != app.HostRunning || all[0].Down != down {
			t.Errorf("with its program %s the host is %+v, %v", phase, all, err)
		}
	}

	if c, err := b.StopHosts(ctx, scope, []app.HostID{d.ID}); err != nil || c[0] != (HostChange{d.ID, app.HostRunning, app.HostStopping}) {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err := b.StartHosts(ctx, scope, []app.HostID{d.ID})
	fails(t, err, "IncorrectInstanceState", "stopping")
	if h := b.observe(d.ID, app.PhaseGone, "", present); h.State != app.HostStopped || h.Run != "" || len(h.Interfaces) != 1 {
		t.Errorf("stopped it is %+v", h)
	}
	if c, err := b.StartHosts(ctx, scope, []app.HostID{d.ID}); err != nil || c[0].After != app.HostPending {
		t.Errorf("got %+v, %v", c, err)
	}
	h := b.observe(d.ID, app.PhaseRunning, "", present)
	before := h.Run
	if err := b.RebootHosts(ctx, scope, []app.HostID{d.ID}); err != nil {
		t.Fatal(err)
	}
	if h = b.observe(d.ID, app.PhaseGone, "", present); h.State != app.HostPending || h.Run == before || h.Run == "" {
		t.Errorf("rebooted it is %+v", h)
	}
	b.observe(d.ID, app.PhaseRunning, "", present)

	if c, err := b.TerminateHosts(ctx, scope, []app.HostID{d.ID}); err != nil || c[0].After != app.HostShuttingDown {
		t.Errorf("got %+v, %v", c, err)
	}
	if h = b.observe(d.ID, app.PhaseGone, "", present); h.State != app.HostTerminated || len(h.Interfaces) != 0 {
		t.Errorf("terminated it is %+v", h)
	}
	b.read(func(tx *store.Tx) {
		if store.NetworkInterfaces.Len(tx)+store.Instances.Len(tx)+store.Interfaces.Len(tx)+store.ImageRequests.Len(tx) != 0 {
			t.Error("rows of a terminated host are left")
		}
	})
	b.now = b.now.Add(time.Hour)
	if err := b.KeepHosts(ctx); err != nil {
		t.Fatal(err)
	}
	if all, err := b.DescribeHosts(ctx, scope); err != nil || len(all) != 0 {
		t.Errorf("after an hour there is %+v, %v", all, err)
	}
}

func TestHostThatCannotRun(t *testing.T) {
	b := newBench(t)
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	for name, c := range map[string]struct {
		phase  app.InstancePhase
		reason string
		image  app.ImageStatus
		want   string
	}{
		"no image":   {app.PhasePending, "", app.ImageStatus{Permanent: true, Error: "no such tag"}, "Server.InternalError: The image cannot be had: no such tag"},
		"no program": {app.PhaseFailed, "no such command", present, "Server.InternalError: no such command"},
	} {
		t.Run(name, func(t *testing.T) {
			d := b.host(run(sub))
			if h := b.observe(d.ID, c.phase, c.reason, c.image); h.State != app.HostStopping || h.StateReason != c.want {
				t.Errorf("got %s: %s", h.State, h.StateReason)
			}
			if h := b.observe(d.ID, app.PhaseGone, "", c.image); h.State != app.HostStopped {
				t.Errorf("afterwards it is %s", h.State)
			}
		})
	}
}

func TestRunHostsRefuses(t *testing.T) {
	b := newBench(t, Quotas{Hosts: 2, GroupsPerInterface: 1})
	v := b.vpc("10.0.0.0/16")
	sub := b.subnet(v, "10.0.1.0/24")
	g1, g2 := b.group(v, "a"), b.group(v, "b")
	b.host(run(sub))
	before := b.rowsOf()
	for name, c := range map[string]struct {
		change      func(*RunHostsInput)
		code, words string
	}{
		"count":     {func(in *RunHostsInput) { in.Min, in.Max = 2, 1 }, "InvalidParameterValue", "MinCount is 2"},
		"image":     {func(in *RunHostsInput) { in.Host.Image = "" }, "MissingParameter", "ImageId"},
		"type":      {func(in *RunHostsInput) { in.Host.InstanceType = "x9" }, "InvalidParameterValue", "x9"},
		"subnet":    {func(in *RunHostsInput) { in.Subnet = "subnet-no" }, "InvalidSubnetID.NotFound", "subnet-no"},
		"address":   {func(in *RunHostsInput) { in.Addresses = []netip.Addr{netip.MustParseAddr("10.0.1.2")} }, "InvalidParameterValue", "reserved"},
		"two":       {func(in *RunHostsInput) { in.Max, in.Addresses = 2, []netip.Addr{netip.MustParseAddr("10.0.1.9")} }, "InvalidParameterCombination", "MaxCount is 2"},
		"groups":    {func(in *RunHostsInput) { in.Groups = []app.GroupID{g1, g2} }, "SecurityGroupsPerInterfaceLimitExceeded", "1"},
		"key":       {func(in *RunHostsInput) { in.Host.KeyName = "me" }, "InvalidKeyPair.NotFound", "me"},
		"interface": {func(in *RunHostsInput) { in.Existing = []app.InterfaceID{"eni-no"} }, "InvalidNetworkInterfaceID.NotFound", "eni-no"},
		"quota":     {func(in *RunHostsInput) { in.Min, in.Max = 2, 2 }, "InstanceLimitExceeded", "2"},
		"tags":      {func(in *RunHostsInput) { in.HostTags = app.Tags{"funade:x": "y"} }, "InvalidParameterValue", "funade:x"},
		"user data": {func(in *RunHostsInput) { in.Host.UserData = base64.StdEncoding.EncodeToString(make([]byte, 16385)) }, "InvalidUserData.Malformed", "16384"},
		"no base64": {func(in *RunHostsInput) { in.Host.UserData = "#!/bin/sh" }, "InvalidUserData.Malformed", "BASE64"},
	} {
		t.Run(name, func(t *testing.T) {
			in := run(sub)
			c.change(&in)
			_, err := b.RunHosts(ctx, scope, in)
			fails(t, err, c.code, c.words)
			if !maps.Equal(before, b.rowsOf()) {
				t.Error("a refused call left rows")
			}
		})
	}
	in := run(sub)
	in.Host.ClientToken = "once"
	first := b.host(in)
	if again := b.host(in); again.ID != first.ID {
		t.Error("the same token made another host")
	}
}

func TestHostProtection(t *testing.T) {
	b := newBench(t)
	v := b.vpc("10.0.0.0/16")
	sub := b.subnet(v, "10.0.1.0/24")
	in := run(sub)
	in.Host.DisableTermination, in.Host.DisableStop = true, true
	d := b.host(in)
	ids := []app.HostID{d.ID}
	_, err := b.TerminateHosts(ctx, scope, ids)
	fails(t, err, "OperationNotPermitted", "disableApiTermination")
	_, err = b.StopHosts(ctx, scope, ids)
	fails(t, err, "OperationNotPermitted", "disableApiStop")
	fails(t, b.ModifyHosts(ctx, scope, []app.HostID{d.ID}, func(h *app.Host) error { h.InstanceType = "t3.large"; return nil }), "IncorrectInstanceState", "stop it")
	if err := b.ModifyHosts(ctx, scope, []app.HostID{d.ID}, func(h *app.Host) error { h.SourceDestCheck = false; return nil }); err != nil {
		t.Fatal(err)
	}
	g := b.group(v, "g")
	if err := b.SetHostGroups(ctx, scope, d.ID, []app.GroupID{g}); err != nil {
		t.Fatal(err)
	}
	all, _ := b.DescribeHosts(ctx, scope)
	if ni := all[0].NICs[0]; ni.SourceDestCheck || len(ni.Groups) != 1 || ni.Groups[0].ID != g {
		t.Errorf("got %+v", ni)
	}
	_, err = b.StopHosts(ctx, other, ids)
	fails(t, err, "InvalidInstanceID.NotFound", string(d.ID))
}

// An interface that existed before its host stays when the host goes.
func TestExistingInterface(t *testing.T) {
	b := newBench(t)
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	var ni app.NetworkInterface
	b.write(func(tx *store.Tx) {
		var err error
		if ni, err = eni.Create(tx, b.cfg.IDs, b.now, eni.New{Scope: scope, Kind: app.InterfaceOfUser, Subnet: sub}); err != nil {
			t.Fatal(err)
		}
	})
	in := run("")
	in.Existing = []app.InterfaceID{ni.ID}
	d := b.host(in)
	_, err := b.RunHosts(ctx, scope, in)
	fails(t, err, "InvalidNetworkInterface.InUse", string(d.ID))
	if _, err := b.TerminateHosts(ctx, scope, []app.HostID{d.ID}); err != nil {
		t.Fatal(err)
	}
	b.observe(d.ID, app.PhaseGone, "", present)
	b.read(func(tx *store.Tx) {
		if left, ok := store.NetworkInterfaces.Get(tx, ni.ID); !ok || left.Owner != "" || left.Attachment.ID != "" {
			t.Errorf("left is %+v, %v", left, ok)
		}
	})
}

// A host in a public subnet gets an address that the account does not hold and that goes with it.
func TestLaunchAddress(t *testing.T) {
	b := newBench(t, Quotas{ElasticIPs: 1})
	sub := b.defaultSubnet()
	d := b.host(run(sub))
	public := d.NICs[0].Public
	if public == nil || !public.Launched || !publicRange.Contains(public.Address) || public.Private != d.NICs[0].Addresses[0] {
		t.Fatalf("got %+v", public)
	}
	if all, err := b.DescribeAddresses(ctx, scope); err != nil || len(all) != 0 {
		t.Errorf("the account holds %+v, %v", all, err)
	}
	fails(t, b.ReleaseAddress(ctx, scope, AddressRef{Allocation: public.ID}), "InvalidAllocationID.NotFound", string(public.ID))
	fails(t, b.ReleaseAddress(ctx, scope, AddressRef{Address: public.Address.String()}), "InvalidAddress.NotFound", public.Address.String())
	fails(t, b.DisassociateAddress(ctx, scope, public.Association, ""), "InvalidAssociationID.NotFound", string(public.Association))
	own, err := b.AllocateAddress(ctx, scope, "", nil) // the quota does not count the other one
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AssociateAddress(ctx, scope, AssociateInput{AddressRef: AddressRef{Allocation: own.ID}, Host: d.ID}); err != nil {
		t.Fatal(err)
	}
	addresses := func() (n int) {
		b.read(func(tx *store.Tx) { n = store.ElasticIPs.Len(tx) })
		return n
	}
	if addresses() != 1 {
		t.Error("the launch address outlived the one that took its place")
	}
	b.terminate(d.ID)
	b.observe(d.ID, app.PhaseGone, "", present)

	in := run(sub)
	in.Public = new(false)
	if d := b.host(in); d.NICs[0].Public != nil {
		t.Errorf("it did not want %+v", d.NICs[0].Public)
	}
	private := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	if d := b.host(run(private)); d.NICs[0].Public != nil {
		t.Errorf("in a private subnet it got %+v", d.NICs[0].Public)
	}
	in = run(private)
	in.Public = new(true)
	if d = b.host(in); d.NICs[0].Public == nil {
		t.Error("it did not get the address that it wanted")
	}
	b.terminate(d.ID)
	b.observe(d.ID, app.PhaseGone, "", present)
	if addresses() != 1 {
		t.Error("a launch address outlived its host")
	}
}

// Keys, tokens and what is changed while a host is stopped.
func TestHostWithKeyAndToken(t *testing.T) {
	b := newBench(t)
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	b.write(func(tx *store.Tx) { store.Control.KeyPairs.Put(tx, app.KeyPair{ID: "key-1", Scope: scope, Name: "me"}) })
	in := run(sub)
	in.Host.KeyName, in.Host.ClientToken, in.Min, in.Max = "me", "once", 2, 3
	made, err := b.RunHosts(ctx, scope, in)
	if err != nil || len(made) != 3 || made[0].Reservation != made[2].Reservation || made[2].LaunchIndex != 2 {
		t.Fatalf("got %+v, %v", made, err)
	}
	if again, err := b.RunHosts(ctx, scope, in); err != nil || len(again) != 3 {
		t.Errorf("got %+v, %v", again, err)
	}
	in.Host.Image = "other:v1"
	_, err = b.RunHosts(ctx, scope, in)
	fails(t, err, "IdempotentParameterMismatch", "once")

	d := made[0]
	if _, err := b.StopHosts(ctx, scope, []app.HostID{d.ID}); err != nil {
		t.Fatal(err)
	}
	b.observe(d.ID, app.PhaseGone, "", present)
	change := func(h *app.Host) error {
		h.InstanceType, h.UserData = "t3.large", "aGVsbG8="
		return nil
	}
	if err := b.ModifyHosts(ctx, scope, []app.HostID{d.ID}, change); err != nil {
		t.Fatal(err)
	}
	fails(t, b.ModifyHosts(ctx, scope, []app.HostID{d.ID}, func(h *app.Host) error { h.UserData = "no!"; return nil }), "InvalidUserData.Malformed", "BASE64")
	fails(t, b.ModifyHosts(ctx, scope, []app.HostID{d.ID}, func(h *app.Host) error { h.InstanceType = "x9"; return nil }), "InvalidParameterValue", "x9")
	var h app.Host
	if b.read(func(tx *store.Tx) { h, _ = store.Hosts.Get(tx, d.ID) }); h.Memory != 8192 || h.UserData != "aGVsbG8=" {
		t.Errorf("got %+v", h)
	}
	b.terminate(d.ID)
	b.keep()
	fails(t, b.ModifyHosts(ctx, scope, []app.HostID{d.ID}, change), "IncorrectInstanceState", "terminated")
	_, err = b.StartHosts(ctx, scope, []app.HostID{d.ID})
	fails(t, err, "IncorrectInstanceState", "terminated")
	fails(t, b.RebootHosts(ctx, scope, []app.HostID{d.ID}), "IncorrectInstanceState", "terminated")
}
