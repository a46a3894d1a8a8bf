package app

import "time"

// RepositoryKey names a repository of the install's registry.
type RepositoryKey struct {
	Scope Scope
	Name  string
}

// Repository is an ECR repository; control is its only writer.
type Repository struct {
	Key RepositoryKey
	// Immutable: a tag, once put, can be neither moved nor overwritten.
	Immutable      bool
	ScanOnPush     bool
	EncryptionType string
	KMSKeyARN      string
	// Policy and LifecyclePolicy are the JSON texts as put; "" = none.
	Policy          string
	LifecyclePolicy string
	// LifecycleEvaluatedAt is when the lifecycle policy was last applied; zero = never.
	LifecycleEvaluatedAt time.Time
	CreatedAt            time.Time
}

// Manifest is one manifest of a repository as the catalogue knows it.
type Manifest struct {
	Repository   RepositoryKey
	Digest       Digest
	MediaType    string
	ArtifactType string
	// ConfigMediaType is the media type of an image's config blob, "" for an index.
	ConfigMediaType string
	// Size is of the manifest itself, ImageSize of everything it names, in bytes.
	Size      int64
	ImageSize int64
	// Subject is the digest that this manifest refers to (OCI 1.1 referrers), "" = none.
	Subject     Digest
	Annotations map[string]string
	// Blobs and Manifests are what it names directly.
	Blobs     []Digest
	Manifests []Digest
	// Tags are sorted.
	Tags     []string
	PushedAt time.Time
}

// PushTag is a tag put on a manifest by a push; autodeploy looks for services that run exactly this tag.
type PushTag struct {
	Repository RepositoryKey
	Tag        string
	Digest     Digest
}

// LogGroupKey names a log group.
type LogGroupKey struct {
	Scope Scope
	Name  string
}

// LogGroup is a CloudWatch Logs group; control is its only writer.
type LogGroup struct {
	Key LogGroupKey
	// RetentionDays is 0 for never expire.
	RetentionDays int
	KMSKeyARN     string
	Class         string
	CreatedAt     time.Time
}

// LogStreamKey names a stream in a group.
type LogStreamKey struct {
	Group  LogGroupKey
	Stream string
}

// LogStream is a CloudWatch Logs stream; control is its only writer.
type LogStream struct {
	Key       LogStreamKey
	CreatedAt time.Time
}

// LogEvent is one line. Timestamp is when it happened.
type LogEvent struct {
	Timestamp time.Time
	Message   string
}
