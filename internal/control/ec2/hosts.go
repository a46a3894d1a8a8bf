package ec2

import (
	"context"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/eni"
	"github.com/funade/funade/internal/store"
)

// maxUserData bounds user data in bytes (EC2 guide: 16 KB before encoding).
const maxUserData = 16 << 10

// hostShown is how long a terminated host stays describable.
const hostShown = time.Hour

// HostDetail is a host with its network interfaces, the volumes that it has now, and tags.
type HostDetail struct {
	app.Host
	// Down: its program has ended, and will be started again after a pause.
	Down  bool
	NICs  []InterfaceDetail
	Disks []app.Volume
	Tags  app.Tags
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
	status, _ := store.InstanceStatuses.Get(tx, h.Run)
	out := HostDetail{Host: h, Tags: Tags(tx, string(h.ID)), Down: status.Phase == app.PhaseExited}
	for _, id := range h.Interfaces {
		if ni, ok := store.NetworkInterfaces.Get(tx, id); ok {
			out.NICs = append(out.NICs, interfaceDetail(tx, ni))
		}
	}
	for _, id := range h.Volumes {
		if v, ok := store.Volumes.Get(tx, id); ok && v.Host == h.ID {
			out.Disks = append(out.Disks, v)
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
	// Existing are interfaces to use, by device index. Without any a primary one is made, as the fields up to Keep say.
	Existing []app.InterfaceID
	Subnet   app.SubnetID
	Groups   []app.GroupID
	// Addresses are wanted, the primary one first; where there are fewer than Count, free ones are added. Count 0 = 1.
	// NoPrimary: none of Addresses is to be the primary one, a free one is.
	Addresses   []netip.Addr
	Count       int
	NoPrimary   bool
	Description string
	// Public asks for a public address, or for none; nil = as the subnet says.
	Public *bool
	// Keep: the interface stays when the host is terminated.
	Keep bool
	// Volume is how the host's volume is to be shown.
	Volume app.Volume
	// GroupNames are groups of the subnet's VPC beside Groups.
	GroupNames []string

	HostTags, NICTags, VolumeTags app.Tags
}

// RunHosts makes hosts; the same ClientToken again returns those that it made.
func (c *EC2) RunHosts(ctx context.Context, scope app.Scope, in RunHostsInput) ([]HostDetail, error) {
	if err := checkRun(in); err != nil {
		return nil, err
	}
	var out []HostDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		for h := range store.HostsByScope.Each(tx, scope) {
			if in.Host.ClientToken == "" || h.ClientToken != in.Host.ClientToken {
				continue
			}
			if h.Image != in.Host.Image || h.KeyName != in.Host.KeyName || h.ProfileARN != in.Host.ProfileARN {
				return mismatch(in.Host.ClientToken)
			}
			out = append(out, hostDetail(tx, h))
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
		image, err := c.findImage(tx, scope, in.Host.Image)
		if err != nil {
			return err
		}
		in.Host.Reference = image.Reference
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
	case in.Max > 1 && len(in.Addresses)+len(in.Existing) > 0:
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "An address or interface can be given to one host only, and MaxCount is %d", in.Max)
	}
	if err := checkUserData(in.Host.UserData); err != nil {
		return err
	}
	if _, ok := SizeOf(in.Host.InstanceType); !ok {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "Invalid value '%s' for InstanceType: see describe-instance-types", in.Host.InstanceType)
	}
	for _, tags := range []app.Tags{in.HostTags, in.NICTags, in.VolumeTags} {
		if err := checkTags(tags); err != nil {
			return err
		}
	}
	name, err := volumeName(in.HostTags, in.VolumeTags)
	if err != nil {
		return err
	}
	if _, ok := in.NICTags[VolumeTag]; ok {
		return fail(app.KindInvalidRequest, "InvalidParameterValue", "The tag %s has a meaning for instances and volumes, not for network interfaces: remove it", VolumeTag)
	}
	if name != "" && in.Max > 1 {
		return fail(app.KindInvalidRequest, "InvalidParameterCombination", "The tag %s names one volume, and MaxCount is %d", VolumeTag, in.Max)
	}
	return nil
}

