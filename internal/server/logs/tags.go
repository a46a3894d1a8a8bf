package logs

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/logs"
	"github.com/funade/funade/internal/server/caller"
)

// tagged returns the group that an ARN names, as control names it for tags.
func tagged(ctx context.Context, arn string) (string, error) {
	key, err := groupOfARN(ctx, arn)
	return key.ARN(), err
}

// TagResource adds tags to a group.
func (h *Handler) TagResource(ctx context.Context, in *api.TagResourceInput) (*api.TagResourceOutput, error) {
	arn, err := tagged(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	if err := h.control.TagResource(ctx, caller.Scope(ctx), arn, in.Tags); err != nil {
		return nil, wireError(err)
	}
	return &api.TagResourceOutput{}, nil
}

// UntagResource removes tags from a group.
func (h *Handler) UntagResource(ctx context.Context, in *api.UntagResourceInput) (*api.UntagResourceOutput, error) {
	arn, err := tagged(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	if err := h.control.UntagResource(ctx, caller.Scope(ctx), arn, in.TagKeys); err != nil {
		return nil, wireError(err)
	}
	return &api.UntagResourceOutput{}, nil
}

// ListTagsForResource lists a group's tags.
func (h *Handler) ListTagsForResource(ctx context.Context, in *api.ListTagsForResourceInput) (*api.ListTagsForResourceOutput, error) {
	arn, err := tagged(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, err := h.control.ListTagsForResource(ctx, caller.Scope(ctx), arn)
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ListTagsForResourceOutput{Tags: tags}, nil
}

func (h *Handler) named(ctx context.Context, name string) string {
	return app.LogGroupKey{Scope: caller.Scope(ctx), Name: name}.ARN()
}

// TagLogGroup is the older TagResource, by name.
func (h *Handler) TagLogGroup(ctx context.Context, in *api.TagLogGroupInput) (*api.TagLogGroupOutput, error) {
	if err := h.control.TagResource(ctx, caller.Scope(ctx), h.named(ctx, *in.LogGroupName), in.Tags); err != nil {
		return nil, wireError(err)
	}
	return &api.TagLogGroupOutput{}, nil
}

// UntagLogGroup is the older UntagResource, by name.
func (h *Handler) UntagLogGroup(ctx context.Context, in *api.UntagLogGroupInput) (*api.UntagLogGroupOutput, error) {
	if err := h.control.UntagResource(ctx, caller.Scope(ctx), h.named(ctx, *in.LogGroupName), in.Tags); err != nil {
		return nil, wireError(err)
	}
	return &api.UntagLogGroupOutput{}, nil
}

// ListTagsLogGroup is the older ListTagsForResource, by name.
func (h *Handler) ListTagsLogGroup(ctx context.Context, in *api.ListTagsLogGroupInput) (*api.ListTagsLogGroupOutput, error) {
	tags, err := h.control.ListTagsForResource(ctx, caller.Scope(ctx), h.named(ctx, *in.LogGroupName))
	if err != nil {
		return nil, wireError(err)
	}
	return &api.ListTagsLogGroupOutput{Tags: tags}, nil
}
