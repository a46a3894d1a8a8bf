package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/funade/funade/internal/app"
	apiapprunner "github.com/funade/funade/internal/aws/api/apprunner"
	apiec2 "github.com/funade/funade/internal/aws/api/ec2"
	apiecr "github.com/funade/funade/internal/aws/api/ecr"
	apiecrpublic "github.com/funade/funade/internal/aws/api/ecrpublic"
	apifunade "github.com/funade/funade/internal/aws/api/funade"
	apiiam "github.com/funade/funade/internal/aws/api/iam"
	apilogs "github.com/funade/funade/internal/aws/api/logs"
	apists "github.com/funade/funade/internal/aws/api/sts"
	"github.com/funade/funade/internal/aws/sigv4"
	"github.com/funade/funade/internal/aws/wire"
	"github.com/funade/funade/internal/base/atomicfile"
	"github.com/funade/funade/internal/base/failpoint"
	"github.com/funade/funade/internal/base/guarded"
	"github.com/funade/funade/internal/base/id"
	"github.com/funade/funade/internal/base/serverinfo"
	"github.com/funade/funade/internal/ca"
	"github.com/funade/funade/internal/cli"
	"github.com/funade/funade/internal/control"
	controlec2 "github.com/funade/funade/internal/control/ec2"
	"github.com/funade/funade/internal/control/operation"
	"github.com/funade/funade/internal/control/reach"
	"github.com/funade/funade/internal/converge"
	"github.com/funade/funade/internal/engine/containerd"
	"github.com/funade/funade/internal/logs"
	"github.com/funade/funade/internal/registry"
	"github.com/funade/funade/internal/router"
	"github.com/funade/funade/internal/router/health"
	"github.com/funade/funade/internal/secrets"
	"github.com/funade/funade/internal/server"
	"github.com/funade/funade/internal/server/apprunner"
	serverec2 "github.com/funade/funade/internal/server/ec2"
	"github.com/funade/funade/internal/server/ecr"
	"github.com/funade/funade/internal/server/ecrpublic"
	"github.com/funade/funade/internal/server/funade"
	"github.com/funade/funade/internal/server/iam"
	serverlogs "github.com/funade/funade/internal/server/logs"
	"github.com/funade/funade/internal/server/sessions"
	"github.com/funade/funade/internal/server/sts"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
	"github.com/funade/funade/internal/vpc/linux"
)

const (
	// storeReserve is given up when the disk is full, so that control writes still fit.
	storeReserve = 8 << 20
	// shutdownGrace bounds how long requests in flight may take after SIGTERM.
	shutdownGrace = 120 * time.Second
	// internalDomain is what services answer at inside instances beside their public domain.
	internalDomain = "apps.internal"
	// caDir is the certificate authority's folder in the data directory.
	caDir = "ca"
	// volumesDir is the folder of private hosts' volumes in the data directory.
	volumesDir = "volumes"
)

// daemon is everything that one server consists of, in the order in which it is made.
type daemon struct {
	config  cli.ServerConfig
	install install
	scope   app.Scope

	keys      *secrets.Keyring
	authority *ca.Authority
	store     *store.Store
	control   *control.Control
	ec2       *controlec2.EC2
	engine    *containerd.Engine
	network   *linux.Dataplane
	flows     *flowRecords
	logs      *logs.Store
	collector *logs.Collector
	router    *router.Router
	front     *frontDoor
	prober    *health.Prober
	registry  *registry.Registry
	tokens    *registry.Tokens

	// uidBase is the first host uid of instances' user namespaces; 0 = they have none, and noUserns says why.
	uidBase  uint32
	noUserns string

	apiURL    *url.URL
	listeners listeners
	ready     readiness

	closers []func() error
	work    sync.WaitGroup
}

// listeners are the sockets of the host's namespace.
type listeners struct{ api, http, https net.Listener }

