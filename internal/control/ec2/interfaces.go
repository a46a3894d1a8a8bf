package ec2

import (
	"context"
	"net/netip"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// maxDescription bounds the description of an interface.
const maxDescription = 255

// maxDeviceIndex bounds the interfaces of a host.
const maxDeviceIndex = 14

// findInterface finds a network interface of the scope.
func findInterface(tx *store.Tx, scope app.Scope, id app.InterfaceID) (app.NetworkInterface, error) {
	ni, ok := store.NetworkInterfaces.Get(tx, id)
	if !ok || ni.Scope != scope {
		return app.NetworkInterface{}, notFound("InvalidNetworkInterfaceID.NotFound", "networkInterface ID", string(id))
	}
	return ni, nil
}

// onlyInterface finds the interface of a host that has one.
func onlyInterface(tx *store.Tx, scope app.Scope, id app.HostID) (app.NetworkInterface, error) {
	h, err := findHost(tx, scope, id)
	if err != nil {
		return app.NetworkInterface{}, err
	}
	switch len(h.Interfaces) {
	case 0:
		return app.NetworkInterface{}, fail(app.KindInvalidState, "IncorrectInstanceState", "The instance '%s' has no network interface: it is %s", id, h.State)
	case 1:
		return findInterface(tx, scope, h.Interfaces[0])
	}
	return app.NetworkInterface{}, fail(app.KindInvalidRequest, "InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", id)
}

// mayManage refuses to change an interface that belongs to something else than a user.
func mayManage(ni app.NetworkInterface) error {
	if ni.Kind == app.InterfaceOfUser {
		return nil
	}
	return fail(app.KindDenied, "OperationNotPermitted", "You do not have permission to access the specified resource: the network interface %s is managed for %s. Change that instead", ni.ID, ni.Owner)
}

// CreateInterfaceInput says what network interface to make.
type CreateInterfaceInput struct {
	Subnet app.SubnetID
	// Addresses are wanted, the primary one first; free ones are added up to Count, and 0 = 1.
	Addresses   []netip.Addr
	Count       int
	Groups      []app.GroupID
	Description string
	ClientToken string
	Tags        app.Tags
}

// CreateInterface makes a network interface that is attached to nothing; the same ClientToken again returns the one that
// it made.
func (c *EC2) CreateInterface(ctx context.Context, scope app.Scope, in CreateInterfaceInput) (InterfaceDetail, error) {
	if err := checkTags(in.Tags); err != nil {
		return InterfaceDetail{}, err
	}
	if err := checkDescription(in.Description); err != nil {
		return InterfaceDetail{}, err
	}
	var out InterfaceDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		for ni := range store.NetworkInterfacesByScope.Each(tx, scope) {
			if in.ClientToken != "" && ni.ClientToken == in.ClientToken {
				if ni.Subnet != in.Subnet {
					return mismatch(in.ClientToken)
				}
				out = interfaceDetail(tx, ni)
				return nil
			}
		}
		if n := count(store.NetworkInterfacesByScope.Each(tx, scope)); n >= c.cfg.Quotas.Interfaces {
			return fail(app.KindQuota, "NetworkInterfaceLimitExceeded", "The maximum number of network interfaces has been reached: there are %d in %s. Delete one first", n, scope.Region)
		}
		if err := c.checkGroupCount(in.Groups); err != nil {
			return err
		}
		ni, err := eni.Create(tx, c.cfg.IDs, c.now(), eni.New{
			Scope: scope, Kind: app.InterfaceOfUser, Subnet: in.Subnet, Addresses: in.Addresses, Count: in.Count, Groups: in.Groups,
			Description: in.Description, ClientToken: in.ClientToken,
		})
		if err != nil {
			return err
		}
		putTags(tx, string(ni.ID), in.Tags)
		out = interfaceDetail(tx, ni)
		return nil
	})
	return out, err
}

func checkDescription(text string) error {
	if len(text) > maxDescription {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%.40s…) for parameter description is invalid: it has %d characters, and %d are allowed", text, len(text), maxDescription)
	}
	return nil
}