// checkUserData refuses what is no base64 of at most maxUserData bytes.
func checkUserData(text string) error {
	data, err := base64.StdEncoding.DecodeString(text)
	switch {
	case err != nil:
		return fail(app.KindInvalidRequest, "InvalidUserData.Malformed", "Invalid BASE64 encoding of user data")
	case len(data) > maxUserData:
		return fail(app.KindInvalidRequest, "InvalidUserData.Malformed", "User data is limited to %d bytes; these are %d", maxUserData, len(data))
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
	if err := c.newVolume(tx, &h, in); err != nil {
		return h, err
	}
	c.requestImage(tx, &h)
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
	groups, err := namedGroups(tx, h.Scope, subnet, in)
	if err != nil {
		return err
	}
	n := eni.New{
		Scope: h.Scope, Kind: app.InterfaceOfUser, Subnet: subnet, Groups: groups, Owner: string(h.ID), Addresses: in.Addresses, Count: in.Count,
		Description: in.Description, Attachment: app.AttachmentENI{ID: c.cfg.IDs.Prefixed("eni-attach"), DeleteOnTermination: !in.Keep, At: c.now()},
	}
	if err := c.checkGroupCount(groups); err != nil {
		return err
	}
	if in.NoPrimary {
		n.Count = max(n.Count, len(n.Addresses)) + 1
	}
	ni, err := eni.Create(tx, c.cfg.IDs, c.now(), n)
	if err != nil {
		return err
	}
	if in.NoPrimary {
		free := len(in.Addresses)
		ni.Addresses = append([]netip.Addr{ni.Addresses[free]}, slices.Delete(slices.Clone(ni.Addresses), free, free+1)...)
		store.Control.NetworkInterfaces.Put(tx, ni)
	}
	if s, _ := store.Subnets.Get(tx, subnet); in.Public == nil && s.MapPublicIP || in.Public != nil && *in.Public {
		if err := c.launchAddress(tx, ni); err != nil {
			return err
		}
	}
	putTags(tx, string(ni.ID), in.NICTags)
	h.Interfaces = []app.InterfaceID{ni.ID}
	return nil
}

// namedGroups are the groups of a new host, those given by name included.
func namedGroups(tx *store.Tx, scope app.Scope, subnet app.SubnetID, in RunHostsInput) ([]app.GroupID, error) {
	groups := slices.Clone(in.Groups)
	s, err := findSubnet(tx, scope, subnet)
	if err != nil {
		return nil, err
	}
	for _, name := range in.GroupNames {
		found := app.GroupID("")
		for g := range store.SecurityGroupsByVPC.Each(tx, s.VPC) {
			if g.Name == name {
				found = g.ID
			}
		}
		if found == "" {
			return nil, fail(app.KindNotFound, "InvalidGroup.NotFound", "The security group '%s' does not exist in %s", name, s.VPC)
		}
		groups = append(groups, found)
	}
	return groups, nil
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

// requestImage asks for a host's image; a request that was given up is made anew.
func (c *EC2) requestImage(tx *store.Tx, h *app.Host) {
	if _, ok := store.ImageRequests.Get(tx, h.ImageKey()); ok && h.Asked > 0 {
		return
	}
	h.Asked++
	key := h.ImageKey()
	kind := app.ImageRepositoryECRPublic
	if strings.Contains(h.Reference, ".dkr.ecr.") {
		kind = app.ImageRepositoryECR
	}
	store.Control.ImageRequests.Put(tx, app.ImageRequest{
		Service: key.Service, Revision: key.Number, Scope: h.Scope, Image: h.Reference, Type: kind, RequestedAt: c.now(),
	})
}

// logGroup makes the group that the host writes to.
func (c *EC2) logGroup(tx *store.Tx, h app.Host) {
	if _, ok := store.LogGroups.Get(tx, h.LogGroup()); !ok {
		store.Control.LogGroups.Put(tx, app.LogGroup{Key: h.LogGroup(), Class: "STANDARD", CreatedAt: c.now()})
	}
}

// begin makes the container of a host wanted, once the host has its volume.
func (c *EC2) begin(tx *store.Tx, h *app.Host) {
	if !claimVolumes(tx, h, c.now()) {
		return // the keeper begins when the volume is free
	}
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
