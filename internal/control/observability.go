package control

import (
	"context"
	"fmt"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

func observabilityDetail(tx *store.Tx, o app.Observability) ObservabilityDetail {
	latest, ok := latestObservability(tx, o.Scope, o.Name)
	return ObservabilityDetail{o, ok && latest.Revision == o.Revision}
}

// CreateObservabilityConfiguration makes the first or the next revision of a name.
func (c *Control) CreateObservabilityConfiguration(ctx context.Context, scope app.Scope, in CreateObservabilityInput) (ObservabilityDetail, error) {
	if err := checkName("ObservabilityConfigurationName", in.Name, configurationName); err != nil {
		return ObservabilityDetail{}, err
	}
	if in.Name == app.DefaultConfigurationName {
		return ObservabilityDetail{}, invalid("The name %s is reserved. Choose another name.", in.Name)
	}
	if err := checkTags(in.Tags, false); err != nil {
		return ObservabilityDetail{}, err
	}
	var out ObservabilityDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		names := map[string]int{}
		for o := range store.ObservabilitiesByScope.Each(tx, scope) {
			if o.DeletedAt.IsZero() {
				names[o.Name]++
			}
		}
		q := c.cfg.Quotas
		if err := configurationQuota("observability", names, in.Name, q.ObservabilityNames, q.ObservabilityRevisions); err != nil {
			return err
		}
		o := app.Observability{
			ID: c.cfg.IDs.Hex32(), Scope: scope, Name: in.Name, TraceVendor: in.TraceVendor, CreatedAt: c.now(),
			Revision: nextRevision(tx, scope, observabilityName(in.Name)),
		}
		store.Control.Observabilities.Put(tx, o)
		putTags(tx, app.Resource(o.ARN()), in.Tags)
		out = observabilityDetail(tx, o)
		return nil
	})
	return out, err
}

// DescribeObservabilityConfiguration returns a configuration revision, for some time also a deleted one.
func (c *Control) DescribeObservabilityConfiguration(ctx context.Context, scope app.Scope, arn string) (ObservabilityDetail, error) {
	var out ObservabilityDetail
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		o, err := findObservability(tx, scope, arn)
		if err != nil {
			return err
		}
		out = observabilityDetail(tx, o)
		return nil
	})
	return out, err
}

// ListObservabilityConfigurations lists active revisions by name and number.
func (c *Control) ListObservabilityConfigurations(ctx context.Context, scope app.Scope, in ListConfigurationsInput) (Page[ObservabilityDetail], error) {
	var out Page[ObservabilityDetail]
	err := c.view(ctx, scope, func(tx *store.Tx) error {
		keep := func(o app.Observability) bool {
			if !o.DeletedAt.IsZero() || in.Name != "" && o.Name != in.Name {
				return false
			}
			latest, _ := latestObservability(tx, scope, o.Name)
			return !in.LatestOnly || latest.Revision == o.Revision
		}
		page, err := list(tx, store.ObservabilitiesByScope, scope, keep, in.Page,
			"observability", string(scope.Account), string(scope.Region), in.Name, fmt.Sprint(in.LatestOnly))
		if err != nil {
			return err
		}
		out.NextToken = page.NextToken
		for _, o := range page.Items {
			out.Items = append(out.Items, observabilityDetail(tx, o))
		}
		return nil
	})
	return out, err
}

// DeleteObservabilityConfiguration deletes one revision.
func (c *Control) DeleteObservabilityConfiguration(ctx context.Context, scope app.Scope, arn string) (ObservabilityDetail, error) {
	var out ObservabilityDetail
	err := c.update(ctx, scope, func(tx *store.Tx) error {
		o, err := findObservability(tx, scope, arn)
		switch {
		case err != nil:
			return err
		case !o.DeletedAt.IsZero():
			return invalid("The observability configuration you specified has been deleted. ARN: %s", arn)
		case o.Name == app.DefaultConfigurationName:
			return invalid("You can't delete a reserved observability configuration: '%s'.", o.Name)
		}
		for s := range store.ServicesByScope.Each(tx, scope) {
			if s.Config.Observability != nil && s.Config.Observability.ConfigurationARN == o.ARN() {
				return invalid("You can't delete the observability configuration. It's used by one or more services. To delete it, update the services to use other observability configurations.")
			}
		}
		o.DeletedAt = c.now()
		store.Control.Observabilities.Put(tx, o)
		out = observabilityDetail(tx, o)
		return nil
	})
	return out, err
}

// resolveObservability turns what a service names into the full ARN of an active revision; errors are InvalidRequest.
func resolveObservability(tx *store.Tx, scope app.Scope, arn string) (string, error) {
	o, err := findObservability(tx, scope, arn)
	if err != nil {
		return "", invalid("%v", err)
	}
	if !o.DeletedAt.IsZero() {
		return "", invalid("The observability configuration you specified has been deleted. ARN: %s", arn)
	}
	return o.ARN(), nil
}