func (c *EC2) checkGroupCount(groups []app.GroupID) error {
	if n := len(groups); n > c.cfg.Quotas.GroupsPerInterface {
		return fail(app.KindQuota, "SecurityGroupsPerInterfaceLimitExceeded", "The maximum number of security groups per interface has been reached: %d may be given, and %d were", c.cfg.Quotas.GroupsPerInterface, n)
	}
	return nil
}

// DescribeInterfaces returns all network interfaces, by id.
func (c *EC2) DescribeInterfaces(ctx context.Context, scope app.Scope) (out []InterfaceDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		for ni := range store.NetworkInterfacesByScope.Each(tx, scope) {
			out = append(out, interfaceDetail(tx, ni))
		}
		return nil
	})
	return out, err
}

// Interface returns one network interface.
func (c *EC2) Interface(ctx context.Context, scope app.Scope, id app.InterfaceID) (out InterfaceDetail, err error) {
	err = c.view(ctx, scope, func(tx *store.Tx) error {
		ni, err := findInterface(tx, scope, id)
		if err == nil {
			out = interfaceDetail(tx, ni)
		}
		return err
	})
	return out, err
}

// DeleteInterface removes a network interface that is attached to nothing.
func (c *EC2) DeleteInterface(ctx context.Context, scope app.Scope, id app.InterfaceID) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		ni, err := findInterface(tx, scope, id)
		if err != nil {
			return err
		}
		if err := mayManage(ni); err != nil {
			return err
		}
		if ni.Owner != "" {
			return fail(app.KindInvalidState, "InvalidNetworkInterface.InUse", "Network interface '%s' is currently in use by %s: detach it first", id, ni.Owner)
		}
		eni.Delete(tx, id)
		return nil
	})
}

// InterfaceAttributes are those that ModifyInterface can set, one at a time; nil leaves one as it is.
type InterfaceAttributes struct {
	Description     *string
	Groups          []app.GroupID
	SourceDestCheck *bool
	// DeleteOnTermination is of Attachment, which must be the interface's.
	DeleteOnTermination *bool
	Attachment          string
}

