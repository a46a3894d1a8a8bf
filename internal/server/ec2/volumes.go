package ec2

import (
	"context"
	"strconv"
	"time"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

func volumeState(v control.VolumeDetail) api.VolumeState {
	if v.Host == "" {
		return api.VolumeStateAvailable
	}
	return api.VolumeStateInUse
}

// ofAttached makes a filter of a value that only attached volumes have.
func ofAttached(of func(control.VolumeDetail) string) func(control.VolumeDetail) []string {
	return func(v control.VolumeDetail) []string {
		if v.Host == "" {
			return nil
		}
		return one(of)(v)
	}
}

// volumes is how volumes are selected.
var volumes = described[control.VolumeDetail]{
	id:   func(v control.VolumeDetail) string { return string(v.ID) },
	tags: func(v control.VolumeDetail) app.Tags { return v.Tags },
	filters: map[string]func(control.VolumeDetail) []string{
		"attachment.attach-time":           ofAttached(func(v control.VolumeDetail) string { return v.AttachedAt.Format(time.RFC3339) }),
		"attachment.delete-on-termination": ofAttached(func(v control.VolumeDetail) string { return strconv.FormatBool(v.DeleteOnTermination) }),
		"attachment.device":                ofAttached(func(v control.VolumeDetail) string { return v.Device }),
		"attachment.instance-id":           ofAttached(func(v control.VolumeDetail) string { return string(v.Host) }),
		"attachment.status":                ofAttached(func(control.VolumeDetail) string { return "attached" }),
		"availability-zone":                one(func(v control.VolumeDetail) string { return v.Zone }),
		"create-time":                      one(func(v control.VolumeDetail) string { return v.CreatedAt.Format(time.RFC3339) }),
		"encrypted":                        flag(func(v control.VolumeDetail) bool { return v.Encrypted }),
		"fast-restored":                    fixed[control.VolumeDetail]("false"),
		"multi-attach-enabled":             fixed[control.VolumeDetail]("false"),
		"size":                             one(func(v control.VolumeDetail) string { return strconv.Itoa(v.Size) }),
		"snapshot-id":                      fixed[control.VolumeDetail](),
		"status":                           one(func(v control.VolumeDetail) string { return string(volumeState(v)) }),
		"volume-id":                        one(func(v control.VolumeDetail) string { return string(v.ID) }),
		"volume-type":                      one(func(v control.VolumeDetail) string { return v.Type }),
	},
}

// DescribeVolumes shows the volumes of private hosts, also those that outlived theirs.
func (h *Handler) DescribeVolumes(ctx context.Context, in *api.DescribeVolumesInput) (*api.DescribeVolumesOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeVolumes, query{ids: in.VolumeIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.Missing("vol-")}, volumes)
	if err != nil {
		return nil, err
	}
	return &api.DescribeVolumesOutput{Volumes: shapes(page, volumeShape), NextToken: next}, nil
}

func volumeShape(v control.VolumeDetail) api.Volume {
	out := api.Volume{
		VolumeId: new(string(v.ID)), State: volumeState(v), AvailabilityZone: &v.Zone, CreateTime: member.Moment(v.CreatedAt), Size: member.Int32(v.Size), VolumeType: api.VolumeType(v.Type),
		Encrypted: &v.Encrypted, KmsKeyId: member.Text(v.KMSKey), SnapshotId: new(""), MultiAttachEnabled: new(false), Tags: tagList(v.Tags), Attachments: []api.VolumeAttachment{},
	}
	if v.IOPS > 0 {
		out.Iops = member.Int32(v.IOPS)
	}
	if v.Throughput > 0 {
		out.Throughput = member.Int32(v.Throughput)
	}
	if v.Host != "" {
		out.Attachments = append(out.Attachments, api.VolumeAttachment{
			VolumeId: out.VolumeId, InstanceId: new(string(v.Host)), Device: &v.Device, State: api.VolumeAttachmentStateAttached, AttachTime: member.Moment(v.AttachedAt), DeleteOnTermination: &v.DeleteOnTermination,
		})
	}
	return out
}

// DeleteVolume removes a volume that no host has.
func (h *Handler) DeleteVolume(ctx context.Context, in *api.DeleteVolumeInput) (*api.DeleteVolumeOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if err := h.control.DeleteVolume(ctx, caller.Scope(ctx), app.VolumeID(*in.VolumeId)); err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteVolumeOutput{}, nil
}
