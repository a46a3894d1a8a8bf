package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// maxUserData bounds user data in base64 (EC2 guide: 16 KB before encoding).
const maxUserData = (16<<10)/3*4 + 4

// hostShown is how long a terminated host stays describable.
const hostShown = time.Hour

// HostDetail is a host with its network interfaces, its VPC's region and tags.
type HostDetail struct {
	app.Host
	NICs []InterfaceDetail
	Tags app.Tags
}

// InterfaceDetail is a network interface with its Elastic IPs, groups and tags; Public is that of its primary address.
type InterfaceDetail struct {
	app.NetworkInterface
	Public  *app.ElasticIP
	Elastic []app.ElasticIP
	Groups  []app.SecurityGroup
	Tags    app.Tags
}

// findHost finds a host of the scope, for an hour also a terminated one.
func findHost(tx *store.Tx, scope app.Scope, id app.HostID) (app.Host, error) {
	h, ok := store.Hosts.Get(tx, id)
	if !ok || h.Scope != scope {
		return app.Host{}, notFound("InvalidInstanceID.NotFound", "instance ID", string(id))
	}
	return h, nil
}

func hostDetail(tx *store.Tx, h app.Host) HostDetail {
	out := HostDetail{Host: h, Tags: Tags(tx, string(h.ID))}
	for _, id := range h.Interfaces {
		if ni, ok := store.NetworkInterfaces.Get(tx, id); ok {
			out.NICs = append(out.NICs, interfaceDetail(tx, ni))
		}
	}
	return out
}

func interfaceDetail(tx *store.Tx, ni app.NetworkInterface) InterfaceDetail {
	out := InterfaceDetail{NetworkInterface: ni, Tags: Tags(tx, string(ni.ID))}
	for _, id := range ni.Groups {
		if g, ok := store.SecurityGroups.Get(tx, id); ok {
			out.Groups = append(out.Groups, g)
		}
	}
	for e := range store.ElasticIPsByScope.Each(tx, ni.Scope) {
		if e.Interface != ni.ID {
			continue
		}
		if out.Elastic = append(out.Elastic, e); e.Private == ni.Addresses[0] {
			out.Public = &e
		}
	}
	return out
}

// RunHostsInput says what hosts to make.
type RunHostsInput struct {
	Min, Max int
	// Host holds everything that the caller said about each host.
	Host app.Host
	// Interface is the primary interface to make, Existing the ids of interfaces to use instead.
	Subnet   app.SubnetID
	Groups   []app.GroupID
	Address  netip.Addr
	Existing []app.InterfaceID
	HostTags app.Tags
	NICTags  app.Tags
}

// RunHosts makes hosts; the same ClientToken again returns those that it made.
func (c *EC2) RunHosts(ctx context.Context, scope app.Scope, in RunHostsInput) ([]HostDetail, error) {
	if err := checkRun(in); err != nil {
		return nil, err
	}
	var out []HostDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		for h := range store.HostsByScope.Each(tx, scope) {
			if in.Host.ClientToken != "" && h.ClientToken == in.Host.ClientToken {
				out = append(out, hostDetail(tx, h))
			}
		}
		if len(out) > 0 {
			return nil
		}
		n, err := c.roomForHosts(tx, scope, in.Min, in.Max)
		if err != nil {
			return err
		}
		if in.Host.KeyName != "" && !keyExists(tx, scope, in.Host.KeyName) {
			return fail(app.KindNotFound, "InvalidKeyPair.NotFound", "The key pair '%s' does not exist", in.Host.KeyName)
		}
		reservation := c.cfg.IDs.Prefixed("r")
		for index := range n {
			h, err := c.newHost(tx, scope, in, reservation, index)
			if err != nil {
				return err
			}
			out = append(out, hostDetail(tx, h))
		}
		return nil
	})
	return out, err
}

func checkRun(in RunHostsInput) error {
	switch {
	case in.Min < 1 || in.Max < in.Min:
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "MinCount is %d and MaxCount %d: give at least 1, the greater one as MaxCount", in.Min, in.Max)
	case in.Host.Image == "":
		return fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter ImageId")
	case in.Max > 1 && (in.Address.IsValid() || len(in.Existing) > 0):
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "An address or interface can be given to one host only, and MaxCount is %d", in.Max)
	case len(in.Host.UserData) > maxUserData:
		return fail(app.KindInvalidRequest, "InvalidUserData.Malformed", "User data is limited to 16384 bytes")
	}
	if _, ok := SizeOf(in.Host.InstanceType); !ok {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid value '%s' for InstanceType: see describe-instance-types", in.Host.InstanceType)
	}
	for _, tags := range []app.Tags{in.HostTags, in.NICTags} {
		if err := checkTags(tags); err != nil {
			return err
		}
	}
	if _, ok := in.HostTags[VolumeTag]; ok && in.Max > 1 {
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "The tag %s names one volume, and MaxCount is %d", VolumeTag, in.Max)
	}
	return nil
}