// ModifyInterface changes one attribute of a network interface.
func (c *EC2) ModifyInterface(ctx context.Context, scope app.Scope, id app.InterfaceID, in InterfaceAttributes) error {
	switch n := given(in.Description != nil, len(in.Groups) > 0, in.SourceDestCheck != nil, in.DeleteOnTermination != nil); {
	case n == 0:
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "No attributes specified: give one of Description, Groups, SourceDestCheck and Attachment")
	case n > 1:
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "Fields for multiple attribute types specified: Description, Groups, SourceDestCheck and Attachment are modified one at a time")
	}
	if err := checkDescription(orEmpty(in.Description)); err != nil {
		return err
	}
	return c.update(ctx, scope, func(tx *store.Tx) error {
		ni, err := findInterface(tx, scope, id)
		if err != nil {
			return err
		}
		if err := mayManage(ni); err != nil {
			return err
		}
		set(&ni.Description, in.Description)
		if len(in.Groups) > 0 {
			if ni.Groups, err = c.groupsOf(tx, ni, in.Groups); err != nil {
				return err
			}
		}
		if in.DeleteOnTermination != nil {
			if ni.Attachment.ID == "" || ni.Attachment.ID != in.Attachment {
				return missingAttachment(in.Attachment)
			}
			ni.Attachment.DeleteOnTermination = *in.DeleteOnTermination
		}
		if in.SourceDestCheck != nil {
			ni.SourceDestCheck = *in.SourceDestCheck
			if h, ok := store.Hosts.Get(tx, app.HostID(ni.Owner)); ok && len(h.Interfaces) > 0 && h.Interfaces[0] == id {
				h.SourceDestCheck = ni.SourceDestCheck
				store.Control.Hosts.Put(tx, h)
			}
		}
		store.Control.NetworkInterfaces.Put(tx, ni)
		return nil
	})
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// groupsOf checks groups that an interface is to carry and leaves out repetitions.
func (c *EC2) groupsOf(tx *store.Tx, ni app.NetworkInterface, groups []app.GroupID) (out []app.GroupID, err error) {
	if err := c.checkGroupCount(groups); err != nil {
		return nil, err
	}
	for _, id := range groups {
		g, err := findGroup(tx, ni.Scope, id)
		if err != nil {
			return nil, err
		}
		if g.VPC != ni.VPC {
			return nil, fail(app.KindInvalidRequest, "InvalidParameterValue", "Security group %s is of %s and interface %s of %s: name groups of the interface's VPC", id, g.VPC, ni.ID, ni.VPC)
		}
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}

func missingAttachment(id string) error {
	return fail(app.KindNotFound, "InvalidAttachmentID.NotFound", "The interface attachment '%s' does not exist", id)
}

// AttachInterface gives a private host a further interface; a host that runs has it at once.
func (c *EC2) AttachInterface(ctx context.Context, scope app.Scope, id app.InterfaceID, host app.HostID, index int) (attachment string, err error) {
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		ni, err := findInterface(tx, scope, id)
		if err != nil {
			return err
		}
		h, err := findHost(tx, scope, host)
		if err != nil {
			return err
		}
		if err := mayAttach(tx, ni, h, index); err != nil {
			return err
		}
		attachment = c.cfg.IDs.Prefixed("eni-attach")
		ni.Owner, ni.Attachment = string(host), app.AttachmentENI{ID: attachment, DeviceIndex: index, At: c.now()}
		store.Control.NetworkInterfaces.Put(tx, ni)
		putInterfaces(tx, h, append(slices.Clone(h.Interfaces), id))
		return nil
	})
	return attachment, err
}

func mayAttach(tx *store.Tx, ni app.NetworkInterface, h app.Host, index int) error {
	switch {
	case mayManage(ni) != nil:
		return mayManage(ni)
	case ni.Owner != "":
		return fail(app.KindInvalidState, "InvalidNetworkInterface.InUse", "Interface: [%s] in use by %s: detach it first", ni.ID, ni.Owner)
	case h.State != app.HostRunning && h.State != app.HostStopped && h.State != app.HostPending:
		return fail(app.KindInvalidState, "IncorrectState", "Instance '%s' is %s: an interface can be attached while it is pending, running or stopped", h.ID, h.State)
	case index < 0 || index > maxDeviceIndex:
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Value (%d) for parameter deviceIndex is invalid: give a number from 1 to %d", index, maxDeviceIndex)
	}
	for _, id := range h.Interfaces {
		other, _ := store.NetworkInterfaces.Get(tx, id)
		switch {
		case other.Attachment.DeviceIndex == index:
			return fail(app.KindInvalidRequest, "InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d': %s", h.ID, index, id)
		case other.VPC != ni.VPC:
			return fail(app.KindInvalidRequest, "InvalidParameterCombination", "Interface %s is of %s, and instance '%s' is in %s: a host is in one VPC", ni.ID, ni.VPC, h.ID, other.VPC)
		case other.Zone != ni.Zone:
			return fail(app.KindInvalidRequest, "InvalidParameterCombination", "You may not attach a network interface to an instance if they are not in the same availability zone: %s is in %s, and instance '%s' in %s", ni.ID, ni.Zone, h.ID, other.Zone)
		}
	}
	return nil
}

// putInterfaces writes which interfaces a host has, and its container if there is one.
func putInterfaces(tx *store.Tx, h app.Host, ids []app.InterfaceID) {
	h.Interfaces = ids
	store.Control.Hosts.Put(tx, h)
	run, _ := store.Instances.Get(tx, h.Run)
	if i, ok := store.Interfaces.Get(tx, run.Interface); ok {
		i.VPC = slices.Clone(ids)
		store.Control.Interfaces.Put(tx, i)
	}
}

