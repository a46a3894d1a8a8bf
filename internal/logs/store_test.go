package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
	"github.com/funade/funade/internal/base/failpoint"
)

var (
	testScope = app.Scope{Account: "000000000000", Region: "us-east-1"}
	base      = time.UnixMilli(1_800_000_000_000).UTC()
	quiet     = slog.New(slog.NewTextHandler(io.Discard, nil))
)

// rows is Groups in memory.
type rows struct {
	mu     sync.Mutex
	groups map[app.LogGroupKey]app.LogGroup
	ensure map[app.LogStreamKey]int
}

func newRows(groups ...app.LogGroup) *rows {
	r := &rows{groups: map[app.LogGroupKey]app.LogGroup{}, ensure: map[app.LogStreamKey]int{}}
	for _, g := range groups {
		r.groups[g.Key] = g
	}
	return r
}

func (r *rows) Ensure(_ context.Context, key app.LogStreamKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ensure[key]++
	if _, ok := r.groups[key.Group]; !ok {
		r.groups[key.Group] = app.LogGroup{Key: key.Group}
	}
	return nil
}

func (r *rows) All(context.Context) ([]app.LogGroup, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []app.LogGroup
	for _, g := range r.groups {
		all = append(all, g)
	}
	return all, nil
}

func groupKey(name string) app.LogGroupKey { return app.LogGroupKey{Scope: testScope, Name: name} }

func streamKey(group, stream string) app.LogStreamKey {
	return app.LogStreamKey{Group: groupKey(group), Stream: stream}
}

func openStore(t testing.TB, dir string, groups Groups) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, Groups: groups, MaxBytes: 1 << 40, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func event(ms int64, format string, args ...any) app.LogEvent {
	return app.LogEvent{Timestamp: base.Add(time.Duration(ms) * time.Millisecond), Message: fmt.Sprintf(format, args...)}
}

func mustAppend(t testing.TB, s *Store, key app.LogStreamKey, events ...app.LogEvent) {
	t.Helper()
	if err := s.Append(t.Context(), key, events); err != nil {
		t.Fatal(err)
	}
}

// all reads a stream from head to end, page by page.
func all(t testing.TB, s *Store, key app.LogStreamKey, limit int) []string {
	t.Helper()
	var out []string
	token := ""
	for {
		page, err := s.GetEvents(t.Context(), GetEventsInput{Stream: key, FromHead: true, Limit: limit, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			out = append(out, e.Message)
		}
		if len(page.Events) == 0 || page.ForwardToken == token {
			return out
		}
		token = page.ForwardToken
	}
}

func lines(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("line %06d", i))
	}
	return out
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		g, w := "(none)", "(none)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%d events, want %d; first difference at %d: %.80q, want %.80q", len(got), len(want), i, g, w)
		}
	}
}

// abandon ends a store as kill -9 would: nothing is flushed.
func abandon(t testing.TB, s *Store) {
	t.Helper()
	disable := failpoint.Enable("logs/checkpoint", func() error { return errors.New("abandoned") })
	defer disable()
	disable2 := failpoint.Enable("logs/flush", func() error { return errors.New("abandoned") })
	defer disable2()
	if err := s.Close(); err == nil {
		t.Fatal("the abandoned store wrote a checkpoint")
	}
}

func TestAppendAndReadAcrossReopen(t *testing.T) {
	for _, how := range []string{"close", "crash"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, newRows())
			key := streamKey("/aws/apprunner/hello/1/application", "instance/1")
			const n = 20_000 // several blocks and a head
			for i := 0; i < n; i += 100 {
				var events []app.LogEvent
				for j := i; j < i+100; j++ {
					events = append(events, event(int64(j), "line %06d", j))
				}
				mustAppend(t, s, key, events...)
			}
			equal(t, all(t, s, key, 777), lines(0, n))
			if how == "close" {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			} else {
				abandon(t, s)
			}
			s = openStore(t, dir, newRows())
			equal(t, all(t, s, key, 0), lines(0, n))
			mustAppend(t, s, key, event(n, "line %06d", n))
			equal(t, all(t, s, key, 9999), lines(0, n+1))
		})
	}
}