// serve runs the server until ctx ends, then lets requests in flight finish; containers keep running.
func serve(ctx context.Context, config cli.ServerConfig) error {
	if err := failpoint.FromEnv(os.Getenv("FUNADE_FAILPOINTS")); err != nil {
		return err
	}
	d := &daemon{
		config: config,
		scope:  app.Scope{Account: app.AccountID(config.Account), Region: app.Region(config.Region)},
	}
	defer d.close()
	for _, step := range []func(context.Context) error{
		d.openData,    // lock, identity
		d.listen,      // sockets first: a port in use is told before anything starts
		d.openSecrets, // root key, certificate authority, CA bundle
		d.openStore,   // rows, control
		d.openLogs,
		d.openEngine,
		d.openNetwork,
		d.openRegistry,
		d.openRouter,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	work, stop := context.WithCancel(context.Background())
	defer func() { stop(); d.work.Wait() }()
	d.converge(work)
	return d.run(ctx, work)
}

// later registers what close undoes, last first.
func (d *daemon) later(f func() error) { d.closers = append(d.closers, f) }

func (d *daemon) close() {
	for n := len(d.closers) - 1; n >= 0; n-- {
		if err := d.closers[n](); err != nil && !errors.Is(err, net.ErrClosed) {
			slog.Warn("shutdown", "error", err)
		}
	}
}

func (d *daemon) openData(context.Context) error {
	// Other users may pass, for bin/aws and the CA bundle; everything else in it is closed to them.
	if err := mkdir(d.config.Data, 0o711); err != nil {
		return err
	}
	lock, err := lockData(d.config.Data)
	if err != nil {
		return err
	}
	d.later(lock.Close)
	d.install, err = openInstall(d.config.Data, time.Now())
	return err
}

func mkdir(dir string, mode os.FileMode) error {
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("cannot make the data directory: %w", err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("cannot set the data directory's mode: %w", err)
	}
	return nil
}

func (d *daemon) listen(context.Context) error {
	for _, l := range []struct {
		flag, addr string
		to         *net.Listener
	}{{"api", d.config.API, &d.listeners.api}, {"http", d.config.HTTP, &d.listeners.http}, {"https", d.config.HTTPS, &d.listeners.https}} {
		ln, err := net.Listen("tcp", l.addr)
		if err != nil {
			return fmt.Errorf("cannot listen: %w; %s", err, listenRemedy(err, l.flag))
		}
		*l.to = ln
		d.later(ln.Close)
	}
	return d.locateAPI()
}

// listenRemedy says what to do about an address that cannot be had.
func listenRemedy(err error, flag string) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "stop what uses the address, or give --" + flag + " another one"
	case errors.Is(err, syscall.EACCES):
		return "run the server as root, or give --" + flag + " a port above 1023"
	}
	return "give --" + flag + " an address of this machine, such as 127.0.0.1:8080"
}

// locateAPI decides by which URL clients reach the API.
func (d *daemon) locateAPI() (err error) {
	text := d.config.PublicAPI
	if text == "" {
		scheme, addr := "http", d.listeners.api.Addr().(*net.TCPAddr)
		host := addr.IP.String()
		switch {
		case addr.IP.IsUnspecified():
			scheme, host = "https", "localhost"
		case !addr.IP.IsLoopback():
			scheme = "https"
		}
		text = scheme + "://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
	}
	d.apiURL, err = url.Parse(text)
	return err
}

func (d *daemon) path(parts ...string) string {
	return filepath.Join(append([]string{d.config.Data}, parts...)...)
}

func (d *daemon) openSecrets(context.Context) error {
	var err error
	if d.keys, err = secrets.OpenKeyring(d.config.Data, d.scope.Account); err != nil {
		return err
	}
	c := ca.Config{Install: d.install.ID, Domains: []string{d.config.Domain, internalDomain}, Logger: slog.Default()}
	if ip, err := netip.ParseAddr(d.apiURL.Hostname()); err == nil {
		c.Addresses = []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())}
	} else {
		c.Domains = append(c.Domains, d.apiURL.Hostname())
	}
	if d.authority, err = ca.Open(d.path(caDir), c); err != nil {
		return err
	}
	system, err := ca.SystemBundle()
	if err != nil {
		slog.Warn("the CA bundle holds only Funade's own root", "error", err)
	}
	if err := mkdir(d.path(caDir), 0o711); err != nil {
		return err
	}
	return atomicfile.Write(d.bundle(), d.authority.Bundle(system), 0o644)
}

// bundle is the file with the system's CAs and Funade's.
func (d *daemon) bundle() string { return d.path(caDir, "bundle.pem") }

