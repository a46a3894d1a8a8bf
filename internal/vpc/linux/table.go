package linux

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	mdlayher "github.com/mdlayher/netlink"
)

// table is the whole desired content of one nftables table of ours.
type table struct {
	name   string // family ip
	sets   []set
	chains []chain
}

type set struct {
	name     string
	key      nftables.SetDatatype
	value    nftables.SetDatatype // of a map; else the zero value
	interval bool
	// dynamic sets are filled by packets; their elements are not compared.
	dynamic  bool
	elements []nftables.SetElement
}

type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority nftables.ChainPriority
	policy   nftables.ChainPolicy
	rules    []rule
}

type rule struct {
	comment string
	exprs   []expr.Any
}

const (
	elementChunk = 400      // one attribute holds less than 64 KiB of elements
	socketBuffer = 16 << 20 // bytes, for big batches and their answers; the kernel takes what it allows
)

func newConn() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *mdlayher.Conn) error {
		return errors.Join(c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer))
	}))
	if err != nil {
		return nil, fmt.Errorf("cannot open nftables socket: %w", err)
	}
	return c, nil
}

// label is the comment of the rule in the kernel. It ends with a digest of the rule's expressions,
// so that an older build's rule is recognised as another one.
func (r rule) label() (string, error) {
	h := fnv.New64a()
	for _, e := range r.exprs {
		b, err := expr.Marshal(byte(nftables.TableFamilyIPv4), e)
		if err != nil {
			return "", fmt.Errorf("cannot encode rule %q: %w", r.comment, err)
		}
		h.Write(b)
	}
	return fmt.Sprintf("%s #%016x", r.comment, h.Sum64()), nil
}

func (t table) ref() *nftables.Table {
	return &nftables.Table{Name: t.name, Family: nftables.TableFamilyIPv4}
}

func (s set) ref(t *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: s.name, KeyType: s.key, Interval: s.interval, Dynamic: s.dynamic,
		IsMap: s.value.Name != "", DataType: s.value,
		Concatenation: strings.Contains(s.key.Name, " . "), Size: s.size(),
	}
}

func (s set) size() uint32 {
	if s.dynamic {
		return 1 << 16
	}
	return 0
}

func (c chain) ref(t *nftables.Table) *nftables.Chain {
	priority, policy := c.priority, c.policy
	return &nftables.Chain{Table: t, Name: c.name, Type: c.kind, Hooknum: c.hook, Priority: &priority, Policy: &policy}
}

// applyTable makes the kernel's table equal to t and changes nothing that is equal already: sets by their differences,
// anything else by replacing the table in one transaction, so that no packet meets half a table.
func applyTable(c *nftables.Conn, t table) (changed bool, err error) {
	same, err := sameRules(c, t)
	if err != nil {
		return false, err
	}
	if same {
		return diffSets(c, t)
	}
	ref := t.ref()
	c.AddTable(ref) // so that deleting succeeds
	c.DelTable(ref)
	c.AddTable(ref)
	for i, s := range t.sets {
		r := s.ref(ref)
		r.ID = uint32(i + 1) // of this transaction; the library's own numbers are not safe for concurrent use
		if err := c.AddSet(r, nil); err != nil {
			return false, fmt.Errorf("cannot encode set %s: %w", s.name, err)
		}
		if err := addElements(c, r, s.elements); err != nil {
			return false, err
		}
	}
	for _, ch := range t.chains {
		chainRef := c.AddChain(ch.ref(ref))
		for _, r := range ch.rules {
			label, err := r.label()
			if err != nil {
				return false, err
			}
			c.AddRule(&nftables.Rule{Table: ref, Chain: chainRef, Exprs: r.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, label)})
		}
	}
	if err := c.Flush(); err != nil {
		return false, fmt.Errorf("cannot replace nftables table %s: %w", t.name, err)
	}
	return true, nil
}

func addElements(c *nftables.Conn, s *nftables.Set, elements []nftables.SetElement) error {
	for part := range slices.Chunk(elements, elementChunk) {
		if err := c.SetAddElements(s, part); err != nil {
			return fmt.Errorf("cannot encode elements of set %s: %w", s.Name, err)
		}
	}
	return nil
}

