package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/funade/funade/internal/aws/api/funade"
	protocol "github.com/funade/funade/internal/session"
)

type forwardCmd struct {
	connectFlags
	From string `help:"Connect from inside this service (name or ARN) or instance (i-…), under its groups." placeholder:"SOURCE"`
	Spec string `arg:"" name:"local:host:port" help:"Port of 127.0.0.1 to listen on (0 = any), host and port to connect to."`
}

var hostID = regexp.MustCompile(`^i-[0-9a-f]{17}$`)

// parse takes the argument apart.
func (c *forwardCmd) parse() (local, host string, port int32, err error) {
	local, rest, _ := strings.Cut(c.Spec, ":")
	host, text, _ := strings.Cut(rest, ":")
	n, lerr := strconv.ParseUint(local, 10, 16)
	p, perr := strconv.ParseUint(text, 10, 16)
	if lerr != nil || perr != nil || p == 0 || host == "" {
		return "", "", 0, usagef("%q is not LOCALPORT:HOST:PORT, for example 5432:10.0.1.10:5432", c.Spec)
	}
	if c.From == "" {
		if !hostID.MatchString(host) {
			return "", "", 0, usagef("say with --from which service or instance connects to %s: its groups and routes decide; without --from only an instance i-… is connected to, from itself", host)
		}
		c.From = host
	}
	return strconv.FormatUint(n, 10), host, int32(p), nil
}

// Run forwards connections until it is interrupted.
func (c *forwardCmd) Run(s *session) error {
	local, host, port, err := c.parse()
	if err != nil {
		return err
	}
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", local))
	if err != nil {
		return fmt.Errorf("cannot listen: %w; choose another local port, or 0 for any", err)
	}
	defer ln.Close()
	defer context.AfterFunc(s.ctx, func() { ln.Close() })()
	if c.JSON {
		err = printJSONLine(s.Stdout, map[string]any{"address": ln.Addr().String(), "from": c.From, "host": host, "port": port})
	} else {
		_, err = fmt.Fprintf(s.Stdout, "Forwarding %s to %s:%d from inside %s\n", ln.Addr(), host, port, c.From)
	}
	if err != nil {
		return err
	}
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if s.ctx.Err() != nil {
				return nil // the user has had enough
			}
			return fmt.Errorf("cannot accept connections: %w", err)
		}
		open.Go(func() {
			defer conn.Close()
			if err := c.forward(s, cl, conn, host, port); err != nil && s.ctx.Err() == nil {
				fmt.Fprintf(s.Stderr, "funade: %s: %s\n", conn.RemoteAddr(), explain(err))
			}
		})
	}
}

// forward copies one connection both ways; each direction ends by itself.
func (c *forwardCmd) forward(s *session, cl *clients, conn net.Conn, host string, port int32) error {
	far, err := cl.openSession(s.ctx, &funade.CreateSessionInput{Target: &c.From, Kind: funade.SessionKindForward, Host: &host, Port: aws.Int32(port)})
	if err != nil {
		return err
	}
	defer far.Close()
	go func() {
		if _, err := io.Copy(far.Writer(protocol.Input), conn); err == nil {
			err = far.End(protocol.Input)
			if err == nil {
				return
			}
		}
		far.Close() // the client is gone
	}()
	for {
		kind, payload, err := far.Receive()
		switch {
		case errors.Is(err, io.ErrClosedPipe):
			return nil // the client went away
		case err != nil:
			return fmt.Errorf("the session was lost: %w", err)
		case kind == protocol.Exit:
			return nil
		case kind == protocol.Failure:
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // the client shall not take it for the end of what was sent
			}
			return errors.New(string(payload))
		case kind != protocol.Output:
			continue
		case len(payload) == 0:
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // a client that is gone is met by reading
			}
		default:
			if _, err := conn.Write(payload); err != nil {
				return nil // the client went away
			}
		}
	}
}
