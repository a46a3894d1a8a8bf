package control

import (
	"time"

	"github.com/funade/funade/internal/app"
)

// PageRequest asks for a page. MaxResults 0 means everything that follows NextToken in one page.
type PageRequest struct {
	MaxResults int
	NextToken  string
}

// Page is a page of a list; NextToken is "" on the last one.
type Page[T any] struct {
	Items     []T
	NextToken string
}

// CreateServiceInput is what CreateService takes. nil members get AWS's defaults.
type CreateServiceInput struct {
	Name          string
	Source        SourceInput
	Instance      *InstanceInput
	HealthCheck   *HealthCheckInput
	ScalingARN    *string
	Network       *NetworkInput
	Observability *ObservabilityInput
	KMSKeyARN     string
	Tags          app.Tags
}

// UpdateServiceInput is what UpdateService takes. A nil member, also a nested one, stays as it is;
// a map that is not nil replaces the whole map.
type UpdateServiceInput struct {
	Source        *SourceInput
	Instance      *InstanceInput
	HealthCheck   *HealthCheckInput
	ScalingARN    *string
	Network       *NetworkInput
	Observability *ObservabilityInput
}

// SourceInput is App Runner's SourceConfiguration.
type SourceInput struct {
	// Code says that the caller sent a CodeRepository.
	Code            bool
	Image           *ImageInput
	AutoDeployments *bool
	AccessRoleARN   *string
	ConnectionARN   *string
}

// ImageInput is App Runner's ImageRepository.
type ImageInput struct {
	Identifier *string
	Type       *app.ImageRepositoryType
	Config     *ImageConfigInput
}

// ImageConfigInput is App Runner's ImageConfiguration.
type ImageConfigInput struct {
	Port         *string
	StartCommand *string
	Env          map[string]string
	Secrets      map[string]string
}

// InstanceInput is App Runner's InstanceConfiguration, sizes in any of its spellings.
type InstanceInput struct {
	CPU     *string
	Memory  *string
	RoleARN *string
}

// HealthCheckInput is App Runner's HealthCheckConfiguration; Interval and Timeout are seconds.
type HealthCheckInput struct {
	Protocol           *string
	Path               *string
	Interval           *int
	Timeout            *int
	HealthyThreshold   *int
	UnhealthyThreshold *int
}

// NetworkInput is App Runner's NetworkConfiguration.
type NetworkInput struct {
	Egress        *EgressInput
	Ingress       *IngressInput
	IPAddressType *string
}

// EgressInput is App Runner's EgressConfiguration.
type EgressInput struct {
	Type            *string
	VpcConnectorARN *string
}

// IngressInput is App Runner's IngressConfiguration; SDKs leave false out, so absent means false.
type IngressInput struct{ Public bool }

// ObservabilityInput is App Runner's ServiceObservabilityConfiguration.
type ObservabilityInput struct {
	Enabled          bool
	ConfigurationARN *string
}

// ServiceDetail is a service with the auto scaling configuration that it names.
type ServiceDetail struct {
	Service app.Service
	Scaling AutoScalingDetail
}

// OperationDetail is an operation with the ARN of its service.
type OperationDetail struct {
	app.Operation
	TargetARN string
}

// AutoScalingDetail is a configuration revision with what follows from other rows.
type AutoScalingDetail struct {
	app.AutoScaling
	// Latest marks the highest active revision of the name.
	Latest bool
	// HasAssociatedService: a service that is not deleted uses it.
	HasAssociatedService bool
}

// ObservabilityDetail is a configuration revision with what follows from other rows.
type ObservabilityDetail struct {
	app.Observability
	Latest bool
}

// CreateAutoScalingInput is what CreateAutoScalingConfiguration takes; nil sizes get AWS's defaults (100, 1, 25).
type CreateAutoScalingInput struct {
	Name           string
	MaxConcurrency *int
	MinSize        *int
	MaxSize        *int
	Tags           app.Tags
}

// CreateObservabilityInput is what CreateObservabilityConfiguration takes.
type CreateObservabilityInput struct {
	Name        string
	TraceVendor string
	Tags        app.Tags
}

// CreateVPCConnectorInput is what CreateVPCConnector takes; no groups means the VPC's default group.
type CreateVPCConnectorInput struct {
	Name    string
	Subnets []app.SubnetID
	Groups  []app.GroupID
	Tags    app.Tags
}

// ListConfigurationsInput selects configuration revisions. Name "" means all names.
type ListConfigurationsInput struct {
	Name       string
	LatestOnly bool
	Page       PageRequest
}

// InstanceState is the one word that people see for an instance.
type InstanceState string

// The instance states.
const (
	InstanceStarting  InstanceState = "STARTING"
	InstanceRunning   InstanceState = "RUNNING"
	InstanceUnhealthy InstanceState = "UNHEALTHY"
	InstanceStopping  InstanceState = "STOPPING"
	InstanceStopped   InstanceState = "STOPPED"
)

// InstanceDetail is an instance, desired and observed.
type InstanceDetail struct {
	Instance app.Instance
	Status   app.InstanceStatus
	Health   app.InstanceHealth
	State    InstanceState
	// Address is the managed address, "" while unknown.
	Address string
	// Reason is one line: why it is not running healthily; "" when it is.
	Reason string
}

// RevisionDetail is a revision; Active marks the one that serves.
type RevisionDetail struct {
	app.Revision
	Active bool
}

// SettingsInput is what PutServiceSettings takes: nil leaves a setting, 0 takes it back to the tag's value or the default.
type SettingsInput struct {
	StartTimeout   *time.Duration
	StopTimeout    *time.Duration
	RequestTimeout *time.Duration
}

// CreateRepositoryInput is what CreateRepository takes.
type CreateRepositoryInput struct {
	Immutable      bool
	ScanOnPush     bool
	EncryptionType string
	KMSKeyARN      string
	Tags           app.Tags
}

// LifecyclePolicy is a repository's lifecycle policy; EvaluatedAt is zero when it was never applied.
type LifecyclePolicy struct {
	Text        string
	EvaluatedAt time.Time
}

// TagStatus filters images.
type TagStatus string

// The tag states; "" is any.
const (
	TagAny   TagStatus = "ANY"
	Tagged   TagStatus = "TAGGED"
	Untagged TagStatus = "UNTAGGED"
)

// ImageID names an image by digest, tag or both; both must agree.
type ImageID struct {
	Digest app.Digest
	Tag    string
}

// ImageFailure says why one image of a batch was left out; Code is ECR's ImageFailureCode.
type ImageFailure struct {
	ID     ImageID
	Code   string
	Reason string
}

// CreateLogGroupInput is what CreateLogGroup takes.
type CreateLogGroupInput struct {
	KMSKeyARN string
	Class     string
	Tags      app.Tags
}

// DescribeLogGroupsInput selects log groups by Prefix or by Pattern (a substring); both "" means all.
type DescribeLogGroupsInput struct {
	Prefix  string
	Pattern string
	Class   string
	Page    PageRequest
}
