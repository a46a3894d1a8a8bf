package fake

import (
	"context"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/engine"
)

var _ engine.Execer = (*Engine)(nil)

// Exec runs the instance's script for further processes, see engine.Execer.
func (e *Engine) Exec(ctx context.Context, id app.InstanceID, x engine.Exec) (engine.Process, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := e.instances[id]
	if i != nil {
		e.settle(i)
	}
	switch {
	case i == nil || i.status.State != engine.StateRunning:
		return nil, app.Errorf(app.KindInvalidState, string(id), "instance %s does not run; wait until it does", id)
	case len(x.Args) == 0 || x.Args[0] == "":
		return nil, app.Errorf(app.KindInvalidRequest, string(id), "there is no command to execute; name one, for example sh")
	case i.behaviour.Exec == nil:
		return nil, app.Errorf(app.KindInvalidRequest, string(id), "the command %q does not exist in the instance; name one that its image has", x.Args[0])
	}
	p := &process{done: make(chan struct{}), code: 137}
	main, ended := i.behaviour.Exec, make(chan int, 1)
	go func() { ended <- main(ctx, x) }()
	go func() {
		defer close(p.done)
		select {
		case p.code = <-ended:
		case <-ctx.Done(): // killed
		}
	}()
	return p, nil
}

// process implements engine.Process.
type process struct {
	done chan struct{}
	code int
}

// Resize implements engine.Process; scripts see no terminal.
func (p *process) Resize(context.Context, int, int) error { return nil }

// Wait implements engine.Process.
func (p *process) Wait() (int, error) {
	<-p.done
	return p.code, nil
}
