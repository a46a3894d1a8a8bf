package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

// committer is the state of the one goroutine that writes: sequence numbers, the write-ahead log,
// blocks. Its steps for a batch: assign numbers, write, sync, apply, answer.
type committer struct {
	lsn      uint64
	wal      *wal
	buf      []byte
	blocks   *blockWriter
	dirty    map[string]struct{} // segments with unsynced blocks
	last     time.Time           // of the last append
	retry    time.Time           // no checkpoint before, after one failed
	closeErr error
}

const (
	checkpointRetry = 5 * time.Second
	idleTick        = time.Minute
	// keepBuffer is the largest encoding buffer that stays for the next batch, in bytes.
	keepBuffer = 1 << 20
)

// run is the committer.
func (s *Store) run() {
	defer close(s.ended)
	tick := time.NewTicker(idleTick)
	defer tick.Stop()
	for {
		select {
		case <-s.queue.ready:
			ops, closed := s.queue.take()
			s.commitBatch(ops)
			if closed {
				s.commit.closeErr = s.checkpoint()
				return
			}
		case <-tick.C:
			if s.held.Load() > 0 && s.now().Sub(s.commit.last) >= idleCheckpoint {
				s.tryCheckpoint()
			}
		}
	}
}

// commitBatch makes a batch durable and answers its callers.
func (s *Store) commitBatch(ops []*op) {
	c := &s.commit
	if len(ops) == 0 {
		return
	}
	if s.held.Load() > 2*headBytes || c.wal == nil {
		s.tryCheckpoint()
	}
	if s.held.Load() > 2*headBytes || c.wal == nil {
		answer(ops, fmt.Errorf("memory is full of events that the disk does not take"))
		return
	}
	first := c.lsn
	fresh := make([]*op, 0, len(ops))
	seen := map[cursorKey]int64{}
	c.buf = c.buf[:0]
	for _, o := range ops {
		if o.kind == opCheckpoint {
			defer func() { o.done <- s.checkpoint() }()
			continue
		}
		if s.repeated(o, seen) {
			o.done <- nil
			continue
		}
		c.lsn++
		o.lsn = c.lsn
		c.buf = frame(c.buf, o)
		fresh = append(fresh, o)
	}
	if len(fresh) == 0 {
		return
	}
	if err := s.writeWAL(); err != nil {
		c.lsn = first
		s.log.Warn("cannot store log events", "error", err)
		answer(fresh, err)
		return
	}
	now := s.now()
	c.last = now
	for _, o := range fresh {
		s.apply(o, now)
		o.done <- nil
	}
	if cap(c.buf) > keepBuffer {
		c.buf = nil
	}
	if c.wal.size > walBytes || s.held.Load() > headBytes {
		s.tryCheckpoint()
	}
}

func (s *Store) writeWAL() error {
	c := &s.commit
	if err := failpoint.Hit("logs/write"); err != nil {
		return err
	}
	broken, err := c.wal.append(c.buf)
	if broken {
		// What the file ends with is unknown; a checkpoint begins a new one and drops this one.
		c.wal.f.Close()
		c.wal = nil
	}
	if err != nil {
		return err
	}
	return failpoint.Hit("logs/synced")
}

func answer(ops []*op, err error) {
	err = &app.Error{Kind: app.KindUnavailable, Message: "cannot store log events: " + err.Error(), Err: err}
	for _, o := range ops {
		o.done <- err
	}
}

// repeated reports whether an append's cursor shows that it is stored already. seen holds the cursors of this batch.
func (s *Store) repeated(o *op, seen map[cursorKey]int64) bool {
	if o.cursor == nil {
		return false
	}
	key := cursorKey{o.dir, o.cursor.Name}
	if o.kind == recordForgetCursor {
		seen[key] = -1 << 63
		return false
	}
	value, ok := seen[key]
	if !ok {
		s.mu.Lock()
		state, found := s.cursors[key]
		s.mu.Unlock()
		value, ok = state.value, found
	}
	if ok && o.cursor.Value <= value {
		return true
	}
	seen[key] = o.cursor.Value
	return false
}

// apply brings a durable change into memory. Recovery uses it too.
func (s *Store) apply(o *op, now time.Time) {
	switch o.kind {
	case recordAppend:
		s.applyAppend(o, now, nil)
	case recordDeleteGroup:
		s.applyDeleteGroup(o)
	case recordDeleteStream:
		s.applyDeleteStream(o)
	case recordForgetCursor:
		s.mu.Lock()
		delete(s.cursors, cursorKey{o.dir, o.cursor.Name})
		s.mu.Unlock()
	}
}

