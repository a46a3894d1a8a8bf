package control

import (
	"context"
	"slices"
	"strings"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// retentions are the days that PutRetentionPolicy accepts (CloudWatch Logs API reference).
var retentions = []int{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

func groupNotFound(key app.LogGroupKey) error {
	return &app.Error{Kind: app.KindNotFound, Code: "ResourceNotFoundException", Resource: key.Name, Message: "The specified log group does not exist."}
}

func findGroup(tx *store.Tx, key app.LogGroupKey) (app.LogGroup, error) {
	if g, ok := store.LogGroups.Get(tx, key); ok {
		return g, nil
	}
	return app.LogGroup{}, groupNotFound(key)
}

// CreateLogGroup makes a log group that keeps its events for ever.
func (c *Control) CreateLogGroup(ctx context.Context, key app.LogGroupKey, in CreateLogGroupInput) error {
	if err := checkName("logGroupName", key.Name, logGroupName); err != nil {
		return err
	}
	if err := checkTags(in.Tags, false); err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		if _, exists := store.LogGroups.Get(tx, key); exists {
			return &app.Error{Kind: app.KindExists, Code: "ResourceAlreadyExistsException", Resource: key.Name, Message: "The specified log group already exists"}
		}
		if err := c.putGroup(tx, app.LogGroup{Key: key, KMSKeyARN: in.KMSKeyARN, Class: in.Class, CreatedAt: c.now()}); err != nil {
			return err
		}
		putTags(tx, app.Resource(key.ARN()), in.Tags)
		return nil
	})
}

func (c *Control) putGroup(tx *store.Tx, g app.LogGroup) error {
	if g.Class == "" {
		g.Class = "STANDARD"
	}
	if store.LogGroups.Len(tx) >= c.cfg.Quotas.LogGroups {
		return &app.Error{Kind: app.KindQuota, Code: "LimitExceededException", Resource: g.Key.Name, Message: "Resource limit exceeded: delete a log group first."}
	}
	store.Control.LogGroups.Put(tx, g)
	return nil
}

// DeleteLogGroup removes a log group with its streams.
func (c *Control) DeleteLogGroup(ctx context.Context, key app.LogGroupKey) error {
	return c.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := findGroup(tx, key); err != nil {
			return err
		}
		for s := range store.LogStreamsByGroup.Each(tx, key) {
			store.Control.LogStreams.Delete(tx, s.Key)
		}
		store.Control.TagSets.Delete(tx, app.Resource(key.ARN()))
		store.Control.LogGroups.Delete(tx, key)
		return nil
	})
}

// LogGroup returns a log group.
func (c *Control) LogGroup(ctx context.Context, key app.LogGroupKey) (app.LogGroup, error) {
	var out app.LogGroup
	err := c.store.View(ctx, func(tx *store.Tx) error {
		var err error
		out, err = findGroup(tx, key)
		return err
	})
	return out, err
}

// DescribeLogGroups lists log groups by name.
func (c *Control) DescribeLogGroups(ctx context.Context, scope app.Scope, in DescribeLogGroupsInput) (Page[app.LogGroup], error) {
	var out Page[app.LogGroup]
	if in.Prefix != "" && in.Pattern != "" {
		return out, invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	err := c.store.View(ctx, func(tx *store.Tx) error {
		var err error
		out, err = list(tx, store.LogGroupsByScope, scope, func(g app.LogGroup) bool {
			return strings.HasPrefix(g.Key.Name, in.Prefix) && (in.Class == "" || g.Class == in.Class) &&
				strings.Contains(strings.ToLower(g.Key.Name), strings.ToLower(in.Pattern))
		}, in.Page, "log-groups", string(scope.Account), string(scope.Region), in.Prefix, in.Pattern, in.Class)
		return err
	})
	return out, err
}

// CreateLogStream makes a stream in a group.
func (c *Control) CreateLogStream(ctx context.Context, key app.LogStreamKey) error {
	if err := checkStreamName(key.Stream); err != nil {
		return err
	}
	return c.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := findGroup(tx, key.Group); err != nil {
			return err
		}
		if _, exists := store.LogStreams.Get(tx, key); exists {
			return &app.Error{Kind: app.KindExists, Code: "ResourceAlreadyExistsException", Resource: key.Stream, Message: "The specified log stream already exists"}
		}
		return c.putStream(tx, key)
	})
}

