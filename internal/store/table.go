package store

import (
	"encoding/json"
	"fmt"
	"iter"
	"strings"
)

// definition is a table without its types.
type definition struct {
	name    string
	slot    int
	key     func(row any) string
	decode  func([]byte) (any, error)
	indexes []func(row any) []string
}

// state is the content of one table in one snapshot.
type state struct {
	rows    *tree
	count   int
	indexes []*tree
}

// Table reads rows of type T by key K.
type Table[K, T any] struct {
	def    *definition
	encode func(K) string
}

// RWTable reads and writes rows of type T by key K.
type RWTable[K, T any] struct{ Table[K, T] }

// Index reads rows of type T by a value that is not their key, in the order of the index.
type Index[V, T any] struct {
	def    *definition
	number int // -1: the rows' own order, V being a prefix of the key
	encode func(V) string
}

// define makes a table; key and encode must agree.
func define[K, T any](name string, key func(T) K, encode func(K) string) Table[K, T] {
	return Table[K, T]{encode: encode, def: &definition{
		name: name,
		key:  func(row any) string { return encode(key(*row.(*T))) },
		decode: func(data []byte) (any, error) {
			row := new(T)
			return row, json.Unmarshal(data, row)
		},
	}}
}

// index adds an index to a table. of returns the encoded value of a row, "" to leave it out. Further encoders
// of prefixes of that value come from narrow.
func index[K, V, T any](t Table[K, T], encode func(V) string, of func(T) string) Index[V, T] {
	t.def.indexes = append(t.def.indexes, func(row any) []string {
		if v := of(*row.(*T)); v != "" {
			return []string{v}
		}
		return nil
	})
	return Index[V, T]{t.def, len(t.def.indexes) - 1, encode}
}

// indexMany adds an index by several values of each row.
func indexMany[K, V, T any](t Table[K, T], encode func(V) string, of func(T) []string) Index[V, T] {
	t.def.indexes = append(t.def.indexes, func(row any) []string { return of(*row.(*T)) })
	return Index[V, T]{t.def, len(t.def.indexes) - 1, encode}
}

// narrow reads an index by a prefix of its value.
func narrow[P, V, T any](i Index[V, T], encode func(P) string) Index[P, T] {
	return Index[P, T]{i.def, i.number, encode}
}

// prefix reads a table by a prefix of its key.
func prefix[P, K, T any](t Table[K, T], encode func(P) string) Index[P, T] {
	return Index[P, T]{t.def, -1, encode}
}

// parts encodes a composite key or value: each part ends with a zero byte, so that fewer parts are a prefix.
func parts(p ...string) string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString(s)
		b.WriteByte(0)
	}
	return b.String()
}

// Name returns the table's name, as Changed wants it.
func (t Table[K, T]) Name() string { return t.def.name }

// Get returns the row with that key.
func (t Table[K, T]) Get(tx *Tx, key K) (T, bool) {
	if row, ok := tx.states[t.def.slot].rows.get(t.encode(key)); ok {
		return *row.(*T), true
	}
	var zero T
	return zero, false
}

// All yields every row in the order of the keys. Rows written meanwhile do not appear.
func (t Table[K, T]) All(tx *Tx) iter.Seq[T] {
	rows := tx.states[t.def.slot].rows
	return func(yield func(T) bool) {
		rows.ascend("", func(_ string, row any) bool { return yield(*row.(*T)) })
	}
}

// Len returns the number of rows.
func (t Table[K, T]) Len(tx *Tx) int { return tx.states[t.def.slot].count }

// Last returns the row with the greatest key.
func (t Table[K, T]) Last(tx *Tx) (T, bool) {
	if row, ok := tx.states[t.def.slot].rows.last(); ok {
		return *row.(*T), true
	}
	var zero T
	return zero, false
}

// Put writes a row, replacing the one with the same key. It panics outside Update.
func (t RWTable[K, T]) Put(tx *Tx, row T) { tx.put(t.def, &row) }

// Delete removes the row with that key, if there is one. It panics outside Update.
func (t RWTable[K, T]) Delete(tx *Tx, key K) { tx.delete(t.def, t.encode(key)) }

func (i Index[V, T]) tree(tx *Tx) *tree {
	s := tx.states[i.def.slot]
	if i.number < 0 {
		return s.rows
	}
	return s.indexes[i.number]
}

// Each yields every row with that value. Rows written meanwhile do not appear.
func (i Index[V, T]) Each(tx *Tx, value V) iter.Seq[T] {
	t, prefix := i.tree(tx), i.encode(value)
	return func(yield func(T) bool) {
		t.ascend(prefix, func(key string, row any) bool {
			return strings.HasPrefix(key, prefix) && yield(*row.(*T))
		})
	}
}

// First returns the first row with that value.
func (i Index[V, T]) First(tx *Tx, value V) (T, bool) {
	for row := range i.Each(tx, value) {
		return row, true
	}
	var zero T
	return zero, false
}

// Page returns at most limit rows with that value that keep accepts (nil: all) and that come after a position, and
// the position of the last of them when more follow, "" otherwise. The position "" is the beginning; limit 0 means all.
func (i Index[V, T]) Page(tx *Tx, value V, after string, limit int, keep func(T) bool) (rows []T, next string) {
	prefix := i.encode(value)
	from := prefix
	if after != "" {
		from = prefix + after + "\x00"
	}
	last := ""
	if limit == 0 && keep == nil {
		rows = make([]T, 0, i.tree(tx).count(from, prefix)) // rows are large: do not move them while growing
	}
	i.tree(tx).ascend(from, func(key string, row any) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		if keep != nil && !keep(*row.(*T)) {
			return true
		}
		if limit > 0 && len(rows) == limit {
			next = last
			return false
		}
		rows = append(rows, *row.(*T))
		last = key[len(prefix):]
		return true
	})
	return rows, next
}

func (tx *Tx) put(def *definition, row any) {
	tx.mustWrite(def)
	key := def.key(row)
	s := &tx.states[def.slot]
	old, had := s.rows.get(key)
	if had {
		s.unindex(def, key, old)
	} else {
		s.count++
	}
	s.rows = s.rows.with(key, row)
	for n, of := range def.indexes {
		for _, v := range of(row) {
			s.indexes[n] = s.indexes[n].with(v+key, row)
		}
	}
	tx.note(def, key, row)
}

func (tx *Tx) delete(def *definition, key string) {
	tx.mustWrite(def)
	s := &tx.states[def.slot]
	old, had := s.rows.get(key)
	if !had {
		return
	}
	s.unindex(def, key, old)
	s.rows = s.rows.without(key)
	s.count--
	tx.note(def, key, nil)
}

func (s *state) unindex(def *definition, key string, row any) {
	for n, of := range def.indexes {
		for _, v := range of(row) {
			s.indexes[n] = s.indexes[n].without(v + key)
		}
	}
}

func (tx *Tx) mustWrite(def *definition) {
	if tx.changes == nil {
		panic(fmt.Sprintf("store: write to table %s outside Update", def.name))
	}
}

func (tx *Tx) note(def *definition, key string, row any) {
	if tx.changes[def.slot] == nil {
		tx.changes[def.slot] = map[string]any{}
	}
	tx.changes[def.slot][key] = row
}
