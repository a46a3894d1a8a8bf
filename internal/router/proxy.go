package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/funade/funade/internal/router/strict"
)

// exchange carries one admitted request to the call's instance and the answer back. The
// context holds the call, which has counted the request on an instance already. It is the
// seam behind which the HTTP core can be another.
type exchange func(w http.ResponseWriter, r *http.Request)

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// newProxy is the exchange on net/http.
func newProxy(log *slog.Logger) exchange {
	p := &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      roundTripper{},
		FlushInterval:  -1, // at once
		BufferPool:     &buffers{},
		ModifyResponse: stamp,
		ErrorHandler:   fail,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return p.ServeHTTP
}

// rewrite makes the request that the instance sees. ReverseProxy has removed hop-by-hop fields
// and the client's own Forwarded and X-Forwarded-For, -Host and -Proto by now.
func rewrite(p *httputil.ProxyRequest) {
	c := callOf(p.Out.Context())
	p.Out.URL.Scheme = "http"
	p.Out.URL.Host = "instance" // names the pool only: each upstream dials its own target
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	p.Out.Host = p.In.Host
	p.Out.Trailer = p.In.Trailer // the same map: its values come in while the body is read
	h := p.Out.Header
	for name := range h {
		if strings.IndexByte(name, '_') >= 0 && ambiguous(name) {
			delete(h, name)
		}
	}
	v := [...]string{"https", p.In.Host, localPort(p.In), c.id, c.record.Client.String()}
	h["X-Forwarded-Proto"], h["X-Forwarded-Host"], h["X-Forwarded-Port"], h["X-Request-Id"] = v[0:1:1], v[1:2:2], v[2:3:3], v[3:4:4]
	if c.record.Client.IsValid() {
		h["X-Forwarded-For"] = v[4:5:5]
	}
}

// ambiguous reports that a field name would be, with dashes for its underscores, one that frames
// or describes the message: many applications cannot tell the two apart.
func ambiguous(name string) bool {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	switch name {
	case "content-length", "transfer-encoding", "host", "connection", "keep-alive", "te", "trailer", "upgrade", "forwarded", "x-request-id":
		return true
	}
	return strings.HasPrefix(name, "x-forwarded-")
}

// localPort is the port that the client connected to.
func localPort(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return strconv.Itoa(a.Port)
	}
	return "443"
}

// stamp puts the request id on answers that have none.
func stamp(res *http.Response) error {
	if _, ok := res.Header["X-Request-Id"]; !ok {
		res.Header["X-Request-Id"] = []string{callOf(res.Request.Context()).id}
	}
	return nil
}

// roundTripper sends a request to its call's instance and, where that cannot do harm, once more
// to another one.
type roundTripper struct{}

// RoundTrip implements http.RoundTripper.
func (roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	c := callOf(req.Context())
	if req.Body != nil {
		req.Body = keepOpen{req.Body}
	}
	first := c.up
	res, err := first.transport.RoundTrip(req)
	if err == nil || !c.mayRepeat(req, err) {
		return res, err
	}
	c.release()
	if !c.acquire(first) {
		return nil, err
	}
	c.router.log.Debug("request goes to another instance", "request", c.id, "failed", first.Instance, "next", c.up.Instance, "error", err)
	return c.up.transport.RoundTrip(req)
}

// mayRepeat reports that the instance cannot have acted on the request: it was never sent, or it
// is a safe one without a body.
func (c *call) mayRepeat(req *http.Request, err error) bool {
	if req.Context().Err() != nil || c.body.began.Load() {
		return false
	}
	if dial := (*dialError)(nil); errors.As(err, &dial) {
		return true
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return req.Body == nil
	}
	return false
}

// fail answers for an instance that did not.
func fail(w http.ResponseWriter, req *http.Request, err error) {
	c := callOf(req.Context())
	status, words := c.explain(req, err)
	c.router.log.Debug("request failed", "request", c.id, "service", c.record.Service, "instance", c.record.Instance, "status", status, "error", err)
	if status == statusClientGone {
		c.record.Status, c.record.Reason = status, words
		return
	}
	if status == http.StatusGatewayTimeout && req.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // its deadlines are spent
	}
	c.refuse(status, words)
}

// explain turns an error into a status and words that give no address away.
func (c *call) explain(req *http.Request, err error) (int, string) {
	cause := context.Cause(req.Context())
	dial := (*dialError)(nil)
	switch {
	case errors.Is(cause, errTimeout):
		return http.StatusGatewayTimeout, fmt.Sprintf("the service did not answer within %s", c.timeout)
	case errors.Is(cause, errShutdown):
		return http.StatusServiceUnavailable, errShutdown.Error()
	case errors.Is(err, strict.ErrMalformed), errors.Is(c.body.err(), strict.ErrMalformed):
		return http.StatusBadRequest, "the request's body is malformed"
	case cause != nil:
		return statusClientGone, "the client went away"
	case c.body.err() != nil:
		return http.StatusBadRequest, "the request's body ended early"
	case errors.As(err, &dial) && isTimeout(err):
		return http.StatusGatewayTimeout, fmt.Sprintf("the instance accepted no connection within %s", dialTimeout)
	}
	return http.StatusBadGateway, "the instance " + failureWords(err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// failureWords continues "the instance …".
func failureWords(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "broke the connection off"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed idle connection"):
		return "closed the connection without an answer"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "cannot be reached"
	case errors.As(err, new(*dialError)):
		return "cannot be connected to"
	case strings.Contains(err.Error(), "malformed"):
		return "sent an answer that is not HTTP"
	}
	return "failed to answer"
}

// buffers lends the copy buffers.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get returns a buffer of bufferSize.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

// Put takes it back.
func (b *buffers) Put(p []byte) {
	if cap(p) >= bufferSize {
		b.pool.Put((*[bufferSize]byte)(p[:bufferSize]))
	}
}
