package session

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// handshakeTimeout bounds the time until the server has upgraded the connection.
	handshakeTimeout = 30 * time.Second
	maxRefusal       = 4 << 10
)

// Dial opens a session at a URL with the token that allows it; ctx bounds the whole session. The transport's
// certificates and proxies are used.
func Dial(ctx context.Context, transport *http.Transport, url, token string) (*Conn, error) {
	t := transport.Clone()
	t.ForceAttemptHTTP2 = false // only HTTP/1.1 can be upgraded
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.DisableKeepAlives = true
	t.ResponseHeaderTimeout = handshakeTimeout
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot open session: %w", err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", Protocol)
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := t.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("cannot open session: %w", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
		return nil, fmt.Errorf("cannot open session: %s: %s", answer.Status, strings.TrimSpace(string(text)))
	}
	rw, ok := answer.Body.(io.ReadWriteCloser)
	if !ok || !strings.EqualFold(answer.Header.Get("Upgrade"), Protocol) {
		return nil, errors.Join(fmt.Errorf("cannot open session: the server upgraded to %q", answer.Header.Get("Upgrade")), answer.Body.Close())
	}
	c := New(rw, bufio.NewReader(rw), 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release = context.AfterFunc(ctx, func() { c.closeWith(context.Cause(ctx)) })
	return c, nil
}

// Accept upgrades a request whose right to the session has been checked. An error has been answered.
func Accept(w http.ResponseWriter, r *http.Request, idle time.Duration) (*Conn, error) {
	rw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "This connection cannot be upgraded; use HTTP/1.1.", http.StatusHTTPVersionNotSupported)
		return nil, fmt.Errorf("cannot upgrade connection: %w", err)
	}
	if err := rw.SetDeadline(time.Time{}); err != nil { // net/http's deadlines are for requests
		return nil, errors.Join(fmt.Errorf("cannot upgrade connection: %w", err), rw.Close())
	}
	if _, err := io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n"); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot upgrade connection: %w", err), rw.Close())
	}
	return New(rw, buffered.Reader, idle), nil
}

// Wanted reports whether a request asks for an upgrade to this protocol.
func Wanted(r *http.Request) bool {
	for _, v := range r.Header.Values("Connection") {
		for name := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "upgrade") {
				return strings.EqualFold(r.Header.Get("Upgrade"), Protocol)
			}
		}
	}
	return false
}
