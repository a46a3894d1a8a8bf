package containerd

import (
	"context"
	"fmt"
	"sync"

	client "github.com/containerd/containerd/v2/client"
	srv "github.com/containerd/containerd/v2/cmd/containerd/server"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

// Engine implements engine.Engine and engine.Blobs.
type Engine struct {
	cfg     Config
	server  *srv.Server
	client  *client.Client
	runtime string
	key     []byte
	caps    Capabilities

	images  images.Store
	content content.Store
	layers  snapshots.Snapshotter

	// base carries the namespace and ends with Close.
	base   context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	locks     keyedLocks
	hints     hints
	uploads   uploads
	protected protected
	cache     imageCache
	starts    starts
	execs     execs
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Blobs  = (*Engine)(nil)
)

// Open starts the engine and adopts every container of the install that still runs.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	if err := cfg.prepareDirs(); err != nil {
		return nil, err
	}
	runtime, err := cfg.findRuntime()
	if err != nil {
		return nil, err
	}
	if err := cfg.installShim(); err != nil {
		return nil, err
	}
	key, err := cfg.hashKey()
	if err != nil {
		return nil, err
	}
	base, cancel := context.WithCancel(namespaces.WithNamespace(context.Background(), string(cfg.Install)))
	server, cl, err := startServer(base, &cfg)
	if err != nil {
		cancel()
		return nil, err
	}
	e := &Engine{
		cfg: cfg, server: server, client: cl, runtime: runtime, key: key,
		images: cl.ImageService(), content: cl.ContentStore(), layers: cl.SnapshotService(snapshotter),
		base: base, cancel: cancel, caps: probe(&cfg),
	}
	if err := e.start(ctx); err != nil {
		return nil, fmt.Errorf("%w", joinClose(err, e.Close()))
	}
	return e, nil
}

// start makes the namespace, clears what a crash left and starts the background work.
func (e *Engine) start(ctx context.Context) error {
	if err := e.ensureNamespace(ctx); err != nil {
		return err
	}
	if err := e.removeOrphans(ctx); err != nil {
		return err
	}
	events, errs := e.client.EventService().Subscribe(e.base, `topic~="^/tasks/(start|exit|oom|delete)$"`)
	e.done.Go(func() { e.forward(events, errs) })
	e.done.Go(e.compareStores)
	e.done.Go(e.endExecs)
	e.done.Go(e.watchStorage)
	e.done.Go(e.expireUploads)
	return nil
}

// Close lets go of everything; instances keep running.
func (e *Engine) Close() error {
	e.cancel()
	e.done.Wait()
	e.uploads.closeAll()
	e.server.Stop()
	return nil
}

// scope gives ctx the install's namespace.
func (e *Engine) scope(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, string(e.cfg.Install))
}

// Capabilities says what this machine offers; constant after Open.
func (e *Engine) Capabilities() Capabilities { return e.caps }

// keyedLocks serialises work on one instance.
type keyedLocks struct {
	mu    sync.Mutex
	locks map[app.InstanceID]*keyedLock
}

type keyedLock struct {
	mu    sync.Mutex
	users int
}

// lock waits for id and returns the unlock.
func (k *keyedLocks) lock(id app.InstanceID) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[app.InstanceID]*keyedLock{}
	}
	l := k.locks[id]
	if l == nil {
		l = &keyedLock{}
		k.locks[id] = l
	}
	l.users++
	k.mu.Unlock()
	l.mu.Lock()
	return func() {
		l.mu.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, id)
		}
	}
}
