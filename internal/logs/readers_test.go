package logs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funade/funade/internal/app"
)

func TestConcurrentReadersSeeEveryEventOnce(t *testing.T) {
	s := openStore(t, t.TempDir(), newRows())
	key := streamKey("g", "s")
	const n = 300
	pad := strings.Repeat("p", 4000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if err := s.Append(context.Background(), key, []app.LogEvent{event(int64(i), "%06d %s", i, pad)}); err != nil {
				t.Error(err)
			}
		}
	})
	for seen := 0; seen < n; {
		token, next := "", 0
		for {
			page, err := s.GetEvents(t.Context(), GetEventsInput{Stream: key, FromHead: true, Token: token})
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Events) == 0 {
				break
			}
			for _, e := range page.Events {
				if want := fmt.Sprintf("%06d", next); e.Message[:6] != want {
					t.Fatalf("got %s, want %s", e.Message[:6], want)
				}
				next++
			}
			token = page.ForwardToken
		}
		if next < seen {
			t.Fatalf("%d events after %d", next, seen)
		}
		seen = next
	}
	wg.Wait()
}

func TestManyAppendersShareSyncs(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, newRows())
	const writers, appends = 40, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range appends {
				key := streamKey(fmt.Sprintf("g%d", w%7), fmt.Sprintf("s%d", w))
				cursor := Cursor{Name: key.Stream, Value: int64(i + 1)}
				for range 2 { // the second is a repeat
					if err := s.AppendCursor(context.Background(), key, []app.LogEvent{event(int64(i), "line %06d", i)}, cursor); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	abandon(t, s)
	s = openStore(t, dir, newRows())
	for w := range writers {
		equal(t, all(t, s, streamKey(fmt.Sprintf("g%d", w%7), fmt.Sprintf("s%d", w)), 0), lines(0, appends))
	}
}

func TestAppendRefusesWhatItCannotKeep(t *testing.T) {
	s := openStore(t, t.TempDir(), newRows())
	key := streamKey("g", "s")
	bad := map[string]struct {
		key    app.LogStreamKey
		events []app.LogEvent
	}{
		"must not be empty": {streamKey("g", ""), []app.LogEvent{event(0, "x")}},
		"too long":          {streamKey("g", strings.Repeat("s", 5000)), []app.LogEvent{event(0, "x")}},
		"timestamp":         {key, []app.LogEvent{{Timestamp: time.UnixMilli(-1), Message: "x"}}},
		"at most":           {key, slices.Repeat([]app.LogEvent{event(0, "%s", strings.Repeat("x", 1<<20))}, 5)},
	}
	for want, tt := range bad {
		if err := s.Append(t.Context(), tt.key, tt.events); app.KindOf(err) != app.KindInvalidRequest || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), key, []app.LogEvent{event(0, "x")}); app.KindOf(err) != app.KindUnavailable {
		t.Errorf("after Close: %v, want KindUnavailable", err)
	}
}

func TestStreamInfosAndTheirOrder(t *testing.T) {
	s := openStore(t, t.TempDir(), newRows())
	mustAppend(t, s, streamKey("g", "a"), event(5, "12345"), event(9, "123"))
	if err := s.flushAndSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, streamKey("g", "b"), event(7, "x"))
	mustAppend(t, s, streamKey("g", "a"), event(2, "1"), event(24*3600*1000, "2"))
	infos, err := s.StreamInfos(t.Context(), groupKey("g"))
	if err != nil {
		t.Fatal(err)
	}
	a := infos["a"]
	if !a.FirstEvent.Equal(base.Add(2*time.Millisecond)) || !a.LastEvent.Equal(base.Add(24*time.Hour)) || a.Events != 4 || a.StoredBytes != 10 ||
		time.Since(a.LastIngestion) > time.Minute {
		t.Errorf("a is %+v", a)
	}
	for _, tt := range []struct {
		byLast, descending bool
		want               string
	}{{false, false, "a b c"}, {false, true, "c b a"}, {true, false, "c b a"}, {true, true, "a b c"}} {
		names := []string{"b", "c", "a"}
		OrderStreams(names, infos, tt.byLast, tt.descending)
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("by last event %v, descending %v: %s, want %s", tt.byLast, tt.descending, got, tt.want)
		}
	}
}

func TestPageLimits(t *testing.T) {
	s := openStore(t, t.TempDir(), newRows())
	key := streamKey("g", "s")
	for i := range 12 {
		mustAppend(t, s, key, event(int64(i), "%d %s", i, strings.Repeat("x", 200<<10)))
	}
	out, err := s.GetEvents(t.Context(), GetEventsInput{Stream: key, FromHead: true})
	if err != nil || len(out.Events) != 5 {
		t.Fatalf("%d events of 200 KiB in a page of 1 MiB, %v", len(out.Events), err)
	}
	if n := len(all(t, s, key, 0)); n != 12 {
		t.Errorf("%d events over all pages, want 12", n)
	}
}

func TestForgottenCursors(t *testing.T) {
	dir, now := t.TempDir(), base
	open := func() *Store {
		t.Helper()
		s, err := Open(Config{Dir: dir, Groups: newRows(), Now: func() time.Time { return now }, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	key := streamKey("g", "s")
	for _, name := range []string{"old", cursorName("/file")} {
		if err := s.AppendCursor(t.Context(), key, []app.LogEvent{event(0, "x")}, Cursor{Name: name, Value: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(CursorLife + time.Hour)
	s = open()
	if err := s.AppendCursor(t.Context(), key, nil, Cursor{Name: "new", Value: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.flushAndSync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"old": false, "new": true, cursorName("/file"): true} {
		if _, ok := s.Cursor(t.Context(), key.Group, name); ok != want {
			t.Errorf("cursor %s is remembered: %v, want %v", name, ok, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
