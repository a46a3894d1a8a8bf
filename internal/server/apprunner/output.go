package apprunner

import (
	"sort"
	"strconv"
	"time"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/apprunner"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/server/member"
)

// service shows a service; sizes are always the numeric spelling (Terraform compares them).
func (h *Handler) service(d control.ServiceDetail) *api.Service {
	s, c := &d.Service, d.Service.Config
	out := &api.Service{
		ServiceName: new(s.Name), ServiceId: new(string(s.ID)), ServiceArn: new(s.ARN()), ServiceUrl: h.url(s),
		CreatedAt: member.Moment(s.CreatedAt), UpdatedAt: member.Moment(s.UpdatedAt), DeletedAt: member.Moment(s.DeletedAt),
		Status:              api.ServiceStatus(s.Status),
		SourceConfiguration: source(c.Source),
		InstanceConfiguration: &api.InstanceConfiguration{
			Cpu: new(strconv.Itoa(c.Instance.CPU)), Memory: new(strconv.Itoa(c.Instance.Memory)), InstanceRoleArn: member.Text(c.Instance.RoleARN),
		},
		HealthCheckConfiguration: &api.HealthCheckConfiguration{
			Protocol: api.HealthCheckProtocol(c.HealthCheck.Protocol), Path: member.Text(c.HealthCheck.Path),
			Interval: member.Int32(c.HealthCheck.Interval), Timeout: member.Int32(c.HealthCheck.Timeout),
			HealthyThreshold: member.Int32(c.HealthCheck.HealthyThreshold), UnhealthyThreshold: member.Int32(c.HealthCheck.UnhealthyThreshold),
		},
		AutoScalingConfigurationSummary: new(scalingSummary(d.Scaling)),
		NetworkConfiguration: &api.NetworkConfiguration{
			EgressConfiguration: &api.EgressConfiguration{
				EgressType: api.EgressType(c.Network.EgressType), VpcConnectorArn: member.Text(c.Network.VpcConnectorARN),
			},
			IngressConfiguration: &api.IngressConfiguration{IsPubliclyAccessible: new(c.Network.Public)},
			IpAddressType:        api.IpAddressType(c.Network.IPAddressType),
		},
	}
	if c.KMSKeyARN != "" {
		out.EncryptionConfiguration = &api.EncryptionConfiguration{KmsKey: new(c.KMSKeyARN)}
	}
	if o := c.Observability; o != nil {
		out.ObservabilityConfiguration = &api.ServiceObservabilityConfiguration{
			ObservabilityEnabled: new(o.Enabled), ObservabilityConfigurationArn: member.Text(o.ConfigurationARN),
		}
	}
	return out
}

// url returns the ServiceUrl: no scheme, no port; absent for a private service.
func (h *Handler) url(s *app.Service) *string {
	if !s.Config.Network.Public {
		return nil
	}
	return new(s.Label + "." + string(s.Scope.Region) + "." + h.domain)
}

func source(s app.Source) *api.SourceConfiguration {
	out := &api.SourceConfiguration{
		AutoDeploymentsEnabled: new(s.AutoDeployments),
		ImageRepository: &api.ImageRepository{
			ImageIdentifier: new(s.Image), ImageRepositoryType: api.ImageRepositoryType(s.RepositoryType),
			ImageConfiguration: &api.ImageConfiguration{
				Port: new(strconv.Itoa(s.Port)), StartCommand: member.Text(s.StartCommand),
				RuntimeEnvironmentVariables: s.Env, RuntimeEnvironmentSecrets: s.Secrets,
			},
		},
	}
	if s.AccessRoleARN != "" || s.ConnectionARN != "" {
		out.AuthenticationConfiguration = &api.AuthenticationConfiguration{
			AccessRoleArn: member.Text(s.AccessRoleARN), ConnectionArn: member.Text(s.ConnectionARN),
		}
	}
	return out
}

// The statuses of an auto scaling configuration, in lower case as AWS answers them against its own model.
const (
	scalingActive   api.AutoScalingConfigurationStatus = "active"
	scalingInactive api.AutoScalingConfigurationStatus = "inactive"
)

func scalingStatus(deleted time.Time) api.AutoScalingConfigurationStatus {
	if deleted.IsZero() {
		return scalingActive
	}
	return scalingInactive
}

func scaling(d control.AutoScalingDetail) *api.AutoScalingConfiguration {
	out := &api.AutoScalingConfiguration{
		AutoScalingConfigurationArn: new(d.ARN()), AutoScalingConfigurationName: new(d.Name),
		AutoScalingConfigurationRevision: member.Int32(d.Revision),
		Latest:                           new(d.Latest), Status: scalingStatus(d.DeletedAt),
		MaxConcurrency: member.Int32(d.MaxConcurrency), MinSize: member.Int32(d.MinSize), MaxSize: member.Int32(d.MaxSize),
		CreatedAt: member.Moment(d.CreatedAt), DeletedAt: member.Moment(d.DeletedAt),
		HasAssociatedService: new(d.HasAssociatedService), IsDefault: new(d.Default),
	}
	return out
}

// scalingOfName shows what DeleteAllRevisions answers: no revision, no sizes.
func scalingOfName(d control.AutoScalingDetail) *api.AutoScalingConfiguration {
	return &api.AutoScalingConfiguration{
		AutoScalingConfigurationArn:  new(d.Scope.ARN("apprunner", "autoscalingconfiguration/"+d.Name)),
		AutoScalingConfigurationName: new(d.Name), Status: scalingInactive,
	}
}

func scalingSummary(d control.AutoScalingDetail) api.AutoScalingConfigurationSummary {
	return api.AutoScalingConfigurationSummary{
		AutoScalingConfigurationArn: new(d.ARN()), AutoScalingConfigurationName: new(d.Name),
		AutoScalingConfigurationRevision: member.Int32(d.Revision), Status: scalingStatus(d.DeletedAt),
		CreatedAt: member.Moment(d.CreatedAt), HasAssociatedService: new(d.HasAssociatedService), IsDefault: new(d.Default),
	}
}

func observability(d control.ObservabilityDetail) *api.ObservabilityConfiguration {
	out := &api.ObservabilityConfiguration{
		ObservabilityConfigurationArn: new(d.ARN()), ObservabilityConfigurationName: new(d.Name),
		ObservabilityConfigurationRevision: member.Int32(d.Revision), Latest: new(d.Latest),
		Status:    api.ObservabilityConfigurationStatusActive,
		CreatedAt: member.Moment(d.CreatedAt), DeletedAt: member.Moment(d.DeletedAt),
	}
	if d.TraceVendor != "" {
		out.TraceConfiguration = &api.TraceConfiguration{Vendor: api.TracingVendor(d.TraceVendor)}
	}
	if !d.DeletedAt.IsZero() {
		out.Status = api.ObservabilityConfigurationStatusInactive
	}
	return out
}

func tagList(tags app.Tags) []api.Tag {
	out := make([]api.Tag, 0, len(tags))
	for k, v := range tags {
		out = append(out, api.Tag{Key: new(k), Value: new(v)})
	}
	sort.Slice(out, func(a, b int) bool { return *out[a].Key < *out[b].Key })
	return out
}
