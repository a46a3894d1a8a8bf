package cli

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"

	"github.com/funade/funade/internal/aws/api/funade"
)

// listServices returns all services of the account and region.
func (c *clients) listServices(ctx context.Context) ([]types.ServiceSummary, error) {
	var all []types.ServiceSummary
	for p := apprunner.NewListServicesPaginator(c.apprunner, &apprunner.ListServicesInput{}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.ServiceSummaryList...)
	}
	return all, nil
}

// findService returns a service by name or ARN; nil when there is none of that name.
func (c *clients) findService(ctx context.Context, nameOrARN string) (*types.Service, error) {
	arn := nameOrARN
	if !strings.HasPrefix(nameOrARN, "arn:") {
		all, err := c.listServices(ctx)
		if err != nil {
			return nil, err
		}
		arn = ""
		for _, s := range all {
			if aws.ToString(s.ServiceName) == nameOrARN {
				arn = aws.ToString(s.ServiceArn)
			}
		}
		if arn == "" {
			return nil, nil
		}
	}
	out, err := c.apprunner.DescribeService(ctx, &apprunner.DescribeServiceInput{ServiceArn: &arn})
	if err != nil {
		return nil, err
	}
	return out.Service, nil
}

// service is findService for verbs that need one.
func (c *clients) service(ctx context.Context, nameOrARN string) (*types.Service, error) {
	s, err := c.findService(ctx, nameOrARN)
	if err == nil && s == nil {
		return nil, fmt.Errorf("there is no service named %s; funade services lists them", nameOrARN)
	}
	return s, err
}

// serviceURL completes a ServiceUrl, which never holds a port, to what a browser needs. "" for a service without one.
func serviceURL(host string, install *funade.DescribeInstallOutput) string {
	if host == "" {
		return ""
	}
	if port := aws.ToInt32(install.HttpsPort); port != 0 {
		if port == 443 {
			return "https://" + host
		}
		return "https://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	if port := aws.ToInt32(install.HttpPort); port != 0 && port != 80 {
		return "http://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return "http://" + host
}

func (c *clients) install(ctx context.Context) (*funade.DescribeInstallOutput, error) {
	return c.funade.DescribeInstall(ctx, &funade.DescribeInstallInput{})
}

// logGroup names a service's group of kind "application" or "service".
func logGroup(s *types.Service, kind string) string {
	return "/aws/apprunner/" + aws.ToString(s.ServiceName) + "/" + aws.ToString(s.ServiceId) + "/" + kind
}
