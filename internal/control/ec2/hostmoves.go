package ec2

import (
	"context"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// HostChange is a host's state before and after a call.
type HostChange struct {
	ID            app.HostID
	Before, After app.HostState
}

// StartHosts makes stopped hosts run.
func (c *EC2) StartHosts(ctx context.Context, scope app.Scope, ids []app.HostID) ([]HostChange, error) {
	return c.moveHosts(ctx, scope, ids, func(tx *store.Tx, h *app.Host) error {
		switch h.State {
		case app.HostRunning, app.HostPending:
			return nil
		case app.HostStopped:
			h.Wanted, h.State, h.LaunchedAt = app.HostRunning, app.HostPending, c.now()
			h.StateCode, h.StateReason = "", ""
			c.requestImage(tx, h)
			c.begin(tx, h)
			return nil
		}
		return wrongState(h, "started")
	})
}

// StopHosts ends the containers of hosts; their interfaces and volumes stay.
func (c *EC2) StopHosts(ctx context.Context, scope app.Scope, ids []app.HostID) ([]HostChange, error) {
	return c.moveHosts(ctx, scope, ids, func(tx *store.Tx, h *app.Host) error {
		switch {
		case h.State == app.HostStopped || h.State == app.HostStopping:
			return nil
		case h.State != app.HostRunning && h.State != app.HostPending:
			return wrongState(h, "stopped")
		case h.DisableStop:
			return fail(app.KindDenied, "OperationNotPermitted", "The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", h.ID)
		}
		h.Wanted, h.State = app.HostStopped, app.HostStopping
		h.StateCode, h.StateReason = "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"
		endRun(tx, h)
		return nil
	})
}

// TerminateHosts removes hosts for good.
func (c *EC2) TerminateHosts(ctx context.Context, scope app.Scope, ids []app.HostID) ([]HostChange, error) {
	return c.moveHosts(ctx, scope, ids, func(tx *store.Tx, h *app.Host) error {
		switch {
		case h.State == app.HostTerminated || h.State == app.HostShuttingDown:
			return nil
		case h.DisableTermination:
			return fail(app.KindDenied, "OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", h.ID)
		}
		h.Wanted, h.State = app.HostTerminated, app.HostShuttingDown
		h.StateCode, h.StateReason = "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"
		endRun(tx, h)
		return nil
	})
}

// RebootHosts gives running hosts a new container on the same interfaces and volumes.
func (c *EC2) RebootHosts(ctx context.Context, scope app.Scope, ids []app.HostID) error {
	_, err := c.moveHosts(ctx, scope, ids, func(tx *store.Tx, h *app.Host) error {
		if h.State != app.HostRunning && h.State != app.HostPending {
			return wrongState(h, "rebooted")
		}
		endRun(tx, h) // the keeper begins the next run when this one is gone
		return nil
	})
	return err
}

func wrongState(h *app.Host, verb string) error {
	return fail(app.KindInvalidState, "IncorrectInstanceState", "The instance '%s' is not in a state from which it can be %s: it is %s", h.ID, verb, h.State)
}

func endRun(tx *store.Tx, h *app.Host) {
	if i, ok := store.Instances.Get(tx, h.Run); ok && i.Goal < app.GoalStop {
		i.Goal = app.GoalStop
		store.Control.Instances.Put(tx, i)
	}
}

func (c *EC2) moveHosts(ctx context.Context, scope app.Scope, ids []app.HostID, move func(*store.Tx, *app.Host) error) ([]HostChange, error) {
	var out []HostChange
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		for _, id := range ids {
			h, err := findHost(tx, scope, id)
			if err != nil {
				return err
			}
			before := h.State
			if err := move(tx, &h); err != nil {
				return err
			}
			store.Control.Hosts.Put(tx, h)
			out = append(out, HostChange{h.ID, before, h.State})
		}
		return nil
	})
	return out, err
}

