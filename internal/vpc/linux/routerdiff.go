package linux

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// change is one transaction that turns what a router's table holds into something else. Its order lets every reference
// exist while it is used: sets, chains, elements out, elements in, rules, chains out, sets out.
type change struct {
	newSets, goneSets     []*set
	newChains, goneChains []*chain
	refill                []*chain // new ones and those with other rules
	out, in               map[string][]nftables.SetElement
}

// compare finds what must change between two renderings; objects with equal pointers are equal.
func compare(old, wanted *rendered) *change {
	c := &change{out: map[string][]nftables.SetElement{}, in: map[string][]nftables.SetElement{}}
	for name, s := range wanted.sets {
		switch have := old.sets[name]; {
		case have == nil:
			c.newSets = append(c.newSets, s)
			c.put(c.in, name, s.elements)
		case have != s:
			c.put(c.out, name, difference(have.elements, s.elements))
			c.put(c.in, name, difference(s.elements, have.elements))
		}
	}
	for name, s := range old.sets {
		if wanted.sets[name] == nil {
			c.goneSets = append(c.goneSets, s)
		}
	}
	for name, ch := range wanted.chains {
		have := old.chains[name]
		if have == nil {
			c.newChains = append(c.newChains, ch)
		}
		if have != ch {
			c.refill = append(c.refill, ch)
		}
	}
	for name, ch := range old.chains {
		if wanted.chains[name] == nil {
			c.goneChains = append(c.goneChains, ch)
		}
	}
	c.comparePorts(old, wanted)
	return c
}

func (c *change) comparePorts(old, wanted *rendered) {
	none := &portPart{}
	for id, p := range wanted.ports {
		have := old.ports[id]
		if have == p {
			continue
		}
		if have == nil {
			have = none
		}
		c.exchange(have.entries, p.entries, wanted)
	}
	for id, p := range old.ports {
		if wanted.ports[id] == nil {
			c.exchange(p.entries, nil, wanted)
		}
	}
}

// exchange replaces entries by others; those of sets that go need no removal.
func (c *change) exchange(have, want []entry, wanted *rendered) {
	type key struct {
		set string
		elementKey
	}
	keys := func(list []entry) map[key]bool {
		out := make(map[key]bool, len(list))
		for _, e := range list {
			out[key{e.set, keyOf(e.element)}] = true
		}
		return out
	}
	stay, old := keys(want), keys(have)
	for _, e := range have {
		if !stay[key{e.set, keyOf(e.element)}] && wanted.sets[e.set] != nil {
			c.out[e.set] = append(c.out[e.set], e.element)
		}
	}
	for _, e := range want {
		if !old[key{e.set, keyOf(e.element)}] {
			c.in[e.set] = append(c.in[e.set], e.element)
		}
	}
}

func (c *change) put(to map[string][]nftables.SetElement, name string, list []nftables.SetElement) {
	if len(list) > 0 {
		to[name] = append(to[name], list...)
	}
}

func (c *change) empty() bool {
	return len(c.newSets)+len(c.goneSets)+len(c.refill)+len(c.goneChains)+len(c.out)+len(c.in) == 0
}

// takes reports whether something that was allowed may no longer be.
func (c *change) takes() bool {
	return len(c.out)+len(c.goneSets)+len(c.goneChains) > 0 || len(c.refill) > len(c.newChains)
}

// send applies the change; with replace it first removes whatever table stands, in the same transaction.
func (c *change) send(conn *nftables.Conn, wanted *rendered, replace bool) error {
	ref := table{name: mgmtTable}.ref()
	if replace {
		conn.AddTable(ref) // so that deleting succeeds
		conn.DelTable(ref)
		conn.AddTable(ref)
	}
	refs := map[string]*nftables.Set{}
	for i, s := range c.newSets {
		refs[s.name] = s.ref(ref)
		refs[s.name].ID = uint32(i + 1) // of this transaction, as in applyTable
		if err := conn.AddSet(refs[s.name], nil); err != nil {
			return fmt.Errorf("cannot encode set %s: %w", s.name, err)
		}
	}
	for _, ch := range c.newChains {
		conn.AddChain(ch.object(ref))
	}
	for _, name := range slices.Sorted(maps.Keys(c.out)) {
		for part := range slices.Chunk(c.out[name], elementChunk) {
			if err := conn.SetDeleteElements(wanted.sets[name].ref(ref), part); err != nil {
				return fmt.Errorf("cannot encode elements of set %s: %w", name, err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.in)) {
		s := refs[name]
		if s == nil {
			s = wanted.sets[name].ref(ref)
		}
		if err := addElements(conn, s, c.in[name]); err != nil {
			return err
		}
	}
	if err := c.sendRules(conn, ref); err != nil {
		return err
	}
	for _, s := range c.goneSets {
		conn.DelSet(s.ref(ref))
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("cannot change nftables table %s: %w", mgmtTable, err)
	}
	return nil
}

func (c *change) sendRules(conn *nftables.Conn, ref *nftables.Table) error {
	for _, ch := range c.refill {
		at := ch.object(ref)
		if !slices.Contains(c.newChains, ch) {
			conn.FlushChain(at)
		}
		for _, r := range ch.rules {
			label, err := r.label()
			if err != nil {
				return err
			}
			conn.AddRule(&nftables.Rule{Table: ref, Chain: at, Exprs: r.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, label)})
		}
	}
	for _, ch := range c.goneChains { // first what they refer to, as one may refer to another
		conn.FlushChain(ch.object(ref))
	}
	for _, ch := range c.goneChains {
		conn.DelChain(ch.object(ref))
	}
	return nil
}

// object is the chain for the kernel, with a hook or without.
func (c chain) object(t *nftables.Table) *nftables.Chain {
	if c.hook == nil {
		return &nftables.Chain{Table: t, Name: c.name}
	}
	return c.ref(t)
}

// generation returns the number that every change of any table of a network namespace raises by one.
func generation(ns *os.File) (id uint32, err error) {
	err = inNamespace(ns, func() error {
		req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0)
		req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC})
		answers, err := req.Execute(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN)
		if err != nil {
			return fmt.Errorf("cannot read the rules' generation: %w", err)
		}
		for _, b := range answers {
			if attrs, err := nl.ParseRouteAttr(b[nl.SizeofNfgenmsg:]); err == nil {
				for _, a := range attrs {
					if a.Attr.Type == unix.NFTA_GEN_ID {
						id = binary.BigEndian.Uint32(a.Value)
						return nil
					}
				}
			}
		}
		return fmt.Errorf("cannot read the rules' generation: the kernel gave none")
	})
	return id, err
}
