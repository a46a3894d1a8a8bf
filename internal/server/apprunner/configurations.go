package apprunner

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/apprunner"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// CreateAutoScalingConfiguration makes a configuration or its next revision.
func (h *Handler) CreateAutoScalingConfiguration(ctx context.Context, in *api.CreateAutoScalingConfigurationInput) (*api.CreateAutoScalingConfigurationOutput, error) {
	d, err := h.control.CreateAutoScalingConfiguration(ctx, caller.Scope(ctx), control.CreateAutoScalingInput{
		Name: *in.AutoScalingConfigurationName, MaxConcurrency: member.Int(in.MaxConcurrency),
		MinSize: member.Int(in.MinSize), MaxSize: member.Int(in.MaxSize), Tags: tagsOf(in.Tags),
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateAutoScalingConfigurationOutput{AutoScalingConfiguration: scaling(d)}, nil
}

// DescribeAutoScalingConfiguration shows a configuration revision.
func (h *Handler) DescribeAutoScalingConfiguration(ctx context.Context, in *api.DescribeAutoScalingConfigurationInput) (*api.DescribeAutoScalingConfigurationOutput, error) {
	d, err := h.control.DescribeAutoScalingConfiguration(ctx, caller.Scope(ctx), *in.AutoScalingConfigurationArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DescribeAutoScalingConfigurationOutput{AutoScalingConfiguration: scaling(d)}, nil
}

// ListAutoScalingConfigurations lists active revisions, by default only the latest of each name.
func (h *Handler) ListAutoScalingConfigurations(ctx context.Context, in *api.ListAutoScalingConfigurationsInput) (*api.ListAutoScalingConfigurationsOutput, error) {
	page, err := h.control.ListAutoScalingConfigurations(ctx, caller.Scope(ctx), control.ListConfigurationsInput{
		Name: member.Value(in.AutoScalingConfigurationName), LatestOnly: in.LatestOnly == nil || *in.LatestOnly,
		Page: pageRequest(in.MaxResults, in.NextToken),
	})
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListAutoScalingConfigurationsOutput{
		NextToken: member.Text(page.NextToken), AutoScalingConfigurationSummaryList: []api.AutoScalingConfigurationSummary{},
	}
	for _, d := range page.Items {
		out.AutoScalingConfigurationSummaryList = append(out.AutoScalingConfigurationSummaryList, scalingSummary(d))
	}
	return out, nil
}

// DeleteAutoScalingConfiguration makes a revision, or all revisions of a name, inactive.
func (h *Handler) DeleteAutoScalingConfiguration(ctx context.Context, in *api.DeleteAutoScalingConfigurationInput) (*api.DeleteAutoScalingConfigurationOutput, error) {
	all := member.Value(in.DeleteAllRevisions)
	d, err := h.control.DeleteAutoScalingConfiguration(ctx, caller.Scope(ctx), *in.AutoScalingConfigurationArn, all)
	if err != nil {
		return nil, wireError(err)
	}
	if all {
		return &api.DeleteAutoScalingConfigurationOutput{AutoScalingConfiguration: scalingOfName(d)}, nil
	}
	return &api.DeleteAutoScalingConfigurationOutput{AutoScalingConfiguration: scaling(d)}, nil
}

// UpdateDefaultAutoScalingConfiguration makes a revision the account's default in this region.
func (h *Handler) UpdateDefaultAutoScalingConfiguration(ctx context.Context, in *api.UpdateDefaultAutoScalingConfigurationInput) (*api.UpdateDefaultAutoScalingConfigurationOutput, error) {
	d, err := h.control.UpdateDefaultAutoScalingConfiguration(ctx, caller.Scope(ctx), *in.AutoScalingConfigurationArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.UpdateDefaultAutoScalingConfigurationOutput{AutoScalingConfiguration: scaling(d)}, nil
}

// ListServicesForAutoScalingConfiguration lists the ARNs of the services that use a revision.
func (h *Handler) ListServicesForAutoScalingConfiguration(ctx context.Context, in *api.ListServicesForAutoScalingConfigurationInput) (*api.ListServicesForAutoScalingConfigurationOutput, error) {
	page, err := h.control.ListServicesForAutoScalingConfiguration(ctx, caller.Scope(ctx), *in.AutoScalingConfigurationArn, pageRequest(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ListServicesForAutoScalingConfigurationOutput{
		ServiceArnList: append([]string{}, page.Items...), NextToken: member.Text(page.NextToken),
	}, nil
}

// CreateObservabilityConfiguration makes a configuration or its next revision.
func (h *Handler) CreateObservabilityConfiguration(ctx context.Context, in *api.CreateObservabilityConfigurationInput) (*api.CreateObservabilityConfigurationOutput, error) {
	input := control.CreateObservabilityInput{Name: *in.ObservabilityConfigurationName, Tags: tagsOf(in.Tags)}
	if in.TraceConfiguration != nil {
		input.TraceVendor = string(in.TraceConfiguration.Vendor)
	}
	d, err := h.control.CreateObservabilityConfiguration(ctx, caller.Scope(ctx), input)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateObservabilityConfigurationOutput{ObservabilityConfiguration: observability(d)}, nil
}

// DescribeObservabilityConfiguration shows a configuration revision.
func (h *Handler) DescribeObservabilityConfiguration(ctx context.Context, in *api.DescribeObservabilityConfigurationInput) (*api.DescribeObservabilityConfigurationOutput, error) {
	d, err := h.control.DescribeObservabilityConfiguration(ctx, caller.Scope(ctx), *in.ObservabilityConfigurationArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DescribeObservabilityConfigurationOutput{ObservabilityConfiguration: observability(d)}, nil
}

// ListObservabilityConfigurations lists active revisions, by default only the latest of each name.
func (h *Handler) ListObservabilityConfigurations(ctx context.Context, in *api.ListObservabilityConfigurationsInput) (*api.ListObservabilityConfigurationsOutput, error) {
	page, err := h.control.ListObservabilityConfigurations(ctx, caller.Scope(ctx), control.ListConfigurationsInput{
		Name: member.Value(in.ObservabilityConfigurationName), LatestOnly: in.LatestOnly == nil || *in.LatestOnly,
		Page: pageRequest(in.MaxResults, in.NextToken),
	})
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListObservabilityConfigurationsOutput{
		NextToken: member.Text(page.NextToken), ObservabilityConfigurationSummaryList: []api.ObservabilityConfigurationSummary{},
	}
	for _, d := range page.Items {
		out.ObservabilityConfigurationSummaryList = append(out.ObservabilityConfigurationSummaryList, api.ObservabilityConfigurationSummary{
			ObservabilityConfigurationArn: new(d.ARN()), ObservabilityConfigurationName: new(d.Name),
			ObservabilityConfigurationRevision: member.Int32(d.Revision),
		})
	}
	return out, nil
}

// DeleteObservabilityConfiguration makes a revision inactive.
func (h *Handler) DeleteObservabilityConfiguration(ctx context.Context, in *api.DeleteObservabilityConfigurationInput) (*api.DeleteObservabilityConfigurationOutput, error) {
	d, err := h.control.DeleteObservabilityConfiguration(ctx, caller.Scope(ctx), *in.ObservabilityConfigurationArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteObservabilityConfigurationOutput{ObservabilityConfiguration: observability(d)}, nil
}

// CreateConnection makes a source connection; it waits for a handshake.
func (h *Handler) CreateConnection(ctx context.Context, in *api.CreateConnectionInput) (*api.CreateConnectionOutput, error) {
	c, err := h.control.CreateConnection(ctx, caller.Scope(ctx), *in.ConnectionName, string(in.ProviderType), tagsOf(in.Tags))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateConnectionOutput{Connection: connection(&c)}, nil
}

// ListConnections lists source connections.
func (h *Handler) ListConnections(ctx context.Context, in *api.ListConnectionsInput) (*api.ListConnectionsOutput, error) {
	page, err := h.control.ListConnections(ctx, caller.Scope(ctx), member.Value(in.ConnectionName), pageRequest(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListConnectionsOutput{NextToken: member.Text(page.NextToken), ConnectionSummaryList: []api.ConnectionSummary{}}
	for _, c := range page.Items {
		out.ConnectionSummaryList = append(out.ConnectionSummaryList, api.ConnectionSummary(*connection(&c)))
	}
	return out, nil
}

// DeleteConnection removes a source connection that no service uses.
func (h *Handler) DeleteConnection(ctx context.Context, in *api.DeleteConnectionInput) (*api.DeleteConnectionOutput, error) {
	c, err := h.control.DeleteConnection(ctx, caller.Scope(ctx), *in.ConnectionArn)
	if err != nil {
		return nil, wireError(err)
	}
	out := connection(&c)
	out.Status = api.ConnectionStatusDeleted
	return &api.DeleteConnectionOutput{Connection: out}, nil
}

func connection(c *app.Connection) *api.Connection {
	return &api.Connection{
		ConnectionName: new(c.Name), ConnectionArn: new(c.ARN()), ProviderType: api.ProviderType(c.ProviderType),
		Status: api.ConnectionStatus(c.Status), CreatedAt: member.Moment(c.CreatedAt),
	}
}
