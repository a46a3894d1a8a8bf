package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/atomicfile"
	"github.com/funade/funade/internal/base/failpoint"
)

// meta is the file of what segments do not hold. Records up to LSN need no replay.
type meta struct {
	LSN uint64 `json:"lsn"`
	// Bytes is the size of all segments, so that opening need not look at each.
	Bytes   int64         `json:"bytes"`
	Cursors []metaCursor  `json:"cursors,omitempty"`
	Deleted []metaDeleted `json:"deletedStreams,omitempty"`
}

type metaCursor struct {
	Account app.AccountID `json:"account"`
	Region  app.Region    `json:"region"`
	Group   string        `json:"group"`
	Name    string        `json:"name"`
	Value   int64         `json:"value"`
	Last    int64         `json:"lastTimestamp"`
	Moved   int64         `json:"moved"`
}

type metaDeleted struct {
	Dir    string `json:"dir"`
	Stream string `json:"stream"`
	LSN    uint64 `json:"lsn"`
}

// tryCheckpoint checkpoints unless one failed a moment ago.
func (s *Store) tryCheckpoint() {
	if s.now().Before(s.commit.retry) {
		return
	}
	if err := s.checkpoint(); err != nil {
		s.commit.retry = s.now().Add(checkpointRetry)
		s.log.Warn("cannot checkpoint the log store; will try again", "error", err)
	}
	s.enforceCap()
}

// checkpoint empties all heads into segments, syncs them, writes meta.json and begins a new
// write-ahead log. A crash between any two steps only means that more is replayed than needed.
func (s *Store) checkpoint() error {
	c := &s.commit
	if err := s.flushAll(); err != nil {
		return err
	}
	if err := s.syncSegments(); err != nil {
		return err
	}
	if err := failpoint.Hit("logs/checkpoint"); err != nil {
		return err
	}
	if err := s.writeMeta(); err != nil {
		return err
	}
	if err := failpoint.Hit("logs/meta"); err != nil {
		return err
	}
	seqs, err := listWALs(s.walDir)
	if err != nil {
		return err
	}
	if c.wal == nil || c.wal.size > 0 {
		next := uint64(1)
		if len(seqs) > 0 {
			next = seqs[len(seqs)-1] + 1
		}
		w, err := createWAL(s.walDir, next)
		if err != nil {
			return err
		}
		if c.wal != nil {
			c.wal.f.Close()
		}
		c.wal = w
	}
	for _, seq := range seqs {
		if seq < c.wal.seq {
			if err := os.Remove(walPath(s.walDir, seq)); err != nil {
				return fmt.Errorf("cannot remove old write-ahead log: %w", err)
			}
		}
	}
	return nil
}

func (s *Store) flushAll() error {
	for i := range s.shards {
		if err := s.flushShard(&s.shards[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) flushShard(sh *shard) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for dir, g := range sh.groups {
		// A group or a day that got nothing since the last checkpoint keeps no memory.
		for day := range g.current {
			if g.heads[day] == nil {
				delete(g.current, day)
			}
		}
		for _, h := range g.heads {
			if err := s.flush(dir, g, h); err != nil {
				return err
			}
		}
		if len(g.current) == 0 {
			delete(sh.groups, dir)
		}
	}
	return nil
}

// syncSegments makes every block durable, with the folders above it.
func (s *Store) syncSegments() error {
	paths := map[string]struct{}{}
	for path := range s.commit.dirty {
		day := filepath.Dir(path)
		for _, p := range []string{path, day, filepath.Dir(day), s.groups} {
			paths[p] = struct{}{}
		}
	}
	if err := syncPaths(paths); err != nil {
		return err
	}
	clear(s.commit.dirty)
	return nil
}

// syncWorkers is how many files are synced at once: the file system's journal then serves them together.
const syncWorkers = 32

// syncPaths syncs files and folders; what has been dropped since is fine.
func syncPaths(paths map[string]struct{}) error {
	work := make(chan string)
	errs := make([]error, min(syncWorkers, len(paths)))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for path := range work {
				if err := syncDir(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					errs[i] = err
				}
			}
		})
	}
	for path := range paths {
		work <- path
	}
	close(work)
	wg.Wait()
	return errors.Join(errs...)
}

func (s *Store) metaPath() string { return filepath.Join(s.dir, "meta.json") }

func (s *Store) writeMeta() error {
	m := meta{LSN: s.commit.lsn, Bytes: s.bytes.Load()}
	s.mu.Lock()
	forget := s.now().Add(-CursorLife).UnixMilli()
	for k, c := range s.cursors {
		if c.moved < forget && !strings.HasPrefix(k.name, cursorPrefix) {
			delete(s.cursors, k)
			continue
		}
		m.Cursors = append(m.Cursors, metaCursor{Account: c.group.Scope.Account, Region: c.group.Scope.Region,
			Group: c.group.Name, Name: k.name, Value: c.value, Last: c.last, Moved: c.moved})
	}
	s.mu.Unlock()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		s.pruneDeleted(sh)
		for dir, streams := range sh.deleted {
			for stream, lsn := range streams {
				m.Deleted = append(m.Deleted, metaDeleted{Dir: dir, Stream: stream, LSN: lsn})
			}
		}
		sh.mu.Unlock()
	}
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("cannot encode log store state: %w", err)
	}
	return atomicfile.Write(s.metaPath(), data, walFileMode)
}

// pruneDeleted forgets deletions that no segment or head is old enough for; sh.mu is held.
func (s *Store) pruneDeleted(sh *shard) {
	for dir, streams := range sh.deleted {
		oldest := ^uint64(0)
		for _, f := range s.listGroup(dir) {
			oldest = min(oldest, f.lsn)
		}
		if g := sh.groups[dir]; g != nil {
			for _, h := range g.heads {
				oldest = min(oldest, h.firstLSN)
			}
		}
		for stream, lsn := range streams {
			if lsn < oldest {
				delete(streams, stream)
			}
		}
		if len(streams) == 0 {
			delete(sh.deleted, dir)
		}
	}
}
