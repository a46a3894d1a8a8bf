package ec2

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// RootDevice is the device name of a host's volume, the only one that it has.
const RootDevice = "/dev/xvda"

// The shown size and type of volumes that nobody sized.
const (
	DefaultVolumeSize = 8 // GiB
	DefaultVolumeType = "gp3"
)

// volumeKept is how long a volume outlives its host, unless it stays for good.
const volumeKept = 7 * 24 * time.Hour

// VolumeDetail is a volume with its tags.
type VolumeDetail struct {
	app.Volume
	Tags app.Tags
}

func findVolume(tx *store.Tx, scope app.Scope, id app.VolumeID) (app.Volume, error) {
	v, ok := store.Volumes.Get(tx, id)
	if !ok || v.Scope != scope {
		return app.Volume{}, notFound("InvalidVolume.NotFound", "volume", string(id))
	}
	return v, nil
}

// DescribeVolumes returns all volumes, by id.
func (c *EC2) DescribeVolumes(ctx context.Context, scope app.Scope) (out []VolumeDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for v := range store.VolumesByScope.Each(tx, scope) {
			out = append(out, VolumeDetail{v, Tags(tx, string(v.ID))})
		}
		return nil
	})
	return out, err
}

// DeleteVolume removes a volume that no host has or waits for, with all that is in it.
func (c *EC2) DeleteVolume(ctx context.Context, scope app.Scope, id app.VolumeID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		v, err := findVolume(tx, scope, id)
		if err != nil {
			return err
		}
		if user, ok := volumeUser(tx, v); ok {
			return volumeInUse(v, user)
		}
		removeVolume(tx, v)
		return nil
	})
}

func removeVolume(tx *store.Tx, v app.Volume) {
	store.Control.Volumes.Delete(tx, v.ID)
	deleteTags(tx, string(v.ID))
}

func volumeInUse(v app.Volume, user app.HostID) error {
	return fail(app.KindInvalidState, "VolumeInUse", "Volume %s is currently attached to %s: terminate the instance first", v.ID, user)
}

// volumeUser returns the host that has a volume or waits for it.
func volumeUser(tx *store.Tx, v app.Volume) (app.HostID, bool) {
	for h := range store.HostsByScope.Each(tx, v.Scope) {
		if h.Wanted != app.HostTerminated && slices.Contains(h.Volumes, v.ID) {
			return h.ID, true
		}
	}
	return v.Host, v.Host != ""
}

// volumeName is the name that tags of a host and of its volume give it, "" = none.
func volumeName(host, volume app.Tags) (string, error) {
	a, b := host[VolumeTag], volume[VolumeTag]
	if a != "" && b != "" && a != b {
		return "", fail(app.KindInvalidRequest, "InvalidParameterCombination", "The tag %s names the volume %s on the instance and %s on the volume: give it once", VolumeTag, a, b)
	}
	return cmp.Or(a, b), nil
}

func volumeByName(tx *store.Tx, scope app.Scope, name string) (app.Volume, bool) {
	for v := range store.VolumesByScope.Each(tx, scope) {
		if name != "" && v.Name == name {
			return v, true
		}
	}
	return app.Volume{}, false
}

// newVolume gives a new host its volume: the one of the name in the tags, or a new one. One that a host has which is being
// terminated becomes the new host's when that one is gone.
func (c *EC2) newVolume(tx *store.Tx, h *app.Host, in RunHostsInput) error {
	name, err := volumeName(in.HostTags, in.VolumeTags)
	if err != nil {
		return err
	}
	v, ok := volumeByName(tx, h.Scope, name)
	if ok {
		if user, used := volumeUser(tx, v); used && user != v.Host {
			return volumeInUse(v, user)
		}
		if old, ok := store.Hosts.Get(tx, v.Host); ok && old.Wanted != app.HostTerminated {
			return volumeInUse(v, old.ID)
		}
	} else {
		if err := c.roomForVolume(tx, h.Scope); err != nil {
			return err
		}
		v = app.Volume{ID: app.VolumeID(c.cfg.IDs.Prefixed("vol")), Scope: h.Scope, Name: name, CreatedAt: c.now()}
	}
	w := in.Volume
	v.Size, v.Type, v.IOPS, v.Throughput = cmp.Or(w.Size, v.Size, DefaultVolumeSize), cmp.Or(w.Type, v.Type, DefaultVolumeType), w.IOPS, w.Throughput
	v.Encrypted, v.KMSKey, v.DeleteOnTermination = w.Encrypted, w.KMSKey, w.DeleteOnTermination
	if v.Type == DefaultVolumeType {
		v.IOPS, v.Throughput = cmp.Or(v.IOPS, 3000), cmp.Or(v.Throughput, 125) // EBS guide, gp3
	}
	h.Volumes = []app.VolumeID{v.ID}
	store.Control.Volumes.Put(tx, v)
	putTags(tx, string(v.ID), in.VolumeTags)
	return nil
}

