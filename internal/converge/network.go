package converge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/backoff"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

// attachesAtOnce bounds how many interfaces are put into the kernel at the same time.
const attachesAtOnce = 4

// vpcTables are the tables that packets inside VPCs depend on.
var vpcTables = []string{
	store.VPCs.Name(), store.Subnets.Name(), store.RouteTables.Name(), store.InternetGateways.Name(), store.NATGateways.Name(),
	store.ElasticIPs.Name(), store.NetworkACLs.Name(), store.SecurityGroups.Name(), store.SecurityGroupRules.Name(),
	store.PrefixLists.Name(), store.NetworkInterfaces.Name(), store.DHCPOptionSets.Name(), store.Endpoints.Name(),
	store.LANs.Name(), store.FlowLogs.Name(),
}

// Network programs VPCs, puts interfaces into the kernel, gives out the host-local numbers and takes away what no row
// claims. It is two loops: one acts on changed rows at once, doing no more than they ask for; the other verifies every few
// seconds, and after errors, that the kernel is as it was left.
type Network struct {
	store     *store.Store
	dataplane vpc.Dataplane
	rules     vpc.InstallRules
	// slots is the number of indexes that the install's managed range holds.
	slots int
	// uidBase returns the first host uid of an account's user namespaces; 0 = none.
	uidBase func(app.AccountID) uint32
	next    int
	// poke starts a pass, doubt a verification; ready is set whenever an attachment has been made.
	poke, doubt, ready Poke
	attaching          chan struct{}
	background         sync.WaitGroup

	// These belong to the loop that acts. rows fires when a row of vpcTables changes; stale says that the data plane has not
	// taken over the rows as they are. ruleset is what it was last given, refusal why it could not take over all of that.
	rows     <-chan struct{}
	stale    bool
	compiler *vpc.Compiler
	ruleset  *vpc.Ruleset
	refusal  string

	mu          sync.Mutex
	attachments map[app.InterfaceID]*attached
	busy        map[app.InterfaceID]bool
	retry       map[app.InterfaceID]attempt
	// unsettled: an attachment may have to change that could not be changed at once.
	unsettled bool
}

// attached is an interface in the kernel and what was asked for when it was attached.
type attached struct {
	vpc.Attachment
	asked vpc.Interface
}

// NewNetwork returns the converger; Run does its work. ready is set whenever an attachment has been made.
func NewNetwork(s *store.Store, d vpc.Dataplane, rules vpc.InstallRules, slots int, uidBase func(app.AccountID) uint32, ready Poke) *Network {
	return &Network{
		store: s, dataplane: d, rules: rules, slots: slots, uidBase: uidBase, poke: NewPoke(), doubt: NewPoke(), ready: ready,
		attaching: make(chan struct{}, attachesAtOnce), compiler: vpc.NewCompiler(),
		attachments: map[app.InterfaceID]*attached{}, busy: map[app.InterfaceID]bool{}, retry: map[app.InterfaceID]attempt{},
	}
}

// Run converges until ctx ends.
func (c *Network) Run(ctx context.Context) {
	verified := make(chan struct{})
	first := sync.OnceFunc(func() { close(verified) })
	c.background.Go(func() {
		defer first()
		Loop(ctx, "network verification", func() []<-chan struct{} { return []<-chan struct{}{c.doubt} }, 5*time.Second,
			func(ctx context.Context) error {
				defer first()
				return c.verify(ctx)
			})
	})
	<-verified // the install-wide rules come before any interface
	Loop(ctx, "network", c.wake, 5*time.Second, c.pass)
	c.background.Wait()
}

func (c *Network) wake() []<-chan struct{} {
	select {
	case <-c.rows:
		c.rows = nil
	default:
	}
	if c.rows == nil {
		c.rows, c.stale = c.store.Changed(vpcTables...), true
	}
	return []<-chan struct{}{c.rows, c.store.Changed(store.Interfaces.Name()), c.poke}
}

// Attachment returns where an instance's interface is, once it is in the kernel.
func (c *Network) Attachment(id app.InterfaceID) (vpc.Attachment, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.attachments[id]; a != nil {
		return a.Attachment, true
	}
	return vpc.Attachment{}, false
}

