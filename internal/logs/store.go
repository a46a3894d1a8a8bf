package logs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/funade/funade/internal/app"
)

// Config says where a store lives. Dir is created, mode 0700.
type Config struct {
	Dir    string
	Groups Groups
	// MaxBytes caps all groups together; the oldest segments go first. 0 = 10 % of the disk.
	MaxBytes int64
	// Now is the clock; nil = time.Now.
	Now func() time.Time
	// Logger takes what no caller can be told; nil = slog.Default.
	Logger *slog.Logger
}

// Cursor is a named number stored in the same synced write as events, so that a source resumes
// exactly behind them. Values of one name only grow. One that has not moved for CursorLife is
// forgotten, except the collector's own, which go with their files.
type Cursor struct {
	Name  string
	Value int64
}

// Store keeps log events. Methods are safe for concurrent use. Exactly one process may open a
// directory at a time.
type Store struct {
	dir      string // Config.Dir
	groups   string // Dir/groups
	walDir   string
	catalog  Groups
	maxBytes int64
	now      func() time.Time
	log      *slog.Logger
	lock     *os.File

	shards [shardCount]shard
	seed   maphash.Seed
	index  indexCache
	// scanLimit is the raw volume after which a Filter call answers in part.
	scanLimit int64

	// bytes is the size of all segments, held the raw size of all heads.
	bytes, held atomic.Int64

	queue  queue
	ended  chan struct{} // closed when the committer has ended
	commit committer

	mu      sync.Mutex // guards what follows
	cursors map[cursorKey]cursorState
	dropped []Dropped
	names   map[string]app.LogGroupKey // by folder, as of the last Maintain
	counted time.Time                  // when Maintain counted bytes last
}

type cursorKey struct {
	dir, name string
}

type cursorState struct {
	group app.LogGroupKey
	value int64
	// last is the timestamp of the last event stored with the cursor, 0 = none.
	last int64
	// moved is when the value was stored, in milliseconds.
	moved int64
}

const shardCount = 64

// shard guards the memory and the segment files of the groups that hash to it: whoever holds mu sees
// every event of a group and day exactly once, in the head or in a segment.
type shard struct {
	mu     sync.Mutex
	groups map[string]*group
	// deleted holds, by group folder and stream, the sequence number up to which a stream is gone.
	deleted map[string]map[string]uint64
}

// group is what memory holds of a group that has been written to since the last checkpoint.
type group struct {
	key     app.LogGroupKey
	heads   map[int64]*head
	current map[int64]*segment // the segment that each day appends to
}

// segment is a file that blocks are appended to; it is open only while one is written.
type segment struct {
	path string
	size int64
}

func (s *Store) shard(dir string) *shard {
	return &s.shards[maphash.String(s.seed, dir)%shardCount]
}

// Open recovers the store in cfg.Dir: a torn tail is cut, everything acknowledged is there.
func Open(cfg Config) (*Store, error) {
	s := &Store{
		dir: cfg.Dir, groups: filepath.Join(cfg.Dir, "groups"), walDir: filepath.Join(cfg.Dir, "wal"),
		catalog: cfg.Groups, maxBytes: cfg.MaxBytes, now: cfg.Now, log: cfg.Logger,
		seed: maphash.MakeSeed(), ended: make(chan struct{}), scanLimit: scanBytes, cursors: map[cursorKey]cursorState{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	for i := range s.shards {
		s.shards[i].groups = map[string]*group{}
		s.shards[i].deleted = map[string]map[string]uint64{}
	}
	s.queue.init()
	for _, dir := range []string{s.dir, s.groups, s.walDir} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("cannot open log store: %w", err)
		}
	}
	if err := s.open(); err != nil {
		if s.lock != nil {
			s.lock.Close()
		}
		return nil, err
	}
	go s.run()
	return s, nil
}

func (s *Store) open() error {
	var err error
	if s.lock, err = lockDir(s.dir); err != nil {
		return err
	}
	if s.maxBytes == 0 {
		if s.maxBytes, err = tenthOfDisk(s.dir); err != nil {
			return err
		}
	}
	if s.commit.blocks, err = newBlockWriter(); err != nil {
		return err
	}
	return s.recover()
}

// lockDir holds the directory for this process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, walFileMode)
	if err != nil {
		return nil, fmt.Errorf("cannot open log store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot open log store: %s is in use by another process: %w", dir, err)
	}
	return f, nil
}

func tenthOfDisk(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("cannot read the size of the disk: %w", err)
	}
	return int64(st.Blocks) * int64(st.Bsize) / 10, nil
}

