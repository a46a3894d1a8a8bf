package ec2

import (
	"context"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	control "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/server/caller"
	"github.com/funade/funade/internal/server/member"
)

// CreateTags sets tags of objects of any kind.
func (h *Handler) CreateTags(ctx context.Context, in *api.CreateTagsInput) (*api.CreateTagsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	tags := app.Tags{}
	if err := addTags(tags, in.Tags); err != nil {
		return nil, err
	}
	return nil, wireError(h.control.CreateTags(ctx, caller.Scope(ctx), in.Resources, tags))
}

// DeleteTags removes tags of objects of any kind: those named, with that value when one is given, or all.
func (h *Handler) DeleteTags(ctx context.Context, in *api.DeleteTagsInput) (*api.DeleteTagsOutput, error) {
	if err := dryRun(in.DryRun); err != nil {
		return nil, err
	}
	tags := shapes(in.Tags, func(t api.Tag) control.DeletedTag {
		return control.DeletedTag{Key: member.Value(t.Key), Value: t.Value}
	})
	return nil, wireError(h.control.DeleteTags(ctx, caller.Scope(ctx), in.Resources, tags))
}

// tagRows is how tags are selected; their order is that of object and key.
var tagRows = described[control.Tag]{
	id:   func(t control.Tag) string { return t.Resource + "\x00" + t.Key },
	tags: func(t control.Tag) app.Tags { return app.Tags{t.Key: t.Value} },
	filters: map[string]func(control.Tag) []string{
		"key":           one(func(t control.Tag) string { return t.Key }),
		"resource-id":   one(func(t control.Tag) string { return t.Resource }),
		"resource-type": one(func(t control.Tag) string { return t.Type }),
		"value":         func(t control.Tag) []string { return []string{t.Value} },
	},
}

// DescribeTags shows tags.
func (h *Handler) DescribeTags(ctx context.Context, in *api.DescribeTagsInput) (*api.DescribeTagsOutput, error) {
	page, next, err := selected(ctx, in.DryRun, h.control.DescribeTags, query{filters: in.Filters, max: in.MaxResults, token: in.NextToken}, tagRows)
	if err != nil {
		return nil, err
	}
	return &api.DescribeTagsOutput{NextToken: next, Tags: shapes(page, func(t control.Tag) api.TagDescription {
		return api.TagDescription{Key: &t.Key, Value: &t.Value, ResourceId: &t.Resource, ResourceType: api.ResourceType(t.Type)}
	})}, nil
}
