package ec2

import (
	"context"
	"slices"
	"strconv"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// CreateFlowLogs starts recording traffic into a log group. Other destinations make every resource unsuccessful.
func (h *Handler) CreateFlowLogs(ctx context.Context, in *api.CreateFlowLogsInput) (*api.CreateFlowLogsOutput, error) {
	tags, err := newTags(in.TagSpecifications, api.ResourceTypeVpcFlowLog)
	if err != nil {
		return nil, err
	}
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	if to := in.LogDestinationType; to != "" && to != api.LogDestinationTypeCloudWatchLogs {
		why := "The log destination type " + string(to) + " is not available here: flow logs go to log groups. Give cloud-watch-logs and a log group"
		return &api.CreateFlowLogsOutput{ClientToken: in.ClientToken, FlowLogIds: []string{}, Unsuccessful: shapes(in.ResourceIds, func(id string) api.UnsuccessfulItem {
			return unsuccessful(id, "400", why)
		})}, nil
	}
	for name, given := range map[string]bool{"DestinationOptions": in.DestinationOptions != nil, "DeliverCrossAccountRole": in.DeliverCrossAccountRole != nil} {
		if given {
			return nil, invalid(name + " cannot be given with the destination type cloud-watch-logs: leave it out")
		}
	}
	if in.MaxAggregationInterval != nil && *in.MaxAggregationInterval == 0 {
		return nil, invalid("Value (0) for parameter MaxAggregationInterval is invalid: give 60 or 600 seconds")
	}
	ids, err := h.control.CreateFlowLogs(ctx, caller.Scope(ctx), control.CreateFlowLogsInput{
		ResourceType: string(in.ResourceType), Resources: in.ResourceIds, Traffic: string(in.TrafficType), GroupName: member.Value(in.LogGroupName),
		Destination: member.Value(in.LogDestination), RoleARN: member.Value(in.DeliverLogsPermissionArn), Format: member.Value(in.LogFormat),
		Interval: int(member.Value(in.MaxAggregationInterval)), ClientToken: member.Value(in.ClientToken), Tags: tags[api.ResourceTypeVpcFlowLog],
	})
	if err != nil {
		return nil, wireError(err)
	}
	return &api.CreateFlowLogsOutput{
		ClientToken: in.ClientToken, Unsuccessful: []api.UnsuccessfulItem{}, FlowLogIds: shapes(ids, func(id app.FlowLogID) string { return string(id) }),
	}, nil
}

func unsuccessful(id, code, message string) api.UnsuccessfulItem {
	return api.UnsuccessfulItem{ResourceId: &id, Error: &api.UnsuccessfulItemError{Code: &code, Message: &message}}
}

// delivered is the status of every flow log's delivery.
const delivered = "SUCCESS"

// flowLogs is how flow logs are selected.
var flowLogs = described[control.FlowLogDetail]{
	id:   func(l control.FlowLogDetail) string { return string(l.ID) },
	tags: func(l control.FlowLogDetail) app.Tags { return l.Tags },
	filters: map[string]func(control.FlowLogDetail) []string{
		"deliver-log-status":       fixed[control.FlowLogDetail](delivered),
		"log-destination-type":     fixed[control.FlowLogDetail](string(api.LogDestinationTypeCloudWatchLogs)),
		"flow-log-id":              one(func(l control.FlowLogDetail) string { return string(l.ID) }),
		"log-group-name":           one(func(l control.FlowLogDetail) string { return l.Group.Name }),
		"resource-id":              one(func(l control.FlowLogDetail) string { return l.Resource }),
		"traffic-type":             one(func(l control.FlowLogDetail) string { return l.Traffic }),
		"max-aggregation-interval": one(func(l control.FlowLogDetail) string { return strconv.Itoa(l.Interval) }),
	},
}

// DescribeFlowLogs shows flow logs. Ids that are not there are left out: clients take the empty list, and no error, for gone.
func (h *Handler) DescribeFlowLogs(ctx context.Context, in *api.DescribeFlowLogsInput) (*api.DescribeFlowLogsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	all, err := h.control.DescribeFlowLogs(ctx, caller.Scope(ctx))
	if err != nil {
		return nil, wireError(err)
	}
	if len(in.FlowLogIds) > 0 {
		all = slices.DeleteFunc(all, func(l control.FlowLogDetail) bool { return !slices.Contains(in.FlowLogIds, string(l.ID)) })
	}
	page, next, err := describe(query{filters: in.Filter, max: in.MaxResults, token: in.NextToken, minimum: 1}, all, flowLogs)
	if err != nil {
		return nil, err
	}
	return &api.DescribeFlowLogsOutput{FlowLogs: shapes(page, flowLogShape), NextToken: next}, nil
}

func flowLogShape(l control.FlowLogDetail) api.FlowLog {
	return api.FlowLog{
		FlowLogId: new(string(l.ID)), ResourceId: &l.Resource, TrafficType: api.TrafficType(l.Traffic), FlowLogStatus: new("ACTIVE"), DeliverLogsStatus: new(delivered),
		LogDestinationType: api.LogDestinationTypeCloudWatchLogs, LogDestination: new(l.Group.ARN()), LogGroupName: &l.Group.Name, LogFormat: &l.Format,
		DeliverLogsPermissionArn: member.Text(l.RoleARN), MaxAggregationInterval: member.Int32(l.Interval), CreationTime: member.Moment(l.CreatedAt), Tags: tagList(l.Tags),
	}
}

// DeleteFlowLogs stops recording; what was recorded stays.
func (h *Handler) DeleteFlowLogs(ctx context.Context, in *api.DeleteFlowLogsInput) (*api.DeleteFlowLogsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	unknown, err := h.control.DeleteFlowLogs(ctx, caller.Scope(ctx), shapes(in.FlowLogIds, func(id string) app.FlowLogID { return app.FlowLogID(id) }))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteFlowLogsOutput{Unsuccessful: shapes(unknown, func(id app.FlowLogID) api.UnsuccessfulItem {
		return unsuccessful(string(id), "InvalidFlowLogId.NotFound", "The flow log ID '"+string(id)+"' does not exist")
	})}, nil
}
