package ec2

import (
	"cmp"
	"context"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// maxVolumeSize is the most that any type of volume has, in GiB (EBS guide, io2).
const maxVolumeSize = 65536

// MissingModification is the error for a volume that was never modified.
func MissingModification(id string) error {
	return fail(app.KindNotFound, "InvalidVolumeModification.NotFound", "Modification for volume '%s' does not exist.", id)
}

// NoMultiAttach is the error for a volume that several instances shall have.
func NoMultiAttach() error {
	return fail(app.KindInvalidRequest, "InvalidParameterValue", "MultiAttachEnabled is not supported: a volume belongs to one instance")
}

// ModifyVolume changes what is shown of a volume's sizing; zero values stay as they are. It is complete when it returns.
func (c *EC2) ModifyVolume(ctx context.Context, scope app.Scope, id app.VolumeID, want app.VolumeSizing) (v app.Volume, err error) {
	err = c.update(ctx, scope, func(tx *store.Tx) error {
		if v, err = findVolume(tx, scope, id); err != nil {
			return err
		}
		from := app.VolumeSizing{Size: v.Size, Type: v.Type, IOPS: v.IOPS, Throughput: v.Throughput}
		to, err := modifiedSizing(from, want)
		if err != nil {
			return err
		}
		v.Size, v.Type, v.IOPS, v.Throughput = to.Size, to.Type, to.IOPS, to.Throughput
		v.Modification = app.VolumeModification{At: c.now(), From: from, To: to}
		store.Control.Volumes.Put(tx, v)
		return nil
	})
	return v, err
}

// modifiedSizing is the sizing of a volume after a modification.
func modifiedSizing(from, want app.VolumeSizing) (app.VolumeSizing, error) {
	to := app.VolumeSizing{Size: cmp.Or(want.Size, from.Size), Type: cmp.Or(want.Type, from.Type), IOPS: cmp.Or(want.IOPS, from.IOPS), Throughput: cmp.Or(want.Throughput, from.Throughput)}
	provisioned := to.Type == "io1" || to.Type == "io2" || to.Type == DefaultVolumeType
	switch {
	case want.IOPS < 0 || want.Throughput < 0 || want.Size < 0 || to.Size > maxVolumeSize:
		return to, fail(app.KindInvalidRequest, "InvalidParameterValue", "The size is between 1 and %d GiB, iops and throughput are positive", maxVolumeSize)
	case to.Size < from.Size:
		return to, fail(app.KindInvalidRequest, "InvalidParameterValue", "New size cannot be smaller than existing size")
	case want.IOPS != 0 && !provisioned:
		return to, fail(app.KindInvalidRequest, "InvalidParameterCombination", "The parameter iops is not supported for %s volumes.", to.Type)
	case want.Throughput != 0 && to.Type != DefaultVolumeType:
		return to, fail(app.KindInvalidRequest, "InvalidParameterCombination", "The parameter throughput is not supported for %s volumes.", to.Type)
	case provisioned && to.Type != DefaultVolumeType && to.IOPS == 0:
		return to, fail(app.KindInvalidRequest, "MissingParameter", "The request must contain the parameter iops for %s volumes.", to.Type)
	}
	if !provisioned {
		to.IOPS = 0
	}
	if to.Type == DefaultVolumeType {
		to.IOPS, to.Throughput = cmp.Or(to.IOPS, 3000), cmp.Or(to.Throughput, 125)
	} else {
		to.Throughput = 0
	}
	return to, nil
}
