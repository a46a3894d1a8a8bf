package ec2

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// RunInstances makes private hosts: containers of an image with an interface in a subnet.
func (h *Handler) RunInstances(ctx context.Context, in *api.RunInstancesInput) (*api.RunInstancesOutput, error) {
	err := onlyIPv4([]parameter{
		{"Ipv6AddressCount", member.Value(in.Ipv6AddressCount) > 0, false}, {"Ipv6Address", len(in.Ipv6Addresses) > 0, false}, {"EnablePrimaryIpv6", member.Value(in.EnablePrimaryIpv6), false},
	})
	if err != nil {
		return nil, err
	}
	input, err := runInput(in)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	made, err := h.control.RunHosts(ctx, caller.Scope(ctx), input)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.RunInstancesOutput{
		ReservationId: &made[0].Reservation, OwnerId: new(string(made[0].Scope.Account)), Groups: []api.GroupIdentifier{}, Instances: shapes(made, hostShape),
	}, nil
}

func runInput(in *api.RunInstancesInput) (control.RunHostsInput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeInstance, api.ResourceTypeVolume, api.ResourceTypeNetworkInterface, api.ResourceTypeSpotInstancesRequest)
	if err != nil {
		return control.RunHostsInput{}, err
	}
	if in.LaunchTemplate != nil {
		return control.RunHostsInput{}, invalid("LaunchTemplate cannot be given: there are no launch templates here. Give the parameters themselves")
	}
	if err := onlyContainers(in); err != nil {
		return control.RunHostsInput{}, err
	}
	host := app.Host{
		Image: member.Value(in.ImageId), InstanceType: cmp.Or(string(in.InstanceType), control.DefaultType), KeyName: member.Value(in.KeyName),
		UserData: member.Value(in.UserData), ClientToken: member.Value(in.ClientToken), DisableTermination: member.Value(in.DisableApiTermination),
		DisableStop: member.Value(in.DisableApiStop), EBSOptimized: member.Value(in.EbsOptimized),
		ShutdownBehavior: cmp.Or(string(in.InstanceInitiatedShutdownBehavior), string(api.ShutdownBehaviorStop)),
		CPUCredits:       "unlimited", HTTPTokens: "required", HTTPEndpoint: "enabled", MetadataTags: "disabled", HTTPIPv6: "disabled", HopLimit: 2,
	}
	if in.Monitoring != nil {
		host.Monitoring = member.Value(in.Monitoring.Enabled)
	}
	if in.CreditSpecification != nil {
		host.CPUCredits = *in.CreditSpecification.CpuCredits
	}
	if p := in.IamInstanceProfile; p != nil {
		host.ProfileARN = member.Value(p.Arn) + member.Value(p.Name)
	}
	if m := in.MetadataOptions; m != nil {
		host.HTTPTokens, host.HTTPEndpoint = cmp.Or(string(m.HttpTokens), host.HTTPTokens), cmp.Or(string(m.HttpEndpoint), host.HTTPEndpoint)
		host.MetadataTags, host.HTTPIPv6 = cmp.Or(string(m.InstanceMetadataTags), host.MetadataTags), cmp.Or(string(m.HttpProtocolIpv6), host.HTTPIPv6)
		host.HopLimit = cmp.Or(int(member.Value(m.HttpPutResponseHopLimit)), host.HopLimit)
	}
	volume, err := runVolume(in.BlockDeviceMappings)
	if err != nil {
		return control.RunHostsInput{}, err
	}
	out := control.RunHostsInput{
		Min: int(*in.MinCount), Max: int(*in.MaxCount), Host: host, Subnet: app.SubnetID(member.Value(in.SubnetId)),
		Groups: groupIDs(in.SecurityGroupIds), GroupNames: in.SecurityGroups, Volume: volume,
		HostTags: tags[api.ResourceTypeInstance], NICTags: tags[api.ResourceTypeNetworkInterface], VolumeTags: tags[api.ResourceTypeVolume],
	}
	err = runInterfaces(in, &out)
	return out, err
}

