package control

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// newConfig fills in AWS's defaults and checks a new service's configuration.
func (c *Control) newConfig(tx *store.Tx, scope app.Scope, in CreateServiceInput) (app.ServiceConfig, error) {
	config := app.ServiceConfig{
		Source:   app.Source{Port: app.DefaultPort},
		Instance: app.InstanceConfig{CPU: app.DefaultCPU, Memory: app.DefaultMemory},
		HealthCheck: app.HealthCheck{
			Protocol: app.ProtocolTCP, Path: app.DefaultHealthPath, Interval: app.DefaultHealthInterval, Timeout: app.DefaultHealthTimeout,
			HealthyThreshold: app.DefaultHealthyThreshold, UnhealthyThreshold: app.DefaultUnhealthyThreshold,
		},
		Network:   app.NetworkConfig{EgressType: app.EgressDefault, Public: true, IPAddressType: app.DefaultIPAddressType},
		KMSKeyARN: in.KMSKeyARN,
	}
	if !in.Source.Code && in.Source.Image == nil {
		return config, invalid("SourceConfiguration has to hold an ImageRepository.")
	}
	if in.ScalingARN == nil {
		a, err := defaultScaling(tx, scope)
		if err != nil {
			return config, err
		}
		config.ScalingARN = a.ARN()
	}
	ref, err := c.reference(scope, in.Source)
	if err != nil {
		return config, err
	}
	if in.Source.AutoDeployments == nil {
		config.Source.AutoDeployments = ref.Local && ref.Repository.Scope.Account == scope.Account
	}
	return c.mergeConfig(tx, scope, config, UpdateServiceInput{
		Source: &in.Source, Instance: in.Instance, HealthCheck: in.HealthCheck, ScalingARN: in.ScalingARN,
		Network: in.Network, Observability: in.Observability,
	})
}

func (c *Control) reference(scope app.Scope, in SourceInput) (app.Reference, error) {
	if in.Code || in.Image == nil || in.Image.Identifier == nil {
		return app.Reference{}, checkSourceKind(in)
	}
	return app.ParseReference(*in.Image.Identifier, scope, c.cfg.RegistryHosts...)
}

// mergeConfig returns the configuration with the members of in written over it, checked as a whole.
func (c *Control) mergeConfig(tx *store.Tx, scope app.Scope, config app.ServiceConfig, in UpdateServiceInput) (app.ServiceConfig, error) {
	var err error
	if in.Source != nil {
		if config.Source, err = c.mergeSource(scope, config.Source, *in.Source); err != nil {
			return config, err
		}
	}
	if in.Instance != nil {
		if config.Instance, err = mergeInstance(config.Instance, *in.Instance); err != nil {
			return config, err
		}
	}
	if in.HealthCheck != nil {
		if config.HealthCheck, err = mergeHealthCheck(config.HealthCheck, *in.HealthCheck); err != nil {
			return config, err
		}
	}
	if in.ScalingARN != nil {
		if config.ScalingARN, err = resolveScaling(tx, scope, *in.ScalingARN); err != nil {
			return config, err
		}
	}
	if in.Network != nil {
		if config.Network, err = mergeNetwork(tx, scope, config.Network, *in.Network); err != nil {
			return config, err
		}
	}
	if in.Observability != nil {
		if config.Observability, err = mergeObservability(tx, scope, *in.Observability); err != nil {
			return config, err
		}
	}
	return config, nil
}

func checkSourceKind(in SourceInput) error {
	switch {
	case in.Code && in.Image != nil:
		return invalid("SourceConfiguration can hold a CodeRepository or an ImageRepository, not both.")
	case in.Code:
		return invalid("Funade does not build services from source code yet: CodeRepository is not supported. Push an image and name it in ImageRepository.")
	}
	return nil
}

func (c *Control) mergeSource(scope app.Scope, s app.Source, in SourceInput) (app.Source, error) {
	if err := checkSourceKind(in); err != nil {
		return s, err
	}
	if in.ConnectionARN != nil && *in.ConnectionARN != "" {
		return s, invalid("ConnectionArn is for source code repositories only. Leave it out for images.")
	}
	wasPublic := s.RepositoryType == app.ImageRepositoryECRPublic
	if in.Image != nil {
		set(&s.Image, in.Image.Identifier)
		set(&s.RepositoryType, in.Image.Type)
		if err := mergeImageConfig(&s, in.Image.Config); err != nil {
			return s, err
		}
	}
	if s.RepositoryType == app.ImageRepositoryECRPublic && !wasPublic {
		// What belongs to a private image does not outlive it, unless the caller repeats it (and is refused below).
		s.AccessRoleARN, s.AutoDeployments = "", false
	}
	set(&s.AutoDeployments, in.AutoDeployments)
	set(&s.AccessRoleARN, in.AccessRoleARN)
	return s, c.checkSource(scope, s, in)
}

