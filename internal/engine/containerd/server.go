package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	client "github.com/containerd/containerd/v2/client"
	srv "github.com/containerd/containerd/v2/cmd/containerd/server"
	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/sirupsen/logrus"

	// The plugins that make up the embedded containerd.
	_ "github.com/containerd/containerd/v2/core/runtime/v2"
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/diff/walking/plugin"
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/gc"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/mount"
	_ "github.com/containerd/containerd/v2/plugins/sandbox"
	_ "github.com/containerd/containerd/v2/plugins/server/ttrpc"
	_ "github.com/containerd/containerd/v2/plugins/services/containers"
	_ "github.com/containerd/containerd/v2/plugins/services/content"
	_ "github.com/containerd/containerd/v2/plugins/services/diff"
	_ "github.com/containerd/containerd/v2/plugins/services/events"
	_ "github.com/containerd/containerd/v2/plugins/services/images"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/leases"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/services/sandbox"
	_ "github.com/containerd/containerd/v2/plugins/services/snapshots"
	_ "github.com/containerd/containerd/v2/plugins/services/tasks"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/overlay/plugin"
	_ "github.com/containerd/containerd/v2/plugins/streaming"
	_ "github.com/containerd/containerd/v2/plugins/transfer"
)

// snapshotter unpacks layers.
const snapshotter = "overlayfs"

// starting serialises starts: containerd's plugin registry is global to the process, and
// the client of the server being started is handed over through it.
var starting struct {
	sync.Mutex
	once   sync.Once
	client *client.Client
}

// registerClient adds the plugin that makes the in-process client once all services exist.
func registerClient() {
	registry.Register(&plugin.Registration{
		Type: plugins.InternalPlugin,
		ID:   "funade-client",
		Requires: []plugin.Type{
			plugins.EventPlugin, plugins.LeasePlugin, plugins.SandboxStorePlugin, plugins.TransferPlugin,
			plugins.MountManagerPlugin, plugins.ServicePlugin,
		},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			c, err := client.New("", client.WithInMemoryServices(ic))
			starting.client = c
			return c, err
		},
	})
}

// startServer starts the embedded containerd of c and returns it with a client.
func startServer(ctx context.Context, c *Config) (*srv.Server, *client.Client, error) {
	starting.Lock()
	defer starting.Unlock()
	starting.once.Do(func() {
		registerClient()
		quietLogs(c.Log)
	})
	starting.client = nil
	cfg := &srvconfig.Config{
		Version: 4, Root: c.root(), State: c.bundleRoot(),
		Timeouts: map[string]string{"io.containerd.timeout.bolt.open": "10s"},
		Plugins: map[string]any{
			// Only an identity: nothing listens there. Shims hash it into their socket names.
			"io.containerd.server.v1.grpc":           map[string]any{"address": c.RunDir + "/none.sock"},
			"io.containerd.server.v1.ttrpc":          map[string]any{"address": c.ttrpcPath()},
			"io.containerd.shim.v1.manager":          map[string]any{"socket_dir": c.socketDir()},
			"io.containerd.gc.v1.scheduler":          map[string]any{"startup_delay": "10s"},
			"io.containerd.snapshotter.v1.overlayfs": map[string]any{"sync_remove": false},
		},
	}
	if err := srv.CreateTopLevelDirectories(cfg); err != nil {
		return nil, nil, fmt.Errorf("cannot create containerd's directories: %w", err)
	}
	server, err := srv.New(ctx, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot start containerd: %w", err)
	}
	cl := starting.client
	if cl == nil {
		server.Stop()
		return nil, nil, errors.New("cannot start containerd: a needed plugin failed, see the log")
	}
	if err := server.Start(ctx); err != nil {
		server.Stop()
		return nil, nil, fmt.Errorf("cannot start containerd: %w", err)
	}
	return server, cl, nil
}

// quietLogs sends containerd's warnings to ours and drops the rest.
func quietLogs(to *slog.Logger) {
	l := log.L.Logger
	l.SetOutput(io.Discard)
	l.SetLevel(logrus.WarnLevel)
	l.AddHook(slogHook{to})
}

type slogHook struct{ to *slog.Logger }

func (slogHook) Levels() []logrus.Level { return logrus.AllLevels[:logrus.WarnLevel+1] }

func (h slogHook) Fire(e *logrus.Entry) error {
	attrs := make([]any, 0, 2*len(e.Data))
	for k, v := range e.Data {
		attrs = append(attrs, k, fmt.Sprint(v))
	}
	h.to.Debug("containerd: "+e.Message, attrs...)
	return nil
}