// onlyContainers refuses what no container of this machine can be.
func onlyContainers(in *api.RunInstancesInput) error {
	tenancy := in.Placement != nil && in.Placement.Tenancy != "" && in.Placement.Tenancy != api.TenancyDefault
	for _, p := range []struct {
		name  string
		given bool
	}{
		{"Placement.Tenancy", tenancy}, {"KernelId", in.KernelId != nil}, {"RamdiskId", in.RamdiskId != nil}, {"InstanceMarketOptions", in.InstanceMarketOptions != nil},
		{"HibernationOptions.Configured", in.HibernationOptions != nil && member.Value(in.HibernationOptions.Configured)},
		{"EnclaveOptions.Enabled", in.EnclaveOptions != nil && member.Value(in.EnclaveOptions.Enabled)},
		{"ElasticGpuSpecification", len(in.ElasticGpuSpecification) > 0}, {"ElasticInferenceAccelerator", len(in.ElasticInferenceAccelerators) > 0},
		{"LicenseSpecification", len(in.LicenseSpecifications) > 0},
	} {
		if p.given {
			return invalid(p.name + " cannot be had: every instance is a container of this machine. Leave it out")
		}
	}
	return nil
}

// runVolume reads how the host's only volume is to be shown.
func runVolume(mappings []api.BlockDeviceMapping) (app.Volume, error) {
	out := app.Volume{DeleteOnTermination: true}
	for _, m := range mappings {
		device := member.Value(m.DeviceName)
		if m.NoDevice != nil || m.VirtualName != nil && m.Ebs == nil {
			continue // nothing is to be there, and nothing is
		}
		if !slices.Contains(rootDevices, device) || m.Ebs == nil {
			return out, invalid("The device " + device + " cannot be had: an instance has one volume, " + control.RootDevice + ", mounted at /data and at what its image declares. Remove the mapping")
		}
		e := m.Ebs
		if e.SnapshotId != nil {
			return out, invalid("SnapshotId " + *e.SnapshotId + " cannot be given: there are no snapshots here. Leave it out, or reattach a volume with the tag " + control.VolumeTag)
		}
		out.Size, out.Type, out.IOPS, out.Throughput = int(member.Value(e.VolumeSize)), string(e.VolumeType), int(member.Value(e.Iops)), int(member.Value(e.Throughput))
		out.Encrypted, out.KMSKey = member.Value(e.Encrypted), member.Value(e.KmsKeyId)
		if e.DeleteOnTermination != nil {
			out.DeleteOnTermination = *e.DeleteOnTermination
		}
	}
	return out, nil
}

// rootDevices are the names that images of AWS give to their root devices: all mean the one volume of a host.
var rootDevices = []string{control.RootDevice, "/dev/sda1", "/dev/sda", "/dev/xvda1"}

// runInterfaces reads where a new host is to stand: parameters of its own, or a list of interfaces.
func runInterfaces(in *api.RunInstancesInput, out *control.RunHostsInput) error {
	spec := api.InstanceNetworkInterfaceSpecification{PrivateIpAddress: in.PrivateIpAddress}
	if len(in.NetworkInterfaces) > 0 {
		if in.SubnetId != nil || len(in.SecurityGroupIds)+len(in.SecurityGroups) > 0 || in.PrivateIpAddress != nil {
			return invalid("Network interfaces and an instance-level subnet ID, security groups or address may not be specified on the same request")
		}
		list := slices.Clone(in.NetworkInterfaces)
		slices.SortStableFunc(list, func(a, b api.InstanceNetworkInterfaceSpecification) int {
			return cmp.Compare(member.Value(a.DeviceIndex), member.Value(b.DeviceIndex))
		})
		if spec = list[0]; spec.NetworkInterfaceId != nil || len(list) > 1 {
			return existingInterfaces(list, out)
		}
		out.Subnet, out.Groups, out.Description = app.SubnetID(member.Value(spec.SubnetId)), groupIDs(spec.Groups), member.Value(spec.Description)
		out.Public = spec.AssociatePublicIpAddress
		out.Keep = spec.DeleteOnTermination != nil && !*spec.DeleteOnTermination
	}
	if err := onlyIPv4([]parameter{{"Ipv6AddressCount", member.Value(spec.Ipv6AddressCount) > 0, false}, {"Ipv6Addresses", len(spec.Ipv6Addresses) > 0, false}}); err != nil {
		return err
	}
	if err := noPrefixes(len(spec.Ipv4Prefixes), spec.Ipv4PrefixCount); err != nil {
		return err
	}
	wanted, n, err := wantedAddresses(&api.CreateNetworkInterfaceInput{
		PrivateIpAddress: spec.PrivateIpAddress, PrivateIpAddresses: spec.PrivateIpAddresses, SecondaryPrivateIpAddressCount: spec.SecondaryPrivateIpAddressCount,
	})
	out.Addresses, out.Count = wanted, n
	out.NoPrimary = len(wanted) > 0 && spec.PrivateIpAddress == nil && !slices.ContainsFunc(spec.PrivateIpAddresses, func(p api.PrivateIpAddressSpecification) bool { return member.Value(p.Primary) })
	return err
}