func mergeImageConfig(s *app.Source, in *ImageConfigInput) error {
	if in == nil {
		return nil
	}
	if in.Port != nil {
		port, err := strconv.Atoi(*in.Port)
		if err != nil || port < 1 || port > 65535 || strconv.Itoa(port) != *in.Port {
			return invalid("Port is %q; it has to be a number from 1 to 65535.", *in.Port)
		}
		s.Port = port
	}
	if in.StartCommand != nil {
		if *in.StartCommand != "" {
			if _, err := app.SplitCommand(*in.StartCommand); err != nil {
				return err
			}
		}
		s.StartCommand = *in.StartCommand
	}
	if in.Env != nil {
		s.Env = maps.Clone(in.Env)
	}
	if in.Secrets != nil {
		s.Secrets = maps.Clone(in.Secrets)
	}
	return nil
}

// checkSource checks a whole source; in tells what the caller named explicitly.
func (c *Control) checkSource(scope app.Scope, s app.Source, in SourceInput) error {
	ref, err := app.ParseReference(s.Image, scope, c.cfg.RegistryHosts...)
	if err != nil {
		return err
	}
	switch s.RepositoryType {
	case app.ImageRepositoryECR:
		if !ref.Local {
			return invalid("The image %q is not in ECR: with ImageRepositoryType ECR it has to begin with %s/. Use ImageRepositoryType ECR_PUBLIC for images of other registries.", s.Image, scope.RegistryHost())
		}
	case app.ImageRepositoryECRPublic:
		if ref.Local {
			return invalid("The image %q is in ECR: use ImageRepositoryType ECR.", s.Image)
		}
		if s.AccessRoleARN != "" {
			return invalid("AccessRoleArn cannot be used with ImageRepositoryType ECR_PUBLIC. Leave it out.")
		}
	default:
		return invalid("ImageRepositoryType is %q; it has to be ECR or ECR_PUBLIC.", s.RepositoryType)
	}
	if err := checkAutoDeployments(scope, s, ref, in.AutoDeployments != nil); err != nil {
		return err
	}
	return checkEnvironment(s)
}

func checkAutoDeployments(scope app.Scope, s app.Source, ref app.Reference, explicit bool) error {
	switch {
	case !s.AutoDeployments || !explicit:
		return nil
	case !ref.Local:
		return invalid("App Runner doesn't support automatic deployments for an image in an ECR Public repository.")
	case ref.Repository.Scope.Account != scope.Account:
		return invalid("App Runner doesn't support automatic deployments for an image in an ECR repository of another account.")
	}
	return nil
}

// reservedPrefix begins names of environment variables that App Runner keeps for itself.
const reservedPrefix = "AWSAPPRUNNER"

func checkEnvironment(s app.Source) error {
	names := slices.Concat(slices.Sorted(maps.Keys(s.Env)), slices.Sorted(maps.Keys(s.Secrets)))
	for n, name := range names {
		switch {
		case name == "PORT":
			return invalid("The environment variable PORT is reserved: App Runner sets it to the configured Port. Remove it and set Port.")
		case strings.HasPrefix(name, reservedPrefix):
			return invalid("The environment variable %s is not allowed: names that begin with %s are reserved.", name, reservedPrefix)
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(s.Env[name], "\x00"):
			return invalid("The environment variable %q is not valid: names cannot be empty or hold '=', and neither names nor values can hold a NUL.", name)
		case n >= len(s.Env) && contains(s.Env, name):
			return invalid("The name %s is used in both RuntimeEnvironmentVariables and RuntimeEnvironmentSecrets. Use it once.", name)
		}
	}
	if len(s.Secrets) > 0 {
		return invalid("Funade cannot resolve RuntimeEnvironmentSecrets yet: they are not supported. Use RuntimeEnvironmentVariables.")
	}
	return nil
}

func contains(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}

