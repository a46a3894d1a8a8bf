package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/aws/sigv4"
	"github.com/funade/funade/internal/converge"
	"github.com/funade/funade/internal/engine"
	"github.com/funade/funade/internal/engine/containerd"
	"github.com/funade/funade/internal/logs"
	"github.com/funade/funade/internal/registry"
	"github.com/funade/funade/internal/router"
	"github.com/funade/funade/internal/secrets"
	"github.com/funade/funade/internal/server/sessions"
	"github.com/funade/funade/internal/vpc"
)

// signingKeys lets the signature verifier ask the keyring.
type signingKeys struct{ *secrets.Keyring }

// Secret returns the root key; there are no session tokens yet.
func (k signingKeys) Secret(_ context.Context, accessKeyID, sessionToken string) (sigv4.Secret, error) {
	key, ok := k.Lookup(accessKeyID)
	if !ok || sessionToken != "" {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	return sigv4.Secret{
		SecretAccessKey: key.Secret.Reveal(),
		Identity: sigv4.Identity{
			Account: string(key.Account), ARN: "arn:aws:iam::" + string(key.Account) + ":root", UserID: string(key.Account),
		},
	}, nil
}

// rootKeys lets the extension service rotate the root key.
type rootKeys struct{ *secrets.Keyring }

// Rotate replaces the root key.
func (k rootKeys) Rotate() (accessKeyID, secretAccessKey string, err error) {
	key, err := k.Keyring.Rotate()
	return key.AccessKeyID, key.Secret.Reveal(), err
}

// sessionExecer gives sessions the engine's processes.
type sessionExecer struct{ engine.Execer }

// Exec starts a process inside an instance.
func (x sessionExecer) Exec(ctx context.Context, id app.InstanceID, e sessions.Exec) (sessions.Process, error) {
	return x.Execer.Exec(ctx, id, engine.Exec(e))
}

// registryBlobs gives the registry the engine's content store.
type registryBlobs struct{ engine.Blobs }

// Upload opens or resumes a session.
func (b registryBlobs) Upload(ctx context.Context, ref string) (registry.Upload, error) {
	return b.Blobs.Upload(ctx, ref)
}

// Uploads lists the sessions.
func (b registryBlobs) Uploads(ctx context.Context) ([]registry.UploadStatus, error) {
	list, err := b.Blobs.Uploads(ctx)
	out := make([]registry.UploadStatus, len(list))
	for n, u := range list {
		out[n] = registry.UploadStatus(u)
	}
	return out, err
}

// ecrManifests gives the ECR API the registry's manifests.
type ecrManifests struct{ *registry.Registry }

// PutManifest pushes a manifest with at most one tag.
func (m ecrManifests) PutManifest(ctx context.Context, key app.RepositoryKey, mediaType string, body []byte, tag string) (app.Manifest, error) {
	in := registry.ManifestInput{Repository: key, MediaType: mediaType, Body: body}
	if tag != "" {
		in.Tags = []string{tag}
	}
	return m.Registry.PutManifest(ctx, in)
}

// eventSink ships life-cycle events into the log store.
type eventSink struct {
	store  *logs.Store
	groups logs.Groups
}

// Ensure makes the stream exist.
func (s eventSink) Ensure(ctx context.Context, key app.LogStreamKey) error {
	return s.groups.Ensure(ctx, key)
}

// Ship appends events with their sequence number as the stream's cursor.
func (s eventSink) Ship(ctx context.Context, key app.LogStreamKey, events []app.LogEvent, seq int64) error {
	return s.store.AppendCursor(ctx, key, events, logs.Cursor{Name: "events/" + key.Stream, Value: seq})
}

// logKeeper gives the retention converger the log store.
type logKeeper struct {
	store  *logs.Store
	groups logs.Groups
}

// Maintain applies retention and the byte cap; only what the cap dropped is worth telling.
func (k logKeeper) Maintain(ctx context.Context, now time.Time) ([]converge.DroppedLogs, error) {
	dropped, err := k.store.Maintain(ctx, now)
	var out []converge.DroppedLogs
	for _, d := range dropped {
		if d.Reason == logs.ReasonCap {
			out = append(out, converge.DroppedLogs{Group: d.Group, Day: d.Day, Bytes: d.Bytes})
		}
	}
	return out, err
}

// Note appends one line.
func (k logKeeper) Note(ctx context.Context, key app.LogStreamKey, e app.LogEvent) error {
	if err := k.groups.Ensure(ctx, key); err != nil {
		return err
	}
	return k.store.Append(ctx, key, []app.LogEvent{e})
}

// follower gives the collector the files of instances.
type follower struct{ *logs.Collector }

// Follow replaces the set of files.
func (f follower) Follow(_ context.Context, sources []converge.LogSource) error {
	out := make([]logs.Source, len(sources))
	for n, s := range sources {
		out[n] = logs.Source{Instance: s.Instance, Key: s.Key, Path: s.Path, Final: s.Final}
	}
	f.Collector.Follow(out)
	return nil
}

// logFiles gives the instances converger the engine's log files.
type logFiles struct{ *containerd.Engine }

// ReleaseLog removes the file of an instance that is gone.
func (f logFiles) ReleaseLog(id app.InstanceID) error {
	return f.Engine.ReleaseLog(context.Background(), id)
}

// tail returns the last lines of a log file, none when it cannot be read.
func tail(path string, n int) []string {
	lines, err := containerd.TailLog(path, n)
	if err != nil {
		slog.Debug("cannot read the end of a log", "path", path, "error", err)
	}
	return lines
}

// frontDoor tells when the router has its first table; before, it would answer 404 for every host.
type frontDoor struct {
	*router.Router
	once   sync.Once
	routed chan struct{} // closed then
}

// SetTable hands the table on.
func (f *frontDoor) SetTable(t *router.Table) {
	f.Router.SetTable(t)
	f.once.Do(func() { close(f.routed) })
}

// dialTarget connects the router to instances.
func dialTarget(s vpc.Sockets) func(context.Context, router.Target) (net.Conn, error) {
	return func(ctx context.Context, t router.Target) (net.Conn, error) { return s.Dial(ctx, t.Interface, t.Addr) }
}

// readiness answers the health path: 503 until everything is ready.
type readiness struct {
	ready   atomic.Bool
	install app.InstallID
	started time.Time
	// problems says what about this machine limits the install, one sentence each.
	problems func() []string
}

// ServeHTTP says whether the server is ready, with versions.
func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	status, word := http.StatusOK, "ready"
	if !r.ready.Load() {
		status, word = http.StatusServiceUnavailable, "starting"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"status": word, "versions": versions(), "install": r.install, "started": r.started.UTC().Format(time.RFC3339), "problems": r.problems(),
	})
}

// versions names the program and what it is made of.
func versions() map[string]string {
	out := map[string]string{"funade": version, "go": runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/containerd/containerd/v2" {
				out["containerd"] = m.Version
			}
		}
	}
	return out
}
