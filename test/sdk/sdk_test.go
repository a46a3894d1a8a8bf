package sdk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/funade/funade/build/ociimage"
	"github.com/funade/funade/test/harness"
)

// api is one running server with the SDK's clients.
type api struct {
	server    *harness.Server
	cfg       aws.Config
	apprunner *apprunner.Client
	ecr       *ecr.Client
	logs      *cloudwatchlogs.Client
	sts       *sts.Client
}

// shared is the server of all tests; TestMain is inside the namespaces when it is made.
var shared *api

func TestMain(m *testing.M) { harness.Main(m) }

// connect starts the server with the first test that needs it; the last one stops it.
func connect(t *testing.T) *api {
	t.Helper()
	if shared != nil {
		return shared
	}
	t.Fatal("TestAPI starts the server; run it, with a subtest of your choice")
	return nil
}

// TestAPI runs all tests against one server.
func TestAPI(t *testing.T) {
	ctx := context.Background()
	server, err := harness.NewServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", server.LogTail())
		}
		if err := server.Purge(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	env, err := server.Env(ctx)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		values[k] = v
	}
	cfg := aws.Config{
		Region: values["AWS_REGION"], BaseEndpoint: aws.String(values["AWS_ENDPOINT_URL"]),
		Credentials:      credentials.NewStaticCredentialsProvider(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"], ""),
		RetryMaxAttempts: 1,
	}
	shared = &api{server, cfg, apprunner.NewFromConfig(cfg), ecr.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg), sts.NewFromConfig(cfg)}
	t.Run("Errors", testErrors)
	t.Run("Signatures", testSignatures)
	t.Run("Tags", testTags)
	t.Run("Pagination", testPagination)
	t.Run("States", testStates)
}

// push brings an image of testapp into a new repository and returns its ImageIdentifier.
func (a *api) push(t *testing.T, repository string) string {
	t.Helper()
	ctx := t.Context()
	program, err := harness.TestApp()
	if err != nil {
		t.Fatal(err)
	}
	img, err := ociimage.Build(ociimage.Options{Program: program, Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := a.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &repository})
	if err != nil {
		t.Fatal(err)
	}
	token, err := a.ecr.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(fmt.Sprintf("%s/%s:v1", a.server.Registry(), repository), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	auth := authn.FromConfig(authn.AuthConfig{Auth: aws.ToString(token.AuthorizationData[0].AuthorizationToken)})
	if err := remote.Write(ref, img, remote.WithAuth(auth), remote.WithContext(ctx)); err != nil {
		t.Fatal(err)
	}
	return aws.ToString(repo.Repository.RepositoryUri) + ":v1"
}

// eventually polls until ok answers true.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}

// TestSuiteIsComplete keeps a test file from being written and never run: every func test… is named in TestAPI.
func TestSuiteIsComplete(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	for l := range strings.Lines(all.String()) {
		rest, ok := strings.CutPrefix(l, "func test")
		if !ok {
			continue
		}
		fn, _, _ := strings.Cut(rest, "(")
		if !strings.Contains(all.String(), fmt.Sprintf("t.Run(%q, test%s)", fn, fn)) {
			t.Errorf("test%s is not run by TestAPI", fn)
		}
	}
}
