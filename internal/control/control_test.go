package control

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/store"
)

var scope = app.Scope{Account: "000000000000", Region: "us-east-1"}

const digest = app.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

// bench is a control plane on a store of its own and a clock by hand.
type bench struct {
	*Control
	t      testing.TB
	now    time.Time
	runner *operation.Runner
}

func newBench(t testing.TB) *bench {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "state.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Verify(); err != nil {
			t.Error(err)
		}
		_ = st.Close()
	})
	b := &bench{t: t, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return b.now }
	b.Control = New(st, Config{Now: clock, RegistryHosts: []string{"localhost:4566"}})
	b.runner = operation.NewRunner(st, clock, b.cfg.IDs)
	b.runner.Strict = true
	return b
}

var ctx = context.Background()

func ptr[T any](v T) *T { return &v }

func imageSource(image string) SourceInput {
	kind := app.ImageRepositoryECR
	if !strings.Contains(image, "amazonaws.com") && !strings.HasPrefix(image, "localhost:4566") {
		kind = app.ImageRepositoryECRPublic
	}
	return SourceInput{Image: &ImageInput{Identifier: &image, Type: &kind}}
}

var hello = scope.RegistryHost() + "/hello:v1"

func (b *bench) createARN(name string, change ...func(*CreateServiceInput)) string {
	b.t.Helper()
	d := b.create(name, change...)
	return d.Service.ARN()
}

func (b *bench) create(name string, change ...func(*CreateServiceInput)) ServiceDetail {
	b.t.Helper()
	in := CreateServiceInput{Name: name, Source: imageSource(hello)}
	for _, c := range change {
		c(&in)
	}
	d, id, err := b.CreateService(ctx, scope, in)
	if err != nil || id == "" {
		b.t.Fatalf("CreateService: %q, %v", id, err)
	}
	return d
}

