package router

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// requestBody counts a request's body and knows whether it was read at all and to its end.
type requestBody struct {
	io.ReadCloser
	read  atomic.Int64
	began atomic.Bool
	ended atomic.Bool
	// failed is the first error other than the end.
	failed atomic.Pointer[error]
}

// Read reads from the client.
func (b *requestBody) Read(p []byte) (int, error) {
	b.began.Store(true)
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	switch {
	case err == io.EOF:
		b.ended.Store(true)
	case err != nil:
		b.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

// present reports that the request has a body.
func (b *requestBody) present() bool { return b.ReadCloser != nil && b.ReadCloser != http.NoBody }

// err returns what broke the body, nil if nothing did.
func (b *requestBody) err() error {
	if e := b.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// keepOpen shields a body from being closed by an attempt that may be repeated.
type keepOpen struct{ io.ReadCloser }

// Close does nothing; ReverseProxy closes the body at the end.
func (keepOpen) Close() error { return nil }

// answer counts what goes to the client and notices when the connection is taken over.
type answer struct {
	http.ResponseWriter
	call    *call
	status  int
	written int64
}

// WriteHeader sends a status; informational ones may come before the final one.
func (a *answer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write sends body bytes.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(p)
	a.written += int64(n)
	return n, err
}

// Unwrap gives http.ResponseController the rest.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Hijack takes the connection over for an upgrade: it leaves the request's timeout and the
// watch on HTTP behind. Bytes that the client sent early come first from the returned connection.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c := a.call
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	if c.upgraded != nil {
		c.upgraded()
	}
	if c.client.watch != nil {
		c.client.watch.Open()
	}
	c.record.Upgraded = true
	a.status = http.StatusSwitchingProtocols
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	return &resumed{Conn: conn, early: append([]byte(nil), early...)}, rw, nil
}

// resumed is a connection of which some bytes were read already.
type resumed struct {
	net.Conn
	early []byte
}

// Read returns the early bytes first.
func (r *resumed) Read(p []byte) (int, error) {
	if len(r.early) > 0 {
		n := copy(p, r.early)
		r.early = r.early[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite passes half-closing on where the connection knows it.
func (r *resumed) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
