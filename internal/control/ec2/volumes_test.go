package ec2

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

func (b *bench) volume(id app.VolumeID) (v app.Volume) {
	b.t.Helper()
	b.read(func(tx *store.Tx) { v, _ = store.Volumes.Get(tx, id) })
	return v
}

func (b *bench) terminate(id app.HostID) {
	b.t.Helper()
	if _, err := b.TerminateHosts(ctx, scope, []app.HostID{id}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) keep() {
	b.t.Helper()
	if err := b.KeepHosts(ctx); err != nil {
		b.t.Fatal(err)
	}
	if err := b.expireVolumes(ctx); err != nil {
		b.t.Fatal(err)
	}
}

func named(subnet app.SubnetID, name string) RunHostsInput {
	in := run(subnet)
	in.HostTags = app.Tags{VolumeTag: name}
	in.Volume = app.Volume{DeleteOnTermination: true}
	return in
}

func TestVolumeOutlivesItsHost(t *testing.T) {
	b := newBench(t)
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	in := named(sub, "db")
	in.Volume.Size, in.VolumeTags = 20, app.Tags{"a": "b"}
	d := b.host(in)
	id := d.Volumes[0]
	if v := b.volume(id); v.Host != d.ID || v.Name != "db" || v.Device != RootDevice || v.Size != 20 || v.Type != "gp3" || v.IOPS != 3000 || v.Zone != "us-east-1a" {
		t.Errorf("got %+v", v)
	}
	_, err := b.RunHosts(ctx, scope, in)
	fails(t, err, "VolumeInUse", string(d.ID))
	fails(t, b.DeleteVolume(ctx, scope, id), "VolumeInUse", string(d.ID))
	fails(t, b.DeleteVolume(ctx, other, id), "InvalidVolume.NotFound", string(id))

	b.terminate(d.ID)
	b.observe(d.ID, app.PhaseGone, "", present)
	v := b.volume(id)
	if v.Host != "" || v.Device != "" || !v.DeleteAfter.Equal(b.now.Add(7*24*time.Hour)) {
		t.Errorf("without its host it is %+v", v)
	}
	all, err := b.DescribeVolumes(ctx, scope)
	if want := (app.Tags{"a": "b", VolumeTag: "db"}); err != nil || len(all) != 1 || !maps.Equal(all[0].Tags, want) {
		t.Errorf("described are %+v, %v", all, err)
	}

	again := b.host(named(sub, "db"))
	if v := b.volume(id); again.Volumes[0] != id || v.Host != again.ID || !v.DeleteAfter.IsZero() || v.Size != 20 {
		t.Errorf("the next host has %v, which is %+v", again.Volumes, v)
	}
	if all, _ = b.DescribeVolumes(ctx, scope); len(all[0].Tags) != 0 {
		t.Errorf("tags of the host before are left: %v", all[0].Tags)
	}
	b.terminate(again.ID)
	b.observe(again.ID, app.PhaseGone, "", present)
	b.now = b.now.Add(volumeKept - time.Second)
	if b.keep(); b.volume(id).ID == "" {
		t.Error("the volume went too early")
	}
	b.now = b.now.Add(time.Second)
	if b.keep(); b.volume(id).ID != "" {
		t.Error("the volume is still there after a week")
	}
}

// A host that replaces another waits for the volume, and its container for it.
func TestVolumeIsHandedOver(t *testing.T) {
	b := newBench(t)
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	old := b.host(named(sub, "db"))
	b.observe(old.ID, app.PhaseRunning, "", present)
	b.terminate(old.ID)
	next := b.host(named(sub, "db"))
	id := old.Volumes[0]
	if next.State != app.HostPending || next.Run != "" || next.Volumes[0] != id || !strings.Contains(next.StateReason, string(old.ID)) {
		t.Errorf("it does not wait: %+v", next.Host)
	}
	_, err := b.RunHosts(ctx, scope, named(sub, "db"))
	fails(t, err, "VolumeInUse", string(next.ID))
	if b.keep(); b.volume(id).Host != old.ID {
		t.Error("the volume was taken from a host that still runs")
	}
	b.observe(old.ID, app.PhaseGone, "", present)
	b.keep()
	var h app.Host
	b.read(func(tx *store.Tx) { h, _ = store.Hosts.Get(tx, next.ID) })
	if v := b.volume(id); h.Run == "" || v.Host != next.ID || v.Name != "db" || !v.DeleteAfter.IsZero() {
		t.Errorf("host %+v, volume %+v", h, v)
	}
	if h = b.observe(next.ID, app.PhaseRunning, "", present); h.State != app.HostRunning || h.StateReason != "" {
		t.Errorf("it is %s: %s", h.State, h.StateReason)
	}
}

// One that waits may be stopped, started and terminated; then the volume is free.
func TestWaitingHostMoves(t *testing.T) {
	b := newBench(t)
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	old := b.host(named(sub, "db"))
	b.terminate(old.ID)
	next := b.host(named(sub, "db"))
	ids := []app.HostID{next.ID}
	if _, err := b.StopHosts(ctx, scope, ids); err != nil {
		t.Fatal(err)
	}
	b.keep()
	if c, err := b.StartHosts(ctx, scope, ids); err != nil || c[0].Before != app.HostStopped {
		t.Fatalf("got %+v, %v", c, err)
	}
	b.keep()
	b.terminate(next.ID)
	b.keep()
	b.observe(old.ID, app.PhaseGone, "", present)
	if v := b.volume(old.Volumes[0]); v.Host != "" || v.DeleteAfter.IsZero() {
		t.Errorf("the volume is %+v", v)
	}
}

func TestVolumeThatStays(t *testing.T) {
	b := newBench(t, Quotas{Volumes: 2})
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	for range 2 {
		in := run(sub)
		in.Volume.DeleteOnTermination = false
		d := b.host(in)
		b.terminate(d.ID)
		b.observe(d.ID, app.PhaseGone, "", present)
		if v := b.volume(d.Volumes[0]); !v.DeleteAfter.IsZero() {
			t.Errorf("it goes at %v", v.DeleteAfter)
		}
	}
	_, err := b.RunHosts(ctx, scope, run(sub))
	fails(t, err, "VolumeLimitExceeded", "2")
	all, _ := b.DescribeVolumes(ctx, scope)
	if err := b.DeleteVolume(ctx, scope, all[0].ID); err != nil {
		t.Fatal(err)
	}
	b.host(run(sub))
}

// Tags that change change the name; no two volumes have the same.
func TestVolumeTags(t *testing.T) {
	b := newBench(t)
	sub := b.subnet(b.vpc("10.0.0.0/16"), "10.0.1.0/24")
	first, second := b.host(run(sub)), b.host(named(sub, "two"))
	v := first.Volumes[0]
	tag := func(id, name string) error { return b.CreateTags(ctx, scope, []string{id}, app.Tags{VolumeTag: name}) }
	fails(t, tag(string(first.ID), "two"), "InvalidParameterValue", "is taken by volume "+string(second.Volumes[0]))
	fails(t, tag(string(first.ID), ""), "InvalidParameterValue", "no value")
	fails(t, tag(string(sub), "x"), "InvalidParameterValue", "instances")
	if err := tag(string(first.ID), "one"); err != nil || b.volume(v).Name != "one" {
		t.Errorf("got %v, %+v", err, b.volume(v))
	}
	fails(t, tag(string(v), "other"), "InvalidParameterCombination", "other")
	if err := b.DeleteTags(ctx, scope, []string{string(first.ID)}, nil); err != nil || b.volume(v).Name != "" {
		t.Errorf("got %v, %+v", err, b.volume(v))
	}
	if err := tag(string(v), "mine"); err != nil || b.volume(v).Name != "mine" {
		t.Errorf("got %v, %+v", err, b.volume(v))
	}
	in := named(sub, "a")
	in.VolumeTags = app.Tags{VolumeTag: "b"}
	_, err := b.RunHosts(ctx, scope, in)
	fails(t, err, "InvalidParameterCombination", "on the volume")
	in = named(sub, "a")
	in.Max = 2
	_, err = b.RunHosts(ctx, scope, in)
	fails(t, err, "InvalidParameterCombination", "MaxCount is 2")
	in = run(sub)
	in.NICTags = app.Tags{VolumeTag: "a"}
	_, err = b.RunHosts(ctx, scope, in)
	fails(t, err, "InvalidParameterValue", "network interfaces")
}
