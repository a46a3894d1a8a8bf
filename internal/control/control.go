package control

import (
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
	// Reference reads an image reference in a scope's words.
	Reference func(scope app.Scope, image string) (Reference, error)
}

// Reference is an image reference, read.
type Reference struct {
	// Local: the image lives in this install's registry, in Repository.
	Local      bool
	Repository app.RepositoryKey
	// Tag is "latest" when the reference names neither tag nor digest.
	Tag    string
	Digest app.Digest
}

// Quotas are the limits of one account and region (apprunner quotas, spec of App Runner §8).
type Quotas struct {
	Services                     int
	Connections                  int
	AutoScalingNames             int
	AutoScalingRevisions         int
	ObservabilityNames           int
	ObservabilityRevisions       int
	MaxSize                      int
	TagsPerResource              int
	Repositories, LogGroups      int
	ImagesPerRepository, Streams int
}

// Control answers use cases. Its methods are safe for concurrent use.
type Control struct {
	store *store.Store
	cfg   Config
}

// New makes a Control over a store.
func New(st *store.Store, cfg Config) *Control {
	return &Control{st, cfg}
}
