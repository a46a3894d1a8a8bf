package apprunner

import (
	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/apprunner"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/server/member"
)

func sourceInput(in *api.SourceConfiguration) control.SourceInput {
	out := control.SourceInput{Code: in.CodeRepository != nil, AutoDeployments: in.AutoDeploymentsEnabled}
	if auth := in.AuthenticationConfiguration; auth != nil {
		out.AccessRoleARN, out.ConnectionARN = auth.AccessRoleArn, auth.ConnectionArn
	}
	if repo := in.ImageRepository; repo != nil {
		out.Image = &control.ImageInput{Identifier: repo.ImageIdentifier, Config: imageConfigInput(repo.ImageConfiguration)}
		if repo.ImageRepositoryType != "" {
			out.Image.Type = new(app.ImageRepositoryType(repo.ImageRepositoryType))
		}
	}
	return out
}

func imageConfigInput(in *api.ImageConfiguration) *control.ImageConfigInput {
	if in == nil {
		return nil
	}
	return &control.ImageConfigInput{
		Port: in.Port, StartCommand: in.StartCommand,
		Env: in.RuntimeEnvironmentVariables, Secrets: in.RuntimeEnvironmentSecrets,
	}
}

func instanceInput(in *api.InstanceConfiguration) *control.InstanceInput {
	if in == nil {
		return nil
	}
	return &control.InstanceInput{CPU: in.Cpu, Memory: in.Memory, RoleARN: in.InstanceRoleArn}
}

func healthCheckInput(in *api.HealthCheckConfiguration) *control.HealthCheckInput {
	if in == nil {
		return nil
	}
	return &control.HealthCheckInput{
		Protocol: member.Text(in.Protocol), Path: in.Path, Interval: member.Int(in.Interval), Timeout: member.Int(in.Timeout),
		HealthyThreshold: member.Int(in.HealthyThreshold), UnhealthyThreshold: member.Int(in.UnhealthyThreshold),
	}
}

func networkInput(in *api.NetworkConfiguration) *control.NetworkInput {
	if in == nil {
		return nil
	}
	out := &control.NetworkInput{IPAddressType: member.Text(in.IpAddressType)}
	if e := in.EgressConfiguration; e != nil {
		out.Egress = &control.EgressInput{Type: member.Text(e.EgressType), VpcConnectorARN: e.VpcConnectorArn}
	}
	if i := in.IngressConfiguration; i != nil {
		out.Ingress = &control.IngressInput{Public: i.IsPubliclyAccessible != nil && *i.IsPubliclyAccessible}
	}
	return out
}

func observabilityInput(in *api.ServiceObservabilityConfiguration) *control.ObservabilityInput {
	if in == nil {
		return nil
	}
	return &control.ObservabilityInput{
		Enabled:          in.ObservabilityEnabled != nil && *in.ObservabilityEnabled,
		ConfigurationARN: in.ObservabilityConfigurationArn,
	}
}

func tagsOf(in []api.Tag) app.Tags {
	tags := make(app.Tags, len(in))
	for _, t := range in {
		tags[member.Value(t.Key)] = member.Value(t.Value)
	}
	return tags
}

func pageRequest(maxResults *int32, token *string) control.PageRequest {
	return control.PageRequest{MaxResults: int(member.Value(maxResults)), NextToken: member.Value(token)}
}