func mergeInstance(i app.InstanceConfig, in InstanceInput) (app.InstanceConfig, error) {
	var err error
	if in.CPU != nil {
		if i.CPU, err = app.ParseCPU(*in.CPU); err != nil {
			return i, err
		}
	}
	if in.Memory != nil {
		if i.Memory, err = app.ParseMemory(*in.Memory); err != nil {
			return i, err
		}
	}
	set(&i.RoleARN, in.RoleARN)
	return i, app.CheckSize(i.CPU, i.Memory)
}

func mergeHealthCheck(h app.HealthCheck, in HealthCheckInput) (app.HealthCheck, error) {
	set(&h.Protocol, in.Protocol)
	set(&h.Path, in.Path)
	set(&h.Interval, in.Interval)
	set(&h.Timeout, in.Timeout)
	set(&h.HealthyThreshold, in.HealthyThreshold)
	set(&h.UnhealthyThreshold, in.UnhealthyThreshold)
	if h.Protocol != app.ProtocolTCP && h.Protocol != app.ProtocolHTTP {
		return h, invalid("The health check's Protocol is %q; it has to be TCP or HTTP.", h.Protocol)
	}
	if !strings.HasPrefix(h.Path, "/") || strings.ContainsAny(h.Path, " \t\r\n\x00") {
		return h, invalid("The health check's Path is %q; it has to begin with / and hold no blanks.", h.Path)
	}
	for _, m := range []struct {
		name  string
		value int
	}{{"Interval", h.Interval}, {"Timeout", h.Timeout}, {"HealthyThreshold", h.HealthyThreshold}, {"UnhealthyThreshold", h.UnhealthyThreshold}} {
		if m.value < 1 || m.value > 20 {
			return h, invalid("The health check's %s is %d; it has to be between 1 and 20.", m.name, m.value)
		}
	}
	return h, nil
}

func mergeNetwork(tx *store.Tx, scope app.Scope, n app.NetworkConfig, in NetworkInput) (app.NetworkConfig, error) {
	if in.Egress != nil {
		if err := mergeEgress(tx, scope, &n, *in.Egress); err != nil {
			return n, err
		}
	}
	if in.Ingress != nil {
		n.Public = in.Ingress.Public
	}
	if !n.Public {
		return n, invalid("IsPubliclyAccessible false needs a VPC ingress connection, and Funade does not have those yet. Set it to true or leave IngressConfiguration out.")
	}
	set(&n.IPAddressType, in.IPAddressType)
	if n.IPAddressType != app.DefaultIPAddressType && n.IPAddressType != app.DualStack {
		return n, invalid("IpAddressType is %q; it has to be %s or %s.", n.IPAddressType, app.DefaultIPAddressType, app.DualStack)
	}
	return n, nil
}

// mergeEgress writes the egress over n. The connector stays through updates that name none, and goes with EgressType DEFAULT.
func mergeEgress(tx *store.Tx, scope app.Scope, n *app.NetworkConfig, in EgressInput) error {
	set(&n.EgressType, in.Type)
	named := in.VpcConnectorARN != nil && *in.VpcConnectorARN != ""
	switch {
	case n.EgressType == app.EgressDefault && named:
		return invalid("VpcConnectorArn can only be used with EgressType VPC. Set EgressType to VPC, or leave VpcConnectorArn out.")
	case n.EgressType == app.EgressDefault:
		n.VpcConnectorARN = ""
		return nil
	case n.EgressType != app.EgressVPC:
		return invalid("EgressType is %q; it has to be %s or %s.", n.EgressType, app.EgressDefault, app.EgressVPC)
	case !named && n.VpcConnectorARN == "":
		return invalid("EgressType VPC needs a VPC connector: name one in VpcConnectorArn, or use EgressType DEFAULT.")
	case !named:
		return nil
	}
	var err error
	n.VpcConnectorARN, err = resolveConnector(tx, scope, *in.VpcConnectorARN)
	return err
}

func mergeObservability(tx *store.Tx, scope app.Scope, in ObservabilityInput) (*app.ObservabilitySetting, error) {
	named := in.ConfigurationARN != nil && *in.ConfigurationARN != ""
	switch {
	case !in.Enabled && named:
		return nil, invalid("ObservabilityConfigurationArn can only be used with ObservabilityEnabled true. Leave it out.")
	case !in.Enabled:
		return &app.ObservabilitySetting{}, nil
	}
	arn := scope.ARN("apprunner", "observabilityconfiguration/"+app.DefaultConfigurationName)
	if named {
		arn = *in.ConfigurationARN
	}
	full, err := resolveObservability(tx, scope, arn)
	return &app.ObservabilitySetting{Enabled: true, ConfigurationARN: full}, err
}