// applyAppend puts the parts into heads, except those of days for which stored says that a segment has them.
func (s *Store) applyAppend(o *op, now time.Time, stored func(day int64) bool) {
	sh := s.shard(o.dir)
	sh.mu.Lock()
	g := sh.group(o.dir, o.key.Group)
	for i := range o.parts {
		p := &o.parts[i]
		if stored != nil && stored(p.day) {
			continue
		}
		h := g.heads[p.day]
		if h == nil {
			h = newHead(p.day, now)
			g.heads[p.day] = h
		}
		before := len(h.buf)
		h.add(o.key.Stream, o.lsn, o.ingested, p)
		s.held.Add(int64(len(h.buf) - before))
		if len(h.buf) >= blockBytes && len(h.buf) < maxBlockBytes/2 {
			// An error keeps the head in memory; the write-ahead log has it too.
			if err := s.flush(o.dir, g, h); err != nil {
				s.log.Warn("cannot write a block of log events; will try again", "group", g.key.Name, "error", err)
			}
		}
	}
	sh.mu.Unlock()
	if o.cursor != nil {
		s.mu.Lock()
		key := cursorKey{o.dir, o.cursor.Name}
		state := cursorState{group: o.key.Group, value: o.cursor.Value, last: s.cursors[key].last, moved: o.ingested}
		for i := range o.parts {
			state.last = max(state.last, o.parts[i].maxTS)
		}
		s.cursors[key] = state
		s.mu.Unlock()
	}
}

func (sh *shard) group(dir string, key app.LogGroupKey) *group {
	g := sh.groups[dir]
	if g == nil {
		g = &group{key: key, heads: map[int64]*head{}, current: map[int64]*segment{}}
		sh.groups[dir] = g
	}
	return g
}

// applyDeleteGroup removes what is older than the record: a later life of the same name stays.
func (s *Store) applyDeleteGroup(o *op) {
	sh := s.shard(o.dir)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if g := sh.groups[o.dir]; g != nil {
		for _, h := range g.heads {
			s.held.Add(-int64(len(h.buf)))
		}
		delete(sh.groups, o.dir)
	}
	delete(sh.deleted, o.dir)
	for _, f := range s.listGroup(o.dir) {
		if f.lsn < o.lsn {
			s.removeSegment(f.path, f.size)
		}
	}
	removeEmptyDirs(filepath.Join(s.groups, o.dir))
}

func (s *Store) applyDeleteStream(o *op) {
	sh := s.shard(o.dir)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.deleted[o.dir] == nil {
		sh.deleted[o.dir] = map[string]uint64{}
	}
	sh.deleted[o.dir][o.key.Stream] = o.lsn
	g := sh.groups[o.dir]
	if g == nil {
		return
	}
	// Blocks from before and after the deletion do not mix, so that headers tell a stream's statistics.
	for _, h := range g.heads {
		if err := s.flush(o.dir, g, h); err != nil {
			s.log.Warn("cannot write a block of log events; will try again", "group", g.key.Name, "error", err)
		}
	}
}

// flush appends the head to its day's segment and drops it from memory; sh.mu is held. The block is
// not synced: until the next checkpoint the write-ahead log has its events too.
func (s *Store) flush(dir string, g *group, h *head) error {
	if err := failpoint.Hit("logs/flush"); err != nil {
		return err
	}
	if len(h.buf) == 0 {
		delete(g.heads, h.day)
		return nil
	}
	seg := g.current[h.day]
	if seg == nil || seg.size >= maxSegmentBytes {
		dayDir := filepath.Join(s.groups, dir, dayName(h.day))
		if err := os.MkdirAll(dayDir, dirMode); err != nil {
			return fmt.Errorf("cannot create segment: %w", err)
		}
		seg = &segment{path: filepath.Join(dayDir, segmentName(h.firstLSN))}
	}
	block := s.commit.blocks.encode(h)
	f, err := os.OpenFile(seg.path, os.O_CREATE|os.O_WRONLY, walFileMode)
	if err != nil {
		return fmt.Errorf("cannot open segment: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteAt(block, seg.size); err != nil {
		// Readers know the valid size; the next block overwrites what stands behind it.
		if cut := f.Truncate(seg.size); cut != nil {
			s.log.Warn("cannot cut a segment back", "path", seg.path, "error", cut)
		}
		return fmt.Errorf("cannot write segment: %w", err)
	}
	seg.size += int64(len(block))
	g.current[h.day] = seg
	s.commit.dirty[seg.path] = struct{}{}
	s.bytes.Add(int64(len(block)))
	s.held.Add(-int64(len(h.buf)))
	delete(g.heads, h.day)
	return nil
}
