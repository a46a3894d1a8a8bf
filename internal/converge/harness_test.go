package converge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine/fake"
	"github.com/funade/funade/internal/router"
	"github.com/funade/funade/internal/router/health"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
	vpcfake "github.com/funade/funade/internal/vpc/fake"
)

const (
	digest  = app.Digest("sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	service = app.ServiceID("5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e")
)

var scope = app.Scope{Account: "000000000000", Region: "us-east-1"}

// world is a machine with rows, in a synctest bubble: time passes only when everything waits.
type world struct {
	t       *testing.T
	store   *store.Store
	engine  *fake.Engine
	kernel  *vpcfake.Kernel
	logs    *logDir
	prober  *prober
	front   *front
	network *Network
	*Instances
	stop func()
	// plane stands between the network converger and the kernel.
	plane *plane
}

// inWorld runs a test of convergers on a machine of its own.
func inWorld(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: openStore(t), kernel: vpcfake.NewKernel(), prober: &prober{}, front: &front{inFlight: map[app.InstanceID]int{}}}
		w.logs = &logDir{dir: t.TempDir(), follows: map[app.InstanceID]LogSource{}}
		w.engine = fake.New(fake.Options{LogDir: w.logs.dir})
		w.engine.AddImage("docker.io/library/hello:v1", digest, nil, nil)
		if _, err := w.engine.Resolve(t.Context(), ref("docker.io/library/hello:v1")); err != nil {
			t.Fatal(err)
		}
		w.update(func(tx *store.Tx) {
			store.Control.Services.Put(tx, app.Service{ID: service, Scope: scope, Name: "hello", Label: "abcdefghij", Status: app.ServiceInProgress})
		})
		w.revise(1, app.ServiceConfig{Source: app.Source{Port: 8080}, HealthCheck: app.HealthCheck{Protocol: app.ProtocolTCP, Interval: 5, Timeout: 2, HealthyThreshold: 1, UnhealthyThreshold: 5}})
		w.stop = func() {}
		defer func() { w.stop(); synctest.Wait() }()
		test(w)
	})
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "funade.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Verify(); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s
}

// boot starts convergers over the store, engine and kernel as they are, as a new process would.
func (w *world) boot() {
	w.t.Helper()
	w.stop()
	synctest.Wait()
	attached := NewPoke()
	w.plane = &plane{Dataplane: w.kernel.Open()}
	w.network = NewNetwork(w.store, w.plane, vpc.InstallRules{}, 4, func(app.AccountID) uint32 { return 0 }, attached)
	w.Instances = NewInstances(InstancesConfig{
		Store: w.store, Engine: w.engine, Files: w.logs, Logs: w.logs, Tail: tail, Attachment: w.network.Attachment,
		UIDBase: func(app.AccountID) uint32 { return 0 }, CABundle: "/ca.pem", VolumesDir: "/volumes", Now: time.Now, Attached: attached,
	})
	w.logs.done = w.Instances.LogDone
	checks := NewHealth(w.store, portsOf{w}, time.Now)
	routes := NewRoutes(w.store, w.front, "Apps.Test")
	w.prober.report = checks.Report
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range []func(context.Context){
		w.network.Run, w.Instances.Run, routes.Run, func(ctx context.Context) { checks.Run(ctx, w.prober) },
	} {
		running.Go(func() { run(ctx) })
	}
	w.stop = func() { cancel(); running.Wait() }
	w.settle()
}