// ModifyHosts changes what the caller may change of hosts, of all or of none.
func (c *EC2) ModifyHosts(ctx context.Context, scope app.Scope, ids []app.HostID, change func(*app.Host) error) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		for _, id := range ids {
			if err := modifyHost(tx, scope, id, change); err != nil {
				return err
			}
		}
		return nil
	})
}

func modifyHost(tx *store.Tx, scope app.Scope, id app.HostID, change func(*app.Host) error) error {
	h, err := findHost(tx, scope, id)
	if err != nil {
		return err
	}
	if h.State == app.HostTerminated {
		return wrongState(&h, "modified")
	}
	if len(h.Interfaces) > 0 { // the interface may have been changed itself
		ni, _ := store.NetworkInterfaces.Get(tx, h.Interfaces[0])
		h.SourceDestCheck = ni.SourceDestCheck
	}
	before := h
	if err := change(&h); err != nil {
		return err
	}
	if before.State != app.HostStopped && (before.UserData != h.UserData || before.InstanceType != h.InstanceType) {
		return fail(app.KindInvalidState, "IncorrectInstanceState", "The instance '%s' is %s: stop it before you change its type or user data", id, h.State)
	}
	if _, ok := SizeOf(h.InstanceType); !ok {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid value '%s' for InstanceType: see describe-instance-types", h.InstanceType)
	}
	if err := checkUserData(h.UserData); err != nil {
		return err
	}
	resize(&h)
	if before.SourceDestCheck != h.SourceDestCheck {
		setCheck(tx, h)
	}
	store.Control.Hosts.Put(tx, h)
	return nil
}

// KeepVolumes says of a host's volumes whether they stay for good when it is terminated.
func (c *EC2) KeepVolumes(ctx context.Context, scope app.Scope, id app.HostID, keep bool) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		h, err := findHost(tx, scope, id)
		if err != nil {
			return err
		}
		for _, id := range h.Volumes {
			if v, ok := store.Volumes.Get(tx, id); ok {
				v.DeleteOnTermination = !keep
				store.Control.Volumes.Put(tx, v)
			}
		}
		return nil
	})
}

// resize gives a host the limits of its type.
func resize(h *app.Host) {
	size, _ := SizeOf(h.InstanceType)
	h.CPU, h.Memory = size.VCPUs*1024, size.Memory
}

func setCheck(tx *store.Tx, h app.Host) {
	if len(h.Interfaces) == 0 {
		return
	}
	if ni, ok := store.NetworkInterfaces.Get(tx, h.Interfaces[0]); ok {
		ni.SourceDestCheck = h.SourceDestCheck
		store.Control.NetworkInterfaces.Put(tx, ni)
	}
}

// SetHostGroups replaces the groups of a host's primary interface.
func (c *EC2) SetHostGroups(ctx context.Context, scope app.Scope, id app.HostID, groups []app.GroupID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		h, err := findHost(tx, scope, id)
		if err != nil {
			return err
		}
		if len(h.Interfaces) == 0 {
			return wrongState(&h, "modified")
		}
		if len(groups) == 0 {
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Give at least one security group of the VPC of %s", id)
		}
		ni, _ := store.NetworkInterfaces.Get(tx, h.Interfaces[0])
		for _, g := range groups {
			row, err := findGroup(tx, scope, g)
			if err != nil {
				return err
			}
			if row.VPC != ni.VPC {
				return fail(app.KindInvalidRequest, "InvalidParameterValue", "Security group %s is of %s, and %s is in %s", g, row.VPC, id, ni.VPC)
			}
		}
		if err := c.checkGroupCount(groups); err != nil {
			return err
		}
		ni.Groups = nil
		for _, g := range groups {
			if !slices.Contains(ni.Groups, g) {
				ni.Groups = append(ni.Groups, g)
			}
		}
		store.Control.NetworkInterfaces.Put(tx, ni)
		return nil
	})
}
