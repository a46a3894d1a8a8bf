package sdk

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	artypes "github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

const (
	unknownService = "arn:aws:apprunner:us-east-1:000000000000:service/nobody/0123456789abcdef0123456789abcdef"
	unknownScaling = "arn:aws:apprunner:us-east-1:000000000000:autoscalingconfiguration/nobody/1/0123456789abcdef0123456789abcdef"
	foreignService = "arn:aws:apprunner:us-east-1:111111111111:service/nobody/0123456789abcdef0123456789abcdef"
)

func codeOf(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

func image(identifier string, kind artypes.ImageRepositoryType) *artypes.SourceConfiguration {
	return &artypes.SourceConfiguration{
		AutoDeploymentsEnabled: aws.Bool(false),
		ImageRepository:        &artypes.ImageRepository{ImageIdentifier: &identifier, ImageRepositoryType: kind},
	}
}

// testErrors is the matrix of the conditions that App Runner's users know, by code and by a part of the text.
func testErrors(t *testing.T) {
	a := connect(t)
	ctx := t.Context()
	public := image("public.example/app:1", artypes.ImageRepositoryTypeEcrPublic)
	create := func(name string, source *artypes.SourceConfiguration, change func(*apprunner.CreateServiceInput)) func() error {
		return func() error {
			in := &apprunner.CreateServiceInput{ServiceName: &name, SourceConfiguration: source}
			if change != nil {
				change(in)
			}
			_, err := a.apprunner.CreateService(ctx, in)
			return err
		}
	}
	for _, tc := range []struct {
		name string
		call func() error
		code string
		text string
	}{
		{"describe unknown", func() error {
			_, err := a.apprunner.DescribeService(ctx, &apprunner.DescribeServiceInput{ServiceArn: aws.String(unknownService)})
			return err
		}, "ResourceNotFoundException", "nobody"},
		{"describe in another account", func() error {
			_, err := a.apprunner.DescribeService(ctx, &apprunner.DescribeServiceInput{ServiceArn: aws.String(foreignService)})
			return err
		}, "", ""},
		{"describe malformed", func() error {
			_, err := a.apprunner.DescribeService(ctx, &apprunner.DescribeServiceInput{ServiceArn: aws.String("not-an-arn")})
			return err
		}, "InvalidRequestException", ""},
		{"describe another type", func() error {
			_, err := a.apprunner.DescribeService(ctx, &apprunner.DescribeServiceInput{ServiceArn: aws.String(unknownScaling)})
			return err
		}, "InvalidRequestException", ""},
		{"update unknown", func() error {
			_, err := a.apprunner.UpdateService(ctx, &apprunner.UpdateServiceInput{ServiceArn: aws.String(unknownService)})
			return err
		}, "ResourceNotFoundException", ""},
		{"pause unknown", func() error {
			_, err := a.apprunner.PauseService(ctx, &apprunner.PauseServiceInput{ServiceArn: aws.String(unknownService)})
			return err
		}, "ResourceNotFoundException", ""},
		{"delete unknown", func() error {
			_, err := a.apprunner.DeleteService(ctx, &apprunner.DeleteServiceInput{ServiceArn: aws.String(unknownService)})
			return err
		}, "ResourceNotFoundException", ""},
		{"operations of unknown", func() error {
			_, err := a.apprunner.ListOperations(ctx, &apprunner.ListOperationsInput{ServiceArn: aws.String(unknownService)})
			return err
		}, "ResourceNotFoundException", ""},
		{"deploy unknown", func() error {
			_, err := a.apprunner.StartDeployment(ctx, &apprunner.StartDeploymentInput{ServiceArn: aws.String(unknownService)})
			return err
		}, "ResourceNotFoundException", ""},
		{"short name", create("abc", public, nil), "InvalidRequestException", "erviceName"},
		{"illegal size", create("size", public, func(in *apprunner.CreateServiceInput) {
			in.InstanceConfiguration = &artypes.InstanceConfiguration{Cpu: aws.String("1024"), Memory: aws.String("512")}
		}), "InvalidRequestException", ""},
		{"unknown scaling inside", create("scaling", public, func(in *apprunner.CreateServiceInput) {
			in.AutoScalingConfigurationArn = aws.String(unknownScaling)
		}), "InvalidRequestException", ""},
		{"automatic deployment of a public image", create("auto", &artypes.SourceConfiguration{
			AutoDeploymentsEnabled: aws.Bool(true), ImageRepository: public.ImageRepository,
		}, nil), "InvalidRequestException", "automatic deployments"},
		{"reserved variable", create("reserved", &artypes.SourceConfiguration{ImageRepository: &artypes.ImageRepository{
			ImageIdentifier: aws.String("public.example/app:1"), ImageRepositoryType: artypes.ImageRepositoryTypeEcrPublic,
			ImageConfiguration: &artypes.ImageConfiguration{RuntimeEnvironmentVariables: map[string]string{"AWSAPPRUNNER_X": "1"}},
		}}, nil), "InvalidRequestException", ""},
		{"unknown funade tag", create("tagged", public, func(in *apprunner.CreateServiceInput) {
			in.Tags = []artypes.Tag{{Key: aws.String("funade:nonsense"), Value: aws.String("1")}}
		}), "InvalidRequestException", "funade:nonsense"},
		{"ingress connections, which are not served", func() error {
			_, err := a.apprunner.ListVpcIngressConnections(ctx, &apprunner.ListVpcIngressConnectionsInput{})
			return err
		}, "UnknownOperationException", ""},
		{"bad page token", func() error {
			_, err := a.apprunner.ListServices(ctx, &apprunner.ListServicesInput{NextToken: aws.String("bm9uc2Vuc2U=")})
			return err
		}, "InvalidRequestException", ""},
		{"too large a page", func() error {
			_, err := a.apprunner.ListServices(ctx, &apprunner.ListServicesInput{MaxResults: aws.Int32(1000)})
			return err
		}, "InvalidRequestException", ""},
		{"unknown repository", func() error {
			_, err := a.ecr.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"nobody"}})
			return err
		}, "RepositoryNotFoundException", "nobody"},
		{"bad repository name", func() error {
			_, err := a.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("UPPER")})
			return err
		}, "InvalidParameterException", ""},
		{"no lifecycle policy", func() error {
			_, err := a.ecr.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: aws.String("nobody")})
			return err
		}, "RepositoryNotFoundException", ""},
		{"unknown log group", func() error {
			_, err := a.logs.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String("nobody")})
			return err
		}, "ResourceNotFoundException", ""},
		{"bad filter pattern", func() error {
			_, err := a.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("patterns")})
			if err != nil && codeOf(err) != "ResourceAlreadyExistsException" {
				return err
			}
			_, err = a.logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String("patterns"), FilterPattern: aws.String("{ $.a = ")})
			return err
		}, "InvalidParameterException", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.call()
			if err == nil {
				t.Fatal("succeeded")
			}
			if code := codeOf(err); tc.code != "" && code != tc.code {
				t.Errorf("code %q, want %q: %v", code, tc.code, err)
			} else if code == "" {
				t.Errorf("no code in %v", err)
			}
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("text %q lacks %q", err, tc.text)
			}
		})
	}
}