// sameRules reports whether the kernel holds exactly t's chains, rules and sets, whatever the sets contain.
func sameRules(c *nftables.Conn, t table) (bool, error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("cannot list nftables tables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(k *nftables.Table) bool { return k.Name == t.name }) {
		return false, nil
	}
	sets, err := c.GetSets(t.ref())
	if err != nil {
		return false, fmt.Errorf("cannot list sets of table %s: %w", t.name, err)
	}
	if len(sets) != len(t.sets) {
		return false, nil
	}
	for _, want := range t.sets {
		if !slices.ContainsFunc(sets, func(k *nftables.Set) bool { return k.Name == want.name && k.Interval == want.interval }) {
			return false, nil
		}
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return false, fmt.Errorf("cannot list nftables chains: %w", err)
	}
	chains = slices.DeleteFunc(chains, func(k *nftables.Chain) bool { return k.Table.Name != t.name })
	if len(chains) != len(t.chains) {
		return false, nil
	}
	for _, want := range t.chains {
		i := slices.IndexFunc(chains, func(k *nftables.Chain) bool { return k.Name == want.name })
		if i < 0 || !sameHook(chains[i], want) {
			return false, nil
		}
		if same, err := sameChain(c, t, want); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

func sameHook(k *nftables.Chain, want chain) bool {
	return k.Hooknum != nil && *k.Hooknum == *want.hook && k.Priority != nil && *k.Priority == want.priority &&
		k.Policy != nil && *k.Policy == want.policy && k.Type == want.kind
}

func sameChain(c *nftables.Conn, t table, want chain) (bool, error) {
	rules, err := c.GetRules(t.ref(), want.ref(t.ref()))
	if err != nil {
		return false, fmt.Errorf("cannot list rules of chain %s: %w", want.name, err)
	}
	if len(rules) != len(want.rules) {
		return false, nil
	}
	for i, r := range want.rules {
		label, err := r.label()
		if err != nil {
			return false, err
		}
		if got, _ := userdata.GetString(rules[i].UserData, userdata.TypeComment); got != label {
			return false, nil
		}
	}
	return true, nil
}

// diffSets changes the elements that differ, all sets in one transaction. An interval set of one field that differs is
// refilled instead; those sets hold a handful of ranges.
func diffSets(c *nftables.Conn, t table) (bool, error) {
	changed := false
	for _, s := range t.sets {
		if s.dynamic {
			continue
		}
		ref := s.ref(t.ref())
		have, err := c.GetSetElements(ref)
		if err != nil {
			return false, fmt.Errorf("cannot list elements of set %s: %w", s.name, err)
		}
		gone, missing := difference(have, s.elements), difference(s.elements, have)
		if len(gone)+len(missing) == 0 {
			continue
		}
		changed = true
		if s.interval && !ref.Concatenation { // two elements of such a set are one range
			c.FlushSet(ref)
			missing, gone = s.elements, nil
		}
		for part := range slices.Chunk(gone, elementChunk) {
			if err := c.SetDeleteElements(ref, part); err != nil {
				return false, fmt.Errorf("cannot encode elements of set %s: %w", s.name, err)
			}
		}
		if err := addElements(c, ref, missing); err != nil {
			return false, err
		}
	}
	if !changed {
		return false, nil
	}
	if err := c.Flush(); err != nil {
		return false, fmt.Errorf("cannot change sets of table %s: %w", t.name, err)
	}
	return true, nil
}

// difference returns the elements of a that b lacks.
func difference(a, b []nftables.SetElement) []nftables.SetElement {
	in := make(map[elementKey]bool, len(b))
	for _, e := range b {
		in[keyOf(e)] = true
	}
	var out []nftables.SetElement
	for _, e := range a {
		if !in[keyOf(e)] {
			out = append(out, nftables.SetElement{Key: e.Key, KeyEnd: e.KeyEnd, Val: e.Val, VerdictData: e.VerdictData, IntervalEnd: e.IntervalEnd})
		}
	}
	slices.SortFunc(out, func(x, y nftables.SetElement) int {
		return cmp.Or(bytes.Compare(x.Key, y.Key), cmp.Compare(btoi(x.IntervalEnd), btoi(y.IntervalEnd)))
	})
	return out
}

// elementKey is what makes two elements the same one.
type elementKey struct {
	first, last, value string
	end                bool
}

func keyOf(e nftables.SetElement) elementKey {
	k := elementKey{string(e.Key), string(e.KeyEnd), string(e.Val), e.IntervalEnd}
	if e.VerdictData != nil {
		k.value = e.VerdictData.Chain
	}
	return k
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// deleteTable removes a table of ours; a missing one is fine.
func deleteTable(c *nftables.Conn, name string) error {
	ref := table{name: name}.ref()
	c.AddTable(ref)
	c.DelTable(ref)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("cannot delete nftables table %s: %w", name, err)
	}
	return nil
}
