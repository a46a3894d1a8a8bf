package converge

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	rules     vpc.InstallRules
	// slots is the number of indexes that the install's managed range holds.
	slots int
	// uidBase returns the first host uid of an account's user namespaces; 0 = none.
	uidBase func(app.AccountID) uint32
	next    int
	poke    Poke
	ready   Poke

	mu          sync.Mutex
	attachments map[app.InterfaceID]vpc.Attachment
}

// NewNetwork returns the converger; Run does its work. ready is set whenever an attachment has been made.
func NewNetwork(s *store.Store, d vpc.Dataplane, rules vpc.InstallRules, slots int, uidBase func(app.AccountID) uint32, ready Poke) *Network {
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
	found, err := c.look(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, c.detach(ctx, found)) // first: it frees slots
	wanted, err := c.allocate(ctx)
	errs = append(errs, err)
	for _, s := range wanted {
		errs = append(errs, c.attach(ctx, s))
	}
	return errors.Join(errs...)
}

// look returns what is in the kernel and forgets the attachments that no longer are.
func (c *Network) look(ctx context.Context) (map[app.InterfaceID]bool, error) {
	list, err := c.dataplane.List(ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[app.InterfaceID]bool, len(list))
	for _, a := range list {
		found[a.ID] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.attachments, func(id app.InterfaceID, _ vpc.Attachment) bool { return !found[id] })
	return found, nil
}

// noSlot is the Index of an interface that waits for a slot.
const noSlot = -1

type slotted struct {
	app.Interface
	status app.InterfaceStatus
}

// allocate gives every interface a slot and returns those that have one. The error is of those that got none.
func (c *Network) allocate(ctx context.Context) ([]slotted, error) {
	var all []slotted
	missing := false
	collect := func(tx *store.Tx) {
		all, missing = nil, false
		for i := range store.Interfaces.All(tx) {
			status, ok := store.InterfaceStatuses.Get(tx, i.ID)
			if !ok || status.Index == noSlot {
				missing = true
				continue
			}
			all = append(all, slotted{i, status})
		}
	}
	err := c.store.View(ctx, func(tx *store.Tx) error { collect(tx); return nil })
	if err != nil || !missing {
		return all, err
	}
	full := app.Errorf(app.KindUnavailable, "", "all %d addresses of this install's managed range are in use", c.slots)
	err = c.store.Update(ctx, func(tx *store.Tx) error {
		used := map[int]bool{}
		for s := range store.InterfaceStatuses.All(tx) {
			used[s.Index] = true
		}
		for i := range store.Interfaces.All(tx) {
			old, ok := store.InterfaceStatuses.Get(tx, i.ID)
			if ok && old.Index != noSlot {
				continue
			}
			index, free := c.free(used)
			switch {
			case free:
				used[index] = true
				store.Observed.InterfaceStatuses.Put(tx, app.InterfaceStatus{ID: i.ID, Index: index})
			case !ok:
				store.Observed.InterfaceStatuses.Put(tx, app.InterfaceStatus{ID: i.ID, Index: noSlot, Error: full.Message})
			}
		}
		collect(tx)
		return nil
	})
	if err == nil && missing {
		err = full
	}
	return all, err
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
func (c *Network) detach(ctx context.Context, candidates map[app.InterfaceID]bool) error {
	err := c.store.View(ctx, func(tx *store.Tx) error {
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