func TestGetEventsTokens(t *testing.T) {
	s := openStore(t, t.TempDir(), newRows())
	key := streamKey("g", "s")
	empty, err := s.GetEvents(t.Context(), GetEventsInput{Stream: key})
	if err != nil || len(empty.Events) != 0 || empty.ForwardToken == "" || empty.BackwardToken == "" {
		t.Fatalf("empty stream: %+v, %v", empty, err)
	}
	for i := range 10 {
		mustAppend(t, s, key, event(int64(i), "line %06d", i))
	}
	get := func(in GetEventsInput) GetEventsOutput {
		t.Helper()
		in.Stream, in.Limit = key, 4
		out, err := s.GetEvents(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	texts := func(out GetEventsOutput) (m []string) {
		for _, e := range out.Events {
			m = append(m, e.Message)
		}
		return m
	}
	equal(t, texts(get(GetEventsInput{Token: empty.ForwardToken})), lines(0, 4))
	tail := get(GetEventsInput{})
	equal(t, texts(tail), lines(6, 10))
	end := get(GetEventsInput{Token: tail.ForwardToken})
	if len(end.Events) != 0 || end.ForwardToken != tail.ForwardToken {
		t.Fatalf("at the end the same token comes back; got %+v for %s", end, tail.ForwardToken)
	}
	back := get(GetEventsInput{Token: tail.BackwardToken})
	equal(t, texts(back), lines(2, 6))
	equal(t, texts(get(GetEventsInput{Token: back.ForwardToken})), lines(6, 10))
	back = get(GetEventsInput{Token: back.BackwardToken})
	equal(t, texts(back), lines(0, 2))
	start := get(GetEventsInput{Token: back.BackwardToken})
	if len(start.Events) != 0 || start.BackwardToken != back.BackwardToken {
		t.Fatalf("at the start the same token comes back; got %+v for %s", start, back.BackwardToken)
	}
	equal(t, texts(get(GetEventsInput{Token: start.ForwardToken})), lines(0, 4))
	equal(t, texts(get(GetEventsInput{FromHead: true, Start: base.Add(3 * time.Millisecond), End: base.Add(5 * time.Millisecond)})), lines(3, 5))
	for _, bad := range []string{"x", "f/", "f/12", "n/" + position{}.id(), "f/" + strings.Repeat("9", idDigits)} {
		if _, err := s.GetEvents(t.Context(), GetEventsInput{Stream: key, Token: bad}); app.KindOf(err) != app.KindInvalidRequest {
			t.Errorf("token %q: %v, want KindInvalidRequest", bad, err)
		}
	}
}

func TestFilterAcrossStreamsAndDays(t *testing.T) {
	s := openStore(t, t.TempDir(), newRows())
	const n = 5000
	var want []string
	for i := range n { // ten days, out of order between streams
		key := streamKey("g", fmt.Sprintf("web/%d", i%3))
		if i%2 == 1 {
			key.Stream = "job"
		}
		mustAppendAsync(t, s, key, event(int64(i)*170_000, "n=%d level=%s", i, []string{"INFO", "ERROR"}[i%7/6]))
		if i%7 == 6 && i%2 == 0 {
			want = append(want, fmt.Sprintf("n=%d level=ERROR", i))
		}
	}
	mustAppend(t, s, streamKey("g", "job"), event(n*170_000, "the end")) // behind all the others
	pattern, err := ParsePattern(`"level=ERROR"`)
	if err != nil {
		t.Fatal(err)
	}
	for _, budget := range []int64{1, scanBytes} {
		s.scanLimit = budget
		var got []string
		seen := map[string]bool{}
		in := FilterInput{Group: groupKey("g"), Prefix: "web/", Pattern: pattern, Limit: 50}
		for pages := 0; ; pages++ {
			out, err := s.Filter(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.Events {
				if seen[e.ID] {
					t.Fatalf("event %s came twice", e.ID)
				}
				seen[e.ID] = true
				got = append(got, e.Message)
			}
			if out.NextToken == "" {
				break
			}
			if pages > n {
				t.Fatal("the pages never end")
			}
			in.Token = out.NextToken
		}
		equal(t, got, want)
	}
	out, err := s.Filter(t.Context(), FilterInput{Group: groupKey("g"), Streams: []string{"job"}, Start: base, End: base.Add(170 * time.Second)})
	if err != nil || len(out.Events) != 1 || len(out.Searched) != 1 || !out.Searched[0].Complete {
		t.Fatalf("one stream, end included: %+v, %v", out, err)
	}
}

// mustAppendAsync appends without making the test wait for each sync.
func mustAppendAsync(t testing.TB, s *Store, key app.LogStreamKey, events ...app.LogEvent) {
	t.Helper()
	o := &op{kind: recordAppend, key: key, ingested: s.now().UnixMilli(), parts: encodeParts(events), dir: groupDir(key.Group), done: make(chan error, 1)}
	if err := s.queue.push(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := <-o.done; err != nil {
			t.Error(err)
		}
	})
}

func TestCursorsAreStoredOnce(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newRows())
	key := streamKey("g", "s")
	put := func(v int64, msg string) {
		t.Helper()
		if err := s.AppendCursor(t.Context(), key, []app.LogEvent{event(v, "%s", msg)}, Cursor{Name: "c", Value: v}); err != nil {
			t.Fatal(err)
		}
	}
	put(10, "a")
	put(10, "a again")
	put(20, "b")
	put(5, "older")
	abandon(t, s)
	s = openStore(t, dir, newRows())
	if v, ok := s.Cursor(t.Context(), key.Group, "c"); !ok || v != 20 {
		t.Fatalf("cursor %d, %v; want 20", v, ok)
	}
	put(20, "b again")
	equal(t, all(t, s, key, 0), []string{"a", "b"})
	if err := s.ForgetCursor(t.Context(), key.Group, "c"); err != nil {
		t.Fatal(err)
	}
	put(1, "c")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, newRows())
	if v, _ := s.Cursor(t.Context(), key.Group, "c"); v != 1 {
		t.Fatalf("cursor %d; want 1", v)
	}
}

