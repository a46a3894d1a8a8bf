package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

// The limits of an auto scaling configuration (apprunner model 2020-05-15).
const (
	maxMaxConcurrency = 200
	maxMinSize        = 25
)

func scalingDetail(tx *store.Tx, a app.AutoScaling) AutoScalingDetail {
	latest, ok := latestScaling(tx, a.Scope, a.Name)
	_, used := store.ServicesByScaling.First(tx, app.Resource(a.ARN()))
	return AutoScalingDetail{AutoScaling: a, Latest: ok && latest.Revision == a.Revision, HasAssociatedService: used}
}

// CreateAutoScalingConfiguration makes the first or the next revision of a name.
func (c *Control) CreateAutoScalingConfiguration(ctx context.Context, scope app.Scope, in CreateAutoScalingInput) (AutoScalingDetail, error) {
	a := app.AutoScaling{
		Scope: scope, Name: in.Name, CreatedAt: c.now(), MaxConcurrency: app.DefaultMaxConcurrency,
		MinSize: app.DefaultMinSize, MaxSize: app.DefaultMaxSize,
	}
	set(&a.MaxConcurrency, in.MaxConcurrency)
	set(&a.MinSize, in.MinSize)
	set(&a.MaxSize, in.MaxSize)
	if err := checkName("AutoScalingConfigurationName", in.Name, configurationName); err != nil {
		return AutoScalingDetail{}, err
	}
	if err := c.checkScaling(a); err != nil {
		return AutoScalingDetail{}, err
	}
	if err := checkTags(in.Tags, false); err != nil {
		return AutoScalingDetail{}, err
	}
	var out AutoScalingDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		if err := c.scalingQuota(tx, scope, in.Name); err != nil {
			return err
		}
		a.Revision = nextRevision(tx, scope, scalingName(in.Name))
		a.ID = c.cfg.IDs.Hex32()
		store.Control.AutoScalings.Put(tx, a)
		putTags(tx, app.Resource(a.ARN()), in.Tags)
		out = scalingDetail(tx, a)
		return nil
	})
	return out, err
}

func (c *Control) checkScaling(a app.AutoScaling) error {
	limit := c.cfg.Quotas.MaxSize
	switch {
	case a.MaxConcurrency < 1 || a.MaxConcurrency > maxMaxConcurrency:
		return invalid("MaxConcurrency is %d; it has to be between 1 and %d.", a.MaxConcurrency, maxMaxConcurrency)
	case a.MinSize < 1 || a.MinSize > maxMinSize:
		return invalid("MinSize is %d; it has to be between 1 and %d.", a.MinSize, maxMinSize)
	case a.MaxSize < 1 || a.MaxSize > limit:
		return invalid("MaxSize is %d; it has to be between 1 and %d.", a.MaxSize, limit)
	case a.MinSize > a.MaxSize:
		return invalid("MinSize (%d) cannot be greater than MaxSize (%d).", a.MinSize, a.MaxSize)
	}
	return nil
}

func (c *Control) scalingQuota(tx *store.Tx, scope app.Scope, name string) error {
	names := map[string]int{}
	for a := range store.AutoScalingsByScope.Each(tx, scope) {
		if a.DeletedAt.IsZero() {
			names[a.Name]++
		}
	}
	return configurationQuota("auto scaling", names, name, c.cfg.Quotas.AutoScalingNames, c.cfg.Quotas.AutoScalingRevisions)
}

// configurationQuota checks one more revision of name; the built-in name does not count as one.
func configurationQuota(kind string, revisions map[string]int, name string, maxNames, maxRevisions int) error {
	if revisions[name] >= maxRevisions {
		return quota("The %s configuration %s has %d active revisions, which is the limit. Delete one first.", kind, name, revisions[name])
	}
	delete(revisions, app.DefaultConfigurationName)
	if revisions[name] == 0 && name != app.DefaultConfigurationName && len(revisions) >= maxNames {
		return quota("You have %d %s configuration names, which is the limit. Delete one first.", len(revisions), kind)
	}
	return nil
}

// DescribeAutoScalingConfiguration returns a configuration revision, for some time also a deleted one.
func (c *Control) DescribeAutoScalingConfiguration(ctx context.Context, scope app.Scope, arn string) (AutoScalingDetail, error) {
	var out AutoScalingDetail
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		a, err := findScaling(tx, scope, arn)
		if err != nil {
			return err
		}
		out = scalingDetail(tx, a)
		return nil
	})
	return out, err
}

// ListAutoScalingConfigurations lists active revisions by name and number.
func (c *Control) ListAutoScalingConfigurations(ctx context.Context, scope app.Scope, in ListConfigurationsInput) (Page[AutoScalingDetail], error) {
	var out Page[AutoScalingDetail]
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		keep := func(a app.AutoScaling) bool {
			if !a.DeletedAt.IsZero() || in.Name != "" && a.Name != in.Name {
				return false
			}
			latest, _ := latestScaling(tx, scope, a.Name)
			return !in.LatestOnly || latest.Revision == a.Revision
		}
		page, err := list(tx, store.AutoScalingsByScope, scope, keep, in.Page,
			"autoscaling", string(scope.Account), string(scope.Region), in.Name, fmt.Sprint(in.LatestOnly))
		if err != nil {
			return err
		}
		out.NextToken = page.NextToken
		for _, a := range page.Items {
			out.Items = append(out.Items, scalingDetail(tx, a))
		}
		return nil
	})
	return out, err
}

