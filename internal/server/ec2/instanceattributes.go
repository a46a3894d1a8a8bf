package ec2

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/logs"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

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
		out.BlockDeviceMappings = shapes(d.Disks, diskShape)
	case api.InstanceAttributeNameRootDeviceName:
		out.RootDeviceName = text(control.RootDevice)
	case api.InstanceAttributeNameProductCodes:
		out.ProductCodes = []api.ProductCode{}
	case api.InstanceAttributeNameEnclaveOptions:
		out.EnclaveOptions = &api.EnclaveOptions{Enabled: new(false)}
	} // kernel, ramdisk and sriovNetSupport have no value
	return out, nil
}

// ModifyInstanceAttribute changes attributes of a host.
func (h *Handler) ModifyInstanceAttribute(ctx context.Context, in *api.ModifyInstanceAttributeInput) (*api.ModifyInstanceAttributeOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if in.Attribute != "" {
		if err := spread(in); err != nil {
			return nil, err
		}
	}
	if in.Kernel != nil || in.Ramdisk != nil || in.SriovNetSupport != nil || in.EnaSupport != nil {
		return nil, invalid("Kernel, Ramdisk, SriovNetSupport and EnaSupport cannot be changed: an instance is a container of this machine")
	}
	if names := changedAttributes(in); len(names) > 1 {
		return nil, &wire.Error{Code: "InvalidParameterCombination", Message: "Fields for multiple attribute types specified: " + strings.Join(names, ", ") + ". Change one with each call"}
	}
	id := app.HostID(*in.InstanceId)
	switch {
	case len(in.BlockDeviceMappings) > 0:
		return &api.ModifyInstanceAttributeOutput{}, h.keepVolumes(ctx, id, in.BlockDeviceMappings)
	case len(in.Groups) > 0:
		if err := h.control.SetHostGroups(ctx, caller.Scope(ctx), id, groupIDs(in.Groups)); err != nil {
			return nil, wireError(err)
		}
		return &api.ModifyInstanceAttributeOutput{}, nil
	}
	err := h.control.ModifyHosts(ctx, caller.Scope(ctx), []app.HostID{id}, func(host *app.Host) error {
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

// changedAttributes names what a call changes; EC2 takes one attribute at a time.
func changedAttributes(in *api.ModifyInstanceAttributeInput) (out []string) {
	for _, a := range []struct {
		name  api.InstanceAttributeName
		given bool
	}{
		{api.InstanceAttributeNameBlockDeviceMapping, len(in.BlockDeviceMappings) > 0},
		{api.InstanceAttributeNameDisableApiStop, in.DisableApiStop != nil},
		{api.InstanceAttributeNameDisableApiTermination, in.DisableApiTermination != nil},
		{api.InstanceAttributeNameEbsOptimized, in.EbsOptimized != nil},
		{api.InstanceAttributeNameGroupSet, len(in.Groups) > 0},
		{api.InstanceAttributeNameInstanceInitiatedShutdownBehavior, in.InstanceInitiatedShutdownBehavior != nil},
		{api.InstanceAttributeNameInstanceType, in.InstanceType != nil},
		{api.InstanceAttributeNameSourceDestCheck, in.SourceDestCheck != nil},
		{api.InstanceAttributeNameUserData, in.UserData != nil},
	} {
		if a.given {
			out = append(out, string(a.name))
		}
	}
	return out
}

// keepVolumes takes over what ModifyInstanceAttribute says of the host's volume.
func (h *Handler) keepVolumes(ctx context.Context, id app.HostID, mappings []api.InstanceBlockDeviceMappingSpecification) error {
	for _, m := range mappings {
		if device := member.Value(m.DeviceName); !slices.Contains(rootDevices, device) {
			return invalid("The instance " + string(id) + " has no device " + device + ": its volume is " + control.RootDevice)
		}
		if m.Ebs == nil || m.Ebs.DeleteOnTermination == nil {
			continue
		}
		if err := h.control.KeepVolumes(ctx, caller.Scope(ctx), id, !*m.Ebs.DeleteOnTermination); err != nil {
			return wireError(err)
		}
	}
	return nil
}

// spread turns the form Attribute and Value into the member that it means.
func spread(in *api.ModifyInstanceAttributeInput) error {
	flag := &api.AttributeBooleanValue{Value: new(member.Value(in.Value) == "true")}
	text := &api.AttributeValue{Value: in.Value}
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
		in.InstanceType = text
	case api.InstanceAttributeNameInstanceInitiatedShutdownBehavior:
		in.InstanceInitiatedShutdownBehavior = text
	case api.InstanceAttributeNameUserData:
		data, err := base64.StdEncoding.DecodeString(member.Value(in.Value))
		if err != nil {
			return &wire.Error{Code: "InvalidUserData.Malformed", Message: "Invalid BASE64 encoding of user data"}
		}
		in.UserData = &api.BlobAttributeValue{Value: data}
	case api.InstanceAttributeNameBlockDeviceMapping, api.InstanceAttributeNameGroupSet: // have members of their own
	default:
		return invalid("The attribute " + string(in.Attribute) + " cannot be changed")
	}
	return nil
}

// ModifyInstanceMetadataOptions changes options that are kept and shown.
func (h *Handler) ModifyInstanceMetadataOptions(ctx context.Context, in *api.ModifyInstanceMetadataOptionsInput) (*api.ModifyInstanceMetadataOptionsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	var after app.Host
	err := h.control.ModifyHosts(ctx, caller.Scope(ctx), []app.HostID{app.HostID(*in.InstanceId)}, func(host *app.Host) error {
		host.HTTPTokens, host.HTTPEndpoint = cmp.Or(string(in.HttpTokens), host.HTTPTokens), cmp.Or(string(in.HttpEndpoint), host.HTTPEndpoint)
		host.MetadataTags, host.HTTPIPv6 = cmp.Or(string(in.InstanceMetadataTags), host.MetadataTags), cmp.Or(string(in.HttpProtocolIpv6), host.HTTPIPv6)
		host.HopLimit = cmp.Or(int(member.Value(in.HttpPutResponseHopLimit)), host.HopLimit)
		after = *host
		return nil
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ModifyInstanceMetadataOptionsOutput{InstanceId: in.InstanceId, InstanceMetadataOptions: metadataShape(after)}, nil
}

// ModifyInstanceCreditSpecification changes how burstable hosts are paid for; it is kept and shown.
func (h *Handler) ModifyInstanceCreditSpecification(ctx context.Context, in *api.ModifyInstanceCreditSpecificationInput) (*api.ModifyInstanceCreditSpecificationOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	out := &api.ModifyInstanceCreditSpecificationOutput{
		SuccessfulInstanceCreditSpecifications: []api.SuccessfulInstanceCreditSpecificationItem{}, UnsuccessfulInstanceCreditSpecifications: []api.UnsuccessfulInstanceCreditSpecificationItem{},
	}
	for _, r := range in.InstanceCreditSpecifications {
		credits := member.Value(r.CpuCredits)
		if credits != "standard" && credits != "unlimited" {
			return nil, invalid("Invalid value '" + credits + "' for CpuCredits: give standard or unlimited")
		}
	}
	for _, r := range in.InstanceCreditSpecifications {
		err := h.control.ModifyHosts(ctx, caller.Scope(ctx), []app.HostID{app.HostID(*r.InstanceId)}, func(host *app.Host) error {
			host.CPUCredits = *r.CpuCredits
			return nil
		})
		var refused *wire.Error
		switch err := wireError(err); {
		case err == nil:
			out.SuccessfulInstanceCreditSpecifications = append(out.SuccessfulInstanceCreditSpecifications, api.SuccessfulInstanceCreditSpecificationItem{InstanceId: r.InstanceId})
		case errors.As(err, &refused):
			out.UnsuccessfulInstanceCreditSpecifications = append(out.UnsuccessfulInstanceCreditSpecifications, api.UnsuccessfulInstanceCreditSpecificationItem{
				InstanceId: r.InstanceId,
				Error:      &api.UnsuccessfulInstanceCreditSpecificationItemError{Code: api.UnsuccessfulInstanceCreditSpecificationErrorCode(refused.Code), Message: &refused.Message},
			})
		default:
			return nil, err
		}
	}
	return out, nil
}

func monitoringState(h app.Host) api.MonitoringState {
	if h.Monitoring {
		return api.MonitoringStateEnabled
	}
	return api.MonitoringStateDisabled
}

func (h *Handler) monitor(ctx context.Context, ids []string, on bool) ([]api.InstanceMonitoring, error) {
	out := []api.InstanceMonitoring{}
	err := h.control.ModifyHosts(ctx, caller.Scope(ctx), hostIDs(ids), func(host *app.Host) error {
		host.Monitoring = on
		out = append(out, api.InstanceMonitoring{InstanceId: new(string(host.ID)), Monitoring: &api.Monitoring{State: monitoringState(*host)}})
		return nil
	})
	if err != nil {
		return nil, wireError(err)
	}
	return out, nil
}

// MonitorInstances keeps that hosts are monitored in detail; it has no effect.
func (h *Handler) MonitorInstances(ctx context.Context, in *api.MonitorInstancesInput) (*api.MonitorInstancesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	states, err := h.monitor(ctx, in.InstanceIds, true)
	if err != nil {
		return nil, err
	}
	return &api.MonitorInstancesOutput{InstanceMonitorings: states}, nil
}

// UnmonitorInstances takes that back.
func (h *Handler) UnmonitorInstances(ctx context.Context, in *api.UnmonitorInstancesInput) (*api.UnmonitorInstancesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	states, err := h.monitor(ctx, in.InstanceIds, false)
	if err != nil {
		return nil, err
	}
	return &api.UnmonitorInstancesOutput{InstanceMonitorings: states}, nil
}

// maxConsole bounds the output that GetConsoleOutput shows, in bytes (EC2 API, GetConsoleOutput: 64 KB).
const maxConsole = 64 << 10

// GetConsoleOutput shows the last of what a host wrote.
func (h *Handler) GetConsoleOutput(ctx context.Context, in *api.GetConsoleOutputInput) (*api.GetConsoleOutputOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	page, _, err := h.describeHosts(ctx, query{ids: []string{*in.InstanceId}})
	if err != nil {
		return nil, err
	}
	got, err := h.output.GetEvents(ctx, logs.GetEventsInput{Stream: page[0].Console()})
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	at := page[0].LaunchedAt
	for _, e := range got.Events {
		text.WriteString(e.Message)
		text.WriteByte('\n')
		at = e.Timestamp
	}
	shown := text.String()
	shown = shown[max(0, len(shown)-maxConsole):]
	return &api.GetConsoleOutputOutput{InstanceId: in.InstanceId, Timestamp: member.Moment(at), Output: new(base64.StdEncoding.EncodeToString([]byte(shown)))}, nil
}
