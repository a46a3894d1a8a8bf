package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

func TestAutoScalingConfigurations(t *testing.T) {
	b := newBench(t)
	make := func(name string) AutoScalingDetail {
		t.Helper()
		a, err := b.CreateAutoScalingConfiguration(ctx, scope, CreateAutoScalingInput{Name: name, MinSize: ptr(2)})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	one, two := make("high"), make("high")
	if one.Revision != 1 || two.Revision != 2 || !two.Latest || two.MinSize != 2 || two.MaxSize != 25 {
		t.Errorf("revisions %+v, %+v", one, two)
	}
	partial := scope.ARN("apprunner", "autoscalingconfiguration/high")
	if got, err := b.DescribeAutoScalingConfiguration(ctx, scope, partial); err != nil || got.Revision != 2 {
		t.Errorf("by name: %+v, %v", got, err)
	}
	if got, err := b.DescribeAutoScalingConfiguration(ctx, scope, partial+"/1"); err != nil || got.ID != one.ID || got.Latest {
		t.Errorf("by name and revision: %+v, %v", got, err)
	}
	list := func(in ListConfigurationsInput) (names []string) {
		page, err := b.ListAutoScalingConfigurations(ctx, scope, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Items {
			names = append(names, fmt.Sprintf("%s/%d", a.Name, a.Revision))
		}
		return names
	}
	if got := list(ListConfigurationsInput{LatestOnly: true}); !slices.Equal(got, []string{"DefaultConfiguration/1", "high/2"}) {
		t.Errorf("latest only: %v", got)
	}
	if got := list(ListConfigurationsInput{Name: "high"}); !slices.Equal(got, []string{"high/1", "high/2"}) {
		t.Errorf("by name: %v", got)
	}
	arn := b.createARN("hello", func(in *CreateServiceInput) { in.ScalingARN = &partial })
	page, err := b.ListServicesForAutoScalingConfiguration(ctx, scope, partial, PageRequest{})
	if err != nil || !slices.Equal(page.Items, []string{arn}) {
		t.Errorf("services for: %v, %v", page.Items, err)
	}
	_, err = b.DeleteAutoScalingConfiguration(ctx, scope, partial, false)
	wants(t, err, app.KindInvalidRequest, "It's used by one or more services")
	_, err = b.DeleteAutoScalingConfiguration(ctx, scope, partial+"/1", true)
	wants(t, err, app.KindInvalidRequest, "ends with the configuration's name")
	if got, err := b.DeleteAutoScalingConfiguration(ctx, scope, partial+"/1", false); err != nil || got.DeletedAt.IsZero() || got.Latest {
		t.Errorf("delete: %+v, %v", got, err)
	}
	_, err = b.DeleteAutoScalingConfiguration(ctx, scope, partial+"/1", false)
	wants(t, err, app.KindInvalidRequest, "The auto scaling configuration you specified has been deleted")
	if three := make("high"); three.Revision != 3 {
		t.Errorf("a revision number was used again: %d", three.Revision)
	}
	builtin := scope.ARN("apprunner", "autoscalingconfiguration/DefaultConfiguration")
	_, err = b.DeleteAutoScalingConfiguration(ctx, scope, builtin, true)
	wants(t, err, app.KindInvalidRequest, "default")
	if got, err := b.UpdateDefaultAutoScalingConfiguration(ctx, scope, partial); err != nil || !got.Default {
		t.Errorf("update default: %+v, %v", got, err)
	}
	if got, err := b.DeleteAutoScalingConfiguration(ctx, scope, builtin, true); err != nil || got.Name != "DefaultConfiguration" {
		t.Errorf("delete the former default: %+v, %v", got, err)
	}
	_, err = b.CreateAutoScalingConfiguration(ctx, scope, CreateAutoScalingInput{Name: "wrong", MinSize: ptr(5), MaxSize: ptr(3)})
	wants(t, err, app.KindInvalidRequest, "MinSize (5) cannot be greater than MaxSize (3)")
	_, err = b.CreateAutoScalingConfiguration(ctx, scope, CreateAutoScalingInput{Name: "wrong", MaxSize: ptr(26)})
	wants(t, err, app.KindInvalidRequest, "MaxSize is 26")
	for range 3 {
		make("high")
	}
	_, err = b.CreateAutoScalingConfiguration(ctx, scope, CreateAutoScalingInput{Name: "high"})
	wants(t, err, app.KindQuota, "5 active revisions")
}

func TestServiceQuota(t *testing.T) {
	b := newBench(t)
	for n := range 30 {
		b.create(fmt.Sprintf("service-%d", n))
	}
	_, _, err := b.CreateService(ctx, scope, CreateServiceInput{Name: "one-more", Source: imageSource(hello)})
	wants(t, err, app.KindQuota, "30 services")
	elsewhere := app.Scope{Account: scope.Account, Region: "eu-west-1"}
	if _, _, err := b.CreateService(ctx, elsewhere, CreateServiceInput{Name: "one-more", Source: imageSource(hello)}); err != nil {
		t.Errorf("another region is full too: %v", err)
	}
	seen := 0
	for token, more := "", true; more; more = token != "" {
		page, err := b.ListServices(ctx, scope, PageRequest{MaxResults: 7, NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		seen, token = seen+len(page.Items), page.NextToken
	}
	if seen != 30 {
		t.Errorf("pages hold %d services, want 30", seen)
	}
	page, _ := b.ListServices(ctx, scope, PageRequest{MaxResults: 7})
	_, err = b.ListServices(ctx, elsewhere, PageRequest{MaxResults: 7, NextToken: page.NextToken})
	wants(t, err, app.KindInvalidRequest, "NextToken is invalid")
	_, err = b.ListServices(ctx, scope, PageRequest{NextToken: "bogus"})
	wants(t, err, app.KindInvalidRequest, "NextToken is invalid")
}

func TestObservabilityAndConnections(t *testing.T) {
	b := newBench(t)
	_, err := b.CreateObservabilityConfiguration(ctx, scope, CreateObservabilityInput{Name: "DefaultConfiguration"})
	wants(t, err, app.KindInvalidRequest, "reserved")
	o, err := b.CreateObservabilityConfiguration(ctx, scope, CreateObservabilityInput{Name: "traces", TraceVendor: "AWSXRAY"})
	if err != nil || o.Revision != 1 || !o.Latest {
		t.Fatalf("%+v, %v", o, err)
	}
	arn := o.ARN()
	b.create("hello", func(in *CreateServiceInput) {
		in.Observability = &ObservabilityInput{Enabled: true, ConfigurationARN: &arn}
	})
	_, err = b.DeleteObservabilityConfiguration(ctx, scope, arn)
	wants(t, err, app.KindInvalidRequest, "used by one or more services")
	page, err := b.ListObservabilityConfigurations(ctx, scope, ListConfigurationsInput{LatestOnly: true})
	if err != nil || len(page.Items) != 2 {
		t.Errorf("%+v, %v", page, err)
	}
	conn, err := b.CreateConnection(ctx, scope, "github", "GITHUB", app.Tags{"a": "b"})
	if err != nil || conn.Status != "PENDING_HANDSHAKE" {
		t.Fatalf("%+v, %v", conn, err)
	}
	_, err = b.CreateConnection(ctx, scope, "github", "GITHUB", nil)
	wants(t, err, app.KindInvalidRequest, "already exists")
	if got, err := b.DeleteConnection(ctx, scope, conn.ARN()); err != nil || got.Status != "DELETED" {
		t.Errorf("%+v, %v", got, err)
	}
	if page, err := b.ListConnections(ctx, scope, "github", PageRequest{}); err != nil || len(page.Items) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
	_, err = b.DeleteConnection(ctx, scope, conn.ARN())
	wants(t, err, app.KindNotFound, "does not exist")
}

func TestTagsAndSettings(t *testing.T) {
	b := newBench(t)
	arn := b.createARN("hello", func(in *CreateServiceInput) { in.Tags = app.Tags{"team": "a", "funade:stop-timeout": "7"} })
	tags := app.Tags{}
	for n := range 49 {
		tags[fmt.Sprint(n)] = "x"
	}
	wants(t, b.TagResource(ctx, scope, arn, tags), app.KindInvalidRequest, "at most 50 tags")
	wants(t, b.TagResource(ctx, scope, arn, app.Tags{"funade:stop-timeout": "0"}), app.KindInvalidRequest, "not valid")
	if err := b.TagResource(ctx, scope, arn, app.Tags{"team": "b", "funade:request-timeout": "300"}); err != nil {
		t.Fatal(err)
	}
	got, err := b.ListTagsForResource(ctx, scope, arn)
	if err != nil || fmt.Sprint(got) != "map[funade:request-timeout:300 funade:stop-timeout:7 team:b]" {
		t.Errorf("%v, %v", got, err)
	}
	settings, _ := b.GetServiceSettings(ctx, scope, arn)
	if settings != (app.ServiceSettings{StartTimeout: 300 * time.Second, StopTimeout: 7 * time.Second, RequestTimeout: 300 * time.Second}) {
		t.Errorf("by tags: %+v", settings)
	}
	settings, err = b.PutServiceSettings(ctx, scope, arn, SettingsInput{StopTimeout: ptr(9 * time.Second)})
	if err != nil || settings.StopTimeout != 9*time.Second {
		t.Errorf("a row does not go before a tag: %+v, %v", settings, err)
	}
	if err := b.UntagResource(ctx, scope, arn, []string{"funade:request-timeout", "missing"}); err != nil {
		t.Fatal(err)
	}
	settings, _ = b.PutServiceSettings(ctx, scope, arn, SettingsInput{StopTimeout: ptr(time.Duration(0))})
	if settings.StopTimeout != 7*time.Second || settings.RequestTimeout != 120*time.Second {
		t.Errorf("after taking back: %+v", settings)
	}
	_, err = b.PutServiceSettings(ctx, scope, arn, SettingsInput{StartTimeout: ptr(2 * time.Hour)})
	wants(t, err, app.KindInvalidRequest, "StartTimeoutSeconds")
	wants(t, b.TagResource(ctx, scope, scope.ARN("s3", "bucket/x"), nil), app.KindInvalidRequest, "can have tags")
}

func manifest(repo app.RepositoryKey, n int, tags ...string) app.Manifest {
	return app.Manifest{Repository: repo, Digest: app.Digest(fmt.Sprintf("sha256:%064x", n)), MediaType: "m", Tags: tags}
}

func TestRepositoriesAndImages(t *testing.T) {
	b := newBench(t)
	repo := app.RepositoryKey{Scope: scope, Name: "team/hello"}
	k := b.Catalog()
	wants(t, k.PutManifest(ctx, manifest(repo, 1)), app.KindNotFound, "does not exist in the registry")
	if _, err := b.CreateRepository(ctx, repo, CreateRepositoryInput{}); err != nil {
		t.Fatal(err)
	}
	_, err := b.CreateRepository(ctx, repo, CreateRepositoryInput{})
	wants(t, err, app.KindExists, "already exists")
	_, err = b.CreateRepository(ctx, app.RepositoryKey{Scope: scope, Name: "UPPER"}, CreateRepositoryInput{})
	wants(t, err, app.KindInvalidRequest, "repositoryName")
	for _, m := range []app.Manifest{manifest(repo, 1, "v1", "latest"), manifest(repo, 2, "latest"), manifest(repo, 3)} {
		if err := k.PutManifest(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := k.Manifest(ctx, repo, "latest"); err != nil || m.Digest != manifest(repo, 2).Digest {
		t.Errorf("latest is %v, %v", m.Digest, err)
	}
	if m, _ := k.Manifest(ctx, repo, string(manifest(repo, 1).Digest)); !slices.Equal(m.Tags, []string{"v1"}) {
		t.Errorf("a moved tag stays: %v", m.Tags)
	}
	ids, err := b.ListImages(ctx, repo, TagAny, PageRequest{MaxResults: 2})
	if err != nil || len(ids.Items) != 2 || ids.NextToken == "" {
		t.Fatalf("%+v, %v", ids, err)
	}
	rest, err := b.ListImages(ctx, repo, TagAny, PageRequest{MaxResults: 2, NextToken: ids.NextToken})
	if err != nil || len(rest.Items) != 1 || rest.NextToken != "" {
		t.Errorf("%+v, %v", rest, err)
	}
	if page, _ := b.DescribeImages(ctx, repo, nil, Untagged, PageRequest{}); len(page.Items) != 1 {
		t.Errorf("untagged: %+v", page.Items)
	}
	_, err = b.DescribeImages(ctx, repo, []ImageID{{Tag: "none"}}, "", PageRequest{})
	wants(t, err, app.KindNotFound, "imageTag:'none'")
	if _, err := b.PutImageTagMutability(ctx, repo, true); err != nil {
		t.Fatal(err)
	}
	wants(t, k.PutManifest(ctx, manifest(repo, 4, "v1")), app.KindExists, "immutable")
	if err := k.PutManifest(ctx, manifest(repo, 1, "v1")); err != nil {
		t.Errorf("the same image again: %v", err)
	}
	_, err = b.DeleteRepository(ctx, repo, false)
	wants(t, err, app.KindInvalidState, "still contains images")
	deleted, failures, err := b.BatchDeleteImage(ctx, repo, []ImageID{{Tag: "v1"}, {Tag: "none"}, {}})
	if err != nil || len(deleted) != 1 || len(failures) != 2 || failures[0].Code != "ImageNotFound" || failures[1].Code != "MissingDigestAndTag" {
		t.Errorf("deleted %v, failures %v, %v", deleted, failures, err)
	}
	if err := k.Link(ctx, repo, "sha256:b"); err != nil {
		t.Fatal(err)
	}
	if ok, _ := k.Linked(ctx, repo, "sha256:b"); !ok {
		t.Error("a linked blob is not linked")
	}
	if _, err := b.DeleteRepository(ctx, repo, true); err != nil {
		t.Fatal(err)
	}
	blobs, _ := k.LinkedBlobs(ctx)
	roots, _ := k.Roots(ctx)
	if len(blobs)+len(roots) != 0 {
		t.Errorf("a deleted repository left blobs %v, roots %v", blobs, roots)
	}
}

func TestLifecyclePolicyIsApplied(t *testing.T) {
	b := newBench(t)
	repo := app.RepositoryKey{Scope: scope, Name: "hello"}
	if _, err := b.CreateRepository(ctx, repo, CreateRepositoryInput{}); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		b.now = b.now.Add(time.Minute)
		if err := b.Catalog().PutManifest(ctx, manifest(repo, n, fmt.Sprint("v", n))); err != nil {
			t.Fatal(err)
		}
	}
	policy := `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":2},"action":{"type":"expire"}}]}`
	if _, err := b.PutLifecyclePolicy(ctx, repo, policy); err != nil {
		t.Fatal(err)
	}
	_, err := b.PutLifecyclePolicy(ctx, repo, `{"rules":[]}`)
	if app.KindOf(err) != app.KindInvalidRequest {
		t.Errorf("an empty policy: %v", err)
	}
	if _, err := b.Keeper().Pass(ctx); err != nil {
		t.Fatal(err)
	}
	page, _ := b.DescribeImages(ctx, repo, nil, "", PageRequest{})
	var tags []string
	for _, m := range page.Items {
		tags = append(tags, m.Tags...)
	}
	if !slices.Equal(tags, []string{"v3", "v4"}) {
		t.Errorf("left %v, want v3 and v4", tags)
	}
	if p, err := b.GetLifecyclePolicy(ctx, repo); err != nil || !p.EvaluatedAt.Equal(b.now) {
		t.Errorf("evaluated at %v, %v; want %v", p.EvaluatedAt, err, b.now)
	}
}

func TestAutodeploy(t *testing.T) {
	b := newBench(t)
	repo := app.RepositoryKey{Scope: scope, Name: "hello"}
	if _, err := b.CreateRepository(ctx, repo, CreateRepositoryInput{}); err != nil {
		t.Fatal(err)
	}
	push := func(n int, tag string) {
		t.Helper()
		if err := b.Catalog().PutManifest(ctx, manifest(repo, n, tag)); err != nil {
			t.Fatal(err)
		}
	}
	arn := b.createARN("hello")
	byHost := b.createARN("by-host", func(in *CreateServiceInput) {
		in.Source.Image.Identifier = ptr("localhost:4566/hello:v1")
	})
	pinned := b.createARN("pinned", func(in *CreateServiceInput) {
		in.Source.Image.Identifier = ptr(hello + "@" + string(digest))
		in.Source.AutoDeployments = ptr(true)
	})
	off := b.createARN("manual", func(in *CreateServiceInput) { in.Source.AutoDeployments = ptr(false) })
	push(1, "v1") // during the creation: remembered
	b.settle()
	deployments := func(arn string) int {
		return strings.Count(strings.Join(b.operations(arn), "\n"), "START_DEPLOYMENT SUCCEEDED")
	}
	for arn, want := range map[string]int{arn: 1, byHost: 1, pinned: 0, off: 0} {
		if got := deployments(arn); got != want {
			t.Errorf("%s: %d deployments after a push during its creation, want %d", arn, got, want)
		}
	}
	roots, err := b.Catalog().Roots(ctx)
	if err != nil || !slices.Contains(roots, digest) || !slices.Contains(roots, manifest(repo, 1).Digest) {
		t.Errorf("roots %v, %v: what runs and what is in a repository has to be there", roots, err)
	}
	push(2, "v2")
	b.settle()
	if got := deployments(arn); got != 1 {
		t.Errorf("a push to another tag deploys: %d", got)
	}
	push(3, "v1")
	b.settle()
	push(3, "v1") // the same again
	b.settle()
	if got := deployments(arn); got != 2 {
		t.Errorf("%d deployments after a push, want 2", got)
	}
	if _, _, err := b.PauseService(ctx, scope, arn); err != nil {
		t.Fatal(err)
	}
	b.settle()
	push(4, "v1")
	if _, _, err := b.ResumeService(ctx, scope, arn); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := deployments(arn); got != 2 {
		t.Errorf("a push to a paused service is replayed: %d", got)
	}
}

func TestFailedUpdateRollsBack(t *testing.T) {
	b := newBench(t)
	arn := b.createARN("hello")
	b.settle()
	if _, _, err := b.UpdateService(ctx, scope, arn, UpdateServiceInput{Source: &SourceInput{Image: &ImageInput{Config: &ImageConfigInput{Port: ptr("1234")}}}}); err != nil {
		t.Fatal(err)
	}
	svc := b.describe(arn)
	err := b.store.Update(ctx, func(tx *store.Tx) error {
		store.Observed.ImageStatuses.Put(tx, app.ImageStatus{Service: svc.ID, Revision: 2, Error: "The tag v1 is gone.", Permanent: true})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	svc = b.describe(arn)
	if svc.Status != app.ServiceRunning || svc.Routed != 1 || svc.Config.Source.Port != 8080 {
		t.Errorf("after the rollback: %s, revision %d, port %d", svc.Status, svc.Routed, svc.Config.Source.Port)
	}
	if got := b.operations(arn)[0]; got != "UPDATE_SERVICE ROLLBACK_SUCCEEDED" {
		t.Errorf("operation %s", got)
	}
	events := strings.Join(b.events(svc.ID), "\n")
	for _, want := range []string{"Failure reason : The image could not be pulled: The tag v1 is gone.", "Service update failed. For details, see service logs."} {
		if !strings.Contains(events, want) {
			t.Errorf("events lack %q:\n%s", want, events)
		}
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t)
	arn := b.createARN("hello")
	_, err := b.CancelOperation(ctx, scope, arn, "another")
	wants(t, err, app.KindInvalidState, "not another")
	if _, err := b.CancelOperation(ctx, scope, arn, ""); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := b.describe(arn); got.Status != app.ServiceCreateFailed {
		t.Errorf("after cancelling the creation: %s", got.Status)
	}
	if _, _, err := b.UpdateService(ctx, scope, arn, UpdateServiceInput{}); err != nil {
		t.Fatalf("rebuild: %v", err)
	}
	b.settle()
	if got := b.describe(arn); got.Status != app.ServiceRunning {
		t.Errorf("after the rebuild: %s", got.Status)
	}
}

func TestLogGroups(t *testing.T) {
	b := newBench(t)
	group := app.LogGroupKey{Scope: scope, Name: "/my/group"}
	stream := app.LogStreamKey{Group: group, Stream: "one"}
	wants(t, b.CreateLogStream(ctx, stream), app.KindNotFound, "log group does not exist")
	if err := b.CreateLogGroup(ctx, group, CreateLogGroupInput{Tags: app.Tags{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	wants(t, b.CreateLogGroup(ctx, group, CreateLogGroupInput{}), app.KindExists, "already exists")
	wants(t, b.CreateLogGroup(ctx, app.LogGroupKey{Scope: scope, Name: "a b"}, CreateLogGroupInput{}), app.KindInvalidRequest, "logGroupName")
	wants(t, b.CreateLogStream(ctx, app.LogStreamKey{Group: group, Stream: "a:b"}), app.KindInvalidRequest, "stream name")
	if err := b.LogGroups().Ensure(ctx, stream); err != nil {
		t.Fatal(err)
	}
	wants(t, b.CreateLogStream(ctx, stream), app.KindExists, "already exists")
	wants(t, b.PutRetentionPolicy(ctx, group, 2), app.KindInvalidRequest, "2 days")
	if err := b.PutRetentionPolicy(ctx, group, 7); err != nil {
		t.Fatal(err)
	}
	if g, err := b.LogGroup(ctx, group); err != nil || g.RetentionDays != 7 {
		t.Errorf("%+v, %v", g, err)
	}
	if page, err := b.DescribeLogGroups(ctx, scope, DescribeLogGroupsInput{Prefix: "/my"}); err != nil || len(page.Items) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	if tags, err := b.ListTagsForResource(ctx, scope, group.ARN()+":*"); err != nil || tags["a"] != "b" {
		t.Errorf("%v, %v", tags, err)
	}
	if err := b.DeleteLogGroup(ctx, group); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DescribeLogStreams(ctx, group, "", PageRequest{}); app.KindOf(err) != app.KindNotFound {
		t.Errorf("streams of a deleted group: %v", err)
	}
}
