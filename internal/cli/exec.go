package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/funade/funade/internal/aws/api/funade"
	protocol "github.com/funade/funade/internal/session"
)

type execCmd struct {
	serverFlags
	Terminal *bool    `name:"tty" short:"t" negatable:"" help:"Give the command a terminal; default: when standard input is one."`
	User     string   `short:"u" help:"Run as this user; default: the image's." placeholder:"USER[:GROUP]"`
	Instance string   `help:"One of the service's instances; default: any that serves." placeholder:"ID"`
	Target   string   `arg:"" help:"Name or ARN of a service, or an instance i-…."`
	Command  []string `arg:"" passthrough:"" help:"The command and its arguments, after --."`
}

// errKilled: the user interrupted the program, which ends the session.
var errKilled = &exitError{exitInterrupted, errors.New("interrupted; the command was killed")}

// Run runs the command inside the target; its exit code becomes the program's.
func (c *execCmd) Run(s *session) error {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return usagef("there is no command; give one after --, for example: funade exec %s -- sh", c.Target)
	}
	cl, err := c.connect(s)
	if err != nil {
		return err
	}
	in := &funade.CreateSessionInput{Target: &c.Target, Kind: funade.SessionKindExec, Command: command}
	if c.User != "" {
		in.User = &c.User
	}
	if c.Instance != "" {
		in.InstanceId = &c.Instance
	}
	tty := c.terminal(s, in)
	conn, err := cl.openSession(s.ctx, in)
	if s.ctx.Err() != nil {
		return errKilled
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if tty != nil {
		restore, err := rawMode(tty)
		if err != nil {
			return err
		}
		defer restore()
		defer followSize(tty, conn)()
	}
	code, err := attach(s, conn)
	if err != nil {
		return err
	}
	if code != 0 {
		return &exitError{code, nil}
	}
	return nil
}

// terminal asks for a terminal if one is wanted, and returns our own, nil when there is none to be taken over.
func (c *execCmd) terminal(s *session, in *funade.CreateSessionInput) *os.File {
	own := terminalOf(s.Stdin)
	wanted := own != nil
	if c.Terminal != nil {
		wanted = *c.Terminal
	}
	if !wanted {
		return nil
	}
	in.Terminal, in.TerminalType = aws.Bool(true), aws.String(os.Getenv("TERM"))
	if own != nil {
		if width, height := terminalSize(own); width > 0 && height > 0 {
			in.Width, in.Height = aws.Int32(int32(width)), aws.Int32(int32(height))
		}
	}
	return own
}

// openSession gets a token and opens the session with it.
func (c *clients) openSession(ctx context.Context, in *funade.CreateSessionInput) (*protocol.Conn, error) {
	out, err := c.funade.CreateSession(ctx, in)
	if err != nil {
		return nil, err
	}
	transport, ok := c.http.Transport.(*http.Transport)
	if !ok {
		return nil, errors.New("cannot open session: the HTTP client cannot upgrade connections")
	}
	return protocol.Dial(ctx, transport, c.endpoint+aws.ToString(out.Path), aws.ToString(out.Token))
}

// followSize tells the session the terminal's size whenever it changes.
func followSize(tty *os.File, conn *protocol.Conn) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for range changed {
			if width, height := terminalSize(tty); width > 0 && height > 0 {
				_ = conn.SendResize(width, height) // a session that has ended needs no size
			}
		}
	}()
	return func() { signal.Stop(changed); close(changed) }
}

// attach connects a session to the program's own streams until the command ends.
func attach(s *session, conn *protocol.Conn) (code int, err error) {
	go func() {
		// The command may end without having read everything.
		if _, err := io.Copy(conn.Writer(protocol.Input), s.Stdin); err == nil {
			_ = conn.End(protocol.Input)
		}
	}()
	for {
		kind, payload, err := conn.Receive()
		if err != nil {
			if s.ctx.Err() != nil {
				return 0, errKilled
			}
			return 0, fmt.Errorf("the session was lost: %w", err)
		}
		switch kind {
		case protocol.Output:
			_, err = s.Stdout.Write(payload)
		case protocol.Errors:
			_, err = s.Stderr.Write(payload)
		case protocol.Exit:
			return protocol.ExitCode(payload)
		case protocol.Failure:
			return 0, errors.New(string(payload))
		}
		if err != nil {
			return 0, fmt.Errorf("cannot print what the command wrote: %w", err)
		}
	}
}
