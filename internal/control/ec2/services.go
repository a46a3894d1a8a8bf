package ec2

import (
	"strings"

	"github.com/funade/funade/internal/app"
)

// Service is a service that endpoints can be made for.
type Service struct {
	Name  string // com.amazonaws.REGION.…
	Types []string
	// PrivateName is the name of its API, to which private DNS leads.
	PrivateName string
}

// MissingService is the error for a service that no endpoint can be made for.
func MissingService(name string) error {
	return fail(app.KindNotFound, "InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist: see DescribeVpcEndpointServices", name)
}

// interfaceServices are those of AWS that templates name; endpoints for them are an address and a name in the VPC.
var interfaceServices = strings.Fields(`apprunner apprunner.requests autoscaling cloudformation codebuild dynamodb ec2 ec2messages ecr.api ecr.dkr
	elasticloadbalancing events execute-api kms lambda logs monitoring rds s3 secretsmanager sns sqs ssm ssmmessages states sts wafv2 xray`)

// gatewayServices have endpoints that are routes.
var gatewayServices = []string{"dynamodb", "s3"}

// Services returns what endpoints can be made for in a region, by name; the gateway type is the first of a service.
func Services(region app.Region) []Service {
	prefix := "com.amazonaws." + string(region) + "."
	out := make([]Service, 0, len(interfaceServices))
	for _, name := range interfaceServices {
		s := Service{Name: prefix + name, Types: []string{EndpointInterface}, PrivateName: privateName(name, region)}
		for _, gateway := range gatewayServices {
			if name == gateway {
				s.Types = []string{EndpointGateway, EndpointInterface}
			}
		}
		out = append(out, s)
	}
	return out
}

// privateName is the host name of a service's API, which holds the parts of the service's name backwards.
func privateName(service string, region app.Region) string {
	host := service
	if service == "ecr.dkr" {
		host = "*.dkr.ecr"
	} else if first, second, ok := strings.Cut(service, "."); ok {
		host = second + "." + first
	}
	return host + "." + string(region) + ".amazonaws.com"
}
