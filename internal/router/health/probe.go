package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/funade/funade/internal/app"
)

const (
	userAgent = "Funade-HealthCheck/1.0"
	// maxHead bounds the head of an answer, in bytes.
	maxHead = 64 << 10
	// maxWords bounds the text of an error that has no words of its own.
	maxWords = 120
)

// once probes an instance and says in words how it went.
func (p *Prober) once(ctx context.Context, c Check) (ok bool, answer string) {
	ctx, cancel := context.WithTimeout(ctx, seconds(c.HealthCheck.Timeout))
	defer cancel()
	if c.HealthCheck.Protocol == app.ProtocolHTTP {
		return p.get(ctx, c)
	}
	conn, err := p.config.Dial(ctx, c.Interface, c.Addr)
	if err != nil {
		return false, words(ctx, c, err)
	}
	_ = conn.Close()
	return true, fmt.Sprintf("port %d accepts connections", c.Addr.Port())
}

// get asks for the check's path once, on a connection of its own, and follows no redirect.
// Answers from 200 to 399 pass.
func (p *Prober) get(ctx context.Context, c Check) (bool, string) {
	path := c.HealthCheck.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Addr.String()+path, nil)
	if err != nil {
		return false, fmt.Sprintf("the path %.80q cannot be asked for", path)
	}
	req.Header.Set("User-Agent", userAgent)
	t := &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHead,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return p.config.Dial(ctx, c.Interface, c.Addr)
		},
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return false, words(ctx, c, err)
	}
	_ = res.Body.Close()
	ok := res.StatusCode >= 200 && res.StatusCode < 400
	return ok, fmt.Sprintf("GET %.200s answered %d", path, res.StatusCode)
}

func words(ctx context.Context, c Check, err error) string {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return fmt.Sprintf("no answer within %d s", max(c.HealthCheck.Timeout, 1))
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the instance cannot be reached"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	case strings.Contains(err.Error(), "malformed HTTP"):
		return fmt.Sprintf("the answer on port %d is not HTTP", c.Addr.Port())
	}
	text := []rune(strings.Join(strings.Fields(err.Error()), " "))
	return string(text[:min(len(text), maxWords)])
}