func (d *daemon) openStore(context.Context) error {
	var err error
	if d.store, err = store.Open(d.path("funade.db"), store.Options{Reserve: storeReserve}); err != nil {
		return err
	}
	d.later(d.store.Close)
	d.control = control.New(d.store, control.Config{
		RegistryHosts: d.registryHosts(), Quotas: control.Quotas{Services: d.config.MaxServices},
	})
	d.ec2 = controlec2.New(d.store, controlec2.Config{
		RegistryHosts: d.registryHosts(),
		Report:        func(err error) { slog.Error("keeper's pass failed", "error", err) },
	})
	return nil
}

// registryHosts are the names that mean this install's registry beside AWS's form.
func (d *daemon) registryHosts() []string {
	port := strconv.Itoa(d.listeners.api.Addr().(*net.TCPAddr).Port)
	return []string{d.apiURL.Host, "localhost:" + port, d.listeners.api.Addr().String()}
}

func (d *daemon) reference(image string, scope app.Scope) (app.Reference, error) {
	return app.ParseReference(image, scope, d.registryHosts()...)
}

func (d *daemon) openLogs(context.Context) error {
	var err error
	d.logs, err = logs.Open(logs.Config{Dir: d.path("logs"), Groups: d.control.LogGroups(), MaxBytes: int64(d.config.LogsMaxBytes), Logger: slog.Default()})
	if err != nil {
		return err
	}
	d.later(d.logs.Close)
	return nil
}

// engineConfig is what the engine and its purge need to know.
func engineConfig(data string, in install, runtime string) containerd.Config {
	return containerd.Config{DataDir: data, RunDir: in.runDir(), Install: in.ID, Runtime: runtime, Log: slog.Default()}
}

// networkConfig is what the data plane and its purge need to know.
func networkConfig(in install) linux.Config {
	return linux.Config{Install: in.ID, RunDir: in.runDir(), Prefix: in.Managed, TransitPrefix: in.Transit, Logger: slog.Default()}
}

func (d *daemon) openEngine(ctx context.Context) error {
	c := engineConfig(d.config.Data, d.install, d.config.Runtime)
	dialer := &guarded.Dialer{Allow: d.config.AllowDial, Deny: []netip.Prefix{d.install.Managed, d.install.Transit}}
	c.Dialer = dialer.DialContext
	var err error
	if d.engine, err = containerd.Open(ctx, c); err != nil {
		return err
	}
	d.later(d.engine.Close)
	return d.engine.OwnTempMounts()
}

func (d *daemon) openNetwork(ctx context.Context) error {
	c := networkConfig(d.install)
	c.RevokedFlows = map[string]linux.RevokedFlows{"after-grace": linux.AfterGrace, "now": linux.Now, "keep": linux.Keep}[d.config.RevokedFlows]
	d.flows = newFlowRecords()
	c.FlowRecords = d.flows.take
	for _, text := range d.config.DNS {
		addr, err := resolverAddr(text)
		if err != nil {
			return err
		}
		c.DNSUpstreams = append(c.DNSUpstreams, addr)
	}
	var err error
	if d.network, err = linux.Open(ctx, c); err != nil {
		return err
	}
	d.later(d.network.Close)
	if !d.engine.Capabilities().UserNamespaces {
		return nil // the engine says why
	}
	if err := linux.CheckUserNamespaces(d.install.UIDBase); err != nil {
		d.noUserns = "user namespaces are off: " + err.Error() + "; root in an instance is root of the host, held by seccomp and reduced capabilities"
		return nil
	}
	d.uidBase = d.install.UIDBase
	return nil
}

func resolverAddr(text string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(ip, 53), nil
	}
	return netip.ParseAddrPort(text)
}

