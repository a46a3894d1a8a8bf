package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/funade/funade/internal/session"
)

// forward connects from inside the instance's network and copies both ways; each direction ends by itself.
func (s *Server) forward(ctx context.Context, c *session.Conn, t Ticket) {
	conn, err := s.dial(ctx, t)
	if err != nil {
		fail(c, err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(c.Writer(session.Output), conn)
		if err == nil {
			err = c.End(session.Output)
		}
		if err != nil {
			conn.Close()
			_ = c.SendFailure(fmt.Errorf("the connection to %s was lost: %w", hostPort(t), err)) // a client that is gone does not ask
		}
		done <- err
	}()
	if !pump(c, conn) {
		return // the client is gone; closing the connection ends the copy
	}
	if err := <-done; err != nil || c.SendExit(0) == nil {
		linger(c)
	}
}

// pump writes what the client sends until it ends its direction; false = the client is gone.
func pump(c *session.Conn, conn net.Conn) bool {
	for {
		kind, payload, err := c.Receive()
		if err != nil || kind != session.Input {
			return false
		}
		if len(payload) == 0 {
			if half, ok := conn.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // the other direction tells if it is broken
			}
			return true
		}
		if _, err := conn.Write(payload); err != nil {
			return true
		}
	}
}

func hostPort(t Ticket) string { return net.JoinHostPort(t.Host, fmt.Sprint(t.Port)) }

// dial looks the host up with the instance's resolvers and connects to the first address that answers.
func (s *Server) dial(ctx context.Context, t Ticket) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	addresses, err := s.resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, a := range addresses {
		conn, err := s.inside.DialFrom(ctx, t.Interface, netip.AddrPortFrom(a, uint16(t.Port)))
		if err == nil {
			return conn, nil
		}
		failed = append(failed, err)
	}
	return nil, fmt.Errorf("cannot connect to %s: %w; funade explain tells whether its security groups and routes allow it", hostPort(t), errors.Join(failed...))
}

func (s *Server) resolve(ctx context.Context, t Ticket) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(t.Host); err == nil {
		return []netip.Addr{a}, nil
	}
	if strings.EqualFold(t.Host, "localhost") { // RFC 6761: no resolver is asked
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	addresses, err := s.inside.LookupFrom(ctx, t.Interface, t.Host)
	if err == nil && len(addresses) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look %s up inside the instance: %w", t.Host, err)
	}
	return addresses, nil
}
