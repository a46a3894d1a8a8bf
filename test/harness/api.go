package harness

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	apiapprunner "github.com/funade/funade/internal/aws/api/apprunner"
	"github.com/funade/funade/internal/aws/api/funade"
	"github.com/funade/funade/internal/aws/sigv4"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/secrets"
)

// API is the clients of one server. No call is tried twice, so that a test sees every answer.
type API struct {
	server    *Server
	AppRunner *apprunner.Client
	ECR       *ecr.Client
	Logs      *cloudwatchlogs.Client
	EC2       *ec2.Client
	Funade    funade.Client
	// Plain is App Runner by our own client. The SDK's loses about one large answer in a hundred when the machine is
	// busy, from any server; its users do not see that, as it tries again.
	Plain *wire.Client
}

// Clients returns clients that sign with the root key. The server must have been started once.
func (s *Server) Clients() (*API, error) {
	info, err := s.Info()
	if err != nil {
		return nil, err
	}
	key, err := secrets.ReadRootKey(s.Data)
	if err != nil {
		return nil, err
	}
	cfg := aws.Config{
		Region: info.Region, BaseEndpoint: aws.String(s.API()), HTTPClient: awshttp.NewBuildableClient(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.Secret.Reveal(), ""),
	}
	client := func(service *wire.Service) *wire.Client {
		return &wire.Client{
			Service: service, Endpoint: s.API(), Region: info.Region,
			Credentials: sigv4.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.Secret.Reveal()},
		}
	}
	return &API{s, apprunner.NewFromConfig(cfg), ecr.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg), ec2.NewFromConfig(cfg),
		funade.Client{Caller: client(funade.Descriptor)}, client(apiapprunner.Descriptor)}, nil
}

// CreateRepository makes a repository and returns its repositoryUri.
func (a *API) CreateRepository(ctx context.Context, repository string) (uri string, err error) {
	out, err := a.ECR.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &repository})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Repository.RepositoryUri), nil
}

// Push brings an image into a repository under a tag.
func (a *API) Push(ctx context.Context, img v1.Image, repository, tag string) error {
	token, err := a.ECR.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(fmt.Sprintf("%s/%s:%s", a.server.Registry(), repository, tag), name.Insecure)
	if err != nil {
		return err
	}
	auth := authn.FromConfig(authn.AuthConfig{Auth: aws.ToString(token.AuthorizationData[0].AuthorizationToken)})
	once := remote.WithRetryBackoff(remote.Backoff{Steps: 1})
	return remote.Write(ref, img, remote.WithAuth(auth), remote.WithContext(ctx), once)
}