// existingInterfaces reads a list of interfaces that are there, by device index.
func existingInterfaces(list []api.InstanceNetworkInterfaceSpecification, out *control.RunHostsInput) error {
	for n, spec := range list {
		if spec.NetworkInterfaceId == nil {
			return invalid("NetworkInterfaces can make one interface, or name ones that exist: create the others with CreateNetworkInterface and give their ids")
		}
		if index := int(member.Value(spec.DeviceIndex)); index != n && spec.DeviceIndex != nil {
			return invalid("The device index " + strconv.Itoa(index) + " of interface " + *spec.NetworkInterfaceId + " cannot be had: count from 0 without gaps")
		}
		if spec.SubnetId != nil || len(spec.Groups) > 0 || spec.PrivateIpAddress != nil {
			return invalid("A network interface may not specify both a network interface ID and a subnet, groups or address: " + *spec.NetworkInterfaceId)
		}
		out.Existing = append(out.Existing, app.InterfaceID(*spec.NetworkInterfaceId))
	}
	return nil
}

func groupIDs(ids []string) []app.GroupID {
	return shapes(ids, func(id string) app.GroupID { return app.GroupID(id) })
}

func hostIDs(ids []string) []app.HostID {
	return shapes(ids, func(id string) app.HostID { return app.HostID(id) })
}

func (h *Handler) describeHosts(ctx context.Context, q query) ([]control.HostDetail, *string, error) {
	all, err := h.control.DescribeHosts(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, nil, wireError(err)
	}
	q.missing = control.Missing("i-")
	return describe(q, all, hosts)
}

