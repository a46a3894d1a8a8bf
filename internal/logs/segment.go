package logs

import (
	"container/list"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// segmentFile is a segment as the folder shows it.
type segmentFile struct {
	path string
	dir  string // the group's folder name
	day  int64
	lsn  uint64
	size int64
}

// listDay returns the segments of a day's folder by age; a missing folder has none.
func listDay(dayDir string) []segmentFile {
	entries, err := os.ReadDir(dayDir)
	if err != nil {
		return nil
	}
	day, _ := parseDay(filepath.Base(dayDir))
	files := make([]segmentFile, 0, len(entries))
	for _, e := range entries {
		lsn, ok := parseSegment(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if err != nil { // removed since
			continue
		}
		files = append(files, segmentFile{path: filepath.Join(dayDir, e.Name()), dir: filepath.Base(filepath.Dir(dayDir)),
			day: day, lsn: lsn, size: info.Size()})
	}
	return files
}

// listDays returns the days for which the group has a folder, ascending.
func (s *Store) listDays(dir string) []int64 {
	entries, err := os.ReadDir(filepath.Join(s.groups, dir))
	if err != nil {
		return nil
	}
	var days []int64
	for _, e := range entries {
		if day, ok := parseDay(e.Name()); ok {
			days = append(days, day)
		}
	}
	slices.Sort(days)
	return days
}

// listGroup returns all segments of a group, oldest day first.
func (s *Store) listGroup(dir string) []segmentFile {
	var files []segmentFile
	for _, day := range s.listDays(dir) {
		files = append(files, listDay(filepath.Join(s.groups, dir, dayName(day)))...)
	}
	return files
}

// listDirs returns the folder names of all groups.
func (s *Store) listDirs() []string {
	entries, err := os.ReadDir(s.groups)
	if err != nil {
		return nil
	}
	dirs := make([]string, 0, len(entries))
	for _, e := range entries {
		dirs = append(dirs, e.Name())
	}
	return dirs
}

func (s *Store) countBytes() int64 {
	total := int64(0)
	for _, dir := range s.listDirs() {
		for _, f := range s.listGroup(dir) {
			total += f.size
		}
	}
	return total
}

// removeSegment unlinks a segment; the shard's mu is held.
func (s *Store) removeSegment(path string, size int64) bool {
	if err := os.Remove(path); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("cannot remove segment", "path", path, "error", err)
		}
		return false
	}
	s.bytes.Add(-size)
	s.index.drop(path)
	return true
}

// removeEmptyDirs removes the empty day folders of a group and the group's folder if nothing is left.
func removeEmptyDirs(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		_ = os.Remove(filepath.Join(dir, e.Name())) // fails on purpose unless empty
	}
	_ = os.Remove(dir)
}

// indexCache keeps the block headers of the segments that were read last.
type indexCache struct {
	mu      sync.Mutex
	entries map[string]*list.Element
	order   list.List // front = used last
	cost    int
}

type segmentIndex struct {
	path   string
	size   int64 // of the segment that blocks cover
	blocks []blockInfo
	cost   int
}

// get returns the headers of the blocks in the first size bytes of a segment. A damaged block ends
// the list: what follows it cannot be found.
func (c *indexCache) get(path string, size int64) (blocks []blockInfo, damaged bool, err error) {
	have := c.lookup(path)
	if have.size >= size {
		n := len(have.blocks)
		for n > 0 && have.blocks[n-1].end > size {
			n--
		}
		return have.blocks[:n:n], false, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // dropped since
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	blocks = slices.Clip(have.blocks)
	at := have.size
	var buf []byte
	names := map[string]string{}
	for at < size {
		var info blockInfo
		info, buf, err = readBlock(f, at, size, buf)
		if errors.Is(err, errCorrupt) || errors.Is(err, io.EOF) {
			return blocks, true, nil
		}
		if err != nil {
			return nil, false, err
		}
		for i := range info.streams {
			st := &info.streams[i]
			if same, ok := names[st.name]; ok {
				st.name = same
			} else {
				names[st.name] = st.name
			}
		}
		blocks = append(blocks, info)
		at = info.end
	}
	c.store(segmentIndex{path: path, size: at, blocks: blocks})
	return blocks, false, nil
}

func (c *indexCache) lookup(path string) segmentIndex {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[path]
	if e == nil {
		return segmentIndex{}
	}
	c.order.MoveToFront(e)
	return *e.Value.(*segmentIndex)
}

func (c *indexCache) store(x segmentIndex) {
	for i := range x.blocks {
		x.cost += 1 + len(x.blocks[i].streams)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = map[string]*list.Element{}
	}
	c.removeLocked(x.path)
	c.entries[x.path] = c.order.PushFront(&x)
	c.cost += x.cost
	for c.cost > maxIndexEntries && c.order.Len() > 1 {
		c.removeLocked(c.order.Back().Value.(*segmentIndex).path)
	}
}

func (c *indexCache) drop(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(path)
}

func (c *indexCache) removeLocked(path string) {
	e := c.entries[path]
	if e == nil {
		return
	}
	c.cost -= e.Value.(*segmentIndex).cost
	c.order.Remove(e)
	delete(c.entries, path)
}