// observe lets every desired row come true.
func (b *bench) observe() {
	b.t.Helper()
	err := b.store.Update(ctx, func(tx *store.Tx) error {
		for r := range store.ImageRequests.All(tx) {
			if _, ok := store.ImageStatuses.Get(tx, app.RevisionKey{Service: r.Service, Number: r.Revision}); !ok {
				store.Observed.ImageStatuses.Put(tx, app.ImageStatus{Service: r.Service, Revision: r.Revision, Ready: true, Digest: digest})
			}
		}
		targets := map[app.ServiceID][]app.InstanceID{}
		for i := range store.Instances.All(tx) {
			phase := app.PhaseRunning
			if i.Goal == app.GoalStop {
				phase = app.PhaseGone
			}
			store.Observed.InstanceStatuses.Put(tx, app.InstanceStatus{ID: i.ID, Phase: phase, StartedAt: b.now})
			store.Observed.InstanceHealths.Put(tx, app.InstanceHealth{ID: i.ID, Healthy: true, EverHealthy: true})
			if svc, _ := store.Services.Get(tx, i.Service); svc.Routed == i.Revision && i.Goal == app.GoalRun {
				targets[i.Service] = append(targets[i.Service], i.ID)
			}
		}
		for svc := range store.Services.All(tx) {
			store.Observed.RouteStatuses.Put(tx, app.RouteStatus{Service: svc.ID, Revision: svc.Routed, Targets: targets[svc.ID]})
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// settle lets operations run to their end in a world where everything works.
func (b *bench) settle() {
	b.t.Helper()
	keeper := b.Keeper()
	for range 30 {
		if _, err := b.runner.Pass(ctx); err != nil {
			b.t.Fatal(err)
		}
		b.observe()
		if _, err := keeper.Pass(ctx); err != nil {
			b.t.Fatal(err)
		}
		b.now = b.now.Add(time.Second)
	}
}

func (b *bench) describe(arn string) app.Service {
	b.t.Helper()
	d, err := b.DescribeService(ctx, scope, arn)
	if err != nil {
		b.t.Fatal(err)
	}
	return d.Service
}

func (b *bench) operations(arn string) (out []string) {
	b.t.Helper()
	page, err := b.ListOperations(ctx, scope, arn, PageRequest{})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, op := range page.Items {
		out = append(out, string(op.Type)+" "+string(op.Status))
	}
	return out
}

func (b *bench) events(svc app.ServiceID) (out []string) {
	_ = b.store.View(ctx, func(tx *store.Tx) error {
		for e := range store.Events.All(tx) {
			if e.Service == svc && e.Target&app.ToEvents != 0 {
				out = append(out, e.Message)
			}
		}
		return nil
	})
	return out
}

func wants(t *testing.T, err error, kind app.Kind, text string) {
	t.Helper()
	if err == nil || app.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%v), want %v with %q", err, app.KindOf(err), kind, text)
	}
}

func TestCreateFillsInDefaults(t *testing.T) {
	b := newBench(t)
	d := b.create("hello")
	s := d.Service
	want := app.ServiceConfig{
		Source:      app.Source{Image: hello, RepositoryType: app.ImageRepositoryECR, AutoDeployments: true, Port: 8080},
		Instance:    app.InstanceConfig{CPU: 1024, Memory: 2048},
		HealthCheck: app.HealthCheck{Protocol: "TCP", Path: "/", Interval: 5, Timeout: 2, HealthyThreshold: 1, UnhealthyThreshold: 5},
		ScalingARN:  "arn:aws:apprunner:us-east-1:000000000000:autoscalingconfiguration/DefaultConfiguration/1/00000000000000000000000000000001",
		Network:     app.NetworkConfig{EgressType: "DEFAULT", Public: true, IPAddressType: "IPV4"},
	}
	if fmt.Sprintf("%+v", s.Config) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", s.Config, want)
	}
	if s.Status != app.ServiceInProgress || len(s.ID) != 32 || len(s.Label) != 10 {
		t.Errorf("status %s, id %q, label %q", s.Status, s.ID, s.Label)
	}
	if !d.Scaling.Default || !d.Scaling.HasAssociatedService || d.Scaling.MaxConcurrency != 100 {
		t.Errorf("scaling %+v", d.Scaling)
	}
	public := b.create("public", func(in *CreateServiceInput) { in.Source = imageSource("ghcr.io/you/app:1") })
	if public.Service.Config.Source.AutoDeployments {
		t.Error("a public image deploys automatically by default")
	}
}

func TestLifeOfAService(t *testing.T) {
	b := newBench(t)
	arn := b.createARN("hello")
	b.settle()
	svc := b.describe(arn)
	if svc.Status != app.ServiceRunning || svc.Routed != 1 {
		t.Fatalf("after create: %s, revision %d; %v", svc.Status, svc.Routed, b.events(svc.ID))
	}
	want := []string{
		"Service creation started.", "Service status is set to OPERATION_IN_PROGRESS.", "Successfully created pipeline for automatic deployments.",
		"Pulling image " + hello + " from ECR repository.", "Successfully pulled image from ECR.",
		"Provisioning instances and deploying image for publicly accessible service.", "Performing health check on protocol `TCP` [Port: '8080'].",
		"Health check is successful. Routing traffic to application.", "Successfully routed incoming traffic to application.",
		"Service creation completed successfully.", "Service status is set to RUNNING.",
	}
	if got := b.events(svc.ID); !slices.Equal(got, want) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	step := func(what string, id app.OperationID, err error, status app.ServiceStatus) {
		t.Helper()
		if err != nil || id == "" {
			t.Fatalf("%s: %q, %v", what, id, err)
		}
		b.settle()
		if got := b.describe(arn); got.Status != status {
			t.Fatalf("after %s: %s, want %s; %v", what, got.Status, status, b.operations(arn))
		}
	}
	_, id, err := b.UpdateService(ctx, scope, arn, UpdateServiceInput{Instance: &InstanceInput{Memory: ptr("4 GB")}})
	step("update", id, err, app.ServiceRunning)
	if got := b.describe(arn); got.Config.Instance.CPU != 1024 || got.Config.Instance.Memory != 4096 || got.Routed != 2 || got.Previous != 1 {
		t.Errorf("after update: %+v, routed %d, previous %d", got.Config.Instance, got.Routed, got.Previous)
	}
	id, err = b.StartDeployment(ctx, scope, arn)
	step("deployment", id, err, app.ServiceRunning)
	id, err = b.RollbackService(ctx, scope, arn, 1)
	step("rollback", id, err, app.ServiceRunning)
	if got := b.describe(arn); got.Config.Instance.Memory != 2048 || got.Routed != 1 {
		t.Errorf("after rollback: %+v, routed %d", got.Config.Instance, got.Routed)
	}
	_, id, err = b.PauseService(ctx, scope, arn)
	step("pause", id, err, app.ServicePaused)
	if list, _ := b.ListInstances(ctx, scope, arn); len(list) != 0 {
		t.Errorf("a paused service has %d instances", len(list))
	}
	if _, id, err := b.PauseService(ctx, scope, arn); id != "" || err != nil {
		t.Errorf("pausing twice: %q, %v", id, err)
	}
	_, id, err = b.ResumeService(ctx, scope, arn)
	step("resume", id, err, app.ServiceRunning)
	if got := b.describe(arn); got.Routed != 1 || got.LastRevision != 3 {
		t.Errorf("after resume: routed %d, last revision %d", got.Routed, got.LastRevision)
	}
	if _, id, err := b.ResumeService(ctx, scope, arn); id != "" || err != nil {
		t.Errorf("resuming a running service: %q, %v", id, err)
	}
	_, id, err = b.DeleteService(ctx, scope, arn)
	step("delete", id, err, app.ServiceDeleted)
	wantOps := []string{"DELETE_SERVICE SUCCEEDED", "RESUME_SERVICE SUCCEEDED", "PAUSE_SERVICE SUCCEEDED", "UPDATE_SERVICE SUCCEEDED",
		"START_DEPLOYMENT SUCCEEDED", "UPDATE_SERVICE SUCCEEDED", "CREATE_SERVICE SUCCEEDED"}
	if got := b.operations(arn); !slices.Equal(got, wantOps) {
		t.Errorf("operations %v", got)
	}
	if page, _ := b.ListServices(ctx, scope, PageRequest{}); len(page.Items) != 0 {
		t.Error("a deleted service is listed")
	}
	_, _, err = b.DeleteService(ctx, scope, arn)
	wants(t, err, app.KindNotFound, "does not exist")
	b.now = b.now.Add(2 * time.Hour)
	b.settle()
	_, err = b.DescribeService(ctx, scope, arn)
	wants(t, err, app.KindNotFound, "does not exist")
	_ = b.store.View(ctx, func(tx *store.Tx) error {
		if store.Operations.Len(tx)+store.Revisions.Len(tx)+store.ImageRequests.Len(tx)+store.Instances.Len(tx)+store.Interfaces.Len(tx) != 0 {
			t.Error("a purged service left rows")
		}
		return nil
	})
}

func TestStateTable(t *testing.T) {
	b := newBench(t)
	arn := b.createARN("hello")
	busy := func(verb string) string {
		return "Service cannot be " + verb + " in the current state: OPERATION_IN_PROGRESS."
	}
	_, _, err := b.UpdateService(ctx, scope, arn, UpdateServiceInput{})
	wants(t, err, app.KindInvalidState, busy("updated"))
	_, _, err = b.DeleteService(ctx, scope, arn)
	wants(t, err, app.KindInvalidState, busy("deleted"))
	_, _, err = b.PauseService(ctx, scope, arn)
	wants(t, err, app.KindInvalidState, busy("paused"))
	_, _, err = b.ResumeService(ctx, scope, arn)
	wants(t, err, app.KindInvalidState, busy("resumed"))
	_, err = b.StartDeployment(ctx, scope, arn)
	wants(t, err, app.KindInvalidRequest, "Can't start a deployment on the specified service, because it isn't in RUNNING state.")
	b.settle()
	_, _, err = b.PauseService(ctx, scope, arn)
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	_, _, err = b.UpdateService(ctx, scope, arn, UpdateServiceInput{})
	wants(t, err, app.KindInvalidState, "PAUSED")
	_, err = b.StartDeployment(ctx, scope, arn)
	wants(t, err, app.KindInvalidRequest, "isn't in RUNNING state")
	_, err = b.CancelOperation(ctx, scope, arn, "")
	wants(t, err, app.KindInvalidState, "no operation in progress")
	_, err = b.DescribeService(ctx, scope, "arn:aws:apprunner:us-east-1:000000000000:connection/x/y")
	wants(t, err, app.KindInvalidRequest, "not valid here")
	_, err = b.DescribeService(ctx, scope, "nonsense")
	wants(t, err, app.KindInvalidRequest, "malformed")
	_, err = b.DescribeService(ctx, app.Scope{Account: "000000000000", Region: "eu-west-1"}, arn)
	wants(t, err, app.KindNotFound, "does not exist")
	if got := b.describe(scope.ARN("apprunner", "service/hello")); got.ARN() != arn {
		t.Errorf("by name: %s", got.ARN())
	}
}

func TestCreateRefuses(t *testing.T) {
	b := newBench(t)
	b.create("taken")
	for _, c := range []struct {
		text   string
		change func(*CreateServiceInput)
	}{
		{"Service with the provided name already exists: taken.", func(in *CreateServiceInput) { in.Name = "taken" }},
		{"ServiceName", func(in *CreateServiceInput) { in.Name = "a/b/c/d" }},
		{"Cpu 256 and Memory 4096", func(in *CreateServiceInput) { in.Instance = &InstanceInput{CPU: ptr("256"), Memory: ptr("4096")} }},
		{"memory value", func(in *CreateServiceInput) { in.Instance = &InstanceInput{Memory: ptr("5 GB")} }},
		{"PORT is reserved", func(in *CreateServiceInput) {
			in.Source.Image.Config = &ImageConfigInput{Env: map[string]string{"PORT": "1"}}
		}},
		{"AWSAPPRUNNER", func(in *CreateServiceInput) {
			in.Source.Image.Config = &ImageConfigInput{Env: map[string]string{"AWSAPPRUNNER_X": "1"}}
		}},
		{"used in both", func(in *CreateServiceInput) {
			in.Source.Image.Config = &ImageConfigInput{Env: map[string]string{"A": "1"}, Secrets: map[string]string{"A": "arn"}}
		}},
		{"Port is \"0\"", func(in *CreateServiceInput) { in.Source.Image.Config = &ImageConfigInput{Port: ptr("0")} }},
		{"Port is \"x\"", func(in *CreateServiceInput) { in.Source.Image.Config = &ImageConfigInput{Port: ptr("x")} }},
		{"closing", func(in *CreateServiceInput) {
			in.Source.Image.Config = &ImageConfigInput{StartCommand: ptr(`sh -c "x`)}
		}},
		{"source code", func(in *CreateServiceInput) { in.Source = SourceInput{Code: true} }},
		{"ImageRepository", func(in *CreateServiceInput) { in.Source = SourceInput{} }},
		{"Use ImageRepositoryType ECR_PUBLIC", func(in *CreateServiceInput) { in.Source.Image.Identifier = ptr("public.ecr.aws/a/b:1") }},
		{"use ImageRepositoryType ECR.", func(in *CreateServiceInput) { in.Source.Image.Type = ptr(app.ImageRepositoryECRPublic) }},
		{"AccessRoleArn cannot", func(in *CreateServiceInput) {
			in.Source = imageSource("public.ecr.aws/a/b:1")
			in.Source.AccessRoleARN = ptr("arn:aws:iam::000000000000:role/x")
		}},
		{"App Runner doesn't support automatic deployments for an image in an ECR Public repository.", func(in *CreateServiceInput) {
			in.Source = imageSource("public.ecr.aws/a/b:1")
			in.Source.AutoDeployments = ptr(true)
		}},
		{"malformed", func(in *CreateServiceInput) { in.Source.Image.Identifier = ptr(scope.RegistryHost() + "/UPPER") }},
		{"VpcConnectorArn: The ARN \"arn\" is malformed", func(in *CreateServiceInput) {
			in.Network = &NetworkInput{Egress: &EgressInput{Type: ptr("VPC"), VpcConnectorARN: ptr("arn")}}
		}},
		{"EgressType VPC needs a VPC connector", func(in *CreateServiceInput) {
			in.Network = &NetworkInput{Egress: &EgressInput{Type: ptr("VPC")}}
		}},
		{"VpcConnectorArn can only be used with EgressType VPC", func(in *CreateServiceInput) {
			in.Network = &NetworkInput{Egress: &EgressInput{VpcConnectorARN: ptr("arn")}}
		}},
		{"VPC connector with the provided ARN does not exist", func(in *CreateServiceInput) {
			in.Network = &NetworkInput{Egress: &EgressInput{Type: ptr("VPC"), VpcConnectorARN: ptr(scope.ARN("apprunner", "vpcconnector/missing"))}}
		}},
		{"IpAddressType is \"IPV6\"", func(in *CreateServiceInput) { in.Network = &NetworkInput{IPAddressType: ptr("IPV6")} }},
		{"IsPubliclyAccessible", func(in *CreateServiceInput) { in.Network = &NetworkInput{Ingress: &IngressInput{}} }},
		{"does not exist", func(in *CreateServiceInput) {
			in.ScalingARN = ptr(scope.ARN("apprunner", "autoscalingconfiguration/missing"))
		}},
		{"does not exist", func(in *CreateServiceInput) {
			in.Observability = &ObservabilityInput{Enabled: true, ConfigurationARN: ptr(scope.ARN("apprunner", "observabilityconfiguration/missing"))}
		}},
		{"ObservabilityEnabled true", func(in *CreateServiceInput) { in.Observability = &ObservabilityInput{ConfigurationARN: ptr("arn")} }},
		{"begin with /", func(in *CreateServiceInput) { in.HealthCheck = &HealthCheckInput{Path: ptr("health")} }},
		{"Interval is 21", func(in *CreateServiceInput) { in.HealthCheck = &HealthCheckInput{Interval: ptr(21)} }},
		{"aws: is reserved", func(in *CreateServiceInput) { in.Tags = app.Tags{"aws:x": "1"} }},
		{"is not known", func(in *CreateServiceInput) { in.Tags = app.Tags{"funade:unknown": "1"} }},
		{"is not valid", func(in *CreateServiceInput) { in.Tags = app.Tags{"funade:stop-timeout": "30s"} }},
	} {
		in := CreateServiceInput{Name: "hello", Source: imageSource(hello)}
		c.change(&in)
		_, _, err := b.CreateService(ctx, scope, in)
		wants(t, err, app.KindInvalidRequest, c.text)
	}
	if page, _ := b.ListServices(ctx, scope, PageRequest{}); len(page.Items) != 1 {
		t.Errorf("%d services, want 1", len(page.Items))
	}
}

func TestUpdateMerges(t *testing.T) {
	b := newBench(t)
	arn := b.createARN("hello", func(in *CreateServiceInput) {
		in.Source.Image.Config = &ImageConfigInput{Port: ptr("3000"), Env: map[string]string{"A": "1", "B": "2"}, StartCommand: ptr("run it")}
		in.Source.AccessRoleARN = ptr("role")
		in.Instance = &InstanceInput{RoleARN: ptr("instance-role")}
		in.HealthCheck = &HealthCheckInput{Protocol: ptr("HTTP"), Path: ptr("/ok")}
		in.Observability = &ObservabilityInput{Enabled: true}
	})
	b.settle()
	_, _, err := b.UpdateService(ctx, scope, arn, UpdateServiceInput{
		Source: &SourceInput{Image: &ImageInput{Config: &ImageConfigInput{Env: map[string]string{"C": "3"}}}}, HealthCheck: &HealthCheckInput{Interval: ptr(7)},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := b.describe(arn).Config
	if fmt.Sprint(c.Source.Env) != "map[C:3]" || c.Source.Port != 3000 || c.Source.StartCommand != "run it" || c.Source.AccessRoleARN != "role" ||
		!c.Source.AutoDeployments || c.Source.Image != hello {
		t.Errorf("source %+v", c.Source)
	}
	if c.HealthCheck.Path != "/ok" || c.HealthCheck.Interval != 7 || c.Instance.RoleARN != "instance-role" || c.Observability == nil ||
		!strings.HasSuffix(c.Observability.ConfigurationARN, "DefaultConfiguration/1/"+app.DefaultConfigurationID) {
		t.Errorf("config %+v", c)
	}
	b.settle()
	public := imageSource("ghcr.io/you/app:1")
	if _, _, err := b.UpdateService(ctx, scope, arn, UpdateServiceInput{Source: &public}); err != nil {
		t.Fatal(err)
	}
	if c := b.describe(arn).Config; c.Source.AccessRoleARN != "" || c.Source.AutoDeployments {
		t.Errorf("a public image keeps %+v", c.Source)
	}
	if _, err := b.ListRevisions(ctx, scope, arn); err != nil {
		t.Fatal(err)
	}
	b.settle()
	bad := UpdateServiceInput{Instance: &InstanceInput{CPU: ptr("4 vCPU")}}
	_, _, err = b.UpdateService(ctx, scope, arn, bad)
	wants(t, err, app.KindInvalidRequest, "Cpu 4096 and Memory 2048")
}