func (c *EC2) roomForHosts(tx *store.Tx, scope app.Scope, least, most int) (int, error) {
	have := 0
	for h := range store.HostsByScope.Each(tx, scope) {
		if h.State != app.HostTerminated {
			have++
		}
	}
	if room := c.cfg.Quotas.Hosts - have; room < most {
		if room < least {
			return 0, fail(app.KindQuota, "InstanceLimitExceeded", "You have requested more instances (%d) than your current instance limit of %d allows: %d are there. Terminate some", least, c.cfg.Quotas.Hosts, have)
		}
		return room, nil
	}
	return most, nil
}

func keyExists(tx *store.Tx, scope app.Scope, name string) bool {
	for k := range store.KeyPairsByScope.Each(tx, scope) {
		if k.Name == name {
			return true
		}
	}
	return false
}

func (c *EC2) newHost(tx *store.Tx, scope app.Scope, in RunHostsInput, reservation string, index int) (app.Host, error) {
	h := in.Host
	h.ID, h.Scope, h.Reservation, h.LaunchIndex = app.HostID(c.cfg.IDs.Prefixed("i")), scope, reservation, index
	h.State, h.Wanted = app.HostPending, app.HostRunning
	h.SourceDestCheck = true
	resize(&h)
	h.CreatedAt, h.LaunchedAt = c.now(), c.now()
	if len(in.Existing) > 0 {
		if err := c.adopt(tx, &h, in.Existing); err != nil {
			return h, err
		}
	} else if err := c.newPrimary(tx, &h, in); err != nil {
		return h, err
	}
	putTags(tx, string(h.ID), in.HostTags)
	c.requestImage(tx, h)
	c.logGroup(tx, h)
	c.begin(tx, &h)
	store.Control.Hosts.Put(tx, h)
	return h, nil
}

// newPrimary makes the interface of a new host.
func (c *EC2) newPrimary(tx *store.Tx, h *app.Host, in RunHostsInput) error {
	subnet := in.Subnet
	if subnet == "" {
		s, ok := defaultSubnet(tx, h.Scope)
		if !ok {
			return fail(app.KindInvalidState, "MissingInput", "No subnets found for the default VPC: give SubnetId")
		}
		subnet = s
	}
	n := eni.New{
		Scope: h.Scope, Kind: app.InterfaceOfUser, Subnet: subnet, Groups: in.Groups, Owner: string(h.ID),
		Attachment: app.AttachmentENI{ID: c.cfg.IDs.Prefixed("eni-attach"), DeleteOnTermination: true, At: c.now()},
	}
	if in.Address.IsValid() {
		n.Addresses = []netip.Addr{in.Address}
	}
	if len(in.Groups) > c.cfg.Quotas.GroupsPerInterface {
		return fail(app.KindQuota, "SecurityGroupsPerInterfaceLimitExceeded", "An interface may carry %d security groups; %d were given", c.cfg.Quotas.GroupsPerInterface, len(in.Groups))
	}
	ni, err := eni.Create(tx, c.cfg.IDs, c.now(), n)
	if err != nil {
		return err
	}
	putTags(tx, string(ni.ID), in.NICTags)
	h.Interfaces = []app.InterfaceID{ni.ID}
	return nil
}

func defaultSubnet(tx *store.Tx, scope app.Scope) (app.SubnetID, bool) {
	v, ok := defaultVPC(tx, scope)
	if !ok {
		return "", false
	}
	for s := range store.SubnetsByVPC.Each(tx, v.ID) {
		if s.Default {
			return s.ID, true
		}
	}
	return "", false
}

// adopt attaches interfaces that exist to a new host.
func (c *EC2) adopt(tx *store.Tx, h *app.Host, ids []app.InterfaceID) error {
	var vpc app.VPCID
	for n, id := range ids {
		ni, ok := store.NetworkInterfaces.Get(tx, id)
		switch {
		case !ok || ni.Scope != h.Scope:
			return notFound("InvalidNetworkInterfaceID.NotFound", "networkInterface ID", string(id))
		case ni.Owner != "":
			return fail(app.KindInvalidState, "InvalidNetworkInterface.InUse", "Interface: [%s] in use by %s", id, ni.Owner)
		case vpc != "" && ni.VPC != vpc:
			return fail(app.KindInvalidRequest, "InvalidParameterCombination", "Interface %s is of %s and the primary one of %s: a host is in one VPC", id, ni.VPC, vpc)
		}
		vpc = ni.VPC
		ni.Owner = string(h.ID)
		ni.Attachment = app.AttachmentENI{ID: c.cfg.IDs.Prefixed("eni-attach"), DeviceIndex: n, At: c.now()}
		store.Control.NetworkInterfaces.Put(tx, ni)
		h.Interfaces = append(h.Interfaces, id)
	}
	return nil
}

