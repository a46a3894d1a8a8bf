package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/member"
)

// instanceTypes is how instance types are selected.
var instanceTypes = described[string]{
	id: func(s string) string { return s },
	filters: map[string]func(string) []string{
		"instance-type":                         one(func(s string) string { return s }),
		"current-generation":                    fixed[string]("true"),
		"bare-metal":                            fixed[string]("false"),
		"processor-info.supported-architecture": one(func(s string) string { return string(architecture(s)) }),
		"burstable-performance-supported":       flag(burstable),
		"memory-info.size-in-mib": one(func(s string) string {
			size, _ := control.SizeOf(s)
			return strconv.Itoa(size.Memory)
		}),
		"vcpu-info.default-vcpus": one(func(s string) string {
			size, _ := control.SizeOf(s)
			return strconv.Itoa(size.VCPUs)
		}),
	},
}

func burstable(name string) bool { return strings.HasPrefix(name, "t") }

// architecture is arm64 for the families whose names end with g.
func architecture(name string) api.ArchitectureType {
	family, _, _ := strings.Cut(name, ".")
	if strings.HasSuffix(family, "g") {
		return api.ArchitectureTypeArm64
	}
	return api.ArchitectureTypeX8664
}

// DescribeInstanceTypes shows what types hosts may have.
func (h *Handler) DescribeInstanceTypes(_ context.Context, in *api.DescribeInstanceTypesInput) (*api.DescribeInstanceTypesOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	missing := func(id string) error {
		return &wire.Error{Code: "InvalidInstanceType", Message: "The following supplied instance types do not exist: [" + id + "]"}
	}
	ids := shapes(in.InstanceTypes, func(t api.InstanceType) string { return string(t) })
	page, next, err := describe(query{ids: ids, filters: in.Filters, max: in.MaxResults, token: in.NextToken, maximum: 100, missing: missing}, control.Types(), instanceTypes)
	if err != nil {
		return nil, err
	}
	return &api.DescribeInstanceTypesOutput{InstanceTypes: shapes(page, typeShape), NextToken: next}, nil
}

func typeShape(name string) api.InstanceTypeInfo {
	size, _ := control.SizeOf(name)
	return api.InstanceTypeInfo{
		InstanceType: api.InstanceType(name), CurrentGeneration: new(true), FreeTierEligible: new(false), BareMetal: new(false), InstanceStorageSupported: new(false),
		SupportedUsageClasses: []api.UsageClassType{api.UsageClassTypeOnDemand}, SupportedRootDeviceTypes: []api.RootDeviceType{api.RootDeviceTypeEbs},
		SupportedVirtualizationTypes: []api.VirtualizationType{api.VirtualizationTypeHvm}, ProcessorInfo: &api.ProcessorInfo{SupportedArchitectures: []api.ArchitectureType{architecture(name)}},
		VCpuInfo:   &api.VCpuInfo{DefaultVCpus: member.Int32(size.VCPUs), DefaultCores: member.Int32(size.VCPUs), DefaultThreadsPerCore: member.Int32(1)},
		MemoryInfo: &api.MemoryInfo{SizeInMiB: new(int64(size.Memory))}, HibernationSupported: new(false), BurstablePerformanceSupported: new(burstable(name)),
		DedicatedHostsSupported: new(false), AutoRecoverySupported: new(false),
	}
}

// DescribeInstanceCreditSpecifications shows how hosts of burstable types are paid for; it has no effect here.
func (h *Handler) DescribeInstanceCreditSpecifications(ctx context.Context, in *api.DescribeInstanceCreditSpecificationsInput) (*api.DescribeInstanceCreditSpecificationsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	page, next, err := h.describeHosts(ctx, query{ids: in.InstanceIds, filters: in.Filters, max: in.MaxResults, token: in.NextToken})
	if err != nil {
		return nil, err
	}
	page = slices.DeleteFunc(page, func(d control.HostDetail) bool { return !burstable(d.InstanceType) })
	return &api.DescribeInstanceCreditSpecificationsOutput{NextToken: next, InstanceCreditSpecifications: shapes(page, func(d control.HostDetail) api.InstanceCreditSpecification {
		return api.InstanceCreditSpecification{InstanceId: new(string(d.ID)), CpuCredits: &d.CPUCredits}
	})}, nil
}
