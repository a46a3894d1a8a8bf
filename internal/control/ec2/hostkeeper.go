package ec2

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// KeepHosts moves hosts on with what was observed of their containers, and forgets those that were terminated an hour ago.
func (c *EC2) KeepHosts(ctx context.Context) error {
	var due []app.HostID
	now := c.now()
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for h := range store.Hosts.All(tx) {
			if c.hostDue(tx, h, now) {
				due = append(due, h.ID)
			}
		}
		return nil
	})
	if err != nil || len(due) == 0 {
		return err
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		for _, id := range due {
			if h, ok := store.Hosts.Get(tx, id); ok && c.hostDue(tx, h, now) {
				c.keepHost(tx, h, now)
			}
		}
		return nil
	})
}

// hostDue reports whether keepHost would change anything.
func (c *EC2) hostDue(tx *store.Tx, h app.Host, now time.Time) bool {
	if h.State == app.HostTerminated {
		return !now.Before(h.TerminatedAt.Add(hostShown))
	}
	i, running := store.Instances.Get(tx, h.Run)
	status, _ := store.InstanceStatuses.Get(tx, h.Run)
	image, _ := store.ImageStatuses.Get(tx, h.ImageKey())
	switch {
	case !running && h.Wanted == app.HostRunning:
		return h.State != app.HostRunning && volumesFree(tx, h)
	case !running:
		return h.Wanted != h.State
	case i.Goal == app.GoalStop:
		return status.Phase == app.PhaseGone
	case h.State == app.HostPending:
		return status.Phase == app.PhaseRunning || status.Phase == app.PhaseFailed || image.Permanent || h.StateReason != waiting(image, status)
	}
	return status.Phase == app.PhaseFailed
}

func (c *EC2) keepHost(tx *store.Tx, h app.Host, now time.Time) {
	if h.State == app.HostTerminated {
		store.Control.Hosts.Delete(tx, h.ID)
		deleteTags(tx, string(h.ID))
		return
	}
	i, running := store.Instances.Get(tx, h.Run)
	status, _ := store.InstanceStatuses.Get(tx, h.Run)
	image, _ := store.ImageStatuses.Get(tx, h.ImageKey())
	switch {
	case running && i.Goal == app.GoalStop && status.Phase == app.PhaseGone, !running:
		if running {
			store.Control.Instances.Delete(tx, i.ID)
			store.Control.Interfaces.Delete(tx, i.Interface)
		}
		h.Run = ""
		c.afterRun(tx, &h, now)
	case status.Phase == app.PhaseRunning:
		h.State, h.StateCode, h.StateReason = app.HostRunning, "", ""
	case image.Permanent:
		c.giveUp(tx, &h, "The image cannot be had: "+image.Error)
	case status.Phase == app.PhaseFailed:
		c.giveUp(tx, &h, status.Reason)
	default:
		h.StateCode, h.StateReason = "", waiting(image, status)
		if h.StateReason != "" {
			h.StateCode = "pending"
		}
	}
	store.Control.Hosts.Put(tx, h)
}

// waiting says what keeps a host pending that is tried again; "" = nothing is wrong.
func waiting(image app.ImageStatus, status app.InstanceStatus) string {
	switch {
	case image.Error != "":
		return "pending: The image cannot be had yet: " + image.Error
	case status.Reason != "":
		return "pending: " + status.Reason
	}
	return ""
}

// giveUp stops a host that cannot run; the reason is shown as its StateReason.
func (c *EC2) giveUp(tx *store.Tx, h *app.Host, reason string) {
	h.Wanted, h.State = app.HostStopped, app.HostStopping
	h.StateCode, h.StateReason = "Server.InternalError", "Server.InternalError: "+reason
	store.Control.ImageRequests.Delete(tx, h.ImageKey()) // so that the next start asks again
	endRun(tx, h)
}

// afterRun is what follows when nothing of a host's container is left.
func (c *EC2) afterRun(tx *store.Tx, h *app.Host, now time.Time) {
	switch h.Wanted {
	case app.HostRunning: // a reboot
		h.State = app.HostPending
		c.begin(tx, h)
	case app.HostStopped:
		h.State = app.HostStopped
	case app.HostTerminated:
		h.State, h.TerminatedAt = app.HostTerminated, now
		store.Control.ImageRequests.Delete(tx, h.ImageKey())
		for _, id := range h.Interfaces {
			ni, ok := store.NetworkInterfaces.Get(tx, id)
			switch {
			case ok && ni.Attachment.DeleteOnTermination:
				eni.Delete(tx, id)
			case ok:
				ni.Owner, ni.Attachment = "", app.AttachmentENI{}
				store.Control.NetworkInterfaces.Put(tx, ni)
			}
		}
		h.Interfaces = nil
		releaseVolumes(tx, h, now)
	}
}

// RunKeeper keeps hosts, and forgets deleted gateways, until ctx ends.
func (c *EC2) RunKeeper(ctx context.Context) {
	for ctx.Err() == nil {
		changed := c.store.Changed(store.Hosts.Name(), store.Instances.Name(), store.InstanceStatuses.Name(), store.ImageStatuses.Name())
		err := errors.Join(c.KeepHosts(ctx), c.expireVolumes(ctx), c.Expire(ctx))
		if err != nil && ctx.Err() == nil && c.cfg.Report != nil {
			c.cfg.Report(fmt.Errorf("cannot keep hosts and gateways: %w", err))
		}
		timer := time.NewTimer(time.Minute)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}