func TestDeleteGroupAndStream(t *testing.T) {
	for _, crash := range []bool{false, true} {
		dir := t.TempDir()
		s := openStore(t, dir, newRows())
		a, b := streamKey("g", "a"), streamKey("g", "b")
		mustAppend(t, s, a, event(0, "a1"))
		mustAppend(t, s, b, event(0, "b1"))
		if err := s.DeleteStream(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, a, event(1, "a2"))
		reopen := func() {
			t.Helper()
			if crash {
				abandon(t, s)
			} else if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, dir, newRows())
		}
		reopen()
		equal(t, all(t, s, a, 0), []string{"a2"})
		equal(t, all(t, s, b, 0), []string{"b1"})
		infos, err := s.StreamInfos(t.Context(), a.Group)
		if err != nil || infos["a"].Events != 1 || infos["b"].Events != 1 {
			t.Fatalf("infos %+v, %v", infos, err)
		}
		if err := s.DeleteGroup(t.Context(), a.Group); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, b, event(2, "b2"))
		equal(t, all(t, s, b, 0), []string{"b2"})
		reopen()
		equal(t, all(t, s, a, 0), nil)
		equal(t, all(t, s, b, 0), []string{"b2"})
		if s.GroupBytes(t.Context(), a.Group) == 0 {
			t.Error("the group has an event but no bytes")
		}
	}
}

