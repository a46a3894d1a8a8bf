package server

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// sniffTimeout bounds how long a new connection may stay silent before its first byte.
const sniffTimeout = 30 * time.Second

const (
	// acceptPause is the pause after an error of Accept that may pass.
	acceptPause = 50 * time.Millisecond
	// refuseTimeout bounds telling a client that only TLS is spoken.
	refuseTimeout = 2 * time.Second
)

// tlsRecordHandshake is the first byte of every TLS connection (RFC 8446 §5.1); no HTTP method begins with it.
const tlsRecordHandshake = 0x16

// sniffListener tells TLS from plain HTTP by the first byte of each connection.
type sniffListener struct {
	net.Listener
	config *tls.Config
	// tlsOnly refuses plain HTTP: the listener is not on loopback.
	tlsOnly bool
	ready   chan net.Conn
	done    chan struct{}
	once    sync.Once
	err     error
}

// Sniff wraps l so that accepted connections speak plain HTTP or, told by the first byte, TLS.
// A listener that is not bound to loopback refuses plain HTTP unless allowPlain is set.
func Sniff(l net.Listener, config *tls.Config, allowPlain bool) net.Listener {
	s := &sniffListener{
		Listener: l, config: config, tlsOnly: !allowPlain && !isLoopback(l.Addr()),
		ready: make(chan net.Conn), done: make(chan struct{}),
	}
	go s.accept()
	return s
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (s *sniffListener) accept() {
	for {
		c, err := s.Listener.Accept()
		if isTemporary(err) {
			<-time.After(acceptPause)
			continue
		}
		if err != nil {
			s.once.Do(func() { s.err = err; close(s.done) })
			return
		}
		go s.classify(c)
	}
}

// isTemporary tells what a later attempt may not meet, for example too many open files.
func isTemporary(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno.Temporary()
}

func (s *sniffListener) classify(c net.Conn) {
	first := make([]byte, 1)
	_ = c.SetReadDeadline(time.Now().Add(sniffTimeout))
	if _, err := c.Read(first); err != nil {
		c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	var out net.Conn = &prefixConn{Conn: c, prefix: first}
	switch {
	case first[0] == tlsRecordHandshake:
		out = tls.Server(out, s.config)
	case s.tlsOnly:
		refusePlain(c)
		return
	}
	select {
	case s.ready <- out:
	case <-s.done:
		c.Close()
	}
}

// refusePlain says why a plain connection is not served. It reads what the client sends, since closing over unread
// bytes would reset the connection before the client has read the answer.
func refusePlain(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(refuseTimeout))
	_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" +
		"This address speaks TLS only. Use https://.\n"))
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.Copy(io.Discard, io.LimitReader(c, maxHeader))
	}
}

// Accept returns the next connection whose protocol is known.
func (s *sniffListener) Accept() (net.Conn, error) {
	select {
	case c := <-s.ready:
		return c, nil
	case <-s.done:
		if s.err == nil {
			return nil, net.ErrClosed
		}
		return nil, s.err
	}
}

// Close stops accepting.
func (s *sniffListener) Close() error {
	err := s.Listener.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// prefixConn gives back the bytes that were read to classify a connection.
type prefixConn struct {
	net.Conn
	prefix []byte
}

func (p *prefixConn) Read(b []byte) (int, error) {
	if len(p.prefix) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.prefix)
	p.prefix = p.prefix[n:]
	return n, nil
}
