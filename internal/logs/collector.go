package logs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/funade/funade/internal/app"
)

// Source is a file that a container's shim appends the output of one instance to.
type Source struct {
	Instance app.InstanceID
	Key      app.LogStreamKey
	Path     string
	// Final: nothing will be appended any more. Once everything is stored, Done is called.
	Final bool
}

// CollectorConfig says what a collector works with.
type CollectorConfig struct {
	Store  *Store
	Groups Groups
	// Done is called once for each final source whose file is stored completely: the owner may delete the
	// file. It must not wait for the collector. nil = nobody asks.
	Done func(app.InstanceID)
	// Now is the clock of timestamps; nil = time.Now.
	Now func() time.Time
	// Poll is how often files that grow are looked at; 0 = 100 ms.
	Poll   time.Duration
	Logger *slog.Logger
}

// Collector turns files into log events, each line once, in order, across restarts. The space of what
// is stored is given back to the file system, while the writer goes on appending.
type Collector struct {
	store  *Store
	groups Groups
	done   func(app.InstanceID)
	now    func() time.Time
	poll   time.Duration
	log    *slog.Logger
	kick   chan struct{}

	mu      sync.Mutex
	files   map[string]*file // by path
	retired map[string]Source
}

const (
	defaultPoll = 100 * time.Millisecond
	// idlePoll is the slowest look at a file that has been quiet for idleAfter.
	idlePoll  = 500 * time.Millisecond
	idleAfter = 10 * time.Second
	// quietFlush is how long a line without end may stand before it becomes an event.
	quietFlush = time.Second
	// sweepEvery is how often cursors of deleted files are looked for.
	sweepEvery = 10 * time.Second
	// collectWorkers bounds the files that are read at once, and with readBytes the memory.
	collectWorkers = 16
	// ensureEvery is how often a busy stream's control rows are made sure of: somebody may delete the group.
	ensureEvery = time.Minute
	// retryLimit is the longest pause after an error.
	retryLimit = 5 * time.Second
)

// NewCollector makes a collector; Run makes it work.
func NewCollector(cfg CollectorConfig) *Collector {
	c := &Collector{store: cfg.Store, groups: cfg.Groups, done: cfg.Done, now: cfg.Now, poll: cfg.Poll, log: cfg.Logger,
		kick: make(chan struct{}, 1), files: map[string]*file{}, retired: map[string]Source{}}
	if c.now == nil {
		c.now = time.Now
	}
	if c.poll <= 0 {
		c.poll = defaultPoll
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	return c
}

// Follow replaces the set of sources, which is always the whole set. The same set again changes
// nothing. A source that is left out is no longer read, and its cursor goes once its file is gone.
func (c *Collector) Follow(sources []Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := make(map[string]struct{}, len(sources))
	for _, src := range sources {
		keep[src.Path] = struct{}{}
		delete(c.retired, src.Path)
		f := c.files[src.Path]
		if f == nil || f.source.Key != src.Key || f.source.Instance != src.Instance {
			c.files[src.Path] = &file{source: src, final: src.Final}
			continue
		}
		if src.Final != f.final {
			f.final, f.done, f.next = src.Final, false, time.Time{}
		}
	}
	for path, f := range c.files {
		if _, ok := keep[path]; !ok {
			c.retired[path] = f.source
			delete(c.files, path)
		}
	}
	c.wake()
}

// IsDone reports whether a final source is stored completely.
func (c *Collector) IsDone(id app.InstanceID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.files {
		if f.source.Instance == id && f.done {
			return true
		}
	}
	return false
}

// Run collects until ctx ends; it returns ctx's error.
func (c *Collector) Run(ctx context.Context) error {
	c.adoptCursors()
	tick := time.NewTicker(c.poll)
	defer tick.Stop()
	swept := time.Now()
	for {
		c.pass(ctx)
		if time.Since(swept) >= sweepEvery {
			swept = time.Now()
			c.sweep(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-c.kick:
		}
	}
}

// pass looks at every file that is due, several at once, each at most lookBytes far.
func (c *Collector) pass(ctx context.Context) {
	now := time.Now()
	c.mu.Lock()
	var due []*file
	for _, f := range c.files {
		if !f.done && !now.Before(f.next) {
			f.last = f.final // what is appended after this look is seen by the next one
			due = append(due, f)
		}
	}
	c.mu.Unlock()
	slots := make(chan struct{}, collectWorkers)
	var wg sync.WaitGroup
	for _, f := range due {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c.collect(ctx, f)
		})
	}
	wg.Wait()
	for _, f := range due {
		if f.more {
			c.wake()
			return
		}
	}
}

func (c *Collector) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// cursorPrefix marks the collector's cursors; the file's path follows.
const cursorPrefix = "file:"

func cursorName(path string) string { return cursorPrefix + path }

// adoptCursors remembers the cursors of an earlier life, so that sweep finds those without a file.
func (c *Collector) adoptCursors() {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, state := range c.store.cursors {
		path, ok := strings.CutPrefix(k.name, cursorPrefix)
		if ok && c.files[path] == nil {
			c.retired[path] = Source{Path: path, Key: app.LogStreamKey{Group: state.group}}
		}
	}
}

// sweep forgets the cursors of files that are no longer followed and are gone.
func (c *Collector) sweep(ctx context.Context) {
	c.mu.Lock()
	var gone []Source
	for path, src := range c.retired {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			gone = append(gone, src)
			delete(c.retired, path)
		}
	}
	c.mu.Unlock()
	for _, src := range gone {
		if err := c.store.ForgetCursor(ctx, src.Key.Group, cursorName(src.Path)); err != nil {
			c.log.Warn("cannot forget the cursor of a deleted log file", "path", src.Path, "error", err)
			c.mu.Lock()
			if c.files[src.Path] == nil {
				c.retired[src.Path] = src
			}
			c.mu.Unlock()
		}
	}
}