func (d *daemon) openRegistry(context.Context) error {
	d.tokens = &registry.Tokens{
		Key: d.keys.Derive(secrets.PurposeRegistryToken), Now: time.Now,
		KeyKnown: func(_ context.Context, id string) bool { _, ok := d.keys.Lookup(id); return ok },
	}
	catalog := d.control.Catalog()
	var err error
	d.registry, err = registry.New(registry.Config{
		Catalog: catalog, Links: catalog, Directory: catalog, Blobs: registryBlobs{d.engine}, Tokens: d.tokens, DefaultScope: d.scope,
		Limits: registry.Limits{
			Uploads: d.config.UploadSessions, BlobBytes: int64(d.config.UploadMaxBytes), UploadBytes: int64(d.config.UploadTotalBytes),
		},
		Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	d.later(d.registry.Close)
	return nil
}

func (d *daemon) openRouter(context.Context) error {
	d.router = router.New(router.Config{
		Dial: dialTarget(d.network), Certificate: d.authority.Certificate, HTTPSPort: port(d.listeners.https), Logger: slog.Default(),
	})
	d.front = &frontDoor{Router: d.router, routed: make(chan struct{})}
	return nil
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// converge starts everything that works in the background until ctx ends.
func (d *daemon) converge(ctx context.Context) {
	layout, err := vpc.NewLayout(d.install.Managed)
	if err != nil {
		panic(err) // the install's own choice
	}
	attached := converge.NewPoke()
	uidBase := func(app.AccountID) uint32 { return d.uidBase }
	routes := converge.NewRoutes(d.store, d.front, d.config.Domain)
	network := converge.NewNetwork(d.store, d.network, vpc.InstallRules{EgressAllow: d.config.DefaultEgressAllow, DoorNames: routes.Serves}, layout.Slots(), uidBase, attached)
	var instances *converge.Instances
	d.collector = logs.NewCollector(logs.CollectorConfig{
		Store: d.logs, Groups: d.control.LogGroups(), Done: func(id app.InstanceID) { instances.LogDone(id) },
	})
	instances = converge.NewInstances(converge.InstancesConfig{
		Store: d.store, Engine: d.engine, Files: logFiles{d.engine}, Logs: follower{d.collector}, Tail: tail,
		Attachment: network.Attachment, UIDBase: uidBase, CABundle: d.bundle(), VolumesDir: d.path(volumesDir), Now: time.Now, Attached: attached,
	})
	checks := converge.NewHealth(d.store, d.network, time.Now)
	d.prober = health.New(health.Config{Dial: d.network.Dial, Report: checks.Report})
	volumes := converge.NewVolumes(d.store, d.path(volumesDir))
	images := converge.NewImages(d.store, d.engine, d.reference, time.Now)
	events := converge.NewEvents(d.store, eventSink{d.logs, d.control.LogGroups()})
	retention := converge.NewRetention(logKeeper{d.logs, d.control.LogGroups()}, time.Now)
	runner := operation.NewRunner(d.store, time.Now, id.Source{})
	keeper := d.control.Keeper()
	garbage := registry.Collector{Registry: d.registry}
	for _, run := range []func(){
		func() { runner.Run(ctx) },
		func() { keeper.Run(ctx) },
		func() { d.ec2.RunKeeper(ctx) },
		func() { images.Run(ctx) },
		func() { network.Run(ctx) },
		func() { d.flows.run(ctx, d.logs, d.control.LogGroups()) },
		func() { instances.Run(ctx) },
		func() { volumes.Run(ctx) },
		func() { checks.Run(ctx, d.prober) },
		func() { routes.Run(ctx) },
		func() { events.Run(ctx) },
		func() { _ = d.collector.Run(ctx) },
		func() { _ = garbage.Run(ctx) },
		func() { retention.Run(ctx) },
	} {
		d.work.Go(run)
	}
}

// run opens the doors and waits for the end of ctx.
func (d *daemon) run(ctx, work context.Context) error {
	api, err := d.apiHandler()
	if err != nil {
		return err
	}
	apiServer := server.HTTPServer(api)
	failed := make(chan error, 8)
	serve := func(name string, f func() error) {
		d.work.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) && work.Err() == nil {
				failed <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	sniffed := server.Sniff(d.listeners.api, &tls.Config{GetCertificate: d.authority.Certificate, MinVersion: tls.VersionTLS12}, false)
	serve("api", func() error { return apiServer.Serve(sniffed) })
	select {
	case <-d.front.routed:
	case <-ctx.Done():
	}
	serve("http", func() error { return d.router.Serve(work, router.Front{}, d.listeners.http) })
	serve("https", func() error { return d.router.Serve(work, router.Front{TLS: true}, d.listeners.https) })
	if err := d.openDoors(work, serve); err != nil {
		return err
	}
	if err := serverinfo.Write(d.config.Data, d.info()); err != nil {
		return err
	}
	d.ready.ready.Store(true)
	for _, p := range d.problems() {
		slog.Warn("this machine limits the install", "problem", p)
	}
	slog.Info("ready", "api", d.apiURL.String(), "https", d.listeners.https.Addr().String(), "version", version)
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	return errors.Join(err, d.router.Shutdown(grace), apiServer.Shutdown(grace))
}

// openDoors listens where instances reach the front door.
func (d *daemon) openDoors(ctx context.Context, serve func(string, func() error)) error {
	layout, err := vpc.NewLayout(d.install.Managed)
	if err != nil {
		return err
	}
	for port, front := range map[int]router.Front{
		80:  {Caller: layout.DoorCaller(), HTTPSPort: 443},
		443: {Caller: layout.DoorCaller(), HTTPSPort: 443, TLS: true},
	} {
		ln, err := d.network.ListenDoor(ctx, port)
		if err != nil {
			return err
		}
		d.later(ln.Close)
		serve("door", func() error { return d.router.Serve(ctx, front, ln) })
	}
	return nil
}

func (d *daemon) info() serverinfo.Info {
	return serverinfo.Info{
		API: d.apiURL.String(), HTTP: d.listeners.http.Addr().String(), HTTPS: d.listeners.https.Addr().String(),
		Domain: d.config.Domain, Region: d.config.Region, Account: d.config.Account, InstallID: string(d.install.ID), Version: version,
	}
}

// apiHandler puts together what answers at the API address.
func (d *daemon) apiHandler() (http.Handler, error) {
	persons := sessions.New(sessionExecer{d.engine}, d.network, time.Now)
	d.later(persons.Close)
	extension := funade.New(funade.Config{Control: d.control, Networks: d.ec2, Sessions: persons, RootKey: rootKeys{d.keys},
		Reach: reach.New(d.store, reach.Config{EgressAllow: d.config.DefaultEgressAllow, OwnAddresses: ownAddresses}), Install: funade.Install{
			ID: d.install.ID, Version: version, Account: d.scope.Account, Region: d.scope.Region, Domain: d.config.Domain,
			HTTPPort: port(d.listeners.http), HTTPSPort: port(d.listeners.https), RegistryHost: d.apiURL.Host,
			CACertificate: string(d.authority.RootPEM()),
		}})
	mux, err := wire.NewMux(wire.Options{
		Verifier: sigv4.NewVerifier(signingKeys{d.keys}, time.Now),
		Report: func(c *wire.Call, err error) {
			slog.Error("request failed", "request", c.ID, "operation", c.OperationName(), "error", err)
		},
	},
		wire.Registration{Service: apiapprunner.Descriptor, Handler: apprunner.New(d.control, d.config.Domain)},
		wire.Registration{Service: apiec2.Descriptor, Handler: serverec2.New(d.ec2, d.logs)},
		wire.Registration{Service: apiecr.Descriptor, Handler: ecr.New(d.control, d.tokens, ecrManifests{d.registry}, d.apiURL.String())},
		wire.Registration{Service: apiecrpublic.Descriptor, Handler: ecrpublic.New(d.tokens)},
		wire.Registration{Service: apilogs.Descriptor, Handler: serverlogs.New(d.control, d.logs, time.Now)},
		wire.Registration{Service: apists.Descriptor, Handler: sts.Handler{}},
		wire.Registration{Service: apiiam.Descriptor, Handler: iam.New(d.install.CreatedAt)},
		wire.Registration{Service: apifunade.Descriptor, Handler: extension},
	)
	if err != nil {
		return nil, err
	}
	d.ready.install, d.ready.started = d.install.ID, time.Now()
	d.ready.problems = d.problems
	return server.Handler(mux.Handler(server.Chain(mux)...), d.registry, persons, &d.ready), nil
}

// problems says what about this machine limits the install.
func (d *daemon) problems() []string {
	problems := append(d.network.Problems(), d.engine.Capabilities().Missing...)
	if d.noUserns != "" {
		problems = append(problems, d.noUserns)
	}
	return problems
}
