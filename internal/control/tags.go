package control

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// The tags by which AWS's API can set what it has no word for, in whole seconds.
const (
	tagPrefix         = "funade:"
	tagStartTimeout   = tagPrefix + "start-timeout"
	tagStopTimeout    = tagPrefix + "stop-timeout"
	tagRequestTimeout = tagPrefix + "request-timeout"
)

// TagResource sets tags of a service, configuration, connection, VPC connector, repository or log group.
func (c *Control) TagResource(ctx context.Context, scope app.Scope, arn string, tags app.Tags) error {
	return c.retag(ctx, scope, arn, func(old app.Tags, service bool) (app.Tags, error) {
		merged := maps.Clone(old)
		if merged == nil {
			merged = app.Tags{}
		}
		maps.Copy(merged, tags)
		if err := checkTags(tags, service); err != nil {
			return nil, err
		}
		return merged, checkCount(merged)
	})
}

// UntagResource removes tags; keys that are not there are fine.
func (c *Control) UntagResource(ctx context.Context, scope app.Scope, arn string, keys []string) error {
	return c.retag(ctx, scope, arn, func(old app.Tags, _ bool) (app.Tags, error) {
		left := maps.Clone(old)
		maps.DeleteFunc(left, func(k, _ string) bool { return slices.Contains(keys, k) })
		return left, nil
	})
}

// ListTagsForResource returns the tags of a resource.
func (c *Control) ListTagsForResource(ctx context.Context, scope app.Scope, arn string) (app.Tags, error) {
	var out app.Tags
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		key, _, err := taggable(tx, scope, arn)
		if err != nil {
			return err
		}
		row, _ := store.TagSets.Get(tx, key)
		out = maps.Clone(row.Tags)
		return nil
	})
	return out, err
}

func (c *Control) retag(ctx context.Context, scope app.Scope, arn string, change func(old app.Tags, service bool) (app.Tags, error)) error {
	return c.update(ctx, scope, func(tx *store.Tx) error {
		key, svc, err := taggable(tx, scope, arn)
		if err != nil {
			return err
		}
		row, _ := store.TagSets.Get(tx, key)
		tags, err := change(row.Tags, svc != nil)
		if err != nil {
			return err
		}
		if len(tags) == 0 {
			store.Control.TagSets.Delete(tx, key)
		} else {
			store.Control.TagSets.Put(tx, app.TagSet{Resource: key, Tags: tags})
		}
		if svc != nil {
			applySettings(tx, svc)
			store.Control.Services.Put(tx, *svc)
		}
		return nil
	})
}

// taggable finds what an ARN names: the key of its tags and, for a service, the service.
func taggable(tx *store.Tx, scope app.Scope, arn string) (app.Resource, *app.Service, error) {
	parsed, err := app.ParseARN(arn)
	if err != nil {
		return "", nil, err
	}
	kind, rest, _ := strings.Cut(parsed.Resource, "/")
	switch {
	case parsed.Service == "apprunner" && kind == "service":
		svc, err := findLiveService(tx, scope, arn)
		return app.Resource(svc.ARN()), &svc, err
	case parsed.Service == "apprunner" && kind == "autoscalingconfiguration":
		a, err := findScaling(tx, scope, arn)
		return app.Resource(a.ARN()), nil, err
	case parsed.Service == "apprunner" && kind == "observabilityconfiguration":
		o, err := findObservability(tx, scope, arn)
		return app.Resource(o.ARN()), nil, err
	case parsed.Service == "apprunner" && kind == "connection":
		conn, err := findConnection(tx, scope, arn)
		return app.Resource(conn.ARN()), nil, err
	case parsed.Service == "apprunner" && kind == "vpcconnector":
		connector, err := findConnector(tx, scope, arn)
		return app.Resource(connector.ARN()), nil, err
	case parsed.Service == "ecr" && kind == "repository":
		repo, err := findRepository(tx, app.RepositoryKey{Scope: parsed.Scope, Name: rest})
		if err == nil && parsed.Scope != scope {
			err = repositoryNotFound(app.RepositoryKey{Scope: parsed.Scope, Name: rest})
		}
		return app.Resource(repo.Key.ARN()), nil, err
	case parsed.Service == "logs" && strings.HasPrefix(parsed.Resource, "log-group:"):
		name := strings.TrimSuffix(strings.TrimPrefix(parsed.Resource, "log-group:"), ":*")
		key := app.LogGroupKey{Scope: scope, Name: name}
		if _, ok := store.LogGroups.Get(tx, key); !ok || parsed.Scope != scope {
			return "", nil, groupNotFound(key)
		}
		return app.Resource(key.ARN()), nil, nil
	}
	return "", nil, app.Errorf(app.KindInvalidRequest, arn, "The ARN %q does not name a resource that can have tags.", arn)
}

// checkTags refuses AWS's own prefix and what Funade does not know under its own. service says that the tags are a
// service's, the only resource with funade: tags.
func checkTags(tags app.Tags, service bool) error {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		switch {
		case key == "" || len([]rune(key)) > 128 || len([]rune(value)) > 256:
			return invalid("The tag %q is not valid: keys have 1 to 128 characters, values up to 256.", key)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return invalid("The tag key %q is not valid: the prefix aws: is reserved.", key)
		case strings.HasPrefix(key, tagPrefix):
			if !service {
				return invalid("The tag key %q is not known: only services have tags with the prefix %s.", key, tagPrefix)
			}
			if err := checkSettingTag(key, value); err != nil {
				return err
			}
		}
	}
	return checkCount(tags)
}

func checkCount(tags app.Tags) error {
	if len(tags) > app.MaxTags {
		return &app.Error{Kind: app.KindInvalidRequest, Code: "TooManyTagsException",
			Message: "A resource can have at most " + strconv.Itoa(app.MaxTags) + " tags; with these it would have " + strconv.Itoa(len(tags)) + "."}
	}
	return nil
}

func checkSettingTag(key, value string) error {
	limit, ok := settingLimits[key]
	if !ok {
		return invalid("The tag key %q is not known. Known keys are %s.", key, strings.Join(slices.Sorted(maps.Keys(settingLimits)), ", "))
	}
	seconds, err := strconv.Atoi(value)
	if err != nil || strconv.Itoa(seconds) != value || seconds < 1 || time.Duration(seconds)*time.Second > limit {
		return invalid("The value %q of the tag %s is not valid: expected whole seconds from 1 to %d.", value, key, int(limit.Seconds()))
	}
	return nil
}

// putTags writes the tags of a new resource.
func putTags(tx *store.Tx, key app.Resource, tags app.Tags) {
	if len(tags) > 0 {
		store.Control.TagSets.Put(tx, app.TagSet{Resource: key, Tags: maps.Clone(tags)})
	}
}
