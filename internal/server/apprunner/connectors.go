package apprunner

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/apprunner"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// CreateVpcConnector makes a connector; it is ACTIVE at once.
func (h *Handler) CreateVpcConnector(ctx context.Context, in *api.CreateVpcConnectorInput) (*api.CreateVpcConnectorOutput, error) {
	c, err := h.control.CreateVPCConnector(ctx, caller.Scope(ctx), control.CreateVPCConnectorInput{
		Name: *in.VpcConnectorName, Subnets: convert[app.SubnetID](in.Subnets), Groups: convert[app.GroupID](in.SecurityGroups), Tags: tagsOf(in.Tags),
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateVpcConnectorOutput{VpcConnector: new(connector(c))}, nil
}

// DescribeVpcConnector shows a connector; deleted ones while their tombstone lives.
func (h *Handler) DescribeVpcConnector(ctx context.Context, in *api.DescribeVpcConnectorInput) (*api.DescribeVpcConnectorOutput, error) {
	c, err := h.control.DescribeVPCConnector(ctx, caller.Scope(ctx), *in.VpcConnectorArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DescribeVpcConnectorOutput{VpcConnector: new(connector(c))}, nil
}

// ListVpcConnectors lists the active connectors.
func (h *Handler) ListVpcConnectors(ctx context.Context, in *api.ListVpcConnectorsInput) (*api.ListVpcConnectorsOutput, error) {
	page, err := h.control.ListVPCConnectors(ctx, caller.Scope(ctx), pageRequest(in.MaxResults, in.NextToken))
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.ListVpcConnectorsOutput{NextToken: member.Text(page.NextToken), VpcConnectors: []api.VpcConnector{}}
	for _, c := range page.Items {
		out.VpcConnectors = append(out.VpcConnectors, connector(c))
	}
	return out, nil
}

// DeleteVpcConnector makes a connector that no service uses inactive.
func (h *Handler) DeleteVpcConnector(ctx context.Context, in *api.DeleteVpcConnectorInput) (*api.DeleteVpcConnectorOutput, error) {
	c, err := h.control.DeleteVPCConnector(ctx, caller.Scope(ctx), *in.VpcConnectorArn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteVpcConnectorOutput{VpcConnector: new(connector(c))}, nil
}

func connector(c app.VPCConnector) api.VpcConnector {
	out := api.VpcConnector{
		VpcConnectorName: new(c.Name), VpcConnectorArn: new(c.ARN()), VpcConnectorRevision: member.Int32(c.Revision),
		Subnets: convert[string](c.Subnets), SecurityGroups: convert[string](c.Groups), Status: api.VpcConnectorStatusActive,
		CreatedAt: member.Moment(c.CreatedAt), DeletedAt: member.Moment(c.DeletedAt),
	}
	if !c.DeletedAt.IsZero() {
		out.Status = api.VpcConnectorStatusInactive
	}
	return out
}

func convert[To, From ~string](in []From) []To {
	out := make([]To, len(in))
	for n, v := range in {
		out[n] = To(v)
	}
	return out
}
