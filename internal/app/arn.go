package app

import (
	"fmt"
	"strings"
)

// ARN returns arn:aws:<service>:<region>:<account>:<resource>.
func (s Scope) ARN(service, resource string) string {
	return "arn:aws:" + service + ":" + string(s.Region) + ":" + string(s.Account) + ":" + resource
}

// ParsedARN is an ARN split at its colons.
type ParsedARN struct {
	Partition string
	Service   string
	Scope     Scope
	Resource  string
}

// ParseARN splits an ARN; the resource part may hold colons.
func ParseARN(arn string) (ParsedARN, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[5] == "" {
		return ParsedARN{}, Errorf(KindInvalidRequest, arn, "The ARN %q is malformed: expected arn:aws:service:region:account:resource.", arn)
	}
	return ParsedARN{parts[1], parts[2], Scope{AccountID(parts[4]), Region(parts[3])}, parts[5]}, nil
}

// ARN returns the service's ARN.
func (s *Service) ARN() string {
	return s.Scope.ARN("apprunner", "service/"+s.Name+"/"+string(s.ID))
}

// ARN returns the configuration revision's ARN.
func (a *AutoScaling) ARN() string {
	return a.Scope.ARN("apprunner", fmt.Sprintf("autoscalingconfiguration/%s/%d/%s", a.Name, a.Revision, a.ID))
}

// ARN returns the configuration revision's ARN.
func (o *Observability) ARN() string {
	return o.Scope.ARN("apprunner", fmt.Sprintf("observabilityconfiguration/%s/%d/%s", o.Name, o.Revision, o.ID))
}

// ARN returns the connection's ARN.
func (c *Connection) ARN() string {
	return c.Scope.ARN("apprunner", "connection/"+c.Name+"/"+c.ID)
}

// ARN returns the repository's ARN.
func (k RepositoryKey) ARN() string { return k.Scope.ARN("ecr", "repository/"+k.Name) }

// RegistryHost returns the host part of the repository's AWS form of address.
func (s Scope) RegistryHost() string {
	return string(s.Account) + ".dkr.ecr." + string(s.Region) + ".amazonaws.com"
}

// URI returns the repositoryUri, whose host is AWS's form and always means this install's registry.
func (k RepositoryKey) URI() string { return k.Scope.RegistryHost() + "/" + k.Name }

// ServiceLogGroup returns the key of /aws/apprunner/<name>/<id>/<kind>, kind being "service" or "application".
func (s *Service) ServiceLogGroup(kind string) LogGroupKey {
	return LogGroupKey{s.Scope, "/aws/apprunner/" + s.Name + "/" + string(s.ID) + "/" + kind}
}
