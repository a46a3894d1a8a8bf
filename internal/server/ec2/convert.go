package ec2

import (
	"maps"
	"slices"
	"strconv"

	"github.com/funade/funade/internal/app"
	api "github.com/funade/funade/internal/aws/api/ec2"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/server/member"
)

func decimal(n int32) string { return strconv.Itoa(int(n)) }

// dryRun is the error by which EC2 says that a call with DryRun would have worked.
func dryRun(asked *bool) error {
	if !member.Value(asked) {
		return nil
	}
	return &wire.Error{Code: "DryRunOperation", Status: 412, Message: "Request would have succeeded, but DryRun flag is set."}
}

// tagList returns tags as EC2 shows them, by key.
func tagList(tags app.Tags) []api.Tag {
	out := make([]api.Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, api.Tag{Key: new(key), Value: new(tags[key])})
	}
	return out
}

// newTags returns the tags that a create operation gives to an object of a type; another type is an error.
func newTags(specifications []api.TagSpecification, types ...api.ResourceType) (map[api.ResourceType]app.Tags, error) {
	out := map[api.ResourceType]app.Tags{}
	for _, s := range specifications {
		if !slices.Contains(types, s.ResourceType) {
			return nil, &wire.Error{Code: "InvalidParameterValue", Message: "'" + string(s.ResourceType) + "' is not a valid taggable resource type for this operation."}
		}
		if out[s.ResourceType] == nil {
			out[s.ResourceType] = app.Tags{}
		}
		if err := addTags(out[s.ResourceType], s.Tags); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// addTags takes over tags; a key given twice is an error.
func addTags(to app.Tags, list []api.Tag) error {
	for _, t := range list {
		key := member.Value(t.Key)
		if _, twice := to[key]; twice {
			return &wire.Error{Code: "InvalidParameterValue", Message: "Duplicate tag key '" + key + "' specified: give each key once."}
		}
		to[key] = member.Value(t.Value)
	}
	return nil
}
