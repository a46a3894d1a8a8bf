package converge

import (
	"context"
	"sync"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/vpc"
)

// plane writes down what the network converger asks of the data plane, and refuses what a test says.
type plane struct {
	vpc.Dataplane

	mu    sync.Mutex
	calls []string
	last  map[app.InterfaceID]vpc.Interface
	// held is what was programmed last; early are interfaces that were attached before their rules.
	held  *vpc.Ruleset
	early map[app.InterfaceID]bool
	// fail returns the error of a call, told by its first word; nil = none.
	fail func(verb string) error
}

func (p *plane) note(verb, what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, verb+what)
	if p.fail != nil {
		return p.fail(verb)
	}
	return nil
}

// took returns the calls since the last look.
func (p *plane) took() (calls []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls, p.calls = p.calls, nil
	return calls
}

// refuse makes the calls of a kind fail; nil = none any more.
func (p *plane) refuse(fail func(verb string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

func (p *plane) asked(id app.InterfaceID) vpc.Interface {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[id]
}

func (p *plane) Attach(ctx context.Context, i vpc.Interface) (vpc.Attachment, error) {
	if err := p.note("attach", " "+string(i.ID)); err != nil {
		return vpc.Attachment{}, err
	}
	a, err := p.Dataplane.Attach(ctx, i)
	if err != nil {
		return a, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last, p.early = map[app.InterfaceID]vpc.Interface{}, map[app.InterfaceID]bool{}
	}
	p.last[i.ID] = i
	for _, e := range i.ENIs {
		if p.held == nil || p.held.Networks[e.VPC] == nil || p.held.Networks[e.VPC].Ports[e.ID] == nil {
			p.early[i.ID] = true
		}
	}
	return a, nil
}

func (p *plane) Detach(ctx context.Context, id app.InterfaceID) error {
	if err := p.note("detach", " "+string(id)); err != nil {
		return err
	}
	return p.Dataplane.Detach(ctx, id)
}

func (p *plane) Program(ctx context.Context, r *vpc.Ruleset) error {
	if err := p.note("program", ""); err != nil {
		return err
	}
	p.mu.Lock()
	p.held = r
	p.mu.Unlock()
	return p.Dataplane.Program(ctx, r)
}

func (p *plane) Apply(ctx context.Context, r vpc.InstallRules) error {
	if err := p.note("apply", ""); err != nil {
		return err
	}
	return p.Dataplane.Apply(ctx, r)
}

func (p *plane) List(ctx context.Context) ([]vpc.Attachment, error) {
	if err := p.note("list", ""); err != nil {
		return nil, err
	}
	return p.Dataplane.List(ctx)
}
