// Package apprunner answers the AWS App Runner API: wire shapes to control's inputs and back,
// ARNs, and the mapping of error kinds to the API's exceptions.
package apprunner

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/apprunner"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// Handler implements the generated App Runner handler. Operations that it leaves to Unimplemented answer
// the protocol's unknown-operation error.
type Handler struct {
	api.Unimplemented
	control *control.Control
	// domain is the parent of every service's name.
	domain string
}

// New returns the handler; services are shown at <label>.<region>.<domain>.
func New(c *control.Control, domain string) *Handler {
	return &Handler{control: c, domain: domain}
}

// CreateService starts the creation of a service.
func (h *Handler) CreateService(ctx context.Context, in *api.CreateServiceInput) (*api.CreateServiceOutput, error) {
	input := control.CreateServiceInput{
		Name:          *in.ServiceName,
		Source:        sourceInput(in.SourceConfiguration),
		Instance:      instanceInput(in.InstanceConfiguration),
		HealthCheck:   healthCheckInput(in.HealthCheckConfiguration),
		ScalingARN:    in.AutoScalingConfigurationArn,
		Network:       networkInput(in.NetworkConfiguration),
		Observability: observabilityInput(in.ObservabilityConfiguration),
		Tags:          tagsOf(in.Tags),
	}
	if in.EncryptionConfiguration != nil {
		input.KMSKeyARN = *in.EncryptionConfiguration.KmsKey
	}
	d, op, err := h.control.CreateService(ctx, caller.Scope(ctx), input)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateServiceOutput{Service: h.service(d), OperationId: new(string(op))}, nil
}

// UpdateService starts an update; sections that are absent stay as they are.
func (h *Handler) UpdateService(ctx context.Context, in *api.UpdateServiceInput) (*api.UpdateServiceOutput, error) {
	input := control.UpdateServiceInput{
		Instance:      instanceInput(in.InstanceConfiguration),
		HealthCheck:   healthCheckInput(in.HealthCheckConfiguration),
		ScalingARN:    in.AutoScalingConfigurationArn,
		Network:       networkInput(in.NetworkConfiguration),
		Observability: observabilityInput(in.ObservabilityConfiguration),
	}
	if in.SourceConfiguration != nil {
		input.Source = new(sourceInput(in.SourceConfiguration))
	}
	d, op, err := h.control.UpdateService(ctx, caller.Scope(ctx), *in.ServiceArn, input)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.UpdateServiceOutput{Service: h.service(d), OperationId: new(string(op))}, nil
}

