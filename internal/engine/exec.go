package engine

import (
	"context"
	"io"

	"github.com/funade/funade/internal/app"
)

// Execer starts further processes inside running instances.
type Execer interface {
	// Exec starts a process with the rights and the environment of the instance's own. It is killed, with all that it
	// started, when ctx ends. Errors are *app.Error: KindInvalidState = the instance does not run, KindInvalidRequest =
	// the command or the user does not exist there.
	Exec(ctx context.Context, id app.InstanceID, e Exec) (Process, error)
}

// Exec is a process to start.
type Exec struct {
	// Args are the command and its arguments, at least one.
	Args []string
	// Env is NAME=value, on top of the instance's environment.
	Env []string
	// User is a name or a number, with or without :group; "" = the image's user.
	User string
	// Terminal: it has a terminal of Width by Height characters, and Stderr gets nothing.
	Terminal      bool
	Width, Height int
	// Stdin is read until it ends, Stdout and Stderr are written to until the process has ended. All are set; a Stdin
	// that ends without a terminal ends the process's standard input.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Process is a process that Exec started.
type Process interface {
	// Resize tells the terminal's new size.
	Resize(ctx context.Context, width, height int) error
	// Wait returns the exit code once the process has ended and all that it wrote has been passed on; 128 and the
	// signal's number when it was killed. It is called once.
	Wait() (exitCode int, err error)
}
