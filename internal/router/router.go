package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/router/strict"
)

// Limits towards clients.
const (
	headerTimeout    = 10 * time.Second
	idleTimeout      = 75 * time.Second
	handshakeTimeout = 10 * time.Second
	// maxStreams bounds the requests of one HTTP/2 connection; one that is silent for pingAfter is asked
	// whether it lives.
	maxStreams = 250
	pingAfter  = 30 * time.Second
	// headSlop is what net/http allows beyond MaxHeaderBytes.
	headSlop        = 4 << 10
	defaultMaxConns = 10_000
)

// Config is what a router needs from outside.
type Config struct {
	// Dial connects to a target; required.
	Dial func(ctx context.Context, t Target) (net.Conn, error)
	// Certificate answers a TLS client's hello; required for fronts with TLS.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// HTTPSPort is the port that redirects name when a front does not say its own; 0 = 443.
	HTTPSPort int
	// MaxConns bounds the connections of one listener; further ones wait. 0 = 10,000.
	MaxConns int
	// Sink is told about every finished request; nil = nobody.
	Sink Sink
	// Now is time.Now when nil, Logger discards when nil.
	Now    func() time.Time
	Logger *slog.Logger
}

// Sink takes finished requests, for metrics and access logs. It is called on the request's own
// goroutine and must not block.
type Sink interface {
	Request(Record)
}

// Record is one finished request.
type Record struct {
	Start    time.Time
	Duration time.Duration
	// Service and Instance are "" when the request reached none.
	Service  app.ServiceID
	Instance app.InstanceID
	ID       string
	Client   netip.Addr
	// Host, Method, URI and Proto are as the client sent them.
	Host, Method, URI, Proto string
	// Status is the answer's; 499 = the client went away before there was one.
	Status int
	// In and Out are body bytes, not counting those of an upgraded connection.
	In, Out  int64
	Upgraded bool
	// Reason says in words why the router answered itself or broke off; "" = it did not.
	Reason string
}

// Router routes requests to instances. Its methods are safe for concurrent use.
type Router struct {
	config   Config
	log      *slog.Logger
	table    atomic.Pointer[compiled]
	exchange exchange
	server   *http.Server
	// upgraded is cancelled to end upgraded connections at shutdown.
	upgraded    context.Context
	endUpgraded context.CancelFunc
	active      atomic.Int64 // requests being answered

	mu        sync.Mutex // guards the maps and serialises SetTable
	upstreams map[app.InstanceID]*upstream
	services  map[app.ServiceID]*serviceCounts
}

// New returns a router with an empty table.
func New(c Config) *Router {
	if c.HTTPSPort == 0 {
		c.HTTPSPort = 443
	}
	if c.MaxConns == 0 {
		c.MaxConns = defaultMaxConns
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{
		config: c, log: c.Logger,
		upstreams: map[app.InstanceID]*upstream{},
		services:  map[app.ServiceID]*serviceCounts{},
	}
	r.table.Store(&compiled{})
	r.exchange = newProxy(c.Logger)
	r.upgraded, r.endUpgraded = context.WithCancel(context.Background())
	r.server = &http.Server{
		Handler:           r,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    strict.MaxHead - headSlop,
		ConnContext:       withConn,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      pingAfter,
			PingTimeout:          headerTimeout,
			WriteByteTimeout:     pingAfter,
		},
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
	}
	return r
}

// Shutdown stops accepting and waits until the requests in flight have been answered; upgraded
// connections are ended once only they are left. When ctx ends first, everything that is left is
// cut and ctx's error returned.
func (r *Router) Shutdown(ctx context.Context) error {
	err := r.server.Shutdown(ctx)
	r.endUpgraded()
	if err == nil {
		err = r.awaitIdle(ctx)
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("cannot finish %d requests in time: %w", r.active.Load(), err), r.server.Close())
	}
	r.closeIdle()
	return err
}

// awaitIdle waits for the handlers that net/http's Shutdown does not know of.
func (r *Router) awaitIdle(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.active.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *Router) closeIdle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.upstreams {
		u.transport.CloseIdleConnections()
	}
}