// DeleteAutoScalingConfiguration deletes one revision, or with all every revision of a name; the ARN then ends with
// the name, and the answer's name is what counts.
func (c *Control) DeleteAutoScalingConfiguration(ctx context.Context, scope app.Scope, arn string, all bool) (AutoScalingDetail, error) {
	var out AutoScalingDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		victims, err := scalingVictims(tx, scope, arn, all)
		if err != nil {
			return err
		}
		for _, a := range victims {
			if err := deletableScaling(tx, a); err != nil {
				return err
			}
		}
		for _, a := range victims {
			a.DeletedAt = c.now()
			store.Control.AutoScalings.Put(tx, a)
			out = scalingDetail(tx, a)
		}
		return nil
	})
	return out, err
}

func scalingVictims(tx *store.Tx, scope app.Scope, arn string, all bool) ([]app.AutoScaling, error) {
	a, err := findScaling(tx, scope, arn)
	if err != nil || !all {
		return []app.AutoScaling{a}, err
	}
	if parsed, _ := parseConfiguration(scope, arn, "autoscalingconfiguration"); parsed.Revision != 0 {
		return nil, invalid("DeleteAllRevisions needs an ARN that ends with the configuration's name: %s.", scope.ARN("apprunner", "autoscalingconfiguration/"+a.Name))
	}
	var out []app.AutoScaling
	for a := range store.AutoScalingsByName.Each(tx, app.NamedKey{Scope: scope, Name: a.Name}) {
		if a.DeletedAt.IsZero() {
			out = append(out, a)
		}
	}
	return out, nil
}

func deletableScaling(tx *store.Tx, a app.AutoScaling) error {
	_, used := store.ServicesByScaling.First(tx, app.Resource(a.ARN()))
	switch {
	case !a.DeletedAt.IsZero():
		return invalid("The auto scaling configuration you specified has been deleted. ARN: %s", a.ARN())
	case used:
		return invalid("You can't delete the auto scaling configuration. It's used by one or more services. To delete it, update the services to use other auto scaling configurations.")
	case a.Default:
		return invalid("You can't delete the auto scaling configuration. It's the default of your account in this Region. To delete it, set another auto scaling configuration as the default.")
	}
	return nil
}

// UpdateDefaultAutoScalingConfiguration makes a revision the default of account and region; services keep theirs.
func (c *Control) UpdateDefaultAutoScalingConfiguration(ctx context.Context, scope app.Scope, arn string) (AutoScalingDetail, error) {
	var out AutoScalingDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		next, err := findScaling(tx, scope, arn)
		if err != nil {
			return err
		}
		if !next.DeletedAt.IsZero() {
			return invalid("The auto scaling configuration you specified has been deleted. ARN: %s", arn)
		}
		for a := range store.AutoScalingsByScope.Each(tx, scope) {
			if a.Default && a.Key() != next.Key() {
				a.Default = false
				store.Control.AutoScalings.Put(tx, a)
			}
		}
		next.Default = true
		store.Control.AutoScalings.Put(tx, next)
		out = scalingDetail(tx, next)
		return nil
	})
	return out, err
}

// ListServicesForAutoScalingConfiguration lists the ARNs of the services that use a revision.
func (c *Control) ListServicesForAutoScalingConfiguration(ctx context.Context, scope app.Scope, arn string, page PageRequest) (Page[string], error) {
	var out Page[string]
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		a, err := findScaling(tx, scope, arn)
		if err != nil {
			return err
		}
		services, err := list(tx, store.ServicesByScaling, app.Resource(a.ARN()), nil, page, "services-for", a.ARN())
		out.NextToken = services.NextToken
		for _, s := range services.Items {
			out.Items = append(out.Items, s.ARN())
		}
		return err
	})
	return out, err
}

// defaultScaling is what a service gets that names none: the default's name, latest revision.
func defaultScaling(tx *store.Tx, scope app.Scope) (app.AutoScaling, error) {
	for a := range store.AutoScalingsByScope.Each(tx, scope) {
		if a.Default {
			return a, nil
		}
	}
	return app.AutoScaling{}, invalid("There is no default auto scaling configuration in this account and Region: name one in AutoScalingConfigurationArn.")
}

// resolveScaling turns what a service names into the full ARN of an active revision; errors are InvalidRequest.
func resolveScaling(tx *store.Tx, scope app.Scope, arn string) (string, error) {
	a, err := findScaling(tx, scope, arn)
	if err != nil {
		return "", invalid("%v", err)
	}
	if !a.DeletedAt.IsZero() {
		return "", invalid("The auto scaling configuration you specified has been deleted. ARN: %s", arn)
	}
	return a.ARN(), nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// has reports whether the list holds the value.
func has[T comparable](list []T, value T) bool { return slices.Contains(list, value) }
