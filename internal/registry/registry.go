package registry

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
)

// Limits bounds what callers may ask for. Zero fields get their default.
type Limits struct {
	// Uploads is how many upload sessions may be open at once; default 256.
	Uploads int
	// UploadBytes bounds the bytes of all open sessions together; default 64 GiB.
	UploadBytes int64
	// BlobBytes bounds one blob; default 52,000 MiB, ECR's "layer size" quota.
	BlobBytes int64
	// UploadAge is how long a session may rest before it expires; default 24 h.
	UploadAge time.Duration
	// Idle is how long a client may be silent within a body; default 30 s.
	Idle time.Duration
	// MinRate is the slowest mean speed of a body in bytes per second, once Idle has passed; default 1024.
	MinRate int64
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Uploads, 256)
	setDefault(&l.UploadBytes, 64<<30)
	setDefault(&l.BlobBytes, 52_000<<20)
	setDefault(&l.UploadAge, 24*time.Hour)
	setDefault(&l.Idle, 30*time.Second)
	setDefault(&l.MinRate, 1024)
	return l
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Action is what a caller wants with a repository.
type Action int

// The actions.
const (
	Pull Action = iota
	Push
	Delete
)

// String returns the action's name in a token's scope.
func (a Action) String() string { return [...]string{"pull", "push", "delete"}[a] }

// Config is what a Registry is made of. Catalog, Links, Blobs, Tokens and DefaultScope are required.
type Config struct {
	Catalog   Catalog
	Links     Links
	Blobs     Blobs
	Directory Directory
	Tokens    *Tokens
	// DefaultScope is meant by names without AWS's host.
	DefaultScope app.Scope
	// Authorize decides whether the caller may; KindDenied when not. Nil: everything of the caller's own account.
	Authorize func(ctx context.Context, caller Caller, key app.RepositoryKey, action Action) error
	// Bearer challenges clients with the token flow instead of Basic. Both are always accepted.
	Bearer bool
	Limits Limits
	// Grace is how long content without an owner is kept; default 1 h.
	Grace time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Registry is an http.Handler for /v2/… and /token, and the same operations as methods. It is safe for concurrent use.
type Registry struct {
	Config
	sessions sessions
	// commits is held for reading from the moment content is found or put in the store until a row owns it,
	// and for writing while a sweep removes content.
	commits sync.RWMutex
	leases  leases
	// started is when leases began to be kept.
	started time.Time
}

// New returns a registry.
func New(c Config) (*Registry, error) {
	if c.Catalog == nil || c.Links == nil || c.Blobs == nil || c.Tokens == nil || c.DefaultScope == (app.Scope{}) {
		return nil, fmt.Errorf("cannot make the registry: Catalog, Links, Blobs, Tokens and DefaultScope are required")
	}
	if c.Authorize == nil {
		c.Authorize = ownAccount
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Grace, time.Hour)
	c.Limits = c.Limits.withDefaults()
	r := &Registry{Config: c, started: c.Now()}
	r.sessions.open = map[string]*session{}
	r.leases.until = map[app.BlobKey]time.Time{}
	return r, nil
}

func ownAccount(_ context.Context, caller Caller, key app.RepositoryKey, action Action) error {
	if caller.Scope.Account == key.Scope.Account {
		return nil
	}
	return app.Errorf(app.KindDenied, key.ARN(), "User %s is not authorized to %s repository %s: it belongs to another account.",
		caller.AccessKeyID, action, key.URI())
}
