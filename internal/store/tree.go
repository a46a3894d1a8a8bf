package store

import (
	"hash/maphash"
	"slices"
	"strings"
)

// A tree is an immutable ordered map from string to a row: a treap whose priorities are hashes of the keys,
// so that its shape does not depend on the order of insertion. nil is the empty tree.
type tree struct {
	key         string
	priority    uint64
	row         any
	left, right *tree
}

var treeSeed = maphash.MakeSeed()

func (t *tree) get(key string) (any, bool) {
	for t != nil {
		switch {
		case key == t.key:
			return t.row, true
		case key < t.key:
			t = t.left
		default:
			t = t.right
		}
	}
	return nil, false
}

// with returns a tree in which key maps to row.
func (t *tree) with(key string, row any) *tree {
	if t == nil {
		return &tree{key: key, priority: maphash.String(treeSeed, key), row: row}
	}
	c := *t
	switch {
	case key == t.key:
		c.row = row
	case key < t.key:
		l := t.left.with(key, row) // always a fresh node
		if l.priority > c.priority {
			c.left, l.right = l.right, &c
			return l
		}
		c.left = l
	default:
		r := t.right.with(key, row)
		if r.priority > c.priority {
			c.right, r.left = r.left, &c
			return r
		}
		c.right = r
	}
	return &c
}

// without returns a tree that lacks key.
func (t *tree) without(key string) *tree {
	if t == nil {
		return nil
	}
	if key == t.key {
		return merge(t.left, t.right)
	}
	c := *t
	if key < t.key {
		c.left = t.left.without(key)
	} else {
		c.right = t.right.without(key)
	}
	return &c
}

// merge joins two trees, every key of l being less than every key of r.
func merge(l, r *tree) *tree {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	case l.priority > r.priority:
		c := *l
		c.right = merge(l.right, r)
		return &c
	default:
		c := *r
		c.left = merge(l, r.left)
		return &c
	}
}

// ascend calls yield for every key >= from, in order, until it returns false.
func (t *tree) ascend(from string, yield func(key string, row any) bool) bool {
	if t == nil {
		return true
	}
	if t.key >= from {
		if !t.left.ascend(from, yield) || !yield(t.key, t.row) {
			return false
		}
	}
	return t.right.ascend(from, yield)
}

// count returns how many keys >= from have the prefix.
func (t *tree) count(from, prefix string) (n int) {
	t.ascend(from, func(key string, _ any) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		n++
		return true
	})
	return n
}

// last returns the row with the greatest key.
func (t *tree) last() (any, bool) {
	if t == nil {
		return nil, false
	}
	for t.right != nil {
		t = t.right
	}
	return t.row, true
}

// entry is a key with its row.
type entry struct {
	key string
	row any
}

// build makes a tree of entries with different keys; it sorts them.
func build(entries []entry) *tree {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	// The right spine of the tree so far, root first; each new node takes over what has a lesser priority.
	var spine []*tree
	for _, e := range entries {
		n := &tree{key: e.key, priority: maphash.String(treeSeed, e.key), row: e.row}
		for len(spine) > 0 && spine[len(spine)-1].priority < n.priority {
			n.left = spine[len(spine)-1]
			spine = spine[:len(spine)-1]
		}
		if len(spine) > 0 {
			spine[len(spine)-1].right = n
		}
		spine = append(spine, n)
	}
	if len(spine) == 0 {
		return nil
	}
	return spine[0]
}