// settle lets everything happen that needs no time.
func (w *world) settle() { synctest.Wait() }

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *world) update(fn func(tx *store.Tx)) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) view(fn func(tx *store.Tx)) {
	w.t.Helper()
	if err := w.store.View(w.t.Context(), func(tx *store.Tx) error { fn(tx); return nil }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) revise(n app.RevisionNumber, c app.ServiceConfig) {
	w.update(func(tx *store.Tx) {
		store.Control.Revisions.Put(tx, app.Revision{Service: service, Number: n, Config: c, Digest: digest})
	})
}

// want writes the rows of instance n (0 to 15) with a goal.
func (w *world) want(n int, goal app.InstanceGoal) app.InstanceID {
	w.t.Helper()
	id, eni := app.InstanceID(fmt.Sprintf("%032x", n)), app.InterfaceID(fmt.Sprintf("eni-%017x", n))
	w.update(func(tx *store.Tx) {
		store.Control.Instances.Put(tx, app.Instance{ID: id, Service: service, Revision: 1, Interface: eni, Goal: goal})
		store.Control.Interfaces.Put(tx, app.Interface{ID: eni, Instance: id, Scope: scope})
	})
	w.settle()
	return id
}

// drop removes the rows of an instance, as control does once it is gone.
func (w *world) drop(id app.InstanceID) {
	w.t.Helper()
	w.update(func(tx *store.Tx) {
		i, _ := store.Instances.Get(tx, id)
		store.Control.Instances.Delete(tx, id)
		store.Control.Interfaces.Delete(tx, i.Interface)
	})
	w.settle()
}

func (w *world) serve(change func(*app.Service)) {
	w.t.Helper()
	w.update(func(tx *store.Tx) {
		s, _ := store.Services.Get(tx, service)
		change(&s)
		store.Control.Services.Put(tx, s)
	})
	w.settle()
}

func (w *world) status(id app.InstanceID) (s app.InstanceStatus) {
	w.t.Helper()
	w.view(func(tx *store.Tx) { s, _ = store.InstanceStatuses.Get(tx, id) })
	return s
}

func (w *world) health(id app.InstanceID) (h app.InstanceHealth) {
	w.t.Helper()
	w.view(func(tx *store.Tx) { h, _ = store.InstanceHealths.Get(tx, id) })
	return h
}

func (w *world) wantPhase(id app.InstanceID, phase app.InstancePhase, exits int) {
	w.t.Helper()
	if s := w.status(id); s.Phase != phase || s.Exits != exits {
		w.t.Fatalf("instance %s is %s after %d exits (%s), want %s after %d", id[28:], s.Phase, s.Exits, s.Reason, phase, exits)
	}
}

// logDir keeps the files of the fake engine and reads final ones to their end at once, unless held.
type logDir struct {
	dir  string
	done func(app.InstanceID)

	mu      sync.Mutex
	hold    bool
	follows map[app.InstanceID]LogSource
	// finals are the final sources in the order in which they came.
	finals  []LogSource
	refuses int
}

func (l *logDir) LogPath(id app.InstanceID) string {
	path := filepath.Join(l.dir, string(id)+".log")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func (l *logDir) ReleaseLog(id app.InstanceID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuses > 0 {
		l.refuses--
		return fmt.Errorf("cannot remove %s", id)
	}
	if err := os.Remove(filepath.Join(l.dir, string(id)+".log")); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func (l *logDir) Follow(_ context.Context, sources []LogSource) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	follows := map[app.InstanceID]LogSource{}
	for _, s := range sources {
		if s.Final && !l.follows[s.Instance].Final {
			l.finals = append(l.finals, s)
			if !l.hold {
				go l.done(s.Instance)
			}
		}
		follows[s.Instance] = s
	}
	l.follows = follows
	return nil
}

func (l *logDir) source(id app.InstanceID) (LogSource, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.follows[id]
	return s, ok
}

func tail(path string, n int) []string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	return lines[max(0, len(lines)-n):]
}

// prober is a prober by hand: it reports what the test says.
type prober struct {
	report func(health.Result)

	mu     sync.Mutex
	checks []health.Check
	calls  [][]app.InstanceID
}

func (p *prober) SetTargets(checks []health.Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.checks = slices.Clone(checks)
	var ids []app.InstanceID
	for _, c := range checks {
		ids = append(ids, c.Instance)
	}
	p.calls = append(p.calls, ids)
}

func (p *prober) target(id app.InstanceID) (health.Check, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := slices.IndexFunc(p.checks, func(c health.Check) bool { return c.Instance == id })
	if n < 0 {
		return health.Check{}, false
	}
	return p.checks[n], true
}

// find reports what a probe of the instance found.
func (w *world) find(id app.InstanceID, healthy bool, answer string) {
	w.prober.report(health.Result{Instance: id, Healthy: healthy, EverHealthy: healthy, Answer: answer, At: time.Now()})
	w.settle()
}

// portsOf asks the fake engine's scripts.
type portsOf struct{ w *world }

func (p portsOf) ListeningPorts(_ context.Context, eni app.InterfaceID) ([]int, error) {
	id := app.InstanceID(strings.Repeat("0", 15) + strings.TrimPrefix(string(eni), "eni-"))
	return slices.Clone(p.w.engine.Probe(id).OtherPorts), nil
}

// front is a router by hand.
type front struct {
	mu       sync.Mutex
	table    *router.Table
	tables   int
	inFlight map[app.InstanceID]int
	// onTable runs when a table has been taken over.
	onTable func()
}

func (f *front) SetTable(t *router.Table) {
	f.mu.Lock()
	f.table, f.tables = t, f.tables+1
	onTable := f.onTable
	f.mu.Unlock()
	if onTable != nil {
		onTable()
	}
}

func (f *front) InFlight(id app.InstanceID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inFlight[id]
}

func (f *front) set(id app.InstanceID, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight[id] = n
}

func (f *front) route(t *testing.T) router.Route {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.table == nil || len(f.table.Routes) != 1 {
		t.Fatalf("the table is %+v, want one route", f.table)
	}
	return f.table.Routes[0]
}