// pass makes the kernel follow the rows. Interfaces leave before the rules that name them, and come after them.
func (c *Network) pass(ctx context.Context) error {
	p, err := c.look(ctx)
	if err == nil && p.numberless {
		if err = c.allocate(ctx); err == nil {
			p, err = c.look(ctx)
		}
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	compare := p.snapshot != nil || c.unsettled
	c.unsettled = false
	c.mu.Unlock()
	errs := []error{c.detach(ctx, p.gone), c.program(ctx, p), c.attachAll(ctx, compare)}
	if p.numberless {
		errs = append(errs, errors.New("some interfaces or VPCs wait: all host-local numbers are in use"))
	}
	return errors.Join(errs...)
}

// picture is one snapshot of the rows, as far as there is something to do about them.
type picture struct {
	// numberless: an interface or a VPC has no host-local number.
	numberless bool
	// gone are interfaces, goneVPCs are VPCs, that have a number and no row.
	gone     []app.InterfaceID
	goneVPCs []app.VPCID
	// snapshot is nil when the data plane has taken over the VPCs as they are.
	snapshot *vpc.Snapshot
}

func (c *Network) look(ctx context.Context) (p picture, err error) {
	err = c.store.View(ctx, func(tx *store.Tx) error {
		numbered := 0
		for s := range store.InterfaceStatuses.All(tx) {
			if _, ok := store.Interfaces.Get(tx, s.ID); !ok {
				p.gone = append(p.gone, s.ID)
			} else if s.Index != noSlot {
				numbered++
			}
		}
		p.numberless = numbered < store.Interfaces.Len(tx)
		numbered = 0
		for s := range store.VPCStatuses.All(tx) {
			if _, ok := store.VPCs.Get(tx, s.ID); !ok {
				p.goneVPCs = append(p.goneVPCs, s.ID)
			} else if s.Slot != noSlot {
				numbered++
			}
		}
		p.numberless = p.numberless || numbered < store.VPCs.Len(tx)
		if c.stale {
			p.snapshot = new(snapshot(tx))
		}
		return nil
	})
	return p, err
}

// wanted is an interface that has to be attached, or attached differently.
type wanted struct {
	vpc.Interface
	status app.InterfaceStatus
	// homeless says why it cannot be in its VPC; "" = it can.
	homeless string
	// refusal is why some VPC could not be programmed; "" = all were.
	refusal string
}

// attachAll starts attaching what is not attached. compare: those that are may be wanted differently.
func (c *Network) attachAll(ctx context.Context, compare bool) error {
	c.mu.Lock()
	known := maps.Clone(c.attachments)
	c.mu.Unlock()
	var all []wanted
	err := c.store.View(ctx, func(tx *store.Tx) error {
		for i := range store.Interfaces.All(tx) {
			status, ok := store.InterfaceStatuses.Get(tx, i.ID)
			old := known[i.ID]
			settled := old != nil && status.Ready
			if !ok || status.Index == noSlot || settled && !compare {
				continue
			}
			w := wanted{status: status}
			w.Interface, w.homeless = desired(tx, i, status.Index, c.uidBase(i.Scope.Account))
			if !settled || !reflect.DeepEqual(w.Interface, old.asked) {
				all = append(all, w)
			}
		}
		return nil
	})
	for _, w := range all {
		c.attach(ctx, w)
	}
	return err
}

// program lets the data plane take over the VPCs. One that it refuses does not hold up the others.
func (c *Network) program(ctx context.Context, p picture) error {
	if p.snapshot != nil {
		c.ruleset, c.refusal = c.compiler.Compile(*p.snapshot), ""
		if err := c.dataplane.Program(ctx, c.ruleset); err != nil {
			c.refusal = err.Error()
			c.doubt.Set()
			return err
		}
		c.stale = false
	}
	if len(p.goneVPCs) == 0 || c.stale {
		return nil
	}
	// Their slots are free now: somebody may wait for one.
	c.rows = nil
	c.poke.Set()
	return c.store.Update(ctx, func(tx *store.Tx) error {
		for _, id := range p.goneVPCs {
			store.Observed.VPCStatuses.Delete(tx, id)
		}
		return nil
	})
}

// programmed reports whether the data plane was given the rules of everything that the interface has in VPCs.
func (c *Network) programmed(i vpc.Interface) bool {
	for _, e := range i.ENIs {
		if c.ruleset == nil || c.ruleset.Networks[e.VPC] == nil {
			return false
		}
		if port := c.ruleset.Networks[e.VPC].Ports[e.ID]; port == nil || !slices.Equal(port.Addresses, e.Addresses) {
			return false
		}
	}
	return true
}

// attach starts putting an interface into the kernel, unless its rules are not there yet, or that is under way, or has
// failed a moment ago; whatever ends that pokes.
func (c *Network) attach(ctx context.Context, w wanted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := time.Until(c.retry[w.ID].next)
	if c.busy[w.ID] || wait > 0 || w.homeless == "" && !c.programmed(w.Interface) {
		c.unsettled = true
		if wait > 0 {
			time.AfterFunc(wait, c.poke.Set)
		}
		return
	}
	c.busy[w.ID] = true
	if len(w.ENIs) > 0 {
		w.refusal = c.refusal
	}
	c.background.Go(func() {
		c.attaching <- struct{}{}
		defer func() { <-c.attaching }()
		err := c.attachNow(ctx, w)
		if err != nil && ctx.Err() == nil {
			slog.Warn("cannot attach interface", "interface", w.ID, "error", err)
			c.doubt.Set()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.busy, w.ID)
		if err == nil {
			delete(c.retry, w.ID)
		} else {
			failures := c.retry[w.ID].failures + 1
			c.retry[w.ID] = attempt{failures, time.Now().Add(backoff.Delay(failures, firstRetry, lastRetry))}
			c.unsettled = true
		}
		c.poke.Set() // the rows may have changed meanwhile
	})
}

func (c *Network) attachNow(ctx context.Context, w wanted) error {
	var a vpc.Attachment
	err := ctx.Err()
	if w.homeless != "" {
		err = errors.New(w.homeless)
	} else if err == nil {
		a, err = c.dataplane.Attach(ctx, w.Interface)
	}
	if err != nil && w.refusal != "" {
		err = fmt.Errorf("%w (%s)", err, w.refusal)
	}
	status := app.InterfaceStatus{ID: w.ID, Index: w.Index}
	if err != nil {
		status.Error = fmt.Sprintf("cannot attach the network interface: %v", err)
	} else {
		status.Ready, status.Address = true, a.Address.String()
		c.mu.Lock()
		c.attachments[w.ID] = &attached{a, w.Interface}
		c.mu.Unlock()
	}
	defer c.ready.Set()
	if status == w.status {
		return err
	}
	return errors.Join(err, c.store.Update(ctx, func(tx *store.Tx) error {
		if _, ok := store.Interfaces.Get(tx, w.ID); ok {
			store.Observed.InterfaceStatuses.Put(tx, status)
		}
		return nil
	}))
}

// detach removes interfaces that no row claims, and their numbers; control removes a row only after its instance is gone.
func (c *Network) detach(ctx context.Context, gone []app.InterfaceID) error {
	var errs []error
	var done []app.InterfaceID
	for _, id := range gone {
		c.mu.Lock()
		busy := c.busy[id]
		c.mu.Unlock()
		if busy {
			continue // the end of that work pokes
		}
		if err := c.dataplane.Detach(ctx, id); err != nil {
			errs = append(errs, err)
			continue
		}
		c.mu.Lock()
		delete(c.attachments, id)
		delete(c.retry, id)
		c.mu.Unlock()
		done = append(done, id)
	}
	if len(done) > 0 {
		errs = append(errs, c.store.Update(ctx, func(tx *store.Tx) error {
			for _, id := range done {
				store.Observed.InterfaceStatuses.Delete(tx, id)
			}
			return nil
		}))
		c.poke.Set() // somebody may wait for their numbers
	}
	return errors.Join(errs...)
}

// verify repairs the kernel, removes what no row claims and forgets what is no longer there, so that it is made again.
func (c *Network) verify(ctx context.Context) error {
	c.mu.Lock()
	known := maps.Clone(c.attachments)
	c.mu.Unlock()
	errs := []error{c.dataplane.Apply(ctx, c.rules)}
	list, err := c.dataplane.List(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	var unknown []app.InterfaceID
	err = c.store.View(ctx, func(tx *store.Tx) error { // after List: every attachment's row was there before it
		for _, a := range list {
			delete(known, a.ID)
			if _, ok := store.Interfaces.Get(tx, a.ID); !ok {
				unknown = append(unknown, a.ID)
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for id := range known {
		c.mu.Lock()
		delete(c.attachments, id)
		c.mu.Unlock()
		c.poke.Set()
	}
	return errors.Join(append(errs, c.detach(ctx, unknown))...)
}
