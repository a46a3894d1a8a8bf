package app

import "time"

// ServiceStatus is App Runner's six service states, in AWS's words.
type ServiceStatus string

// The service states (apprunner model 2020-05-15).
const (
	ServiceCreateFailed ServiceStatus = "CREATE_FAILED"
	ServiceRunning      ServiceStatus = "RUNNING"
	ServiceDeleted      ServiceStatus = "DELETED"
	ServiceDeleteFailed ServiceStatus = "DELETE_FAILED"
	ServicePaused       ServiceStatus = "PAUSED"
	ServiceInProgress   ServiceStatus = "OPERATION_IN_PROGRESS"
)

// Service is the desired state of one App Runner service; control is its only writer.
type Service struct {
	ID    ServiceID
	Scope Scope
	Name  string
	// Label is the first label of the service's domain: ten of [a-z0-9], stable for the service's life.
	Label  string
	Status ServiceStatus
	// Config is what DescribeService shows: the requested configuration while an operation runs,
	// the active revision's again after a rollback.
	Config ServiceConfig
	// Routed is the revision that the front door sends requests to; 0 = none.
	Routed RevisionNumber
	// Previous is the revision that served before Routed, the target of a rollback; 0 = none.
	Previous RevisionNumber
	// Paused is the revision that ResumeService brings back; 0 unless the service is paused or being paused.
	Paused RevisionNumber
	// LastRevision is the highest number used so far.
	LastRevision RevisionNumber
	// Operation is the operation in flight; "" = none.
	Operation OperationID
	// PushPending remembers a push to the service's tag that arrived during an operation.
	PushPending bool
	Settings    ServiceSettings
	CreatedAt   time.Time
	UpdatedAt   time.Time
	// DeletedAt is zero until the service is DELETED; the row then stays as a tombstone.
	DeletedAt time.Time
}

// ServiceConfig is everything that a revision freezes.
type ServiceConfig struct {
	Source      Source
	Instance    InstanceConfig
	HealthCheck HealthCheck
	// ScalingARN is the full ARN (name, revision, id) of the auto scaling configuration.
	ScalingARN string
	Network    NetworkConfig
	// Observability is nil when the caller sent none; DescribeService then leaves it out.
	Observability *ObservabilitySetting
	// KMSKeyARN is "" for Funade's own key.
	KMSKeyARN string
}

// ImageRepositoryType is ECR or ECR_PUBLIC.
type ImageRepositoryType string

// The image repository types.
const (
	ImageRepositoryECR       ImageRepositoryType = "ECR"
	ImageRepositoryECRPublic ImageRepositoryType = "ECR_PUBLIC"
)

// Source says where a service's image comes from and how it is started.
type Source struct {
	// Image is the ImageIdentifier exactly as the caller wrote it.
	Image           string
	RepositoryType  ImageRepositoryType
	AutoDeployments bool
	AccessRoleARN   string
	ConnectionARN   string
	// StartCommand replaces the image's CMD (ENTRYPOINT stays), split by shell-word rules; "" = the image's own.
	StartCommand string
	// Port is the TCP port that the application listens on, 1-65535.
	Port int
	// Env holds RuntimeEnvironmentVariables; values are sensitive.
	Env map[string]string
	// Secrets holds RuntimeEnvironmentSecrets: name to reference, never a value.
	Secrets map[string]string
}

// InstanceConfig is the size of each instance.
type InstanceConfig struct {
	// CPU is in 1/1024 of a core, Memory in MiB; one of the 11 pairs of InstanceSizes.
	CPU     int
	Memory  int
	RoleARN string
}

// Health check protocols.
const (
	ProtocolTCP  = "TCP"
	ProtocolHTTP = "HTTP"
)

// HealthCheck is how an instance is probed. Interval and Timeout are whole seconds.
type HealthCheck struct {
	Protocol           string
	Path               string
	Interval           int
	Timeout            int
	HealthyThreshold   int
	UnhealthyThreshold int
}

// Egress types.
const (
	EgressDefault = "DEFAULT"
	EgressVPC     = "VPC"
)

// NetworkConfig is App Runner's NetworkConfiguration.
type NetworkConfig struct {
	EgressType      string
	VpcConnectorARN string
	Public          bool
	IPAddressType   string
}

// ObservabilitySetting is App Runner's ServiceObservabilityConfiguration.
type ObservabilitySetting struct {
	Enabled bool
	// ConfigurationARN is the full ARN when Enabled, "" otherwise.
	ConfigurationARN string
}

// ServiceSettings are the settings that AWS's API has no word for. Zero means the default.
type ServiceSettings struct {
	// StartTimeout bounds the time from first start to healthy; default 300 s.
	StartTimeout time.Duration
	// StopTimeout is the time between the stop signal and SIGKILL; default 30 s.
	StopTimeout time.Duration
	// RequestTimeout bounds one request, upgraded connections excepted; default 120 s.
	RequestTimeout time.Duration
}

// The defaults of ServiceSettings (runtime behaviour of App Runner, apprunner guide).
const (
	DefaultStartTimeout   = 300 * time.Second
	DefaultStopTimeout    = 30 * time.Second
	DefaultRequestTimeout = 120 * time.Second
)