func TestReplayedDeleteSparesTheNextLife(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newRows())
	key := streamKey("g", "s")
	mustAppend(t, s, key, event(0, "first life"))
	if err := s.DeleteGroup(t.Context(), key.Group); err != nil {
		t.Fatal(err)
	}
	const n = 20_000 // enough for a block, which no checkpoint follows
	var events []app.LogEvent
	for i := range n {
		events = append(events, event(int64(i), "line %06d", i))
	}
	mustAppend(t, s, key, events...)
	mustAppend(t, s, streamKey("g", "other"), event(0, "x"))
	if len(s.listGroup(groupDir(key.Group))) == 0 {
		t.Fatal("the test needs a block on disk")
	}
	abandon(t, s)
	s = openStore(t, dir, newRows())
	equal(t, all(t, s, key, 0), lines(0, n))
}

func TestTornTailKeepsEverythingBefore(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newRows())
	key := streamKey("g", "s")
	for i := range 20 {
		mustAppend(t, s, key, event(int64(i), "line %06d", i))
	}
	path, size := s.commit.wal.f.Name(), s.commit.wal.size
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	abandon(t, s)
	record := int(size) / 20
	for cut := int(size); cut >= int(size)-3*record; cut -= 7 {
		other := t.TempDir()
		if err := os.MkdirAll(filepath.Join(other, "wal"), 0o700); err != nil {
			t.Fatal(err)
		}
		torn := append(slices.Clone(data[:cut]), "garbage that was never synced"...)
		if err := os.WriteFile(walPath(filepath.Join(other, "wal"), 1), torn, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openStore(t, other, newRows())
		equal(t, all(t, s, key, 0), lines(0, cut/record))
		s.Close()
	}
}

func TestDamagedUnsyncedBlockIsReplayed(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newRows())
	key := streamKey("g", "s")
	const n = 30_000
	for i := 0; i < n; i += 200 {
		var events []app.LogEvent
		for j := i; j < i+200; j++ {
			events = append(events, event(int64(j), "line %06d", j))
		}
		mustAppend(t, s, key, events...)
	}
	files := s.listGroup(groupDir(key.Group))
	abandon(t, s)
	if len(files) == 0 || files[0].size < 1000 {
		t.Fatalf("the test needs a block on disk: %+v", files)
	}
	f, err := os.OpenFile(files[0].path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("XXXX"), files[0].size-100); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s = openStore(t, dir, newRows())
	equal(t, all(t, s, key, 0), lines(0, n))
}

func TestFailedWriteStoresNothing(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newRows())
	key := streamKey("g", "s")
	mustAppend(t, s, key, event(0, "line 000000"))
	disable := failpoint.Enable("logs/write", func() error { return errors.New("no space left on device") })
	err := s.Append(t.Context(), key, []app.LogEvent{event(1, "lost")})
	disable()
	if app.KindOf(err) != app.KindUnavailable || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("got %v, want KindUnavailable with the reason", err)
	}
	mustAppend(t, s, key, event(1, "line 000001"))
	abandon(t, s)
	s = openStore(t, dir, newRows())
	equal(t, all(t, s, key, 0), lines(0, 2))
}

func TestUnusableWriteAheadLogIsReplaced(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newRows())
	key := streamKey("g", "s")
	mustAppend(t, s, key, event(0, "line 000000"))
	s.commit.wal.f.Close() // neither writing nor cutting works any more
	if err := s.Append(t.Context(), key, []app.LogEvent{event(1, "lost")}); app.KindOf(err) != app.KindUnavailable {
		t.Fatalf("got %v, want KindUnavailable", err)
	}
	mustAppend(t, s, key, event(1, "line 000001"))
	equal(t, all(t, s, key, 0), lines(0, 2))
	abandon(t, s)
	s = openStore(t, dir, newRows())
	equal(t, all(t, s, key, 0), lines(0, 2))
}

