package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/funade/funade/internal/base/failpoint"
)

// Options say how a store is kept.
type Options struct {
	// Reserve is the size in bytes of a file beside the database that is given up when the disk is full, so that
	// control writes still fit; 0 = none.
	Reserve int64
	// NoSync leaves durability to the operating system. For tests: a killed process loses nothing, a power cut may.
	NoSync bool
}

// Store is an open database. Its methods are safe for concurrent use.
type Store struct {
	snapshot atomic.Pointer[[]state]
	writer   sync.Mutex // held by Update
	disk     *disk
	reserve  reserve

	mu      sync.Mutex
	watches map[string]*watch
}

// Tx is one transaction: a consistent snapshot and, in Update, the changes made to it.
type Tx struct {
	states []state
	// changes by slot and key; a nil row is a deletion. nil in View.
	changes []map[string]any
}

type watch struct {
	tables []string
	ch     chan struct{}
}

// Open opens or creates the database file at path (mode 0600), brings it to the current layout and reads every
// row. One process at a time can have it open.
func Open(path string, opts Options) (*Store, error) {
	d, err := openDisk(path, opts.NoSync)
	switch {
	case err != nil && strings.Contains(err.Error(), "SQLITE_BUSY"):
		return nil, fmt.Errorf("cannot open store %s: another funade process uses it; stop that one first: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("cannot open store %s: %w", path, err)
	}
	states, err := d.load()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot read store %s: %w", path, err), d.close())
	}
	s := &Store{disk: d, watches: map[string]*watch{}}
	s.snapshot.Store(&states)
	s.reserve = reserve{path: filepath.Join(filepath.Dir(path), filepath.Base(path)+".reserve"), size: opts.Reserve}
	s.reserve.hold()
	return s, nil
}

// Close closes the database. Transactions afterwards fail.
func (s *Store) Close() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	if err := s.disk.close(); err != nil {
		return fmt.Errorf("cannot close store: %w", err)
	}
	return nil
}

// View runs fn with a consistent snapshot. It never waits for writers.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(&Tx{states: *s.snapshot.Load()})
}

// Update runs fn and, when it returns nil, makes its writes durable and then visible; otherwise nothing happened.
// Updates run one after the other, so fn must not wait for anything. A full disk is KindUnavailable.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	s.writer.Lock()
	defer s.writer.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	tx := &Tx{states: slices.Clone(*s.snapshot.Load()), changes: make([]map[string]any, len(schema))}
	for n := range tx.states {
		tx.states[n].indexes = slices.Clone(tx.states[n].indexes)
	}
	if err := fn(tx); err != nil {
		return err
	}
	if !slices.ContainsFunc(tx.changes, func(c map[string]any) bool { return c != nil }) {
		return nil
	}
	if err := failpoint.Hit("store/before-commit"); err != nil {
		return err
	}
	if err := s.write(tx.changes); err != nil {
		return err
	}
	s.snapshot.Store(&tx.states)
	s.wake(tx.changes)
	return failpoint.Hit("store/after-commit")
}

// write makes changes durable, giving up the reserve when the disk is full.
func (s *Store) write(changes []map[string]any) error {
	err := s.disk.write(changes)
	if err != nil && isFull(err) && s.reserve.release() {
		err = s.disk.write(changes)
	}
	switch {
	case err == nil:
		s.reserve.rearm()
		return nil
	case isFull(err):
		return fullError(err)
	}
	return fmt.Errorf("cannot write store: %w", err)
}

// Changed returns a channel that is closed by the next commit that writes any of the tables. Take it before
// reading, so that no commit is missed.
func (s *Store) Changed(tables ...string) <-chan struct{} {
	for _, name := range tables {
		if slot(name) < 0 {
			panic("store: no table " + name)
		}
	}
	key := strings.Join(tables, ",")
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[key]
	if w == nil {
		w = &watch{slices.Clone(tables), make(chan struct{})}
		s.watches[key] = w
	}
	return w.ch
}

func (s *Store) wake(changes []map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, w := range s.watches {
		if slices.ContainsFunc(w.tables, func(name string) bool { return changes[slot(name)] != nil }) {
			close(w.ch)
			delete(s.watches, key)
		}
	}
}

func slot(name string) int {
	return slices.IndexFunc(schema, func(d *definition) bool { return d.name == name })
}

// Tables returns the names of all tables.
func Tables() []string {
	names := make([]string, len(schema))
	for n, d := range schema {
		names[n] = d.name
	}
	return names
}

// Verify compares memory with the disk and names the first row that differs; a row whose maps or slices somebody
// changed in place is found here. For tests.
func (s *Store) Verify() error {
	s.writer.Lock()
	defer s.writer.Unlock()
	return s.disk.compare(*s.snapshot.Load())
}

func createFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}
