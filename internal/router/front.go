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
	"time"

	"github.com/funade/funade/internal/router/strict"
)

// Front describes a listener.
type Front struct {
	// TLS fronts serve HTTP/1 and HTTP/2; the others redirect to https.
	TLS bool
	// Caller, when valid, replaces the peer's address (the door that instances use).
	Caller netip.Addr
	// HTTPSPort is the port that this front's redirects name; 0 = Config.HTTPSPort.
	HTTPSPort int
}

// client is what is known of a connection.
type client struct {
	front Front
	// server is the TLS server name in the table's form; "" = none given.
	server string
	// watch is nil for HTTP/2, whose frames need none.
	watch *strict.Conn
}

type clientKey struct{}

// frontConn carries the client beside its connection and gives the listener's slot back.
type frontConn struct {
	net.Conn
	client *client
	once   sync.Once
	free   func()
}

// Close closes the connection.
func (c *frontConn) Close() error {
	c.once.Do(c.free)
	return c.Conn.Close()
}

// CloseWrite half-closes where the connection can.
func (c *frontConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return c.Close()
}

// withConn is the server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if s, ok := c.(*strict.Conn); ok {
		c = s.Conn
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if f, ok := c.(*frontConn); ok {
		return context.WithValue(ctx, clientKey{}, f.client)
	}
	return ctx
}

func clientOf(r *http.Request) *client {
	if c, ok := r.Context().Value(clientKey{}).(*client); ok {
		return c
	}
	return &client{front: Front{TLS: true}}
}

// Serve answers connections of a listener until ctx ends or Shutdown is called; it closes the
// listener and returns nil then. Connections that were accepted live on until Shutdown.
func (r *Router) Serve(ctx context.Context, front Front, ln net.Listener) error {
	if front.HTTPSPort == 0 {
		front.HTTPSPort = r.config.HTTPSPort
	}
	if front.TLS && r.config.Certificate == nil {
		return errors.New("cannot serve HTTPS: the router has no source of certificates")
	}
	a := &acceptor{
		Listener: ln, front: front, log: r.log,
		out: make(chan net.Conn), slots: make(chan struct{}, r.config.MaxConns), done: make(chan struct{}),
	}
	if front.TLS {
		a.tls = &tls.Config{
			GetCertificate: r.config.Certificate,
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"h2", "http/1.1", "http/1.0"},
		}
	}
	go a.run()
	stop := context.AfterFunc(ctx, func() { _ = a.Close() })
	defer stop()
	err := r.server.Serve(a)
	_ = a.Close()
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("cannot accept on %s: %w", ln.Addr(), err)
}

// acceptor is a listener whose connections are through with TLS and watched.
type acceptor struct {
	net.Listener
	front Front
	log   *slog.Logger
	tls   *tls.Config
	out   chan net.Conn
	slots chan struct{}
	once  sync.Once
	done  chan struct{}
	err   error // why it is done
}

// Accept returns the next connection that is ready for HTTP.
func (a *acceptor) Accept() (net.Conn, error) {
	select {
	case c := <-a.out:
		return c, nil
	case <-a.done:
		return nil, a.err
	}
}

// Close closes the listener.
func (a *acceptor) Close() error {
	a.finish(net.ErrClosed)
	return nil
}

func (a *acceptor) finish(err error) {
	a.once.Do(func() {
		a.err = err
		close(a.done)
		_ = a.Listener.Close()
	})
}

// maxAcceptFailures in a row, about 80 s of them, mean that the listener is broken.
const maxAcceptFailures = 100

// run accepts until the listener closes. Each connection does its handshake on a goroutine of its own.
func (a *acceptor) run() {
	failures := 0
	for {
		select {
		case a.slots <- struct{}{}:
		case <-a.done:
			return
		}
		conn, err := a.Listener.Accept()
		if err != nil {
			<-a.slots
			if failures++; errors.Is(err, net.ErrClosed) || failures == maxAcceptFailures {
				a.finish(fmt.Errorf("after %d failures: %w", failures, err)) // wrapped: net/http would retry a bare EMFILE for ever
				return
			}
			if !a.pause(min(time.Duration(failures)*10*time.Millisecond, time.Second)) {
				return
			}
			continue
		}
		failures = 0
		go a.prepare(&frontConn{Conn: conn, client: &client{front: a.front}, free: func() { <-a.slots }})
	}
}

// pause waits after a failed accept (no more file descriptors …); false when done.
func (a *acceptor) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.done:
		return false
	}
}

func (a *acceptor) prepare(f *frontConn) {
	conn, err := a.secure(f)
	if err != nil {
		a.log.Debug("TLS handshake failed", "client", f.RemoteAddr().String(), "error", err)
		_ = f.Close()
		return
	}
	select {
	case a.out <- conn:
	case <-a.done:
		_ = conn.Close()
	}
}

// secure does the TLS handshake and puts the watch on what will speak HTTP/1.
func (a *acceptor) secure(f *frontConn) (net.Conn, error) {
	var conn net.Conn = f
	if a.tls != nil {
		t := tls.Server(f, a.tls)
		ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
		defer cancel()
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		state := t.ConnectionState()
		f.client.server = hostName(state.ServerName)
		if state.NegotiatedProtocol == "h2" {
			return t, nil
		}
		conn = t
	}
	f.client.watch = strict.NewConn(conn)
	return f.client.watch, nil
}