// roomForVolume counts those that stay, not those that go by themselves.
func (c *EC2) roomForVolume(tx *store.Tx, scope app.Scope) error {
	have := 0
	for v := range store.VolumesByScope.Each(tx, scope) {
		if v.DeleteAfter.IsZero() {
			have++
		}
	}
	if have >= c.cfg.Quotas.Volumes {
		return fail(app.KindQuota, "VolumeLimitExceeded", "The maximum number of volumes has been reached: there are %d in %s. Delete some that are available", have, scope.Region)
	}
	return nil
}

// volumesFree reports whether a host has its volumes or can have them now.
func volumesFree(tx *store.Tx, h app.Host) bool {
	return !slices.ContainsFunc(h.Volumes, func(id app.VolumeID) bool {
		v, ok := store.Volumes.Get(tx, id)
		return ok && v.Host != "" && v.Host != h.ID
	})
}

// claimVolumes attaches a host's volumes; false: it has to wait for one, and its state says so.
func claimVolumes(tx *store.Tx, h *app.Host, now time.Time) bool {
	for _, id := range h.Volumes {
		v, ok := store.Volumes.Get(tx, id)
		if !ok || v.Host == h.ID {
			continue
		}
		if v.Host != "" {
			h.StateCode, h.StateReason = "pending", "pending: Volume "+string(v.ID)+" is still attached to "+string(v.Host)
			return false
		}
		v.Host, v.Device, v.AttachedAt, v.DeleteAfter = h.ID, RootDevice, now, time.Time{}
		if ni, ok := store.NetworkInterfaces.Get(tx, h.Interfaces[0]); ok {
			v.Zone = ni.Zone // a volume is wherever this machine is
		}
		store.Control.Volumes.Put(tx, v)
	}
	return true
}

// releaseVolumes takes the volumes of a terminated host from it. The name of one that nobody waits for stays readable as
// its tag.
func releaseVolumes(tx *store.Tx, h *app.Host, now time.Time) {
	for _, id := range h.Volumes {
		v, ok := store.Volumes.Get(tx, id)
		if !ok || v.Host != h.ID {
			continue
		}
		v.Host, v.Device, v.AttachedAt = "", "", time.Time{}
		if _, awaited := volumeUser(tx, v); !awaited {
			if v.DeleteOnTermination {
				v.DeleteAfter = now.Add(volumeKept)
			}
			if v.Name != "" {
				tags := app.Tags{VolumeTag: v.Name}
				maps.Copy(tags, Tags(tx, string(id)))
				putTags(tx, string(id), tags)
			}
		}
		store.Control.Volumes.Put(tx, v)
	}
	h.Volumes = nil
}

// nameVolumes gives volumes the names that changed tags of a host or a volume say.
func nameVolumes(tx *store.Tx, scope app.Scope, id string) error {
	volumes := []app.VolumeID{app.VolumeID(id)}
	if h, ok := store.Hosts.Get(tx, app.HostID(id)); ok {
		volumes = h.Volumes
	}
	for _, id := range volumes {
		v, ok := store.Volumes.Get(tx, id)
		if !ok {
			continue
		}
		holder := v.Host
		if user, ok := volumeUser(tx, v); ok {
			holder = user // the one that waits for it says its name
		}
		name, err := volumeName(Tags(tx, string(holder)), Tags(tx, string(id)))
		if err != nil {
			return err
		}
		if other, ok := volumeByName(tx, scope, name); ok && other.ID != id {
			return fail(app.KindExists, "InvalidParameterValue", "The name %s of the tag %s is taken by volume %s: give another one, or delete that volume", name, VolumeTag, other.ID)
		}
		if name != v.Name {
			v.Name = name
			store.Control.Volumes.Put(tx, v)
		}
	}
	return nil
}

// expireVolumes removes volumes whose hosts are gone for long enough.
func (c *EC2) expireVolumes(ctx context.Context) error {
	now := c.now()
	due := func(v app.Volume) bool { return v.Host == "" && !v.DeleteAfter.IsZero() && !now.Before(v.DeleteAfter) }
	var found []app.VolumeID
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for v := range store.Volumes.All(tx) {
			if due(v) {
				found = append(found, v.ID)
			}
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		return err
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		for _, id := range found {
			v, ok := store.Volumes.Get(tx, id)
			if !ok || !due(v) {
				continue
			}
			if _, awaited := volumeUser(tx, v); !awaited {
				removeVolume(tx, v)
			}
		}
		return nil
	})
}
