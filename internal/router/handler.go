package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/id"
)

const (
	// statusClientGone is what access logs call a request whose client left before the answer.
	statusClientGone = 499
	// unreadGrace bounds the wait for the rest of a body that nobody wants any more.
	unreadGrace = 2 * time.Second
	// timeoutGrace is the time that a client has to take the words of a timeout.
	timeoutGrace = 5 * time.Second
)

// Why a call ends before its answer is complete; causes of the call's context.
var (
	errTimeout    = errors.New("request timed out")
	errShutdown   = errors.New("the front door is shutting down")
	errNoInstance = errors.New("no healthy instance")
)

// call is one request on its way.
type call struct {
	router   *Router
	host     string
	route    *route
	up       *upstream // counted in flight; nil = none
	client   *client
	id       string
	start    time.Time
	timeout  time.Duration
	body     *requestBody
	answer   *answer
	record   Record
	cancel   context.CancelCauseFunc
	complete bool   // the exchange came to its end
	upgraded func() // what to do when the connection is taken over

	mu      sync.Mutex
	expired bool // the timeout has passed
	over    bool // the handler has returned, or the connection is upgraded: no deadlines any more
}

// ServeHTTP answers one request: it redirects on fronts without TLS, finds the service by
// host, and passes the request to an instance.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.active.Add(1)
	defer r.active.Add(-1)
	c := r.newCall(w, req)
	defer c.finish(req)
	if c.route = r.table.Load().find(c.host); c.route == nil {
		c.refuse(http.StatusNotFound, fmt.Sprintf("no service answers at %.255q", c.host))
		return
	}
	if !c.client.front.TLS {
		c.redirect(req)
		return
	}
	if s := c.client.server; s != "" && s != c.host && r.table.Load().find(s) == nil {
		c.refuse(http.StatusMisdirectedRequest, fmt.Sprintf("the TLS connection was opened for %.255q", s))
		return
	}
	c.serve(req)
}

func (r *Router) newCall(w http.ResponseWriter, req *http.Request) *call {
	c := &call{router: r, host: hostName(req.Host), client: clientOf(req), id: requestID(req.Header), start: r.config.Now()}
	c.answer = &answer{ResponseWriter: w, call: c}
	c.body = &requestBody{ReadCloser: req.Body}
	if c.body.present() && req.ProtoMajor == 1 {
		_ = http.NewResponseController(w).EnableFullDuplex() // answers need not wait for the body
	}
	c.record = Record{
		Start: c.start, ID: c.id, Client: c.client.front.Caller,
		Host: req.Host, Method: req.Method, URI: req.RequestURI, Proto: req.Proto,
	}
	if !c.record.Client.IsValid() {
		if peer, err := netip.ParseAddrPort(req.RemoteAddr); err == nil {
			c.record.Client = peer.Addr().Unmap().WithZone("")
		}
	}
	return c
}

// serve passes a request whose route is known to an instance of the service.
func (c *call) serve(req *http.Request) {
	c.record.Service = c.route.Service
	if c.route.State == RoutePaused {
		c.refuse(http.StatusServiceUnavailable, "the service is paused")
		return
	}
	counts := c.route.counts
	counts.inFlight.Add(1)
	counts.started.Add(1)
	defer counts.inFlight.Add(-1)
	defer c.release()
	if !c.acquire(nil) {
		c.noInstance()
		return
	}
	if c.timeout = c.route.RequestTimeout; c.timeout <= 0 {
		c.timeout = app.DefaultRequestTimeout
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(req.Context(), callKey{}, c))
	defer cancel(nil)
	c.cancel = cancel
	timer := time.AfterFunc(c.timeout, c.expire)
	defer timer.Stop()
	stop := func() bool { return true }
	c.upgraded = func() {
		timer.Stop()
		stop = context.AfterFunc(c.router.upgraded, func() { cancel(errShutdown) })
	}
	defer func() { stop() }()
	out := req.WithContext(ctx)
	if c.body.present() {
		out.Body = c.body
	}
	c.router.exchange(c.answer, out)
	c.complete = true
}