func (c *Control) putStream(tx *store.Tx, key app.LogStreamKey) error {
	store.Control.LogStreams.Put(tx, app.LogStream{Key: key, CreatedAt: c.now()})
	return nil
}

// DeleteLogStream removes a stream.
func (c *Control) DeleteLogStream(ctx context.Context, key app.LogStreamKey) error {
	return c.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := findGroup(tx, key.Group); err != nil {
			return err
		}
		if _, ok := store.LogStreams.Get(tx, key); !ok {
			return &app.Error{Kind: app.KindNotFound, Code: "ResourceNotFoundException", Resource: key.Stream, Message: "The specified log stream does not exist."}
		}
		store.Control.LogStreams.Delete(tx, key)
		return nil
	})
}

// DescribeLogStreams lists a group's streams by name.
func (c *Control) DescribeLogStreams(ctx context.Context, group app.LogGroupKey, prefix string, page PageRequest) (Page[app.LogStream], error) {
	var out Page[app.LogStream]
	err := c.store.View(ctx, func(tx *store.Tx) error {
		if _, err := findGroup(tx, group); err != nil {
			return err
		}
		var err error
		out, err = list(tx, store.LogStreamsByGroup, group, func(s app.LogStream) bool {
			return strings.HasPrefix(s.Key.Stream, prefix)
		}, page, "log-streams", group.ARN(), prefix)
		return err
	})
	return out, err
}

// PutRetentionPolicy makes a group's events expire after so many days.
func (c *Control) PutRetentionPolicy(ctx context.Context, key app.LogGroupKey, days int) error {
	if !slices.Contains(retentions, days) {
		return invalid("The retention of %d days is not valid. Valid values are %v.", days, retentions)
	}
	return c.retain(ctx, key, days)
}

// DeleteRetentionPolicy makes a group keep its events for ever.
func (c *Control) DeleteRetentionPolicy(ctx context.Context, key app.LogGroupKey) error {
	return c.retain(ctx, key, 0)
}

func (c *Control) retain(ctx context.Context, key app.LogGroupKey, days int) error {
	return c.store.Update(ctx, func(tx *store.Tx) error {
		g, err := findGroup(tx, key)
		if err != nil {
			return err
		}
		g.RetentionDays = days
		store.Control.LogGroups.Put(tx, g)
		return nil
	})
}

// LogGroups is the log store's view of groups and streams (logs.Groups).
type LogGroups struct{ c *Control }

// LogGroups returns the log store's view.
func (c *Control) LogGroups() *LogGroups { return &LogGroups{c} }

// Ensure makes the group and the stream exist.
func (g *LogGroups) Ensure(ctx context.Context, key app.LogStreamKey) error {
	exists := false
	err := g.c.store.View(ctx, func(tx *store.Tx) error {
		_, exists = store.LogStreams.Get(tx, key)
		return nil
	})
	if err != nil || exists {
		return err
	}
	return g.c.store.Update(ctx, func(tx *store.Tx) error {
		if _, ok := store.LogGroups.Get(tx, key.Group); !ok {
			if err := g.c.putGroup(tx, app.LogGroup{Key: key.Group, CreatedAt: g.c.now()}); err != nil {
				return err
			}
		}
		if _, ok := store.LogStreams.Get(tx, key); ok {
			return nil
		}
		return g.c.putStream(tx, key)
	})
}

// All returns every group of the install.
func (g *LogGroups) All(ctx context.Context) ([]app.LogGroup, error) {
	var out []app.LogGroup
	err := g.c.store.View(ctx, func(tx *store.Tx) error {
		out = slices.Collect(store.LogGroups.All(tx))
		return nil
	})
	return out, err
}
