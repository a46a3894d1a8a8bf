package wire_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkrunner "github.com/aws/aws-sdk-go-v2/service/apprunner"
	runnertypes "github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	sdklogs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	sdkecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

func sdkConfig(t *testing.T, secret string) aws.Config {
	t.Helper()
	server := httptest.NewServer(newMux(t, new(reports), time.Now))
	t.Cleanup(server.Close)
	return aws.Config{
		Region: "eu-west-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, HTTPClient: server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(root.AccessKeyID, secret, ""),
	}
}

// The official clients understand every kind of answer.
func TestOfficialAppRunnerClient(t *testing.T) {
	client := sdkrunner.NewFromConfig(sdkConfig(t, root.SecretAccessKey))
	list, err := client.ListServices(t.Context(), &sdkrunner.ListServicesInput{})
	if err != nil {
		t.Fatal(err)
	}
	s := list.ServiceSummaryList[0]
	if *s.ServiceName != "hello-eu-west-1-000000000000" || !s.CreatedAt.Equal(created) || s.Status != runnertypes.ServiceStatusRunning {
		t.Errorf("got %+v", s)
	}
	made, err := client.CreateService(t.Context(), &sdkrunner.CreateServiceInput{ServiceName: aws.String("hello"), SourceConfiguration: &runnertypes.SourceConfiguration{
		ImageRepository: &runnertypes.ImageRepository{ImageIdentifier: aws.String("localhost:4566/x:é"), ImageRepositoryType: runnertypes.ImageRepositoryTypeEcr,
			ImageConfiguration: &runnertypes.ImageConfiguration{RuntimeEnvironmentVariables: map[string]string{"A": "\"1\"\n"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	image := made.Service.SourceConfiguration.ImageRepository
	if *image.ImageIdentifier != "localhost:4566/x:é" || image.ImageConfiguration.RuntimeEnvironmentVariables["A"] != "\"1\"\n" {
		t.Errorf("got %+v", image)
	}
	_, err = client.DescribeService(t.Context(), &sdkrunner.DescribeServiceInput{ServiceArn: aws.String(arn)})
	if e, ok := errors.AsType[*runnertypes.ResourceNotFoundException](err); !ok || e.ErrorMessage() != "no such service" {
		t.Errorf("got %v", err)
	}
	_, err = client.CreateService(t.Context(), &sdkrunner.CreateServiceInput{ServiceName: aws.String("no"), SourceConfiguration: &runnertypes.SourceConfiguration{}})
	if e, ok := errors.AsType[*runnertypes.InvalidRequestException](err); !ok || !strings.Contains(e.ErrorMessage(), "Value 'no' at 'serviceName' failed to satisfy constraint: Member must have length greater than or equal to 4") {
		t.Errorf("got %v", err)
	}
	wantCode(t, err, "InvalidRequestException")
	_, err = client.ListConnections(t.Context(), &sdkrunner.ListConnectionsInput{})
	wantCode(t, err, "UnknownOperationException")
	_, err = client.ResumeService(t.Context(), &sdkrunner.ResumeServiceInput{ServiceArn: aws.String(arn)})
	wantCode(t, err, "InternalServiceErrorException")
	_, err = sdkrunner.NewFromConfig(sdkConfig(t, "wrong")).ListServices(t.Context(), &sdkrunner.ListServicesInput{})
	wantCode(t, err, "InvalidSignatureException")
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestOfficialECRClient(t *testing.T) {
	client := sdkecr.NewFromConfig(sdkConfig(t, root.SecretAccessKey))
	made, err := client.CreateRepository(t.Context(), &sdkecr.CreateRepositoryInput{RepositoryName: aws.String("team/app"), ImageTagMutability: ecrtypes.ImageTagMutabilityImmutable})
	if err != nil || *made.Repository.RepositoryName != "team/app" || made.Repository.ImageTagMutability != ecrtypes.ImageTagMutabilityImmutable || !made.Repository.CreatedAt.Equal(created) {
		t.Errorf("got %+v, %v", made, err)
	}
	token, err := client.GetAuthorizationToken(t.Context(), &sdkecr.GetAuthorizationTokenInput{})
	if err != nil || *token.AuthorizationData[0].AuthorizationToken != "QVdTOng=" {
		t.Errorf("got %+v, %v", token, err)
	}
	_, err = client.CreateRepository(t.Context(), &sdkecr.CreateRepositoryInput{RepositoryName: aws.String("UPPER")})
	wantCode(t, err, "InvalidParameterException")
}

func TestOfficialLogsClient(t *testing.T) {
	client := sdklogs.NewFromConfig(sdkConfig(t, root.SecretAccessKey))
	if _, err := client.CreateLogGroup(t.Context(), &sdklogs.CreateLogGroupInput{LogGroupName: aws.String("/aws/x"), Tags: map[string]string{"a": "b"}}); err != nil {
		t.Error(err)
	}
	found, err := client.FilterLogEvents(t.Context(), &sdklogs.FilterLogEventsInput{LogGroupName: aws.String("/aws/x"), FilterPattern: aws.String("{ $.a = 1 }"), StartTime: aws.Int64(1795359600123)})
	if err != nil || *found.Events[0].Message != "{ $.a = 1 }" || *found.Events[0].Timestamp != 1795359600123 {
		t.Errorf("got %+v, %v", found, err)
	}
	_, err = client.PutLogEvents(t.Context(), &sdklogs.PutLogEventsInput{LogGroupName: aws.String("g"), LogStreamName: aws.String("s"), LogEvents: []logstypes.InputLogEvent{{Message: aws.String("m"), Timestamp: aws.Int64(1)}}})
	if e, ok := errors.AsType[*logstypes.DataAlreadyAcceptedException](err); !ok || *e.ExpectedSequenceToken != "t" {
		t.Errorf("got %v", err)
	}
}

func TestOfficialSTSClient(t *testing.T) {
	config := sdkConfig(t, root.SecretAccessKey)
	got, err := sdksts.NewFromConfig(config).GetCallerIdentity(t.Context(), &sdksts.GetCallerIdentityInput{})
	if err != nil || *got.Account != account || *got.Arn != "arn:aws:iam::000000000000:root" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = sdksts.NewFromConfig(config).GetSessionToken(t.Context(), &sdksts.GetSessionTokenInput{})
	wantCode(t, err, "InvalidAction")
	_, err = sdksts.NewFromConfig(sdkConfig(t, "wrong")).GetCallerIdentity(t.Context(), &sdksts.GetCallerIdentityInput{})
	wantCode(t, err, "SignatureDoesNotMatch")
	signed, err := sdksts.NewPresignClient(sdksts.NewFromConfig(config)).PresignGetCallerIdentity(t.Context(), &sdksts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), signed.Method, signed.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != 200 || response.Body.Close() != nil {
		t.Errorf("presigned: %v %v", response, err)
	}
}
