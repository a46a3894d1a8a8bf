package converge

import (
	"context"
	"fmt"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/store"
)

const (
	// noSlot is the number of what waits for one.
	noSlot = -1
	// vpcSlots is how many VPCs an install can hold: the address of each router's link follows from its slot.
	vpcSlots = 4096
)

// allocate gives a number to every interface and VPC that has none, as long as there are any.
func (c *Network) allocate(ctx context.Context) error {
	full := fmt.Sprintf("all %d addresses of this install's managed range are in use", c.slots)
	return c.store.Update(ctx, func(tx *store.Tx) error {
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
				store.Observed.InterfaceStatuses.Put(tx, app.InterfaceStatus{ID: i.ID, Index: noSlot, Error: full})
			}
		}
		allocateVPCs(tx)
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

// allocateVPCs gives each VPC the lowest free slot. A slot is free once the data plane holds nothing of its VPC.
func allocateVPCs(tx *store.Tx) {
	full := fmt.Sprintf("this install has %d VPCs, which is all that it can hold: delete one", vpcSlots)
	used := map[int]bool{}
	for s := range store.VPCStatuses.All(tx) {
		used[s.Slot] = true
	}
	slot := 0
	for v := range store.VPCs.All(tx) {
		old, ok := store.VPCStatuses.Get(tx, v.ID)
		if ok && old.Slot != noSlot {
			continue
		}
		for slot < vpcSlots && used[slot] {
			slot++
		}
		switch {
		case slot < vpcSlots:
			used[slot] = true
			store.Observed.VPCStatuses.Put(tx, app.VPCStatus{ID: v.ID, Slot: slot})
		case !ok:
			store.Observed.VPCStatuses.Put(tx, app.VPCStatus{ID: v.ID, Slot: noSlot, Error: full})
		}
	}
}