var errClosed = errors.New("the log store is closed")

// Append stores events of one stream in the given order and returns once they are synced. It creates
// no control rows. Errors: KindInvalidRequest for an event out of bounds, KindUnavailable when the
// disk refuses (nothing of the append is kept then).
func (s *Store) Append(ctx context.Context, key app.LogStreamKey, events []app.LogEvent) error {
	return s.append(ctx, key, events, nil)
}

// AppendCursor is Append that stores the cursor in the same synced write. An append whose cursor is
// not beyond the stored one has been stored before: it succeeds and changes nothing. Events may be empty.
func (s *Store) AppendCursor(ctx context.Context, key app.LogStreamKey, events []app.LogEvent, cursor Cursor) error {
	return s.append(ctx, key, events, &cursor)
}

func (s *Store) append(ctx context.Context, key app.LogStreamKey, events []app.LogEvent, cursor *Cursor) error {
	if len(events) == 0 && cursor == nil {
		return nil
	}
	if err := checkAppend(key, events); err != nil {
		return err
	}
	o := &op{kind: recordAppend, key: key, cursor: cursor, ingested: s.now().UnixMilli(), parts: encodeParts(events)}
	return s.submit(ctx, o)
}

func checkAppend(key app.LogStreamKey, events []app.LogEvent) error {
	if key.Group.Name == "" || key.Stream == "" {
		return app.Errorf(app.KindInvalidRequest, key.Group.Name, "logGroupName and logStreamName must not be empty")
	}
	if n := len(key.Group.Name) + len(key.Stream); n > 4096 {
		return app.Errorf(app.KindInvalidRequest, key.Group.Name[:min(64, len(key.Group.Name))], "the names of group and stream are too long (%d bytes)", n)
	}
	size := 0
	for i := range events {
		if ts := events[i].Timestamp.UnixMilli(); ts < 0 || ts > maxTimestamp {
			return app.Errorf(app.KindInvalidRequest, key.Group.Name, "logEvents[%d].timestamp is %d; it must lie between 1970 and 2286", i, ts)
		}
		size += len(events[i].Message) + EventOverhead
	}
	if size > maxAppendBytes {
		return app.Errorf(app.KindInvalidRequest, key.Group.Name, "%d bytes of log events in one append; at most %d are allowed", size, maxAppendBytes)
	}
	return nil
}

// Cursor returns the stored value of a cursor.
func (s *Store) Cursor(_ context.Context, key app.LogGroupKey, name string) (int64, bool) {
	state, ok := s.cursor(key, name)
	return state.value, ok
}

func (s *Store) cursor(key app.LogGroupKey, name string) (cursorState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, ok := s.cursors[cursorKey{groupDir(key), name}]
	return state, ok
}

// ForgetCursor removes a cursor whose source is gone for good.
func (s *Store) ForgetCursor(ctx context.Context, key app.LogGroupKey, name string) error {
	if _, ok := s.cursor(key, name); !ok {
		return nil
	}
	return s.submit(ctx, &op{kind: recordForgetCursor, key: app.LogStreamKey{Group: key}, cursor: &Cursor{Name: name}})
}

// DeleteGroup removes all events of a group. Cursors stay, so that a source that still runs does not repeat itself.
func (s *Store) DeleteGroup(ctx context.Context, key app.LogGroupKey) error {
	return s.submit(ctx, &op{kind: recordDeleteGroup, key: app.LogStreamKey{Group: key}})
}

// DeleteStream hides all events of a stream from now on; retention or the cap free their space.
func (s *Store) DeleteStream(ctx context.Context, key app.LogStreamKey) error {
	return s.submit(ctx, &op{kind: recordDeleteStream, key: key})
}

// submit hands a change to the committer and waits for its outcome; ctx ends only the wait for room.
func (s *Store) submit(ctx context.Context, o *op) error {
	o.dir = groupDir(o.key.Group)
	o.done = make(chan error, 1)
	o.size = 256
	for i := range o.parts {
		o.size += len(o.parts[i].data)
	}
	if err := s.queue.push(ctx, o); err != nil {
		return err
	}
	return <-o.done
}

// Close stops appends, empties memory into segments and lets go of the directory.
func (s *Store) Close() error {
	if !s.queue.close() {
		<-s.ended
		return nil
	}
	<-s.ended
	err := s.commit.closeErr
	if w := s.commit.wal; w != nil {
		if cerr := w.f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("cannot close the write-ahead log: %w", cerr)
		}
	}
	if cerr := s.lock.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("cannot unlock the log store: %w", cerr)
	}
	return err
}
