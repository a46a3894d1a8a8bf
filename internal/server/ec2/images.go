package ec2

import (
	"context"
	"runtime"
	"slices"

	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// machine is the architecture of images in EC2's words: the engine runs those of this machine only.
var machine = map[string]api.ArchitectureValues{"amd64": api.ArchitectureValuesX8664, "arm64": api.ArchitectureValuesArm64}[runtime.GOARCH]

// createdAt is how EC2 writes the time of an image.
func createdAt(i control.Image) string {
	if i.PushedAt.IsZero() {
		return ""
	}
	return i.PushedAt.UTC().Format("2006-01-02T15:04:05.000Z")
}

// images is how images are selected.
var images = described[control.Image]{
	id: func(i control.Image) string { return i.ID },
	filters: map[string]func(control.Image) []string{
		"architecture":                     fixed[control.Image](string(machine)),
		"block-device-mapping.device-name": fixed[control.Image](control.RootDevice),
		"block-device-mapping.volume-type": fixed[control.Image](control.DefaultVolumeType),
		"creation-date":                    one(createdAt),
		"description":                      one(func(i control.Image) string { return i.Reference }),
		"ena-support":                      fixed[control.Image]("true"),
		"hypervisor":                       fixed[control.Image]("xen"),
		"image-id":                         one(func(i control.Image) string { return i.ID }),
		"image-type":                       fixed[control.Image]("machine"),
		"is-public":                        fixed[control.Image]("false"),
		"manifest-location":                one(func(i control.Image) string { return i.Reference }),
		"name":                             one(func(i control.Image) string { return i.Name }),
		"owner-alias":                      fixed[control.Image]("self"),
		"owner-id":                         one(func(i control.Image) string { return string(i.Owner) }),
		"platform":                         fixed[control.Image](),
		"root-device-name":                 fixed[control.Image](control.RootDevice),
		"root-device-type":                 fixed[control.Image]("ebs"),
		"state":                            fixed[control.Image]("available"),
		"tag-key":                          fixed[control.Image](),
		"virtualization-type":              fixed[control.Image]("hvm"),
	},
}

// DescribeImages shows what hosts can be made of: one image for each tag of the account's registry.
func (h *Handler) DescribeImages(ctx context.Context, in *api.DescribeImagesInput) (*api.DescribeImagesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	scope := caller.Scope(ctx)
	all, err := h.control.DescribeImages(ctx, scope, in.ImageIds)
	if err != nil {
		return nil, wireError(err)
	}
	if len(in.Owners) > 0 && !slices.ContainsFunc(in.Owners, func(o string) bool { return o == "self" || o == string(scope.Account) }) {
		all = nil // nobody else has images here
	}
	page, next, err := describe(query{filters: in.Filters, max: in.MaxResults, token: in.NextToken, minimum: 1}, all, images)
	if err != nil {
		return nil, err
	}
	return &api.DescribeImagesOutput{Images: shapes(page, imageShape), NextToken: next}, nil
}

func imageShape(i control.Image) api.Image {
	return api.Image{
		ImageId: &i.ID, Name: &i.Name, Description: &i.Reference, ImageLocation: &i.Reference, OwnerId: new(string(i.Owner)), CreationDate: member.Text(createdAt(i)), State: api.ImageStateAvailable,
		Architecture: machine, ImageType: api.ImageTypeValuesMachine, Public: new(false), Hypervisor: api.HypervisorTypeXen, VirtualizationType: api.VirtualizationTypeHvm, EnaSupport: new(true),
		PlatformDetails: new("Linux/UNIX"), UsageOperation: new("RunInstances"), RootDeviceName: new(control.RootDevice), RootDeviceType: api.DeviceTypeEbs, ProductCodes: []api.ProductCode{}, Tags: []api.Tag{},
		BlockDeviceMappings: []api.BlockDeviceMapping{{DeviceName: new(control.RootDevice), Ebs: &api.EbsBlockDevice{
			VolumeSize: member.Int32(control.DefaultVolumeSize), VolumeType: api.VolumeType(control.DefaultVolumeType), DeleteOnTermination: new(true), Encrypted: new(false),
		}}},
	}
}