// imageKey is under which a host's image is asked for and answered.
func imageKey(id app.HostID) app.RevisionKey {
	return app.RevisionKey{Service: app.ServiceID(id), Number: 1}
}

func (c *EC2) requestImage(tx *store.Tx, h app.Host) {
	key := imageKey(h.ID)
	kind := app.ImageRepositoryECRPublic
	if strings.Contains(h.Image, ".dkr.ecr.") {
		kind = app.ImageRepositoryECR
	}
	store.Control.ImageRequests.Put(tx, app.ImageRequest{
		Service: key.Service, Revision: key.Number, Scope: h.Scope, Image: h.Image, Type: kind, RequestedAt: c.now(),
	})
}

// logGroup makes the group that the host writes to.
func (c *EC2) logGroup(tx *store.Tx, h app.Host) {
	if _, ok := store.LogGroups.Get(tx, h.LogGroup()); !ok {
		store.Control.LogGroups.Put(tx, app.LogGroup{Key: h.LogGroup(), Class: "STANDARD", CreatedAt: c.now()})
	}
}

// begin makes the container of a host wanted.
func (c *EC2) begin(tx *store.Tx, h *app.Host) {
	i := app.Instance{
		ID: app.InstanceID(c.cfg.IDs.Hex32()), Host: h.ID, Interface: app.InterfaceID(c.cfg.IDs.Prefixed("eni")), Goal: app.GoalRun, CreatedAt: c.now(),
	}
	h.Run = i.ID
	store.Control.Instances.Put(tx, i)
	store.Control.Interfaces.Put(tx, app.Interface{ID: i.Interface, Instance: i.ID, Scope: h.Scope, VPC: slices.Clone(h.Interfaces)})
}

// DescribeHosts returns all hosts, by id.
func (c *EC2) DescribeHosts(ctx context.Context, scope app.Scope) (out []HostDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for h := range store.HostsByScope.Each(tx, scope) {
			out = append(out, hostDetail(tx, h))
		}
		return nil
	})
	return out, err
}

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
			c.requestImage(tx, *h)
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

// ModifyHost changes what the caller may change of a host.
func (c *EC2) ModifyHost(ctx context.Context, scope app.Scope, id app.HostID, change func(*app.Host) error) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		h, err := findHost(tx, scope, id)
		if err != nil {
			return err
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
		resize(&h)
		if before.SourceDestCheck != h.SourceDestCheck {
			setCheck(tx, h)
		}
		store.Control.Hosts.Put(tx, h)
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
		if len(h.Interfaces) == 0 || len(groups) == 0 {
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
		ni.Groups = slices.Compact(slices.Clone(groups))
		store.Control.NetworkInterfaces.Put(tx, ni)
		return nil
	})
}

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
	image, _ := store.ImageStatuses.Get(tx, imageKey(h.ID))
	switch {
	case !running:
		return h.Wanted != h.State
	case i.Goal == app.GoalStop:
		return status.Phase == app.PhaseGone
	case h.State == app.HostPending:
		return status.Phase == app.PhaseRunning || status.Phase == app.PhaseFailed || image.Permanent
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
	image, _ := store.ImageStatuses.Get(tx, imageKey(h.ID))
	switch {
	case running && i.Goal == app.GoalStop && status.Phase == app.PhaseGone, !running:
		if running {
			store.Control.Instances.Delete(tx, i.ID)
			store.Control.Interfaces.Delete(tx, i.Interface)
		}
		h.Run = ""
		c.afterRun(tx, &h, now)
	case status.Phase == app.PhaseRunning:
		h.State = app.HostRunning
	case image.Permanent:
		c.giveUp(tx, &h, "The image cannot be had: "+image.Error)
	case status.Phase == app.PhaseFailed:
		c.giveUp(tx, &h, status.Reason)
	}
	store.Control.Hosts.Put(tx, h)
}

// giveUp stops a host that cannot run; the reason is shown as its StateReason.
func (c *EC2) giveUp(tx *store.Tx, h *app.Host, reason string) {
	h.Wanted, h.State = app.HostStopped, app.HostStopping
	h.StateCode, h.StateReason = "Server.InternalError", "Server.InternalError: "+reason
	store.Control.ImageRequests.Delete(tx, imageKey(h.ID)) // so that the next start asks again
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
		store.Control.ImageRequests.Delete(tx, imageKey(h.ID))
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
	}
}

// RunKeeper keeps hosts, and forgets deleted gateways, until ctx ends.
func (c *EC2) RunKeeper(ctx context.Context) {
	for ctx.Err() == nil {
		changed := c.store.Changed(store.Hosts.Name(), store.Instances.Name(), store.InstanceStatuses.Name(), store.ImageStatuses.Name())
		err := errors.Join(c.KeepHosts(ctx), c.Expire(ctx))
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
