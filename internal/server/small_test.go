package server_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"

	apifunade "github.com/funade/funade/internal/aws/api/funade"
	apiiam "github.com/funade/funade/internal/aws/api/iam"
	"github.com/funade/funade/internal/aws/sigv4"
	"github.com/funade/funade/internal/aws/wire"
	serveriam "github.com/funade/funade/internal/server/iam"
)

func TestCallerIdentity(t *testing.T) {
	a := newAPI(t)
	got, err := sdksts.NewFromConfig(a.config).GetCallerIdentity(t.Context(), &sdksts.GetCallerIdentityInput{})
	if err != nil || *got.Account != account || *got.Arn != "arn:aws:iam::000000000000:root" || *got.UserId != account {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestIAMGetUser(t *testing.T) {
	h := serveriam.New(testTime)
	ctx := wire.WithCaller(t.Context(), wire.Caller{Account: account, UserID: account, ARN: "arn:aws:iam::000000000000:root"})
	got, err := h.GetUser(ctx, &apiiam.GetUserInput{})
	if err != nil || *got.User.UserName != "root" || *got.User.Arn != "arn:aws:iam::000000000000:root" || !got.User.CreateDate.Equal(testTime) || *got.User.Path != "/" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = h.GetUser(ctx, &apiiam.GetUserInput{UserName: aws.String("nobody")})
	if _, ok := errors.AsType[*apiiam.NoSuchEntityException](err); !ok {
		t.Errorf("got %v", err)
	}
}

func TestExtensionService(t *testing.T) {
	a := newAPI(t)
	ctx := t.Context()
	c := apifunade.Client{Caller: &wire.Client{
		Service: apifunade.Descriptor, Endpoint: *a.config.BaseEndpoint, Region: region,
		Credentials: sigv4.Credentials{AccessKeyID: keyID, SecretAccessKey: secret},
	}}
	install, err := c.DescribeInstall(ctx, &apifunade.DescribeInstallInput{})
	if err != nil || *install.Domain != "apps.test" || *install.AccountId != account || *install.HttpsPort != 443 || install.CaCertificate != nil {
		t.Errorf("got %+v, %v", install, err)
	}
	arn := a.create("hello").ServiceArn
	put, err := c.PutServiceSettings(ctx, &apifunade.PutServiceSettingsInput{ServiceArn: arn, Settings: &apifunade.Settings{StopTimeoutSeconds: aws.Int32(7)}})
	if err != nil || *put.Settings.StopTimeoutSeconds != 7 || *put.Settings.StartTimeoutSeconds != 300 || *put.Settings.RequestTimeoutSeconds != 120 {
		t.Errorf("got %+v, %v", put, err)
	}
	list, err := c.ListInstances(ctx, &apifunade.ListInstancesInput{ServiceArn: arn})
	if err != nil || len(list.Instances) != 1 || list.Instances[0].State != "RUNNING" || *list.Instances[0].Revision != 1 {
		t.Errorf("got %+v, %v", list, err)
	}
	revisions, err := c.ListRevisions(ctx, &apifunade.ListRevisionsInput{ServiceArn: arn})
	if err != nil || len(revisions.Revisions) != 1 || !*revisions.Revisions[0].Active || *revisions.Revisions[0].ImageDigest != string(someDigest) {
		t.Errorf("got %+v, %v", revisions, err)
	}
	key, err := c.RotateRootKey(ctx, &apifunade.RotateRootKeyInput{})
	if err != nil || *key.AccessKeyId != "AKIANEW" {
		t.Errorf("got %+v, %v", key, err)
	}
	wantRefusal := func(err error, code string) {
		t.Helper()
		if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	_, err = c.CancelOperation(ctx, &apifunade.CancelOperationInput{ServiceArn: arn})
	wantRefusal(err, "InvalidStateException")
	_, err = c.RollbackService(ctx, &apifunade.RollbackServiceInput{ServiceArn: arn})
	wantRefusal(err, "InvalidStateException")
	_, err = c.ListInstances(ctx, &apifunade.ListInstancesInput{ServiceArn: aws.String(unknownARN)})
	wantRefusal(err, "ResourceNotFoundException")
}
