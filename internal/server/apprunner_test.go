package server_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/apprunner"
	"github.com/aws/aws-sdk-go-v2/service/apprunner/types"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

const unknownARN = "arn:aws:apprunner:us-east-1:000000000000:service/none/0123456789abcdef0123456789abcdef"

func TestCreatedServiceHasAllDefaults(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	out, err := c.CreateService(ctx, &sdk.CreateServiceInput{
		ServiceName: aws.String("hello"), SourceConfiguration: source(),
		InstanceConfiguration: &types.InstanceConfiguration{Cpu: aws.String("1 vCPU"), Memory: aws.String("3 GB")},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := out.Service
	if *out.OperationId == "" || s.Status != types.ServiceStatusOperationInProgress || s.DeletedAt != nil || s.EncryptionConfiguration != nil {
		t.Errorf("got %+v", s)
	}
	if *s.InstanceConfiguration.Cpu != "1024" || *s.InstanceConfiguration.Memory != "3072" {
		t.Errorf("sizes are %s and %s", *s.InstanceConfiguration.Cpu, *s.InstanceConfiguration.Memory)
	}
	if s.ObservabilityConfiguration != nil {
		t.Error("an ObservabilityConfiguration was made up")
	}
	n := s.NetworkConfiguration
	if n.EgressConfiguration.EgressType != types.EgressTypeDefault || !n.IngressConfiguration.IsPubliclyAccessible || n.IpAddressType != types.IpAddressTypeIpv4 {
		t.Errorf("the network is %+v", n)
	}
	h := s.HealthCheckConfiguration
	if h.Protocol != types.HealthCheckProtocolTcp || *h.Path != "/" || *h.Interval != 5 || *h.Timeout != 2 || *h.HealthyThreshold != 1 || *h.UnhealthyThreshold != 5 {
		t.Errorf("the health check is %+v", h)
	}
	if *s.SourceConfiguration.ImageRepository.ImageConfiguration.Port != "8080" || !*s.SourceConfiguration.AutoDeploymentsEnabled {
		t.Errorf("the source is %+v", s.SourceConfiguration)
	}
	if got := *s.ServiceUrl; len(got) != len("abcdefghij.us-east-1.apps.test") || got[10:] != ".us-east-1.apps.test" {
		t.Errorf("the URL is %q", got)
	}
	if *s.AutoScalingConfigurationSummary.AutoScalingConfigurationName != "DefaultConfiguration" || s.AutoScalingConfigurationSummary.Status != "active" {
		t.Errorf("scaling is %+v", s.AutoScalingConfigurationSummary)
	}
	a.settle()
	ops, err := c.ListOperations(ctx, &sdk.ListOperationsInput{ServiceArn: s.ServiceArn})
	if err != nil || len(ops.OperationSummaryList) != 1 {
		t.Fatalf("got %+v, %v", ops, err)
	}
	if op := ops.OperationSummaryList[0]; *op.Id != *out.OperationId || op.Type != types.OperationTypeCreateService || op.Status != types.OperationStatusSucceeded || *op.TargetArn != *s.ServiceArn || op.EndedAt == nil {
		t.Errorf("the operation is %+v", op)
	}
}

// The Go SDK leaves out members that are false.
func TestAbsentBooleansAreFalse(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	out, err := c.CreateService(ctx, &sdk.CreateServiceInput{
		ServiceName: aws.String("quiet"), SourceConfiguration: source(), ObservabilityConfiguration: &types.ServiceObservabilityConfiguration{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if o := out.Service.ObservabilityConfiguration; o == nil || o.ObservabilityEnabled || o.ObservabilityConfigurationArn != nil {
		t.Errorf("observability is %+v, want disabled", o)
	}
	_, err = c.CreateService(ctx, &sdk.CreateServiceInput{
		ServiceName: aws.String("private"), SourceConfiguration: source(),
		NetworkConfiguration: &types.NetworkConfiguration{IngressConfiguration: &types.IngressConfiguration{}},
	})
	wantError(t, err, "InvalidRequestException", "IsPubliclyAccessible false")
	// A row that says private is shown without a URL.
	err = a.store.Update(ctx, func(tx *store.Tx) error {
		for s := range store.Services.All(tx) {
			s.Config.Network.Public = false
			store.Control.Services.Put(tx, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.DescribeService(ctx, &sdk.DescribeServiceInput{ServiceArn: out.Service.ServiceArn})
	if err != nil || got.Service.ServiceUrl != nil || got.Service.NetworkConfiguration.IngressConfiguration.IsPubliclyAccessible {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDualStackIsShownAgain(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	out, err := c.CreateService(ctx, &sdk.CreateServiceInput{
		ServiceName: aws.String("dual"), SourceConfiguration: source(), NetworkConfiguration: &types.NetworkConfiguration{IpAddressType: types.IpAddressTypeDualStack},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.settle()
	got, err := c.DescribeService(ctx, &sdk.DescribeServiceInput{ServiceArn: out.Service.ServiceArn})
	if err != nil || got.Service.Status != types.ServiceStatusRunning || got.Service.NetworkConfiguration.IpAddressType != types.IpAddressTypeDualStack {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPauseResumeDelete(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	arn := a.create("hello").ServiceArn
	resumed, err := c.ResumeService(ctx, &sdk.ResumeServiceInput{ServiceArn: arn})
	if err != nil || resumed.OperationId != nil || resumed.Service.Status != types.ServiceStatusRunning {
		t.Errorf("resume of a running service: %+v, %v", resumed, err)
	}
	paused, err := c.PauseService(ctx, &sdk.PauseServiceInput{ServiceArn: arn})
	if err != nil || paused.OperationId == nil {
		t.Fatalf("pause: %+v, %v", paused, err)
	}
	a.settle()
	if paused, err = c.PauseService(ctx, &sdk.PauseServiceInput{ServiceArn: arn}); err != nil || paused.OperationId != nil || paused.Service.Status != types.ServiceStatusPaused {
		t.Errorf("second pause: %+v, %v", paused, err)
	}
	if resumed, err = c.ResumeService(ctx, &sdk.ResumeServiceInput{ServiceArn: arn}); err != nil || resumed.OperationId == nil {
		t.Errorf("resume: %+v, %v", resumed, err)
	}
	a.settle()
	deleted, err := c.DeleteService(ctx, &sdk.DeleteServiceInput{ServiceArn: arn})
	if err != nil || deleted.Service.Status != types.ServiceStatusOperationInProgress {
		t.Fatalf("delete: %+v, %v", deleted, err)
	}
	a.settle()
	got, err := c.DescribeService(ctx, &sdk.DescribeServiceInput{ServiceArn: arn})
	if err != nil || got.Service.Status != types.ServiceStatusDeleted || got.Service.DeletedAt == nil {
		t.Errorf("after the delete: %+v, %v", got, err)
	}
	list, err := c.ListServices(ctx, &sdk.ListServicesInput{})
	if err != nil || len(list.ServiceSummaryList) != 0 {
		t.Errorf("got %+v, %v", list, err)
	}
	_, err = c.DeleteService(ctx, &sdk.DeleteServiceInput{ServiceArn: arn})
	wantError(t, err, "ResourceNotFoundException", "")
}

func TestAppRunnerErrors(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	create := func(change func(*sdk.CreateServiceInput)) error {
		in := &sdk.CreateServiceInput{ServiceName: aws.String("other"), SourceConfiguration: source()}
		change(in)
		_, err := c.CreateService(ctx, in)
		return err
	}
	busy, err := c.CreateService(ctx, &sdk.CreateServiceInput{ServiceName: aws.String("busy"), SourceConfiguration: source()})
	if err != nil {
		t.Fatal(err)
	}
	arn := busy.Service.ServiceArn
	describe := func(arn string) error {
		_, err := c.DescribeService(ctx, &sdk.DescribeServiceInput{ServiceArn: &arn})
		return err
	}
	_, update := c.UpdateService(ctx, &sdk.UpdateServiceInput{ServiceArn: arn})
	_, start := c.StartDeployment(ctx, &sdk.StartDeploymentInput{ServiceArn: arn})
	_, remove := c.DeleteService(ctx, &sdk.DeleteServiceInput{ServiceArn: arn})
	_, pause := c.PauseService(ctx, &sdk.PauseServiceInput{ServiceArn: arn})
	_, page := c.ListServices(ctx, &sdk.ListServicesInput{MaxResults: aws.Int32(21)})
	_, token := c.ListServices(ctx, &sdk.ListServicesInput{NextToken: aws.String("bad")})
	for _, w := range []struct {
		what        string
		err         error
		code, words string
	}{
		{"name exists", create(func(in *sdk.CreateServiceInput) { in.ServiceName = aws.String("busy") }), "InvalidRequestException", "Service with the provided name already exists: busy."},
		{"illegal pair", create(func(in *sdk.CreateServiceInput) {
			in.InstanceConfiguration = &types.InstanceConfiguration{Cpu: aws.String("256"), Memory: aws.String("4096")}
		}), "InvalidRequestException", "not supported"},
		{"PORT", create(func(in *sdk.CreateServiceInput) {
			in.SourceConfiguration.ImageRepository.ImageConfiguration = &types.ImageConfiguration{RuntimeEnvironmentVariables: map[string]string{"PORT": "1"}}
		}), "InvalidRequestException", "PORT is reserved"},
		{"unknown scaling inside", create(func(in *sdk.CreateServiceInput) {
			in.AutoScalingConfigurationArn = aws.String("arn:aws:apprunner:us-east-1:000000000000:autoscalingconfiguration/none/1/0123456789abcdef0123456789abcdef")
		}), "InvalidRequestException", ""},
		{"unknown target", describe(unknownARN), "ResourceNotFoundException", ""},
		{"malformed target", describe("arn:aws:apprunner:us-east-1:000000000000:x"), "InvalidRequestException", ""},
		{"wrong type of target", describe("arn:aws:apprunner:us-east-1:000000000000:connection/abcd/0123456789abcdef0123456789abcdef"), "InvalidRequestException", ""},
		{"update while busy", update, "InvalidStateException", "Service cannot be updated in the current state: OPERATION_IN_PROGRESS"},
		{"delete while busy", remove, "InvalidStateException", "Service cannot be deleted in the current state: OPERATION_IN_PROGRESS."},
		{"pause while busy", pause, "InvalidStateException", ""},
		{"deployment while busy", start, "InvalidRequestException", "Can't start a deployment on the specified service, because it isn't in RUNNING state."},
		{"MaxResults 21", page, "InvalidRequestException", "maxResults"},
		{"bad token", token, "InvalidRequestException", "NextToken"},
	} {
		t.Run(w.what, func(t *testing.T) { wantError(t, w.err, w.code, w.words) })
	}
	for n := range 10 {
		if err := create(func(in *sdk.CreateServiceInput) { in.ServiceName = aws.String(fmt.Sprintf("many-%d", n)) }); err != nil {
			t.Fatal(err)
		}
	}
	for n := 10; n < 29; n++ {
		a.mustCreate(fmt.Sprintf("many-%d", n))
	}
	wantError(t, create(func(*sdk.CreateServiceInput) {}), "ServiceQuotaExceededException", "30")
}

func (a *api) mustCreate(name string) {
	a.t.Helper()
	if _, err := a.runnerClient().CreateService(a.t.Context(), &sdk.CreateServiceInput{ServiceName: &name, SourceConfiguration: source()}); err != nil {
		a.t.Fatal(err)
	}
}

func TestServicesArePaged(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	for n := range 25 {
		a.mustCreate(fmt.Sprintf("many-%02d", n))
	}
	all, err := c.ListServices(ctx, &sdk.ListServicesInput{})
	if err != nil || len(all.ServiceSummaryList) != 25 || all.NextToken != nil {
		t.Fatalf("without MaxResults: %d services, %v", len(all.ServiceSummaryList), err)
	}
	var names []string
	pages := sdk.NewListServicesPaginator(c, &sdk.ListServicesInput{MaxResults: aws.Int32(10)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.ServiceSummaryList {
			names = append(names, *s.ServiceName)
		}
	}
	if len(names) != 25 || names[0] != "many-00" || names[24] != "many-24" {
		t.Errorf("in pages: %q", names)
	}
}

func TestUpdateIsPartial(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	arn := a.create("hello").ServiceArn
	out, err := c.UpdateService(ctx, &sdk.UpdateServiceInput{ServiceArn: arn, InstanceConfiguration: &types.InstanceConfiguration{Memory: aws.String("4 GB")}})
	if err != nil || *out.Service.InstanceConfiguration.Memory != "4096" || *out.Service.InstanceConfiguration.Cpu != "1024" || *out.OperationId == "" {
		t.Fatalf("got %+v, %v", out, err)
	}
	a.settle()
	ops, err := c.ListOperations(ctx, &sdk.ListOperationsInput{ServiceArn: arn})
	if err != nil || len(ops.OperationSummaryList) != 2 || ops.OperationSummaryList[0].Type != types.OperationTypeUpdateService {
		t.Errorf("got %+v, %v: want the update first", ops, err)
	}
}

func TestTags(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	s := a.create("hello")
	tag := func(arn *string, key, value string) error {
		_, err := c.TagResource(ctx, &sdk.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: &key, Value: &value}}})
		return err
	}
	wantError(t, tag(s.ServiceArn, "aws:x", "1"), "InvalidRequestException", "aws:")
	wantError(t, tag(s.ServiceArn, "funade:unknown", "1"), "InvalidRequestException", "funade:unknown")
	wantError(t, tag(s.ServiceArn, "funade:stop-timeout", "soon"), "InvalidRequestException", "soon")
	wantError(t, tag(s.AutoScalingConfigurationSummary.AutoScalingConfigurationArn, "funade:stop-timeout", "5"), "InvalidRequestException", "only services")
	wantError(t, tag(aws.String(unknownARN), "a", "1"), "ResourceNotFoundException", "")
	for _, kv := range [][2]string{{"b", "2"}, {"a", "1"}, {"funade:stop-timeout", "5"}, {"a", ""}} {
		if err := tag(s.ServiceArn, kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.UntagResource(ctx, &sdk.UntagResourceInput{ResourceArn: s.ServiceArn, TagKeys: []string{"b", "not there"}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceArn: s.ServiceArn})
	if err != nil || len(got.Tags) != 2 || *got.Tags[0].Key != "a" || *got.Tags[0].Value != "" || *got.Tags[1].Value != "5" {
		t.Errorf("got %+v, %v", got, err)
	}
	settings, err := a.control.GetServiceSettings(ctx, scope, *s.ServiceArn)
	if err != nil || settings.StopTimeout.Seconds() != 5 || settings.StartTimeout != app.DefaultStartTimeout {
		t.Errorf("the settings are %+v, %v", settings, err)
	}
}

func TestAutoScalingConfigurations(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	made, err := c.CreateAutoScalingConfiguration(ctx, &sdk.CreateAutoScalingConfigurationInput{AutoScalingConfigurationName: aws.String("wide"), MinSize: aws.Int32(2)})
	if err != nil {
		t.Fatal(err)
	}
	s := made.AutoScalingConfiguration
	if s.Status != "active" || *s.MinSize != 2 || *s.MaxSize != 25 || *s.MaxConcurrency != 100 || !*s.Latest || *s.IsDefault || *s.HasAssociatedService || s.DeletedAt != nil {
		t.Errorf("got %+v", s)
	}
	list, err := c.ListAutoScalingConfigurations(ctx, &sdk.ListAutoScalingConfigurationsInput{})
	if err != nil || len(list.AutoScalingConfigurationSummaryList) != 2 || list.AutoScalingConfigurationSummaryList[1].Status != "active" {
		t.Errorf("got %+v, %v", list, err)
	}
	gone, err := c.DeleteAutoScalingConfiguration(ctx, &sdk.DeleteAutoScalingConfigurationInput{AutoScalingConfigurationArn: s.AutoScalingConfigurationArn})
	if err != nil || gone.AutoScalingConfiguration.Status != "inactive" || gone.AutoScalingConfiguration.DeletedAt == nil || *gone.AutoScalingConfiguration.Latest {
		t.Errorf("got %+v, %v", gone, err)
	}
	_, err = c.DeleteAutoScalingConfiguration(ctx, &sdk.DeleteAutoScalingConfigurationInput{AutoScalingConfigurationArn: s.AutoScalingConfigurationArn})
	wantError(t, err, "InvalidRequestException", "The auto scaling configuration you specified has been deleted")
	_, err = c.DescribeAutoScalingConfiguration(ctx, &sdk.DescribeAutoScalingConfigurationInput{AutoScalingConfigurationArn: aws.String("arn:aws:apprunner:us-east-1:000000000000:autoscalingconfiguration/none")})
	wantError(t, err, "ResourceNotFoundException", "")
	for range 2 {
		if _, err := c.CreateAutoScalingConfiguration(ctx, &sdk.CreateAutoScalingConfigurationInput{AutoScalingConfigurationName: aws.String("many")}); err != nil {
			t.Fatal(err)
		}
	}
	name := aws.String("arn:aws:apprunner:us-east-1:000000000000:autoscalingconfiguration/many")
	all, err := c.DeleteAutoScalingConfiguration(ctx, &sdk.DeleteAutoScalingConfigurationInput{AutoScalingConfigurationArn: name, DeleteAllRevisions: true})
	if err != nil || *all.AutoScalingConfiguration.AutoScalingConfigurationArn != *name || all.AutoScalingConfiguration.AutoScalingConfigurationRevision != nil || all.AutoScalingConfiguration.Status != "inactive" {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestOtherConfigurations(t *testing.T) {
	a := newAPI(t)
	c, ctx := a.runnerClient(), t.Context()
	o, err := c.CreateObservabilityConfiguration(ctx, &sdk.CreateObservabilityConfigurationInput{ObservabilityConfigurationName: aws.String("traces"), TraceConfiguration: &types.TraceConfiguration{Vendor: types.TracingVendorAwsxray}})
	if err != nil || o.ObservabilityConfiguration.Status != types.ObservabilityConfigurationStatusActive || o.ObservabilityConfiguration.TraceConfiguration.Vendor != types.TracingVendorAwsxray {
		t.Errorf("got %+v, %v", o, err)
	}
	made, err := c.CreateConnection(ctx, &sdk.CreateConnectionInput{ConnectionName: aws.String("github"), ProviderType: types.ProviderTypeGithub})
	if err != nil || made.Connection.Status != types.ConnectionStatusPendingHandshake {
		t.Fatalf("got %+v, %v", made, err)
	}
	gone, err := c.DeleteConnection(ctx, &sdk.DeleteConnectionInput{ConnectionArn: made.Connection.ConnectionArn})
	if err != nil || gone.Connection.Status != types.ConnectionStatusDeleted {
		t.Errorf("got %+v, %v", gone, err)
	}
	_, err = c.DescribeVpcConnector(ctx, &sdk.DescribeVpcConnectorInput{VpcConnectorArn: aws.String("arn:aws:apprunner:us-east-1:000000000000:vpcconnector/abcd/1/0123456789abcdef0123456789abcdef")})
	wantError(t, err, "ResourceNotFoundException", "does not exist")
}
