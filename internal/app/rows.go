package app

import "time"

// ConfigurationKey names one revision of an auto scaling or observability configuration.
type ConfigurationKey struct {
	Scope    Scope
	Name     string
	Revision int
}

// Key returns the configuration revision's key.
func (a *AutoScaling) Key() ConfigurationKey { return ConfigurationKey{a.Scope, a.Name, a.Revision} }

// Key returns the configuration revision's key.
func (o *Observability) Key() ConfigurationKey { return ConfigurationKey{o.Scope, o.Name, o.Revision} }

// NamedKey names a thing that is unique by name in its scope.
type NamedKey struct {
	Scope Scope
	Name  string
}

// RevisionKey names one revision of a service.
type RevisionKey struct {
	Service ServiceID
	Number  RevisionNumber
}

// Resource is an ARN that tags hang on.
type Resource string

// TagSet is the tags of one resource; control is its only writer.
type TagSet struct {
	Resource Resource
	Tags     Tags
}

// SettingsRow is what PutServiceSettings wrote, zero = not set there; control is its only writer.
// Service.Settings is the result of this row and the service's funade: tags.
type SettingsRow struct {
	Service  ServiceID
	Settings ServiceSettings
}

// ScopeRow marks a scope whose built-in rows (the default auto scaling and observability configurations)
// exist, and remembers the last revision number given out for each configuration name, so that a number is
// never used again. Keys are kind/name. Control is its only writer.
type ScopeRow struct {
	Scope         Scope
	LastRevisions map[string]int
	// Network: the default VPC and what belongs to it have been made once.
	Network   bool
	CreatedAt time.Time
}

// ManifestKey names a manifest in a repository.
type ManifestKey struct {
	Repository RepositoryKey
	Digest     Digest
}

// Key returns the manifest's key.
func (m *Manifest) Key() ManifestKey { return ManifestKey{m.Repository, m.Digest} }

// ManifestTag names a tag of a repository.
type ManifestTag struct {
	Repository RepositoryKey
	Tag        string
}

// BlobLink says that a repository holds a blob; control is its only writer.
type BlobLink struct {
	Repository RepositoryKey
	Digest     Digest
	LinkedAt   time.Time
}

// BlobKey names a link.
type BlobKey struct {
	Repository RepositoryKey
	Digest     Digest
}

// EventCursor is how far the events have been shipped to the log store; converge is its only writer.
type EventCursor struct {
	// Shipped is the Seq of the last event that is in the log store.
	Shipped int64
}

// ARN returns the log group's ARN without the trailing :*.
func (k LogGroupKey) ARN() string { return k.Scope.ARN("logs", "log-group:"+k.Name) }
