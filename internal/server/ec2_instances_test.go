package server_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// pushed puts a tagged image into the registry's rows.
func (a *api) pushed(repository, tag string) {
	a.t.Helper()
	key := app.RepositoryKey{Scope: app.Scope{Account: account, Region: region}, Name: repository}
	err := a.store.Update(a.t.Context(), func(tx *store.Tx) error {
		store.Control.Repositories.Put(tx, app.Repository{Key: key})
		store.Control.Manifests.Put(tx, app.Manifest{Repository: key, Digest: someDigest, Tags: []string{tag}, PushedAt: testTime})
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// hosts lets private hosts get as far as they can.
func (a *api) hosts() {
	a.t.Helper()
	for range 3 {
		a.settle()
		if err := a.networks.KeepHosts(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *api) describe(id string) ec2types.Instance {
	a.t.Helper()
	out, err := a.ec2Client().DescribeInstances(a.t.Context(), &sdkec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil || len(out.Reservations) != 1 || len(out.Reservations[0].Instances) != 1 {
		a.t.Fatalf("got %+v, %v", out, err)
	}
	return out.Reservations[0].Instances[0]
}

// runInstance makes an instance of app:v1 that runs.
func (a *api) runInstance(in *sdkec2.RunInstancesInput) ec2types.Instance {
	a.t.Helper()
	a.pushed("app", "v1")
	in.MinCount, in.MaxCount = aws.Int32(1), aws.Int32(1)
	if in.ImageId == nil {
		in.ImageId = aws.String("app:v1")
	}
	out, err := a.ec2Client().RunInstances(a.t.Context(), in)
	if err != nil {
		a.t.Fatal(err)
	}
	if i := out.Instances[0]; i.State.Name != "pending" || *i.State.Code != 0 || *out.OwnerId != account || !strings.HasPrefix(*out.ReservationId, "r-") {
		a.t.Errorf("got %+v", out)
	}
	a.hosts()
	return a.describe(*out.Instances[0].InstanceId)
}

func TestInstances(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	vpc := a.vpc("192.168.0.0/16")
	subnet := a.subnet(vpc, "192.168.3.0/24")
	i := a.runInstance(&sdkec2.RunInstancesInput{
		SubnetId: &subnet, PrivateIpAddress: aws.String("192.168.3.194"), InstanceType: "t3.small", UserData: aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n"))),
		IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: aws.String("role")}, Monitoring: &ec2types.RunInstancesMonitoringEnabled{Enabled: aws.Bool(true)}, ClientToken: aws.String("once"),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{VolumeSize: aws.Int32(20), VolumeType: "gp2"}}},
		TagSpecifications:   append(append(tagged("instance", "Name", "db"), tagged("volume", "funade:volume", "db")...), tagged("network-interface", "Name", "nic")...),
	})
	id := *i.InstanceId
	if i.State.Name != "running" || *i.State.Code != 16 || *i.PrivateIpAddress != "192.168.3.194" || *i.PrivateDnsName != "ip-192-168-3-194.ec2.internal" || *i.SubnetId != subnet || *i.VpcId != vpc || *i.ImageId != "app:v1" ||
		i.InstanceType != "t3.small" || i.Monitoring.State != "enabled" || !*i.SourceDestCheck || *i.Placement.AvailabilityZone != "us-east-1a" || i.Placement.Tenancy != "default" || *i.SecurityGroups[0].GroupName != "default" || *i.Tags[0].Value != "db" ||
		i.StateReason != nil || *i.RootDeviceName != "/dev/xvda" || i.RootDeviceType != "ebs" || *i.CpuOptions.CoreCount != 2 || i.MetadataOptions.HttpTokens != "required" || *i.MetadataOptions.HttpPutResponseHopLimit != 2 {
		t.Errorf("got %+v", i)
	}
	if n := i.NetworkInterfaces[0]; n.Attachment == nil || *n.Attachment.AttachmentId == "" || *n.Attachment.DeviceIndex != 0 || !*n.Attachment.DeleteOnTermination || n.Attachment.Status != "attached" || !*n.PrivateIpAddresses[0].Primary || n.Association != nil {
		t.Errorf("got %+v", n)
	}
	disk := i.BlockDeviceMappings[0]
	if *disk.DeviceName != "/dev/xvda" || !*disk.Ebs.DeleteOnTermination || disk.Ebs.Status != "attached" {
		t.Errorf("got %+v", disk)
	}
	filtered(t, id, func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeInstances(ctx, &sdkec2.DescribeInstancesInput{Filters: f})
		if err == nil {
			for _, r := range out.Reservations {
				ids = append(ids, *r.Instances[0].InstanceId)
			}
		}
		return ids, err
	}, []ec2types.Filter{filter("instance-state-name", "running")}, []ec2types.Filter{filter("private-ip-address", "192.168.3.194")}, []ec2types.Filter{filter("subnet-id", subnet)}, []ec2types.Filter{filter("vpc-id", vpc)},
		[]ec2types.Filter{filter("image-id", "app:*")}, []ec2types.Filter{filter("tag:Name", "db")}, []ec2types.Filter{filter("private-dns-name", "ip-192-168-3-194*")}, []ec2types.Filter{filter("network-interface.addresses.private-ip-address", "192.168.3.194")},
		[]ec2types.Filter{filter("network-interface.attachment.device-index", "0")}, []ec2types.Filter{filter("instance-type", "t3.*")}, []ec2types.Filter{filter("block-device-mapping.volume-id", *disk.Ebs.VolumeId)}, []ec2types.Filter{filter("instance.group-name", "default")},
		[]ec2types.Filter{filter("network-interface.group-name", "default")}, []ec2types.Filter{filter("monitoring-state", "enabled")}, []ec2types.Filter{filter("source-dest-check", "true")}, []ec2types.Filter{filter("client-token", "once")}, []ec2types.Filter{filter("architecture", "x86_64")})
	status, err := c.DescribeInstanceStatus(ctx, &sdkec2.DescribeInstanceStatusInput{InstanceIds: []string{id}, Filters: []ec2types.Filter{filter("system-status.status", "ok")}})
	if err != nil || status.InstanceStatuses[0].InstanceStatus.Status != "ok" || status.InstanceStatuses[0].SystemStatus.Details[0].Status != "passed" {
		t.Errorf("got %+v, %v", status, err)
	}
	ids := []string{id}
	_, err = c.StartInstances(ctx, &sdkec2.StartInstancesInput{InstanceIds: []string{"i-0"}})
	wantError(t, err, "InvalidInstanceID.NotFound", "i-0")
	_, err = c.StopInstances(ctx, &sdkec2.StopInstancesInput{InstanceIds: ids, DryRun: aws.Bool(true)})
	wantError(t, err, "DryRunOperation", "DryRun")
	if out, err := c.StopInstances(ctx, &sdkec2.StopInstancesInput{InstanceIds: ids}); err != nil || out.StoppingInstances[0].PreviousState.Name != "running" || out.StoppingInstances[0].CurrentState.Name != "stopping" {
		t.Errorf("got %+v, %v", out, err)
	}
	a.hosts()
	if i = a.describe(id); i.State.Name != "stopped" || *i.StateReason.Code != "Client.UserInitiatedShutdown" || *i.StateTransitionReason == "" || len(i.NetworkInterfaces) != 1 || len(i.BlockDeviceMappings) != 1 {
		t.Errorf("stopped it is %+v", i)
	}
	if out, err := c.DescribeInstanceStatus(ctx, &sdkec2.DescribeInstanceStatusInput{InstanceIds: ids}); err != nil || len(out.InstanceStatuses) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
	if out, err := c.DescribeInstanceStatus(ctx, &sdkec2.DescribeInstanceStatusInput{InstanceIds: ids, IncludeAllInstances: aws.Bool(true)}); err != nil || out.InstanceStatuses[0].InstanceStatus.Status != "not-applicable" {
		t.Errorf("got %+v, %v", out, err)
	}
	if out, err := c.StartInstances(ctx, &sdkec2.StartInstancesInput{InstanceIds: ids}); err != nil || out.StartingInstances[0].PreviousState.Name != "stopped" || out.StartingInstances[0].CurrentState.Name != "pending" {
		t.Errorf("got %+v, %v", out, err)
	}
	a.hosts()
	if _, err := c.RebootInstances(ctx, &sdkec2.RebootInstancesInput{InstanceIds: ids}); err != nil {
		t.Error(err)
	}
	a.hosts()
	if i = a.describe(id); i.State.Name != "running" || i.StateReason != nil {
		t.Errorf("rebooted it is %+v", i)
	}
	if out, err := c.TerminateInstances(ctx, &sdkec2.TerminateInstancesInput{InstanceIds: ids}); err != nil || out.TerminatingInstances[0].CurrentState.Name != "shutting-down" {
		t.Errorf("got %+v, %v", out, err)
	}
	a.hosts()
	if i = a.describe(id); i.State.Name != "terminated" || len(i.NetworkInterfaces)+len(i.BlockDeviceMappings) != 0 {
		t.Errorf("terminated it is %+v", i)
	}
	a.volume(*disk.Ebs.VolumeId)
}

// modifyVolume grows a volume of 20 GiB, as Terraform does.
func (a *api) modifyVolume(id string) {
	t, c, ctx := a.t, a.ec2Client(), a.t.Context()
	t.Helper()
	_, err := c.DescribeVolumesModifications(ctx, &sdkec2.DescribeVolumesModificationsInput{VolumeIds: []string{id}})
	wantError(t, err, "InvalidVolumeModification.NotFound", id)
	_, err = c.ModifyVolume(ctx, &sdkec2.ModifyVolumeInput{VolumeId: &id, DryRun: aws.Bool(true)})
	wantError(t, err, "DryRunOperation", "")
	_, err = c.ModifyVolume(ctx, &sdkec2.ModifyVolumeInput{VolumeId: &id, Size: aws.Int32(19)})
	wantError(t, err, "InvalidParameterValue", "New size cannot be smaller than existing size")
	_, err = c.ModifyVolume(ctx, &sdkec2.ModifyVolumeInput{VolumeId: &id, MultiAttachEnabled: aws.Bool(true)})
	wantError(t, err, "InvalidParameterValue", "MultiAttachEnabled")
	if _, err := c.ModifyVolume(ctx, &sdkec2.ModifyVolumeInput{VolumeId: &id, Size: aws.Int32(30), VolumeType: "io2", Iops: aws.Int32(900)}); err != nil {
		t.Fatal(err)
	}
	out, err := c.DescribeVolumesModifications(ctx, &sdkec2.DescribeVolumesModificationsInput{Filters: []ec2types.Filter{filter("volume-id", id), filter("modification-state", "completed"), filter("target-size", "30")}})
	if err != nil || len(out.VolumesModifications) != 1 {
		t.Fatalf("got %+v, %v", out, err)
	}
	if m := out.VolumesModifications[0]; *m.OriginalSize != 20 || *m.TargetSize != 30 || m.TargetVolumeType != "io2" || *m.TargetIops != 900 || m.TargetThroughput != nil || *m.Progress != 100 {
		t.Errorf("got %+v", m)
	}
	if v, err := c.DescribeVolumes(ctx, &sdkec2.DescribeVolumesInput{VolumeIds: []string{id}}); err != nil || *v.Volumes[0].Size != 30 || *v.Volumes[0].Iops != 900 {
		t.Errorf("got %+v, %v", v, err)
	}
}

// volume: what is left of an instance with a named volume of 20 GiB.
func (a *api) volume(id string) {
	t, c, ctx := a.t, a.ec2Client(), a.t.Context()
	t.Helper()
	out, err := c.DescribeVolumes(ctx, &sdkec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	if v := out.Volumes[0]; v.State != "available" || *v.Size != 20 || v.VolumeType != "gp2" || *v.Encrypted || len(v.Attachments) != 0 || *v.Tags[0].Key != "funade:volume" || *v.AvailabilityZone != "us-east-1a" {
		t.Errorf("got %+v", v)
	}
	filtered(t, id, func(f []ec2types.Filter) (ids []string, err error) {
		out, err := c.DescribeVolumes(ctx, &sdkec2.DescribeVolumesInput{Filters: f})
		if err == nil {
			for _, v := range out.Volumes {
				ids = append(ids, *v.VolumeId)
			}
		}
		return ids, err
	}, []ec2types.Filter{filter("status", "available")}, []ec2types.Filter{filter("tag:funade:volume", "db")}, []ec2types.Filter{filter("size", "20")}, []ec2types.Filter{filter("volume-type", "gp2")}, []ec2types.Filter{filter("encrypted", "false")})
	_, err = c.DescribeVolumes(ctx, &sdkec2.DescribeVolumesInput{VolumeIds: []string{"vol-0"}})
	wantError(t, err, "InvalidVolume.NotFound", "vol-0")
	next := a.runInstance(&sdkec2.RunInstancesInput{TagSpecifications: tagged("instance", "funade:volume", "db")})
	if *next.BlockDeviceMappings[0].Ebs.VolumeId != id {
		t.Errorf("the next instance has %+v", next.BlockDeviceMappings)
	}
	if out, err = c.DescribeVolumes(ctx, &sdkec2.DescribeVolumesInput{Filters: []ec2types.Filter{filter("attachment.instance-id", *next.InstanceId)}}); err != nil || out.Volumes[0].State != "in-use" || *out.Volumes[0].Attachments[0].Device != "/dev/xvda" {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.DeleteVolume(ctx, &sdkec2.DeleteVolumeInput{VolumeId: &id})
	wantError(t, err, "VolumeInUse", *next.InstanceId)
	a.modifyVolume(id)
	if _, err := c.TerminateInstances(ctx, &sdkec2.TerminateInstancesInput{InstanceIds: []string{*next.InstanceId}}); err != nil {
		t.Fatal(err)
	}
	a.hosts()
	if _, err := c.DeleteVolume(ctx, &sdkec2.DeleteVolumeInput{VolumeId: &id}); err != nil {
		t.Error(err)
	}
}

func TestInstanceAttributes(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	i := a.runInstance(&sdkec2.RunInstancesInput{UserData: aws.String("aGVsbG8="), CreditSpecification: &ec2types.CreditSpecificationRequest{CpuCredits: aws.String("standard")}})
	id := i.InstanceId
	attribute := func(name ec2types.InstanceAttributeName) *sdkec2.DescribeInstanceAttributeOutput {
		t.Helper()
		out, err := c.DescribeInstanceAttribute(ctx, &sdkec2.DescribeInstanceAttributeInput{InstanceId: id, Attribute: name})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := attribute("disableApiTermination"); out.DisableApiTermination == nil || *out.DisableApiTermination.Value {
		t.Errorf("got %+v", out)
	}
	if out := attribute("disableApiStop"); out.DisableApiStop == nil || *out.DisableApiStop.Value {
		t.Errorf("got %+v", out)
	}
	if out := attribute("userData"); *out.UserData.Value != "aGVsbG8=" {
		t.Errorf("got %+v", out)
	}
	if out := attribute("instanceInitiatedShutdownBehavior"); *out.InstanceInitiatedShutdownBehavior.Value != "stop" {
		t.Errorf("got %+v", out)
	}
	if out := attribute("blockDeviceMapping"); len(out.BlockDeviceMappings) != 1 {
		t.Errorf("got %+v", out)
	}
	attribute("kernel")
	yes, no := &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}, &ec2types.AttributeBooleanValue{Value: aws.Bool(false)}
	for n, in := range []*sdkec2.ModifyInstanceAttributeInput{
		{DisableApiTermination: yes}, {DisableApiStop: yes}, {SourceDestCheck: no}, {EbsOptimized: yes}, {Attribute: "instanceInitiatedShutdownBehavior", Value: aws.String("terminate")},
		{BlockDeviceMappings: []ec2types.InstanceBlockDeviceMappingSpecification{{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: aws.Bool(false)}}}},
	} {
		in.InstanceId = id
		if _, err := c.ModifyInstanceAttribute(ctx, in); err != nil {
			t.Errorf("%d: %v", n, err)
		}
	}
	if i = a.describe(*id); *i.SourceDestCheck || !*i.EbsOptimized || *i.BlockDeviceMappings[0].Ebs.DeleteOnTermination || *i.NetworkInterfaces[0].SourceDestCheck {
		t.Errorf("got %+v", i)
	}
	_, err := c.TerminateInstances(ctx, &sdkec2.TerminateInstancesInput{InstanceIds: []string{*id}})
	wantError(t, err, "OperationNotPermitted", "disableApiTermination")
	_, err = c.ModifyInstanceAttribute(ctx, &sdkec2.ModifyInstanceAttributeInput{InstanceId: id, InstanceType: &ec2types.AttributeValue{Value: aws.String("t3.large")}})
	wantError(t, err, "IncorrectInstanceState", "stop it")
	_, err = c.ModifyInstanceAttribute(ctx, &sdkec2.ModifyInstanceAttributeInput{InstanceId: id, Kernel: &ec2types.AttributeValue{Value: aws.String("aki-1")}})
	wantError(t, err, "InvalidParameterValue", "Kernel")
	_, err = c.ModifyInstanceAttribute(ctx, &sdkec2.ModifyInstanceAttributeInput{InstanceId: id, DisableApiStop: no, EbsOptimized: no})
	wantError(t, err, "InvalidParameterCombination", "disableApiStop, ebsOptimized")

	credits, err := c.DescribeInstanceCreditSpecifications(ctx, &sdkec2.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{*id}})
	if err != nil || *credits.InstanceCreditSpecifications[0].CpuCredits != "standard" || *credits.InstanceCreditSpecifications[0].InstanceId != *id {
		t.Errorf("got %+v, %v", credits, err)
	}
	change := []ec2types.InstanceCreditSpecificationRequest{{InstanceId: id, CpuCredits: aws.String("unlimited")}}
	if out, err := c.ModifyInstanceCreditSpecification(ctx, &sdkec2.ModifyInstanceCreditSpecificationInput{InstanceCreditSpecifications: change}); err != nil || *out.SuccessfulInstanceCreditSpecifications[0].InstanceId != *id {
		t.Errorf("got %+v, %v", out, err)
	}
	change = append(change, ec2types.InstanceCreditSpecificationRequest{InstanceId: aws.String("i-00000000000000000"), CpuCredits: aws.String("standard")})
	if out, err := c.ModifyInstanceCreditSpecification(ctx, &sdkec2.ModifyInstanceCreditSpecificationInput{InstanceCreditSpecifications: change}); err != nil ||
		len(out.SuccessfulInstanceCreditSpecifications) != 1 || out.UnsuccessfulInstanceCreditSpecifications[0].Error.Code != "InvalidInstanceID.NotFound" {
		t.Errorf("got %+v, %v", out, err)
	}
	change[0].CpuCredits = aws.String("free")
	_, err = c.ModifyInstanceCreditSpecification(ctx, &sdkec2.ModifyInstanceCreditSpecificationInput{InstanceCreditSpecifications: change})
	wantError(t, err, "InvalidParameterValue", "free")
	options, err := c.ModifyInstanceMetadataOptions(ctx, &sdkec2.ModifyInstanceMetadataOptionsInput{InstanceId: id, HttpTokens: "optional", HttpPutResponseHopLimit: aws.Int32(5)})
	if err != nil || options.InstanceMetadataOptions.HttpTokens != "optional" || *options.InstanceMetadataOptions.HttpPutResponseHopLimit != 5 || options.InstanceMetadataOptions.HttpEndpoint != "enabled" || options.InstanceMetadataOptions.HttpProtocolIpv6 != "disabled" {
		t.Errorf("got %+v, %v", options, err)
	}
	host := app.Host{ID: app.HostID(*id), Scope: app.Scope{Account: account, Region: region}}
	if err := a.logs.Append(ctx, host.Console(), []app.LogEvent{{Timestamp: time.Now(), Message: "hello"}, {Timestamp: time.Now(), Message: "world"}}); err != nil {
		t.Fatal(err)
	}
	if out, err := c.GetConsoleOutput(ctx, &sdkec2.GetConsoleOutputInput{InstanceId: id}); err != nil || *out.Output != base64.StdEncoding.EncodeToString([]byte("hello\nworld\n")) || *out.InstanceId != *id {
		t.Errorf("got %+v, %v", out, err)
	}
	if out, err := c.MonitorInstances(ctx, &sdkec2.MonitorInstancesInput{InstanceIds: []string{*id}}); err != nil || out.InstanceMonitorings[0].Monitoring.State != "enabled" {
		t.Errorf("got %+v, %v", out, err)
	}
	if out, err := c.UnmonitorInstances(ctx, &sdkec2.UnmonitorInstancesInput{InstanceIds: []string{*id}}); err != nil || out.InstanceMonitorings[0].Monitoring.State != "disabled" {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestRunInstancesRefuses(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	a.pushed("app", "v1")
	subnet := a.subnet(a.vpc("10.0.0.0/16"), "10.0.1.0/24")
	eni := a.networkInterface(subnet, "10.0.1.30")
	nic := func(n ec2types.InstanceNetworkInterfaceSpecification) []ec2types.InstanceNetworkInterfaceSpecification {
		return []ec2types.InstanceNetworkInterfaceSpecification{n}
	}
	for name, test := range map[string]struct {
		in          sdkec2.RunInstancesInput
		code, words string
	}{
		"template":      {sdkec2.RunInstancesInput{LaunchTemplate: &ec2types.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1")}}, "InvalidParameterValue", "launch templates"},
		"image":         {sdkec2.RunInstancesInput{ImageId: aws.String("ami-0123456789abcdef0")}, "InvalidAMIID.NotFound", "ami-0123456789abcdef0"},
		"type":          {sdkec2.RunInstancesInput{InstanceType: "x9.huge"}, "InvalidParameterValue", "x9.huge"},
		"device":        {sdkec2.RunInstancesInput{BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdf"), Ebs: &ec2types.EbsBlockDevice{}}}}, "InvalidParameterValue", "/dev/sdf"},
		"snapshot":      {sdkec2.RunInstancesInput{BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: aws.String("snap-1")}}}}, "InvalidParameterValue", "snap-1"},
		"tenancy":       {sdkec2.RunInstancesInput{Placement: &ec2types.Placement{Tenancy: "host"}}, "InvalidParameterValue", "Placement.Tenancy"},
		"spot":          {sdkec2.RunInstancesInput{InstanceMarketOptions: &ec2types.InstanceMarketOptionsRequest{MarketType: "spot"}}, "InvalidParameterValue", "InstanceMarketOptions"},
		"hibernation":   {sdkec2.RunInstancesInput{HibernationOptions: &ec2types.HibernationOptionsRequest{Configured: aws.Bool(true)}}, "InvalidParameterValue", "HibernationOptions"},
		"group name":    {sdkec2.RunInstancesInput{SecurityGroups: []string{"nobody"}}, "InvalidGroup.NotFound", "nobody"},
		"both":          {sdkec2.RunInstancesInput{SubnetId: &subnet, NetworkInterfaces: nic(ec2types.InstanceNetworkInterfaceSpecification{NetworkInterfaceId: &eni})}, "InvalidParameterValue", "same request"},
		"index":         {sdkec2.RunInstancesInput{NetworkInterfaces: nic(ec2types.InstanceNetworkInterfaceSpecification{NetworkInterfaceId: &eni, DeviceIndex: aws.Int32(1)})}, "InvalidParameterValue", "device index 1"},
		"IPv6":          {sdkec2.RunInstancesInput{NetworkInterfaces: nic(ec2types.InstanceNetworkInterfaceSpecification{SubnetId: &subnet, Ipv6AddressCount: aws.Int32(1)})}, "InvalidParameterValue", "IPv6 is off"},
		"address":       {sdkec2.RunInstancesInput{PrivateIpAddress: aws.String("10.0.1")}, "InvalidParameterValue", "10.0.1"},
		"user data":     {sdkec2.RunInstancesInput{UserData: aws.String("no base64!")}, "InvalidUserData.Malformed", "BASE64"},
		"tag":           {sdkec2.RunInstancesInput{TagSpecifications: tagged("vpc", "a", "b")}, "InvalidParameterValue", "vpc"},
		"dry run":       {sdkec2.RunInstancesInput{DryRun: aws.Bool(true)}, "DryRunOperation", "would have succeeded"},
		"two addresses": {sdkec2.RunInstancesInput{SubnetId: &subnet, PrivateIpAddress: aws.String("10.0.1.9"), MaxCount: aws.Int32(2)}, "InvalidParameterCombination", "MaxCount is 2"},
	} {
		t.Run(name, func(t *testing.T) {
			in := test.in
			if in.MinCount = aws.Int32(1); in.MaxCount == nil {
				in.MaxCount = aws.Int32(1)
			}
			if in.ImageId == nil {
				in.ImageId = aws.String("app:v1")
			}
			_, err := c.RunInstances(ctx, &in)
			wantError(t, err, test.code, test.words)
		})
	}
	i := a.runInstance(&sdkec2.RunInstancesInput{NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{
		DeviceIndex: aws.Int32(0), SubnetId: &subnet, DeleteOnTermination: aws.Bool(false), Description: aws.String("mine"), SecondaryPrivateIpAddressCount: aws.Int32(1), PrivateIpAddress: aws.String("10.0.1.40"),
	}}})
	if n := i.NetworkInterfaces[0]; *n.Attachment.DeleteOnTermination || *n.Description != "mine" || len(n.PrivateIpAddresses) != 2 || *i.PrivateIpAddress != "10.0.1.40" {
		t.Errorf("got %+v", n)
	}
	i = a.runInstance(&sdkec2.RunInstancesInput{NetworkInterfaces: nic(ec2types.InstanceNetworkInterfaceSpecification{
		DeviceIndex: aws.Int32(0), SubnetId: &subnet, PrivateIpAddresses: []ec2types.PrivateIpAddressSpecification{{PrivateIpAddress: aws.String("10.0.1.77"), Primary: aws.Bool(false)}},
	})})
	if n := i.NetworkInterfaces[0]; len(n.PrivateIpAddresses) != 2 || *i.PrivateIpAddress == "10.0.1.77" || *n.PrivateIpAddresses[1].PrivateIpAddress != "10.0.1.77" {
		t.Errorf("got %+v", n)
	}
	i = a.runInstance(&sdkec2.RunInstancesInput{NetworkInterfaces: nic(ec2types.InstanceNetworkInterfaceSpecification{NetworkInterfaceId: &eni, DeviceIndex: aws.Int32(0)})})
	if *i.PrivateIpAddress != "10.0.1.30" || *i.NetworkInterfaces[0].Attachment.DeleteOnTermination {
		t.Errorf("got %+v", i)
	}
	i = a.runInstance(&sdkec2.RunInstancesInput{SecurityGroups: []string{"default"}})
	if *i.SecurityGroups[0].GroupName != "default" || !strings.HasPrefix(*i.PrivateIpAddress, "172.31.") || *i.PublicIpAddress == "" || *i.NetworkInterfaces[0].Association.IpOwnerId != "amazon" {
		t.Errorf("got %+v", i)
	}
}

func TestImagesOfInstances(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.ec2Client(), t.Context()
	a.pushed("team/app", "v1")
	out, err := c.DescribeImages(ctx, &sdkec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []ec2types.Filter{filter("name", "team/*:v1"), filter("virtualization-type", "hvm"), filter("state", "available")}})
	if err != nil || len(out.Images) != 1 {
		t.Fatalf("got %+v, %v", out, err)
	}
	i := out.Images[0]
	if !strings.HasPrefix(*i.ImageId, "ami-") || *i.Name != "team/app:v1" || *i.OwnerId != account || i.State != "available" || *i.RootDeviceName != "/dev/xvda" || i.RootDeviceType != "ebs" ||
		*i.BlockDeviceMappings[0].DeviceName != "/dev/xvda" || *i.CreationDate != testTime.UTC().Format("2006-01-02T15:04:05.000Z") || !strings.HasSuffix(*i.ImageLocation, "/team/app:v1") {
		t.Errorf("got %+v", i)
	}
	made := a.runInstance(&sdkec2.RunInstancesInput{ImageId: i.ImageId})
	if *made.ImageId != *i.ImageId || made.State.Name != "running" {
		t.Errorf("got %+v", made)
	}
	for _, id := range []string{*i.ImageId, "team/app:v1", "quay.io/some/where:v2"} {
		if out, err := c.DescribeImages(ctx, &sdkec2.DescribeImagesInput{ImageIds: []string{id}}); err != nil || len(out.Images) != 1 || *out.Images[0].ImageId != id || *out.Images[0].RootDeviceName != "/dev/xvda" {
			t.Errorf("%s: got %+v, %v", id, out, err)
		}
	}
	if out, err := c.DescribeImages(ctx, &sdkec2.DescribeImagesInput{Owners: []string{"amazon"}}); err != nil || len(out.Images) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.DescribeImages(ctx, &sdkec2.DescribeImagesInput{ImageIds: []string{"ami-0123456789abcdef0"}})
	wantError(t, err, "InvalidAMIID.NotFound", "ami-0123456789abcdef0")
}

func TestInstanceTypes(t *testing.T) {
	c, ctx := newAPI(t).ec2Client(), t.Context()
	out, err := c.DescribeInstanceTypes(ctx, &sdkec2.DescribeInstanceTypesInput{InstanceTypes: []ec2types.InstanceType{"t3.micro"}})
	if err != nil || len(out.InstanceTypes) != 1 || *out.InstanceTypes[0].VCpuInfo.DefaultVCpus != 2 || *out.InstanceTypes[0].MemoryInfo.SizeInMiB != 1024 || !*out.InstanceTypes[0].BurstablePerformanceSupported {
		t.Errorf("got %+v, %v", out, err)
	}
	_, err = c.DescribeInstanceTypes(ctx, &sdkec2.DescribeInstanceTypesInput{InstanceTypes: []ec2types.InstanceType{"x9.huge"}})
	wantError(t, err, "InvalidInstanceType", "x9.huge")
	if out, err := c.DescribeInstanceTypes(ctx, &sdkec2.DescribeInstanceTypesInput{Filters: []ec2types.Filter{filter("processor-info.supported-architecture", "arm64"), filter("instance-type", "t4g.*")}}); err != nil || len(out.InstanceTypes) != 7 {
		t.Errorf("got %+v, %v", out, err)
	}
}
