// Package logs answers the Amazon CloudWatch Logs API over control's rows and the log store.
package logs

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/logs"
	"github.com/funade/funade/internal/control"
	"github.com/funade/funade/internal/logs"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// Store reads and writes events.
type Store interface {
	Append(ctx context.Context, key app.LogStreamKey, events []app.LogEvent) error
	GetEvents(ctx context.Context, in logs.GetEventsInput) (logs.GetEventsOutput, error)
	Filter(ctx context.Context, in logs.FilterInput) (logs.FilterOutput, error)
	Removals
	Figures
}

// Removals forgets the events of what was deleted.
type Removals interface {
	DeleteGroup(ctx context.Context, key app.LogGroupKey) error
	DeleteStream(ctx context.Context, key app.LogStreamKey) error
}

// Figures tells how much is stored.
type Figures interface {
	StreamInfos(ctx context.Context, key app.LogGroupKey) (map[string]logs.StreamInfo, error)
	GroupBytes(ctx context.Context, key app.LogGroupKey) int64
}

// Handler implements the generated CloudWatch Logs handler.
type Handler struct {
	api.Unimplemented
	control *control.Control
	store   Store
	now     func() time.Time
}

// New returns the handler.
func New(c *control.Control, s Store, now func() time.Time) *Handler {
	return &Handler{control: c, store: s, now: now}
}

// groupKey names a group by name, or by identifier: a name or an ARN with or without the final ":*".
func groupKey(ctx context.Context, name, identifier *string) (app.LogGroupKey, error) {
	scope := caller.Scope(ctx)
	switch {
	case name != nil && identifier != nil:
		return app.LogGroupKey{}, invalid("logGroupName and logGroupIdentifier cannot both be given; leave one out.")
	case name != nil:
		return app.LogGroupKey{Scope: scope, Name: *name}, nil
	case identifier == nil:
		return app.LogGroupKey{}, invalid("One of logGroupName and logGroupIdentifier is required.")
	case !strings.HasPrefix(*identifier, "arn:"):
		return app.LogGroupKey{Scope: scope, Name: *identifier}, nil
	}
	return groupOfARN(ctx, *identifier)
}

// groupOfARN reads a log group's ARN; it must be of the caller's account and region.
func groupOfARN(ctx context.Context, arn string) (app.LogGroupKey, error) {
	parsed, err := app.ParseARN(arn)
	if err != nil {
		return app.LogGroupKey{}, invalid(err.Error())
	}
	name, ok := strings.CutPrefix(parsed.Resource, "log-group:")
	if parsed.Service != "logs" || !ok || parsed.Scope != caller.Scope(ctx) {
		return app.LogGroupKey{}, invalid("The ARN '" + arn + "' is not of a log group of this account and region.")
	}
	return app.LogGroupKey{Scope: parsed.Scope, Name: strings.TrimSuffix(name, ":*")}, nil
}

func invalid(message string) error { return &api.InvalidParameterException{Message: message} }

// wireError maps error kinds to CloudWatch Logs' exceptions (logs model 2014-03-28).
func wireError(err error) error {
	var e *app.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case app.KindNotFound:
		return &api.ResourceNotFoundException{Message: e.Message}
	case app.KindExists:
		return &api.ResourceAlreadyExistsException{Message: e.Message}
	case app.KindQuota:
		if e.Code == "TooManyTagsException" {
			return &api.TooManyTagsException{Message: e.Message}
		}
		return &api.LimitExceededException{Message: e.Message}
	case app.KindInvalidRequest, app.KindInvalidState, app.KindDenied, app.KindThrottled:
		return invalid(e.Message)
	case app.KindUnavailable:
		return &api.ServiceUnavailableException{Message: e.Message}
	}
	return err
}

// CreateLogGroup makes a group.
func (h *Handler) CreateLogGroup(ctx context.Context, in *api.CreateLogGroupInput) (*api.CreateLogGroupOutput, error) {
	key := app.LogGroupKey{Scope: caller.Scope(ctx), Name: *in.LogGroupName}
	input := control.CreateLogGroupInput{KMSKeyARN: member.Value(in.KmsKeyId), Class: string(in.LogGroupClass), Tags: in.Tags}
	if err := h.control.CreateLogGroup(ctx, key, input); err != nil {
		return nil, wireError(err)
	}
	return &api.CreateLogGroupOutput{}, nil
}

