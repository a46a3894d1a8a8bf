package sessions

import (
	"context"
	"io"
	"time"

	"github.com/funade/funade/internal/session"
)

// lingerLimit is how long a client may take to read the last frame.
const lingerLimit = 5 * time.Second

// exec runs the ticket's process until it or the connection ends.
func (s *Server) exec(ctx context.Context, cancel context.CancelFunc, c *session.Conn, t Ticket) {
	input, feed := io.Pipe()
	defer input.Close()
	p := t.Process
	p.Stdin, p.Stdout, p.Stderr = input, c.Writer(session.Output), c.Writer(session.Errors)
	process, err := s.execer.Exec(ctx, t.Instance, p)
	if err != nil {
		fail(c, err)
		return
	}
	go func() {
		defer cancel() // the client is gone: so is the process
		receive(ctx, c, process, feed)
	}()
	code, err := process.Wait()
	input.Close() // what is still to be read is nobody's
	if err == nil {
		err = c.SendExit(code)
	} else {
		err = c.SendFailure(err)
	}
	if err != nil {
		return // the client is gone
	}
	select { // receive goes on reading, see linger
	case <-ctx.Done():
	case <-time.After(lingerLimit):
	}
}

// receive feeds a process from a session until the connection ends.
func receive(ctx context.Context, c *session.Conn, process Process, feed *io.PipeWriter) {
	defer feed.Close()
	for {
		kind, payload, err := c.Receive()
		if err != nil {
			return
		}
		switch kind {
		case session.Input:
			if len(payload) == 0 {
				feed.Close()
				continue
			}
			_, _ = feed.Write(payload) // a process that reads no more gets no more
		case session.Resize:
			if width, height, err := session.Size(payload); err == nil && width > 0 && height > 0 {
				_ = process.Resize(ctx, width, height) // it may have ended
			}
		default:
			return // not a client
		}
	}
}

// fail tells the client why its session ends.
func fail(c *session.Conn, err error) {
	if c.SendFailure(err) == nil {
		linger(c)
	}
}

// linger reads until the client closes the connection: closing it with input unread would take the last frame back.
func linger(c *session.Conn) {
	defer time.AfterFunc(lingerLimit, func() { c.Close() }).Stop()
	for {
		if _, _, err := c.Receive(); err != nil {
			return
		}
	}
}
