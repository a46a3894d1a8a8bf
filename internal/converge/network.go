package converge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
	"github.com/funade/funade/internal/vpc"
)

// Network puts interfaces into the kernel, gives out the host-local numbers and takes away what no row claims.
type Network struct {
	store     *store.Store
	dataplane vpc.Dataplane
	rules     vpc.Ruleset
	// slots is the number of indexes that the install's managed range holds.
	slots int
	// uidBase returns the first host uid of an account's user namespaces; 0 = none.
	uidBase func(app.AccountID) uint32
	next  int
	poke  Poke
	ready Poke

	mu          sync.Mutex
	attachments map[app.InterfaceID]vpc.Attachment
}

// NewNetwork returns the converger; Run does its work. ready is set whenever an attachment has been made.
func NewNetwork(s *store.Store, d vpc.Dataplane, rules vpc.Ruleset, slots int, uidBase func(app.AccountID) uint32, ready Poke) *Network {
	return &Network{
		store: s, dataplane: d, rules: rules, slots: slots, uidBase: uidBase, poke: NewPoke(), ready: ready,
		attachments: map[app.InterfaceID]vpc.Attachment{},
	}
}

// Run converges until ctx ends.
func (c *Network) Run(ctx context.Context) {
	Loop(ctx, "network", func() []<-chan struct{} {
		return []<-chan struct{}{c.store.Changed(store.Interfaces.Name()), c.poke}
	}, 5*time.Second, c.pass)
}

// Attachment returns where an instance's interface is, once it is in the kernel.
func (c *Network) Attachment(id app.InterfaceID) (vpc.Attachment, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.attachments[id]
	return a, ok
}

func (c *Network) pass(ctx context.Context) error {
	errs := []error{c.dataplane.Apply(ctx, c.rules)}
	wanted, err := c.allocate(ctx)
	if err != nil {
		return err
	}
	for _, s := range wanted {
		errs = append(errs, c.attach(ctx, s))
	}
	errs = append(errs, c.detach(ctx))
	return errors.Join(errs...)
}

type slotted struct {
	app.Interface
	status app.InterfaceStatus
}

// allocate gives every interface a slot and returns them all.
func (c *Network) allocate(ctx context.Context) ([]slotted, error) {
	var all []slotted
	missing := false
	collect := func(tx *store.Tx) {
		all, missing = nil, false
		for i := range store.Interfaces.All(tx) {
			status, ok := store.InterfaceStatuses.Get(tx, i.ID)
			all = append(all, slotted{i, status})
			missing = missing || !ok
		}
	}
	err := c.store.View(ctx, func(tx *store.Tx) error { collect(tx); return nil })
	if err != nil || !missing {
		return all, err
	}
	return all, c.store.Update(ctx, func(tx *store.Tx) error {
		used := map[int]bool{}
		for s := range store.InterfaceStatuses.All(tx) {
			used[s.Index] = true
		}
		for i := range store.Interfaces.All(tx) {
			if _, ok := store.InterfaceStatuses.Get(tx, i.ID); ok {
				continue
			}
			index, ok := c.free(used)
			if !ok {
				return app.Errorf(app.KindUnavailable, string(i.ID), "all %d addresses of this install's managed range are in use", c.slots)
			}
			used[index] = true
			store.Observed.InterfaceStatuses.Put(tx, app.InterfaceStatus{ID: i.ID, Index: index})
		}
		collect(tx)
		return nil
	})
}

// free returns the next unused slot, going round so that a number is not used again at once.
func (c *Network) free(used map[int]bool) (int, bool) {
	for n := range c.slots {
		if i := (c.next + n) % c.slots; !used[i] {
			c.next = i + 1
			return i, true
		}
	}
	return 0, false
}

func (c *Network) attach(ctx context.Context, s slotted) error {
	if _, ok := c.Attachment(s.ID); ok && s.status.Ready {
		return nil
	}
	a, err := c.dataplane.Attach(ctx, vpc.Interface{
		ID: s.ID, Instance: s.Instance, Index: s.status.Index, UIDBase: c.uidBase(s.Scope.Account),
	})
	status := app.InterfaceStatus{ID: s.ID, Index: s.status.Index}
	if err != nil {
		status.Error = fmt.Sprintf("cannot attach the network interface: %v", err)
	} else {
		status.Ready, status.Address = true, a.Address.String()
		c.mu.Lock()
		c.attachments[s.ID] = a
		c.mu.Unlock()
	}
	if status == s.status {
		c.ready.Set()
		return err
	}
	write := c.store.Update(ctx, func(tx *store.Tx) error {
		if _, ok := store.Interfaces.Get(tx, s.ID); ok {
			store.Observed.InterfaceStatuses.Put(tx, status)
		}
		return nil
	})
	c.ready.Set()
	return errors.Join(err, write)
}

// detach removes attachments and statuses that no row claims; control removes an interface only after its instance is gone.
func (c *Network) detach(ctx context.Context) error {
	found, err := c.dataplane.List(ctx)
	if err != nil {
		return err
	}
	candidates := map[app.InterfaceID]bool{}
	for _, a := range found {
		candidates[a.ID] = true
	}
	err = c.store.View(ctx, func(tx *store.Tx) error {
		for s := range store.InterfaceStatuses.All(tx) {
			candidates[s.ID] = true
		}
		for i := range store.Interfaces.All(tx) {
			delete(candidates, i.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var errs []error
	for id := range candidates {
		if err := c.dataplane.Detach(ctx, id); err != nil {
			errs = append(errs, err)
			continue
		}
		c.mu.Lock()
		delete(c.attachments, id)
		c.mu.Unlock()
		errs = append(errs, c.store.Update(ctx, func(tx *store.Tx) error {
			store.Observed.InterfaceStatuses.Delete(tx, id)
			return nil
		}))
	}
	return errors.Join(errs...)
}
