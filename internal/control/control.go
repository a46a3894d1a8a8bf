package control

import (
	"cmp"
	"context"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/store"
)

// Config is what the use cases depend on.
type Config struct {
	// Now tells the time; nil = time.Now.
	Now func() time.Time
	IDs id.Source
	// Quotas bound what one scope may have; zero members get AWS's defaults.
	Quotas Quotas
	// TombstoneTTL is how long deleted services and configurations stay describable; 0 = 1 h.
	TombstoneTTL time.Duration
	// RegistryHosts are the names, beside AWS's form, by which image references mean this install's registry
	// ("localhost:4566").
	RegistryHosts []string
}

// Quotas are the limits of one account and region. Zero means the default; a negative number means none at all.
type Quotas struct {
	// App Runner's quotas (apprunner guide, "Service quotas").
	Services               int
	Connections            int
	AutoScalingNames       int
	AutoScalingRevisions   int
	ObservabilityNames     int
	ObservabilityRevisions int
	MaxSize                int
	VPCConnectors          int
	// ECR's and CloudWatch Logs' quotas.
	Repositories        int
	ImagesPerRepository int
	LogGroups           int
}

func (q Quotas) withDefaults() Quotas {
	q.Services = cmp.Or(q.Services, 30)
	q.Connections = cmp.Or(q.Connections, 10)
	q.AutoScalingNames = cmp.Or(q.AutoScalingNames, 10)
	q.AutoScalingRevisions = cmp.Or(q.AutoScalingRevisions, 5)
	q.ObservabilityNames = cmp.Or(q.ObservabilityNames, 10)
	q.ObservabilityRevisions = cmp.Or(q.ObservabilityRevisions, 10)
	q.MaxSize = cmp.Or(q.MaxSize, 25)
	q.VPCConnectors = cmp.Or(q.VPCConnectors, 10)
	q.Repositories = cmp.Or(q.Repositories, 100_000)
	q.ImagesPerRepository = cmp.Or(q.ImagesPerRepository, 100_000)
	q.LogGroups = cmp.Or(q.LogGroups, 1_000_000)
	return q
}

// Control answers use cases. Its methods are safe for concurrent use.
type Control struct {
	store *store.Store
	cfg   Config
}

// New makes a Control over a store.
func New(st *store.Store, cfg Config) *Control {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.TombstoneTTL = cmp.Or(cfg.TombstoneTTL, time.Hour)
	cfg.Quotas = cfg.Quotas.withDefaults()
	return &Control{st, cfg}
}

// now is the time that rows record: UTC, whole milliseconds.
func (c *Control) now() time.Time { return c.cfg.Now().UTC().Truncate(time.Millisecond) }

// view reads in a scope whose built-in rows exist.
func (c *Control) view(ctx context.Context, scope app.Scope, fn func(tx *store.Tx) error) error {
	ready := false
	err := c.store.View(ctx, func(tx *store.Tx) error {
		if ready = seeded(tx, scope); !ready {
			return nil
		}
		return fn(tx)
	})
	if err != nil || ready {
		return err
	}
	return c.update(ctx, scope, fn)
}

// update changes rows in a scope whose built-in rows exist.
func (c *Control) update(ctx context.Context, scope app.Scope, fn func(tx *store.Tx) error) error {
	return c.store.Update(ctx, func(tx *store.Tx) error {
		if !seeded(tx, scope) {
			c.seed(tx, scope)
		}
		return fn(tx)
	})
}

// seeded reports whether the scope's built-in configurations exist. Its row may be there before them, for its network.
func seeded(tx *store.Tx, scope app.Scope) bool {
	row, _ := store.Scopes.Get(tx, scope)
	return row.LastRevisions != nil
}

// seed writes the rows that every account and region has from the start.
func (c *Control) seed(tx *store.Tx, scope app.Scope) {
	now := c.now()
	row, ok := store.Scopes.Get(tx, scope)
	if !ok {
		row = app.ScopeRow{Scope: scope, CreatedAt: now}
	}
	row.LastRevisions = map[string]int{scalingName(app.DefaultConfigurationName): 1, observabilityName(app.DefaultConfigurationName): 1}
	store.Control.Scopes.Put(tx, row)
	store.Control.AutoScalings.Put(tx, app.AutoScaling{
		ID: app.DefaultConfigurationID, Scope: scope, Name: app.DefaultConfigurationName, Revision: 1, Default: true, CreatedAt: now,
		MaxConcurrency: app.DefaultMaxConcurrency, MinSize: app.DefaultMinSize, MaxSize: app.DefaultMaxSize,
	})
	store.Control.Observabilities.Put(tx, app.Observability{
		ID: app.DefaultConfigurationID, Scope: scope, Name: app.DefaultConfigurationName, Revision: 1, TraceVendor: "AWSXRAY", CreatedAt: now,
	})
}

// nextRevision gives out the next revision number of a configuration name; numbers are never used again.
func nextRevision(tx *store.Tx, scope app.Scope, name string) int {
	row, _ := store.Scopes.Get(tx, scope)
	last := make(map[string]int, len(row.LastRevisions)+1)
	for k, v := range row.LastRevisions {
		last[k] = v
	}
	last[name]++
	row.LastRevisions = last
	store.Control.Scopes.Put(tx, row)
	return last[name]
}

func scalingName(name string) string { return "scaling/" + name }

func observabilityName(name string) string { return "observability/" + name }

func notFound(arn, format string, args ...any) error {
	return app.Errorf(app.KindNotFound, arn, format, args...)
}

func invalid(format string, args ...any) error {
	return app.Errorf(app.KindInvalidRequest, "", format, args...)
}

func quota(format string, args ...any) error {
	return app.Errorf(app.KindQuota, "", format, args...)
}