// DeleteLogGroup removes a group with everything in it.
func (h *Handler) DeleteLogGroup(ctx context.Context, in *api.DeleteLogGroupInput) (*api.DeleteLogGroupOutput, error) {
	key := app.LogGroupKey{Scope: caller.Scope(ctx), Name: *in.LogGroupName}
	if err := h.control.DeleteLogGroup(ctx, key); err != nil {
		return nil, wireError(err)
	}
	if err := h.store.DeleteGroup(ctx, key); err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteLogGroupOutput{}, nil
}

// defaultPage is the page of the Describe operations when limit is absent (logs model: "up to 50 items").
const defaultPage = 50

func page(limit *int32, token *string) control.PageRequest {
	p := control.PageRequest{MaxResults: int(member.Value(limit)), NextToken: member.Value(token)}
	if p.MaxResults == 0 {
		p.MaxResults = defaultPage
	}
	return p
}

// DescribeLogGroups lists groups by prefix or by a part of their names.
func (h *Handler) DescribeLogGroups(ctx context.Context, in *api.DescribeLogGroupsInput) (*api.DescribeLogGroupsOutput, error) {
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return nil, invalid("logGroupNamePrefix and logGroupNamePattern cannot both be given; leave one out.")
	}
	found, err := h.control.DescribeLogGroups(ctx, caller.Scope(ctx), control.DescribeLogGroupsInput{
		Prefix: member.Value(in.LogGroupNamePrefix), Pattern: member.Value(in.LogGroupNamePattern), Class: string(in.LogGroupClass),
		Page: page(in.Limit, in.NextToken),
	})
	if err != nil {
		return nil, wireError(err)
	}
	out := &api.DescribeLogGroupsOutput{NextToken: member.Text(found.NextToken), LogGroups: []api.LogGroup{}}
	for _, g := range found.Items {
		out.LogGroups = append(out.LogGroups, h.group(ctx, g))
	}
	return out, nil
}

func (h *Handler) group(ctx context.Context, g app.LogGroup) api.LogGroup {
	out := api.LogGroup{
		LogGroupName: new(g.Key.Name), Arn: new(g.Key.ARN() + ":*"), LogGroupArn: new(g.Key.ARN()),
		CreationTime: member.Millis(g.CreatedAt), MetricFilterCount: member.Int32(0), KmsKeyId: member.Text(g.KMSKeyARN),
		StoredBytes: new(h.store.GroupBytes(ctx, g.Key)), LogGroupClass: api.LogGroupClassStandard,
	}
	if g.Class != "" {
		out.LogGroupClass = api.LogGroupClass(g.Class)
	}
	if g.RetentionDays != 0 {
		out.RetentionInDays = member.Int32(g.RetentionDays)
	}
	return out
}

// PutRetentionPolicy says after how many days events go.
func (h *Handler) PutRetentionPolicy(ctx context.Context, in *api.PutRetentionPolicyInput) (*api.PutRetentionPolicyOutput, error) {
	key := app.LogGroupKey{Scope: caller.Scope(ctx), Name: *in.LogGroupName}
	if err := h.control.PutRetentionPolicy(ctx, key, int(*in.RetentionInDays)); err != nil {
		return nil, wireError(err)
	}
	return &api.PutRetentionPolicyOutput{}, nil
}

// DeleteRetentionPolicy keeps events for ever.
func (h *Handler) DeleteRetentionPolicy(ctx context.Context, in *api.DeleteRetentionPolicyInput) (*api.DeleteRetentionPolicyOutput, error) {
	key := app.LogGroupKey{Scope: caller.Scope(ctx), Name: *in.LogGroupName}
	if err := h.control.DeleteRetentionPolicy(ctx, key); err != nil {
		return nil, wireError(err)
	}
	return &api.DeleteRetentionPolicyOutput{}, nil
}
