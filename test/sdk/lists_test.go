package sdk

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apprunner"
	artypes "github.com/aws/aws-sdk-go-v2/service/apprunner/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

func appRunnerTags(t *testing.T, a *api, arn string) map[string]string {
	t.Helper()
	out, err := a.apprunner.ListTagsForResource(t.Context(), &apprunner.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, tag := range out.Tags {
		got[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	return got
}

func testTags(t *testing.T) {
	a := connect(t)
	ctx := t.Context()
	scaling, err := a.apprunner.CreateAutoScalingConfiguration(ctx, &apprunner.CreateAutoScalingConfigurationInput{
		AutoScalingConfigurationName: aws.String("tags"), MaxSize: aws.Int32(3),
		Tags: []artypes.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := aws.ToString(scaling.AutoScalingConfiguration.AutoScalingConfigurationArn)
	if got := appRunnerTags(t, a, arn); len(got) != 2 || got["a"] != "1" {
		t.Errorf("after creation: %v", got)
	}
	if _, err := a.apprunner.TagResource(ctx, &apprunner.TagResourceInput{ResourceArn: &arn, Tags: []artypes.Tag{{Key: aws.String("a"), Value: aws.String("2")}, {Key: aws.String("c"), Value: aws.String("3")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.apprunner.UntagResource(ctx, &apprunner.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"b", "unknown"}}); err != nil {
		t.Fatal(err)
	}
	if got := appRunnerTags(t, a, arn); len(got) != 2 || got["a"] != "2" || got["c"] != "3" {
		t.Errorf("after changes: %v", got)
	}
	var many []artypes.Tag
	for i := range 51 {
		many = append(many, artypes.Tag{Key: aws.String(fmt.Sprintf("k%d", i)), Value: aws.String("v")})
	}
	if _, err := a.apprunner.TagResource(ctx, &apprunner.TagResourceInput{ResourceArn: &arn, Tags: many}); err == nil {
		t.Error("51 tags accepted")
	}
	repo, err := a.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("tagged"), Tags: []ecrtypes.Tag{{Key: aws.String("a"), Value: aws.String("1")}}})
	if err != nil {
		t.Fatal(err)
	}
	tags, err := a.ecr.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: repo.Repository.RepositoryArn})
	if err != nil || len(tags.Tags) != 1 || aws.ToString(tags.Tags[0].Value) != "1" {
		t.Errorf("repository: %v, %v", tags, err)
	}
	if _, err := a.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("tagged"), Tags: map[string]string{"a": "1"}}); err != nil {
		t.Fatal(err)
	}
	group, err := a.logs.ListTagsForResource(ctx, &cloudwatchlogs.ListTagsForResourceInput{ResourceArn: aws.String("arn:aws:logs:us-east-1:000000000000:log-group:tagged")})
	if err != nil || group.Tags["a"] != "1" {
		t.Errorf("log group: %v, %v", group, err)
	}
}

// testPagination walks lists in pages: nothing is missing, nothing comes twice.
func testPagination(t *testing.T) {
	a := connect(t)
	ctx := t.Context()
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("page-%d", i)
		want = append(want, name)
		if _, err := a.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &name}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.apprunner.CreateAutoScalingConfiguration(ctx, &apprunner.CreateAutoScalingConfigurationInput{AutoScalingConfigurationName: &name}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &name}); err != nil {
			t.Fatal(err)
		}
	}
	var repos, configs, groups []string
	for p := ecr.NewDescribeRepositoriesPaginator(a.ecr, &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(3)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Repositories {
			repos = append(repos, aws.ToString(r.RepositoryName))
		}
	}
	for p := apprunner.NewListAutoScalingConfigurationsPaginator(a.apprunner, &apprunner.ListAutoScalingConfigurationsInput{MaxResults: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.AutoScalingConfigurationSummaryList) > 2 {
			t.Errorf("a page of %d, asked for 2", len(page.AutoScalingConfigurationSummaryList))
		}
		for _, c := range page.AutoScalingConfigurationSummaryList {
			configs = append(configs, aws.ToString(c.AutoScalingConfigurationName))
		}
	}
	for p := cloudwatchlogs.NewDescribeLogGroupsPaginator(a.logs, &cloudwatchlogs.DescribeLogGroupsInput{Limit: aws.Int32(3), LogGroupNamePrefix: aws.String("page-")}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range page.LogGroups {
			groups = append(groups, aws.ToString(g.LogGroupName))
		}
	}
	for what, got := range map[string][]string{"repositories": repos, "configurations": configs, "log groups": groups} {
		for _, w := range want {
			if n := count(got, w); n != 1 {
				t.Errorf("%s: %s came %d times in %v", what, w, n, got)
			}
		}
	}
}

func count(list []string, x string) int {
	return len(slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s != x }))
}

// testStates are the state rules that need a running service.
func testStates(t *testing.T) {
	a := connect(t)
	ctx := t.Context()
	identifier := a.push(t, "states")
	out, err := a.apprunner.CreateService(ctx, &apprunner.CreateServiceInput{ServiceName: aws.String("states"), SourceConfiguration: image(identifier, artypes.ImageRepositoryTypeEcr)})
	if err != nil {
		t.Fatal(err)
	}
	arn := out.Service.ServiceArn
	status := func() artypes.ServiceStatus {
		got, err := a.apprunner.DescribeService(ctx, &apprunner.DescribeServiceInput{ServiceArn: arn})
		if err != nil {
			t.Fatal(err)
		}
		return got.Service.Status
	}
	if out.Service.Status != artypes.ServiceStatusOperationInProgress || aws.ToString(out.OperationId) == "" {
		t.Errorf("creation answered %s, operation %q", out.Service.Status, aws.ToString(out.OperationId))
	}
	if _, err := a.apprunner.CreateService(ctx, &apprunner.CreateServiceInput{ServiceName: aws.String("states"), SourceConfiguration: image(identifier, artypes.ImageRepositoryTypeEcr)}); codeOf(err) != "InvalidRequestException" {
		t.Errorf("second creation: %v", err)
	}
	eventually(t, time.Minute, "service RUNNING", func() bool { return status() == artypes.ServiceStatusRunning })
	resumed, err := a.apprunner.ResumeService(ctx, &apprunner.ResumeServiceInput{ServiceArn: arn})
	if err != nil || resumed.OperationId != nil {
		t.Errorf("resume of a running service: %+v, %v; want no operation", resumed, err)
	}
	if _, err := a.apprunner.PauseService(ctx, &apprunner.PauseServiceInput{ServiceArn: arn}); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "service PAUSED", func() bool { return status() == artypes.ServiceStatusPaused })
	if _, err := a.apprunner.UpdateService(ctx, &apprunner.UpdateServiceInput{ServiceArn: arn}); codeOf(err) != "InvalidStateException" {
		t.Errorf("update while paused: %v", err)
	}
	if _, err := a.apprunner.StartDeployment(ctx, &apprunner.StartDeploymentInput{ServiceArn: arn}); codeOf(err) != "InvalidRequestException" {
		t.Errorf("deployment while paused: %v", err)
	}
	if _, err := a.apprunner.DeleteService(ctx, &apprunner.DeleteServiceInput{ServiceArn: arn}); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "service DELETED", func() bool { return status() == artypes.ServiceStatusDeleted })
	if _, err := a.apprunner.DeleteService(ctx, &apprunner.DeleteServiceInput{ServiceArn: arn}); codeOf(err) != "ResourceNotFoundException" {
		t.Errorf("second deletion: %v", err)
	}
}