func TestRetentionCapAndOrphans(t *testing.T) {
	keep, short := groupKey("keep"), groupKey("short")
	r := newRows(app.LogGroup{Key: keep}, app.LogGroup{Key: short, RetentionDays: 3})
	dir := t.TempDir()
	s := openStore(t, dir, r)
	day := int64(24 * time.Hour / time.Millisecond)
	for d := range int64(10) {
		for _, g := range []string{"keep", "short"} {
			mustAppend(t, s, streamKey(g, "s"), event(d*day, "line %06d", d))
		}
	}
	mustAppend(t, s, streamKey("nobody", "s"), event(0, "orphan"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, r)
	now := base.Add(9 * 24 * time.Hour)
	dropped, err := s.Maintain(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, all(t, s, streamKey("keep", "s"), 0), lines(0, 10))
	equal(t, all(t, s, streamKey("short", "s"), 0), lines(6, 10))
	if len(dropped) == 0 || dropped[0].Reason != ReasonRetention && dropped[0].Reason != ReasonOrphan {
		t.Errorf("dropped %+v", dropped)
	}
	old := time.Now().Add(-2 * orphanAge)
	for _, f := range s.listGroup(groupDir(groupKey("nobody"))) {
		if err := os.Chtimes(f.path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Maintain(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.groups, groupDir(groupKey("nobody")))); !os.IsNotExist(err) {
		t.Errorf("the orphan's folder is still there: %v", err)
	}

	s.maxBytes = s.bytes.Load() / 2
	r.groups = map[app.LogGroupKey]app.LogGroup{keep: {Key: keep}, short: {Key: short}}
	dropped, err = s.Maintain(t.Context(), now)
	if err != nil || len(dropped) == 0 || dropped[0].Reason != ReasonCap || dropped[0].Group != keep || dropped[0].Bytes <= 0 {
		t.Fatalf("cap dropped %+v, %v", dropped, err)
	}
	if s.bytes.Load() > s.maxBytes || s.bytes.Load() != s.countBytes() {
		t.Errorf("%d bytes (%d counted) over a cap of %d", s.bytes.Load(), s.countBytes(), s.maxBytes)
	}
	got := all(t, s, streamKey("keep", "s"), 0)
	equal(t, got, lines(10-len(got), 10)) // the oldest went
}

func TestIdleStoreHoldsNothing(t *testing.T) {
	s := openStore(t, t.TempDir(), newRows())
	for i := range 500 {
		mustAppendAsync(t, s, streamKey(fmt.Sprintf("g%d", i), "s"), event(0, "x"))
	}
	mustAppend(t, s, streamKey("g", "s"), event(0, "x"))
	for range 2 { // the first finds them busy
		if err := s.flushAndSync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range s.shards {
		if n := len(s.shards[i].groups); n != 0 {
			t.Fatalf("%d groups in memory", n)
		}
	}
	if s.held.Load() != 0 {
		t.Fatalf("%d bytes held", s.held.Load())
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if path, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(path, s.groups) {
			t.Errorf("%s is open", path)
		}
	}
}

func TestFilesArePrivateAndNamesCannotEscape(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "logs"), newRows())
	for _, name := range []string{"../../etc", "/", ".", "a/b", "a-b", strings.Repeat("x", 512), "..", "ログ"} {
		mustAppend(t, s, streamKey(name, "../s"), event(0, "%s", name))
	}
	other := streamKey("a/b", "../s")
	other.Group.Scope.Region = "eu-west-1"
	mustAppend(t, s, other, event(0, "elsewhere"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, filepath.Join(dir, "logs"), newRows())
	equal(t, all(t, s, streamKey("a/b", "../s"), 0), []string{"a/b"})
	equal(t, all(t, s, streamKey("a-b", "../s"), 0), []string{"a-b"})
	equal(t, all(t, s, other, 0), []string{"elsewhere"})
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && path != dir && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("something was written beside the store: %v", entries)
	}
	if _, err := Open(Config{Dir: s.dir, Groups: newRows(), Logger: quiet}); err == nil {
		t.Error("a second store on the same directory opened")
	}
}
