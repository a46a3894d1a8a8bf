package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/backoff"
)

// file is the state of one source. final, done and next belong to Collector.mu; the rest to the worker.
type file struct {
	source Source
	final  bool
	done   bool
	next   time.Time // not before; monotonic clock

	last    bool // final as of the beginning of this look
	more    bool // the look ended before the file did
	started bool
	offset  int64 // everything before it is stored
	punched int64 // everything before it is given back
	lastTS  int64 // of the last event, in milliseconds
	ensured time.Time
	// partial is the size of an unfinished line, since when it has not grown.
	partial  int64
	since    time.Time
	active   time.Time // when it last grew
	failures int
	noPunch  bool
}

const (
	// readBytes is how much is read at once; a longer line is split.
	readBytes = 256 << 10
	// lookBytes is how much of one file is stored before the others get their turn.
	lookBytes = 4 << 20
	// maxMessage is the longest message; a longer one is split.
	maxMessage = MaxEventBytes - EventOverhead
	// punchEvery is how much is stored before space is given back.
	punchEvery = 64 << 10
	pageBytes  = 4096
)

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBytes); return &b }}

// collect reads what a file has and decides when to look again.
func (c *Collector) collect(ctx context.Context, f *file) {
	f.more = false
	done, err := c.readFile(ctx, f)
	now := time.Now()
	pause := time.Duration(0)
	switch {
	case err != nil:
		f.failures++
		pause = backoff.Delay(f.failures, c.poll, retryLimit)
		if ctx.Err() == nil {
			c.log.Warn("cannot collect a container's output; will try again", "instance", f.source.Instance, "error", err)
		}
	case now.Sub(f.active) > idleAfter && f.partial == 0:
		pause = max(idlePoll, c.poll)
		f.failures = 0
	default:
		f.failures = 0
	}
	c.mu.Lock()
	f.next = now.Add(pause)
	if f.final && !f.last && !done {
		f.next = time.Time{}
	}
	f.done = done
	c.mu.Unlock()
	if done && c.done != nil {
		c.done(f.source.Instance)
	}
}

// readFile stores everything that stands in the file; done = it is final and nothing is left.
func (c *Collector) readFile(ctx context.Context, f *file) (done bool, err error) {
	if !f.started {
		state, _ := c.store.cursor(f.source.Key.Group, cursorName(f.source.Path))
		f.offset, f.lastTS, f.active, f.started = state.value, state.last, time.Now(), true
	}
	st, err := os.Stat(f.source.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.last, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look at log file: %w", err)
	}
	if st.Size() < f.offset {
		return false, c.restart(ctx, f)
	}
	if st.Size() == f.offset {
		f.partial = 0
		return f.last, nil
	}
	if st.Size() == f.offset+f.partial && !f.last && time.Since(f.since) < quietFlush {
		return false, nil
	}
	in, err := os.OpenFile(f.source.Path, os.O_RDWR, 0)
	if err != nil {
		return false, fmt.Errorf("cannot open log file: %w", err)
	}
	defer in.Close()
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	for start := f.offset; ctx.Err() == nil; {
		if f.more = f.offset-start >= lookBytes; f.more {
			return false, nil
		}
		n, err := in.ReadAt(*buf, f.offset)
		if err != nil && err != io.EOF {
			return false, fmt.Errorf("cannot read log file: %w", err)
		}
		if n == 0 {
			f.partial = 0
			return f.last, nil
		}
		used := c.usable(f, (*buf)[:n])
		if used == 0 {
			return false, nil // an unfinished line: wait for the rest
		}
		if err := c.keep(ctx, f, (*buf)[:used]); err != nil {
			return false, err
		}
		c.punch(f, in)
	}
	return false, ctx.Err()
}

// usable returns how much of what was read makes whole lines. An unfinished line counts if nothing will
// follow, if it fills the buffer, or once it has not grown for quietFlush.
func (c *Collector) usable(f *file, b []byte) int {
	now := time.Now()
	if end := bytes.LastIndexByte(b, '\n') + 1; end > 0 {
		f.active = now
		return end
	}
	size := int64(len(b))
	switch {
	case len(b) == readBytes:
		f.active = now
		return cutRune(b)
	case f.last:
		return len(b)
	case size != f.partial:
		f.partial, f.since, f.active = size, now, now
		return 0
	case now.Sub(f.since) < quietFlush:
		return 0
	}
	return cutRune(b)
}

// cutRune returns the largest length that does not cut a character of b's text in two.
func cutRune(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) && i > 0 {
				return i
			}
			break
		}
	}
	return len(b)
}

// keep stores the lines of b, which stand at the file's offset, and moves the offset behind them.
func (c *Collector) keep(ctx context.Context, f *file, b []byte) error {
	now := c.now()
	if f.ensured.IsZero() || now.Sub(f.ensured) >= ensureEvery {
		if err := c.groups.Ensure(ctx, f.source.Key); err != nil {
			return fmt.Errorf("cannot create log stream: %w", err)
		}
		f.ensured = now
	}
	ts := max(now.UnixMilli(), f.lastTS)
	events := splitLines(string(b), time.UnixMilli(ts))
	cursor := Cursor{Name: cursorName(f.source.Path), Value: f.offset + int64(len(b))}
	if err := c.store.AppendCursor(ctx, f.source.Key, events, cursor); err != nil {
		return err
	}
	f.offset, f.lastTS, f.partial = cursor.Value, ts, 0
	return nil
}

// splitLines makes an event of each line that is not empty. Invalid UTF-8 is replaced, a carriage
// return before the line feed dropped, a long line split.
func splitLines(text string, ts time.Time) []app.LogEvent {
	events := make([]app.LogEvent, 0, strings.Count(text, "\n")+1)
	for len(text) > 0 {
		line := text
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			line, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		line = strings.TrimSuffix(line, "\r")
		if !utf8.ValidString(line) {
			line = strings.ToValidUTF8(line, "\uFFFD")
		}
		for len(line) > maxMessage {
			n := cutRune([]byte(line[:maxMessage]))
			events = append(events, app.LogEvent{Timestamp: ts, Message: line[:n]})
			line = line[n:]
		}
		if line != "" {
			events = append(events, app.LogEvent{Timestamp: ts, Message: line})
		}
	}
	return events
}

// restart begins again with a file that is shorter than what was stored of it: it is another file.
func (c *Collector) restart(ctx context.Context, f *file) error {
	c.log.Warn("a container's output file has been replaced; reading it from the start", "instance", f.source.Instance, "path", f.source.Path)
	if err := c.store.ForgetCursor(ctx, f.source.Key.Group, cursorName(f.source.Path)); err != nil {
		return err
	}
	f.offset, f.punched, f.partial = 0, 0, 0
	return nil
}

// fallocPunchHole is FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE: the size stays, so O_APPEND goes on behind it.
const fallocPunchHole = 0x02 | 0x01

// punch gives the whole pages of what is stored back to the file system.
func (c *Collector) punch(f *file, in *os.File) {
	end := f.offset / pageBytes * pageBytes
	if f.noPunch || end-f.punched < punchEvery {
		return
	}
	if err := syscall.Fallocate(int(in.Fd()), fallocPunchHole, f.punched, end-f.punched); err != nil {
		f.noPunch = true
		c.log.Warn("the file system cannot give back the space of stored output", "path", f.source.Path, "error", err)
		return
	}
	f.punched = end
}
