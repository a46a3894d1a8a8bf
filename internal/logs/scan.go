package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// scan is one read: it fills page with the events of a group that match.
type scan struct {
	store *Store
	dir   string
	page  *page
	// from and to bound the timestamps, both included; after bounds the place, excluded, in the page's direction.
	from, to int64
	after    position
	stream   func(name string) bool
	pattern  *Pattern // nil = everything
	// budget is the raw volume to look at; 0 = no bound. resume is where to go on when it ran out.
	budget  int64
	stopped bool
	resume  position
	// visit, if set, sees the name of every stream that a looked-at block holds.
	visit func(name string)

	raw []byte
}

// source is a block in a segment or a head.
type source struct {
	span
	path string
	info *blockInfo // nil = head
	raw  []byte     // of a head
}

func (sc *scan) run(ctx context.Context) error {
	days := sc.days()
	if sc.page.desc {
		slices.Reverse(days)
	}
	for _, day := range days {
		first, last := day*dayMillis, (day+1)*dayMillis-1
		if sc.page.desc && sc.page.done(last) || !sc.page.desc && sc.page.done(first) {
			return nil
		}
		if err := sc.day(ctx, day); err != nil || sc.stopped {
			return err
		}
	}
	return nil
}

// days returns the days that hold something of the scan's range, ascending.
func (sc *scan) days() []int64 {
	from, to := sc.from, sc.to
	if sc.page.desc {
		to = min(to, sc.after.ts)
	} else {
		from = max(from, sc.after.ts)
	}
	sh := sc.store.shard(sc.dir)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	days := sc.store.listDays(sc.dir)
	if g := sh.groups[sc.dir]; g != nil {
		for day := range g.heads {
			days = append(days, day)
		}
	}
	slices.Sort(days)
	days = slices.Compact(days)
	return slices.DeleteFunc(days, func(day int64) bool { return (day+1)*dayMillis <= from || day*dayMillis > to })
}

// day scans one day, block by block in the page's direction.
func (sc *scan) day(ctx context.Context, day int64) error {
	sources, deleted, err := sc.store.sources(sc.dir, day)
	if err != nil {
		return err
	}
	desc := sc.page.desc
	slices.SortFunc(sources, func(a, b source) int {
		if desc {
			return cmp.Or(cmp.Compare(b.maxTS, a.maxTS), cmp.Compare(b.lastLSN, a.lastLSN))
		}
		return cmp.Or(cmp.Compare(a.minTS, b.minTS), cmp.Compare(a.firstLSN, b.firstLSN))
	})
	for i := range sources {
		src := &sources[i]
		edge := src.minTS
		if desc {
			edge = src.maxTS
		}
		if sc.page.done(edge) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cannot finish reading log events: %w", err)
		}
		if sc.budget < 0 && sc.stopBefore(edge) {
			return nil
		}
		n, err := sc.block(src, deleted)
		if err != nil {
			return err
		}
		if sc.budget > 0 {
			if sc.budget -= n; sc.budget <= 0 {
				sc.budget = -1
			}
		}
	}
	return nil
}

// stopBefore ends an ascending scan whose budget is spent, if that is progress: everything before ts is complete.
func (sc *scan) stopBefore(ts int64) bool {
	if ts <= max(sc.after.ts, sc.from) {
		return false
	}
	sc.resume = position{ts: ts}
	sc.page.cut(sc.resume)
	sc.stopped = true
	return true
}