// DetachInterface takes an interface, not the primary one, from its host.
func (c *EC2) DetachInterface(ctx context.Context, scope app.Scope, attachment string) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		ni, err := findAttachment(tx, scope, attachment)
		if err != nil {
			return err
		}
		h, ok := store.Hosts.Get(tx, app.HostID(ni.Owner))
		switch {
		case ni.Kind != app.InterfaceOfUser:
			return fail(app.KindDenied, "OperationNotPermitted", "You are not allowed to manage '%s': %s belongs to %s", attachment, ni.ID, ni.Owner)
		case ni.Attachment.DeviceIndex == 0:
			return fail(app.KindDenied, "OperationNotPermitted", "The network interface at device index 0 cannot be detached: terminate '%s' instead", ni.Owner)
		}
		if ok {
			putInterfaces(tx, h, slices.DeleteFunc(slices.Clone(h.Interfaces), func(id app.InterfaceID) bool { return id == ni.ID }))
		}
		ni.Owner, ni.Attachment = "", app.AttachmentENI{}
		store.Control.NetworkInterfaces.Put(tx, ni)
		return nil
	})
}

func findAttachment(tx *store.Tx, scope app.Scope, id string) (app.NetworkInterface, error) {
	for ni := range store.NetworkInterfacesByScope.Each(tx, scope) {
		if id != "" && ni.Attachment.ID == id {
			return ni, nil
		}
	}
	return app.NetworkInterface{}, missingAttachment(id)
}

// AssignAddresses gives an interface further addresses and returns them: those that are named, or free ones. With
// reassign, secondary addresses of other interfaces may be taken over.
func (c *EC2) AssignAddresses(ctx context.Context, scope app.Scope, id app.InterfaceID, addresses []netip.Addr, free int, reassign bool) (out []netip.Addr, err error) {
	if given(len(addresses) > 0, free > 0) != 1 {
		return nil, fail(app.KindInvalidRequest, "InvalidParameterCombination", "Give either PrivateIpAddresses (%d) or SecondaryPrivateIpAddressCount (%d)", len(addresses), free)
	}
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		ni, err := findInterface(tx, scope, id)
		if err != nil {
			return err
		}
		if err := mayManage(ni); err != nil {
			return err
		}
		wanted := slices.DeleteFunc(slices.Clone(addresses), func(a netip.Addr) bool { return reassign && holds(ni, a) })
		if reassign {
			if err := release(tx, ni, wanted); err != nil {
				return err
			}
		}
		now := ni
		if len(wanted) > 0 || free > 0 {
			if now, err = eni.Assign(tx, c.cfg.IDs, ni, wanted, free); err != nil {
				return err
			}
		}
		out = slices.Clone(now.Addresses[len(ni.Addresses):])
		return nil
	})
	return out, err
}

// release takes addresses from the user's other interfaces in the subnet.
func release(tx *store.Tx, to app.NetworkInterface, addresses []netip.Addr) error {
	for other := range store.NetworkInterfacesBySubnet.Each(tx, to.Subnet) {
		taken := slices.DeleteFunc(slices.Clone(addresses), func(a netip.Addr) bool { return !holds(other, a) })
		if len(taken) == 0 {
			continue
		}
		if err := mayManage(other); err != nil {
			return err
		}
		if _, err := eni.Unassign(tx, other, taken); err != nil {
			return err
		}
	}
	return nil
}

// UnassignAddresses takes secondary addresses from an interface.
func (c *EC2) UnassignAddresses(ctx context.Context, scope app.Scope, id app.InterfaceID, addresses []netip.Addr) error {
	if len(addresses) == 0 {
		return fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter PrivateIpAddresses")
	}
	return c.update(ctx, scope, func(tx *store.Tx) error {
		ni, err := findInterface(tx, scope, id)
		if err != nil {
			return err
		}
		if err := mayManage(ni); err != nil {
			return err
		}
		_, err = eni.Unassign(tx, ni, addresses)
		return err
	})
}
