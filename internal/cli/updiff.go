package cli

import (
	"context"
	"maps"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"
)

// difference is the UpdateService call that brings the service to what the flags ask for; it names only what changes.
func (u *upload) difference(ctx context.Context, svc *types.Service) (in *apprunner.UpdateServiceInput, changed bool, err error) {
	in = &apprunner.UpdateServiceInput{ServiceArn: svc.ServiceArn}
	var now types.SourceConfiguration
	if svc.SourceConfiguration != nil {
		now = *svc.SourceConfiguration
	}
	if want := u.source(now.ImageRepository); !sameSource(want, &now) {
		in.SourceConfiguration, changed = want, true
	}
	if size := u.instanceSize(svc.InstanceConfiguration); size != nil {
		in.InstanceConfiguration, changed = size, true
	}
	if h := svc.HealthCheckConfiguration; u.HealthPath != "" &&
		(h == nil || h.Protocol != types.HealthCheckProtocolHttp || aws.ToString(h.Path) != u.HealthPath) {
		in.HealthCheckConfiguration, changed = httpCheck(u.HealthPath), true
	}
	arn, err := u.scaling(ctx, svc.AutoScalingConfigurationSummary)
	if err != nil {
		return nil, false, err
	}
	if arn != nil {
		in.AutoScalingConfigurationArn, changed = arn, true
	}
	return in, changed, nil
}

func sameSource(want, now *types.SourceConfiguration) bool {
	if now.ImageRepository == nil {
		return false
	}
	a, b := want.ImageRepository, now.ImageRepository
	if aws.ToString(a.ImageIdentifier) != aws.ToString(b.ImageIdentifier) || a.ImageRepositoryType != b.ImageRepositoryType {
		return false
	}
	if want.AutoDeploymentsEnabled != nil && aws.ToBool(want.AutoDeploymentsEnabled) != aws.ToBool(now.AutoDeploymentsEnabled) {
		return false
	}
	var c types.ImageConfiguration
	if b.ImageConfiguration != nil {
		c = *b.ImageConfiguration
	}
	w := a.ImageConfiguration
	return aws.ToString(w.Port) == aws.ToString(c.Port) && aws.ToString(w.StartCommand) == aws.ToString(c.StartCommand) &&
		maps.Equal(w.RuntimeEnvironmentVariables, c.RuntimeEnvironmentVariables)
}

// instanceSize is the size to ask for; nil when the service has it.
func (u *upload) instanceSize(now *types.InstanceConfiguration) *types.InstanceConfiguration {
	if now == nil {
		now = &types.InstanceConfiguration{}
	}
	if (u.CPU == "" || units(u.CPU) == units(aws.ToString(now.Cpu))) && (u.Memory == "" || units(u.Memory) == units(aws.ToString(now.Memory))) {
		return nil
	}
	return &types.InstanceConfiguration{Cpu: optional(u.CPU), Memory: optional(u.Memory)}
}

// units brings App Runner's two spellings of a size to one: "1 vCPU" is 1024, "0.5 GB" is 512.
func units(s string) string {
	for _, suffix := range []string{"vCPU", "GB"} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			if f, err := strconv.ParseFloat(strings.TrimSpace(n), 64); err == nil {
				return strconv.Itoa(int(f * 1024))
			}
		}
	}
	return s
}

const maxScalingName = 32

// scaling returns the auto scaling configuration that --min-size and --max-size ask for, made if need be; nil when
// they ask for nothing or the service has it.
func (u *upload) scaling(ctx context.Context, now *types.AutoScalingConfigurationSummary) (*string, error) {
	if u.MinSize == 0 && u.MaxSize == 0 {
		return nil, nil
	}
	name := u.Name[:min(len(u.Name), maxScalingName)]
	in := &apprunner.CreateAutoScalingConfigurationInput{AutoScalingConfigurationName: &name}
	if now != nil {
		out, err := u.c.apprunner.DescribeAutoScalingConfiguration(ctx,
			&apprunner.DescribeAutoScalingConfigurationInput{AutoScalingConfigurationArn: now.AutoScalingConfigurationArn})
		if err != nil {
			return nil, err
		}
		have := out.AutoScalingConfiguration
		in.MinSize, in.MaxSize, in.MaxConcurrency = have.MinSize, have.MaxSize, have.MaxConcurrency
	}
	minSize, maxSize := aws.ToInt32(in.MinSize), aws.ToInt32(in.MaxSize)
	if (u.MinSize == 0 || u.MinSize == minSize) && (u.MaxSize == 0 || u.MaxSize == maxSize) {
		return nil, nil
	}
	if u.MinSize != 0 {
		in.MinSize = aws.Int32(u.MinSize)
	}
	if u.MaxSize != 0 {
		in.MaxSize = aws.Int32(u.MaxSize)
	}
	out, err := u.c.apprunner.CreateAutoScalingConfiguration(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.AutoScalingConfiguration.AutoScalingConfigurationArn, nil
}