// DescribeInstances shows private hosts, one reservation for those that were made together.
func (h *Handler) DescribeInstances(ctx context.Context, in *api.DescribeInstancesInput) (*api.DescribeInstancesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	page, next, err := h.describeHosts(ctx, query{ids: in.InstanceIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &api.DescribeInstancesOutput{Reservations: []api.Reservation{}, NextToken: next}
	at := map[string]int{}
	for _, d := range page {
		n, ok := at[d.Reservation]
		if !ok {
			n = len(out.Reservations)
			at[d.Reservation] = n
			out.Reservations = append(out.Reservations, api.Reservation{ReservationId: &d.Reservation, OwnerId: new(string(d.Scope.Account)), Groups: []api.GroupIdentifier{}})
		}
		out.Reservations[n].Instances = append(out.Reservations[n].Instances, hostShape(d))
	}
	return out, nil
}

var stateCodes = map[app.HostState]int32{
	app.HostPending: 0, app.HostRunning: 16, app.HostShuttingDown: 32, app.HostTerminated: 48, app.HostStopping: 64, app.HostStopped: 80,
}

func stateShape(s app.HostState) *api.InstanceState {
	return &api.InstanceState{Code: new(stateCodes[s]), Name: api.InstanceStateName(s)}
}

func groupShapes(list []app.SecurityGroup) []api.GroupIdentifier {
	return shapes(list, func(g app.SecurityGroup) api.GroupIdentifier {
		return api.GroupIdentifier{GroupId: new(string(g.ID)), GroupName: &g.Name}
	})
}

func hostShape(d control.HostDetail) api.Instance {
	out := api.Instance{
		InstanceId: new(string(d.ID)), ImageId: &d.Image, InstanceType: api.InstanceType(d.InstanceType), State: stateShape(d.State), AmiLaunchIndex: member.Int32(d.LaunchIndex),
		KeyName: member.Text(d.KeyName), LaunchTime: member.Moment(d.LaunchedAt), Monitoring: &api.Monitoring{State: monitoringState(d.Host)}, Architecture: api.ArchitectureValues(architecture(d.InstanceType)),
		BlockDeviceMappings: shapes(d.Disks, diskShape), RootDeviceName: new(control.RootDevice), ProductCodes: []api.ProductCode{}, ClientToken: member.Text(d.ClientToken), EbsOptimized: &d.EBSOptimized, EnaSupport: new(true),
		Hypervisor: api.HypervisorTypeXen, RootDeviceType: api.DeviceTypeEbs, VirtualizationType: api.VirtualizationTypeHvm, SourceDestCheck: &d.SourceDestCheck,
		Tags: tagList(d.Tags), Placement: &api.Placement{Tenancy: api.TenancyDefault, GroupName: new("")}, PrivateDnsName: new(""), PublicDnsName: new(""), StateTransitionReason: new(transition(d.Host)),
		MetadataOptions: metadataShape(d.Host), CpuOptions: cpuShape(d.InstanceType), PlatformDetails: new("Linux/UNIX"), UsageOperation: new("RunInstances"), CurrentInstanceBootMode: api.InstanceBootModeValuesLegacyBios,
		CapacityReservationSpecification: &api.CapacityReservationSpecificationResponse{CapacityReservationPreference: api.CapacityReservationPreferenceOpen},
		HibernationOptions:               &api.HibernationOptions{Configured: new(false)}, EnclaveOptions: &api.EnclaveOptions{Enabled: new(false)},
		MaintenanceOptions:    &api.InstanceMaintenanceOptions{AutoRecovery: api.InstanceAutoRecoveryStateDefault},
		PrivateDnsNameOptions: &api.PrivateDnsNameOptionsResponse{HostnameType: api.HostnameTypeIpName, EnableResourceNameDnsARecord: new(false), EnableResourceNameDnsAAAARecord: new(false)},
		NetworkInterfaces:     shapes(d.NICs, hostNIC), SecurityGroups: []api.GroupIdentifier{},
	}
	if d.StateCode != "" {
		out.StateReason = &api.StateReason{Code: &d.StateCode, Message: &d.StateReason}
	}
	if d.ProfileARN != "" {
		out.IamInstanceProfile = &api.IamInstanceProfile{Arn: &d.ProfileARN}
	}
	if len(d.NICs) > 0 {
		i := d.NICs[0]
		out.SubnetId, out.VpcId = new(string(i.Subnet)), new(string(i.VPC))
		out.PrivateIpAddress, out.PrivateDnsName, out.PublicIpAddress = new(privateAddress(i)), new(privateName(i)), member.Text(publicAddress(i))
		out.Placement.AvailabilityZone, out.SourceDestCheck = &i.Zone, &i.SourceDestCheck
		out.SecurityGroups = groupShapes(i.Groups)
	}
	return out
}

// transition is what EC2 says about why a host stopped; what keeps it pending is in StateReason only.
func transition(h app.Host) string {
	if h.State == app.HostPending {
		return ""
	}
	return h.StateReason
}

func metadataShape(h app.Host) *api.InstanceMetadataOptionsResponse {
	return &api.InstanceMetadataOptionsResponse{
		State: api.InstanceMetadataOptionsStateApplied, HttpTokens: api.HttpTokensState(h.HTTPTokens), HttpPutResponseHopLimit: member.Int32(h.HopLimit),
		HttpEndpoint: api.InstanceMetadataEndpointState(h.HTTPEndpoint), HttpProtocolIpv6: api.InstanceMetadataProtocolState(h.HTTPIPv6), InstanceMetadataTags: api.InstanceMetadataTagsState(h.MetadataTags),
	}
}

func cpuShape(name string) *api.CpuOptions {
	size, _ := control.SizeOf(name)
	return &api.CpuOptions{CoreCount: member.Int32(size.VCPUs), ThreadsPerCore: member.Int32(1)}
}

func diskShape(v app.Volume) api.InstanceBlockDeviceMapping {
	return api.InstanceBlockDeviceMapping{DeviceName: &v.Device, Ebs: &api.EbsInstanceBlockDevice{
		VolumeId: new(string(v.ID)), Status: api.AttachmentStatusAttached, AttachTime: member.Moment(v.AttachedAt), DeleteOnTermination: &v.DeleteOnTermination,
	}}
}

func hostNIC(i control.InterfaceDetail) api.InstanceNetworkInterface {
	return api.InstanceNetworkInterface{
		NetworkInterfaceId: new(string(i.ID)), OwnerId: new(string(i.Scope.Account)), SubnetId: new(string(i.Subnet)), VpcId: new(string(i.VPC)), Description: &i.Description,
		MacAddress: &i.MAC, PrivateIpAddress: new(privateAddress(i)), PrivateDnsName: new(privateName(i)), SourceDestCheck: &i.SourceDestCheck, Status: api.NetworkInterfaceStatusInUse,
		InterfaceType: new("interface"), Groups: groupShapes(i.Groups), Association: publicShape(i),
		Attachment: &api.InstanceNetworkInterfaceAttachment{
			AttachmentId: &i.Attachment.ID, AttachTime: member.Moment(i.Attachment.At), DeleteOnTermination: &i.Attachment.DeleteOnTermination,
			DeviceIndex: member.Int32(i.Attachment.DeviceIndex), Status: api.AttachmentStatusAttached, NetworkCardIndex: member.Int32(0),
		},
		PrivateIpAddresses: shapes(i.Addresses, func(a netip.Addr) api.InstancePrivateIpAddress {
			return api.InstancePrivateIpAddress{PrivateIpAddress: new(a.String()), PrivateDnsName: new(app.PrivateNames(a, i.Scope.Region)[0]), Primary: new(a == i.Addresses[0])}
		}),
	}
}

func publicShape(i control.InterfaceDetail) *api.InstanceNetworkInterfaceAssociation {
	if i.Public == nil {
		return nil
	}
	return &api.InstanceNetworkInterfaceAssociation{PublicIp: new(publicAddress(i)), IpOwnerId: new(addressOwner(*i.Public)), PublicDnsName: new("")}
}

// DescribeInstanceStatus shows the states of hosts that run, with IncludeAllInstances of all.
func (h *Handler) DescribeInstanceStatus(ctx context.Context, in *api.DescribeInstanceStatusInput) (*api.DescribeInstanceStatusOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all, err := h.control.DescribeHosts(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	q := query{ids: in.InstanceIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("i-")}
	if !member.Value(in.IncludeAllInstances) {
		q.also = []api.Filter{{Name: new("instance-state-name"), Values: []string{string(api.InstanceStateNameRunning)}}}
	}
	page, next, err := describe(q, all, hostStatuses)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeInstanceStatusOutput{InstanceStatuses: []api.InstanceStatus{}, NextToken: next}
	for _, d := range page {
		status, check := healthOf(d)
		summary := &api.InstanceStatusSummary{Status: status, Details: []api.InstanceStatusDetails{{Name: api.StatusNameReachability, Status: check}}}
		zone := ""
		if len(d.NICs) > 0 {
			zone = d.NICs[0].Zone
		}
		out.InstanceStatuses = append(out.InstanceStatuses, api.InstanceStatus{
			InstanceId: new(string(d.ID)), AvailabilityZone: &zone, InstanceState: stateShape(d.State), InstanceStatus: summary, SystemStatus: summary,
		})
	}
	return out, nil
}

// healthOf is what EC2's status checks say of a host.
func healthOf(d control.HostDetail) (api.SummaryStatus, api.StatusType) {
	switch {
	case d.State != app.HostRunning:
		return api.SummaryStatusNotApplicable, api.StatusTypeInsufficientData
	case d.Down:
		return api.SummaryStatusImpaired, api.StatusTypeFailed
	}
	return api.SummaryStatusOk, api.StatusTypePassed
}

func changeShape(c control.HostChange) api.InstanceStateChange {
	return api.InstanceStateChange{InstanceId: new(string(c.ID)), PreviousState: stateShape(c.Before), CurrentState: stateShape(c.After)}
}

// StartInstances makes stopped hosts run.
func (h *Handler) StartInstances(ctx context.Context, in *api.StartInstancesInput) (*api.StartInstancesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	changes, err := h.control.StartHosts(ctx, caller.Scope(ctx), hostIDs(in.InstanceIds))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.StartInstancesOutput{StartingInstances: shapes(changes, changeShape)}, nil
}

// StopInstances stops hosts.
func (h *Handler) StopInstances(ctx context.Context, in *api.StopInstancesInput) (*api.StopInstancesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	changes, err := h.control.StopHosts(ctx, caller.Scope(ctx), hostIDs(in.InstanceIds))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.StopInstancesOutput{StoppingInstances: shapes(changes, changeShape)}, nil
}

// RebootInstances gives running hosts a new container.
func (h *Handler) RebootInstances(ctx context.Context, in *api.RebootInstancesInput) (*api.RebootInstancesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if err := h.control.RebootHosts(ctx, caller.Scope(ctx), hostIDs(in.InstanceIds)); err != nil {
		return nil, wireError(err)
	}
	return &api.RebootInstancesOutput{}, nil
}

// TerminateInstances removes hosts.
func (h *Handler) TerminateInstances(ctx context.Context, in *api.TerminateInstancesInput) (*api.TerminateInstancesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	changes, err := h.control.TerminateHosts(ctx, caller.Scope(ctx), hostIDs(in.InstanceIds))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.TerminateInstancesOutput{TerminatingInstances: shapes(changes, changeShape)}, nil
}