// WithDefaults fills in every zero setting.
func (s ServiceSettings) WithDefaults() ServiceSettings {
	if s.StartTimeout == 0 {
		s.StartTimeout = DefaultStartTimeout
	}
	if s.StopTimeout == 0 {
		s.StopTimeout = DefaultStopTimeout
	}
	if s.RequestTimeout == 0 {
		s.RequestTimeout = DefaultRequestTimeout
	}
	return s
}

// Revision is one immutable version of a service: a configuration and, once resolved, an image digest.
type Revision struct {
	Service ServiceID
	Number  RevisionNumber
	Config  ServiceConfig
	// Digest is "" until the image has been resolved.
	Digest    Digest
	CreatedAt time.Time
}

// InstanceGoal is what control wants of an instance. Goals only move forward.
type InstanceGoal int

// The goals, in the only order in which they may follow each other.
const (
	// GoalRun: start it, keep it running, route to it once healthy and its revision is routed.
	GoalRun InstanceGoal = iota + 1
	// GoalDrain: no new requests; those in flight may finish until Instance.DrainUntil.
	GoalDrain
	// GoalStop: stop signal, StopTimeout, SIGKILL, remove everything that it had.
	GoalStop
)

// Instance is the desired state of one copy of a revision; control is its only writer.
// The row disappears once the instance is observed gone.
type Instance struct {
	ID       InstanceID
	Service  ServiceID
	Revision RevisionNumber
	// Host is set instead of Service and Revision when it is the container of a private host.
	Host      HostID
	Interface InterfaceID
	Goal      InstanceGoal
	// DrainUntil bounds GoalDrain.
	DrainUntil time.Time
	CreatedAt  time.Time
	// EndsTold is how many of InstanceStatus.Ends the event log has told.
	EndsTold int
}

// InstancePhase is what the engine last saw of an instance.
type InstancePhase string

// The phases.
const (
	PhasePending InstancePhase = "PENDING"
	PhaseRunning InstancePhase = "RUNNING"
	// PhaseExited: it ended by itself and will be started again after a back-off.
	PhaseExited InstancePhase = "EXITED"
	// PhaseFailed: it cannot be started (broken image, no such command …); Reason says why.
	PhaseFailed InstancePhase = "FAILED"
	// PhaseGone: nothing of it is left on the machine.
	PhaseGone InstancePhase = "GONE"
)

// InstanceStatus is the observed state of an instance; converge is its only writer.
type InstanceStatus struct {
	ID    InstanceID
	Phase InstancePhase
	// Exits counts the ends in a row without having been healthy in between.
	Exits int
	// Ends counts all ends; EndReason is the engine's word on the last one, "" when the exit code says it all.
	Ends      int
	EndReason string
	// ExitCode is of the last end; -1 = unknown (it died while nobody watched).
	ExitCode  int
	OOMKilled bool
	// Reason is one line for people: why it is not running. LastLines are the last lines that the application wrote.
	Reason    string
	LastLines []string
	StartedAt time.Time
	UpdatedAt time.Time
}

// InstanceHealth is what the prober last found; converge is its only writer.
type InstanceHealth struct {
	ID      InstanceID
	Healthy bool
	// EverHealthy stays true once a check has passed.
	EverHealthy bool
	// Answer is the last probe's outcome in words: "connection refused", "GET / answered 401" ….
	Answer string
	// OtherPorts are TCP ports that the instance listens on while the configured one is closed, and since when.
	OtherPorts      []int
	OtherPortsSince time.Time
	UpdatedAt       time.Time
}

// Interface is the desired network interface of an instance; control is its only writer.
type Interface struct {
	ID       InterfaceID
	Instance InstanceID
	Scope    Scope
	// VPC are the network interfaces that the instance has in a VPC, the primary one first; none = DEFAULT egress.
	VPC []InterfaceID
}

// InterfaceStatus holds the host-local numbers and state of an interface; converge is its only writer.
type InterfaceStatus struct {
	ID InterfaceID
	// Index is the interface's slot in the install's managed range: the address follows from it. -1 = none is free.
	Index int
	// Address is the managed address in text form, for example 100.64.16.9.
	Address string
	Ready   bool
	Error   string
}

// RouteStatus says what the front door has taken over for a service; converge is its only writer.
type RouteStatus struct {
	Service  ServiceID
	Revision RevisionNumber
	// Targets are the instances that requests may go to, sorted.
	Targets []InstanceID
	// Busy are the instances that still answer requests without being targets; a draining instance
	// that is not among them may be stopped.
	Busy []InstanceID
}

// ImageRequest is an image that control wants present and unpacked; control is its only writer.
type ImageRequest struct {
	Service  ServiceID
	Revision RevisionNumber
	Scope    Scope
	Image    string
	Type     ImageRepositoryType
	// Digest pins the request when the digest is known already (resume, rollback).
	Digest      Digest
	RequestedAt time.Time
}

// ImageStatus answers an ImageRequest; converge is its only writer.
type ImageStatus struct {
	Service  ServiceID
	Revision RevisionNumber
	Ready    bool
	Digest   Digest
	// Error is one line for people, with the remedy; "" while unknown or ready.
	Error string
	// Permanent: asking again cannot help (no such tag, wrong architecture, broken layer).
	Permanent bool
}
