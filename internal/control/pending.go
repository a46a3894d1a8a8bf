package control

import (
	"context"
	"github.com/funade/funade/internal/app"
)

type Catalog struct{ c *Control }
type LogGroups struct{ c *Control }

func (c *Control) CreateService(ctx context.Context, scope app.Scope, in CreateServiceInput) (ServiceDetail, app.OperationID, error) {
	panic("")
}
func (c *Control) UpdateService(ctx context.Context, scope app.Scope, arn string, in UpdateServiceInput) (ServiceDetail, app.OperationID, error) {
	panic("")
}
func (c *Control) DeleteService(ctx context.Context, scope app.Scope, arn string) (ServiceDetail, app.OperationID, error) {
	panic("")
}
func (c *Control) PauseService(ctx context.Context, scope app.Scope, arn string) (ServiceDetail, app.OperationID, error) {
	panic("")
}
func (c *Control) ResumeService(ctx context.Context, scope app.Scope, arn string) (ServiceDetail, app.OperationID, error) {
	panic("")
}
func (c *Control) StartDeployment(ctx context.Context, scope app.Scope, arn string) (app.OperationID, error) {
	panic("")
}
func (c *Control) DescribeService(ctx context.Context, scope app.Scope, arn string) (ServiceDetail, error) {
	panic("")
}
func (c *Control) ListServices(ctx context.Context, scope app.Scope, page PageRequest) (Page[app.Service], error) {
	panic("")
}
func (c *Control) ListOperations(ctx context.Context, scope app.Scope, arn string, page PageRequest) (Page[OperationDetail], error) {
	panic("")
}
func (c *Control) CreateAutoScalingConfiguration(ctx context.Context, scope app.Scope, in CreateAutoScalingInput) (AutoScalingDetail, error) {
	panic("")
}
func (c *Control) DescribeAutoScalingConfiguration(ctx context.Context, scope app.Scope, arn string) (AutoScalingDetail, error) {
	panic("")
}
func (c *Control) ListAutoScalingConfigurations(ctx context.Context, scope app.Scope, in ListConfigurationsInput) (Page[AutoScalingDetail], error) {
	panic("")
}
func (c *Control) DeleteAutoScalingConfiguration(ctx context.Context, scope app.Scope, arn string, all bool) (AutoScalingDetail, error) {
	panic("")
}
func (c *Control) UpdateDefaultAutoScalingConfiguration(ctx context.Context, scope app.Scope, arn string) (AutoScalingDetail, error) {
	panic("")
}
func (c *Control) ListServicesForAutoScalingConfiguration(ctx context.Context, scope app.Scope, arn string, page PageRequest) (Page[string], error) {
	panic("")
}
func (c *Control) CreateObservabilityConfiguration(ctx context.Context, scope app.Scope, in CreateObservabilityInput) (ObservabilityDetail, error) {
	panic("")
}
func (c *Control) DescribeObservabilityConfiguration(ctx context.Context, scope app.Scope, arn string) (ObservabilityDetail, error) {
	panic("")
}
func (c *Control) ListObservabilityConfigurations(ctx context.Context, scope app.Scope, in ListConfigurationsInput) (Page[ObservabilityDetail], error) {
	panic("")
}
func (c *Control) DeleteObservabilityConfiguration(ctx context.Context, scope app.Scope, arn string) (ObservabilityDetail, error) {
	panic("")
}
func (c *Control) CreateConnection(ctx context.Context, scope app.Scope, name, providerType string, tags app.Tags) (app.Connection, error) {
	panic("")
}
func (c *Control) ListConnections(ctx context.Context, scope app.Scope, name string, page PageRequest) (Page[app.Connection], error) {
	panic("")
}
func (c *Control) DeleteConnection(ctx context.Context, scope app.Scope, arn string) (app.Connection, error) {
	panic("")
}
func (c *Control) TagResource(ctx context.Context, scope app.Scope, arn string, tags app.Tags) error {
	panic("")
}
func (c *Control) UntagResource(ctx context.Context, scope app.Scope, arn string, keys []string) error {
	panic("")
}
func (c *Control) ListTagsForResource(ctx context.Context, scope app.Scope, arn string) (app.Tags, error) {
	panic("")
}
func (c *Control) CancelOperation(ctx context.Context, scope app.Scope, arn string, id app.OperationID) (app.Operation, error) {
	panic("")
}
func (c *Control) RollbackService(ctx context.Context, scope app.Scope, arn string, to app.RevisionNumber) (app.OperationID, error) {
	panic("")
}
func (c *Control) GetServiceSettings(ctx context.Context, scope app.Scope, arn string) (app.ServiceSettings, error) {
	panic("")
}
func (c *Control) PutServiceSettings(ctx context.Context, scope app.Scope, arn string, in SettingsInput) (app.ServiceSettings, error) {
	panic("")
}
func (c *Control) ListInstances(ctx context.Context, scope app.Scope, arn string) ([]InstanceDetail, error) {
	panic("")
}
func (c *Control) ListRevisions(ctx context.Context, scope app.Scope, arn string) ([]RevisionDetail, error) {
	panic("")
}
func (c *Control) CreateRepository(ctx context.Context, key app.RepositoryKey, in CreateRepositoryInput) (app.Repository, error) {
	panic("")
}
func (c *Control) DescribeRepositories(ctx context.Context, scope app.Scope, names []string, page PageRequest) (Page[app.Repository], error) {
	panic("")
}
func (c *Control) DeleteRepository(ctx context.Context, key app.RepositoryKey, force bool) (app.Repository, error) {
	panic("")
}
func (c *Control) PutImageTagMutability(ctx context.Context, key app.RepositoryKey, immutable bool) (app.Repository, error) {
	panic("")
}
func (c *Control) PutImageScanningConfiguration(ctx context.Context, key app.RepositoryKey, scanOnPush bool) (app.Repository, error) {
	panic("")
}
func (c *Control) PutLifecyclePolicy(ctx context.Context, key app.RepositoryKey, text string) (LifecyclePolicy, error) {
	panic("")
}
func (c *Control) GetLifecyclePolicy(ctx context.Context, key app.RepositoryKey) (LifecyclePolicy, error) {
	panic("")
}
func (c *Control) DeleteLifecyclePolicy(ctx context.Context, key app.RepositoryKey) (LifecyclePolicy, error) {
	panic("")
}
func (c *Control) SetRepositoryPolicy(ctx context.Context, key app.RepositoryKey, text string) (string, error) {
	panic("")
}
func (c *Control) GetRepositoryPolicy(ctx context.Context, key app.RepositoryKey) (string, error) {
	panic("")
}
func (c *Control) DeleteRepositoryPolicy(ctx context.Context, key app.RepositoryKey) (string, error) {
	panic("")
}
func (c *Control) ListImages(ctx context.Context, key app.RepositoryKey, status TagStatus, page PageRequest) (Page[ImageID], error) {
	panic("")
}
func (c *Control) DescribeImages(ctx context.Context, key app.RepositoryKey, ids []ImageID, status TagStatus, page PageRequest) (Page[app.Manifest], error) {
	panic("")
}
func (c *Control) FindImages(ctx context.Context, key app.RepositoryKey, ids []ImageID) ([]app.Manifest, []ImageFailure, error) {
	panic("")
}
func (c *Control) BatchDeleteImage(ctx context.Context, key app.RepositoryKey, ids []ImageID) ([]ImageID, []ImageFailure, error) {
	panic("")
}
func (c *Control) Catalog() *Catalog { panic("") }
func (c *Control) CreateLogGroup(ctx context.Context, key app.LogGroupKey, in CreateLogGroupInput) error {
	panic("")
}
func (c *Control) DeleteLogGroup(ctx context.Context, key app.LogGroupKey) error           { panic("") }
func (c *Control) LogGroup(ctx context.Context, key app.LogGroupKey) (app.LogGroup, error) { panic("") }
func (c *Control) DescribeLogGroups(ctx context.Context, scope app.Scope, in DescribeLogGroupsInput) (Page[app.LogGroup], error) {
	panic("")
}
func (c *Control) CreateLogStream(ctx context.Context, key app.LogStreamKey) error { panic("") }
func (c *Control) DeleteLogStream(ctx context.Context, key app.LogStreamKey) error { panic("") }
func (c *Control) DescribeLogStreams(ctx context.Context, group app.LogGroupKey, prefix string, page PageRequest) (Page[app.LogStream], error) {
	panic("")
}
func (c *Control) PutRetentionPolicy(ctx context.Context, key app.LogGroupKey, days int) error {
	panic("")
}
func (c *Control) DeleteRetentionPolicy(ctx context.Context, key app.LogGroupKey) error { panic("") }
func (c *Control) LogGroups() *LogGroups                                                { panic("") }
