package logs

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/funade/funade/internal/app"
)

// Reason says why events were dropped.
type Reason string

// The reasons.
const (
	// ReasonRetention: older than the group's retention.
	ReasonRetention Reason = "retention"
	// ReasonCap: the store reached its size limit; worth an event for people.
	ReasonCap Reason = "cap"
	// ReasonOrphan: no control row names the group.
	ReasonOrphan Reason = "orphan"
)

// Dropped tells of events of one group and day that Maintain or the cap removed.
type Dropped struct {
	// Group is the zero key for an orphan, and for a group that appeared after the last Maintain.
	Group app.LogGroupKey
	// Day is midnight UTC of the day the events are of.
	Day    time.Time
	Bytes  int64
	Reason Reason
}

// countEvery is how often Maintain counts the size of all segments anew.
const countEvery = time.Hour

// orphanAge is how long a group without control row must have been quiet before its events go.
const orphanAge = time.Hour

// Maintain applies retention, removes groups that control no longer knows and enforces the byte cap.
// It returns everything dropped since the last call, also by the cap between calls. Call it every
// minute or so.
func (s *Store) Maintain(ctx context.Context, now time.Time) ([]Dropped, error) {
	dirs := s.listDirs() // before the rows: a group that appears now is not an orphan
	rows, err := s.catalog.All(ctx)
	if err != nil {
		return s.takeDropped(), fmt.Errorf("cannot list log groups: %w", err)
	}
	known := make(map[string]app.LogGroup, len(rows))
	for _, g := range rows {
		known[groupDir(g.Key)] = g
	}
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return s.takeDropped(), fmt.Errorf("cannot finish log maintenance: %w", err)
		}
		row, ok := known[dir]
		switch {
		case !ok:
			s.dropOrphan(dir, now)
		case row.RetentionDays > 0:
			s.dropExpired(dir, row, now)
		}
	}
	names := make(map[string]app.LogGroupKey, len(known))
	for dir, g := range known {
		names[dir] = g.Key
	}
	s.mu.Lock()
	s.names = names
	count := now.Sub(s.counted).Abs() >= countEvery
	if count {
		s.counted = now
	}
	s.mu.Unlock()
	if count { // what is flushed meanwhile may be missed; the next count finds it
		s.bytes.Store(s.countBytes())
	}
	s.enforceCap()
	return s.takeDropped(), nil
}

func (s *Store) takeDropped() []Dropped {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dropped
	s.dropped = nil
	return d
}

// report adds to the list for Maintain's caller; it merges, and is bounded.
func (s *Store) report(d Dropped) {
	const most = 10_000
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.dropped {
		if x := &s.dropped[i]; x.Group == d.Group && x.Day.Equal(d.Day) && x.Reason == d.Reason {
			x.Bytes += d.Bytes
			return
		}
	}
	if len(s.dropped) < most {
		s.dropped = append(s.dropped, d)
	}
}

// dropExpired removes the days that ended more than the retention ago.
func (s *Store) dropExpired(dir string, row app.LogGroup, now time.Time) {
	limit := now.Add(-time.Duration(row.RetentionDays) * 24 * time.Hour).UnixMilli()
	for _, day := range s.listDays(dir) {
		if (day+1)*dayMillis > limit {
			return
		}
		s.dropDay(dir, day, row.Key, ReasonRetention)
	}
}

func (s *Store) dropDay(dir string, day int64, key app.LogGroupKey, reason Reason) {
	sh := s.shard(dir)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	dayDir := filepath.Join(s.groups, dir, dayName(day))
	bytes := int64(0)
	for _, f := range listDay(dayDir) {
		if s.removeSegment(f.path, f.size) {
			bytes += f.size
		}
	}
	if g := sh.groups[dir]; g != nil {
		delete(g.current, day)
	}
	_ = os.Remove(dayDir) // stays if something was added
	_ = os.Remove(filepath.Dir(dayDir))
	if bytes > 0 {
		s.report(Dropped{Group: key, Day: time.UnixMilli(day * dayMillis).UTC(), Bytes: bytes, Reason: reason})
	}
}

func (s *Store) dropOrphan(dir string, now time.Time) {
	sh := s.shard(dir)
	sh.mu.Lock()
	g := sh.groups[dir]
	busy := g != nil && len(g.heads) > 0
	sh.mu.Unlock()
	if busy {
		return
	}
	for _, f := range s.listGroup(dir) {
		if st, err := os.Stat(f.path); err != nil || now.Sub(st.ModTime()) < orphanAge {
			return
		}
	}
	for _, day := range s.listDays(dir) {
		s.dropDay(dir, day, app.LogGroupKey{}, ReasonOrphan)
	}
	removeEmptyDirs(filepath.Join(s.groups, dir))
}

// enforceCap unlinks the oldest segments of all groups until the store is 5 % below its cap. The
// committer calls it too, so that a flood between two calls of Maintain does not fill the disk.
func (s *Store) enforceCap() {
	if s.bytes.Load() <= s.maxBytes {
		return
	}
	s.mu.Lock()
	names := s.names
	s.mu.Unlock()
	var files []segmentFile
	for _, dir := range s.listDirs() {
		files = append(files, s.listGroup(dir)...)
	}
	slices.SortFunc(files, func(a, b segmentFile) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.lsn, b.lsn), cmp.Compare(a.dir, b.dir))
	})
	goal := s.maxBytes - s.maxBytes/20
	for _, f := range files {
		if s.bytes.Load() <= goal {
			return
		}
		s.dropSegment(f, names[f.dir])
	}
}

func (s *Store) dropSegment(f segmentFile, key app.LogGroupKey) {
	sh := s.shard(f.dir)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	st, err := os.Stat(f.path) // it may have grown
	if err != nil || !s.removeSegment(f.path, st.Size()) {
		return
	}
	if g := sh.groups[f.dir]; g != nil && g.current[f.day] != nil && g.current[f.day].path == f.path {
		delete(g.current, f.day)
	}
	dayDir := filepath.Dir(f.path)
	_ = os.Remove(dayDir) // fails on purpose unless empty
	_ = os.Remove(filepath.Dir(dayDir))
	s.report(Dropped{Group: key, Day: time.UnixMilli(f.day * dayMillis).UTC(), Bytes: st.Size(), Reason: ReasonCap})
}

// GroupBytes returns what a group takes: its segments on disk and its events still in memory.
func (s *Store) GroupBytes(_ context.Context, key app.LogGroupKey) int64 {
	dir := groupDir(key)
	sh := s.shard(dir)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	total := int64(0)
	for _, f := range s.listGroup(dir) {
		total += f.size
	}
	if g := sh.groups[dir]; g != nil {
		for _, h := range g.heads {
			total += int64(len(h.buf))
		}
	}
	return total
}