// sources returns all blocks and the head of a group's day as of one moment, and the group's deleted streams.
func (s *Store) sources(dir string, day int64) ([]source, map[string]uint64, error) {
	sh := s.shard(dir)
	sh.mu.Lock()
	files := listDay(filepath.Join(s.groups, dir, dayName(day)))
	var sources []source
	if g := sh.groups[dir]; g != nil && g.heads[day] != nil {
		h := g.heads[day]
		src := source{span: h.span, raw: h.buf[:len(h.buf):len(h.buf)]}
		src.streams = slices.Clone(h.streams)
		sources = append(sources, src)
	}
	deleted := make(map[string]uint64, len(sh.deleted[dir]))
	for k, v := range sh.deleted[dir] {
		deleted[k] = v
	}
	sh.mu.Unlock()
	for _, f := range files {
		blocks, damaged, err := s.index.get(f.path, f.size)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read log segment: %w", err)
		}
		if damaged {
			s.log.Warn("a log segment is damaged; what follows the damage is left out", "path", f.path)
		}
		for i := range blocks {
			sources = append(sources, source{span: blocks[i].span, path: f.path, info: &blocks[i]})
		}
	}
	return sources, deleted, nil
}

// block scans one block or head and returns the raw bytes looked at.
func (sc *scan) block(src *source, deleted map[string]uint64) (int64, error) {
	from, to := sc.from, sc.to
	if sc.page.desc {
		to = min(to, sc.after.ts)
	} else {
		from = max(from, sc.after.ts)
	}
	if src.maxTS < from || src.minTS > to {
		return 0, nil
	}
	wanted, any := make([]bool, len(src.streams)), false
	for i := range src.streams {
		st := &src.streams[i]
		if sc.stream(st.name) {
			if sc.visit != nil {
				sc.visit(st.name)
			}
			wanted[i] = st.last >= from && st.first <= to
			any = any || wanted[i]
		}
	}
	if !any {
		return 0, nil
	}
	raw, err := sc.load(src)
	if err != nil || raw == nil {
		return 0, err
	}
	if sc.pattern == nil || sc.pattern.mayMatch(raw) {
		sc.events(src, raw, wanted, deleted)
	}
	return int64(len(raw)), nil
}

// load returns the content of a source; nil if the pattern's words are not in it, it is gone or it is damaged.
func (sc *scan) load(src *source) ([]byte, error) {
	if src.info == nil {
		return src.raw, nil
	}
	f, err := os.Open(src.path)
	if errors.Is(err, fs.ErrNotExist) { // dropped since
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read log segment: %w", err)
	}
	defer f.Close()
	if sc.pattern != nil && sc.pattern.hasWords(src.info.flags&flagBackslash != 0) {
		filter, err := readBloom(f, src.info)
		if err == nil && !sc.pattern.mayHold(filter, src.info.flags&flagBackslash != 0) {
			return nil, nil
		}
	}
	raw, err := readPayload(f, src.info, sc.raw)
	if err != nil {
		sc.store.log.Warn("a block of log events is damaged and left out", "path", src.path, "offset", src.info.off, "error", err)
		return nil, nil
	}
	sc.raw = raw
	return raw, nil
}

// events offers every matching event of a block to the page.
func (sc *scan) events(src *source, raw []byte, wanted []bool, deleted map[string]uint64) {
	r := reader{b: raw}
	for c, ok := nextChunk(&r); ok; c, ok = nextChunk(&r) {
		if c.stream >= len(wanted) || !wanted[c.stream] {
			continue
		}
		name := src.streams[c.stream].name
		if c.lsn <= deleted[name] {
			continue
		}
		er := eventReader{r: reader{b: c.data}}
		for index, ts, msg, ok := er.next(); ok; index, ts, msg, ok = er.next() {
			at := position{ts: ts, lsn: c.lsn, idx: index}
			if ts < sc.from || ts > sc.to || !sc.page.wants(at) || !sc.beyond(at) {
				continue
			}
			if sc.pattern == nil || sc.pattern.MatchBytes(msg) {
				sc.page.add(entry{at: at, ingested: c.ingested, stream: name, message: string(msg)})
			}
		}
	}
}

// beyond reports whether a place is behind the one where the scan begins.
func (sc *scan) beyond(at position) bool {
	if sc.page.desc {
		return at.less(sc.after)
	}
	return sc.after.less(at)
}

func (s *Store) newScan(dir string, desc bool, limit int) *scan {
	sc := &scan{store: s, dir: dir, page: newPage(desc, limit), to: math.MaxInt64}
	if desc {
		sc.after = lastPosition
	}
	return sc
}