// testSignatures are the ways of not being who one says.
func testSignatures(t *testing.T) {
	a := connect(t)
	good, err := a.cfg.Credentials.Retrieve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		id, secret string
		json       string // code in awsJson
		query      string // code in awsQuery
	}{
		"unknown key":  {"AKIAAAAAAAAAAAAAAAAA", good.SecretAccessKey, "UnrecognizedClientException", "InvalidClientTokenId"},
		"wrong secret": {good.AccessKeyID, "wrong", "InvalidSignatureException", "SignatureDoesNotMatch"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := a.cfg.Copy()
			cfg.Credentials = credentials.NewStaticCredentialsProvider(tc.id, tc.secret, "")
			if _, err := apprunner.NewFromConfig(cfg).ListServices(t.Context(), &apprunner.ListServicesInput{}); codeOf(err) != tc.json {
				t.Errorf("awsJson: %v, want %s", err, tc.json)
			}
			if _, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); codeOf(err) != tc.query {
				t.Errorf("awsQuery: %v, want %s", err, tc.query)
			}
		})
	}
	out, err := a.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || aws.ToString(out.Account) != "000000000000" || aws.ToString(out.Arn) != "arn:aws:iam::000000000000:root" {
		t.Errorf("right signature: %+v, %v", out, err)
	}
}