// acquire finds an instance other than avoid in the table in force and counts the request on it.
func (c *call) acquire(avoid *upstream) bool {
	for {
		table := c.router.table.Load()
		if rt := table.find(c.host); rt != nil && rt.State != RoutePaused {
			if c.up = rt.pick(avoid); c.up != nil {
				c.record.Instance = c.up.Instance
				return true
			}
		}
		if c.router.table.Load() == table {
			return false
		}
	}
}

// release takes the request off its instance.
func (c *call) release() {
	if c.up != nil {
		c.up.inFlight.Add(-1)
		c.up = nil
	}
}

// expire ends a call that took too long; it runs on the timer's goroutine.
func (c *call) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.expired = true
	c.cancel(errTimeout)
	rc := http.NewResponseController(c.answer.ResponseWriter)
	if c.body.present() {
		_ = rc.SetReadDeadline(time.Now()) // wakes a read of the client's body
	}
	_ = rc.SetWriteDeadline(time.Now().Add(timeoutGrace))
}

// finish closes the books on a call; ServeHTTP defers it.
func (c *call) finish(req *http.Request) {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	if c.body.present() && !c.body.ended.Load() && !c.record.Upgraded {
		// net/http throws the rest of the body away after the answer: it must not wait for ever
		_ = http.NewResponseController(c.answer.ResponseWriter).SetReadDeadline(time.Now().Add(unreadGrace))
	}
	sink := c.router.config.Sink
	if sink == nil {
		return
	}
	c.record.Duration = c.router.config.Now().Sub(c.start)
	c.record.In = c.body.read.Load()
	c.record.Out = c.answer.written
	if c.record.Status == 0 {
		c.record.Status = c.answer.status
	}
	if c.record.Reason == "" && c.cancel != nil && !c.complete {
		c.record.Reason = c.brokenOff(req)
	}
	sink.Request(c.record)
}

// brokenOff says why an answer that had begun did not come to its end.
func (c *call) brokenOff(req *http.Request) string {
	switch {
	case c.expired:
		return fmt.Sprintf("the answer was not complete within %s", c.timeout)
	case req.Context().Err() != nil:
		return "the client went away"
	}
	return "the instance broke its answer off"
}

func (c *call) noInstance() {
	words := errNoInstance.Error()
	if c.route.State == RouteStarting {
		words += "; the service is starting"
	}
	c.answer.Header().Set("Retry-After", "1")
	c.refuse(http.StatusServiceUnavailable, words)
}

// refuse answers by itself: one line of words and the request's id.
func (c *call) refuse(status int, words string) {
	c.record.Reason = words
	h := c.answer.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", c.id)
	line := fmt.Sprintf("%d %s: %s (request %s)\n", status, http.StatusText(status), words, c.id)
	h.Set("Content-Length", strconv.Itoa(len(line)))
	c.answer.WriteHeader(status)
	_, _ = io.WriteString(c.answer, line)
}

// redirect sends the client to the same place behind TLS.
func (c *call) redirect(req *http.Request) {
	c.record.Service = c.route.Service
	authority := c.host
	if port := c.client.front.HTTPSPort; port != 443 && port != 0 {
		authority = net.JoinHostPort(c.host, strconv.Itoa(port))
	}
	c.answer.Header().Set("Location", "https://"+authority+req.URL.RequestURI())
	c.answer.Header().Set("X-Request-Id", c.id)
	c.answer.Header().Set("Content-Length", "0")
	c.answer.WriteHeader(http.StatusMovedPermanently)
}

// requestID keeps the client's id when it is 1 to 128 plain characters, else makes one.
func requestID(h http.Header) string {
	if ids := h["X-Request-Id"]; len(ids) == 1 && plainID(ids[0]) {
		return ids[0]
	}
	return id.Source{}.Hex32()
}

func plainID(s string) bool {
	for i := range len(s) {
		b := s[i]
		if (b|0x20 < 'a' || b|0x20 > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' && b != '.' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 128
}
