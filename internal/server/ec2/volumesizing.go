package ec2

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// modifications is how the last modifications of volumes are selected.
var modifications = described[control.VolumeDetail]{
	id:   func(v control.VolumeDetail) string { return string(v.ID) },
	tags: func(control.VolumeDetail) app.Tags { return nil },
	filters: map[string]func(control.VolumeDetail) []string{
		"modification-state":         fixed[control.VolumeDetail](string(api.VolumeModificationStateCompleted)),
		"original-iops":              one(func(v control.VolumeDetail) string { return strconv.Itoa(v.Modification.From.IOPS) }),
		"original-size":              one(func(v control.VolumeDetail) string { return strconv.Itoa(v.Modification.From.Size) }),
		"original-volume-type":       one(func(v control.VolumeDetail) string { return v.Modification.From.Type }),
		"originalMultiAttachEnabled": fixed[control.VolumeDetail]("false"),
		"start-time":                 one(func(v control.VolumeDetail) string { return v.Modification.At.Format(time.RFC3339) }),
		"target-iops":                one(func(v control.VolumeDetail) string { return strconv.Itoa(v.Modification.To.IOPS) }),
		"target-size":                one(func(v control.VolumeDetail) string { return strconv.Itoa(v.Modification.To.Size) }),
		"target-volume-type":         one(func(v control.VolumeDetail) string { return v.Modification.To.Type }),
		"targetMultiAttachEnabled":   fixed[control.VolumeDetail]("false"),
		"volume-id":                  one(func(v control.VolumeDetail) string { return string(v.ID) }),
	},
}

// modified lists the volumes that were ever modified.
func (h *Handler) modified(ctx context.Context, scope app.Scope) ([]control.VolumeDetail, error) {
	all, err := h.control.DescribeVolumes(ctx, scope)
	return slices.DeleteFunc(all, func(v control.VolumeDetail) bool { return v.Modification.At.IsZero() }), err
}

// DescribeVolumesModifications shows the last modification of each volume that has one.
func (h *Handler) DescribeVolumesModifications(ctx context.Context, in *api.DescribeVolumesModificationsInput) (*api.DescribeVolumesModificationsOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.modified, query{ids: in.VolumeIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken, missing: control.MissingModification}, modifications)
	if err != nil {
		return nil, err
	}
	return &api.DescribeVolumesModificationsOutput{
		VolumesModifications: shapes(page, func(v control.VolumeDetail) api.VolumeModification { return modificationShape(v.Volume) }), NextToken: next,
	}, nil
}

// ModifyVolume changes the shown size, type and speed of a volume.
func (h *Handler) ModifyVolume(ctx context.Context, in *api.ModifyVolumeInput) (*api.ModifyVolumeOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if member.Value(in.MultiAttachEnabled) {
		return nil, wireError(control.NoMultiAttach())
	}
	want := app.VolumeSizing{Size: int(member.Value(in.Size)), Type: string(in.VolumeType), IOPS: int(member.Value(in.Iops)), Throughput: int(member.Value(in.Throughput))}
	v, err := h.control.ModifyVolume(ctx, caller.Scope(ctx), app.VolumeID(*in.VolumeId), want)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ModifyVolumeOutput{VolumeModification: new(modificationShape(v))}, nil
}

func modificationShape(v app.Volume) api.VolumeModification {
	m := v.Modification
	out := api.VolumeModification{
		VolumeId: new(string(v.ID)), ModificationState: api.VolumeModificationStateCompleted, Progress: new(int64(100)), StartTime: member.Moment(m.At), EndTime: member.Moment(m.At),
		OriginalSize: member.Int32(m.From.Size), OriginalVolumeType: api.VolumeType(m.From.Type), OriginalMultiAttachEnabled: new(false),
		TargetSize: member.Int32(m.To.Size), TargetVolumeType: api.VolumeType(m.To.Type), TargetMultiAttachEnabled: new(false),
	}
	for _, n := range []struct {
		to    **int32
		value int
	}{{&out.OriginalIops, m.From.IOPS}, {&out.OriginalThroughput, m.From.Throughput}, {&out.TargetIops, m.To.IOPS}, {&out.TargetThroughput, m.To.Throughput}} {
		if n.value > 0 {
			*n.to = member.Int32(n.value)
		}
	}
	return out
}