// DeleteService starts the removal of a service.
func (h *Handler) DeleteService(ctx context.Context, in *api.DeleteServiceInput) (*api.DeleteServiceOutput, error) {
	d, op, err := h.control.DeleteService(ctx, caller.Scope(ctx), *in.ServiceArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteServiceOutput{Service: h.service(d), OperationId: new(string(op))}, nil
}

// PauseService starts a pause; on a service that is PAUSED already the answer has no OperationId.
func (h *Handler) PauseService(ctx context.Context, in *api.PauseServiceInput) (*api.PauseServiceOutput, error) {
	d, op, err := h.control.PauseService(ctx, caller.Scope(ctx), *in.ServiceArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.PauseServiceOutput{Service: h.service(d), OperationId: member.Text(op)}, nil
}

// ResumeService starts a resume; on a service that is RUNNING already the answer has no OperationId.
func (h *Handler) ResumeService(ctx context.Context, in *api.ResumeServiceInput) (*api.ResumeServiceOutput, error) {
	d, op, err := h.control.ResumeService(ctx, caller.Scope(ctx), *in.ServiceArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ResumeServiceOutput{Service: h.service(d), OperationId: member.Text(op)}, nil
}

// StartDeployment deploys what the service's tag names now.
func (h *Handler) StartDeployment(ctx context.Context, in *api.StartDeploymentInput) (*api.StartDeploymentOutput, error) {
	op, err := h.control.StartDeployment(ctx, caller.Scope(ctx), *in.ServiceArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.StartDeploymentOutput{OperationId: new(string(op))}, nil
}

// DescribeService shows a service; deleted ones while their tombstone lives.
func (h *Handler) DescribeService(ctx context.Context, in *api.DescribeServiceInput) (*api.DescribeServiceOutput, error) {
	d, err := h.control.DescribeService(ctx, caller.Scope(ctx), *in.ServiceArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DescribeServiceOutput{Service: h.service(d)}, nil
}

// ListServices lists the services that are not deleted.
func (h *Handler) ListServices(ctx context.Context, in *api.ListServicesInput) (*api.ListServicesOutput, error) {
	page, err := h.control.ListServices(ctx, caller.Scope(ctx), pageRequest(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListServicesOutput{NextToken: member.Text(page.NextToken), ServiceSummaryList: []api.ServiceSummary{}}
	for _, s := range page.Items {
		out.ServiceSummaryList = append(out.ServiceSummaryList, api.ServiceSummary{
			ServiceName: new(s.Name), ServiceId: new(string(s.ID)), ServiceArn: new(s.ARN()), ServiceUrl: h.url(&s),
			CreatedAt: new(s.CreatedAt), UpdatedAt: new(s.UpdatedAt), Status: api.ServiceStatus(s.Status),
		})
	}
	return out, nil
}

// ListOperations lists a service's operations, newest first.
func (h *Handler) ListOperations(ctx context.Context, in *api.ListOperationsInput) (*api.ListOperationsOutput, error) {
	page, err := h.control.ListOperations(ctx, caller.Scope(ctx), *in.ServiceArn, pageRequest(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListOperationsOutput{NextToken: member.Text(page.NextToken), OperationSummaryList: []api.OperationSummary{}}
	for _, o := range page.Items {
		out.OperationSummaryList = append(out.OperationSummaryList, api.OperationSummary{
			Id: new(string(o.ID)), Type: api.OperationType(o.Type), Status: api.OperationStatus(o.Status), TargetArn: new(o.TargetARN),
			StartedAt: member.Moment(o.StartedAt), EndedAt: member.Moment(o.EndedAt), UpdatedAt: member.Moment(o.UpdatedAt),
		})
	}
	return out, nil
}

// TagResource adds tags to a resource.
func (h *Handler) TagResource(ctx context.Context, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	if err := h.control.TagResource(ctx, caller.Scope(ctx), *in.ResourceArn, tagsOf(in.Tags)); err != nil {
		return nil, wireError(err)
	}
	return &api.TagResourceOutput{}, nil
}

// UntagResource removes tags from a resource.
func (h *Handler) UntagResource(ctx context.Context, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	if err := h.control.UntagResource(ctx, caller.Scope(ctx), *in.ResourceArn, in.TagKeys); err != nil {
		return nil, wireError(err)
	}
	return &api.UntagResourceOutput{}, nil
}

// ListTagsForResource lists a resource's tags.
func (h *Handler) ListTagsForResource(ctx context.Context, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	tags, err := h.control.ListTagsForResource(ctx, caller.Scope(ctx), *in.ResourceArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ListTagsForResourceOutput{Tags: tagList(tags)}, nil
}

// wireError maps the kinds of control's errors to App Runner's exceptions (apprunner model 2020-05-15).
func wireError(err error) error {
	message := err.Error()
	switch app.KindOf(err) {
	case app.KindNotFound:
		return &api.ResourceNotFoundException{Message: message}
	case app.KindInvalidState:
		return &api.InvalidStateException{Message: message}
	case app.KindQuota:
		return &api.ServiceQuotaExceededException{Message: message}
	case app.KindInvalidRequest, app.KindExists, app.KindDenied, app.KindThrottled:
		return &api.InvalidRequestException{Message: message}
	case app.KindUnavailable:
		return &api.InternalServiceErrorException{Message: message}
	}
	return err
}
