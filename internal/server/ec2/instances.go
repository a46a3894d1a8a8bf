package ec2

import (
	"cmp"
	"context"
	"encoding/base64"
	"net/netip"
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
	if len(in.SecurityGroups) > 0 {
		return control.RunHostsInput{}, invalid("SecurityGroups (names) cannot be given: use SecurityGroupIds")
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
	out := control.RunHostsInput{
		Min: int(*in.MinCount), Max: int(*in.MaxCount), Host: host, Subnet: app.SubnetID(member.Value(in.SubnetId)),
		Groups: groupIDs(in.SecurityGroupIds), HostTags: tags[api.ResourceTypeInstance], NICTags: tags[api.ResourceTypeNetworkInterface],
	}
	return out, runInterfaces(in, &out)
}

// runInterfaces reads where a new host is to stand: parameters of its own, or a list of interfaces.
func runInterfaces(in *api.RunInstancesInput, out *control.RunHostsInput) error {
	address := member.Value(in.PrivateIpAddress)
	for n, spec := range in.NetworkInterfaces {
		if in.SubnetId != nil || len(in.SecurityGroupIds) > 0 || in.PrivateIpAddress != nil {
			return invalid("Network interfaces and an instance-level subnet ID, security groups or address may not be specified on the same request")
		}
		if spec.NetworkInterfaceId != nil {
			out.Existing = append(out.Existing, app.InterfaceID(*spec.NetworkInterfaceId))
			continue
		}
		if n > 0 || len(out.Existing) > 0 {
			return invalid("Only the first network interface can be made with the instance: create the others with CreateNetworkInterface and give their ids")
		}
		out.Subnet, out.Groups = app.SubnetID(member.Value(spec.SubnetId)), groupIDs(spec.Groups)
		address = member.Value(spec.PrivateIpAddress)
	}
	if address == "" {
		return nil
	}
	a, err := netip.ParseAddr(address)
	if err != nil || !a.Is4() {
		return invalid("Value (" + address + ") for parameter PrivateIpAddress is invalid: give an IPv4 address of the subnet")
	}
	out.Address = a
	return nil
}

func groupIDs(ids []string) []app.GroupID {
	return shapes(ids, func(id string) app.GroupID { return app.GroupID(id) })
}

func hostIDs(ids []string) []app.HostID {
	return shapes(ids, func(id string) app.HostID { return app.HostID(id) })
}

// hosts is how private hosts are selected.
var hosts = described[control.HostDetail]{
	id:   func(d control.HostDetail) string { return string(d.ID) },
	tags: func(d control.HostDetail) app.Tags { return d.Tags },
	filters: map[string]func(control.HostDetail) []string{
		"availability-zone":                      ofNICs(func(i control.InterfaceDetail) string { return i.Zone }),
		"client-token":                           one(func(d control.HostDetail) string { return d.ClientToken }),
		"iam-instance-profile.arn":               one(func(d control.HostDetail) string { return d.ProfileARN }),
		"image-id":                               one(func(d control.HostDetail) string { return d.Image }),
		"instance-id":                            one(func(d control.HostDetail) string { return string(d.ID) }),
		"instance-state-code":                    one(func(d control.HostDetail) string { return strconv.Itoa(int(stateCodes[d.State])) }),
		"instance-state-name":                    one(func(d control.HostDetail) string { return string(d.State) }),
		"instance-type":                          one(func(d control.HostDetail) string { return d.InstanceType }),
		"instance.group-id":                      hostGroups(func(g app.SecurityGroup) string { return string(g.ID) }),
		"instance.group-name":                    hostGroups(func(g app.SecurityGroup) string { return g.Name }),
		"ip-address":                             ofNICs(publicAddress),
		"key-name":                               one(func(d control.HostDetail) string { return d.KeyName }),
		"network-interface.network-interface-id": ofNICs(func(i control.InterfaceDetail) string { return string(i.ID) }),
		"network-interface.subnet-id":            ofNICs(func(i control.InterfaceDetail) string { return string(i.Subnet) }),
		"network-interface.vpc-id":               ofNICs(func(i control.InterfaceDetail) string { return string(i.VPC) }),
		"owner-id":                               one(func(d control.HostDetail) string { return string(d.Scope.Account) }),
		"private-dns-name":                       ofNICs(privateName),
		"private-ip-address":                     ofNICs(privateAddress),
		"network-interface.addresses.private-ip-address": ofNICs(privateAddress),
		"reservation-id": one(func(d control.HostDetail) string { return d.Reservation }),
		"subnet-id":      ofNICs(func(i control.InterfaceDetail) string { return string(i.Subnet) }),
		"tenancy":        fixed[control.HostDetail]("default"),
		"vpc-id":         ofNICs(func(i control.InterfaceDetail) string { return string(i.VPC) }),
	},
}

func ofNICs(of func(control.InterfaceDetail) string) func(control.HostDetail) []string {
	return func(d control.HostDetail) (out []string) {
		for _, i := range d.NICs {
			if v := of(i); v != "" {
				out = append(out, v)
			}
		}
		return out
	}
}

func hostGroups(of func(app.SecurityGroup) string) func(control.HostDetail) []string {
	return func(d control.HostDetail) (out []string) {
		for _, i := range d.NICs {
			for _, g := range i.Groups {
				out = append(out, of(g))
			}
		}
		return out
	}
}

func privateAddress(i control.InterfaceDetail) string { return i.Addresses[0].String() }

func privateName(i control.InterfaceDetail) string {
	return app.PrivateNames(i.Addresses[0], i.Scope.Region)[0]
}

func publicAddress(i control.InterfaceDetail) string {
	if i.Public == nil {
		return ""
	}
	return i.Public.Address.String()
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
	monitoring := api.MonitoringStateDisabled
	if d.Monitoring {
		monitoring = api.MonitoringStateEnabled
	}
	out := api.Instance{
		InstanceId: new(string(d.ID)), ImageId: &d.Image, InstanceType: api.InstanceType(d.InstanceType), State: stateShape(d.State), AmiLaunchIndex: member.Int32(d.LaunchIndex),
		KeyName: member.Text(d.KeyName), LaunchTime: member.Moment(d.LaunchedAt), Monitoring: &api.Monitoring{State: monitoring}, Architecture: api.ArchitectureValuesX8664,
		BlockDeviceMappings: []api.InstanceBlockDeviceMapping{}, ClientToken: member.Text(d.ClientToken), EbsOptimized: &d.EBSOptimized, EnaSupport: new(true),
		Hypervisor: api.HypervisorTypeXen, RootDeviceType: api.DeviceTypeInstanceStore, VirtualizationType: api.VirtualizationTypeHvm, SourceDestCheck: &d.SourceDestCheck,
		Tags: tagList(d.Tags), Placement: &api.Placement{Tenancy: api.TenancyDefault, GroupName: new("")}, PrivateDnsName: new(""), PublicDnsName: new(""), StateTransitionReason: new(d.StateReason),
		MetadataOptions: &api.InstanceMetadataOptionsResponse{
			State: api.InstanceMetadataOptionsStateApplied, HttpTokens: api.HttpTokensState(d.HTTPTokens), HttpPutResponseHopLimit: member.Int32(d.HopLimit),
			HttpEndpoint: api.InstanceMetadataEndpointState(d.HTTPEndpoint), HttpProtocolIpv6: api.InstanceMetadataProtocolState(d.HTTPIPv6), InstanceMetadataTags: api.InstanceMetadataTagsState(d.MetadataTags),
		},
		NetworkInterfaces: shapes(d.NICs, hostNIC), SecurityGroups: []api.GroupIdentifier{},
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
		out.Placement.AvailabilityZone = &i.Zone
		out.SecurityGroups = groupShapes(i.Groups)
	}
	return out
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
	return &api.InstanceNetworkInterfaceAssociation{PublicIp: new(publicAddress(i)), IpOwnerId: new(string(i.Scope.Account)), PublicDnsName: new("")}
}

// DescribeInstanceStatus shows the states of hosts that run, with IncludeAllInstances of all.
func (h *Handler) DescribeInstanceStatus(ctx context.Context, in *api.DescribeInstanceStatusInput) (*api.DescribeInstanceStatusOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	page, next, err := h.describeHosts(ctx, query{ids: in.InstanceIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &api.DescribeInstanceStatusOutput{InstanceStatuses: []api.InstanceStatus{}, NextToken: next}
	for _, d := range page {
		if d.State != app.HostRunning && !member.Value(in.IncludeAllInstances) {
			continue
		}
		status, check := api.SummaryStatusOk, api.StatusTypePassed
		if d.State != app.HostRunning {
			status, check = api.SummaryStatusNotApplicable, api.StatusTypeInsufficientData
		}
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

// DescribeInstanceAttribute shows one attribute of a host.
func (h *Handler) DescribeInstanceAttribute(ctx context.Context, in *api.DescribeInstanceAttributeInput) (*api.DescribeInstanceAttributeOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	page, _, err := h.describeHosts(ctx, query{ids: []string{*in.InstanceId}})
	if err != nil {
		return nil, err
	}
	d := page[0]
	out := &api.DescribeInstanceAttributeOutput{InstanceId: in.InstanceId}
	yes := func(b bool) *api.AttributeBooleanValue { return &api.AttributeBooleanValue{Value: &b} }
	text := func(s string) *api.AttributeValue { return &api.AttributeValue{Value: member.Text(s)} }
	switch in.Attribute {
	case api.InstanceAttributeNameDisableApiTermination:
		out.DisableApiTermination = yes(d.DisableTermination)
	case api.InstanceAttributeNameDisableApiStop:
		out.DisableApiStop = yes(d.DisableStop)
	case api.InstanceAttributeNameEbsOptimized:
		out.EbsOptimized = yes(d.EBSOptimized)
	case api.InstanceAttributeNameSourceDestCheck:
		out.SourceDestCheck = yes(d.SourceDestCheck)
	case api.InstanceAttributeNameEnaSupport:
		out.EnaSupport = yes(true)
	case api.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
		out.InstanceInitiatedShutdownBehavior = text(d.ShutdownBehavior)
	case api.InstanceAttributeNameInstanceType:
		out.InstanceType = text(d.InstanceType)
	case api.InstanceAttributeNameUserData:
		out.UserData = text(d.UserData)
	case api.InstanceAttributeNameGroupSet:
		out.Groups = hostShape(d).SecurityGroups
	case api.InstanceAttributeNameBlockDeviceMapping:
		out.BlockDeviceMappings = []api.InstanceBlockDeviceMapping{}
	default:
		return nil, invalid("The attribute " + string(in.Attribute) + " does not apply to containers")
	}
	return out, nil
}

// ModifyInstanceAttribute changes attributes of a host.
func (h *Handler) ModifyInstanceAttribute(ctx context.Context, in *api.ModifyInstanceAttributeInput) (*api.ModifyInstanceAttributeOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if in.Attribute != "" {
		spread(in)
	}
	id := app.HostID(*in.InstanceId)
	if len(in.Groups) > 0 {
		if err := h.control.SetHostGroups(ctx, caller.Scope(ctx), id, groupIDs(in.Groups)); err != nil {
			return nil, wireError(err)
		}
	}
	err := h.control.ModifyHost(ctx, caller.Scope(ctx), id, func(host *app.Host) error {
		for _, b := range []struct {
			to   *bool
			from *api.AttributeBooleanValue
		}{
			{&host.DisableTermination, in.DisableApiTermination}, {&host.DisableStop, in.DisableApiStop},
			{&host.EBSOptimized, in.EbsOptimized}, {&host.SourceDestCheck, in.SourceDestCheck},
		} {
			if b.from != nil && b.from.Value != nil {
				*b.to = *b.from.Value
			}
		}
		if v := in.InstanceInitiatedShutdownBehavior; v != nil {
			host.ShutdownBehavior = member.Value(v.Value)
		}
		if v := in.InstanceType; v != nil {
			host.InstanceType = member.Value(v.Value)
		}
		if v := in.UserData; v != nil {
			host.UserData = base64.StdEncoding.EncodeToString(v.Value)
		}
		return nil
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ModifyInstanceAttributeOutput{}, nil
}

// spread turns the form Attribute and Value into the member that it means.
func spread(in *api.ModifyInstanceAttributeInput) {
	flag := &api.AttributeBooleanValue{Value: new(member.Value(in.Value) == "true")}
	switch in.Attribute {
	case api.InstanceAttributeNameDisableApiTermination:
		in.DisableApiTermination = flag
	case api.InstanceAttributeNameDisableApiStop:
		in.DisableApiStop = flag
	case api.InstanceAttributeNameSourceDestCheck:
		in.SourceDestCheck = flag
	case api.InstanceAttributeNameEbsOptimized:
		in.EbsOptimized = flag
	case api.InstanceAttributeNameInstanceType:
		in.InstanceType = &api.AttributeValue{Value: in.Value}
	case api.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
		in.InstanceInitiatedShutdownBehavior = &api.AttributeValue{Value: in.Value}
	}
}
